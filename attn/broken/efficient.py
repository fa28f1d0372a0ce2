# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of efficient attention."""

import torch
from torch import nn

from ..pairwise.efficient import EfficientAttention
from . import error


@error(
    kind="wrong axis",
    found="Monsoon49/MSLAU-Net, `networks/linear_attention.py`, under the name of linear attention",
    caught="tests/test_contract.py::test_promise[efficient-maps]",
)
class SwappedAxes(EfficientAttention):
    """The softmax of the queries over the positions, that of the keys over the channels."""

    def _weights(self, q, k):
        return q.softmax(3), k.softmax(2)


@torch.no_grad()
def swapped_axes(cls: type[nn.Module] = SwappedAxes) -> float:
    """Largest sum of the weights of a position over all 400, C = 64."""
    return float(_total(cls).max())


@error(
    kind="another function of the same weights",
    found="lucidrains/denoising-diffusion-pytorch, `denoising_diffusion_pytorch/denoising_diffusion_pytorch.py` from "
    "July 2022 to June 2023, with a norm behind it that takes most of the factor back",
    caught="tests/pairwise/test_efficient.py::test_equals_the_equations[{}]",
)
class DividedTwice(EfficientAttention):
    """Values divided by the number of positions, though the softmax of the keys has taken their mean."""

    def _qkv(self, x):
        q, k, v = super()._qkv(x)
        return q, k, v / v.shape[3]


@torch.no_grad()
def divided_twice(cls: type[nn.Module] = DividedTwice) -> float:
    """What is left of a constant map after values, attention and reprojection by ones, 20 × 20."""
    module = _fresh(cls)
    for layer in (module.v, module.out):
        layer.weight.fill_(1 / layer.in_channels)
        layer.bias.zero_()
    return float((module(torch.ones(1, 64, 20, 20)) - 1).mean())


@error(
    kind="another function of the same weights",
    found="huggingface/blog, `annotated-diffusion.md`; lucidrains/denoising-diffusion-pytorch, "
    "`denoising_diffusion_pytorch/denoising_diffusion_pytorch.py`, both with a norm behind it",
    caught="tests/test_contract.py::test_promise[efficient-maps]",
)
class ScaledAsWell(EfficientAttention):
    """Queries divided by √d after their softmax, as scores are before one."""

    def _weights(self, q, k):
        q, k = super()._weights(q, k)
        return q / q.shape[2] ** 0.5, k


@torch.no_grad()
def scaled_as_well(cls: type[nn.Module] = ScaledAsWell) -> float:
    """Mean sum of the weights of a position over all 400, C = 64."""
    return float(_total(cls).mean())


@error(
    kind="wrong channel count",
    found="the authors' own cmsflash/efficient-attention, `efficient_attention.py`",
    caught="tests/pairwise/test_efficient.py::test_no_channel_is_dropped",
)
class DropsTheRest(EfficientAttention):
    """Heads of the rounded width, and the channels left over cut off without a word."""

    def __init__(self, channels, *, d_k=None, heads=1, **options):
        super().__init__(channels, d_k=d_k, **options)
        self.heads, self.cut = heads, self.q.out_channels // heads * heads

    def _qkv(self, x):
        made = self.q(x)[:, : self.cut], self.k(x)[:, : self.cut], self.v(x)
        return [t.flatten(2).unflatten(1, (self.heads, -1)) for t in made]


def drops_the_rest(cls: type[nn.Module] = DropsTheRest) -> int:
    """Channels of the queries that no result depends on, of 30 in 4 heads."""
    try:
        module = _fresh(cls, d_k=30, heads=4)
    except ValueError:  # refused
        return 0
    module(EfficientAttention.card.example(64)[0]).square().sum().backward()
    return int((module.q.weight.grad.flatten(1) == 0).all(1).sum())


def _total(cls: type[nn.Module]) -> torch.Tensor:
    """What the weights of each position over all others add up to, in the map of pairs."""
    a = _fresh(cls).attention(EfficientAttention.card.example(64)[0])
    return torch.einsum("bhdyx,bhd->byx", a["queries"], a["keys"].sum((3, 4)))


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64, **options).eval()
