# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient Channel Attention: each gate is computed from the means of its own channel and of its neighbours.

Qilong Wang, Banggu Wu, Pengfei Zhu, Peihua Li, Wangmeng Zuo, Qinghua Hu: ECA-Net: Efficient Channel Attention for Deep
Convolutional Neural Networks, 2020, arXiv:1910.03151; Figure 2 (the module), Figure 3 (a listing), Eqs. 8 and 9 (the
shared convolution), Eq. 12 (its size).
Chapter: notebooks/channel/eca.ipynb
"""

import math

from torch import Tensor, nn

from ..registry import Host, Map, Printed, register

RELEASED = {256: 3, 512: 5, 1024: 5, 2048: 7}  # channels of a stage of the authors' ECA-Net50: its kernel size


def _nearest_odd(channels: int) -> int:
    """ψ(C) of Eq. 12 with the paper's γ = 2 and b = 1; halfway between two odd numbers the larger, as in Figure 3."""
    return int((math.log2(channels) + 1) / 2) | 1  # the last bit makes an even number odd


def _params(C: int, kernel_size: int | None = None) -> int:
    return kernel_size or _nearest_odd(C)


def _macs(C: int, H: int, W: int, kernel_size: int | None = None) -> int:
    return _params(C, kernel_size) * C + C * H * W  # the convolution once, the gate at every position


@register(
    name="Efficient Channel Attention",
    title="ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
    authors=("Qilong Wang", "Banggu Wu", "Pengfei Zhu", "Peihua Li", "Wangmeng Zuo", "Qinghua Hu"),
    year=2020,
    venue="CVPR 2020",
    paper="https://arxiv.org/abs/1910.03151",
    code="https://github.com/BangguWu/ECANet",
    code_licence="MIT",
    maps=Map("B C 1 1", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="k·C + C·H·W",
    studied={"kernel_size": (3, 5, 7, 9)},
    hosts=(
        Host(
            *("resnet50", "residual", 25_557_112, "abstract: 80 more; released, with kernels of 3, 5, 5 and 7"),
            {"kernel_size": RELEASED},
            printed=(
                Printed(
                    "ECA, Table 3",
                    "24.37 M",
                    "3.86 G",
                    "binary",
                    "the authors' script prints what thop counts, and thop of 2019 gave 4,142,713,856 for the plain "
                    "ResNet-50 (pytorch-OpCounter, issue 17); which layers make up the rest is not known here",
                ),
            ),
        ),
        Host("resnet50", "residual", 25_557_118, "Eq. 12: 5, 5, 5, 7 in the four stages"),
        Host("resnet50", "residual", 25_557_080, "Table 2: k = 3 everywhere", {"kernel_size": 3}),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
)
class ECA(nn.Module):
    """Efficient Channel Attention (Wang et al., 2020).

    z_c = 1/(H·W) Σ_ij x_c(i, j)                    average pooling
    s_c = σ(Σ_j w_j z_{c+j}), |j| ≤ (k − 1)/2       Eqs. 8 and 9: one kernel w for all channels, zeros beyond the ends
    y_c = s_c x_c
    k = ψ(C) = |log₂(C)/γ + b/γ|_odd                Eq. 12: γ = 2, b = 1

    Args:
        channels: C, the number of channels of the input and of the output.
        kernel_size: k, how many neighbouring channels a gate sees, itself included; odd. None takes ψ(C).

    Shapes:
        x: B C H W, y: B C H W, attention: B C 1 1 in (0, 1).

    Raises:
        ValueError: ``kernel_size`` is not an odd whole number of at least 1.

    Differs: the authors' class takes k from its caller, 3 by default, and their networks do not follow Eq. 12: the
    released ECA-Net50 has 3, 5, 5, 7 in its four stages, where ψ gives 5, 5, 5, 7. The listing in Figure 3 leaves out
    σ; ours has it, as Eq. 9 and the authors' class do.
    """

    def __init__(self, channels: int, *, kernel_size: int | None = None):
        super().__init__()
        if kernel_size is None:
            kernel_size = _nearest_odd(channels)
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be an odd whole number, not {kernel_size!r}; the paper tries 3, 5, 7 and 9"
            )
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)  # w
        self.gate = nn.Sigmoid()

    def attention(self, x: Tensor) -> Tensor:
        """The gates s, B C 1 1."""
        z = x.mean((2, 3))  # B C
        s = self.conv(z.unsqueeze(1))  # B 1 C: the channels are the axis that the kernel slides along
        return self.gate(s).movedim(1, 2).unsqueeze(3)  # B C 1 1

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
