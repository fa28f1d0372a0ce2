# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Pairs of dots that have to find each other by a code that is new in every image: what self-attention is for."""

import torch
from torch import Tensor


def pairs(n: int, seed: int = 0, side: int = 12, count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Dots in pairs of one code each; one of the two knows a value, and both must show it.

    A code is six signs, and no two pairs of an image share one. The value lies between -1 and 1. Channel 0 holds the
    value of the dots that know it and 0 for their partners, channel 1 says of a dot that it knows, and channels 2 to 7
    hold the codes. Empty positions are 0 everywhere. Places are random, so a partner may be anywhere. The target is
    the value of its pair at both dots, and 0 elsewhere.

    Args:
        side: of the map. count: pairs in an image, at most 64.

    Returns:
        x (n 8 H W), the target (n 1 H W), and the flat places of the dots (n 2 count, those that know it first).
    """
    generator = torch.Generator().manual_seed(seed)
    codes = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 6)  # 64 6
    chosen = codes[torch.rand(n, 64, generator=generator).topk(count).indices]  # n count 6
    values = 2 * torch.rand(n, count, 1, generator=generator) - 1
    places = torch.rand(n, side * side, generator=generator).topk(2 * count).indices  # n 2·count
    knows = torch.cat([values, torch.ones_like(values), chosen], 2)
    asks = torch.cat([torch.zeros(n, count, 2), chosen], 2)
    x, target = torch.zeros(n, 8, side * side), torch.zeros(n, 1, side * side)
    x.scatter_(2, places[:, None].expand(-1, 8, -1), torch.cat([knows, asks], 1).transpose(1, 2))
    target.scatter_(2, places[:, None], values.repeat(1, 2, 1).transpose(1, 2))
    return x.unflatten(2, (side, side)), target.unflatten(2, (side, side)), places.unflatten(1, (2, count))
