# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Normalization-based attention module: the scales of a BN say how much each channel is gated by its own values.

Yichao Liu, Zongru Shao, Yueyang Teng, Nico Hoffmann: NAM: Normalization-based Attention Module, 2021,
arXiv:2111.12419; the channel attention sub-module.
Chapter: notebooks/mixed/nam.ipynb
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register

EPS = 1e-4  # what Σ|γ| counts at least, so that scales of 0 have a share and a gradient; float16 still holds it


@register(
    name="NAM",
    title="NAM: Normalization-based Attention Module",
    authors=("Yichao Liu", "Zongru Shao", "Yueyang Teng", "Nico Hoffmann"),
    year=2021,
    venue="NeurIPS 2021 workshop ImageNet PPF",
    paper="https://arxiv.org/abs/2111.12419",
    code="https://github.com/Christian-lyc/NAM",
    code_licence="none",
    maps=Map("B C H W", range=(0, 1)),
    params=lambda C: 2 * C,  # the scale and the shift of the BN
    macs=lambda C, H, W: 2 * C * H * W,  # the share and the gate, at every value
    order="C·H·W",
    hosts=(
        Host("resnet50", "residual", 25_587_240, "the authors' ResidualNet('ImageNet', 50, 1000, 'NAM')"),
        Host(
            *("resnet50_small", "residual", 23_735_460, "the authors' ResidualNet('CIFAR100', 50, 100, 'NAM')"),
            classes=100,
            inputs=("3 32 32",),
            printed=(
                Printed(
                    *("README of YOLOonMe/EMA-attention-module", "23.71 M"),
                    why="23.71 M is the network without NAM, whose 2 C a unit are 0.03 M",
                ),
            ),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
)
class NAM(nn.Module):
    """Normalization-based Attention Module (Liu et al., 2021), its channel part.

    s_c = γ_c (x_c − μ_c) / √(σ_c² + ε) + β_c    batch normalisation of its own, μ and σ² over B, H and W
    w_c = |γ_c| / Σ_k |γ_k|                      the share of channel c
    a = sigmoid(w_c s_c)                         the gate of every value
    y = a ⊙ x

    Args:
        channels: C, the number of channels of the input and of the output.

    Shapes:
        x: B C H W, y: B C H W, attention: B C H W, in (0, 1).

    Differs: in the authors' code no gradient runs through the share w (it reads ``.data``); in ours it does, as the
    formula says, so the results are equal and the gradients of γ are not. Where every γ is 0 their share is 0/0 and
    all is NaN; ours divides by 1e-4 at least, and every gate is 1/2. On a batch of one 1×1 map the BN trains with its
    running statistics, where theirs raises. The paper's loss has a penalty on |γ|, which is the trainer's part and not
    in here. Its second part, the same over positions, was soon taken out of the authors' code and needs maps of one
    size: it is this module with the axes C and H·W exchanged.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.norm = BatchNorm2d(channels)
        self.gate = nn.Sigmoid()

    def _share(self) -> Tensor:
        return F.normalize(self.norm.weight.abs(), p=1, dim=0, eps=EPS)[:, None, None]  # C 1 1

    def attention(self, x: Tensor) -> Tensor:
        """The gate of every value, B C H W."""
        s = self.norm(x)  # B C H W
        return self.gate(s * self._share().to(s.dtype))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
