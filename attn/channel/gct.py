# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Gated Channel Transformation: each channel's norm, measured against those of all channels, moves a gate around one.

Zongxin Yang, Linchao Zhu, Yu Wu, Yi Yang: Gated Channel Transformation for Visual Recognition, 2020, arXiv:1909.11519;
global context embedding, channel normalization and gating adaptation.
Chapter: notebooks/channel/gct.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, register, unknown

MODES = ("l2", "l1")


def _macs(C: int, H: int, W: int, mode: str = "l2") -> int:
    squares = C * H * W + C if mode == "l2" else 0  # of x, then of s
    return squares + 2 * C + C * H * W  # α and γ once a channel, the gate at every position


@register(
    name="Gated Channel Transformation",
    title="Gated Channel Transformation for Visual Recognition",
    authors=("Zongxin Yang", "Linchao Zhu", "Yu Wu", "Yi Yang"),
    year=2020,
    venue="CVPR 2020",
    paper="https://arxiv.org/abs/1909.11519",
    code="https://github.com/z-x-yang/GCT",
    code_licence="MIT",
    maps=Map("B C 1 1", range=(0, 2)),
    params=lambda C, mode="l2": 3 * C,
    macs=_macs,
    order="C·H·W",
    studied={"mode": MODES},
    hosts=(
        Host(
            *("resnet50_early", "before", 25_624_625),
            "PyTorch/resnet.py of z-x-yang/GCT: 3·C for each of the 53 convolutions, whose inputs add up to C = 22,531",
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
)
class GCT(nn.Module):
    """Gated Channel Transformation (Yang et al., 2020).

    s_c = α_c √(Σ_ij x_c(i, j)² + ε)        global context embedding
    ŝ_c = √C s_c / √(Σ_k s_k² + ε)          channel normalization
    g_c = 1 + tanh(γ_c ŝ_c + β_c)           gating adaptation
    y_c = g_c x_c

    Args:
        channels: C, the number of channels of the input and of the output.
        mode: ``"l2"``, the norms above, or ``"l1"``, the other option of the authors' code: s_c = α_c Σ_ij |x_c(i, j)|
            and ŝ_c = C s_c / Σ_k |s_k|.

    Shapes:
        x: B C H W, y: B C H W, attention: B C 1 1 in (0, 2).

    Raises:
        ValueError: ``mode`` is neither.

    Differs: ε is 1e-5 and stands under the mean of the s_k², as in the authors' code; the equation has it under the
    sum, where it weighs a C-th of that. Theirs computes in the type of x, where the sum of squares of one channel
    overflows in float16 above 65504; ours computes at least in float32. The paper and the authors' scripts keep β out
    of the weight decay; that is for the optimiser to do. Their switch ``after_relu``, which leaves out the absolute
    value where x is not negative, is not here: it changes no number. Their three parameters are 1 C 1 1, ours C.
    """

    def __init__(self, channels: int, *, mode: str = "l2"):
        super().__init__()
        if mode not in MODES:
            raise ValueError(unknown("mode", mode, MODES))
        self.mode, self.eps = mode, 1e-5
        self.alpha = nn.Parameter(torch.ones(channels))  # α
        self.gamma = nn.Parameter(torch.zeros(channels))  # γ; with β at zero the gate is one: y = x
        self.beta = nn.Parameter(torch.zeros(channels))  # β

    def extra_repr(self) -> str:
        return f"{len(self.alpha)}, mode={self.mode!r}"

    def _normalised(self, x: Tensor) -> Tensor:
        """ŝ, B C."""
        if self.mode == "l1":
            s = self.alpha * x.abs().sum((2, 3))  # B C
            return s / (s.abs().mean(1, keepdim=True) + self.eps)
        s = self.alpha * ((x * x).sum((2, 3)) + self.eps).sqrt()  # B C
        return s / ((s * s).mean(1, keepdim=True) + self.eps).sqrt()

    def attention(self, x: Tensor) -> Tensor:
        """The gates g, B C 1 1."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # B C H W
        g = 1 + (self.gamma * self._normalised(wide) + self.beta).tanh()  # B C
        return g[:, :, None, None].to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
