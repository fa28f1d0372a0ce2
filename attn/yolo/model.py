# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Model dictionaries: read, attention put in, attention taken out, written as text.

A model is a list of rows ``[from, repeats, module, arguments]`` in which ``from`` counts layers. Here a layer holds the
layers it reads instead of their numbers, so putting one in is an insertion into a list, and the numbers are worked out
when the rows are written: what was relative (-1) stays relative, what was a number stays a number.
"""

import copy
import difflib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from ultralytics.nn import tasks
from ultralytics.nn.modules import Conv
from ultralytics.utils import ROOT

from ..registry import unknown
from .attend import check

_ROW = "nn.Attend"
_SPP = ("SPP", "SPPF", "SPPELAN")
_LISTS = ("CBLinear", "ImagePoolingAttn")  # these give a list of maps, which no mechanism takes
_PARTS = ("backbone", "head")


# Read


def load(model: str | Path | dict[str, Any]) -> dict[str, Any]:
    """The dictionary of a model, with the scale that is meant under ``scale``.

    Args:
        model: a name that ultralytics knows (``"yolov5s.yaml"``), the path of a YAML file, or a dictionary, which is
            copied. The scale is the letter in the name, else the file's own ``scale``, else the only one it has.

    Raises:
        FileNotFoundError: there is no such file; the message names the nearest ones.
        ValueError: it holds no model, or several scales and no word which of them.
    """
    given = isinstance(model, dict)
    name = model.get("yaml_file", "the model") if given else str(model)
    found = copy.deepcopy(model) if given else _parse(name, _find(name))
    if not isinstance(found, dict) or not all(isinstance(found.get(part), list) for part in _PARTS):
        raise ValueError(f"{name} is no model: it needs a backbone and a head, each a list of rows")
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
    """One row. ``reads`` holds layers, None being the image; ``relative`` says which were written as -1."""

    part: str
    reads: list["_Layer | None"]
    relative: list[bool]
    many: bool  # whether ``from`` is a list
    repeats: Any
    module: str
    arguments: list


def _layers(model: dict[str, Any]) -> list[_Layer]:
    layers = []
    for part in _PARTS:
        for row in model[part]:
            if not isinstance(row, list) or len(row) != 4:
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
            layers.append(_Layer(part, reads, relative, isinstance(source, list), repeats, module, arguments))
    return layers


def _write(model: dict[str, Any], layers: list[_Layer]) -> dict[str, Any]:
    number = {None: -1} | {layer: i for i, layer in enumerate(layers)}
    parts = {part: [] for part in _PARTS}
    for i, layer in enumerate(layers):
        source = [number[r] - i * back for r, back in zip(layer.reads, layer.relative, strict=True)]
        parts[layer.part].append([source if layer.many else source[0], layer.repeats, layer.module, layer.arguments])
    return model | parts


# Places


def _chain(layers: list[_Layer], i: int) -> list[int]:
    """Which inputs of layer ``i`` were written as -1."""
    before = layers[i - 1] if i else None
    return [k for k, read in enumerate(layers[i].reads) if layers[i].relative[k] and read is before]


def _places(layers: list[_Layer]) -> dict[str | int, list[tuple[str, _Layer]]]:
    """Every place by its name: what it does ("before", "after", "neck") to which layers."""
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
    return found


def places(model: str | Path | dict[str, Any]) -> list[str | int]:
    """All that ``at`` can be for this model, a list of these being a place too.

    ``9``: becomes layer 9. ``"before:SPPF"``: in front of that layer. ``"after:C3"``: behind every such layer of the
    backbone; ``"after:C3[1]"``: behind one, counted from 0. ``"neck"``: on each input of the last layer.
    """
    return list(_places(_layers(load(model))))


def default_place(model: dict[str, Any]) -> str | int:
    """Before the last layer of the SPP family, else after the last block of the backbone."""
    layers = _layers(model)
    if pools := [i for i, layer in enumerate(layers) if layer.module in _SPP]:
        return pools[-1]
    last = [layer for layer in layers if layer.part == "backbone"][-1]
    return next(name for name, where in _places(layers).items() if where == [("after", last)])


def _resolve(name: str, layers: list[_Layer], at: Any) -> list[tuple[str, _Layer]]:
    known, chosen = _places(layers), []
    for place in at if isinstance(at, (list, tuple)) else [at]:
        key = int(place) if isinstance(place, str) and place.isdecimal() else place
        if isinstance(key, bool) or not isinstance(key, (str, int)) or key not in known:
            raise ValueError(_unknown_place(name, layers, place))
        for where in known[key]:
            if where in chosen:
                raise ValueError(f"{place!r} names a place that {at!r} has already named")
            chosen.append(where)
    if not chosen:
        raise ValueError(f"no place in {at!r}")
    return chosen


def _unknown_place(name: str, layers: list[_Layer], place: Any) -> str:
    known = _places(layers)
    if type(place) is int and 0 <= place < len(layers):
        reads = "a list of maps" if _chain(layers, place) else "its inputs by number"
        return f"nothing can be put in the chain at {place} of {name}: {layers[place].module} reads {reads}"
    words = [key for key in known if isinstance(key, str)]
    numbers = [key for key in known if isinstance(key, int)]
    good = [f"{numbers[0]} to {numbers[-1]}"] if numbers else []
    for key, n in Counter(word.partition("[")[0] for word in words).items():
        n -= key in known
        good += [key] if key in known or n == 0 else []
        good += [f"{key}[0] to [{n - 1}]"] if n > 1 else []
    near = unknown("", place, words).partition("; ")[2].partition("?")[0] if isinstance(place, str) else ""
    return f"{name} has no place {place!r}{f'; {near}?' if near else '.'} There are: {', '.join(good)}."


# Put in, take out


def insert(
    model: str | Path | dict[str, Any], attention: str, at: Any, start: str = "plain", **options
) -> dict[str, Any]:
    """The model with attention in it: rows added, every later number moved on.

    An index and ``before:`` change the chain only: whoever reads the layer in front by number keeps its tensor, as the
    articles do. ``after:`` and ``neck`` change what every reader, and the last layer, gets.

    Args:
        model: as in :func:`load`.
        attention: the slug of a mechanism, or the name of a control.
        at: one of :func:`places`, or a list of them, all counted in the model as it is given.
        start: ``"plain"``, or ``"identity"``: computes what the model computed before, until it is trained.
        options: those of the mechanism.

    Returns:
        A new dictionary in the dialect of the old one; ``scale`` holds the scale that was chosen by name.

    Raises:
        FileNotFoundError, ValueError: model, place, mechanism, option or start do not exist, or do not fit; the message
            names the bad value and the nearest good ones.
    """
    check(attention, start, options)
    model = load(model)
    layers = _layers(model)
    arguments = [attention, "ch", "f", start, options]
    while arguments[-1] in ("plain", {}):  # the defaults, which a short row leaves out
        arguments.pop()

    def put(position, source, relative, readers):
        part = layers[position - 1].part if position else _PARTS[0]
        new = _Layer(part, [source], [relative], False, 1, _ROW, copy.deepcopy(arguments))
        layers.insert(position, new)
        for reader, k in readers:
            reader.reads[k] = new

    for word, layer in _resolve(model.get("yaml_file", "the model"), layers, at):
        i = layers.index(layer)
        if word == "before":
            put(i, layers[i - 1] if i else None, True, [(layer, k) for k in _chain(layers, i)])
        elif word == "after":
            put(i + 1, layer, True, [(r, k) for r in layers for k, read in enumerate(r.reads) if read is layer])
        else:
            for k, read in enumerate(layer.reads):
                put(layers.index(layer), read, False, [(layer, k)])
    model = _write(model, layers)
    _lay_out(model)
    return model


def remove(model: str | Path | dict[str, Any]) -> dict[str, Any]:
    """The model without attention: the exact inverse of :func:`insert`, at whatever places and however often.

    Raises:
        FileNotFoundError, ValueError: as :func:`load`.
    """
    model = load(model)
    layers = _layers(model)
    for gone in [layer for layer in layers if layer.module == _ROW]:
        for reader in layers:
            reader.reads = [gone.reads[0] if read is gone else read for read in reader.reads]
        layers.remove(gone)
    return _write(model, layers)


def _lay_out(model: dict[str, Any]) -> None:
    """Builds the model without memory for its weights, so that what does not fit is refused now, at its true width."""
    act = Conv.default_act  # parse_model changes it for the process and, after an error, leaves it changed
    try:
        with torch.device("meta"):
            tasks.parse_model(copy.deepcopy(model), ch=model.get("channels", 3), verbose=False)
    except KeyError as e:
        raise ValueError(f"{model.get('yaml_file', 'the model')}: ultralytics knows no layer {e}") from e
    finally:
        Conv.default_act = act


# Text


def describe(model: dict[str, Any]) -> list[str]:
    """One line for each attention layer: its number, what it reads and who reads it."""
    layers = _layers(model)
    named = {layer: f"{i} ({layer.module})" for i, layer in enumerate(layers)} | {None: "the image"}
    return [
        f"layer {i}: {layer.arguments[0]}, reads {named[layer.reads[0]]}, "
        f"read by {' and '.join(named[reader] for reader in layers if layer in reader.reads)}"
        for i, layer in enumerate(layers)
        if layer.module == _ROW
    ]


def dump(model: dict[str, Any], numbers: bool = True) -> str:
    """The model as YAML, one row a line, with the layer's number behind it.

    Only the line of the chosen scale is kept, so that the file builds it whatever the file is called.
    """
    scales, scale = model.get("scales") or {}, model.get("scale")
    keys = {key: value for key, value in model.items() if key not in ("scale", "yaml_file", *_PARTS)}
    if scale in scales:
        keys["scales"] = {scale: scales[scale]}
    lines = yaml.safe_dump(keys, default_flow_style=None, sort_keys=False, width=10**6).splitlines()
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
