# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Birds of four flocks, mixed over a map: what one mean for each key is for."""

import torch
from torch import Tensor
from torch.nn import functional as F

FLOCKS = 4
BIRD_CHANNELS = ("flock 0", "flock 1", "flock 2", "flock 3", "speed")


def flocks(n: int, seed: int = 0, side: int = 12) -> tuple[Tensor, Tensor]:
    """Every bird is to fly at the mean speed of its flock, whose birds are scattered all over the map.

    There is one bird at each position. How many belong to which flock is drawn anew for every image, from a few to
    most, and so is the speed of each flock; a bird's own speed differs from it by as much again.

    Returns:
        x (n 5 H W), its channels named by ``BIRD_CHANNELS``, and the target (n 1 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(n, FLOCKS, generator=generator) + 0.02
    of = share.multinomial(side * side, replacement=True, generator=generator)  # n N, the number of the flock
    member = F.one_hot(of, FLOCKS).movedim(2, 1).float()  # n 4 N
    speed = torch.randn(n, FLOCKS, generator=generator).gather(1, of) + torch.randn(of.shape, generator=generator)
    mean = torch.einsum("nfp,np->nf", member, speed) / member.sum(2).clamp(min=1)
    x = torch.cat([member, speed[:, None]], 1)
    return x.unflatten(2, (side, side)), mean.gather(1, of).unflatten(1, (1, side, side))
