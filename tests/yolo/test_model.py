# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Where rows go, what is renumbered, what is refused; and that remove takes back exactly what insert did."""

import copy
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

from ultralytics.utils import ROOT  # noqa: E402

SE = [-1, 1, "nn.Attend", ["se", "ch", "f"]]
V5N = yolo.load("yolov5n.yaml")
KINDS = [0, 9, 23, "before:SPPF", "after:C3", "after:C3[1]", "neck", [3, "after:SPPF", "neck"]]
INSIDE = ["inside:C3", "inside:C3[1]", "inside:SPPF", "inside:C3.m", "inside:C3[0].m"]
REPLACE = ["replace:C3.m.cv2", "replace:C3[1].m.cv1", "replace:C3.cv3"]
# In the classic dialect, written for this test: no scales, anchors, and numbers that count backwards.
CLASSIC = """\
nc: 4
depth_multiple: 0.33
width_multiple: 0.5
anchors:
  - [8,9, 14,22, 30,18]
  - [40,36, 52,90, 110,70]

backbone:
  [[-1, 1, Conv, [32, 3, 2]],  # 0
   [-1, 1, Conv, [64, 3, 2]],
   [-2, 1, Conv, [64, 3, 2]],
   [[-1, -2], 1, Concat, [1]],
   [-1, 3, C3, [128]],  # 4
   [-1, 1, Conv, [256, 3, 2]],
   [-1, 1, SPPF, [256, 5]],
  ]

head:
  [[-1, 1, nn.Upsample, [None, 2, 'nearest']],
   [[-1, 4], 1, Concat, [1]],
   [-1, 1, C3, [128, False]],
   [[9, 6], 1, Detect, [nc, anchors]],
  ]
"""


def rows(model):
    return model["backbone"] + model["head"]


def test_the_articles_example():
    """SE as layer 9 of yolov5s: the articles' backbone row, and their three changed rows of the head."""
    after = yolo.insert("yolov5s.yaml", "se", 9)
    assert after["scale"] == "s"
    assert after["backbone"][9] == SE
    assert [row[0] for row in after["head"] if row[2] == "Concat"] == [[-1, 6], [-1, 4], [-1, 15], [-1, 11]]
    assert after["head"][-1] == [[18, 21, 24], 1, "Detect", ["nc"]]
    changed = [line for line in yolo.diff(yolo.load("yolov5s.yaml"), after).splitlines() if line[0] in "+-"][2:]
    assert changed == [
        "+  - [-1, 1, nn.Attend, [se, ch, f]]",
        "-  - [[-1, 14], 1, Concat, [1]]",
        "+  - [[-1, 15], 1, Concat, [1]]",
        "-  - [[-1, 10], 1, Concat, [1]]",
        "+  - [[-1, 11], 1, Concat, [1]]",
        "-  - [[17, 20, 23], 1, Detect, [nc]]",
        "+  - [[18, 21, 24], 1, Detect, [nc]]",
    ]


def test_remove_is_the_inverse_at_every_place():
    for at in [
        *range(0, 24, 5),
        *yolo.places(V5N)[24::9],
        *KINDS,
        *INSIDE,
        *REPLACE,
        [*INSIDE[1:3], "replace:C3.m.cv2", 9],
    ]:
        after = yolo.insert(V5N, "se", at)
        assert after != V5N
        assert yolo.remove(after) == V5N, at


def test_remove_is_the_inverse_of_several_insertions():
    after = yolo.insert(yolo.insert(V5N, "se", 9), "mask-8", "neck", start="identity")
    after = yolo.insert(after, "se", [9, 10, "after:C3"])
    assert sum(row[2] == "nn.Attend" for row in rows(after)) == 1 + 3 + 2 + 4
    after = yolo.insert(yolo.insert(after, "eca", "inside:C3"), "se", ["replace:C3[2].m.cv2", "inside:C3.m"])
    assert yolo.remove(after) == V5N
    assert yolo.remove(V5N) == V5N


def test_the_model_that_was_given_is_not_changed():
    given = copy.deepcopy(V5N)
    yolo.remove(yolo.insert(given, "se", "after:C3"))
    assert given == V5N


def test_an_index_changes_the_chain_and_after_changes_every_reader():
    # Layer 4 of yolov5 is read by layer 5 through the chain and by the Concat at 16 by number.
    chain, every = yolo.insert(V5N, "se", 5), yolo.insert(V5N, "se", "after:C3[1]")
    assert rows(chain)[5] == rows(every)[5] == SE
    assert rows(chain)[17][0] == [-1, 4]
    assert rows(every)[17][0] == [-1, 5]
    assert rows(chain)[6][0] == rows(every)[6][0] == -1


