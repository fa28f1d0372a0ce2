# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of the Residual Attention Network."""

import torch
from torch import nn
from torch.nn import functional as F

from ..mixed.residual import ResidualAttention, Unit
from . import error


@error(
    kind="wrong paper",
    found="`model/attention/ResidualAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`; it is the "
    "head of another paper, CSRA",
    caught="tests/test_contract.py::test_promise[residual-sizes]",
)
class Head(ResidualAttention):
    """A head for classification under this name, with neither a mask nor a trunk."""

    def __init__(self, channels, classes=1000, share=0.2):
        nn.Module.__init__(self)
        self.scores, self.share = nn.Conv2d(channels, classes, 1, bias=False), share

    def forward(self, x):
        s = self.scores(x).flatten(2)
        return s.mean(2) + self.share * s.amax(2)


@torch.no_grad()
def head(cls: type[nn.Module] = Head) -> int:
    """Axes of the result."""
    return _fresh(cls)(_maps()).dim()


@error(
    kind="another function of the same weights",
    found="not found in code; texts that shorten (1 + M) T to M T invite it, and the paper calls it the naive way",
    caught="tests/test_contract.py::test_promise[residual-rebuild]",
)
class Naive(ResidualAttention):
    """The trunk times the mask, and no trunk beside it."""

    def forward(self, x):
        return self.trunk(x) * self.attention(x)


@torch.no_grad()
def naive(cls: type[nn.Module] = Naive) -> float:
    """Size of a map behind eight fresh modules, as a share of what it was."""
    y = x = _maps()
    for seed in range(8):
        y = _fresh(cls, seed)(y)
    return float(y.norm() / x.norm())


@error(
    kind="wrong channel count",
    found="`Residual-Attention-Network/model/basic_layers.py` of tengshaofeng/ResidualAttentionNetwork-pytorch at "
    "`88ed90f`",
    caught="tests/test_contract.py::test_promise[residual-params]",
)
class UnusedShortcuts(ResidualAttention):
    """A 1 × 1 convolution for the shortcut of every unit, which none of them runs."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for unit in [m for m in self.modules() if isinstance(m, Unit)]:
            unit.shortcut = nn.Conv2d(channels, channels, 1, bias=False)


def unused_shortcuts(cls: type[nn.Module] = UnusedShortcuts) -> int:
    """Parameters that no gradient reaches at C = 64."""
    module = _fresh(cls)
    with torch.enable_grad():
        module(_maps()).sum().backward()
    return sum(p.numel() for p in module.parameters() if p.grad is None)


@error(
    kind="works at one size only",
    found="`Residual-Attention-Network/model/attention_module.py` of tengshaofeng/ResidualAttentionNetwork-pytorch at "
    "`88ed90f`, for pictures of 224 × 224",
    caught="tests/test_contract.py::test_promise[residual-sizes]",
)
class FixedSize(ResidualAttention):
    """Interpolation to a size that was written down, here 20 × 20."""

    def attention(self, x):
        return F.interpolate(super().attention(x), (20, 20))


@torch.no_grad()
def fixed_size(cls: type[nn.Module] = FixedSize) -> int:
    """Of the sides from 12 to 20, those whose maps it takes."""
    module, taken = _fresh(cls), 0
    for side in range(12, 21):
        try:
            taken += module(_maps(side)).shape[2] == side
        except RuntimeError:  # the sizes of mask and trunk differ
            continue
    return taken


def _fresh(cls: type[nn.Module], seed: int = 0) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return cls(64).eval()


def _maps(side: int = 20) -> torch.Tensor:
    return ResidualAttention.card.example(64, (side, side))[0]
