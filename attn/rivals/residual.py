# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The attention module of the Residual Attention Network by other hands."""

from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations, one level after the other down and up again, pooled with the last row and column repeated."""

    def equations(ours, x: Tensor) -> Tensor:
        glass, *rest = ours.mask
        levels, sizes, z = [], [], x
        while glass is not None:  # down
            sizes.append(z.shape[2:])
            z = glass.down(F.max_pool2d(F.pad(z, (0, 2, 0, 2), mode="replicate"), 3, 2))
            levels.append((glass, z))
            glass = glass.inner
        for (glass, kept), size in zip(reversed(levels), reversed(sizes), strict=True):  # up
            z = glass.up(z if glass.inner is None else z + glass.skip(kept))
            z = F.interpolate(z, size, mode="bilinear", align_corners=True)
        for layer in rest:
            z = layer(z)
        return (1 + z) * ours.trunk(x)

    return Plain(ours, equations)
