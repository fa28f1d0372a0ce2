# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Bi-level routing attention: each region picks the regions most like it, and its positions look into those alone.

Lei Zhu, Xinjiang Wang, Zhanghan Ke, Wayne Zhang, Rynson Lau: BiFormer: Vision Transformer with Bi-Level Routing
Attention, 2023, arXiv:2303.08810; its Bi-level Routing Attention, with the scale of the authors' bra_legacy.py.
Chapter: notebooks/pairwise/biformer.ipynb
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import Host, Map, Printed, largest_divisor, register


def _params(C: int, *, kernel_size: int = 5, **options) -> int:
    return 4 * C * C + 4 * C + C * kernel_size**2 + C


def _macs(C: int, H: int, W: int, *, regions: int = 7, topk: int = 4, kernel_size: int = 5, **options) -> int:
    inside = math.ceil(H / regions) * math.ceil(W / regions)  # positions of a region, the padding with them
    # The two layers and the kernel at every position; the graph of the regions; the scores and the mixing.
    layers = (4 * C * C + C * kernel_size**2) * H * W
    return layers + regions**4 * C + 2 * regions**2 * inside * topk * inside * C


def _rebuild(module: nn.Module, attention: dict[str, Tensor], x: Tensor) -> Tensor:
    *_, v = module._qkv(x)
    return module._merge((attention["tokens"] @ module._heads(v)).transpose(1, 2).flatten(2), v, x)


