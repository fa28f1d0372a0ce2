# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""What ultralytics' parser is taught, by a function around its own: mechanisms by their names, and inside a block.

``[-1, 1, CBAM, []]``: a mechanism as a row, by its class name or its slug. The number of channels may be written in
front, as articles do, and is then compared with what arrives; values of its options may follow in their order.

``[-1, 3, C3+, [128, {inside: [se]}]]``: a block with a mechanism in it. At the ``+`` a parser that was not taught this
stops, where it would otherwise build the block without its attention. The last argument says where: ``inside``, on what
the block's last convolution gives; ``inside.m``, on each bottleneck's branch before its addition; ``replace.m.cv2``,
instead of that convolution. There stand the slug, the start and the options, as in a row of ``nn.Attend``.

What is inside stands behind an activation or in a convolution's place, so no other tensor of the block is renamed, and
whatever ultralytics does to the block (fuse, split, export) leaves it there.
"""

import functools
from typing import Any

import torch
from torch import nn
from ultralytics import nn as ultralytics_nn
from ultralytics.nn import tasks
from ultralytics.nn.modules import block as blocks
from ultralytics.nn.modules import conv as convs
from ultralytics.utils.ops import make_divisible

from ..registry import card, class_names, unknown
from .attend import Attend, Instead

ROW, MARK = "nn.Attend", "+"

# The convolution whose result leaves a block, but for the addition that some end in.
_ENDS = {
    convs.Conv: "",
    convs.Focus: "conv",
    blocks.AConv: "cv1",
    blocks.BottleneckCSP: "cv4",
    blocks.C3: "cv3",
    blocks.HGBlock: "ec",
    blocks.HGStem: "stem4",
    blocks.RepNCSPELAN4: "cv4",
    blocks.SPPELAN: "cv5",
    **dict.fromkeys((blocks.A2C2f, blocks.Bottleneck, blocks.C2, blocks.C2f, blocks.C2fAttn, blocks.C2PSA), "cv2"),
    **dict.fromkeys((blocks.PSA, blocks.SCDown, blocks.SPP, blocks.SPPF), "cv2"),
}
_MERGED = (blocks.RepVGGDW, convs.RepConv)  # these add up the kernels of their convolutions when they are fused
_BRANCHES = {blocks.Bottleneck: "cv2", blocks.CIB: "cv1.4"}


def spots(layer: nn.Module) -> dict[str, list[str]]:
    """The places inside a layer, each with the names of the convolutions it means; a repeated layer has all of each."""
    found: dict[str, list[str]] = {}

    def add(place: str, *names: str) -> None:
        found.setdefault(place, []).append(".".join(name for name in names if name))

    for repeat, block in layer.named_children() if type(layer) is nn.Sequential else [("", layer)]:
        for kind, end in _ENDS.items():
            if isinstance(block, kind):
                add("inside", repeat, end)
                break
        for name, part in block.named_modules():
            for kind, end in _BRANCHES.items():
                if isinstance(part, kind) and name.startswith("m."):
                    add("inside.m", repeat, name, end)
            whole = block.get_submodule(name.rpartition(".")[0]) if name else layer
            if isinstance(part, convs.Conv) and not isinstance(whole, _MERGED):
                add(
                    ".".join(["replace", *(word for word in name.split(".") if word and not word.isdecimal())]),
                    repeat,
                    name,
                )
    return found


def named(module: str) -> str | None:
    """The slug of the mechanism that a row's module names; None where ultralytics or nobody has that name."""
    known = getattr(tasks, module, None)
    if isinstance(known, type) and issubclass(known, nn.Module):
        return None
    slugs = class_names()
    return module if module in slugs else {name: slug for slug, name in slugs.items()}.get(module)


def is_ours(module: str) -> bool:
    """Whether a row of this module is attention and nothing else."""
    return module == ROW or named(module) is not None


