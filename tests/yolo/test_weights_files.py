# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""The base detectors under data/weights: each file has its card, fits its model, and was trained on the present set."""

import json
from pathlib import Path

import pytest

pytest.importorskip("ultralytics")
from safetensors import safe_open

from attn import datasets, yolo

FOLDER = Path(__file__).parents[2] / "data" / "weights"
CARDS = sorted(FOLDER.glob("*-base?-*[!0-9].json"))


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_card(path):
    card = json.loads(path.read_text("utf-8"))
    assert card["file"] == f"{path.stem}.safetensors"
    assert card["data_hash"] == datasets.card(card["data"])["sha256"]
    row = card["curve"][card["epoch"] - 1]
    assert row["epoch"] == card["epoch"]
    assert abs(row["mAP50"] - card["mAP50"]) < 1e-5  # the curve is rounded
    file = path.with_name(card["file"])
    with safe_open(file, "pt") as weights:
        assert json.loads(weights.metadata()["names"]) == card["names"]
    model = yolo.build(card["model"], nc=len(card["names"]))
    moved = yolo.transfer(file, model)
    assert (moved.copied, moved.wrong, moved.skipped) == (moved.total, 0, {})


@pytest.mark.parametrize("data", sorted({p.name.partition("-")[0] for p in CARDS}))
def test_early_lies_at_about_half_of_the_final(data):
    early, final = (
        json.loads(next(p for p in CARDS if p.stem.startswith(data) and p.stem.endswith(kind)).read_text("utf-8"))
        for kind in ("early", "final")
    )
    assert 0.4 < early["mAP50"] / final["mAP50"] < 0.6


def test_more_pictures_make_a_better_detector():
    """What the set can show: on 200 of its 1,000 scenes, for as many epochs or for as many steps, it learns less."""
    final, epochs, steps = (
        json.loads((FOLDER / f"digits-yolov5n-base0-final{which}.json").read_text("utf-8"))["mAP50"]
        for which in ("", "-200-50", "-200-242")
    )
    assert 0.80 < final < 0.93
    assert epochs < final - 0.15
    assert steps < final - 0.10
