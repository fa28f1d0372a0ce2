# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Boards of glyphs, two of which share one glyph among others: what the Cross Attention Module is for.

An episode shows five classes once each and asks of which class a query is. A class is a glyph of random strokes that
no other episode has, so that nothing can be learned about a class, only how to compare. It stands somewhere on a
board, among glyphs that mean nothing, and nobody says which of them counts: only the other board can tell.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..cross.cross import CrossAttention

DATA = "glyphs"
CONTROL = "the same embedding and its pooled features, without cross attention"
RATES = (3e-3, 1e-2, 3e-2)
# An example is an episode, of five boards to know and five to name; each of the last counts in the accuracy.
PROFILES = {
    "quick": {"epochs": 1, "images": 240, "val": 100, "size": 48, "batch": 8},
    "record": {"epochs": 10, "images": 640, "val": 1000, "size": 48, "batch": 8},
}

WAYS = 5  # classes in an episode, and as many queries
GRID = 6  # cells along a board: the places that the embedding tells apart
OTHERS = 2  # glyphs on a board that mean nothing
WOBBLE = 0.02  # standard deviation of a corner of a glyph, in cells, from one board to the next
WIDTH = 64


class Episodes(NamedTuple):
    """Boards and what is asked about them.

    Args:
        classes: n 5 1 S S, one board a class. queries: n 5 1 S S.
        labels: n 5, the class of each query.
        class_places, query_places: n 5, the cell in which the glyph of the class stands, row · 6 + column.
    """

    classes: Tensor
    queries: Tensor
    labels: Tensor
    class_places: Tensor
    query_places: Tensor


def episodes(n: int, seed: int = 0, side: int = 48) -> Episodes:
    """``n`` episodes of boards of ``side`` pixels, with glyphs of their own."""
    return _draw(n, torch.Generator().manual_seed(seed), side)


def _draw(n: int, generator: torch.Generator, side: int) -> Episodes:
    labels = torch.randint(WAYS, (n, WAYS), generator=generator)
    glyphs = torch.rand(n, WAYS, 4, 2, generator=generator)  # the corners of one line each
    asked = glyphs.gather(1, labels[:, :, None, None].expand_as(glyphs))
    boards, places = zip(*(_boards(g.flatten(0, 1), generator, side) for g in (glyphs, asked)), strict=True)
    shaped = [t.unflatten(0, (n, WAYS)) for t in (*boards, *places)]
    return Episodes(shaped[0], shaped[1], labels, shaped[2], shaped[3])


def _boards(glyphs: Tensor, generator: torch.Generator, side: int) -> tuple[Tensor, Tensor]:
    """One board for every glyph, with ``OTHERS`` beside it, and the cell of each glyph."""
    n, cell = len(glyphs), side // GRID
    others = torch.rand(n, OTHERS, 4, 2, generator=generator)
    corners = torch.cat([glyphs[:, None], others], 1)
    corners = corners + WOBBLE * torch.randn(corners.shape, generator=generator)
    places = torch.rand(n, GRID**2, generator=generator).argsort(1)[:, : OTHERS + 1]
    cells = torch.zeros(n, GRID**2, cell, cell)
    cells[torch.arange(n)[:, None], places] = _strokes(corners.flatten(0, 1), cell).unflatten(0, (n, OTHERS + 1))
    board = cells.unflatten(1, (GRID, GRID)).transpose(2, 3).flatten(3).flatten(1, 2)  # n S S
    return board[:, None], places[:, 0]


def _strokes(corners: Tensor, cell: int) -> Tensor:
    """Lines through four corners in 0 to 1, drawn about two pixels wide into cells: n cell cell."""
    corners = 1 + corners * (cell - 2)
    start, step = corners[:, :-1, None], corners[:, 1:, None] - corners[:, :-1, None]  # n 3 1 2
    r = torch.arange(cell) + 0.5
    pixels = torch.cartesian_prod(r, r)
    along = ((pixels - start) * step).sum(3) / step.square().sum(3).clamp_min(1e-6)
    gap = (pixels - start - along.clamp(0, 1)[..., None] * step).norm(dim=3).amin(1)
    return (1.2 - gap).clamp(0, 1).unflatten(1, (cell, cell))


