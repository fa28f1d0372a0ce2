# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Scattered positions of a few kinds, all under noise: what a mean over everything that looks alike is for."""

import torch
from torch import Tensor

CHANNELS = 16


def noisy(n: int, seed: int = 0, side: int = 12, kinds: int = 4, block: int = 1) -> tuple[Tensor, Tensor]:
    """Every position has one of a few kinds and is to show what its kind looks like without the noise.

    What a kind looks like, sixteen numbers of deviation 1, is drawn for every image anew, and so are the places. Noise
    of deviation 1 lies on every number. A function of one position alone leaves at least half of the target's variance:
    signal and noise are two normal variables of equal variance. Whoever averages all positions of a kind leaves about
    ``kinds`` / N.

    Args:
        side: of the map. block: the side of the squares of one kind, which divides ``side``.

    Returns:
        x (n 16 H W), and the target, which is x without the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    looks = torch.randn(n, CHANNELS, kinds, generator=generator)
    kind = torch.randint(kinds, (n, side // block, side // block), generator=generator)
    kind = kind.repeat_interleave(block, 1).repeat_interleave(block, 2).flatten(1)  # n N
    target = looks.gather(2, kind[:, None].expand(-1, CHANNELS, -1)).unflatten(2, (side, side))
    return target + torch.randn(target.shape, generator=generator), target


def means(x: Tensor, width: float) -> Tensor:
    """Non-local means, which learn nothing: each position becomes a mean over all, weighted by how near they look.

    The weight is exp(−‖x_i − x_j‖² / 2 ``width``²) over the sum of these, on single positions instead of patches.
    """
    rows = x.flatten(2).transpose(1, 2)  # B N C
    weights = (-torch.cdist(rows, rows).square() / (2 * width**2)).softmax(2)
    return (weights @ rows).transpose(1, 2).unflatten(2, x.shape[2:])
