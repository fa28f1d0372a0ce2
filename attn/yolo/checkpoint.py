# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""What a checkpoint holds: tensors, class names, and the attention that was put in with the α it has learned.

A ``.pt`` is a pickle, and a pickle may run anything while it is opened. So it is opened the restricted way: torch
builds the classes of an allow-list and refuses the rest. Ultralytics adds its own and torch's layers to that list;
importing this module adds ours, so that ``ULTRALYTICS_SAFE_LOAD=1`` opens our checkpoints too.
"""

import bisect
import importlib
import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from ultralytics.engine.model import Model
from ultralytics.nn.tasks import torch_safe_load

from .. import registry
from .attend import Attend

_OURS = re.compile(r"(.+?)\.(?:mechanism\..+|alpha)")  # a tensor of an Attend, behind the layer's name


def _classes() -> list[type]:
    """Every layer of ours that a checkpoint can name: Attend, the mechanisms, and what those are made of."""
    modules = {"attn.blocks", "attn.controls", "attn.fresh", Attend.__module__} | {
        registry.card(slug).cls.__module__ for slug in registry.names()
    }
    found = [c for m in sorted(modules) for c in vars(importlib.import_module(m)).values() if isinstance(c, type)]
    return [c for c in found if issubclass(c, nn.Module) and c.__module__ in modules]


torch.serialization.add_safe_globals(_classes())


@dataclass(frozen=True)
class Inserted:
    """One layer of attention in a network.

    Args:
        layer: its name there: ``"model.9"``.
        attention: the slug of the mechanism or the name of the control; None where tensors alone were given, which do
            not say it.
        alpha: the α it has learned; None where it was put in with a plain start.
    """

    layer: str
    attention: str | None
    alpha: float | None

    def __str__(self) -> str:
        start = "plain start" if self.alpha is None else f"identity start, α now {self.alpha:.3g}"
        return f"{self.layer}: {self.attention or 'a mechanism that tensors alone do not name'}, {start}"


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and what their owner says of its classes, its rows and the attention in it.

    ``names`` and ``rows`` are None, and ``inserted`` does not name the mechanisms, where the source is tensors alone; a
    mechanism without tensors and without α is then not seen at all.
    """

    tensors: dict[str, Tensor]
    names: dict[int, str] | None = None
    rows: dict[str, Any] | None = None
    inserted: tuple[Inserted, ...] = ()

    @property
    def classes(self) -> int | None:
        """The number of classes, from the last layer's class branch (``cv3``, a plain convolution at its end)."""
        ends = [t for name, t in self.tensors.items() if re.search(r"\.cv3\.0\.\d+\.bias$", name)]
        return len(ends[-1]) if ends else None

    def holds(self, rows: dict[str, Any]) -> bool:
        """Whether these are the weights of a model with exactly these rows."""
        return self.rows is not None and all(self.rows.get(part) == rows[part] for part in ("backbone", "head"))

    @property
    def sites(self) -> dict[tuple[int, str, int], Inserted]:
        """The attention by an address that other insertions do not move: how many layers of the detector with tensors
        came before, where in the layer it sits, and which it is of those at this place."""
        rows = {layer.layer.removeprefix("model.") for layer in self.inserted}
        plain = sorted({int(number) for name in self.tensors if (number := name.split(".")[1]) not in rows})
        found: dict[tuple[int, str, int], Inserted] = {}
        for layer in self.inserted:
            _, number, *within = layer.layer.split(".")
            here = (bisect.bisect_left(plain, int(number)), ".".join(within))
            found[(*here, sum(site[:2] == here for site in found))] = layer
        return found


def read(source: Any, trust: bool = False) -> Weights:
    """What a YOLO, a module, a ``.pt`` or ``.safetensors`` file, or a state dict holds.

    Nothing is downloaded and, unless the file is trusted, nothing that it says is run.

    Args:
        source: one of these; what was read before is returned as it is, so ``weights=read(file, trust=True)`` works
            wherever weights are given.
        trust: open a ``.pt`` that holds more than the layers of torch, ultralytics and attn. It can then run any code.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of these, is damaged, or is a pickle that needs trust; the message names what for.
    """
    if isinstance(source, Weights):
        return source
    labels = None
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.suffix not in (".pt", ".safetensors"):
            raise ValueError(f"{path} holds no weights that can be read: a .pt or a .safetensors file does")
        if not path.is_file():
            raise FileNotFoundError(registry.unknown("weights file", str(path), path.parent.glob(f"*{path.suffix}")))
        if path.suffix == ".pt":
            source = _unpickled(path, trust)
        else:
            source, labels = _safetensors(path)
    if isinstance(source, Model):
        source = source.model
    if isinstance(source, nn.Module):
        inserted = tuple(
            Inserted(name, m.slug, None if m.alpha is None else float(m.alpha.detach()))
            for name, m in source.named_modules()
            if isinstance(m, Attend)
        )
        return Weights(source.state_dict(), getattr(source, "names", None), getattr(source, "yaml", None), inserted)
    if isinstance(source, Mapping) and source and all(isinstance(t, Tensor) for t in source.values()):
        layers = {m[1] for name in source if (m := _OURS.fullmatch(name))}
        inserted = tuple(
            Inserted(layer, None, float(source[alpha]) if (alpha := f"{layer}.alpha") in source else None)
            for layer in sorted(layers, key=lambda name: [int(w) if w.isdecimal() else -1 for w in name.split(".")])
        )
        return Weights(dict(source), labels, None, inserted)
    raise ValueError(f"{type(source).__name__} is no source of weights: a YOLO, a module, a file or a state dict is")


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[int, str] | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            labels = json.loads((file.metadata() or {}).get("names", "[]"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, json.JSONDecodeError) as e:
        raise ValueError(f"{path} cannot be read: {e}") from e
    return tensors, dict(enumerate(labels)) or None


def _unpickled(path: Path, trust: bool) -> Any:
    """The module or the tensors in a ``.pt``, whichever of ultralytics' keys they stand under."""
    try:
        found, _ = torch_safe_load(path, safe_only=not trust)
    except Exception as e:  # a damaged or hostile file raises anything
        if foreign := [] if trust else _foreign(path, e):
            shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
            raise ValueError(
                f"{path} is not opened: it needs {shown}, which is no layer of torch, ultralytics or attn, and such a "
                "file can run any code. If you trust its maker: attn.yolo.read(file, trust=True), or --trust"
            ) from e
        fault = str(e).strip().partition("\n")[0].removeprefix("ERROR ❌️ ")
        if isinstance(e.__cause__, (pickle.UnpicklingError, EOFError, RuntimeError)):
            fault = "it is damaged, or no checkpoint (an exported model is none)"
        raise ValueError(f"{path} cannot be read: {fault}") from e
    if isinstance(found, Mapping):
        found = next((found[key] for key in ("ema", "model") if found.get(key) is not None), found)
    return found


def _foreign(path: Path, error: Exception) -> list[str]:
    """What the restricted loader did not know, by name; empty if that was not the fault."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a zip archive: an old pickle, whose refusal names the first such global, or no pickle
        return re.findall(r"(?:GLOBAL|global) ([\w.]+)", str(error.__cause__))[:1]
