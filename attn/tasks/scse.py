# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Fruit that is picked because its kind is on the list, or because it is ripe: what scSE is for."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..mixed.scse import SCSE

ORCHARD_CHANNELS = ("apples", "pears", "apples listed", "pears listed", "ripe")


def orchard(n: int, seed: int = 0, side: int = 16, signed: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Apples and pears with two reasons to pick them: one is known from the whole map, the other at the place alone.

    Apples and pears are noise between 0 and 1 in a channel each. A square on a quarter of the map, at a random place in
    one of two channels, says which kind is on the list. Two squares of 4 × 4 in a fifth channel, at random places, say
    where everything is ripe. The channels of x are named by ``ORCHARD_CHANNELS``.

    Args:
        side: of the map. signed: whether the noise lies between -1 and 1 instead.

    Returns:
        x (n 5 H W); whether each kind is listed (n 2 1 1) and whether each place is ripe (n 1 H W), both as 0 or 1.
    """
    generator = torch.Generator().manual_seed(seed)
    x, half = torch.zeros(n, len(ORCHARD_CHANNELS), side, side), side // 2
    x[:, :2] = torch.rand(n, 2, side, side, generator=generator)
    if signed:
        x[:, :2] = 2 * x[:, :2] - 1
    kinds = (torch.rand(n, generator=generator) < 0.5).long()
    corners = torch.randint(side - half + 1, (n, 2), generator=generator).tolist()
    spots = torch.randint(side - 3, (n, 2, 2), generator=generator).tolist()
    for b, (i, j) in enumerate(corners):
        x[b, 2 + kinds[b], i : i + half, j : j + half] = 1
        for u, v in spots[b]:
            x[b, 4, u : u + 4, v : v + 4] = 1
    return x, nn.functional.one_hot(kinds, 2)[:, :, None, None].float(), x[:, 4:].clone()


class Joined(SCSE):
    """Both gates of scSE, joined before they meet x: y = join(s, q) ⊙ x.

    Args:
        join: ``join(s, q)`` gives the one gate, of any shape that fits x.
    """

    def __init__(self, channels: int, join: Callable[[Tensor, Tensor], Tensor], **options):
        super().__init__(channels, **options)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return x * self.join(*self.attention(x).values())


def fruit(model: nn.Module) -> nn.Module:
    """``model`` with only the apples and the pears of its result, n 2 H W."""
    keep = nn.Conv2d(len(ORCHARD_CHANNELS), 2, 1, bias=False).requires_grad_(False)
    nn.init.dirac_(keep.weight)
    return nn.Sequential(model, keep)
