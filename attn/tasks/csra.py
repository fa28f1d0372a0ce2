# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Sheets with three small digits, and which three they are: what class-specific residual attention is for.

A digit takes 1/64 of the sheet, and scraps of other digits lie about; the labels say which digits are there and
not where. So a mean over all positions is mostly paper and scraps.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import unknown
from ..spatial.csra import CSRA
from .ram import PARTS, _sources

if TYPE_CHECKING:
    from ..experiment import Plan

DATA = "sheets of three digits"
CONTROL = "the same backbone with the mean over all positions and a linear layer"
RATES = (3e-3, 1e-2, 3e-2)
PROFILES = {
    "quick": {"epochs": 1, "images": 640, "val": 200, "size": 96, "batch": 32},
    "record": {"epochs": 8, "images": 1600, "val": 1000, "size": 96, "batch": 32},
}

CLASSES = 10
SHOWN, SCRAPS = 3, 4  # whole digits on a sheet, of different classes, and parts of others
CELL = 16  # the sheet's pixels fall into cells with one thing each, 12 pixels a side, somewhere in it
WIDTH = 32


def sheets(n: int, seed: int = 0, part: str = "train", side: int = 96) -> tuple[Tensor, Tensor, Tensor]:
    """``n`` sheets of ``side`` pixels, a multiple of 16 and at least 48.

    Args:
        part: ``"train"``, ``"tune"`` or ``"new"``: each draws from handwriting of its own.

    Returns:
        x (n 1 S S, 0 to 1), the labels (n 10, 1 where the digit is there, else 0), and the cell in which each digit
        stands (n 10, row by row, -1 where it is not there).

    Raises:
        ValueError: there is no such part.
    """
    if part not in PARTS:
        raise ValueError(unknown("part", part, PARTS))
    images, classes = _sources(part)
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high, *shape: torch.randint(high, (n, *shape), generator=generator)  # noqa: E731
    shown = torch.rand(n, CLASSES, generator=generator).argsort(1)[:, :SHOWN]
    rows = nn.utils.rnn.pad_sequence([(classes == c).nonzero()[:, 0] for c in range(CLASSES)], batch_first=True)
    digits = images[rows[shown, draw(2**20, SHOWN) % classes.bincount()[shown]]]  # n 3 12 12
    strip = torch.zeros(4, 12, 12)  # of a scrap less than half is left, at one of the four edges
    strip[0, :5] = strip[1, 7:] = strip[2, :, :5] = strip[3, :, 7:] = 1
    things = torch.cat([digits, images[draw(len(images), SCRAPS)] * strip[draw(4, SCRAPS)]], 1)

    cells = torch.rand(n, (side // CELL) ** 2, generator=generator).argsort(1)[:, : SHOWN + SCRAPS]
    corner = torch.stack([cells // (side // CELL), cells % (side // CELL)], 2) * CELL
    corner = corner + draw(CELL - 11, SHOWN + SCRAPS, 2)
    down, across = (corner[..., k, None] + torch.arange(12) for k in (0, 1))  # n 7 12
    x = torch.zeros(n, side, side)
    x[torch.arange(n)[:, None, None, None], down[..., None], across[..., None, :]] = things
    labels = torch.zeros(n, CLASSES).scatter(1, shown, 1.0)
    return x[:, None], labels, torch.full((n, CLASSES), -1).scatter(1, shown, cells[:, :SHOWN])


class Network(nn.Module):
    """Four convolutions, which make a map of 12 × 12 from a sheet of 96 × 96, and a head that scores the ten digits.

    Args:
        csra: options of CSRA, or None for the control's head, the mean over all positions and a linear layer.
    """

    def __init__(self, csra: dict | None = None):
        super().__init__()
        layers = [
            layer
            for entering, leaving, stride in ((1, 8, 2), (8, 16, 2), (16, WIDTH, 2), (WIDTH, WIDTH, 1))
            for layer in (
                nn.Conv2d(entering, leaving, 3, stride, 1, bias=False),
                nn.BatchNorm2d(leaving),
                nn.ReLU(),
            )
        ]
        self.backbone = nn.Sequential(*layers)
        if csra is None:  # drawn after the backbone, which so starts equal in both arms of a seed
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, CLASSES))
        else:
            self.head = CSRA(WIDTH, classes=CLASSES, **csra)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))


def learn(
    model: Network,
    x: Tensor,
    labels: Tensor,
    *,
    seed: int = 0,
    lr: float = RATES[1],
    epochs: int = 1,
    batch: int = 32,
    after: Callable[[int, float], None] | None = None,
) -> Network:
    """Fits ``model`` by Adam on the binary cross-entropy of the ten answers, in place; returns it.

    Args:
        seed: of the order of the sheets.
        lr: the rate of the first step; it falls to zero along half a cosine.
        after: called with the number of the epoch, from 1, and the mean loss in it.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * math.ceil(len(x) / batch))
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x), generator=generator).to(x.device).split(batch):
            loss = F.binary_cross_entropy_with_logits(model(x[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        if after:
            after(epoch, total / len(x))
    return model.eval()


@torch.no_grad()
def accuracy(model: Network, x: Tensor, labels: Tensor) -> float:
    """The share of the digits on the sheets that are among the three with the highest scores; guessing gives 0.3."""
    top = model.eval()(x).topk(SHOWN, 1).indices
    return float(labels.gather(1, top).mean())


@torch.no_grad()
def maps(model: Network, x: Tensor) -> Tensor:
    """The attention map of each digit in the first head, n 10 H W."""
    return model.head.attention(model.eval().backbone(x))[:, 0]


def found(a: Tensor, cells: Tensor) -> float:
    """The share of the maps of digits that are there that are largest in the digit's own cell; any cell: 1 in 36."""
    H, W = a.shape[2:]
    grid = math.isqrt(H * W) // 2  # a cell is 2 × 2 positions
    top = a.flatten(2).argmax(2)
    at = top // W * grid // H * grid + top % W * grid // W
    return float((at == cells)[cells >= 0].float().mean())


def fit(plan: "Plan", tell: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Trains the network with CSRA, or with the control's head where ``plan.condition`` is ``"control"``."""
    model = Network(None if plan.condition == "control" else plan.options).to(plan.device)
    counts = {"train": plan.images, "tune": plan.val, "new": plan.val}
    drawn = {part: sheets(n, plan.seed, part, plan.size) for part, n in counts.items()}
    parts = {part: [t.to(plan.device) for t in (x, labels)] for part, (x, labels, _) in drawn.items()}
    (new, _), cells = parts["new"], drawn["new"][2]
    before = None if plan.condition == "control" else maps(model, new).cpu()
    curve = []

    def after(epoch: int, loss: float) -> None:
        curve.append({"epoch": epoch, "loss": loss, "tuning": accuracy(model, *parts["tune"])})
        tell(epoch, plan.epochs, f"accuracy {curve[-1]['tuning']:.3f}")

    learn(model, *parts["train"], seed=plan.seed, lr=plan.lr0, epochs=plan.epochs, batch=plan.batch, after=after)
    metrics = {"accuracy": accuracy(model, *parts["new"]), "tuning": curve[-1]["tuning"]}
    if before is None:
        return {"metrics": metrics, "curve": curve}
    a = maps(model, new).cpu()
    engagement = {"moved": float((a - before).abs().mean()), "spread": float(a.std(0).mean())}
    return {"metrics": {**metrics, "found": found(a, cells)}, "curve": curve, "engagement": engagement}
