# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""make format: gives every notebook the first code cell that gets the repository where the notebook stands alone.

Its address is that of _config.yml; so after a change there the same command brings it into the notebooks. The cell is
named ``setup`` and left off the page. A notebook that has its imports under that name has them under ``imports`` after
this, behind the parameters if it has any.
"""

import json
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

SOURCE = """\
# Alone, on Colab or as a download, the notebook gets its repository and what that needs; inside it nothing happens.
import os
import subprocess
import sys
from pathlib import Path

repository, branch = {url}, {branch}  # as in _config.yml: make format
if not any((folder / "data/digits.yaml").is_file() for folder in (Path.cwd(), *Path.cwd().parents)):
    if not repository:
        raise FileNotFoundError("this notebook needs the repository that it comes from around it")
    if not Path("attn").is_dir():
        subprocess.run(["git", "clone", "--quiet", "--depth=1", f"--branch={{branch}}", repository, "attn"], check=True)
    os.chdir("attn")
    needs = (".[yolo]", "matplotlib", "torchinfo")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *needs], check=True)"""


def source(root: Path = ROOT) -> str:
    """The cell's text, with the address in ``root``'s _config.yml."""
    repository = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]
    return SOURCE.format(url=json.dumps(repository["url"]), branch=json.dumps(repository["branch"]))


def put(notebook: dict, text: str) -> None:
    """Makes ``text`` the first code cell of a notebook that has one."""
    cells = notebook["cells"]
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code"]
    if not code:
        return
    first = cells[code[0]]
    if first["id"] != "setup" or "remove-cell" not in first["metadata"].get("tags", []):
        if first["id"] == "setup":
            first["id"] = "imports"
            if len(code) > 1 and "parameters" in cells[code[1]]["metadata"].get("tags", []):
                cells[code[0]], cells[code[1]] = cells[code[1]], first
        first = {"cell_type": "code", "execution_count": None, "id": "setup", "metadata": {"tags": ["remove-cell"]}}
        cells.insert(code[0], first | {"outputs": []})
    cells[code[0]]["source"] = text.splitlines(keepends=True)


def main() -> None:
    text = source()
    for path in sorted((ROOT / "notebooks").glob("*/*.ipynb")):
        was = path.read_text("utf-8")
        notebook = json.loads(was)
        put(notebook, text)
        now = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        if now != was:
            path.write_text(now, "utf-8")


if __name__ == "__main__":
    main()
