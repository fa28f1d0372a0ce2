# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Frequency Channel Attention."""

import torch
from torch import nn
from torch.nn import functional as F

from ..channel.fca import FCA, RANKING
from . import error


@error(
    kind="silent no-op",
    found="the authors' `model/layer.py` at `aa5fb63`; `code/channel_attentions/fcanet.py` of "
    "MenghaoGuo/Awesome-Vision-Attentions at `22cf79c`",
    caught="tests/channel/test_fca.py::test_a_small_map_keeps_the_frequencies_that_it_has[6-14]",
)
class MeanBelowSeven(FCA):
    """Below seven positions every frequency is multiplied by 0."""

    def _waves(self, k, length, like):
        return super()._waves(k * (length >= 7), length, like)


@torch.no_grad()
def mean_below_seven(cls: type[nn.Module] = MeanBelowSeven) -> int:
    """Different patterns on a map of 6 × 6, 16 frequencies."""
    module = _made(cls, 16)
    u, v = (module._waves(k, 6, torch.empty(0)) for k in module.frequencies.unbind(1))
    patterns = (u[:, :, None] * v[:, None]).flatten(1)
    return len(patterns.mul(1e4).round().unique(dim=0))


@error(
    kind="silent no-op",
    found="`models/fca_layer.py` of JuZiSYJ/FcaNet at `41f3268` and of Qiaofreedom/FcaNet0 at `13ef7c2`",
    caught="tests/channel/test_fca.py::test_every_channel_has_a_coefficient[24]",
)
class Remainder(FCA):
    """Sixteen groups of C // 16 channels, and nothing for the rest."""

    def __init__(self, channels, *, groups=16, size=None, reduction=16):
        super().__init__(channels, groups=1, size=size, reduction=reduction)
        self.frequencies = torch.tensor(RANKING[:groups])

    def _coefficients(self, x):
        each = x.shape[1] // len(self.frequencies)
        z = super()._coefficients(x[:, : each * len(self.frequencies)])
        return F.pad(z, (0, x.shape[1] - z.shape[1]))


@torch.no_grad()
def remainder(cls: type[nn.Module] = Remainder) -> int:
    """Channels without a coefficient, C = 24."""
    x = torch.randn(1, 24, 7, 7, generator=torch.Generator().manual_seed(0))
    return int((_made(cls, 24)._coefficients(x) == 0).sum())


@error(
    kind="works at one size only",
    found="PlumedSerpent/FcaNet, its issue 3, mended since: the average over the cells was computed and not used",
    caught="tests/test_contract.py::test_promise[fca-sizes]",
)
class OneSize(FCA):
    """The cosines are those of one size."""

    def _waves(self, k, length, like):
        return super()._waves(k, 20, like)


@torch.no_grad()
def one_size(cls: type[nn.Module] = OneSize) -> int:
    """How many of the map sides 7, 14, 20 and 28 run."""
    runs = 0
    for side in (7, 14, 20, 28):
        try:
            runs += _made(cls, 16)(torch.ones(1, 16, side, side)).shape[2] == side
        except RuntimeError:
            continue
    return runs


@error(
    kind="missing scale",
    found="not found in code that we read; the equation of the paper, which has no lengths, invites it",
    caught="tests/channel/test_fca.py::test_the_coefficients_are_scipys",
)
class NoLength(FCA):
    """The cosines are not divided by their lengths."""

    def _waves(self, k, length, like):
        lengths = torch.where(k > 0, length / 2, float(length)).sqrt()
        return super()._waves(k, length, like) * lengths[:, None]


@torch.no_grad()
def no_length(cls: type[nn.Module] = NoLength) -> float:
    """First coefficient of a map of ones, 20 × 20."""
    return float(_made(cls, 16)._coefficients(torch.ones(1, 16, 20, 20))[0, 0])


def _made(cls: type[nn.Module], channels: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels)
