# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The non-local block: every position adds a weighted mean over the whole map to itself, and starts by adding nothing.

Xiaolong Wang, Ross Girshick, Abhinav Gupta, Kaiming He: Non-local Neural Networks, 2018, arXiv:1711.07971; Eqs. 1 to
6, Figure 2; pooling, scale and initial values of the authors' lib/models/nonlocal_helper.py and lib/core/config.py.
Chapter: notebooks/pairwise/nonlocal.ipynb
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import BatchNorm2d
from ..registry import Host, Map, register, unknown

PAIRWISE = ("embedded", "gaussian", "dot", "concat")


def _params(C: int, pairwise: str = "embedded", reduction: int = 2, norm: bool = True, **options) -> int:
    d = C // reduction
    embeddings = 0 if pairwise == "gaussian" else 2 * (C * d + d)  # theta, phi
    return embeddings + 2 * d * (pairwise == "concat") + (C * d + d) + (d * C + C) + (2 * C if norm else 0)


def _macs(C: int, H: int, W: int, pairwise: str = "embedded", reduction: int = 2, pool: int = 2, **options) -> int:
    d, N, K = C // reduction, H * W, max(1, H // pool) * max(1, W // pool)  # N queries, K keys
    # W_z and theta at every position, g and phi at every key; the scores, and the weighted sum.
    layers = C * d * (N + K) * (1 if pairwise == "gaussian" else 2)
    scores = {"gaussian": N * K * C, "concat": (N + K) * d}.get(pairwise, N * K * d)
    return layers + scores + N * K * d


def _rebuild(module: nn.Module, a: Tensor, x: Tensor) -> Tensor:
    return module._merge(a @ module._qkv(x)[2][:, 0], x)


@register(
    name="Non-local block",
    title="Non-local Neural Networks",
    authors=("Xiaolong Wang", "Ross Girshick", "Abhinav Gupta", "Kaiming He"),
    year=2018,
    venue="CVPR 2018",
    paper="https://arxiv.org/abs/1711.07971",
    code="https://github.com/facebookresearch/video-nonlocal-net",
    code_licence="CC-BY-NC-4.0",
    maps=Map("B N K", range=(0, 1), sums="K"),
    params=_params,
    macs=_macs,
    order="C²·H·W/r + C·(H·W)²/(r·pool²)",
    studied={"pairwise": PAIRWISE},
    hosts=(
        Host("resnet50", "second", 32_915_496, "counted by us: five blocks in c3 and c4, the layout for clips, in 2-D"),
    ),
    symmetries=("flip", "transpose"),
    rebuild=_rebuild,
)
class NonLocal(nn.Module):
    """The non-local block for images (Wang et al., 2018).

    y_i = Σ_j f(x_i, x̂_j) g(x̂_j) / C(x̂)      x̂ is x after a maximum over windows, g a 1×1 convolution to C/r channels
    z = W_z y + x                            a 1×1 convolution back to C, with a BN behind it, and the shortcut

    f, and what the weights are divided by, for the values of ``pairwise``:

    ``"embedded"``   exp(θ(x_i)ᵀ φ(x̂_j)), by their sum: a softmax; θ and φ are 1×1 convolutions to C/r channels
    ``"gaussian"``   exp(x_iᵀ x̂_j), by their sum
    ``"dot"``        θ(x_i)ᵀ φ(x̂_j), by K, the number of keys
    ``"concat"``     ReLU(w_fᵀ [θ(x_i), φ(x̂_j)]), by K

    Args:
        channels: C, the number of channels of the input and of the output.
        pairwise: f, one of the four names.
        reduction: r, by which the block is narrower inside; C/r is rounded down.
        pool: the side of the windows of the maximum, and their stride; with 1, x̂ is x.
        scale: whether the exponents are divided by the root of how many products each adds up.
        norm: whether there is a BN behind W_z.

    Shapes:
        x: B C H W, z: B C H W, attention: B N K, N = H·W queries over K = ⌊H/pool⌋·⌊W/pool⌋ keys, in [0, 1], each row
        adding up to one; with ``"dot"`` and ``"concat"`` any numbers.

    Raises:
        ValueError: ``pairwise`` is none of the four, ``reduction`` is not in 1 to C, or ``pool`` is below 1.

    Differs: the scale is not in the paper's equations; the authors' configuration switches it on. Images only: theirs
    runs on clips, and pools each frame. Their code has ``"embedded"`` and ``"dot"`` alone. A map lower or narrower than
    a window, which their pooling does not take, gets a window as low or narrow. Where one value a channel is all there
    is to train on, the BN uses its running statistics. Without a BN, W_z starts at zero.
    """

    def __init__(
        self,
        channels: int,
        *,
        pairwise: str = "embedded",
        reduction: int = 2,
        pool: int = 2,
        scale: bool = True,
        norm: bool = True,
    ):
        super().__init__()
        if pairwise not in PAIRWISE:
            raise ValueError(unknown("pairwise function", pairwise, PAIRWISE))
        if not 1 <= reduction <= channels:
            raise ValueError(
                f"reduction must be from 1 to the channels, {channels}, not {reduction!r}; the paper's is 2"
            )
        if pool < 1:
            raise ValueError(f"pool must be at least 1, not {pool!r}; the authors' is 2, and 1 pools nothing")
        self.pairwise, self.pool = pairwise, pool
        inner = channels // reduction
        self.scale = (channels if pairwise == "gaussian" else inner) ** -0.5 if scale else 1.0
        if pairwise != "gaussian":
            self.theta, self.phi = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        if pairwise == "concat":
            self.pair = nn.Linear(2 * inner, 1, bias=False)  # w_f
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)  # W_z
        self.norm = BatchNorm2d(channels) if norm else nn.Identity()
        for layer in self.children():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.zeros_(layer.bias)
        nn.init.zeros_((self.norm if norm else self.out).weight)  # z = x at the start

    def extra_repr(self) -> str:
        return f"pairwise={self.pairwise!r}, pool={self.pool}, scale={self.scale:.4g}"

    def _qkv(self, x: Tensor) -> list[Tensor]:
        # x̂; a map lower or narrower than a window makes the window so.
        seen = F.max_pool2d(x, [min(self.pool, side) for side in x.shape[2:]]) if self.pool > 1 else x
        q, k = (x, seen) if self.pairwise == "gaussian" else (self.theta(x), self.phi(seen))
        # B 1 N d, one head; PyTorch's fused kernel for processors is for rows that lie together.
        return [t.flatten(2).transpose(1, 2).contiguous()[:, None] for t in (q, k, self.g(seen))]

    def _weights(self, q: Tensor, k: Tensor) -> Tensor:
        """f over C, B 1 N K."""
        if self.pairwise == "concat":
            left, right = self.pair.weight.chunk(2, 1)  # 1 d each
            return (F.linear(q, left) + F.linear(k, right).transpose(2, 3)).relu() / k.shape[2]
        s = q @ k.transpose(2, 3)
        return s / k.shape[2] if self.pairwise == "dot" else (self.scale * s).softmax(3)

    def _merge(self, y: Tensor, x: Tensor) -> Tensor:
        y = y.transpose(1, 2).contiguous().unflatten(2, x.shape[2:])  # B d H W, from B N d
        return x + self.norm(self.out(y))

    def attention(self, x: Tensor) -> Tensor:
        """What each position takes from each key, B N K."""
        q, k, _ = self._qkv(x)
        return self._weights(q, k)[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self._qkv(x)
        if self.pairwise in ("embedded", "gaussian"):
            y = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        else:
            y = self._weights(q, k) @ v
        return self._merge(y[:, 0], x)
