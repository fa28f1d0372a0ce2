# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of ``make records``, with a trainer that needs no time; and what must hold of every committed record."""

import contextlib
import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from attn import controls, datasets, experiment, records, registry
from attn.experiment import Record
from attn.fresh import FRESH

ROOT = Path(__file__).parent.parent


# The study


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with empty pictures and base weights in it."""
    for name in ("digits", "bccd"):
        for split in ("train", "val"):
            folder = tmp_path / "data" / name / "images" / split
            folder.mkdir(parents=True)
            for i in range(3):
                (folder / f"{i}.png").touch()
    (tmp_path / "data" / "digits.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "make", lambda name, **knobs: tmp_path / "data" / name)
    monkeypatch.setattr(datasets, "digest", lambda name, **knobs: "0" * 64)
    for data in ("digits", "bccd"):
        for kind in ("early", "late"):
            file = experiment.weights_file(kind, data, "yolov5n.yaml", 0)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(kind.encode())
    return tmp_path


def fit(plan, progress):
    value = 0.5 + 0.01 * plan.seed
    metrics = {"mAP50": value + 0.2, "mAP50-95": value}
    return {"metrics": metrics, "curve": [{"epoch": 1}], "engagement": None, "channels": None}


def test_wanted(home):
    plans = records.wanted(device="cpu")
    assert len({p.name for p in plans}) == len(plans)
    for plan in plans:
        assert records._again(plan) == plan  # what is put together here is what `experiment.plan` makes
    place = {"data": "digits", "at": "after:C3[1]", "condition": "plain", "weights": "early"}

    def seeds(slug, **where):
        where = {**place, **where}
        return [p.seed for p in plans if p.slug == slug and all(getattr(p, k) == v for k, v in where.items())]

    for slug in registry.names():
        for data in ("digits", "bccd"):
            for at, found in records.PLACES.items():
                there = registry.card(slug).detector == found.kind if at != "before:SPPF" else slug == "se"
                assert seeds(slug, data=data, at=at) == ([0, 1, 2, 3, 4] if there else []), (slug, data, at)
    assert seeds("none", at=None) == list(range(8))
    assert seeds("none", at=None, weights="late") == [0, 1, 2, 3, 4]
    for slug in ("mask-8", "mask-2", "gate-0.1", "bottleneck-small"):
        assert seeds(slug) == [0, 1, 2, 3, 4]
    for data in ("digits", "bccd"):
        for at in records.LEVERAGE:
            assert seeds("mask-8", data=data, at=at)[:3] == [0, 1, 2]
    for condition in ("few", "occluded", "longer", "large", "own-rate"):
        assert seeds("se", condition=condition) == [0, 1, 2]


def test_controls_come_before_what_stands_beside_them(home):
    seen = set()
    for plan in records.wanted(device="cpu"):
        seen.add(plan.name)
        channels = records.PLACES[plan.at].channels if plan.at in records.PLACES else None
        beside = experiment._controls(plan, channels)
        assert {c.name for c in beside} <= seen, plan.name


def test_what_cannot_be_planned_is_said(home, capsys, monkeypatch):
    experiment.weights_file("late", "digits", "yolov5n.yaml", 0).unlink()
    monkeypatch.setattr(records, "_move", lambda argv: None)
    assert records.main(["--slug", "none", "mask-8", "--limit-minutes", "0", "--device", "cpu"]) == 1
    said = capsys.readouterr().out
    assert "left out: 5 runs: no weights 'late' for yolov5n.yaml on digits" in said
    assert "the time is up, " in said
    assert not (home / "data" / "results").exists()
    assert records.main(["--slug", "biforner"]) == 1
    assert "unknown slug 'biforner'; did you mean 'biformer'" in capsys.readouterr().err


def test_a_child_refuses_a_plan_that_has_changed(home):
    plan = experiment.plan("none", profile="record", device="cpu")
    experiment.weights_file("early", "digits", "yolov5n.yaml", 0).write_bytes(b"others")
    with pytest.raises(RuntimeError, match=r"^weights_hash changed since this study was started"):
        records.child(json.dumps(dataclasses.asdict(plan)), fit)
    assert experiment.read("none") == []


# The driver, in processes of its own

STAND_IN = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace

# To import torch would take longer than all the rest, and no network is built here.
sys.modules["torch"] = SimpleNamespace(Tensor=object, nn=SimpleNamespace(Module=object, Conv2d=object))
from attn import datasets, experiment, records

datasets.make = lambda name, **knobs: Path("data", name).resolve()
datasets.digest = lambda name, **knobs: "0" * 64

def note(word, plan):
    with open("notes", "a") as file:
        file.write(f"{word} {plan.seed} {os.getpid()}\\n")

def fit(plan, progress):
    note("start", plan)
    if plan.seed == 99:
        raise RuntimeError("the weights burst")
    time.sleep(0.2)
    metrics = {"mAP50": 0.5, "mAP50-95": 0.1}
    return {"metrics": metrics, "curve": [{"epoch": 1}], "engagement": None, "channels": None}

if sys.argv[1] == "child":
    records.child(sys.argv[2], fit)
else:
    plans = [experiment.plan("none", seed=int(s), profile="record", device="cpu") for s in sys.argv[1:]]
    failed = records.fill(plans, command=[sys.executable, __file__, "child"])
    print(*failed.values())
    sys.exit(len(failed))
"""


