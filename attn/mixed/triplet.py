# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Triplet attention: one small convolution looks at the map from each of three sides, and the three gates are averaged.

Diganta Misra, Trikay Nalamada, Ajay Uppili Arasanipalai, Qibin Hou: Rotate to Attend: Convolutional Triplet Attention
Module, 2021, arXiv:2010.03045; Section 3.2 (Z-pool, the three branches, their mean).
Chapter: notebooks/mixed/triplet.ipynb
"""

import torch
from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register

# The axis that each side pools over; the two that remain are the plane in which its kernel slides.
_SIDES = {"cw": 2, "hc": 3, "hw": 1}

_README = "README of landskape-ai/triplet-attention"
_WHY = "a count by layers sees none of its 5.5 million products of maps and gates"


def _params(C: int, kernel_size: int = 7) -> int:
    return 3 * (2 * kernel_size**2 + 2)  # a kernel that reads two planes, and the BN, on each side


def _macs(C: int, H: int, W: int, kernel_size: int = 7) -> int:
    return 2 * kernel_size**2 * (C * W + H * C + H * W) + C * H * W  # three convolutions, the product


@register(
    name="Triplet Attention",
    title="Rotate to Attend: Convolutional Triplet Attention Module",
    authors=("Diganta Misra", "Trikay Nalamada", "Ajay Uppili Arasanipalai", "Qibin Hou"),
    year=2021,
    venue="WACV 2021",
    paper="https://arxiv.org/abs/2010.03045",
    code="https://github.com/landskape-ai/triplet-attention",
    code_licence="MIT",
    maps={
        "cw": Map("B C 1 W", range=(0, 1)),
        "hc": Map("B C H 1", range=(0, 1)),
        "hw": Map("B 1 H W", range=(0, 1)),
    },
    params=_params,
    macs=_macs,
    order="k²·(C·W + H·C + H·W) + C·H·W",
    studied={"kernel_size": (3, 7)},
    hosts=(
        Host(
            *("resnet50", "residual", 25_561_832, "the authors' ResidualNet('ImageNet', 50, 1000, 'TripletAttention')"),
            printed=(Printed(_README, "25.56 M", "4.169 G", "layers", _WHY),),
        ),
        Host(
            *("resnet50", "residual", 25_557_992, "16 modules of 60 parameters"),
            options={"kernel_size": 3},
            printed=(Printed(_README, "25.56 M", "4.131 G", "layers", _WHY),),
        ),
        Host(
            *("mobilenetv2", "narrow", 3_509_972, "17 modules of 300 parameters"),
            printed=(Printed(_README, "3.51 M", "0.327 G", "layers"),),
        ),
        Host(
            *("mobilenetv2", "narrow", 3_505_892, "17 modules of 60 parameters"),
            options={"kernel_size": 3},
            printed=(Printed(_README, "3.506 M", "0.322 G", "layers"),),
        ),
    ),
    rebuild=lambda module, a, x: x * (a["cw"] + a["hc"] + a["hw"]) / 3,
)
class TripletAttention(nn.Module):
    """Triplet attention (Misra et al., 2021).

    Z(t) = [max t; mean t]                       Z-pool, over the axis behind the batch
    g_s(t) = σ(BN(f_s * Z(t)))                   the gate of a side: f_s is a k×k convolution to one plane, σ = sigmoid
    A_s(x) = P_s⁻¹(P_s x ⊙ g_s(P_s x))           P_s brings the axis to pool to the place of the channels
    y = (A_cw(x) + A_hc(x) + A_hw(x)) / 3        P_cw exchanges C and H, P_hc exchanges C and W, P_hw nothing

    Args:
        channels: C, the number of channels of the input and of the output; no weight depends on it.
        kernel_size: k, odd.

    Shapes:
        x: B C H W, y: B C H W, attention: cw B C 1 W, hc B C H 1 and hw B 1 H W, all in (0, 1).

    Raises:
        ValueError: ``kernel_size`` is even or below 1.

    Differs: the authors turn x itself and turn each gated copy back; we turn the gates alone and gate x once with their
    mean, which is the same up to rounding. Their k is fixed to 7 in the code; their ``no_spatial``, which leaves out hw
    and halves instead, is no option here. On a batch of one 1×1 map the BN of hw trains with its running statistics,
    where theirs raises. Where several numbers share a maximum, the gradient is divided among them, theirs goes to one.
    """

    def __init__(self, channels: int, *, kernel_size: int = 7):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            good = [k for k in (kernel_size - 1, kernel_size + 1) if k > 0 and k % 2] or [1, 3]
            raise ValueError(
                f"kernel_size must be odd, not {kernel_size!r}, or a gate would not have the size of its plane; "
                f"near it: {' and '.join(map(str, good))}"
            )
        self.gates = nn.ModuleDict(
            {
                side: nn.Sequential(
                    nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False),  # f_s
                    BatchNorm2d(1, momentum=0.01),
                    nn.Sigmoid(),
                )
                for side in _SIDES
            }
        )

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The gates g_s as factors of x: cw B C 1 W, hc B C H 1, hw B 1 H W."""
        a = {}
        for side, axis in _SIDES.items():
            t = x.transpose(1, axis)  # P_s x: cw B H C W, hc B W H C, hw B C H W
            z = torch.cat([t.amax(1, keepdim=True), t.mean(1, keepdim=True)], 1)  # Z-pool: B 2 and the plane
            a[side] = self.gates[side](z).transpose(1, axis)
        return a

    def forward(self, x: Tensor) -> Tensor:
        a = self.attention(x)
        return x * ((a["cw"] + a["hc"] + a["hw"]) / 3)
