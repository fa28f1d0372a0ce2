# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Attention inside ultralytics' detectors: put in, taken out, built, with the trained weights kept.

>>> from attn import yolo
>>> yolo.insert("yolov5s.yaml", "se", 9)  # the renumbered model dictionary; remove() is its inverse
>>> y = yolo.build("yolov5n.yaml", "se", "after:C3[1]", weights="best.pt")  # an ultralytics.YOLO
>>> y.train(data="digits.yaml")  # all of ultralytics' own calls work on it

The only folder that imports ultralytics, and it does so at home: see home.py. Importing it makes the module name
``nn.Attend`` known to ultralytics, so a checkpoint that holds one finds its class by being opened.
"""

from .home import keep_at_home

keep_at_home()  # before ultralytics is imported

from .attend import Attend  # noqa: E402
from .build import build  # noqa: E402
from .checkpoint import Inserted, Weights, read  # noqa: E402
from .model import describe, diff, dump, insert, load, places, remove  # noqa: E402
from .weights import Transfer, transfer  # noqa: E402

__all__ = [
    "Attend",
    "Inserted",
    "Transfer",
    "Weights",
    "build",
    "describe",
    "diff",
    "dump",
    "insert",
    "load",
    "places",
    "read",
    "remove",
    "transfer",
]
