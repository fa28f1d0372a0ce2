# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Self-calibrated convolution by other hands."""

import torch
from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations one by one: means over blocks of the map, Up by the index of every row and column"""

    def equations(ours, x: Tensor) -> Tensor:
        (H, W), r = x.shape[2:], ours.pool
        h, w = H // r, W // r
        first, second = x.chunk(2, 1)
        small = first[..., : h * r, : w * r].unflatten(2, (h, r)).unflatten(4, (w, r)).mean((3, 5))
        rows, columns = (torch.arange(n, device=x.device) * m // n for n, m in ((H, h), (W, w)))
        large = ours.k2(small)[:, :, rows][..., columns]
        return torch.cat([ours.k4(ours.k3(first) * (first + large).sigmoid()), ours.k1(second)], 1)

    return Plain(ours, equations)
