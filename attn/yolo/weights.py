# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Weights from one model to another, by what a layer is and not by the number it happens to have.

Ultralytics copies a tensor when name and shape agree, and a name begins with the layer's number: behind an inserted
layer every tensor has another name, so most of the weights stay behind, and some land on the wrong layer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.engine.model import Model
from ultralytics.utils.torch_utils import intersect_dicts

from ..fresh import CONTROLS
from ..registry import card, unknown
from .checkpoint import Weights, read

_BY = ("structure", "name")
_ATTENTION = re.compile(r"(^|\.)(mechanism\.|alpha$)")  # the names of Attend's own tensors


@dataclass(frozen=True)
class Transfer:
    """What a transfer did.

    Args:
        copied: tensors that were copied.
        total: the number it is measured against: the source's tensors, or by name, as ultralytics counts, the target's.
        wrong: how many of the copied landed on another layer than the one they were trained for.
        skipped: the source's tensors that were not copied, each with the reason.
        opened: the layers of the target whose α was set to 1.
    """

    copied: int
    total: int
    wrong: int
    skipped: dict[str, str] = field(default_factory=dict)
    opened: tuple[str, ...] = ()

    def __str__(self) -> str:
        why: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            why.setdefault(reason, []).append(name)
        left = "".join(
            f"; {len(names)} skipped, {names[0]}{' and others' if len(names) > 1 else ''} ({reason})"
            for reason, names in why.items()
        )
        ones = f"; α is 1 at {', '.join(self.opened)}, as the source was trained without α" if self.opened else ""
        return f"{self.copied} of {self.total} tensors copied, {self.wrong} of them to a wrong layer{left}{ones}"


def transfer(source: Any, target: Any, by: str = "structure") -> Transfer:
    """Copies trained tensors into the target.

    A mechanism that the source holds with a plain start, and the target with an identity start, was trained in full: it
    gets α = 1, which computes what the source computed, up to rounding. An α of 0 would silently take it out.

    Args:
        source: a YOLO, a module, a ``.pt`` or ``.safetensors`` file, or a state dict; see :func:`attn.yolo.read`.
        target: a YOLO, which then keeps the weights through its own ``train()``, or a module.
        by: ``"structure"``: every tensor that both have, whatever the number of its layer. Of a last layer for another
            number of classes only what fits is copied. ``"name"``: as ultralytics does it, where name and shape agree.

    Raises:
        ValueError: the two are not the same architecture at the same scale; nothing has been copied.
    """
    if by not in _BY:
        raise ValueError(unknown("by", by, _BY))
    weights = read(source)
    module = target.model if isinstance(target, Model) else target
    if not isinstance(module, nn.Module):
        raise ValueError(f"{target!r} is no target for weights: a YOLO or a module is")
    mine = read(module)
    have, want = weights.tensors, mine.tensors
    pairs, skipped = _pair(weights, mine)
    wrong, opened = 0, _trained_in_full(weights, mine, set(pairs.values())) if by == "structure" else ()
    if by == "name":
        same = intersect_dicts(have, want)
        wrong = sum(pairs.get(name) != name for name in same)
        skipped = {n: "other shape under this name" if n in want else "no such name" for n in have if n not in same}
        pairs = {name: name for name in same}
    with torch.no_grad():
        for name, place in pairs.items():
            want[place].copy_(have[name])
        for layer in opened:
            want[f"{layer}.alpha"].fill_(1)
    if isinstance(target, Model) and not target.ckpt:
        target.ckpt = {"model": module}  # without it train() builds anew and forgets these weights
    return Transfer(len(pairs), len(want if by == "name" else have), wrong, skipped, opened)


def _trained_in_full(source: Weights, target: Weights, copied: set[str]) -> tuple[str, ...]:
    """The layers with α in the target that the source holds without, every tensor of theirs having been copied."""
    there, found = source.sites, []
    for site, layer in target.sites.items():
        own = {name for name in target.tensors if name.startswith(f"{layer.layer}.mechanism.")}
        if layer.alpha is not None and (was := there.get(site)) and was.alpha is None:
            found += [layer.layer] if was.attention in (None, layer.attention) and own <= copied else []
    return tuple(found)


def _addresses(tensors: Mapping[str, Tensor]) -> dict[tuple[int, int, str], str]:
    """Each tensor's name by an address that inserted layers do not move: how many layers of the detector came before,
    which of the attention layers in that gap it is in (-1: none), and the name within the layer."""
    layers: dict[int, dict[str, str]] = {}
    for name in tensors:
        if not (m := re.fullmatch(r"model\.(\d+)\.(.+)", name)):
            raise ValueError(f"{name!r} is no tensor of a detector: model.<layer>.<name> is")
        layers.setdefault(int(m[1]), {})[m[2]] = name
    found, before, gap = {}, 0, 0
    for _, layer in sorted(layers.items()):
        ours = all(_ATTENTION.search(part) for part in layer)
        found |= {(before, gap if ours else -1, part): name for part, name in layer.items()}
        before, gap = (before, gap + 1) if ours else (before + 1, 0)
    return found


def _taken_over(ours: Mapping[tuple, str], source: Weights, target: Weights) -> dict[str, str]:
    """The tensors of convolutions in the source that mechanisms in the target take over (``Card.from_conv``)."""
    where = {name: address for address, name in _addresses(target.tensors).items()}
    found = {}
    for layer in target.inserted:
        taken = {} if layer.attention in (None, *CONTROLS) else card(layer.attention).from_conv
        for name, conv in taken.items():
            place = f"{layer.layer}.mechanism.{name}"
            *address, part = where[place]
            theirs = ours.get((*address, part.removesuffix(f"mechanism.{name}") + conv))
            if theirs and source.tensors[theirs].shape == target.tensors[place].shape:
                found[theirs] = place
    return found


def _pair(source: Weights, target: Weights) -> tuple[dict[str, str], dict[str, str]]:
    """Which tensor of the source belongs to which of the target, and why the others to none."""
    ours, theirs = _addresses(source.tensors), _addresses(target.tensors)
    last = max(before for before, _, _ in theirs)
    pairs, skipped = _taken_over(ours, source, target), {}
    for address in dict.fromkeys([*ours, *theirs]):
        if ours.get(address) in pairs or theirs.get(address) in pairs.values():
            continue
        name, place = ours.get(address), theirs.get(address)
        a = tuple(source.tensors[name].shape) if name else "not there"
        b = tuple(target.tensors[place].shape) if place else "not there"
        attention = bool(_ATTENTION.search(address[2]))
        bn = (*address[:2], address[2].removesuffix("conv.weight") + "bn.weight")
        if a == b:
            pairs[name] = place
        elif address[2].endswith("conv.weight") and not (name and place) and bn in ours and bn in theirs:
            if name:  # its BatchNorm is in both: the convolution was replaced by a mechanism, here or there
                skipped[name] = "a mechanism stands there in the target"
        elif not attention and address[0] != last:
            what = f"{name or place} is {a} in the source and {b} in the target"
            raise ValueError(f"these are not the same architecture at the same scale: {what}")
        elif name:
            classes = (source.classes, target.classes)
            skipped[name] = (
                f"{classes[0]} classes in the source, {classes[1]} in the target"
                if not attention and classes[0] != classes[1]
                else f"{a} in the source, {b} in the target"
                if place
                else "not in the target"
            )
    return pairs, skipped
