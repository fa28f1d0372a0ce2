# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Split attention: a convolution in several splits of its input, mixed channel by channel as their sum demands.

Hang Zhang, Chongruo Wu, Zhongyue Zhang, Yi Zhu, Haibin Lin, Zhi Zhang, Yue Sun, Tong He, Jonas Mueller, R. Manmatha,
Mu Li, Alexander Smola: ResNeSt: Split-Attention Networks, 2020, arXiv:2004.08955; the block of section 3 in the order
of channels that the authors' code has (there "radix-major").
Chapter: notebooks/channel/splat.ipynb
"""

import math

from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, largest_divisor, register


def _params(C: int, radix: int = 2, groups: int = 1, reduction: int = 4, min_hidden: int = 32, stride: int = 1) -> int:
    R, K, m = radix, groups, max(C * radix // reduction, min_hidden)
    # The convolution and its BN; the first layer of the gate and its BN; the second layer.
    return 9 * C * C // K + 2 * R * C + C * m // K + m + 2 * m + m * R * C // K + R * C


def _macs(
    C: int, H: int, W: int, radix: int = 2, groups: int = 1, reduction: int = 4, min_hidden: int = 32, stride: int = 1
) -> int:
    R, K, m = radix, groups, max(C * radix // reduction, min_hidden)
    places = -(-H // stride) * -(-W // stride)
    # The convolution; both layers of the gate; each split times its weights.
    return 9 * C * C // K * places + C * m // K + m * R * C // K + R * C * places


_TABLE = "ResNeSt, `ablation.md` in the authors' repository"
_MACS = "the authors' code has our multiply-adds, counted by us; how they counted theirs is not said"


@register(
    name="Split attention",
    title="ResNeSt: Split-Attention Networks",
    authors=(
        *("Hang Zhang", "Chongruo Wu", "Zhongyue Zhang", "Yi Zhu", "Haibin Lin", "Zhi Zhang", "Yue Sun", "Tong He"),
        *("Jonas Mueller", "R. Manmatha", "Mu Li", "Alexander Smola"),
    ),
    year=2020,
    venue="arXiv 2020; CVPR Workshops 2022",
    paper="https://arxiv.org/abs/2004.08955",
    code="https://github.com/zhanghang1989/ResNeSt",
    code_licence="Apache-2.0",
    maps=Map("B R C 1 1", range=(0, 1), sums="R"),
    params=_params,
    macs=_macs,
    order="k²·C²/g·H·W + R²·C²/(r·g)",
    studied={"radix": (1, 4), "groups": (2, 4)},
    hosts=(
        Host("resnest50", "unit", 27_483_240, "ResNeSt-50: the authors' `resnest50()`, counted"),
        Host(
            *("resnest50_fast", "unit", 27_483_240, "ResNeSt-50-fast 2s1x64d: the authors' `ablation.py`, counted"),
            printed=(Printed(_TABLE, "27.5 M", "4.34 G", why=_MACS),),
        ),
        Host(
            *("resnest50_fast", "unit", 26_217_896, "ResNeSt-50-fast 1s1x64d: the authors' `ablation.py`, counted"),
            {"radix": 1},
            printed=(
                Printed(
                    *(_TABLE, "26.3 M", "4.34 G"),
                    why=f"the authors' own code has 26,217,896 parameters; where 26.3 comes from is not known; {_MACS}",
                ),
            ),
        ),
        Host(
            *("resnest50_fast", "unit", 31_912_712, "ResNeSt-50-fast 4s1x64d: the authors' `ablation.py`, counted"),
            {"radix": 4},
            printed=(Printed(_TABLE, "31.9 M", "4.35 G", why=_MACS),),
        ),
        Host(
            *("resnest50_fast80", "unit", 26_943_792, "ResNeSt-50-fast 2s2x40d: the authors' `ablation.py`, counted"),
            {"groups": 2},
            printed=(Printed(_TABLE, "26.9 M", "4.38 G", why=_MACS),),
        ),
    ),
    detector="replace",
    rebuild=lambda module, a, x: (a * module._split(x)).sum(1),
)
class SplitAttention(nn.Module):
    """Split attention (Zhang et al., 2020). It stands for a 3×3 convolution with its BN and ReLU.

    U_r = δ(BN(F_r * x)), r = 1 ... R            F: one 3×3 convolution, C to R·C channels, in K·R groups
    g = 1/(H·W) Σ_ij Σ_r U_r(i, j)               of C numbers
    h = δ(BN(W₁ g + b₁))                         of m = max(R·C/r, L) numbers, in K groups
    q = W₂ h + b₂                                R·C scores, in K groups
    a_rc = exp(q_rc) / Σ_r′ exp(q_r′c)           a softmax over the splits, for each channel; σ(q_c) where R = 1
    y_c = Σ_r a_rc U_rc

    Args:
        channels: C, the number of channels of the input and of the output.
        radix: R, the number of splits. Split r reads the r-th part of the channels, C/R of them.
        groups: K, the cardinality: into how many cardinal groups the output of a split, and the gate, are split.
        reduction: r, the hidden layer of the gate has R·C/r units, rounded down.
        min_hidden: L, the least number of hidden units.
        stride: of the convolution. The paper's network has none here and pools behind the block.

    Shapes:
        x: B C H W, y: B C H W (at a stride H and W are divided by it and rounded up), attention: B R C 1 1 in (0, 1),
        adding up to one over the R splits where there are two or more.

    Raises:
        ValueError: K·R does not divide C, K does not divide the hidden units, or a number is below 1.

    Differs: on one value a channel (a batch of one, pooled) a BN trains with its running statistics; theirs refuses.
    The authors' network starts its convolutions normal with a variance of 2 over k² times the channels that leave, ours
    start as PyTorch's do. Their class has a bias in the convolution and no BN unless it is told otherwise; their
    networks tell it, and ours is what those have. DropBlock and the rectified convolution of their code are left out.
    In a detector the convolution alone is replaced, and its BN and activation stay behind the result.
    """

    def __init__(
        self,
        channels: int,
        *,
        radix: int = 2,
        groups: int = 1,
        reduction: int = 4,
        min_hidden: int = 32,
        stride: int = 1,
    ):
        super().__init__()
        sizes = {"radix": radix, "groups": groups, "reduction": reduction, "min_hidden": min_hidden, "stride": stride}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        hidden = max(channels * radix // reduction, min_hidden)  # m
        if channels % (groups * radix):
            near = largest_divisor(channels, groups * radix)
            text = f"groups times radix must divide the {channels} channels, not {groups} · {radix} = {groups * radix}"
            raise ValueError(f"{text}; near it: {near}")
        if hidden % groups:
            near = largest_divisor(math.gcd(hidden, channels // radix), groups)
            raise ValueError(f"groups must divide the {hidden} hidden units, not {groups}; near it: {near}")
        self.radix, self.groups = radix, groups
        self.conv = nn.Sequential(
            nn.Conv2d(channels, radix * channels, 3, stride, padding=1, groups=groups * radix, bias=False),  # F
            BatchNorm2d(radix * channels),
            nn.ReLU(),
        )
        self.fuse = nn.Sequential(nn.Conv2d(channels, hidden, 1, groups=groups), BatchNorm2d(hidden), nn.ReLU())  # W₁
        self.select = nn.Conv2d(hidden, radix * channels, 1, groups=groups)  # W₂

    def _split(self, x: Tensor) -> Tensor:
        return self.conv(x).unflatten(1, (self.radix, -1))  # B R C H W

    def _weigh(self, u: Tensor) -> Tensor:
        g = u.sum(1).mean((2, 3), keepdim=True)  # B C 1 1
        q = self.select(self.fuse(g)).unflatten(1, (self.groups, self.radix, -1))  # B K R C/K 1 1
        q = q.transpose(1, 2).flatten(2, 3)  # B R C 1 1, as the splits stand
        return q.softmax(1) if self.radix > 1 else q.sigmoid()

    def attention(self, x: Tensor) -> Tensor:
        """The weights a, B R C 1 1."""
        return self._weigh(self._split(x))

    def forward(self, x: Tensor) -> Tensor:
        u = self._split(x)
        return (self._weigh(u) * u).sum(1)
