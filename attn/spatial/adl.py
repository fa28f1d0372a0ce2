# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Attention-based Dropout Layer: hides the hottest positions at random training steps, and is the identity afterwards.

Junsuk Choe, Hyunjung Shim: Attention-based Dropout Layer for Weakly Supervised Object Localization, 2019,
arXiv:1908.10028; the block diagram (the two maps and the coin), and attention_based_dropout in the authors' code.
Chapter: notebooks/spatial/adl.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, register


@register(
    name="Attention-based Dropout Layer",
    title="Attention-based Dropout Layer for Weakly Supervised Object Localization",
    authors=("Junsuk Choe", "Hyunjung Shim"),
    year=2019,
    venue="CVPR 2019",
    paper="https://arxiv.org/abs/1908.10028",
    code="https://github.com/junsukchoe/ADL",
    code_licence="MIT",
    maps={"drop": Map("B 1 H W", range=(0, 1)), "importance": Map("B 1 H W", range=(0.5, 1))},
    params=lambda C, **options: 0,
    macs=lambda C, H, W, **options: 0,  # the identity; a training step multiplies once, C·H·W
    order="0, in training C·H·W",
    studied={"drop_rate": (0.0, 0.75, 1.0), "threshold": (0.5, 0.8, 0.9)},
    hosts=(Host("resnet50", "late", 25_557_032, "clovaai/wsolevaluation, wsol/resnet.py: it has no parameters"),),
    symmetries=("shift", "flip", "transpose", "permute", "channels"),
    limits={
        "rebuild": "in evaluation neither map multiplies x; a training step applies one of the two, and "
        "tests/spatial/test_adl.py rebuilds both kinds",
    },
)
class ADL(nn.Module):
    """Attention-based Dropout Layer (Choe and Shim, 2019).

    a = 1/C Σ_c max(x_c, 0)             self-attention map, one number a position
    D = 1 where a < γ max_ij a, else 0  drop mask: 0 at the hottest positions of each image
    I = σ(a)                            importance map
    y = x ⊙ (b D + (1 − b) I)           training: b = 1 with probability p, one coin for the batch at each call
    y = x                               evaluation

    Args:
        channels: C, the number of channels of the input and of the output; nothing depends on it.
        drop_rate: p, the probability of the drop mask, in [0, 1].
        threshold: γ, the share of each image's largest a from which a position is hidden, in [0, 1].

    Shapes:
        x: B C H W, y: B C H W, attention: drop B 1 H W, 0 or 1, and importance B 1 H W in [1/2, 1): both candidates,
        whichever the coin takes, in both modes.

    Raises:
        ValueError: ``drop_rate`` or ``threshold`` is not in [0, 1].

    Differs: the authors average x itself, which behind a ReLU is the same. Behind SiLU that mean can be negative, and
    where its maximum is, γ times it lies above it and nothing is hidden; so ours leaves negative features out of a,
    while y is made of x as it is. An image without a positive number is hidden whole, as a constant one and a 1×1 map
    are in both. p is 0.75 in all of the authors' code. γ is 0.5 by default in their TensorFlow version and 0.8 in their
    PyTorch class, but 0.9 in the training script of the first and in the settings of the second; ours takes that. Their
    coin falls on the processor, ours on the device of x, from torch's generator; on a CPU equal seeds give equal coins.
    """

    def __init__(self, channels: int, *, drop_rate: float = 0.75, threshold: float = 0.9):
        super().__init__()
        for name, value in {"drop_rate": drop_rate, "threshold": threshold}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, not {value!r}")
        self.drop_rate, self.threshold = drop_rate, threshold

    def extra_repr(self) -> str:
        return f"drop_rate={self.drop_rate}, threshold={self.threshold}"

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """Both candidates, D and I, B 1 H W each."""
        a = x.clamp(min=0).mean(1, keepdim=True)  # B 1 H W; unlike relu, clamp keeps no copy for the backward pass
        drop = a < self.threshold * a.amax((2, 3), keepdim=True)  # against the largest of the same image
        return {"drop": drop.to(a.dtype), "importance": a.sigmoid()}

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        a = self.attention(x)
        b = torch.rand((), device=x.device) + self.drop_rate >= 1  # stays on the device: nothing waits for it
        return x * torch.where(b, a["drop"], a["importance"])
