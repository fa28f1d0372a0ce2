# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Self-calibrated convolution: a small copy of the map, convolved, says where each channel of the large one counts.

Jiang-Jiang Liu, Qibin Hou, Ming-Ming Cheng, Changhu Wang, Jiashi Feng: Improving Convolutional Networks with
Self-Calibrated Convolutions, 2020, CVPR; Figure 2 (the convolution), Eqs. 2 to 5 (the calibration).
Chapter: notebooks/mixed/scnet.ipynb
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register


def _params(C: int, pool: int = 4, bilinear: bool = False, stride: int = 1) -> int:
    return 9 * C * C + 2 * C  # four convolutions of half the channels; two BN


def _macs(C: int, H: int, W: int, pool: int = 4, bilinear: bool = False, stride: int = 1) -> int:
    small = max(1, H // pool) * max(1, W // pool)
    large = -(-H // stride) * -(-W // stride)
    # K₂ on the small map, K₃ on the input's positions, K₄ and K₁ on the output's; the gate.
    return 9 * C * C // 4 * (small + H * W + 2 * large) + C // 2 * H * W


_README = "SCNet, README of the authors' code"


@register(
    name="Self-calibrated convolution",
    title="Improving Convolutional Networks with Self-Calibrated Convolutions",
    authors=("Jiang-Jiang Liu", "Qibin Hou", "Ming-Ming Cheng", "Changhu Wang", "Jiashi Feng"),
    year=2020,
    venue="CVPR 2020",
    paper="https://mmcheng.net/scconv/",
    code="https://github.com/MCG-NKU/SCNet",
    code_licence="MIT",
    maps=Map("B c H W", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="k²·C²·H·W",
    studied={"pool": (1, 2)},
    hosts=(
        Host(
            *("resnet50", "every", 25_564_584, "SCNet-50: `scnet50()` in the authors' scnet.py, counted"),
            printed=(Printed(_README, "25.56 M", "4.0 G", "layers"),),
        ),
        Host(
            *("resnet101", "every", 44_565_416, "SCNet-101: `scnet101()` in the authors' scnet.py, counted"),
            printed=(Printed(_README, "44.57 M", "7.2 G", "layers"),),
        ),
    ),
    detector="replace",
    rebuild=lambda module, a, x: module._calibrate(*x.chunk(2, 1), a),
)
class SelfCalibratedConv(nn.Module):
    """Self-calibrated convolution (Liu et al., 2020). It stands for a 3×3 convolution.

    x = [x₁, x₂]                   the two halves of the channels
    t₁ = AvgPool_r(x₁)             the means of windows of r × r positions, Eq. 2
    x₁′ = Up(BN(K₂ * t₁))          back to the size of x₁, Eq. 3
    a = σ(x₁ + x₁′)
    y₁′ = BN(K₃ * x₁) ⊙ a          Eq. 4
    y₁ = K₄ * y₁′                  Eq. 5
    y₂ = K₁ * x₂
    y = [y₁, y₂]                   one behind the other

    Args:
        channels: C, the number of channels of the input and of the output, an even one.
        pool: r, side and step of the windows of the pooling.
        bilinear: whether Up interpolates, as the paper writes, or repeats the nearest value, as the authors' code does.
        stride: of K₁ and K₄.

    Shapes:
        x: B C H W, y: B C H W (at a stride H and W are divided by it and rounded up), attention: B C/2 H W in (0, 1).

    Raises:
        ValueError: C is odd, or ``pool`` or ``stride`` is below 1.

    Differs: the paper has no BN in its equations; those behind K₂ and K₃ are in the authors' code. There each of K₁ and
    K₄ has one as well: here they are the two halves of the BN that stands behind a 3×3 convolution anyway, in the
    paper's network and in a detector. The paper writes a bilinear Up; the authors' code takes the nearest value, as
    does ours by default, and they say (issue 6 of their repository) that this code gave the figures of the paper. It
    has y₂ in front of y₁, and fails on a map with a side below r; ours pools such a side as a whole. On one value a
    channel a BN trains with its running statistics. Their convolutions start normal with a variance of 2 over k² times
    the channels that leave, ours as PyTorch's do. Their groups and dilation are left out.
    """

    def __init__(self, channels: int, *, pool: int = 4, bilinear: bool = False, stride: int = 1):
        super().__init__()
        for name, value in (("pool", pool), ("stride", stride)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        if channels % 2:
            raise ValueError(f"channels must be even, one half for each way, not {channels}; near it: {channels + 1}")
        half = channels // 2
        self.pool, self.mode = pool, "bilinear" if bilinear else "nearest"

        def conv(stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(half, half, 3, stride, padding=1, bias=False)

        self.k1 = conv(stride)
        self.k2 = nn.Sequential(conv(), BatchNorm2d(half))
        self.k3 = nn.Sequential(conv(), BatchNorm2d(half))
        self.k4 = conv(stride)

    def _gate(self, x1: Tensor) -> Tensor:
        H, W = x1.shape[2:]
        t1 = F.avg_pool2d(x1, (min(self.pool, H), min(self.pool, W)))  # B C/2 H/r W/r, rounded down
        return (x1 + F.interpolate(self.k2(t1), (H, W), mode=self.mode)).sigmoid()

    def _calibrate(self, x1: Tensor, x2: Tensor, a: Tensor) -> Tensor:
        return torch.cat([self.k4(self.k3(x1) * a), self.k1(x2)], 1)

    def attention(self, x: Tensor) -> Tensor:
        """The gate a, B C/2 H W."""
        return self._gate(x.chunk(2, 1)[0])

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, 1)
        return self._calibrate(x1, x2, self._gate(x1))
