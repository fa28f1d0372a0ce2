# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Frequency Channel Attention: a gate per channel, computed from one cosine coefficient of each channel.

Zequn Qin, Pengyi Zhang, Fei Wu, Xi Li: FcaNet: Frequency Channel Attention Networks, 2021, arXiv:2012.11879; the
cosine transform, the multi-spectral channel attention and the ranking of the frequencies, which the authors measured on
ImageNet and which stands in their model/layer.py.
Chapter: notebooks/channel/fca.ipynb
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import Host, Map, largest_divisor, register

# (u, v), down and across a map of 7 by 7, from the frequency that served best on ImageNet as the only one.
RANKING = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
    *((4, 6), (6, 3), (3, 3), (5, 3), (5, 5), (2, 1), (6, 1), (5, 2)),
    *((5, 4), (3, 2), (3, 1), (4, 1), (2, 3), (2, 0), (6, 5), (1, 3)),
)


def _groups(channels: int, groups: int | None) -> int:
    return largest_divisor(channels, 16) if groups is None else groups


def _params(C: int, groups: int | None = None, size: int | None = None, reduction: int = 16) -> int:
    return 2 * C * max(1, C // reduction)


def _macs(C: int, H: int, W: int, groups: int | None = None, size: int | None = None, reduction: int = 16) -> int:
    n = _groups(C, groups)
    # The angles of the cosines; their means over the cells of a grid.
    basis = n * (H + W) if size is None else 2 * n * size + n * size * (H + W)
    # The sums down and across; the two layers once; the gate at every position.
    return basis + C * H * W + C * W + _params(C, reduction=reduction) + C * H * W


@register(
    name="Frequency Channel Attention",
    title="FcaNet: Frequency Channel Attention Networks",
    authors=("Zequn Qin", "Pengyi Zhang", "Fei Wu", "Xi Li"),
    year=2021,
    venue="ICCV 2021",
    paper="https://arxiv.org/abs/2012.11879",
    code="https://github.com/cfzd/FcaNet",
    code_licence="MIT",
    maps=Map("B C 1 1", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C·H·W + C²/r",
    studied={"groups": (1, 2, 4, 8)},  # and 16, the default, and 32, where they divide C
    hosts=(Host("resnet50", "residual", 28_071_976, "the authors' fcanet50(); as SE without biases"),),
)
class FCA(nn.Module):
    """Frequency Channel Attention (Qin et al., 2021). The channels stand in n groups, each with a frequency (u, v).

    b_k(i) = cos(π k (i + ½)/H), divided by its length    a wave of k half turns down H positions; across W likewise
    u′ = min(u · max(1, ⌊H/7⌋), H − 1); v′ with W         about the same wave, in positions, on a larger map
    z_c = Σ_ij x_c(i, j) b_u′(i) b_v′(j)                  a coefficient of the cosine transform
    s = σ(W₂ δ(W₁ z))                                     as SE without biases: δ = ReLU, σ = sigmoid
    y_c = s_c x_c

    Args:
        channels: C, the number of channels of the input and of the output.
        groups: n, how many frequencies there are: the first n of ``RANKING``, each for C/n neighbouring channels. None
            takes the largest divisor of C that is not above the paper's 16; 1 is SE, up to a factor of √(H·W).
        size: where given, the map is averaged to ``size`` by ``size`` cells first, and z is theirs. None takes the map
            as it is.
        reduction: r; the hidden layer has C/r units, rounded down, at least one.

    Shapes:
        x: B C H W, y: B C H W, attention: B C 1 1 in (0, 1).

    Raises:
        ValueError: ``groups`` does not divide C or is not from 1 to 32, or ``size`` or ``reduction`` is below 1.

    Differs: the paper writes the cosines without their lengths; the authors' code divides by them, as ours. Their code
    is built for one ``size``, 56, 28, 14 and 7 in the four stages of a ResNet, and averages any other map to it; ours
    does so where ``size`` is given, and at None equals theirs built for the map's own size. There ⌊H/7⌋ is 0 below
    seven positions, so that every frequency becomes (0, 0); ours is at least 1, and a frequency that the map is too
    small for becomes the highest that it has. Theirs keeps a table of C·H·W cosines in its state dict; ours keeps the n
    pairs and computes two cosines for each. Theirs refuses a C that 16 does not divide, where ours takes fewer groups.
    """

    def __init__(self, channels: int, *, groups: int | None = None, size: int | None = None, reduction: int = 16):
        super().__init__()
        for name, value in (("size", size), ("reduction", reduction)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        n = _groups(channels, groups)
        if not 1 <= n <= len(RANKING) or channels % n:
            nearest = largest_divisor(channels, min(max(1, n), len(RANKING)))
            raise ValueError(
                f"groups must divide the {channels} channels and be from 1 to {len(RANKING)}, not {groups!r}; "
                f"near it: {nearest}"
            )
        self.size = size
        # Saved with the weights, which mean nothing under other frequencies and have the same shapes.
        self.register_buffer("frequencies", torch.tensor(RANKING[:n]))  # n 2
        hidden = max(1, channels // reduction)
        self.down = nn.Linear(channels, hidden, bias=False)  # W₁
        self.relu = nn.ReLU()
        self.up = nn.Linear(hidden, channels, bias=False)  # W₂
        self.gate = nn.Sigmoid()

    def extra_repr(self) -> str:
        return f"groups={len(self.frequencies)}, size={self.size}"

    def _waves(self, k: Tensor, length: int, like: Tensor) -> Tensor:
        """The cosine of each group over the positions of one axis: n ``length``."""
        cells = length if self.size is None else self.size
        dtype = torch.promote_types(like.dtype, torch.float32)  # half precision has no room for the angles
        k = torch.maximum(k, k * (cells // 7)).clamp(max=cells - 1)
        angles = math.pi * (torch.arange(cells, device=like.device, dtype=dtype) + 0.5) / cells
        waves = F.normalize((k[:, None] * angles).cos(), dim=1)
        if self.size is not None:
            waves = waves @ _cells(cells, length, waves)
        return waves.to(like.dtype)

    def _coefficients(self, x: Tensor) -> Tensor:
        u, v = self.frequencies.unbind(1)
        down = self._waves(u, x.shape[2], x)[:, None, None]  # n 1 1 H
        across = self._waves(v, x.shape[3], x)[:, None, :, None]  # n 1 W 1
        z = down @ x.unflatten(1, (len(u), -1)) @ across  # B n C/n 1 1
        return z.flatten(1)  # B C

    def attention(self, x: Tensor) -> Tensor:
        """The gates s, B C 1 1."""
        z = self._coefficients(x)
        return self.gate(self.up(self.relu(self.down(z))))[:, :, None, None]  # B C 1 1

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


def _cells(cells: int, length: int, like: Tensor) -> Tensor:
    """The mean over each of ``cells`` equal stretches of an axis as a matrix: ``cells`` ``length``."""
    k = torch.arange(cells, device=like.device)[:, None]
    i = torch.arange(length, device=like.device)
    first, last = k * length // cells, ((k + 1) * length - 1) // cells  # stretches that share a position overlap
    inside = ((first <= i) & (i <= last)).to(like.dtype)
    return inside / inside.sum(1, keepdim=True)
