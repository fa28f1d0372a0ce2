# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Gather-Excite."""

import torch
from torch import nn

from ..channel.genet import GatherExcite
from ..contract import SIZES
from . import error


@error(
    kind="works at one size only",
    found="`AttentionModule/GENet/genet.py` of pprp/awesome-attention-mechanism-in-cv at `59997fe`, which brings the "
    "gathered map to its own width; its gather is global, and there nothing shows",
    caught="tests/test_contract.py::test_promise[genet-sizes]",
)
class NoInterp(GatherExcite):
    """The gathered map keeps its size."""

    def attention(self, x):
        return self.gate(self.excite(self.gather(x)))


@torch.no_grad()
def no_interp(cls: type[nn.Module] = NoInterp) -> int:
    """Map sizes that run, of the five of the contract."""
    return sum(_runs(_fresh(cls, 64), torch.zeros(1, 64, *size)) for size in SIZES)


@error(
    kind="layer missing or added",
    found="`src/GEBlock.py` of cuihu1998/GENet-Res50 at `5e0f99b`, wherever its option `mlp` is off",
    caught="tests/test_contract.py::test_promise[genet-maps]",
)
class NoSigmoid(GatherExcite):
    """The product with what was gathered, and no sigmoid between."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.gate = nn.Identity()


@torch.no_grad()
def no_sigmoid(cls: type[nn.Module] = NoSigmoid) -> float:
    """Smallest factor of the parameter-free form, extent 8, on random maps, C = 64."""
    return float(_fresh(cls, 64, learned=False).attention(cls.card.example(64)[0]).min())


@error(
    kind="layer missing or added",
    found="`models/recalibration_modules.py` of hyunjaelee410/style-based-recalibration-module at `f6221c7`",
    caught="tests/test_contract.py::test_promise[genet-params]",
)
class KeptBias(GatherExcite):
    """The depthwise convolutions keep a bias, which the BN behind them takes away again."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        for conv in (m for m in self.gather if isinstance(m, nn.Conv2d)):
            conv.bias = nn.Parameter(torch.zeros(channels))


def kept_bias(cls: type[nn.Module] = KeptBias) -> int:
    """Parameters of one global learned module, C = 256 and 56 × 56 positions."""
    return sum(p.numel() for p in _fresh(cls, 256, extent=None, size=56).parameters())


@error(
    kind="wrong constant",
    found="the defaults of `GatherExcite` in `timm/layers/gather_excite.py` of timm 0.9.16 and 1.0.31",
    caught="tests/channel/test_genet.py::test_the_parameter_free_form_has_no_parameters[8]",
)
class LayersByDefault(GatherExcite):
    """The two layers of θ⁺ stand in every form, θ⁻ included."""

    def __init__(self, channels, *, mlp=True, **options):
        super().__init__(channels, mlp=mlp, **options)


def layers_by_default(cls: type[nn.Module] = LayersByDefault) -> int:
    """Parameters of the parameter-free form, C = 256."""
    return sum(p.numel() for p in _fresh(cls, 256, learned=False).parameters())


def _fresh(cls: type[nn.Module], channels: int, **options) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return cls(channels, **options).eval()


def _runs(module: nn.Module, x: torch.Tensor) -> bool:
    try:
        return module(x).shape == x.shape
    except RuntimeError:
        return False
