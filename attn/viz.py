# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""One look for every figure and table of the book: heat maps, block diagrams, curves, intervals, cards.

Every function returns an object that a notebook shows by itself when it is the last line of a cell; nothing here keeps
state, and the same input gives the same bytes. Colours are told apart by colour-blind readers (Okabe and Ito), text is
9 pt at the width of a page, and a white card under each figure keeps it legible in a dark theme.
"""

import dataclasses
import functools
import importlib
import inspect
import io
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import registry
from .measure import Table
from .registry import Card, Map, unknown

WIDTH = 7.2  # inches, the text column of the site
SEQUENTIAL = "viridis"  # gates and weights
DIVERGING = "PuOr_r"  # signed values
INK, FAINT, PALE, PAPER = "#1b1b1b", "#767676", "#c4c4c4", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", INK)
DASHES = ("-", "--", ":", "-.")
MARKS = ("o", "s", "^", "D", "v", "P", "X")

# One fill for each kind of box; the kinds drawn as a circle carry a sign instead of their name.
KINDS = {
    "tensor": PAPER,
    "pool": "#cfe8f7",
    "linear": "#ffe6b3",
    "conv": "#ffd2ba",
    "norm": "#ececec",
    "relu": "#e6dff2",
    "gate": "#bfe6d8",
    "softmax": "#dcefb4",
    "concat": "#f3d9e7",
    "mechanism": "#eef3f7",
    "multiply": PAPER,
    "add": PAPER,
    "matmul": PAPER,
}
SIGNS = {"multiply": "×", "add": "+", "matmul": "@"}

_STYLE = {
    "svg.hashsalt": "attn",
    "svg.fonttype": "path",  # no reader needs our font
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 2,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.08,
}


def _matplotlib(name: str = "matplotlib"):
    try:
        return importlib.import_module(name)
    except ImportError as e:
        raise ImportError("figures need matplotlib: pip install attn[book]") from e


def _styled(draw):
    """Runs a drawing function under the style of the book, whatever the reader's own settings are."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs):
        matplotlib = _matplotlib()
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
            return draw(*args, **kwargs)

    return wrapper


class Drawing:
    """A finished figure, shown by a notebook as SVG.

    Args:
        figure: a matplotlib figure that was not made through pyplot, so that nothing shows it a second time.
    """

    def __init__(self, figure):
        self.figure = figure

    def _bytes(self, kind: str) -> bytes:
        out = io.BytesIO()
        with _matplotlib().rc_context(_STYLE):
            self.figure.savefig(out, format=kind, dpi=200, metadata={"Date": None} if kind == "svg" else None)
        return out.getvalue()

    def _repr_svg_(self) -> str:
        return self._bytes("svg").decode()

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"Drawing({width:.1f} x {height:.1f} in)"

    def save(self, path: str | Path) -> None:
        """Writes the figure; the ending chooses the format (``.svg``, ``.png``, ``.pdf``)."""
        Path(path).write_bytes(self._bytes(Path(path).suffix[1:]))


class Source:
    """The source of a class as the package has it, shown with highlighting."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.text}```"


def source(cls: type) -> Source:
    """A class as the package has it, without its card: what a page shows, so that no page retypes one."""
    return Source(re.sub(r"\A@register\(.*?^\)\n", "", inspect.getsource(cls), flags=re.DOTALL | re.MULTILINE))


def card(slug: str) -> Table:
    """The head of a chapter: the facts of the mechanism's card and what the records say of it."""
    facts = registry.card(slug)
    when = facts.venue if str(facts.year) in facts.venue else f"{facts.venue} {facts.year}"
    rows = {
        "paper": f"{', '.join(facts.authors)}: [{facts.title}]({facts.paper}), {when}",
        "family": facts.family,
        "in → out": f"{', '.join(facts.shape_in)} → {facts.given}",
        "map": "; ".join(f"{name} {_describe(m)}".strip() for name, m in _maps(facts).items()),
        "options": ", ".join(f"{name} = {value}" for name, value in facts.options.items()) or "none",
        "parameters": f"{facts.params(256):,} at C = 256",
        "cost grows as": facts.order,
        "measured here": _said(slug),
    }
    return Table({"": name, facts.name: value} for name, value in rows.items())


def family(name: str) -> Table:
    """The mechanisms of a family in the order of their years, each linked to its chapter."""
    cards = sorted(map(registry.card, registry.names(name)), key=lambda c: (c.year, c.slug))
    return Table(
        {
            "mechanism": f"[{c.name}]({c.slug}.ipynb)",
            "year": str(c.year),
            "map": ", ".join(m.shape for m in _maps(c).values()),
            "parameters at C = 256": c.params(256),
            "cost grows as": c.order,
        }
        for c in cards
    )


def _maps(facts: Card) -> dict[str, Map]:
    return facts.maps if isinstance(facts.maps, dict) else {"": facts.maps}


