# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The papers' own networks, so that what a paper prints of its network can be held against our modules.

A card names its hosts (``attn.registry.Host``): a trunk of this file, a place in it, the exact number of parameters,
and what is printed of that network and where (``attn.registry.Printed``). A trunk is a function of two arguments,
``place`` and ``make``: ``make(channels)`` gives the module that stands at the place, for every block that has one, and
``make(channels, stride=2)`` where it replaces a convolution that has that stride.

:func:`figures` sets our counts beside the printed ones, each in the paper's own unit, digits and convention.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import measure
from .registry import Host, Printed, card, create, unknown

__all__ = [
    *("CONVENTIONS", "TRUNKS", "Convention", "Counts", "Figure", "Trunk", "build", "count", "counts"),
    *("figures", "in_unit"),
    *("attention56", "biformer", "biformer_stl", "danet_head", "itself", "mobilenetv2"),
    *("resnest50", "resnet12", "resnet50", "resnext50", "rest", "s2mlp", "san"),
]

Make = Callable[..., nn.Module]


def _conv(entering: int, leaving: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(entering, leaving, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


# Where a module can stand in a residual network of bottlenecks.
PLACES = {
    "reduced": "in each unit, behind the first 1×1 convolution with its BN and ReLU",
    "conv": "in the units of the stages c3 to c5, instead of the 3×3 convolution",
    "every": "in each unit, instead of the 3×3 convolution",
    "convolved": "in each unit, between the 3×3 convolution and its BN",
    "unit": "in each unit, instead of the 3×3 convolution with its BN and ReLU",
    "residual": "in each unit, at the end of the branch, behind the last BN and before the addition",
    "last": "in the last unit of each stage, at the end of the branch, behind the last BN and before the addition",
    "stage": "behind each of the stages c2 to c4",
    "late": "behind the first unit of c4 and the first and third of c5",
    "second": "behind every second unit of the stages c3 and c4",
    "before": "in front of each convolution, those of the stem and of the shortcuts included",
    "head": "at the end, instead of the mean over all positions and the linear layer",
}


class _Bottleneck(nn.Module):
    """The residual unit of three convolutions (He et al., Figure 5 right); the 3×3 has the stride, or the first 1×1."""

    def __init__(
        self,
        entering: int,
        width: int,
        leaving: int,
        stride: int,
        groups: int,
        early: bool,
        place: str | None,
        make: Make | None,
    ):
        super().__init__()
        first, second = (stride, 1) if early else (1, stride)
        strided = {"stride": second} if second > 1 else {}
        conv = make(width, **strided) if place in ("conv", "every") else _conv(width, width, 3, second, groups)
        behind = [make(width)] if place == "convolved" else []
        unit = (conv, *behind, nn.BatchNorm2d(width), nn.ReLU())
        self.branch = nn.Sequential(
            *(_conv(entering, width, 1, first), nn.BatchNorm2d(width), nn.ReLU()),
            *([make(width)] if place == "reduced" else []),
            *([make(width, **strided)] if place == "unit" else unit),
            *(_conv(width, leaving, 1), nn.BatchNorm2d(leaving)),
            *([make(leaving)] if place == "residual" else []),
        )
        self.shortcut = nn.Identity()
        if entering != leaving:
            self.shortcut = nn.Sequential(_conv(entering, leaving, 1, stride), nn.BatchNorm2d(leaving))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


def _residual(
    place: str | None,
    make: Make | None,
    depths: tuple[int, ...],
    groups: int,
    width: int,
    early: bool,
    classes: int,
    strides: tuple[int, ...] = (1, 2, 2, 2),
    small: bool = False,
) -> nn.Sequential:
    """Four stages of bottlenecks, ``depths`` in each; the first are ``width`` channels wide inside."""
    units, entering = [], 64
    for stage, depth in enumerate(depths):
        inside, leaving = width * 2**stage, 256 * 2**stage
        for i in range(depth):
            within = None if place == "conv" and stage == 0 else place
            if place == "last":
                within = "residual" if i == depth - 1 else None
            stride = 1 if i else strides[stage]
            units.append(_Bottleneck(entering, inside, leaving, stride, groups, early, within, make))
            entering = leaving
            behind = {
                "stage": stage < 3 and i == depth - 1,
                "late": (stage, i) in ((2, 0), (3, 0), (3, 2)),
                "second": stage in (1, 2) and i % 2 == 1,
            }
            if behind.get(place):
                units.append(make(leaving))
    first, pool = (_conv(3, 64, 3), []) if small else (_conv(3, 64, 7, 2), [nn.MaxPool2d(3, 2, 1)])
    stem = (first, nn.BatchNorm2d(64), nn.ReLU(), *pool)
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, classes))
    head = (make(entering),) if place == "head" else pooled
    network = nn.Sequential(*stem, *units, *head)
    if place == "before":
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Conv2d):
                    setattr(parent, name, nn.Sequential(make(child.in_channels), child))
    return network


