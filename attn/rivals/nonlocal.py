# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The non-local block by other hands."""

from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain, renamed


def plain(ours: nn.Module) -> nn.Module:
    """softmax(θᵀ φ / √d) g, with the N × K map written out"""

    def equations(ours, x: Tensor) -> Tensor:
        seen = F.max_pool2d(x, ours.pool)
        q, k, v = (t.flatten(2) for t in (ours.theta(x), ours.phi(seen), ours.g(seen)))  # B d N or B d K
        a = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(2)  # B N K
        y = v @ a.transpose(1, 2)
        return x + ours.norm(ours.out(y.unflatten(2, x.shape[2:])))

    return Plain(ours, equations)


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.NonLocalAttn, with our pooling in front of two of its layers and our scale"""
    from timm.layers import NonLocalAttn

    layer = NonLocalAttn(ours.out.out_channels, rd_channels=ours.out.in_channels)
    layer.load_state_dict(renamed(ours, {"theta": "t", "phi": "p", "g": "g", "out": "z", "norm": "norm"}))
    layer.scale = ours.scale
    layer.p, layer.g = (nn.Sequential(nn.MaxPool2d(ours.pool), part) for part in (layer.p, layer.g))
    return layer
