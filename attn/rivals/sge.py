# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Spatial Group-wise Enhance by other hands."""

from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations, with the groups as images of one batch and the scores as sums of products."""

    def equations(ours, x: Tensor) -> Tensor:
        groups = x.flatten(0, 1).unflatten(0, (len(x) * ours.groups, -1))  # B·G C/G H W
        c = (groups * groups.mean((2, 3), keepdim=True)).sum(1).flatten(1)  # B·G N
        c = (c - c.mean(1, keepdim=True)) / (c.std(1, keepdim=True) + ours.eps)
        c = c.unflatten(0, (len(x), ours.groups)).unflatten(2, x.shape[2:])  # B G H W
        a = (c * ours.weight + ours.bias).sigmoid().flatten(0, 1).unsqueeze(1)  # B·G 1 H W
        return (groups * a).reshape(x.shape)

    return Plain(ours, equations)
