# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Sprites with a telling head and a body that says the same less plainly: what ADL is for."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .. import tasks

CLASSES = 3
SIDE = 24
NOISE = 0.1


def sprites(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of one sprite each, in three classes that its head and its body both tell.

    The head, 4 × 4 at a random place above the body, is red, green or blue, twice as bright as anything else. The body,
    8 × 8, has grey stripes of mean 0, lying, standing or slanting: a texture, where the head needs one channel.
    The rest is noise.

    Returns:
        x (n 3 24 24), the classes (n), and where head and body are, of 0 and 1 (n 2 24 24).
    """
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(CLASSES, (n,), generator=generator)
    i = torch.arange(8)
    wave = 1.0 - 2 * (i % 4 // 2)  # two on, two off
    bodies = 0.5 * torch.stack([wave[:, None].expand(8, 8), wave.expand(8, 8), wave[(i[:, None] + i) % 8]])
    x = NOISE * torch.randn(n, CLASSES, SIDE, SIDE, generator=generator)
    parts = torch.zeros(n, 2, SIDE, SIDE)
    corners = [torch.randint(high + 1, (n,), generator=generator).tolist() for high in (SIDE - 12, SIDE - 8, 4)]
    for b, (top, left, shift) in enumerate(zip(*corners, strict=True)):
        head = slice(top, top + 4), slice(left + shift, left + shift + 4)
        body = slice(top + 4, top + 12), slice(left, left + 8)
        parts[b, 0][head] = parts[b, 1][body] = 1
        x[b, label[b]][head] += 2
        x[b][:, *body] += bodies[label[b]]
    return x, label, parts


def headless(x: Tensor, parts: Tensor, seed: int = 0) -> Tensor:
    """The same pictures with background in place of the head."""
    noise = NOISE * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(parts[:, :1] > 0, noise, x)


def classifier(layer: Callable[[int], nn.Module] = lambda channels: nn.Identity(), width: int = 12) -> nn.Sequential:
    """Three convolutions with ``layer(width)`` behind the last two, then a map for each class, and its mean.

    The maps in front of the mean are class activation maps (Zhou et al., 2016): ``classifier[:-1]``.
    """
    return nn.Sequential(
        *(nn.Conv2d(3, width, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), layer(width)),
        *(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), layer(width)),
        nn.Conv2d(width, CLASSES, 1),
        Mean(),
    )


class Mean(nn.Module):
    """B C H W to B C."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def learn(model: nn.Module, x: Tensor, label: Tensor, steps: int = 150, lr: float = 0.01, batch: int = 32) -> nn.Module:
    """Fits ``model`` by Adam on the cross-entropy, in place, batches in order; returns it."""
    return tasks.learn(model, x, label, steps, lr, batch, nn.functional.cross_entropy)


@torch.no_grad()
def accuracy(model: nn.Module, x: Tensor, label: Tensor) -> float:
    return float((model(x).argmax(1) == label).float().mean())


@torch.no_grad()
def cam(model: nn.Sequential, x: Tensor, label: Tensor) -> Tensor:
    """The map of each picture's own class from 0 to 1, its smallest and largest value, as large as the picture."""
    maps = model[:-1](x)[torch.arange(len(x)), label][:, None]  # B 1 H/2 W/2
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return nn.functional.interpolate((maps - low) / (high - low).clamp(min=1e-12), size=x.shape[2:], mode="bilinear")


def overlap(maps: Tensor, parts: Tensor) -> tuple[float, float, float]:
    """How well the best threshold cuts the sprites out of the maps, and what lies above it.

    The threshold is one for all pictures and chosen with the truth, alike for every model.

    Returns:
        intersection over union, mean over the pictures; the share of the heads and that of the bodies that is covered.
    """
    truth, best = parts.sum(1, keepdim=True) > 0, (0.0, 0.0, 0.0)
    for threshold in torch.arange(1, 20) / 20:
        above = maps >= threshold
        iou = ((above & truth).sum((1, 2, 3)) / (above | truth).sum((1, 2, 3))).mean()
        head, body = ((above * parts).sum((0, 2, 3)) / parts.sum((0, 2, 3))).tolist()
        best = max(best, (float(iou), head, body))
    return best
