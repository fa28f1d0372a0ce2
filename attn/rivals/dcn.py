# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Deformable convolution by other hands."""

from torch import Tensor, nn

from . import Plain


def torchvision(ours: nn.Module) -> nn.Module:
    """torchvision.ops.deform_conv2d, with our prediction of the offsets and the mask"""
    from torchvision.ops import deform_conv2d

    def equations(ours, x: Tensor) -> Tensor:
        a = ours.attention(x)
        mask = a["mask"].flatten(1, 2) if ours.mask else None
        padding = ours.dilation * (ours.weight.shape[2] // 2)
        offset = a["offset"].flatten(1, 3)
        return deform_conv2d(x, offset, ours.weight, None, ours.stride, padding, ours.dilation, mask)

    return Plain(ours, equations)
