# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Switches that open one channel in one column: what triplet attention is for."""

import torch
from torch import Tensor, nn


def switches(n: int, seed: int = 0, channels: int = 32, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of channels, in each of which a switch opens the signal in its column.

    Every odd channel is a signal, noise between -1 and 1. The even channel before it holds its switches: each column
    has one with a chance of a quarter, a value of 4 in a random row. The target is the signal in the columns that have
    a switch in the channel before, from top to bottom, and 0 elsewhere. So each column wants other channels, and each
    channel other columns.

    Args:
        channels: even. side: of the map.

    Returns:
        x (n C H W), the target (n C H W), and where a signal is wanted (n C 1 W).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, channels, side, side)
    x[:, 1::2] = 2 * torch.rand(n, channels // 2, side, side, generator=generator) - 1
    on = torch.rand(n, channels // 2, 1, side, generator=generator) < 0.25
    rows = torch.randint(side, (n, channels // 2, 1, side), generator=generator)
    x[:, 0::2] = torch.zeros(n, channels // 2, side, side).scatter_(2, rows, 4.0 * on)
    wanted = torch.zeros(n, channels, 1, side, dtype=torch.bool)
    wanted[:, 1::2] = on
    return x, x * wanted, wanted


class Scaled(nn.Module):
    """A module and one learned factor, because a mean of three gates that has one open lets only a third pass.

    Args:
        inner: the module, from B C H W to B C H W.
    """

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.factor = inner, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.inner(x)
