# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of bi-level routing attention."""

import torch
from torch import nn

from ..pairwise.biformer import BiLevelRoutingAttention
from . import error


@error(
    kind="works at one size only",
    found="`ops/bra_legacy.py` of rayleizhu/BiFormer at `1697bbb`, as its class is set by default",
    caught="tests/test_contract.py::test_promise[biformer-sizes]",
)
class DivisibleOnly(BiLevelRoutingAttention):
    """Only maps whose sides S divides."""

    def forward(self, x):
        assert x.shape[2] % self.regions == 0
        assert x.shape[3] % self.regions == 0
        return super().forward(x)


@torch.no_grad()
def divisible_only(cls: type[nn.Module] = DivisibleOnly) -> int:
    """How many of the square maps with sides of 1 to 40 are refused, S = 7."""
    module, refused = _fresh(cls, 8), 0
    for side in range(1, 41):
        try:
            module(torch.zeros(1, 8, side, side))
        except AssertionError:
            refused += 1
    return refused


@error(
    kind="another function of the same weights",
    found="`ops/torch/rrsda.py` of rayleizhu/BiFormer at `1697bbb`, where a comment says that it is still to do",
    caught="tests/pairwise/test_biformer.py::test_what_lies_beyond_the_map_weighs_nothing",
)
class PaddingTakesPart(BiLevelRoutingAttention):
    """Zeros beyond the map that take part in the softmax."""

    def _inside(self, t, slots, m):
        return torch.ones_like(super()._inside(t, slots, m))


@torch.no_grad()
def padding_takes_part(cls: type[nn.Module] = PaddingTakesPart) -> float:
    """Smallest sum of a query's weights over a map of 20 × 20, C = 64."""
    module = _fresh(cls, residual=False)
    for layer in (module.lepe, module.out):
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    nn.init.dirac_(module.out.weight)
    nn.init.zeros_(module.qkv.weight[128:]), nn.init.ones_(module.qkv.bias[128:])  # V is 1 everywhere
    return float(module(_images()).min())


@error(
    kind="another function of the same weights",
    found="`ops/bra_nchw.py` of rayleizhu/BiFormer at `1697bbb`, where S does not divide the side",
    caught="tests/pairwise/test_biformer.py::test_every_region_looks_into_k_and_a_position_into_their_positions",
)
class RoundedDown(BiLevelRoutingAttention):
    """Regions of ⌊H/S⌋ positions, however many regions that makes."""

    def _qkv(self, x):
        self.regions = -(-x.shape[2] // (x.shape[2] // 7))  # S was 7; a square map
        return super()._qkv(x)


@torch.no_grad()
def rounded_down(cls: type[nn.Module] = RoundedDown) -> int:
    """Positions that a query sees on a map of 20 × 20, S = 7, k = 4, at most."""
    return int((_fresh(cls).attention(_images())["tokens"] > 0).sum(3).max())


@error(
    kind="wrong constant",
    found="not in a repository that we name; other attentions divide so, and a short rewriting takes it over",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[biformer]",
)
class HeadScale(BiLevelRoutingAttention):
    """Scores divided by the root of a head's width, not of C."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.scale = (channels // self.heads) ** -0.5


@torch.no_grad()
def head_scale(cls: type[nn.Module] = HeadScale) -> float:
    """Mean over the queries of the largest weight, C = 256, 8 heads."""
    module = _fresh(cls, 256)
    x = 4 * BiLevelRoutingAttention.card.example(256)[0]
    return float(module.attention(x)["tokens"].amax(3).mean())


def _fresh(cls: type[nn.Module], channels: int = 64, **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels, **options).eval()


def _images() -> torch.Tensor:
    return BiLevelRoutingAttention.card.example(64)[0]
