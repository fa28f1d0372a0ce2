# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of double attention."""

import torch
from torch import nn

from ..pairwise.a2 import DoubleAttention
from . import error


@error(
    kind="wrong axis",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/A2Atttention.py`; "
    "z1069614715/objectdetection_script, `cv-attention/A2Attention.py`",
    caught="tests/test_contract.py::test_promise[a2-batch]",
)
class BatchSoftmax(DoubleAttention):
    """Both softmaxes over the images of the batch."""

    def attention(self, x):
        # softmax without an axis takes axis 0 of a tensor of three axes.
        return {"gather": self.gather(x).softmax(0), "distribute": self.distribute(x).softmax(0)}


@torch.no_grad()
def batch_softmax(cls: type[nn.Module] = BatchSoftmax) -> float:
    """Largest change of an image's result when a second image joins it, C = 64."""
    module, x = _fresh(cls), DoubleAttention.card.example(64)[0]
    return float((module(x)[:1] - module(x[:1])).abs().max())


@error(
    kind="wrong axis",
    found="a tutorial article",
    caught="tests/test_contract.py::test_promise[a2-maps]",
)
class GatherOverMaps(DoubleAttention):
    """The gathering softmax over the n maps, where a descriptor is then a sum that grows with the map."""

    def attention(self, x):
        return {"gather": self.gather(x).softmax(1), "distribute": self.distribute(x).softmax(1)}


@torch.no_grad()
def gather_over_maps(cls: type[nn.Module] = GatherOverMaps) -> float:
    """What the gathering weights of a descriptor add up to on an 80 × 80 map, C = 64."""
    return float(_fresh(cls).attention(DoubleAttention.card.example(64, (80, 80))[0])["gather"].sum((2, 3)).mean())


@error(
    kind="layer missing or added",
    found="pprp/awesome-attention-mechanism-in-cv, `AttentionModule/A2Net/DoubleAttention.py`; "
    "changzy00/pytorch-attention, `attention_mechanisms/double_attention.py`; "
    "xmu-xiaoma666/External-Attention-pytorch, `model/attention/A2Atttention.py`; "
    "gjylt/DoubleAttentionNet, `DoubleAttentionLayer.py`",
    caught="tests/pairwise/test_a2.py::test_equals_the_equations[{}]",
)
class NoResidual(DoubleAttention):
    """The sum with the input left out."""

    def forward(self, x):
        return super().forward(x) - x


@torch.no_grad()
def no_residual(cls: type[nn.Module] = NoResidual) -> float:
    """Standard deviation over the positions that is left of that of x, C = 64."""
    x = DoubleAttention.card.example(64)[0]
    return float((_fresh(cls)(x).std((2, 3)) / x.std((2, 3))).mean())


def _fresh(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64).eval()
