# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What a mechanism is compared with: layers of known size that do not attend, and layers that do known harm.

They stand at the mechanism's place in the same detector. ``none`` is not among them: it is the detector without any
layer added, and every mechanism is set beside it too.
"""

import math

import torch
from torch import Tensor, nn

from .registry import card


class Bottleneck(nn.Module):
    """A residual 1×1 bottleneck: y = x + W₂ δ(BN(W₁ x)), what the same parameters buy without attention.

    Args:
        channels: C.
        hidden: the width between the two convolutions; 2·C·hidden weights in all.

    Shapes: x, y: B C H W.
    """

    def __init__(self, channels: int, *, hidden: int):
        super().__init__()
        self.down = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.act = nn.SiLU()
        self.up = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.act(self.norm(self.down(x))))


class SmallBottleneck(Bottleneck):
    """About C²/8 parameters: hidden = C/16."""

    def __init__(self, channels: int):
        super().__init__(channels, hidden=max(1, channels // 16))


class LargeBottleneck(Bottleneck):
    """About 4·C² parameters: hidden = 2·C."""

    def __init__(self, channels: int):
        super().__init__(channels, hidden=2 * channels)


class Frozen(nn.Module):
    """y = a ⊙ x with a map that nothing trains.

    Args:
        a: B C 1 1 with B = 1, or a single number in the same four axes.
    """

    def __init__(self, a: Tensor):
        super().__init__()
        self.register_buffer("a", a)

    def attention(self, x: Tensor) -> Tensor:
        return self.a.expand(len(x), x.shape[1], 1, 1)  # B C 1 1

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)


class _Mask(Frozen):
    every: int

    def __init__(self, channels: int):
        super().__init__((torch.arange(channels) % self.every == 0).float().view(1, channels, 1, 1))


class Mask8(_Mask):
    """Keeps one channel in eight, the first of each eight: known to harm."""

    every = 8


class Mask2(_Mask):
    """Keeps one channel in two: known to harm less."""

    every = 2


class Gate01(Frozen):
    """The same gate of 0.1 for every channel: harm that the next BatchNorm can undo."""

    def __init__(self, channels: int):
        super().__init__(torch.full((1, 1, 1, 1), 0.1))


CONTROLS: dict[str, type[nn.Module]] = {
    "bottleneck-small": SmallBottleneck,
    "bottleneck-large": LargeBottleneck,
    "mask-8": Mask8,
    "mask-2": Mask2,
    "gate-0.1": Gate01,
}


def nearest(slug: str, channels: int, **options) -> str | None:
    """The bottleneck whose parameter count is nearest to the mechanism's by ratio, the controls being their own size.

    Below C²/16 parameters neither is near, and the answer is None: only the plain detector is a fair neighbour.
    """
    if slug in CONTROLS or slug == "none":
        return None
    params = card(slug).params(channels, **options)
    if params < channels**2 / 16:
        return None
    # The boundary lies where both are equally far away by ratio: sqrt(C²/8 · 4C²).
    return "bottleneck-small" if params < channels**2 * math.sqrt(0.5) else "bottleneck-large"
