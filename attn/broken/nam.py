# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of NAM."""

import torch
from torch import nn

from ..mixed.nam import NAM
from . import error


@error(
    kind=".data cuts the gradient",
    found="`MODELS/attention.py` of Christian-lyc/NAM at `6e8d3e3`, the authors' own; "
    "`models/Models/Attention/NAMAttention.py` of iscyy/yoloair at `ca55875`",
    caught="tests/mixed/test_nam.py::test_a_scale_changes_the_gates_of_the_other_channels_and_learns_from_it",
)
class CutShare(NAM):
    """Reads the scales of the share from .data."""

    def _share(self):
        size = self.norm.weight.data.abs()
        return (size / size.sum())[:, None, None]


def cut_share(cls: type[nn.Module] = CutShare) -> float:
    """Gradient of the mean gate of one channel in the scale of another, C = 8."""
    module = cls(8).eval()
    (slope,) = torch.autograd.grad(module.attention(_maps(8).abs())[:, 0].mean(), module.norm.weight)
    return float(slope[1])


@error(
    kind="NaN at the edge",
    found="`MODELS/attention.py` of Christian-lyc/NAM at `6e8d3e3`, the authors' own; "
    "`models/Models/Attention/NAMAttention.py` of iscyy/yoloair at `ca55875`",
    caught="tests/mixed/test_nam.py::test_without_any_scale_every_gate_is_a_half[dtype0]",
)
class NoFloor(NAM):
    """Divides by the sum of the scales, whatever it is."""

    def _share(self):
        size = self.norm.weight.abs()
        return (size / size.sum())[:, None, None]


@torch.no_grad()
def no_floor(cls: type[nn.Module] = NoFloor) -> float:
    """Share of NaN in the result where the penalty has brought every scale to 0."""
    module = cls(64).eval()
    module.norm.weight.zero_()
    return float(module(_maps(64)).isnan().float().mean())


@error(
    kind="another function of the same weights",
    found="not found in code; pages about the paper print the share as γ over the sum of γ, "
    "such as 0809zheng.github.io/2020/10/31/nam.html",
    caught="tests/mixed/test_nam.py::test_equals_the_equations[eval]",
)
class SignedShare(NAM):
    """Leaves the signs of the scales in the share."""

    def _share(self):
        gamma = self.norm.weight
        return (gamma / gamma.sum())[:, None, None]


@torch.no_grad()
def signed_share(cls: type[nn.Module] = SignedShare) -> float:
    """Largest gate with the scales 1 and -0.99 in turn, C = 64."""
    module = cls(64).eval()
    module.norm.weight[1::2] = -0.99
    return float(module.attention(_maps(64)).max())


@error(
    kind="wrong axis",
    found="public code under the class name `NAMSpatialAttention`; we do not know its repositories",
    caught="tests/mixed/test_nam.py::test_equals_the_equations[eval]",
)
class InstanceAsPixels(NAM):
    """A second gate said to be spatial, from an instance normalisation with a scale for each channel."""

    def __init__(self, channels):
        super().__init__(channels)
        self.pixels = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x):
        y, size = super().forward(x), self.pixels.weight.abs()[:, None, None]
        return y * self.gate(size / size.sum() * self.pixels(y))


@torch.no_grad()
def instance_as_pixels(cls: type[nn.Module] = InstanceAsPixels) -> float:
    """Mean ratio of result to input at the start, C = 64."""
    x = _maps(64)
    return float((cls(64).eval()(x) / x).mean())


def _maps(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 9, 7, generator=torch.Generator().manual_seed(0))
