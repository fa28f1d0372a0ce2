# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""What comes out of build: widths, gradients, the identity start, and pairs that start equal."""

import importlib
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

import ultralytics  # noqa: E402
from trained import as_trained  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.nn.modules import C2f  # noqa: E402

import attn  # noqa: E402
from attn import controls, records  # noqa: E402

# Channels of C3 blocks 0 to 3 (the last is what SPPF reads) and of Detect's inputs, by width multiple and max_channels.
WIDTHS = {
    "n": ([32, 64, 128, 256], [64, 128, 256]),
    "s": ([64, 128, 256, 512], [128, 256, 512]),
    "m": ([96, 192, 384, 768], [192, 384, 768]),
    "l": ([128, 256, 512, 1024], [256, 512, 1024]),
    "x": ([160, 320, 640, 1280], [320, 640, 1280]),
}


def attends(y):
    return [layer for layer in y.model.model if isinstance(layer, yolo.Attend)]


def shaken(seed=0, model="yolov5n.yaml"):
    """A plain detector whose every number is as if trained: BatchNorm's statistics too."""
    torch.manual_seed(seed)
    return as_trained(yolo.build(model, nc=3).model)


@pytest.mark.parametrize("scale", WIDTHS)
def test_widths_are_right_at_every_scale(scale):
    backbone, neck = WIDTHS[scale]
    y = yolo.build(f"yolov5{scale}.yaml", "se", ["after:C3", "before:SPPF", "neck"])
    assert type(y) is ultralytics.YOLO
    widths = [layer.mechanism.down.in_channels for layer in attends(y)]
    assert widths == [*backbone, backbone[-1], *neck]
    with torch.no_grad():
        y.model.eval()(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("start", ["plain", "identity"])
@pytest.mark.parametrize("at", [0, 9, "before:SPPF", "after:C3", "neck", [3, "after:SPPF"]])
def test_forward_and_backward(at, start):
    y = yolo.build("yolov5n.yaml", "se", at, start=start)
    outputs = y.model.train()(torch.randn(2, 3, 64, 64))
    sum(t.float().square().sum() for t in (outputs["boxes"], outputs["scores"])).backward()
    for name, parameter in y.model.named_parameters():
        if parameter.requires_grad and "dfl" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    if start == "identity":  # at step 0 only α learns
        for layer in attends(y):
            assert layer.alpha.grad != 0
            assert all((p.grad == 0).all() for p in layer.mechanism.parameters())


@pytest.mark.parametrize(
    "at", [0, 3, 9, "before:SPPF", "after:C3", "neck", "inside:C3", "inside:C3[1].m", ["inside:SPPF", "inside:C3.m", 9]]
)
def test_identity_equals_the_plain_model_bit_for_bit(at):
    plain = shaken().eval()
    y = yolo.build("yolov5n.yaml", "se", at, weights=plain)
    layers = [m for m in y.model.modules() if isinstance(m, yolo.Attend)]
    assert {layer.start for layer in layers} == {"identity"}  # the default with weights
    x = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        want, got = plain(x)[0], y.model.eval()(x)[0]
        assert torch.equal(want, got)
        for layer in layers:
            layer.alpha.fill_(1)
        assert not torch.equal(want, y.model(x)[0])


def test_alpha_of_one_is_the_plain_start():
    x = torch.randn(2, 16, 5, 7)
    layer = yolo.Attend("se", [16], 0, "identity")
    layer.alpha.data.fill_(1)
    torch.testing.assert_close(layer(x), layer.mechanism(x))
    assert layer.alpha.dtype == torch.float32
    assert yolo.Attend("se", [16], 0).alpha is None


def test_every_other_layer_starts_equal_at_equal_seed():
    def layers(*call, **options):
        torch.manual_seed(7)
        y = yolo.build("yolov5n.yaml", *call, **options)
        return [layer.state_dict() for layer in y.model.model if not isinstance(layer, yolo.Attend)]

    plain = layers()
    for call in [("se", 9), ("se", 0), ("bottleneck-large", "after:C3"), ("se", "neck")]:
        others = layers(*call)
        equal = [all(torch.equal(a[k], b[k]) for k in a) for a, b in zip(plain, others, strict=True)]
        assert sum(equal) == len(equal) == 25


INSIDE = ["inside:C3.m", "inside:C3[1]", "replace:C3.m.cv1"]


def test_what_is_inside_renames_nothing_and_moves_no_random_number():
    torch.manual_seed(7)
    plain = yolo.build("yolov5n.yaml").model.state_dict()
    torch.manual_seed(7)
    model = yolo.build("yolov5n.yaml", "se", INSIDE).model
    found = model.state_dict()
    gone = {name for name in plain if name not in found}
    assert len(gone) == 7
    assert all(name.endswith(".cv1.conv.weight") and ".m." in name for name in gone)
    assert all(torch.equal(plain[name], found[name]) for name in plain if name not in gone)
    new = {name: t for name, t in found.items() if name not in plain}
    assert all(".mechanism." in name for name in new)
    gates = [t for name, t in new.items() if name.endswith("down.weight")]
    assert len(gates) == 7 + 1 + 7
    assert not any(torch.equal(a, b) for i, a in enumerate(gates) for b in gates[:i] if a.shape == b.shape)
    assert [layer.np for layer in model.model] == [sum(p.numel() for p in layer.parameters()) for layer in model.model]


@pytest.mark.parametrize(
    ("model", "at", "count"),
    [
        ("yolov5n.yaml", INSIDE, 15),
        ("yolov8n.yaml", ["inside:C2f", "inside:C2f.m", "replace:C2f.m.cv2"], 16),
        ("yolov5n.yaml", 9, 1),
    ],
)
def test_fusing_and_splitting_keep_the_attention(model, at, count):
    y = yolo.build(model, "se", at, weights=shaken(model=model), start="plain")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        whole = y.model.eval()(x)[0]
        y.model.fuse(verbose=False)
        for layer in y.model.modules():
            if isinstance(layer, C2f):  # what ultralytics' exporter does
                layer.forward = layer.forward_split
        added = [layer for layer in y.model.modules() if isinstance(layer, yolo.Attend)]
        ran = []
        for layer in added:
            layer.register_forward_hook(lambda layer, *_: ran.append(layer))
        torch.testing.assert_close(y.model(x)[0], whole, rtol=1e-4, atol=1e-2)  # pixels
    assert len(ran) == len(added) == count
    assert {*ran} == {*added}


def test_a_convolution_is_replaced_with_a_plain_start_and_the_rest_is_kept(capsys):
    plain = shaken()
    y = yolo.build("yolov5n.yaml", "se", ["replace:C3[1].m.cv2", "inside:C3[1]"], weights=plain)
    starts = [m.start for m in y.model.modules() if isinstance(m, yolo.Attend)]
    assert sorted(starts) == ["identity", "plain", "plain"]
    said = "; 2 skipped, model.4.m.0.cv2.conv.weight and others (a mechanism stands there in the target)"
    assert f"425 of 427 tensors copied, 0 of them to a wrong layer{said}" in capsys.readouterr().out
    assert torch.equal(y.model.model[4].m[0].cv2.bn.weight, plain.model[4].m[0].cv2.bn.weight)
    back = yolo.transfer(y, yolo.build("yolov5n.yaml", nc=3))
    assert (back.copied, back.wrong) == (425, 0)
    assert all(".mechanism." in name or name.endswith("alpha") for name in back.skipped)


HAND = """
nc: 3
scales:
  n: [0.33, 0.25, 1024]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, CBAM, []]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, SE, [128, 8]]
  - [-1, 1, eca, [32]]
  - [-1, 2, C3+, [128, {inside: [se, identity]}]]
head:
  - [[5], 1, Detect, [nc]]
"""


def test_ultralytics_builds_a_file_that_names_mechanisms(tmp_path):
    file = tmp_path / "yolov5n-hand.yaml"
    file.write_text(HAND)
    y = ultralytics.YOLO(file)
    found = [m for m in y.model.modules() if isinstance(m, yolo.Attend)]
    assert [(m.slug, m.channels, m.start) for m in found] == [
        ("cbam", 16, "plain"),
        ("se", 32, "plain"),
        ("eca", 32, "plain"),
        ("se", 32, "identity"),
    ]
    assert found[1].mechanism.down.out_channels == 4
    assert y.model.yaml["backbone"][1] == [-1, 1, "CBAM", []]  # from which it is rebuilt
    assert [row[2] for row in yolo.remove(y.model.yaml)["backbone"]] == ["Conv", "Conv", "C3"]
    plain = tasks.parse_model.__wrapped__
    for name in ("CBAM", "SE", "eca", "C3+"):  # a parser that was not taught says so
        rows = [[-1, 1, "Conv", [64, 3, 2]], [-1, 1, name, [64]]]
        with pytest.raises(KeyError, match=re.escape(name)):
            plain({"backbone": rows, "head": []}, 3, verbose=False)
    importlib.reload(yolo.parse)
    assert tasks.parse_model.__wrapped__ is plain
    for old, new, words in [
        ("SE, [128", "SE, [256", ["layer 3", "256", "32 arrive"]),
        ("CBAM", "CBAN", ["layer 1", "'CBAN'", "'CBAM'"]),
        ("[-1, 1, CBAM", "[[-1], 1, CBAM", ["layer 1", "[-1]"]),
    ]:
        file.write_text(HAND.replace(old, new))
        with pytest.raises(ValueError, match="layer") as caught:
            ultralytics.YOLO(file)
        assert [word for word in words if word not in str(caught.value)] == []


REOPEN = """
import sys
import torch
from ultralytics import YOLO
y = YOLO(sys.argv[1])
again = type(y.model)(y.model.yaml, verbose=False)
again.load_state_dict(y.model.float().state_dict())
x = torch.rand(1, 3, 64, 64)
assert torch.equal(y.model.eval()(x)[0], again.eval()(x)[0])
print("OPENED", sum(type(m).__name__ == "Attend" for m in again.modules()))
"""


def test_a_checkpoint_opens_and_rebuilds_in_a_fresh_interpreter(tmp_path):
    rows = yolo.insert("yolov5n.yaml", "se", [*INSIDE, "neck"])
    rows["backbone"].insert(1, [-1, 1, "CBAM", []])
    for row in rows["head"]:
        row[0] = [j + (j > 0) for j in row[0]] if isinstance(row[0], list) else row[0] + (row[0] > 0)
    yolo.build(rows).save(tmp_path / "x.pt")
    run = [sys.executable, "-c", REOPEN, str(tmp_path / "x.pt")]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert "OPENED 19" in done.stdout, done.stderr  # 15 inside, 3 of the neck, 1 by name


def test_rt_detr_is_built_by_its_own_class():
    y = yolo.build("rtdetr-l.yaml", "se")
    assert type(y) is ultralytics.RTDETR
    assert isinstance(y.model, tasks.RTDETRDetectionModel)
    assert y.ckpt


def test_the_mechanism_itself_follows_the_seed():
    def gate(seed):
        torch.manual_seed(seed)
        return attends(yolo.build("yolov5n.yaml", "se", 9))[0].mechanism.down.weight

    assert torch.equal(gate(0), gate(0))
    assert not torch.equal(gate(0), gate(1))


def test_the_default_place_is_printed(capsys):
    y = yolo.build("yolov5n.yaml", "se")
    assert capsys.readouterr().out == "yolov5n.yaml, layer 9: se, reads 8 (C3), read by 10 (SPPF), start plain\n"
    assert yolo.remove(y.model.yaml)["backbone"] == yolo.load("yolov5n.yaml")["backbone"]
    yolo.build("yolov9t.yaml", "se")  # SPPELAN
    assert "read by 10 (SPPELAN)" in capsys.readouterr().out
    yolo.build("yolo12n.yaml", "se")  # none of the family: after the last block of the backbone
    assert "layer 9: se, reads 8 (A2C2f), read by 10 (nn.Upsample) and 20 (Concat)" in capsys.readouterr().out


def test_the_classes_are_those_of_the_weights(capsys):
    plain = shaken()
    plain.names = {0: "red", 1: "white", 2: "platelet"}
    y = yolo.build("yolov5n.yaml", "se", weights=plain)
    assert (y.model.yaml["nc"], y.model.names) == (3, plain.names)
    assert "427 of 427 tensors copied, 0 of them to a wrong layer\n" in capsys.readouterr().out
    y = yolo.build("yolov5n.yaml", "se", weights=plain, nc=5)
    assert (y.model.model[-1].nc, len(y.model.names)) == (5, 5)
    assert "3 classes in the source, 5 in the target" in capsys.readouterr().out
    assert yolo.build("yolov5n.yaml", weights=plain.state_dict()).model.model[-1].nc == 3


def test_a_dictionary_is_built_as_it_is():
    rows = yolo.insert("yolov5s.yaml", "se", 9, start="identity")
    y = yolo.build(rows)
    assert attends(y)[0].mechanism.down.in_channels == 512
    assert y.ckpt  # train() keeps the rows
    assert y.task == "detect"


def test_a_mechanism_that_changes_the_shape_is_refused(monkeypatch):
    class Half(nn.Module):
        def __init__(self, channels):
            super().__init__()

        def forward(self, x):
            return x[:, ::2]

    monkeypatch.setitem(controls.CONTROLS, "half", Half)
    with pytest.raises(ValueError, match=r"half turns \(1, 256, 8, 8\) into \(1, 128, 8, 8\)"):
        yolo.insert("yolov5n.yaml", "half", 9)


@pytest.mark.parametrize("control", controls.CONTROLS)
def test_controls_stand_at_a_mechanisms_place(control):
    (layer,) = attends(yolo.build("yolov5n.yaml", control, 9))
    assert type(layer.mechanism) is controls.CONTROLS[control]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at": 9}, ["at ", "no attention"]),
        ({"reduction": 8}, ["reduction", "no attention"]),
        ({"model": "yolov8n-world.yaml", "attention": "se"}, ["yolov8n-world.yaml", "WorldDetect"]),
        ({"model": "yoloe-11-seg.yaml"}, ["yoloe-11-seg.yaml", "YOLOESegment", "texts"]),
        ({"model": {"anchors": [], "backbone": [[-1, 1, "Conv", [8]]], "head": [[[0], 1, "Detect", []]]}}, ["anchors"]),
        ({"attention": "se", "at": "replace:C3.m.cv2", "start": "identity"}, ["identity", "replace"]),
        ({"attention": "se", "nc": 0}, ["nc", "0"]),
        ({"attention": "se", "nc": True}, ["nc", "True"]),
        ({"attention": "se", "reduction": -1}, ["reduction", "-1"]),
        ({"attention": "se", "start": "zero"}, ["'zero'", "plain, identity"]),
        ({"attention": "se", "weights": "nowhere.pt"}, ["'nowhere.pt'"]),
    ],
)
def test_a_bad_call_is_refused(options, words):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        yolo.build(**options)
    assert [word for word in words if word not in str(caught.value)] == []


