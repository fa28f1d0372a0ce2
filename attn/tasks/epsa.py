# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures with little grain or with much, to be cleaned: how far to average depends on the picture."""

import torch
from torch import Tensor

GRAINS = (0.1, 1.5)


def grain(n: int, seed: int = 0, side: int = 20, grains: tuple[float, ...] = GRAINS) -> tuple[Tensor, Tensor, Tensor]:
    """Rectangles under normal noise, whose deviation is drawn for each picture.

    Channel 0 is the picture: rectangles of 0 and 1 that cover one another, and the noise. Channel 1 is the absolute
    value of other noise of the same deviation, as a layer in front might give it; its mean tells the deviation.

    Args:
        side: of the map. grains: the deviations, each as likely as the others.

    Returns:
        x (n 2 H W), the target (n 1 H W), which is the picture without noise, and the deviation (n).
    """
    generator = torch.Generator().manual_seed(seed)
    clean = torch.zeros(n, 1, side, side)
    corners = torch.randint(side, (n, 12, 2, 2), generator=generator).sort(2).values.tolist()
    for b, rectangles in enumerate(corners):
        for i, ((top, left), (bottom, right)) in enumerate(rectangles):
            clean[b, 0, top : bottom + 1, left : right + 1] = (i + 1) % 2
    deviation = torch.tensor(grains)[torch.randint(len(grains), (n,), generator=generator)]
    noise = deviation[:, None, None, None] * torch.randn(n, 2, side, side, generator=generator)
    return torch.cat([clean + noise[:, :1], noise[:, 1:].abs()], 1), clean, deviation
