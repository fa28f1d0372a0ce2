# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Runs one page with papermill: page.py SOURCE TARGET PARAMETERS-AS-JSON. Started by pages.py, one process a page."""

import ctypes
import json
import os
import re
import signal
import sys
import textwrap
from pathlib import Path


def die_with(parent: int) -> None:
    """Asks Linux to end this process when the one that started it ends, however that comes about."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before we could ask
        sys.exit(1)


def failure(source: Path, target: Path, error) -> str:
    """A papermill error as a reader wants it: which cell, what, and the last lines of the traceback."""
    failed = [c["id"] for c in json.loads(target.read_text("utf-8"))["cells"] if "failed" in str(c["metadata"])]
    order = [c.get("id") for c in json.loads(source.read_text("utf-8"))["cells"]]
    where = next((f"cell {order.index(name) + 1} ({name})" for name in failed if name in order), "a cell")
    trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback)).splitlines()
    return f"{where}: {error.ename}: {error.evalue}\n" + textwrap.indent("\n".join(trace[-25:]), "    ")


def main() -> None:
    source, target, parameters = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    die_with(int(os.environ["ATTN_RUNNER"]))
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(
            source,
            target,
            parameters,
            cwd=str(source.parent),
            progress_bar=False,
            kernel_name="python3",
            language="python",
        )
    except PapermillExecutionError as error:
        print(failure(source, target, error))
        sys.exit(1)
    except Exception as error:  # a dead kernel, a damaged notebook, a full disk: the log says more
        print(f"{type(error).__name__}: {error}")
        sys.exit(2)


if __name__ == "__main__":
    main()
