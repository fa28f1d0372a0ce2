# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Frames whose inside is wanted, which no single line of them tells: what the residual attention module is for."""

import torch
from torch import Tensor

# Twelve empty channels more: the units of the mask are a quarter as wide inside as their input.
FRAME_CHANNELS = ("signal 1", "signal 2", "red", "blue", *12 * ("",))


def frames(n: int, seed: int = 0, side: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Two signals, each wanted inside the frames of one colour.

    The signals are noise between -1 and 1. Two red frames and two blue ones, each colour in a channel of its own, are
    outlines one place thick and 9 to 17 places high and wide, at random places. The first signal is wanted inside the
    red frames, the second inside the blue ones; elsewhere the target is 0. The channels of x are named by
    ``FRAME_CHANNELS``.

    Args:
        side: of the map.

    Returns:
        x (n 16 H W), the target (n 2 H W), and where each signal is wanted (n 2 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    x, inside = torch.zeros(n, len(FRAME_CHANNELS), side, side), torch.zeros(n, 2, side, side, dtype=torch.bool)
    x[:, :2] = 2 * torch.rand(n, 2, side, side, generator=generator) - 1
    sides = torch.randint(9, 18, (n, 2, 2, 2), generator=generator)  # picture, colour, frame, height and width
    corners = (torch.rand(sides.shape, generator=generator) * (side - sides + 1)).long()
    for b in range(n):
        for colour in range(2):
            for (h, w), (i, j) in zip(sides[b, colour].tolist(), corners[b, colour].tolist(), strict=True):
                x[b, 2 + colour, i : i + h, [j, j + w - 1]] = 1
                x[b, 2 + colour, [i, i + h - 1], j : j + w] = 1
                inside[b, colour, i + 1 : i + h - 1, j + 1 : j + w - 1] = True
    return x, x[:, :2] * inside, inside