def resnet50(
    place: str | None = None,
    make: Make | None = None,
    *,
    depths: tuple[int, ...] = (3, 4, 6, 3),
    early: bool = False,
    strides: tuple[int, ...] = (1, 2, 2, 2),
    small: bool = False,
    classes: int = 1000,
) -> nn.Sequential:
    """ResNet-50: 25,557,032 parameters for 1000 classes, without attention.

    Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep Residual Learning for Image Recognition, 2016,
    arXiv:1512.03385, Table 1.

    Args:
        place: one of ``PLACES``.
        make: gives the module for a number of channels.
        depths: units in each of the stages c2 to c5; (3, 4, 23, 3) is ResNet-101.
        early: whether the stride of 2 stands in the first 1×1 convolution of a unit, as in the paper and in Caffe's
            models. Otherwise it stands in the 3×3; that layout, often called v1.5, has the same parameters and is the
            one that is trained today.
        strides: of the first unit of each stage.
        small: whether the stem is a 3×3 convolution alone, without a stride and a pooling, for pictures of 32×32.
        classes: numbers in a result.

    Shapes:
        B 3 H W to B classes.
    """
    return _residual(place, make, depths, 1, 64, early, classes, strides, small)


def resnext50(
    place: str | None = None,
    make: Make | None = None,
    *,
    depths: tuple[int, ...] = (3, 4, 6, 3),
    classes: int = 1000,
) -> nn.Sequential:
    """ResNeXt-50 (32×4d): 25,028,904 parameters for 1000 classes, without attention.

    Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He: Aggregated Residual Transformations for Deep
    Neural Networks, 2017, arXiv:1611.05431, Table 1.

    Args, Shapes:
        As in :func:`resnet50`.
    """
    return _residual(place, make, depths, 32, 128, False, classes)


class _PooledBottleneck(nn.Module):
    """A bottleneck that halves the map by poolings alone, as ResNeSt's: 3×3 in the branch, 2×2 in the shortcut."""

    def __init__(
        self, entering: int, width: int, leaving: int, stride: int, early: bool, place: str | None, make: Make | None
    ):
        super().__init__()
        pool = [nn.AvgPool2d(3, stride, 1)] if stride > 1 else []
        plain = (_conv(width, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.branch = nn.Sequential(
            *(_conv(entering, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
            *(pool if early else []),
            *([make(width)] if place == "unit" else plain),
            *([] if early else pool),
            *(_conv(width, leaving, 1), nn.BatchNorm2d(leaving)),
        )
        self.shortcut = nn.Identity()
        if entering != leaving:
            halve = nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)
            self.shortcut = nn.Sequential(halve, _conv(entering, leaving, 1), nn.BatchNorm2d(leaving))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


def resnest50(
    place: str | None = None,
    make: Make | None = None,
    *,
    depths: tuple[int, ...] = (3, 4, 6, 3),
    width: int = 64,
    early: bool = False,
    classes: int = 1000,
) -> nn.Sequential:
    """The trunk of ResNeSt-50: 25,576,264 parameters for 1000 classes, without attention.

    Hang Zhang and others: ResNeSt: Split-Attention Networks, 2020, arXiv:2004.08955: a stem of three 3×3 convolutions
    and shortcuts that pool, both from ResNet-D, and in a unit that halves the map a pooling of 3×3 instead of a stride.

    Args:
        place: ``"unit"``, in each unit, instead of the 3×3 convolution with its BN and ReLU.
        make: gives the module for a number of channels.
        depths: units in each stage. width: channels inside the units of the first; each later stage has twice as many.
        early: whether the pooling in the branch stands in front of the 3×3, as in the authors' "fast" networks.
        classes: numbers in a result.

    Shapes:
        B 3 H W to B classes.
    """
    units, entering = [], 64
    for stage, depth in enumerate(depths):
        inside, leaving = width * 2**stage, 256 * 2**stage
        for i in range(depth):
            units.append(_PooledBottleneck(entering, inside, leaving, 2 if stage and not i else 1, early, place, make))
            entering = leaving
    stem = []
    for before, behind, stride in ((3, 32, 2), (32, 32, 1), (32, 64, 1)):
        stem += _conv(before, behind, 3, stride), nn.BatchNorm2d(behind), nn.ReLU()
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, classes))
    return nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1), *units, *head)


class _InvertedResidual(nn.Module):
    """Widens, convolves each channel by itself and narrows (Sandler et al., Figure 4d); no ReLU6 behind the last BN."""

    def __init__(self, entering: int, leaving: int, stride: int, expansion: int, place: str | None, make: Make | None):
        super().__init__()
        inside = expansion * entering
        widen = (_conv(entering, inside, 1), nn.BatchNorm2d(inside), nn.ReLU6())
        self.branch = nn.Sequential(
            *(widen if expansion > 1 else ()),
            *(_conv(inside, inside, 3, stride, inside), nn.BatchNorm2d(inside), nn.ReLU6()),
            *([make(inside)] if place == "depthwise" and expansion > 1 else []),
            *(_conv(inside, leaving, 1), nn.BatchNorm2d(leaving)),
            *([make(leaving)] if place == "narrow" else []),
        )
        self.residual = stride == 1 and entering == leaving

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


