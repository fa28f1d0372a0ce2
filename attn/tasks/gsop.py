# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Sensors of which some see the same thing, each picture other ones: what global second-order pooling is for."""

import torch
from torch import Tensor

NOISE = 0.3  # of each sensor's own, beside a pattern of spread 1


def witnesses(n: int, seed: int = 0, side: int = 12, count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Half of the sensors, drawn anew for each image, see a pattern in pairs; the target keeps these, the rest is 0.

    A pattern is noise of spread 1, and to it comes noise of the sensor's own. Then every sensor is brought to the mean
    1 and the spread 1, so that no sensor by itself says whether another one confirms it.

    Args:
        side: of the map. count: of the sensors, a multiple of 4.

    Returns:
        x (n count H W), the target (n count H W), and for each sensor the number of the one that confirms it, or its
        own (n count).
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(n, count, generator=generator).argsort(1)
    confirmed, alone = order[:, : count // 2], order[:, count // 2 :]
    other = torch.empty_like(order)
    other.scatter_(1, confirmed, confirmed.unflatten(1, (-1, 2)).flip(2).flatten(1)).scatter_(1, alone, alone)
    patterns = torch.randn(n, count, side * side, generator=generator)
    first = torch.minimum(torch.arange(count), other)  # of a pair, the pattern of its first sensor
    x = patterns.gather(1, first[..., None].expand_as(patterns)) + NOISE * torch.randn(
        patterns.shape, generator=generator
    )
    x = 1 + (x - x.mean(2, keepdim=True)) / x.std(2, keepdim=True)
    x = x.unflatten(2, (side, side))
    return x, x * (other != torch.arange(count))[..., None, None], other
