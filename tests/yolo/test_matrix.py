# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Mechanisms times places times every model that ultralytics ships: built, run both ways, weights kept, start exact.

The proof tier walks the whole matrix and leaves it, with what is left out and why, in ``_build/matrix.json``; the
default tier walks a few cells. The installation is listed, so a model of a newer ultralytics is in it by itself.
"""

import functools
import json
import os
import re

import pytest
import torch
from torch import Tensor

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

import ultralytics  # noqa: E402
from trained import as_trained  # noqa: E402
from ultralytics.utils import ROOT  # noqa: E402

import attn  # noqa: E402
from attn import datasets  # noqa: E402

KINDS = ("lowest", "middle", "highest", "before", "after", "neck", "inside", "replace")
THOROUGH = ("yolov5n.yaml", "yolov8n.yaml", "yolo11n.yaml")
OTHER_TASKS = re.compile("-(seg|pose|obb)")
FILES = {path.name: path for path in sorted((ROOT / "cfg" / "models").rglob("*.yaml"))}


def smallest(name):
    """The name of a shipped file with the letter of its smallest scale, where it has several."""
    scales = re.findall(r"^  ([nsmlx]): *\[", FILES[name].read_text("utf-8"), re.MULTILINE)
    return re.sub(r"^(yolov?\d+)", rf"\g<1>{scales[0]}", name) if len(scales) > 1 else name


def kinds(model):
    """One place of each kind that the model has."""
    places = yolo.places(model)
    numbers = [place for place in places if isinstance(place, int)]
    found = {"lowest": numbers[0], "middle": numbers[len(numbers) // 2], "highest": numbers[-1]}
    for kind in KINDS[3:]:
        names = [place for place in places if isinstance(place, str) and re.match(rf"{kind}\b", place)]
        # Of the names that mean every such block, the last is the deepest; a plain Conv is the least telling.
        blocks = [name for name in names if "[" not in name and ":Conv" not in name] or names
        found |= {kind: blocks[-1]} if blocks else {}
    return found


def plan():
    """Every cell as (model, mechanism, kind of place), and the models that are refused, with the reason."""
    cells, refused = [], {}
    others = [slug for slug in attn.names() if slug not in ("se", "cbam", "eca") and attn.card(slug).detector]
    for file in FILES:
        model = smallest(file)
        try:
            yolo.load(model)
        except ValueError as e:
            refused[model] = str(e)
            continue
        if OTHER_TASKS.search(model):  # the head differs, the places do not
            if re.match("yolov8|yolo11", model):
                cells.append((model, "se", "inside"))
            else:
                refused[model] = "left out here: what it has of its own is the head, tried with those of v8 and 11"
            continue
        cells += [(model, "se", kind) for kind in KINDS]
        if model in THOROUGH:
            cells += [(model, slug, kind) for slug in ("cbam", "eca") for kind in KINDS]
            cells += [(model.replace("n.", f"{scale}."), "se", "after") for scale in "smlx"]
    return cells + [("yolov5n.yaml", slug, "before") for slug in others if attn.card(slug).keeps_shape], refused


def tensors(output):
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else []
    return [t for part in parts for t in tensors(part)]


@functools.lru_cache(maxsize=1)
def plain(model):
    """The model without attention, its numbers as if trained, an image, what comes out, and one place of each kind."""
    torch.manual_seed(0)
    network = as_trained(yolo.build(model).model)
    image = torch.rand(1, 3, *[128 if "p6" in model else 64] * 2)
    with torch.no_grad():
        return network, image, tensors(network.eval()(image)), kinds(model)


def walk(model, slug, kind):
    """One cell: what was seen in it, or the reason why there is none."""
    network, image, want, places = plain(model)
    cell = {"model": model, "mechanism": slug, "kind": kind, "place": places.get(kind)}
    if cell["place"] is None:
        return cell | {"left out": f"no layer of its backbone has a place of the kind {kind}"}
    torch.manual_seed(1)
    target = yolo.build(model, slug, cell["place"])
    moved = yolo.transfer(network, target)
    start = "plain" if kind == "replace" else "identity"
    y = yolo.build(model, slug, cell["place"], weights=network)
    assert isinstance(y, ultralytics.RTDETR if "rtdetr" in model else ultralytics.YOLO)
    added = [m for m in y.model.modules() if isinstance(m, yolo.Attend)]
    assert added
    assert {m.start for m in added} == {start}
    assert moved.wrong == 0
    assert set(moved.skipped.values()) <= {"a mechanism stands there in the target"}
    assert len(moved.skipped) == (len(added) if kind == "replace" else 0)
    with torch.no_grad():
        exact = all(torch.equal(a, b) for a, b in zip(want, tensors(y.model.eval()(image)), strict=True))
    assert exact == (kind != "replace")
    trained = y.model if kind == "replace" else target.model  # a plain start, where the mechanism learns at once
    out = tensors(trained.train()(torch.cat([image, image])))
    sum(t.float().square().mean() for t in out if t.requires_grad).backward()
    own = [p for m in trained.modules() if isinstance(m, yolo.Attend) for p in m.parameters()]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in own)
    assert not own or any((p.grad != 0).any() for p in own)
    return cell | {
        "layers": len(added),
        "copied": moved.copied,
        "total": moved.total,
        "wrong": moved.wrong,
        "exact": exact,
    }


def save(model, part):
    """Leaves a model's part and joins all parts, whichever process comes last."""
    folder = datasets.home() / "_build" / "matrix"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / f"{model}.json", part)
    while True:
        parts = sorted(folder.glob("*.json"))
        each = [json.loads(p.read_text("utf-8")) for p in parts]
        versions = {"ultralytics": ultralytics.__version__, "torch": torch.__version__}
        _, refused = plan()
        table = [cell for one in each if one["versions"] == versions for cell in one["cells"]]
        write(folder.parent / "matrix.json", {"versions": versions, "cells": table, "left out": refused})
        if sorted(folder.glob("*.json")) == parts:
            return


def write(file, content):
    aside = file.with_suffix(f".{os.getpid()}")
    aside.write_text(json.dumps(content, indent=1), "utf-8")
    os.replace(aside, file)


@pytest.mark.parametrize(
    ("model", "kind"),
    [("yolov5n.yaml", "neck"), ("yolov8n.yaml", "inside"), ("yolo26n.yaml", "middle"), ("yolo11n-seg.yaml", "replace")],
)
def test_some_cells(model, kind):
    assert walk(model, "se", kind)["copied"] > 350


def test_the_plan_is_bounded_and_complete():
    cells, refused = plan()
    assert len(cells) == len(set(cells)) <= 400
    models = {model for model, _, _ in cells}
    assert {smallest(file) for file in FILES} <= models | set(refused)
    assert (
        len({model for model in models if not OTHER_TASKS.search(model)} - {m for m in models if m[-6] in "smlx"}) >= 25
    )


@pytest.mark.proof
@pytest.mark.parametrize("file", FILES)
def test_the_matrix(file):
    model = smallest(file)
    cells, refused = plan()
    scales = model.replace("n.", "[nsmlx].") if model in THOROUGH else re.escape(model)
    mine = [cell for cell in cells if re.fullmatch(scales, cell[0])]
    assert bool(mine) != (model in refused)
    # First, so that a cell which fails now does not stand in the table as it was before.
    (datasets.home() / "_build" / "matrix" / f"{model}.json").unlink(missing_ok=True)
    found = [walk(*cell) for cell in sorted(mine, key=lambda cell: cell[0])]
    versions = {"ultralytics": ultralytics.__version__, "torch": torch.__version__}
    if found:
        save(model, {"versions": versions, "cells": found})
