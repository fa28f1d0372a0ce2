# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Photographs taken apart by grey level: what ECA, which looks at neighbouring channels, is for."""

import torch
from torch import Tensor, nn

from .. import datasets


def levels(n: int, seed: int = 0, held_out: bool = False, side: int = 16, count: int = 32) -> tuple[Tensor, Tensor]:
    """Grey photographs taken apart by grey level, of which those commoner than both neighbouring levels are wanted.

    Channel c of x is ``count`` where a pixel has grey level c and 0 elsewhere, so the channel means are the histogram,
    1 on average. The target keeps x in every channel whose mean is above those of the two channels beside it, and is 0
    in the others; beyond the darkest and the brightest level the histogram counts as 0. Each crop has an exposure of
    its own, so that a level means nothing by itself.

    Args:
        held_out: draws from other photographs. side: of the crops, in pixels. count: of the grey levels.

    Returns:
        x and the target, both n ``count`` H W.
    """
    images, *_ = datasets.photographs(size=128, n=8)
    photographs = torch.from_numpy(images).float().mean(-1) / 255  # 8 128 128
    photographs = photographs[torch.arange(8) % 3 == 2] if held_out else photographs[torch.arange(8) % 3 != 2]
    generator = torch.Generator().manual_seed(seed)
    which, top, left = (torch.randint(m, (n,), generator=generator) for m in (len(photographs), 129 - side, 129 - side))
    p = torch.stack([photographs[k, i : i + side, j : j + side] for k, i, j in zip(which, top, left, strict=True)])
    p = p - p.mean((1, 2), keepdim=True) + torch.rand(n, 1, 1, generator=generator)
    level = (p * count).long().clamp(0, count - 1)
    x = count * nn.functional.one_hot(level, count).movedim(3, 1).float()  # n count H W
    z = nn.functional.pad(x.mean((2, 3)), (1, 1))
    peak = (z[:, 1:-1] > z[:, :-2]) & (z[:, 1:-1] > z[:, 2:])
    return x, x * peak[:, :, None, None]
