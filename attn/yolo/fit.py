# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Trains detectors for :mod:`attn.experiment`, lean and repeatable; and the base detectors that runs start from.

``python -m attn.yolo.fit base --data digits`` makes ``data/weights/digits-yolov5n-base0-early.safetensors``, -late and
-final, each with its card.
Whatever in ultralytics draws random numbers, writes files or prints is fixed by the recipe here, or off.
"""

import argparse
import contextlib
import copy
import io
import json
import logging
import math
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import datasets, experiment, registry
from ..fresh import CONTROLS
from . import Attend, build  # before ultralytics: it sets what that reads when it is imported

from ultralytics.models.yolo.detect import DetectionTrainer  # isort: skip
from ultralytics.utils import LOGGER, YAML  # isort: skip
from ultralytics.utils.nms import non_max_suppression  # isort: skip

LOOKED_AT = 64  # validation images over which the engagement is measured
SETTLED = 256  # training pictures over which the statistics of BatchNorm are reckoned
RESAMPLES = 200  # of the validation images, for the error of a difference


class Fit(DetectionTrainer):
    """ultralytics' training loop with its surroundings taken off: no plots, no checkpoints, no tables, no downloads.

    The averaged weights are validated by :func:`measure`, after the last epoch or after each. The class's name must
    not contain "Trainer": that word is what the loggers of ultralytics look for to attach themselves.

    Args:
        network: what to train, as it is.
        tell: called with steps done, steps in all and a word after each step.
        threads: of the processor. own: parameters that learn at ``own_rate`` times lr0.
        each: called with (self, row of the curve) after each epoch.
        **overrides: ultralytics' own arguments.
    """

    def __init__(self, network: nn.Module, *, tell, threads=1, own=(), own_rate=1.0, each=None, **overrides):
        super().__init__(overrides=overrides)
        self.model, self.each = network, each
        self.own, self.own_rate = {id(p) for p in own}, own_rate
        self.rows: list[dict[str, float]] = []
        self.measured: dict[str, float] = {}
        self.matches: dict[str, np.ndarray] = {}
        # select_device, which has just run, sets its own number of threads.
        self.add_callback("on_train_start", lambda _: torch.set_num_threads(threads))
        self.steps, self.tell = 0, tell
        self.add_callback("on_train_batch_end", Fit._step)

    def get_dataset(self):
        # ultralytics' own reader looks for a font, on the network if need be, and offers to download the set.
        data = YAML.load(self.args.data)
        paths = {split: str(Path(data["path"], data[split])) for split in ("train", "val")}
        return {**data, **paths, "nc": len(data["names"]), "channels": 3}

    def get_dataloader(self, *args, **kwargs):
        # Two trainings at once would each delete and write the file of labels that ultralytics keeps beside a set. The
        # bar of the cache is shown at any log level.
        with experiment.lock(f"labels-{Path(self.data['path']).name}"), contextlib.redirect_stdout(io.StringIO()):
            return super().get_dataloader(*args, **kwargs)

    def build_optimizer(self, *args, **kwargs):
        optimizer = super().build_optimizer(*args, **kwargs)
        for group in list(optimizer.param_groups) if self.own and self.own_rate != 1 else []:
            if own := [p for p in group["params"] if id(p) in self.own]:
                group["params"] = [p for p in group["params"] if id(p) not in self.own]
                optimizer.add_param_group({**group, "params": own, "lr": group["lr"] * self.own_rate})
        return optimizer

    def _step(self):
        self.steps += 1
        self.tell(self.steps, self.epochs * len(self.train_loader), f"epoch {self.epoch + 1} of {self.epochs}")

    def validate(self):
        settle(self.ema.ema, self)
        self.measured, self.matches = measure(self)
        return {}, self.measured["mAP50-95"]

    def save_metrics(self, metrics):  # called once an epoch, when everything about it is known
        losses = {name: float(value) for name, value in self.tloss.items()}
        self.rows.append({"epoch": self.epoch + 1, **losses, **self.measured})
        self.measured = {}
        if self.each:
            self.each(self, self.rows[-1])

    def save_model(self):
        return False

    def final_eval(self):
        pass

    def _handle_nan_recovery(self, epoch):
        if not math.isfinite(loss := self.loss.item()):
            raise RuntimeError(f"training diverged: the loss of epoch {epoch + 1} is {loss}")
        return False


def settle(model: nn.Module, trainer: Fit) -> None:
    """Reckons the statistics of every BatchNorm anew: plain means over batches of the first training pictures.

    A running mean lags behind weights that still move, by 33 steps at ultralytics' momentum of 0.03; a short run then
    says more about that lag than about the layer (Wu and Johnson, 2021, arXiv:2105.07576, section 3).
    """
    norms = [m for m in model.eval().modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # each batch counts the same
        norm.train()
    pictures, size = trainer.train_loader.dataset, trainer.args.batch
    with _dice(trainer.args.seed), torch.no_grad():
        # Not through the loader: its sampler goes on where it is left, so training would notice.
        for first in range(0, min(SETTLED, len(pictures)), size):
            batch = [pictures[i] for i in range(first, min(first + size, SETTLED, len(pictures)))]
            model(trainer.preprocess_batch(pictures.collate_fn(batch))["img"])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def measure(trainer: Fit) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Validates the averaged weights once.

    Returns:
        ``mAP50`` and ``mAP50-95``, reckoned by ultralytics; and the matches of all detections, sorted by image:
        ``tp`` (N 10, at the IoU thresholds .50 to .95), ``conf``, ``cls`` and ``image`` (N), ``target_cls`` and
        ``target_image`` (one each a labelled object), ``names`` (of the images).
    """
    model, validator = trainer.ema.ema.eval(), trainer.validator
    validator.device, validator.data, validator.training = trainer.device, trainer.data, True
    names: list[str] = []
    with _dice(), torch.no_grad():  # training must not notice whether it is validated
        validator.init_metrics(model)
        for batch in trainer.test_loader:
            batch = validator.preprocess(batch)
            names += [Path(file).name for file in batch["im_file"]]
            # ultralytics gives up on a batch that takes long, which would make the result depend on the machine.
            found = non_max_suppression(
                model(batch["img"]),
                validator.args.conf,
                validator.args.iou,
                multi_label=True,
                max_det=validator.args.max_det,
                max_time_img=math.inf,
                end2end=validator.end2end,
            )
            boxes = [{"bboxes": x[:, :4], "conf": x[:, 4], "cls": x[:, 5], "extra": x[:, 6:]} for x in found]
            validator.update_metrics(boxes, batch)
    stats = {k: list(v) for k, v in validator.metrics.stats.items()}
    results = validator.get_stats()
    counts, targets = [len(c) for c in stats["conf"]], [len(c) for c in stats["target_cls"]]
    matches = {
        "tp": np.concatenate(stats["tp"]).astype(bool),
        "conf": np.concatenate(stats["conf"]).astype(np.float32),
        "cls": np.concatenate(stats["pred_cls"]).astype(np.int16),
        "image": np.repeat(np.arange(len(names)), counts),
        "target_cls": np.concatenate(stats["target_cls"]).astype(np.int16),
        "target_image": np.repeat(np.arange(len(names)), targets),
        "names": np.array(names),
    }
    return {name: float(results[f"metrics/{name}(B)"]) for name in ("mAP50", "mAP50-95")}, matches


