# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""The layer that ultralytics builds: ``[-1, 1, nn.Attend, [se, ch, f]]`` is a mechanism as a row of a model's YAML.

Ultralytics looks module names up in ``torch.nn``, scales the widths of its own classes only, and replaces the strings
``ch`` and ``f`` by its list of widths and the row's source. So one class under one name takes ``ch[f]`` and is right at
every scale, and the row keeps its strings, from which a checkpoint rebuilds it at any width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..fresh import CONTROLS
from ..registry import card, create, unknown

STARTS = ("plain", "identity")
NO_IDENTITY = (
    "start='identity' has no meaning at replace: the convolution is gone, so the network cannot begin as it was; "
    "there start is 'plain'"
)


def check(attention: str, start: str, options: dict[str, Any]) -> None:
    """Refuses what no detector can hold, before anything is built.

    Raises:
        ValueError: there is no such mechanism, option or start, or the mechanism does not keep its input's shape.
    """
    if start not in STARTS:
        raise ValueError(unknown("start", start, STARTS))
    facts = None if attention in CONTROLS else card(attention)
    for option in options:
        if facts is None or option not in facts.options:
            raise ValueError(unknown(f"option of {attention}", option, facts.options if facts else ()))
    if facts and (facts.detector is None or not facts.keeps_shape):
        raise ValueError(
            f"{attention} cannot be a layer of a detector: it takes {' and '.join(facts.shape_in)} and gives "
            f"{facts.given}"
        )


class Attend(nn.Module):
    """A mechanism as one layer, for as many channels as arrive.

    Args:
        attention: the slug of a mechanism, or the name of a control.
        ch: the widths of all layers so far (ultralytics fills it in).
        f: the layer that is read (ultralytics fills it in).
        start: ``"plain"``: y = A(x). ``"identity"``: y = x + α(A(x) − x) with a trained α that starts at 0, so that
            the network computes what it computed before the layer came.
        options: those of the mechanism.

    Shapes:
        x, y: B C H W with C = ch[f].

    Raises:
        ValueError: as :func:`check`, or the mechanism refuses these channels or changes the shape.
    """

    def __init__(
        self, attention: str, ch: list[int], f: int, start: str = "plain", options: dict[str, Any] | None = None
    ):
        super().__init__()
        options = options or {}
        check(attention, start, options)
        self.slug, self.start, self.channels = attention, start, ch[f]
        # Random numbers drawn here are given back, so that every other layer starts as it would without this one.
        # On the processor, as all of ultralytics' models are built, even where insert lays out the rest on meta.
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):
            make = CONTROLS.get(attention)
            self.mechanism = make(ch[f]) if make else create(attention, ch[f], **options)
            self._probe()
        self.alpha = nn.Parameter(torch.zeros(())) if start == "identity" else None  # α

    def _probe(self) -> None:
        x = torch.zeros(1, self.channels, 8, 8)
        with torch.no_grad():
            y = self.mechanism.eval()(x)
        self.mechanism.train()
        if not isinstance(y, Tensor) or y.shape != x.shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else f"a {type(y).__name__}"
            raise ValueError(f"{self.slug} turns {tuple(x.shape)} into {got}; a layer must keep the shape")

    def forward(self, x: Tensor) -> Tensor:
        y = self.mechanism(x)
        return y if self.alpha is None else x + self.alpha * (y - x)

    def extra_repr(self) -> str:
        return f"{self.slug!r}, start={self.start!r}"


class Instead(nn.Module):
    """A mechanism in the place of a convolution, between it and the BatchNorm and activation that stood behind it.

    Args:
        conv: ultralytics' Conv, whose ``bn`` and ``act`` are kept, under their names.
        attention, start, options: as in :class:`Attend`.

    Shapes:
        x, y: B C H W.

    Raises:
        ValueError: the convolution changes the number of channels or the size; or the start is identity, which would
            be x, and not what the convolution gave.
    """

    def __init__(self, conv: nn.Module, attention: str, start: str = "plain", options: dict[str, Any] | None = None):
        super().__init__()
        if start == "identity":
            raise ValueError(NO_IDENTITY)
        if not fits(conv):
            old = conv.conv
            raise ValueError(
                f"{attention} gives as many channels as it gets, at stride 1: it cannot stand for a convolution from "
                f"{old.in_channels} to {old.out_channels} channels at stride {old.stride[0]}"
            )
        self.conv = Attend(attention, [conv.conv.in_channels], 0, start, options)
        self.bn, self.act = conv.bn, conv.act
        vars(self).update({name: vars(conv)[name] for name in ("i", "f", "type") if name in vars(conv)})  # of a layer

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


def fits(conv: nn.Module) -> bool:
    """Whether a mechanism, which keeps the shape, can stand for this convolution."""
    return conv.conv.in_channels == conv.conv.out_channels and set(conv.conv.stride) == {1}


nn.Attend = Attend
