# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over the book's sources: what git holds, before anything is run."""

import ast
import json
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
