# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SimAM by other hands."""

from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """Eq. 5, the energy itself, and the sigmoid of its inverse."""

    def equations(ours, x: Tensor) -> Tensor:
        square = (x - x.mean((2, 3), keepdim=True)) ** 2
        variance = x.var((2, 3), keepdim=True)
        energy = 4 * (variance + ours.e_lambda) / (square + 2 * variance + 2 * ours.e_lambda)
        return x * (1 / energy).sigmoid()

    return Plain(ours, equations)
