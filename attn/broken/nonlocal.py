# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of the non-local block."""

import torch
from torch import nn
from torch.nn import functional as F

from .. import NonLocal, cost
from . import error

_COPIED = (
    "xiaowang121/attention-mechanism, `Classification_task/Non_Local.py`; "
    "tensorfly-gpu/swin_erasenet, `models/non_local.py`"
)


@error(kind="wrong axis", found=_COPIED, caught="tests/test_contract.py::test_promise[nonlocal-maps]")
class OverTheQueries(NonLocal):
    """The softmax over the queries, which share each key among them."""

    def attention(self, x):
        q, k, _ = self._qkv(x)
        return (self.scale * q @ k.transpose(2, 3)).softmax(2)[:, 0]

    def forward(self, x):
        return self._merge(self.attention(x) @ self._qkv(x)[2][:, 0], x)


@torch.no_grad()
def over_the_queries(cls: type[nn.Module] = OverTheQueries) -> float:
    """What the weights of a query add up to on a 20 × 20 map, mean over the queries, C = 64."""
    return float(_fresh(cls).attention(_image(20)).sum(2).mean())


@error(
    kind="another function of the same weights",
    found=_COPIED,
    caught="tests/pairwise/test_nonlocal.py::test_without_pooling_the_order_of_the_positions_does_not_matter",
)
class Folded(NonLocal):
    """C/2 channels read as C, which makes one position of two that lie half a map apart."""

    def _qkv(self, x):
        return [t.unflatten(2, (2, -1)).transpose(2, 3).flatten(3) for t in super()._qkv(x)]  # N d to N/2 2d

    def _merge(self, y, x):
        return super()._merge(y.unflatten(2, (2, -1)).transpose(1, 2).flatten(1, 2), x)


@torch.no_grad()
def folded(cls: type[nn.Module] = Folded) -> int:
    """Queries of a 20 × 20 map, C = 64."""
    return _fresh(cls).attention(_image(20)).shape[1]


@error(
    kind="layer missing or added",
    found=_COPIED,
    caught="tests/pairwise/test_nonlocal.py::test_a_fresh_block_changes_nothing[True]",
)
class RandomStart(NonLocal):
    """No BN behind W_z, and PyTorch's own initial values in every layer."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options | {"norm": False})
        for layer in (self.theta, self.phi, self.g, self.out):
            layer.reset_parameters()


@torch.no_grad()
def random_start(cls: type[nn.Module] = RandomStart) -> float:
    """Standard deviation of what a fresh block adds to an input of deviation 1, C = 64."""
    x = _image(20)
    return float((_fresh(cls)(x) - x).std())


@error(
    kind="another function of the same weights",
    found="AlexHex7/Non-local_pytorch, `lib/non_local_embedded_gaussian.py`",
    caught="tests/test_contract.py::test_promise[nonlocal-macs]",
)
class PooledBehind(NonLocal):
    """The maximum behind φ and g, which then run at every position."""

    def _qkv(self, x):
        keys = (F.max_pool2d(layer(x), self.pool) for layer in (self.phi, self.g))
        return [t.flatten(2).transpose(1, 2)[:, None] for t in (self.theta(x), *keys)]


def pooled_behind(cls: type[nn.Module] = PooledBehind) -> int:
    """Multiply-adds at C = 1024 on a 14 × 14 map."""
    with torch.device("meta"):
        return cost(_fresh(cls, 1024), (1, 1024, 14, 14)).macs


def _fresh(cls: type[nn.Module], channels: int = 64) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels).eval()


def _image(side: int) -> torch.Tensor:
    return NonLocal.card.example(64, (side, side))[0]