def test_the_layer_has_none_of_the_names_that_ultralytics_writes():
    layer = yolo.Attend("se", [16], 0, "identity")
    assert not {"i", "f", "np", "type"} & {name for name, _ in [*layer.named_children(), *layer.named_parameters()]}


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore")  # the exporter of torch warns of itself and of every shape it fixes
@pytest.mark.parametrize("slug", [slug for slug in attn.names() if attn.card(slug).detector])
def test_ultralytics_exports_every_mechanism_to_onnx(slug, tmp_path, monkeypatch):
    """By the older exporter of torch, which knows fewer operators than the one of the contract."""
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    at = next(at for at, place in records.PLACES.items() if place.kind == attn.card(slug).detector)
    torch.manual_seed(0)
    y = yolo.build("yolov5n.yaml", slug, at, nc=3)
    as_trained(y.model)
    for name, tensor in y.model.named_parameters():
        if "mechanism" in name:
            nn.init.normal_(tensor, std=0.1)
    x = torch.rand(1, 3, 96, 64)
    with torch.no_grad():
        wanted = y.model.eval()(x)[0]
    session = runtime.InferenceSession(y.export(format="onnx", imgsz=(96, 64), simplify=False, verbose=False))
    (given,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(given), wanted, atol=1e-2, rtol=1e-3)