def mobilenetv2(place: str | None = None, make: Make | None = None, *, classes: int = 1000) -> nn.Sequential:
    """MobileNetV2: 3,504,872 parameters for 1000 classes, without attention.

    Mark Sandler, Andrew Howard, Menglong Zhu, Andrey Zhmoginov, Liang-Chieh Chen: MobileNetV2: Inverted Residuals and
    Linear Bottlenecks, 2018, arXiv:1801.04381, Table 2.

    Args:
        place: ``"depthwise"``, in each block that widens, behind the 3×3 convolution with its BN and ReLU6;
            ``"narrow"``, in each block, at the end of the branch.
        make: gives the module for a number of channels.
        classes: numbers in a result.

    Shapes:
        B 3 H W to B classes.
    """
    blocks, entering = [], 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, leaving, depth, stride in stages:
        for i in range(depth):
            blocks.append(_InvertedResidual(entering, leaving, 1 if i else stride, expansion, place, make))
            entering = leaving
    stem = (_conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6())
    last = (_conv(entering, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, classes))
    return nn.Sequential(*stem, *blocks, *last, *head)


class _Attend(nn.Module):
    """Attention of every position over all, with a 5×5 depth-wise convolution as its code of the position."""

    def __init__(self, channels: int, of_values: bool):
        super().__init__()
        self.of_values = of_values  # the convolution reads the values, or what enters
        self.qkv = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.code = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (t.flatten(2).unflatten(1, (8, -1)) for t in self.qkv(x).chunk(3, 1))  # B 8 d N
        a = (q.mT @ k / q.shape[2] ** 0.5).softmax(3)  # B 8 N N
        y = (v @ a.mT).flatten(1, 2).unflatten(2, x.shape[2:])  # B C H W
        return self.out(y + self.code(v.reshape(x.shape) if self.of_values else x))


class _ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of B C H W."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _Added(nn.Module):
    """y = x + f(x)."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.branch = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def _mlp(channels: int, expansion: int) -> tuple[nn.Module, ...]:
    inside = expansion * channels
    return nn.Conv2d(channels, inside, 1), nn.GELU(), nn.Conv2d(inside, channels, 1)


def biformer(
    place: str, make: Make, *, depths: tuple[int, ...] = (2, 2, 8, 2), width: int = 64, classes: int = 1000
) -> nn.Sequential:
    """BiFormer, of four stages of transformer blocks; the default is BiFormer-T.

    Lei Zhu, Xinjiang Wang, Zhanghan Ke, Wayne Zhang, Rynson Lau: BiFormer: Vision Transformer with Bi-Level Routing
    Attention, 2023, arXiv:2303.08810; the stem, the normalisation and the last stage are those of the authors' code.

    Args:
        place: ``"blocks"``, the attention of each block of the first three stages.
        make: gives the module for a number of channels.
        depths: blocks in each stage. width: channels of the first; each later stage has twice as many.
        classes: numbers in a result.

    Shapes:
        B 3 H W to B classes.
    """
    layers, C = [], width // 2
    layers += nn.Conv2d(3, C, 3, 2, 1), nn.BatchNorm2d(C), nn.GELU()
    for stage, depth in enumerate(depths):
        layers += nn.Conv2d(C, 2 * C, 3, 2, 1), nn.BatchNorm2d(2 * C)
        C = 2 * C
        for _ in range(depth):
            attention = make(C) if stage < 3 else _Attend(C, of_values=False)
            layers += _Added(nn.Conv2d(C, C, 3, 1, 1, groups=C)), _Added(_ChannelNorm(C, 1e-6), attention)
            layers += (_Added(_ChannelNorm(C, 1e-6), *_mlp(C, 3)),)
    return nn.Sequential(*layers, nn.BatchNorm2d(C), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(C, classes))


def biformer_stl(place: str, make: Make, *, classes: int = 1000) -> nn.Sequential:
    """BiFormer-STL: the layout of Swin-T, 2, 2, 6 and 2 blocks from 96 channels on, as in the authors' second version.

    Args, Shapes:
        As in :func:`biformer`.
    """
    layers, C = [nn.Conv2d(3, 96, 4, 4), nn.BatchNorm2d(96)], 96
    for stage, depth in enumerate((2, 2, 6, 2)):
        if stage:
            layers += nn.BatchNorm2d(C), nn.Conv2d(C, 2 * C, 2, 2)
            C = 2 * C
        for _ in range(depth):
            attention = make(C) if stage < 3 else _Attend(C, of_values=True)
            layers += _Added(nn.BatchNorm2d(C), attention), _Added(nn.BatchNorm2d(C), *_mlp(C, 4))
    return nn.Sequential(*layers, nn.BatchNorm2d(C), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(C, classes))


class _PixelAttention(nn.Module):
    """x · σ(DWConv(x)), ResT's code of the position."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(x).sigmoid()