def _describe(m: Map) -> str:
    text = f"{m.shape}, {m.range[0]:g} to {m.range[1]:g}" if m.range else m.shape
    return f"{text}, adds up to one over {m.sums}" if m.sums else text


def _said(slug: str) -> str:
    """What the records say of a mechanism beside the plain detector, or its small task's control, for each setup."""
    from . import experiment, tasks

    to, beside = "none", "mAP50-95 beside the plain detector"
    if registry.card(slug).detector is None:
        to, beside = "control", f"accuracy beside {tasks.of(slug).CONTROL}"
    # A quick run says nothing, and what a condition changes is not the mechanism's own doing.
    found = [r for r in experiment.read(slug, condition="plain") if r.plan.profile != "quick"]
    said = []
    for setup in dict.fromkeys((r.plan.profile, r.plan.data, str(r.plan.at or "")) for r in found):
        alike = [r for r in found if (r.plan.profile, r.plan.data, str(r.plan.at or "")) == setup]
        runs = f"{'short' if setup[0] == 'record' else setup[0]} runs on {', '.join(filter(None, setup[1:]))}"
        for row in experiment.compare(slug, to=to, records=alike).rows:
            interval = "" if row.low is None else f" ({row.low:+.4f} to {row.high:+.4f})"
            said.append(
                f"{runs}{row.mechanism.removeprefix(slug)}: {row.difference:+.4f} {beside}"
                f"{interval}, {row.n} pairs" + (f": {row.verdict}" if row.verdict else "")
            )
    return "; ".join(said) or "no run of record yet"


@_styled
def heat(
    a: Tensor | Mapping[str, Tensor],
    x: Tensor | None = None,
    *,
    labels: Sequence[str] | None = None,
    scale: tuple[float, float] = (0.0, 1.0),
) -> Drawing:
    """Attention maps beside the pictures that they belong to, coloured on one absolute scale.

    Every panel has the same scale and prints its smallest and largest value: a flat map looks flat.

    Args:
        a: what ``module.attention(x)`` returns, or a dict of such tensors. B C 1 1 is drawn as one bar a channel,
            B M H W as M maps over the picture.
        x: the pictures, B 3 H W in 0 to 1, or None.
        labels: a name for each picture.
        scale: the values at the two ends of the colours. Where it is symmetric about zero the colours diverge.

    Raises:
        ValueError: a map is not four-dimensional, has another batch than the rest, holds a value outside ``scale``
            or one that is not finite.
    """
    maps = dict(a) if isinstance(a, Mapping) else {"": a}
    maps = {name: m.detach().to("cpu", torch.float32) for name, m in maps.items()}
    batch = len(next(iter(maps.values())))
    for name, m in maps.items():
        which = f"the map {name!r}" if name else "the map"
        if m.dim() != 4 or len(m) != batch:
            raise ValueError(f"{which} must be {batch} M H W or {batch} C 1 1, not {' '.join(map(str, m.shape))}")
        if not (m.isfinite().all() and scale[0] <= m.min() and m.max() <= scale[1]):
            raise ValueError(f"{which} runs from {m.min():.3g} to {m.max():.3g}, outside the scale {scale}")
    if x is not None and (x.dim() != 4 or x.shape[:2] != (batch, 3)):
        raise ValueError(f"the pictures must be {batch} 3 H W, not {' '.join(map(str, x.shape))}")
    if labels is not None and len(labels) != batch:
        raise ValueError(f"{len(labels)} labels for {batch} pictures")

    pictures = None if x is None else x.detach().to("cpu", torch.float32).clamp(0, 1)
    panels = [] if x is None else [("", None)]
    for name, m in maps.items():
        panels += [(name, m[:, :, 0, 0])] if m.shape[2:] == (1, 1) else [(name, m[:, k]) for k in range(m.shape[1])]
    kinds = ["picture" if p is None else "bars" if p.dim() == 2 else "map" for _, p in panels]
    # Bars are wide, so pictures run down the page; maps are as large as pictures, which then run across it.
    down = "bars" in kinds
    across = kinds if down else ["map"] * batch
    free = WIDTH - 0.12 * len(across) - 0.42 * across.count("bars") - (0.6 if "map" in kinds else 0)
    side = min(1.7, free / (len(across) + 1.5 * across.count("bars")))
    h, w = max((m.shape[2:] for m in maps.values()), key=max) if x is None else x.shape[2:]
    tall = min(side * h / w, 1.7) if max(h, w) > 1 else 1.0  # one bar chart is one inch high
    step = tall + 0.28
    n_down = batch if down else len(panels)
    bottom = 0.42 if down else 0.08
    figure = _figure(WIDTH, n_down * step + bottom)
    scaled = _matplotlib("matplotlib.cm").ScalarMappable(
        _matplotlib("matplotlib.colors").Normalize(*scale), DIVERGING if scale[0] == -scale[1] else SEQUENTIAL
    )

    def place(row: int, left: float, width: float, height: float = tall):
        """Axes whose corner and size are given in inches."""
        full_w, full_h = figure.get_size_inches()
        y = full_h - (row + 1) * step
        return figure.add_axes((left / full_w, y / full_h, width / full_w, height / full_h))

    for b in range(batch):
        left = 0.0 if down else b * (side + 0.12)
        for p, (name, panel) in enumerate(panels):
            wide = 2.5 * side if kinds[p] == "bars" else side
            left += 0.42 if kinds[p] == "bars" else 0
            axes = place(b if down else p, left, wide)
            if kinds[p] == "bars":
                _bars(axes, panel[b], scaled, scale, last=b == batch - 1)
            else:
                _picture(axes, None if pictures is None else pictures[b], None if panel is None else panel[b], scaled)
            text = labels[b] if panel is None and labels is not None else ""
            if panel is not None:
                text = f"{name} {panel[b].min():.2f} to {panel[b].max():.2f}".strip()
                text = f"{labels[b]}: {text}" if labels is not None and p == 0 else text
            axes.text(0, 1.03, text, transform=axes.transAxes, va="bottom")
            left += wide + 0.12 if down else 0
    if "map" in kinds:
        left = left if down else batch * (side + 0.12)
        bar = figure.colorbar(scaled, cax=place(n_down - 1, left, 0.12, n_down * step - 0.28))
        bar.outline.set_visible(False)
    return Drawing(figure)


