# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Points of which only the crowd around them says whether they count, each channel apart: what Gather-Excite is for."""

import torch
from torch import Tensor


def crowds(
    n: int, seed: int = 0, channels: int = 4, side: int = 24, block: int = 8, share: float = 0.5
) -> tuple[Tensor, Tensor, Tensor]:
    """Points in blocks that are crowded or not; the target keeps those in the crowded blocks.

    Each channel of each map is cut into blocks. A block is crowded with probability ``share``; then a position has a
    point with probability 0.3, otherwise with 0.1. A point is 1 wherever it lies, so no position knows its block, and
    the crowded blocks of one channel are not those of another, so no mean over the channels or over the map does.

    Args:
        side: of the map. block: side of a block, which divides it.

    Returns:
        x and the target, and where it is crowded (0 or 1), all n channels side side.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = side // block
    crowded = (torch.rand(n, channels, cells, cells, generator=generator) < share).float()
    crowded = crowded.repeat_interleave(block, 2).repeat_interleave(block, 3)
    x = (torch.rand(n, channels, side, side, generator=generator) < 0.1 + 0.2 * crowded).float()
    return x, x * crowded, crowded
