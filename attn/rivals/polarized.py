# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Polarized self-attention by other hands."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations as written, with the three maps of C/2 channels, which ours never makes."""

    def equations(ours, x: Tensor) -> Tensor:
        layers = (ours.channel_value, ours.spatial_query, ours.spatial_value)
        v, u, w = (F.conv2d(x, layer.weight[:, :, None, None], layer.bias) for layer in layers)  # B C/2 H W
        p = ours.channel_query(x).flatten(2).softmax(2)  # B 1 N
        s = ours.channel_up(torch.einsum("bcn,bkn->bc", v.flatten(2), p))
        channel = F.layer_norm(s, s.shape[1:], ours.norm.weight, ours.norm.bias).sigmoid()[:, :, None, None]
        q = u.mean((2, 3)).softmax(1)  # B C/2
        spatial = torch.einsum("bc,bchw->bhw", q, w).sigmoid()[:, None]
        return channel * x + spatial * x

    return Plain(ours, equations)
