# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Global Second-order Pooling."""

import torch
from torch import nn

from ..channel.gsop import GSoP
from . import error


@error(
    kind="layer missing or added",
    found="not found in code that we read; the authors' README, which has a non-linearity behind each of two layers, "
    "invites it",
    caught="tests/channel/test_gsop.py::test_equals_the_equations[options0]",
)
class BetweenThem(GSoP):
    """A ReLU between the row-wise convolution and the expansion."""

    def attention(self, x):
        rows = self.row_norm(self._covariance(x).unsqueeze(3))
        return self.gate(self.expand(self.relu(self.rows(rows))))


@torch.no_grad()
def between_them(cls: type[nn.Module] = BetweenThem) -> int:
    """Zeros among the 128 numbers that the expansion reads, C = 64."""
    module, entering = _drawn(cls), []
    module.expand.register_forward_pre_hook(lambda module, given: entering.append(given[0]))
    module(GSoP.card.example(64, (8, 8), 1)[0])
    return int((entering[0] == 0).sum())


@error(
    kind="layer missing or added",
    found="a class `GSOP3d_layer` for volumes, in which both BNs are commented out; we read the file without the name "
    "of its repository",
    caught="tests/channel/test_gsop.py::test_in_training_the_size_of_the_map_is_lost",
)
class NoNorms(GSoP):
    """Neither BN."""

    def __init__(self, channels, *, dim=None, stride=1):
        super().__init__(channels, dim=dim, stride=stride)
        self.norm = self.row_norm = nn.Identity()


@torch.no_grad()
def no_norms(cls: type[nn.Module] = NoNorms) -> float:
    """Factor by which the covariance grows in training where the map grows tenfold."""
    module, x = _drawn(cls).train(), GSoP.card.example(64, (8, 8), 4)[0]
    once, tenfold = (module._covariance(factor * x).abs().max() for factor in (1, 10))
    return float(tenfold / once)


@error(
    kind="another function of the same weights",
    found="not found in code that we read; an article on the network on emergentmind.com says that the mean may stay, "
    "since a BN follows",
    caught="tests/channel/test_gsop.py::test_a_map_of_one_position_gives_every_image_the_same_gates",
)
class MeanLeftIn(GSoP):
    """The products of the channels, with their means left in."""

    def _covariance(self, x):
        u = self.relu(self.norm(self.reduce(self.relu(x)))).flatten(2)
        return u @ u.transpose(1, 2) / u.shape[2]


@torch.no_grad()
def mean_left_in(cls: type[nn.Module] = MeanLeftIn) -> float:
    """Largest entry of the covariance of a constant map."""
    return round(float(_drawn(cls)._covariance(torch.ones(1, 64, 8, 8)).abs().max()), 6)


@error(
    kind="wrong channel count",
    found="not found in code that we read; a convolution whose `groups` is forgotten invites it",
    caught="tests/test_contract.py::test_promise[gsop-params]",
)
class NoGroups(GSoP):
    """Every kernel reads all rows, not its own."""

    def __init__(self, channels, *, dim=None, stride=1):
        super().__init__(channels, dim=dim, stride=stride)
        d = self.reduce.out_channels
        self.rows = nn.Conv2d(d, 4 * d, (d, 1))


def no_groups(cls: type[nn.Module] = NoGroups) -> int:
    """Parameters at C = 256."""
    with torch.device("meta"):  # no numbers are drawn
        return sum(p.numel() for p in cls(256).parameters())


def _drawn(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with weights from a seed of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64).eval()
