# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SOCA by other hands."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..channel.soca import EPS
from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The centring matrix J of the paper, and every step of Newton-Schulz in full."""

    def equations(ours, x: Tensor) -> Tensor:
        f = x.flatten(2)  # B C N
        n, identity = f.shape[2], torch.eye(f.shape[1], device=x.device)
        sigma = f @ (torch.eye(n, device=x.device) - 1 / n) @ f.transpose(1, 2) / n
        trace = sigma.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + EPS
        y, z = sigma / trace, identity.expand_as(sigma)
        for _ in range(ours.iterations):
            t = (3 * identity - z @ y) / 2
            y, z = y @ t, t @ z
        z = (trace.sqrt() * y).mean(1)  # B C
        w = F.linear(F.linear(z, ours.down.weight.flatten(1), ours.down.bias).relu(), ours.up.weight.flatten(1))
        return x * (w + ours.up.bias).sigmoid()[:, :, None, None]

    return Plain(ours, equations)
