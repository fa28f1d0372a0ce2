# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Gather-Excite by other hands."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations, with nine shifted copies of the map for a convolution and an index for interp."""

    def equations(ours, x: Tensor) -> Tensor:
        z = x
        for layer in ours.gather:
            if isinstance(layer, nn.Conv2d):
                z, k = F.pad(z, (1, 1, 1, 1)), layer.weight  # C 1 3 3
                rows, cols = z.shape[2] - 2, z.shape[3] - 2
                z = sum(
                    z[:, :, i : i + rows : 2, j : j + cols : 2] * k[:, :, i, j, None]
                    for i in (0, 1, 2)
                    for j in (0, 1, 2)
                )
            else:
                z = layer(z)
        near = [torch.arange(n, device=x.device) * m // n for n, m in zip(x.shape[2:], z.shape[2:], strict=True)]
        return x * z.sigmoid()[:, :, near[0][:, None], near[1]]

    return Plain(ours, equations)