def split(module: str, arguments: list) -> tuple[str, list, dict[str, list]]:
    """A row's module and arguments as ultralytics knows them, and what stands inside."""
    if not module.endswith(MARK):
        return module, arguments, {}
    if not arguments or not isinstance(arguments[-1], dict):
        raise ValueError(f"{module} says that there is attention inside, but its last argument does not say which")
    return module.removesuffix(MARK), arguments[:-1], arguments[-1]


def _known(module: str) -> bool:
    if module.startswith("nn."):
        return hasattr(nn, module[3:])
    return module.startswith("torchvision.ops.") or hasattr(tasks, module)


def _scaled(model: dict[str, Any], channels: int) -> int:
    """What ultralytics makes of a width that is written in a row."""
    width, most = model.get("width_multiple", 1.0), float("inf")
    if scales := model.get("scales"):
        _, width, most = scales[model.get("scale") or next(iter(scales))]
    return make_divisible(min(channels, most) * width, 8)


def _attach(model: nn.Sequential, i: int, inside: dict[str, list]) -> None:
    for place, (slug, *rest) in inside.items():
        if not (names := spots(model[i]).get(place)):
            raise ValueError(unknown(f"place in layer {i} ({type(model[i]).__name__})", place, spots(model[i])))
        for name in names:
            path = f"{i}.{name}" if name else f"{i}"
            conv = model.get_submodule(path)
            if place.startswith("replace"):
                parent, _, leaf = path.rpartition(".")
                setattr(model.get_submodule(parent), leaf, Instead(conv, slug, *rest))
            else:
                conv.act = nn.Sequential(conv.act, Attend(slug, [conv.bn.num_features], 0, *rest))
            # Two in a row would start equal: each gives back the numbers that it drew.
            torch.default_generator.manual_seed(int(torch.randint(2**62, (), device="cpu")))
    model[i].np = sum(p.numel() for p in model[i].parameters())


def _teach(parse):
    @functools.wraps(parse)
    def parse_model(d, ch, verbose=True):
        rows, inside, written = [], {}, {}
        for i, (source, repeats, module, arguments) in enumerate(d["backbone"] + d["head"]):
            module, arguments, marks = split(module, arguments)
            if marks:
                inside[i] = marks
            if slug := named(module):
                if arguments:
                    written[i] = arguments[0]
                options = dict(zip(card(slug).options, arguments[1:], strict=False))
                if len(arguments) > 1 + len(options):
                    raise ValueError(
                        f"layer {i} ({module}) has {len(arguments)} arguments; {slug} takes {1 + len(options)}"
                    )
                module, arguments = ROW, [slug, "ch", "f", "plain", options]
            elif not _known(module):
                good = {name for name in dir(tasks) if isinstance(getattr(tasks, name), type)}
                raise ValueError(f"layer {i}: {unknown('module', module, sorted(good | {*class_names().values()}))}")
            if module == ROW and isinstance(source, list):
                raise ValueError(f"layer {i} ({arguments[0]}) reads one layer, not the list {source}")
            if module == ROW:  # ultralytics evaluates words as Python, where a slug may be a keyword: nonlocal
                arguments = [*map(repr, arguments[:1]), *arguments[1:]]
            rows.append([source, repeats, module, arguments])
        model, save = parse({**d, "backbone": rows, "head": []}, ch, verbose)
        for i, width in written.items():
            channels = next(layer.channels for layer in model[i].modules() if isinstance(layer, Attend))
            if channels not in (width, isinstance(width, int) and _scaled(d, width)):
                raise ValueError(f"layer {i}: {width!r} channels are written, {channels} arrive; [] takes what arrives")
        with torch.random.fork_rng(devices=[]):
            for i, marks in inside.items():
                _attach(model, i, marks)
        return model, save

    parse_model.taught = True
    return parse_model


if not hasattr(tasks.parse_model, "taught"):
    tasks.parse_model = ultralytics_nn.parse_model = _teach(tasks.parse_model)