def _bars(axes, gates: Tensor, scaled, scale, last: bool) -> None:
    n, middle = len(gates), sum(scale) / 2
    axes.bar(range(n), gates.numpy(), width=0.86 if n <= 64 else 1.0, color=scaled.to_rgba(gates.numpy()))
    axes.axhline(middle, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set(ylim=scale, xlim=(-0.6, n - 0.4), yticks=[scale[0], middle, scale[1]])
    axes.tick_params(axis="x", labelbottom=last, length=2 if last else 0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if last:
        axes.set_xlabel("channel", labelpad=2)


def _picture(axes, picture: Tensor | None, values: Tensor | None, scaled) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if values is None:
        axes.imshow(picture.movedim(0, -1).numpy(), interpolation="none")
        return
    h, w = values.shape if picture is None else picture.shape[1:]
    if picture is not None:  # pale and grey, so that the colours of the map stay readable
        axes.imshow((0.5 + 0.5 * picture.mean(0)).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes.imshow(
        scaled.to_rgba(values.numpy()), alpha=None if picture is None else 0.7, interpolation="nearest",
        extent=(-0.5, w - 0.5, h - 0.5, -0.5),
    )  # fmt: skip


@_styled
def paths(places: Mapping[str, Tensor], x: Tensor, *, side: int, labels: Sequence[str] | None = None) -> Drawing:
    """Sequences of looks over the pictures that they belong to: a square for each, numbered, joined in their order.

    Args:
        places: for each row of the figure the middles of the looks, B T 2, x before y, the picture being [-1, 1]².
        x: the pictures, B 1 H W or B 3 H W in 0 to 1. side: of a square, in pixels. labels: a name for each picture.

    Raises:
        ValueError: the places are not B T 2 for the B pictures.
    """
    pictures = x.detach().to("cpu", torch.float32).clamp(0, 1).expand(-1, 3, -1, -1)
    batch, _, h, w = pictures.shape
    wide, left = min(1.7, (WIDTH - 0.7) / batch - 0.08), 0.7
    tall = wide * h / w
    figure = _figure(left + batch * (wide + 0.08), len(places) * (tall + 0.08) + (0.22 if labels else 0.02))
    full_w, full_h = figure.get_size_inches()
    rectangle = _matplotlib("matplotlib.patches").Rectangle
    for row, (name, middles) in enumerate(places.items()):
        if middles.dim() != 3 or (len(middles), middles.shape[2]) != (batch, 2):
            raise ValueError(f"the places {name!r} must be {batch} T 2, not {' '.join(map(str, middles.shape))}")
        y = full_h - (row + 1) * (tall + 0.08) - (0.2 if labels else 0)
        figure.text(0, (y + tall / 2) / full_h, name, va="center")
        for b, looks in enumerate(middles.detach().cpu()):
            axes = figure.add_axes(
                ((left + b * (wide + 0.08)) / full_w, y / full_h, wide / full_w, tall / full_h),
                xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5), xticks=[], yticks=[],
            )  # fmt: skip
            axes.imshow(pictures[b].movedim(0, -1).numpy(), interpolation="none", aspect="auto")
            across, down = (looks[:, 0] + 1) * w / 2 - 0.5, (looks[:, 1] + 1) * h / 2 - 0.5
            axes.plot(across, down, color=COLOURS[5], linewidth=1.5)
            for t, (i, j) in enumerate(zip(across.tolist(), down.tolist(), strict=True)):
                corner = (i - side / 2, j - side / 2)
                axes.add_patch(rectangle(corner, side, side, fill=False, edgecolor=COLOURS[t % 6], linewidth=1.5))
                axes.text(*corner, str(t + 1), color=INK, va="center", ha="center",
                          bbox={"facecolor": PAPER, "edgecolor": COLOURS[t % 6], "pad": 1.2})  # fmt: skip
            if labels and row == 0:
                axes.text(0.5, 1.03, labels[b], transform=axes.transAxes, ha="center", va="bottom")
    return Drawing(figure)


@_styled
def diagram(*chains: str, lit: Iterable[str] | None = None) -> Drawing:
    """A block diagram, laid out from chains of boxes.

    A chain reads ``"tensor x | C H W > pool mean | C 1 1 > multiply > tensor y"``: boxes joined by ``>``, each a kind
    (one of ``KINDS``), a label, and after ``|`` the shape that leaves it. The same words are the same box wherever they
    stand (``multiply#2`` is a second one), so a branch is one more chain that starts and ends on boxes of another.
    Each chain that brings new boxes gets a row of its own, and a box stands to the right of all that feed it.

    Args:
        chains: the rows, from top to bottom.
        lit: the boxes of this step (``"pool mean"``); the rest is drawn pale. None lights everything.

    Raises:
        ValueError: a kind or a lit box does not exist, the arrows form a loop, or one would run through a box.
    """
    boxes, edges = _layout(chains)
    lit = set(boxes) if lit is None else set(lit)
    for name in lit - set(boxes):
        raise ValueError(unknown("box", name, boxes))
    columns = range(1 + max(b.column for b in boxes.values()))
    # A column that holds only circles is narrower.
    widths = [0.55 if all(b.kind in SIGNS for b in boxes.values() if b.column == c) else 1.0 for c in columns]
    pitch = min(1.05, WIDTH / sum(widths))
    if pitch < 0.74:
        raise ValueError(f"{len(widths)} boxes in a row do not fit the page; leave some out or draw two diagrams")

    lane = 0.85
    figure = _figure(pitch * sum(widths), lane * (1 + max(b.row for b in boxes.values())))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, figure.get_figwidth()), ylim=(-figure.get_figheight(), 0))
    axes.axis("off")
    centre = {
        n: (pitch * (sum(widths[: b.column]) + widths[b.column] / 2), -lane * (b.row + 0.4)) for n, b in boxes.items()
    }
    for a, b in edges:
        (x0, y0), (x1, y1) = centre[a], centre[b]
        (out, down), (into, up) = boxes[a].half, boxes[b].half
        if y0 == y1:
            path = [(x0 + out, y0), (x1 - into, y1)]
        elif y0 > y1:  # down, then across in the lower row
            path = [(x0, y0 - down), (x0, y1), (x1 - into, y1)]
        else:  # across in the lower row, then up
            path = [(x0 + out, y0), (x1, y0), (x1, y1 - up)]
        on = a in lit and b in lit
        line = {"color": INK if on else PALE, "linewidth": 1.4 if on else 1.0, "zorder": 1 + on}
        axes.plot(*zip(*path, strict=True), solid_joinstyle="round", **line)
        arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 10, **line}
        axes.annotate("", path[-1], path[-2], arrowprops=arrow)
    for name, box in boxes.items():
        _draw_box(axes, box, *centre[name], on=name in lit)
    return Drawing(figure)


