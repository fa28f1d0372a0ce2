# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of scSE."""

import torch
from torch import nn

from ..mixed.scse import SCSE
from . import error


@error(
    kind="layer missing or added",
    found="`AttentionModule/scSE/scSE.py` of pprp/awesome-attention-mechanism-in-cv at `59997fe`",
    caught="tests/mixed/test_scse.py::test_equals_the_equations[add]",
)
class Straight(SCSE):
    """No ReLU between the two layers of cSE."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.channel[1] = nn.Identity()


@torch.no_grad()
def straight(cls: type[nn.Module] = Straight) -> float:
    """Bend of cSE before its sigmoid: the largest t(z) + t(−z) − 2 t(0) over random channel means z."""
    module, z = _fresh(cls), 3 * SCSE.card.example(64, (1, 1))[0]
    return float((module.channel(z) + module.channel(-z) - 2 * module.channel(0 * z)).abs().max())


@error(
    kind="wrong channel count",
    found="`taggle/models/common/scse.py` of tattaka/Taggle at `d78e7f7`; the segmentation models of qubvel-org had "
    "it until their pull request 113",
    caught="tests/test_contract.py::test_promise[scse-params]",
)
class MapPerChannel(SCSE):
    """A convolution of sSE from C channels to C, not to one."""

    def __init__(self, channels, *, bias=True, **options):
        super().__init__(channels, bias=bias, **options)
        self.spatial = nn.Conv2d(channels, channels, 1, bias=bias)


def map_per_channel(cls: type[nn.Module] = MapPerChannel) -> int:
    """Parameters at C = 256."""
    return sum(p.numel() for p in _fresh(cls, 256).parameters())


@error(
    kind="wrong constant",
    found="the default of `SCSEModule` in `segmentation_models_pytorch/base/modules.py` of "
    "`qubvel-org/segmentation_models.pytorch` at `5006616`",
    caught="tests/test_contract.py::test_promise[scse-params]",
)
class Sixteen(SCSE):
    """r = 16, the default of SE, where scSE has 2."""

    def __init__(self, channels, *, reduction=16, **options):
        super().__init__(channels, reduction=reduction, **options)


def sixteen(cls: type[nn.Module] = Sixteen) -> int:
    """Hidden units of cSE at C = 256, r left as it is."""
    return _fresh(cls, 256).channel[0].out_channels


@error(
    kind="another function of the same weights",
    found="not found anywhere; the sum, from which x may be taken out, invites it",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[scse]",
)
class LargerGate(SCSE):
    """The larger of the two gates times x, for the larger of the two products."""

    def forward(self, x):
        s, q = self.attention(x).values()
        return x * (s + q if self.combine == "add" else torch.maximum(s, q))


@torch.no_grad()
def larger_gate(cls: type[nn.Module] = LargerGate) -> float:
    """Share of numbers on random maps that are not the larger of the two products, where the maximum joins them."""
    module, x = _fresh(cls, combine="max"), SCSE.card.example(64)[0]
    s, q = module.attention(x).values()
    return float(((module(x) - torch.maximum(s * x, q * x)).abs() > 1e-6).float().mean())


def _fresh(cls: type[nn.Module], channels: int = 64, **options) -> nn.Module:
    """With random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels, **options)
