# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Split attention by other hands."""

from torch import nn

from . import renamed


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.SplitAttn"""
    from timm.layers import SplitAttn

    theirs = SplitAttn(
        ours.conv[0].in_channels, groups=ours.groups, radix=ours.radix, rd_divisor=1, norm_layer=nn.BatchNorm2d
    )
    names = {"conv.0": "conv", "conv.1": "bn0", "fuse.0": "fc1", "fuse.1": "bn1", "select": "fc2"}
    theirs.load_state_dict(renamed(ours, names))
    return theirs
