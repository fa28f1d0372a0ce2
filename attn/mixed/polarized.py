# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Polarized self-attention: a gate per channel from a sum over positions, a gate per position from a sum over channels.

Huajun Liu, Fuqiang Liu, Xinyi Fan, Dong Huang: Polarized Self-Attention: Towards High-quality Pixel-wise Regression,
2021, arXiv:2107.00782.
Chapter: notebooks/mixed/polarized.ipynb
"""

from torch import Tensor, nn

from ..registry import Map, register, unknown

LAYOUTS = ("parallel", "sequential")


def _params(C: int, layout: str = "parallel", bias: bool = False) -> int:
    # W_q, W_v, W_z with scale and shift of the LN, V_q, V_v; the biases of all five.
    return C + C // 2 * C + C * C // 2 + 2 * C + 2 * (C // 2 * C) + (1 + 3 * (C // 2) + C if bias else 0)


def _macs(C: int, H: int, W: int, layout: str = "parallel", bias: bool = False) -> int:
    # Four matrices on one vector each; the scores of W_q, the sum that they weigh, the spatial scores; the gates.
    return 4 * (C // 2 * C) + 3 * C * H * W + (1 if layout == "parallel" else 2) * C * H * W


def _rebuild(module: nn.Module, a: dict[str, Tensor], x: Tensor) -> Tensor:
    if module.layout == "parallel":
        return a["channel"] * x + a["spatial"] * x
    return a["channel"] * x * a["spatial"]


@register(
    name="Polarized Self-Attention",
    title="Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
    authors=("Huajun Liu", "Fuqiang Liu", "Xinyi Fan", "Dong Huang"),
    year=2021,
    venue="arXiv",
    paper="https://arxiv.org/abs/2107.00782",
    code="https://github.com/DeLightCMU/PSA",
    code_licence="Apache-2.0",
    maps={"channel": Map("B C 1 1", range=(0, 1)), "spatial": Map("B 1 H W", range=(0, 1))},
    params=_params,
    macs=_macs,
    order="C² + C·H·W",
    studied={"layout": LAYOUTS},
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=_rebuild,
    limits={"hosts": "the paper's networks find joints and segment; no count of one was found that could be read"},
)
class PolarizedSelfAttention(nn.Module):
    """Polarized Self-Attention (Liu et al., 2021).

    p = softmax_HW(W_q x)                         a weight for each of the H·W positions
    A^ch(x) = σ(LN(W_z Σ_n p_n W_v x_n))          channel gate: σ = sigmoid, LN over the C channels
    q = softmax_C/2(V_q mean_n x_n)               a weight for each of C/2 maps
    A^sp(x)_n = σ(qᵀ V_v x_n)                     spatial gate
    y = A^ch(x) ⊙ x + A^sp(x) ⊙ x                 parallel
    y = A^sp(x′) ⊙ x′ with x′ = A^ch(x) ⊙ x       sequential

    W_q: C → 1, W_v: C → C/2, W_z: C/2 → C, V_q, V_v: C → C/2.

    Args:
        channels: C, even, the number of channels of the input and of the output.
        layout: ``"parallel"`` or ``"sequential"``.
        bias: whether the five linear maps have biases.

    Shapes:
        x: B C H W, y: B C H W, attention: channel B C 1 1 and spatial B 1 H W, both in (0, 1).

    Raises:
        ValueError: ``channels`` is odd, or there is no such ``layout``.

    Differs: the sums over positions and over the C/2 maps are drawn through the linear maps before and behind them,
    W_v Σ p_n x_n for Σ p_n W_v x_n and (V_vᵀ q)ᵀ x_n for qᵀ (V_v x_n): the same function, without any map of C/2
    channels. The authors' released code is another function. In its parallel form the softmax of the spatial gate
    stands behind the product and runs over the positions, so that the gate is nearly 1/2 everywhere, and LN is missing;
    in its sequential form that softmax is on V_v x, over the positions, and W_z is two layers with C/8 units, LN and a
    ReLU between them. The widespread version in External-Attention-pytorch has biases and equals ours with them.
    """

    def __init__(self, channels: int, *, layout: str = "parallel", bias: bool = False):
        super().__init__()
        if channels % 2:
            raise ValueError(f"channels must be even, not {channels!r}; near it: {channels - 1} and {channels + 1}")
        if layout not in LAYOUTS:
            raise ValueError(unknown("layout", layout, LAYOUTS))
        self.layout, half = layout, channels // 2
        self.channel_query = nn.Conv2d(channels, 1, 1, bias=bias)  # W_q
        self.channel_value = nn.Linear(channels, half, bias=bias)  # W_v
        self.channel_up = nn.Linear(half, channels, bias=bias)  # W_z
        self.norm = nn.LayerNorm(channels)
        self.spatial_query = nn.Linear(channels, half, bias=bias)  # V_q
        self.spatial_value = nn.Linear(channels, half, bias=bias)  # V_v
        self.gate = nn.Sigmoid()
        for layer in (self.channel_query, self.channel_value, self.spatial_query, self.spatial_value):
            nn.init.kaiming_normal_(layer.weight)
            if bias:
                nn.init.zeros_(layer.bias)

    def extra_repr(self) -> str:
        return f"layout={self.layout!r}"

    def _channel(self, x: Tensor) -> Tensor:
        p = self.channel_query(x).flatten(2).softmax(2)  # B 1 N
        z = (x.flatten(2) @ p.transpose(1, 2)).squeeze(2)  # B C
        s = self.norm(self.channel_up(self.channel_value(z)))  # B C
        return self.gate(s)[:, :, None, None]

    def _spatial(self, x: Tensor) -> Tensor:
        q = self.spatial_query(x.mean((2, 3))).softmax(1)  # B C/2
        s = (q @ self.spatial_value.weight)[:, None] @ x.flatten(2)  # B 1 N
        if self.spatial_value.bias is not None:
            s = s + (q @ self.spatial_value.bias)[:, None, None]
        return self.gate(s).unflatten(2, x.shape[2:])  # B 1 H W

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The gates: A^ch, B C 1 1, and A^sp, B 1 H W, of x or, in sequence, of what A^ch lets pass."""
        channel = self._channel(x)
        return {"channel": channel, "spatial": self._spatial(x if self.layout == "parallel" else x * channel)}

    def forward(self, x: Tensor) -> Tensor:
        if self.layout == "parallel":
            return x * (self._channel(x) + self._spatial(x))
        x = x * self._channel(x)
        return x * self._spatial(x)
