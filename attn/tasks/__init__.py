# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Small tasks, ``attn.tasks.<slug>`` each: they make the need for one mechanism visible in seconds.

A task draws inputs and targets; :func:`learn` fits a model to them and :func:`error` says how far it came.
"""

import importlib
from pathlib import Path

import torch
from torch import Tensor, nn

from ..registry import unknown


def __getattr__(slug: str):
    """The task of a mechanism, imported only when it is asked for."""
    there = sorted(p.stem for p in Path(__file__).parent.glob("[!_]*.py"))
    if slug not in there:
        raise AttributeError(unknown("task", slug, there))
    return importlib.import_module(f"{__name__}.{slug}")


def learn(
    model: nn.Module, x: Tensor, target: Tensor, steps: int = 300, lr: float = 0.03, batch: int = 64
) -> nn.Module:
    """Fits ``model`` to (x, target) by Adam on the squared error, in place, batches in order; returns it."""
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    model.train()
    for step in range(steps):
        rows = torch.arange(step * batch, (step + 1) * batch) % len(x)
        optimiser.zero_grad()
        nn.functional.mse_loss(model(x[rows]), target[rows]).backward()
        optimiser.step()
    return model.eval()


@torch.no_grad()
def error(model: nn.Module, x: Tensor, target: Tensor) -> float:
    """The mean squared error as a share of the target's variance: 0 is perfect, 1 is no better than the mean."""
    return float((model(x) - target).square().mean() / target.var())