@pytest.fixture
def drive(home):
    """Starts a driver over some seeds."""
    (home / "stand_in.py").write_text(STAND_IN)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    started = []

    def start(seeds):
        command = [sys.executable, "stand_in.py", *map(str, seeds)]
        environment = {**os.environ, "PYTHONPATH": path}
        started.append(subprocess.Popen(command, cwd=home, env=environment, text=True, stdout=subprocess.PIPE))
        return started[-1]

    yield start
    for driver in started:
        driver.kill()
        driver.wait()
        driver.stdout.close()


def notes(home):
    file = home / "notes"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def alive(pid):
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children with their parent")
def test_killed_at_any_moment(home, drive):
    """kill -9 while it starts, while runs train, and between them; then two drivers at once finish the work."""
    seeds = range(5)
    for starts, delay in ((0, 1.0), (1, 0.0), (3, 0.15)):
        driver = drive(seeds)
        done = {r.plan.seed for r in experiment.read("none")}
        before = len(notes(home))
        wait_for(lambda: len(notes(home)) >= before + min(starts, len(seeds) - len(done)))  # noqa: B023
        time.sleep(delay)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        wait_for(lambda: not any(alive(pid) for *_, pid in notes(home)), 5)  # its children died with it
        for _, seed, _ in notes(home)[before:]:
            assert int(seed) not in done  # what had its record was not trained again
    done = {r.plan.seed for r in experiment.read("none")}
    before = len(notes(home))
    both = [drive(seeds), drive(reversed(seeds))]
    for driver in both:
        said, _ = driver.communicate(timeout=120)
        assert driver.returncode == 0, said
        assert "5/5" in said or "5 of 5" in said
    assert sorted(int(seed) for _, seed, _ in notes(home)[before:]) == sorted(set(seeds) - done)  # each once
    assert {r.plan.seed for r in experiment.read("none")} == set(seeds)  # each is whole
    left = [p.name for p in (home / "data" / "results").rglob("*") if p.is_file() and p.suffix != ".json"]
    assert len(left) <= 3, left  # written aside and killed before the renaming: at most one a kill, and no record


def test_a_failed_run_is_said_and_stops_no_other(home, drive):
    driver = drive([99, 0])
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 1
    assert "FAILED" in said
    assert "RuntimeError: the weights burst\nits process ended with 1" in said
    assert [r.plan.seed for r in experiment.read("none")] == [0]


# The check


def test_check(home, capsys, monkeypatch):
    assert records.check(date(2026, 1, 1), fit)
    assert "nothing was checked" in capsys.readouterr().out
    for seed in range(3):
        experiment.run("none", profile="record", device="cpu", seed=seed, fit=fit)
    files = {p: p.read_bytes() for p in (home / "data" / "results").rglob("*.json")}
    drawn = set()
    for day in range(1, 10):
        assert records.check(date(2026, 1, day), lambda plan, _: drawn.add(plan.seed) or fit(plan, _))
    assert drawn == {0, 1, 2}
    assert "equal to the last digit" in capsys.readouterr().out

    def off(by):
        return lambda plan, _: {**fit(plan, _), "metrics": {k: v + by for k, v in fit(plan, _)["metrics"].items()}}

    assert not records.check(date(2026, 1, 1), off(1e-12))
    assert not records.check(date(2026, 1, 1), lambda plan, _: {**fit(plan, _), "curve": []})
    monkeypatch.setattr(experiment, "processor", lambda device: "another")
    assert records.check(date(2026, 1, 1), off(0.015))  # the three seeds differ by up to 0.02
    assert not records.check(date(2026, 1, 1), off(0.025))
    assert {p: p.read_bytes() for p in (home / "data" / "results").rglob("*.json")} == files
    experiment.weights_file("early", "digits", "yolov5n.yaml", 0).unlink()
    assert not records._repeatable(Record.load(next(iter(files))).plan)


# The worktree


