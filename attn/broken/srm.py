# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of the Style-based Recalibration Module."""

import warnings

import torch
from torch import nn

from ..channel.srm import EPS, SRM
from . import error


@error(
    kind="wrong channel count",
    found="`SRM.py` of taki0112/SRM-Tensorflow at `7e213a6`, with a bias besides",
    caught="tests/test_contract.py::test_promise[srm-params]",
)
class FullConvolution(SRM):
    """A full convolution over the pair, so that every gate reads every channel."""

    def __init__(self, channels):
        super().__init__(channels)
        self.cfc = nn.Parameter(torch.zeros(channels, channels, 2))

    def attention(self, x):
        z = torch.einsum("bcti,oct->bo", self._style(x), self.cfc)
        return self.gate(self.norm(z[..., None, None]))


def full_convolution(cls: type[nn.Module] = FullConvolution) -> int:
    """Parameters at C = 256."""
    with torch.device("meta"):  # no numbers are drawn
        return sum(p.numel() for p in cls(256).parameters())


@error(
    kind="NaN at the edge",
    found="the authors' `models/recalibration_modules.py` at `f6221c7`; `attention_mechanisms/srm.py` of "
    "changzy00/pytorch-attention at `8ce59da`",
    caught="tests/test_contract.py::test_promise[srm-sizes]",
)
class NoGuard(SRM):
    """The variance divided by H·W − 1, whatever H and W."""

    def _style(self, x):
        variance, mean = torch.var_mean(x.flatten(2), 2, keepdim=True)
        return torch.stack([mean, (variance + EPS).sqrt()], 2)


@torch.no_grad()
def no_guard(cls: type[nn.Module] = NoGuard) -> int:
    """Gates that are no number on a 1 × 1 map, of 64."""
    with warnings.catch_warnings(action="ignore"):  # PyTorch says that there are too few values, and goes on
        return int(_fresh(cls).attention(torch.ones(1, 64, 1, 1)).isnan().sum())


@error(
    kind="NaN at the edge",
    found="not found in code; the definition of the standard deviation, taken word for word, invites it",
    caught="tests/channel/test_srm.py::test_a_constant_channel_has_a_finite_gradient",
)
class NoEps(SRM):
    """The root of the variance, with nothing added to it."""

    def _style(self, x):
        variance, mean = torch.var_mean(x, (2, 3), correction=int(x[0, 0].numel() > 1), keepdim=True)
        return torch.cat([mean, variance.sqrt()], 2)


def no_eps(cls: type[nn.Module] = NoEps) -> int:
    """Gradients that are no number, of a 4 × 4 map in which one channel of 64 is constant."""
    x = SRM.card.example(64, (4, 4), 1)[0]
    x[:, 0] = 0
    _fresh(cls)(x.requires_grad_()).sum().backward()
    return int(x.grad.isnan().sum())


@error(
    kind="wrong constant",
    found="`attention_mechanisms/srm.py` of changzy00/pytorch-attention at `8ce59da`, `models/layer_blocks.py` of "
    "EvgenyKashin/SRMnet at `104df00`: what `nn.Conv1d` draws",
    caught="tests/channel/test_srm.py::test_starts_half_open_and_moves",
)
class RandomStart(SRM):
    """The weights of the two statistics start at random, where the authors' start at zero."""

    def __init__(self, channels):
        super().__init__(channels)
        nn.init.uniform_(self.cfc, -(0.5**0.5), 0.5**0.5)


@torch.no_grad()
def random_start(cls: type[nn.Module] = RandomStart) -> float:
    """Largest distance of a gate from one half, before any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(64).eval()
    return float((module.attention(SRM.card.example(64)[0]) - 0.5).abs().max())


def _fresh(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, each weight one half, so that a gate reads both statistics."""
    module = cls(64).eval()
    nn.init.constant_(module.cfc, 0.5)
    return module
