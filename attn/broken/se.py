# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Squeeze-and-Excitation."""

import warnings

import torch
from torch import nn

from ..channel.se import SE
from . import error


@error(
    kind="silent no-op",
    found="`model/attention/SEAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_contract.py::test_promise[se-params]",
)
class NoFloor(SE):
    """Hidden width C // r without a lower bound."""

    def __init__(self, channels, *, reduction=16, bias=True):
        super().__init__(channels, reduction=reduction, bias=bias)
        hidden = channels // reduction  # 0 where C < r
        with warnings.catch_warnings(action="ignore"):  # PyTorch says that it has nothing to initialise, and goes on
            self.down = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden, bias=bias))
            self.up = nn.Sequential(nn.Linear(hidden, channels, bias=bias), nn.Unflatten(1, (channels, 1, 1)))


@torch.no_grad()
def no_floor(cls: type[nn.Module] = NoFloor) -> float:
    """Spread of the gates over 8 random images at C = 8, r = 16."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(cls(8).attention(torch.randn(8, 8, 5, 5)).std(0).mean())


@error(
    kind="layer missing or added",
    found="`model/attention/SEAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_contract.py::test_promise[se-params]",
)
class NoBias(SE):
    """Both layers without bias by default."""

    def __init__(self, channels, *, reduction=16, bias=False):
        super().__init__(channels, reduction=reduction, bias=bias)


def no_bias(cls: type[nn.Module] = NoBias) -> int:
    """Parameters at C = 256, r = 16."""
    return _count(cls, 256)


@error(
    kind="wrong channel count",
    found="timm 1.0.31, `timm/layers/squeeze_excite.py`: the default of `SEModule`",
    caught="tests/channel/test_se.py::test_keeps_one_hidden_unit",
)
class RoundedWidth(SE):
    """Hidden width rounded to a multiple of 8, at least 8."""

    def __init__(self, channels, *, reduction=16, bias=True):
        super().__init__(channels, reduction=reduction, bias=bias)
        hidden = max(8, int(channels / reduction + 4) // 8 * 8)
        self.down = nn.Conv2d(channels, hidden, 1, bias=bias)
        self.up = nn.Conv2d(hidden, channels, 1, bias=bias)


def rounded_width(cls: type[nn.Module] = RoundedWidth) -> int:
    """Parameters at C = 64, r = 16."""
    return _count(cls, 64)


def _count(cls: type[nn.Module], channels: int) -> int:
    with torch.device("meta"):  # no numbers are drawn
        return sum(p.numel() for p in cls(channels).parameters())
