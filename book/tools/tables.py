# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What the pages without code show of the register and of the records, as Markdown.

attn_site.py gives each function's text to the pages under its name: ``{{ mechanisms }}``. So a new mechanism, chapter
or record appears without an edit of a page.
"""

import sys
from pathlib import Path

import attn
from attn import experiment, hosts, measure, viz
from attn.registry import Card

DETECTOR = {
    "layer": "a layer",
    "inside": "inside a block",
    "replace": "instead of a convolution",
    None: "none: a small task of its own",
}
RUNS = ("digits", "after:C3[1]")  # the short runs that these pages quote, as the league has them
INSTEAD = ("digits", "replace:C3[1].m.cv2")  # of what replaces a convolution


def link(c: Card, source: Path) -> str:
    """The mechanism's name, linked to its chapter where the book has one; ``source`` is the folder it is built from."""
    page = f"notebooks/{c.family}/{c.slug}.ipynb"
    return f"[{c.name}](../{page})" if (source / page).exists() else c.name


def gist(c: Card) -> str:
    """What it does, as the first sentence of its module says after the name."""
    first = " ".join(sys.modules[c.cls.__module__].__doc__.split("\n\n")[0].split())
    said = first.partition(": ")[2] or first
    return said[0].upper() + said[1:]


def table(head: dict[str, str], rows: list[tuple]) -> str:
    """A Markdown table; ``head`` gives each column its rule (``:--`` or ``--:``)."""
    lines = [head, head.values(), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mechanisms(source: Path) -> str:
    """Every mechanism by family, with its cost, its place in a detector and its short runs."""
    leagues = [viz.league(*RUNS), viz.league(*INSTEAD)]
    arms = {entry.card.slug: [plain for plain, *_ in entry.arms] for league in leagues for entry in league.entries}
    for slug in attn.names():
        if attn.card(slug).detector is None and experiment.read(slug, profile="record", condition="plain"):
            arms[slug] = experiment.compare(slug, profile="record").rows
    head = {
        "family": ":--",
        "mechanism": ":--",
        "what it does": ":--",
        "parameters": "--:",
        "multiply-adds": "--:",
        "in a detector": ":--",
        "short runs": ":--",
    }
    rows, family = [], None
    for c in map(attn.card, attn.names()):
        opener = f"notebooks/{c.family}/index.ipynb"
        named = f"[{c.family}](../{opener})" if (source / opener).exists() else c.family
        runs = [
            f"{row.difference:+.4f}"
            + ("" if c.detector else " accuracy")
            + ("" if row.low is None else f" ({row.low:+.4f} to {row.high:+.4f})")
            + ("" if row.current else ", earlier version")
            + row.mechanism.removeprefix(c.slug)
            for row in arms.get(c.slug, [])
        ]
        rows.append(
            (
                "" if c.family == family else named,
                f"{link(c, source)} `{c.slug}`",
                gist(c),
                f"{c.params(256):,}",
                f"{c.macs(256, 20, 20):,}",
                DETECTOR[c.detector],
                "; ".join(runs) or "–",
            )
        )
        family = c.family
    return table(head, rows)


def budgets(source: Path) -> str:
    """Every mechanism from the smallest to the largest, with what a small or compiled network asks."""
    head = {
        "mechanism": ":--",
        "parameters": "--:",
        "of YOLOv5n's": "--:",
        "multiply-adds": "--:",
        "at twice the side": "--:",
        "ONNX": ":--",
    }
    rows = []
    for c in sorted(map(attn.card, attn.names()), key=lambda c: (c.params(256), c.slug)):
        share = measure.table(c.slug, (256,), ((20, 20),))[0]["share of parameters"]
        kept = [c.limits[promise] for promise in ("export", "onnx") if promise in c.limits]
        once, twice = (c.macs(256, side, side) for side in (20, 40))
        growth = f"× {twice / once:.1f}" if once and "H" not in c.dims else "–"  # one size alone runs
        rows.append(
            (
                link(c, source),
                f"{c.params(256):,}",
                f"{100 * share:.2g} %",
                f"{once:,}",
                growth,
                "; ".join(dict.fromkeys(kept)) or "yes",
            )
        )
    return table(head, rows)


def trunks(source: Path) -> str:
    """The papers' own networks as they are rebuilt here, to the last parameter."""
    head = {"mechanism": ":--", "network": ":--", "parameters": "--:", "what the count stands for": ":--"}
    found = ((c, c.hosts[0]) for c in map(attn.card, attn.names()) if c.hosts)
    return table(head, [(link(c, source), hosts.TRUNKS[h.trunk].words, f"{h.params:,}", h.source) for c, h in found])


def resolution(source: Path) -> str:
    """What the short runs could have shown, in a sentence."""
    shown = [arm[0] for entry in viz.league(*RUNS).entries for arm in entry.arms if arm[0].detectable is not None]
    if not shown:
        return "No pairs of short runs are on record yet, so there is nothing here to rank by."
    least, most = (f(row.detectable for row in shown) for f in (min, max))
    pairs = sorted({row.n for row in shown})
    return (
        f"The short runs on `digits` ({' or '.join(map(str, pairs))} pairs a mechanism) would have shown, four times "
        f"in five, a difference to the plain detector of {least:.4f} mAP50-95 for the steadiest mechanism and of "
        f"{most:.4f} for the least steady; smaller ones were mostly missed."
    )


TABLES = {f.__name__: f for f in (mechanisms, budgets, trunks, resolution)}
