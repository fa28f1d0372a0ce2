# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Model dictionaries: read, attention put in, attention taken out, written as text.

A model is a list of rows ``[from, repeats, module, arguments]`` in which ``from`` counts layers. Here a layer holds the
layers it reads instead of their numbers, so putting one in is an insertion into a list, and the numbers are worked out
when the rows are written: what was relative (-1) stays relative, what was a number stays a number. What is put inside
a block changes no number: it is written into the block's own row.

Two dialects are read and written, each as itself: ultralytics' own, and the classic one of the repositories yolov5 and
yolov7, whose files list their anchors.
"""

import copy
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from ultralytics.nn import tasks
from ultralytics.nn.modules import Conv
from ultralytics.utils import ROOT

from ..fresh import CONTROLS
from ..registry import class_names, unknown
from .attend import NO_IDENTITY, Attend, check, fits
from .parse import MARK, ROW, is_ours, named, split, spots

_SPP = ("SPP", "SPPF", "SPPELAN")
_LISTS = ("CBLinear",)  # it gives a list of maps, which no mechanism takes
_PARTS = ("backbone", "head")
_INDEX = re.compile(r"\[\d+\]")
_TEXTS = "its classes are texts, which a network that ultralytics downloads turns into numbers outside of its weights"
_REFUSED = {
    **dict.fromkeys(("WorldDetect", "YOLOEDetect", "YOLOESegment", "YOLOESegment26"), _TEXTS),
    "Classify": "it says what an image shows, and finds nothing in it",
    "SemanticSegment": "it names every pixel, and finds no objects",
    "Depth": "it measures distances, and finds no objects",
}


# Read


def load(model: str | Path | dict[str, Any]) -> dict[str, Any]:
    """The dictionary of a model, with the scale that is meant under ``scale``.

    Args:
        model: a name that ultralytics knows (``"yolov5s.yaml"``), the path of a YAML file, or a dictionary, which is
            copied. The scale is the letter in the name, else the file's own ``scale``, else the only one it has.

    Raises:
        FileNotFoundError: there is no such file; the message names the nearest ones.
        ValueError: it holds no model, or none that detects, or several scales and no word which of them.
    """
    given = isinstance(model, dict)
    name = model.get("yaml_file", "the model") if given else str(model)
    found = copy.deepcopy(model) if given else _parse(name, _find(name))
    if not isinstance(found, dict) or not all(found.get(p) and isinstance(found[p], list) for p in _PARTS):
        raise ValueError(f"{name} is no model: it needs a backbone and a head, each a list of rows")
    if (last := head(found)) in _REFUSED:
        raise ValueError(f"{name} ends in {last}, which is not supported: {_REFUSED[last]}")
    scales = found.get("scales") or {}
    if not given:
        found["yaml_file"] = name
        if (letter := tasks.guess_model_scale(name)) in scales:
            found["scale"] = letter
        elif len(scales) == 1:
            found["scale"] = next(iter(scales))
    if found.get("scale") and scales and found["scale"] not in scales:
        raise ValueError(unknown(f"scale of {name}", found["scale"], scales))
    if not found.get("scale") and len(scales) > 1:
        raise ValueError(f"{name} does not say its scale; there are: {', '.join(scales)}, as in {_named(name, scales)}")
    return found


def head(model: dict[str, Any]) -> str:
    """The module of the last row."""
    return str(model["head"][-1][2])


def classic(model: dict[str, Any]) -> bool:
    """Whether it is in the dialect of yolov5's and yolov7's repositories, which ultralytics cannot build."""
    return "anchors" in model


def _find(name: str) -> Path:
    """The file behind a name: as it stands, or without its scale; on disk, or among those that ultralytics ships."""
    if not name.endswith((".yaml", ".yml")):
        raise ValueError(f"{name} is no model file: a .yaml is a model, a .pt or .safetensors goes to weights=")
    shipped = {path.name: path for path in sorted((ROOT / "cfg" / "models").rglob("*.yaml"))}
    whole = re.sub(r"(\d+)[nslmx](.*)$", r"\1\2", name)
    for candidate in (name, whole):
        path = Path(candidate) if Path(candidate).is_file() else shipped.get(candidate)
        if path and (candidate == name or tasks.guess_model_scale(name) in _scales(path)):
            return path
    good = [_named(path.name, s) for path in shipped.values() for s in _scales(path) or [""]]
    raise FileNotFoundError(unknown("model", name, good))


def _scales(path: Path) -> list[str]:
    return re.findall(r"^  ([nsmlx]): *\[", path.read_text("utf-8"), re.MULTILINE)


def _named(name: str, scales: Iterable[str]) -> str:
    """The name with the first scale in it, where ultralytics wants it: after the version."""
    scale = next(iter(scales), "")
    return name if tasks.guess_model_scale(name) else re.sub(r"(yolov?\d+)", rf"\g<1>{scale}", name, count=1)


def _parse(name: str, file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text("utf-8"))
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        raise ValueError(
            f"{name}{f', line {mark.line + 1}' if mark else ''}: {getattr(e, 'problem', 'no YAML')}"
        ) from e


# Layers


@dataclass(eq=False)
class _Layer:
    """One row. ``reads`` holds layers, None being the image; ``relative`` says which were written as -1; ``inside`` is
    the attention in it, by place; ``spots`` the places in it, and whether a mechanism fits there, once it is known."""

    part: str
    reads: list["_Layer | None"]
    relative: list[bool]
    many: bool  # whether ``from`` is a list
    repeats: Any
    module: str
    arguments: list
    inside: dict[str, list]
    spots: dict[str, bool] = field(default_factory=dict)


def _layers(model: dict[str, Any]) -> list[_Layer]:
    layers = []
    for part in _PARTS:
        for row in model[part]:
            if (
                not isinstance(row, list)
                or len(row) != 4
                or not isinstance(row[2], str)
                or not isinstance(row[3], list)
            ):
                raise ValueError(f"{row!r} in the {part} is no row [from, repeats, module, arguments]")
            source, repeats, module, arguments = row
            here, numbers = len(layers), source if isinstance(source, list) else [source]
            reads = []
            for number in numbers:
                j = number if number >= 0 else here + number
                if not -1 <= j < here:
                    raise ValueError(f"layer {here} ({module}) reads {number}, which is no layer before it")
                reads.append(None if j < 0 else layers[j])
            relative = [number < 0 for number in numbers]
            plain = split(module, arguments)
            layers.append(_Layer(part, reads, relative, isinstance(source, list), repeats, *plain))
    return layers


def _write(model: dict[str, Any], layers: list[_Layer]) -> dict[str, Any]:
    number = {None: -1} | {layer: i for i, layer in enumerate(layers)}
    parts = {part: [] for part in _PARTS}
    for i, layer in enumerate(layers):
        source = [number[r] - i * back for r, back in zip(layer.reads, layer.relative, strict=True)]
        module, arguments = layer.module, layer.arguments
        if layer.inside:
            module, arguments = module + MARK, [*arguments, layer.inside]
        parts[layer.part].append([source if layer.many else source[0], layer.repeats, module, arguments])
    return model | parts


# Places


def _chain(layers: list[_Layer], i: int) -> list[int]:
    """Which inputs of layer ``i`` were written as -1."""
    before = layers[i - 1] if i else None
    return [k for k, read in enumerate(layers[i].reads) if layers[i].relative[k] and read is before]


def _places(layers: list[_Layer]) -> dict[str | int, list[tuple[str, _Layer]]]:
    """Every place by its name: what it does ("before", "after", "neck", or a place inside) to which layers."""
    maps = [layer for layer in layers[:-1] if layer.module not in _LISTS]
    chained = [layer for i, layer in enumerate(layers) if _chain(layers, i) and (i == 0 or layers[i - 1] in maps)]
    found = {layers.index(layer): [("before", layer)] for layer in chained}
    for word, where in (("before", layers), ("after", [layer for layer in maps if layer.part == "backbone"])):
        for module in dict.fromkeys(layer.module for layer in where):
            each = [layer for layer in where if layer.module == module]
            good = {k: layer for k, layer in enumerate(each) if word == "after" or layer in chained}
            if good and (word == "after" or len(each) == 1):
                found[f"{word}:{module}"] = [(word, layer) for layer in each]
            found |= {f"{word}:{module}[{k}]": [(word, layer)] for k, layer in good.items()}
    if layers[-1].many and all(read in maps for read in layers[-1].reads):
        found["neck"] = [("neck", layers[-1])]
    backbone = [layer for layer in layers if layer.part == "backbone"]
    for module in dict.fromkeys(layer.module for layer in backbone):
        each = [layer for layer in backbone if layer.module == module]
        for spot in dict.fromkeys(spot for layer in each for spot in layer.spots):
            word, dot, path = spot.partition(".")
            good = {k: layer for k, layer in enumerate(each) if layer.spots.get(spot)}
            if len(good) == len(each):
                found[f"{word}:{module}{dot}{path}"] = [(spot, layer) for layer in each]
            found |= {f"{word}:{module}[{k}]{dot}{path}": [(spot, layer)] for k, layer in good.items()}
    return found


def _look_inside(model: dict[str, Any], layers: list[_Layer]) -> None:
    for layer, built in zip(layers, () if classic(model) else _lay_out(model), strict=False):
        for spot, names in spots(built).items():
            convs = [built.get_submodule(name) for name in names]
            layer.spots[spot] = not spot.startswith("replace") or all(fits(conv) for conv in convs)


def places(model: str | Path | dict[str, Any]) -> list[str | int]:
    """All that ``at`` can be for this model, a list of these being a place too.

    ``9``: becomes layer 9. ``"before:SPPF"``: in front of that layer. ``"after:C3"``: behind every such layer of the
    backbone; ``"after:C3[1]"``: behind one, counted from 0. ``"neck"``: on each input of the last layer.
    ``"inside:C3"``: on what the last convolution of each such block of the backbone gives, which is what the block
    gives unless it adds its input to that. ``"inside:C3.m"``: on each bottleneck's branch before its addition.
    ``"replace:C3.m.cv2"``: instead of that convolution, wherever it gives as many channels as it gets, at stride 1.
    In the last three ``C3[1]`` is one block too.
    """
    model = load(model)
    layers = _layers(model)
    _look_inside(model, layers)
    return list(_places(layers))


def default_place(model: dict[str, Any]) -> str | int:
    """Before the last layer of the SPP family, else after the last block of the backbone."""
    layers = _layers(model)
    if pools := [i for i, layer in enumerate(layers) if layer.module in _SPP]:
        return pools[-1]
    last = [layer for layer in layers if layer.part == "backbone"][-1]
    return next(name for name, where in _places(layers).items() if where == [("after", last)])


def _resolve(model: dict[str, Any], layers: list[_Layer], at: Any) -> list[tuple[str, _Layer]]:
    asked = [
        int(place) if isinstance(place, str) and place.isdecimal() else place
        for place in (at if isinstance(at, (list, tuple)) else [at])
    ]
    known, chosen = _places(layers), []
    if not all(isinstance(place, (str, int)) and place in known for place in asked):
        _look_inside(model, layers)  # only now: it takes as long as building the model
        known = _places(layers)
    for place in asked:
        if isinstance(place, bool) or not isinstance(place, (str, int)) or place not in known:
            raise ValueError(_unknown_place(model.get("yaml_file", "the model"), layers, place))
        for where in known[place]:
            if where in chosen or where[0] in where[1].inside:
                taken = f"that {at!r} has already named" if where in chosen else "where there is attention already"
                raise ValueError(f"{place!r} names a place {taken}")
            chosen.append(where)
    if not chosen:
        raise ValueError(f"no place in {at!r}")
    return chosen


def _unknown_place(name: str, layers: list[_Layer], place: Any) -> str:
    known = _places(layers)
    if type(place) is int and 0 <= place < len(layers):
        reads = "a list of maps" if _chain(layers, place) else "its inputs by number"
        return f"nothing can be put in the chain at {place} of {name}: {layers[place].module} reads {reads}"
    if m := re.fullmatch(r"replace:(\w+)(\..*)?", _INDEX.sub("", str(place))):
        same = [layer for layer in layers if layer.part == "backbone" and layer.module == m[1]]
        if any(layer.spots.get(f"replace{m[2] or ''}") is False for layer in same):
            return f"{place!r} of {name} changes the channels or the size, and a mechanism that stands there cannot"
    words = [key for key in known if isinstance(key, str)]
    numbers = [key for key in known if isinstance(key, int)]
    good = [f"{numbers[0]} to {numbers[-1]}"] if numbers else []
    indexed: dict[str, list[str]] = {}
    for word in words:
        indexed.setdefault(_INDEX.sub("", word), []).append(word)
    for key, each in indexed.items():
        good += [key] if key in each else []
        if len(each := [word for word in each if word != key]) > 1 or key not in known:
            good += [each[0] + f" to {_INDEX.search(each[-1])[0]}" * (len(each) > 1)]
    near = unknown("", place, words).partition("; ")[2].partition("?")[0] if isinstance(place, str) else ""
    return f"{name} has no place {place!r}{f'; {near}?' if near else '.'} There are: {', '.join(good)}."


# Put in, take out


def insert(
    model: str | Path | dict[str, Any],
    attention: str,
    at: Any,
    start: str = "plain",
    channels: int | None = None,
    **options,
) -> dict[str, Any]:
    """The model with attention in it: rows added, every later number moved on; or blocks with attention inside.

    An index and ``before:`` change the chain only: whoever reads the layer in front by number keeps its tensor, as the
    articles do. ``after:`` and ``neck`` change what every reader, and the last layer, gets.

    Args:
        model: as in :func:`load`.
        attention: the slug of a mechanism, or the name of a control.
        at: one of :func:`places`, or a list of them, all counted in the model as it is given.
        start: ``"plain"``, or ``"identity"``: computes what the model computed before, until it is trained.
        channels: written into the row as it is, ``[-1, 1, SE, [1024]]``, as the articles do.
        options: those of the mechanism.

    Returns:
        A new dictionary in the dialect of the old one; ``scale`` holds the scale that was chosen by name. In the
        classic dialect the row is ``[-1, 1, SE, ["ch[f]"]]``, in which that parser fills in the width; it must know
        the name: ``from attn import SE`` in the repository's models/yolo.py. With options or an identity start it is
        ``nn.Attend``, as in ultralytics' dialect, and the line is ``import attn.yolo``.

    Raises:
        FileNotFoundError, ValueError: model, place, mechanism, option or start do not exist, or do not fit; the message
            names the bad value and the nearest good ones.
    """
    return put_in(load(model), attention, at, start, start, channels, **options)


def put_in(
    model: dict[str, Any],
    attention: str,
    at: Any,
    start: str,
    start_instead: str,
    channels: int | None = None,
    **options,
) -> dict[str, Any]:
    """:func:`insert` into a dictionary, with a start of its own where a convolution is replaced."""
    check(attention, start, options)
    layers = _layers(model)
    arguments = _short(attention, "ch", "f", start, options)
    module = ROW
    if channels is not None or (classic(model) and attention not in CONTROLS and arguments[3:] == []):
        module, arguments = _by_name(attention, channels, start, options)

    def put(position, source, relative, readers):
        part = layers[position - 1].part if position else _PARTS[0]
        new = _Layer(part, [source], [relative], False, 1, module, copy.deepcopy(arguments), {})
        layers.insert(position, new)
        for reader, k in readers:
            reader.reads[k] = new

    for word, layer in _resolve(model, layers, at):
        i = layers.index(layer)
        if word == "before":
            put(i, layers[i - 1] if i else None, True, [(layer, k) for k in _chain(layers, i)])
        elif word == "after":
            put(i + 1, layer, True, [(r, k) for r in layers for k, read in enumerate(r.reads) if read is layer])
        elif word == "neck":
            for k, read in enumerate(layer.reads):
                put(layers.index(layer), read, False, [(layer, k)])
        elif channels is not None:
            raise ValueError(f"channels={channels} is for rows; what stands inside a block has the block's channels")
        elif word.startswith("replace"):
            if start_instead == "identity":
                raise ValueError(NO_IDENTITY)
            layer.inside = layer.inside | {word: _short(attention, start_instead, options)}
        else:
            layer.inside = layer.inside | {word: _short(attention, start, options)}
    model = _write(model, layers)
    if classic(model):
        Attend(attention, [channels or 64], 0, start, options)
    else:
        _lay_out(model)
    return model


def _short(*arguments: Any) -> list:
    """A row's arguments without the defaults at their end."""
    row = list(copy.deepcopy(arguments))
    while row[-1] in ("plain", {}):
        row.pop()
    return row


