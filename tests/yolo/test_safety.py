# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""What is opened, what is refused, and that nothing runs while it is refused."""

import collections
import contextlib
import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

from attn import card, cli, names  # noqa: E402
from attn.controls import CONTROLS  # noqa: E402

LAYERS = [slug for slug in names() if card(slug).detector and card(slug).keeps_shape]


class Runs:
    """What makes a folder when it is unpickled; the folder shows that code ran."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture(scope="module")
def detector():
    return yolo.build("yolov5n.yaml", "cbam", 9, nc=3)


# What is opened


def test_a_stock_checkpoint_is_opened_and_so_is_ours(tmp_path, detector):
    yolo.build("yolov5n.yaml", nc=3).save(tmp_path / "stock.pt")
    detector.save(tmp_path / "ours.pt")
    assert len(yolo.read(tmp_path / "stock.pt").tensors) == 427
    assert yolo.read(tmp_path / "ours.pt").inserted == (yolo.Inserted("model.9", "cbam", None),)


@pytest.mark.parametrize("slug", [*LAYERS, *CONTROLS])
def test_every_mechanism_of_ours_is_opened_without_trust(tmp_path, slug):
    torch.save({"model": nn.Sequential(yolo.Attend(slug, [64], 0, "identity"))}, tmp_path / "one.pt")
    assert yolo.read(tmp_path / "one.pt").inserted == (yolo.Inserted("0", slug, 0.0),)


@pytest.mark.parametrize("shape", ["bare", "ordered", "model", "ema", "old format"])
def test_a_state_dict_in_a_file_is_opened(tmp_path, detector, shape):
    state, file = dict(detector.model.state_dict()), tmp_path / "state.pt"
    held = {"ordered": collections.OrderedDict(state), "model": {"model": state, "epoch": 3}}
    held |= {"ema": {"model": None, "ema": state}}
    torch.save(held.get(shape, state), file, _use_new_zipfile_serialization=shape != "old format")
    found = yolo.read(file).tensors
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_ultralytics_own_restricted_loading_opens_ours(tmp_path, detector):
    """In a fresh interpreter, since what was allowed once stays allowed."""
    detector.save(tmp_path / "ours.pt")
    code = "import attn.yolo, ultralytics; print(type(ultralytics.YOLO('ours.pt').model.model[9]).__name__)"
    env = {**os.environ, "ULTRALYTICS_SAFE_LOAD": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout == "Attend\n", done.stderr[-2000:]


# What is refused


@pytest.mark.parametrize("where", ["model", "beside", "alone", "raw pickle", "old format"])
def test_a_pickle_that_would_run_something_is_refused_and_nothing_runs(tmp_path, detector, where):
    ran, file = tmp_path / "ran", tmp_path / "evil.pt"
    evil = {"model": {"model": Runs(ran)}, "beside": {"model": detector.model, "note": Runs(ran)}}.get(where, Runs(ran))
    if where == "raw pickle":
        file.write_bytes(pickle.dumps(evil, 2))
    else:
        torch.save(evil, file, _use_new_zipfile_serialization=where != "old format")
    for open_it in (yolo.read, lambda f: yolo.transfer(f, detector), lambda f: yolo.build(weights=f)):
        with pytest.raises(
            ValueError, match=rf"evil\.pt is not opened: it needs {os.mkdir.__module__}\.mkdir"
        ) as caught:
            open_it(file)
        assert "trust=True" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not ran.exists()
    # The file is what it seems: with trust it does run, and only then.
    with contextlib.suppress(ValueError):  # for the rest it is no checkpoint
        yolo.read(file, trust=True)
    assert ran.exists()


def test_a_class_of_somebody_else_needs_trust(tmp_path):
    torch.save({"model": nn.Sequential(Foreign())}, tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match=rf"it needs {__name__}\.Foreign, which is no layer of torch"):
        yolo.read(tmp_path / "foreign.pt")
    assert yolo.read(tmp_path / "foreign.pt", trust=True).tensors.keys() == {"0.weight"}


class Foreign(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def test_trusted_weights_go_wherever_weights_go(tmp_path, detector):
    torch.save({"model": detector.model, "note": Foreign()}, tmp_path / "odd.pt")
    trusted = yolo.read(tmp_path / "odd.pt", trust=True)
    assert yolo.transfer(trusted, yolo.build("yolov5n.yaml", "cbam", 9, weights=trusted)).copied == 437


def test_the_command_line_asks_for_trust(tmp_path, detector, capsys):
    ran, file = tmp_path / "ran", tmp_path / "odd.pt"
    torch.save({"model": detector.model, "note": Runs(ran)}, file)
    assert cli.main(["show", str(file)]) == 2
    assert "--trust" in capsys.readouterr().err
    assert not ran.exists()
    assert cli.main(["show", str(file), "--trust"]) == 0
    assert ran.exists()
    assert capsys.readouterr().out == f"{file}: 437 tensors, 3 classes\nmodel.9: cbam, plain start\n"


def scripted(file):
    torch.jit.save(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1)), file)


def halved(file):
    torch.save({"a": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.*TorchScript archive:UserWarning")
@pytest.mark.parametrize(
    ("name", "write", "word"),
    [
        ("empty.pt", lambda f: f.write_bytes(b""), "cannot be read"),
        ("text.pt", lambda f: f.write_text("not a checkpoint"), "cannot be read"),
        ("halved.pt", halved, "cannot be read"),
        ("scripted.pt", scripted, "exported"),
        ("number.pt", lambda f: torch.save({"a": 1}, f), "dict"),
        ("tensor.pt", lambda f: torch.save(torch.zeros(1), f), "cannot be read"),
        ("text.safetensors", lambda f: f.write_text("not a checkpoint"), "cannot be read"),
    ],
)
def test_a_damaged_or_other_file_is_refused_in_one_line(tmp_path, name, write, word):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=word) as caught:
        yolo.read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_name_that_ultralytics_would_download_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"unknown weights file 'yolo11n\.pt'"):
        yolo.build(weights="yolo11n.pt")
