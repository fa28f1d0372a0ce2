# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Two plans of which the whole map says which is valid: what polarized self-attention is for."""

import torch
from torch import Tensor

PLAN_CHANNELS = ("signal", "clock", "day plan", "night plan")


def plans(n: int, seed: int = 0, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """A signal that passes where a plan allows it; a noisy clock says whether the plan of the day or the night holds.

    The signal is noise between -1 and 1. Each plan is 1 where the signal may pass and -1 where it may not, at random
    for every place. The clock is normal noise around 1/2 by day and around -1/2 by night, so that a single place is
    wrong about it in three of ten cases and the mean of all places hardly ever. The target is the signal where the
    valid plan is 1, and 0 elsewhere. The channels of x are named by ``PLAN_CHANNELS``.

    Args:
        side: of the map.

    Returns:
        x (n 4 H W), the target (n 1 H W), and whether it is day (n).
    """
    generator = torch.Generator().manual_seed(seed)
    signal = 2 * torch.rand(n, 1, side, side, generator=generator) - 1
    day = torch.rand(n, generator=generator) < 0.5
    clock = torch.randn(n, 1, side, side, generator=generator) + (day.float() - 0.5)[:, None, None, None]
    two = 2.0 * torch.randint(2, (n, 2, side, side), generator=generator) - 1
    valid = torch.where(day[:, None, None, None], two[:, :1], two[:, 1:])
    return torch.cat([signal, clock, two], 1), signal * (valid > 0), day
