# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""ultralytics' own ``yolo`` command, in which a model file may name any mechanism."""

from collections.abc import Sequence
from pathlib import Path

from ultralytics import cfg
from ultralytics.nn import tasks
from ultralytics.utils import ARGV, LOGGER, SETTINGS

from .checkpoint import read


def yolo(words: Sequence[str], trust: bool = False) -> None:
    """Runs ``yolo <words>``; results go to ``runs/`` of the working directory, as they do there.

    Args:
        words: of ultralytics' command: ``["train", "model=my.yaml", "epochs=3"]``.
        trust: open a ``.pt`` that can run code while it is opened.

    Raises:
        FileNotFoundError, ValueError: a word, or the model, is none; whatever else ultralytics raises.
    """
    for word in words:
        if (file := word.partition("=")[2]).endswith(".pt"):  # of model, pretrained, resume
            read(file, trust)  # whose refusal says what is wrong
    asked = not words or words[0].lstrip("-")[:1] == "h"
    before = tasks.SAFE_LOAD, SETTINGS["runs_dir"], cfg.ARGV, list(ARGV)
    ARGV[:] = ["yolo", *words]  # one list for all of its modules: predict, called by yolo, saves what it draws
    tasks.SAFE_LOAD, cfg.ARGV = not trust, ARGV
    dict.update(SETTINGS, runs_dir=str(Path.cwd() / "runs"))  # for this call: dict's own update writes no file

    def wanted(record):
        return asked or record.msg is not cfg.CLI_HELP_MSG

    LOGGER.addFilter(wanted)  # a bad word is answered with one line, not with the whole help
    try:
        cfg.entrypoint()
    except SyntaxError as e:
        raise ValueError(str(e).partition("\n")[0].strip()) from e
    finally:
        LOGGER.removeFilter(wanted)
        tasks.SAFE_LOAD, runs, cfg.ARGV, ARGV[:] = before
        dict.update(SETTINGS, runs_dir=runs)
