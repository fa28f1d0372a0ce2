# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient attention by other hands."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """ρ(Q) (ρ(K)ᵀ V) on rows, one head after the other"""

    def equations(ours, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2)  # B N C
        q, k, v = (F.linear(rows, p.weight.flatten(1), p.bias) for p in (ours.q, ours.k, ours.v))
        heads = zip(*(t.chunk(ours.heads, 2) for t in (q, k, v)), strict=True)
        root = rows.shape[1] ** 0.5
        e = [
            (q / root) @ ((k / root).mT @ v) if ours.scaling else q.softmax(2) @ (k.softmax(1).mT @ v)
            for q, k, v in heads
        ]
        y = F.linear(torch.cat(e, 2), ours.out.weight.flatten(1), ours.out.bias)  # B N C
        return x + y.mT.reshape(x.shape)

    return Plain(ours, equations)
