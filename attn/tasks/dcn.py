# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures whose rows have slipped, and a second channel that says how far: what deformable convolution is for."""

import torch
from torch import Tensor
from torch.nn import functional as F


def slipped(picture: Tensor, shift: Tensor) -> Tensor:
    """A picture whose rows are moved to the right, and beneath it the shifts.

    Args:
        picture: n 1 H W, 0 beyond its edge.
        shift: n H, in pixels; between two pixels values are interpolated.

    Returns:
        n 2 H W: the moved picture, and the shift of each row at every pixel of it.
    """
    H, W = picture.shape[2:]
    row, column = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    column = column - shift[:, :, None]  # n H W
    points = torch.stack([(2 * column + 1) / W - 1, ((2 * row + 1) / H - 1).expand_as(column)], -1)
    moved = F.grid_sample(picture, points, align_corners=False)
    return torch.cat([moved, shift[:, None, :, None].expand_as(moved)], 1)


def waves(n: int, seed: int = 0, side: int = 16) -> tuple[Tensor, Tensor]:
    """Blots whose rows sway to the left and to the right by up to 3 pixels.

    The picture is noise, blurred so that a value says something about its neighbours, of variance 1. The shift of row i
    is A sin(2π i / T + φ) with A from 0 to 3, T from 8 to 16 rows and any φ, drawn anew for every picture.

    Returns:
        x (n 2 H W, see :func:`slipped`) and the target, the picture as it was (n 1 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    picture = torch.randn(n, 1, side + 4, side + 4, generator=generator)
    picture = F.avg_pool2d(F.avg_pool2d(picture, 3, 1), 3, 1)
    picture = (picture - picture.mean()) / picture.std()
    A, T, phase = torch.rand(3, n, 1, generator=generator)
    shift = 3 * A * torch.sin(2 * torch.pi * (torch.arange(side) / (8 + 8 * T) + phase))  # n H
    return slipped(picture, shift), picture
