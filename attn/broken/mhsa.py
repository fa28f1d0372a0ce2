# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of multi-head self-attention."""

import torch
from torch import nn

from ..pairwise.mhsa import MHSA
from . import error


@error(
    kind="missing scale",
    found="z1069614715/objectdetection_script, `cv-attention/MHSA.py`",
    caught="tests/pairwise/test_mhsa.py::test_equals_torch",
)
class Unscaled(MHSA):
    """Scores that are not divided by √d."""

    def _qkv(self, x):
        q, k, v = super()._qkv(x)
        return q * q.shape[3] ** 0.5, k, v  # undoes the division that follows


@torch.no_grad()
def unscaled(cls: type[nn.Module] = Unscaled) -> float:
    """Mean over the queries of the largest weight among 400 keys, C = 512, 8 heads."""
    return float(_fresh(cls).attention(_images()).amax(3).mean())


@error(
    kind="wrong channel count",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/SelfAttention.py`, as its own example calls it",
    caught="tests/pairwise/test_mhsa.py::test_counts",
)
class WideHeads(MHSA):
    """Every head as wide as the input: d = C, not C/h."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.q, self.k, self.v = (nn.Linear(channels, self.heads * channels) for _ in range(3))
        self.out = nn.Linear(self.heads * channels, channels)


def wide_heads(cls: type[nn.Module] = WideHeads) -> int:
    """Parameters at C = 512, 8 heads."""
    return sum(p.numel() for p in _fresh(cls).parameters())


@error(
    kind="silent no-op",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/SelfAttention.py`",
    caught="tests/pairwise/test_mhsa.py::test_a_fresh_layer_answers",
)
class TinyStart(MHSA):
    """All weights drawn with a deviation of 0.001."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for layer in (self.q, self.k, self.v, self.out):
            nn.init.normal_(layer.weight, std=0.001)


@torch.no_grad()
def tiny_start(cls: type[nn.Module] = TinyStart) -> float:
    """Standard deviation of what a fresh layer adds to an input of deviation 1, C = 512."""
    return float(_fresh(cls, residual=False)(_images()).std())


@error(
    kind="layer missing or added",
    found="ultralytics/ultralytics 8.4.190, `nn/modules/transformer.py`, TransformerLayer (in C3TR)",
    caught="tests/pairwise/test_mhsa.py::test_counts",
)
class ProjectedTwice(MHSA):
    """Queries, keys and values each through two linear layers with nothing between them."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for name in ("q", "k", "v"):
            setattr(self, name, nn.Sequential(nn.Linear(channels, channels, bias=False), getattr(self, name)))


def projected_twice(cls: type[nn.Module] = ProjectedTwice) -> int:
    """Parameters at C = 512."""
    return sum(p.numel() for p in _fresh(cls).parameters())


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(512, **options).eval()


def _images() -> torch.Tensor:
    return MHSA.card.example(512)[0]
