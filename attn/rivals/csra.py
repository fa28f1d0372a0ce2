# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Class-specific residual attention by other hands."""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations, head by head."""

    def equations(ours, x: Tensor) -> Tensor:
        total = 0
        for t, m in zip(ours.temperatures, ours.weight, strict=True):
            s = F.conv2d(x, m[..., None, None]).flatten(2) / m.norm(dim=1)[:, None]  # B K N
            a = s.amax(2) if t == math.inf else ((t * s).softmax(2) * s).sum(2)
            total = total + s.mean(2) + ours.lam * a
        return total

    return Plain(ours, equations)
