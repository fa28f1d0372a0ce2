# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Coordinate Attention: each channel gets a gate for every row and a gate for every column.

Qibin Hou, Daquan Zhou, Jiashi Feng: Coordinate Attention for Efficient Mobile Network Design, 2021, arXiv:2103.02907;
Figure 2 (the block beside SE and CBAM), Eqs. 4 and 5 (the two pools), Eq. 6 (the shared layer), Eqs. 7 to 9 (the gates
and the result).
Chapter: notebooks/mixed/coord.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, register


def _hidden(channels: int, reduction: int) -> int:
    return max(8, channels // reduction)


def _params(C: int, reduction: int = 32) -> int:
    hidden = _hidden(C, reduction)
    return 3 * C * hidden + 2 * C + 3 * hidden  # three layers, their biases, the BN


def _macs(C: int, H: int, W: int, reduction: int = 32) -> int:
    # The shared layer on every row and column, a layer of its own for each of the two; both gates at every position.
    return 2 * C * _hidden(C, reduction) * (H + W) + 2 * C * H * W


@register(
    name="Coordinate Attention",
    title="Coordinate Attention for Efficient Mobile Network Design",
    authors=("Qibin Hou", "Daquan Zhou", "Jiashi Feng"),
    year=2021,
    venue="CVPR 2021",
    paper="https://arxiv.org/abs/2103.02907",
    code="https://github.com/houqb/CoordAttention",
    code_licence="MIT",
    maps={"rows": Map("B C H 1", range=(0, 1)), "columns": Map("B C 1 W", range=(0, 1))},
    params=_params,
    macs=_macs,
    order="C²/r·(H + W) + C·H·W",
    studied={"reduction": (16, 32)},
    hosts=(
        Host(
            *("mobilenetv2", "depthwise", 3_950_648, "the authors' mbv2_ca(); 3.95M in the README of their repository"),
            printed=(Printed("README of houqb/CoordAttention", "3.95 M", "0.31 G"),),
        ),
        Host("resnet50", "residual", 27_474_864, "counted by us by the formula; the paper has no ResNet"),
    ),
    symmetries=("shift", "flip"),
)
class CoordAttention(nn.Module):
    """Coordinate attention (Hou et al., 2021).

    zʰ_c(i) = 1/W Σ_j x_c(i, j)                  mean of each row, Eq. 4
    zʷ_c(j) = 1/H Σ_i x_c(i, j)                  mean of each column, Eq. 5
    [fʰ; fʷ] = δ(BN(F₁ [zʰ; zʷ]))                Eq. 6: one layer for every row and column, δ = h-swish
    gʰ = σ(F_h fʰ), gʷ = σ(F_w fʷ)               Eqs. 7 and 8: σ = sigmoid
    y_c(i, j) = x_c(i, j) gʰ_c(i) gʷ_c(j)        Eq. 9

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; F₁ has C/r outputs, rounded down, at least 8.

    Shapes:
        x: B C H W, y: B C H W, attention: rows B C H 1 and columns B C 1 W, both in (0, 1).

    Raises:
        ValueError: ``reduction`` is below 1.

    Differs: Eq. 6 leaves out the BN, which Figure 2 and the authors' code have; the floor of 8 hidden units, the biases
    and h-swish are those of their code. Their class takes a second number of channels, for the output, and fails in the
    last product if it is not the first; ours has one. They make the means by adaptive pools, we by means over an axis,
    which give the same.
    """

    def __init__(self, channels: int, *, reduction: int = 32):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the authors' default is 32")
        hidden = _hidden(channels, reduction)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),  # F₁
            nn.BatchNorm2d(hidden),
            nn.Hardswish(),
        )
        self.rows = nn.Conv2d(hidden, channels, 1)  # F_h
        self.columns = nn.Conv2d(hidden, channels, 1)  # F_w
        self.gate = nn.Sigmoid()

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The gates: gʰ of the rows, B C H 1, and gʷ of the columns, B C 1 W."""
        H, W = x.shape[2:]
        z = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], 2)  # B C H+W 1
        rows, columns = self.shared(z).split([H, W], 2)
        return {"rows": self.gate(self.rows(rows)), "columns": self.gate(self.columns(columns).transpose(2, 3))}

    def forward(self, x: Tensor) -> Tensor:
        a = self.attention(x)
        return x * a["rows"] * a["columns"]