def test_before_is_the_index_of_that_layer():
    assert yolo.insert(V5N, "se", "before:SPPF") == yolo.insert(V5N, "se", 9) == yolo.insert(V5N, "se", "9")
    assert yolo.insert(V5N, "se", "before:Concat[2]") == yolo.insert(V5N, "se", 19)


def test_after_a_name_is_every_such_block_of_the_backbone():
    one_by_one = [f"after:C3[{i}]" for i in range(4)]
    assert yolo.insert(V5N, "se", "after:C3") == yolo.insert(V5N, "se", one_by_one)
    assert [i for i, row in enumerate(rows(yolo.insert(V5N, "se", "after:C3"))) if row == SE] == [3, 6, 9, 12]


def test_the_neck_is_each_input_of_the_last_layer():
    after = yolo.insert(V5N, "se", "neck")
    assert after["head"][-4:] == [[j, *SE[1:]] for j in (17, 20, 23)] + [[[24, 25, 26], 1, "Detect", ["nc"]]]
    assert after["backbone"] == V5N["backbone"]


def test_a_place_behind_the_backbone_belongs_to_the_backbone():
    for at in (10, "after:SPPF"):
        after = yolo.insert(V5N, "se", at)
        assert (len(after["backbone"]), len(after["head"])) == (11, 15)


def test_what_is_inside_stands_in_the_blocks_own_row():
    after = yolo.insert(V5N, "se", ["inside:C3[1]", "inside:C3.m"], start="identity", reduction=8)
    se = ["se", "identity", {"reduction": 8}]
    assert [len(after[part]) for part in ("backbone", "head")] == [10, 15]
    assert after["backbone"][2] == [-1, 3, "C3+", [128, {"inside.m": se}]]
    assert after["backbone"][4] == [-1, 6, "C3+", [256, {"inside": se, "inside.m": se}]]
    assert after["head"] == V5N["head"]
    # The places are those of the block still, and a second mechanism finds its own.
    assert [row[2] for row in yolo.insert(after, "se", "after:C3[1]")["backbone"]].count("C3+") == 4
    again = yolo.insert(after, "se", "replace:C3[1].m.cv2")
    assert again["backbone"][4][3][1] == {"inside": se, "inside.m": se, "replace.m.cv2": ["se"]}


def test_every_model_that_ultralytics_ships_is_supported_or_refused_by_name():
    supported = 0
    for path in sorted((ROOT / "cfg" / "models").rglob("*.yaml")):
        scale = "n" if re.search(r"^  n: ", path.read_text("utf-8"), re.MULTILINE) else ""
        name = re.sub(r"^(yolov?\d+)", rf"\g<1>{scale}", path.name)
        if re.search("-cls|-sem|-depth|-world|yoloe", name):
            with pytest.raises(ValueError, match=rf"{re.escape(name)} ends in \w+, which is not"):
                yolo.load(name)
        else:
            supported += bool(yolo.load(name))
    assert supported >= 49


def test_the_classic_dialect_stays_itself(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(CLASSIC)
    before = yolo.load(file)
    assert yolo.places(before)[:7] == [0, 1, 3, 4, 5, 6, 7]  # not before layer 2, which reads layer 0
    after = yolo.insert(before, "se", 5)
    assert after["backbone"][5] == [-1, 1, "SE", ["ch[f]"]]
    assert [row[0] for row in rows(after)] == [-1, -1, -2, [-1, -2], -1, -1, -1, -1, -1, [-1, 4], -1, [10, 7]]
    assert yolo.insert(before, "se", 2 - 1)["backbone"][3][0] == -3  # it reads layer 0 still
    literal = yolo.insert(before, "se", "before:SPPF", channels=256)
    assert literal["backbone"][6] == [-1, 1, "SE", [256]]
    own = yolo.insert(before, "se", "neck", start="identity", reduction=4)
    assert own["head"][3] == [9, 1, "nn.Attend", ["se", "ch", "f", "identity", {"reduction": 4}]]
    for changed in (after, literal, own):
        assert yolo.remove(changed) == before
        file.write_text(yolo.dump(changed))
        assert yolo.load(file) == changed
    assert changed["anchors"] == [[8, 9, 14, 22, 30, 18], [40, 36, 52, 90, 110, 70]]
    with pytest.raises(ValueError, match="'inside:C3'"):
        yolo.insert(before, "se", "inside:C3")
    with pytest.raises(ValueError, match="reduction must be at least 1"):
        yolo.insert(before, "se", 5, reduction=0)


# A checkout's own parser and network, with our one line in its models/yolo.py.
BUILD = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
import models.yolo as theirs
import attn, attn.yolo
theirs.SE = attn.SE
for file in sys.argv[2:]:
    torch.manual_seed(0)
    network = theirs.Model(file, ch=3, nc=2).eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, 128, 128))
    found = [m for m in network.model if isinstance(m, (attn.SE, attn.yolo.Attend))]
    print("WIDTH", *[getattr(m, "mechanism", m).down.in_channels for m in found])
