# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Global Attention Mechanism: CBAM's two steps without a pooling, so that both gates have a value for every number.

Yichao Liu, Zongru Shao, Nico Hoffmann: Global Attention Mechanism: Retain Information to Enhance Channel-Spatial
Interactions, 2021, arXiv:2112.05561; Eqs. 1 and 2 (the order), Figure 2 (M_c), Figure 3 (M_s), Tables 1 and 2 (counts).
Chapter: notebooks/mixed/gam.ipynb
"""

from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register


def _params(C: int, reduction: int = 16, kernel_size: int = 7, groups: int = 1, circulating: bool = False) -> int:
    m = max(1, C // reduction)
    mlp, convs, norm = 2 * C * m + m + C, 2 * kernel_size**2 * C * m // groups, 2 * m
    return mlp + convs + norm + (m + 3 * C if circulating else 0)


def _macs(
    C: int, H: int, W: int, reduction: int = 16, kernel_size: int = 7, groups: int = 1, circulating: bool = False
) -> int:
    m = max(1, C // reduction)
    # The MLP and the two convolutions at every position; both gates.
    return (2 * C * m + 2 * kernel_size**2 * C * m // groups + 2 * C) * H * W


@register(
    name="GAM",
    title="Global Attention Mechanism: Retain Information to Enhance Channel-Spatial Interactions",
    authors=("Yichao Liu", "Zongru Shao", "Nico Hoffmann"),
    year=2021,
    venue="arXiv",
    paper="https://arxiv.org/abs/2112.05561",
    maps={"channel": Map("B C H W", range=(0, 1)), "spatial": Map("B C H W", range=(0, 1))},
    params=_params,
    macs=_macs,
    order="k²·C²/r·H·W",
    studied={"circulating": (False, True)},
    hosts=(
        Host(
            *("resnet50_small", "residual", 149_470_388, "GAM, Table 1, rounded; the place is CBAM's"),
            classes=100,
            inputs=("3 32 32",),
            printed=(
                Printed("GAM, Table 1", "149.47 M", "8.02 G", "norms"),
                Printed("README of YOLOonMe/EMA-attention-module", "149.5 M"),
            ),
        ),
        Host(
            *("resnet50_small", "residual", 57_046_196, "GAM, Table 1, gc, rounded", {"groups": 4}),
            classes=100,
            inputs=("3 32 32",),
            printed=(
                Printed(
                    "GAM, Table 1",
                    "57.05 M",
                    "3.08 G",
                    "norms",
                    "a count by layers sees none of the 3.6 million products of the gates",
                ),
            ),
        ),
        Host(
            *("resnet50", "residual", 151_322_168, "GAM, Table 2, rounded"),
            printed=(
                Printed(
                    "GAM, Table 2",
                    "151.32 M",
                    "24.66 G",
                    "norms",
                    "a count by layers sees none of the 11.0 million products of the gates",
                ),
            ),
        ),
        Host(
            *("resnet50", "residual", 58_897_976, "GAM, Table 2, gc, rounded", {"groups": 4}),
            printed=(
                Printed(
                    "GAM, Table 2",
                    "58.9 M",
                    "9.56 G",
                    "norms",
                    "a count by layers sees none of the 11.0 million products of the gates",
                ),
            ),
        ),
        Host(
            *("mobilenetv2", "narrow", 4_927_455, "GAM, Table 2, rounded"),
            printed=(Printed("GAM, Table 2", "4.93 M", "0.47 G", "norms"),),
        ),
    ),
)
class GAM(nn.Module):
    """Global Attention Mechanism (Liu et al., 2021).

    F₂ = M_c(F₁) ⊗ F₁                                 Eq. 1
    F₃ = M_s(F₂) ⊗ F₂                                 Eq. 2
    M_c(F₁) = σ(W₁ δ(W₀ F₁ + b₀) + b₁)                Figure 2, at every position: δ = ReLU, σ = sigmoid
    M_s(F₂) = σ(f₂ * shuffle(δ(BN(f₁ * F₂))))         Figure 3: f₁ and f₂ are k×k convolutions to C/r maps and back

    With g > 1 groups, f₁ and f₂ are grouped convolutions, and shuffle deals the C/r maps in turn to the groups of f₂:
    each of those sees maps of every group of f₁ where C/r is at least g². With one group it does nothing.

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; both sub-modules have C/r hidden channels, rounded down, at least one.
        kernel_size: k, odd.
        groups: g of the two convolutions; the paper also takes 4, to hold down the parameters of ResNet-50.
        circulating: whether f₁ and f₂ have biases and a BN stands behind f₂, too, as in the code that circulates.

    Shapes:
        x: B C H W, y: B C H W, attention: channel and spatial, B C H W each, both in (0, 1).

    Raises:
        ValueError: ``reduction`` is below 1, ``kernel_size`` is even or below 1, or ``groups`` does not divide both C
            and the hidden channels.

    Differs: code of the authors was not found. The paper names the two layers of the MLP, both convolutions, their
    sigmoids and r, which is BAM's (16). It does not name biases, BN or ReLU; what ours has of the first two gives every
    parameter count of its tables, and a bias in place of the BN, or beside it, would give them as well. Where the
    shuffle stands it does not say; ours stands between the two convolutions, as in ShuffleNet. The code that circulates
    has r = 4, and most of it no sigmoid in M_c. Where C < r one hidden channel stays. On a batch of one 1×1 map the BN
    trains with its running statistics.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        kernel_size: int = 7,
        groups: int = 1,
        circulating: bool = False,
    ):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the paper's is BAM's, 16")
        if kernel_size < 1 or kernel_size % 2 == 0:
            good = [k for k in (kernel_size - 1, kernel_size + 1) if k > 0 and k % 2] or [1, 3]
            raise ValueError(
                f"kernel_size must be odd, not {kernel_size!r}, or the gate would not have the size of the map; "
                f"near it: {' and '.join(map(str, good))}"
            )
        hidden = max(1, channels // reduction)
        good = [d for d in range(1, hidden + 1) if hidden % d == 0 and channels % d == 0]
        if groups not in good:
            raise ValueError(
                f"groups must divide both the {channels} channels and the {hidden} hidden ones, not {groups!r}; "
                f"these do: {', '.join(map(str, good))}"
            )

        def conv(entering: int, leaving: int) -> nn.Conv2d:
            padding = kernel_size // 2
            return nn.Conv2d(entering, leaving, kernel_size, padding=padding, groups=groups, bias=circulating)

        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),  # W₀: a 1×1 convolution is a linear layer at every position
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),  # W₁
        )
        self.reduce = nn.Sequential(conv(channels, hidden), BatchNorm2d(hidden), nn.ReLU())  # f₁
        self.restore = nn.Sequential(conv(hidden, channels), *([BatchNorm2d(channels)] if circulating else []))  # f₂
        self.gate = nn.Sigmoid()
        self.groups = groups

    def _channel(self, x: Tensor) -> Tensor:
        return self.gate(self.mlp(x))  # B C H W

    def _shuffle(self, z: Tensor) -> Tensor:
        if self.groups == 1:
            return z
        return z.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)  # B C/r H W

    def _spatial(self, x: Tensor) -> Tensor:
        return self.gate(self.restore(self._shuffle(self.reduce(x))))  # B C H W

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The gates: M_c, and M_s of what M_c lets pass, B C H W each."""
        channel = self._channel(x)
        return {"channel": channel, "spatial": self._spatial(x * channel)}

    def forward(self, x: Tensor) -> Tensor:
        x = x * self._channel(x)  # F₂
        return x * self._spatial(x)