class _Box(NamedTuple):
    kind: str
    label: str
    shape: str
    row: int
    column: int

    @property
    def half(self) -> tuple[float, float]:
        """Half its width and half its height, in inches."""
        return (0.17, 0.17) if self.kind in SIGNS else (0.3, 0.23)


def _layout(chains: Sequence[str]) -> tuple[dict[str, _Box], list[tuple[str, str]]]:
    """Where every box stands, and the arrows."""
    rows, shapes, edges = {}, {}, []
    for chain in chains:
        parts = [tuple(part.strip() for part in box.partition("|")) for box in chain.split(">")]
        row = 1 + max(rows.values(), default=-1)
        for name, _, shape in parts:
            kind = (name.partition("#")[0].split() or [""])[0]
            if kind not in KINDS:
                raise ValueError(unknown("kind of box", kind, KINDS))
            rows.setdefault(name, row)
            shapes[name] = shape or shapes.get(name, "")
        edges += [(a, b) for (a, *_), (b, *_) in itertools.pairwise(parts)]
    columns = dict.fromkeys(rows, 0)
    for _ in rows:
        for a, b in edges:
            columns[b] = max(columns[b], columns[a] + 1)
    if any(columns[b] <= columns[a] for a, b in edges):
        raise ValueError(f"the arrows form a loop: {' / '.join(chains)}")
    for a, b in edges:
        lower, turn = max(rows[a], rows[b]), columns[a if rows[a] < rows[b] else b]
        for n in rows.keys() - {a, b}:
            across = rows[n] == lower and columns[a] < columns[n] < columns[b]
            beside = columns[n] == turn and min(rows[a], rows[b]) < rows[n] <= lower
            if across or beside:
                raise ValueError(f"the arrow from {a!r} to {b!r} would run through {n!r}; order the chains differently")
    boxes = {}
    for name in rows:
        kind, _, label = name.partition("#")[0].partition(" ")
        boxes[name] = _Box(kind, label, shapes[name], rows[name], columns[name])
    return boxes, edges


