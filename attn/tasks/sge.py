# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Things that only their repetition gives away, each group of channels with one of its own: what SGE is for."""

import torch
from torch import Tensor, nn


def things(
    n: int, seed: int = 0, groups: int = 3, width: int = 8, side: int = 16, across: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    """In each group of channels one direction fills a square, and every other position has a direction of its own.

    All vectors have length 1, so the numbers of one position do not tell whether it belongs to the thing. The direction
    of a group's thing is drawn anew for every image, so no fixed filter finds it; that it repeats, in a square at a
    random place, gives it away. The target is x on the square of each group and 0 elsewhere.

    Args:
        groups, width: of the channels: ``groups`` times ``width``.
        side: of the map. across: of the square; 8 on a map of 16 fill a quarter.

    Returns:
        x and the target, both n (groups · width) H W, and the squares, n groups H W, of 0 and 1.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, groups, width, side, side, generator=generator)
    thing = torch.randn(n, groups, width, generator=generator)
    squares = torch.zeros(n, groups, side, side)
    corners = torch.randint(side - across + 1, (n, groups, 2), generator=generator)
    for b in range(n):
        for m, (i, j) in enumerate(corners[b].tolist()):
            squares[b, m, i : i + across, j : j + across] = 1
    inside = squares[:, :, None]  # n groups 1 H W
    x = nn.functional.normalize(torch.where(inside > 0, thing[..., None, None], x), dim=2)
    return x.flatten(1, 2), (x * inside).flatten(1, 2), squares
