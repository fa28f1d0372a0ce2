# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""CBAM by other hands."""

from torch import nn

from . import renamed


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.cbam.CbamModule"""
    from timm.layers.cbam import CbamModule

    down = ours.mlp[0]
    theirs = CbamModule(down.in_channels, rd_channels=down.out_channels, mlp_bias=True)
    names = {"mlp.0": "channel.fc1", "mlp.2": "channel.fc2", "conv": "spatial.conv.conv", "norm": "spatial.conv.bn"}
    state = renamed(ours, names)
    state["spatial.conv.conv.weight"] = state["spatial.conv.conv.weight"].flip(1)  # theirs puts the mean first
    theirs.load_state_dict(state)
    return theirs