@contextlib.contextmanager
def _dice(seed: int | None = None) -> Iterator[None]:
    """Gives the random states, and the number of threads, back as they were; with a seed, sets them first."""
    states, threads = (random.getstate(), np.random.get_state()), torch.get_num_threads()  # noqa: NPY002 - theirs
    with torch.random.fork_rng():
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
            torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lets ultralytics' warnings through and nothing else; its progress bars follow its log level."""

    def wanted(record):  # the one on memory caches is about another order of random draws: that order is our recipe
        return "cache='ram'" not in str(record.msg)

    level = LOGGER.level
    LOGGER.setLevel(logging.WARNING)
    LOGGER.addFilter(wanted)
    try:
        yield
    finally:
        LOGGER.removeFilter(wanted)
        LOGGER.setLevel(level)


@contextlib.contextmanager
def _trainer(network: nn.Module, key: str, yaml: Path, **arguments) -> Iterator[Fit]:
    """A trainer with a folder of its own under ``_build/runs``, which is gone afterwards."""
    runs = datasets.home() / "_build" / "runs"
    shutil.rmtree(runs / key, ignore_errors=True)  # of a run that was killed
    fixed = {
        "task": "detect",
        "mode": "train",
        "data": str(yaml),
        "project": str(runs),
        "name": key,
        "exist_ok": True,
        "cos_lr": True,
        "lrf": 0.01,
        "warmup_bias_lr": 0.0,
        "nbs": arguments["batch"],  # one step of the optimizer a batch
        "patience": 0,  # never stop early: every arm takes the same steps
        "cache": "ram",  # part of the recipe: it draws from Python's random numbers
        "workers": 0,
        "deterministic": True,
        "amp": False,
        "plots": False,
        "save": False,
        "verbose": False,
    }
    try:
        yield (trainer := Fit(network, **fixed, **arguments))
        if trainer.args.batch != arguments["batch"]:  # ultralytics halves it and goes on: that is another recipe
            raise RuntimeError(f"a batch of {arguments['batch']} does not fit into the memory of {trainer.device}")
    finally:
        shutil.rmtree(runs / key, ignore_errors=True)


