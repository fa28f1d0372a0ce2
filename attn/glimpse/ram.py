# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Recurrent Attention Model: a small network that looks at a few small patches of a picture and chooses where.

Volodymyr Mnih, Nicolas Heess, Alex Graves, Koray Kavukcuoglu: Recurrent Models of Visual Attention, 2014,
arXiv:1406.6247; Figure 1 (glimpse sensor, glimpse network, the whole).
Chapter: notebooks/glimpse/ram.ipynb
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..registry import Host, Map, register


class Looks(NamedTuple):
    """What one pass gives.

    Args:
        logits: W_y h_T, scores of the classes after the last glimpse, B K.
        places: l_1 ... l_T, where it looked, without a gradient, B T 2: x, then y, the picture lies in [-1, 1]².
        means: μ_1 ... μ_{T-1}, what the network would choose after each glimpse but the last, B T-1 2.
        baseline: b_1 ... b_{T-1}, the reward that it expects then, B T-1.
    """

    logits: Tensor
    places: Tensor
    means: Tensor
    baseline: Tensor


def _params(C, glimpses=6, side=8, scales=1, growth=2, hidden=256, classes=10, std=0.2):
    h = hidden // 2
    seen = scales * C * side**2 * h + h + 3 * h + 2 * (h * hidden + hidden)  # W_g, W_l, W_1, W_2
    return seen + 2 * (hidden**2 + hidden) + (hidden + 1) * (2 + 1 + classes)  # W_h, W_x, W_μ, W_b, W_y


def _macs(C, H, W, glimpses=6, side=8, scales=1, growth=2, hidden=256, classes=10, std=0.2):
    h = hidden // 2
    cut = 4 * C * sum((side * growth**i) ** 2 for i in range(scales))  # bilinear, before the patch is averaged
    look = cut + scales * C * side**2 * h + 2 * h + 2 * h * hidden + 2 * hidden**2
    return glimpses * look + (glimpses - 1) * 3 * hidden + classes * hidden


