# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Spatial Group-wise Enhance."""

import torch
from torch import nn

from ..spatial.sge import SGE
from . import error


@error(
    kind="wrong constant",
    found="`model/attention/SGE.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`; "
    "`cv-attention/SGE.py` of z1069614715/objectdetection_script at `08499e5`",
    caught="tests/spatial/test_sge.py::test_a_fresh_module_passes_the_same_share_of_everything",
)
class ZeroShift(SGE):
    """The shift β starts at 0."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        nn.init.zeros_(self.bias)


@torch.no_grad()
def zero_shift(cls: type[nn.Module] = ZeroShift) -> float:
    """Every gate of a fresh module."""
    return float(cls(64).attention(_images()).mean())


@error(
    kind="wrong constant",
    found="`cv-attention/SGE.py` of z1069614715/objectdetection_script at `08499e5`",
    caught="tests/spatial/test_sge.py::test_the_default_is_the_largest_divisor_up_to_64[256-64]",
)
class EightGroups(SGE):
    """Eight groups, whatever C is."""

    def __init__(self, channels, *, groups=8):
        super().__init__(channels, groups=groups)


def eight_groups(cls: type[nn.Module] = EightGroups) -> int:
    """Channels that share a map, C = 512."""
    return 512 // cls(512).groups


@error(
    kind="NaN at the edge",
    found="the authors' code; `model/attention/SGE.py` of xmu-xiaoma666/External-Attention-pytorch at "
    "`d75848e`; `cv-attention/SGE.py` of z1069614715/objectdetection_script at `08499e5`",
    caught="tests/test_contract.py::test_promise[sge-sizes]",
)
class LonePosition(SGE):
    """The spread of one position divides by 0."""

    def _map(self, x):
        c = (x * x.mean((3, 4), keepdim=True)).sum(2)
        c = c - c.mean((2, 3), keepdim=True)
        spread = (c.square().sum((2, 3), keepdim=True) / (c[0, 0].numel() - 1)).sqrt()
        return self.gate(self.weight * c / (spread + self.eps) + self.bias)


@torch.no_grad()
def lone_position(cls: type[nn.Module] = LonePosition) -> float:
    """Share of NaN in the result on a 1 × 1 map."""
    return float(cls(64)(_images((1, 1))).isnan().float().mean())


@error(
    kind="one memory format only",
    found="the authors' code; `model/attention/SGE.py` of xmu-xiaoma666/External-Attention-pytorch at "
    "`d75848e`; `cv-attention/SGE.py` of z1069614715/objectdetection_script at `08499e5`",
    caught="tests/test_contract.py::test_promise[sge-channels_last]",
)
class FoldedView(SGE):
    """The groups are folded into the batch by a view."""

    def _grouped(self, x):
        x = x.view(len(x) * self.groups, -1, *x.shape[2:])
        return x.unflatten(0, (-1, self.groups))


@torch.no_grad()
def folded_view(cls: type[nn.Module] = FoldedView) -> int:
    """Memory formats, of two, in which a batch of two raises an error."""
    module, errors = cls(64, groups=8), 0
    for layout in (torch.contiguous_format, torch.channels_last):
        try:
            module(_images().to(memory_format=layout))
        except RuntimeError:
            errors += 1
    return errors


def _images(size: tuple[int, int] = (20, 20)) -> torch.Tensor:
    return SGE.card.example(64, size)[0]
