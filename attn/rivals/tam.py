# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal Adaptive Module by other hands."""

from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The filter as one convolution along time, with a group for each clip and channel"""

    def equations(ours, x: Tensor) -> Tensor:
        B, T, C, H, W = x.shape
        a = ours.attention(x)
        z = (x * a["importance"]).transpose(1, 2).reshape(1, B * C, T, H * W)
        kernel = a["kernel"].reshape(B * C, 1, -1, 1)
        y = F.conv2d(z, kernel, padding=(kernel.shape[2] // 2, 0), groups=B * C)
        return y.reshape(B, C, T, H, W).transpose(1, 2)

    return Plain(ours, equations)
