# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of the Residual Attention Network."""

import torch
from torch import nn
from torch.nn import functional as F

from ..mixed.residual import Hourglass, ResidualAttention, Unit
from . import error

PORT = "`Residual-Attention-Network/model` of tengshaofeng/ResidualAttentionNetwork-pytorch at `88ed90f`"


@error(
    kind="wrong paper",
    found="`model/attention/ResidualAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`: the head of "
    "another paper, CSRA",
    caught="tests/test_contract.py::test_promise[residual-sizes]",
)
class Head(ResidualAttention):
    """A head for classification under this name, without a mask and without a map behind it."""

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
    kind="parameters not registered" if False else "wrong channel count",
    found=f"`basic_layers.py` in {PORT}",
    caught="tests/test_contract.py::test_promise[residual-params]",
)
class UnusedShortcuts(ResidualAttention):
    """A 1 × 1 convolution for the shortcut of every unit, which none of these units runs."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for unit in [m for m in self.modules() if isinstance(m, Unit)]:
            unit.shortcut = nn.Conv2d(channels, channels, 1, bias=False)


def unused_shortcuts(cls: type[nn.Module] = UnusedShortcuts) -> int:
    """Parameters that no gradient reaches, at C = 64."""
    module = _fresh(cls)
    module(_maps()).sum().backward()
    return sum(p.numel() for p in module.parameters() if p.grad is None)


@error(
    kind="works at one size only",
    found=f"`attention_module.py` in {PORT}, for pictures of 224 × 224",
    caught="tests/test_contract.py::test_promise[residual-sizes]",
)
class FixedSizes(ResidualAttention):
    """Interpolation to sizes that were written down for one input, here 20 × 20."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        glass, side = self.mask[0], 20
        while glass is not None:
            glass.up, side, glass = nn.Sequential(glass.up, nn.UpsamplingBilinear2d((side, side))), side // 2, glass.inner


@torch.no_grad()
def fixed_sizes(cls: type[nn.Module] = FixedSizes) -> float:
    """Largest change of a mask on a 24 × 24 map, against ours with the same weights."""
    return _beside(cls, (24, 24))


@error(
    kind="another function of the same weights",
    found=f"`attention_module.py` in {PORT}",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[residual]",
)
class CentredWindows(ResidualAttention):
    """Poolings that are padded by 1, so that each window lies one place further up and left."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for glass in [m for m in self.modules() if isinstance(m, Hourglass)]:
            glass.forward = lambda x: x


@torch.no_grad()
def centred_windows(cls: type[nn.Module] = CentredWindows) -> float:
    """Largest change of a mask on a 20 × 20 map, against ours with the same weights."""
    return _beside(cls, (20, 20))
