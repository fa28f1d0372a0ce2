# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""``make records``: trains what is missing of the book's study, and ``make records CHECK=1`` repeats one run of it.

What there should be is :func:`arms`; a run is done when the file of its record is there. So a driver that was killed
at any moment goes on when it is started again, and two drivers at once share the work.

The code that trains is a git worktree of HEAD under ``_build/worktrees``, so that edits of the checkout do not touch
a running study; pictures, weights, locks and records are the checkout's own. Records are committed by hand.
"""

import argparse
import ctypes
import dataclasses
import fcntl
import functools
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from . import datasets, experiment, registry
from .controls import nearest
from .experiment import Plan, Record
from .fresh import FRESH


class Place(NamedTuple):
    """A place in YOLOv5n.

    Args:
        channels, stride: of the map there. kind: the ``detector`` of the cards whose mechanisms stand there.
    """

    channels: int
    stride: int
    kind: str


PLACES = {
    "after:C3[1]": Place(64, 8, "layer"),
    "before:SPPF": Place(256, 32, "layer"),
    "replace:C3[1].m.cv2": Place(32, 8, "replace"),  # in both bottlenecks of the block
}
LEVERAGE = ("before:SPPF", "after:C3[0]", "after:C3[1]", "after:C3[2]", "after:C3[3]")
DATA = ("digits", "bccd")
SEEDS = range(5)
FEW = range(3)  # for what needs less than an interval
RATE = 2.7e-7  # seconds a unit of `_work`, until runs have told better

# What a plan is made from; everything else in it follows.
GIVEN = ("data", "model", "at", "start", "weights", "base", "condition", "seed", "profile", "device", "epochs", "lr0")

CHILD = (sys.executable, "-P", "-m", "attn.records", "--child")

Arm = tuple[str, dict[str, Any], Sequence[int]]


# What there should be


def arms() -> Iterator[Arm]:
    """The study as (slug, what :func:`attn.experiment.plan` takes, seeds): controls before what stands beside them,
    and what tells most first. An arm can come twice."""

    def held(kind: str | None) -> list[str]:
        return [slug for slug in registry.names() if registry.card(slug).detector == kind]

    def stand(data: str, at: str, slugs: list[str], condition: str = "plain", seeds=SEEDS) -> Iterator[Arm]:
        replaced = PLACES[at].kind == "replace"
        beside = {FRESH if replaced else nearest(slug, PLACES[at].channels): None for slug in slugs}
        for slug in ("none", *filter(None, beside), *slugs):
            yield slug, {"data": data, "at": at, "condition": condition}, seeds

    here = {"data": "digits", "at": "after:C3[1]"}
    yield "none", here, range(8)  # the baseline's own spread
    # Whether the protocol tells anything: known harm, harm that BatchNorm undoes, a better start.
    for slug in ("mask-8", "mask-2", "gate-0.1"):
        yield slug, here, SEEDS
    yield "none", {**here, "weights": "late"}, SEEDS
    yield "gate-0.1", {**here, "at": 5}, FEW  # where one BatchNorm alone reads the gate
    yield from stand(*here.values(), ["se"])
    for data in DATA:
        yield "none", {"data": data, "at": None}, FEW
        for at in LEVERAGE:
            yield "mask-8", {"data": data, "at": at}, FEW
    yield from stand(*here.values(), ["se"], "own-rate", FEW)
    for data in DATA:
        yield from stand(data, "after:C3[1]", held("layer"))
        yield from stand(data, "replace:C3[1].m.cv2", held("replace"))
    for data in DATA:  # the articles' own place; it has no leverage here, so one mechanism shows it
        yield from stand(data, "before:SPPF", ["se"])
    for slug in held(None):  # the small tasks
        task = experiment._task(slug)
        for rate, condition in itertools.product(task.RATES, (experiment.TASK_CONTROL, "plain")):
            yield slug, {"data": task.DATA, "at": None, "condition": condition, "lr0": rate}, SEEDS
    for condition in ("few", "occluded", "longer", "large"):  # large last, with four times the pixels
        yield from stand(*here.values(), ["se"], condition, FEW)


def wanted(profile: str = "record", device: str | None = None, study: Iterable[Arm] | None = None) -> list[Plan]:
    """The plans of a study, by default :func:`arms`, in its order, each once. A data set is made if it is not there.

    Raises:
        FileNotFoundError: the weights that a run starts from have not been made.
    """

    @functools.cache  # to look through a data set takes most of the time
    def like(slug: str, **what) -> Plan:
        return experiment.plan(slug, profile=profile, device=device, **what)

    found = {}
    for slug, what, seeds in arms() if study is None else study:
        what = dict(what)
        at = what.pop("at")
        task = experiment._task(slug)
        plan = like(slug if task or slug == "none" else "mask-8", **what)
        if slug != "none" and not task:
            plan = dataclasses.replace(plan, slug=slug, at=at, module_hash=experiment._module_hash(slug))
        for seed in seeds:
            one = dataclasses.replace(plan, seed=seed)
            found[one.name] = one
    return list(found.values())


def _again(plan: Plan) -> Plan:
    """The plan as it would be made now."""
    return experiment.plan(plan.slug, **{k: getattr(plan, k) for k in GIVEN}, **plan.options)


# Filling


def fill(
    plans: Iterable[Plan], *, jobs: int = 2, minutes: float | None = None, command: Sequence[str] = CHILD
) -> dict[str, str]:
    """Runs the plans that have no record, each in a fresh process that dies with this one.

    A run that another driver holds is put off, and counts as done when its record is there.

    Args:
        jobs: how many at a time. minutes: after so many, what runs is finished and nothing is started.
        command: what a plan, as JSON, is appended to.

    Returns:
        The names of the runs that failed, each with the last lines that it said.
    """
    plans = list(plans)
    waiting = deque(p for p in plans if not p.path.is_file())
    running: list[tuple[Plan, float, subprocess.Popen, BinaryIO]] = []
    failed: dict[str, str] = {}
    began, work, spent = time.monotonic(), 0.0, 0.0

    def tell(plan: Plan, what: str) -> None:
        rest = [*waiting, *(p for p, *_ in running)]
        left = sum(map(_work, rest)) * (spent / work if work else RATE) / jobs
        done = f"{len(plans) - len(rest)}/{len(plans)}"
        print(f"{done:>9}  {plan.name:<68} {what:>8}   {_span(left)} left", flush=True)

    print(f"records: {len(plans) - len(waiting)} of {len(plans)} are there, {jobs} at a time", flush=True)
    try:
        while running or waiting:
            late = minutes is not None and time.monotonic() - began >= 60 * minutes
            if late and not running:
                break
            for _ in range(len(waiting)):
                if late or len(running) >= jobs:
                    break
                plan = waiting.popleft()
                if plan.path.is_file():
                    tell(plan, "is there")
                elif _busy(plan):
                    waiting.append(plan)
                else:
                    running.append((plan, time.monotonic(), *_start(plan, command)))
            time.sleep(0.1)
            for one in [one for one in running if one[2].poll() is not None]:
                running.remove(one)
                plan, start, process, log = one
                if process.returncode == 0 and plan.path.is_file():
                    work, spent = work + _work(plan), spent + time.monotonic() - start
                    tell(plan, f"{time.monotonic() - start:.0f} s")
                else:
                    log.seek(0)
                    said = log.read().decode("utf-8", "replace").strip().splitlines()[-15:]
                    failed[plan.name] = "\n".join([*said, f"its process ended with {process.returncode}"])
                    tell(plan, "FAILED")
                log.close()
    finally:
        for *_, process, _ in running:
            process.kill()
            process.wait()
    if waiting:
        print(f"records: the time is up, {len(waiting)} are left", flush=True)
    return failed


def _start(plan: Plan, command: Sequence[str]) -> tuple[subprocess.Popen, BinaryIO]:
    """The process, and the file of what it says, which has no name and so needs no clearing up."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(plan.threads))
    log = tempfile.TemporaryFile()  # noqa: SIM115 - read and closed when the process has ended
    process = subprocess.Popen(
        [*command, json.dumps(dataclasses.asdict(plan))],
        env={**os.environ, **threads},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    return process, log


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # before the fork, after which little is allowed


def _die_with_parent() -> None:
    _libc.prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG


def child(text: str, fit=None) -> None:
    """Makes the record of one plan, given as JSON.

    Raises:
        RuntimeError: the plan would be another one now, since weights, pictures or versions have changed.
    """
    plan = Plan(**json.loads(text))
    if (now := _again(plan)) != plan:
        changed = [f.name for f in dataclasses.fields(Plan) if getattr(now, f.name) != getattr(plan, f.name)]
        raise RuntimeError(f"{', '.join(changed)} changed since this study was started: start it again")
    experiment.run(plan.slug, fit=fit, **{k: getattr(plan, k) for k in GIVEN}, **plan.options)


def _busy(plan: Plan) -> bool:
    """Whether a process holds the lock of this run."""
    file = datasets.home() / "_build" / "locks" / plan.key
    if not file.exists():
        return False
    with file.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _work(plan: Plan) -> float:
    """Pixels to look at; training on one costs about three times as much as validating on it."""
    return (3 * plan.images * plan.epochs + plan.val * (plan.epochs if plan.curve else 1)) * plan.size**2


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


# Checking


def check(today: date, fit=None) -> bool:
    """Repeats one CPU run of profile record, drawn by the date among those that can be repeated here, and compares.

    A record can be repeated when module, recipe, pictures and weights are as they were, and has another seed beside
    it. On the same processor and versions every number must be equal; elsewhere the metrics may differ by as much as
    two seeds do. Nothing is written into data/results.
    """
    files = sorted((datasets.home() / "data" / "results").glob("*/*-record-cpu-*.json"))
    random.Random(today.isoformat()).shuffle(files)
    for file in files:
        record = Record.load(file)
        plan = record.plan
        seeds = [r for r in experiment.read(plan.slug, profile="record") if r.plan.setup == plan.setup]
        if len(seeds) > 1 and _repeatable(plan):
            break
    else:
        print(f"records: none of {len(files)} can be repeated here: nothing was checked")
        return True
    print(f"records: repeating {plan.name}, which is of {record.date}", flush=True)
    now = (fit or experiment._trainer(plan.slug).fit)(plan, None)
    exact = record.processor == experiment.processor(plan.device) and plan.versions == experiment.versions()
    good = True
    for metric, was in record.metrics.items():
        values = [r.metrics[metric] for r in seeds]
        spread = 0.0 if exact else max(values) - min(values)
        good &= abs(now["metrics"][metric] - was) <= spread
        print(f"  {metric:<9} record {was!r}   now {now['metrics'][metric]!r}   allowed difference {spread:.4g}")
    if exact:
        for name in ("curve", "engagement"):
            same = getattr(record, name) == now.get(name)
            good &= same
            print(f"  {name:<9} {'equal' if same else f'record {getattr(record, name)}   now {now.get(name)}'}")
    if exact:
        rule = "equal to the last digit, on the same processor and versions"
    else:
        made = f"{record.processor}, {plan.versions}"
        rule = f"within the spread of {len(seeds)} seeds, made on {made}"
    print(f"records: {'right' if good else 'WRONG'} ({rule})")
    return good


def _repeatable(plan: Plan) -> bool:
    try:
        drawn = plan.data == "digits" or experiment._task(plan.slug)
        if not drawn and not (datasets.home() / "data" / plan.data).is_dir():
            return False  # a check downloads nothing
        return dataclasses.replace(_again(plan), versions=plan.versions) == plan
    except (ValueError, FileNotFoundError):  # the mechanism or the weights are not there any more
        return False


# The worktree


def worktree(root: Path) -> Path:
    """A clean checkout of HEAD below ``root/_build/worktrees``; those of other commits that nobody uses are removed.

    This process, and what it becomes by exec, uses it until it ends.

    Raises:
        RuntimeError: ``root`` is no git checkout, or HEAD lacks this file.
    """

    def git(*words, cwd=root) -> str:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", *words], cwd=cwd, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"git {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def whole(tree: Path, sha: str) -> bool:
        try:
            found = git("rev-parse", "--show-toplevel", "HEAD", cwd=tree).splitlines()
            return found == [str(tree.resolve()), sha] and not git("status", "--porcelain", cwd=tree)
        except (OSError, RuntimeError):
            return False

    try:
        top, sha = git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top) != root.resolve():
            raise RuntimeError(f"its checkout is {top}")
    except (OSError, RuntimeError) as e:
        raise RuntimeError(f"records are made from a commit, and {root} is no git checkout with one: {e}") from None
    if not git("ls-tree", "HEAD", "attn/records.py"):
        raise RuntimeError(f"records are made from a commit, and HEAD ({sha[:8]}) has no attn/records.py: commit first")
    if edits := git("status", "--porcelain", "--", "attn", "data/*.yaml"):
        print(f"records: from commit {sha[:8]}; files that differ from it and take no part: {len(edits.splitlines())}")

    folder = root / "_build" / "worktrees"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "guard").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        ours = os.open(folder / f"{sha}.lock", os.O_RDWR | os.O_CREAT)  # never closed: held until the process ends
        for lock in folder.glob("*.lock"):
            tree = lock.with_suffix("")
            with lock.open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:  # in use
                    continue
                if tree.name != sha or not whole(tree, sha):
                    # Forced twice: git itself was killed at work and left it locked.
                    subprocess.run(["git", "worktree", "remove", "-f", "-f", tree], cwd=root, capture_output=True)
                    shutil.rmtree(tree, ignore_errors=True)
                if tree.name != sha:
                    lock.unlink()
        tree = folder / sha
        if not tree.exists():
            git("worktree", "add", "-f", "-f", "--detach", str(tree), sha)
        fcntl.flock(ours, fcntl.LOCK_SH)
        os.set_inheritable(ours, True)
    return tree


