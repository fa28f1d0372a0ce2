# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The league: every layer of the register at one place, beside its controls, from the records alone.

And the two pages of notebooks/compare, each run in a folder that holds nothing, some or all of what it reads.
"""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import attn
from attn import datasets, experiment, records, viz

ROOT = Path(__file__).parents[1]
LAYERS = [slug for slug in attn.names() if attn.card(slug).detector == "layer"]
HERE = ("digits", "after:C3[1]")
GAIN = {"none": 0.0, "bottleneck-small": 0.01}  # what a control has above the plain detector


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with empty pictures of both sets, base weights, and no records."""
    for data in experiment.SIZES:
        for split in ("train", "val"):
            folder = tmp_path / "data" / data / "images" / split
            folder.mkdir(parents=True)
            (folder / "0.png").touch()
        file = tmp_path / f"data/weights/{data}-yolov5n-base0-early.safetensors"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    monkeypatch.setattr(datasets, "home", lambda: tmp_path)
    monkeypatch.setattr(datasets, "make", lambda name, **knobs: tmp_path / "data" / name)
    monkeypatch.setattr(datasets, "digest", lambda name, **knobs: "0" * 64)
    return tmp_path


def fit(plan, progress):
    """A run that costs nothing: a mechanism gains 0.02, give or take what the seed says."""
    value = 0.5 + 0.01 * plan.seed + GAIN.get(plan.slug, 0.02 + 0.002 * (plan.seed % 3))
    channels = None if plan.slug == "none" else records.PLACES[plan.at].channels
    engagement = None if plan.slug in GAIN else {"moved": 0.25, "spread": 0.1}
    metrics = {"mAP50": value, "mAP50-95": value}
    return {"metrics": metrics, "curve": [], "engagement": engagement, "channels": channels}


def make(*slugs, where=HERE, seeds=5, profile="record", **options):
    for slug in slugs:
        for seed in range(seeds):
            data, at = where
            experiment.run(slug, data=data, at=at, seed=seed, profile=profile, device="cpu", fit=fit, **options)


def entry(found, slug):
    return next(e for e in found.entries if e.card.slug == slug)


def texts(drawing):
    return [text.get_text() for text in drawing.figure.axes[0].texts]


def test_without_records_every_layer_is_named_as_missing(home):
    for data in experiment.SIZES:
        for at, place in records.PLACES.items():
            found = viz.league(data, at)
            held = [slug for slug in attn.names() if attn.card(slug).detector == place.kind]
            assert [e.card.slug for e in found.entries] == held
            assert found.missing == [attn.card(slug).cls.__name__ for slug in held]
            assert (found.rows, found.notes) == ([], [])
            assert found._repr_markdown_().count("no record") == len(held)
            assert texts(viz.forest(found)).count("no record") == len(held)


def test_both_controls_and_what_is_missing(home):
    make("se", "eca")
    found = viz.league(*HERE)
    assert found.missing == [attn.card(slug).cls.__name__ for slug in LAYERS if slug not in ("se", "eca")]
    ((plain, bottleneck),) = entry(found, "se").arms
    assert (plain.control, bottleneck.control) == ("none", "bottleneck-small")
    assert (plain.n, plain.engagement) == (5, 0.25)
    assert plain.difference == pytest.approx(bottleneck.difference + 0.01)
    ((only,),) = entry(found, "eca").arms  # three parameters: no bottleneck is as small
    assert only.control == "none"
    assert [row["mechanism"] for row in found.rows] == ["eca", "se", "se"]
    assert not any(e.arms for e in viz.league("digits", "before:SPPF").entries)
    assert not any(e.arms for e in viz.league(*HERE, profile="full").entries)


def test_cost_is_that_of_the_place(home):
    for data, side in (("digits", 20), ("bccd", 32)):
        se = entry(viz.league(data, "after:C3[1]"), "se")
        assert (se.params, se.macs) == (580, attn.cost("se", (1, 64, side, side)).macs)
    se = entry(viz.league("digits", "before:SPPF"), "se")
    assert (se.params, se.macs) == (8464, attn.cost("se", (1, 256, 5, 5)).macs)


def test_more_mechanisms_ask_more_of_each(home):
    """p and the difference that could have been shown reckon with the number of rows, the interval does not."""
    make("se")
    ((alone, _),) = entry(viz.league(*HERE), "se").arms
    make("eca", "cbam")
    ((among, _),) = entry(viz.league(*HERE), "se").arms
    assert among.p == pytest.approx(min(1, 3 * alone.p))
    error = (alone.high - alone.low) / 2 / experiment._t_quantile(0.975, 4)
    for row, m in ((alone, 1), (among, 3)):
        quantiles = experiment._t_quantile(1 - 0.025 / m, 4) + experiment._t_quantile(0.8, 4)
        assert row.detectable == pytest.approx(quantiles * error)
    assert (among.low, among.high) == pytest.approx((alone.low, alone.high))


