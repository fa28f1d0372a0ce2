# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Shuffle attention by other hands."""

import torch
from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations channel by channel: the weights written out for all groups, the shuffle as an index."""

    def equations(ours, x: Tensor) -> Tensor:
        C, n = x.shape[1], len(ours.channel_weight)
        index = torch.arange(C, device=x.device).unflatten(0, (ours.groups, 2, n))
        first, second = x[:, index[:, 0].flatten()], x[:, index[:, 1].flatten()]  # B C/2 H W each
        w1, b1, w2, b2, scale, shift = (
            p.reshape(n, 1, 1).repeat(ours.groups, 1, 1)
            for p in (
                *(ours.channel_weight, ours.channel_bias, ours.spatial_weight, ours.spatial_bias),
                *(ours.norm.weight, ours.norm.bias),
            )
        )
        second_mean = second.mean((2, 3), keepdim=True)
        spread = second.var((2, 3), correction=0, keepdim=True)
        z = scale * (second - second_mean) / (spread + ours.norm.eps).sqrt() + shift
        first = first * (w1 * first.mean((2, 3), keepdim=True) + b1).sigmoid()
        second = second * (w2 * z + b2).sigmoid()
        y = torch.cat([first, second], 1)
        back = torch.cat([index[:, 0].flatten(), index[:, 1].flatten()]).argsort()  # to the order of x
        return y[:, back[torch.arange(C, device=x.device).unflatten(0, (2, -1)).T.flatten()]]

    return Plain(ours, equations)
