# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
import dataclasses
import fcntl
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("ultralytics")

from attn import datasets, experiment, yolo
from attn.yolo import fit as fitting


@pytest.fixture(scope="module")
def tiny():
    """A plan of four small steps."""
    plan = experiment.plan("se", device="cpu", weights=None, epochs=2)
    return dataclasses.replace(plan, images=32, val=8, size=64, curve=True)


@pytest.fixture(scope="module")
def done(tiny):
    return fitting.fit(tiny)


def test_the_same_plan_gives_the_same_numbers(tiny, done):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state(), torch.get_num_threads()  # noqa: NPY002
    matches = dict(np.load(fitting._matches(tiny)))
    again = fitting.fit(tiny)
    assert again == done
    assert len(done["curve"]) == 2
    assert set(done["metrics"]) == {"mAP50", "mAP50-95"}
    assert done["channels"] == 64
    assert done["engagement"]["moved"] > 0
    for name, array in np.load(fitting._matches(tiny)).items():
        assert np.array_equal(array, matches[name]), name
    # And nothing is left behind: no run folder, no random state, no thread count.
    assert not (datasets.home() / "_build" / "runs" / tiny.key).exists()
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert torch.get_num_threads() == states[3]


def test_validating_every_epoch_changes_nothing(tiny, done):
    last = fitting.fit(dataclasses.replace(tiny, curve=False))
    assert last["metrics"] == done["metrics"]
    assert last["curve"][-1] == done["curve"][-1]


def test_one_training_at_a_time_reads_the_labels(tiny, monkeypatch):
    read, held = fitting.DetectionTrainer.get_dataloader, []

    def watched(self, *args, **kwargs):
        path = datasets.home() / "_build/locks" / f"labels-{Path(self.data['path']).name}"
        with path.open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held.append(path)
        return read(self, *args, **kwargs)

    monkeypatch.setattr(fitting.DetectionTrainer, "get_dataloader", watched)
    fitting.fit(dataclasses.replace(tiny, epochs=1))
    assert len(held) == 2  # to train on, to validate on


def test_runs_of_one_seed_are_pairs(tiny, monkeypatch):
    """Every layer that both have starts equal, and the batches are equal."""
    starts, batches = {}, {}

    class Watched(fitting.Fit):
        def preprocess_batch(self, batch):
            batch = super().preprocess_batch(batch)
            batches.setdefault(slug, []).append((batch["img"].clone(), batch["bboxes"].clone()))
            return batch

    monkeypatch.setattr(fitting, "Fit", Watched)
    for slug in ("none", "se"):
        plan = dataclasses.replace(tiny, slug=slug, at=None if slug == "none" else tiny.at, epochs=1)
        with fitting._dice(plan.seed):
            model = fitting.built(plan, 10)
        own = [p for m in model.modules() if isinstance(m, yolo.Attend) for p in m.parameters()]
        assert bool(own) == (slug == "se")
        starts[slug] = [p for p in model.parameters() if not any(p is o for o in own)]
        fitting.fit(plan)
    assert len(starts["none"]) == len(starts["se"]) > 100
    assert all(torch.equal(a, b) for a, b in zip(starts["none"], starts["se"], strict=True))
    # Two to train on, the same number to settle on, and with SE once more for the network as it was at the start.
    assert [len(batches[slug]) for slug in ("none", "se")] == [4, 6]
    for ours, theirs in zip(batches["none"], batches["se"], strict=False):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_recipe_as_planned(tiny, monkeypatch):
    """Threads, one step a batch, rates of the new layer and of the biases: what ultralytics would set otherwise."""
    seen = {}

    def look(trainer):
        first = not seen
        groups = trainer.optimizer.param_groups
        if first:
            seen["threads"] = torch.get_num_threads()
            seen["rates"] = {g["initial_lr"] for g in groups}
            seen["own"] = sum(p.numel() for g in groups if g["initial_lr"] > 0.005 for p in g["params"])
            seen["all"] = sorted(id(p) for g in groups for p in g["params"])
            seen["params"] = sorted(id(p) for p in trainer.model.parameters())
        seen.setdefault("bias", []).append(max(g["lr"] for g in groups if g["param_group"] == "bias"))
        seen["accumulate"] = trainer.accumulate

    original = fitting.Fit.__init__

    def init(self, *args, **kwargs):
        original(self, *args, **kwargs)
        self.add_callback("on_train_batch_start", look)

    monkeypatch.setattr(fitting.Fit, "__init__", init)
    fitting.fit(dataclasses.replace(tiny, own_rate=20.0, warmup=1.0))
    assert seen["threads"] == tiny.threads
    assert sorted(seen["rates"]) == pytest.approx([tiny.lr0, 20 * tiny.lr0])
    assert seen["own"] == 2 * 64 * 4 + 64 + 4  # SE at 64 channels
    assert seen["all"] == seen["params"]
    assert max(seen["bias"]) <= 20 * tiny.lr0  # and not the warm-up's 0.1
    assert seen["accumulate"] == 1


