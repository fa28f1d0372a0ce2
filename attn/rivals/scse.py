# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""scSE by other hands."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations with matrices for the two layers of cSE, and the sum of the gates before the product with x."""

    def equations(ours, x: Tensor) -> Tensor:
        first, last = ours.channel[0], ours.channel[2]
        z = F.linear(x.mean((2, 3)), first.weight.flatten(1), first.bias).relu()
        s = F.linear(z, last.weight.flatten(1), last.bias).sigmoid()  # B C
        q = (torch.einsum("c,bchw->bhw", ours.spatial.weight.flatten(), x) + ours.spatial.bias).sigmoid()
        return x * (s[:, :, None, None] + q[:, None])

    return Plain(ours, equations)
