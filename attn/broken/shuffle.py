# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of shuffle attention."""

import torch
from torch import nn

from ..mixed.shuffle import ShuffleAttention
from . import error

_COPIES = (
    "`model/attention/ShuffleAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`; "
    "`cv-attention/ShuffleAttention.py` of z1069614715/objectdetection_script at `cb1b621`; "
    "`models/Models/Attention/ShuffleAttention.py` of iscyy/yoloair at `29a8465`"
)


@error(
    kind="wrong constant",
    found=_COPIES,
    caught="tests/mixed/test_shuffle.py::test_the_default_is_the_largest_divisor_of_a_half_up_to_64[512-64]",
)
class EightGroups(ShuffleAttention):
    """Eight groups, whatever C is."""

    def __init__(self, channels, *, groups=8):
        super().__init__(channels, groups=groups)


def eight_groups(cls: type[nn.Module] = EightGroups) -> int:
    """Parameters, C = 512."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(512).parameters())


@error(
    kind="works at one size only",
    found="the authors' code, `models/sa_resnet.py` of wofmanaf/SA-Net at `00a6760`, which uses it at 256 to 2048",
    caught="tests/test_contract.py::test_promise[shuffle-widths]",
)
class AlwaysSixtyFour(ShuffleAttention):
    """64 groups, whatever C is."""

    def __init__(self, channels, *, groups=64):
        super().__init__(channels, groups=groups)


def always_sixty_four(cls: type[nn.Module] = AlwaysSixtyFour) -> int:
    """Channel counts, of the 128 multiples of 8 up to 1024, that cannot be cut into its groups."""
    failed = 0
    for channels in range(8, 1025, 8):
        try:
            with torch.device("meta"):
                cls(channels)
        except ValueError:
            failed += 1
    return failed


@error(
    kind="one memory format only",
    found=_COPIES,
    caught="tests/test_contract.py::test_promise[shuffle-channels_last]",
)
class FoldedView(ShuffleAttention):
    """The groups are folded into the batch by a view."""

    def _halves(self, x):
        x = x.view(len(x) * self.groups, -1, *x.shape[2:])
        return x.unflatten(0, (-1, self.groups)).chunk(2, 2)


@torch.no_grad()
def folded_view(cls: type[nn.Module] = FoldedView) -> int:
    """Memory formats, of two, in which a batch of two raises an error, G = 8."""
    module, errors = cls(64, groups=8), 0
    for layout in (torch.contiguous_format, torch.channels_last):
        try:
            module(_images().to(memory_format=layout))
        except RuntimeError:
            errors += 1
    return errors


@error(
    kind="another function of the same weights",
    found="not found; a function `channel_shuffle(x, groups)` invites the G of the module, where the paper has 2",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[shuffle]",
)
class ShuffledByGroups(ShuffleAttention):
    """The shuffle has G rows instead of 2."""

    def _dealt(self, first, second):
        return torch.cat([first, second], 2).transpose(1, 2).flatten(1, 2)


@torch.no_grad()
def shuffled_by_groups(cls: type[nn.Module] = ShuffledByGroups) -> float:
    """Share of the result's numbers that are not those of ours, same weights, G = 8."""
    x = _images()
    return float((cls(64, groups=8)(x) != ShuffleAttention(64, groups=8)(x)).float().mean())


def _images() -> torch.Tensor:
    return ShuffleAttention.card.example(64)[0]
