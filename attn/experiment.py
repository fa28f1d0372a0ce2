# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Runs, their records, and what may be claimed from them.

A run is defined by its :class:`Plan`; its key is a hash over all of the plan, and a run is done when the file of its
:class:`Record` exists, and not before. :func:`run` reads that file or, holding a lock, trains and then writes it.
:func:`compare` pairs every record with its control's (same seed, same batches) and is the only place that gives a
verdict.
"""

import ast
import contextlib
import dataclasses
import hashlib
import importlib
import inspect
import io
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from . import registry
from .controls import nearest
from .fresh import CONTROLS, FRESH

# Counts up when a change to the training code changes what the same plan gives.
RECIPE = 2

# What each profile trains on and for how long. `quick` runs every line of code and its numbers mean nothing; `record`
# is a short run; `full` is until the curve is flat. `images` and `val` are counts, None being all there are.
PROFILES: dict[str, dict[str, Any]] = {
    "quick": {"images": 64, "val": 48, "epochs": 1, "warmup": 0.0, "lr0": 5e-4, "curve": False},
    "record": {"images": 256, "val": 1000, "epochs": 4, "warmup": 0.5, "lr0": 5e-4, "curve": False},
    "full": {"images": None, "val": None, "epochs": 60, "warmup": 1.0, "lr0": 1e-3, "curve": True},
}

# What a condition changes in the plan; a whole number with `*` before it multiplies.
CONDITIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "few": {"images": 64, "epochs": "*4"},  # the same number of steps over a quarter of the pictures
    "occluded": {"knobs": {"occlusion": 5}},  # digits only: half of each digit's box is hidden
    "large": {"size": "*2"},
    "longer": {"epochs": "*4"},
    "own-rate": {"own_rate": 20.0},  # the new layer learns twenty times as fast as the rest
}

# Picture size in pixels, and how pictures may be varied: a mirrored digit is another sign, a mirrored cell is a cell.
SIZES = {"digits": 160, "bccd": 256}
FLIPS = {"digits": 0.0}

BAND = 0.005  # mAP50-95: differences within it make no difference to anybody
LEAGUE = 8  # from so many mechanisms on, they share what they say about the variance
CONTROL_FOLDER = "none"
TASK_CONTROL = "control"  # the condition under which a small task trains what its mechanism is compared with


@dataclass(frozen=True)
class Plan:
    """Everything that defines a run. Two runs with equal plans give equal numbers on one processor.

    Args:
        slug: a mechanism, a control of :mod:`attn.controls`, or ``"none"`` for the plain detector. options: its own.
        data: a set of :mod:`attn.datasets`. knobs: the set's. data_hash: over its pixels and labels.
        model, at, start: as in ``attn.yolo.build``.
        weights: the checkpoint that training starts from: ``"early"``, ``"late"``, ``"final"``, a path, or None for
            a random start. base: which of the base detectors. weights_hash: over the file.
        images, val: how many pictures to train and to validate on, the first of each split.
        size: side of the pictures in pixels. batch: pictures a step. warmup: epochs in which the rates rise.
        own_rate: learning rate of the new layer as a multiple of lr0.
        augment: what ultralytics calls its augmentation arguments, where not at their defaults.
        curve: whether every epoch is validated, or the last alone.
        module_hash: over the code of the mechanism's file, docstrings and card aside.
        recipe: the version of the training code.
    """

    slug: str
    options: dict[str, Any]
    data: str
    knobs: dict[str, Any]
    model: str
    at: Any
    start: str
    weights: str | None
    base: int
    condition: str
    seed: int
    profile: str
    device: str
    epochs: int
    images: int
    val: int
    size: int
    batch: int
    optimizer: str
    lr0: float
    warmup: float
    own_rate: float
    augment: dict[str, float]
    curve: bool
    threads: int
    data_hash: str
    weights_hash: str | None
    module_hash: str | None
    versions: dict[str, str]
    recipe: int = RECIPE

    @property
    def key(self) -> str:
        """Eight hexadecimal digits over everything above."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """The record's path below the folder of results: ``se/digits-after-C3-1--record-cpu-s0-1a2b3c4d.json``."""
        place = "-".join(map(str, self.at)) if isinstance(self.at, list) else str(self.at or "")
        control = self.slug == "none" or self.slug in CONTROLS
        words = [
            self.data.replace(" ", "-"),
            *([self.slug] if control else []),
            *([TASK_CONTROL] if self.condition == TASK_CONTROL else []),
            *([re.sub("[^A-Za-z0-9]", "-", place)] if place else []),
            self.profile,
            self.device.partition(":")[0],
            f"s{self.seed}",
            self.key,
        ]
        return f"{CONTROL_FOLDER if control else self.slug}/{'-'.join(words)}.json"

    @property
    def path(self) -> Path:
        """Where the record stands: below ``data/results``, or for the quick profile below ``_build/results``."""
        return _folder(self.profile) / self.name

    @property
    def setup(self) -> dict[str, Any]:
        """The plan without what is repeated: runs of one setup differ in seed and base only."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("seed", "base", "weights_hash")}


@dataclass(frozen=True)
class Record:
    """What a run gave.

    Args:
        metrics: ``mAP50`` and ``mAP50-95`` of the averaged weights after the last step.
        curve: one dict an epoch: the training losses and, where validated, the metrics.
        controls: the control's name and its record's path below the folder of results, the plain detector first.
        image_error: for each control, the standard error over validation images of the difference to it, or None.
        engagement: ``moved``, the mean over images of |a_end − a_start|, and ``spread``, the standard deviation
            over images of a_end, where there is a map; ``alpha``, the learned α, after an identity start; else None.
        wall, cpu: seconds. commit, clean: of the checkout the code stood in; None where it stood in none.
    """

    plan: Plan
    metrics: dict[str, float]
    curve: list[dict[str, float]]
    controls: dict[str, str]
    image_error: dict[str, float | None]
    engagement: dict[str, float] | None
    channels: int | None
    wall: float
    cpu: float
    processor: str
    commit: str | None
    clean: bool | None
    date: str

    @property
    def path(self) -> Path:
        return self.plan.path

    @property
    def current(self) -> bool:
        """Whether the module's code is still the one this record was made with."""
        return self.plan.module_hash == _module_hash(self.plan.slug)

    @classmethod
    def load(cls, path: Path) -> "Record":
        fields = json.loads(path.read_text("utf-8"))
        return cls(**{**fields, "plan": Plan(**fields["plan"])})

    def save(self) -> None:
        """Writes the file aside, forces it to the disk and renames it, so that it is whole or not there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f".{self.path.name}.part")  # one writer at a time: the run holds a lock
        with aside.open("w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self), file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, self.path)


# Planning


def plan(
    slug: str,
    *,
    data: str = "digits",
    model: str = "yolov5n.yaml",
    at: Any = "after:C3[1]",
    start: str = "plain",
    weights: str | None = "early",
    base: int = 0,
    condition: str = "plain",
    seed: int = 0,
    profile: str = "quick",
    device: str | None = None,
    epochs: int | None = None,
    lr0: float | None = None,
    **options,
) -> Plan:
    """The plan of a run; the arguments are those of :func:`run`. The data set is made if it is not there."""
    from . import datasets

    task = _task(slug)
    for kind, value, good in (
        ("profile", profile, PROFILES),
        ("condition", condition, ("plain", TASK_CONTROL) if task else CONDITIONS),
    ):
        if value not in good:
            raise ValueError(registry.unknown(kind, value, good))
    if slug != "none" and slug not in CONTROLS:
        facts = registry.card(slug)
        for option in options:
            if option not in facts.options:
                raise ValueError(registry.unknown(f"option of {slug}", option, facts.options))
    elif options:
        raise ValueError(f"{slug} takes no options, not {', '.join(options)}")

    given = {k: v for k, v in (("epochs", epochs), ("lr0", lr0)) if v is not None}
    if task:
        profile = "record" if profile == "full" else profile  # there is nothing larger: these tasks are small
        at_hand = {"data": data, "model": model, "at": at, "start": start, "weights": weights, "base": base}
        return _task_plan(task, slug, options, at_hand, condition, seed, profile, device, given)
    set_up = {"size": SIZES.get(data, 320), "knobs": {}, "own_rate": 1.0, **PROFILES[profile]}
    for name, change in CONDITIONS[condition].items():
        set_up[name] = set_up[name] * int(change[1:]) if isinstance(change, str) else change
    set_up |= given
    if slug == "none":  # what says how the layer stands in has no meaning here, and must not make two runs of one
        at, start, set_up["own_rate"] = None, "plain", 1.0
        condition = "plain" if condition == "own-rate" else condition

    folder = datasets.make(data, **set_up["knobs"])
    for count, split in (("images", "train"), ("val", "val")):
        there = sum(1 for _ in (folder / "images" / split).iterdir())
        set_up[count] = min(set_up[count] or there, there)
    weights, file = _weights(weights, data, model, base, profile)
    return Plan(
        slug=slug,
        options=options,
        data=data,
        model=model,
        at=at,
        start=start,
        weights=weights,
        base=base,
        condition=condition,
        seed=seed,
        profile=profile,
        device=_device(device),
        batch=16,
        optimizer="AdamW",
        augment={"mosaic": float(profile == "full"), "fliplr": FLIPS.get(data, 0.5)},
        threads=1,
        data_hash=datasets.digest(data, **set_up["knobs"]),
        weights_hash=_file_hash(file) if file else None,
        module_hash=_module_hash(slug),
        versions=versions(),
        **set_up,
    )


def _task(slug: str):
    """The small task that stands in for a detector, where none can hold the mechanism; else None."""
    if slug == "none" or slug in CONTROLS or registry.card(slug).detector is not None:
        return None
    from . import tasks

    return tasks.of(slug)


def _task_plan(task, slug, options, at_hand, condition, seed, profile, device, given) -> Plan:
    """The plan of a small task. What a detector's plan says of its place is refused unless it is left at its default.

    ``data_hash`` is over the code that draws the examples and trains.
    """
    fixed = {"data": task.DATA, "model": "task", "at": None, "start": "plain", "weights": None, "base": 0}
    for name, value in at_hand.items():
        if value not in (fixed[name], inspect.signature(plan).parameters[name].default):
            raise ValueError(
                f"{slug} is trained on a small task of its own ({task.DATA}), where {name}={value!r} has no meaning"
            )
    return Plan(
        slug=slug,
        options=options,
        knobs={},
        condition=condition,
        seed=seed,
        profile=profile,
        device=_device(device),
        optimizer="Adam",
        warmup=0.0,
        own_rate=1.0,
        augment={},
        curve=True,
        threads=1,
        data_hash=_task_hash(task),
        weights_hash=None,
        module_hash=_module_hash(slug),
        versions=versions(),
        **fixed,
        **{"lr0": task.RATES[len(task.RATES) // 2], **task.PROFILES[profile], **given},
    )


def _device(device: str | None) -> str:
    return str(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def versions() -> dict[str, str]:
    """Of the libraries that a number can depend on, as far as they are installed."""
    found = {}
    for name in ("torch", "ultralytics", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def weights_file(weights: str, data: str, model: str, base: int) -> Path:
    """Where a named checkpoint of a base detector stands."""
    return _home() / "data" / "weights" / f"{data}-{Path(model).stem}-base{base}-{weights}.safetensors"


def _weights(weights: str | None, data: str, model: str, base: int, profile: str) -> tuple[str | None, Path | None]:
    """The checkpoint's name and file.

    Training starts from random weights where ``weights`` is None and in one other case: the quick profile, whose
    numbers mean nothing, does so where the early checkpoint has not been made.
    """
    if weights is None:
        return None, None
    for file in (weights_file(weights, data, model, base), Path(weights)):
        if file.is_file():
            return weights, file
    if weights == "early" and profile == "quick":
        return None, None
    raise FileNotFoundError(
        f"no weights {weights!r} for {model} on {data}, base {base}: "
        f"`python -m attn.yolo.fit base --data {data} --model {model} --base {base}` makes them"
    )


def _module_hash(slug: str) -> str | None:
    """Over the code of a mechanism or control; None for the plain detector."""
    if slug == "none":
        return None
    cls = CONTROLS[slug] if slug in CONTROLS else registry.card(slug).cls
    return _code_hash(Path(inspect.getsourcefile(cls)).read_text("utf-8"))


def _task_hash(task: ModuleType) -> str:
    """Over the code of a small task, and of the other tasks that it takes something from."""
    there = {getattr(value, "__module__", None) or "" for value in vars(task).values()} - {task.__name__}
    others = sorted(name for name in there if name.startswith(f"{__package__}.tasks."))
    files = [task.__file__, *(sys.modules[name].__file__ for name in others)]
    hashes = [_code_hash(Path(file).read_text("utf-8")) for file in files]
    return hashes[0] if len(hashes) == 1 else _digest("".join(hashes).encode())


def _code_hash(source: str) -> str:
    """Over what a source file does: docstrings, comments, blank lines and the facts of a card may change.

    Of a card, what a training reads counts: ``from_conv``. The names taken from the register are the card's words.
    """
    lines, gone = source.splitlines(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            gone.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
        if isinstance(node, ast.ImportFrom) and node.module == "registry":
            gone.update(range(node.lineno, node.end_lineno + 1))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "register":
            for fact in node.keywords:
                if fact.arg != "from_conv":
                    gone.update(range(fact.lineno, fact.value.end_lineno + 1))
    left = [line.rstrip() for number, line in enumerate(lines, 1) if number not in gone]
    return _digest("\n".join(filter(None, left)).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _file_hash(path: Path) -> str:
    return _digest(path.read_bytes())


def _home() -> Path:
    from . import datasets

    return datasets.home()


def _folder(profile: str) -> Path:
    # What the quick profile leaves is no result, and a page that ran must leave git clean.
    return _home() / ("_build" if profile == "quick" else "data") / "results"


# Running


def run(
    slug: str,
    *,
    fit: Callable[..., dict] | None = None,
    progress: bool | Callable[[int, int, str], None] | None = None,
    **what,
) -> Record:
    """Reads the record of a run, or trains and writes it, with the controls it is set beside.

    Args:
        slug: a mechanism, a control (``attn.controls.CONTROLS``), or ``"none"``, the plain detector.
        data, model, at, start, base, seed, device: see :class:`Plan`; ``device=None`` takes a GPU where there is one.
        weights: the checkpoint to start from. ``"early"`` is the one at about half of the base detector's final
            mAP50; where it has not been made, the quick profile starts from random weights (its plan says
            ``weights: null``) and every other refuses. None always starts from random weights.
        condition: one of ``CONDITIONS``; of a small task ``"plain"`` or ``"control"``.
        profile: one of ``PROFILES``; of a small task ``"full"`` is ``"record"``, which the plan then says. epochs, lr0:
            instead of the profile's.
        fit: what trains, ``fit(plan, progress) -> dict``; by default ``attn.tasks.fit`` where the card gives the
            detector no way to take the mechanism, else ``attn.yolo.fit.fit``.
        progress: True for a bar, or a function of steps done, steps in all and a word.
        **options: the mechanism's own.

    Raises:
        ValueError: a name does not exist. FileNotFoundError: the weights have not been made. ImportError: the extra
            that brings the trainer is missing.
    """
    return _run(plan(slug, **what), fit, progress)


# So help(run) names every argument, which are written down once, in plan.
run.__signature__ = inspect.signature(run).replace(
    parameters=[
        *list(inspect.signature(plan).parameters.values())[:-1],
        *list(inspect.signature(run).parameters.values())[1:-1],
        list(inspect.signature(plan).parameters.values())[-1],
    ]
)


def _run(what: Plan, fit, progress) -> Record:
    with lock(what.key):
        if what.path.is_file():
            record = Record.load(what.path)
            for control in _controls(what, record.channels):  # without them the record can be compared with nothing
                _run(control, fit, progress)
            return record
        trainer = None if fit else _trainer(what.slug)
        before, start, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
        with _teller(progress, f"{what.slug}, seed {what.seed}") as tell:
            result = (fit or trainer.fit)(what, tell)
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        beside = {_arm(c): _run(c, fit, progress).plan for c in _controls(what, result.get("channels"))}
        error = getattr(trainer, "image_error", None)
        commit, clean = _checkout()
        record = Record(
            plan=what,
            metrics=result["metrics"],
            curve=result["curve"],
            controls={slug: control.name for slug, control in beside.items()},
            image_error={slug: error(what, control) if error else None for slug, control in beside.items()},
            engagement=result.get("engagement"),
            channels=result.get("channels"),
            wall=round(wall, 2),
            cpu=round(cpu, 2),
            processor=processor(what.device),
            commit=commit,
            clean=clean,
            date=before.isoformat(timespec="seconds"),
        )
        record.save()
    return record


def _arm(control: Plan) -> str:
    """What a control is called in the records that stand beside it."""
    return TASK_CONTROL if control.condition == TASK_CONTROL else control.slug


def _controls(what: Plan, channels: int | None) -> list[Plan]:
    """The plans of the runs that this one is set beside."""
    if _task(what.slug):
        return [] if what.condition == TASK_CONTROL else [dataclasses.replace(what, condition=TASK_CONTROL)]
    plain = dataclasses.replace(
        what,
        **{"slug": "none", "options": {}, "at": None, "start": "plain", "own_rate": 1.0, "module_hash": None},
        condition="plain" if what.condition == "own-rate" else what.condition,
    )
    if what.slug == "none":
        if what.weights in ("early", None):
            return []
        # The plain detector from other weights stands beside the one from the early ones.
        file = weights_file("early", what.data, what.model, what.base)
        return [dataclasses.replace(plain, weights="early", weights_hash=_file_hash(file))] if file.is_file() else []
    if str(what.at).startswith("replace:"):  # beside what replaces a convolution stands one that learns its place anew
        second = FRESH if what.slug != FRESH else None
    else:
        second = nearest(what.slug, channels, **what.options) if channels else None
    if second is None:
        return [plain]
    hashed = _module_hash(second)
    return [plain, dataclasses.replace(what, slug=second, options={}, start="plain", module_hash=hashed)]


def _trainer(slug: str):
    """The module whose ``fit`` trains this, imported only now."""
    module, extra = ("attn.tasks", "") if _task(slug) else ("attn.yolo.fit", "[yolo]")
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise ImportError(f"training {slug} needs {module} ({e}): pip install attn{extra}") from e


@contextlib.contextmanager
def lock(key: str) -> Iterator[None]:
    """Waits for, then holds, the lock of one key. The system lets it go when the process ends, however it ends."""
    import fcntl

    folder = _home() / "_build" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / key).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _teller(progress, label: str) -> Iterator[Callable[[int, int, str], None]]:
    """What the trainer calls with steps done, steps in all and a word."""
    if progress is not True:
        yield progress or (lambda done, total, text="": None)
        return
    from tqdm import tqdm

    with tqdm(desc=label, unit="step") as bar:

        def tell(done: int, total: int, text: str = "") -> None:
            bar.total = total
            bar.set_postfix_str(text, refresh=False)
            bar.update(done - bar.n)

        yield tell


def processor(device: str) -> str:
    """The name of what computes: the graphics processor's or the machine's own."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _checkout() -> tuple[str | None, bool | None]:
    """The commit that the code stands in, and whether attn/ and the cards of the data are as they are there."""
    root = Path(__file__).parent.parent

    def git(*words):
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "attn/experiment.py")  # a package inside somebody else's checkout is none
        return git("rev-parse", "HEAD"), not git("status", "--porcelain", "--", "attn", "data/*.yaml")
    except (OSError, subprocess.CalledProcessError):
        return None, None


