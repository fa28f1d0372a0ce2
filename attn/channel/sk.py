# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Selective Kernel convolution: convolutions of several reaches, mixed channel by channel as their sum demands.

Xiang Li, Wenhai Wang, Xiaolin Hu, Jian Yang: Selective Kernel Networks, 2019, arXiv:1903.06586; Figure 1 (the module),
Eqs. 1 to 4 (fuse), Eqs. 5 and 6 (select), Table 1 (the network).
Chapter: notebooks/channel/sk.ipynb
"""

from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, largest_divisor, register


def _groups(channels: int, groups: int | None) -> int:
    return largest_divisor(channels, 32) if groups is None else groups


def _params(
    C: int, dilation=(1, 2), groups: int | None = None, reduction: int = 16, min_hidden: int = 32, stride: int = 1
) -> int:
    M, d = len(dilation), max(C // reduction, min_hidden)
    # The branches and their BN; the first layer of the gate and its BN; the second layer.
    return M * (9 * C * C // _groups(C, groups) + 2 * C) + C * d + 2 * d + M * C * d


def _macs(
    C: int, H: int, W: int, dilation=(1, 2), groups: int | None = None, reduction: int = 16, min_hidden: int = 32,
    stride: int = 1,
) -> int:  # fmt: skip
    M, d = len(dilation), max(C // reduction, min_hidden)
    places = -(-H // stride) * -(-W // stride)
    # The branches; both layers of the gate; each branch times its weights.
    return M * 9 * C * C // _groups(C, groups) * places + C * d + M * C * d + M * C * places


@register(
    name="Selective Kernel",
    title="Selective Kernel Networks",
    authors=("Xiang Li", "Wenhai Wang", "Xiaolin Hu", "Jian Yang"),
    year=2019,
    venue="CVPR 2019",
    paper="https://arxiv.org/abs/1903.06586",
    code="https://github.com/implus/SKNet",
    code_licence="none",
    maps=Map("B M C 1 1", range=(0, 1), sums="M"),
    params=_params,
    macs=_macs,
    order="M·k²·C²/g·H·W + C²/r",
    studied={"dilation": ((1, 3), (2, 3), (1, 2, 3))},
    hosts=(
        Host(
            *("resnext50", "unit", 27_479_784, "SKNet-50: counted from the authors' models/sknet50.prototxt"),
            printed=(Printed("SK, Table 2 in the authors' README", "27.5 M", "4.47 G"),),
        ),
        Host(
            *("resnext101", "unit", 48_686_760, "SKNet-101: the authors' models/sknet101.prototxt, d = 16 in c3"),
            {"min_hidden": {128: 32, 256: 16, 512: 32, 1024: 32}},
            printed=(
                Printed(
                    *("SK, Table 2 in the authors' README", "48.9 M", "8.46 G"),
                    why="the authors' own file has 48,686,760 parameters; where 48.9 comes from is not known",
                ),
            ),
        ),
    ),
    detector="replace",
    rebuild=lambda module, a, x: sum(a[:, m] * u for m, u in enumerate(module._split(x))),
)
class SK(nn.Module):
    """Selective Kernel convolution (Li et al., 2019). It stands for a 3×3 convolution with its BN and ReLU.

    U_m = δ(BN(F_m * x)), m = 1 ... M          split: F_m is a grouped 3×3 convolution of its own dilation
    U = Σ_m U_m                                 fuse, Eq. 1
    s_c = 1/(H·W) Σ_ij U_c(i, j)                Eq. 2
    z = δ(BN(W s)), z of d numbers              Eq. 3
    d = max(C/r, L)                             Eq. 4
    a_mc = exp(A_m z)_c / Σ_m′ exp(A_m′ z)_c    select, Eq. 5: a softmax over the branches, for each channel
    y_c = Σ_m a_mc U_mc                         Eq. 6

    Args:
        channels: C, the number of channels of the input and of the output.
        dilation: one number a branch, the distance between the taps of its kernel; 1, 2 and 3 reach over 3, 5 and 7
            positions.
        groups: G, in how many groups each branch splits the channels. None takes the largest divisor of C that is not
            above the paper's 32.
        reduction: r; the hidden layer has C/r units, rounded down.
        min_hidden: L, the least number of hidden units.
        stride: of the branches.

    Shapes:
        x: B C H W, y: B C H W (at a stride H and W are divided by it and rounded up), attention: B M C 1 1 in (0, 1),
        adding up to one over the M branches.

    Raises:
        ValueError: there are fewer than two branches, ``groups`` does not divide C, or a number is below 1.

    Differs: where 32 does not divide C the default number of groups is smaller; the paper's network has no such width.
    On one value a channel (a batch of one, pooled) a BN trains with its running statistics, where theirs would take the
    value for its own mean and give the same for every image. The two layers of the gate start as in the authors'
    network definition, normal with a deviation of 0.01; the convolutions there start by Caffe's "msra" and a BN forgets
    with 0.05, ours are PyTorch's, with 0.1. In a detector the convolution alone is replaced, and its BN and activation
    stay behind the result; in the authors' network y goes straight into the next convolution.
    """

    def __init__(
        self,
        channels: int,
        *,
        dilation: tuple[int, ...] = (1, 2),
        groups: int | None = None,
        reduction: int = 16,
        min_hidden: int = 32,
        stride: int = 1,
    ):
        super().__init__()
        for name, value in (("reduction", reduction), ("min_hidden", min_hidden), ("stride", stride)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}")
        if not isinstance(dilation, tuple | list) or len(dilation) < 2 or min(dilation) < 1:
            raise ValueError(f"dilation must be two or more numbers from 1 on, not {dilation!r}; the paper's is (1, 2)")
        fitted = _groups(channels, groups)
        if fitted < 1 or channels % fitted:
            nearest = largest_divisor(channels, max(1, fitted))
            raise ValueError(f"groups must divide the {channels} channels, not {groups!r}; near it: {nearest}")
        hidden = max(channels // reduction, min_hidden)  # d
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, stride, padding=d, dilation=d, groups=fitted, bias=False),
                BatchNorm2d(channels),
                nn.ReLU(),
            )
            for d in dilation
        )
        self.fuse = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), BatchNorm2d(hidden), nn.ReLU())  # W
        self.select = nn.Conv2d(hidden, len(dilation) * channels, 1, bias=False)  # A, branch after branch
        for layer in (self.fuse[0], self.select):  # the mixture starts even
            nn.init.normal_(layer.weight, std=0.01)

    def _split(self, x: Tensor) -> list[Tensor]:
        return [branch(x) for branch in self.branches]  # M of B C H W

    def _weigh(self, maps: list[Tensor]) -> Tensor:
        s = sum(maps).mean((2, 3), keepdim=True)  # B C 1 1
        scores = self.select(self.fuse(s))  # B M·C 1 1
        return scores.unflatten(1, (len(maps), -1)).softmax(1)  # B M C 1 1

    def attention(self, x: Tensor) -> Tensor:
        """The weights a, B M C 1 1."""
        return self._weigh(self._split(x))

    def forward(self, x: Tensor) -> Tensor:
        maps = self._split(x)
        a = self._weigh(maps)
        return sum(a[:, m] * u for m, u in enumerate(maps))
