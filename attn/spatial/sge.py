# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Spatial Group-wise Enhance: a gate per group of channels and position, by the likeness to the group's mean vector.

Xiang Li, Xiaolin Hu, Jian Yang: Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional
Networks, 2019, arXiv:1905.09646.
Chapter: notebooks/spatial/sge.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, largest_divisor, register

GROUPS = 64  # G in all of the authors' networks


def _params(C: int, groups: int | None = None) -> int:
    return 2 * (groups or largest_divisor(C, GROUPS))  # γ and β


def _macs(C: int, H: int, W: int, groups: int | None = None) -> int:
    # The likeness, the scale γ, the gate, each at every position.
    return C * H * W + (groups or largest_divisor(C, GROUPS)) * H * W + C * H * W


def _rebuild(module: nn.Module, a: Tensor, x: Tensor) -> Tensor:
    return x * a.repeat_interleave(x.shape[1] // a.shape[1], 1)


@register(
    name="Spatial Group-wise Enhance",
    title="Spatial Group-wise Enhance: Improving Semantic Feature Learning in Convolutional Networks",
    authors=("Xiang Li", "Xiaolin Hu", "Jian Yang"),
    year=2019,
    venue="arXiv",
    paper="https://arxiv.org/abs/1905.09646",
    code="https://github.com/implus/PytorchInsight",
    code_licence="none",
    maps=Map("B G H W", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C·H·W + G·H·W",
    hosts=(
        Host(
            *("resnet50", "residual", 25_559_080, "the authors' sge_resnet50(); 25.56M in their table"),
            printed=(
                Printed(
                    *("README of implus/PytorchInsight", "25.56 M", "4.127 G", "layers"),
                    why="a count by layers sees the pooling of SGE, 5.5 million, and none of its 11.9 million products",
                ),
            ),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=_rebuild,
)
class SGE(nn.Module):
    """Spatial Group-wise Enhance (Li et al., 2019).

    For each group m of C/G channels, x_i being the vector of those channels at position i of H·W:

    g = 1/(H·W) Σ_i x_i                        the group's mean vector
    c_i = g · x_i                              the likeness of position i to it
    ĉ_i = (c_i − mean c) / (std c + ε)         over the positions; std divides by H·W − 1, ε = 10⁻⁵
    a_i = γ_m ĉ_i + β_m                        a scale that starts at 0 and a shift that starts at 1
    y_i = σ(a_i) x_i                           σ = sigmoid

    Args:
        channels: C, the number of channels of the input and of the output.
        groups: G; group m has the C/G channels from m·C/G on. None takes the largest divisor of C up to the authors'
            64, which leaves one channel a group where C is 64 or less.

    Shapes:
        x: B C H W, y: B C H W, attention: B G H W in (0, 1).

    Raises:
        ValueError: ``groups`` does not divide ``channels``.

    Differs: the authors' code takes 64 groups whatever C is, and refuses a C that 64 does not divide. On a 1×1 map its
    std is that of one number, which is NaN; ours is 0 there, so that the gate is σ(β). Its ``view`` raises on
    channels_last input of more than one image; ours takes it.
    """

    eps = 1e-5

    def __init__(self, channels: int, *, groups: int | None = None):
        super().__init__()
        if groups is None:
            groups = largest_divisor(channels, GROUPS)
        if not isinstance(groups, int) or groups < 1 or channels % groups:
            good = ", ".join(str(d) for d in range(1, channels + 1) if channels % d == 0)
            raise ValueError(f"groups must divide the {channels} channels, not {groups!r}; these do: {good}")
        self.groups = groups
        self.weight = nn.Parameter(torch.zeros(1, groups, 1, 1))  # γ
        self.bias = nn.Parameter(torch.ones(1, groups, 1, 1))  # β
        self.gate = nn.Sigmoid()

    def extra_repr(self) -> str:
        return f"groups={self.groups}"

    def _map(self, x: Tensor) -> Tensor:
        g = x.mean((3, 4), keepdim=True)  # B G C/G 1 1
        c = (x * g).sum(2)  # B G H W
        several = int(c.shape[2] * c.shape[3] > 1)  # one position has no spread: std must not divide by 0
        c = (c - c.mean((2, 3), keepdim=True)) / (c.std((2, 3), correction=several, keepdim=True) + self.eps)
        return self.gate(self.weight * c + self.bias)

    def _grouped(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (self.groups, -1))  # B G C/G H W

    def attention(self, x: Tensor) -> Tensor:
        """The gates, B G H W: one for each group at each position."""
        return self._map(self._grouped(x))

    def forward(self, x: Tensor) -> Tensor:
        x = self._grouped(x)
        return (x * self._map(x).unsqueeze(2)).flatten(1, 2)
