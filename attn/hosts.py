# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The papers' own networks, so that a parameter count printed in a paper can be held against our modules.

A card names its hosts (``attn.registry.Host``): a trunk of this file, a place in it, and the exact number of
parameters. A trunk is a function of two arguments, ``place`` and ``make``: ``make(channels)`` gives the module that
stands at the place, for every block that has one, and ``make(channels, stride=2)`` where it replaces a convolution that
has that stride.
"""

from collections.abc import Callable

from torch import Tensor, nn

from .registry import Host, card, create, unknown

__all__ = ["build", "mobilenetv2", "resnet50", "resnext50"]

Make = Callable[..., nn.Module]


def _conv(entering: int, leaving: int, kernel_size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(entering, leaving, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


# Where a module can stand in a residual network of bottlenecks.
PLACES = {
    "reduced": "in each unit, behind the first 1×1 convolution with its BN and ReLU",
    "conv": "in the units of the stages c3 to c5, instead of the 3×3 convolution",
    "convolved": "in each unit, between the 3×3 convolution and its BN",
    "unit": "in each unit, instead of the 3×3 convolution with its BN and ReLU",
    "residual": "in each unit, at the end of the branch, behind the last BN and before the addition",
    "stage": "behind each of the stages c2 to c4",
}


class _Bottleneck(nn.Module):
    """The residual unit of three convolutions (He et al., Figure 5 right); the 3×3 convolution has the stride."""

    def __init__(
        self, entering: int, width: int, leaving: int, stride: int, groups: int, place: str | None, make: Make | None
    ):
        super().__init__()
        strided = {"stride": stride} if stride > 1 else {}
        conv = make(width, **strided) if place == "conv" else _conv(width, width, 3, stride, groups)
        behind = [make(width)] if place == "convolved" else []
        unit = (conv, *behind, nn.BatchNorm2d(width), nn.ReLU())
        self.branch = nn.Sequential(
            *(_conv(entering, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
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


def _residual(groups: int, width: int, place: str | None, make: Make | None) -> nn.Sequential:
    """A network of 3, 4, 6 and 3 bottlenecks for 1000 classes; the first are ``width`` channels wide inside."""
    units, entering = [], 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        inside, leaving = width * 2**stage, 256 * 2**stage
        for i in range(depth):
            here = None if place == "stage" or (place == "conv" and stage == 0) else place
            stride = 2 if stage and not i else 1
            units.append(_Bottleneck(entering, inside, leaving, stride, groups, here, make))
            entering = leaving
        if place == "stage" and stage < 3:
            units.append(make(leaving))
    stem = (_conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, 1000))
    return nn.Sequential(*stem, *units, *head)


def resnet50(place: str | None = None, make: Make | None = None) -> nn.Sequential:
    """ResNet-50 for 1000 classes: 25,557,032 parameters without attention.

    Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep Residual Learning for Image Recognition, 2016,
    arXiv:1512.03385, Table 1.

    Args:
        place: one of ``PLACES``.
        make: gives the module for a number of channels.

    Shapes:
        B 3 H W to B 1000.

    Differs: the stride of 2 stands in the 3×3 convolution of a unit, where the paper has it in the 1×1 before. That
    layout, often called v1.5, has the same parameters and is the one that is trained today.
    """
    return _residual(1, 64, place, make)


def resnext50(place: str | None = None, make: Make | None = None) -> nn.Sequential:
    """ResNeXt-50 (32×4d) for 1000 classes: 25,028,904 parameters without attention.

    Saining Xie, Ross Girshick, Piotr Dollár, Zhuowen Tu, Kaiming He: Aggregated Residual Transformations for Deep
    Neural Networks, 2017, arXiv:1611.05431, Table 1.

    Args, Shapes:
        As in :func:`resnet50`.
    """
    return _residual(32, 128, place, make)


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
        )
        self.residual = stride == 1 and entering == leaving

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x) if self.residual else self.branch(x)


def mobilenetv2(place: str | None = None, make: Make | None = None) -> nn.Sequential:
    """MobileNetV2 for 1000 classes: 3,504,872 parameters without attention.

    Mark Sandler, Andrew Howard, Menglong Zhu, Andrey Zhmoginov, Liang-Chieh Chen: MobileNetV2: Inverted Residuals and
    Linear Bottlenecks, 2018, arXiv:1801.04381, Table 2.

    Args:
        place: ``"depthwise"``, in each block that widens, behind the 3×3 convolution with its BN and ReLU6.
        make: gives the module for a number of channels.

    Shapes:
        B 3 H W to B 1000.
    """
    blocks, entering = [], 32
    stages = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, leaving, depth, stride in stages:
        for i in range(depth):
            blocks.append(_InvertedResidual(entering, leaving, 1 if i else stride, expansion, place, make))
            entering = leaving
    stem = (_conv(3, 32, 3, 2), nn.BatchNorm2d(32), nn.ReLU6())
    last = (_conv(entering, 1280, 1), nn.BatchNorm2d(1280), nn.ReLU6())
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, 1000))
    return nn.Sequential(*stem, *blocks, *last, *head)


# Every trunk, with the places it has.
TRUNKS = {
    "resnet50": (resnet50, tuple(PLACES)),
    "resnext50": (resnext50, tuple(PLACES)),
    "mobilenetv2": (mobilenetv2, ("depthwise",)),
}


def build(slug: str, host: Host | None = None, **options) -> nn.Module:
    """The paper's own network, with the mechanism where the paper puts it, with random weights.

    Where only the count is wanted, build it under ``with torch.device("meta"):``, which allocates nothing.

    Args:
        slug: the mechanism.
        host: one of ``card(slug).hosts``; by default the first. options: added to those of the host.

    Raises:
        ValueError: the slug, an option, the trunk or the place does not exist, or the card names no host.
    """
    if host is None:
        hosts = card(slug).hosts
        if not hosts:
            raise ValueError(f"the card of {slug!r} names no network of its paper")
        host = hosts[0]
    if host.trunk not in TRUNKS:
        raise ValueError(unknown("trunk", host.trunk, TRUNKS))
    trunk, places = TRUNKS[host.trunk]
    if host.place not in places:
        raise ValueError(unknown(f"place in {host.trunk}", host.place, places))
    given = {**host.options, **options}

    def make(channels: int, **where) -> nn.Module:
        options = {k: v[channels] if isinstance(v, dict) else v for k, v in given.items()}
        return create(slug, channels, **options, **where)

    return trunk(host.place, make)
