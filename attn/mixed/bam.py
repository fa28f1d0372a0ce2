# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Bottleneck Attention Module: a channel branch and a spatial branch, side by side, make one gate for every number.

Jongchan Park, Sanghyun Woo, Joon-Young Lee, In So Kweon: BAM: Bottleneck Attention Module, 2018, arXiv:1807.06514;
Figure 2 (the module), Section 3 (the two branches M_c and M_s, their combination M, the result).
Chapter: notebooks/mixed/bam.ipynb
"""

from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register


def _params(C: int, reduction: int = 16, dilation: int = 4, printed: bool = False) -> int:
    m = max(1, C // reduction)
    layers = (2 * C * m + m + C) + (C * m + m) + 2 * (9 * m * m + m) + (m + 1)  # W₀ and W₁, f₀, f₁ and f₂, f₃
    return layers + (2 * C + 2 if printed else 4 * 2 * m)  # the BNs


def _macs(C: int, H: int, W: int, reduction: int = 16, dilation: int = 4, printed: bool = False) -> int:
    m = max(1, C // reduction)
    # W₀ and W₁; f₀ to f₃ at every position; M_c ⊗ M_s, where it is a product, and x ⊗ M.
    return 2 * C * m + (C * m + 18 * m * m + m) * H * W + (1 if printed else 2) * C * H * W


@register(
    name="BAM",
    title="BAM: Bottleneck Attention Module",
    authors=("Jongchan Park", "Sanghyun Woo", "Joon-Young Lee", "In So Kweon"),
    year=2018,
    venue="BMVC 2018",
    paper="https://arxiv.org/abs/1807.06514",
    code="https://github.com/Jongchan/attention-module",
    code_licence="MIT",
    maps=Map("B C H W", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="(C²/r + C²/r² + C)·H·W",
    studied={"printed": (False, True)},
    hosts=(
        Host(
            *("resnet50", "stage", 25_915_099, "the authors' ResidualNet('ImageNet', 50, 1000, 'BAM')"),
            printed=(
                Printed(
                    *("README of implus/PytorchInsight", "25.92 M", "4.205 G", "layers"),
                    why="a count by layers sees none of its 2.8 million products of maps and features",
                ),
            ),
        ),
    ),
    rebuild=lambda module, a, x: x + x * a,
)
class BAM(nn.Module):
    """Bottleneck Attention Module (Park et al., 2018).

    M_c(x) = W₁ δ(BN(W₀ mean_ij x))                    channel branch: δ = ReLU
    M_s(x) = f₃ * g(f₂ * g(f₁ * g(f₀ * x)))            spatial branch: g = δ(BN(·)); f₁, f₂ are 3×3, f₀, f₃ are 1×1
    M(x) = σ(M_c(x) ⊗ M_s(x))                          σ = sigmoid
    y = x + x ⊗ M(x)

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; both branches have C/r hidden channels, rounded down, at least one.
        dilation: d, the distance between the taps of f₁ and f₂.
        printed: whether the two branches are as the paper prints them, instead of as the authors' code has them:
            M_c = BN(W₁ δ(W₀ mean_ij x)), M_s = BN(f₃ * f₂ * f₁ * f₀ * x), M = σ(M_c + M_s). All have biases.

    Shapes:
        x: B C H W, y: B C H W, attention: M, B C H W in (0, 1).

    Raises:
        ValueError: ``reduction`` or ``dilation`` is below 1.

    Differs: the paper adds the branches and closes each with one BN; the authors' code multiplies them and has a BN
    and a ReLU behind every layer but the last of a branch. Ours follows the code, which their weights belong to. It
    lacks one line of theirs, which names a variable that does not exist. Theirs averages over squares of side H, which
    is the mean over the map where it is square; ours is that mean always. On a batch of one the BN on the means trains
    with its running statistics, where theirs raises. Where C < r one hidden channel stays.
    """

    def __init__(self, channels: int, *, reduction: int = 16, dilation: int = 4, printed: bool = False):
        super().__init__()
        for option, value, usual in (("reduction", reduction, 16), ("dilation", dilation, 4)):
            if value < 1:
                raise ValueError(f"{option} must be at least 1, not {value!r}; the authors' default is {usual}")
        hidden = max(1, channels // reduction)

        def between():
            return () if printed else (BatchNorm2d(hidden), nn.ReLU())

        def close(width):
            return (BatchNorm2d(width),) if printed else ()

        def dilated():
            return nn.Conv2d(hidden, hidden, 3, padding=dilation, dilation=dilation)

        self.channel = nn.Sequential(
            *(nn.Conv2d(channels, hidden, 1), *(between() or [nn.ReLU()])),  # W₀
            *(nn.Conv2d(hidden, channels, 1), *close(channels)),  # W₁
        )
        self.spatial = nn.Sequential(
            *(nn.Conv2d(channels, hidden, 1), *between()),  # f₀
            *(dilated(), *between()),  # f₁
            *(dilated(), *between()),  # f₂
            *(nn.Conv2d(hidden, 1, 1), *close(1)),  # f₃
        )
        self.gate = nn.Sigmoid()
        self.printed = printed

    def _channel(self, x: Tensor) -> Tensor:
        return self.channel(x.mean((2, 3), keepdim=True))  # B C 1 1

    def attention(self, x: Tensor) -> Tensor:
        """The gate M, B C H W."""
        channel, spatial = self._channel(x), self.spatial(x)  # B C 1 1, B 1 H W
        return self.gate(channel + spatial if self.printed else channel * spatial)

    def forward(self, x: Tensor) -> Tensor:
        return x + x * self.attention(x)
