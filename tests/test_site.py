# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over the book's sources: what git holds, before anything is run."""

import ast
import datetime
import importlib
import json
import os
import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import attn
import attn.experiment
import attn.viz

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
# The same in every notebook, a subset of what attn.experiment.run takes.
PARAMETERS = {"profile": "quick", "seed": 0, "device": None, "data": "digits", "epochs": None}

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: str(p.relative_to(ROOT / "notebooks")))


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text("utf-8"))["cells"]


def listed(entry) -> list[str]:
    """The files that a table of contents names, at any depth."""
    if isinstance(entry, dict):
        own = [entry[k] for k in ("root", "file") if k in entry]
        return own + [f for k in ("parts", "chapters", "sections") for f in listed(entry.get(k, []))]
    return [f for child in entry for f in listed(child)]


def test_the_toc_lists_every_page_once():
    there = [str(p.relative_to(ROOT).with_suffix("")) for p in NOTEBOOKS + sorted((ROOT / "book").glob("*.md"))]
    assert sorted(listed(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8")))) == sorted(there)


@notebooks
def test_no_outputs_in_git(path):
    code = [c for c in cells(path) if c["cell_type"] == "code"]
    assert [c["id"] for c in code if c["outputs"] or c["execution_count"] is not None] == [], "make format strips them"


@notebooks
def test_every_cell_has_a_name(path):
    """Named cells keep differences readable; editors give random eight-digit names to new ones."""
    ids = [c.get("id", "") for c in cells(path)]
    assert [i for i in ids if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", i)] == []
    assert [i for i in ids if re.fullmatch(r"[0-9a-f]{8}", i)] == []
    assert len(ids) == len(set(ids))


@notebooks
def test_parameters(path):
    """A page that trains or draws at random takes some of the common parameters, with their common defaults."""
    tagged = [c for c in cells(path) if "parameters" in c["metadata"].get("tags", ())]
    assert len(tagged) <= 1
    for cell in tagged:
        found = {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse("".join(cell["source"])).body}
        assert found == {name: PARAMETERS.get(name, "no such parameter") for name in found}


@notebooks
def test_every_figure_has_a_description(path):
    """A cell that makes a figure says what is on it, for those who cannot see it."""
    figures = [c for c in cells(path) if "figure" in c["metadata"].get("mystnb", {})]
    assert [c["id"] for c in figures if not c["metadata"]["mystnb"].get("image", {}).get("alt", "").strip()] == []


# --- the first cell --------------------------------------------------------------------------------------------------


@pytest.fixture
def tool(monkeypatch):
    """A module of book/tools by its name."""
    monkeypatch.syspath_prepend(ROOT / "book/tools")
    return importlib.import_module


@notebooks
def test_the_first_cell_gets_the_repository(path, tool):
    first = next(c for c in cells(path) if c["cell_type"] == "code")
    assert (first["id"], first["metadata"]) == ("setup", {"tags": ["remove-cell"]}), "make format puts it there"
    assert "".join(first["source"]) == tool("first_cell").source(), "make format brings it up to date"


def test_the_address_stands_in_one_place(tool, tmp_path):
    (tmp_path / "_config.yml").write_text("repository: {url: 'https://github.com/a/b', branch: trunk}")
    text = tool("first_cell").source(tmp_path)
    assert 'repository, branch = "https://github.com/a/b", "trunk"' in text
    assert text.count("github.com") == 1


def test_the_first_cell_does_nothing_inside_the_repository(tool, monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks/channel")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("something was run"))
    exec(tool("first_cell").source(), {})
    assert Path.cwd() == ROOT / "notebooks/channel"


def test_the_first_cell_alone(tool, monkeypatch, tmp_path):
    """Without an address it says so; with one it clones, goes there and installs, and a second time only the latter."""
    monkeypatch.chdir(tmp_path)
    text, called = tool("first_cell").SOURCE, []

    def run(command, check):
        assert check, "a failure would pass in silence"
        called.append(command[:3])
        if command[0] == "git":
            Path(command[-1]).mkdir()

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(FileNotFoundError, match="this notebook needs the repository"):
        exec(text.format(url='""', branch='"main"'), {})
    for _ in range(2):
        exec(text.format(url='"https://github.com/a/b"', branch='"main"'), {})
        assert Path.cwd() == tmp_path / "attn"
        os.chdir(tmp_path)
    assert [c[0] == "git" for c in called] == [True, False, False]
    assert called[1][1:] == ["-m", "pip"]


def test_the_first_cell_takes_its_place_once(tool):
    def cell(name, *tags, source="1"):
        return {"cell_type": "code", "id": name, "metadata": {"tags": list(tags)}, "source": [source]}

    put = tool("first_cell").put
    text = {"cell_type": "markdown", "id": "intro", "metadata": {}, "source": []}
    notebook = {"cells": [text, cell("setup", "hide-input"), cell("parameters", "parameters"), cell("card")]}
    for source in ("a\nb", "c"):
        put(notebook, source)
        assert [c["id"] for c in notebook["cells"]] == ["intro", "setup", "parameters", "imports", "card"]
        assert "".join(notebook["cells"][1]["source"]) == source
    without = {"cells": [text]}
    put(without, "a")
    assert without == {"cells": [text]}


# --- the tables ------------------------------------------------------------------------------------------------------


def rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split(" | ")] for line in table.splitlines() if line.startswith("|")][2:]


def test_every_mechanism_stands_in_the_tables(tool):
    tables, slugs = tool("tables"), attn.names()
    found = rows(tables.mechanisms(ROOT))
    assert [re.search(r"`(\w+)`", row[1])[1] for row in found] == slugs
    for row, card in zip(found, map(attn.card, slugs), strict=True):
        assert f"](../notebooks/{card.family}/{card.slug}.ipynb)" in row[1]
        assert row[3:5] == [f"{card.params(256):,}", f"{card.macs(256, 20, 20):,}"]
    pytest.importorskip("ultralytics")
    assert {row[0].strip("| ") for row in rows(tables.budgets(ROOT))} == {
        f"[{c.name}](../notebooks/{c.family}/{c.slug}.ipynb)" for c in map(attn.card, slugs)
    }


def test_a_mechanism_without_a_chapter_is_not_linked(tool, tmp_path):
    assert "](" not in tool("tables").mechanisms(tmp_path)


def test_short_runs_are_those_of_the_league(tool, monkeypatch):
    """To the last digit, with what the league says of them; a mechanism without any has a dash."""
    tables, league = tool("tables"), attn.viz.league("digits", "after:C3[1]")
    entries = [e._replace(arms=[]) for e in league.entries]
    row = attn.experiment.Row("se", "none", 5, 0.00125, -0.00104, 0.00354, 0.2, None, 0.00321)
    se = next(i for i, e in enumerate(entries) if e.card.slug == "se")
    entries[se] = entries[se]._replace(arms=[(row, row)])
    shown = league._replace(entries=entries, notes=["Short runs."])
    monkeypatch.setattr(tables.viz, "league", lambda data, at: shown)
    assert "| +0.0013 | -0.0010\xa0to\xa0+0.0035 |" in shown._repr_markdown_()
    table = tables.mechanisms(ROOT)
    found = {r[1].split("`")[1]: r[-1].strip(" |") for r in rows(table)}
    assert {slug: runs for slug, runs in found.items() if attn.card(slug).detector} == {
        slug: "+0.0013 (-0.0010 to +0.0035)" if slug == "se" else "–"
        for slug in attn.names()
        if attn.card(slug).detector
    }
    assert "5 pairs" in tables.resolution(ROOT)
    assert "0.0032" in tables.resolution(ROOT)
    entries[se] = entries[se]._replace(arms=[])
    assert "nothing here to rank by" in tables.resolution(ROOT)


# --- the reviews -----------------------------------------------------------------------------------------------------


def test_every_page_was_read_by_eye():
    """A review has found something, or names three sentences that it tried to refute."""
    reviews = yaml.safe_load((ROOT / "book/reviews.yaml").read_text("utf-8"))
    for review in reviews:
        assert set(review) == {"page", "date", "widths", "found", "changed", "refuted"}
        assert isinstance(review["date"], datetime.date), review["page"]
        assert min(review["widths"]) <= 480 < 1024 <= max(review["widths"]), f"{review['page']}: phone and desktop"
        assert review["found"] or len(review["refuted"]) >= 3, f"{review['page']}: three sentences"
        assert not review["found"] or review["changed"], f"{review['page']}: what became of what was found"
    pages = [review["page"] for review in reviews]
    assert len(pages) == len(set(pages))
    there = set(listed(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))))
    assert set(pages) <= there
    if unread := sorted(there - set(pages)):
        pytest.skip(f"not read by eye yet: {', '.join(unread)}")


# --- the requirements ------------------------------------------------------------------------------------------------


def requirements(lines) -> dict[str, Requirement]:
    found = (Requirement(line) for line in lines if line.strip() and not line.startswith("#"))
    return {canonicalize_name(r.name): r for r in found}


def test_requirements_are_those_of_the_package_and_every_one_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    package = requirements(chain(project["dependencies"], *project["optional-dependencies"].values()))
    wanted = requirements((ROOT / "requirements.txt").read_text("utf-8").splitlines())
    assert {str(r) for r in package.values()} == {str(r) for r in wanted.values()}
    pinned = requirements((ROOT / "constraints.txt").read_text("utf-8").splitlines())
    for name, requirement in wanted.items():
        (pin,) = pinned[name].specifier
        assert pin.operator == "=="
        assert "+" not in pin.version, f"{name}: a local build is pinned"
        assert requirement.specifier.contains(pin.version, prereleases=True)
