# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Photographs whose light comes from one side: equal means, unequal halves, what FCA is for."""

import torch
from torch import Tensor

from .. import datasets

LAMP_CHANNELS = ("change →", "light", "change ↓", "change ↘", "change ↗", "unlit", "brighter", "darker")


def lamps(n: int, seed: int = 0, held_out: bool = False, side: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Grey photographs, lit from the left or from the right, of which the lamp's side says what is wanted.

    The light falls off evenly from one side of the crop to the other, by a share drawn for each image, and every lit
    photograph is brought back to one mean, so the mean says nothing of the lamp. The target is the change from one
    pixel to its right neighbour where the lamp is on the left, to its lower neighbour where it is on the right. The
    channels of x are named by ``LAMP_CHANNELS``; the lit photograph is in the second alone.

    Args:
        held_out: draws from other photographs. side: of the crops, in pixels.

    Returns:
        x (n 8 H W), the target (n 1 H W), and whether each lamp is on the left (n).
    """
    images, *_ = datasets.photographs(size=128, n=8)
    photographs = torch.from_numpy(images).float().mean(-1) / 255  # 8 128 128
    photographs = photographs[torch.arange(8) % 3 == 2] if held_out else photographs[torch.arange(8) % 3 != 2]
    generator = torch.Generator().manual_seed(seed)
    which, top, left = (torch.randint(m, (n,), generator=generator) for m in (len(photographs), 127 - side, 127 - side))
    p = torch.stack(
        [photographs[k, i : i + side + 1, j : j + side + 1] for k, i, j in zip(which, top, left, strict=True)]
    )
    here, right, down, diagonal = p[:, :-1, :-1], p[:, :-1, 1:], p[:, 1:, :-1], p[:, 1:, 1:]
    changes = [5 * (a - b).abs() for a, b in ((right, here), (down, here), (diagonal, here), (down, right))]
    lamp = torch.randint(2, (n,), generator=generator).bool()
    fall = (0.6 + 0.3 * torch.rand(n, generator=generator)) * (2.0 * lamp - 1)
    lit = (here + 0.2) * (1 + fall[:, None, None] * torch.linspace(1, -1, side))
    lit = lit / lit.mean((1, 2), keepdim=True) / 2
    x = torch.stack([changes[0], lit, changes[1], changes[2], changes[3], here, here.square(), (1 - here).square()], 1)
    return x, torch.where(lamp[:, None, None], changes[0], changes[1])[:, None], lamp
