# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Selective Kernel convolution by other hands."""

from torch import nn

from . import renamed


def timm(ours: nn.Module) -> nn.Module:
    """timm.layers.SelectiveKernel"""
    from timm.layers import SelectiveKernel

    first = ours.branches[0][0]
    theirs = SelectiveKernel(
        first.in_channels, groups=first.groups, rd_channels=ours.select.in_channels, split_input=False
    )
    names = {f"branches.{m}.{i}": f"paths.{m}.{layer}" for m in (0, 1) for i, layer in enumerate(("conv", "bn"))}
    names |= {"fuse.0": "attn.fc_reduce", "fuse.1": "attn.bn", "select": "attn.fc_select"}
    theirs.load_state_dict(renamed(ours, names))
    return theirs
