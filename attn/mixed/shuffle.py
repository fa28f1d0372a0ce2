# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Shuffle attention: half of each group of channels gets a gate per channel, half a gate per position; then a shuffle.

Qing-Long Zhang, Yu-Bin Yang: SA-Net: Shuffle Attention for Deep Convolutional Neural Networks, 2021, arXiv:2102.00240.
Chapter: notebooks/mixed/shuffle.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, largest_divisor, register

GROUPS = 64  # G in all of the authors' networks


def _params(C: int, groups: int | None = None) -> int:
    return 6 * C // (2 * (groups or largest_divisor(C // 2, GROUPS)))  # W₁, b₁, W₂, b₂, γ and β of C/2G numbers each


def _macs(C: int, H: int, W: int, groups: int | None = None) -> int:
    # W₁ on the means; W₂ on every normalised value; the gates on both halves.
    return C // 2 + C // 2 * H * W + C * H * W


def _rebuild(module: nn.Module, a: dict[str, Tensor], x: Tensor) -> Tensor:
    first, second = module._halves(x)
    gates = (t.unflatten(1, (module.groups, -1)) for t in a.values())  # B G n 1 1, B G n H W
    return module._dealt(*(half * gate for half, gate in zip((first, second), gates, strict=True)))


@register(
    name="Shuffle Attention",
    title="SA-Net: Shuffle Attention for Deep Convolutional Neural Networks",
    authors=("Qing-Long Zhang", "Yu-Bin Yang"),
    year=2021,
    venue="ICASSP 2021",
    paper="https://arxiv.org/abs/2102.00240",
    code="https://github.com/wofmanaf/SA-Net",
    code_licence="none",
    maps={"channel": Map("B K 1 1", range=(0, 1)), "spatial": Map("B K H W", range=(0, 1))},
    params=_params,
    macs=_macs,
    order="C·H·W",
    hosts=(
        Host(
            *("resnet50", "residual", 25_557_740, "the authors' sa_resnet50()"),
            printed=(Printed("README of wofmanaf/SA-Net", "25.56 M"),),
        ),
        Host(
            *("resnet101", "residual", 44_550_684, "the authors' sa_resnet101()"),
            printed=(Printed("README of wofmanaf/SA-Net", "44.55 M"),),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=_rebuild,
)
class ShuffleAttention(nn.Module):
    """Shuffle Attention (Zhang and Yang, 2021).

    The C channels are cut into G groups, and group k into two halves of n = C/2G channels, x_k1 and x_k2.

    s = 1/(H·W) Σ_ij x_k1                  the mean of each channel
    x′_k1 = σ(W₁ s + b₁) ⊙ x_k1            a gate per channel: σ = sigmoid
    x′_k2 = σ(W₂ GN(x_k2) + b₂) ⊙ x_k2     a gate per channel and position
    y = shuffle([x′_11, x′_12, x′_21, …])  row by row into 2 × C/2, out column by column: channel c goes to 2c,
                                           channel C/2 + c to 2c + 1

    W₁, b₁, W₂, b₂ are n numbers each, one a channel, the same in all groups; W start at 0, b at 1. GN is a group norm
    with n groups of one channel, so that every channel of an image is normalised by itself, with a scale γ and a
    shift β of n numbers each.

    Args:
        channels: C, even, the number of channels of the input and of the output.
        groups: G; group k has the C/G channels from k·C/G on. None takes the largest divisor of C/2 up to the authors'
            64, which leaves one channel a half where C is 128 or less.

    Shapes:
        x: B C H W, y: B C H W with its channels in another order; attention: channel B C/2 1 1 and spatial
        B C/2 H W, both in (0, 1), the halves of all groups in the order of x.

    Raises:
        ValueError: ``channels`` is odd, or ``groups`` does not divide half of them.

    Differs: the authors' code takes 64 groups whatever C is. Where 64 does not divide C/2 it fails, but for C = 192,
    where it cuts each group of three channels into two and one. With one group it refuses a batch of one 1×1 map; ours
    takes it.
    """

    def __init__(self, channels: int, *, groups: int | None = None):
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels must be even, not {channels!r}; near it: {channels - 1} and {channels + 1}")
        half = channels // 2
        if groups is None:
            groups = largest_divisor(half, GROUPS)
        if not isinstance(groups, int) or groups < 1 or half % groups:
            good = ", ".join(str(d) for d in range(1, half + 1) if half % d == 0)
            raise ValueError(f"groups must divide {half}, half of the channels, not {groups!r}; these do: {good}")
        self.groups, n = groups, half // groups
        self.channel_weight = nn.Parameter(torch.zeros(n, 1, 1))  # W₁
        self.channel_bias = nn.Parameter(torch.ones(n, 1, 1))  # b₁
        self.spatial_weight = nn.Parameter(torch.zeros(n, 1, 1))  # W₂
        self.spatial_bias = nn.Parameter(torch.ones(n, 1, 1))  # b₂
        self.norm = nn.GroupNorm(n, n)  # γ and β
        self.gate = nn.Sigmoid()

    def extra_repr(self) -> str:
        return f"groups={self.groups}"

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.unflatten(1, (self.groups, -1)).chunk(2, 2)  # B G n H W each

    def _channel(self, x: Tensor) -> Tensor:
        return self.gate(self.channel_weight * x.mean((3, 4), keepdim=True) + self.channel_bias)  # B G n 1 1

    def _spatial(self, x: Tensor) -> Tensor:
        # Not by calling the layer, which refuses a single group of 1×1.
        z = torch.group_norm(x.flatten(0, 1), x.shape[2], self.norm.weight, self.norm.bias, self.norm.eps)
        return self.gate(self.spatial_weight * z.unflatten(0, (-1, self.groups)) + self.spatial_bias)  # B G n H W

    def _dealt(self, first: Tensor, second: Tensor) -> Tensor:
        y = torch.cat([first, second], 2).flatten(1, 2)  # B C H W
        return y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The gates: of the first halves, B C/2 1 1, and of the second ones, B C/2 H W."""
        first, second = self._halves(x)
        return {"channel": self._channel(first).flatten(1, 2), "spatial": self._spatial(second).flatten(1, 2)}

    def forward(self, x: Tensor) -> Tensor:
        first, second = self._halves(x)
        return self._dealt(first * self._channel(first), second * self._spatial(second))
