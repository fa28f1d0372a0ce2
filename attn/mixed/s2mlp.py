# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""S2-MLPv2: two of three expanded maps move by one position, each quarter its own way; a split attention joins them.

Tan Yu, Xu Li, Yunfeng Cai, Mingming Sun, Ping Li: S²-MLPv2: Improved Spatial-Shift MLP Architecture for Vision, 2021,
arXiv:2108.01072; Eq. 1 and 8 (the shifts), 2 to 4 (the split attention), 6, 7, 9 and 10 (the component).
Chapter: notebooks/mixed/s2mlp.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, register

# The way of each quarter of the channels: the axis of B C H W, and a step to higher indices or to lower ones.
DOWN, UP, RIGHT, LEFT = (2, 1), (2, -1), (3, 1), (3, -1)
SHIFTS = (DOWN, UP, RIGHT, LEFT), (RIGHT, LEFT, DOWN, UP)  # SS₁ and SS₂


def _hidden(channels: int, reduction: int) -> int:
    return max(1, channels // reduction)


def _params(C: int, *, reduction: int = 4, **options) -> int:
    # MLP₁ and MLP₂ with their biases; W₁ and W₂.
    return 3 * C * C + 3 * C + C * C + C + 4 * C * _hidden(C, reduction)


def _macs(C: int, H: int, W: int, *, reduction: int = 4, **options) -> int:
    # MLP₁ and MLP₂ at every position; W₁ and W₂ once; the weights on three maps.
    return 4 * C * C * H * W + 4 * C * _hidden(C, reduction) + 3 * C * H * W


def _moved(x: Tensor, dim: int, step: int) -> Tensor:
    """The map one position on; the row or column that nothing moves into keeps its values."""
    last = x.shape[dim] - 1
    if step > 0:
        return torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, last)], dim)
    return torch.cat([x.narrow(dim, 1, last), x.narrow(dim, last, 1)], dim)


@register(
    name="S2-MLPv2",
    title="S²-MLPv2: Improved Spatial-Shift MLP Architecture for Vision",
    authors=("Tan Yu", "Xu Li", "Yunfeng Cai", "Mingming Sun", "Ping Li"),
    year=2021,
    venue="arXiv 2021",
    paper="https://arxiv.org/abs/2108.01072",
    maps=Map("B K C 1 1", range=(0, 1), sums="K"),
    params=_params,
    macs=_macs,
    order="C²·H·W + C²/r",
    hosts=tuple(
        Host(
            *(f"s2mlp_{size}", "blocks", count, f"the equations, C/4 hidden units, the layout of {layout}"),
            {"residual": False},
            printed=(Printed(f"S²-MLPv2, {table}", params, macs, why=why),),
        )
        for size, count, layout, table, params, macs, why in (
            ("small7", 25_112_680, "Table 1", "Tables 2 and 5", "25 M", "6.9 G", ""),
            ("medium7", 55_268_840, "Table 1", "Table 2", "55 M", "16.3 G", ""),
            (
                *("small14", 30_038_248, "Table 4", "Table 5", "30 M", "5.7 G"),
                "its first blocks are twice as wide as those of Small/7 on a quarter of the positions, which is as "
                "much work; how 5.7 was counted is not known",
            ),
        )
    ),
    rebuild=lambda module, a, x: module._mix(a, module._parts(x), x),
)
class S2MLPv2(nn.Module):
    """The S2-MLPv2 component (Yu et al., 2021).

    X₁, X₂, X₃ = thirds of MLP₁(x)            one linear layer at every position, C to 3C channels
    X₁ ← SS₁(X₁)                              the quarters of its channels move down, up, right, left by one position
    X₂ ← SS₂(X₂)                              right, left, down, up; what nothing moves into keeps its values
    a = Σ_k 1/(H·W) Σ_ij X_k(i, j)            of C numbers
    Ā = softmax_k(GELU(a W₁) W₂)              3 × C numbers; for each channel they add up to one
    y = x + MLP₂(Σ_k Ā_k ⊙ X_k)               MLP₂ is one linear layer, too

    Args:
        channels: C, a multiple of 4, the number of channels of the input and of the output.
        reduction: r; the split attention has C/r hidden units, rounded down, at least one.
        mean: whether a holds means over the positions; otherwise sums, as in Eq. 2.
        residual: whether x is added, as around it in every block of the paper's network.

    Shapes:
        x: B C H W, y: B C H W, attention: B K C 1 1 in (0, 1), K = 3, adding up to one over K.

    Raises:
        ValueError: ``channels`` is not a multiple of 4, or ``reduction`` is below 1.

    Differs: Eq. 2 has a sum over the positions where the sentence above it says average; with sums the scores grow with
    the map and the softmax comes down to one of the three maps, so ours takes the mean. The hidden width is not
    printed: of C/r with a whole r, C/4 alone gives the parameters that the paper prints. The paper's blocks have a
    LayerNorm in front, which is not here. Its Algorithm 1 shifts in place, which repeats the first row over the whole
    map; ours is Eq. 1 and 8. No code of the authors was found.
    """

    def __init__(self, channels: int, *, reduction: int = 4, mean: bool = True, residual: bool = True):
        super().__init__()
        if channels % 4:
            low = channels // 4 * 4
            near = f"{low} and {low + 4}" if low else "4"
            raise ValueError(f"channels must be a multiple of 4, one part a direction, not {channels}; near it: {near}")
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the default is 4")
        hidden = _hidden(channels, reduction)  # c̄
        self.mean, self.residual = mean, residual
        self.expand = nn.Conv2d(channels, 3 * channels, 1)  # MLP₁
        self.fuse = nn.Conv2d(channels, hidden, 1, bias=False)  # W₁
        self.activation = nn.GELU()
        self.select = nn.Conv2d(hidden, 3 * channels, 1, bias=False)  # W₂
        self.project = nn.Conv2d(channels, channels, 1)  # MLP₂

    def extra_repr(self) -> str:
        return f"mean={self.mean}, residual={self.residual}"

    def _shift(self, x: Tensor, ways: tuple[tuple[int, int], ...]) -> Tensor:
        return torch.cat([_moved(part, *way) for part, way in zip(x.chunk(4, 1), ways, strict=True)], 1)

    def _parts(self, x: Tensor) -> Tensor:
        first, second, third = self.expand(x).chunk(3, 1)
        return torch.stack([self._shift(first, SHIFTS[0]), self._shift(second, SHIFTS[1]), third], 1)  # B K C H W

    def _weights(self, parts: Tensor) -> Tensor:
        a = parts.mean((3, 4)) if self.mean else parts.sum((3, 4))  # B K C
        s = self.select(self.activation(self.fuse(a.sum(1)[..., None, None])))  # B 3C 1 1
        return s.unflatten(1, (3, -1)).softmax(1)  # B K C 1 1

    def _mix(self, a: Tensor, parts: Tensor, x: Tensor) -> Tensor:
        y = self.project((a * parts).sum(1))
        return x + y if self.residual else y

    def attention(self, x: Tensor) -> Tensor:
        """The weights Ā of the three maps, B K C 1 1."""
        return self._weights(self._parts(x))

    def forward(self, x: Tensor) -> Tensor:
        parts = self._parts(x)
        return self._mix(self._weights(parts), parts, x)
