# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Coordinate attention by other hands."""

from torch import nn

from . import renamed


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.coord_attn.CoordAttn"""
    from timm.layers.coord_attn import CoordAttn

    down = ours.shared[0]
    theirs = CoordAttn(down.in_channels, rd_channels=down.out_channels, bias=True)
    names = {"shared.0": "conv1", "shared.1": "bn1", "rows": "conv_h", "columns": "conv_w"}
    theirs.load_state_dict(renamed(ours, names))
    return theirs