@register(
    name="Bi-Level Routing Attention",
    title="BiFormer: Vision Transformer with Bi-Level Routing Attention",
    authors=("Lei Zhu", "Xinjiang Wang", "Zhanghan Ke", "Wayne Zhang", "Rynson Lau"),
    year=2023,
    venue="CVPR 2023",
    paper="https://arxiv.org/abs/2303.08810",
    code="https://github.com/rayleizhu/BiFormer",
    code_licence="MIT",
    maps={"regions": Map("B R R", range=(0, 1)), "tokens": Map("B h N N", range=(0, 1), sums="N")},
    params=_params,
    macs=_macs,
    order="C²·H·W + S⁴·C + k·C·(H·W)²/S²",
    studied={"topk": (1, 16)},
    hosts=tuple(
        Host(
            f"biformer_{size}",
            "blocks",
            count,
            f"the authors' biformer_{code}",
            {"topk": dict(zip((width, 2 * width, 4 * width), (1, 4, 16), strict=True)), "residual": False},
            printed=(Printed("README of the authors' repository", params, macs),),
        )
        for size, code, width, count, params, macs in (
            ("t", "tiny", 64, 13_142_760, "13.1 M", "2.2 G"),
            ("s", "small", 64, 25_536_232, "25.5 M", "4.5 G"),
            ("b", "base", 96, 56_804_968, "56.8 M", "9.8 G"),
            ("stl", "stl_nchw", 96, 28_372_552, "28.4 M", "4.6 G"),
        )
    ),
    rebuild=_rebuild,
    limits={"autocast": "which regions are the k largest is a choice, and rounding turns it over where two are close"},
)
class BiLevelRoutingAttention(nn.Module):
    """Bi-level routing attention (Zhu et al., 2023).

    Q, K, V = x W_q, x W_k, x W_v              at every position; the map is cut into S × S regions
    Aʳ = Qʳ (Kʳ)ᵀ                              the graph of the regions; Qʳ and Kʳ are their means of Q and K
    Iʳ = the k largest of each row of Aʳ       which regions a region looks into; no gradient
    O = softmax(Q (Kᵍ)ᵀ / √C) Vᵍ + DWConv(V)   Kᵍ and Vᵍ hold the positions of those k regions
    y = x + O W_o

    Args:
        channels: C, the number of channels of the input and of the output.
        regions: S, how many regions stand along either side.
        topk: k, how many regions each region looks into.
        heads: h, how many parts the channels of Q, K and V are cut into; all share Iʳ. None takes one for every 32
            channels, or the next lower number that divides C.
        kernel_size: the side of the depth-wise kernel, odd.
        residual: whether x is added, as around it in every block of the paper's network.

    Shapes:
        x: B C H W, y: B C H W, attention: regions B R R, R = S², 1 where a row looks into a column and else 0; tokens
        B h N N in [0, 1], each row adding up to one, 0 outside the regions that are looked into.

    Raises:
        ValueError: ``regions`` is below 1, ``topk`` not in 1 to S², ``heads`` does not divide ``channels``, or
            ``kernel_size`` is even or below 1.

    Differs: √C is the root of all channels in the authors' code, also with several heads. Its first version runs only
    sizes that S divides, unless it is told to pad; what it pads then takes part in the softmax, and so it does in the
    second version, which cuts other sizes into more than S × S regions. Ours takes regions of ⌈H/S⌉ × ⌈W/S⌉ and leaves
    everything beyond the map out of the means, the graph and the softmax; where fewer than k regions hold any of the
    map, a region looks into all of those. The authors' class has a kernel of 3, their networks 5, which is the default
    here. Around it their blocks have the sum with x, ours by default too, and a LayerNorm before it, which is not here;
    nor is their routing with weights of its own, off in every network of theirs.
    """

    def __init__(
        self,
        channels: int,
        *,
        regions: int = 7,
        topk: int = 4,
        heads: int | None = None,
        kernel_size: int = 5,
        residual: bool = True,
    ):
        super().__init__()
        if regions < 1:
            raise ValueError(f"regions must be at least 1, not {regions!r}; the paper takes 7")
        if not 1 <= topk <= regions**2:
            raise ValueError(f"topk must be from 1 to regions² = {regions**2}, not {topk!r}")
        if heads is None:
            heads = largest_divisor(channels, max(1, channels // 32))
        divisors = [h for h in range(1, channels + 1) if channels % h == 0]
        if heads not in divisors:
            near = sorted(divisors, key=lambda h: abs(h - heads))[:2]
            raise ValueError(
                f"heads must divide the {channels} channels, not be {heads!r}; near it: {' and '.join(map(str, near))}"
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size!r}; the authors take 3 and 5")
        self.regions, self.topk, self.heads = regions, topk, heads
        self.scale, self.residual = channels**-0.5, residual
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)  # W_q, W_k, W_v
        self.lepe = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)  # DWConv
        self.out = nn.Conv2d(channels, channels, 1)  # W_o

    def extra_repr(self) -> str:
        return f"regions={self.regions}, topk={self.topk}, heads={self.heads}, residual={self.residual}"

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.qkv(x).flatten(2).transpose(1, 2).chunk(3, 2)  # B N C each
        return q, k, v

    def _heads(self, t: Tensor) -> Tensor:
        return t.unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # ... n C to ... h n d

    def _slots(self, x: Tensor) -> tuple[Tensor, int]:
        """Where each of the N positions stands once the regions are laid in a row, and m, the length of a region."""
        S, (H, W) = self.regions, x.shape[2:]
        h, w = (H + S - 1) // S, (W + S - 1) // S
        i, j = torch.arange(H, device=x.device)[:, None], torch.arange(W, device=x.device)
        row, column = i // h, j // w  # of the region
        return ((row * S + column) * (h * w) + (i - row * h) * w + (j - column * w)).flatten(), h * w

    def _cut(self, t: Tensor, slots: Tensor, m: int) -> Tensor:
        """The regions of B N C, with zeros where they reach beyond the map: B R m C."""
        R = self.regions**2
        return t.new_zeros(len(t), R * m, t.shape[2]).index_copy(1, slots, t).unflatten(1, (R, m))

    def _inside(self, t: Tensor, slots: Tensor, m: int) -> Tensor:
        """1 for what lies on the map and 0 for what does not, R m."""
        return self._cut(torch.ones_like(t[:1, :, :1]), slots, m)[0, :, :, 0]

    def _route(self, q: Tensor, k: Tensor, inside: Tensor) -> Tensor:
        """Iʳ, the regions that each region looks into: B R m C twice to B R k."""
        share = inside.mean(1)  # R, how much of a region lies on the map
        full = share.clamp(min=torch.finfo(share.dtype).tiny)[:, None]
        q, k = (t.detach().mean(2) / full for t in (q, k))  # B R C
        s = (self.scale * q) @ k.transpose(1, 2)  # Aʳ; the factor leaves the order as it is and the numbers small
        return s.masked_fill(share == 0, -torch.inf).topk(self.topk).indices

    def _merge(self, y: Tensor, v: Tensor, x: Tensor) -> Tensor:
        y, v = (t.transpose(1, 2).unflatten(2, x.shape[2:]) for t in (y, v))  # B C H W each
        y = self.out(y + self.lepe(v))
        return x + y if self.residual else y

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """Which region looks into which, B R R, and the softmax over all positions, B h N N."""
        q, k, v = self._qkv(x)
        slots, m = self._slots(x)
        inside = self._inside(v, slots, m)
        chosen = self._route(self._cut(q, slots, m), self._cut(k, slots, m), inside)  # B R k
        graph = inside.new_zeros(*chosen.shape[:2], len(inside)).scatter(2, chosen, 1) * inside.amax(1)  # B R R
        region = slots // m  # N
        s = (self.scale * self._heads(q)) @ self._heads(k).transpose(2, 3)  # B h N N
        s = s.masked_fill(graph[:, region][:, None, :, region] == 0, -torch.inf)
        return {"regions": graph, "tokens": s.softmax(3)}

    def forward(self, x: Tensor) -> Tensor:
        q, k, value = self._qkv(x)
        slots, m = self._slots(x)
        inside = self._inside(value, slots, m)
        q, k, v = (self._cut(t, slots, m) for t in (q, k, value))  # B R m C
        chosen = self._route(q, k, inside)  # B R k

        first = torch.arange(len(x), device=x.device)[:, None, None] * self.regions**2
        k, v = (t.flatten(0, 1)[chosen + first].flatten(2, 3).flatten(0, 1) for t in (k, v))  # B·R k·m C
        mask = inside[chosen].flatten(2).flatten(0, 1)[:, None, None] > 0  # B·R 1 1 k·m
        q, k, v = (self._heads(t) for t in (q.flatten(0, 1), k, v))  # B·R h n d
        y = F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale)
        y = y.transpose(1, 2).flatten(2).unflatten(0, (len(x), -1)).flatten(1, 2)[:, slots]  # B N C
        return self._merge(y, value, x)
