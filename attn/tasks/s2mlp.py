# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that a flag elsewhere on the map tells where to go: what S2-MLPv2 is for."""

import torch
from torch import Tensor

FLAGS = ("down", "right", "stay")
FLAG_CHANNELS = ("signal 1", "signal 2", *FLAGS)


def flags(n: int, seed: int = 0, side: int = 10, across: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Two signals of noise, and a flag that says which way both move by one position.

    The flag is a square of 4 in one of three channels, at a random place: ``FLAG_CHANNELS`` names the channels of x.
    The target is both signals one position down, one to the right, or as they are; what nothing moves into keeps its
    values. Most positions do not see the flag, and none knows its neighbour without being told.

    Args:
        side: of the map. across: of the flag.

    Returns:
        x (n 5 H W), the target (n 2 H W), and the index in ``FLAGS`` (n).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, len(FLAG_CHANNELS), side, side)
    x[:, :2] = torch.randn(n, 2, side, side, generator=generator)
    way = torch.randint(len(FLAGS), (n,), generator=generator)
    corners = torch.randint(side - across + 1, (n, 2), generator=generator).tolist()
    target = x[:, :2].clone()
    for b, (i, j) in enumerate(corners):
        x[b, 2 + way[b], i : i + across, j : j + across] = 4
        if FLAGS[way[b]] == "down":
            target[b, :, 1:] = x[b, :2, :-1]
        elif FLAGS[way[b]] == "right":
            target[b, :, :, 1:] = x[b, :2, :, :-1]
    return x, target, way