def _by_name(attention: str, channels: int | None, start: str, options: dict[str, Any]) -> tuple[str, list]:
    if channels is not None and (isinstance(channels, bool) or not isinstance(channels, int) or channels < 1):
        raise ValueError(f"channels must be a whole number of at least 1, not {channels!r}")
    if attention in CONTROLS or start != "plain" or options:
        given = next(iter(options), "start" if start != "plain" else attention)
        raise ValueError(f"channels={channels} writes a row that has a name and a number, and no place for {given}")
    module = class_names()[attention]
    return (module if named(module) else attention), ["ch[f]" if channels is None else channels]


def remove(model: str | Path | dict[str, Any]) -> dict[str, Any]:
    """The model without attention: the exact inverse of :func:`insert`, at whatever places and however often.

    Raises:
        FileNotFoundError, ValueError: as :func:`load`.
    """
    model = load(model)
    layers = _layers(model)
    for gone in [layer for layer in layers if is_ours(layer.module)]:
        for reader in layers:
            reader.reads = [gone.reads[0] if read is gone else read for read in reader.reads]
        layers.remove(gone)
    for layer in layers:
        layer.inside = {}
    return _write(model, layers)


def _lay_out(model: dict[str, Any]) -> nn.Sequential:
    """Builds the model without memory for its weights, so that what does not fit is refused now, at its true width."""
    act = Conv.default_act  # parse_model changes it for the process and, after an error, leaves it changed
    try:
        with torch.device("meta"):
            return tasks.parse_model(copy.deepcopy(model), ch=model.get("channels", 3), verbose=False)[0]
    except ValueError as e:
        raise ValueError(f"{model.get('yaml_file', 'the model')}: {e}") from e
    finally:
        Conv.default_act = act


