# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient Channel Attention by other hands."""

from torch import nn


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.EcaModule"""
    from timm.layers import EcaModule

    theirs = EcaModule(kernel_size=ours.conv.kernel_size[0])
    theirs.load_state_dict(ours.state_dict())
    return theirs
