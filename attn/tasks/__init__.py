# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Small tasks, ``attn.tasks.<slug>`` each: they make the need for one mechanism visible in seconds.

A task draws inputs and targets; :func:`learn` fits a model to them and :func:`error` says how far it came.

Where no detector can hold the mechanism, its task is also what records are made of, trained by :func:`fit`. Its file
then has

- ``DATA``: what its examples are called;
- ``CONTROL``: in a few words, what it is compared with;
- ``RATES``: the learning rates that both arms try, the middle one being the default;
- ``PROFILES``: for ``"quick"`` and ``"record"`` the ``epochs``, ``images``, ``val`` (examples to train and to measure
  on), ``size`` and ``batch``;
- ``fit(plan, tell)``: trains the mechanism, or its control where ``plan.condition`` is ``"control"``, at the rate
  ``plan.lr0``, both arms of a seed on the same examples; calls ``tell(done, total, word)``; returns ``metrics``, with
  ``accuracy`` over ``plan.val`` new examples and ``tuning``, the accuracy over as many others, by which the rate is
  chosen; ``curve``, a list of dicts; and, where it has a map, ``engagement``.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..registry import unknown

if TYPE_CHECKING:
    from ..experiment import Plan


def of(slug: str) -> ModuleType:
    """The task of a mechanism, imported only when it is asked for.

    Raises:
        ValueError: there is none under this name.
    """
    there = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))
    if slug not in there:
        raise ValueError(unknown("task", slug, there))
    return importlib.import_module(f"{__name__}.{slug}")


def __getattr__(slug: str) -> ModuleType:
    try:
        return of(slug)
    except ValueError as e:
        raise AttributeError(str(e)) from None


def fit(plan: "Plan", progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Trains what the plan of a small task says, from its seed, on one processor's thread count, repeatably.

    Returns:
        What the task's own ``fit`` gives: ``metrics``, ``curve`` and perhaps ``engagement``.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(plan.threads)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(plan.seed)
            return of(plan.slug).fit(plan, progress or (lambda done, total, text="": None))
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


def image_error(plan: "Plan", control: "Plan") -> float:
    """0: every seed is measured on examples of its own, so the spread over seeds holds the error over examples."""
    return 0.0


def learn(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    steps: int = 300,
    lr: float = 0.03,
    batch: int = 64,
    loss: Callable[[Tensor, Tensor], Tensor] = nn.functional.mse_loss,
) -> nn.Module:
    """Fits ``model`` to (x, target) by Adam on the loss, in place, batches in order; returns it."""
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for step in range(steps):
        rows = torch.arange(step * batch, (step + 1) * batch) % len(x)
        optimiser.zero_grad()
        loss(model(x[rows]), target[rows]).backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def error(model: nn.Module, x: Tensor, target: Tensor) -> float:
    """The mean squared error as a share of the target's variance: 0 is perfect, 1 is no better than the mean."""
    return float((model(x) - target).square().mean() / target.var())
