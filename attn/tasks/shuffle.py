# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Lamps that are on or off beside spots on maps of any brightness: what shuffle attention is for."""

import torch
from torch import Tensor


def lamps(n: int, seed: int = 0, pairs: int = 4, side: int = 10, across: int = 3) -> tuple[Tensor, Tensor]:
    """Channels of two kinds in turn, each to be cleaned in its own way.

    An even channel is a lamp: noise, which a lit one lifts by 2; the target is the channel where it is lit, else 0. An
    odd channel holds a spot, a square 4 above its surroundings, which are weak noise at a brightness between -8 and 4,
    drawn for every map; the target is the channel on the spot and 0 elsewhere.

    Args:
        pairs: of a lamp and a spot. side: of the map. across: of the spot.

    Returns:
        x and the target, both n (2 · pairs) H W.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, pairs, 2, side, side, generator=generator)
    lit = torch.randint(2, (n, pairs, 1, 1), generator=generator)
    level = 12 * torch.rand(n, pairs, 1, 1, generator=generator) - 8
    spot = torch.zeros(n, pairs, side, side)
    corners = torch.randint(side - across + 1, (n, pairs, 2), generator=generator)
    for b in range(n):
        for k, (i, j) in enumerate(corners[b].tolist()):
            spot[b, k, i : i + across, j : j + across] = 1
    lamp, map_ = noise[:, :, 0] + 2 * lit, noise[:, :, 1] / 4 + level + 4 * spot
    x, wanted = torch.stack([lamp, map_], 2), torch.stack([lit * lamp, spot * map_], 2)
    return x.flatten(1, 2), wanted.flatten(1, 2)
