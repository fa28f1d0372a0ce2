# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Rings around dots, as wide as the squares elsewhere in the picture are: what SK is for."""

import torch
from torch import Tensor


def rings(n: int, seed: int = 0, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Squares of one of two sizes, and dots that want a ring around them, narrow or wide as the squares are.

    Channel 0 has a dot of 4 for every 32 positions, at random places. Channel 1 has squares of 1 that cover an eighth
    of the map in either case: many of 2 × 2 or a quarter as many of 4 × 4, so that the mean does not tell the size.
    The target has 1 for each dot at the eight positions around it, at a distance of one where the squares are small
    and of two where they are large; what lies beyond the border is lost.

    Args:
        side: of the map, a multiple of 4.

    Returns:
        x (n 2 H W), the target (n 1 H W), and whether the squares are large (n).
    """
    generator = torch.Generator().manual_seed(seed)
    x, target = torch.zeros(n, 2, side, side), torch.zeros(n, 1, side + 4, side + 4)
    large = torch.rand(n, generator=generator) < 0.5
    cells = side // 4
    for b in range(n):
        wide = 4 if large[b] else 2
        order = torch.randperm(cells * cells, generator=generator)[: cells * cells * 2 // wide**2]
        for cell in order.tolist():
            i, j = torch.randint(5 - wide, (2,), generator=generator).tolist()
            i, j = i + cell // cells * 4, j + cell % cells * 4
            x[b, 1, i : i + wide, j : j + wide] = 1
        reach = wide // 2
        for dot in torch.randperm(side * side, generator=generator)[: side * side // 32].tolist():
            i, j = dot // side, dot % side
            x[b, 0, i, j] = 4
            ring = target[b, 0, i + 2 - reach : i + 3 + reach : reach, j + 2 - reach : j + 3 + reach : reach]
            ring += 1
            ring[1, 1] -= 1
    return x, target[..., 2:-2, 2:-2].contiguous(), large
