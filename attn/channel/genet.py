# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Gather-Excite: one gate per channel and neighbourhood; how far the neighbourhood reaches is an option.

Jie Hu, Li Shen, Samuel Albanie, Gang Sun, Andrea Vedaldi: Gather-Excite: Exploiting Feature Context in Convolutional
Neural Networks, 2018, arXiv:1810.12348; the forms θ⁻, θ and θ⁺ as in the authors' repository: Figure 2 of its README
(θ⁻ and θ, with extent 8 and global) and models/RN50-GEPF.prototxt (θ⁻), RN50-GEP (θ) and RN50-GEPP (θ⁺).
Chapter: notebooks/channel/genet.ipynb
"""

from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import BatchNorm2d
from ..registry import Host, Map, Printed, register

SIZES = {256: 56, 512: 28, 1024: 14, 2048: 7}  # channels of a stage of ResNet-50 at 224 × 224: the side of its maps


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _params(C: int, extent: int | None = 8, learned: bool = True, size=None, mlp: bool = False, reduction: int = 16):
    height, width = _pair(size or 0)
    gather = 0
    if learned:  # the kernels, and two numbers of each BN
        gather = C * (height * width + 2) if extent is None else (extent.bit_length() - 1) * 11 * C
    hidden = max(1, C // reduction)
    return gather + (2 * C * hidden + C + hidden if mlp else 0)


def _macs(
    C: int, H: int, W: int, extent: int | None = 8, learned: bool = True, size=None, mlp: bool = False, reduction=16
) -> int:
    h, w, total = H, W, C * H * W  # the gate at every position
    if extent is None:
        total += C * H * W if learned else 0
        h = w = 1
    else:
        for _ in range(extent.bit_length() - 1):
            h, w = -(-h // 2), -(-w // 2)
            total += 9 * C * h * w if learned else 0
    return total + (2 * C * max(1, C // reduction) * h * w if mlp else 0)


@register(
    name="Gather-Excite",
    title="Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
    authors=("Jie Hu", "Li Shen", "Samuel Albanie", "Gang Sun", "Andrea Vedaldi"),
    year=2018,
    venue="NeurIPS 2018",
    paper="https://arxiv.org/abs/1810.12348",
    code="https://github.com/hujie-frank/GENet",
    code_licence="none",
    maps=Map("B C H W", range=(0, 1)),
    params=_params,
    macs=_macs,
    order="C·H·W",
    studied={"extent": (2, 4, 8), "learned": (False,), "mlp": (True,)},
    hosts=(
        Host(
            *("resnet50_early", "residual", 31_106_600, "θ: the layers of models/RN50-GEP.prototxt, summed"),
            options={"extent": None, "size": SIZES},
            printed=(
                Printed(
                    *("figures/imagenet.png of the authors of SRM", "31.12 M", "3.87 G"),
                    why="the code of the authors of SRM leaves the depthwise convolutions a bias, 15,104 numbers",
                ),
            ),
        ),
        Host(
            *("resnet50_early", "residual", 25_557_032, "θ⁻: models/RN50-GEPF.prototxt adds no parameter"),
            options={"extent": None, "learned": False},
        ),
        Host(
            *("resnet50_early", "residual", 33_637_592, "θ⁺: the layers of models/RN50-GEPP.prototxt, summed"),
            options={"extent": None, "size": SIZES, "mlp": True},
        ),
    ),
)
class GatherExcite(nn.Module):
    """Gather-Excite (Hu et al., 2018).

    x̂_c = ξ_G(x_c)                      gather: one value for every e × e positions
    y_c = x_c ⊙ σ(interp(x̂_c))          excite: σ = sigmoid, interp repeats the nearest value up to the size of x
    θ⁻: ξ_G is the mean over the square of 2e − 1 × 2e − 1 around every e-th position, or over the whole map
    θ:  ξ_G is log₂ e depthwise 3×3 convolutions of stride 2, each with a BN, δ = ReLU between them; for the whole map
        one depthwise convolution as large as the map, with a BN
    θ⁺: σ(interp(W₂ δ(W₁ δ(x̂)))) in the place of σ(interp(x̂))

    Args:
        channels: C, the number of channels of the input and of the output.
        extent: e, a power of two; None gathers the whole map into one value.
        learned: θ; False is θ⁻.
        size: the height and width of the map (one number for a square), wanted where the gather is learned and
            global, because its kernel has that size; then no other map is taken. None elsewhere.
        mlp: whether the two layers W₁ and W₂ follow the gather; with ``learned``, θ⁺.
        reduction: r; the hidden layer between them has C/r units, rounded down, at least one.

    Shapes:
        x: B C H W, y: B C H W, attention: B C H W in (0, 1), or B C 1 1 where ``extent`` is None.

    Raises:
        ValueError: ``extent`` is no power of two from 2 on; ``size`` is missing or has no use; ``reduction`` is below
            1; in a call, the map has another size than ``size``.

    Differs: the released models gather globally, over a map of fixed size; ours has an extent of 8 by default, the
    finite one that the authors draw, so that any map runs. A mean counts the positions inside the map alone, as in
    timm; Caffe's pooling, with which the authors work, divides by those in the padding, too. θ⁻ with ``mlp`` has no δ
    in front of W₁ and is then Squeeze-and-Excitation. On a batch that leaves one value a channel the BN trains with its
    running statistics. The convolutions start as PyTorch's do, where the authors draw theirs from normal distributions
    (He's, and 0.01 for W₁ and W₂). Where C < r one hidden unit stays.
    """

    def __init__(
        self,
        channels: int,
        *,
        extent: int | None = 8,
        learned: bool = True,
        size: int | tuple[int, int] | None = None,
        mlp: bool = False,
        reduction: int = 16,
    ):
        super().__init__()
        if extent is not None and (not isinstance(extent, int) or extent < 2 or extent.bit_count() > 1):
            raise ValueError(f"extent must be a power of two from 2 on, or None for the whole map, not {extent!r}")
        if (size is not None) != (learned and extent is None) or min(_pair(1 if size is None else size)) < 1:
            raise ValueError(
                "size must be the height and width of the map where the gather is learned and global, else None, "
                f"not {size!r} with extent={extent!r} and learned={learned!r}"
            )
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the authors' value is 16")
        self.extent, self.size = extent, size and _pair(size)
        layers = []
        if learned and extent is None:
            layers = [nn.Conv2d(channels, channels, self.size, groups=channels, bias=False), BatchNorm2d(channels)]
        elif learned:
            for _ in range(extent.bit_length() - 1):
                conv = nn.Conv2d(channels, channels, 3, 2, 1, groups=channels, bias=False)
                layers += conv, BatchNorm2d(channels), nn.ReLU()
            layers.pop()  # none behind the last BN
        elif extent is not None:
            layers = [nn.AvgPool2d(2 * extent - 1, extent, extent - 1, count_include_pad=False)]
        if mlp:
            hidden = max(1, channels // reduction)
            down, up = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)  # W₁, W₂
        self.gather = nn.Sequential(*layers)
        self.excite = nn.Sequential(*([nn.ReLU()] if learned else []), down, nn.ReLU(), up) if mlp else nn.Identity()
        self.gate = nn.Sigmoid()

    def extra_repr(self) -> str:
        return f"extent={self.extent}"

    def attention(self, x: Tensor) -> Tensor:
        """The gates, B C H W, or B C 1 1 where the whole map is gathered.

        Raises:
            ValueError: the map has another size than the kernel that gathers the whole of it.
        """
        if self.size and tuple(x.shape[2:]) != self.size:
            (height, width), (h, w) = x.shape[2:], self.size
            raise ValueError(
                f"the map must be {h}×{w}, the size of the kernel that gathers it, not {height}×{width}; "
                "with an extent, or with learned=False, any size runs"
            )
        z = self.gather(x) if self.extent or self.size else x.mean((2, 3), keepdim=True)  # B C h w
        a = self.gate(self.excite(z))  # before interp, which leaves the values as they are
        return a if self.extent is None else F.interpolate(a, x.shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)
