# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of S2-MLPv2."""

import torch
from torch import nn

from ..mixed.s2mlp import S2MLPv2
from . import error

_COPIES = (
    "`model/attention/S2Attention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`; "
    "`cv-attention/S2Attention.py` of z1069614715/objectdetection_script at `cb1b621`; "
    "`models/Models/Attention/S2Attention.py` of iscyy/yoloair at `29a8465`"
)
_BACKBONE = "`models_pytorch/s2_mlp_v2.py` of liuruiyang98/Jittor-MLP at `5e27ae3`"


@error(
    kind="in-place overlap",
    found=f"{_COPIES}; {_BACKBONE}; Algorithm 1 of the paper",
    caught="tests/mixed/test_s2mlp.py::test_the_shifts_move_by_one_and_keep_the_border",
)
class InPlaceShift(S2MLPv2):
    """The shift copies between overlapping slices of one tensor."""

    def _shift(self, x, ways):
        x = x.clone()  # what comes in stays as it is, as there
        for part, (dim, step) in zip(x.chunk(4, 1), ways, strict=True):
            n = part.shape[dim] - 1
            part.narrow(dim, int(step > 0), n).copy_(part.narrow(dim, int(step < 0), n))
        return x


@torch.no_grad()
def in_place_shift(cls: type[nn.Module] = InPlaceShift) -> int:
    """Different rows that are left of 20, in the quarter that moves down."""
    rows = _fresh(cls, 8)._parts(S2MLPv2.card.example(8)[0])[0, 0, 0]
    return len(rows.unique(dim=0))


@error(
    kind="works at one size only",
    found=_COPIES,
    caught="tests/test_contract.py::test_promise[s2mlp-widths]",
)
class FixedWidth(S2MLPv2):
    """The split attention is built for 512 channels, whatever C is."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.fuse, self.select = nn.Conv2d(512, 512, 1, bias=False), nn.Conv2d(512, 3 * 512, 1, bias=False)


@torch.no_grad()
def fixed_width(cls: type[nn.Module] = FixedWidth) -> int:
    """Channel counts, of the 128 multiples of 8 up to 1024, at which it raises an error."""
    failed = 0
    for channels in range(8, 1025, 8):
        try:
            with torch.device("meta"):
                cls(channels)(torch.zeros(1, channels, 2, 2))
        except RuntimeError:
            failed += 1
    return failed


@error(
    kind="wrong constant",
    found=f"{_COPIES}; {_BACKBONE}",
    caught="tests/test_hosts.py::test_every_card_tells_the_count_of_its_network[s2mlp-s2mlp_small7-25112680]",
)
class FullHidden(S2MLPv2):
    """As many hidden units in the split attention as channels."""

    def __init__(self, channels, *, reduction=1, **options):
        super().__init__(channels, reduction=reduction, **options)


def full_hidden(cls: type[nn.Module] = FullHidden) -> int:
    """Parameters, C = 512."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(512).parameters())


@error(
    kind="layer missing or added",
    found=f"{_COPIES}, whose class the second and the third offer as a layer of a detector",
    caught="tests/mixed/test_s2mlp.py::test_the_default_adds_x",
)
class NoResidual(S2MLPv2):
    """The result alone, without the sum with x that stands around it in the paper's block."""

    def __init__(self, channels, *, residual=False, **options):
        super().__init__(channels, residual=residual, **options)


@torch.no_grad()
def no_residual(cls: type[nn.Module] = NoResidual) -> float:
    """Correlation of a fresh layer's result with its input, C = 64."""
    x = S2MLPv2.card.example(64)[0]
    return float(torch.corrcoef(torch.stack([x.flatten(), _fresh(cls, 64)(x).flatten()]))[0, 1])


def _fresh(cls: type[nn.Module], channels: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(channels)
