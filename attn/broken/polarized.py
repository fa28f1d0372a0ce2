# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of polarized self-attention, the authors' released code included."""

import torch
from torch import nn

from ..mixed.polarized import PolarizedSelfAttention
from . import error

RELEASED = "in `semantic-segmentation/network/PSA.py` of DeLightCMU/PSA, the authors', at `20e307a`"
BEFORE = "`attention/PolarizedSelfAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `097b73d`"


@error(
    kind="another function of the same weights",
    found=f"`PSA_p` {RELEASED}",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[polarized]",
)
class ReleasedParallel(PolarizedSelfAttention):
    """The softmax of the spatial gate behind the product, over the positions."""

    def _spatial(self, x):
        u = self.spatial_query(x.mean((2, 3)))  # B C/2
        s = (u @ self.spatial_value.weight)[:, None] @ x.flatten(2)  # B 1 N
        return self.gate(s.softmax(2)).unflatten(2, x.shape[2:])


@torch.no_grad()
def released_parallel(cls: type[nn.Module] = ReleasedParallel) -> float:
    """Largest spatial gate minus the smallest, on a map of 20 × 20 with C = 64."""
    return _spread(_fresh(cls))


@error(
    kind="another function of the same weights",
    found=f"`PSA_s` {RELEASED}",
    caught="tests/mixed/test_polarized.py::test_equals_the_equations[sequential-False]",
)
class ReleasedSequential(PolarizedSelfAttention):
    """The softmax of the spatial gate on the values, over the positions, and none on the query."""

    def _spatial(self, x):
        u = self.spatial_query(x.mean((2, 3)))  # B C/2
        v = (self.spatial_value.weight @ x.flatten(2)).softmax(2)  # B C/2 N
        return self.gate(u[:, None] @ v).unflatten(2, x.shape[2:])


@torch.no_grad()
def released_sequential(cls: type[nn.Module] = ReleasedSequential) -> float:
    """Largest spatial gate minus the smallest, in sequence, on a map of 20 × 20 with C = 64."""
    return _spread(_fresh(cls, layout="sequential"))


@error(
    kind="layer missing or added",
    found=BEFORE,
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[polarized]",
)
class NoSoftmax(PolarizedSelfAttention):
    """No softmax in the spatial gate."""

    def _spatial(self, x):
        u = self.spatial_query(x.mean((2, 3)))  # B C/2
        s = (u @ self.spatial_value.weight)[:, None] @ x.flatten(2)  # B 1 N
        return self.gate(s).unflatten(2, x.shape[2:])


@torch.no_grad()
def no_softmax(cls: type[nn.Module] = NoSoftmax) -> float:
    """Mean size of the spatial scores when x is taken twice, as a multiple of that before."""
    module, x = _fresh(cls), _images()
    once, twice = (module.attention(t)["spatial"].logit().abs().mean() for t in (x, 2 * x))
    return float(twice / once)


@error(
    kind="layer missing or added",
    found=BEFORE,
    caught="tests/mixed/test_polarized.py::test_equals_the_equations[sequential-False]",
)
class AddedTwice(PolarizedSelfAttention):
    """What the channel gate lets pass added to the result of the sequence."""

    def forward(self, x):
        return super().forward(x) + (x * self._channel(x) if self.layout == "sequential" else 0)


@torch.no_grad()
def added_twice(cls: type[nn.Module] = AddedTwice) -> float:
    """Mean of y / x over random images, in sequence."""
    x = _images()
    return float((_fresh(cls, layout="sequential")(x) / x).mean())


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64, **options).eval()


def _images() -> torch.Tensor:
    return PolarizedSelfAttention.card.example(64)[0]


def _spread(module: nn.Module) -> float:
    a = module.attention(_images())["spatial"]
    return float(a.max() - a.min())
