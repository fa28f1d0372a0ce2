# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""One whole life of a model in processes of their own, with the network closed: what is asked, written and kept."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

pytest.importorskip("attn.yolo", exc_type=ImportError)

from PIL import Image

from attn.yolo.home import keep_at_home

CLOSED = """
import os, socket, sys
written, asked = set(), []

def watch(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.add(os.path.realpath(os.fsdecode(args[0])))
    elif event in ("os.mkdir", "os.symlink"):
        written.add(os.path.realpath(os.fsdecode(args[0])))
    elif event == "os.rename":
        written.add(os.path.realpath(os.fsdecode(args[1])))
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        asked.append(repr(args[1:] or args))
        raise OSError("the network is closed")
    elif event == "subprocess.Popen" and any("pip" in str(a) for a in args[1]):
        asked.append(repr(args[1]))

sys.addaudithook(watch)
"""

TRAIN = """
import torch
from attn import yolo

torch.manual_seed(0)
base = yolo.build("yolov5n.yaml", nc=2)
y = yolo.build("yolov5n.yaml", "se", "after:C3[1]", weights=base)
y.model.model[5].alpha.data.fill_(0.5)
before = {k: v.clone() for k, v in y.model.state_dict().items()}
same = []

def started(trainer):
    now = trainer.model.state_dict()
    same.append(now.keys() == before.keys() and all(torch.equal(now[k], before[k]) for k in now))

y.add_callback("on_train_start", started)
quick = {"epochs": 1, "imgsz": 64, "batch": 4, "device": "cpu", "workers": 0, "plots": False}
y.train(data="data/tiny/tiny.yaml", project=os.path.abspath("runs"), name="one", **quick)
import json
print("RESULT", json.dumps({"same": same, "asked": asked, "written": sorted(written)}))
"""

REOPEN = """
from ultralytics import YOLO

y = YOLO("runs/one/weights/best.pt")
layer = y.model.model[5]
y.predict("data/tiny/images/0.png", imgsz=64, device="cpu", verbose=False)
import json
kept = {"class": type(layer).__qualname__, "alpha": float(layer.alpha), "imported": "attn.yolo" in sys.modules}
print("RESULT", json.dumps(kept))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with eight pictures of squares, a home that is empty, and a user's own settings."""
    root = tmp_path_factory.mktemp("life").resolve()
    for folder in ("work/data/tiny/images", "work/data/tiny/labels", "home", "temp", "user/Ultralytics"):
        (root / folder).mkdir(parents=True)
    (root / "user/Ultralytics/settings.json").write_text('{"mine": true}')
    rng = np.random.default_rng(0)
    data = root / "work/data"
    (data / "digits.yaml").write_text("")  # the mark of a home
    for i in range(8):
        picture = rng.integers(0, 100, (64, 64, 3), dtype=np.uint8)
        picture[16:48, 16:48] = 255
        Image.fromarray(picture).save(data / f"tiny/images/{i}.png")
        (data / f"tiny/labels/{i}.txt").write_text(f"{i % 2} 0.5 0.5 0.5 0.5\n")
    names = "names: {0: even, 1: odd}"
    (data / "tiny/tiny.yaml").write_text(f"path: {data / 'tiny'}\ntrain: images\nval: images\n{names}\n")
    return root


def python(place, code, user="user"):
    ours = ("XDG_", "YOLO_", "ATTN_", "MPL", "TORCH", "ULTRALYTICS")  # importing attn.yolo set some in this process
    env = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    env |= {
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "temp"),
        "YOLO_CONFIG_DIR": str(place / user),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }
    run = [sys.executable, "-c", CLOSED + textwrap.dedent(code)]
    done = subprocess.run(run, cwd=place / "work", env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


@pytest.fixture(scope="module")
def trained(place):
    return python(place, TRAIN)


def test_nothing_is_asked_of_the_network(trained):
    assert trained["asked"] == []


def test_nothing_is_written_outside_build_data_and_the_run_folder(place, trained):
    mine = [str(place / "work" / folder) for folder in ("_build", "data", "runs")]
    # Python's tempfile tries a folder out by a file that it takes away again.
    outside = [f for f in trained["written"] if not f.startswith((*mine, str(place / "temp"), "/dev/"))]
    assert outside == []
    assert list((place / "home").rglob("*")) == []
    assert list((place / "temp").rglob("*")) == []
    assert sorted(p.name for p in (place / "work").iterdir()) == ["_build", "data", "runs"]
    assert (place / "work/runs/one/weights/best.pt").is_file()


def test_the_users_settings_are_left_alone(place, trained):
    assert [p.name for p in (place / "user/Ultralytics").iterdir()] == ["settings.json"]
    assert (place / "user/Ultralytics/settings.json").read_text() == '{"mine": true}'
    ours = json.loads((place / "work/_build/ultralytics/Ultralytics/settings.json").read_text())
    assert ours["sync"] is False


def test_train_starts_from_the_weights_that_build_gave(trained):
    assert trained["same"] == [True]


def test_the_checkpoint_opens_where_only_ultralytics_was_imported(place, trained):
    kept = python(place, REOPEN, user="other")
    assert kept["class"] == "Attend"
    assert kept["imported"]
    assert kept["alpha"] == pytest.approx(0.5, abs=0.05)


def test_without_ultralytics_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ImportError, match=r"pip install attn\[yolo\]"):
        keep_at_home()
