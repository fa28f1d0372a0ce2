# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Drops that fall thickly on one side of a line: whether it rains at a place shows only some way around it."""

import torch
from torch import Tensor

DRY, WET = 0.04, 0.24


def rain(n: int, seed: int = 0, side: int = 24, dry: float = DRY, wet: float = WET) -> tuple[Tensor, Tensor, Tensor]:
    """A signal that counts where it rains.

    Channel 0 is the signal, noise between -1 and 1. Channel 1 has drops of 1 on a ground of 0; a straight line at a
    random angle, through a random place in the middle of the map, parts the ground into wet and dry. The target is the
    signal where it is wet, and 0 elsewhere.

    Args:
        side: of the map. dry, wet: the chance of a drop at a position of either ground.

    Returns:
        x (n 2 H W), the target (n 1 H W), and where it is wet (n 1 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    angle = 6.2832 * torch.rand(n, 1, 1, 1, generator=generator)
    shift = (torch.rand(n, 1, 1, 1, generator=generator) - 0.5) * side / 2
    at = torch.arange(side) - (side - 1) / 2
    wet_here = angle.cos() * at + angle.sin() * at[:, None] > shift
    drops = torch.rand(n, 1, side, side, generator=generator) < torch.where(wet_here, wet, dry)
    signal = 2 * torch.rand(n, 1, side, side, generator=generator) - 1
    return torch.cat([signal, drops.float()], 1), signal * wet_here, wet_here