def rest(
    place: str, make: Make, *, depths: tuple[int, ...] = (2, 2, 2, 2), width: int = 64, classes: int = 1000
) -> nn.Sequential:
    """ResT, of four stages of transformer blocks; the default is ResT-Lite.

    Qing-Long Zhang, Yu-Bin Yang: ResT: An Efficient Transformer for Visual Recognition, 2021, arXiv:2105.13677; the
    layers are those of the authors' models/rest.py.

    Args:
        place: ``"blocks"``, the attention of each block.
        make: gives the module for a number of channels.
        depths: blocks in each stage. width: channels of the first; each later stage has twice as many.
        classes: numbers in a result.

    Shapes:
        B 3 H W to B classes.
    """
    C, half = width, width // 2
    stem = (_conv(3, half, 3, 2), nn.BatchNorm2d(half), nn.ReLU(), _conv(half, half, 3), nn.BatchNorm2d(half))
    layers = [*stem, nn.ReLU(), _conv(half, C, 3, 2), _PixelAttention(C)]
    for stage, depth in enumerate(depths):
        if stage:
            layers += nn.Conv2d(C, 2 * C, 3, 2, 1), nn.BatchNorm2d(2 * C), _PixelAttention(2 * C)
            C = 2 * C
        for _ in range(depth):
            layers += _Added(_ChannelNorm(C), make(C)), _Added(_ChannelNorm(C), *_mlp(C, 4))
    return nn.Sequential(*layers, _ChannelNorm(C), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(C, classes))


def s2mlp(
    place: str,
    make: Make,
    *,
    patches: tuple[int, ...] = (7, 2),
    widths: tuple[int, ...] = (192, 384),
    depths: tuple[int, ...] = (4, 14),
    classes: int = 1000,
) -> nn.Sequential:
    """S2-MLPv2, of one or two stages of blocks without a kernel and without attention of positions; Small/7.

    Tan Yu, Xu Li, Yunfeng Cai, Mingming Sun, Ping Li: S²-MLPv2: Improved Spatial-Shift MLP Architecture for Vision,
    2021, arXiv:2108.01072, Tables 1 and 4 and Eq. 5; neither it nor its count of parameters has a norm before the last
    layer.

    Args:
        place: ``"blocks"``, in each block, behind its first LayerNorm and before the addition.
        make: gives the module for a number of channels.
        patches: side and stride of the convolution that opens each stage. widths: channels of each stage.
        depths: blocks in each stage.
        classes: numbers in a result.

    Shapes:
        B 3 H W to B classes.
    """
    layers, entering = [], 3
    for patch, C, depth in zip(patches, widths, depths, strict=True):
        layers.append(nn.Conv2d(entering, C, patch, patch))
        for _ in range(depth):
            layers += _Added(_ChannelNorm(C), make(C)), _Added(_ChannelNorm(C), *_mlp(C, 3))
        entering = C
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, classes))


class _Pairs(nn.Module):
    """Class pictures B K 3 H W and queries B M 3 H W to scores B M K: the cosine of what is left of either."""

    def __init__(self, trunk: nn.Module, module: nn.Module):
        super().__init__()
        self.trunk, self.module = trunk, module

    def forward(self, classes: Tensor, queries: Tensor) -> Tensor:
        p, q = (self.trunk(x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (classes, queries))
        p, q = self.module(p, q)  # B M K C H W each
        return 7 * F.cosine_similarity(p.mean((4, 5)), q.mean((4, 5)), dim=3)


def resnet12(place: str, make: Make) -> nn.Module:
    """ResNet-12 for classes of which few pictures are known: 8,037,696 parameters.

    Ruibing Hou, Hong Chang, Bingpeng Ma, Shiguang Shan, Xilin Chen: Cross Attention Network for Few-shot
    Classification, 2019, arXiv:1910.07677; a stem and four units of three 3×3 convolutions, the second with stride 2,
    as in the authors' code. The linear layer that it has in training alone is left out.

    Args:
        place: ``"pairs"``, behind the last unit, for every pair of a class and a query.
        make: gives the module for a number of channels.

    Shapes:
        B K 3 H W and B M 3 H W to B M K.
    """
    layers, entering = [_conv(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU()], 64
    for leaving in (64, 128, 256, 512):
        layers.append(_Basic(entering, leaving))
        entering = leaving
    return _Pairs(nn.Sequential(*layers), make(entering))


class _Basic(nn.Module):
    """A residual unit of three 3×3 convolutions; the second one and the shortcut have a stride of 2."""

    def __init__(self, entering: int, leaving: int):
        super().__init__()
        self.branch = nn.Sequential(
            *(_conv(entering, leaving, 3), nn.BatchNorm2d(leaving), nn.ReLU()),
            *(_conv(leaving, leaving, 3, 2), nn.BatchNorm2d(leaving), nn.ReLU()),
            *(_conv(leaving, leaving, 3), nn.BatchNorm2d(leaving)),
        )
        self.shortcut = nn.Sequential(_conv(entering, leaving, 1, 2), nn.BatchNorm2d(leaving))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


class _Regions(nn.Module):
    """Non-local attention inside each quarter of the map, x + W(v aᵀ), over keys and values of half the side."""

    def __init__(self, channels: int):
        super().__init__()
        inside = channels // 8
        self.qkv = nn.ModuleList(nn.Conv2d(channels, inside, 1) for _ in range(3))
        self.out = nn.Conv2d(inside, channels, 1)

    def _quarter(self, x: Tensor) -> Tensor:
        q, k, v = (layer(x) for layer in self.qkv)  # B d h w
        q, k, v = (t.flatten(2) for t in (q, F.max_pool2d(k, 2), F.max_pool2d(v, 2)))
        a = (q.mT @ k).softmax(2)  # B N N/4
        return x + self.out((v @ a.mT).unflatten(2, x.shape[2:]))

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2] // 2, x.shape[3] // 2
        halves = x[:, :, :h], x[:, :, h:]
        rows = [torch.cat([self._quarter(part) for part in (t[..., :w], t[..., w:])], 3) for t in halves]
        return torch.cat(rows, 2)


def _wide(entering: int, leaving: int) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, 3, padding=1)


