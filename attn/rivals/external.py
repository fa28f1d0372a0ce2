# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""External attention by other hands."""

import torch
from torch import Tensor, nn

from . import Plain


def plain(ours: nn.Module) -> nn.Module:
    """Two matrices and two normalisations, one after the other, positions as rows"""

    def equations(ours, x: Tensor) -> Tensor:
        m_k, m_v = ours.keys.weight.flatten(1), ours.values.weight.flatten(1).T  # S C each
        s = ours.query(x).flatten(2).transpose(1, 2) @ m_k.T  # B N S
        a = s.softmax(1)
        a = a / a.sum(2, keepdim=True)
        f = (a @ m_v).transpose(1, 2).unflatten(2, x.shape[2:])
        return torch.relu(x + ours.norm(ours.project(f)))

    return Plain(ours, equations)
