# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Second-order Channel Attention."""

import torch
from torch import nn

from ..channel.soca import EPS, SOCA
from . import error

PORT = "`code/channel_attentions/soca_module.py` of MenghaoGuo/Awesome-Vision-Attentions at `35f6f5e`"


@error(
    kind="NaN at the edge",
    found="the authors' `TrainCode/model/MPNCOV/python/MPNCOV.py` at `7c1e61f`; `models/Models/Attention/SOCA.py` of "
    "iscyy/yoloair at `29a8465`",
    caught="tests/test_contract.py::test_promise[soca-sizes]",
)
class NoEps(SOCA):
    """The covariance divided by its trace, whatever the trace is."""

    def _covariance(self, x):
        centred = x.flatten(2) - x.mean((2, 3))[:, :, None]
        sigma = centred @ centred.transpose(1, 2) / centred.shape[2]
        trace = sigma.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
        return sigma / trace, trace


@torch.no_grad()
def no_eps(cls: type[nn.Module] = NoEps) -> int:
    """Gates that are no number, of 64, for a map of zeros."""
    return int(_fresh(cls, 64).attention(torch.zeros(1, 64, 8, 8)).isnan().sum())


@error(
    kind="another function of the same weights",
    found=f"{PORT}; the trace is the sum of `x.matmul(I3)`",
    caught="tests/channel/test_soca.py::test_equals_the_equations[5]",
)
class SumOfAll(SOCA):
    """The sum of all entries of the covariance, taken for its trace."""

    def _covariance(self, x):
        a, trace = super()._covariance(x)
        sigma = a * trace
        total = sigma.sum((1, 2), keepdim=True) + EPS
        return sigma / total, total


@torch.no_grad()
def sum_of_all(cls: type[nn.Module] = SumOfAll) -> int:
    """Gates that are no number, of 16, where each second channel is the negative of the one before it."""
    x = SOCA.card.example(8)[0][:1]
    return int(_fresh(cls, 16).attention(torch.stack([x, -x], 2).flatten(1, 2)).isnan().sum())


@error(
    kind="another function of the same weights",
    found=PORT,
    caught="tests/channel/test_soca.py::test_the_steps_tend_to_the_root_and_five_fall_short",
)
class OtherStep(SOCA):
    """(3I − Z)Y where the step has 3I − ZY."""

    def _root(self, a):
        three = 3 * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
        z = (three - a) / 2
        y = a @ z
        for _ in range(self.iterations - 2):
            t = (three - z) @ y / 2
            y, z = y @ t, t @ z
        return y @ (three - z) @ y / 2


@torch.no_grad()
def other_step(cls: type[nn.Module] = OtherStep) -> float:
    """What five steps make of the root of one fourth, which is one half."""
    return float(_fresh(cls, 8)._root(torch.eye(8)[None] / 4)[0, 0, 0])


def _fresh(cls: type[nn.Module], channels: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels)
