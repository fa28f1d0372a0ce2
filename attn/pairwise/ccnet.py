# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Criss-cross attention: every position looks along its own row and column, and a second pass carries it further.

Zilong Huang, Xinggang Wang, Lichao Huang, Chang Huang, Yunchao Wei, Wenyu Liu: CCNet: Criss-Cross Attention for
Semantic Segmentation, 2019, arXiv:1811.11721; the affinity and the aggregation of one pass, and the recurrence.
Chapter: notebooks/pairwise/ccnet.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Map, register


def _params(C: int, reduction: int = 8, passes: int = 2) -> int:
    D = max(1, C // reduction)
    return 2 * (C * D + D) + C * C + C + 1  # however many passes: they share the weights


def _macs(C: int, H: int, W: int, reduction: int = 8, passes: int = 2) -> int:
    D = max(1, C // reduction)
    layers = 2 * C * D + C * C
    # The scores and the mixing, for H + W keys of which one weighs nothing, and γ.
    return passes * H * W * (layers + (H + W) * (D + C) + C)


def _rebuild(module: nn.Module, attention: Tensor, x: Tensor) -> Tensor:
    for a in attention.unbind(1):  # B H W K
        x = x + module.gamma * _gather(a, module.v(x))
    return x


def _gather(a: Tensor, v: Tensor) -> Tensor:
    """The mean of the values on each position's cross, weighed by a: B H W K and B C H W to B C H W."""
    column, row = a[..., : v.shape[2]], a[..., v.shape[2] :]
    return torch.einsum("bhwi,bciw->bchw", column, v) + torch.einsum("bhwj,bchj->bchw", row, v)


@register(
    name="Criss-Cross Attention",
    title="CCNet: Criss-Cross Attention for Semantic Segmentation",
    authors=("Zilong Huang", "Xinggang Wang", "Lichao Huang", "Chang Huang", "Yunchao Wei", "Wenyu Liu"),
    year=2019,
    venue="ICCV 2019",
    paper="https://arxiv.org/abs/1811.11721",
    code="https://github.com/speedinghzl/CCNet",
    code_licence="MIT",
    maps=Map("B R H W K", range=(0, 1), sums="K"),
    params=_params,
    macs=_macs,
    order="R·H·W·(C² + (H + W)·C)",
    studied={"passes": (1, 2)},
    limits={"hosts": "the paper's network segments, and no count of it was found that could be read"},
    symmetries=("shift", "flip", "transpose"),
    rebuild=_rebuild,
)
class CrissCrossAttention(nn.Module):
    """Recurrent criss-cross attention (Huang et al., 2019).

    d_u,i = Q_u · K_i,  i ∈ Ω_u       affinity: Ω_u is the row and the column of u, H + W − 1 positions; not scaled
    A_u = softmax_i d_u               one softmax over the whole cross
    x_u ← x_u + γ Σ_i A_u,i V_i       aggregation: Q, K, V are 1×1 convolutions of x, γ is one number, 0 at the start
    y = x after R such passes, all with the same weights

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; queries and keys have C/r channels, rounded down, at least one.
        passes: R, how many times the module is applied.

    Shapes:
        x: B C H W, y: B C H W, attention: B R H W K with K = H + W, in [0, 1], adding up to one over K. The first H
        weights are the column of the position (h, w), from the top, with exactly 0 at h, which the row already has;
        the last W are its row.

    Raises:
        ValueError: ``reduction`` or ``passes`` is below 1.

    Differs: the authors' class is one pass, and their network calls it R times. It puts its mask on the GPU and fails
    where there is none; ours follows the input. Where C < r one channel stays in Q and K, where theirs has none left.
    """

    def __init__(self, channels: int, *, reduction: int = 8, passes: int = 2):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the authors' default is 8")
        if passes < 1:
            raise ValueError(f"passes must be at least 1, not {passes!r}; the authors take 2")
        self.q = nn.Conv2d(channels, max(1, channels // reduction), 1)
        self.k = nn.Conv2d(channels, max(1, channels // reduction), 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.passes = passes

    def extra_repr(self) -> str:
        return f"passes={self.passes}"

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.q(x), self.k(x), self.v(x)

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        column = torch.einsum("bchw,bciw->bhwi", q, k)  # B H W H
        row = torch.einsum("bchw,bchj->bhwj", q, k)  # B H W W
        i = torch.arange(q.shape[2], device=q.device)
        itself = (i[:, None] == i)[:, None]  # H 1 H
        return torch.cat([column.masked_fill(itself, -torch.inf), row], 3).softmax(3)

    def _step(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One pass: the new map, B C H W, and its weights, B H W K."""
        q, k, v = self._qkv(x)
        a = self._weights(q, k)
        return x + self.gamma * _gather(a, v), a

    def attention(self, x: Tensor) -> Tensor:
        """The weights A of every pass, B R H W K."""
        maps = []
        for _ in range(self.passes):
            x, a = self._step(x)
            maps.append(a)
        return torch.stack(maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.passes):
            x, _ = self._step(x)
        return x
