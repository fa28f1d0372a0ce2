# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The register: one mechanism = one slug = one file, and the card of facts that everything else reads.

The slug is the file's name and the family is its folder, so neither is ever written down twice:
``attn/channel/se.py`` is the mechanism ``se`` of the family ``channel``.
"""

import difflib
import fnmatch
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

# The axis that the map chooses along, in the order of the book.
FAMILIES = ("channel", "spatial", "mixed", "pairwise", "video", "glimpse", "cross")

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Map:
    """One tensor that ``attention`` returns.

    Args:
        shape: its axes, separated by blanks. B, C, H, W and T mean the input's; N = H·W; a number is itself; any
            other letter is free, but the same wherever it stands in one call (``"B h N N"``).
        range: the smallest and largest value it can take, or None where it is not bounded.
        sums: the axes over which it adds up to one (``"C"``, ``"H W"``; the last of a letter that stands twice), or
            None.
    """

    shape: str
    range: tuple[float, float] | None = None
    sums: str | None = None


@dataclass(frozen=True)
class Printed:
    """What is printed of a network, in the unit and with the digits in which it is printed.

    Args:
        table: where: a table of a paper, or of the authors' README.
        params, macs: as printed (``"26.77 M"``, ``"3.87 G"``); empty where there is none.
        convention: what was counted and what M and G are: a name that ``attn.hosts.CONVENTIONS`` knows.
        why: what is known of the difference from our count, where there is one.
    """

    table: str
    params: str = ""
    macs: str = ""
    convention: str = "plain"
    why: str = ""


@dataclass(frozen=True)
class Host:
    """The paper's own network with the mechanism where the paper puts it.

    Args:
        trunk: a name that ``attn.hosts`` knows (``"resnet50"``).
        place: where in the trunk, in the words of ``attn.hosts`` (``"residual"``: on the branch before the addition).
        params: the exact number of parameters that must come out.
        source: where that number is printed or how it follows.
        options: passed to the mechanism; a dict gives the value for each channel count (``{256: 3, 512: 5}``).
        classes: how many the network tells apart, where that is not the trunk's default.
        inputs: the shape of each input without its batch, for multiply-adds; a clip is ``"8 3 224 224"``.
        printed: the figures that are printed of it.
    """

    trunk: str
    place: str
    params: int
    source: str
    options: dict[str, Any] = field(default_factory=dict)
    classes: int | None = None
    inputs: tuple[str, ...] = ("3 224 224",)
    printed: tuple[Printed, ...] = ()


@dataclass(frozen=True)
class Card:
    """The facts of one mechanism.

    Args:
        name: the name the field uses. title, authors, year, venue, paper: the paper, ``paper`` being its address.
        code, code_licence: the authors' own code and its licence (an SPDX name, ``"none"`` where it has none),
            or None where none was found.
        shape_in: the axes of each input. shape_out: those of the result, in the same letters; a dict where ``forward``
            returns a named tuple.
        maps: what ``attention`` returns: a :class:`Map`, or a dict of them in the order in which they are applied.
        params: ``params(C, **options)`` counts the parameters by hand.
        macs: ``macs(C, H, W, **options)`` counts the multiply-adds of one image by hand.
        order: how the cost grows (``"C²/r + C·H·W"``).
        studied: the options the paper varies, each with the values it tries.
        widths: the smallest channel count and the number every channel count is a multiple of.
        hosts: the paper's own networks, the first being the one that its tables name; where there is none,
            ``limits["hosts"]`` says why.
        symmetries: what commutes with the module, from ``"shift" "flip" "transpose" "permute"`` (of positions) and
            ``"channels"`` (permuting them with the weights fixed).
        detector: how a detector takes it: ``"layer"``, ``"replace"``, ``"inside"``, or None where none can; then
            ``limits["detector"]`` says why, and ``attn.tasks.<slug>`` is the small task that records are made of.
        from_conv: where it replaces a convolution, the names in its state dict that take over the convolution's
            tensors, and theirs there (``{"weight": "weight"}``).
        rebuild: ``rebuild(module, attention, *inputs)`` computes ``forward`` from what ``attention`` returned; None
            where that is the product of x with every map in turn. ``limits["rebuild"]`` says why it has no meaning.
        limits: promises of the contract that it cannot keep, each with the reason.
        dims: the sizes that ``example`` gives to other letters (``{"T": 8}``), or to H and W where only one size runs.
    """

    slug: str
    family: str
    cls: type[nn.Module]
    name: str
    title: str
    authors: tuple[str, ...]
    year: int
    venue: str
    paper: str
    maps: Map | dict[str, Map]
    params: Callable[..., int]
    macs: Callable[..., int]
    order: str
    code: str | None = None
    code_licence: str | None = None
    shape_in: tuple[str, ...] = ("B C H W",)
    shape_out: str | dict[str, str] = "B C H W"
    studied: dict[str, tuple] = field(default_factory=dict)
    widths: tuple[int, int] = (8, 8)
    hosts: tuple[Host, ...] = ()
    symmetries: tuple[str, ...] = ()
    detector: str | None = "layer"
    from_conv: dict[str, str] = field(default_factory=dict)
    rebuild: Callable[..., Any] | None = None
    limits: dict[str, str] = field(default_factory=dict)
    dims: dict[str, int] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Any]:
        """The keyword options of the class, with the paper's defaults."""
        parameters = inspect.signature(self.cls).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @property
    def given(self) -> str:
        """The shape of the result in words: ``"B C H W"``, or the name and shape of each part."""
        parts = self.shape_out
        return parts if isinstance(parts, str) else ", ".join(f"{name} {shape}" for name, shape in parts.items())

    @property
    def keeps_shape(self) -> bool:
        """Whether one input of a shape comes out in that shape, so that it can stand anywhere in a network."""
        return self.shape_in == (self.shape_out,)

    def example(
        self, channels: int = 64, size: tuple[int, int] = (20, 20), batch: int = 2, seed: int = 0
    ) -> tuple[Tensor, ...]:
        """Valid inputs, drawn from a normal distribution with a generator of their own."""
        generator = torch.Generator().manual_seed(seed)
        known = {"B": batch, "C": channels, "H": size[0], "W": size[1], **self.dims}
        return tuple(torch.randn([known[a] for a in s.split()], generator=generator) for s in self.shape_in)


