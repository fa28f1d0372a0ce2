# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Sensors of which some are noisy, each picture other ones, and none darker or brighter for it: what SRM is for."""

import torch
from torch import Tensor

QUIET, NOISY = 0.1, 1.0  # standard deviation of the two kinds of noise


def sensors(n: int, seed: int = 0, side: int = 16, count: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Several sensors show one square each; the target keeps the quiet ones and is 0 where a sensor is noisy.

    On every sensor a square of height 1, a quarter of the side long, lies at a random place of its own. To it comes
    noise, quiet or noisy at even chances, from which its own mean is taken away. So the mean of a sensor is 1/16,
    whichever noise it has, and only the spread tells.

    Args:
        side: of the map, a multiple of 4. count: of the sensors.

    Returns:
        x (n count H W), the target (n count H W), and whether each sensor is quiet (n count).
    """
    generator = torch.Generator().manual_seed(seed)
    quiet = torch.rand(n, count, generator=generator) < 0.5
    noise = torch.randn(n, count, side, side, generator=generator)
    noise = (noise - noise.mean((2, 3), keepdim=True)) * torch.where(quiet, QUIET, NOISY)[..., None, None]
    edge = side // 4
    rows, columns = torch.randint(side - edge + 1, (2, n, count, 1), generator=generator)
    steps = torch.arange(side)
    inside = [(steps >= start) & (steps < start + edge) for start in (rows, columns)]  # n count side each
    x = (inside[0][..., None] & inside[1][..., None, :]) + noise
    return x, x * quiet[..., None, None], quiet