def test_settled_statistics_are_plain_means(tiny, monkeypatch):
    """Of the first norm, whose input no other norm changes; and nothing else of the network has moved."""
    seen = []

    def validate(trainer):
        model = trainer.ema.ema
        before = {k: v.clone() for k, v in model.state_dict().items()}
        first = model.model[0]
        hook = first.conv.register_forward_hook(lambda module, inputs, output: seen.append(output))
        fitting.settle(model, trainer)
        hook.remove()
        after = model.state_dict()
        assert {k for k in after if not torch.equal(after[k], before[k])} <= {
            k for k in after if k.endswith(("running_mean", "running_var", "num_batches_tracked"))
        }
        assert first.bn.momentum == pytest.approx(0.03)
        assert not any(m.training for m in model.modules())
        torch.testing.assert_close(first.bn.running_mean, torch.stack([s.mean((0, 2, 3)) for s in seen]).mean(0))
        torch.testing.assert_close(first.bn.running_var, torch.stack([s.var((0, 2, 3)) for s in seen]).mean(0))
        trainer.measured = {"mAP50": 0.0, "mAP50-95": 0.0}
        return {}, 0.0

    monkeypatch.setattr(fitting.Fit, "validate", validate)
    fitting.fit(dataclasses.replace(tiny, slug="none", at=None, epochs=1))
    assert len(seen) == 2  # batches


def test_the_learned_alpha_is_told(tiny, done):
    assert "alpha" not in done["engagement"]
    identity = fitting.fit(dataclasses.replace(tiny, start="identity", epochs=1))
    assert set(identity["engagement"]) == {"moved", "spread", "alpha"}
    assert 0 < abs(identity["engagement"]["alpha"]) < 0.01
    bottleneck = fitting.fit(dataclasses.replace(tiny, slug="bottleneck-small", epochs=1))
    assert bottleneck["engagement"] is None


def test_diverged(tiny, monkeypatch):
    monkeypatch.setattr(
        yolo.Attend, "forward", lambda self, x: x * float("nan") if self.training else self.mechanism(x)
    )
    with pytest.raises(RuntimeError, match=r"training diverged: the loss of epoch 1 is nan"):
        fitting.fit(tiny)
    assert not (datasets.home() / "_build" / "runs" / tiny.key).exists()


# The error over images


def drawn(seed, images=60, share=0.6):
    """Matches such as a validation gives: every object found with some chance, and false detections between."""
    draw = np.random.default_rng(seed)
    targets = draw.integers(1, 6, images)
    found = draw.integers(0, 15, images)
    n = found.sum()
    conf = draw.random(n).astype(np.float32)
    limit = np.where(draw.random(n) < share * conf, draw.integers(1, 11, n), 0)
    return {
        "tp": np.arange(10) < limit[:, None],
        "conf": conf,
        "cls": draw.integers(0, 3, n).astype(np.int16),
        "image": np.repeat(np.arange(images), found),
        "target_cls": draw.integers(0, 3, targets.sum()).astype(np.int16),
        "target_image": np.repeat(np.arange(images), targets),
        "names": np.arange(images).astype(str),
    }


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_ultralytics(seed):
    from ultralytics.utils.metrics import ap_per_class

    m = drawn(seed)
    theirs = ap_per_class(m["tp"], m["conf"], m["cls"], m["target_cls"])[5].mean()
    assert fitting.AveragePrecision(m)(np.ones(60, int)) == pytest.approx(theirs, abs=1e-12)
    assert theirs > 0.05


