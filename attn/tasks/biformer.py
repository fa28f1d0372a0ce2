# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Regions in pairs of one colour, each with half of what both must know: what choosing regions by content is for."""

import torch
from torch import Tensor, nn

from ..pairwise.biformer import BiLevelRoutingAttention

SIDE = 4  # regions along either side
COLOURS = SIDE * SIDE // 2  # two regions of each


def partners(n: int, seed: int = 0, region: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """A board of 4 × 4 regions in eight colours; the two of one colour stand anywhere, and each holds a number.

    Channels 0 to 7 hold the colour, 1 in one of them, and channel 8 the number, between -1 and 1, at every position of
    the region. The target is, at every position, the mean of the region's number and that of its partner.

    Args:
        region: the side of a region.

    Returns:
        x (n 9 H W), the target (n 1 H W), and the colour of each region (n 16).
    """
    generator = torch.Generator().manual_seed(seed)
    colour = torch.rand(n, SIDE * SIDE, generator=generator).argsort(1) % COLOURS
    value = 2 * torch.rand(n, SIDE * SIDE, 1, generator=generator) - 1
    colours = nn.functional.one_hot(colour, COLOURS).float()  # n 16 8
    target = colours @ (colours.transpose(1, 2) @ value) / 2
    return _board(torch.cat([colours, value], 2), region), _board(target, region), colour


def _board(t: Tensor, region: int) -> Tensor:
    """n 16 C to n C H W."""
    t = t.transpose(1, 2).unflatten(2, (SIDE, SIDE))
    return t.repeat_interleave(region, 2).repeat_interleave(region, 3)


class Neighbours(BiLevelRoutingAttention):
    """Looks into its own region and into those that follow it, whatever they hold: the same k for every image."""

    def _route(self, q: Tensor, k: Tensor, inside: Tensor) -> Tensor:
        R = len(inside)
        own = torch.arange(R, device=q.device)[:, None]
        return ((own + torch.arange(self.topk, device=q.device)) % R).expand(len(q), -1, -1)