def _shift(sign: int) -> nn.Conv2d:
    """Adds the mean colour of DIV2K, or takes it away; of the kind of layer, and so the parameters, that theirs has."""
    layer = nn.Conv2d(3, 3, 1)
    nn.init.dirac_(layer.weight)
    with torch.no_grad():
        layer.bias.copy_(sign * 255 * torch.tensor([0.4488, 0.4371, 0.4040]))
    return layer


class _San(nn.Module):
    def __init__(self, make: Make, scale: int, groups: int, blocks: int):
        super().__init__()
        self.less, self.head = _shift(-1), _wide(3, 64)
        self.regions = _Regions(64)
        self.groups = nn.ModuleList(
            _Added(
                *(_Added(_wide(64, 64), nn.ReLU(), _wide(64, 64)) for _ in range(blocks)),
                *(make(64), _wide(64, 64)),
            )
            for _ in range(groups)
        )
        self.gamma = nn.Parameter(torch.zeros(1))
        steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
        larger = [layer for step in steps for layer in (_wide(64, 64 * step * step), nn.PixelShuffle(step))]
        self.tail, self.more = nn.Sequential(*larger, _wide(64, 3)), _shift(1)
        # What theirs has and never calls: a convolution, a module beside the non-local one, a number for each group.
        self.uncalled = nn.ModuleList([_wide(64, 64), make(64, reduction=8)])
        self.unread = nn.Parameter(torch.zeros(groups))

    def forward(self, x: Tensor) -> Tensor:
        first = self.head(self.less(x))
        y = source = self.regions(first)
        for group in self.groups:
            y = group(y) + self.gamma * source
        return self.more(self.tail(self.regions(y) + first))


def san(place: str, make: Make, *, scale: int = 2, groups: int = 20, blocks: int = 10) -> nn.Module:
    """SAN, which makes a picture ``scale`` times as high and wide.

    Tao Dai, Jianrui Cai, Yongbing Zhang, Shu-Tao Xia, Lei Zhang: Second-order Attention Network for Single Image
    Super-Resolution, 2019, CVPR, as in the authors' code (TrainCode/model/san.py), with the parameters that it never
    uses.

    Args:
        place: ``"group"``, in each group, behind its residual blocks and before its last convolution.
        make: gives the module for a number of channels, and for ``reduction=8``.
        scale: 2, 3, or another power of two. groups: of residual blocks. blocks: in each group.

    Shapes:
        B 3 H W to B 3 scale·H scale·W, colours from 0 to 255.
    """
    return _San(make, scale, groups, blocks)


