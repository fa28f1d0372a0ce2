# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of criss-cross attention."""

import torch
from torch import nn

from ..pairwise.ccnet import CrissCrossAttention
from . import error


@error(
    kind="layer missing or added",
    found="the class alone as a layer of a detector, in tutorial articles; the authors' network calls it twice",
    caught="tests/pairwise/test_ccnet.py::test_two_passes_reach_every_position[(6, 7)]",
)
class OnePass(CrissCrossAttention):
    """The module applied once."""

    def __init__(self, channels, *, passes=1, **options):
        super().__init__(channels, passes=passes, **options)


def one_pass(cls: type[nn.Module] = OnePass) -> int:
    """Positions of a 6 × 7 map that reach the middle one."""
    x = _image(6, 7).requires_grad_()
    _fresh(cls)(x)[0, :, 3, 3].sum().backward()
    return int((x.grad[0] != 0).any(0).sum())


@error(
    kind="silent no-op",
    found="open-mmlab/mmsegmentation, an early `mmseg/models/decode_heads/cc_head.py`, right at 1cd613f",
    caught="tests/pairwise/test_ccnet.py::test_equals_the_equations[{}]",
)
class Discarded(CrissCrossAttention):
    """The result of each pass discarded."""

    def forward(self, x):
        for _ in range(self.passes):
            self._step(x)
        return x


@torch.no_grad()
def discarded(cls: type[nn.Module] = Discarded) -> float:
    """Largest change of the map, γ = 1."""
    x = _image(6, 7)
    return float((_fresh(cls)(x) - x).abs().max())


@error(
    kind="NaN at the edge",
    found="a segmentation head of a public project that we read without learning its name",
    caught="tests/test_contract.py::test_promise[ccnet-sizes]",
)
class TwoSoftmaxes(CrissCrossAttention):
    """A softmax for the row and one for the column, both without the position itself."""

    def _weights(self, q, k):
        column = torch.einsum("bchw,bciw->bhwi", q, k)
        row = torch.einsum("bchw,bchj->bhwj", q, k)
        i, j = (torch.eye(n, dtype=torch.bool) for n in q.shape[2:])
        column, row = column.masked_fill(i[:, None], -torch.inf), row.masked_fill(j, -torch.inf)
        return torch.cat([column.softmax(3), row.softmax(3)], 3)


@torch.no_grad()
def two_softmaxes(cls: type[nn.Module] = TwoSoftmaxes) -> float:
    """Share of NaN in the result on a map of one row."""
    return float(_fresh(cls)(_image(1, 7)).isnan().float().mean())


@error(
    kind="mask on the wrong device",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/CrissCrossAttention.py`, and tutorial articles",
    caught="tests/pairwise/test_ccnet.py::test_the_mask_follows_the_input",
)
class MaskOnCpu(CrissCrossAttention):
    """The mask built on the CPU, wherever the input is."""

    def _weights(self, q, k):
        column = torch.einsum("bchw,bciw->bhwi", q, k)
        row = torch.einsum("bchw,bchj->bhwj", q, k)
        mask = torch.full(q.shape[2:3], -torch.inf, device="cpu").diag()  # H H
        return torch.cat([column + mask[:, None], row], 3).softmax(3)


@torch.no_grad()
def mask_on_cpu(cls: type[nn.Module] = MaskOnCpu) -> int:
    """1 where it fails on a device that is not the CPU (here meta, which has shapes and no numbers)."""
    try:
        _fresh(cls).to("meta")(_image(6, 7).to("meta"))
    except RuntimeError:
        return 1
    return 0


def _fresh(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with random numbers of its own and γ = 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(16).eval()
    nn.init.ones_(module.gamma)
    return module


def _image(height: int, width: int) -> torch.Tensor:
    return CrissCrossAttention.card.example(16, (height, width), 1)[0]
