# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets with three small handwritten digits, and the question which ones: what class-specific residual attention is for.

The sheet is nine times as large as a digit, so a mean over all positions is mostly paper and scraps. The labels say
which digits are there and not where.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..spatial.csra import CSRA
from .ram import PARTS, _sources

if TYPE_CHECKING:
    from ..experiment import Plan

DATA = "three digits on a sheet"
CONTROL = "the same backbone, its mean over all positions and a linear layer"
RATES = (1e-3, 3e-3, 1e-2)
PROFILES = {
    "quick": {"epochs": 1, "images": 640, "val": 300, "size": 64, "batch": 32},
    "record": {"epochs": 8, "images": 1600, "val": 1000, "size": 64, "batch": 32},
}

CLASSES, SHOWN, CELL, SCRAPS = 10, 3, 16, 4
WIDTH = 32


def sheets(n: int, seed: int = 0, part: str = "train", side: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """x n 1 S S, labels n 10, cells n 10."""
    images, classes = _sources(part)
    generator = torch.Generator().manual_seed(seed)
    grid = side // CELL
    members = [(classes == c).nonzero()[:, 0] for c in range(CLASSES)]
    shown = torch.rand(n, CLASSES, generator=generator).argsort(1)[:, :SHOWN]
    counts = torch.tensor([len(m) for m in members])
    pick = (torch.rand(n, SHOWN, generator=generator) * counts[shown]).long()
    table = nn.utils.rnn.pad_sequence(members, batch_first=True)  # 10 most
    digits = images[table[shown, pick]]  # n 3 12 12
    scraps = images[torch.randint(len(images), (n, SCRAPS), generator=generator)]
    keep = torch.zeros(n, SCRAPS, 12, 12)
    half = torch.randint(4, (n, SCRAPS), generator=generator)
    masks = torch.zeros(4, 12, 12)
    masks[0, :5] = masks[1, 7:] = masks[2, :, :5] = masks[3, :, 7:] = 1
    scraps = scraps * masks[half]
    ink = torch.cat([digits, scraps], 1)
    m = SHOWN + SCRAPS
    cells = torch.rand(n, grid**2, generator=generator).argsort(1)[:, :m]
    off = torch.randint(CELL - 11, (n, m, 2), generator=generator)
    x = torch.zeros(n, side, side)
    rows = (cells // grid * CELL + off[..., 0])[..., None] + torch.arange(12)
    cols = (cells % grid * CELL + off[..., 1])[..., None] + torch.arange(12)
    x[torch.arange(n)[:, None, None, None], rows[..., :, None], cols[..., None, :]] = ink
    labels = torch.zeros(n, CLASSES).scatter_(1, shown, 1.0)
    where = torch.full((n, CLASSES), -1).scatter_(1, shown, cells[:, :SHOWN])
    return x[:, None], labels, where


class Mean(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.classify = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classify(x.mean((2, 3)))


def network(head):
    layers = []
    for a, b in ((1, 16), (16, 32), (32, WIDTH)):
        layers += [nn.Conv2d(a, b, 3, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(WIDTH, WIDTH, 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(), head)
