# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Frequency Channel Attention by other hands."""

import torch
from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations with the pattern of every channel, as the authors' code has them, made in the call."""

    def equations(ours, x: Tensor) -> Tensor:
        u, v = (ours._waves(k, length, x) for k, length in zip(ours.frequencies.T, x.shape[2:], strict=True))
        patterns = torch.einsum("gi,gj->gij", u, v).repeat_interleave(x.shape[1] // len(u), 0)  # C H W
        z = (x * patterns).sum((2, 3))  # B C
        s = (z @ ours.down.weight.T).relu() @ ours.up.weight.T
        return x * s.sigmoid()[:, :, None, None]

    return Plain(ours, equations)
