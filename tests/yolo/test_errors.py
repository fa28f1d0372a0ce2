# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""The messages of book/errors.md are those that come: each heading here is provoked, and found in what was said."""

import copy
import re
import sys
import types
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

from ultralytics.nn import tasks  # noqa: E402
from ultralytics.utils import LOGGER  # noqa: E402

import attn  # noqa: E402

PAGE = (Path(__file__).parents[2] / "book" / "errors.md").read_text("utf-8")
ENTRIES = dict(re.findall(r"^### `([^`]+)`\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def untaught(row, at=9, model="yolov5n.yaml"):
    """The model with a row more, by ultralytics' parser as it was before attn taught it."""
    rows = yolo.load(model)
    rows["backbone"].insert(at, row)
    tasks.parse_model.__wrapped__(rows, 3, verbose=False)


def tiny(*head):
    """The smallest network that ends in these rows, each of the others giving 8 channels."""
    return {"nc": 2, "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [8, 3, 2]]], "head": list(head)}


def forward(network, side=64):
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side))


class Pair(nn.Module):
    """What returns a tuple."""

    def forward(self, x):
        return x, x


class Named(nn.Module):
    """What has a layer under a name that ultralytics writes."""

    def __init__(self):
        super().__init__()
        self.i = nn.Identity()

    def forward(self, x):
        return self.i(x)


class Foreign(nn.Module):
    """What no list of allowed classes has."""


class AdaptivePool(nn.Module):
    def forward(self, x):
        return x * nn.functional.adaptive_avg_pool2d(x, (None, 1))


def no_attend(patch, folder):
    patch.delattr(nn, "Attend")
    untaught([-1, 1, "nn.Attend", ["se", "ch", "f"]])


def too_wide(patch, folder):
    patch.setattr(tasks, "SE", attn.SE, raising=False)
    rows = yolo.load("yolov5n.yaml")
    rows["backbone"].insert(9, [-1, 1, "SE", [1024]])
    patch.setattr(tasks, "parse_model", tasks.parse_model.__wrapped__)
    tasks.DetectionModel(rows, verbose=False)


def no_width(patch, folder):
    patch.setattr(tasks, "SE", attn.SE, raising=False)
    untaught([-1, 1, "SE", []])


def by_name(patch, folder):
    ours, plain = yolo.build("yolov5n.yaml", "cbam", 3, start="identity"), yolo.build("yolov5n.yaml")
    ours.load(plain.model)
    assert yolo.transfer(plain, ours, by="name").wrong == 7  # as the page says


def strict(patch, folder):
    ours, plain = yolo.build("yolov5n.yaml", "se", 9), yolo.build("yolov5n.yaml")
    ours.model.load_state_dict(plain.model.state_dict())


def scale_from_the_name(patch, folder):
    rows = yolo.load("yolov5n.yaml") | {"scale": "s"}
    (folder / "mine.yaml").write_text(yaml.safe_dump(rows, sort_keys=False))
    read = tasks.yaml_model_load(str(folder / "mine.yaml"))
    assert not read["scale"]  # the s is gone
    tasks.parse_model(read, 3, verbose=False)


def own_file(patch, folder):
    patch.chdir(folder)
    (folder / "yolov5s6.yaml").write_text(yaml.safe_dump(tiny()))
    assert len(tasks.yaml_model_load("yolov5s6.yaml")["backbone"]) > 2  # not the file that is there


def from_main(patch, folder):
    patch.setitem(sys.modules, "__main__", main := types.ModuleType("__main__"))
    main.MySE = type("MySE", (nn.Module,), {"__module__": "__main__"})
    torch.save({"model": main.MySE()}, folder / "best.pt")
    del main.MySE
    torch.load(folder / "best.pt", weights_only=False)


def without_the_package(patch, folder):
    patch.setitem(sys.modules, "lost", types.ModuleType("lost"))
    sys.modules["lost"].Layer = type("Layer", (nn.Module,), {"__module__": "lost"})
    torch.save({"model": sys.modules["lost"].Layer()}, folder / "best.pt")
    patch.delitem(sys.modules, "lost")
    tasks.torch_safe_load(folder / "best.pt")  # YOLO_AUTOINSTALL is false here, so no pip runs


def foreign(load):
    def provoke(patch, folder):
        torch.save({"model": Foreign()}, folder / "best.pt")
        load(folder / "best.pt")

    return provoke


def transformer(patch, folder):
    network = tasks.RTDETRDetectionModel(tiny([[0, -1], 1, "RTDETRDecoder", ["nc", 32, 10, 2, 2, 1]]), verbose=False)
    forward(network)


def of_a_tuple(patch, folder):
    patch.setattr(tasks, "Pair", Pair, raising=False)
    patch.setattr(tasks, "parse_model", tasks.parse_model.__wrapped__)
    tasks.DetectionModel(tiny([-1, 1, "Pair", []], [-1, 1, "Conv", [8, 3, 2]], [[-1], 1, "Detect", ["nc"]]))


def of_a_name(patch, folder):
    patch.setattr(tasks, "Named", Named, raising=False)
    untaught([-1, 1, "Named", []])


def to_onnx(patch, folder):
    pytest.importorskip("onnx")
    axes = {"x": {2: "h", 3: "w"}}
    x = torch.zeros(1, 8, 8, 8)
    torch.onnx.export(
        AdaptivePool(), x, folder / "a.onnx", dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17
    )


def safetensors(patch, folder):
    yolo.build("yolov5n.yaml").load("best.safetensors")


def state_dict(patch, folder):
    y = yolo.build("yolov5n.yaml")
    y.load({"model": copy.deepcopy(y.model.state_dict())})


PROVOKED = {
    "KeyError: 'CBAM'": lambda *_: untaught([-1, 1, "CBAM", []]),
    "AttributeError: module 'torch.nn' has no attribute 'Attend'": no_attend,
    "KeyError: 'C3+'": lambda *_: untaught([-1, 1, "C3+", [256, {"inside": ["se"]}]]),
    "to have 1024 channels, but got 256 channels instead": too_wide,
    "SE.__init__() missing 1 required positional argument: 'channels'": no_width,
    "list indices must be integers or slices, not list": lambda *_: untaught([[-1], 1, "nn.Attend", ["se", "ch", "f"]]),
    "ValueError: too many values to unpack (expected 4)": lambda *_: untaught([-1, 1, "nn.Identity", [], "se"]),
    "cannot assign 'int' as child module 'i'": of_a_name,
    "no model scale passed. Assuming scale='n'": scale_from_the_name,
    "models now use -p6 suffix. Renaming yolov5s6 to yolov5s-p6": own_file,
    "Sizes of tensors must match except in dimension 1": lambda *_: forward(yolo.build("yolov5n.yaml").model, 80),
    "conv2d() received an invalid combination of arguments - got (NoneType": transformer,
    "conv2d() received an invalid combination of arguments - got (tuple": of_a_tuple,
    "Transferred 49/438 items from pretrained weights": by_name,
    "Error(s) in loading state_dict for DetectionModel": strict,
    "object has no attribute 'float'": state_dict,
    "acceptable suffix is {'.pt'}": safetensors,
    "Expected more than 1 value per channel when training": lambda *_: nn.BatchNorm2d(8)(torch.zeros(1, 8, 1, 1)),
    "Expected more than 1 spatial element when training": lambda *_: nn.InstanceNorm2d(8)(torch.zeros(1, 8, 1, 1)),
    "Can't get attribute 'MySE' on <module '__main__'": from_main,
    "which is not in Ultralytics requirements": without_the_package,
    "UnpicklingError: Weights only load failed": foreign(lambda file: torch.load(file, weights_only=True)),
    "references types outside the supported Ultralytics checkpoint format": foreign(
        lambda file: tasks.torch_safe_load(file, safe_only=True)
    ),
    "which is no layer of torch, ultralytics or attn": foreign(yolo.read),
    "Unsupported: ONNX export of operator adaptive pooling": to_onnx,
}


@pytest.mark.filterwarnings("ignore")  # of exporters and loaders: it is the message that counts
@pytest.mark.parametrize("message", PROVOKED)
def test_the_message_is_the_one_on_the_page(message, monkeypatch, tmp_path):
    assert message in ENTRIES
    said = []
    monkeypatch.setattr(LOGGER, "handle", lambda record: said.append(record.getMessage()))
    try:
        PROVOKED[message](monkeypatch, tmp_path)
    except Exception as e:
        said.append(f"{type(e).__name__}: {e}")
    assert any(message in text for text in said), said


def test_each_entry_has_a_cause_and_a_cure_and_says_whether_it_is_provoked():
    assert len(ENTRIES) == len(re.findall("^### ", PAGE, re.MULTILINE)) >= 25
    for message, text in ENTRIES.items():
        assert re.search(r"^\*\*Cause\.\*\* \S", text, re.MULTILINE), message
        assert len(re.findall(r"^\*\*Cure\.\*\* \S", text, re.MULTILINE)) == 1, message
        assert ("no test provokes it" in text) == (message not in PROVOKED), message
