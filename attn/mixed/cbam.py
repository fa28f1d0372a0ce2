# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Convolutional Block Attention Module: a gate per channel, then a gate per position of what the first lets pass.

Sanghyun Woo, Jongchan Park, Joon-Young Lee, In So Kweon: CBAM: Convolutional Block Attention Module, 2018,
arXiv:1807.06521; Figure 1 (the order), Figure 2 (the two gates), Eqs. 1 to 3 (the module, M_c, M_s).
Chapter: notebooks/mixed/cbam.ipynb
"""

import torch
from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register


def _params(C: int, reduction: int = 16, kernel_size: int = 7, bias: bool = True, norm: bool = True) -> int:
    hidden = max(1, C // reduction)
    return 2 * C * hidden + (C + hidden if bias else 0) + 2 * kernel_size**2 + (2 if norm else 0)


def _macs(C: int, H: int, W: int, reduction: int = 16, kernel_size: int = 7, bias: bool = True, norm: bool = True):
    hidden = max(1, C // reduction)
    # The two layers, on the mean and on the maximum; the convolution; both gates at every position.
    return 2 * 2 * C * hidden + 2 * kernel_size**2 * H * W + 2 * C * H * W


@register(
    name="CBAM",
    title="CBAM: Convolutional Block Attention Module",
    authors=("Sanghyun Woo", "Jongchan Park", "Joon-Young Lee", "In So Kweon"),
    year=2018,
    venue="ECCV 2018",
    paper="https://arxiv.org/abs/1807.06521",
    code="https://github.com/Jongchan/attention-module",
    code_licence="MIT",
    maps={"channel": Map("B C 1 1", range=(0, 1)), "spatial": Map("B 1 H W", range=(0, 1))},
    params=_params,
    macs=_macs,
    order="C²/r + k²·H·W + C·H·W",
    studied={"kernel_size": (3, 7)},
    hosts=(
        Host(
            *("resnet50", "residual", 28_089_624, "the authors' ResidualNet('ImageNet', 50, 1000, 'CBAM')"),
            printed=(Printed("README of implus/PytorchInsight", "28.09 M", "4.139 G", "layers"),),
        ),
        Host(
            *("resnet50", "residual", 28_073_544, "the equations: no biases, no BN", {"bias": False, "norm": False}),
            printed=(
                Printed(
                    "ECA, Table 3",
                    "26.77 M",
                    "3.87 G",
                    "binary",
                    "the tool of the authors of ECA counts more than norms: see ECA",
                ),
            ),
        ),
    ),
)
class CBAM(nn.Module):
    """Convolutional Block Attention Module (Woo et al., 2018).

    M_c(x) = σ(W₁ δ(W₀ mean_ij x) + W₁ δ(W₀ max_ij x))    channel gate, Eq. 2: δ = ReLU, σ = sigmoid
    x′ = M_c(x) ⊙ x                                       Eq. 1
    M_s(x′) = σ(BN(f * [max_c x′; mean_c x′]))            spatial gate, Eq. 3: f is a k×k convolution to one map
    y = M_s(x′) ⊙ x′                                      Eq. 1

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; the hidden layer has C/r units, rounded down, at least one.
        kernel_size: k, odd.
        bias: whether the two linear layers have biases.
        norm: whether a BN of one channel follows the convolution.

    Shapes:
        x: B C H W, y: B C H W, attention: channel B C 1 1 and spatial B 1 H W, both in (0, 1).

    Raises:
        ValueError: ``reduction`` is below 1, or ``kernel_size`` is even or below 1.

    Differs: the paper's equations have neither biases nor the BN and write the mean before the maximum; the authors'
    code has both and stacks the maximum first, as ours does (``bias=False, norm=False`` gives the equations). Their
    ResNet starts the weight and bias of that BN at 0, which opens the spatial gate halfway everywhere; ours, like their
    module alone, starts them at 1 and 0. On a batch of one 1×1 map the BN trains with its running statistics, where
    theirs raises. Where several numbers share a maximum, the gradient is divided among them, theirs goes to one. Where
    C < r one hidden unit stays.
    """

    def __init__(
        self, channels: int, *, reduction: int = 16, kernel_size: int = 7, bias: bool = True, norm: bool = True
    ):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the authors' default is 16")
        if kernel_size < 1 or kernel_size % 2 == 0:
            good = [k for k in (kernel_size - 1, kernel_size + 1) if k > 0 and k % 2] or [1, 3]
            raise ValueError(
                f"kernel_size must be odd, not {kernel_size!r}, or the gate would not have the size of the map; "
                f"near it: {' and '.join(map(str, good))}"
            )
        hidden = max(1, channels // reduction)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias),  # W₀
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=bias),  # W₁
        )
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)  # f
        self.norm = BatchNorm2d(1, momentum=0.01) if norm else nn.Identity()
        self.gate = nn.Sigmoid()

    def _channel(self, x: Tensor) -> Tensor:
        mean, peak = x.mean((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)  # B C 1 1 each
        return self.gate(self.mlp(mean) + self.mlp(peak))  # B C 1 1

    def _spatial(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)  # B 2 H W
        return self.gate(self.norm(self.conv(pooled)))  # B 1 H W

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The gates: M_c, B C 1 1, and M_s of what M_c lets pass, B 1 H W."""
        channel = self._channel(x)
        return {"channel": channel, "spatial": self._spatial(x * channel)}

    def forward(self, x: Tensor) -> Tensor:
        x = x * self._channel(x)  # x′
        return x * self._spatial(x)