"""


def checkout(name, *files):
    root = os.environ.get(name)
    if not root:
        pytest.skip(f"{name} names no checkout of the repository")
    return [Path(root, file) for file in files]


@pytest.mark.parametrize(
    ("name", "file", "at", "width"),
    [
        ("ATTN_YOLOV5", "models/yolov5s.yaml", 9, 512),
        ("ATTN_YOLOV5", "models/hub/yolov5n6.yaml", "before:SPPF", 256),
        ("ATTN_YOLOV7", "cfg/training/yolov7-tiny.yaml", 28, 1024),
    ],
)
def test_a_checkout_builds_what_insert_writes(tmp_path, name, file, at, width):
    root, file = checkout(name, "", file)
    stock, written = yolo.load(file), []
    for i, start in enumerate(["plain", "identity"]):
        changed = yolo.insert(stock, "se", at, start=start)
        assert yolo.remove(changed) == stock
        written.append(tmp_path / f"{i}.yaml")
        written[i].write_text(yolo.dump(changed))
    run = [sys.executable, "-c", BUILD, str(root), *map(str, written)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    if missing := re.search(r"^ModuleNotFoundError: (.*)", done.stderr, re.MULTILINE):
        pytest.skip(f"the repository needs more than is installed: {missing[1]}")
    assert [line for line in done.stdout.splitlines() if line.startswith("WIDTH")] == [f"WIDTH {width}"] * 2, (
        done.stderr
    )


def test_the_articles_file_from_the_stock_file():
    (file,) = checkout("ATTN_YOLOV5", "models/yolov5s.yaml")
    stock = yolo.load(file)
    after = yolo.insert(stock, "se", 9, channels=1024)
    changed = [line for line in yolo.diff(stock, after).splitlines() if line[0] in "+-"][2:]
    assert changed == [
        "+  - [-1, 1, SE, [1024]]",
        "-  - [[-1, 14], 1, Concat, [1]]",
        "+  - [[-1, 15], 1, Concat, [1]]",
        "-  - [[-1, 10], 1, Concat, [1]]",
        "+  - [[-1, 11], 1, Concat, [1]]",
        "-  - [[17, 20, 23], 1, Detect, [nc, anchors]]",
        "+  - [[18, 21, 24], 1, Detect, [nc, anchors]]",
    ]


def test_the_places_of_a_list_count_in_the_given_model_in_any_order():
    # Two at the same gap: behind layer 8 comes first, for every reader, then the chain in front of layer 9.
    several = ["after:C3[3]", 9, 3, "neck"]
    results = [
        yolo.insert(V5N, "se", list(order)) for order in itertools.islice(itertools.permutations(several), 0, 24, 5)
    ]
    assert all(result == results[0] for result in results)
    assert [i for i, row in enumerate(rows(results[0])) if row[2] == "nn.Attend"] == [3, 10, 11, 27, 28, 29]


def test_relative_numbers_stay_relative_and_the_tensor_stays_the_same():
    """A -2 that an insertion moves apart becomes a -3 that reads the same layer (v3 and RT-DETR have such rows)."""
    small = {
        "nc": 2,
        "backbone": [[-1, 1, "Conv", [16, 3, 2]], [-1, 1, "Conv", [16, 3, 1]], [-2, 1, "Conv", [16, 3, 1]]],
        "head": [[[-1, -2], 1, "Concat", [1]], [[3, -1], 1, "Detect", ["nc"]]],
    }
    after = yolo.insert(small, "se", 1)
    assert [row[0] for row in rows(after)] == [-1, -1, -1, -3, [-1, -2], [4, -1]]
    for at in yolo.places(small):
        assert yolo.remove(yolo.insert(small, "se", at)) == small, at


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, ["se", "ch", "f"]),
        ({"start": "identity"}, ["se", "ch", "f", "identity"]),
        ({"reduction": 8}, ["se", "ch", "f", "plain", {"reduction": 8}]),
        ({"start": "identity", "bias": False}, ["se", "ch", "f", "identity", {"bias": False}]),
    ],
)
def test_a_row_holds_no_more_than_was_asked_for(options, arguments):
    assert yolo.insert(V5N, "se", 9, **options)["backbone"][9][3] == arguments


@pytest.mark.parametrize("scale", "nsmlx")
def test_a_written_file_builds_its_scale_under_any_name(tmp_path, scale):
    after = yolo.insert(f"yolov5{scale}.yaml", "se", "neck", reduction=8)
    file = tmp_path / "x.yaml"
    file.write_text(yolo.dump(after))
    again = yolo.load(file)
    assert again["scale"] == scale
    assert rows(again) == rows(after)
    assert again["scales"] == {scale: after["scales"][scale]}


def test_the_dump_counts_the_layers():
    lines = [line for line in yolo.dump(V5N).splitlines() if line.startswith("  - ")]
    assert [int(line.rpartition("# ")[2]) for line in lines] == list(range(25))
    assert yaml.safe_load(yolo.dump(V5N, numbers=False))["head"] == V5N["head"]


def test_what_was_put_in_is_told():
    assert yolo.describe(yolo.insert(V5N, "se", "after:C3[1]")) == [
        "layer 5: se, reads 4 (C3), read by 6 (Conv) and 17 (Concat), start plain"
    ]
    inside = yolo.insert(V5N, "se", ["inside:C3[1]", "inside:SPPF", "inside:C3[0].m"], start="identity")
    assert yolo.describe(yolo.insert(inside, "eca", "replace:C3[1].m.cv2")) == [
        "layer 2 (C3): se on each branch of its m, start identity",
        "layer 4 (C3): se on its output, start identity",
        "layer 4 (C3): eca instead of its m.cv2, start plain",
        "layer 9 (SPPF): se on its output, start identity",
    ]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("yolov5n.yaml", "biforner", 9), ["'biforner'", "'biformer'"]),
        (("yolov5n.yaml", "SE", 9), ["'SE'", "'se'"]),
        (("yolov5n.yaml", "se", 24), ["24", "Detect", "by number"]),
        (("yolov5n.yaml", "se", 25), ["25", "0 to 23"]),
        (("yolov5n.yaml", "se", -1), ["-1", "0 to 23"]),
        (("yolov5n.yaml", "se", 9.0), ["9.0", "0 to 23"]),
        (("yolov5n.yaml", "se", True), ["True", "0 to 23"]),
        (("yolov5n.yaml", "se", None), ["None", "0 to 23"]),
        (("yolov5n.yaml", "se", []), ["[]"]),
        (("yolov5n.yaml", "se", "before:SPP"), ["'before:SPP'", "'before:SPPF'"]),
        (("yolov5n.yaml", "se", "before:C3"), ["'before:C3'", "before:C3[0] to [7]"]),
        (("yolov5n.yaml", "se", "after:C2f"), ["'after:C2f'", "'after:C3'", "neck"]),
        (("yolov5n.yaml", "se", "after:C3[4]"), ["'after:C3[4]'", "after:C3[0] to [3]"]),
        (("yolov5n.yaml", "se", "after:Concat"), ["'after:Concat'", "after:C3"]),
        (("yolov5n.yaml", "se", "inside:C2f"), ["'inside:C2f'", "'inside:C3'", "inside:C3[0] to [3]"]),
        (("yolov5n.yaml", "se", "inside:C3[4]"), ["'inside:C3[4]'", "inside:C3[0] to [3]"]),
        (("yolov5n.yaml", "se", "inside:C3.cv1"), ["'inside:C3.cv1'", "inside:C3.m"]),
        (("yolov5n.yaml", "se", "inside:SPPF.m"), ["'inside:SPPF.m'", "inside:SPPF"]),
        (("yolov5n.yaml", "se", "replace:C3.cv2"), ["'replace:C3.cv2'", "channels"]),
        (("yolov5n.yaml", "se", "replace:Conv[3]"), ["'replace:Conv[3]'", "channels"]),
        (("yolov5n.yaml", "se", "replace:C3.m.cv2", "identity"), ["identity", "at replace", "'plain'"]),
        (("yolov5n.yaml", "se", ["inside:C3", "inside:C3[1]"]), ["'inside:C3[1]'", "already"]),
        ((yolo.insert(V5N, "se", "inside:C3"), "se", "inside:C3[1]"), ["'inside:C3[1]'", "already"]),
        (("yolov5n.yaml", "se", "inside:C3", "plain", 128), ["128", "rows"]),
        (("yolov5n.yaml", "se", 9, "identity", 1024), ["1024", "start"]),
        (("yolov5n.yaml", "mask-8", 9, "plain", 1024), ["1024", "mask-8"]),
        (("yolov5n.yaml", "se", 9, "plain", 512), ["layer 9", "512", "256"]),
        (("yolov5n.yaml", "se", 9, "plain", "wide"), ["'wide'"]),
        (("rtdetr-resnet50.yaml", "se", "inside:ResNetLayer"), ["'inside:ResNetLayer'", "after:ResNetLayer"]),
        (("yolov9e.yaml", "se", 12), ["yolov9e.yaml", "12", "CBLinear"]),
        (("yolov5n.yaml", "se", "nek"), ["'nek'", "'neck'"]),
        (("yolov5n.yaml", "se", [9, "before:SPPF"]), ["'before:SPPF'", "already"]),
        (("yolov5n.yaml", "se", ["after:C3", "after:C3[0]"]), ["'after:C3[0]'", "already"]),
        (("yolov5n.yaml", "se", 9, "identiti"), ["'identiti'", "'identity'"]),
        (("yolov5.yaml", "se", 9), ["yolov5.yaml", "n, s, m, l, x", "yolov5n.yaml"]),
        (("yolov5q.yaml", "se", 9), ["'yolov5q.yaml'", "'yolov5"]),
        (("yolov3l.yaml", "se", 9), ["'yolov3l.yaml'", "'yolov3.yaml'"]),
        (("yolov5n.pt", "se", 9), ["yolov5n.pt", ".yaml"]),
        (({"backbone": []}, "se", 9), ["head"]),
        (({**V5N, "scale": "q"}, "se", 9), ["'q'", "n, s, m, l, x"]),
        (({**V5N, "head": [[3, 1, "Conv"]]}, "se", 9), ["[3, 1, 'Conv']", "[from, repeats, module, arguments]"]),
        (({**V5N, "head": [[44, 1, "Conv", [8]]]}, "se", 9), ["layer 10 (Conv)", "44"]),
        (({**V5N, "head": [[-1, 1, "Konv", [8]]]}, "se", 9), ["layer 11", "'Konv'", "'Conv'"]),
        (({**V5N, "head": [[-1, 1, "nn.Konv", [8]]]}, "se", 9), ["layer 11", "'nn.Konv'"]),
        (({**V5N, "head": [[-1, 1, "C3+", [8]]]}, "se", 9), ["C3+", "inside"]),
        (
            ({**V5N, "head": [[-1, 1, "C3+", [8, {"inside.x": ["se"]}]]]}, "se", 9),
            ["layer 11", "'inside.x'", "inside.m"],
        ),
        (({**V5N, "head": [[[-1], 1, "CBAM", []]]}, "se", 9), ["layer 11", "[-1]"]),
        (({**V5N, "head": [[-1, 1, "SE", [512, 16, True, 3]]]}, "se", 9), ["layer 11", "SE", "4"]),
    ],
)
def test_a_bad_call_is_refused_in_one_line(call, words):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        yolo.insert(*call)
    text = str(caught.value)
    assert "\n" not in text
    assert [word for word in words if word not in text] == []


def test_options_are_checked_at_the_width_they_meet():
    with pytest.raises(ValueError, match="option of se 'reductoin'; did you mean 'reduction'"):
        yolo.insert("yolov5n.yaml", "se", 9, reductoin=8)
    with pytest.raises(ValueError, match="reduction must be at least 1, not 0"):
        yolo.insert("yolov5n.yaml", "se", 9, reduction=0)
    with pytest.raises(ValueError, match="unknown option of mask-8 'reduction'"):
        yolo.insert("yolov5n.yaml", "mask-8", 9, reduction=8)


def test_a_file_that_is_no_yaml_is_named_by_its_line(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("nc: 2\nbackbone: [1, 2\nhead: ]\n")
    with pytest.raises(ValueError, match=r"bad\.yaml, line 3"):
        yolo.load(file)
