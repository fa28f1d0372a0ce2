# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of efficient multi-head self-attention."""

import torch
from torch import nn

from ..pairwise.emsa import EMSA
from . import error

XMU = "xmu-xiaoma666/External-Attention-pytorch, `model/attention/EMSA.py`"


@error(
    kind="wrong channel count",
    found=f"{XMU} and its example, which gives the width of all heads for the width of one",
    caught="tests/pairwise/test_emsa.py::test_the_formulas_hold_for_every_option[{}]",
)
class WidthPerHead(EMSA):
    """Each head as wide as the input, where all heads together are."""

    def __init__(self, channels, *, heads=8, **options):
        super().__init__(channels, heads=heads, **options)
        self.scale = channels**-0.5
        self.q, self.kv = nn.Linear(channels, heads * channels), nn.Linear(channels, 2 * heads * channels)
        self.out = nn.Linear(heads * channels, channels)


def width_per_head(cls: type[nn.Module] = WidthPerHead) -> int:
    """Parameters at C = 512, 8 heads, s = 2."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(512, reduction=2).parameters())


@error(
    kind="silent no-op",
    found="mindspore-courses/External-Attention-MindSpore, `model/attention/EMSA.py`",
    caught="tests/test_contract.py::test_promise[emsa-gradients]",
)
class ShrunkForNothing(EMSA):
    """The shrunk map is computed, and keys and values are taken from the whole one."""

    def _qkv(self, x):
        self.norm(self.shrink(x).flatten(2).transpose(1, 2))
        rows = x.flatten(2).transpose(1, 2)
        return [self._heads(t) for t in (self.q(rows), *self.kv(rows).chunk(2, 2))]


@torch.no_grad()
def shrunk_for_nothing(cls: type[nn.Module] = ShrunkForNothing) -> int:
    """Keys of a map of 20 × 20, s = 4."""
    return _fresh(cls).attention(EMSA.card.example(64)[0]).shape[3]


@error(
    kind="works at one size only",
    found=f"{XMU}, with the height and the width as arguments of the constructor",
    caught="tests/test_contract.py::test_promise[emsa-sizes]",
)
class FixedGrid(EMSA):
    """Height and width are said when the layer is built, and rows of as many positions are taken for that map."""

    def _qkv(self, x):
        q, k, v = super()._qkv(x.reshape(*x.shape[:2], 20, 20))
        return q, k, v


@torch.no_grad()
def fixed_grid(cls: type[nn.Module] = FixedGrid) -> float:
    """Error of what is added to a map of 10 × 40, as a share of it."""
    x = EMSA.card.example(64, (10, 40))[0]
    wanted = _fresh(EMSA)(x) - x
    return float((_fresh(cls)(x) - x - wanted).norm() / wanted.norm())


@error(
    kind="wrong mode",
    found="ccfco/External-Attention-tensorflow, `attention/EMSA.py`, where the norm also has a weight for each image "
    "of the batch",
    caught="tests/pairwise/test_emsa.py::test_equals_the_equations[{}]",
)
class BatchNormed(EMSA):
    """A BatchNorm in place of IN: in evaluation with the statistics of other images."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.seen = nn.BatchNorm2d(self.heads, momentum=1.0, affine=False)

    def _weights(self, q, k):
        return self.seen(self.mix((self.scale * q) @ k.transpose(2, 3)).softmax(3)), 1.0


@torch.no_grad()
def batch_normed(cls: type[nn.Module] = BatchNormed) -> float:
    """Mean sum of a row of A at 40 × 40, after a step of training at 20 × 20."""
    module = _fresh(cls)
    module.train()(EMSA.card.example(64)[0])
    return float(module.eval().attention(EMSA.card.example(64, (40, 40))[0]).sum(3).mean().round(decimals=4))


def _fresh(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with random numbers of its own, large enough to tell the keys apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(64)
        for p in module.parameters():
            nn.init.normal_(p, std=0.3)
    return module.eval()
