# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of BAM."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from ..mixed.bam import BAM
from . import error


@error(
    kind="works at one size only",
    found="`model/attention/BAM.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_contract.py::test_promise[bam-sizes]",
)
class Shrinking(BAM):
    """Three dilated convolutions of dilation 2, all padded by 1."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        hidden = self.spatial[0].out_channels
        self.spatial.insert(6, nn.Conv2d(hidden, hidden, 3))
        for conv in (self.spatial[3], *self.spatial[6:8]):
            conv.dilation, conv.padding = (2, 2), (1, 1)


@torch.no_grad()
def shrinking(cls: type[nn.Module] = Shrinking) -> int:
    """Positions of the spatial branch's map on a 7 × 7 input."""
    return _fresh(cls).spatial(_maps((7, 7))).shape[2:].numel()


@error(
    kind="layer missing or added",
    found="`model/attention/BAM.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_contract.py::test_promise[bam-params]",
)
class Deeper(BAM):
    """Three hidden layers in the channel branch and three dilated convolutions."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        hidden = self.channel[0].out_channels
        for layer in (nn.Conv2d(hidden, hidden, 1), nn.Conv2d(hidden, hidden, 1)):
            self.channel = nn.Sequential(*self.channel[:3], layer, nn.BatchNorm2d(hidden), *self.channel[2:])
        self.spatial = nn.Sequential(*self.spatial[:6], *copy.deepcopy(self.spatial[3:6]), *self.spatial[6:])


def deeper(cls: type[nn.Module] = Deeper) -> int:
    """Parameters at C = 512."""
    return sum(p.numel() for p in _fresh(cls, 512).parameters())


@error(
    kind="another function of the same weights",
    found="the paper's own sign, put into the authors' code, whose weights belong to the product; "
    "`model/attention/BAM.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[bam]",
)
class Summed(BAM):
    """The branches added before the sigmoid, and nothing else changed."""

    def attention(self, x):
        return self.gate(self._channel(x) + self.spatial(x))


@torch.no_grad()
def summed(cls: type[nn.Module] = Summed) -> float:
    """Largest change of a gate when it takes over the weights of ours."""
    ours, theirs = _fresh(BAM), _fresh(cls)
    theirs.load_state_dict(ours.state_dict())  # the shapes agree, so nothing complains
    return float((ours.attention(_maps()) - theirs.attention(_maps())).abs().max())


@error(
    kind="wrong axis",
    found="the authors' code",
    caught="tests/mixed/test_bam.py::test_every_column_of_a_wide_map_counts",
)
class SquarePool(BAM):
    """The mean over a square as high as the map, in its left corner."""

    def _channel(self, x):
        return self.channel(F.avg_pool2d(x, x.shape[2]))


@torch.no_grad()
def square_pool(cls: type[nn.Module] = SquarePool) -> float:
    """Largest change of the channel branch when the last four columns of a 20 × 24 map grow by 10."""
    module, x = _fresh(cls), _maps((20, 24))
    grown = x.clone()
    grown[..., 20:] += 10
    return float((module._channel(x) - module._channel(grown)).abs().max())


def _fresh(cls: type[nn.Module], channels: int = 64) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels).eval()


def _maps(size: tuple[int, int] = (20, 20)) -> torch.Tensor:
    return BAM.card.example(64, size)[0]
