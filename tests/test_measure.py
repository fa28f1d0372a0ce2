# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import attn
from attn import measure
from attn.measure import Bench, Cost, Table, bench, cost, table


class Run(nn.Module):
    """A module around a function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("options", [{}, {"reduction": 4}, {"bias": False}])
@pytest.mark.parametrize("size", [(1, 64, 20, 20), (2, 256, 7, 5), (1, 8, 1, 1)])
def test_card_and_measurement_agree(size, options):
    card, measured = attn.card("se"), cost("se", size, **options)
    assert measured.params == card.params(size[1], **options)
    assert measured.macs == card.macs(*size[1:], **options)


def test_bytes_kept_by_se_by_hand():
    # x, its means z, the hidden units after the ReLU, the gates: nothing else is needed for the gradient.
    B, C, H, W, hidden = 2, 64, 20, 20, 4
    assert cost("se", (B, C, H, W)).saved_bytes == 4 * B * (C * H * W + C + hidden + C)


CHW = 8 * 6 * 5
MACS = {
    "gate": (lambda x: x * x.mean((2, 3), keepdim=True), CHW),
    "a plain number": (lambda x: x * 2, 0),
    "in place": (lambda x: x.clone().mul_(x.sigmoid()), CHW),
    "addcmul": (lambda x: torch.addcmul(x, x, x), CHW),
    "addition, softmax, pooling": (lambda x: (x + x).softmax(1).mean((2, 3)), 0),
    "matrix product": (lambda x: x.flatten(2) @ x.flatten(2).mT, 8 * 8 * 30),
    "matrix and vector": (lambda x: x[0, 0] @ x[0, 0, 0], 6 * 5),
    "einsum": (lambda x: torch.einsum("bchw,bdhw->bcd", x, x), 8 * 8 * 30),
    "fused attention": (
        lambda x: F.scaled_dot_product_attention(*[x.flatten(2).mT.unsqueeze(1)] * 3),
        2 * 30 * 30 * 8,
    ),
    "sampling": (lambda x: F.grid_sample(x, x[:, :2].movedim(1, 3), align_corners=False), 4 * CHW),
}


@pytest.mark.parametrize("case", MACS)
def test_macs_of(case):
    function, expected = MACS[case]
    assert cost(Run(function), (1, 8, 6, 5)).macs == expected


def test_macs_of_layers():
    layers = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1, groups=4), nn.BatchNorm2d(16), nn.SiLU(), nn.Conv2d(16, 4, 1))
    assert cost(layers, (3, 8, 10, 10)).macs == 25 * 16 * 2 * 9 + 25 * 16 * 4


def test_multihead_attention_is_seen_whole():
    layer, N, C = nn.MultiheadAttention(32, 4, batch_first=True), 30, 32
    module = Run(lambda x: layer(*[x.flatten(2).mT] * 3, need_weights=False)[0])
    module.layer = layer
    assert cost(module, (1, C, 6, 5)).macs == 4 * N * C * C + 2 * N * N * C


def test_torchinfo_misses_products_outside_a_layer():
    pytest.importorskip("torchinfo")
    assert cost(Run(MACS["matrix product"][0]), (1, 8, 6, 5)).macs_torchinfo == 0


def test_without_torchinfo(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchinfo", None)
    measured = cost("se", (1, 64, 20, 20))
    assert measured.macs_torchinfo is None
    assert "not installed" in str(measured)


def test_a_shared_storage_counts_once_and_parameters_do_not():
    assert cost(Run(lambda x: (x * x.sigmoid()).flatten(1).mul(x.flatten(1))), (1, 2, 4, 4)).saved_bytes == 3 * 4 * 32
    assert cost(nn.Linear(5, 3), (1, 2, 4, 5)).saved_bytes == 4 * 40


def test_several_inputs_come_from_the_card():
    class Pair(nn.Module):
        card = type("Card", (), {"example": staticmethod(lambda channels, size, batch: (
            torch.ones(batch, channels, *size), torch.ones(batch, channels, *size)))})  # fmt: skip

        def forward(self, x, y):
            return x * y

    measured = cost(Pair(), (4, 3, 2, 2))
    assert (measured.macs, measured.saved_bytes) == (12, 2 * 4 * 4 * 12)


def test_the_module_and_the_random_numbers_are_left_alone():
    module = nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(0.5))
    before, state = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    cost(module.eval(), (2, 4, 3, 3))
    cost("se")
    assert not module.training
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


def test_the_result_is_the_same_under_no_grad_and_on_meta():
    expected = cost("se", (1, 64, 20, 20))
    with torch.no_grad():
        assert cost("se", (1, 64, 20, 20)) == expected
    assert cost(attn.create("se", 64).to("meta"), (1, 64, 20, 20)) == expected


@pytest.mark.parametrize("size", [(64, 20, 20), (1, 64, 0, 20), (1, 64, 20.0, 20), (True, 64, 20, 20)])
def test_bad_size(size):
    with pytest.raises(ValueError, match="size must be four positive whole numbers"):
        cost("se", size)


def test_options_go_with_a_slug():
    with pytest.raises(ValueError, match=r"SE is built already: reduction"):
        cost(attn.create("se", 64), reduction=4)
    with pytest.raises(ValueError, match=r"'reduktion'.*'reduction'"):
        cost("se", reduktion=4)


def test_printed():
    measured = Cost(580, 26_112, 580, 102_928)
    assert str(measured).splitlines()[1].split() == ["580", "26,112", "580", "102,928"]
    head, rule, body = measured._repr_markdown_().splitlines()
    assert head.startswith("| parameters | multiply-adds |")
    assert rule == "| --: | --: | --: | --: |"
    assert body.startswith("| 580 | 26,112 |")
    assert str(Table()) == Table()._repr_markdown_() == ""


def test_table_of_a_chapter(monkeypatch):
    rows = table("se", detector=(1_000_000, 10_000_000), reduction=4)
    assert [r["parameters"] for r in rows] == [attn.card("se").params(C, reduction=4) for C in (64, 128, 256)]
    assert rows[0]["share of parameters"] == rows[0]["parameters"] / 1e6
    assert rows[2]["share of multiply-adds"] == rows[2]["multiply-adds"] / 1e7
    assert "20×20" in str(rows).splitlines()[3]
    assert str(rows).splitlines()[3].split()[4:6] == ["3.31", "%"]
    monkeypatch.setattr(measure.importlib.util, "find_spec", lambda name: None)
    assert "share of parameters" not in table("se")[0]


def test_the_detector_of_the_shares():
    pytest.importorskip("attn.yolo", exc_type=ImportError)
    state = torch.get_rng_state()
    params, macs = measure._yolov5n()
    assert params == 2_654_816
    assert 3.8e9 < macs < 3.9e9  # ultralytics prints 7.8 GFLOPs, two for each multiply-add
    assert torch.equal(state, torch.get_rng_state())


# Time


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Maps and times so small that a measurement takes milliseconds, and a home of its own."""
    monkeypatch.setattr(measure, "LEVELS", ((16, 6), (24, 4), (32, 2)))
    monkeypatch.setattr(measure, "SECONDS", {False: 1e-4, True: 1e-4})
    monkeypatch.setattr(measure, "BLOCK", 1e-5)
    monkeypatch.setattr("attn.datasets.home", lambda: tmp_path)
    return tmp_path


