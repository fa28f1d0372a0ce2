# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""One marked position whose value every other position must repeat: what a single look along row and column cannot."""

import torch
from torch import Tensor

BEACON_CHANNELS = ("mark", "value")


def beacon(n: int, seed: int = 0, size: tuple[int, int] = (8, 10)) -> tuple[Tensor, Tensor, Tensor]:
    """Noise everywhere, and one marked position: its value is wanted at all positions.

    The mark is 1 at one random position, the beacon, and 0 elsewhere. The value is noise between -1 and 1 at every
    position, so that no mean over positions gives it away. The channels of x are named by ``BEACON_CHANNELS``.

    Returns:
        x (n 2 H W), the target (n 1 H W), and where the beacon's row and column are, itself included (n 1 H W, bool).
    """
    generator = torch.Generator().manual_seed(seed)
    h, w = size
    value = torch.rand(n, 1, h, w, generator=generator) * 2 - 1
    i, j = torch.randint(h, (n,), generator=generator), torch.randint(w, (n,), generator=generator)
    row, column = torch.arange(h) == i[:, None], torch.arange(w) == j[:, None]  # n H, n W
    mark = (row[:, None, :, None] & column[:, None, None, :]).float()
    target = (value * mark).sum((2, 3), keepdim=True).expand_as(value)
    return torch.cat([mark, value], 1), target, row[:, None, :, None] | column[:, None, None, :]
