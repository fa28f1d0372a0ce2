# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Cells of a table that are named by their row and their column, from afar: what Coordinate Attention is for."""

import torch
from torch import Tensor

CELL_CHANNELS = ("signal", "row marks", "column marks")


def cells(n: int, seed: int = 0, side: int = 16, marks: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """A signal that is wanted where a marked row and a marked column cross.

    The signal is noise between -1 and 1. Some rows have a mark of 4 in the second channel, at a random place of the
    row; as many columns have one in the third, at a random place of the column. The target is the signal where such a
    row and such a column cross, and 0 elsewhere. A mark stands for its whole row or column and may lie at the far end,
    so no small window around a cell knows whether it is wanted. The channels of x are named by ``CELL_CHANNELS``.

    Args:
        side: of the map. marks: how many rows, and how many columns, have one.

    Returns:
        x (n 3 H W), the target (n 1 H W), and which cells are wanted (n 1 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, 3, side, side)
    x[:, 0] = 2 * torch.rand(n, side, side, generator=generator) - 1
    marked = torch.zeros(n, 2, side)  # which rows, which columns
    for axis in range(2):
        lines = torch.rand(n, side, generator=generator).topk(marks).indices  # n marks
        places = torch.randint(side, (n, marks), generator=generator)
        i, j = (lines, places) if axis == 0 else (places, lines)
        x[torch.arange(n)[:, None], 1 + axis, i, j] = 4
        marked[:, axis].scatter_(1, lines, 1.0)
    wanted = marked[:, :1, :, None] * marked[:, 1:, None] > 0  # n 1 H W
    return x, x[:, :1] * wanted, wanted
