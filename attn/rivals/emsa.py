# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient multi-head self-attention by other hands."""

from torch import Tensor, nn
from torch.nn import functional as F

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """The equations one after the other, with PyTorch's own layers and IN of the whole map"""

    def equations(ours, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2)  # B N C
        seen = ours.norm(ours.shrink(x).flatten(2).transpose(1, 2)) if ours.reduction > 1 else rows
        k, v = ours.kv(seen).chunk(2, 2)
        q, k, v = (t.unflatten(2, (ours.heads, -1)).transpose(1, 2) for t in (ours.q(rows), k, v))
        s = (q @ k.mT) * ours.scale
        a = s.softmax(3) if ours.mix is None else F.instance_norm(ours.mix(s).softmax(3))
        y = ours.out((a @ v).transpose(1, 2).flatten(2)).mT.reshape(x.shape)
        return x + y if ours.residual else y

    return Plain(ours, equations)