class _DANetHead(nn.Module):
    """Each branch between two 3×3 convolutions of its own, and scores of their sum."""

    def __init__(self, make: Make, classes: int):
        super().__init__()

        def conv(entering: int) -> nn.Sequential:
            return nn.Sequential(_conv(entering, 512, 3), nn.BatchNorm2d(512), nn.ReLU())

        self.branches = nn.ModuleList(
            nn.Sequential(conv(2048), make(512, branch=branch), conv(512)) for branch in ("position", "channel")
        )
        # Of the sum, and of either branch: those two are trained on, too.
        self.scores = nn.ModuleList(nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(512, classes, 1)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        p, c = (branch(x) for branch in self.branches)
        return torch.cat([scores(y) for scores, y in zip(self.scores, (p + c, p, c), strict=True)], 1)


def danet_head(place: str, make: Make, *, classes: int = 19) -> nn.Module:
    """The head of DANet, which segments what a ResNet of stride 8 gives; 19 are the classes of Cityscapes.

    Jun Fu and others: Dual Attention Network for Scene Segmentation, 2019, arXiv:1809.02983, as in the authors' code
    (encoding/models/sseg/danet.py).

    Args:
        place: ``"branches"``, in each branch, between its two 3×3 convolutions.
        make: gives the module for a number of channels and ``branch="position"`` or ``"channel"``.
        classes: scores at a position.

    Shapes:
        B 2048 H W to B 3·classes H W: the scores of the sum, of the position branch and of the channel branch.
    """
    return _DANetHead(make, classes)


class _Ahead(nn.Module):
    """A bottleneck whose norms stand before its convolutions; where it widens, the shortcut reads what is normed."""

    def __init__(self, entering: int, leaving: int, stride: int = 1):
        super().__init__()
        inside = leaving // 4
        self.norm = nn.Sequential(nn.BatchNorm2d(entering), nn.ReLU())
        self.branch = nn.Sequential(
            *(_conv(entering, inside, 1), nn.BatchNorm2d(inside), nn.ReLU()),
            *(_conv(inside, inside, 3, stride), nn.BatchNorm2d(inside), nn.ReLU()),
            _conv(inside, leaving, 1),
        )
        self.shortcut = _conv(entering, leaving, 1, stride) if entering != leaving else None

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm(x)
        return self.branch(z) + (x if self.shortcut is None else self.shortcut(z))


def attention56(place: str, make: Make, *, modules: tuple[int, ...] = (1, 1, 1), classes: int = 1000) -> nn.Sequential:
    """The Residual Attention Network; the default is Attention-56.

    Fei Wang and others: Residual Attention Network for Image Classification, 2017, arXiv:1704.06904, as in the authors'
    Attention-56-deploy.prototxt.

    Args:
        place: ``"between"``, in the first three stages, each between two residual units.
        make: gives the module for a number of channels.
        modules: how many each of these stages has.
        classes: numbers in a result.

    Shapes:
        B 3 H W to B classes.
    """
    stem = (_conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True))
    units, C = [], 64
    for stage, depth in enumerate(modules):
        units.append(_Ahead(C, 256 * 2**stage, 2 if stage else 1))
        C = 256 * 2**stage
        for _ in range(depth):
            units += _Ahead(C, C), make(C), _Ahead(C, C)
    units += _Ahead(C, 2 * C, 2), _Ahead(2 * C, 2 * C), _Ahead(2 * C, 2 * C)
    C = 2 * C
    head = (nn.BatchNorm2d(C), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(C, classes))
    return nn.Sequential(*stem, *units, *head)


def itself(place: str, make: Make) -> nn.Module:
    """No trunk: the mechanism is the whole network and reads a grey picture."""
    return make(1)


class Trunk(NamedTuple):
    """A trunk that a card can name.

    Args:
        words: its name on a page.
        make: builds it. places: those that it has, each with its words.
        plain: whether it is a network of its own without a module, and ``make()`` builds that.
    """

    words: str
    make: Callable[..., nn.Module]
    places: dict[str, str]
    plain: bool = True


_EARLY, _DEEPER = {"early": True}, {"depths": (3, 4, 23, 3)}
_BLOCKS = {"blocks": "in each block of the first three stages"}
_EACH = {"blocks": "in each block, behind its first LayerNorm and before the addition"}
_INVERTED = {
    "depthwise": "in each block that widens, behind the 3×3 with its BN and ReLU6",
    "narrow": "in each block, at the end of the branch, behind the last BN and before the addition",
}
_UNIT = {"unit": PLACES["unit"]}
_PAIRS = {"pairs": "behind the last unit, for every pair of a class and a query"}
_BETWEEN = {"between": "in the first three stages, each between two residual units"}
_GROUPS = {"group": "in each group, behind its residual blocks and before its last convolution"}

