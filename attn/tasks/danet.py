# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Levels under two disturbances: positions that are alike can take away the one, channels that are alike the other."""

import torch
from torch import Tensor
from torch.nn import functional as F

COLOURS, GROUPS, COPIES = 8, 2, 8


def levels(n: int, seed: int = 0, side: int = 8) -> tuple[Tensor, Tensor]:
    """Sixteen channels show levels of eight colours, each wrong by its position and by its channel.

    The colour of a position is drawn anew for every map, and so is which eight of the sixteen channels form one group
    and which the other. A group has one level for each colour. What a channel shows at a position is the level of its
    group there, plus a disturbance that all channels share at this position, plus one that this channel has at all
    positions of this colour. So a mean over the positions of a colour loses the first and keeps the second, and a mean
    over the channels of a group the other way round. The standard deviations are 1, 0.7 and 0.7; then all is multiplied
    by 0.2, for scores are not scaled.

    Args:
        side: of the map.

    Returns:
        x (n 24 H W): eight channels that name the colour by 0.3, and the sixteen; the target (n 16 H W): levels alone.
    """
    generator = torch.Generator().manual_seed(seed)
    channels, positions = GROUPS * COPIES, side * side
    colour = torch.randint(COLOURS, (n, positions), generator=generator)
    named = F.one_hot(colour, COLOURS).movedim(2, 1).float()  # n 8 N
    group = torch.rand(n, channels, generator=generator).argsort(1) % GROUPS  # n 16
    level = torch.randn(n, GROUPS, COLOURS, generator=generator)
    target = level.gather(1, group[..., None].expand(-1, -1, COLOURS)) @ named  # n 16 N
    of_position = 0.7 * torch.randn(n, 1, positions, generator=generator)
    of_channel = 0.7 * torch.randn(n, channels, COLOURS, generator=generator) @ named
    x = torch.cat([0.3 * named, 0.2 * (target + of_position + of_channel)], 1)
    return x.unflatten(2, (side, side)), 0.2 * target.unflatten(2, (side, side))
