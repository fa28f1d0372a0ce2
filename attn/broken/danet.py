# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of dual attention."""

import torch
from torch import nn

from ..pairwise.danet import DualAttention
from . import error


@error(
    kind="another function of the same weights",
    found="junfu1115/DANet, `encoding/nn/da_att.py`, on purpose: see issues 9, 48 and 106 of that repository",
    caught="tests/pairwise/test_danet.py::test_a_channel_takes_from_what_is_alike",
)
class LeastAlike(DualAttention):
    """The channels' scores negated, against the paper's formula."""

    def __init__(self, channels, *, flipped=False, **options):
        super().__init__(channels, flipped=not flipped, **options)


@torch.no_grad()
def least_alike(cls: type[nn.Module] = LeastAlike) -> float:
    """Weight that a channel gives to its own opposite, which is the only other one."""
    x = 0.2 * _image(2)
    x[:, 1] = -x[:, 0]
    return float(_fresh(cls, 2).attention(x)["channel"][0, 0, 1])


@error(
    kind="wrong channel count",
    found="changzy00/pytorch-attention, `attention_mechanisms/dual_attention.py`",
    caught="tests/test_contract.py::test_promise[danet-params]",
)
class WideQueries(DualAttention):
    """Queries and keys of C channels instead of C/8."""

    def __init__(self, channels, *, reduction=1, **options):
        super().__init__(channels, reduction=reduction, **options)


def wide_queries(cls: type[nn.Module] = WideQueries) -> int:
    """Parameters at C = 512."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(512).parameters())


@error(
    kind="works at one size only",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/DANet.py`: a linear layer of H·W numbers",
    caught="tests/test_contract.py::test_promise[danet-sizes]",
)
class SideOfSeven(DualAttention):
    """A layer over the 49 positions of a 7 × 7 map behind the channels' sum."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.over_positions = nn.Linear(49, 49)

    def forward(self, x):
        return self.over_positions(super().forward(x).flatten(2)).reshape(x.shape)


@torch.no_grad()
def side_of_seven(cls: type[nn.Module] = SideOfSeven) -> int:
    """Sides from 1 to 20 of a square map that it takes."""
    module, taken = _fresh(cls), 0
    for side in range(1, 21):
        try:
            module(_image(8, side))
        except RuntimeError:
            continue
        taken += 1
    return taken


@error(
    kind="layer missing or added",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/DANet.py`",
    caught="tests/pairwise/test_danet.py::test_a_fresh_module_returns_its_input",
)
class NoShortcut(DualAttention):
    """The shortcut and the two factors that start at 0 left out."""

    def forward(self, x):
        a = self.attention(x).values()
        position, channel = (t.transpose(1, 2) if i == 0 else t for i, t in enumerate(a))
        return (self.v(x).flatten(2) @ position + channel @ x.flatten(2)).reshape(x.shape)


@torch.no_grad()
def no_shortcut(cls: type[nn.Module] = NoShortcut) -> float:
    """Largest change of the map by a fresh module, C = 8."""
    x = _image(8)
    return float((_fresh(cls)(x) - x).abs().max())


def _fresh(cls: type[nn.Module], channels: int = 8) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels).eval()


def _image(channels: int, side: int = 7) -> torch.Tensor:
    return DualAttention.card.example(channels, (side, side), 1)[0]