TRUNKS = {
    "resnet50": Trunk("ResNet-50", resnet50, PLACES),
    "resnet50_dense": Trunk(
        "ResNet-50, c5 without a stride", functools.partial(resnet50, strides=(1, 2, 2, 1)), PLACES
    ),
    "resnet50_early": Trunk("ResNet-50, stride in the 1×1", functools.partial(resnet50, **_EARLY), PLACES),
    "resnet50_small": Trunk("ResNet-50 for 32×32", functools.partial(resnet50, small=True), PLACES),
    "resnet101": Trunk("ResNet-101", functools.partial(resnet50, **_DEEPER), PLACES),
    "resnet101_early": Trunk("ResNet-101, stride in the 1×1", functools.partial(resnet50, **_EARLY, **_DEEPER), PLACES),
    "resnext50": Trunk("ResNeXt-50 (32×4d)", resnext50, PLACES),
    "resnext101": Trunk("ResNeXt-101 (32×4d)", functools.partial(resnext50, **_DEEPER), PLACES),
    "resnest50": Trunk("ResNet-50 of ResNeSt", resnest50, _UNIT),
    "resnest50_fast": Trunk("ResNet-50 of ResNeSt, pooled early", functools.partial(resnest50, early=True), _UNIT),
    "resnest50_fast80": Trunk(
        "ResNet-50 of ResNeSt, pooled early, 80 wide", functools.partial(resnest50, early=True, width=80), _UNIT
    ),
    "mobilenetv2": Trunk("MobileNetV2", mobilenetv2, _INVERTED),
    "biformer_t": Trunk("BiFormer-T", biformer, _BLOCKS, False),
    "biformer_s": Trunk("BiFormer-S", functools.partial(biformer, depths=(4, 4, 18, 4)), _BLOCKS, False),
    "biformer_b": Trunk("BiFormer-B", functools.partial(biformer, depths=(4, 4, 18, 4), width=96), _BLOCKS, False),
    "biformer_stl": Trunk("BiFormer-STL", biformer_stl, _BLOCKS, False),
    **{
        f"rest_{size.lower()}": Trunk(f"ResT-{size}", functools.partial(rest, depths=d, width=w), _EACH, False)
        for size, d, w in (
            ("Lite", (2, 2, 2, 2), 64),
            ("Small", (2, 2, 6, 2), 64),
            ("Base", (2, 2, 6, 2), 96),
            ("Large", (2, 2, 18, 2), 96),
        )
    },
    "s2mlp_small7": Trunk("S2-MLPv2-Small/7", s2mlp, _EACH, False),
    "s2mlp_medium7": Trunk(
        "S2-MLPv2-Medium/7", functools.partial(s2mlp, widths=(256, 512), depths=(7, 17)), _EACH, False
    ),
    "s2mlp_small14": Trunk(
        "S2-MLPv2-Small/14", functools.partial(s2mlp, patches=(14, 1), widths=(384, 384)), _EACH, False
    ),
    "resnet12": Trunk("ResNet-12", resnet12, _PAIRS, False),
    **{
        f"san_x{scale}": Trunk(f"SAN, ×{scale}", functools.partial(san, scale=scale), _GROUPS, False)
        for scale in (2, 3, 4)
    },
    "danet_head": Trunk(
        "The head of DANet", danet_head, {"branches": "in each branch, between its two 3×3 convolutions"}, False
    ),
    "attention56": Trunk("Attention-56", attention56, _BETWEEN, False),
    "attention92": Trunk("Attention-92", functools.partial(attention56, modules=(1, 2, 3)), _BETWEEN, False),
    "itself": Trunk("The mechanism alone", itself, {"whole": "it is the whole network"}, False),
}


class _Folded(nn.Module):
    """A module of clips between layers of pictures: its frames stand in a row."""

    def __init__(self, module: nn.Module, frames: int):
        super().__init__()
        self.module, self.frames = module, frames

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x.unflatten(0, (-1, self.frames))).flatten(0, 1)