class Matcher(nn.Module):
    """Says how alike every query and every class are: the cosine of their pooled features, times a learned scale.

    Args:
        cross: weighs the two maps of every pair before they are pooled, or None for the control.
        side: of a board in pixels; the embedding sees each of its 6 × 6 cells by itself.

    Shapes:
        classes: B K 1 S S, queries: B M 1 S S, the result: B M K.
    """

    def __init__(self, cross: nn.Module | None = None, side: int = 48):
        super().__init__()
        self.side, cell = side, side // GRID
        self.embedding = nn.Sequential(
            *(nn.Conv2d(1, WIDTH, cell, cell), nn.BatchNorm2d(WIDTH), nn.ReLU()),
            *(nn.Conv2d(WIDTH, WIDTH, 1), nn.BatchNorm2d(WIDTH), nn.ReLU()),
        )
        self.cross = cross
        self.scale = nn.Parameter(torch.tensor(10.0))

    def maps(self, classes: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """What the embedding makes of both, B K C 6 6 and B M C 6 6, in one batch."""
        x = torch.cat([classes, queries], 1)
        maps = self.embedding(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return maps[:, : classes.shape[1]], maps[:, classes.shape[1] :]

    def forward(self, classes: Tensor, queries: Tensor) -> Tensor:
        p, q = self.maps(classes, queries)
        p, q = (p[:, None], q[:, :, None]) if self.cross is None else self.cross(p, q)
        return self.scale * F.cosine_similarity(p.mean((4, 5)), q.mean((4, 5)), dim=3)  # B M K


def train(
    model: Matcher, steps: int, seed: int | torch.Generator = 0, *, lr: float = RATES[1], batch: int = 8, tell=None
) -> list[float]:
    """Fits ``model`` in place to new episodes in every step and returns the loss of each.

    Adam on the cross-entropy of every query's scores, its rate falling to zero along half a cosine.

    Args:
        seed: of the episodes, or the generator that they go on being drawn from.
        lr: the rate of the first step. batch: episodes a step. tell: called with steps done, steps in all and a word.
    """
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    device, losses = model.scale.device, []
    model.train()
    for step in range(1, steps + 1):
        x = _draw(batch, generator, model.side)
        scores = model(x.classes.to(device), x.queries.to(device))
        loss = F.cross_entropy(scores.flatten(0, 1), x.labels.flatten().to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if tell:
            tell(step, steps, f"loss {losses[-1]:.3f}")
    model.eval()
    return losses


def fit(plan, tell) -> dict:
    """Trains the matcher with the module, or without it where ``plan.condition`` is ``"control"``."""
    model = Matcher(side=plan.size)  # drawn first, so that both arms of a seed start from one embedding
    if plan.condition != "control":
        model.cross = CrossAttention(WIDTH, **plan.options)
    model.to(plan.device).eval()
    generator = torch.Generator().manual_seed(plan.seed)
    tuning, val = (_draw(math.ceil(plan.val / WAYS), generator, plan.size) for _ in range(2))
    before = maps(model, val) if model.cross else None
    steps = math.ceil(plan.images / plan.batch)  # an epoch's
    losses = train(model, plan.epochs * steps, generator, lr=plan.lr0, batch=plan.batch, tell=tell)
    result = {
        "metrics": {"accuracy": accuracy(model, val), "tuning": accuracy(model, tuning)},
        "curve": [
            {"epoch": e + 1, "loss": sum(losses[e * steps : (e + 1) * steps]) / steps} for e in range(plan.epochs)
        ],
    }
    if model.cross:
        after = maps(model, val)
        result["metrics"]["found"] = found(after, val)
        result["engagement"] = {"moved": float((after - before).abs().mean()), "spread": float(after.std(0).mean())}
    return result


@torch.no_grad()
def accuracy(model: Matcher, x: Episodes) -> float:
    """The share of queries whose class has the highest score; guessing gives 0.2."""
    scores = torch.cat([model(*part).cpu() for part in _parts(model, x)])
    return float((scores.argmax(2) == x.labels).float().mean())


@torch.no_grad()
def maps(model: Matcher, x: Episodes) -> Tensor:
    """The attention map of every query beside its own class, n 5 6 6."""
    a = [model.cross.attention(*model.maps(*part))["queries"].cpu() for part in _parts(model, x)]
    a = torch.cat(a)  # n 5 5 6 6
    return a.gather(2, x.labels[:, :, None, None, None].expand(-1, -1, 1, GRID, GRID))[:, :, 0]


def found(a: Tensor, x: Episodes) -> float:
    """The share of maps, n 5 6 6, that are largest on the glyph that the query shares with its class."""
    return float((a.flatten(2).argmax(2) == x.query_places).float().mean())


def _parts(model: Matcher, x: Episodes, size: int = 20):
    """The boards of ``size`` episodes at a time, where the model is."""
    for part in zip(x.classes.split(size), x.queries.split(size), strict=True):
        yield tuple(t.to(model.scale.device) for t in part)
