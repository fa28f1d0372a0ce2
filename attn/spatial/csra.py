# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Class-specific residual attention: a head that adds, for each class, what it sees where it sees the class best.

Ke Zhu, Jianxin Wu: Residual Attention: A Simple But Effective Method for Multi-Label Recognition, 2021,
arXiv:2108.02456; in the formulas of the authors' pipeline/csra.py.
Chapter: notebooks/spatial/csra.ipynb
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import Host, Map, register


def _params(C: int, classes: int = 20, temperatures: tuple[float, ...] = (1,), lam: float = 0.1) -> int:
    return len(temperatures) * classes * C


def _macs(C: int, H: int, W: int, classes: int = 20, temperatures: tuple[float, ...] = (1,), lam: float = 0.1) -> int:
    return len(temperatures) * classes * (C + 1) * H * W  # the scores, and the map times the scores


@register(
    name="Class-Specific Residual Attention",
    title="Residual Attention: A Simple But Effective Method for Multi-Label Recognition",
    authors=("Ke Zhu", "Jianxin Wu"),
    year=2021,
    venue="ICCV 2021",
    paper="https://arxiv.org/abs/2108.02456",
    code="https://github.com/Kevinz-code/CSRA",
    code_licence="AGPL-3.0",
    shape_out="B K",
    maps=Map("B h K H W", range=(0, 1), sums="H W"),
    params=_params,
    macs=_macs,
    order="h·K·C·H·W",
    studied={
        "temperatures": ((1, math.inf), (1, 2, 4, math.inf)),
        "lam": (0.3, 0.5),
        "classes": (14, 80),
    },
    hosts=(
        Host(
            *(
                "resnet101",
                "head",
                42_541_120,
                "the authors' resnet_csra.py, 1 head and the 20 classes of VOC, counted",
            ),
            inputs=("3 448 448",),
        ),
        Host(
            *("resnet101", "head", 43_155_520, "the authors' resnet_csra.py, 4 heads and COCO's 80 classes, counted"),
            {"classes": 80, "temperatures": (1, 2, 4, math.inf), "lam": 0.5},
            inputs=("3 448 448",),
        ),
    ),
    detector=None,
    rebuild=lambda module, a, x: module._pool(module._scores(x), a.flatten(3).unbind(1)),
    limits={
        "detector": "it is the end of a classifier: it returns one score a class for the whole picture and no map that "
        "a later layer could read",
    },
)
class CSRA(nn.Module):
    """Class-specific residual attention (Zhu and Wu, 2021).

    s_kj = m_k · x_j / ‖m_k‖                score of class k at position j
    a_kj = softmax_j(T s_kj)                the map of class k; T = ∞: the positions of its maximum
    ŷ_k = mean_j s_kj + λ Σ_j a_kj s_kj     summed over the heads, each with m and T of its own

    Args:
        channels: C. classes: K.
        temperatures: T of each head, in order; the authors' sets are (1,), (1, ∞), (1, 2, 4, ∞), (1, 2, 3, 4, 5, ∞)
            and (1, 2, 3, 4, 5, 6, 7, ∞), ∞ being ``math.inf``.
        lam: λ, the weight of the second term; the authors' values are 0.1 for VOC, 0.3 for WIDER and 0.5 for COCO.

    Shapes:
        x: B C H W, y: B K, scores before a sigmoid; attention: B h K H W in [0, 1], each map adding up to one.

    Raises:
        ValueError: ``classes`` is below 1, ``temperatures`` holds no number or one that is not above 0, or ``lam`` is
            below 0 or not finite.

    Differs: in the authors' code ∞ is written 99, so T = 99 itself cannot be had. Where a maximum stands at several
    positions, the gradient goes to all of them in equal parts, theirs to one. A row m_k of zeros scores 0, theirs NaN.
    """

    def __init__(self, channels: int, *, classes: int = 20, temperatures: tuple[float, ...] = (1,), lam: float = 0.1):
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, not {classes!r}")
        numbers = tuple(temperatures) if isinstance(temperatures, (tuple, list)) else ()
        if not numbers or not all(t > 0 for t in numbers):
            raise ValueError(
                f"temperatures must be numbers above 0, one a head, not {temperatures!r}; as (1,) or (1, inf)"
            )
        if not 0 <= lam < math.inf:
            raise ValueError(f"lam must be at least 0 and finite, not {lam!r}")
        self.temperatures, self.lam = numbers, lam
        self.weight = nn.Parameter(torch.empty(len(numbers), classes, channels))  # m: h K C
        nn.init.uniform_(self.weight, -(channels**-0.5), channels**-0.5)

    def _scores(self, x: Tensor) -> Tensor:
        s = F.conv2d(x, self.weight.flatten(0, 1)[..., None, None])  # B h·K H W
        length = self.weight.norm(dim=2, keepdim=True).clamp_min(1e-12)  # h K 1
        return s.flatten(2).unflatten(1, self.weight.shape[:2]) / length  # B h K N

    def _weigh(self, s: Tensor) -> list[Tensor]:
        return [_map(t, one) for t, one in zip(self.temperatures, s.unbind(1), strict=True)]  # B K N each

    def _pool(self, s: Tensor, maps: Sequence[Tensor]) -> Tensor:
        pairs = zip(s.unbind(1), maps, strict=True)
        return sum(one.mean(2) + self.lam * (a * one).sum(2) for one, a in pairs)  # B K

    def attention(self, x: Tensor) -> Tensor:
        """Where each head sees each class, B h K H W."""
        return torch.stack(self._weigh(self._scores(x)), 1).unflatten(3, x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        s = self._scores(x)
        return self._pool(s, self._weigh(s))

    def extra_repr(self) -> str:
        _, classes, channels = self.weight.shape
        return f"{channels}, classes={classes}, temperatures={self.temperatures}, lam={self.lam}"


def _map(t: float, s: Tensor) -> Tensor:
    if t < math.inf:
        return (t * s).softmax(2)  # B K N
    top = (s == s.amax(2, keepdim=True)).to(s.dtype)
    return top / top.sum(2, keepdim=True)  # the limit: equal shares where the maximum stands several times
