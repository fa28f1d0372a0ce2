# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Small tasks that a page solves in seconds: each makes the need for one mechanism visible.

A task draws inputs and targets; :func:`learn` fits a model to them and :func:`error` says how far it came.
"""

import torch
from torch import Tensor, nn

from . import datasets

STAMP_CHANNELS = ("red", "green", "blue", "change →", "change ↓", "change ↘", "change ↗", "brightness")


def stamps(n: int, seed: int = 0, held_out: bool = False, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Grey photographs with a stamp whose colour says which of two channels is wanted.

    A crop of a grey photograph carries a red or blue square on a quarter of its area, at a random place. The target is
    the change from one pixel to its right neighbour where the square is red, to its lower neighbour where it is blue.
    The colour stands only inside the square, so no function of a single pixel can know which one is wanted, while the
    mean of the red and the blue channel over the image tells. The channels of x are named by ``STAMP_CHANNELS``.

    Args:
        held_out: draws from other photographs. side: of the crops, in pixels.

    Returns:
        x (n 8 H W), the target (n 1 H W), and whether each stamp is red (n).
    """
    images, *_ = datasets.photographs(size=128, n=8)
    photographs = torch.from_numpy(images).float().mean(-1) / 255  # 8 128 128
    photographs = photographs[torch.arange(8) % 3 == 2] if held_out else photographs[torch.arange(8) % 3 != 2]
    generator = torch.Generator().manual_seed(seed)

    def below(limit: int) -> Tensor:
        return torch.randint(limit, (n,), generator=generator)

    which, top, left = below(len(photographs)), below(127 - side), below(127 - side)
    p = torch.stack(
        [photographs[k, i : i + side + 1, j : j + side + 1] for k, i, j in zip(which, top, left, strict=True)]
    )
    here, right, down, diagonal = p[:, :-1, :-1], p[:, :-1, 1:], p[:, 1:, :-1], p[:, 1:, 1:]
    changes = [5 * (a - b).abs() for a, b in ((right, here), (down, here), (diagonal, here), (down, right))]
    rgb = here[:, None].repeat(1, 3, 1, 1)
    red, half = below(2).bool(), side // 2
    for b, (i, j) in enumerate(zip(below(half), below(half), strict=True)):
        rgb[b, :, i : i + half, j : j + half] = torch.tensor([float(red[b]), 0.0, float(not red[b])])[:, None, None]
    target = torch.where(red[:, None, None], changes[0], changes[1])
    return torch.cat([rgb, torch.stack([*changes, here], 1)], 1), target[:, None], red


MARK_CHANNELS = ("signal 1", "signal 2", "red", "blue", "dots")


def marks(n: int, seed: int = 0, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Two signals; the colour of a square says which of them is wanted, and dots say where.

    The signals are noise between -1/4 and 1/4. A red or blue square on a quarter of the map, at a random place, asks
    for the first or the second. Two dots of 4, at random places, ask for it at no more than three steps from a dot
    along either axis. The target is the wanted signal there, in its own channel, and 0 elsewhere. Most positions see
    neither the square nor a dot, so no function of a single pixel knows which or where. The channels of x are named by
    ``MARK_CHANNELS``.

    Args:
        side: of the map; there is a dot for every 128 positions.

    Returns:
        x (n 5 H W), the target (n 2 H W), and whether each square is red (n).
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, len(MARK_CHANNELS), side, side)
    x[:, :2] = torch.rand(n, 2, side, side, generator=generator) / 2 - 0.25
    red, half = torch.rand(n, generator=generator) < 0.5, side // 2
    corners = torch.randint(side - half + 1, (n, 2), generator=generator).tolist()
    for b, (i, j) in enumerate(corners):
        x[b, 2 if red[b] else 3, i : i + half, j : j + half] = 1
    places = torch.rand(n, side * side, generator=generator).topk(side * side // 128).indices
    x[:, 4] = torch.zeros(n, side * side).scatter_(1, places, 4.0).unflatten(1, (side, side))
    near = nn.functional.max_pool2d(x[:, 4:], 7, 1, 3) > 0  # n 1 H W
    wanted = torch.stack([red, ~red], 1)[:, :, None, None]
    return x, x[:, :2] * wanted * near, red


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


def levels(n: int, seed: int = 0, held_out: bool = False, side: int = 16, count: int = 32) -> tuple[Tensor, Tensor]:
    """Grey photographs taken apart by grey level, of which those commoner than both neighbouring levels are wanted.

    Channel c of x is ``count`` where a pixel has grey level c and 0 elsewhere, so the channel means are the histogram,
    1 on average. The target keeps x in every channel whose mean is above those of the two channels beside it, and is 0
    in the others; beyond the darkest and the brightest level the histogram counts as 0. Each crop has an exposure of
    its own, so that a level means nothing by itself.

    Args:
        held_out: draws from other photographs. side: of the crops, in pixels. count: of the grey levels.

    Returns:
        x and the target, both n ``count`` H W.
    """
    images, *_ = datasets.photographs(size=128, n=8)
    photographs = torch.from_numpy(images).float().mean(-1) / 255  # 8 128 128
    photographs = photographs[torch.arange(8) % 3 == 2] if held_out else photographs[torch.arange(8) % 3 != 2]
    generator = torch.Generator().manual_seed(seed)
    which, top, left = (torch.randint(m, (n,), generator=generator) for m in (len(photographs), 129 - side, 129 - side))
    p = torch.stack([photographs[k, i : i + side, j : j + side] for k, i, j in zip(which, top, left, strict=True)])
    p = p - p.mean((1, 2), keepdim=True) + torch.rand(n, 1, 1, generator=generator)
    level = (p * count).long().clamp(0, count - 1)
    x = count * nn.functional.one_hot(level, count).movedim(3, 1).float()  # n count H W
    z = nn.functional.pad(x.mean((2, 3)), (1, 1))
    peak = (z[:, 1:-1] > z[:, :-2]) & (z[:, 1:-1] > z[:, 2:])
    return x, x * peak[:, :, None, None]