class _Clips(nn.Module):
    """A network of pictures for clips, B T 3 H W: the mean of its frames' scores."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(1)


def build(slug: str, host: Host | None = None, **options) -> nn.Module:
    """The paper's own network, with the mechanism where the paper puts it, with random weights.

    Where only the count is wanted, build it under ``with torch.device("meta"):``, which allocates nothing.

    Args:
        slug: the mechanism.
        host: one of ``card(slug).hosts``; by default the first. options: added to those of the host.

    Raises:
        ValueError: the slug, an option, the trunk or the place does not exist, or the card names no host.
    """
    facts = card(slug)
    if host is None:
        if not facts.hosts:
            raise ValueError(f"the card of {slug!r} names no network of its paper")
        host = facts.hosts[0]
    if host.trunk not in TRUNKS:
        raise ValueError(unknown("trunk", host.trunk, TRUNKS))
    trunk = TRUNKS[host.trunk]
    if host.place not in trunk.places:
        raise ValueError(unknown(f"place in {host.trunk}", host.place, trunk.places))
    given = {**host.options, **options}
    clips = facts.shape_in == ("B T C H W",)
    frames = given.get("frames", facts.options.get("frames"))

    def make(channels: int, **where) -> nn.Module:
        options = {k: v[channels] if isinstance(v, dict) else v for k, v in given.items()}
        module = create(slug, channels, **options, **where)
        return _Folded(module, frames) if clips else module

    network = trunk.make(host.place, make, **({} if host.classes is None else {"classes": host.classes}))
    return _Clips(network) if clips else network


@dataclass(frozen=True)
class Convention:
    """What a paper counts, and what its M and G are.

    Args:
        words: for a page.
        base: M is its square and G its cube: 1000, or 1024.
        per_mac: operations counted for one multiply-add: 1, or 2 where product and sum count one each.
        layers: kinds of layers that count beyond the convention of :mod:`attn.measure`, each with the operations for
            every number that enters one.
    """

    words: str
    base: int = 1000
    per_mac: int = 1
    layers: dict[type[nn.Module], int] = field(default_factory=dict)


_NORMS = {nn.modules.batchnorm._BatchNorm: 2}
_EVERY = {**_NORMS, nn.ReLU: 1, nn.ReLU6: 1, nn.MaxPool2d: 1, nn.AdaptiveAvgPool2d: 1}

CONVENTIONS = {
    "plain": Convention("multiply-adds; M is 10⁶, G is 10⁹"),
    "binary": Convention("as norms, but M is 2²⁰, G is 2³⁰", base=1024, layers=_NORMS),
    "norms": Convention("as plain, and two for every number that enters a BN", layers=_NORMS),
    "layers": Convention("as norms, and one for every number that enters a ReLU or a pooling", layers=_EVERY),
    "flops": Convention("as plain, product and sum counting one each", per_mac=2),
}


class Counts(NamedTuple):
    """What one network costs.

    Args:
        params: its parameters. own: those of the attention in it.
        macs: its multiply-adds for one input, in the convention of :mod:`attn.measure`.
        entering: how many numbers enter the layers of each kind that some convention counts.
    """

    params: int
    own: int
    macs: int
    entering: dict[type[nn.Module], int]

    def in_convention(self, convention: Convention) -> int:
        """The operations that a paper with this convention would count."""
        return convention.per_mac * self.macs + sum(n * self.entering[kind] for kind, n in convention.layers.items())


def count(network: nn.Module, *inputs: Tensor, attention: type[nn.Module] | None = None) -> Counts:
    """Counts a network in evaluation mode, on the meta device as on any other.

    Args:
        network: any. inputs: those of one example.
        attention: the class whose parameters are ``own``.
    """
    entering = dict.fromkeys(_EVERY, 0)

    def add(kind, x):
        entering[kind] += x.numel()

    hooks = [
        module.register_forward_pre_hook(lambda module, given, kind=kind: add(kind, given[0]))
        for module in network.modules()
        for kind in _EVERY
        if isinstance(module, kind)
    ]
    was = network.training
    try:
        macs = measure._macs(network.eval(), inputs)
    finally:
        network.train(was)
        for hook in hooks:
            hook.remove()
    within = [m for m in network.modules() if attention and isinstance(m, attention)]
    params, own = ({p for m in modules for p in m.parameters()} for modules in ([network], within))
    return Counts(*(sum(p.numel() for p in found) for found in (params, own)), macs, entering)


def in_unit(printed: str, n: int, base: int = 1000) -> tuple[Decimal, Decimal]:
    """A count in the unit and with the digits of a printed figure, and by how much it lies above the printed one.

    Args:
        printed: ``"26.77 M"``, ``"8,037,696"``: a number, and K, M or G where it has a unit.
        n: the count. base: what K is; M is its square and G its cube.

    Raises:
        ValueError: ``printed`` is no such figure.
    """
    read = re.fullmatch(r"(\d[\d,]*)(\.\d+)?(?: ([KMG]))?", printed)
    if not read:
        raise ValueError(f"a printed figure is a number, a blank and K, M or G, or a number alone, not {printed!r}")
    whole, digits, unit = read.groups(default="")
    value = Decimal(n) / base ** (" KMG".index(unit or " "))
    value = value.quantize(Decimal(1).scaleb(-len(digits[1:])), ROUND_HALF_UP)
    return value, value - Decimal(whole.replace(",", "") + digits)


class Figure(NamedTuple):
    """One printed number of a host, and ours.

    Args:
        host, printed: which.
        what: ``"params"`` or ``"macs"``.
        text: as printed.
        ours: our count in that unit, convention and number of digits. difference: ours less the printed one.
    """

    host: Host
    printed: Printed
    what: str
    text: str
    ours: Decimal
    difference: Decimal


@functools.cache
def counts(slug: str) -> list[Counts]:
    """The counts of each of a mechanism's hosts, at the size of input that the host names."""
    found = []
    for host in card(slug).hosts:
        with torch.device("meta"):
            inputs = [torch.zeros(1, *map(int, shape.split())) for shape in host.inputs]
            found.append(count(build(slug, host), *inputs, attention=card(slug).cls))
    return found


def figures(slug: str) -> list[Figure]:
    """Every figure that is printed of a mechanism's hosts, with ours beside it.

    Raises:
        ValueError: a card names a convention that does not exist, or a figure that is none.
    """
    found = []
    for host, counted in zip(card(slug).hosts, counts(slug), strict=True):
        for printed in host.printed:
            if printed.convention not in CONVENTIONS:
                raise ValueError(unknown("convention", printed.convention, CONVENTIONS))
            convention = CONVENTIONS[printed.convention]
            for what, n in (("params", counted.params), ("macs", counted.in_convention(convention))):
                if text := getattr(printed, what):
                    found.append(Figure(host, printed, what, text, *in_unit(text, n, convention.base)))
    return found
