# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Moving glyphs, and a blink whose moment says which way to read the motion: what TAM is for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..registry import create

if TYPE_CHECKING:
    from ..experiment import Plan

DATA = "moving glyphs"
CONTROL = "one learned filter along time for all clips, of the same length, in TAM's place"
RATES = (0.003, 0.01, 0.03)
PROFILES = {
    "quick": {"epochs": 6, "images": 256, "val": 128, "size": 16, "batch": 32},
    "record": {"epochs": 16, "images": 768, "val": 500, "size": 16, "batch": 32},
}

STEPS = {"right": (0, 2), "left": (0, -2), "down": (2, 0), "up": (-2, 0)}  # pixels a frame, down and to the right
BACKWARDS = (1, 0, 3, 2)  # for each direction the number of the opposite one
BLINKS = ((2, 3), (4, 5))  # of 8 frames: where an early and where a late blink can be


def clips(n: int, seed: int = 0, side: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Clips of 8 frames in which a glyph moves, and the direction of the motion, told backwards if a blink comes late.

    The glyph, a random pattern of 5 × 5 pixels of 0 or 1 in noise from 0 to 1/5, is new in each clip, and so is the
    place where it starts; where it leaves the picture it comes back on the other side. In one frame of ``BLINKS`` all
    pixels are 1 darker.

    No frame alone tells anything of the direction. Three neighbouring frames tell the motion, but not whether the blink
    was early or late, which only a look at the whole clip can tell.

    Args:
        side: of the frames, even.

    Returns:
        x (n 8 1 H W), the direction asked for, as a number in ``STEPS`` (n), and the frame of the blink (n).
    """
    generator = torch.Generator().manual_seed(seed)
    glyph = (torch.rand(n, 5, 5, generator=generator) < 0.5).float()
    moves = torch.randint(len(STEPS), (n,), generator=generator)
    start = torch.randint(side, (n, 2), generator=generator)
    blink = torch.randint(BLINKS[0][0], BLINKS[1][1] + 1, (n,), generator=generator)
    x = torch.rand(n, 8, side, side, generator=generator) / 5
    picture = nn.functional.pad(glyph, (0, side - 5, 0, side - 5))
    steps = torch.tensor(list(STEPS.values()))[moves]  # n 2
    for t in range(8):
        for b, corner in enumerate((start + t * steps).tolist()):
            x[b, t] += picture[b].roll(corner, (0, 1))
    x[torch.arange(n), blink] -= 1
    asked = torch.where(blink >= BLINKS[1][0], torch.tensor(BACKWARDS)[moves], moves)
    return x[:, :, None], asked, blink


class Network(nn.Module):
    """Three convolutions over pictures, the maximum over positions, the mean over frames, one linear layer.

    Its convolutions wrap around the edges as the glyphs do, and the stride of the first is their step, so no layer
    knows a position, and the mean knows no order. So without ``mixing`` it has one answer for all four directions.

    Args:
        mixing: what stands behind the first convolution, on B T C H W of ``width`` channels; None for nothing.

    Shapes: x: B T 1 H W, y: B 4, a score for each direction.
    """

    def __init__(self, mixing: nn.Module | None = None, width: int = 16):
        super().__init__()

        def layer(entering: int, leaving: int, stride: int = 1) -> nn.Sequential:
            conv = nn.Conv2d(entering, leaving, 3, stride, 1, bias=False, padding_mode="circular")
            return nn.Sequential(conv, nn.BatchNorm2d(leaving), nn.ReLU())

        self.first = layer(1, width, 2)
        self.mixing = mixing or nn.Identity()
        self.rest = nn.Sequential(layer(width, 2 * width), layer(2 * width, 2 * width))
        self.head = nn.Linear(2 * width, len(STEPS))

    def seen(self, x: Tensor) -> Tensor:
        """What ``mixing`` gets, B T C H W."""
        return self.first(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mixing(self.seen(x))
        frames = self.rest(mixed.flatten(0, 1)).amax((2, 3)).unflatten(0, x.shape[:2])  # B T C
        return self.head(frames.mean(1))


class FixedFilter(nn.Module):
    """A learned filter along time for each channel, the same for every clip: TAM without its two branches.

    Shapes: x, y: B T C H W.
    """

    def __init__(self, channels: int, kernel_size: int = 3):
        super().__init__()
        sizes = {"kernel_size": (kernel_size, 1, 1), "padding": (kernel_size // 2, 0, 0)}
        self.conv = nn.Conv3d(channels, channels, groups=channels, bias=False, **sizes)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.movedim(1, 2)).movedim(2, 1)


def train(
    network: nn.Module,
    x: Tensor,
    asked: Tensor,
    *,
    epochs: int,
    lr: float = RATES[1],
    batch: int = 32,
    tell: Callable[[int, int, str], None] = lambda done, total, text="": None,
) -> list[float]:
    """Fits the network by Adam on the cross-entropy, in place, batches drawn by torch's random numbers.

    Returns:
        The mean loss of each epoch.
    """
    optimiser, curve = torch.optim.Adam(network.parameters(), lr=lr), []
    network.train()
    for epoch in range(epochs):
        losses = []
        for rows in torch.randperm(len(x), device=x.device).split(batch):
            loss = nn.functional.cross_entropy(network(x[rows]), asked[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        curve.append(sum(losses) / len(losses))
        tell((epoch + 1) * len(losses), epochs * len(losses), f"loss {curve[-1]:.3f}")
    network.eval()
    return curve


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, asked: Tensor) -> float:
    """The share of clips for which it gives the direction asked for."""
    guesses = torch.cat([network(part).argmax(1) for part in x.split(100)])
    return float((guesses == asked).float().mean())


def fit(plan: "Plan", tell: Callable[[int, int, str], None]) -> dict[str, Any]:
    """Trains the network with TAM, or with a fixed filter in its place; see :mod:`attn.tasks`."""
    control = plan.condition == "control"
    with torch.random.fork_rng(devices=[]):  # so that the rest of both arms starts alike, and takes the same batches
        mixing = FixedFilter(16) if control else create(plan.slug, 16, **plan.options)
    network = Network(mixing).to(plan.device)

    def draw(n: int, part: int) -> tuple[Tensor, Tensor]:
        x, asked, _ = clips(n, 3 * plan.seed + part, plan.size)
        return x.to(plan.device), asked.to(plan.device)

    learning, tuning, test = draw(plan.images, 0), draw(plan.val, 1), draw(plan.val, 2)
    start = None if control else kernels(network, test[0])
    losses = train(network, *learning, epochs=plan.epochs, lr=plan.lr0, batch=plan.batch, tell=tell)
    result = {
        "metrics": {"accuracy": accuracy(network, *test), "tuning": accuracy(network, *tuning)},
        "curve": [{"epoch": i + 1, "loss": loss} for i, loss in enumerate(losses)],
    }
    if start is not None:
        end = kernels(network, test[0])
        result["engagement"] = {"moved": float((end - start).abs().mean()), "spread": float(end.std(0).mean())}
    return result


@torch.no_grad()
def kernels(network: Network, x: Tensor) -> Tensor:
    """The kernels Θ that a network with TAM makes for the clips, in evaluation mode, B C K."""
    network.eval()
    return torch.cat([network.mixing.attention(network.seen(part))["kernel"] for part in x.split(100)])
