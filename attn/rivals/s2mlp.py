# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""S2-MLPv2 by other hands."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations with the channels last, as in the paper's Algorithm 1, but each shift copies out of a clone."""

    def shifted(x: Tensor, first: int, second: int) -> Tensor:
        y, q = x.clone(), x.shape[3] // 4
        for k, dim in enumerate((first, first, second, second)):
            source, target = (t[..., k * q : (k + 1) * q] for t in (x, y))
            n = x.shape[dim] - 1
            target.narrow(dim, 1 - k % 2, n).copy_(source.narrow(dim, k % 2, n))
        return y

    def equations(ours, x: Tensor) -> Tensor:
        w1, w2 = (layer.weight.flatten(1) for layer in (ours.fuse, ours.select))
        first, second, third = F.linear(x.movedim(1, 3), ours.expand.weight.flatten(1), ours.expand.bias).chunk(3, 3)
        parts = torch.stack([shifted(first, 1, 2), shifted(second, 2, 1), third], 1)  # B K H W C
        a = parts.sum(1).mean((1, 2))
        weights = F.linear(F.gelu(F.linear(a, w1)), w2).unflatten(1, (3, -1)).softmax(1)
        mixed = (parts * weights[:, :, None, None]).sum(1)
        return x + F.linear(mixed, ours.project.weight.flatten(1), ours.project.bias).movedim(3, 1)

    return Plain(ours, equations)
