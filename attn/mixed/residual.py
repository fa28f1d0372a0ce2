# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Residual Attention: an hourglass beside the trunk looks at the map from afar and gates every number of the trunk.

Fei Wang, Mengqing Jiang, Chen Qian, Shuo Yang, Cheng Li, Honggang Zhang, Xiaogang Wang, Xiaoou Tang: Residual Attention
Network for Image Classification, 2017, arXiv:1704.06904; Sections 3.1 (the result) and 3.2 (the soft mask branch), and
the authors' layer by layer definition of Attention-56.
Chapter: notebooks/mixed/residual.ipynb
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register


class Unit(nn.Module):
    """A residual unit whose norms stand in front: x + U₃ φ(U₂ * φ(U₁ φ(x))), a quarter as wide inside."""

    def __init__(self, channels: int):
        super().__init__()
        inside = max(1, channels // 4)
        self.branch = nn.Sequential(
            *(BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, inside, 1, bias=False)),  # U₁
            *(BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, inside, 3, padding=1, bias=False)),  # U₂
            *(BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, channels, 1, bias=False)),  # U₃
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Hourglass(nn.Module):
    """Down to half the side, through units and a smaller hourglass, and up again to the size of x."""

    def __init__(self, channels: int, poolings: int):
        super().__init__()
        self.down, self.up = Unit(channels), Unit(channels)
        deeper = poolings > 1
        self.skip = Unit(channels) if deeper else nn.Identity()
        self.inner = Hourglass(channels, poolings - 1) if deeper else None

    def forward(self, x: Tensor) -> Tensor:
        # Windows begin at every second position, as in Caffe; what is added behind the map leaves room for the last.
        z = F.max_pool2d(F.pad(x, (0, 2, 0, 2), value=float("-inf")), 3, 2)
        z = self.down(z)  # B C ⌈H/2⌉ ⌈W/2⌉
        if self.inner is not None:
            z = self.skip(z) + self.inner(z)
        return F.interpolate(self.up(z), x.shape[2:], mode="bilinear", align_corners=True)  # B C H W


def _params(C: int, poolings: int = 2, trunk: int = 0) -> int:
    m = max(1, C // 4)
    unit = 2 * C * m + 9 * m * m + 2 * C + 2 * 2 * m
    return (3 * poolings - 1 + trunk) * unit + 2 * (C * C + 2 * C)  # the units; W₁ and W₂ with the BN before each


def _macs(C: int, H: int, W: int, poolings: int = 2, trunk: int = 0) -> int:
    m = max(1, C // 4)
    unit, total, h, w = 2 * C * m + 9 * m * m, 0, H, W
    for level in range(poolings):
        h, w = (h + 1) // 2, (w + 1) // 2
        total += (2 if level == poolings - 1 else 3) * unit * h * w
    return total + (trunk * unit + 2 * C * C + C) * H * W  # W₁, W₂ and the product M ⊗ T


@register(
    name="Residual Attention",
    title="Residual Attention Network for Image Classification",
    authors=(
        *("Fei Wang", "Mengqing Jiang", "Chen Qian", "Shuo Yang"),
        *("Cheng Li", "Honggang Zhang", "Xiaogang Wang", "Xiaoou Tang"),
    ),
    year=2017,
    venue="CVPR 2017",
    paper="https://arxiv.org/abs/1704.06904",
    code="https://github.com/fwang91/residual-attention-network",
    code_licence="none",
    maps=Map("B C H W", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C²·H·W",
    studied={"poolings": (1, 2, 3), "trunk": (0, 2)},
    hosts=(
        Host(
            *("attention56", "between", 31_810_728, "the authors' Attention-56-deploy.prototxt, added up"),
            {"poolings": {256: 3, 512: 2, 1024: 1}, "trunk": 2},
            printed=(
                Printed(
                    *("README of implus/SKNet", "31.9 M", "6.32 G"),
                    why="that table calls it AttentionNeXt-56, beside the error of Attention-56",
                ),
            ),
        ),
        Host(
            *("attention92", "between", 52_466_344, "the authors' Attention-92-deploy.prototxt, added up"),
            {"poolings": {256: 3, 512: 2, 1024: 1}, "trunk": 2},
            printed=(
                Printed(
                    *("README of implus/SKNet", "51.3 M", "10.43 G"),
                    why="the authors' definition has more; where the difference lies is not known",
                ),
            ),
        ),
    ),
    limits={
        "autocast": "noise on every weight, as in this check, drives the scores before the sigmoid into the thousands, "
        "and bf16 turns the sign of some; with fresh weights they stay below ten and the promise is kept"
    },
    rebuild=lambda module, a, x: (1 + a) * module.trunk(x),
)
class ResidualAttention(nn.Module):
    """The Attention Module of the Residual Attention Network (Wang et al., 2017).

    M(x) = σ(W₂ φ(W₁ φ(hourglass(x))))      soft mask branch: φ = ReLU after BN, σ = sigmoid
    T(x) = t residual units on x             trunk branch; with t = 0 it is x itself
    y = (1 + M(x)) ⊗ T(x)                    ⊗ number by number

    A level of the hourglass takes the maximum over 3×3 windows at every second position, runs a residual unit, adds
    what a smaller hourglass makes of it to what a unit on a skip connection does, runs one more unit and interpolates
    back to the size that it was given. The smallest level has no skip connection.

    Args:
        channels: C, the number of channels of the input and of the output.
        poolings: how many levels the hourglass has. The paper takes 3, 2 and 1 for maps of 56, 28 and 14 pixels, so
            that the smallest map always has 7; ours does not know the size in advance and takes 2.
        trunk: t, the residual units of the trunk branch; 2 in the paper.

    Shapes:
        x: B C H W, y: B C H W, attention: M, B C H W in (0, 1).

    Raises:
        ValueError: ``poolings`` is below 1, or ``trunk`` is below 0.

    Differs: the residual units that stand before and behind a module in the paper (p = 1) belong to the network around
    ours, and so by default do those of its trunk: inserted into a detector, the block in front of it is the trunk. The
    authors' definition is for Caffe, whose interpolation keeps the corners, as ours does. Where a side is odd, Caffe's
    pooling has ⌊H/2⌋ windows, ours ⌈H/2⌉, so that a map of one row can be pooled, too; the paper pools even sides only.
    On a batch of one 1×1 map a BN trains with its running statistics.
    """

    def __init__(self, channels: int, *, poolings: int = 2, trunk: int = 0):
        super().__init__()
        for option, value, least, usual in (("poolings", poolings, 1, "1 to 3"), ("trunk", trunk, 0, "2")):
            if value < least:
                raise ValueError(f"{option} must be at least {least}, not {value!r}; the paper has {usual}")
        self.trunk = nn.Sequential(*(Unit(channels) for _ in range(trunk)))
        self.mask = nn.Sequential(
            Hourglass(channels, poolings),
            *(BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False)),  # W₁
            *(BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False)),  # W₂
            nn.Sigmoid(),
        )

    def attention(self, x: Tensor) -> Tensor:
        """The soft mask M, B C H W."""
        return self.mask(x)

    def forward(self, x: Tensor) -> Tensor:
        t = self.trunk(x)
        return t + t * self.attention(x)
