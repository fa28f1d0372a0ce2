# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Photographs taken apart by the direction of their edges: what GCT, in which channels compete, is for."""

import torch
from torch import Tensor, nn

from .. import datasets
from ..channel.se import SE

# How far apart the two pixels of a difference are, rows and columns: eight directions, half a turn.
STEPS = ((0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (2, -1), (2, -2), (1, -2))


def edges(n: int, seed: int = 0, held_out: bool = False, side: int = 16, contrast: float = 1) -> tuple[Tensor, Tensor]:
    """Grey photographs taken apart by the direction of their edges, of which the strongest directions are wanted.

    Channel c of x is the difference of every pixel, between -1 and 1, to the one ``STEPS[c]`` further on; its mean over
    a crop is close to zero. The target keeps x in every channel whose norm is above the root mean square of the eight
    norms, and is 0 in the others.

    Args:
        held_out: draws from other photographs. side: of the crops, in pixels.
        contrast: what x is multiplied by; it changes nothing about which channels are wanted.

    Returns:
        x and the target, both n 8 H W.
    """
    images, *_ = datasets.photographs(size=128, n=8)
    photographs = torch.from_numpy(images).float().mean(-1) / 127.5 - 1  # 8 128 128
    photographs = photographs[torch.arange(8) % 3 == 2] if held_out else photographs[torch.arange(8) % 3 != 2]
    generator = torch.Generator().manual_seed(seed)
    wide = side + 4  # two pixels more on each side, so that every step stays inside
    which, top, left = (torch.randint(m, (n,), generator=generator) for m in (len(photographs), 129 - wide, 129 - wide))
    p = torch.stack([photographs[k, i : i + wide, j : j + wide] for k, i, j in zip(which, top, left, strict=True)])
    there = [p[:, 2 + i : 2 + i + side, 2 + j : 2 + j + side] for i, j in ((0, 0), *STEPS)]
    x = contrast * (torch.stack(there[1:], 1) - there[0][:, None])  # n 8 H W
    norm = x.norm(dim=(2, 3), keepdim=True)
    return x, x * (norm > norm.square().mean(1, keepdim=True).sqrt())


class Magnitudes(nn.Module):
    """SE that pools |x| instead of x, without a hidden layer that is narrower: it sees the norms, and not their ratio.

    Args:
        channels: C of x, B C H W.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.se = SE(channels, reduction=1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.se.attention(x.abs())
