# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The sets: made the same everywhere, whole or not there, and every fault reported by file and line."""

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
for needed in ("PIL", "pooch", "skimage", "sklearn", "yaml"):
    pytest.importorskip(needed)

import yaml  # noqa: E402
from PIL import Image  # noqa: E402

from attn import datasets  # noqa: E402


@pytest.fixture(autouse=True)
def away(tmp_path, monkeypatch):
    """A working directory and a home outside the checkout."""
    monkeypatch.setenv("ATTN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ATTN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


# Where things are


def test_home_is_the_nearest_folder_with_our_data_else_the_variable_else_a_cache(tmp_path, monkeypatch):
    project = tmp_path / "project"
    (project / "data").mkdir(parents=True)
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert datasets.home() == tmp_path / "home"  # a folder called data is not enough
    (project / "data" / "digits.yaml").touch()
    assert datasets.home() == project
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATTN_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert datasets.home() == tmp_path / "cache" / "attn"


def test_cards():
    assert datasets.names() == ["bccd", "digits"]
    assert datasets.card("bccd")["classes"] == ["RBC", "WBC", "Platelets"]
    with pytest.raises(ValueError, match=r"unknown set 'digit'; did you mean 'digits'\?"):
        datasets.card("digit")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match=r"need yaml: pip install attn\[yolo\]"):
        datasets.card("digits")


def test_photographs_come_with_their_licences():
    images, names, licences = datasets.photographs(size=64, n=len(datasets.PHOTOGRAPHS))
    assert images.shape == (len(names), 64, 64, 3)
    assert images.dtype == np.uint8
    assert licences[names.index("coffee")] == "CC0, Rachel Michetti"
    with pytest.raises(ValueError, match="n must be from 1 to 11, not 12"):
        datasets.photographs(n=12)


# Digits


def test_the_knobs_on_the_card_are_the_defaults():
    assert datasets.Digits(**datasets.card("digits")["knobs"]) == datasets.Digits()


@pytest.mark.parametrize("knob", datasets.Digits.LIMITS)
def test_knobs_out_of_range_are_refused(knob):
    low, high = datasets.Digits.LIMITS[knob]
    for value in (low - 1, high + 1, float(low), True):
        with pytest.raises(ValueError, match=f"{knob} must be a whole number from {low} to {high}, not {value!r}"):
            datasets.make(**{knob: value})


def test_unknown_knobs_are_refused():
    with pytest.raises(ValueError, match=r"unknown knob of digits 'oclusion'; did you mean 'occlusion'"):
        datasets.make(oclusion=3)
    with pytest.raises(ValueError, match="unknown knob of bccd 'count'"):
        datasets.make("bccd", count=3)


def test_the_scenes_are_the_same_on_every_machine():
    total = hashlib.sha256()
    for split in (0, 1):
        for knobs in (datasets.Digits(), datasets.Digits(occlusion=5, rotation=180, scale=150)):
            for number in range(3):
                pixels, boxes = datasets._scene(split, number, knobs)
                total.update(pixels.tobytes() + repr(boxes).encode())
    assert total.hexdigest() == "10e05d983d527975fdbfda1af65409129c1bf91269d4ab26c5082ce7a16b62c8"


def test_difficulty():
    """What data/README.md fixes: sizes, counts, overlap; over the first 100 scenes of each half."""
    scenes = [[box for _c, *box in datasets._scene(s, n, datasets.Digits())[1]] for s in (0, 1) for n in range(100)]
    boxes = [box for scene in scenes for box in scene]
    sides = [max(right - left, bottom - top) for left, top, right, bottom in boxes]
    assert 12 <= min(sides) <= 14
    assert 70 <= max(sides) <= 80
    assert max(map(len, scenes)) == 8
    assert all(min(box) >= 0 and max(box) <= datasets.SIDE for box in boxes)
    shares = [max((datasets._covered(a, b) for b in scene if a is not b), default=0) for scene in scenes for a in scene]
    assert sum(share >= 5 for share in shares) >= 0.3 * len(boxes)
    assert max(shares) <= datasets.OVERLAP


