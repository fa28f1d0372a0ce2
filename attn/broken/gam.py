# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of GAM."""

import torch
from torch import Tensor, nn

from ..mixed.gam import GAM
from . import error

_UNITS = {256: 3, 512: 4, 1024: 6, 2048: 3}  # of each width in ResNet-50, which has 25,557,032 parameters


@error(
    kind="layer missing or added",
    found="`00-GAM/GAM attention.py` of northBeggar/Plug-and-Play at `96c81b4`; `CAM.py` of dengbuqi/GAM_Pytorch at "
    "`f09c9df`; `models/Models/Attention/GAMAttention.py` of iscyy/yoloair at `29a8465`",
    caught="tests/test_contract.py::test_promise[gam-maps]",
)
class NoSigmoid(GAM):
    """No sigmoid behind the MLP, so that the channel gate has both signs and no bound."""

    def _channel(self, x):
        return self.mlp(x)


@torch.no_grad()
def no_sigmoid(cls: type[nn.Module] = NoSigmoid) -> float:
    """Smallest channel gate on random images, C = 64."""
    return float(_fresh(cls)._channel(_images()).min())


@error(
    kind="wrong constant",
    found="`00-GAM/GAM attention.py` of northBeggar/Plug-and-Play at `96c81b4`; `CAM.py` of dengbuqi/GAM_Pytorch at "
    "`f09c9df`; `models/Models/Attention/GAMAttention.py` of iscyy/yoloair at `29a8465`; "
    "`cv-attention/GAM.py` of z1069614715/objectdetection_script at `cb1b621`",
    caught="tests/test_contract.py::test_promise[gam-params]",
)
class RateFour(GAM):
    """A reduction of 4, where the paper has 16."""

    def __init__(self, channels, *, reduction=4, **options):
        super().__init__(channels, reduction=reduction, **options)


def rate_four(cls: type[nn.Module] = RateFour) -> int:
    """Parameters of ResNet-50 with it in each unit."""
    with torch.device("meta"):
        return 25_557_032 + sum(n * sum(p.numel() for p in cls(width).parameters()) for width, n in _UNITS.items())


@error(
    kind="another function of the same weights",
    found="`models/Models/Attention/GAMAttention.py` of iscyy/yoloair at `29a8465`",
    caught="tests/mixed/test_gam.py::test_every_group_hears_of_every_channel_behind_the_shuffle",
)
class ShuffledMask(GAM):
    """The shuffle deals the finished mask, instead of the hidden maps between the grouped convolutions."""

    def _spatial(self, x):
        return self._shuffle(self.gate(self.restore(self.reduce(x))))


def shuffled_mask(cls: type[nn.Module] = ShuffledMask) -> int:
    """Channels, of 64, that the spatial gate of channel 0 hears of, g = 4, r = 4."""
    x = _images().requires_grad_()
    gate: Tensor = _fresh(cls, reduction=4, groups=4)._spatial(x)[:, 0]
    return int((torch.autograd.grad(gate.sum(), x)[0].abs().amax((0, 2, 3)) > 0).sum())


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64, **options).eval()


def _images() -> Tensor:
    return GAM.card.example(64)[0]