def git(folder, *words):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    who = ["-c", "user.name=test", "-c", "user.email=test@test", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *who, *words], cwd=folder, env=clean, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_worktree(tmp_path, monkeypatch, capfd):
    for name in [k for k in os.environ if k.startswith("GIT_")]:
        monkeypatch.delenv(name)
    with pytest.raises(RuntimeError, match="is no git checkout with one"):
        records.worktree(tmp_path)
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text("/_build/\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "empty")
    with pytest.raises(RuntimeError, match=r"has no attn/records\.py: commit first"):
        records.worktree(tmp_path)
    file = tmp_path / "attn" / "records.py"
    file.parent.mkdir()
    opened = []
    for version in ("one", "two"):
        file.write_text(version)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", version)
        file.write_text("edited")
        descriptors = set(os.listdir("/dev/fd"))
        tree = records.worktree(tmp_path)
        opened.append((tree, [int(d) for d in set(os.listdir("/dev/fd")) - descriptors]))
        assert tree.name == git(tmp_path, "rev-parse", "HEAD")
        assert (tree / "attn" / "records.py").read_text() == version
    assert "differ from it and take no part: 1" in capfd.readouterr().out
    first, second = (tree for tree, _ in opened)
    assert first.is_dir()  # this process still uses it
    for _, descriptors in opened:  # what ends with a process
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    (second / "attn" / "records.py").write_text("damaged")
    (second / ".git").unlink()
    assert records.worktree(tmp_path) == second
    assert (second / "attn" / "records.py").read_text() == "two"
    assert not first.exists()
    assert len(git(tmp_path, "worktree", "list").splitlines()) == 2


# The committed records


def faults(results, path, commits=None):
    """What is wrong with one file; commits are those of the history, None where that is not at hand."""
    try:
        record = Record.load(path)
    except (ValueError, TypeError, KeyError) as e:
        return [f"cannot be read: {e}"]
    found = []
    if record.plan.name != str(path.relative_to(results)):
        found.append(f"its plan's name is {record.plan.name}")
    if record.clean is not True:
        found.append("its tree was not clean")
    found += [f"its control {n} is not there" for n in record.controls.values() if not (results / n).is_file()]
    if commits is not None:
        if record.commit not in commits:
            found.append(f"its commit {record.commit} is not in the history")
        elif record.plan.module_hash != module_at(record.commit, record.plan.slug):
            found.append(f"its module was not so at commit {record.commit}")
    return found


@functools.cache
def module_at(commit, slug):
    """What `module_hash` was at a commit; None for the plain detector."""
    if slug == "none":
        return None
    files = git(ROOT, "ls-tree", "-r", "--name-only", commit, "attn").splitlines()
    pattern = r"attn/controls\.py" if slug in controls.CONTROLS else rf"attn/({'|'.join(registry.FAMILIES)})/{slug}\.py"
    pattern = r"attn/fresh\.py" if slug == FRESH else pattern
    found = [f for f in files if re.fullmatch(pattern, f)]
    if len(found) != 1:
        return f"{len(found)} files"
    return experiment._code_hash(git(ROOT, "show", f"{commit}:{found[0]}"))


def history():
    """The commits up to HEAD, or why they cannot be had."""
    try:
        if git(ROOT, "rev-parse", "--is-shallow-repository") == "true":
            return None, "a shallow clone does not hold the history"
        return set(git(ROOT, "rev-list", "HEAD").splitlines()), None
    except (OSError, subprocess.CalledProcessError):
        return None, "no git checkout"


def committed(results: Path) -> list[Path]:
    """The records; the times of ``attn bench`` are none."""
    return sorted(p for p in results.glob("*/*.json") if p.parent.name != "bench")


def test_committed_records():
    results = ROOT / "data" / "results"
    found = {str(p): wrong for p in committed(results) if (wrong := faults(results, p))}
    assert not found


def test_committed_records_have_a_history():
    commits, why = history()
    if commits is None:
        pytest.skip(why)
    results = ROOT / "data" / "results"
    found = {str(p): wrong for p in committed(results) if (wrong := faults(results, p, commits))}
    assert not found


def test_faults_are_found(home):
    record = experiment.run("mask-2", profile="record", device="cpu", fit=fit)
    commits, _ = history()
    head = git(ROOT, "rev-parse", "HEAD") if commits else None

    def wrong(commits=None, **changed):
        other = dataclasses.replace(record, **{"commit": head, "clean": True, **changed})
        other.save()
        return " ".join(faults(home / "data" / "results", other.path, commits))

    assert wrong() == ""
    assert "not clean" in wrong(clean=False)
    assert "not clean" in wrong(clean=None)
    assert "control none/gone.json is not there" in wrong(controls={"none": "none/gone.json"})
    if commits:
        assert "not in the history" in wrong(commits, commit="0" * 40)
        assert "module was not so" in wrong(commits, plan=dataclasses.replace(record.plan, module_hash="0" * 16))
    moved = record.path.with_name("digits-mask-2-record-cpu-s0-12345678.json")
    record.path.rename(moved)
    assert "its plan's name is none/digits-mask-2-after" in " ".join(faults(home / "data" / "results", moved))
    moved.write_text('{"plan": ')
    assert "cannot be read" in faults(home / "data" / "results", moved)[0]