@register(
    name="RAM",
    title="Recurrent Models of Visual Attention",
    authors=("Volodymyr Mnih", "Nicolas Heess", "Alex Graves", "Koray Kavukcuoglu"),
    year=2014,
    venue="NIPS 2014",
    paper="https://arxiv.org/abs/1406.6247",
    shape_out={"logits": "B K", "places": "B T 2", "means": "B D 2", "baseline": "B D"},
    maps={"places": Map("B T 2", range=(-1, 1))},
    params=_params,
    macs=_macs,
    order="T·(k·g²·C·h + h²)",
    studied={"glimpses": (2, 7), "side": (8, 12), "scales": (1, 3)},
    hosts=(
        Host(
            *("itself", "whole", 209_677, "counted by us; 242,317 in kevinzakka's version, which has a layer more"),
            inputs=("1 28 28",),
        ),
        Host(
            *("itself", "whole", 256_781, "counted by us; 289,421 in kevinzakka's version, which has a layer more"),
            {"glimpses": 8, "side": 12, "scales": 3},
            inputs=("1 60 60",),
        ),
    ),
    detector=None,
    rebuild=lambda module, attention, x: module(x, attention["places"]),
    limits={
        "detector": "it returns a decision about the whole picture and no map that a later layer could read, and its "
        "places are learned by REINFORCE from a reward that a detector does not have",
        "half": "each place is chosen from what the one before showed, and on noise a rounding grows six to eight "
        "times from one glimpse to the next",
        "gradcheck": "a place is chosen without a gradient, so a difference quotient sees a path that autograd does "
        "not: the change of what is looked at",
    },
)
class RAM(nn.Module):
    """Recurrent Attention Model (Mnih et al., 2014).

    ρ(x, l) = k patches around l, the i-th of side g·sⁱ, each averaged down to g×g          glimpse sensor
    g_t = δ(W₁ δ(W_g ρ(x, l_t)) + W₂ δ(W_l l_t))                                            glimpse network
    h_t = δ(W_h h_{t−1} + W_x g_t),  h_0 = 0                                                core
    μ_t = W_μ h_t,  l_{t+1} ~ N(μ_t, σ² I)                                                  location network
    b_t = W_b h_t                                                                           baseline
    logits = W_y h_T                                                                        action network

    δ is the ReLU, and every W has a bias. In evaluation l_{t+1} is μ_t, moved to the edge where it lies outside. No
    gradient flows through l_t, nor from μ_t and b_t into h_t: what those two learn from is the reward, and the rest
    learns from the logits (``attn.tasks.ram``).

    Args:
        channels: C, of the picture.
        glimpses: T, how many places are looked at, at least 2.
        side: g, of a patch in pixels.
        scales: k, patches in a glimpse. growth: s, the factor from the side of one to that of the next.
        hidden: width of g_t and h_t, even; W_g and W_l give half of it.
        classes: K.
        std: σ, in units of half the picture.

    Shapes:
        x: B C H W, y: :class:`Looks`, attention: places B T 2 in [-1, 1], x before y, (-1, -1) the upper left corner.

    Raises:
        ValueError: ``glimpses`` is below 2, ``hidden`` is odd or below 2, or another number is below 1; ``std`` is
            below 0.

    Differs: the authors' code is not public. The first place is the middle of the picture, and evaluation is
    deterministic. Weights start by He's rule, W_h as the identity and W_μ at zero; with torch's own start the small
    task is learned far more slowly. kevinzakka/recurrent-visual-attention, a much copied version, starts at a random
    place, puts one more hidden layer and a tanh before μ_t, clamps what it draws to [-1, 1], moves a place to a whole
    pixel, up and left, and draws in evaluation, too; ours leaves what it draws, so that its probability is that of the
    place looked at, and reads between pixels. Beyond the edge both see zeros.
    """

    def __init__(
        self,
        channels: int,
        *,
        glimpses: int = 6,
        side: int = 8,
        scales: int = 1,
        growth: int = 2,
        hidden: int = 256,
        classes: int = 10,
        std: float = 0.2,
    ):
        super().__init__()
        if glimpses < 2:
            raise ValueError(f"glimpses must be at least 2, not {glimpses!r}: with one no place is chosen")
        if hidden < 2 or hidden % 2:
            raise ValueError(f"hidden must be even, not {hidden!r}; near it: {max(2, hidden - 1)} and {hidden + 1}")
        for name, value in {"side": side, "scales": scales, "growth": growth, "classes": classes}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        if std < 0:
            raise ValueError(f"std must be at least 0, not {std!r}")
        self.glimpses, self.side, self.std = glimpses, side, std
        self.zooms = [growth**i for i in range(scales)]
        self.what = nn.Linear(scales * channels * side**2, hidden // 2)  # W_g
        self.where = nn.Linear(2, hidden // 2)  # W_l
        self.join_what = nn.Linear(hidden // 2, hidden)  # W₁
        self.join_where = nn.Linear(hidden // 2, hidden)  # W₂
        self.keep = nn.Linear(hidden, hidden)  # W_h
        self.take = nn.Linear(hidden, hidden)  # W_x
        self.locate = nn.Linear(hidden, 2)  # W_μ
        self.expect = nn.Linear(hidden, 1)  # W_b
        self.classify = nn.Linear(hidden, classes)  # W_y
        for layer in (self.what, self.where, self.join_what, self.join_where, self.take):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.eye_(self.keep.weight)
        for tensor in (self.keep.bias, self.locate.weight, self.locate.bias):
            nn.init.zeros_(tensor)

    def retina(self, x: Tensor, place: Tensor) -> Tensor:
        """ρ: the patches around ``place``, B 2, from the sharpest to the widest, B k·C g g; beyond the edge zeros."""
        patches = []
        for zoom in self.zooms:
            n = self.side * zoom
            step = 2 * torch.arange(n, device=x.device, dtype=x.dtype) - (n - 1)  # of two pixels, from the middle
            column = place[:, :1] + step / x.shape[3]  # B n
            row = place[:, 1:] + step / x.shape[2]
            grid = torch.stack(torch.broadcast_tensors(column[:, None], row[:, :, None]), 3)  # B n n 2
            patch = nn.functional.grid_sample(x, grid.to(x.dtype), align_corners=False)  # B C n n
            patches.append(nn.functional.avg_pool2d(patch, zoom))
        return torch.cat(patches, 1)

    def _glimpse(self, x: Tensor, place: Tensor) -> Tensor:
        what = self.what(self.retina(x, place).flatten(1)).relu()
        where = self.where(place).relu()
        return (self.join_what(what) + self.join_where(where)).relu()  # B hidden

    def _choose(self, mean: Tensor) -> Tensor:
        mean = mean.detach()
        return mean + self.std * torch.randn_like(mean) if self.training else mean.clamp(-1, 1)

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """Where it looks, l_1 ... l_T, B T 2."""
        return {"places": self(x).places}

    def forward(self, x: Tensor, places: Tensor | None = None) -> Looks:
        """Looks T times and decides. ``places``, B T 2, are looked at instead of those it would choose."""
        state = x.new_zeros(len(x), self.keep.in_features)  # h_0
        looked, means, baseline = [], [], []
        for t in range(self.glimpses):
            if places is not None:
                place = places[:, t]
            elif t:
                place = self._choose(means[-1])
            else:
                place = x.new_zeros(len(x), 2)  # l_1, the middle
            looked.append(place)
            state = (self.keep(state) + self.take(self._glimpse(x, place))).relu()  # B hidden
            if t + 1 < self.glimpses:  # after the last glimpse nothing is left to choose
                means.append(self.locate(state.detach()))  # B 2
                baseline.append(self.expect(state.detach())[:, 0])  # B
        stacked = (torch.stack(parts, 1) for parts in (looked, means, baseline))
        return Looks(self.classify(state), *stacked)
