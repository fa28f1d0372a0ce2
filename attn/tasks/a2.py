# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Grounds of four colours with one lamp each: what gathering several descriptors is for."""

import torch
from torch import Tensor
from torch.nn import functional as F

COLOURS = 4
LAMP_CHANNELS = ("red", "green", "blue", "grey", "lamp", "brightness")


def lamps(n: int, seed: int = 0, side: int = 8) -> tuple[Tensor, Tensor]:
    """Every position is to be as bright as the lamp of its colour, wherever that stands.

    A map of 4 × 4 square fields has four of each colour, in random order. Each colour has one lamp, at a random
    position of its own fields, with a brightness between 0 and 1. The brightness is written at the lamp alone, so that
    no function of a single position knows it, and all lamps write it into the same channel, so that its mean over the
    map knows their sum alone. The channels of x are named by ``LAMP_CHANNELS``.

    Args:
        side: of the map, a multiple of 4.

    Returns:
        x (n 6 H W) and the target (n 1 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    fields = torch.rand(n, 4 * COLOURS, generator=generator).argsort(1) % COLOURS
    ground = fields.unflatten(1, (4, 4)).repeat_interleave(side // 4, 1).repeat_interleave(side // 4, 2)
    ground = ground.flatten(1)  # n N, the number of the colour
    colours = F.one_hot(ground, COLOURS).movedim(2, 1).float()  # n 4 N
    brightness = torch.rand(n, COLOURS, generator=generator)
    places = (colours * torch.rand(n, 1, side * side, generator=generator)).argmax(2)  # n 4, one on each colour
    lamp = torch.zeros(n, side * side).scatter_(1, places, 1.0)
    lit = torch.zeros(n, side * side).scatter_(1, places, brightness)
    x = torch.cat([colours, lamp[:, None], lit[:, None]], 1)
    target = brightness.gather(1, ground)[:, None]
    return x.unflatten(2, (side, side)), target.unflatten(2, (side, side))
