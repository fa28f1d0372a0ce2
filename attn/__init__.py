# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Visual attention mechanisms: correct, counted, tested against their papers.

>>> import attn
>>> attn.names("channel")                        # what there is
>>> se = attn.create("se", 64)                   # a module for 64 channels
>>> se(x), se.attention(x)                       # the result, and the map it was weighed with
>>> attn.card("se")                              # the facts: paper, shapes, cost, limits
>>> attn.cost("se", (1, 64, 20, 20))             # parameters, multiply-adds, bytes kept for backward
>>> attn.yolo.build("yolov5n.yaml", "se", at=9)  # inside a detector (needs attn[yolo])

Importing this package imports torch and the standard library, nothing else; a mechanism's file is imported when it
is first asked for.
"""

import importlib

from .registry import Card, Map, card, create, names
from .registry import class_names as _class_names

__version__ = "0.1.0"
__all__ = ["Card", "Map", "card", "cost", "create", "names"]

_MODULES = {"broken", "contract", "controls", "datasets", "experiment", "hosts", "measure", "tasks", "viz", "yolo"}
_FUNCTIONS = {"cost": "measure"}


def __getattr__(name):
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"attn.{_FUNCTIONS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"attn.{name}")
    for slug, class_name in _class_names().items():
        if class_name == name:
            return card(slug).cls
    raise AttributeError(f"module 'attn' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_MODULES, *_FUNCTIONS, *_class_names().values()})
