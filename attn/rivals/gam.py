# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""GAM by other hands."""

from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations, with the permutation of Figure 2 around two matrices, as the code that circulates writes it."""

    def equations(ours, x: Tensor) -> Tensor:
        first, last = ours.mlp[0], ours.mlp[2]
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # B N C
        s = F.linear(F.linear(rows, first.weight.flatten(1), first.bias).relu(), last.weight.flatten(1), last.bias)
        x = x * s.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2).sigmoid()
        down, up, g = ours.reduce[0], ours.restore[0], ours.groups
        z = ours.reduce[1](F.conv2d(x, down.weight, padding=down.padding, groups=g)).relu()
        z = z.unflatten(1, (g, -1)).transpose(1, 2).flatten(1, 2)
        return x * F.conv2d(z, up.weight, padding=up.padding, groups=g).sigmoid()

    return Plain(ours, equations)
