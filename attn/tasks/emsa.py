# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Houses with signs on them, and visitors with an address in hand: what mixing the heads is for."""

import torch
from torch import Tensor
from torch.nn import functional as F

SIGNS = 6  # of an address


def houses(n: int, seed: int = 0, side: int = 8) -> tuple[Tensor, Tensor]:
    """Every visitor wants to know how many guests are in the house whose address is in his hand.

    A house stands on 2 × 2 positions. Its address of six signs, +1 or -1 each, is on all four, and so is how many
    guests it has above the usual number. At each position is a visitor who looks for one of the houses of the map. No
    two houses of a map have the same address, and all is drawn anew for every map.

    Args:
        side: of the map, even, 16 at most: there are 64 addresses.

    Returns:
        x (n 13 H W), the address on the house, the address in hand and the guests here; and the target (n 1 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    count = (side // 2) ** 2
    numbers = torch.rand(n, 2**SIGNS, generator=generator).argsort(1)[:, :count]  # n houses
    addresses = 2.0 * (numbers[:, :, None] >> torch.arange(SIGNS) & 1) - 1  # n houses 6
    guests = torch.randn(n, count, generator=generator)
    guests = guests - guests.mean(1, keepdim=True)
    wanted = torch.randint(count, (n, side * side), generator=generator)  # n N
    rows = torch.arange(n)[:, None]
    here = torch.cat([addresses, guests[:, :, None]], 2).mT.unflatten(2, (side // 2, -1))  # n 7 side/2 side/2
    address, inside = F.interpolate(here, scale_factor=2).split([SIGNS, 1], 1)
    hand = addresses[rows, wanted].mT.unflatten(2, (side, side))
    return torch.cat([address, hand, inside], 1), guests[rows, wanted].unflatten(1, (1, side, side))
