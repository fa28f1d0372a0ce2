# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Pyramid squeeze attention: kernels of four sizes give a quarter of the channels each, and one SE weighs them.

Hu Zhang, Keke Zu, Jian Lu, Yuru Zou, Deyu Meng: EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional
Neural Network (first version: Pyramid Split Attention), 2021, arXiv:2105.14447.
Chapter: notebooks/channel/epsa.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, largest_divisor, register

KERNELS = (3, 5, 7, 9)


def _groups(channels: int, kernel_size: tuple[int, ...], groups: tuple[int, ...] | None) -> tuple[int, ...]:
    """One number a branch: the paper's 1, 4, 8 and 16, or the next below that divides the channels of a branch."""
    if groups is not None:
        return groups
    return tuple(largest_divisor(channels // len(kernel_size), 2 ** (k // 2) if k > 3 else 1) for k in kernel_size)


def _hidden(part: int, reduction: int) -> int:
    return max(1, part // reduction)


def _taps(C: int, kernel_size: tuple[int, ...], groups: tuple[int, ...] | None) -> int:
    """The weights of the convolutions."""
    each = zip(kernel_size, _groups(C, kernel_size, groups), strict=True)
    return sum(k * k * (C // len(kernel_size)) * (C // g) for k, g in each)


def _params(C: int, kernel_size=KERNELS, groups=None, reduction: int = 16, stride: int = 1) -> int:
    part = C // len(kernel_size)
    m = _hidden(part, reduction)
    return _taps(C, kernel_size, groups) + 2 * part * m + m + part  # the two layers of the SE, their biases


def _macs(C: int, H: int, W: int, kernel_size=KERNELS, groups=None, reduction: int = 16, stride: int = 1) -> int:
    part, places = C // len(kernel_size), -(-H // stride) * -(-W // stride)
    # The convolutions; the SE once for each of them; each number times its weight.
    return _taps(C, kernel_size, groups) * places + 2 * C * _hidden(part, reduction) + C * places


@register(
    name="Pyramid Squeeze Attention",
    title="EPSANet: An Efficient Pyramid Squeeze Attention Block on Convolutional Neural Network",
    authors=("Hu Zhang", "Keke Zu", "Jian Lu", "Yuru Zou", "Deyu Meng"),
    year=2021,
    venue="arXiv 2021",
    paper="https://arxiv.org/abs/2105.14447",
    code="https://github.com/murufeng/EPSANet",
    code_licence="MIT",
    maps=Map("B S c 1 1", range=(0, 1), sums="S"),
    params=_params,
    macs=_macs,
    order="k²·C²/(S·g)·H·W + C²/(S²·r)",
    hosts=(
        Host(
            *("resnet50", "every", 22_561_715, "EPSANet-50 (Small): models/epsanet.py of murufeng/EPSANet"),
            printed=(Printed("EPSANet, README of the authors' code", "22.56 M", "3.62 G", "norms"),),
        ),
        Host(
            *("resnet101", "every", 38_900_279, "EPSANet-101 (Small): models/epsanet.py of murufeng/EPSANet"),
            printed=(Printed("EPSANet, README of the authors' code", "38.90 M", "6.82 G", "norms"),),
        ),
    ),
    detector="replace",
    rebuild=lambda module, a, x: torch.cat([a[:, i] * f for i, f in enumerate(module._split(x))], 1),
)
class EPSA(nn.Module):
    """Pyramid squeeze attention, PSA (Zhang et al., 2021). It stands for a 3×3 convolution.

    F_i = K_i * x, i = 1 ... S            convolutions of kernel k_i in g_i groups, each to C' = C/S channels
    z_i = 1/(H·W) Σ_pq F_i(p, q)          C' means
    Z_i = σ(W₂ δ(W₁ z_i + b₁) + b₂)       one SE for all i, δ = ReLU, σ = sigmoid
    a_ic = exp(Z_ic) / Σ_j exp(Z_jc)      a softmax over the branches, for each of the C' channels
    y = [a_1 F_1, ..., a_S F_S]           one behind the other

    Args:
        channels: C, the number of channels of the input and of the output.
        kernel_size: k_i, one odd number a branch; the paper's are 3, 5, 7 and 9.
        groups: g_i, one number a branch. None takes for a kernel k the largest divisor of C' that is not above
            2^((k − 1)/2), and 1 for k = 3: the paper's 1, 4, 8 and 16.
        reduction: r; the hidden layer of the SE has C'/r units, rounded down, at least one.
        stride: of the convolutions.

    Shapes:
        x: B C H W, y: B C H W (at a stride H and W are divided by it and rounded up), attention: B S C' 1 1 in (0, 1),
        adding up to one over the S branches.

    Raises:
        ValueError: a kernel is even, there are fewer than two or their number does not divide C, ``groups`` does not
            divide C' or has another length, or a number is below 1.

    Differs: the paper's text gives each convolution a part of the channels of x; the authors' code gives each of them
    all of x, and their answer in its issue 9 is to follow the code, as ours does. That code lines the branches up
    backwards, the largest kernel first; ours stand in the order of the equation, so that of weights trained there what
    follows y must be reordered. Where C' < r, below 64 channels, theirs has no hidden unit left; ours keeps one.
    Theirs cannot be built where 16 does not divide C'; there our default has fewer groups. The convolutions start as
    theirs, normal with a variance of 2 / (k² C').
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: tuple[int, ...] = KERNELS,
        groups: tuple[int, ...] | None = None,
        reduction: int = 16,
        stride: int = 1,
    ):
        super().__init__()
        for name, value in (("reduction", reduction), ("stride", stride)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        several = isinstance(kernel_size, tuple | list) and len(kernel_size) > 1
        if not several or any(k < 1 or k % 2 == 0 for k in kernel_size):
            raise ValueError(f"kernel_size must be odd numbers, two or more, not {kernel_size!r}; near: {KERNELS}")
        S = len(kernel_size)
        if channels % S:
            near = max(S, channels // S * S)
            raise ValueError(f"channels must be a multiple of {S}, one part a kernel, not {channels}; near it: {near}")
        part, fitted = channels // S, _groups(channels, kernel_size, groups)  # C′, g
        if not isinstance(fitted, tuple | list) or len(fitted) != S or any(g < 1 or part % g for g in fitted):
            good = _groups(channels, kernel_size, None)
            raise ValueError(f"groups must be {S} divisors of the {part} channels a part, not {groups!r}; near: {good}")
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, part, k, stride, k // 2, groups=g, bias=False)
            for k, g in zip(kernel_size, fitted, strict=True)
        )
        for conv in self.branches:
            nn.init.normal_(conv.weight, std=(2 / (conv.kernel_size[0] ** 2 * part)) ** 0.5)
        hidden = _hidden(part, reduction)
        self.weigh = nn.Sequential(nn.Linear(part, hidden), nn.ReLU(), nn.Linear(hidden, part), nn.Sigmoid())

    def _split(self, x: Tensor) -> list[Tensor]:
        return [conv(x) for conv in self.branches]  # S of B C′ H W

    def _weights(self, parts: list[Tensor]) -> Tensor:
        z = torch.stack([f.mean((2, 3)) for f in parts], 1)  # B S C′
        return self.weigh(z).softmax(1)[..., None, None]  # B S C′ 1 1

    def attention(self, x: Tensor) -> Tensor:
        """The weights a, B S C′ 1 1."""
        return self._weights(self._split(x))

    def forward(self, x: Tensor) -> Tensor:
        parts = self._split(x)
        return torch.cat(parts, 1) * self._weights(parts).flatten(1, 2)  # B C H W
