# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Second-order Channel Attention: each gate from how a channel varies together with all the others.

Tao Dai, Jianrui Cai, Yongbing Zhang, Shu-Tao Xia, Lei Zhang: Second-order Attention Network for Single Image
Super-Resolution, 2019, CVPR, pages 11065-11074; covariance normalization and the channel attention behind it.
Chapter: notebooks/channel/soca.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, register

EPS = 1e-5  # ε, beside the trace


def _params(C: int, reduction: int = 16, iterations: int = 5) -> int:
    hidden = max(1, C // reduction)
    return 2 * C * hidden + C + hidden


def _macs(C: int, H: int, W: int, reduction: int = 16, iterations: int = 5) -> int:
    root = 3 * (iterations - 1) * C**3 + C  # one product in the first step, two in the last, three in each between
    return C * C * H * W + root + 2 * C * max(1, C // reduction) + C * H * W  # Σ, its root, two layers, the gate


_SAN = "the authors' SAN with the scale {} and what option.py and the README set; parameters that it never uses count"


@register(
    name="Second-order Channel Attention",
    title="Second-order Attention Network for Single Image Super-Resolution",
    authors=("Tao Dai", "Jianrui Cai", "Yongbing Zhang", "Shu-Tao Xia", "Lei Zhang"),
    year=2019,
    venue="CVPR 2019",
    paper="https://openaccess.thecvf.com/content_CVPR_2019/html/"
    "Dai_Second-Order_Attention_Network_for_Single_Image_Super-Resolution_CVPR_2019_paper.html",
    code="https://github.com/daitao/SAN",
    code_licence="none",
    maps=Map("B C 1 1", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C²·H·W + 12·C³",
    studied={"reduction": (8,)},
    hosts=tuple(
        Host(f"san_x{scale}", "group", count, _SAN.format(scale), inputs=("3 48 48",))
        for scale, count in ((2, 15_712_800), (3, 15_897_440), (4, 15_860_512))
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
)
class SOCA(nn.Module):
    """Second-order Channel Attention (Dai et al., 2019).

    Σ = 1/(H·W) Σ_ij (x(i, j) − μ)(x(i, j) − μ)ᵀ        C × C, the covariance of the channels; μ the channels' means
    Y₀ = Σ / tr(Σ), Z₀ = I                              normalised, so that what follows converges
    Y_n = ½ Y_{n−1}(3I − Z_{n−1} Y_{n−1})
    Z_n = ½ (3I − Z_{n−1} Y_{n−1}) Z_{n−1}              Newton-Schulz: Y_n tends to the root of Y₀, Z_n to its inverse
    Ŷ = √tr(Σ) Y_N                                      compensated: towards the root of Σ, small eigenvalues last
    z_c = 1/C Σ_k Ŷ_kc                                  global covariance pooling
    w = sigmoid(W_U δ(W_D z)), y_c = w_c x_c            δ = ReLU, both layers with biases

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; the hidden layer has C/r units, rounded down, at least one.
        iterations: N, the steps of Newton-Schulz.

    Shapes:
        x: B C H W, y: B C H W, attention: B C 1 1 in (0, 1).

    Raises:
        ValueError: ``reduction`` is below 1, or ``iterations`` below 2.

    Differs: ε = 1e-5 stands beside the trace; in the equation and in the authors' code zeros divide 0 by 0.
    Theirs builds the H·W × H·W matrix that takes the mean away, and above a side of 1000 the covariance reads only the
    middle of the map; ours takes the mean away and reads all of it. Theirs writes the gradients by hand in float32;
    ours leaves them to autograd, and scales before it multiplies, so that no product overflows in float16. Their class
    has r = 8 where nothing is said, their options 16, which is what their network is built with.
    """

    def __init__(self, channels: int, *, reduction: int = 16, iterations: int = 5):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the paper's is 16")
        if iterations < 2:
            raise ValueError(f"iterations must be at least 2, not {iterations!r}; the paper's is 5")
        hidden = max(1, channels // reduction)
        self.iterations = iterations
        self.down = nn.Conv2d(channels, hidden, 1)  # W_D
        self.relu = nn.ReLU()
        self.up = nn.Conv2d(hidden, channels, 1)  # W_U
        self.gate = nn.Sigmoid()

    def extra_repr(self) -> str:
        return f"iterations={self.iterations}"

    def _covariance(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Y₀, B C C, and the trace that it was divided by, B 1 1."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32)).flatten(2)  # B C N
        centred = wide - wide.mean(2, keepdim=True)
        trace = centred.square().mean(2, keepdim=True).sum(1, keepdim=True) + EPS
        unit = centred / (trace * wide.shape[2]).sqrt()
        return unit @ unit.transpose(1, 2), trace

    def _root(self, a: Tensor) -> Tensor:
        """Y_N of Y₀ = a, B C C."""
        three = 3 * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        z = (three - a) / 2  # the first step, with Z₀ = I
        y = a @ z
        for _ in range(self.iterations - 2):
            t = (three - z @ y) / 2
            y, z = y @ t, t @ z
        return y @ (three - z @ y) / 2  # of the last step nobody reads Z

    def attention(self, x: Tensor) -> Tensor:
        """The gates w, B C 1 1."""
        a, trace = self._covariance(x)
        z = trace.sqrt() * self._root(a).mean(2, keepdim=True)  # B C 1
        return self.gate(self.up(self.relu(self.down(z[..., None].to(x.dtype)))))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
