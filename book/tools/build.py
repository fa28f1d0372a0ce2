# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""make book, second half: a staging copy of the executed pages, and from it the site in _build/html/.

The site is built aside and renamed, so that a reader with the old one open never sees half of the new one.
"""

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pages import BUILD, EXECUTED, ROOT, TOOLS, read, toc, write

STAGE, SITE, STAMP = BUILD / "stage", BUILD / "html", BUILD / "html.json"


def sources() -> dict[str, Path]:
    """Every file that the site is made of, by its path in the staging copy.

    Raises:
        SystemExit: a page of _toc.yml has not been run.
    """
    found = {name: ROOT / name for name in ("_config.yml", "_toc.yml", "book/references.bib")}
    for name in toc():
        page = f"{name}.md" if (ROOT / f"{name}.md").exists() else f"{name}.ipynb"
        found[page] = ROOT / page if page.endswith(".md") else EXECUTED / page
    if missing := [name for name, path in found.items() if not path.exists()]:
        sys.exit(f"site: not run yet: {', '.join(missing)} (make book runs them)")
    for folder in ("book/static", "book/figures", "book/tools"):
        found |= {str(p.relative_to(ROOT)): p for p in sorted((ROOT / folder).rglob("*.*")) if p.suffix != ".pyc"}
    return found


def digest(found: dict[str, Path]) -> str:
    """Over the site's files, and over what its tables are read from: the register and the records."""
    read = {str(p.relative_to(ROOT)): p for f in ("attn/**/*.py", "data/results/**/*.json") for p in ROOT.glob(f)}
    whole = (f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for name, path in sorted((found | read).items()))
    return hashlib.sha256("\n".join(whole).encode()).hexdigest()


def for_readers(notebook: dict) -> dict:
    """An executed notebook without what papermill put in, and with the parameters cell off the page or folded."""
    kept = []
    for cell in notebook["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        if "injected-parameters" in tags:
            continue
        if "parameters" in tags and not any(t.startswith("hide-") for t in tags):
            tags.append("remove-cell")
        cell["metadata"].pop("papermill", None)
        kept.append(cell)
    notebook["metadata"].pop("papermill", None)
    return notebook | {"cells": kept}


def stage(found: dict[str, Path]) -> None:
    shutil.rmtree(STAGE, ignore_errors=True)
    for name, path in found.items():
        target = STAGE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".ipynb":
            target.write_text(json.dumps(for_readers(json.loads(path.read_text("utf-8")))), "utf-8")
        else:
            shutil.copyfile(path, target)
    spec = importlib.util.find_spec("mathjax")
    es5 = Path(spec.origin).parent / "static/mathjax/es5" if spec else None
    if es5 is None or not es5.is_dir():
        print("site: MathJax is not installed here, so the pages will fetch it from the network that readers have")
        return
    into = STAGE / "mathjax/mathjax"
    for part in ("output/chtml/fonts", "input/tex/extensions"):
        shutil.copytree(es5 / part, into / part)
    shutil.copyfile(es5 / "tex-mml-chtml.js", into / "tex-mml-chtml.js")


def build() -> None:
    command = [
        Path(sys.executable).with_name("jupyter-book"),
        "build",
        STAGE,
        "--all",
        "-W",
        "-n",
        "--keep-going",
        "-q",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, PYTHONPATH=str(TOOLS)))
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        lines = said.replace(f"{STAGE}/", "").splitlines()
        wrong = [s for s in lines if re.search("WARNING|ERROR|threw an exception", s)]
        sys.exit("\n".join(["site: not built:", *(wrong or lines[-40:])]))
    old = SITE.with_name("html.old")
    shutil.rmtree(old, ignore_errors=True)
    if SITE.exists():
        SITE.rename(old)
    (STAGE / "_build/html").rename(SITE)
    shutil.rmtree(old, ignore_errors=True)


def main() -> None:
    found = sources()
    now = digest(found)
    where = f"{SITE.relative_to(ROOT)}/index.html  (make serve shows it in a browser)"
    if (SITE / "index.html").exists() and read(STAMP).get("digest") == now:
        print(f"site: up to date: {where}")
        return
    began = time.time()
    STAMP.unlink(missing_ok=True)
    stage(found)
    build()
    write(STAMP, {"digest": now})
    print(f"site: built in {time.time() - began:.0f} s: {where}")


if __name__ == "__main__":
    main()