def test_average_precision_of_weighted_images():
    m = drawn(1)
    ap = fitting.AveragePrecision(m)
    assert ap(np.full(60, 3)) == pytest.approx(ap(np.ones(60, int)))
    # Weight nothing is as good as not there.
    keep, kept = np.arange(60) < 30, {}
    for name, index in (("tp", "image"), ("conf", "image"), ("cls", "image"), ("target_cls", "target_image")):
        kept[name] = m[name][keep[m[index]]]
    kept |= {index: m[index][keep[m[index]]] for index in ("image", "target_image")}
    assert ap(keep.astype(int)) == pytest.approx(fitting.AveragePrecision(kept)(np.ones(30, int)), abs=1e-12)


def test_image_error(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(fitting, "_matches", lambda plan: tmp_path / f"{plan.seed}.npz")
    plans = [dataclasses.replace(tiny, seed=s) for s in range(4)]
    fitting._store(tmp_path / "0.npz", drawn(0))
    fitting._store(tmp_path / "1.npz", drawn(1))
    fitting._store(tmp_path / "2.npz", drawn(2, images=50))
    assert fitting.image_error(plans[0], plans[0]) == 0
    assert 0.005 < fitting.image_error(plans[0], plans[1]) < 0.1
    assert fitting.image_error(plans[0], plans[3]) is None
    with pytest.raises(ValueError, match="validated on different images"):
        fitting.image_error(plans[0], plans[2])


# The base detectors


@pytest.fixture
def little(tmp_path, monkeypatch):
    """The base detectors of 32 pictures, written elsewhere."""
    yaml, make = datasets.yaml("digits", train=32, val=8), datasets.make("digits")
    knobs = {"home": lambda: tmp_path, "yaml": lambda name, **_: yaml, "digest": lambda name, **_: "0" * 64}
    for name, function in {**knobs, "make": lambda name, **_: make}.items():
        monkeypatch.setattr(datasets, name, function)
    monkeypatch.setitem(experiment.SIZES, "digits", 64)
    return tmp_path / "data" / "weights"


def test_base(little):
    lines = []
    cards = fitting.base("digits", epochs=2, log=lines.append)
    assert len(lines) == 2 + 2 + 3  # trained, measured, written
    assert set(cards) == {"early", "late", "final"}
    assert sorted(p.name for p in little.iterdir()) == sorted(
        f"digits-yolov5n-base0-{kind}.{end}" for kind in cards for end in ("json", "safetensors")
    )
    card = json.loads((little / "digits-yolov5n-base0-final.json").read_text())
    assert card["epoch"] == 2
    assert {"command", "seed", "epochs", "versions", "device", "date", "mAP50", "mAP50-95"} <= set(card)
    # A run starts from them: every layer of the detector, with and without a mechanism.
    plan = experiment.plan("se", device="cpu")
    assert plan.weights == "early"
    model = fitting.built(plan, 10)
    done = yolo.transfer(little / "digits-yolov5n-base0-early.safetensors", model)
    assert (done.copied, done.total) == (427, 427)
    measured = fitting.fit(dataclasses.replace(plan, slug="none", at=None, images=32, val=8, size=64, lr0=0.0))
    assert measured["metrics"].keys() == {"mAP50", "mAP50-95"}


def test_base_on_fewer_pictures_is_a_card_alone(little):
    (card,) = fitting.base("digits", epochs=6, images=16, log=lambda line: None).values()
    (file,) = little.iterdir()
    assert file.name == "digits-yolov5n-base0-final-16-6.json"
    assert json.loads(file.read_text()) == card
    assert card["file"] is None
    assert card["command"].endswith("--base 0 --images 16 --epochs 6")
    assert [row["epoch"] for row in card["curve"]] == [2, 3, 4, 5, 6]
