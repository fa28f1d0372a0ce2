# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of CBAM."""

import torch
from torch import nn

from ..mixed.cbam import CBAM
from . import error


@error(
    kind="layer missing or added",
    found="`model/attention/CBAM.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_contract.py::test_promise[cbam-rebuild]",
)
class Residual(CBAM):
    """The input added to the result."""

    def forward(self, x):
        return x + super().forward(x)


@torch.no_grad()
def residual(cls: type[nn.Module] = Residual) -> float:
    """Mean of y / x over random images, C = 64."""
    x = _images()
    return float((_fresh(cls)(x) / x).mean())


@error(
    kind="works at one size only",
    found="the demonstration in `model/attention/CBAM.py` of xmu-xiaoma666/External-Attention-pytorch at "
    "`d75848e`, which sets the kernel to the height of the map",
    caught="tests/test_contract.py::test_promise[cbam-sizes]",
)
class MapSizedKernel(CBAM):
    """A kernel as large as the map, here 20, padded by half of it."""

    def __init__(self, channels, *, kernel_size=20, **options):
        super().__init__(channels, **options)
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)


@torch.no_grad()
def map_sized_kernel(cls: type[nn.Module] = MapSizedKernel) -> int:
    """Height of the spatial gate on a 20 × 20 map."""
    return _fresh(cls).attention(_images())["spatial"].shape[2]


@error(
    kind="wrong paper",
    found="the `CBAM` of ultralytics 8.4.190",
    caught="tests/test_contract.py::test_promise[cbam-params]",
)
class MeanOnly(CBAM):
    """One C × C layer on the mean, no maximum, as the channel gate."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.mlp = nn.Conv2d(channels, channels, 1)

    def _channel(self, x):
        return self.gate(self.mlp(x.mean((2, 3), keepdim=True)))


@torch.no_grad()
def mean_only(cls: type[nn.Module] = MeanOnly) -> float:
    """Largest change of a channel gate when every channel is replaced by its mean, r = 4."""
    module, x = _fresh(cls, reduction=4), _images()
    flat = x.mean((2, 3), keepdim=True).expand_as(x)
    return float((module.attention(x)["channel"] - module.attention(flat)["channel"]).abs().max())


@error(
    kind="another function of the same weights",
    found="the paper's order, and that of timm 1.0.31; the authors' code has the other",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[cbam]",
)
class SwappedPools(CBAM):
    """The mean stacked before the maximum."""

    def _spatial(self, x):
        pooled = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return self.gate(self.norm(self.conv(pooled)))


@torch.no_grad()
def swapped_pools(cls: type[nn.Module] = SwappedPools) -> float:
    """Largest change of the spatial gate when it takes over the weights of ours."""
    ours, theirs = _fresh(CBAM), _fresh(cls)
    theirs.load_state_dict(ours.state_dict())  # the shapes agree, so nothing complains
    x = _images()
    return float((ours.attention(x)["spatial"] - theirs.attention(x)["spatial"]).abs().max())


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64, **options).eval()


def _images() -> torch.Tensor:
    return CBAM.card.example(64)[0]
