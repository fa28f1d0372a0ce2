# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""A YOLO with attention in it and its weights kept, ready for ultralytics' own train, val, predict and export."""

from pathlib import Path
from typing import Any

from ultralytics import YOLO
from ultralytics.cfg import DEFAULT_CFG_DICT
from ultralytics.nn.tasks import RTDETRDetectionModel, guess_model_task

from .checkpoint import read
from .model import classic, default_place, describe, head, insert, load, put_in
from .weights import transfer


class _FromRows(YOLO):
    """A YOLO of a model dictionary; ultralytics' own takes file names only."""

    def __init__(self, rows: dict[str, Any]):
        self._rows = rows
        super().__init__("model.yaml")  # no file is read; some names would make ultralytics read one

    def _new(self, cfg: str, task: str | None = None, verbose: bool = False) -> None:
        rows = self.__dict__.pop("_rows")
        self.cfg = self.model_name = rows.get("yaml_file", cfg)
        self.task = guess_model_task(rows)
        kind = RTDETRDetectionModel if head(rows) == "RTDETRDecoder" else self._smart_load("model")
        self.model = kind(rows, verbose=False)
        self.overrides |= {"model": self.cfg, "task": self.task}
        self.model.args = DEFAULT_CFG_DICT | self.overrides
        self.model.task = self.task
        self.ckpt = {"model": self.model}  # train() starts from this module, not from a file without our rows


def build(
    model: str | Path | dict[str, Any] = "yolov5n.yaml",
    attention: str | None = None,
    at: Any = None,
    weights: Any = None,
    start: str | None = None,
    nc: int | None = None,
    **options,
) -> YOLO:
    """A detector, with attention if a mechanism is named, from trained weights if they are given.

    What is not trained is drawn from torch's generator here and not in ``train()``: seed it before, with
    ``torch.manual_seed``. At equal seed every other layer starts equal, with whatever mechanism and without any.

    Args:
        model: a name that ultralytics knows, the path of a YAML file, or a model dictionary.
        attention: the slug of a mechanism, or the name of a control.
        at: one of :func:`attn.yolo.places`, or a list of them; by default before the last layer of the SPP family,
            else after the last block of the backbone. The place taken is printed.
        weights: a YOLO, a module, a ``.pt`` or ``.safetensors`` file, or a state dict, of the same model with or
            without attention.
        start: ``"plain"`` or ``"identity"``; by default identity where weights are given, unless they are those of
            this very model with a plain start; plain where a convolution is replaced.
        nc: the number of classes; by default that of the weights, else the model's.
        options: those of the mechanism.

    Returns:
        A YOLO, or an RTDETR where the model is one, whose ``train()`` keeps the weights and whose checkpoints open in a
        fresh interpreter.

    Raises:
        FileNotFoundError, ValueError: as :func:`attn.yolo.insert` and :func:`attn.yolo.transfer`.
    """
    rows, source = load(model), None if weights is None else read(weights)
    if classic(rows):
        raise ValueError(
            f"{rows.get('yaml_file', 'the model')} lists anchors: the repository of yolov5 or yolov7 builds it, not "
            "ultralytics; insert puts attention into it"
        )
    if nc is None and source is not None:
        nc = len(source.names) if source.names else source.classes
    if nc is not None:
        if isinstance(nc, bool) or not isinstance(nc, int) or nc < 1:
            raise ValueError(f"nc must be a whole number of at least 1, not {nc!r}")
        rows["nc"] = nc
    if attention is None:
        if given := [name for name, value in {"at": at, "start": start, **options}.items() if value is not None]:
            raise ValueError(f"{given[0]} says how attention is put in, but no attention is named")
    else:
        at = default_place(rows) if at is None else at
        if start is None:
            plain = insert(rows, attention, at, **options)
            as_before = source is None or source.holds(plain)
            rows = plain if as_before else put_in(rows, attention, at, "identity", start_instead="plain", **options)
        else:
            rows = insert(rows, attention, at, start, **options)
        print(*(f"{rows.get('yaml_file', 'model')}, {line}" for line in describe(rows)), sep="\n")
    yolo = YOLO(_FromRows(rows))
    if source is not None:
        done = transfer(source, yolo)
        print(f"weights: {done}")
        if source.names and len(source.names) == len(yolo.model.names):
            yolo.model.names = dict(source.names)
    return yolo
