# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Two cameras, of which the quieter one counts, two results for each channel: what split attention is for."""

import torch
from torch import Tensor

QUIET, NOISY = 0.05, 0.5  # standard deviation of the noise of either camera


def cameras(n: int, seed: int = 0, side: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Two cameras of four channels each; the target has two moved copies of each channel of the quieter camera.

    Every channel has points of height 1 at one position in eight, at random. To it comes noise, of one camera quiet
    and of the other noisy, at even chances; so the means do not tell which one counts. The target is what the quiet
    camera shows without noise: its four channels moved by one column to the left, then moved up by one row; what
    enters at the border is 0. That makes eight results for either camera, sixteen for both.

    Args:
        side: of the map.

    Returns:
        x (n 8 H W), the target (n 8 H W), and whether the second camera is the quiet one (n).
    """
    generator = torch.Generator().manual_seed(seed)
    second = torch.rand(n, generator=generator) < 0.5
    points = (torch.rand(n, 2, 4, side, side, generator=generator) < 1 / 8).float()
    level = torch.where(torch.stack([second, ~second], 1), NOISY, QUIET)
    x = points + torch.randn(points.shape, generator=generator) * level[..., None, None, None]
    shown = points[torch.arange(n), second.long()]  # n 4 H W
    left, up = torch.zeros_like(shown), torch.zeros_like(shown)
    left[..., :-1], up[..., :-1, :] = shown[..., 1:], shown[..., 1:, :]
    return x.flatten(1, 2), torch.cat([left, up], 1), second
