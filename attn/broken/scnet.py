# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of self-calibrated convolution."""

import torch
from torch import nn
from torch.nn import functional as F

from ..mixed.scnet import SelfCalibratedConv
from . import error


@error(
    kind="wrong channel count",
    found="`scnet.py` of BlackThompson/DL-plug-and-play-module at `2f293c7`; "
    "`ultralytics/nn/extra_modules/block.py` of Lzzyyy123/spore_detect at `5d76c2e`",
    caught="tests/test_contract.py::test_promise[scnet-params]",
)
class HalfAlone(SelfCalibratedConv):
    """The calibrated half for all channels, without K₁ beside it."""

    def __init__(self, channels, **options):
        super().__init__(2 * channels, **options)
        del self.k1

    def attention(self, x):
        return self._gate(x)

    def forward(self, x):
        return self.k4(self.k3(x) * self._gate(x))


def half_alone(cls: type[nn.Module] = HalfAlone) -> int:
    """Parameters, C = 256."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(256).parameters())


@error(
    kind="layer missing or added",
    found="not found in a repository that we can name; a version in Keras that we read has one behind K₃ and K₄, too",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[scnet]",
)
class ReluInside(SelfCalibratedConv):
    """A ReLU behind K₂ and its BN."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.k2.append(nn.ReLU())


@torch.no_grad()
def relu_inside(cls: type[nn.Module] = ReluInside) -> float:
    """Share of the gates that the context lowers, that is a < σ(x₁), C = 64, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(64).train()
    (x,) = SelfCalibratedConv.card.example(64)
    return float((module.attention(x) < x[:, :32].sigmoid() - 1e-6).float().mean())


@error(
    kind="works at one size only",
    found="issue 21 of MCG-NKU/SCNet, a version in Keras",
    caught="tests/test_contract.py::test_promise[scnet-sizes]",
)
class FixedFactor(SelfCalibratedConv):
    """Up enlarges r times, whatever the pooling left over."""

    def _gate(self, x1):
        t1 = F.avg_pool2d(x1, self.pool)
        return (x1 + F.interpolate(self.k2(t1), scale_factor=self.pool)).sigmoid()


@torch.no_grad()
def fixed_factor(cls: type[nn.Module] = FixedFactor) -> int:
    """Of the 16 sizes from 4 × 4 to 19 × 19, how many run, C = 8."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module, runs = cls(8).eval(), 0
    for side in range(4, 20):
        try:
            module(torch.zeros(1, 8, side, side))
            runs += 1
        except RuntimeError:
            pass
    return runs
