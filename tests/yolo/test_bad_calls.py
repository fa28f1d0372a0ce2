# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Bad calls of Python and of the command line: each gets one line that names the bad value and the nearest good."""

import shlex

import pytest
import torch
from torch import nn

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

import attn  # noqa: E402
from attn import cli, datasets, experiment  # noqa: E402

V5N = yolo.load("yolov5n.yaml")
SE_AT_9 = yolo.insert(V5N, "se", 9)


class Foreign(nn.Module):
    """A layer that is in no list."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the command line is called: what the calls below name lies here."""
    folder = tmp_path_factory.mktemp("bad")
    torch.save({"model": Foreign()}, folder / "foreign.pt")
    torch.save({"model": yolo.build("yolov5s.yaml", nc=3).model.half()}, folder / "small.pt")
    (folder / "taken.yaml").write_text("nc: 3\n")
    (folder / "broken.yaml").write_text("nc: 2\nbackbone: [1, 2\nhead: ]\n")
    (folder / "empty.pt").write_bytes(b"")
    named = yolo.dump(SE_AT_9).replace("nn.Attend, [se, ch, f]", "ES, []")
    (folder / "named.yaml").write_text(named)
    (folder / "wide.yaml").write_text(named.replace("ES, []", "SE, [100]"))
    return folder


