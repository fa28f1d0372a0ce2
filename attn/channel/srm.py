# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Style-based Recalibration Module: each gate from the mean and the standard deviation of its own channel.

HyunJae Lee, Hyo-Eun Kim, Hyeonseob Nam: SRM: A Style-based Recalibration Module for Convolutional Neural Networks,
2019, arXiv:1903.10829; Figure 1 (the module).
Chapter: notebooks/channel/srm.ipynb
"""

import torch
from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register

EPS = 1e-5  # ε, under the root of the standard deviation


def _params(C: int) -> int:
    return 2 * C + 2 * C  # the weights of the two statistics, and the scale and shift of the BN


def _macs(C: int, H: int, W: int) -> int:
    return 2 * C + C * H * W  # the weighted sum once, the gate at every position


@register(
    name="Style-based Recalibration Module",
    title="SRM: A Style-based Recalibration Module for Convolutional Neural Networks",
    authors=("HyunJae Lee", "Hyo-Eun Kim", "Hyeonseob Nam"),
    year=2019,
    venue="ICCV 2019",
    paper="https://arxiv.org/abs/1903.10829",
    code="https://github.com/hyunjaelee410/style-based-recalibration-module",
    code_licence="none",
    maps=Map("B C 1 1", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C + C·H·W",
    hosts=(
        Host(
            *("resnet50", "residual", 25_617_448, "the authors' resnet(50, recalibration_type='srm')"),
            printed=(Printed("table in the authors' README", "25.62 M"),),
        ),
        Host(
            *("resnet50_early", "residual", 25_617_448, "the layout whose plain network has the printed 3.86 G"),
            printed=(
                Printed(
                    *("table in the authors' README", "", "3.88 G"),
                    why="three operations for each number pooled would make up the difference, which is a guess",
                ),
            ),
        ),
        Host(
            *("resnet101_early", "residual", 44_679_208, "the authors' resnet(101, recalibration_type='srm')"),
            printed=(
                Printed(
                    *("table in the authors' README", "44.68 M", "7.62 G"),
                    why="the table has 7.58 G for the plain ResNet-101, where ours has 7.57; the rest as in ResNet-50",
                ),
            ),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
)
class SRM(nn.Module):
    """Style-based Recalibration Module (Lee et al., 2019).

    μ_c = 1/(H·W) Σ_ij x_c(i, j)
    σ_c = √(1/(H·W − 1) Σ_ij (x_c(i, j) − μ_c)² + ε)     style pooling: t_c = (μ_c, σ_c)
    z_c = w_c · t_c                                      channel-wise fully connected: w_c two numbers, no bias
    g_c = sigmoid(BN(z)_c)                               style integration; the BN is over the images of the batch
    y_c = g_c x_c

    Args:
        channels: C, the number of channels of the input and of the output.

    Shapes:
        x: B C H W, y: B C H W, attention: B C 1 1 in (0, 1).

    Differs: of a map of one position the authors' code makes NaN, because no variance can be told from one value; ours
    takes the variance to be 0 there. With one image in the batch the BN trains with its running statistics, where
    theirs raises. They train w and the BN without weight decay, which is the optimiser's part and not in here.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.cfc = nn.Parameter(torch.zeros(channels, 2))  # w, one row a channel
        self.norm = BatchNorm2d(channels)
        self.gate = nn.Sigmoid()

    def _style(self, x: Tensor) -> Tensor:
        # By hand, since torch.var takes several times as long on a processor; a square overflows in float16.
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # B C H W
        mean = wide.mean((2, 3), keepdim=True)
        squares = (wide - mean).square().sum((2, 3), keepdim=True)
        variance = squares / max(1, x.shape[2] * x.shape[3] - 1)
        return torch.cat([mean, (variance + EPS).sqrt()], 2).to(x.dtype)  # B C 2 1

    def attention(self, x: Tensor) -> Tensor:
        """The gates g, B C 1 1."""
        z = (self._style(x) * self.cfc.unsqueeze(2)).sum(2, keepdim=True)  # B C 1 1
        return self.gate(self.norm(z))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
