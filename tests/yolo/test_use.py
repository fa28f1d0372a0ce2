# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""The recipes of book/use.md, run from first to last: on eight pictures of 64 pixels, one epoch each.

In one test, since a recipe may use what the one before it made; what each has to have done is checked behind it."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)
np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

import ultralytics.cfg  # noqa: E402

from attn import cli  # noqa: E402

PAGE = (Path(__file__).parents[2] / "book" / "use.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TINY = {"epochs": 1, "imgsz": 64, "batch": 4, "device": "cpu", "plots": False, "amp": False, "workers": 0}


def make_set(folder):
    draw = np.random.default_rng(0)
    for split, n in (("train", 8), ("val", 4)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for i in range(n):
            picture = draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / "images" / split / f"{i}.png")
            (folder / "labels" / split / f"{i}.txt").write_text(f"{i % 2} 0.5 0.5 0.4 0.4\n")
    file = folder / "my-data.yaml"
    file.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [a, b]\n")
    return file


def bash(text):
    text = text.replace("\\\n", " ").replace("yolov5nu.pt", "weights.pt")
    tiny = " ".join(f"{name}={value}" for name, value in TINY.items())
    for line in text.replace("epochs=100 imgsz=640", tiny).splitlines():
        words = shlex.split(line)
        if words[0] == "attn":
            assert cli.main(words[1:]) == 0, line
        else:
            subprocess.run(words, check=True)


def attention(y):
    return [(layer.layer, layer.attention) for layer in yolo.read(y).inserted]


def added(made):
    assert attention(made["best"]) == attention("mine.pt") == [("model.5", "cbam")]
    assert attention("runs/detect/train/weights/best.pt") == [("model.5", "cbam")]
    old, new = yolo.read("weights.pt").tensors, yolo.read("mine.pt").tensors
    assert torch.equal(old["model.5.conv.weight"], new["model.6.conv.weight"])


def several(made):
    assert [layer for layer, _ in attention(made["y"])] == [f"model.{i}" for i in (5, 10, 26, 27, 28)]


def inside(made):
    assert [re.match(r"model\.(\d+)\.cv3", layer)[1] for layer, _ in attention(made["y"])] == ["2", "4", "6", "8"]
    assert [re.match(r"model\.4\.m\.(\d)\.", layer)[1] for layer, _ in attention(made["one"])] == ["0", "1"]


def alone(made):
    """Of what learns, only tensors of layers 9 and 25 have moved."""
    start, end = yolo.read("weights.pt").tensors, yolo.read(made["y"].trainer.last).tensors
    moved = {9}
    for name, _ in made["y"].trainer.model.named_parameters():
        layer, rest = int(name.split(".")[1]), name.split(".", 2)[2]
        if layer != 9:
            old = start[f"model.{layer - (layer > 9)}.{rest}"]
            moved |= {layer} if old.shape != end[name].shape or not torch.equal(old, end[name]) else set()
    assert moved == {9, 25}
    assert yolo.read(made["y"].trainer.last).inserted[0].alpha != 0


def checked(made):
    assert cli.main(["check", "torch.nn:Softmax", "--args", "0", "--channels", "8", "--quick"]) == 1  # over the batch


def own(made):
    assert len(list(Path("runs/detect").glob("train*"))) == 2


def exported(made):
    assert Path(made["onnx"]).stat().st_size > 1e6


def read_back(made):
    assert attention(made["best"]) == [(layer.layer, layer.attention) for layer in made["found"].inserted]


def taken_out(made):
    assert attention(made["plain"]) == []
    kept, old = made["plain"].model.state_dict(), yolo.read(made["best"]).tensors
    assert torch.equal(kept["model.5.conv.weight"], old["model.6.conv.weight"].float())


def named(made):
    assert "[-1, 1, SE, []]" in Path("named.yaml").read_text()
    assert attention("runs/detect/train-3/weights/best.pt") == [("model.9", "se")]
    rows, shifted = yolo.load("yolov5n.yaml"), yolo.insert("yolov5n.yaml", "se", 9)
    for arguments in ([1024], [256], [1024, 8]):
        backbone = [*rows["backbone"][:9], [-1, 1, "SE", arguments], *rows["backbone"][9:]]
        y = yolo.build({**shifted, "backbone": backbone})
        assert y.model.model[9].mechanism.down.out_channels == (32 if arguments == [1024, 8] else 16)


def continued(made):
    assert attention(made["y"]) == [("model.5", "cbam")]
    assert [slug for _, slug in attention(made["more"])] == ["cbam", "se", "se", "se"]
    assert [layer.alpha for layer in yolo.read(made["more"]).inserted] == [made["found"].inserted[0].alpha, 0, 0, 0]


def gpus(made):
    assert attention(made["y"].trainer.best) == [("model.5", "cbam")]


CHECKS = {
    "Add attention to a pretrained model": added,
    "At several places": several,
    "Inside C3": inside,
    "Train the attention alone": alone,
    "Your own attention": checked,
    "Your own pictures": own,
    "Export": exported,
    "Read back what was put in": read_back,
    "Take it out again": taken_out,
    "Write the name into a model file": named,
    "Continue from your own `best.pt`": continued,
    "On several GPUs": gpus,
}


@pytest.mark.filterwarnings("ignore")  # of ultralytics' exporter, and of numbers that mean nothing here
@pytest.mark.proof
def test_the_recipes(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ultralytics.cfg, "TESTS_RUNNING", False)  # under pytest ultralytics writes elsewhere
    torch.manual_seed(0)
    yolo.build("yolov5n.yaml", nc=3).save("weights.pt")
    ((_, yours),) = BLOCK.findall(PAGE.partition("\n## ")[0])
    exec(yours, made := {})
    mine = {"weights": "weights.pt", "data": str(make_set(tmp_path)), "devices": "cpu"}
    assert mine.keys() < made.keys()
    made |= mine
    made["settings"] |= TINY | {"project": str(tmp_path / "python")}
    del made["settings"]["device"]  # the last recipe gives it
    assert RECIPES.keys() == CHECKS.keys()
    for title, text in RECIPES.items():
        blocks = BLOCK.findall(text)
        assert blocks, title
        for language, block in blocks:
            if language == "bash":
                bash(block)
            else:
                exec(block, made)
        CHECKS[title](made)
