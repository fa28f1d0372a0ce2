# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Attention-based Dropout Layer."""

import torch
from torch import Tensor, nn

from ..spatial.adl import ADL
from . import error


@error(
    kind="wrong mode",
    found="the class `Attention_Dropout` of a public collection of attention modules",
    caught="tests/spatial/test_adl.py::test_one_coin_for_the_batch_from_torchs_generator",
)
class NoCoin(ADL):
    """A number between 0.8 and 1.8, drawn when the layer is made, blends both maps."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.b = 0.8 + float(torch.rand(()))

    def forward(self, x):
        a = self.attention(x)
        return x * (self.b * a["drop"] + (1 - self.b) * a["importance"]) if self.training else x


def no_coin(cls: type[nn.Module] = NoCoin) -> int:
    """Different results of 64 training steps on the same maps."""
    return len({float(y.sum()) for y in _calls(cls, train=True)})


@error(
    kind="wrong constant",
    found="the class `Attention_Dropout` of a public collection of attention modules",
    caught="tests/spatial/test_adl.py::test_the_hottest_position_is_hidden_whatever_the_level",
)
class AbsoluteThreshold(ADL):
    """Every position above 0.8 is hidden, whatever the largest is."""

    def attention(self, x):
        a = x.clamp(min=0).mean(1, keepdim=True)
        return {"drop": (a <= 0.8).to(a.dtype), "importance": a.sigmoid()}


@torch.no_grad()
def absolute_threshold(cls: type[nn.Module] = AbsoluteThreshold) -> float:
    """Hidden share of the positions when the same maps come three times as large, C = 64."""
    return float(1 - cls(64).attention(3 * _maps())["drop"].mean())


@error(
    kind="wrong mode",
    found="the class `Attention_Dropout` of a public collection of attention modules",
    caught="tests/spatial/test_adl.py::test_evaluation_returns_what_it_was_given_and_draws_nothing",
)
class AlwaysOn(ADL):
    """Nothing asks whether the layer is in training."""

    def train(self, mode=True):
        return super().train(True)


def always_on(cls: type[nn.Module] = AlwaysOn) -> float:
    """Share of the numbers that 64 calls in evaluation change."""
    x = _maps()
    return float(torch.stack([(y != x).float().mean() for y in _calls(cls, train=False)]).mean())


@torch.no_grad()
def _calls(cls: type[nn.Module], train: bool) -> list[Tensor]:
    """64 calls on the same maps, with random numbers of their own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(64).train(train)
        return [module(_maps()) for _ in range(64)]


def _maps() -> Tensor:
    return ADL.card.example(64)[0]
