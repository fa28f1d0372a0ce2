# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Efficient Channel Attention."""

import torch
from torch import Tensor, nn

from ..channel.eca import ECA
from . import error


@error(
    kind="layer missing or added",
    found="the listing in Figure 3 of the paper, taken word for word",
    caught="tests/test_contract.py::test_promise[eca-maps]",
)
class NoSigmoid(ECA):
    """The product with the bare convolution."""

    def __init__(self, channels, *, kernel_size=None):
        super().__init__(channels, kernel_size=kernel_size)
        self.gate = nn.Identity()


def no_sigmoid(cls: type[nn.Module] = NoSigmoid) -> float:
    """Smallest factor over 8 random maps, C = 64."""
    (gates,) = _gates(cls, 64)
    return float(gates.min())


@error(
    kind="parameters not registered",
    found="the listing in Figure 3 of the paper, taken word for word",
    caught="tests/test_contract.py::test_promise[eca-gradients]",
)
class NewKernel(ECA):
    """The convolution is made inside the call."""

    def attention(self, x):
        return ECA(x.shape[1], kernel_size=self.conv.kernel_size[0]).attention(x)


def new_kernel(cls: type[nn.Module] = NewKernel) -> float:
    """Largest change of a factor when a map comes a second time, C = 64."""
    first, second = _gates(cls, 64, calls=2)
    return float((first - second).abs().max())


@error(
    kind="wrong constant",
    found="the default of the authors' `eca_layer`; `model/attention/ECAAttention.py` of "
    "xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/channel/test_eca.py::test_the_size_is_the_nearest_odd_number",
)
class FixedKernel(ECA):
    """Three channels for every width."""

    def __init__(self, channels, *, kernel_size=3):
        super().__init__(channels, kernel_size=kernel_size)


def fixed_kernel(cls: type[nn.Module] = FixedKernel) -> int:
    """Gates that see the middle channel, C = 256."""
    x = torch.zeros(1, 256, 1, 1).index_fill(1, torch.tensor(128), 10.0)
    return int((_seeded(cls, 256).attention(x) != 0.5).sum())


@error(
    kind="layer missing or added",
    found="`model/attention/ECAAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/channel/test_eca.py::test_the_size_can_be_read",
)
class Bias(ECA):
    """The convolution keeps its bias."""

    def __init__(self, channels, *, kernel_size=None):
        super().__init__(channels, kernel_size=kernel_size)
        size = self.conv.kernel_size[0]
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2)


def bias(cls: type[nn.Module] = Bias) -> float:
    """Gates of a map of zeros, C = 256."""
    return float(_seeded(cls, 256).attention(torch.zeros(1, 256, 1, 1)).mean())


def _seeded(cls: type[nn.Module], channels: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels).requires_grad_(False)


@torch.no_grad()
def _gates(cls: type[nn.Module], channels: int, calls: int = 1) -> list[Tensor]:
    """The factors of 8 random maps, as often as asked."""
    module = _seeded(cls, channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        x = torch.randn(8, channels, 3, 3)
        return [module.attention(x) for _ in range(calls)]