def _draw_box(axes, box: _Box, x: float, y: float, on: bool) -> None:
    patches = _matplotlib("matplotlib.patches")
    look = {"facecolor": KINDS[box.kind] if on else PAPER, "edgecolor": INK if on else PALE, "zorder": 4}
    half, tall = box.half
    corner = (x - half, y - tall)
    below = box.shape
    if box.kind in SIGNS:
        patch, text = patches.Circle((x, y), half, **look), SIGNS[box.kind]
    elif box.kind == "tensor":  # its shape stands inside, because arrows leave it downwards
        patch = patches.Rectangle(corner, 2 * half, 2 * tall, linestyle=(0, (3, 2)), **look)
        text, below = f"{box.label}\n{box.shape}".strip(), ""
    else:
        rounded = "round,pad=0,rounding_size=0.06"
        patch = patches.FancyBboxPatch(corner, 2 * half, 2 * tall, boxstyle=rounded, **look)
        text = box.label if box.kind == "mechanism" else f"{box.kind}\n{box.label}".strip()
    axes.add_patch(patch)
    font = {"ha": "center", "color": INK if on else FAINT, "zorder": 5}
    axes.text(x, y, text, va="center", fontsize=13 if box.kind in SIGNS else 9, **font)
    axes.text(x, y - tall - 0.04, below, va="top", **font)


@_styled
def curves(
    series: Mapping[str, Any], *, x: Sequence[float] | None = None, xlabel: str, ylabel: str, log: bool = False
) -> Drawing:
    """Lines over steps or values, each named at its end.

    Args:
        series: name: one list of numbers, or several of the same length (one a seed: thin lines with their mean thick).
        x: where the numbers stand; 1, 2, 3, ... by default.
        xlabel, ylabel: what the axes show, in lower case, with the unit.
        log: both axes logarithmic, so that a power is a straight line.

    Raises:
        ValueError: lists of different lengths.
    """
    figure = _figure(WIDTH * 0.8, 2.6)
    axes = figure.add_axes((0.11, 0.17, 0.7, 0.8))
    ends = []
    for i, (name, values) in enumerate(series.items()):
        values = torch.as_tensor(values, dtype=torch.float64)
        values = values[None] if values.dim() == 1 else values
        places = list(range(1, values.shape[1] + 1)) if x is None else list(x)
        if len(places) != values.shape[1]:
            raise ValueError(f"{name!r} has {values.shape[1]} values for {len(places)} places")
        look = {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i % len(DASHES)]}
        if len(values) > 1:
            for line in values.tolist():
                axes.plot(places, line, linewidth=0.8, alpha=0.5, **look)
        mean = values.mean(0).tolist()
        axes.plot(places, mean, marker="o" if len(places) <= 12 else None, markersize=4, **look)
        ends.append((mean[-1], name, look["color"], places[-1]))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if log:
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(places, [f"{p:g}" for p in places])
        axes.minorticks_off()
    height = math.log10 if log else float
    low, high = map(height, axes.get_ylim())
    points = 0.8 * 2.6 * 72 / (high - low)  # the height of one unit
    y = float("-inf")
    for value, name, colour, end in sorted(ends):  # names are moved apart where their lines end close together
        y = max(height(value), y + 12 / points)
        offset = (6, (y - height(value)) * points)
        axes.annotate(name, (end, value), offset, textcoords="offset points", color=colour, va="center")
    if not log and all(isinstance(p, int) for p in places):
        axes.xaxis.get_major_locator().set_params(integer=True)
    return Drawing(figure)


