# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of TAM."""

import torch
from torch import nn

from ..video.tam import TAM
from . import error


@error(
    kind="wrong axis",
    found="the authors' code, `ops/temporal_module.py`",
    caught="tests/video/test_tam.py::test_every_frame_of_a_clip_reaches_every_other",
)
class CutClips(TAM):
    """Frames counted over the whole batch: a clip of 16 runs through a module of 8 as two clips."""

    def __init__(self, channels, *, frames=16, **options):
        super().__init__(channels, frames=frames // 2, **options)

    def forward(self, x):
        halves = x.flatten(0, 1).unflatten(0, (-1, self.frames))
        return super().forward(halves).flatten(0, 1).unflatten(0, x.shape[:2])


@torch.no_grad()
def cut_clips(cls: type[nn.Module] = CutClips) -> float:
    """Largest change of frame 7 of 16 when frame 8 is replaced, as a share of its largest value."""
    module, x = _fresh(cls, frames=16), torch.cat([_clips(), _clips()], 1)
    other = x.clone()
    other[:, 8] = x[:, 3]
    return float((module(x)[:, 7] - module(other)[:, 7]).abs().max() / module(x)[:, 7].abs().max())


@error(
    kind="layer missing or added",
    found="mmaction2, `mmaction/models/common/tam.py` at `36ef18b`; at `a067e27` the norm is there",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[tam]",
)
class NoNorm(TAM):
    """No BN between the two convolutions of the local branch."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.importance[1] = nn.Identity()


def no_norm(cls: type[nn.Module] = NoNorm) -> int:
    """Tensors of the authors' weights that find no place in it."""
    return len(_fresh(TAM).state_dict().keys() - _fresh(cls).state_dict().keys())


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64, **options).eval()


def _clips() -> torch.Tensor:
    return TAM.card.example(64, (5, 4))[0]