def test_no_digit_and_no_region_is_in_both_halves():
    (train, left), (val, right) = datasets._sources(0), datasets._sources(1)
    shared = {d.tobytes() for c in train.values() for d in c} & {d.tobytes() for c in val.values() for d in c}
    assert not shared
    for name, a, b in zip(datasets.BACKGROUNDS, left, right, strict=True):
        assert a.shape[1] + b.shape[1] == datasets._photograph(name).shape[1]


def test_the_box_is_tight_and_the_turn_is_a_turn():
    source = np.zeros((8, 8), np.int64)
    source[1:7, 3:5] = 16  # a bar, 6 high and 2 wide
    upright, lying = (datasets._enlarge(source, 60, degrees, 100) for degrees in (0, 90))
    assert upright.shape == pytest.approx((60, 20), abs=10)
    assert lying.shape == upright.shape[::-1]
    assert (upright == upright[::-1]).mean() > 0.9
    for edge in (upright[0], upright[-1], upright[:, 0], upright[:, -1]):
        assert (edge >= 128).any()


def test_occlusion_hides_the_tenths_it_says():
    white = np.full((20, 40, 3), 255)
    for seed in range(8):
        scene = np.zeros_like(white)
        datasets._hide(scene, white, (0, 0, 40, 20), 3, datasets._Draw(seed))
        assert (scene == 255).mean() == 0.3


@pytest.mark.parametrize("end", [0, 1])
def test_the_ends_of_the_knobs(end):
    ends = {knob: limits[end] for knob, limits in datasets.Digits.LIMITS.items()}
    scenes = [datasets._scene(0, number, datasets.Digits(**ends)) for number in range(10)]
    assert max(len(boxes) for _pixels, boxes in scenes) <= ends["count"]
    sides = [max(right - left, bottom - top) for _p, boxes in scenes for _c, left, top, right, bottom in boxes]
    assert 12 * ends["scale"] // 100 <= min(sides)
    assert max(sides) <= 80 * ends["scale"] // 100


def test_occlusion_leaves_the_boxes_alone():
    plain, hidden = (datasets._scene(1, 2, datasets.Digits(occlusion=n)) for n in (0, 5))
    assert plain[1] == hidden[1]
    assert (plain[0] != hidden[0]).any()


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
    small, large = datasets.make(scenes=2), datasets.make(scenes=3)
    assert (small.name, large.name) == ("digits-scenes2", "digits-scenes3")
    for file in datasets._files(small):
        assert file.read_bytes() == (large / file.relative_to(small)).read_bytes()


# Whole or not there


def test_made_once_then_left_alone(capsys):
    folder = datasets.make(scenes=2)
    assert folder == datasets.home() / "data" / "digits-scenes2"
    (folder / "images/train/0000.npy").touch()  # the cache of ultralytics is no part of the set
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    capsys.readouterr()
    assert datasets.make(scenes=2) == folder
    assert before == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert capsys.readouterr().err == ""
    assert datasets.check(folder).ok


@pytest.mark.parametrize("harm", ["text", "pixels", "truncated", "missing", "mark"])
def test_a_changed_set_is_made_again(harm, capsys):
    folder = datasets.make(scenes=2)
    good = datasets.digest(scenes=2)
    image, label = folder / "images/val/0001.png", folder / "labels/val/0001.txt"
    if harm == "text":
        label.write_text("0 0.5 0.5 0.1 0.1\n")
    elif harm == "pixels":
        Image.new("RGB", (160, 160)).save(image)
    elif harm == "truncated":
        image.write_bytes(image.read_bytes()[:500])
    elif harm == "missing":
        label.unlink()
    else:
        (folder / "SHA256").unlink()
    assert datasets.make(scenes=2) == folder
    assert datasets._digest(folder) == good == datasets.digest(scenes=2)
    assert "it is made again" in capsys.readouterr().err


def test_a_copied_set_is_still_whole(capsys):
    folder = datasets.make(scenes=2)
    shutil.copytree(folder, folder.with_name("copy"), copy_function=shutil.copyfile)
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)
    capsys.readouterr()
    datasets.make(scenes=2)
    assert capsys.readouterr().err == ""


