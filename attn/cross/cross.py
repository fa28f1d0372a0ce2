# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Cross Attention Module: marks where two pictures agree, in both, from the cosines of all their positions.

Ruibing Hou, Hong Chang, Bingpeng Ma, Shiguang Shan, Xilin Chen: Cross Attention Network for Few-shot Classification,
2019, arXiv:1910.07677; its Cross Attention Module, in the formulas of the authors' cam.py.
Chapter: notebooks/cross/cross.ipynb
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import BatchNorm2d
from ..registry import Host, Map, register


class Pair(NamedTuple):
    """The two maps of every pair of a query and a class, each B M K C H W: ``classes`` is P̂, ``queries`` is Q̂."""

    classes: Tensor
    queries: Tensor


def _weigh(x: Tensor, a: Tensor) -> Tensor:
    return x * (1 + a).unsqueeze(3)  # B M K C H W


def _rebuild(module: nn.Module, a: dict[str, Tensor], p: Tensor, q: Tensor) -> Pair:
    return Pair(_weigh(p[:, None], a["classes"]), _weigh(q[:, :, None], a["queries"]))


def _params(C: int, size: tuple[int, int] = (6, 6), reduction: int = 6, temperature: float = 0.025) -> int:
    N = math.prod(size)
    hidden = max(1, N // reduction)
    return (N + 1) * hidden + 2 * hidden + (hidden + 1) * N


def _macs(C: int, H: int, W: int, size: tuple[int, int] = (6, 6), reduction: int = 6, temperature: float = 0.025):
    N, pairs = math.prod(size), 5  # a map has the one size that runs, not H × W; one query beside five classes
    # The cosines; then for either map the two layers, the kernel times every row of cosines, and 1 + A.
    return pairs * (C * N * N + 2 * (2 * N * max(1, N // reduction) + N * N + C * N))


@register(
    name="Cross Attention",
    title="Cross Attention Network for Few-shot Classification",
    authors=("Ruibing Hou", "Hong Chang", "Bingpeng Ma", "Shiguang Shan", "Xilin Chen"),
    year=2019,
    venue="NeurIPS 2019",
    paper="https://arxiv.org/abs/1910.07677",
    code="https://github.com/blue-blue272/fewshot-CAN",
    code_licence="none",
    shape_in=("B K C H W", "B M C H W"),
    shape_out={"classes": "B M K C H W", "queries": "B M K C H W"},
    maps={
        "classes": Map("B M K H W", range=(0, 1), sums="H W"),
        "queries": Map("B M K H W", range=(0, 1), sums="H W"),
    },
    params=_params,
    macs=_macs,
    order="K·M·C·N²",
    studied={"size": ((5, 5), (5, 7)), "reduction": (4,)},
    hosts=(
        Host(
            *("resnet12", "pairs", 8_038_182, "the authors' resnet12() has 8,037,696 and their CAM 486"),
            inputs=("5 3 84 84", "1 3 84 84"),
        ),
    ),
    symmetries=("channels",),
    detector=None,
    rebuild=_rebuild,
    limits={
        "detector": "it weighs two pictures by what they share, and a detector is given one",
        "export": "its kernel has a weight for each position, so a graph runs maps of the one size it was built for",
        "onnx": "its kernel has a weight for each position, so a graph runs maps of the one size it was built for",
    },
    dims={"K": 5, "M": 1, "H": 6, "W": 6},
)
class CrossAttention(nn.Module):
    """The Cross Attention Module of a Cross Attention Network (Hou et al., 2019).

    R_ij = p_i · q_j / (‖p_i‖ ‖q_j‖)          cosines of every position of P with every one of Q, N × N
    w = W₂ δ(BN(W₁ mean_i R_i))               one kernel of N numbers a pair, δ = ReLU
    A_i = softmax_i(w · R_i / (N τ))          the map of P; that of Q from Rᵀ, with the same two layers
    P̂ = P ⊙ (1 + A)                           and Q̂ from Q

    Args:
        channels: C, the number of channels of both inputs; no parameter depends on it.
        size: H and W of both maps; N = H·W, which the paper writes m, is the width of W₁ and of W₂.
        reduction: r; the hidden layer has N/r units, rounded down, at least one.
        temperature: τ; the smaller, the more of a map's sum falls to few positions.

    Shapes:
        p: K class maps, B K C H W, q: M query maps, B M C H W; the result: :class:`Pair` of two B M K C H W;
        attention: classes and queries, B M K H W each, in (0, 1), each map adding up to one.

    Raises:
        ValueError: ``size`` is not two whole numbers of at least 1, ``reduction`` is below 1, or ``temperature`` is not
            above 0; in ``forward``, a map has another size.

    Differs: the formulas, the mean over N among them, are those of the authors' code, which has 36 positions and 6
    hidden units written into it and runs 6×6 maps alone; ``size`` sets both, and other sizes are refused here in a
    sentence. A batch of one pair trains with the running statistics, where theirs raises. In float16 the smallest
    length that a vector is divided by is the type's own, as their 1e-12 would be 0.
    """

    def __init__(
        self, channels: int, *, size: tuple[int, int] = (6, 6), reduction: int = 6, temperature: float = 0.025
    ):
        super().__init__()
        self.size = tuple(size) if isinstance(size, (tuple, list)) else (size,)
        if len(self.size) != 2 or any(not isinstance(n, int) or n < 1 for n in self.size):
            raise ValueError(f"size must be H and W, whole numbers of at least 1, not {size!r}; the authors' is (6, 6)")
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the authors' is 6")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature!r}; the authors' is 0.025")
        self.temperature = temperature
        N = math.prod(self.size)
        hidden = max(1, N // reduction)
        self.kernel = nn.Sequential(
            nn.Conv2d(N, hidden, 1),  # W₁
            BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, N, 1),  # W₂
        )
        for layer in (self.kernel[0], self.kernel[3]):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.out_channels))

    def _cosines(self, p: Tensor, q: Tensor) -> Tensor:
        for x in (p, q):
            if tuple(x.shape[3:]) != self.size:
                got, wanted = ("×".join(map(str, s)) for s in (x.shape[3:], self.size))
                raise ValueError(f"a map of {got} where the kernel has {wanted} positions; create it with that size")
        p, q = (F.normalize(x.flatten(3), dim=2, eps=max(1e-12, torch.finfo(x.dtype).tiny)) for x in (p, q))
        return torch.einsum("bkci,bmcj->bmkij", p, q)  # R: B M K N N

    def _fuse(self, R: Tensor) -> Tensor:
        w = self.kernel(R.mean(3).flatten(0, 2)[..., None, None])  # B·M·K N 1 1
        w = w.flatten(1).unflatten(0, R.shape[:3])  # B M K N
        s = torch.einsum("bmkij,bmkj->bmki", R, w) / R.shape[4]
        return (s / self.temperature).softmax(3).unflatten(3, self.size)  # B M K H W

    def attention(self, p: Tensor, q: Tensor) -> dict[str, Tensor]:
        """The maps of both pictures of every pair, ``classes`` and ``queries``, B M K H W each."""
        R = self._cosines(p, q)
        return {"classes": self._fuse(R), "queries": self._fuse(R.mT)}

    def forward(self, p: Tensor, q: Tensor) -> Pair:
        a = self.attention(p, q)
        return Pair(_weigh(p[:, None], a["classes"]), _weigh(q[:, :, None], a["queries"]))

    def extra_repr(self) -> str:
        return f"size={self.size}, temperature={self.temperature}"