def register(**facts) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator: gives the class its card. The keywords are the fields of :class:`Card`."""

    def decorate(cls):
        *_, family, slug = cls.__module__.split(".")
        cls.card = Card(slug=slug, family=family, cls=cls, **facts)
        return cls

    return decorate


@functools.cache
def _files() -> dict[str, Path]:
    """Every mechanism's file by slug, in the order of the families and then of the alphabet."""
    found = {}
    for family in FAMILIES:
        for path in sorted((_HERE / family).glob("[!_]*.py")):
            if path.stem in found:
                raise ImportError(f"the slug {path.stem!r} is taken twice: {found[path.stem]} and {path}")
            found[path.stem] = path
    return found


@functools.cache
def class_names() -> dict[str, str]:
    """The registered class of each slug, read from the sources without importing any of them."""
    registered = re.compile(r"^@register\(.*?^class (\w+)", re.MULTILINE | re.DOTALL)
    found = {slug: registered.search(path.read_text("utf-8")) for slug, path in _files().items()}
    if bare := [str(_files()[slug]) for slug, match in found.items() if match is None]:
        raise ImportError(f"{', '.join(bare)}: a mechanism's file has a class behind @register(...)")
    return {slug: match[1] for slug, match in found.items()}


def names(family: str | None = None, pattern: str = "*") -> list[str]:
    """The slugs of a family (all of them by default) that match a shell pattern.

    Raises:
        ValueError: the family does not exist.
    """
    if family is not None and family not in FAMILIES:
        raise ValueError(unknown("family", family, FAMILIES))
    return [s for s, p in _files().items() if family in (None, p.parent.name) and fnmatch.fnmatchcase(s, pattern)]


def card(slug: str) -> Card:
    """The card of a mechanism.

    Raises:
        ValueError: there is no such slug; the message names the nearest ones.
    """
    path = _files().get(slug)
    if path is None:
        raise ValueError(unknown("mechanism", slug, _files(), also={name: s for s, name in class_names().items()}))
    module = importlib.import_module(f"attn.{path.parent.name}.{slug}")
    return getattr(module, class_names()[slug]).card


def create(slug: str, channels: int, **options) -> nn.Module:
    """A mechanism for inputs of ``channels`` channels; ``options`` are those of its class.

    Raises:
        ValueError: the slug or an option does not exist, or a value is out of range; the message names the bad value
            and the nearest good ones.
    """
    facts = card(slug)
    for option in options:
        if option not in facts.options:
            raise ValueError(unknown(f"option of {slug}", option, facts.options))
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise ValueError(f"channels must be a whole number of at least 1, not {channels!r}")
    return facts.cls(channels, **options)


def unknown(kind: str, value: Any, good: Iterable[str], also: dict[str, str] | None = None) -> str:
    """One line for a value that does not exist: the value, the nearest good ones, and all of them if they are few."""
    good, also = [str(g) for g in good], also or {}
    lowered = {g.lower(): g for g in good} | {a.lower(): g for a, g in also.items()}
    word = str(value).lower()
    close = [c for c in lowered if sorted(c) == sorted(word)]  # of two letters exchanged difflib makes little
    close += difflib.get_close_matches(word, lowered, n=3, cutoff=0.5)
    nearest = list(dict.fromkeys(lowered[c] for c in close))[:3]
    text = f"unknown {kind} {value!r}"
    if nearest:
        text += f"; did you mean {' or '.join(repr(n) for n in nearest)}?"
    if len(good) <= 12:
        text += "" if nearest else "."
        text += f" There {'is' if len(good) == 1 else 'are'}: {', '.join(good) or 'none'}."
    return text


def largest_divisor(n: int, at_most: int) -> int:
    """The largest divisor of ``n`` that is not above ``at_most``: how default group and head counts are fitted."""
    return next(d for d in range(min(n, at_most), 0, -1) if n % d == 0)