def test_bench_sets_ours_beside_its_rivals(small):
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
    threads = torch.get_num_threads()
    found = bench("se")
    assert (found.missing, found.threads, torch.get_num_threads()) == ({}, 1, threads)
    assert [level["shapes"] for level in found.levels] == [[[2, 16, 6, 6]], [[2, 24, 4, 4]], [[2, 32, 2, 2]]]
    for level, (C, side) in zip(found.levels, measure.LEVELS, strict=True):
        assert list(level["runs"]) == ["ours", "plain", "timm", "torchvision"]
        assert level["macs"] == 2 * attn.card("se").macs(C, side, side)
        for name, run in level["runs"].items():
            assert 0 < run["forward"][0] <= run["forward"][1] <= run["forward"][2] < run["step"][2]
            assert ("step_ratio" in run, "forward_ratio" in run) == (name != "ours",) * 2
            assert run["moved_bytes"] == 2 * level["in_bytes"] == 2 * 4 * 2 * C * side**2
            assert "peak_bytes" not in run  # a GPU's
        assert level["runs"]["ours"]["saved_bytes"] == cost("se", (2, C, side, side)).saved_bytes
    assert [row["what"] for row in found.rows[:3]] == [
        "SE",
        "Eqs. 2 to 4 with matrices for the two layers",
        "timm.layers.SEModule",
    ]
    for part in (found.processor, "load ", "1 thread,", "torchvision.ops.SqueezeExcitation"):
        assert part in str(found)


def test_bench_quick_is_ours_alone_and_is_not_kept(small):
    found = bench("se", quick=True)
    assert [list(level["runs"]) for level in found.levels] == [["ours"]] * 2
    assert "ours / this" not in str(found)
    with pytest.raises(ValueError, match="a quick measurement is printed and not kept"):
        found.save()
    assert not (small / "data").exists()


