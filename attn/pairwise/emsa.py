# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient multi-head self-attention: keys and values from a map shrunk by a convolution, and heads that are mixed.

Qing-Long Zhang, Yu-Bin Yang: ResT: An Efficient Transformer for Visual Recognition, 2021, arXiv:2105.13677; its
efficient multi-head self-attention (EMSA), with the sizes and initial values of the authors' models/rest.py.
Chapter: notebooks/pairwise/emsa.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, register


def _params(C: int, heads: int = 8, reduction: int = 4, mix: bool = True, bias: bool = True, **options) -> int:
    projections = 4 * C * C + C + 3 * C * bias
    shrink = C * (reduction + 1) ** 2 + 3 * C if reduction > 1 else 0  # the kernel, its bias, the LayerNorm
    return projections + shrink + (heads * heads + heads if mix and heads > 1 else 0)


def _macs(C: int, H: int, W: int, heads: int = 8, reduction: int = 4, mix: bool = True, **options) -> int:
    N, K = H * W, -(-H // reduction) * -(-W // reduction)  # queries, keys
    shrink = K * C * (reduction + 1) ** 2 if reduction > 1 else 0
    mixing = heads**2 * N * K + K * C if mix and heads > 1 else 0  # Conv, and the values by IN's factor
    # Queries and results at every position, keys and values at every key; scores and weighted sum at each pair.
    return 2 * N * C * C + 2 * K * C * C + shrink + 2 * N * K * C + mixing


_WHY = "how the multiply-adds were counted is not said; get_flops.py beside it counts ResTv2"
_STAGES = {"reduction": (8, 4, 2, 1), "heads": (1, 2, 4, 8)}


def _host(name: str, width: int, params: int, printed: str, macs: str) -> Host:
    """One of the authors' networks: four stages, each twice as wide as the one before."""
    by_width = {k: dict(zip((width, 2 * width, 4 * width, 8 * width), v, strict=True)) for k, v in _STAGES.items()}
    return Host(
        *(f"rest_{name}", "blocks", params, f"the authors' rest_{name}, models/rest.py"),
        options={"residual": False, **by_width},
        printed=(Printed("README of the authors' repository", printed, macs, why=_WHY),),
    )


@register(
    name="Efficient Multi-head Self-Attention",
    title="ResT: An Efficient Transformer for Visual Recognition",
    authors=("Qing-Long Zhang", "Yu-Bin Yang"),
    year=2021,
    venue="NeurIPS 2021",
    paper="https://arxiv.org/abs/2105.13677",
    code="https://github.com/wofmanaf/ResT",
    code_licence="Apache-2.0",
    maps=Map("B h N K"),
    params=_params,
    macs=_macs,
    order="C²·H·W + (C + h²)·(H·W)²/s²",
    studied={"reduction": (1, 2, 8), "mix": (False,)},
    hosts=(
        _host("lite", 64, 10_508_300, "11 M", "1.4 G"),
        _host("small", 64, 13_679_708, "14 M", "1.9 G"),
        _host("base", 96, 30_327_052, "30 M", "4.3 G"),
        _host("large", 96, 51_676_156, "52 M", "7.9 G"),
    ),
    rebuild=lambda module, a, x: module._merge(a @ module._qkv(x)[2], x),
)
class EMSA(nn.Module):
    """Efficient multi-head self-attention over the positions of a map (Zhang and Yang, 2021).

    X' = LN(DWConv(X))                       K rows: a depth-wise kernel of s + 1 with stride s, LayerNorm over C
    Q = X W_q, [K, V] = X' W_kv              N queries, K keys and values; for each of h heads d = C/h channels
    A = IN(softmax(Conv(Q Kᵀ / √d)))         Conv mixes the h scores of a pair, IN normalises each head's N × K map
    Y = X + [A_1 V_1, ..., A_h V_h] W_o      the heads side by side, projected, and the shortcut

    With s = 1 there is no shrinking and X' = X; with one head, or without ``mix``, neither Conv nor IN.

    Args:
        channels: C, the number of channels of the input and of the output.
        heads: h, which divides C.
        reduction: s, 1 or an even number: how many times fewer rows and columns the keys have.
        mix: whether there are Conv and IN.
        bias: whether the projections to Q, K and V have biases.
        residual: whether X is added, as around it in every block of the paper's network.

    Shapes:
        x: B C H W, y: B C H W, attention: B h N K, N = H·W queries over K = ⌈H/s⌉·⌈W/s⌉ keys. Through IN the weights
        have either sign and each row adds up to zero; without it they lie in (0, 1] and add up to one.

    Raises:
        ValueError: ``heads`` does not divide ``channels``, or ``reduction`` is neither 1 nor even.

    Differs: IN is written out, since PyTorch's refuses a map of one position in training; there A is zero. The biases
    of Conv, K and, through IN, V change nothing, and are kept for the authors' weights. Their class has no shrinking
    and no mixing by default; their networks take s = 8, 4, 2, 1 and h = 1, 2, 4, 8 in four stages, and we the s of the
    stage of stride 8 with the class's 8 heads. Around it their blocks have the sum with X, ours by default too, and a
    LayerNorm before it, which is not here. An odd s above 1 has a kernel without a middle, and of a map of one row
    nothing would be left; theirs takes it, ours refuses it.
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 8,
        reduction: int = 4,
        mix: bool = True,
        bias: bool = True,
        residual: bool = True,
    ):
        super().__init__()
        divisors = [h for h in range(1, channels + 1) if channels % h == 0]
        if heads not in divisors:
            near = sorted(divisors, key=lambda h: abs(h - heads))[:2]
            raise ValueError(
                f"heads must divide the {channels} channels, not be {heads!r}; near it: {' and '.join(map(str, near))}"
            )
        if reduction < 1 or (reduction > 1 and reduction % 2):
            raise ValueError(f"reduction must be 1 or even, not {reduction!r}; the paper has 8, 4, 2 and 1")
        self.heads, self.reduction, self.residual = heads, reduction, residual
        self.scale = (channels // heads) ** -0.5
        self.q = nn.Linear(channels, channels, bias)
        self.kv = nn.Linear(channels, 2 * channels, bias)  # W_k above W_v
        self.out = nn.Linear(channels, channels)
        if reduction > 1:
            self.shrink = nn.Conv2d(channels, channels, reduction + 1, reduction, reduction // 2, groups=channels)
            self.norm = nn.LayerNorm(channels)
        self.mix = nn.Conv2d(heads, heads, 1) if mix and heads > 1 else None
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)):
                nn.init.trunc_normal_(layer.weight, std=0.02)
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, reduction={self.reduction}, residual={self.residual}"

    def _heads(self, t: Tensor) -> Tensor:
        return t.unflatten(2, (self.heads, -1)).transpose(1, 2)  # B h n d, from B n C

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = x.flatten(2).transpose(1, 2)  # B N C
        seen = self.norm(self.shrink(x).flatten(2).transpose(1, 2)) if self.reduction > 1 else rows  # B K C
        k, v = self.kv(seen).chunk(2, 2)
        return self._heads(self.q(rows)), self._heads(k), self._heads(v)

    def _weights(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor | float]:
        """A in two factors: a map, B h N K, and what each head's map is multiplied by, B h 1 1."""
        s = (self.scale * q) @ k.transpose(2, 3)
        if self.mix is None:
            return s.softmax(3), 1.0
        wide = torch.promote_types(s.dtype, torch.float32)  # in float16 the gradient of the root would overflow
        a = self.mix(s).softmax(3, dtype=wide) - 1 / k.shape[2]  # rows that add up to one have the mean 1/K
        squares = torch.linalg.vector_norm(a, dim=(2, 3), keepdim=True) ** 2
        return a, (squares / (q.shape[2] * k.shape[2]) + 1e-5).rsqrt()

    def _merge(self, z: Tensor, x: Tensor) -> Tensor:
        y = self.out(z.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)  # B C H W, from B h N d
        return x + y if self.residual else y

    def attention(self, x: Tensor) -> Tensor:
        """A, B h N K: what each query takes from each key, in every head."""
        q, k, _ = self._qkv(x)
        a, scale = self._weights(q, k)
        return scale * a

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._qkv(x)
        a, scale = self._weights(q, k)
        return self._merge(a @ (scale * v), x)  # the values are fewer than the weights
