# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Double attention: maps gather descriptors from all positions, and every position takes its own mixture of them.

Yunpeng Chen, Yannis Kalantidis, Jianshu Li, Shuicheng Yan, Jiashi Feng: A²-Nets: Double Attention Networks, 2018,
arXiv:1810.11579; Section 3 (gathering, distribution, the block).
Chapter: notebooks/pairwise/a2.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, Printed, register


def _rebuild(module: nn.Module, a: dict[str, Tensor], x: Tensor) -> Tensor:
    """The other way round: first the N × N map that ``forward`` never makes, how much i takes from j."""
    gather, distribute = (t.flatten(2) for t in a.values())  # B n N each
    pairs = torch.einsum("bnj,bni->bji", gather, distribute)
    z = torch.einsum("bmj,bji->bmi", module.features(x).flatten(2), pairs)
    return x + module.project(z.unflatten(2, x.shape[2:]))


def _params(C: int, m: int | None = None, n: int | None = None, bias: bool = True) -> int:
    m, n = (max(1, C // 4) if width is None else width for width in (m, n))
    return 2 * C * m + 2 * C * n + (m + 2 * n + C if bias else 0)


def _macs(C: int, H: int, W: int, m: int | None = None, n: int | None = None, bias: bool = True) -> int:
    m, n = (max(1, C // 4) if width is None else width for width in (m, n))
    # The four layers; gathering and distributing.
    return (2 * C * m + 2 * C * n + 2 * m * n) * H * W


@register(
    name="Double Attention",
    title="A²-Nets: Double Attention Networks",
    authors=("Yunpeng Chen", "Yannis Kalantidis", "Jianshu Li", "Shuicheng Yan", "Jiashi Feng"),
    year=2018,
    venue="NeurIPS 2018",
    paper="https://arxiv.org/abs/1810.11579",
    maps={
        "gather": Map("B n H W", range=(0, 1), sums="H W"),
        "distribute": Map("B n H W", range=(0, 1), sums="n"),
    },
    params=_params,
    macs=_macs,
    order="(C·m + C·n + m·n)·H·W",
    hosts=(
        Host(
            *("resnet50", "second", 29_234_216, "counted by us: five blocks in c3 and c4, m = n = C/4"),
            printed=(
                Printed(
                    "ECA, Table 3, from the paper",
                    "33.00 M",
                    "6.50 G",
                    why="where its blocks stand and how wide they are inside is not known; no code was found",
                ),
            ),
        ),
        Host(
            *("resnet50", "second", 32_907_304, "counted by us: the same with m = n = C/2"),
            {"m": {512: 256, 1024: 512}, "n": {512: 256, 1024: 512}},
            printed=(
                Printed(
                    "ECA, Table 3, from the paper",
                    "33.00 M",
                    "6.50 G",
                    why="where its blocks stand and how wide they are inside is not known; no code was found",
                ),
            ),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=_rebuild,
)
class DoubleAttention(nn.Module):
    """The double attention block of A²-Nets (Chen et al., 2018).

    A = W_A x, B = W_B x, V = W_V x       1×1 convolutions to m, n and n channels
    G = A softmax_N(B)ᵀ                   gather: n descriptors of m numbers, weighted means over N = H·W positions
    Z = G softmax_n(V)                    distribute: every position mixes the n descriptors
    y = x + W_Z Z                         a 1×1 convolution back to C channels

    Args:
        channels: C, the number of channels of the input and of the output.
        m: the width of a descriptor; C/4, rounded down and at least one, if None.
        n: the number of descriptors; C/4, rounded down and at least one, if None.
        bias: whether the four 1×1 convolutions have biases.

    Shapes:
        x: B C H W, y: B C H W, attention: gather B n H W, each map adding up to one over the positions, and distribute
        B n H W, adding up to one over the n descriptors at each position; both in (0, 1].

    Raises:
        ValueError: ``m`` or ``n`` is below 1.

    Differs: no code of the authors was found, so whether their layers have biases, a norm or a special start is not
    known; biases are those of the versions that circulate, which leave out the sum with x that the paper has. The n
    biases of W_B add a constant to a row before its softmax, so they change nothing. Images only, not clips.
    """

    def __init__(self, channels: int, *, m: int | None = None, n: int | None = None, bias: bool = True):
        super().__init__()
        m, n = (max(1, channels // 4) if width is None else width for width in (m, n))
        for name, width in (("m", m), ("n", n)):
            if width < 1:
                raise ValueError(
                    f"{name} must be at least 1, not {width!r}; the paper's C/4 is {max(1, channels // 4)}"
                )
        self.features = nn.Conv2d(channels, m, 1, bias=bias)  # W_A
        self.gather = nn.Conv2d(channels, n, 1, bias=bias)  # W_B
        self.distribute = nn.Conv2d(channels, n, 1, bias=bias)  # W_V
        self.project = nn.Conv2d(m, channels, 1, bias=bias)  # W_Z

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """Where each descriptor is gathered, and which descriptors each position gets: B n H W each."""
        gather = self.gather(x).flatten(2).softmax(2).unflatten(2, x.shape[2:])
        return {"gather": gather, "distribute": self.distribute(x).softmax(1)}

    def forward(self, x: Tensor) -> Tensor:
        gather, distribute = self.attention(x).values()
        g = torch.einsum("bmhw,bnhw->bmn", self.features(x), gather)  # G: n descriptors
        z = torch.einsum("bmn,bnhw->bmhw", g, distribute)  # B m H W
        return x + self.project(z)
