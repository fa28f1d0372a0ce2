# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Two kinds of dots among veils, each of which asks for another signal around it: what GAM is for."""

import torch
from torch import Tensor, nn

DOT_CHANNELS = ("signal 1", "signal 2", "red", "blue", "veil")


def veiled(n: int, seed: int = 0, side: int = 16, dots: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Two signals, each wanted near the dots of one colour, but a dot under a veil does not count.

    The signals are noise between -1 and 1. Dots, half of them red and half blue, each colour in a channel of its own,
    lie at random places; half of all places are veiled, at random. The first signal is wanted at no more than three
    steps along either axis from a red dot without a veil, the second from such a blue one; elsewhere the target is 0.
    The channels of x are named by ``DOT_CHANNELS``.

    Args:
        side: of the map. dots: how many there are on it, an even number.

    Returns:
        x (n 5 H W), the target (n 2 H W), and where each signal is wanted (n 2 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, len(DOT_CHANNELS), side, side)
    x[:, :2] = 2 * torch.rand(n, 2, side, side, generator=generator) - 1
    places = torch.rand(n, side * side, generator=generator).topk(dots).indices.unflatten(1, (2, -1))  # n 2 dots/2
    x[:, 2:4] = torch.zeros(n, 2, side * side).scatter_(2, places, 4.0).unflatten(2, (side, side))
    x[:, 4] = (torch.rand(n, side, side, generator=generator) < 0.5).float()
    near = nn.functional.max_pool2d(x[:, 2:4] * (1 - x[:, 4:]), 7, 1, 3) > 0
    return x, x[:, :2] * near, near