@_styled
def intervals(
    rows: Mapping[str, tuple[float, float, float] | None],
    *,
    xlabel: str,
    zero: float | None = None,
    band: float | None = None,
) -> Drawing:
    """Dots with their intervals, one row each.

    Args:
        rows: name: (value, lower end, upper end), or None where there is no record.
        xlabel: what is measured, with the unit.
        zero: where a vertical line marks no difference.
        band: half the width of the strip around ``zero`` inside which a difference counts as none.

    Raises:
        ValueError: an interval that does not hold its value.
    """
    figure = _figure(WIDTH * 0.8, 0.7 + 0.3 * len(rows))
    height = figure.get_figheight()
    axes = figure.add_axes((0.24, 0.5 / height, 0.74, 1 - 0.5 / height))
    for i, (name, row) in enumerate(rows.items()):
        if row is None:
            axes.text(0.02, i, "no record", transform=axes.get_yaxis_transform(), va="center", color=FAINT)
            continue
        value, low, high = row
        if not low <= value <= high:
            raise ValueError(f"the interval of {name!r}, {low} to {high}, does not hold its value {value}")
        _interval(axes, i, value, low, high)
    if zero is not None:
        axes.axvline(zero, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    if band is not None:
        axes.axvspan((zero or 0) - band, (zero or 0) + band, color="#ececec", zorder=0)
    axes.set(xlabel=xlabel, yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.4, -0.6))
    return Drawing(figure)


@_styled
def scatter(
    points: Mapping[str, tuple[float, float]], *, groups: Mapping[str, str] | None = None, xlabel: str, ylabel: str
) -> Drawing:
    """Named points on two logarithmic axes. Where names would lie on each other some are left out.

    Args:
        points: name: (x, y), both above 0.
        groups: name: the group whose colour and mark the point gets, explained above the axes. They go by the order
            here, so two figures with the same groups have the same colours, whichever points they show.
        xlabel, ylabel: what the axes show, in lower case, with the unit.

    Raises:
        ValueError: there is no point, or one that a logarithmic axis does not have.
    """
    if not points:
        raise ValueError("a scatter needs at least one point")
    for name, (x, y) in points.items():
        if not (x > 0 and y > 0):
            raise ValueError(f"{name!r} at {x}, {y} has no place on logarithmic axes")
    width, height, points_an_inch = WIDTH * 0.8, 3.6, 72
    figure = _figure(width, height)
    axes = figure.add_axes((0.11, 0.13, 0.87, 0.75))
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    axes.margins(0.08)
    groups = groups or dict.fromkeys(points, "")
    for i, kind in enumerate(dict.fromkeys(groups.values())):
        if inside := [p for name, p in points.items() if groups[name] == kind]:
            look = {"color": COLOURS[i % len(COLOURS)], "marker": MARKS[i % len(MARKS)]}
            axes.plot(*zip(*inside, strict=True), linestyle="", markersize=6, label=kind, **look)
    if any(groups.values()):
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, handletextpad=0.1, borderpad=0)
    axes.autoscale_view()
    at = {n: axes.transData.transform(p) * points_an_inch / figure.dpi for n, p in points.items()}
    left, right = (axes.transAxes.transform((x, 0))[0] * points_an_inch / figure.dpi for x in (0, 1))
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at.values()]
    for name, (x, y) in at.items():
        wide = 6 * len(name)  # points, of 9 pt text
        for dx, dy in ((6, -5), (-6 - wide, -5), (-wide / 2, 6), (-wide / 2, -15)):
            box = (x + dx, y + dy, x + dx + wide, y + dy + 10)
            if (
                left <= box[0]
                and box[2] <= right
                and all(box[0] >= t[2] or box[2] <= t[0] or box[1] >= t[3] or box[3] <= t[1] for t in taken)
            ):
                taken.append(box)
                axes.annotate(name, points[name], (dx, dy + 2), textcoords="offset points")
                break
    return Drawing(figure)


# How a cell of a grid looks: its fill and its sign, so that no reader needs the colour.
STATES = {"yes": ("#bfe6d8", "✓"), "no": ("#ffb48a", "×"), "no such place": (PAPER, "–"), "not run": ("#dcdcdc", "?")}


@_styled
def grid(rows: Mapping[str, Mapping[str, str]]) -> Drawing:
    """A table of states, a cell each with a colour and a sign, which the line above it explains.

    Args:
        rows: name: {column: one of ``STATES``}, the columns being the same in every row.

    Raises:
        ValueError: a state does not exist, or a row has other columns than the first; or there is no row.
    """
    if not rows:
        raise ValueError("a grid needs at least one row")
    columns = list(next(iter(rows.values())))
    for name, row in rows.items():
        if list(row) != columns:
            raise ValueError(f"{name!r} has the columns {', '.join(row)}, not {', '.join(columns)}")
        for state in row.values():
            if state not in STATES:
                raise ValueError(unknown("state", state, STATES))
    left, head, step = 1.7, 0.55, 0.21
    wide = min(0.68, (WIDTH - left) / len(columns))
    figure = _figure(WIDTH, head + step * len(rows))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(step * len(rows), -head))
    axes.axis("off")
    rectangle = _matplotlib("matplotlib.patches").Rectangle

    def cell(x: float, y: float, width: float, state: str) -> None:
        fill, sign = STATES[state]
        axes.add_patch(rectangle((x, y), width, step, facecolor=fill, edgecolor=PALE, linewidth=0.6))
        axes.text(x + width / 2, y + step / 2, sign, ha="center", va="center")

    used = dict.fromkeys(state for row in rows.values() for state in row.values())
    for k, state in enumerate(s for s in STATES if s in used):
        cell(left + 1.3 * k, -head, 0.25, state)
        axes.text(left + 1.3 * k + 0.32, -head + step / 2, state, va="center", color=FAINT)
    for k, column in enumerate(columns):
        axes.text(left + (k + 0.5) * wide, -0.05, column, ha="center", va="bottom")
    for i, (name, row) in enumerate(rows.items()):
        axes.text(left - 0.08, (i + 0.5) * step, name, ha="right", va="center")
        for k, state in enumerate(row.values()):
            cell(left + k * wide, i * step, wide, state)
    return Drawing(figure)


