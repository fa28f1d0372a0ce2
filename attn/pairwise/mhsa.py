# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Multi-head self-attention: every position takes from every position, as much as its query agrees with the key there.

Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, Łukasz Kaiser, Illia
Polosukhin: Attention Is All You Need, 2017, arXiv:1706.03762; Section 3.2, Eq. 1, Figure 2.
Chapter: notebooks/pairwise/mhsa.ipynb
"""

import math

from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import Map, register


def _params(C: int, heads: int = 8, bias: bool = True, residual: bool = True) -> int:
    return 4 * C * C + (4 * C if bias else 0)


def _macs(C: int, H: int, W: int, heads: int = 8, bias: bool = True, residual: bool = True) -> int:
    N = H * W
    # Four projections of every position; then the scores and the weighted sum, a product for every pair.
    return 4 * N * C * C + 2 * N * N * C


@register(
    name="Multi-head self-attention",
    title="Attention Is All You Need",
    authors=(
        *("Ashish Vaswani", "Noam Shazeer", "Niki Parmar", "Jakob Uszkoreit"),
        *("Llion Jones", "Aidan N. Gomez", "Łukasz Kaiser", "Illia Polosukhin"),
    ),
    year=2017,
    venue="NIPS 2017",
    paper="https://arxiv.org/abs/1706.03762",
    code="https://github.com/tensorflow/tensor2tensor",
    code_licence="Apache-2.0",
    maps=Map("B h N N", range=(0, 1), sums="N"),
    params=_params,
    macs=_macs,
    order="C²·H·W + C·(H·W)²",
    studied={"heads": (1, 4)},
    limits={"hosts": "the paper's network translates sentences; networks of pictures came with other papers"},
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=lambda module, a, x: module._merge(a @ module._qkv(x)[2], x),
)
class MHSA(nn.Module):
    """Multi-head self-attention over the positions of a map (Vaswani et al., 2017).

    X holds the N = H·W positions as rows of C numbers. For each head i of d = C/h channels:

    Q_i = X W_i^Q, K_i = X W_i^K, V_i = X W_i^V      queries, keys and values, N × d each
    A_i = softmax(Q_i K_iᵀ / √d)                     over the keys: each row adds up to one, N × N
    Y = X + [A_1 V_1, ..., A_h V_h] W^O              the heads side by side, projected, and the shortcut

    Args:
        channels: C, the number of channels of the input and of the output.
        heads: h, which divides C; the paper's is 8, at C = 512.
        bias: whether the four projections have biases; the paper's equations have none.
        residual: whether X is added, as around every such layer of the paper's network.

    Shapes:
        x: B C H W, y: B C H W, attention: B h N N, row n being what query n takes from each key, in (0, 1].

    Raises:
        ValueError: ``heads`` does not divide ``channels``.

    Differs: the paper normalises the sum X + ... by a LayerNorm and, in training, drops parts of the result at random;
    neither is here. It adds a code of the position to its words before the first layer; here positions are told apart
    by their content alone. Biases are those of torch.nn.MultiheadAttention; the keys' one moves every score of a row
    alike and so changes nothing. The paper names no initial values: each projection starts with Xavier's uniform ones
    and zero biases. ``forward`` calls PyTorch's fused kernel, which holds no A; ``attention`` computes it.
    """

    def __init__(self, channels: int, *, heads: int = 8, bias: bool = True, residual: bool = True):
        super().__init__()
        divisors = [h for h in range(1, channels + 1) if channels % h == 0]
        if heads not in divisors:
            near = sorted(divisors, key=lambda h: abs(h - heads))[:2]
            raise ValueError(
                f"heads must divide the {channels} channels, not be {heads!r}; near it: {' and '.join(map(str, near))}"
            )
        self.heads = heads
        self.residual = residual
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels, bias) for _ in range(4))
        for layer in (self.q, self.k, self.v, self.out):
            nn.init.xavier_uniform_(layer.weight)
            if bias:
                nn.init.zeros_(layer.bias)

    def _qkv(self, x: Tensor) -> list[Tensor]:
        x = x.flatten(2).transpose(1, 2)  # B N C
        layers = self.q, self.k, self.v
        return [layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in layers]  # B h N d each

    def _merge(self, z: Tensor, x: Tensor) -> Tensor:
        y = self.out(z.transpose(1, 2).flatten(2))  # B N C, from B h N d
        y = y.transpose(1, 2).reshape(x.shape)  # B C H W
        return x + y if self.residual else y

    def attention(self, x: Tensor) -> Tensor:
        """A, B h N N: what each query takes from each key, in every head."""
        q, k, _ = self._qkv(x)
        return (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3)

    def forward(self, x: Tensor) -> Tensor:
        return self._merge(F.scaled_dot_product_attention(*self._qkv(x)), x)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, residual={self.residual}"
