# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of pyramid squeeze attention."""

import torch
from torch import nn

from ..channel.epsa import EPSA
from . import error

_FOUND = "`model/attention/PSA.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`"


@error(
    kind="parameters not registered",
    found=_FOUND,
    caught="tests/test_contract.py::test_promise[epsa-params]",
)
class PlainList(EPSA):
    """The convolutions and the SE stand in plain lists of Python."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        convs, ses = list(self.branches), [self.weigh]
        del self.branches, self.weigh
        self.branches, self.ses = convs, ses

    def weigh(self, z):
        return self.ses[0](z)


def plain_list(cls: type[nn.Module] = PlainList) -> int:
    """Parameters that an optimiser is given, C = 64."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(64).parameters())


@error(
    kind="wrong channel count",
    found=_FOUND,
    caught="tests/test_contract.py::test_promise[epsa-params]",
)
class OwnPart(EPSA):
    """Each kernel sees its own quarter of the channels, in one group."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        parts = [(c.out_channels, c.kernel_size[0], c.stride) for c in self.branches]
        self.branches = nn.ModuleList(nn.Conv2d(n, n, k, s, k // 2, bias=False) for n, k, s in parts)

    def _split(self, x):
        return [conv(part) for conv, part in zip(self.branches, x.chunk(len(self.branches), 1), strict=True)]


def own_part(cls: type[nn.Module] = OwnPart) -> int:
    """Parameters, C = 512."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(512).parameters())


@error(
    kind="in-place overlap",
    found=_FOUND,
    caught="tests/test_contract.py::test_promise[epsa-untouched]",
)
class IntoTheInput(OwnPart):
    """What the kernels give is written over the input, through a view of it."""

    def _split(self, x):
        parts = x.chunk(len(self.branches), 1)
        for conv, part in zip(self.branches, parts, strict=True):
            part.copy_(conv(part))
        return list(parts)


@torch.no_grad()
def into_the_input(cls: type[nn.Module] = IntoTheInput) -> float:
    """Share of the caller's numbers that a forward pass changes, C = 64."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(64).eval()
    (x,) = EPSA.card.example(64)
    before = x.clone()
    module(x)
    return float((x != before).float().mean())