def _interval(axes, y: float, value: float, low: float, high: float, colour: str = COLOURS[0], mark: str = "o") -> None:
    axes.plot([low, high], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
    axes.plot(value, y, mark, color=colour, markersize=6)


class Entry(NamedTuple):
    """One mechanism in a :class:`League`.

    Args:
        params, macs: what it costs at the place, in multiply-adds for a picture of the runs' size.
        arms: for each of its setups the row beside the plain detector and, where it has one, the row beside its other
            control. Empty where there is no record.
    """

    card: Card
    params: int
    macs: int
    arms: list[tuple[Any, ...]]


class League(NamedTuple):
    """Every mechanism that is a layer, at one place on one data set, in the register's order: a table in a notebook.

    Args:
        notes: how the intervals were reckoned and what is wrong with some of the pairs.
    """

    data: str
    at: str
    profile: str
    entries: list[Entry]
    notes: list[str]

    @property
    def missing(self) -> list[str]:
        """The names of the mechanisms without a record here."""
        return [entry.card.cls.__name__ for entry in self.entries if not entry.arms]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dict for each comparison, with numbers as they are; a mechanism without record has none."""
        where = {"data": self.data, "place": self.at, "profile": self.profile}
        return [
            {**where, "family": e.card.family, "params": e.params, "macs": e.macs, **dataclasses.asdict(row)}
            for e in self.entries
            for row in itertools.chain(*e.arms)
        ]

    def _table(self) -> Table:
        table = Table()
        for entry in self.entries:
            facts = entry.card
            link = f"[{facts.cls.__name__}](../{facts.family}/{facts.slug}.ipynb)"
            for row in itertools.chain(*entry.arms) if entry.arms else (None,):
                cost = {"parameters": entry.params, "multiply-adds": entry.macs}
                table.append({"mechanism": link + _setup(row)} | _result(row, verdict=self.profile == "full") | cost)
        return table

    def _repr_markdown_(self) -> str:
        return "\n\n".join([self._table()._repr_markdown_(), *self.notes])

    def __repr__(self) -> str:
        return "\n".join([str(self._table()), *self.notes])


def _setup(row) -> str:
    """What is said behind the mechanism's name: what tells its setups apart, and that it has changed since."""
    if row is None:
        return ""
    _, blank, setup = row.mechanism.partition(" ")
    return blank + setup + ("" if row.current else " (earlier version)")


def _result(row, verdict: bool) -> dict[str, str]:
    if row is None:
        cells = {"beside": "no record", "pairs": "0"}
    else:
        cells = {"beside": "plain" if row.control == "none" else row.control, "pairs": str(row.n)}
        cells["difference"] = f"{row.difference:+.4f}"
        if row.low is not None:
            cells["95 % interval"] = f"{row.low:+.4f} to {row.high:+.4f}".replace(" ", "\N{NO-BREAK SPACE}")
            cells["could have shown"] = f"{row.detectable:.4f}"
            cells["p"] = f"{row.p:.2g}"
        if row.engagement is not None:
            cells["engagement"] = f"{row.engagement:.4f}"
        cells["verdict"] = row.verdict
    columns = ("beside", "pairs", "difference", "95 % interval", "could have shown", "p", "engagement")
    return {name: cells.get(name) or "–" for name in (*columns, *(["verdict"] if verdict else []))}


def league(data: str, at: str, profile: str = "record") -> League:
    """What the records say of every mechanism that can stand at a place, with its default options, on one data set.

    Args:
        data: a data set. at: one of ``attn.records.PLACES``. profile: ``"record"`` or ``"full"``.

    Raises:
        ValueError: the place, the data set or the profile does not exist.
    """
    from . import experiment, records

    for kind, value, good in (
        ("place", at, records.PLACES),
        ("data set", data, experiment.SIZES),
        ("profile", profile, experiment.PROFILES),
    ):
        if value not in good:
            raise ValueError(unknown(kind, value, good))
    channels, stride, kind = records.PLACES[at]
    slugs = [slug for slug in registry.names() if registry.card(slug).detector == kind]
    where = {"options": {}, "condition": "plain", "start": "plain", "weights": "early", "model": "yolov5n.yaml"}
    where |= {"data": data, "at": at, "profile": profile}
    found = [record for slug in slugs for record in experiment.read(slug, **where)]
    arms, notes = {slug: [] for slug in slugs}, []
    if found:
        compared = [experiment.compare(slugs, to="none", records=found)]
        if beside := [record for record in found if len(record.controls) > 1]:
            compared.append(experiment.compare(slugs, records=beside))
        squares = compared[1].rows if beside else []
        for row in compared[0].rows:
            arms[row.setup["slug"]].append((row, *(square for square in squares if square.setup == row.setup)))
        said = {note: [one for one in compared if note in one.notes] for one in compared for note in one.notes}
        which = ("Beside the plain detector. ", "Beside the other control. ")
        notes = [("" if len(of) == len(compared) else which[compared.index(of[0])]) + note for note, of in said.items()]
    side = experiment.SIZES[data] // stride
    entries = [
        Entry(facts, facts.params(channels), facts.macs(channels, side, side), arms[facts.slug])
        for facts in map(registry.card, slugs)
    ]
    return League(data, at, profile, entries, notes)


@_styled
def forest(found: League) -> Drawing:
    """The differences of a league with their 95 % intervals, a row for each mechanism under its family, cost beside it.

    Thin ticks on both sides of zero stand at the smallest difference that the pairs could have shown; the grey strip
    is where a difference counts as none (``experiment.BAND``). One pair is a hollow mark without an interval.
    """
    from .experiment import BAND

    rows = []  # label, entry, rows of the comparison; a family's heading has its label alone
    for family, entries in itertools.groupby(found.entries, lambda e: e.card.family):
        rows.append((family, None, ()))
        rows += [(e.card.cls.__name__ + _setup(a[0] if a else None), e, a) for e in entries for a in e.arms or [()]]
    left, wide, head, step = 1.3, 3.9, 0.5, 0.28
    figure = _figure(WIDTH, head + step * len(rows) + 0.5)
    height = figure.get_figheight()
    axes = figure.add_axes((left / WIDTH, 0.5 / height, wide / WIDTH, step * len(rows) / height))
    beside = axes.get_yaxis_transform()  # x in widths of the axes, y in rows
    for right, text in ((1.24, "parameters"), (1.52, "multiply-adds")):
        axes.text(right, -0.7, text, transform=beside, ha="right", va="bottom", color=FAINT)
    for y, (label, entry, pair) in enumerate(rows):
        colour = INK if pair else FAINT
        text = {"transform": beside, "va": "center", "color": colour}
        axes.text(-0.03, y, label, ha="right", style="normal" if entry else "italic", **text)
        if entry is None:
            continue
        axes.text(1.24, y, f"{entry.params:,}", ha="right", **text)
        axes.text(1.52, y, f"{entry.macs:,}", ha="right", **text)
        if not pair:
            axes.text(0.02, y, "no record", **text)
        for i, row in enumerate(pair):
            _mark(axes, y + 0.36 * (i - (len(pair) - 1) / 2), row)
    axes.axvspan(-BAND, BAND, color="#ececec", zorder=0)
    axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.set(xlabel="difference of mAP50-95", yticks=[], ylim=(len(rows) - 0.4, -0.6))
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.xaxis.get_major_locator().set_params(nbins=5)
    if not any(pair for *_, pair in rows):
        axes.set_xlim(-2 * BAND, 2 * BAND)
    lines = _matplotlib("matplotlib.lines")
    other = "a new convolution" if found.at.startswith("replace:") else "a bottleneck of its size"
    names = {True: "beside the plain detector", False: f"beside {other}"}
    handles = [lines.Line2D([], [], color=c, marker=m, label=names[plain]) for plain, (c, m) in _BESIDE.items()]
    handles.append(lines.Line2D([], [], color=FAINT, marker="|", linestyle="", label="could have shown"))
    figure.legend(handles=handles, loc="upper left", ncols=3, frameon=False, borderaxespad=0, handletextpad=0.5)
    return Drawing(figure)


# Whether beside the plain detector: colour and mark.
_BESIDE = {True: (COLOURS[0], "o"), False: (COLOURS[1], "s")}


def _mark(axes, y: float, row) -> None:
    colour, mark = _BESIDE[row.control == "none"]
    if row.low is None:
        axes.plot(row.difference, y, mark, color=colour, markerfacecolor=PAPER, markersize=5)
        return
    axes.plot([-row.detectable, row.detectable], [y, y], "|", color=FAINT, markersize=7)
    _interval(axes, y, row.difference, row.low, row.high, colour, mark)


def _figure(width: float, height: float):
    return _matplotlib("matplotlib.figure").Figure(figsize=(width, height))