def test_a_variant_made_under_another_card_is_out_of_date(monkeypatch, capsys):
    datasets.make(scenes=2)
    facts = {**datasets.card("digits"), "sha256": "0" * 64}
    monkeypatch.setattr(datasets, "card", lambda name: facts)
    datasets.make(scenes=2)
    assert "was made by another version" in capsys.readouterr().err


def test_what_is_not_as_the_card_says_is_not_kept(monkeypatch):
    """Both the finished set and what it is made from are compared."""
    with monkeypatch.context() as patch:
        patch.setattr(datasets, "_draw_digits", lambda folder, *_: (folder / "images").mkdir())
        with pytest.raises(RuntimeError, match=r"the set digits made here has SHA-256 .*, but its card says"):
            datasets.make()
    facts = datasets.card("digits")
    facts["sources"]["coffee"] = "0" * 64
    monkeypatch.setattr(datasets, "card", lambda name: facts)
    with pytest.raises(RuntimeError, match=r"scikit-image .* ships another coffee"):
        datasets.make(scenes=2)
    assert not list((datasets.home() / "data").glob("*digits*/"))


def test_a_full_disk_is_one_line_and_leaves_nothing(monkeypatch):
    def save(self, path, **_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(OSError, match=r"the disk of .* is full: digits-scenes2 was not made, nothing is left of it$"):
        datasets.make(scenes=2)
    assert [p.name for p in (datasets.home() / "data").iterdir()] == [".digits-scenes2.lock"]


@pytest.mark.parametrize("moment", ["writing", "renaming"])
def test_kill_9_leaves_nothing_that_counts_and_the_next_call_clears_up(moment):
    """A process of its own is killed while it writes, and between the two renames of a set that is replaced."""
    folder = datasets.home() / "data" / "digits-scenes2"
    if moment == "renaming":
        datasets.make(scenes=2)
        (folder / "SHA256").unlink()
    at = {"writing": "datasets, '_row', 5", "renaming": "pathlib.Path, 'rename', 2"}[moment]
    code = f"""
import os, pathlib
from attn import datasets
where, name, count = {at}
real, calls = getattr(where, name), []
def deadly(*args):
    calls.append(args)
    if len(calls) == count:
        os.kill(os.getpid(), 9)
    return real(*args)
setattr(where, name, deadly)
datasets.make(scenes=2)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == -signal.SIGKILL
    assert not folder.exists()
    assert (folder.parent / ".digits-scenes2.half").is_dir()
    assert datasets._digest(datasets.make(scenes=2)) == datasets.digest(scenes=2)
    assert sorted(p.name for p in folder.parent.iterdir()) == [".digits-scenes2.lock", "digits-scenes2"]


def test_two_at_once_make_one_set():
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(datasets.make(scenes=4))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3
    assert datasets._digest(folders[0]) == datasets.digest(scenes=4)


@pytest.mark.proof
def test_the_default_set_is_the_one_on_the_card():
    """Made from nothing; make itself compares the digest."""
    folder, facts = datasets.make(), datasets.card("digits")
    for split in facts["images"]:
        labels = list((folder / "labels" / split).iterdir())
        assert len(labels) == facts["images"][split]
        assert sum(len(label.read_text().splitlines()) for label in labels) == facts["boxes"][split]


# The dataset file


def test_yaml_for_the_whole_set_and_for_a_part():
    whole = yaml.safe_load(datasets.yaml(scenes=4).read_text())
    folder = datasets.make(scenes=4)
    assert whole == {
        "path": str(folder),
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate("0123456789")),
    }
    file = datasets.yaml(train=3, val=2, scenes=4)
    assert file == datasets.home() / "_build" / "data" / "digits-scenes4-train3-val2.yaml"
    part = yaml.safe_load(file.read_text())
    listed = Path(part["train"]).read_text().split()
    assert listed == [str(folder / f"images/train/000{n}.png") for n in range(3)]
    assert datasets.check(file).images == 5
    before = file.stat().st_mtime_ns
    assert datasets.yaml(train=3, val=2, scenes=4).stat().st_mtime_ns == before


@pytest.mark.parametrize("n", [0, 5, 2.0, True])
def test_yaml_refuses_a_part_that_is_not_there(n):
    with pytest.raises(ValueError, match=f"train must be a whole number from 1 to 4, the images there, not {n!r}"):
        datasets.yaml(train=n, scenes=4)


# bccd, on an archive of three photographs

VOC = """<annotation>
  <size><width>40</width><height>20</height></size>
  <object>
    <name>{name}</name>
    <bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
  </object>
</annotation>
"""


def voc(folder, boxes):
    """A Pascal VOC folder with one photograph for each (class, box)."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for n, (name, box) in enumerate(boxes):
        Image.new("RGB", (40, 20), (n, 0, 0)).save(folder / f"JPEGImages/{n}.jpg")
        (folder / f"Annotations/{n}.xml").write_text(VOC.format(name=name, box=box))
    return folder


@pytest.fixture
def blood(tmp_path, monkeypatch):
    """A mirror with a bccd of three photographs, and cards that say so."""
    mirror = voc(tmp_path / "mirror/bccd", [("RBC", (4, 5, 12, 15)), ("WBC", (0, 0, 40, 20)), ("RBC", (7, 9, 7, 9))])
    for split, n in (("train", 0), ("val", 1), ("test", 2)):
        (mirror / f"ImageSets/Main/{split}.txt").write_text(f"{n}\n")
    (mirror / "LICENSE").write_text("MIT\n")
    cards = tmp_path / "cards"
    cards.mkdir()
    files = sorted(p for p in mirror.rglob("*") if p.is_file())
    (cards / "bccd.sha256").write_text(
        "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(mirror)}\n" for p in files)
    )
    facts = {"url": "http://127.0.0.1:9/none.zip", "classes": ["RBC", "WBC", "Platelets"], "sha256": "?"}
    (cards / "bccd.yaml").write_text(yaml.safe_dump(facts))
    monkeypatch.setattr(datasets, "_cards", lambda: cards)
    return mirror


