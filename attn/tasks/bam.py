# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Towers with shadows far off, which by day want one signal and at night the other: what BAM is for."""

import torch
from torch import Tensor, nn

# Three empty channels more, so that at r = 1 the branches have eight hidden ones: with five, some seeds get stuck.
SHADOW_CHANNELS = ("signal 1", "signal 2", "towers", "sun", "moon", "", "", "")


def shadows(n: int, seed: int = 0, side: int = 20, towers: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two signals that change places: by day the first is wanted in the shadows and the second in the light.

    The signals are noise between -1 and 1. Towers of 6 × 6 stand at random places; the shadow of each is as large and
    lies eight columns to the right, where the map still has them. A sun or a moon of 6 × 6, at a random place in a
    channel of its own, tells day from night, and at night the signals change places. The target is each signal where it
    is wanted, and 0 elsewhere. The channels of x are named by ``SHADOW_CHANNELS``.

    Args:
        side: of the map. towers: how many there are, perhaps one over the other.

    Returns:
        x (n 8 H W), the target (n 2 H W), which places lie in shadow (n 1 H W), and for which maps it is day (n).
    """
    generator = torch.Generator().manual_seed(seed)
    x, shadow = torch.zeros(n, len(SHADOW_CHANNELS), side, side), torch.zeros(n, 1, side, side, dtype=torch.bool)
    x[:, :2] = 2 * torch.rand(n, 2, side, side, generator=generator) - 1
    day = torch.rand(n, generator=generator) < 0.5
    lights = torch.randint(side - 5, (n, 2), generator=generator).tolist()
    places = torch.randint(side - 5, (n, towers, 2), generator=generator).tolist()
    for b, (u, v) in enumerate(lights):
        x[b, 3 if day[b] else 4, u : u + 6, v : v + 6] = 1
        for i, j in places[b]:
            x[b, 2, i : i + 6, j : j + 6] = 1
            shadow[b, 0, i : i + 6, j + 8 : j + 14] = True
    first = shadow == day[:, None, None, None]
    return x, x[:, :2] * torch.cat([first, ~first], 1), shadow, day


class Added(nn.Module):
    """What a residual module adds to the two signals: the first two channels of y - x.

    Args:
        inner: the module, from B C H W to B C H W.
    """

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return (self.inner(x) - x)[:, :2]