# Reading and comparing


def read(slug: str, **where) -> list[Record]:
    """The records of a mechanism, a control or ``"none"``, sorted by name.

    Args:
        **where: fields of :class:`Plan` that must be equal: ``read("se", profile="record", data="digits")``.

    Raises:
        ValueError: the plan has no such field.
    """
    fields = [f.name for f in dataclasses.fields(Plan)]
    for name in where:
        if name not in fields:
            raise ValueError(registry.unknown("field of a plan", name, fields))
    control = slug == "none" or slug in CONTROLS
    if not control:
        registry.card(slug)  # an unknown slug is an error, not an empty list
    found = []
    for folder in (_folder("record"), _folder("quick")):
        for path in sorted((folder / (CONTROL_FOLDER if control else slug)).glob("*.json")):
            record = Record.load(path)
            if record.plan.slug == slug and all(getattr(record.plan, k) == v for k, v in where.items()):
                found.append(record)
    return found


@dataclass(frozen=True)
class Row:
    """One line of a comparison: all seeds of one setup against their controls.

    Args:
        mechanism: the slug, with the options that were set. control: what it was paired with.
        n: pairs. difference: their mean. low, high: its 95 % interval, None where there is one pair.
        p: Holm's, over the rows. engagement: mean of ``moved``. detectable: the difference that these pairs would
            have shown with 80 % power.
        verdict: better, worse, equivalent, cannot tell, or ``""`` where the runs were not full ones.
        setup: of the runs, see :attr:`Plan.setup`.
    """

    mechanism: str
    control: str
    n: int
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    engagement: float | None = None
    detectable: float | None = None
    verdict: str = ""
    current: bool = True
    setup: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """The rows, and in ``notes`` how they were reckoned. Shows itself as a table in a notebook and in a terminal."""

    metric: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    _HEAD = ("mechanism", "beside", "n", "difference", "95 % interval", "engagement", "verdict")

    def _cells(self) -> list[tuple[str, ...]]:
        """The table, its head first; without verdicts it has no column for them."""

        def one(row: Row) -> tuple[str, ...]:
            interval = "one pair: none" if row.low is None else f"{row.low:+.4f} to {row.high:+.4f}"
            verdict = row.verdict
            if verdict == "cannot tell":
                verdict += f" (these {row.n} could have shown {row.detectable:.4f})"
            return (
                row.mechanism + ("" if row.current else " (earlier version)"),
                row.control,
                str(row.n),
                f"{row.difference:+.4f}",
                interval,
                "–" if row.engagement is None else f"{row.engagement:.4f}",
                verdict,
            )

        table = [self._HEAD, *map(one, self.rows)]
        return table if any(row.verdict for row in self.rows) else [row[:-1] for row in table]

    def __str__(self) -> str:
        table = self._cells()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in table]
        return "\n".join([f"Difference of {self.metric} to the control", *lines, *self.notes])

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        head, *rows = self._cells()
        lines = [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
        table = "\n".join(f"| {line} |" for line in lines).replace(" to ", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}")
        return f"Difference of {self.metric} to the control\n\n{table}\n\n" + "\n\n".join(self.notes)


def compare(
    slugs: str | list[str],
    *,
    to: str = "control",
    metric: str | None = None,
    records: list[Record] | None = None,
    **where,
) -> Comparison:
    """The paired differences of mechanisms to their controls, with intervals and, for full runs, verdicts.

    The difference of one pair is that of two runs with the same seed, base and batches. Over pairs, a t interval: its
    variance is s²/n for the seeds plus the mean squared error over images (every seed sees the same images, so more
    seeds do not make that smaller). From ``LEAGUE`` mechanisms on, s² is shrunk towards what all of them say
    (empirical Bayes; Smyth, 2004, doi:10.2202/1544-6115.1027), below it is the pairs' own. p is Holm's over the rows.

    In a small task the mechanism and its control each stand at their best learning rate: of those on record for all of
    the arm's seeds, the one with the highest mean accuracy on the tuning examples.

    Args:
        slugs: one or several. to: ``"control"`` (the bottleneck of its size where it has one, else the plain
            detector) or the name of one control.
        metric: of a detector ``"mAP50-95"`` (the default) or ``"mAP50"``, of a small task ``"accuracy"``.
        records: these instead of what the files hold.
        **where: fields of :class:`Plan` that must be equal, best profile, data and at.

    Raises:
        ValueError: there is no record, one of them was not set beside ``to``, or detectors and small tasks are mixed.
    """
    slugs = [slugs] if isinstance(slugs, str) else slugs
    found = records if records is not None else [r for slug in slugs for r in read(slug, **where)]
    if not found:
        wanted = ", ".join(f"{k}={v!r}" for k, v in where.items()) or "any plan"
        raise ValueError(f"no record of {', '.join(slugs)} for {wanted}; attn.experiment.run makes one")
    remarks: dict[str, None] = {}
    tasks = {slug for slug in {r.plan.slug for r in found} if _task(slug)}
    if tasks:
        if len({r.plan.slug for r in found}) > len(tasks):
            raise ValueError(f"{', '.join(sorted(tasks))} is measured on a small task: compare it without the others")
        found = [record for slug in sorted(tasks) for record in _tuned(slug, found, remarks)]
    metric = metric or ("accuracy" if tasks else "mAP50-95")
    arms: dict[str, list[Record]] = {}
    for record in found:
        if record.controls:  # the plain detector has none: it is what the others are set beside
            arms.setdefault(json.dumps(record.plan.setup, sort_keys=True), []).append(record)
    if not arms:
        raise ValueError(f"{', '.join(slugs)} stands beside nothing: compare the mechanisms with it")
    setups = [json.loads(arm) for arm in arms]
    pairs = [
        _pair(group, to, metric, _label(s, setups), remarks) for group, s in zip(arms.values(), setups, strict=True)
    ]
    rows, notes = _judge(pairs, {s["profile"] for s in setups} == {"full"})
    return Comparison(metric, rows, [*notes, *remarks])


def _tuned(slug: str, found: list[Record], remarks: dict[str, None]) -> list[Record]:
    """The records of a small task at the best rate of each arm, those of the mechanism beside those of the control.

    Controls that a record names are read where they are not among ``found``. What is left out is said in ``remarks``.
    """
    known = {r.plan.name: r for r in found if r.plan.slug == slug}
    for record in list(known.values()):
        for name in record.controls.values():
            known.setdefault(name, Record.load(_folder(record.plan.profile) / name))
    chosen = []
    for alike in _grouped(known.values()):
        best = {"plain": {}, TASK_CONTROL: {}}
        for condition in best:
            rates: dict[float, dict[int, Record]] = {}
            for record in alike:
                if record.plan.condition == condition:
                    rates.setdefault(record.plan.lr0, {})[record.plan.seed] = record
            who, most = slug if condition == "plain" else "its control", max(map(len, rates.values()), default=0)
            for rate in [rate for rate in rates if len(rates[rate]) < most]:
                remarks[f"Left out: {who} at {rate:g}, with {len(rates.pop(rate))} seeds of {most}."] = None
            if rates:
                # Of rates that are level the smallest, whatever the order of the files.
                rate = max(rates, key=lambda r: (sum(run.metrics["tuning"] for run in rates[r].values()), -r))
                best[condition] = rates[rate]
                tried = ", ".join(f"{r:g}" for r in sorted(rates))
                chosen_by = f", the best of {tried} on other examples" if len(rates) > 1 else ""
                remarks[f"Learning rate of {who}: {rate:g}{chosen_by}."] = None
        for seed, record in best["plain"].items():
            if beside := best[TASK_CONTROL].get(seed):
                chosen.append(dataclasses.replace(record, controls={TASK_CONTROL: beside.plan.name}))
            else:
                remarks[f"Left out: seed {seed} of {slug}, whose control has none at its best rate."] = None
    return chosen


def _grouped(records) -> list[list[Record]]:
    """Records of one small task, together where they differ in arm, rate and seed only."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        rest = {k: v for k, v in record.plan.setup.items() if k not in ("condition", "lr0")}
        groups.setdefault(json.dumps(rest, sort_keys=True), []).append(record)
    return list(groups.values())


def _label(setup: dict[str, Any], setups: list[dict[str, Any]]) -> str:
    """The slug with its options, and whatever else tells this setup from the others in the table."""
    words = {
        k: setup[k] for k in ("data", "model", "at", "start", "weights", "condition", "profile", "device", "epochs")
    }
    words = {k: v for k, v in words.items() if v is not None and any(s[k] != v for s in setups if s["slug"] != "none")}
    words = {**setup["options"], **words}
    return setup["slug"] + (f" ({', '.join(f'{k}={v}' for k, v in words.items())})" if words else "")


def _pair(
    group: list[Record], to: str, metric: str, label: str, remarks: dict[str, None]
) -> tuple[Row, list[float], float]:
    """One arm: its row without interval, its differences, and the mean squared error over images.

    What makes a pair less than it should be is added to ``remarks``.
    """
    differences, images, moved = [], [], []
    for record in group:
        name = list(record.controls)[-1] if to == "control" else to
        if name not in record.controls:
            raise ValueError(
                f"{record.plan.name} was not set beside {name!r}, but beside {' and '.join(record.controls)}"
            )
        control = Record.load(_folder(record.plan.profile) / record.controls[name])
        differences.append(record.metrics[metric] - control.metrics[metric])
        error = record.image_error.get(name)
        images.append((error or 0.0) ** 2)
        if error is None:
            remarks[
                "Some pairs lack the error over images (the control's matches were gone): intervals too narrow."
            ] = None
        if record.processor != control.processor:
            remarks["Some pairs were made on two processors, so they differ by more than the layer."] = None
        if "moved" in (record.engagement or ()):
            moved.append(record.engagement["moved"])
    mean = sum(differences) / len(differences)
    row = Row(
        mechanism=label,
        control=name,
        n=len(group),
        difference=mean,
        engagement=sum(moved) / len(moved) if moved else None,
        current=all(r.current for r in group),
        setup=group[0].plan.setup,
    )
    return row, differences, sum(images) / len(images)


def _judge(arms: list[tuple[Row, list[float], float]], full: bool) -> tuple[list[Row], list[str]]:
    """Intervals, p and verdicts over all arms, and the notes that say how."""
    many = [(sum((d - row.difference) ** 2 for d in ds) / (row.n - 1), row.n - 1) for row, ds, _ in arms if row.n > 1]
    notes = []
    if not many:
        notes.append("One pair each: a difference without an interval says nothing about the mechanism.")
    prior = _prior(*zip(*many, strict=True)) if len(many) >= LEAGUE else None
    if prior:
        notes.append(
            f"Intervals: paired t; each variance is shrunk towards that of all {len(many)} mechanisms, "
            f"which counts for {prior[1]:.1f} degrees of freedom."
        )
    elif many:
        notes.append(f"Intervals: plain paired t; fewer than {LEAGUE} mechanisms share no variance.")
    if not full:
        notes.append("Short runs: a difference and its interval, no verdict.")

    reckoned = []
    for row, ds, images in arms:
        if row.n > 1:
            s2, df = sum((d - row.difference) ** 2 for d in ds) / (row.n - 1), row.n - 1
            if prior:
                s2, df = (
                    (prior[1] * prior[0] + df * s2) / (prior[1] + df) if math.isfinite(prior[1]) else prior[0],
                    df + prior[1],
                )
            error = math.sqrt(s2 / row.n + images)
            half = _t_quantile(0.975, df) * error
            p = _t_tail(abs(row.difference) / error, df) if error else float(row.difference == 0)
            detectable = (_t_quantile(1 - 0.025 / len(many), df) + _t_quantile(0.8, df)) * error
            row = dataclasses.replace(
                row, low=row.difference - half, high=row.difference + half, p=p, detectable=detectable
            )
        reckoned.append(row)
    reckoned = _holm(reckoned)
    return [dataclasses.replace(r, verdict=_verdict(r)) for r in reckoned] if full else reckoned, notes


def _verdict(row: Row) -> str:
    """One of four words. A difference that lies within the band is equivalent even where it is surely not zero."""
    if row.low is None:
        return "cannot tell"
    if row.low > -BAND and row.high < BAND:
        return "equivalent"
    if row.p < 0.05:
        return "better" if row.difference > 0 else "worse"
    return "cannot tell"


def _holm(rows: list[Row]) -> list[Row]:
    """The rows with p corrected for how many there are (Holm, 1979)."""
    order = sorted((i for i, row in enumerate(rows) if row.p is not None), key=lambda i: rows[i].p)
    corrected, largest = list(rows), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * rows[i].p))
        corrected[i] = dataclasses.replace(rows[i], p=largest)
    return corrected


def _prior(variances: tuple[float, ...], degrees: tuple[int, ...]) -> tuple[float, float]:
    """The variance that all arms share and how many degrees of freedom it is worth (Smyth, 2004, section 6.2)."""
    from scipy.optimize import brentq
    from scipy.special import digamma, polygamma

    # Metrics of equal runs can agree to the last digit, and no logarithm takes that.
    e = [math.log(max(s2, 1e-12)) - digamma(d / 2) + math.log(d / 2) for s2, d in zip(variances, degrees, strict=True)]
    mean = sum(e) / len(e)
    excess = sum((x - mean) ** 2 for x in e) / (len(e) - 1) - sum(polygamma(1, d / 2) for d in degrees) / len(degrees)
    if excess <= polygamma(1, 1e6):
        return math.exp(mean), math.inf
    half = float(brentq(lambda x: polygamma(1, x) - excess, 1e-6, 1e6))
    return math.exp(mean + float(digamma(half)) - math.log(half)), 2 * half


def _t_quantile(p: float, df: float) -> float:
    from scipy.stats import norm, t

    return float(norm.ppf(p) if math.isinf(df) else t.ppf(p, df))


def _t_tail(value: float, df: float) -> float:
    """Two-sided p."""
    from scipy.stats import norm, t

    return float(2 * (norm.sf(value) if math.isinf(df) else t.sf(value, df)))
