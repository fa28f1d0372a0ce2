# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of triplet attention."""

import torch
from torch import nn

from ..mixed.triplet import TripletAttention
from . import error


@error(
    kind="layer missing or added",
    found="`attention_mechanisms/triplet_attention.py` of changzy00/pytorch-attention at `8ce59da`, "
    "where the convolution has a bias, too",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[triplet]",
)
class ReluBeforeSigmoid(TripletAttention):
    """A ReLU between the BN and the sigmoid."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for gate in self.gates.values():
            gate[2] = nn.Sequential(nn.ReLU(), nn.Sigmoid())


@torch.no_grad()
def relu_before_sigmoid(cls: type[nn.Module] = ReluBeforeSigmoid) -> float:
    """Smallest gate over random images, in training mode, C = 64."""
    return min(float(a.min()) for a in _fresh(cls).train().attention(_images()).values())


@error(
    kind="another function of the same weights",
    found="`Attention/TripletAttention.py` of shanglianlm0525/PyTorch-Networks at `627a23f`",
    caught="tests/test_contract.py::test_promise[triplet-rebuild]",
)
class GatesItself(TripletAttention):
    """The score is multiplied by its own gate, and x by nothing."""

    def forward(self, x):
        y = 0
        for axis, gate in zip((2, 3, 1), self.gates.values(), strict=True):
            t = x.transpose(1, axis)
            s = gate[:2](torch.cat([t.amax(1, keepdim=True), t.mean(1, keepdim=True)], 1))
            y = y + (s * gate[2](s)).transpose(1, axis)
        return y / 3


@torch.no_grad()
def gates_itself(cls: type[nn.Module] = GatesItself) -> float:
    """Correlation of y with x over random images, C = 64."""
    x = _images()
    return float(torch.corrcoef(torch.stack([x.flatten(), _fresh(cls)(x).flatten()]))[0, 1])


@error(
    kind="parameters not registered",
    found="not found in a repository that we can name; a file that we read makes `cw` and `hc`, and calls `cw` twice",
    caught="tests/test_contract.py::test_promise[triplet-gradients]",
)
class OneForTwo(TripletAttention):
    """The gate of the plane C × W gates the plane H × C, too."""

    def attention(self, x):
        t = x.transpose(1, 3)
        a = self.gates["cw"](torch.cat([t.amax(1, keepdim=True), t.mean(1, keepdim=True)], 1))
        return super().attention(x) | {"hc": a.transpose(1, 3)}


def one_for_two(cls: type[nn.Module] = OneForTwo) -> int:
    """How many of the 300 parameters a gradient reaches."""
    module = _fresh(cls)
    module(_images()).square().sum().backward()
    return sum(p.numel() for p in module.parameters() if p.grad is not None)


@error(
    kind="another function of the same weights",
    found="`attention_mechanisms/triplet_attention.py` of changzy00/pytorch-attention at `8ce59da`",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[triplet]",
)
class SwappedPools(TripletAttention):
    """The mean stacked before the maximum, and the plane of channels and height laid down as C × H."""

    def attention(self, x):
        a = {}
        for side, order in (("cw", (2, 1, 3)), ("hc", (3, 1, 2)), ("hw", (1, 2, 3))):
            t = x.permute(0, *order)
            z = torch.cat([t.mean(1, keepdim=True), t.amax(1, keepdim=True)], 1)
            a[side] = self.gates[side](z).permute(0, *(1 + order.index(n) for n in (1, 2, 3)))
        return a


@torch.no_grad()
def swapped_pools(cls: type[nn.Module] = SwappedPools) -> float:
    """Largest change of a gate when it takes over the weights of ours."""
    ours, theirs = _fresh(TripletAttention), _fresh(cls)
    theirs.load_state_dict(ours.state_dict())  # the shapes agree, so nothing complains
    given, taken = ours.attention(_images()), theirs.attention(_images())
    return max(float((given[k] - taken[k]).abs().max()) for k in given)


def _fresh(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64).eval()


def _images() -> torch.Tensor:
    return TripletAttention.card.example(64)[0]
