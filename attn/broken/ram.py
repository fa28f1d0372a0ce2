# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of RAM."""

import torch
from torch import nn

from ..glimpse.ram import RAM
from . import error


@error(
    kind="wrong gradient",
    found="kevinzakka/recurrent-visual-attention until pull request 32 of May 2020",
    caught="tests/glimpse/test_ram.py::test_each_loss_reaches_its_own_layers",
)
class Leak(RAM):
    """The place that was drawn keeps its gradient."""

    def _choose(self, mean):
        return mean + self.std * torch.randn_like(mean) if self.training else mean.clamp(-1, 1)


def leak(cls: type[nn.Module] = Leak) -> float:
    """Largest gradient of the cross-entropy on the location network, which REINFORCE alone should train."""
    module, x = _fresh(cls).train(), _pictures()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nn.functional.cross_entropy(module(x).logits, torch.arange(8)).backward()
    gradient = module.locate.bias.grad
    return 0.0 if gradient is None else float(gradient.abs().max())


@error(
    kind="wrong constant",
    found="`config.py` of kevinzakka/recurrent-visual-attention, `glimpse_scale = 1`",
    caught="tests/glimpse/test_ram.py::test_by_default_each_patch_is_twice_as_wide_as_the_last",
)
class SamePatches(RAM):
    """Every patch of a glimpse has the same side."""

    def __init__(self, channels, *, growth=1, **options):
        super().__init__(channels, growth=growth, **options)


@torch.no_grad()
def same_patches(cls: type[nn.Module] = SamePatches) -> float:
    """Largest difference between the first and the last patch of a glimpse, k = 3."""
    x = _pictures()
    patches = _fresh(cls, scales=3).retina(x, torch.zeros(len(x), 2))
    return float((patches[:, 0] - patches[:, -1]).abs().max())


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """With random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(1, **options)


def _pictures() -> torch.Tensor:
    return RAM.card.example(1, (28, 28), batch=8)[0]