def test_one_pair_has_no_interval_and_every_setup_its_own_line(home):
    make("se", seeds=1)
    make("se", seeds=2, epochs=9)
    make("se", seeds=3, reduction=8)  # has another cost, so it is no part of the league
    found = viz.league(*HERE)
    assert [(a.mechanism, a.n, a.low is None) for a, *_ in entry(found, "se").arms] == [
        ("se (epochs=4)", 1, True),
        ("se (epochs=9)", 2, False),
    ]
    assert {"SE (epochs=4)", "SE (epochs=9)"} <= set(texts(viz.forest(found)))
    assert "| – | – |" in found._repr_markdown_()


def test_an_earlier_version_is_marked(home, monkeypatch):
    make("se")
    monkeypatch.setattr(experiment, "_module_hash", lambda slug: "another")
    found = viz.league(*HERE)
    assert "SE (earlier version)" in texts(viz.forest(found))
    assert "(../channel/se.ipynb) (earlier version)" in found._repr_markdown_()


def test_only_full_runs_have_verdicts(home):
    make("eca", profile="full")
    full = viz.league(*HERE, profile="full")
    assert {row["verdict"] for row in full.rows} == {"better"}
    assert "| better |" in full._repr_markdown_()
    make("eca")
    short = viz.league(*HERE)
    assert "verdict |" not in short._repr_markdown_()
    assert {row["verdict"] for row in short.rows} == {""}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (("digit", "after:C3[1]"), "unknown data set 'digit'; did you mean 'digits'"),
        (("digits", "after:C3[7]"), r"unknown place 'after:C3\[7\]'; did you mean 'after:C3\[1\]'"),
        ((*HERE, "fill"), "unknown profile 'fill'; did you mean 'full'"),
    ],
)
def test_unknown_names(home, what, message):
    with pytest.raises(ValueError, match=message):
        viz.league(*what)


RUN = """
import base64, json, re, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.load(open(sys.argv[1]))["cells"]:
    if cell["cell_type"] == "code":
        shell.run_cell("".join(cell["source"])).raise_error()
print("@@", shell.user_ns["content"] if "content" in shell.user_ns else shell.user_ns["rows"])
"""


def run_page(name, root):
    """What the page prints, and after @@ its variable ``content``, or where it has none its ``rows``."""
    (root / "data").mkdir(exist_ok=True)
    shutil.copy(ROOT / "data/digits.yaml", root / "data")
    page = ROOT / f"notebooks/compare/{name}.ipynb"
    done = subprocess.run([sys.executable, "-c", RUN, page], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("some", [False, True])
def test_the_page_runs_with_any_records(home, some):
    if some:
        make("se", where=("bccd", "before:SPPF"))
        make("eca", profile="full")
    said = run_page("league", home)
    assert ("There are no records of short runs yet" in said) is not some
    assert ("so there is no verdict" in said) is not some
    lines = base64.b64decode(said.rpartition("@@ ")[2]).decode().splitlines()
    assert len(lines) == (1 + 2 + 1 if some else 1)  # the head; SE beside both controls; ECA beside the plain detector


def test_the_page_names_every_place_and_data_set():
    source = json.loads((ROOT / "notebooks/compare/league.ipynb").read_text("utf-8"))["cells"]
    drawn = {"".join(c["source"]) for c in source if c["id"].endswith("-forest")}
    assert drawn == {f'viz.forest(leagues["{d}", "{at}"])' for d in experiment.SIZES for at in records.PLACES}


def test_the_page_of_states(tmp_path):
    names = ["notebooks/a/good", "notebooks/a/bad", "notebooks/a/new", "notebooks/compare/status"]
    (tmp_path / "_toc.yml").write_text("".join(f"- file: {name}\n" for name in ["book/other", *names]))
    for name in names[:3]:
        cells = [{"cell_type": "markdown", "source": [f"# Page {name[-4:]}\n", "Text."]}, {"cell_type": "code"}]
        for folder in ("", "_build/executed"):
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))
    ran = {"seconds": 61.2, "date": "2026-11-22T01:02:03+00:00", "versions": {"python": "3.11.7", "torch": "2.15.0"}}
    reports = {"good": ran | {"parameters": {"profile": "quick"}}, "bad": ran | {"failed": "cell 3 (step-1): KeyError"}}
    for name, report in reports.items():
        (tmp_path / f"_build/executed/notebooks/a/{name}.json").write_text(json.dumps(report))
    lines = [" ".join(line.split()) for line in run_page("status", tmp_path).splitlines()]
    assert any("[Page good](../../notebooks/a/good.ipynb) ran 61 1 quick – 2026-11-22 01:02" in line for line in lines)
    assert any("/bad.ipynb) cell 3 (step-1): KeyError – 1 – – –" in line for line in lines)
    assert any("/new.ipynb) not run – 1 – – –" in line for line in lines)
    assert any(line.startswith("1 of 3 pages ran, 1.0 minutes") for line in lines)
    assert "not run or failed: notebooks/a/bad, notebooks/a/new" in lines
    assert any("'python': '3.11.7', 'torch': '2.15.0', 'pages': 1" in line for line in lines)
