# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Ultralytics kept at home: what its import would read, write or ask of the network is settled before it happens.

For this process (and its children) alone: no network, no automatic pip, no telemetry, and a settings folder of our own
under ``_build/`` of :func:`attn.datasets.home`. The user's own settings are neither read nor written. A process that
imported ultralytics before ``attn.yolo`` has made its choice, and is left with it.
"""

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

from ..datasets import home


def keep_at_home() -> Path:
    """Sets the environment that ultralytics reads at import; returns the folder that it will call its own.

    Raises:
        ImportError: ultralytics is not installed.
    """
    if importlib.util.find_spec("ultralytics") is None:
        raise ImportError("attn.yolo needs ultralytics: pip install attn[yolo]")
    root = home()
    folder = root / "_build" / "ultralytics" / "Ultralytics"  # ultralytics adds the last name to YOLO_CONFIG_DIR
    if "ultralytics" in sys.modules:
        return folder
    os.environ["YOLO_OFFLINE"] = "true"
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_CONFIG_DIR"] = str(folder.parent)
    # What ultralytics imports keeps caches as well; a folder that the user named for them is left as it is.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(root / "_build" / "torchinductor"))
    if "matplotlib" not in sys.modules:
        os.environ.setdefault("MPLCONFIGDIR", str(root / "_build" / "matplotlib"))
    folder.mkdir(parents=True, exist_ok=True)
    _settings(folder / "settings.json", root)
    for font in ("Arial.ttf", "Arial.Unicode.ttf"):  # the two that check_font would fetch while it reads a data set
        if not (folder / font).exists():
            _write(folder / font, _dejavu().read_bytes())
    return folder


def _settings(file: Path, root: Path) -> None:
    # All keys of ultralytics 8.4, so that it finds its file complete and has nothing to write into it.
    off = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb", "vscode_msg", "openvino_msg")
    wanted = {
        "settings_version": "0.0.8",
        "datasets_dir": str(root / "data"),
        "weights_dir": str(root / "_build" / "weights"),
        "runs_dir": str(root / "_build" / "runs"),
        "uuid": "",
        "api_key": "",
        "openai_api_key": "",
        **dict.fromkeys(off, False),
    }
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged
        found = {}
    if found != (settings := {**found, **wanted}):
        _write(file, json.dumps(settings, indent=2).encode())


def _dejavu() -> Path:
    """A free font, from matplotlib, which ultralytics requires; found without importing matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"


def _write(file: Path, content: bytes) -> None:
    """Written aside, then renamed: other processes see the whole file or none."""
    handle, aside = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "wb") as f:
        f.write(content)
    os.replace(aside, file)
