# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The control of a mechanism that replaces a convolution: a convolution in that place that has learned nothing yet.

It stands in a file of its own because every record of the other controls holds the hash of theirs; whoever wants all
of them imports ``CONTROLS`` from here.
"""

from torch import nn

from .controls import CONTROLS

FRESH = "fresh-conv"


class FreshConv(nn.Conv2d):
    """A 3×3 convolution with new random weights: what it costs to learn the place again, without attention.

    Args:
        channels: C, of the input and of the output.

    Shapes: x, y: B C H W.
    """

    def __init__(self, channels: int):
        super().__init__(channels, channels, 3, padding=1, bias=False)


CONTROLS[FRESH] = FreshConv
