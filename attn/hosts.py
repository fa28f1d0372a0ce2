# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The papers' own networks, so that a parameter count printed in a paper can be held against our modules.

A card names its hosts (``attn.registry.Host``): a trunk of this file, a place in it, and the exact number of
parameters. A trunk is a function of two arguments, ``place`` and ``make``: ``make(channels)`` gives the module that
stands at the place, for every block that has one.
"""

from collections.abc import Callable

from torch import Tensor, nn

from .registry import Host, card, create, unknown

__all__ = ["build", "resnet50"]

Make = Callable[[int], nn.Module]


def _conv(entering: int, leaving: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    conv = nn.Conv2d(entering, leaving, kernel_size, stride, kernel_size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class _Bottleneck(nn.Module):
    """The residual unit of three convolutions (He et al., Figure 5 right); the 3×3 convolution has the stride."""

    def __init__(self, entering: int, width: int, stride: int, make: dict[str, Make]):
        super().__init__()
        leaving = 4 * width
        self.branch = nn.Sequential(
            *(_conv(entering, width, 1), nn.BatchNorm2d(width), nn.ReLU()),
            *(_conv(width, width, 3, stride), nn.BatchNorm2d(width), nn.ReLU()),
            *(_conv(width, leaving, 1), nn.BatchNorm2d(leaving)),
        )
        if "residual" in make:
            self.branch.append(make["residual"](leaving))
        self.shortcut = nn.Identity()
        if entering != leaving:
            self.shortcut = nn.Sequential(_conv(entering, leaving, 1, stride), nn.BatchNorm2d(leaving))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


def resnet50(place: str | None = None, make: Make | None = None) -> nn.Sequential:
    """ResNet-50 for 1000 classes: 25,557,032 parameters without attention.

    Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun: Deep Residual Learning for Image Recognition, 2016,
    arXiv:1512.03385, Table 1.

    Args:
        place: ``"residual"``: at the end of each unit's branch, after the last BN and before the addition.
        make: gives the module for a number of channels.

    Shapes:
        B 3 H W to B 1000.

    Differs: the stride of 2 stands in the 3×3 convolution of a unit, where the paper has it in the 1×1 before. That
    layout, often called v1.5, has the same parameters and is the one that is trained today.
    """
    at = {} if place is None else {place: make}
    units, entering = [], 64
    for stage, depth in enumerate((3, 4, 6, 3)):
        for i in range(depth):
            width = 64 * 2**stage
            units.append(_Bottleneck(entering, width, 2 if stage and not i else 1, at))
            entering = 4 * width
    stem = (_conv(3, 64, 7, 2), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(entering, 1000))
    return nn.Sequential(*stem, *units, *head)


# Every trunk, with the places it has.
TRUNKS = {"resnet50": (resnet50, ("residual",))}


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

    def make(channels: int) -> nn.Module:
        return create(slug, channels, **{k: v[channels] if isinstance(v, dict) else v for k, v in given.items()})

    return trunk(host.place, make)
