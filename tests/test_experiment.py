# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math
import threading
import time
from typing import ClassVar

import pytest
import torch

from attn import controls, datasets, experiment


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a data set of 300 and 200 empty pictures in it, and no weights."""
    for split, n in (("train", 300), ("val", 200)):
        folder = tmp_path / "data" / "digits" / "images" / split
        folder.mkdir(parents=True)
        for i in range(n):
            (folder / f"{i}.png").touch()
    monkeypatch.setattr(datasets, "home", lambda: tmp_path)
    monkeypatch.setattr(datasets, "make", lambda name, **knobs: tmp_path / "data" / name)
    monkeypatch.setattr(datasets, "digest", lambda name, **knobs: "0" * 64)
    return tmp_path


@pytest.fixture
def fit():
    """A trainer that needs no time; it notes the slugs it trained."""

    def train(plan, progress):
        train.calls.append(plan.slug)
        progress(1, 1, "done")
        value = 0.5 + 0.01 * plan.seed + (0.0 if plan.slug == "none" else 0.1)
        engagement = {"moved": 0.25, "spread": 0.1} if plan.slug == "se" else None
        metrics = {"mAP50": value + 0.2, "mAP50-95": value}
        channels = None if plan.slug == "none" else 64
        return {"metrics": metrics, "curve": [{"epoch": 1}], "engagement": engagement, "channels": channels}

    train.calls = []
    return train


def weights(home, kind="early"):
    file = experiment.weights_file(kind, "digits", "yolov5n.yaml", 0)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(kind.encode())
    return file


# Plans


def test_path(home):
    weights(home)
    quick, record = (experiment.plan("se", profile=p, seed=3, device="cpu") for p in ("quick", "record"))
    assert record.path == home / f"data/results/se/digits-after-C3-1--record-cpu-s3-{record.key}.json"
    assert quick.path == home / f"_build/results/se/digits-after-C3-1--quick-cpu-s3-{quick.key}.json"
    plain, small = (experiment.plan(slug, device="cuda:1") for slug in ("none", "bottleneck-small"))
    assert plain.name == f"none/digits-none-quick-cuda-s0-{plain.key}.json"
    assert small.name == f"none/digits-bottleneck-small-after-C3-1--quick-cuda-s0-{small.key}.json"


def test_key_holds_everything_that_defines_the_run(home, monkeypatch):
    plans = [experiment.plan("se", **what) for what in ({}, {"seed": 1}, {"reduction": 8}, {"at": 9}, {"epochs": 2})]
    plans += [experiment.plan("se", condition=c) for c in experiment.CONDITIONS if c != "plain"]
    monkeypatch.setattr(datasets, "digest", lambda name, **knobs: "1" * 64)
    plans.append(experiment.plan("se"))
    assert len({p.key for p in plans}) == len(plans)
    assert experiment.plan("se") == plans[-1]
    for changed in dataclasses.fields(experiment.Plan):
        other = dataclasses.replace(plans[-1], **{changed.name: "another"})
        assert other.key != plans[-1].key, changed.name


def test_conditions(home):
    plain, few, large, own, hidden = (
        experiment.plan("se", condition=c, weights=None, profile="record")
        for c in ("plain", "few", "large", "own-rate", "occluded")
    )
    assert (plain.images, plain.val, plain.epochs, plain.size, plain.own_rate, plain.knobs) == (256, 200, 4, 160, 1, {})
    assert few.images * few.epochs == plain.images * plain.epochs
    assert few.images < plain.images
    assert large.size == 2 * plain.size
    assert own.own_rate == 20
    assert hidden.knobs == {"occlusion": 5}


def test_the_plain_detector_is_one_run_for_all_places(home):
    assert experiment.plan("none", at=9, start="identity", condition="own-rate") == experiment.plan("none")


@pytest.mark.parametrize(
    ("slug", "what", "message"),
    [
        ("biforner", {}, r"unknown mechanism 'biforner'; did you mean 'biformer'"),
        ("se", {"profile": "quik"}, r"unknown profile 'quik'; did you mean 'quick'"),
        ("se", {"condition": "fev"}, r"unknown condition 'fev'; did you mean 'few'"),
        ("se", {"reducton": 4}, r"unknown option of se 'reducton'; did you mean 'reduction'"),
        ("mask-8", {"reduction": 4}, r"mask-8 takes no options, not reduction"),
    ],
)
def test_unknown_names(home, slug, what, message):
    with pytest.raises(ValueError, match=message):
        experiment.plan(slug, **what)


def test_weights(home):
    assert experiment.plan("se").weights is None  # quick: nothing to start from yet
    for what in ({"profile": "record"}, {"weights": "late"}):
        with pytest.raises(FileNotFoundError, match=r"`python -m attn\.yolo\.fit base --data digits .*` makes them"):
            experiment.plan("se", **what)
    assert experiment.plan("se", profile="record", weights=None).weights_hash is None
    file = weights(home)
    plan = experiment.plan("se")
    assert plan.weights == "early"
    file.write_bytes(b"others")
    assert experiment.plan("se").weights_hash != plan.weights_hash


SOURCE = '''
"""A gate."""
from torch import nn
from ..registry import Map, register

@register(
    name="Gate",  # a fact
    hosts=(
        "one",
    ),
    from_conv={"weight": "weight"},
)
class Gate(nn.Module):
    """What it does,

    in two lines."""

    def forward(self, x):  # B C H W
        return x * "# no comment"
'''


@pytest.mark.parametrize(
    ("was", "becomes", "same"),
    [
        ('"""A gate."""', '"""A gate of ours,\nSection 3."""', True),
        ("    in two lines.", "    in a few more lines.\n\n    Differs: nothing known.", True),
        ('name="Gate",  # a fact', 'name="The gate",\n    year=2018,', True),
        ('        "one",\n', '        "one",\n        "two",\n', True),
        ("import Map, register", "import Host, Map, register", True),
        ("  # B C H W", "", True),
        ("x * ", "2 * x * ", False),
        ('"# no comment"', '"# another"', False),
        ('{"weight": "weight"}', '{"weight": "bias"}', False),
    ],
)
def test_what_is_said_about_the_code_is_not_hashed(was, becomes, same):
    assert SOURCE.count(was) == 1
    assert (experiment._code_hash(SOURCE) == experiment._code_hash(SOURCE.replace(was, becomes))) is same


# Running


def test_run_writes_the_record_and_its_controls_once(home, fit):
    record = experiment.run("se", fit=fit)
    assert fit.calls == ["se", "none", "bottleneck-small"]  # SE has 580 parameters at 64 channels, C²/8 is 512
    assert list(record.controls) == ["none", "bottleneck-small"]
    assert experiment.Record.load(record.path) == record == experiment.run("se", fit=fit)
    assert len(fit.calls) == 3
    experiment.run("se", fit=fit, reduction=8)
    assert fit.calls[3:] == ["se"]
    assert len(experiment.read("se")) == 2
    assert experiment.read("none", seed=0)[0].controls == {}
    assert not [p for p in home.rglob(".*") if p.is_file()]  # nothing written aside is left
    assert record.current


def test_run_from_later_weights_stands_beside_the_early_ones(home, fit):
    weights(home)
    weights(home, "late")
    record = experiment.run("none", weights="late", fit=fit)
    assert record.controls == {"none": experiment.plan("none").name}


def test_a_run_that_broke_leaves_nothing_and_starts_over(home, fit):
    def broken(plan, progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment.run("none", fit=broken)
    assert experiment.read("none") == []
    assert experiment.run("none", fit=fit).metrics["mAP50-95"] == 0.5


def test_two_at_once_train_once(home, fit):
    def slow(plan, progress):
        time.sleep(0.2)
        return fit(plan, progress)

    threads = [threading.Thread(target=experiment.run, args=("none",), kwargs={"fit": slow}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fit.calls == ["none"]


def test_progress(home, fit):
    told = []
    experiment.run("none", fit=fit, progress=lambda *what: told.append(what))
    assert told == [(1, 1, "done")]


def test_read_refuses_what_does_not_exist(home):
    with pytest.raises(ValueError, match="unknown mechanism 'ce'"):
        experiment.read("ce")
    with pytest.raises(ValueError, match="unknown field of a plan 'sed'; did you mean 'seed'"):
        experiment.read("se", sed=0)


# Comparing


def league(home, differences, profile="full", error=0.0, slug="mask-2"):
    """One arm a list of differences to the plain detector, told apart by the place; one seed each."""
    weights(home)
    plain = experiment.plan("none", profile=profile)
    rest = {"engagement": None, "channels": 64, "wall": 1.0, "cpu": 1.0, "processor": "", "commit": None, "clean": None}
    records = []
    for place, arm in enumerate(differences):
        for seed, difference in enumerate(arm):
            control = dataclasses.replace(plain, seed=seed)
            start = {"curve": [], "date": "", **rest, "controls": {}, "image_error": {}}
            experiment.Record(plan=control, metrics={"mAP50-95": 0.5}, **start).save()
            start |= {"controls": {"none": control.name}, "image_error": {"none": error}}
            what = experiment.plan(slug, profile=profile, at=place, seed=seed)
            records.append(experiment.Record(plan=what, metrics={"mAP50-95": 0.5 + difference}, **start))
    return records


def test_plain_paired_t(home):
    (row,) = experiment.compare("mask-2", records=league(home, [[0.01, 0.02, 0.03]])).rows
    assert (row.mechanism, row.control, row.n) == ("mask-2", "none", 3)
    assert row.difference == pytest.approx(0.02)
    half = 4.302653 * 0.01 / math.sqrt(3)  # t of 2 degrees at .975
    assert (row.low, row.high) == pytest.approx((0.02 - half, 0.02 + half))
    assert row.p == pytest.approx(0.07418, abs=1e-5)
    assert row.verdict == "cannot tell"
    detectable = (4.302653 + 1.060660) * 0.01 / math.sqrt(3)
    assert row.detectable == pytest.approx(detectable, rel=1e-4)


def test_image_error_widens_the_interval(home):
    narrow, wide = (
        experiment.compare("mask-2", records=league(home, [[0.01, 0.02]], error=e)).rows[0] for e in (0, 0.02)
    )
    assert (wide.high - wide.low) ** 2 == pytest.approx((narrow.high - narrow.low) ** 2 * (1 + 0.02**2 / 0.005**2))


def test_pairs_that_are_less_than_they_should_be_are_named(home):
    whole = experiment.compare("mask-2", records=league(home, [[0.01, 0.02]]))
    assert not any("Some pairs" in note for note in whole.notes)
    lacking = league(home, [[0.01, 0.02]], error=None)
    other = [dataclasses.replace(r, processor="another") for r in lacking]
    notes = experiment.compare("mask-2", records=other).notes
    assert ["too narrow" in n or "two processors" in n for n in notes].count(True) == 2


def test_a_lost_control_is_trained_again(home, fit):
    record = experiment.run("se", fit=fit)
    lost = home / "_build" / "results" / record.controls["none"]
    lost.unlink()
    experiment.run("se", fit=fit)
    assert lost.is_file()


def test_verdicts(home):
    arms = [[0.1, 0.101, 0.102], [-0.1, -0.101, -0.102], [0.0, 0.0001, 0.0002], [-0.1, 0.0, 0.2]]
    table = experiment.compare("mask-2", records=league(home, arms))
    assert [row.verdict for row in table.rows] == ["better", "worse", "equivalent", "cannot tell"]
    assert [row.mechanism for row in table.rows] == [f"mask-2 (at={i})" for i in range(4)]
    assert "could have shown" in str(table)
    assert "plain paired t" in str(table)
    lines = table._repr_markdown_().splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 6
    short = experiment.compare("mask-2", records=league(home, arms, profile="record"))
    assert {row.verdict for row in short.rows} == {""}
    assert "no verdict" in str(short)


def test_one_pair_has_no_interval(home, fit):
    experiment.run("se", fit=fit)
    (row,) = experiment.compare("se").rows
    assert (row.control, row.n, row.low, row.verdict) == ("bottleneck-small", 1, None, "")
    assert row.engagement == 0.25
    (row,) = experiment.compare("se", to="none").rows
    assert row.difference == pytest.approx(0.1)
    with pytest.raises(ValueError, match="not set beside 'mask-8', but beside none and bottleneck-small"):
        experiment.compare("se", to="mask-8")
    with pytest.raises(ValueError, match="no record of se for seed=5"):
        experiment.compare("se", seed=5)
    with pytest.raises(ValueError, match="none stands beside nothing"):
        experiment.compare("none")


def test_variance_is_shrunk_over_a_league(home):
    torch.manual_seed(0)
    draws = (torch.randn(12, 5) * 0.001).tolist()
    alone = [experiment.compare("mask-2", records=league(home, [arm])).rows[0] for arm in draws]
    table = experiment.compare("mask-2", records=league(home, draws))
    assert "shrunk towards that of all 12 mechanisms" in str(table)
    own, shared = ([r.high - r.low for r in rows] for rows in (alone, table.rows))
    assert max(shared) / min(shared) < max(own) / min(own)
    assert sum(shared) < sum(own)  # more degrees of freedom
    assert [r.difference for r in table.rows] == [r.difference for r in alone]


def test_prior_of_equal_variances_is_worth_infinitely_many_degrees():
    variance, degrees = experiment._prior((2.0,) * 9, (4,) * 9)
    assert degrees == math.inf
    # E log s² of 4 degrees is log σ² + ψ(2) − log 2
    assert variance == pytest.approx(2.0 / math.exp(0.42278434 - math.log(2)))


def test_prior_is_found_again():
    # σ² scaled-inverse-χ² with 8 degrees around 1e-6, s² with 4 degrees around it: 20,000 arms
    generator = torch.Generator().manual_seed(0)

    def chi2(d):
        return torch.randn(20_000, d, generator=generator, dtype=torch.float64).square().sum(1) / d

    variance, degrees = experiment._prior(tuple((1e-6 / chi2(8) * chi2(4)).tolist()), (4,) * 20_000)
    assert variance == pytest.approx(1e-6, rel=0.03)
    assert degrees == pytest.approx(8, rel=0.1)


def test_holm():
    rows = [experiment.Row("", "", 2, 0.0, p=p) for p in (0.01, 0.04, 0.03, None)]
    assert [r.p for r in experiment._holm(rows)] == pytest.approx([0.03, 0.06, 0.06, None])


# Controls


@pytest.mark.parametrize("channels", [8, 64, 256])
def test_controls(channels):
    x = torch.randn(2, channels, 5, 7)
    for name, cls in controls.CONTROLS.items():
        module = cls(channels)
        assert module(x).shape == x.shape, name
        if hasattr(module, "attention"):
            assert not list(module.parameters()), name
            assert torch.equal(module(x), x * module.attention(x)), name
    assert controls.CONTROLS["mask-8"](channels).attention(x).sum() == 2 * channels / 8
    assert controls.CONTROLS["mask-2"](channels).attention(x).sum() == 2 * channels / 2


def test_bottlenecks_have_the_sizes_they_are_named_by():
    count = {
        n: sum(p.numel() for p in controls.CONTROLS[f"bottleneck-{n}"](256).parameters()) for n in ("small", "large")
    }
    assert count["small"] == pytest.approx(256**2 / 8, rel=0.01)
    assert count["large"] == pytest.approx(4 * 256**2, rel=0.01)


def test_nearest():
    assert controls.nearest("se", 64) == "bottleneck-small"  # 580 parameters; C²/16 is 256
    assert controls.nearest("se", 64, reduction=64) is None  # 193
    assert controls.nearest("se", 256, reduction=1) == "bottleneck-large"  # 2C²
    assert controls.nearest("none", 64) is None
    assert controls.nearest("mask-8", 64) is None


def test_record_is_plain_json(home, fit):
    record = experiment.run("none", fit=fit)
    fields = json.loads(record.path.read_text())
    assert fields["plan"]["slug"] == "none"
    assert fields["metrics"] == record.metrics
    assert set(fields) == {f.name for f in dataclasses.fields(experiment.Record)}


# Small tasks, where no detector can hold the mechanism


class Small:
    """A task of one number: the better the closer the rate is to 0.01, for the control to 0.1."""

    DATA, CONTROL, RATES = "small dots", "nothing", (0.001, 0.01, 0.1)
    PROFILES: ClassVar = {p: {"epochs": 1, "images": 8, "val": 8, "size": 4, "batch": 4} for p in ("quick", "record")}
    __file__ = __file__

    @staticmethod
    def fit(plan, tell):
        best, gain = (0.1, 0.5) if plan.condition == "control" else (0.01, 0.7)
        value = gain - abs(math.log10(plan.lr0 / best)) / 10 + 0.01 * plan.seed * (plan.condition != "control")
        return {"metrics": {"accuracy": value, "tuning": value}, "curve": []}


@pytest.fixture
def small(home, monkeypatch):
    """Makes `se` a mechanism that no detector holds."""
    task = lambda slug: Small if slug == "se" else None  # noqa: E731
    monkeypatch.setattr(experiment, "_task", task)
    monkeypatch.setattr("attn.tasks.of", task)
    return home


def test_both_arms_of_a_small_task_stand_at_their_best_rate(small):
    for seed in range(3):
        for rate in Small.RATES:
            record = experiment.run("se", profile="record", device="cpu", seed=seed, lr0=rate)
            assert list(record.controls) == ["control"]
    names = sorted(p.name for p in (small / "data/results/se").iterdir())
    assert len(names) == 18
    assert sum(name.startswith("small-dots-control-record-cpu-s0-") for name in names) == 3
    assert not (small / "data/results/none").exists()
    found = experiment.compare("se", profile="record")
    (row,) = found.rows
    assert (found.metric, row.control, row.n) == ("accuracy", "control", 3)
    assert row.difference == pytest.approx(0.21)
    assert "Learning rate of se: 0.01, the best of 0.001, 0.01, 0.1 on other examples." in found.notes
    assert "Learning rate of its control: 0.1, the best of 0.001, 0.01, 0.1 on other examples." in found.notes


def test_a_rate_that_lacks_a_seed_is_not_chosen(small):
    for seed, rate in ((0, 0.01), (0, 0.1), (1, 0.1)):
        experiment.run("se", profile="record", device="cpu", seed=seed, lr0=rate)
    found = experiment.compare("se", profile="record")
    (row,) = found.rows
    assert row.n == 2
    assert row.difference == pytest.approx(0.6 + 0.005 - 0.5)
    assert {note for note in found.notes if note.startswith("Left out")} == {
        "Left out: se at 0.01, with 1 seeds of 2.",
        "Left out: its control at 0.01, with 1 seeds of 2.",
    }


def test_the_control_of_a_small_task_is_found_by_its_name(small):
    record = experiment.run("se", profile="record", device="cpu")
    alone = experiment.compare("se", records=[record])
    assert alone.rows == experiment.compare("se", profile="record").rows
    assert alone.rows == experiment.compare("se", condition="plain").rows


def test_a_seed_without_a_control_is_said(small):
    for seed, rate in ((0, 0.01), (0, 0.1), (1, 0.01), (2, 0.1)):
        experiment.run("se", profile="record", device="cpu", seed=seed, lr0=rate)
    found = experiment.compare("se", profile="record")
    assert [row.n for row in found.rows] == [1]
    assert "Left out: seed 1 of se, whose control has none at its best rate." in found.notes


def test_a_small_task_refuses_what_only_a_detector_has(small, fit):
    for name, value in (("at", 9), ("data", "bccd"), ("start", "identity"), ("weights", "late")):
        with pytest.raises(ValueError, match=f"se is trained on a small task of its own .small dots., where {name}="):
            experiment.plan("se", **{name: value})
    with pytest.raises(ValueError, match="unknown condition 'few'"):
        experiment.plan("se", condition="few")
    assert experiment.plan("se", profile="full") == experiment.plan("se", profile="record")  # the largest there is
    experiment.run("se", profile="record", device="cpu")
    weights(small)
    experiment.run("eca", profile="record", device="cpu", fit=fit)
    with pytest.raises(ValueError, match="se is measured on a small task: compare it without the others"):
        experiment.compare(["se", "eca"])
