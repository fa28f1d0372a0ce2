# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SimAM: every value is weighed by how far it stands out from its own channel, without a parameter.

Lingxiao Yang, Ru-Yuan Zhang, Lida Li, Xiaohua Xie: SimAM: A Simple, Parameter-Free Attention Module for Convolutional
Neural Networks, 2021, PMLR 139:11863-11874; Eq. 5 (the smallest energy of a value).
Chapter: notebooks/mixed/simam.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, register


@register(
    name="SimAM",
    title="SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks",
    authors=("Lingxiao Yang", "Ru-Yuan Zhang", "Lida Li", "Xiaohua Xie"),
    year=2021,
    venue="ICML 2021",
    paper="https://proceedings.mlr.press/v139/yang21o.html",
    code="https://github.com/ZjjConan/SimAM",
    code_licence="none",
    maps=Map("B C H W", range=(0.622, 1)),
    params=lambda C, e_lambda=0.1: 0,
    macs=lambda C, H, W, e_lambda=0.1: 2 * C * H * W,  # the square and the product
    order="C·H·W",
    studied={"e_lambda": (1e-4, 0.1)},
    hosts=(
        Host(
            *("resnet50", "convolved", 25_557_032, "the README of the authors' repository: 25.56 M"),
            printed=(Printed("README of ZjjConan/SimAM", "25.56 M", "4.11 G", "norms"),),
        ),
        Host(
            *("resnext50", "convolved", 25_028_904, "the same table: 25.03 M"),
            printed=(Printed("README of ZjjConan/SimAM", "25.03 M", "4.26 G", "norms"),),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute", "channels"),
)
class SimAM(nn.Module):
    """SimAM (Yang et al., 2021).

    μ = 1/M Σ_i x_i, σ² = 1/(M − 1) Σ_i (x_i − μ)²      the M = H·W values of one channel of one image
    e* = 4 (σ² + λ) / ((x − μ)² + 2 σ² + 2 λ)           Eq. 5: the smallest energy of the value x
    1/e* = (x − μ)² / (4 (σ² + λ)) + 1/2                its inverse, the importance of x
    y = sigmoid(1/e*) ⊙ x

    Args:
        channels: C, the number of channels of the input and of the output; nothing here depends on it.
        e_lambda: λ, above 0: what the energy charges for a steep line, and the variance below which a channel counts as
            flat.

    Shapes:
        x: B C H W, y: B C H W, attention: B C H W, from sigmoid(1/2) = 0.622 up to 1.

    Raises:
        ValueError: ``e_lambda`` is not above 0.

    Differs: λ is 0.1, as in the authors' commands for ImageNet and their configurations for COCO; their class has 1e-4
    by default. The variance is divided by M − 1, as in their code; Eq. 5 takes it over M. On a 1×1 map M − 1 is 0 and
    their result NaN; ours divides by 1 there, and every value has the importance 1/2. Where x is half precision ours
    computes in float32, theirs in the type of x, whose squares overflow in float16 from 256 on.
    """

    def __init__(self, channels: int, *, e_lambda: float = 0.1):
        super().__init__()
        if not e_lambda > 0:
            raise ValueError(f"e_lambda must be above 0, not {e_lambda!r}; the authors use 0.1 and 1e-4")
        self.e_lambda = e_lambda
        self.gate = nn.Sigmoid()

    def extra_repr(self) -> str:
        return f"e_lambda={self.e_lambda}"

    def _importance(self, x: Tensor) -> Tensor:
        d = x - x.mean((2, 3), keepdim=True)  # B C H W
        squares = d * d
        variance = squares.sum((2, 3), keepdim=True) / max(1, x.shape[2] * x.shape[3] - 1)  # B C 1 1
        return squares / (4 * (variance + self.e_lambda)) + 0.5

    def attention(self, x: Tensor) -> Tensor:
        """The gate of every value, B C H W."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return self.gate(self._importance(wide)).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
