# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Multi-head self-attention by other hands."""

import math

import torch
from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """softmax(Q Kᵀ / √d) V, with the N × N map written out"""

    def equations(ours, x: Tensor) -> Tensor:
        q, k, v = ours._qkv(x)
        a = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3)
        return ours._merge(a @ v, x)

    return Plain(ours, equations)


def torch_nn(ours: nn.Module) -> nn.Module:
    """torch.nn.MultiheadAttention"""
    layer = nn.MultiheadAttention(ours.q.in_features, ours.heads, bias=ours.q.bias is not None, batch_first=True)
    state = {f"in_proj_{name}": value for name, value in _stacked(ours).items()}
    layer.load_state_dict(state | {f"out_proj.{name}": value for name, value in ours.out.state_dict().items()})
    return _around(layer, ours, lambda layer, rows: layer(rows, rows, rows, need_weights=False)[0])


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.Attention"""
    from timm.layers import Attention

    bias = ours.q.bias is not None
    layer = Attention(ours.q.in_features, ours.heads, qkv_bias=bias, proj_bias=bias)
    state = {f"qkv.{name}": value for name, value in _stacked(ours).items()}
    layer.load_state_dict(state | {f"proj.{name}": value for name, value in ours.out.state_dict().items()})
    return _around(layer, ours, lambda layer, rows: layer(rows))


def _stacked(ours: nn.Module) -> dict[str, Tensor]:
    """The three projections as one."""
    return {name: torch.cat([getattr(p, name) for p in (ours.q, ours.k, ours.v)]) for name in ours.q.state_dict()}


def _around(layer: nn.Module, ours: nn.Module, attend) -> nn.Module:
    """A layer over rows, B N C, as one over maps."""
    residual = ours.residual

    def equations(layer, x: Tensor) -> Tensor:
        y = attend(layer, x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
        return x + y if residual else y

    return Plain(layer, equations)
