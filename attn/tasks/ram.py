# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""A digit somewhere on an empty sheet, of which a glimpse sees a part: what RAM is for.

The training of Mnih et al. (2014): cross-entropy for what is decided, REINFORCE for where to look. Beside it stands
their own control, the same network that looks at random places.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..registry import unknown

if TYPE_CHECKING:
    from ..experiment import Plan
    from ..glimpse.ram import RAM

DATA = "translated digits"
CONTROL = "the same network, which looks at random places"
RATES = (5e-4, 1e-3, 2e-3)
PROFILES = {
    "quick": {"epochs": 1, "images": 12_800, "val": 1000, "size": 32, "batch": 64},
    "record": {"epochs": 8, "images": 16_000, "val": 4000, "size": 32, "batch": 64},
}

# Three looks at 8×8 pixels, and at 32×32 averaged down to 8×8: the wide patch tells where the digit is.
OPTIONS = {"glimpses": 3, "side": 8, "scales": 2, "growth": 4}
WORST = -3.0  # the least reward: a lone bad guess must not outweigh a batch

PARTS = {"train": (0.0, 0.5), "tune": (0.5, 0.75), "new": (0.75, 1.0)}


@functools.cache
def _sources(part: str) -> tuple[Tensor, Tensor]:
    """scikit-learn's handwritten digits of one part, enlarged from 8×8 to 12×12: n 12 12 in 0 to 1, and classes, n.

    The list goes writer by writer, so the parts of a class are mostly from different hands.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise ImportError("the task of ram needs scikit-learn: pip install attn[yolo]") from e
    bunch = load_digits()
    low, high = PARTS[part]
    classes = torch.from_numpy(bunch.target)
    of_class = [(classes == c).nonzero()[:, 0] for c in range(10)]
    rows = torch.cat([r[round(low * len(r)) : round(high * len(r))] for r in of_class])
    images = torch.from_numpy(bunch.images).float()[rows, None] / 16
    return nn.functional.interpolate(images, size=(12, 12), mode="bilinear", align_corners=False)[:, 0], classes[rows]


def sheets(n: int, seed: int = 0, part: str = "train", side: int = 32) -> tuple[Tensor, Tensor, Tensor]:
    """One handwritten digit of 12×12 pixels at a random place of an empty sheet.

    Args:
        part: ``"train"``, ``"tune"`` or ``"new"``: each draws from handwriting of its own.
        side: of the sheet in pixels, at least 12.

    Returns:
        x (n 1 H W, 0 to 1), the classes (n), and the middles of the digits (n 2), x before y, the sheet being
        [-1, 1]².

    Raises:
        ValueError: there is no such part.
    """
    if part not in PARTS:
        raise ValueError(unknown("part", part, PARTS))
    images, classes = _sources(part)
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(images), (n,), generator=generator)
    corner = torch.randint(side - 11, (n, 2), generator=generator)  # column, row
    x = torch.zeros(n, side, side)
    across, down = (corner[:, k, None] + torch.arange(12) for k in (0, 1))  # n 12
    x[torch.arange(n)[:, None, None], down[:, :, None], across[:, None]] = images[which]
    return x[:, None], classes[which], (2 * corner + 12) / side - 1


def anywhere(model: "RAM", x: Tensor) -> Tensor:
    """What the control looks at: the middle, as the policy, then uniformly random places, B T 2."""
    places = 2 * torch.rand(len(x), model.glimpses, 2, device=x.device) - 1
    places[:, 0] = 0
    return places


def learn(
    model: "RAM",
    x: Tensor,
    target: Tensor,
    *,
    lr: float = RATES[1],
    epochs: int = 1,
    batch: int = 64,
    random: bool = False,
    hit: bool = False,
    after: Callable[[int, float], None] | None = None,
) -> "RAM":
    """Fits ``model`` by Adam, in place; returns it.

    Three losses are added. Cross-entropy reaches the layers that see, remember and classify. REINFORCE reaches the
    location network alone: log N(l; μ, σ²) of every place that was drawn, weighted with the advantage, reward minus
    baseline, brought to mean 0 and deviation 1 over the batch. The squared error of the baseline reaches the baseline
    alone. So each weight has one loss, and Adam does not see the size of a gradient: no factor stands between them.

    Args:
        random: looks at random places instead, and leaves the last two losses out.
        hit: the paper's reward, 1 for the right class and else 0; by default it is the log-probability of the right
            class, at least ``WORST``.
        after: called with the number of the epoch, from 1, and the mean cross-entropy in it.
    """
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).to(x.device).split(batch):
            out = model(x[rows], anywhere(model, x[rows]) if random else None)
            scores = out.logits.log_softmax(1)
            right = scores.gather(1, target[rows, None])  # B 1
            loss = -right.mean()
            total += float(loss.detach()) * len(rows)
            if not random:
                guess = scores.argmax(1, keepdim=True)
                reward = (guess == target[rows, None]).float() if hit else right.detach().clamp(min=WORST)
                advantage = reward - out.baseline.detach()  # B T-1
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-6)
                drawn = -((out.places[:, 1:] - out.means) / model.std).square().sum(2) / 2  # log N, without constants
                loss = loss - (drawn * advantage).sum(1).mean() + (out.baseline - reward).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if after:
            after(epoch, total / len(x))
    return model.eval()


@torch.no_grad()
def looks(model: "RAM", x: Tensor, random: bool = False):
    """What the model gives for all of ``x`` in evaluation mode, at its own places or at random ones."""
    return model.eval()(x, anywhere(model, x) if random else None)


def accuracy(model: "RAM", x: Tensor, target: Tensor, random: bool = False) -> float:
    """The share of ``x`` that it classifies rightly."""
    return float((looks(model, x, random).logits.argmax(1) == target).float().mean())


def fit(plan: "Plan", tell: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Trains RAM, or its control, as :mod:`attn.tasks` says; the engagement is that of the chosen places."""
    from ..glimpse.ram import RAM

    model = RAM(1, **{**OPTIONS, **plan.options}).to(plan.device)
    random = plan.condition == "control"
    counts = {"train": plan.images, "tune": plan.val, "new": plan.val}
    drawn = {part: sheets(n, plan.seed, part, plan.size) for part, n in counts.items()}
    parts = {part: [t.to(plan.device) for t in (x, target)] for part, (x, target, _) in drawn.items()}
    curve, start = [], looks(model, parts["tune"][0]).places

    def after(epoch: int, loss: float) -> None:
        curve.append({"epoch": epoch, "loss": loss, "tuning": accuracy(model, *parts["tune"], random)})
        tell(epoch, plan.epochs, f"accuracy {curve[-1]['tuning']:.3f}")

    learn(model, *parts["train"], lr=plan.lr0, epochs=plan.epochs, batch=plan.batch, random=random, after=after)
    result = {
        "metrics": {"accuracy": accuracy(model, *parts["new"], random), "tuning": curve[-1]["tuning"]},
        "curve": curve,
    }
    if not random:
        end = looks(model, parts["tune"][0]).places[:, 1:]
        moved, spread = (end - start[:, 1:]).abs().mean(), end.std(0).mean()
        result["engagement"] = {"moved": float(moved), "spread": float(spread)}
    return result