def _move(argv: list[str]) -> None:
    """Starts this module over from the worktree, where it does not stand in one yet."""
    root = Path(__file__).resolve().parents[1]
    if root.parent.name == "worktrees" and root.parent.parent == Path.cwd() / "_build":
        return
    if "ATTN_WORKTREE" in os.environ:
        raise RuntimeError(f"attn was imported from {root} instead of {os.environ['ATTN_WORKTREE']}")
    tree = worktree(root)
    os.chdir(root)
    path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "ATTN_WORKTREE": str(tree)}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-P", "-m", "attn.records", *argv], environment)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["--child"]:
        child(argv[1])
        return 0
    parser = argparse.ArgumentParser(prog="python -m attn.records", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="repeat one run, drawn by the date, and compare")
    parser.add_argument("--data", nargs="+", metavar="SET", help="only these data sets")
    parser.add_argument("--slug", nargs="+", metavar="SLUG", help="only these mechanisms and controls")
    parser.add_argument("--place", nargs="+", metavar="PLACE", help="only at these places, and the plain detector")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="only these seeds")
    parser.add_argument("--profile", default="record", help="quick, record (the default) or full")
    parser.add_argument("--device", help="cpu, cuda; by default what there is")
    parser.add_argument("--limit-minutes", type=float, metavar="M", help="start nothing later than this; 0 only counts")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="how many at a time (2)")
    options = parser.parse_args(argv)
    try:
        _move(argv)
        if options.check:
            return 0 if check(datetime.now(UTC).date()) else 1
        plans, lacking = [], {}
        for _, group in itertools.groupby(_chosen(options), lambda arm: {**arm[1], "at": None}):
            study = list(group)
            try:
                plans += wanted(options.profile, options.device, study)
            except (OSError, RuntimeError) as e:  # their weights or pictures are not there; the others can go on
                lacking[str(e)] = lacking.get(str(e), 0) + sum(len(seeds) for *_, seeds in study)
        failed = fill({p.name: p for p in plans}.values(), jobs=options.jobs, minutes=options.limit_minutes)
    except KeyboardInterrupt:
        print("\nrecords: stopped; the same command goes on")
        return 130
    except (ValueError, RuntimeError, OSError, ImportError) as e:
        print(f"records: {e}", file=sys.stderr)
        return 1
    for name, said in failed.items():
        print(f"\nFAILED {name}\n    " + said.replace("\n", "\n    "))
    for why, runs in lacking.items():
        print(f"\nleft out: {runs} runs: {why}")
    return 1 if failed or lacking else 0


def _chosen(options: argparse.Namespace) -> list[Arm]:
    """The arms that the command line asks for."""
    chosen = list(arms())
    for kind, of in (("data", lambda a: a[1]["data"]), ("slug", lambda a: a[0]), ("place", lambda a: a[1]["at"])):
        picked = getattr(options, kind)
        for value in picked or ():
            if value not in (good := dict.fromkeys(map(of, chosen))):
                raise ValueError(registry.unknown(kind, value, good))
        if picked:
            chosen = [a for a in chosen if of(a) in picked]
    if options.seeds:
        chosen = [(slug, what, [s for s in seeds if s in options.seeds]) for slug, what, seeds in chosen]
    return chosen


if __name__ == "__main__":
    sys.exit(main())