# Text


def describe(model: dict[str, Any]) -> list[str]:
    """One line for each attention layer: its number, what it reads and who reads it."""
    layers, lines = _layers(model), []
    known = {layer: f"{i} ({layer.module})" for i, layer in enumerate(layers)} | {None: "the image"}
    for i, layer in enumerate(layers):
        if is_ours(layer.module):
            slug = named(layer.module) or layer.arguments[0]
            readers = " and ".join(known[reader] for reader in layers if layer in reader.reads)
            start = "identity" if "identity" in layer.arguments[3:4] else "plain"
            lines.append(f"layer {i}: {slug}, reads {known[layer.reads[0]]}, read by {readers}, start {start}")
        for spot, (slug, *start) in layer.inside.items():
            word, _, path = spot.partition(".")
            where = f"instead of its {path or 'convolution'}" if word == "replace" else "on its output"
            where = "on each branch of its m" if spot == "inside.m" else where
            lines.append(f"layer {known[layer]}: {slug} {where}, start {start[0] if start else 'plain'}")
    return lines


def dump(model: dict[str, Any], numbers: bool = True) -> str:
    """The model as YAML, one row a line, with the layer's number behind it.

    Only the line of the chosen scale is kept, so that the file builds it whatever the file is called.
    """
    scales, scale = model.get("scales") or {}, model.get("scale")
    keys = {key: value for key, value in model.items() if key not in ("scale", "yaml_file", *_PARTS)}
    if scale in scales:
        keys["scales"] = {scale: scales[scale]}
    # With a list in it, the whole is not written on one line.
    lines = yaml.safe_dump({**keys, "end": []}, default_flow_style=None, sort_keys=False, width=10**6).splitlines()[:-1]
    i = 0
    for part in _PARTS:
        lines += ["", f"{part}:"]
        for row in model[part]:
            text = yaml.safe_dump(row, default_flow_style=True, width=10**6).strip()
            lines.append(f"  - {text} # {i}" if numbers else f"  - {text}")
            i += 1
    return "\n".join(lines) + "\n"


def diff(before: dict[str, Any], after: dict[str, Any]) -> str:
    """A unified diff of the two dumps, without the layers' numbers, which would mark every later row."""
    texts = [dump(model, numbers=False).splitlines(keepends=True) for model in (before, after)]
    names = [model.get("yaml_file", "model") for model in (before, after)]
    return "".join(difflib.unified_diff(*texts, names[0], f"{names[1]} with attention", n=1))
