# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Painted fields under a lamp of unknown colour: what normalising over the whole map is for."""

import torch
from torch import Tensor

# Four paints: the share of red, green and blue light that each gives back.
PAINTS = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.8, 0.2], [0.2, 0.3, 0.9], [0.5, 0.5, 0.5]])


def painted(n: int, seed: int = 0, side: int = 8, lamp: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What paint is it, when nobody says what colour the lamp has?

    A map of 4 × 4 square fields has one of the four ``PAINTS`` on each, at random. A lamp lights the whole map: each of
    its three colours is between a quarter and four times as strong as that of white light. x is the logarithm of what
    comes back, in red, green and blue, so the lamp adds the same three numbers at every position.

    Args:
        side: of the map, a multiple of 4.
        lamp: the logarithm of the lamps' colours (n 3), instead of random ones.

    Returns:
        x (n 3 H W) and the target, the logarithm of the paint's own colours (n 3 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    fields = torch.randint(len(PAINTS), (n, 4, 4), generator=generator)
    drawn = (2 * torch.rand(n, 3, generator=generator) - 1) * torch.log(torch.tensor(4.0))
    paint = PAINTS.log()[fields].movedim(3, 1)  # n 3 4 4
    paint = paint.repeat_interleave(side // 4, 2).repeat_interleave(side // 4, 3)
    return paint + (drawn if lamp is None else lamp)[:, :, None, None], paint
