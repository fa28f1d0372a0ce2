# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Channels of which some have their pixels shuffled, each with the same pixels: what SOCA is for."""

import torch
from torch import Tensor
from torch.nn import functional as F


def scrambled(n: int, seed: int = 0, side: int = 16, count: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Channels that show one scene; the target keeps those in order and is 0 where the pixels are shuffled.

    A scene is a smooth field of mean 0 and variance 1. Every channel of a picture has its pixels. In the first or in
    the second half of the channels, at even chances, each channel has them in a random order of its own. So all
    channels have the same mean, variance and histogram, and only the channels of one half vary together.

    Args:
        side: of the map, a multiple of 4. count: of the channels, even.

    Returns:
        x (n count H W), the target (n count H W), and whether each channel is in order (n count).
    """
    generator = torch.Generator().manual_seed(seed)
    scene = torch.randn(n, 1, side // 4, side // 4, generator=generator)
    scene = F.interpolate(scene, size=(side, side), mode="bilinear").flatten(2)  # n 1 N
    scene = (scene - scene.mean(2, keepdim=True)) / scene.std(2, correction=0, keepdim=True)
    places = torch.rand(n, count, side * side, generator=generator).argsort(2)
    shuffled = scene.expand(-1, count, -1).gather(2, places)
    first = torch.rand(n, 1, generator=generator) < 0.5
    intact = first == (torch.arange(count) < count // 2)  # n count
    x = torch.where(intact[..., None], scene, shuffled).unflatten(2, (side, side))
    return x, x * intact[..., None, None], intact
