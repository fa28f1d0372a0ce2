# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Squeeze-and-Excitation by other hands."""

from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain, renamed


def plain(ours: nn.Module) -> nn.Module:
    """Eqs. 2 to 4 with matrices for the two layers."""

    def equations(ours, x: Tensor) -> Tensor:
        z = x.mean((2, 3))  # B C
        z = F.linear(z, ours.down.weight.flatten(1), ours.down.bias).relu()
        s = F.linear(z, ours.up.weight.flatten(1), ours.up.bias).sigmoid()
        return x * s[:, :, None, None]

    return Plain(ours, equations)


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.SEModule"""
    from timm.layers import SEModule

    theirs = SEModule(ours.up.out_channels, rd_channels=ours.down.out_channels, bias=ours.down.bias is not None)
    theirs.load_state_dict(renamed(ours, {"down": "fc1", "up": "fc2"}))
    return theirs


def torchvision(ours: nn.Module) -> nn.Module:
    """torchvision.ops.SqueezeExcitation"""
    from torchvision.ops import SqueezeExcitation

    theirs = SqueezeExcitation(ours.up.out_channels, ours.down.out_channels)
    theirs.load_state_dict(renamed(ours, {"down": "fc1", "up": "fc2"}))
    return theirs
