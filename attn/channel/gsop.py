# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Global Second-order Pooling: a gate per channel, computed from how the channels vary together over the positions.

Zilin Gao, Jiangtao Xie, Qilong Wang, Peihua Li: Global Second-order Pooling Convolutional Networks, 2019,
arXiv:1811.12006; Figure 1 (the network and the block), which stands in the authors' repository, too.
Chapter: notebooks/channel/gsop.ipynb
"""

from torch import Tensor, nn

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register


def _dim(channels: int, dim: int | None) -> int:
    return min(128, max(1, channels // 2)) if dim is None else dim


def _params(C: int, dim: int | None = None, stride: int = 1) -> int:
    d = _dim(C, dim)
    # The reduction, scale and shift of two BNs, four kernels of d numbers for each row, the expansion; three biases.
    return (C * d + d) + 2 * 2 * d + (4 * d * d + 4 * d) + (4 * d * C + C)


def _macs(C: int, H: int, W: int, dim: int | None = None, stride: int = 1) -> int:
    d, M = _dim(C, dim), -(-H // stride) * -(-W // stride)
    # The reduction and the covariance at M positions; rows and expansion once; the gate at every position.
    return C * d * M + d * d * M + 4 * d * d + 4 * d * C + C * H * W


@register(
    name="Global Second-order Pooling",
    title="Global Second-order Pooling Convolutional Networks",
    authors=("Zilin Gao", "Jiangtao Xie", "Qilong Wang", "Peihua Li"),
    year=2019,
    venue="CVPR 2019",
    paper="https://arxiv.org/abs/1811.12006",
    code="https://github.com/ZilinGao/Global-Second-order-Pooling-Convolutional-Networks",
    code_licence="MIT",
    maps=Map("B C 1 1", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C·d·H·W + d²·H·W",
    studied={"stride": (2,)},
    hosts=(
        Host(
            *("resnet50_dense", "last", 28_285_224, "GSoP-Net1: the authors' resnet50 with att_manner channel"),
            options={"dim": 128, "stride": {256: 2, 512: 1, 1024: 1, 2048: 1}},
            printed=(
                Printed(
                    *("Table 3 of the paper on ECA", "28.05 M", "6.18 G"),
                    why="both lie below what the released code gives; nothing that we read says what was counted",
                ),
            ),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
)
class GSoP(nn.Module):
    """Global Second-order Pooling along the channels (Gao et al., 2019).

    U = δ(BN(W_d δ(X) + b_d))            reduction to d channels, a 1×1 convolution; δ = ReLU
    Σ = U J Uᵀ, J = (I − 11ᵀ/M)/M        covariance of the d channels over the M positions
    t_4p+q = w_pq · BN(Σ)_p + b_pq       row-wise convolution: four kernels of d numbers for each row p; BN by rows
    s = sigmoid(W_e t + b_e)             expansion to C gates
    y_c = s_c x_c

    Args:
        channels: C, the number of channels of the input and of the output.
        dim: d, how many channels the covariance is taken of; None takes the authors' 128, or C/2 where that is less.
        stride: of the reduction; 2 takes every second row and column. The authors' network has 2 in its first stage.

    Shapes:
        x: B C H W, y: B C H W, attention: B C 1 1 in (0, 1).

    Raises:
        ValueError: ``dim`` or ``stride`` is below 1.

    Differs: the authors' code builds the M × M matrix J and multiplies with it; ours takes the mean away, which is the
    same and needs no memory that grows with M². As in that code nothing stands between the row-wise convolution and the
    expansion, although the authors' description has two linear layers with a non-linearity behind each. The gating of
    positions, and the second-order pooling at the end of GSoP-Net2, are not in here. On a batch that leaves one value a
    channel a BN trains with its running statistics. The convolutions start as PyTorch's do, where the authors draw all
    of their network's from He's normal distribution over the outputs.
    """

    def __init__(self, channels: int, *, dim: int | None = None, stride: int = 1):
        super().__init__()
        d = _dim(channels, dim)
        for name, value, usual in (("dim", d, 128), ("stride", stride, 1)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value!r}; the authors' value is {usual}")
        self.relu = nn.ReLU()
        self.reduce = nn.Conv2d(channels, d, 1, stride)  # W_d
        self.norm = BatchNorm2d(d)
        self.row_norm = BatchNorm2d(d)
        self.rows = nn.Conv2d(d, 4 * d, (d, 1), groups=d)  # w, four to a row
        self.expand = nn.Conv2d(4 * d, channels, 1)  # W_e
        self.gate = nn.Sigmoid()

    def _covariance(self, x: Tensor) -> Tensor:
        u = self.relu(self.norm(self.reduce(self.relu(x)))).flatten(2)  # B d M
        # Half of the divisor on either side: the sum over many positions would not fit into float16.
        u = (u - u.mean(2, keepdim=True)) / u.shape[2] ** 0.5
        return u @ u.transpose(1, 2)  # B d d

    def attention(self, x: Tensor) -> Tensor:
        """The gates s, B C 1 1."""
        rows = self.row_norm(self._covariance(x).unsqueeze(3))  # B d d 1: a channel for each row
        return self.gate(self.expand(self.rows(rows)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
