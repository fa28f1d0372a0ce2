# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of cross attention."""

import torch
from torch import Tensor, nn

from ..cross.cross import CrossAttention, Pair
from . import error


@error(
    kind="wrong paper",
    found="not found in code; the paper's name for the layer invites it, and texts mix up the two",
    caught="tests/test_contract.py::test_promise[cross-rebuild]",
)
class MixesValues(CrossAttention):
    """Each position replaced by a mixture of the other picture's, as in cross-attention with queries, keys, values."""

    def forward(self, p, q):
        R = self._cosines(p, q) / self.temperature
        p, q = (
            torch.einsum("bmkij,bncj->bmkci", w.softmax(4), v) for w, v in ((R, q.flatten(3)), (R.mT, p.flatten(3)))
        )
        return Pair(p.unflatten(4, self.size), q.unflatten(4, self.size))


@torch.no_grad()
def mixes_values(cls: type[nn.Module] = MixesValues) -> float:
    """Mean cosine between a position of the query before and after, one class and one query, C = 64."""
    p, q = (x[:, :1] for x in _maps())
    return float(torch.cosine_similarity(_fresh(cls)(p, q).queries, q[:, None], dim=3).mean())


@error(
    kind="works at one size only",
    found="the authors' code: blue-blue272/fewshot-CAN, `torchFewShot/models/cam.py`",
    caught="tests/cross/test_cross.py::test_equals_the_equations[{}]",
)
class WrittenSize(CrossAttention):
    """The 36 positions and the 6 hidden units written into the module."""

    def __init__(self, channels, *, size=(6, 6), **options):
        super().__init__(channels, **options)
        self.size = size


@torch.no_grad()
def written_size(cls: type[nn.Module] = WrittenSize) -> int:
    """How many of the sizes 5 × 5, 6 × 6, 7 × 7 and 8 × 8 run."""
    return sum(_runs(cls, side) for side in (5, 6, 7, 8))


@error(
    kind="wrong channel count",
    found="issue 39 of RL-VIG/LibFewShot, with 10 hidden units for 100 positions",
    caught="tests/test_contract.py::test_promise[cross-params]",
)
class RootHidden(CrossAttention):
    """As many hidden units as the map is wide, √N, instead of N/6: equal at 6 × 6 alone."""

    def __init__(self, channels, *, size=(6, 6), **options):
        super().__init__(channels, size=size, **{**options, "reduction": size[0]})


def root_hidden(cls: type[nn.Module] = RootHidden) -> int:
    """Parameters for maps of 10 × 10."""
    return sum(p.numel() for p in _fresh(cls, size=(10, 10)).parameters())


def _runs(cls: type[nn.Module], side: int) -> bool:
    try:
        _fresh(cls, size=(side, side))(*_maps(side))
    except RuntimeError:
        return False
    return True


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64, **options).eval()


def _maps(side: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, n, 64, side, side, generator=generator) for n in (5, 3))
