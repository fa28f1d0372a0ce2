# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""External attention: every position looks into two small memories that training fills and all images share.

Meng-Hao Guo, Zheng-Ning Liu, Tai-Jiang Mu, Shi-Min Hu: Beyond Self-attention: External Attention using Two Linear
Layers for Visual Tasks, 2021, arXiv:2105.02358; the double normalisation and the two memories. The layers around them
are those of the authors' code.
Chapter: notebooks/pairwise/external.ipynb
"""

import math

import torch
from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Map, register


def _params(C: int, slots: int = 64) -> int:
    return C * C + C + 2 * slots * C + C * C + 2 * C  # W_1 and its bias, both memories, W_2, the norm


def _macs(C: int, H: int, W: int, slots: int = 64) -> int:
    return (2 * C * C + 2 * slots * C) * H * W


def _rebuild(module: nn.Module, a: Tensor, x: Tensor) -> Tensor:
    """The other way round: first the table that the second memory and W_2 are together, C x S."""
    table = module.project.weight.flatten(1) @ module.values.weight.flatten(1)
    return torch.relu(x + module.norm(torch.einsum("cs,bshw->bchw", table, a)))


@register(
    name="External Attention",
    title="Beyond Self-attention: External Attention using Two Linear Layers for Visual Tasks",
    authors=("Meng-Hao Guo", "Zheng-Ning Liu", "Tai-Jiang Mu", "Shi-Min Hu"),
    year=2021,
    venue="arXiv",
    paper="https://arxiv.org/abs/2105.02358",
    code="https://github.com/MenghaoGuo/EANet",
    code_licence="none",
    maps=Map("B S H W", range=(0, 1), sums="S"),
    params=_params,
    macs=_macs,
    order="(C² + S·C)·H·W",
    limits={"hosts": "the paper's networks segment and classify, and no count of one was found that could be read"},
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=_rebuild,
)
class ExternalAttention(nn.Module):
    """External attention in the block of its authors' segmentation network (Guo et al., 2021).

    F = W_1 x, N = H·W positions as rows of C numbers; M_k and M_v are S rows of C numbers each, learned.

    Ã = F M_kᵀ                        scores, N × S
    Â_ij = exp Ã_ij / Σ_n exp Ã_nj    softmax over the N positions, for each slot j
    A_ij = Â_ij / Σ_s Â_is            each position's weights add up to one over the S slots
    y = ReLU(x + BN(W_2 A M_v))       W_1 and W_2 are 1×1 convolutions, W_1 with a bias

    Args:
        channels: C, the number of channels of the input and of the output.
        slots: S, the rows of each memory.

    Shapes:
        x: B C H W, y: B C H W, attention: A as B S H W, in [0, 1], adding up to one over S at every position.

    Raises:
        ValueError: ``slots`` is below 1.

    Differs: the authors divide by Σ_s Â_is + 10⁻⁹, which float16 rounds to zero; ours takes A as the softmax over the
    slots of log Â, which is the same number without a floor. Their two memories share one storage until the network
    is moved to a GPU; ours are two parameters that start equal. The bias of W_1 raises all scores of a slot alike, so
    it changes nothing; it is kept for their weights. Their norm is one that is synchronised over GPUs. A norm over
    one position uses its running statistics. The multi-head version of their transformers is not here.
    """

    def __init__(self, channels: int, *, slots: int = 64):
        super().__init__()
        if slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots!r}; the authors take 64")
        self.query = nn.Conv2d(channels, channels, 1)  # W_1
        self.keys = nn.Conv2d(channels, slots, 1, bias=False)  # M_k
        self.values = nn.Conv2d(slots, channels, 1, bias=False)  # M_v
        self.project = nn.Conv2d(channels, channels, 1, bias=False)  # W_2
        self.norm = BatchNorm2d(channels)
        for layer in (self.query, self.keys, self.project):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / channels))
        with torch.no_grad():
            self.values.weight.copy_(self.keys.weight.transpose(0, 1))

    def attention(self, x: Tensor) -> Tensor:
        """A, B S H W: how much each position takes from each slot."""
        s = self.keys(self.query(x)).flatten(2)  # B S N
        return s.log_softmax(2).softmax(1).unflatten(2, x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.project(self.values(self.attention(x)))))
