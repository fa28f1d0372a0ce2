# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Dual attention by other hands."""

import torch
from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations, with both maps written out and the channels' scores as they are."""

    def equations(ours, x: Tensor) -> Tensor:
        a = x.flatten(2)  # B C N
        s = torch.bmm(ours.q(x).flatten(2).transpose(1, 2), ours.k(x).flatten(2)).softmax(2)  # B N N
        y = ours.alpha * torch.bmm(ours.v(x).flatten(2), s.transpose(1, 2)) + a
        y = y + ours.beta * torch.bmm(torch.bmm(a, a.transpose(1, 2)).softmax(2), a)
        return y.unflatten(2, x.shape[2:])

    return Plain(ours, equations)
