# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Grey photographs whose stamp says which channel is wanted: what SE is for."""

import torch
from torch import Tensor

from .. import datasets

STAMP_CHANNELS = ("red", "green", "blue", "change →", "change ↓", "change ↘", "change ↗", "brightness")


def stamps(n: int, seed: int = 0, held_out: bool = False, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Grey photographs with a stamp whose colour says which of two channels is wanted.

    A crop of a grey photograph carries a red or blue square on a quarter of its area, at a random place. The target is
    the change from one pixel to its right neighbour where the square is red, to its lower neighbour where it is blue.
    The colour stands only inside the square, so no function of a single pixel can know which one is wanted, while the
    mean of the red and the blue channel over the image tells. The channels of x are named by ``STAMP_CHANNELS``.

    Args:
        held_out: draws from other photographs. side: of the crops, in pixels.

    Returns:
        x (n 8 H W), the target (n 1 H W), and whether each stamp is red (n).
    """
    images, *_ = datasets.photographs(size=128, n=8)
    photographs = torch.from_numpy(images).float().mean(-1) / 255  # 8 128 128
    photographs = photographs[torch.arange(8) % 3 == 2] if held_out else photographs[torch.arange(8) % 3 != 2]
    generator = torch.Generator().manual_seed(seed)

    def below(limit: int) -> Tensor:
        return torch.randint(limit, (n,), generator=generator)

    which, top, left = below(len(photographs)), below(127 - side), below(127 - side)
    p = torch.stack(
        [photographs[k, i : i + side + 1, j : j + side + 1] for k, i, j in zip(which, top, left, strict=True)]
    )
    here, right, down, diagonal = p[:, :-1, :-1], p[:, :-1, 1:], p[:, 1:, :-1], p[:, 1:, 1:]
    changes = [5 * (a - b).abs() for a, b in ((right, here), (down, here), (diagonal, here), (down, right))]
    rgb = here[:, None].repeat(1, 3, 1, 1)
    red, half = below(2).bool(), side // 2
    for b, (i, j) in enumerate(zip(below(half), below(half), strict=True)):
        rgb[b, :, i : i + half, j : j + half] = torch.tensor([float(red[b]), 0.0, float(not red[b])])[:, None, None]
    target = torch.where(red[:, None, None], changes[0], changes[1])
    return torch.cat([rgb, torch.stack([*changes, here], 1)], 1), target[:, None], red
