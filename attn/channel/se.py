# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Squeeze-and-Excitation: one gate per channel, computed from the channel means of the whole map.

Jie Hu, Li Shen, Samuel Albanie, Gang Sun, Enhua Wu: Squeeze-and-Excitation Networks, 2018, arXiv:1709.01507;
Figure 1 (the block), Figure 3 (its place in a residual unit), Eqs. 2 to 4 (squeeze, excitation, scale).
Chapter: notebooks/channel/se.ipynb
"""

from torch import Tensor, nn

from ..registry import Host, Map, Printed, register


def _hidden(channels: int, reduction: int) -> int:
    # Linear(C, 0) is legal in PyTorch and would freeze the gate at sigmoid(bias), so one unit always stays.
    return max(1, channels // reduction)


def _params(C: int, reduction: int = 16, bias: bool = True) -> int:
    hidden = _hidden(C, reduction)
    return 2 * C * hidden + (C + hidden if bias else 0)


def _macs(C: int, H: int, W: int, reduction: int = 16, bias: bool = True) -> int:
    return 2 * C * _hidden(C, reduction) + C * H * W  # the two layers once, the gate at every position


@register(
    name="Squeeze-and-Excitation",
    title="Squeeze-and-Excitation Networks",
    authors=("Jie Hu", "Li Shen", "Samuel Albanie", "Gang Sun", "Enhua Wu"),
    year=2018,
    venue="CVPR 2018; extended in IEEE TPAMI",
    paper="https://arxiv.org/abs/1709.01507",
    code="https://github.com/hujie-frank/SENet",
    code_licence="Apache-2.0",
    maps=Map("B C 1 1", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C²/r + C·H·W",
    studied={"reduction": (2, 4, 8, 16, 32)},
    hosts=(
        Host(
            *("resnet50_early", "residual", 28_088_024, "released SE-ResNet-50.prototxt: both layers have biases"),
            printed=(Printed("SE, Table 2", macs="3.87 G"),),
        ),
        Host(
            *("resnet50_early", "residual", 28_071_976, "Eq. 5: weights only", {"bias": False}),
            printed=(Printed("SE, Table 10: r = 16", "28.1 M"),),
        ),
        Host(
            *("resnet50", "residual", 28_071_976, "Eq. 5: weights only", {"bias": False}),
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
        Host(
            *("resnet50", "residual", 28_088_024, "trained again by the authors of SGE, with biases"),
            printed=(Printed("README of implus/PytorchInsight", "28.09 M", "4.130 G", "layers"),),
        ),
        Host(
            *("resnet101_early", "residual", 49_326_872, "as SE-ResNet-50, with biases"),
            printed=(
                Printed(
                    *("SE, Table 2", "", "7.60 G"),
                    why="the table has 7.58 G for the plain ResNet-101, where ours has 7.57; why is not known",
                ),
            ),
        ),
        *(
            Host(
                *("resnet50_early", "residual", count, "Eq. 5: weights only", {"bias": False, "reduction": r}),
                printed=(Printed(f"SE, Table 10: r = {r}", params, why=why),),
            )
            for r, count, params, why in (
                (2, 45_676_584, "45.7 M", ""),
                (4, 35_616_808, "35.7 M", "the column lies above the count, with biases as without; why is not known"),
                (8, 30_586_920, "30.7 M", "the column lies above the count, with biases as without; why is not known"),
                (32, 26_814_504, "26.9 M", "the column lies above the count, with biases as without; why is not known"),
            )
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
)
class SE(nn.Module):
    """Squeeze-and-Excitation (Hu et al., 2018).

    z_c = 1/(H·W) Σ_ij x_c(i, j)      squeeze, Eq. 2
    s = σ(W₂ δ(W₁ z))                 excitation, Eq. 3: δ = ReLU, σ = sigmoid
    y_c = s_c x_c                     scale, Eq. 4

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; the hidden layer has C/r units, rounded down, at least one.
        bias: whether the two linear layers have biases.

    Shapes:
        x: B C H W, y: B C H W, attention: B C 1 1 in (0, 1).

    Raises:
        ValueError: ``reduction`` is below 1.

    Differs: the paper's Eq. 3 has no biases, the authors' released Caffe models have them; ours follow the release
    (``bias=False`` gives the equation). Where C < r the paper has no hidden unit left; ours keeps one.
    """

    def __init__(self, channels: int, *, reduction: int = 16, bias: bool = True):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the paper tries 2, 4, 8, 16 and 32")
        hidden = _hidden(channels, reduction)
        self.down = nn.Conv2d(channels, hidden, 1, bias=bias)  # W₁
        self.relu = nn.ReLU()
        self.up = nn.Conv2d(hidden, channels, 1, bias=bias)  # W₂
        self.gate = nn.Sigmoid()

    def attention(self, x: Tensor) -> Tensor:
        """The gates s, B C 1 1."""
        z = x.mean((2, 3), keepdim=True)  # B C 1 1
        return self.gate(self.up(self.relu(self.down(z))))  # B C 1 1

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
