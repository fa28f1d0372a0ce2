# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Channels that are wanted only where they lie above their usual value: what NAM, which gates values, is for."""

import torch
from torch import Tensor

from ..mixed.nam import NAM


def above(n: int, seed: int = 0, wanted: int = 1, channels: int = 16, side: int = 8) -> tuple[Tensor, Tensor]:
    """Noise of a level and a spread for each channel, of which the first channels are wanted where they are high.

    The levels lie between -2 and 2, the spreads between 1/2 and 2, evenly by ratio; they are the same for every seed.

    Args:
        wanted: how many channels the target has. channels, side: of x.

    Returns:
        x (n C H W), and the target (n wanted H W): x where it is above the level of its channel, and 0 elsewhere.
    """
    fixed, generator = torch.Generator().manual_seed(0), torch.Generator().manual_seed(seed)
    level = 4 * torch.rand(channels, 1, 1, generator=fixed) - 2
    spread = 4 ** (torch.rand(channels, 1, 1, generator=fixed) - 0.5)
    noise = torch.randn(n, channels, side, side, generator=generator)
    x = level + spread * noise
    return x, (x * (noise > 0))[:, :wanted]


class Unshared(NAM):
    """NAM whose channels all have the share 1, so that they do not compete."""

    def _share(self) -> Tensor:
        return torch.ones_like(self.norm.weight)[:, None, None]
