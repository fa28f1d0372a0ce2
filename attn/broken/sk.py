# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Selective Kernel."""

import torch
from torch import nn

from ..channel.sk import SK
from . import error


@error(
    kind="wrong channel count",
    found="`model/attention/SKAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_contract.py::test_promise[sk-params]",
)
class FullConvolutions(SK):
    """Four full convolutions of kernels 1, 3, 5 and 7, and biases before the BN."""

    def __init__(self, channels, **options):
        super().__init__(channels, dilation=(1, 2, 3, 4), **options)
        for branch, k in zip(self.branches, (1, 3, 5, 7), strict=True):
            branch[0] = nn.Conv2d(channels, channels, k, padding=k // 2)


def full_convolutions(cls: type[nn.Module] = FullConvolutions) -> int:
    """Parameters, C = 512."""
    with torch.device("meta"):
        return sum(p.numel() for p in cls(512).parameters())


@error(
    kind="layer missing or added",
    found="`model/attention/SKAttention.py` of xmu-xiaoma666/External-Attention-pytorch at `d75848e`",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[sk]",
)
class LinearGate(SK):
    """No BN and no ReLU between the two layers of the gate."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.fuse = self.fuse[0]


@torch.no_grad()
def linear_gate(cls: type[nn.Module] = LinearGate) -> float:
    """What is left when the scores of s and of −s are added, as a share of the first, C = 64."""
    module, s = _module(cls), torch.randn(8, 64, 1, 1, generator=torch.Generator().manual_seed(0))
    there, back = (module.select(module.fuse(t)) for t in (s, -s))
    return float((there + back).abs().mean() / there.abs().mean())


@error(
    kind="wrong axis",
    found="`model/attention/SKAttention.py` of xmu-xiaoma666/External-Attention-pytorch, until `b74a16d`",
    caught="tests/test_contract.py::test_promise[sk-batch]",
)
class SoftmaxOverImages(SK):
    """The softmax runs over the images of the batch."""

    def _weigh(self, maps):
        scores = self.select(self.fuse(sum(maps).mean((2, 3), keepdim=True)))
        return scores.unflatten(1, (len(maps), -1)).softmax(0)


@torch.no_grad()
def softmax_over_images(cls: type[nn.Module] = SoftmaxOverImages) -> float:
    """What the weights of the branches add up to, mean over channels and 8 images, C = 64."""
    return float(_module(cls).attention(SK.card.example(64, batch=8)[0]).sum(1).mean())


def _module(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with random numbers of its own in the gate."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(64).eval()
        nn.init.normal_(module.select.weight)
    return module
