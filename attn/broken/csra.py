# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of class-specific residual attention, mostly as a class ``ResidualAttention``."""

import math

import torch
from torch import nn

from ..spatial.csra import CSRA
from . import error


@error(
    kind="missing scale",
    found="`model/attention/ResidualAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`, "
    "and an overview article that prints it",
    caught="tests/spatial/test_csra.py::test_the_length_of_a_classifier_does_not_matter",
)
class BareWeights(CSRA):
    """The classifiers keep their lengths."""

    def _scores(self, x):
        return super()._scores(x) * self.weight.norm(dim=2, keepdim=True)


@torch.no_grad()
def bare_weights(cls: type[nn.Module] = BareWeights) -> float:
    """Size of a class's scores when its classifier is made 10 times as long, as a multiple of that before."""
    module, x = _fresh(cls), _maps()
    before = module(x)[:, 0].abs().sum()
    module.weight[:, 0] *= 10
    return float(module(x)[:, 0].abs().sum() / before)


@error(
    kind="another function of the same weights",
    found="`model/attention/ResidualAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`, "
    "and an overview article that prints it",
    caught="tests/spatial/test_csra.py::test_equals_the_equations[temperatures0]",
)
class MaximumOnly(CSRA):
    """One head with the maximum, T = ∞, where the authors' one head has T = 1."""

    def __init__(self, channels, *, temperatures=(math.inf,), **options):
        super().__init__(channels, temperatures=(math.inf,) * len(temperatures), **options)


@torch.no_grad()
def maximum_only(cls: type[nn.Module] = MaximumOnly) -> float:
    """Positions, of 400, that the map of a class gives a weight to."""
    return float((_fresh(cls).attention(_maps()) > 0).sum((3, 4)).float().mean())


@error(
    kind="wrong constant",
    found="`model/attention/ResidualAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`, "
    "and an overview article that prints it",
    caught="tests/spatial/test_csra.py::test_the_defaults_are_those_of_a_released_model",
)
class NobodysDefaults(CSRA):
    """λ = 0.2 and 1000 classes, the values of no released model."""

    def __init__(self, channels, *, classes=1000, temperatures=(1,), lam=0.2):
        super().__init__(channels, classes=classes, temperatures=temperatures, lam=lam)


def nobodys_defaults(cls: type[nn.Module] = NobodysDefaults) -> int:
    """Parameters by default, C = 2048."""
    return _fresh(cls, 2048).weight.numel()


def _fresh(cls: type[nn.Module], channels: int = 64) -> nn.Module:
    """With random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels)


def _maps() -> torch.Tensor:
    return CSRA.card.example(64)[0]