def expect(mirror, **changed):
    """Changes the card; by default to the digest of what the mirror gives."""
    cards = datasets._cards()
    facts = yaml.safe_load((cards / "bccd.yaml").read_text())
    if not changed:
        os.environ["ATTN_DATA"] = str(mirror.parent)
        datasets._bring_bccd(cards / "trial", facts, False)
        changed = {"sha256": datasets._digest(cards / "trial")}
    (cards / "bccd.yaml").write_text(yaml.safe_dump({**facts, **changed}))


@pytest.fixture
def server():
    """Serves ``server.body`` under any path, and says that it has ``server.length`` bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(self.server.length or len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.length = None
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def pack(mirror, extra=()):
    """The archive as GitHub packs it: a top folder, BCCD/ in it, the licence beside that."""
    path = mirror.parent / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in mirror.rglob("*") if p.is_file()):
            inside = file.relative_to(mirror)
            archive.write(file, f"top/{inside}" if inside.name == "LICENSE" else f"top/BCCD/{inside}")
        for name in extra:
            archive.writestr(name, "bad")
    return path.read_bytes()


def nothing_left():
    return not list((datasets.home() / "data").glob("*bccd*/"))


def test_bccd_from_a_mirror(blood, monkeypatch, capsys):
    monkeypatch.setenv("ATTN_DATA", str(blood.parent))
    expect(blood)
    folder = datasets.fetch()
    assert (folder / "labels/train/0.txt").read_text() == "0 0.200000 0.500000 0.200000 0.500000\n"
    assert (folder / "labels/val/1.txt").read_text() == "1 0.500000 0.500000 1.000000 1.000000\n"
    assert (folder / "labels/test/2.txt").read_text() == ""
    assert "warning: dropped 1 without area: 2.xml" in capsys.readouterr().err
    assert (folder / "LICENSE").read_text() == "MIT\n"
    assert set(yaml.safe_load(datasets.yaml("bccd").read_text())) == {"path", "train", "val", "test", "names"}
    assert not (folder / "voc").exists()


def test_bccd_by_download_is_the_same(blood, server, monkeypatch):
    monkeypatch.setenv("ATTN_DATA", "")
    expect(blood)
    monkeypatch.setenv("ATTN_DATA", "")
    server.body = pack(blood)
    expect(blood, url=f"http://127.0.0.1:{server.server_port}/a.zip")
    folder = datasets.fetch(progress=False)
    assert datasets._digest(folder) == datasets.card("bccd")["sha256"]
    assert not (folder / "download").exists()


def test_a_wrong_checksum_names_the_file(blood, monkeypatch):
    monkeypatch.setenv("ATTN_DATA", str(blood.parent))
    (blood / "Annotations/1.xml").write_text("other")
    (blood / "JPEGImages/2.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"Annotations/1.xml has SHA-256 \w{64}, not \w{64}; JPEGImages/2.jpg is missing$"
    ):
        datasets.fetch()
    assert nothing_left()


@pytest.mark.parametrize("told", [True, False])
def test_a_download_cut_off_half_way_leaves_nothing(blood, server, told):
    """Whether the server said how much would come, or the connection closed as if that were all."""
    whole = pack(blood)
    server.body, server.length = whole[: len(whole) // 2], len(whole) if told else None
    expect(blood, url=f"http://127.0.0.1:{server.server_port}/a.zip")
    with pytest.raises(OSError, match="failed: ChunkedEncodingError" if told else "no whole zip file"):
        datasets.fetch(progress=False)
    assert nothing_left()


@pytest.mark.parametrize("name", ["../outside.txt", "top/../../outside.txt", "/outside.txt", "C:\\outside.txt"])
def test_an_archive_that_points_outside_is_refused(blood, server, name, tmp_path):
    server.body = pack(blood, [name])
    expect(blood, url=f"http://127.0.0.1:{server.server_port}/a.zip")
    with pytest.raises(ValueError, match="points outside its folder"):
        datasets.fetch(progress=False)
    assert nothing_left()
    assert not list(tmp_path.rglob("outside.txt"))


def test_a_mirror_without_the_set(blood, monkeypatch):
    monkeypatch.setenv("ATTN_DATA", str(blood))
    with pytest.raises(FileNotFoundError, match=r"ATTN_DATA is .*, which has no folder bccd"):
        datasets.fetch()


def test_what_is_made_is_not_fetched():
    with pytest.raises(ValueError, match="digits is made, not fetched: attn data make digits"):
        datasets.fetch("digits")


@pytest.mark.skipif(not os.environ.get("ATTN_DATA"), reason="no mirror: ATTN_DATA is not set")
def test_the_real_bccd(monkeypatch, capsys):
    monkeypatch.setenv("ATTN_DATA", MIRROR)
    folder, facts = datasets.fetch(), datasets.card("bccd")
    for split in facts["images"]:
        labels = list((folder / "labels" / split).iterdir())
        assert len(labels) == facts["images"][split]
        assert sum(len(label.read_text().splitlines()) for label in labels) == facts["boxes"][split]
    assert "dropped 2 without area: BloodImage_00338.xml, BloodImage_00343.xml" in capsys.readouterr().err


MIRROR = os.environ.get("ATTN_DATA", "")  # read before the fixture takes it away


# A set of your own


@pytest.fixture
def own(tmp_path):
    """A YOLO folder with one photograph, its label and a dataset file."""
    folder = tmp_path / "own"
    for part in ("images/train", "labels/train"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(folder / "images/train/a.png")
    (folder / "labels/train/a.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    (folder / "own.yaml").write_text("train: images/train\nval: images/train\nnames: [cat, dog]\n")
    return folder


def found(path):
    """What check says, as (file name, line, severity, text)."""
    return [(f.file.name, f.line, f.severity, f.what) for f in datasets.check(path).faults]


def test_a_good_set_has_no_faults(own):
    for path in (own, own / "own.yaml"):
        report = datasets.check(path)
        assert report.ok
        assert str(report) == f"{path}: YOLO, 1 images, 1 boxes, 0 errors, 0 notes"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("0 0.5 0.5 0.2", "4 columns, not 5 (class x y width height)"),
        ("0 0.5 0.5 0.2 0.2 0.9", "6 columns, not 5 (class x y width height)"),
        ("0 1.5 0.5 0.2 0.2", "x 1.5 lies outside 0 to 1"),
        ("0 0.5 0.5 0.2 -0.2", "height -0.2 lies outside 0 to 1"),
        ("2 0.5 0.5 0.2 0.2", "class 2 is too high: there are 2, the last is 1"),
        ("0.5 0.5 0.5 0.2 0.2", "class 0.5 is not a whole number from 0"),
        ("-1 0.5 0.5 0.2 0.2", "class -1 is not a whole number from 0"),
        ("cat 0.5 0.5 0.2 0.2", "'cat' is not a number"),
        ("0 0.5 nan 0.2 0.2", "'nan' is not a number"),
        ("0 0.5 0.5 0 0.2", "box without area"),
    ],
)
def test_a_bad_row_is_found_by_file_and_line(own, row, what):
    label = own / "labels/train/a.txt"
    label.write_text(f"1 0.5 0.5 0.2 0.2\n\n{row}\n")
    assert found(own) == [("a.txt", 3, "error", what)]
    assert str(datasets.check(own)).startswith(f"{label}:3: error: {what}\n")


def test_images_and_labels_that_do_not_pair(own):
    images, labels = own / "images/train", own / "labels/train"
    for name in ("b", "c"):
        Image.new("RGB", (40, 20)).save(images / f"{name}.png")
    (labels / "b.txt").write_text("\n")
    (labels / "d.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n" * 2)
    assert found(own) == [
        ("a.txt", 2, "note", "same box as line 1"),
        ("b.txt", None, "note", "empty: its image counts as background"),
        ("c.txt", None, "note", "no label file: c.png counts as background"),
        ("d.txt", None, "error", "label without an image"),
    ]
    shutil.copy(images / "a.png", images / "a.jpg")
    assert ("a.png", None, "error", "same name as a.jpg: both would have one label file") in found(own)


def test_broken_files(own):
    images = own / "images/train"
    Image.effect_noise((64, 64), 50).save(images / "a.jpg")
    (images / "a.png").unlink()
    (images / "a.jpg").write_bytes((images / "a.jpg").read_bytes()[:-300])
    (images / "b.png").write_text("no picture")
    (own / "labels/train/b.txt").write_bytes(b"\xff\xfe")
    faults = found(own)
    assert [f[:3] for f in faults] == [("a.jpg", None, "error"), ("b.png", None, "error"), ("b.txt", None, "error")]
    assert "truncated" in faults[0][3]
    assert faults[1][3] == "no image that can be read"
    assert faults[2][3].startswith("no text (invalid start byte")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("train: [\n", 2, "no YAML: "),
        ("train: images/train\nval: images/train\n", None, "no entry names"),
        ("train: images/train\nnames: [cat, dog]\n", None, "no entry val"),
        ("train: images/train\nval: nowhere\nnames: [cat, dog]\n", None, "val: .*nowhere does not exist"),
        ("train: images/train\nval: images/train\nnames: {1: cat, 2: dog}\n", None, "must run from 0 to 1"),
        ("train: images/train\nval: images/train\nnames: [cat, dog]\nnc: 3\n", None, "nc is 3, but 2 classes"),
    ],
)
def test_a_bad_dataset_file(own, text, line, what):
    (own / "own.yaml").write_text(text)
    report = datasets.check(own / "own.yaml")
    (fault,) = report.faults
    assert not report.ok
    assert (fault.file, fault.line) == (own / "own.yaml", line)
    with pytest.raises(AssertionError, match=what):
        raise AssertionError(fault.what)


def test_a_list_of_images_names_the_line(own):
    (own / "list.txt").write_text("images/train/a.png\nimages/train/z.png\n")
    (own / "own.yaml").write_text("train: list.txt\nval: list.txt\nnames: [cat, dog]\n")
    assert ("list.txt", 2, "error", "no image images/train/z.png") in found(own / "own.yaml")
    assert datasets.check(own / "own.yaml").images == 1


def test_split_folders_around_images(own, tmp_path):
    other = tmp_path / "other"
    for part in ("images", "labels"):
        shutil.copytree(own / part / "train", other / "train" / part)
    report = datasets.check(other)
    assert (report.images, report.boxes) == (1, 1)
    assert [f.severity for f in report.faults] == ["note"]  # no .yaml names the classes


def test_what_is_no_set(tmp_path):
    (tmp_path / "a.txt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        datasets.check(tmp_path / "none")
    with pytest.raises(ValueError, match=r"neither a folder nor a \.yaml file"):
        datasets.check(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="neither images/ and labels/"):
        datasets.check(tmp_path / "empty")


def test_faults_of_pascal_voc(tmp_path):
    boxes = [("cat", (1, 2, 3, 4)), ("cat", (5, 5, 5, 9)), ("", (1, 2, 3, 4)), ("dog", (1, 2, 41, 4)), ("dog", "wxyz")]
    folder = voc(tmp_path / "voc", boxes)
    (folder / "Annotations/9.xml").write_text(VOC.format(name="cat", box=(1, 2, 3, 4)))
    (folder / "ImageSets/Main/train.txt").write_text("0\n7\n")
    Image.new("RGB", (9, 9)).save(folder / "JPEGImages/5.jpg")
    (folder / "Annotations/5.xml").write_text("<annotation>\n<object>\n")
    Image.new("RGB", (9, 9)).save(folder / "JPEGImages/6.jpg")
    Image.new("RGB", (9, 9)).save(folder / "JPEGImages/0.jpg")
    errors = [fault for fault in found(folder) if fault[2] == "error"]
    assert errors == [
        ("0.xml", None, "error", "says 40 x 20 pixels, but the image has 9 x 9"),
        ("1.xml", 3, "error", "box without area"),
        ("2.xml", 3, "error", "an object without a name"),
        ("3.xml", 3, "error", "dog: box 1 2 41 4 lies outside 0 0 40 20"),
        ("4.xml", 3, "error", "dog: a box needs four numbers, not 'w' 'x' 'y' 'z'"),
        ("5.xml", 3, "error", "no XML (no element found: line 3, column 0)"),
        ("9.xml", None, "error", "label without an image"),
        ("train.txt", 2, "error", "no image 7"),
    ]
    assert ("6.xml", None, "note", "no annotation: 6.jpg counts as background") in found(folder)


def test_convert_writes_yolo_and_touches_nothing(tmp_path, capsys):
    boxes = [("dog", (4, 5, 12, 15)), ("cat", (0, 0, 40, 20)), ("cat", (5, 5, 5, 9)), *[("cat", (1, 2, 3, 4))] * 3]
    folder = voc(tmp_path / "voc", boxes)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    file = datasets.convert(folder, tmp_path / "out")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert yaml.safe_load(file.read_text())["names"] == {0: "cat", 1: "dog"}
    assert (tmp_path / "out/labels/train/0.txt").read_text() == "1 0.200000 0.500000 0.200000 0.500000\n"
    assert [p.name for p in (tmp_path / "out/images/val").iterdir()] == ["4.jpg"]
    assert "2.xml:3: error: box without area" in capsys.readouterr().err
    assert datasets.check(file).ok
    (folder / "ImageSets/Main/train.txt").write_text("0\n1\n")
    (folder / "ImageSets/Main/val.txt").write_text("3\n")
    datasets.convert(folder, tmp_path / "listed")
    assert [p.name for p in (tmp_path / "listed/images/val").iterdir()] == ["3.jpg"]
    assert "4.jpg: note: in none of ImageSets/Main's lists" in capsys.readouterr().err
    with pytest.raises(FileExistsError, match="out is there already"):
        datasets.convert(folder, tmp_path / "out")


def test_convert_refuses_what_has_errors(tmp_path, own):
    folder = voc(tmp_path / "voc", [("cat", (1, 2, 3, 4)), ("cat", (1, 2, 3, 99))])
    (folder / "JPEGImages/0.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"not converted: .*0.jpg: error: no image .* \(and 1 more: attn data check"):
        datasets.convert(folder, tmp_path / "out")
    with pytest.raises(ValueError, match="is no Pascal VOC folder"):
        datasets.convert(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()