def fit(plan: experiment.Plan, progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Trains what the plan says.

    The model is built, and training draws its batches, from the plan's seed; building the mechanism draws from a
    forked state. So with and without it, at equal seed, every other layer starts equal and the batches are equal.

    Returns:
        ``metrics``, ``curve``, ``engagement`` and ``channels`` (the width at the place) of the record. The matches
        are stored as ``_build/matches/<key>.npz``.

    Raises:
        RuntimeError: the loss is not finite any more.
    """
    yaml = datasets.yaml(plan.data, train=plan.images, val=plan.val, progress=False, **plan.knobs)
    with _quiet(), _dice(plan.seed):
        model = built(plan, len(YAML.load(yaml)["names"]))
        inserted = _inserted(model, plan.slug)
        start = copy.deepcopy(model).eval()
        with _trainer(
            model,
            plan.key,
            yaml,
            tell=progress or (lambda done, total, text: None),
            threads=plan.threads,
            own=[p for m in model.modules() if isinstance(m, Attend) for p in m.parameters()],
            own_rate=plan.own_rate,
            model=plan.model,
            seed=plan.seed,
            device=plan.device,
            epochs=plan.epochs,
            imgsz=plan.size,
            batch=plan.batch,
            optimizer=plan.optimizer,
            lr0=plan.lr0,
            warmup_epochs=plan.warmup,
            close_mosaic=min(10, plan.epochs // 4),
            val=plan.curve,
            **plan.augment,
        ) as trainer:
            trainer.train()
            _store(_matches(plan), trainer.matches)
            result = {"metrics": {k: trainer.rows[-1][k] for k in ("mAP50", "mAP50-95")}, "curve": trainer.rows}
            if inserted:
                result["channels"] = _width(start, plan.slug, plan.size)
                settle(start.to(trainer.device), trainer)
                result["engagement"] = _engagement(start, trainer, plan.slug) | _alpha(trainer.ema.ema) or None
    return result


def built(plan: experiment.Plan, nc: int) -> nn.Module:
    """The network that the plan starts from; random where it has no weights."""
    file = None
    if plan.weights:
        named = experiment.weights_file(plan.weights, plan.data, plan.model, plan.base)
        file = named if named.is_file() else Path(plan.weights)
    layer = () if plan.slug == "none" else (plan.slug, plan.at)
    start = {} if plan.slug == "none" else {"start": plan.start, **plan.options}
    with contextlib.redirect_stdout(io.StringIO()):  # the place and the weights, which the plan says already
        return build(plan.model, *layer, weights=file, nc=nc, **start).model


# What the inserted layer did


def _inserted(model: nn.Module, slug: str) -> list[nn.Module]:
    """The modules of the mechanism or control, in the order of the network."""
    if slug == "none":
        return []
    cls = CONTROLS[slug] if slug in CONTROLS else registry.card(slug).cls
    return [m for m in model.modules() if type(m) is cls]


def _width(model: nn.Module, slug: str, size: int) -> int:
    """The number of channels at the (first) place."""
    widths = []
    hook = _inserted(model, slug)[0].register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[1]))
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    hook.remove()
    return widths[0]


def _alpha(model: nn.Module) -> dict[str, float]:
    """The learned α of an identity start, a mean where there are several layers; nothing after a plain start."""
    found = [float(m.alpha) for m in model.modules() if isinstance(m, Attend) and m.alpha is not None]
    return {"alpha": sum(found) / len(found)} if found else {}


def _engagement(start: nn.Module, trainer: Fit, slug: str) -> dict[str, float]:
    """How far the maps moved during training, and how much they differ between images.

    Over the first validation images: ``moved`` is the mean of |a_end − a_start|, each network having made the image's
    features itself; ``spread`` is the standard deviation of a_end over images, averaged over the entries of the map.
    Nothing for a layer without a map.
    """
    if not hasattr(_inserted(start, slug)[0], "attention"):
        return {}
    moved, ends, seen, size = [], [], 0, None
    with _dice(), torch.no_grad():
        for batch in trainer.test_loader:
            images = trainer.validator.preprocess(batch)["img"][: LOOKED_AT - seen]
            size = size or images.shape[2:]
            if images.shape[2:] != size:  # the entries of a map of another size have no partner
                continue
            seen += len(images)
            first, last = _maps(start, slug, images), _maps(trainer.ema.ema, slug, images)
            moved.append(torch.stack([(b - a).abs().mean(1) for a, b in zip(first, last, strict=True)]).mean(0))
            ends.append(last)
            if seen >= LOOKED_AT:
                break
    spread = [torch.cat(a).std(0, correction=0).mean() for a in zip(*ends, strict=True)]
    return {"moved": float(torch.cat(moved).mean()), "spread": float(sum(spread) / len(spread))}


def _maps(model: nn.Module, slug: str, images: Tensor) -> list[Tensor]:
    """Every map of every inserted module, each with one row an image."""
    found: list[Tensor] = []

    def look(module, inputs):
        a = module.attention(*inputs)
        found.extend(t.float().flatten(1) for t in (a.values() if isinstance(a, dict) else [a]))

    hooks = [m.register_forward_pre_hook(look) for m in _inserted(model, slug)]
    model(images)
    for hook in hooks:
        hook.remove()
    return found


# The error over images


def _matches(plan: experiment.Plan) -> Path:
    return datasets.home() / "_build" / "matches" / f"{plan.key}.npz"


def _store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    with aside.open("wb") as file:
        np.savez_compressed(file, **arrays)
    aside.replace(path)


def image_error(plan: experiment.Plan, control: experiment.Plan) -> float | None:
    """The standard error over images of the difference in mAP50-95: both runs on the same resampled images, 200 times.

    None where the matches of one of them are not there any more.
    """
    if not (_matches(plan).is_file() and _matches(control).is_file()):
        return None
    ours, theirs = (dict(np.load(_matches(p))) for p in (plan, control))
    if not np.array_equal(ours["names"], theirs["names"]):
        raise ValueError(f"runs {plan.key} and {control.key} were validated on different images")
    precision = [AveragePrecision(ours), AveragePrecision(theirs)]
    draw, n = np.random.default_rng(0), len(ours["names"])
    weights = (np.bincount(draw.integers(n, size=n), minlength=n) for _ in range(RESAMPLES))
    return float(np.std([precision[0](w) - precision[1](w) for w in weights], ddof=1))


class AveragePrecision:
    """mAP50-95 of one run's matches when each image counts as often as its weight says.

    With all weights one it is ultralytics' number (101 points, linear between them). Of the curve only the detections
    at which it turns are kept, so that 200 resamples of both runs take seconds.

    Args:
        matches: as :func:`measure` returns them.
    """

    _POINTS = np.linspace(0, 1, 101)

    def __init__(self, matches: dict[str, np.ndarray]):
        order = np.argsort(-matches["conf"], kind="stable")
        cls, image, tp = matches["cls"][order], matches["image"][order], matches["tp"][order]
        self.classes = []
        for c in np.unique(matches["target_cls"]):
            (of_class,) = np.nonzero(cls == c)
            hits = [np.flatnonzero(column) for column in tp[of_class].T]
            turns = [np.union1d(h, h[h > 0] - 1) for h in hits]
            kinds = [np.isin(t, h) for t, h in zip(turns, hits, strict=True)]
            targets = matches["target_image"][matches["target_cls"] == c]
            self.classes.append((image[of_class], turns, kinds, targets))

    def __call__(self, weights: np.ndarray) -> float:
        """The mAP; weights has one number an image."""
        precisions = []
        for image, turns, kinds, targets in self.classes:
            weight, total = weights[image], weights[targets].sum()
            if not total:
                continue
            found = np.cumsum(weight)
            for turn, hit in zip(turns, kinds, strict=True):
                tp, all_found = np.cumsum(weight[turn] * hit), found[turn]
                keep = all_found > 0
                if not (len(tp) and tp[-1]):
                    precisions.append(0.0)
                    continue
                recall, precision = tp[keep] / total, tp[keep] / all_found[keep]
                x = np.concatenate(([0.0], recall, [recall[-1], 1.0]))
                y = np.concatenate(([1.0], precision, [0.0, 0.0]))
                y = np.maximum.accumulate(y[::-1])[::-1]
                precisions.append(np.trapezoid(np.interp(self._POINTS, x, y), self._POINTS))
        return float(np.mean(precisions)) if precisions else 0.0


# The base detectors


def base(
    data: str,
    *,
    model: str = "yolov5n.yaml",
    number: int = 0,
    epochs: int | None = None,
    images: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    log: Callable[[str], None] = print,
) -> dict[str, dict[str, Any]]:
    """Trains the detector that runs start from, from random weights until the curve is flat, on the whole set.

    Writes three checkpoints into ``data/weights``, half-precision safetensors each with a card (JSON) beside it:
    ``final``; ``early``, the epoch whose mAP50 is nearest to half the final one's; ``late``, three epochs after it.
    With ``images`` it writes one card alone, ``final-<images>-<epochs>``, which says what fewer pictures cost.
    The averaged weights of every epoch stay under ``_build/base``; each is settled before it is measured.

    Args:
        data: a set. number: which of the base detectors, and its seed.
        epochs: by default 50 for digits, else 80.
        images: trains on the first so many pictures. log: takes one line an epoch.

    Returns:
        The cards by name.
    """
    from safetensors.torch import save_file

    yaml = datasets.yaml(data, train=images, progress=False)
    names = YAML.load(yaml)["names"]
    epochs, given = epochs or (50 if data == "digits" else 80), f" --epochs {epochs}" * bool(epochs)
    recipe = {
        **{"seed": number, "epochs": epochs, "imgsz": experiment.SIZES[data], "batch": 16},
        **{"optimizer": "AdamW", "lr0": 0.002, "warmup_epochs": 3.0, "mosaic": 1.0, "close_mosaic": 10},
        "fliplr": experiment.FLIPS.get(data, 0.5),
    }
    name = f"{data}-{Path(model).stem}-base{number}" + f"-{images}-{epochs}" * bool(images)
    folder = datasets.home() / "_build" / "base" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    facts = {
        **{"model": model, "data": data, "data_hash": datasets.digest(data), "names": list(names.values())},
        "command": f"python -m attn.yolo.fit base --data {data} --model {model} --base {number}"
        + f" --images {images}" * bool(images)
        + given,
        **recipe,
        **{"threads": threads, "versions": experiment.versions(), "device": experiment.processor(device)},
        "date": datetime.now(UTC).date().isoformat(),
    }
    started = time.monotonic()

    def each(trainer: Fit, row: dict[str, float]) -> None:
        save_file(_half(trainer.ema.ema), folder / f"{row['epoch']:03d}.safetensors")
        losses = ", ".join(f"{k} {v:.3f}" for k, v in row.items() if k.endswith("loss"))
        log(f"{folder.name} epoch {row['epoch']} of {trainer.epochs}: {losses}, {time.monotonic() - started:.0f} s")

    with (
        _quiet(),
        _dice(number),
        _trainer(
            build(model, nc=len(names)).model,
            folder.name,
            yaml,
            tell=lambda done, total, text: None,
            threads=threads,
            each=each,
            model=model,
            device=device,
            val=False,
            **recipe,
        ) as trainer,
    ):
        trainer.train()
        return survey(trainer, folder, facts, images, log)


def survey(trainer: Fit, folder: Path, facts: dict[str, Any], images: int | None, log) -> dict[str, dict[str, Any]]:
    """Measures the weights of every epoch in the folder, and writes the checkpoints and cards of :func:`base`.

    With ``images`` the last five epochs only, which is enough to see that the curve is flat.
    """
    from safetensors.torch import load_file, save_file

    model, last = trainer.ema.ema, facts["epochs"]

    def settled(epoch: int) -> dict[str, float]:
        model.load_state_dict(load_file(folder / f"{epoch:03d}.safetensors"))
        settle(model, trainer)
        model.load_state_dict(_half(model))  # as a run will find it
        metrics, _ = measure(trainer)
        return metrics

    rows = []
    for epoch in range(last - 4 if images else 1, last + 1):
        rows.append({"epoch": epoch, **settled(epoch)})
        log(f"{folder.name} epoch {epoch}: " + ", ".join(f"{k} {rows[-1][k]:.4f}" for k in ("mAP50", "mAP50-95")))
    half = rows[-1]["mAP50"] / 2
    early = min(rows, key=lambda row: abs(row["mAP50"] - half))["epoch"]
    kinds = (
        {f"final-{images}-{last}": last} if images else {"early": early, "late": min(early + 3, last), "final": last}
    )
    cards = {}
    for kind, epoch in kinds.items():
        file = experiment.weights_file(kind, facts["data"], facts["model"], facts["seed"])
        card = {"file": None if images else file.name, "epoch": epoch, **facts, **settled(epoch)}
        cards[kind] = card | {"curve": [{k: round(v, 5) for k, v in row.items()} for row in rows]}
        file.parent.mkdir(parents=True, exist_ok=True)
        if not images:
            words = {"model": facts["model"], "nc": str(len(facts["names"])), "names": json.dumps(facts["names"])}
            save_file(_half(model), file.with_suffix(".part"), words)
            file.with_suffix(".part").replace(file)
        file.with_suffix(".json").write_text(json.dumps(cards[kind], indent=1) + "\n", "utf-8")
        log(f"{kind}: epoch {epoch}, mAP50 {card['mAP50']:.4f}, mAP50-95 {card['mAP50-95']:.4f}")
    return cards


def _half(model: nn.Module) -> dict[str, Tensor]:
    """The state in half precision."""
    state = model.state_dict().items()
    return {k: (v.half() if v.is_floating_point() else v).contiguous().cpu() for k, v in state}


def main(arguments: list[str] | None = None) -> int:
    """The command ``python -m attn.yolo.fit``."""
    parser = argparse.ArgumentParser(prog="python -m attn.yolo.fit", description="Train the base detectors.")
    parser.add_argument("what", choices=["base"])
    parser.add_argument("--data", default="digits", help="a set of attn.datasets (digits)")
    parser.add_argument("--model", default="yolov5n.yaml", help="a detector of ultralytics (yolov5n.yaml)")
    parser.add_argument("--base", type=int, default=0, help="which of the base detectors, and its seed (0)")
    parser.add_argument("--epochs", type=int, help="50 for digits, else 80")
    parser.add_argument("--images", type=int, metavar="N", help="train on the first N pictures, and write a card alone")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:0 (cpu)")
    parser.add_argument("--threads", type=int, default=1, help="of the processor (1)")
    given = vars(parser.parse_args(arguments))
    del given["what"]
    base(number=given.pop("base"), log=lambda line: print(line, flush=True), **given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
