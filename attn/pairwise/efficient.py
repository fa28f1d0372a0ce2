# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient attention: keys sum the values up to one small matrix, and every query reads its row of means from that.

Zhuoran Shen, Mingyuan Zhang, Haiyu Zhao, Shuai Yi, Hongsheng Li: Efficient Attention: Attention with Linear
Complexities, 2018, arXiv:1812.01243; the module with softmax or scaling normalisation, reprojection and shortcut.
Chapter: notebooks/pairwise/efficient.ipynb
"""

from torch import Tensor, nn

from ..registry import Map, register


def _rebuild(module: nn.Module, a: dict[str, Tensor], x: Tensor) -> Tensor:
    """The other way round: first the N × N map that ``forward`` never makes, what position i takes from j."""
    keys, queries = (t.flatten(3) for t in a.values())  # B h d N each
    *_, v = module._qkv(x)
    return module._merge(v @ (queries.transpose(2, 3) @ keys).transpose(2, 3), x)


def _widths(C: int, d_k: int | None, d_v: int | None) -> list[int]:
    return [max(1, C // 2) if width is None else width for width in (d_k, d_v)]


def _params(C: int, d_k: int | None = None, d_v: int | None = None, **options) -> int:
    d_k, d_v = _widths(C, d_k, d_v)
    return 2 * C * d_k + 2 * C * d_v + 2 * d_k + d_v + C


def _macs(C: int, H: int, W: int, d_k: int | None = None, d_v: int | None = None, heads: int = 1, **options) -> int:
    d_k, d_v = _widths(C, d_k, d_v)
    # The four layers; in each head the context, and the queries that read it.
    return (2 * C * d_k + 2 * C * d_v + 2 * d_k * d_v // heads) * H * W


@register(
    name="Efficient Attention",
    title="Efficient Attention: Attention with Linear Complexities",
    authors=("Zhuoran Shen", "Mingyuan Zhang", "Haiyu Zhao", "Shuai Yi", "Hongsheng Li"),
    year=2021,
    venue="WACV 2021",
    paper="https://arxiv.org/abs/1812.01243",
    code="https://github.com/cmsflash/efficient-attention",
    code_licence="MIT",
    maps={
        "keys": Map("B h d H W", range=(0, 1), sums="H W"),
        "queries": Map("B h d H W", range=(0, 1), sums="d"),
    },
    params=_params,
    macs=_macs,
    order="(C·(d_k + d_v) + d_k·d_v/h)·H·W",
    studied={"scaling": (True,)},
    limits={"hosts": "the paper's networks detect, segment and match stereo pairs, and no count of one could be read"},
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=_rebuild,
)
class EfficientAttention(nn.Module):
    """Efficient attention over the positions of a map (Shen et al., 2018).

    Q = X W_Q, K = X W_K, V = X W_V         N = H·W rows each, of d_k, d_k and d_v numbers
    G = ρ_k(K)ᵀ V                           global context, d_k × d_v: row j is a mean of V with the weights of key j
    E = ρ_q(Q) G                            every query mixes the d_k rows of G
    Y = X + E W_R                           a reprojection to C channels, and the shortcut

    ρ_q is a softmax over the d_k numbers of each query and ρ_k one over the N numbers of each key channel; in the
    scaling form both are a division by √N. With h heads, each has d_k/h and d_v/h of the channels to itself.

    Args:
        channels: C, the number of channels of the input and of the output.
        d_k: the width of queries and keys, all heads together; C/2, rounded down and at least one, if None.
        d_v: the width of the values, all heads together; C/2, rounded down and at least one, if None.
        heads: h, which divides ``d_k`` and ``d_v``.
        scaling: whether queries and keys are divided by √N instead, which is dot-product attention without a softmax.

    Shapes:
        x: B C H W, y: B C H W, attention: keys B h d H W, each of the d = d_k/h maps of a head adding up to one over
        the positions, and queries B h d H W, adding up to one over d at each position; both in [0, 1]. In the scaling
        form they have either sign and no sum.

    Raises:
        ValueError: a width or ``heads`` is below 1, or ``heads`` does not divide both widths.

    Differs: the authors' class has no default widths; C/2 is that of the non-local block, whose place it takes. Heads
    are theirs too, in the code and not in the paper, as a loop; where they do not divide d_k, it drops the rest of the
    queries and keys without a word, and we refuse. The code has the softmax form alone. The biases of the keys add a
    constant to what ρ_k's softmax compares, and so change nothing.
    """

    def __init__(
        self,
        channels: int,
        *,
        d_k: int | None = None,
        d_v: int | None = None,
        heads: int = 1,
        scaling: bool = False,
    ):
        super().__init__()
        d_k, d_v = _widths(channels, d_k, d_v)
        if heads < 1:
            raise ValueError(f"heads must be at least 1, not {heads!r}; the paper has one")
        for name, width in (("d_k", d_k), ("d_v", d_v)):
            if width < 1 or width % heads:
                below = max(width // heads, 1) * heads
                near = " and ".join(map(str, [below, below + heads] if width > heads else [below]))
                raise ValueError(f"{name} must be a multiple of the {heads} heads, not {width!r}; near it: {near}")
        self.heads = heads
        self.scaling = scaling
        self.q = nn.Conv2d(channels, d_k, 1)
        self.k = nn.Conv2d(channels, d_k, 1)
        self.v = nn.Conv2d(channels, d_v, 1)
        self.out = nn.Conv2d(d_v, channels, 1)

    def _qkv(self, x: Tensor) -> list[Tensor]:
        return [layer(x).flatten(2).unflatten(1, (self.heads, -1)) for layer in (self.q, self.k, self.v)]  # B h d N

    def _weights(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """ρ_q(Q) and ρ_k(K), B h d N each."""
        if self.scaling:
            root = q.shape[3] ** 0.5
            return q / root, k / root
        return q.softmax(2), k.softmax(3)

    def _merge(self, e: Tensor, x: Tensor) -> Tensor:
        return x + self.out(e.flatten(1, 2).unflatten(2, x.shape[2:]))  # B C H W, from B h d N

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """Where each key channel sums the values up, and what each query reads of those sums: B h d H W each."""
        q, k, _ = self._qkv(x)
        q, k = self._weights(q, k)
        return {"keys": k.unflatten(3, x.shape[2:]), "queries": q.unflatten(3, x.shape[2:])}

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._qkv(x)
        q, k = self._weights(q, k)
        context = v @ k.transpose(2, 3)  # Gᵀ, B h d_v d_k
        return self._merge(context @ q, x)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, scaling={self.scaling}"
