# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Concurrent spatial and channel SE: a gate per channel and a gate per position from one x, the two results joined.

Abhijit Guha Roy, Nassir Navab, Christian Wachinger: Concurrent Spatial and Channel Squeeze & Excitation in Fully
Convolutional Networks, 2018, arXiv:1803.02579; the three blocks cSE, sSE and scSE of Figure 1. The same authors'
Recalibrating Fully Convolutional Networks with Spatial and Channel Squeeze & Excitation Blocks, 2019, arXiv:1808.08127,
has the maximum in the place of the sum.
Chapter: notebooks/mixed/scse.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Map, register, unknown

JOINS = ("add", "max")  # how the two gated maps become one


def _joined(combine: str, x: Tensor, s: Tensor, q: Tensor) -> Tensor:
    # The sum of the gates first: one pass over the map less than the sum of two gated maps.
    return x * (s + q) if combine == "add" else torch.maximum(x * s, x * q)


def _params(C: int, reduction: int = 2, combine: str = "add", bias: bool = True) -> int:
    hidden = max(1, C // reduction)
    return 2 * C * hidden + C + (hidden + C + 1 if bias else 0)


def _macs(C: int, H: int, W: int, reduction: int = 2, combine: str = "add", bias: bool = True) -> int:
    # W₂ and W₁ once; w, and one gate or both, at every position.
    return 2 * C * max(1, C // reduction) + C * H * W + (1 if combine == "add" else 2) * C * H * W


@register(
    name="scSE",
    title="Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
    authors=("Abhijit Guha Roy", "Nassir Navab", "Christian Wachinger"),
    year=2018,
    venue="MICCAI 2018; extended in IEEE TMI",
    paper="https://arxiv.org/abs/1803.02579",
    code="https://github.com/ai-med/squeeze_and_excitation",
    code_licence="MIT",
    maps={"channel": Map("B C 1 1", range=(0, 1)), "spatial": Map("B 1 H W", range=(0, 1))},
    params=_params,
    macs=_macs,
    order="C²/r + C·H·W",
    studied={"combine": ("add", "max")},
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=lambda module, a, x: _joined(module.combine, x, a["channel"], a["spatial"]),
    limits={
        "hosts": "no exact count of a network with it was found: the abstracts give about 1.5 % more for a U-Net whose "
        "widths the authors' repository does not have; the module is counted by its formula",
    },
)
class SCSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al., 2018).

    s = σ(W₁ δ(W₂ mean_ij x))        cSE, a gate per channel: δ = ReLU, σ = sigmoid
    q = σ(w * x)                     sSE, a gate per position: w is a 1×1 convolution to one map
    y = s ⊙ x + q ⊙ x                scSE; the journal has max(s ⊙ x, q ⊙ x), number by number

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; the hidden layer of cSE has C/r units, rounded down, at least one.
        combine: how the two gated maps become one: ``"add"``, or ``"max"`` as in the journal and the authors' code.
        bias: whether W₁, W₂ and w have biases.

    Shapes:
        x: B C H W, y: B C H W, attention: channel B C 1 1 and spatial B 1 H W, both in (0, 1).

    Raises:
        ValueError: ``reduction`` is below 1, or there is no such ``combine``.

    Differs: the paper of 2018 adds, the authors' code takes the maximum and nothing else; ``combine="max"`` gives what
    that code gives. Their layers have biases (``bias=False`` leaves the bare products). Where C < r theirs has no
    hidden unit left; ours keeps one.
    """

    def __init__(self, channels: int, *, reduction: int = 2, combine: str = "add", bias: bool = True):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the authors' default is 2")
        if combine not in JOINS:
            raise ValueError(unknown("combine", combine, JOINS))
        hidden = max(1, channels // reduction)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),  # W₂
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=bias),  # W₁
        )
        self.spatial = nn.Conv2d(channels, 1, 1, bias=bias)  # w
        self.gate = nn.Sigmoid()
        self.combine = combine

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The gates, both from x: s, B C 1 1, and q, B 1 H W."""
        z = x.mean((2, 3), keepdim=True)  # B C 1 1
        return {"channel": self.gate(self.channel(z)), "spatial": self.gate(self.spatial(x))}

    def forward(self, x: Tensor) -> Tensor:
        return _joined(self.combine, x, *self.attention(x).values())

    def extra_repr(self) -> str:
        return f"combine={self.combine!r}"