@pytest.mark.parametrize("slug", attn.names())
def test_bench_takes_every_mechanism(slug, small):
    """Each with an estimate, which is never below what the backward pass has to keep."""
    (level, _) = bench(slug, quick=True, batch=1).levels
    ours = level["runs"]["ours"]
    assert ours["needs"] > ours["saved_bytes"] > 0


def test_bench_names_what_is_missing(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm.layers", None)
    found = bench("eca")
    assert list(found.missing) == ["timm"]
    assert list(found.levels[0]["runs"]) == ["ours"]
    assert "not beside timm: " in str(found)
    alone = bench("sk", batch=1)  # timm's BatchNorm does not train on one value a channel
    assert list(alone.missing) == list(found.missing)
    assert [list(level["runs"]) for level in alone.levels] == [["ours"]] * 3


def test_bench_does_not_run_what_has_no_room(small, monkeypatch):
    monkeypatch.setattr(measure, "LEVELS", ((64, 4), (64, 2000), (64, 4)))
    monkeypatch.setattr(measure, "_free", lambda device: 2 * 10**8)
    found = bench("eca")
    ran, refused, _ = (level["runs"]["ours"] for level in found.levels)
    assert "step" in ran
    assert "step" not in refused
    map_bytes = 2 * 4 * 64 * 2000**2  # kept: x and the gates; above and below it a gradient; the result; a copy of x
    assert refused["needs"] > 5 * map_bytes
    assert refused["refused"] == f"would need {refused['needs'] / 1e9:.1f} GB; 0.1 GB can be taken"
    assert [row["forward, ms"] for row in found.rows].count(refused["refused"]) == len(found.levels[1]["runs"])
    plain = 3 * 4 * 2 * 8 * 400**2  # three times the N × N map of 8 heads and 2 images
    monkeypatch.setattr(measure, "LEVELS", ((64, 20),))
    (level,) = bench("mhsa", limit=plain).levels  # ours has room, what writes N × N down has none
    assert "step" in level["runs"]["ours"]
    assert level["runs"]["plain"]["refused"].startswith("would need 0.")


@pytest.mark.parametrize("module", [nn.Conv2d(8, 8, 3, padding=1), nn.Sequential(nn.Sigmoid(), nn.Tanh())])
def test_the_estimate_by_hand(module):
    """A map of 32 kB. Of the convolution: input, result, the gradient from above and that of the input; the
    parameters and their gradients. Of the two functions: the input, both results, and the gradients from above,
    between them and below."""
    x = torch.zeros(1, 8, 32, 32)
    params = sum(p.nbytes for p in module.parameters())
    maps = 4 if params else 6
    assert measure._peak(module, (x,), torch.device("cpu")) == pytest.approx(maps * x.nbytes + 2 * params, rel=0.1)


def test_bench_files_are_whole_and_of_one_machine(small, monkeypatch):
    path = bench("eca").save()
    assert path == small / "data" / "results" / "bench" / "cpu.json"
    bench("adl").save()
    kept = Bench.read()
    assert list(kept) == ["adl", "eca"]
    assert isinstance(kept["eca"], Bench)
    assert str(kept["eca"].rows)
    assert measure.bandwidth(kept["adl"].levels[0]) is None  # in evaluation its result is its input
    before = path.read_text("utf-8")
    with pytest.raises(ValueError, match=r"cpu\.json holds times with threads 1, not 2: move it away first"):
        bench("se", threads=2).save()

    def broken(*args, **kwargs):
        raise OSError("no room left")

    found = bench("se")
    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="no room left"):
        found.save()
    assert [p.name for p in path.parent.iterdir()] == ["cpu.json"]
    assert path.read_text("utf-8") == before
    assert Bench.read("cuda") == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"slug": "biforner"}, "unknown mechanism 'biforner'; did you mean 'biformer'"),
        ({"slug": "se", "device": "cpuu"}, "unknown device 'cpuu'; did you mean 'cpu'"),
        ({"slug": "se", "threads": 0}, "threads must be a whole number of at least 1, not 0"),
        ({"slug": "se", "batch": True}, "batch must be a whole number of at least 1, not True"),
    ],
)
def test_bench_refuses(words, message):
    with pytest.raises(ValueError, match=message):
        bench(**words)


def test_the_levels_are_those_of_yolov5s():
    yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)
    network, seen = yolo.build("yolov5s.yaml").model.eval(), []
    network.model[-1].register_forward_pre_hook(lambda m, x: seen.extend(tuple(t.shape[1:3]) for t in x[0]))
    with torch.no_grad():
        network(torch.zeros(1, 3, 320, 320))
    assert tuple((C, 2 * side) for C, side in seen) == measure.LEVELS