# The mechanisms, the models, the places, the options, the weights; in Python and, as text, on the command line.
CASES = {
    # what
    "class for slug": (lambda: attn.create("SE", 64), "'SE'", "'se'"),
    "slug": (lambda: attn.card("cbma"), "'cbma'", "'cbam'"),
    "family": (lambda: attn.names("chanel"), "'chanel'", "'channel'"),
    "channels no number": (lambda: attn.create("se", "64"), "'64'"),
    "channels below one": (lambda: attn.create("se", 0), "0"),
    "option": (lambda: attn.create("se", 64, reductoin=4), "'reductoin'", "'reduction'"),
    "option's value": (lambda: attn.create("cbam", 64, kernel_size=4), "kernel_size", "4"),
    "slug in a detector": (lambda: yolo.insert(V5N, "biforner", 9), "'biforner'", "'biformer'"),
    "option in a detector": (lambda: yolo.build(V5N, "eca", 9, reduction=4), "'reduction'", "eca"),
    "a slug of nothing": (lambda: yolo.build(V5N, 3, 9), "3"),
    # which model
    "no such scale": (lambda: yolo.load("yolov5z.yaml"), "'yolov5z.yaml'", "'yolov5"),
    "no such version": (lambda: yolo.load("yolov55n.yaml"), "'yolov55n.yaml'", "'yolov5n.yaml'"),
    "no scale": (lambda: yolo.load("yolov8.yaml"), "yolov8.yaml", "n, s, m, l, x", "yolov8n.yaml"),
    "weights for a model": (lambda: yolo.load("yolov5n.pt"), "yolov5n.pt", "weights="),
    "a head that finds nothing": (lambda: yolo.load("yolov8n-cls.yaml"), "Classify"),
    "no model": (lambda: yolo.load({"nc": 3}), "backbone", "head"),
    "scale in a dictionary": (lambda: yolo.load({**V5N, "scale": "z"}), "'z'", "n, s, m, l, x"),
    "a row of three": (lambda: yolo.remove({**V5N, "head": [[-1, 1, "Conv"]]}), "[-1, 1, 'Conv']", "arguments"),
    "reads what is not there": (lambda: yolo.remove({**V5N, "head": [[40, 1, "Conv", [8]]]}), "layer 10", "40"),
    "a module of nobody": (
        lambda: yolo.insert({**V5N, "head": [[-1, 1, "Cnov", [8]]]}, "se", 1), "layer 1", "'Cnov'", "'Conv'"),
    "a mechanism misspelt in a row": (
        lambda: yolo.build({**V5N, "head": [[-1, 1, "CBMA", []], *V5N["head"]]}), "layer 10", "'CBMA'", "'CBAM'"),
    # where
    "place": (lambda: yolo.insert(V5N, "se", "before:SPF"), "'before:SPF'", "'before:SPPF'"),
    "layer too high": (lambda: yolo.insert(V5N, "se", 99), "99", "0 to 23"),
    "layer below 0": (lambda: yolo.insert(V5N, "se", -1), "-1", "0 to 23"),
    "no number in the chain": (lambda: yolo.insert(V5N, "se", 24), "24", "Detect"),
    "a block of another model": (lambda: yolo.insert(V5N, "se", "after:C2f"), "'after:C2f'", "'after:C3'"),
    "one of several": (lambda: yolo.insert(V5N, "se", "inside:C3[7]"), "'inside:C3[7]'", "inside:C3[0] to [3]"),
    "a place twice": (lambda: yolo.insert(V5N, "se", [9, "before:SPPF"]), "'before:SPPF'", "already"),
    "no place in a list": (lambda: yolo.insert(V5N, "se", []), "[]"),
    "a convolution with a stride": (lambda: yolo.insert(V5N, "se", "replace:Conv[1]"), "'replace:Conv[1]'", "size"),
    "place without attention": (lambda: yolo.build(V5N, at=9), "at", "no attention"),
    # how it starts
    "start": (lambda: yolo.insert(V5N, "se", 9, start="identiti"), "'identiti'", "'identity'"),
    "identity instead of a convolution": (
        lambda: yolo.insert(V5N, "se", "replace:C3.m.cv2", start="identity"), "identity", "replace", "'plain'"),
    "width in a row": (lambda: yolo.insert(V5N, "se", 9, channels=100), "layer 9", "100", "256"),
    # classes and weights
    "classes": (lambda: yolo.build(V5N, nc=0), "nc", "0"),
    "classes no number": (lambda: yolo.build(V5N, nc="3"), "nc", "'3'"),
    "weights file": (lambda: yolo.build(V5N, weights="bset.pt"), "'bset.pt'"),
    "weights of another suffix": (lambda: yolo.build(V5N, weights="best.onnx"), "best.onnx", ".safetensors"),
    "weights of another scale": (
        lambda: yolo.transfer(yolo.build("yolov5s.yaml"), yolo.build(V5N)), "same architecture", "(32, 3, 6, 6)"),
    "way of a transfer": (
        lambda: yolo.transfer(yolo.build(V5N), yolo.build(V5N), by="nmae"), "'nmae'", "'name'"),
    "target of a transfer": (lambda: yolo.transfer(yolo.build(V5N), "yolov5n.yaml"), "'yolov5n.yaml'", "a YOLO"),
    "source of a transfer": (lambda: yolo.read(3), "int", "a YOLO"),
    # data and runs
    "set": (lambda: datasets.yaml("digit"), "'digit'", "'digits'"),
    "more pictures than there are": (lambda: datasets.yaml("digits", train=9999), "9999", "1000"),
    "profile": (lambda: experiment.plan("se", profile="quik"), "'quik'", "'quick'"),
    "condition": (lambda: experiment.plan("se", condition="fwe"), "'fwe'", "'few'"),
    # the command line
    "verb": ("instert yolov5n.yaml se --at 9", "'instert'", "'insert'"),
    "verb's option": ("insert yolov5n.yaml se --at 9 --wieghts a.pt", "'--wieghts'", "'--weights'"),
    "no place at all": ("insert yolov5n.yaml se", "--at"),
    "place on the command line": ("insert yolov5n.yaml se --at after:C4", "'after:C4'", "'after:C3'"),
    "option there": ("insert yolov5n.yaml se --at 9 -O reduction=four", "'four'", "a number", "16"),
    "start there": ("insert yolov5n.yaml se --at 9 --start plian", "'plian'", "'plain'"),
    "YAML that is none": ("insert broken.yaml se --at 9", "broken.yaml", "line 3"),
    "name that is taken": ("insert yolov5n.yaml se --at 9 -o taken.yaml", "taken.yaml", "already"),
    "weights' name that is taken": (
        "insert yolov5s.yaml se --at 9 --weights small.pt -o small.yaml", "small.pt", "already"),
    "name of no model": ("insert yolov5n.yaml se --at 9 -o mine.txt", "mine.txt", "mine.yaml"),
    "weights there": ("insert yolov5n.yaml se --at 9 --weights smal.pt", "'smal.pt'", "'small.pt'"),
    "weights of another scale there": ("insert yolov5n.yaml se --at 9 --weights small.pt", "same architecture"),
    "weights that need trust": (
        "insert yolov5n.yaml se --at 9 --weights foreign.pt", "foreign.pt", "test_bad_calls.Foreign", "--trust"),
    "a checkpoint that needs trust": ("show foreign.pt", "foreign.pt", "--trust"),
    "a damaged checkpoint": ("show empty.pt", "empty.pt", "damaged"),
    "yolo's argument": ("yolo train model=yolov5n.yaml epcohs=3", "'epcohs'", "epochs"),
    "yolo's mode": ("yolo trian model=yolov5n.yaml", "'trian'", "'train'"),
    "yolo's model": ("yolo val model=smal.pt", "'smal.pt'", "'small.pt'"),
    "yolo's weights and trust": ("yolo train model=yolov5n.yaml pretrained=foreign.pt", "foreign.pt", "--trust"),
    "yolo and trust": ("yolo val model=foreign.pt", "foreign.pt", "--trust"),
    "a name in yolo's model": ("yolo val model=named.yaml", "layer 9", "'ES'", "'SE'"),
    "a width in yolo's model": ("yolo val model=wide.yaml", "layer 9", "100", "256"),
    "one's own pictures to the study": ("train se --data mine.yaml", "'mine.yaml'", "attn yolo train"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_call(case, folder, capfd, monkeypatch):
    call, *words = CASES[case]
    monkeypatch.delenv("ATTN_DEBUG", raising=False)
    if callable(call):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            call()
        said = f"{caught.value}\n"
    else:
        monkeypatch.chdir(folder)
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        assert cli.main(shlex.split(call)) == 2
        said = capfd.readouterr().err
        assert said.startswith("attn")
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert (said.count("\n"), said[-1]) == (1, "\n"), said
    assert [word for word in words if word not in said] == [], said


def test_there_are_fifty_of_both_kinds():
    spoken = sum(isinstance(call, str) for call, *_ in CASES.values())
    assert min(spoken, len(CASES) - spoken) >= 20
    assert len(CASES) >= 50
