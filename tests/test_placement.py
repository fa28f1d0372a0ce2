# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The pages of notebooks/compare about places and about the matrix, with nothing and with something to read."""

import json
from pathlib import Path

import pytest

from attn import datasets, experiment, records

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with an empty set of digits, base weights, and nothing to read."""
    for split in ("train", "val"):
        (tmp_path / "data/digits/images" / split).mkdir(parents=True)
        (tmp_path / f"data/digits/images/{split}/0.png").touch()
    (tmp_path / "data/weights").mkdir()
    (tmp_path / "data/weights/digits-yolov5n-base0-early.safetensors").touch()
    monkeypatch.setattr(datasets, "home", lambda: tmp_path)
    monkeypatch.setattr(datasets, "make", lambda name, **knobs: tmp_path / "data" / name)
    monkeypatch.setattr(datasets, "digest", lambda name, **knobs: "0" * 64)
    return tmp_path


def run(page, leave=(), only=None):
    """The names that the page has after its cells, or some of them, have run."""
    names = {}
    for cell in json.loads((ROOT / f"notebooks/compare/{page}.ipynb").read_text("utf-8"))["cells"]:
        if cell["cell_type"] == "code" and cell["id"] not in leave and (only is None or cell["id"] in only):
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    return names


RECORDS = ("imports", "leverage", "leverage-figure", "leverage-table")


def test_leverage_without_records(home, capsys):
    table = run("placement", only=RECORDS)["table"]
    assert "There are no records of the mask yet" in capsys.readouterr().out
    assert [(row["data"], row["place"]) for row in table] == [
        (data, at) for data in experiment.SIZES for at in records.LEVERAGE
    ]
    assert {(row["pairs"], row["difference"], row["leverage"]) for row in table} == {("0", "no record", "–")}
    ours = {name for row in run("placement", only=["imports", "mechanisms"])["table"].values() for name in row}
    assert ours == {"mechanism", *(f"{data}, {at}" for data in experiment.SIZES for at in records.PLACES)}


def test_leverage_with_some_records(home, capsys):
    cost = {"after:C3[0]": 0.1, "after:C3[1]": 0.02, "after:C3[2]": 0.001, "after:C3[3]": 0.1}
    for at, seeds in zip(cost, (3, 3, 3, 1), strict=True):
        for seed in range(seeds):

            def fit(plan, progress):
                value = 0.5 - cost.get(plan.at, 0) + 0.001 * plan.seed * (plan.slug != "none")
                return {"metrics": {"mAP50": value, "mAP50-95": value}, "curve": []}

            experiment.run("mask-8", at=at, seed=seed, profile="record", device="cpu", fit=fit)
    names = run("placement", only=RECORDS)
    rows = {row["place"]: row for row in names["table"] if row["data"] == "digits"}
    found = {at: (row["pairs"], row["difference"], row["leverage"]) for at, row in rows.items()}
    assert found == {
        "before:SPPF": ("0", "no record", "–"),
        "after:C3[0]": ("3", "-0.0990", "yes"),
        "after:C3[1]": ("3", "-0.0190", "cannot tell"),
        "after:C3[2]": ("3", "+0.0000", "no"),
        "after:C3[3]": ("1", "-0.1000", "–"),
    }
    assert names["drawn"]["digits, after:C3[3]"] == pytest.approx((-0.1,) * 3)
    assert "no records" not in capsys.readouterr().out


def test_the_matrix_that_was_not_run(home, capsys):
    grid = run("matrix", leave=["setup"])["grid"]
    said = capsys.readouterr().out
    assert "The matrix has not been run here" in said
    assert len(grid) >= 25
    assert f"{len(grid)} files; yes: 0, no: 0, no such place: 0, not run: {8 * len(grid)}" in said


def test_the_matrix_shows_what_its_cells_say(home, capsys):
    good = {"model": "yolov5n.yaml", "mechanism": "se", "place": 0, "layers": 1, "copied": 427, "total": 427}
    good |= {"wrong": 0, "exact": True}
    cells = [
        good | {"kind": "lowest"},
        good | {"kind": "middle", "wrong": 1},
        good | {"kind": "highest", "copied": 426},
        good | {"kind": "before", "exact": False},
        good | {"kind": "replace", "layers": 7, "copied": 420, "exact": False},
        {"model": "yolov5n.yaml", "mechanism": "se", "kind": "inside", "place": None, "left out": "none there"},
        good | {"kind": "after", "mechanism": "cbam"},
        good | {"kind": "after", "model": "yolov5s.yaml"},
    ]
    content = {"versions": {"ultralytics": "0.0"}, "cells": cells, "left out": {"yolo26n-obb.yaml": "left out here"}}
    (home / "_build").mkdir()
    (home / "_build/matrix.json").write_text(json.dumps(content))
    names = run("matrix", leave=["setup"])
    states = {kind: names["state"](cell) for kind, cell in names["grid"]["yolov5n.yaml"].items()}
    assert [kind for kind in states if states[kind] == "yes"] == ["lowest", "replace"]
    assert [kind for kind in states if states[kind] == "no"] == ["middle", "highest", "before"]
    assert (states["inside"], states["after"], states["neck"]) == ("no such place", "not run", "not run")
    assert names["rest"] == cells[-2:]
    assert names["reasons"]["yolo26n-obb.yaml"] == "left out here"
    assert "yes: 2, no: 3, no such place: 1" in (said := capsys.readouterr().out)
    assert "8 cells, made with ultralytics 0.0" in said
    assert "none there: yolov5n.yaml" in said
