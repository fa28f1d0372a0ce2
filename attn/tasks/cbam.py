# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Signals of which a colour says which and dots say where: what CBAM is for."""

import torch
from torch import Tensor, nn

MARK_CHANNELS = ("signal 1", "signal 2", "red", "blue", "dots")


def marks(n: int, seed: int = 0, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Two signals; the colour of a square says which of them is wanted, and dots say where.

    The signals are noise between -1/4 and 1/4. A red or blue square on a quarter of the map, at a random place, asks
    for the first or the second. Two dots of 4, at random places, ask for it at no more than three steps from a dot
    along either axis. The target is the wanted signal there, in its own channel, and 0 elsewhere. Most positions see
    neither the square nor a dot, so no function of a single pixel knows which or where. The channels of x are named by
    ``MARK_CHANNELS``.

    Args:
        side: of the map; there is a dot for every 128 positions.

    Returns:
        x (n 5 H W), the target (n 2 H W), and whether each square is red (n).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, len(MARK_CHANNELS), side, side)
    x[:, :2] = torch.rand(n, 2, side, side, generator=generator) / 2 - 0.25
    red, half = torch.rand(n, generator=generator) < 0.5, side // 2
    corners = torch.randint(side - half + 1, (n, 2), generator=generator).tolist()
    for b, (i, j) in enumerate(corners):
        x[b, 2 if red[b] else 3, i : i + half, j : j + half] = 1
    places = torch.rand(n, side * side, generator=generator).topk(side * side // 128).indices
    x[:, 4] = torch.zeros(n, side * side).scatter_(1, places, 4.0).unflatten(1, (side, side))
    near = nn.functional.max_pool2d(x[:, 4:], 7, 1, 3) > 0  # n 1 H W
    wanted = torch.stack([red, ~red], 1)[:, :, None, None]
    return x, x[:, :2] * wanted * near, red
