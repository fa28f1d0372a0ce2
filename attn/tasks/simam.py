# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Values that stand out from maps of any brightness and contrast: what SimAM is for."""

import torch
from torch import Tensor


def odd(n: int, seed: int = 0, side: int = 16, share: float = 1 / 64) -> tuple[Tensor, Tensor]:
    """Maps with a few odd values, too bright or too dark for their own map.

    A map is noise between -1 and 1, times a contrast, plus a brightness. At random places the noise is replaced by
    3 or -3. The contrast of a map lies between 1/4 and 4, evenly by ratio, and its brightness between -4 and 4; so the
    odd value of one map is an ordinary one of another, and no function of a single value knows which is which. The
    target is 1 at the odd places and 0 elsewhere.

    Args:
        side: of the map. share: how many of its values are odd, rounded down, half of them bright, half dark.

    Returns:
        x (n 1 H W), and the target (n 1 H W).
    """
    generator = torch.Generator().manual_seed(seed)
    count = int(share * side * side)
    places = torch.rand(n, side * side, generator=generator).topk(count).indices  # n count
    signs = 3.0 - 6.0 * (torch.arange(count) % 2)
    noise = 2 * torch.rand(n, side * side, generator=generator) - 1
    noise.scatter_(1, places, signs.expand(n, count))
    contrast = 4 ** (2 * torch.rand(n, 1, generator=generator) - 1)
    level = 8 * torch.rand(n, 1, generator=generator) - 4
    target = torch.zeros_like(noise).scatter_(1, places, 1.0)
    shape = (n, 1, side, side)
    return (contrast * noise + level).reshape(shape), target.reshape(shape)
