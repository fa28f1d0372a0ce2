# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SRM by other hands."""

from torch import Tensor, nn

from ..channel.srm import EPS
from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The two statistics apart, and the deviations squared one by one."""

    def equations(ours, x: Tensor) -> Tensor:
        n = x.shape[2] * x.shape[3]
        mean = x.mean((2, 3))  # B C
        variance = (x - mean[:, :, None, None]).square().sum((2, 3)) / max(1, n - 1)
        z = ours.cfc[:, 0] * mean + ours.cfc[:, 1] * (variance + EPS).sqrt()
        return x * ours.norm(z[:, :, None, None]).sigmoid()

    return Plain(ours, equations)
