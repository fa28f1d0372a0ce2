# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""make book, first half: runs every notebook of _toc.yml into _build/executed/, a few at a time, one thread each.

A page runs again when its notebook, its parameters, or something that it used the last time has changed by content:
an attn module that it imported, a file that it read under data/, the names in a folder that it listed there. A data
set (data/digits, data/bccd) counts as one thing. A page that imported every mechanism of a family is about the family,
and runs again when one is added.

The page LAST tells how the others ran, from the file that stands beside each result, so it runs after all of them and
again when one of those files has changed.

A page is done when papermill returned and its result was renamed into place; nothing is ever read from a notebook
whether it went well. So after a kill -9 at any moment the next call goes on where this one was.
"""

import argparse
import ast
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import yaml

ROOT = Path.cwd()
TOOLS = Path(__file__).resolve().parent
BUILD = ROOT / "_build"
EXECUTED, RUNNING, HASHES, TIMES = (BUILD / n for n in ("executed", "running", "hashes.json", "seconds.json"))
LAST = "notebooks/compare/status"
# The pages that read what tests have left under _build.
TESTS = {f"notebooks/compare/{name}": f"file _build/{name}.json" for name in ("matrix", "contract")}
VERSIONS = ("torch", "ultralytics", "attn")  # of these the record of a page keeps the version, and Python's
GUESS = 20.0  # seconds for a page that has never run, until others have told better
KEPT_WHOLE = {"results", "weights"}  # folders of data/ whose files count one by one


def write(path: Path, content: dict) -> None:
    """Writes JSON aside and renames it, so that the file is either the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
    aside.replace(path)


def read(path: Path) -> dict:
    """The JSON at ``path``, or nothing where there is none or a damaged one."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def toc(root: Path = ROOT) -> list[str]:
    """The pages of _toc.yml in its order, without suffix.

    Raises:
        SystemExit: a page has no file, or a notebook is not in the list.
    """

    def files(entry) -> Iterator[str]:
        if isinstance(entry, dict):
            yield from (entry[k] for k in ("root", "file") if k in entry)
            entry = [entry.get(k) for k in ("parts", "chapters", "sections")]
        for child in entry or ():
            yield from files(child)

    names = list(files(yaml.safe_load((root / "_toc.yml").read_text("utf-8"))))
    lost = [n for n in names if not any((root / f"{n}{end}").exists() for end in (".ipynb", ".md"))]
    if lost:
        sys.exit(f"_toc.yml names {', '.join(lost)}, but there is no such .ipynb or .md")
    return names


class Digests:
    """SHA-256 of files by content; a file whose size and times are as they were is not read again."""

    def __init__(self):
        self.known = read(HASHES)
        self.trees = functools.cache(self._tree)

    def file(self, path: str) -> str | None:
        try:
            s = os.stat(path)
        except OSError:
            return None
        key = [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino]
        if self.known.get(path, [None])[0] != key:
            self.known[path] = [key, hashlib.sha256(Path(path).read_bytes()).hexdigest()]
        return self.known[path][1]

    def _tree(self, folder: str) -> str | None:
        """One digest over the names and contents of a data set, without the caches that trainers leave in it."""
        found = sorted(p for p in Path(folder).rglob("*") if p.is_file() and p.suffix != ".cache")
        whole = "\n".join(f"{p.relative_to(folder)} {self.file(str(p))}" for p in found)
        return hashlib.sha256(whole.encode()).hexdigest() if found else None

    @staticmethod
    def names(folder: str) -> str | None:
        try:
            found = sorted(n for n in os.listdir(folder) if not n.startswith((".", "__")))
        except OSError:
            return None
        return hashlib.sha256("\n".join(found).encode()).hexdigest()

    def of(self, use: str) -> str | None:
        """The digest of one use: ``file PATH``, ``set FOLDER`` or ``names FOLDER``, relative to the root."""
        kind, path = use.split(" ", 1)
        return {"file": self.file, "set": self.trees, "names": self.names}[kind](str(ROOT / path))

    def save(self) -> None:
        write(HASHES, self.known)


def uses(notes: Path) -> set[str]:
    """What a page used, from the notes that watch/sitecustomize.py took."""
    found, written, listed = set(), set(), set()
    for kind, what in (line.split(" ", 1) for line in notes.read_text("utf-8").splitlines()):
        if kind == "import":
            path = Path(*what.split("."))
            found |= {f"file {p}" for p in (path.with_suffix(".py"), path / "__init__.py") if (ROOT / p).exists()}
            continue
        path = Path(what).relative_to(ROOT)
        if len(path.parts) > 1 and path.parts[1] not in KEPT_WHOLE and (ROOT / Path(*path.parts[:2])).is_dir():
            found.add(f"set {Path(*path.parts[:2])}")
        elif kind == "list":
            listed.add(f"names {path}")
        else:
            (written if kind == "write" else found).add(f"file {path}")
    families = {
        p.parent for p in (Path(f.split(" ", 1)[1]) for f in found) if len(p.parts) == 3 and p.parts[0] == "attn"
    }
    for family in families:
        mechanisms = {f"file {p.relative_to(ROOT)}" for p in (ROOT / family).glob("[!_]*.py")}
        if mechanisms <= found:
            listed |= {f"names {family}", "names attn"}  # a new family is a new folder
    if "file attn/experiment.py" in found:
        listed.add("names data/results")  # where a mechanism has no records yet, there was no folder to list
    if "file attn/yolo/fit.py" in found:
        listed.add("names data/weights")  # a run starts otherwise when a checkpoint appears
    return found - written | listed


def parameters(notebook: Path, given: dict) -> dict:
    """Those of the given parameters that the page's cell tagged "parameters" has."""
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        if "parameters" in cell.get("metadata", {}).get("tags", ()):
            tree = ast.parse("".join(cell["source"]))
            has = {t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets}
            return {k: v for k, v in given.items() if k in has}
    return {}


def reports(digests: Digests) -> dict[str, str | None]:
    """What the page LAST is made from: the order of the pages, and what each of the others left behind."""
    others = [n for n in toc() if n != LAST and (ROOT / f"{n}.ipynb").exists()]
    files = ["_toc.yml", *(str((EXECUTED / f"{n}.json").relative_to(ROOT)) for n in others)]
    return {f"file {name}": digests.of(f"file {name}") for name in files}


@functools.cache
def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def device() -> str:
    """What a page trains on where nobody said: torch is asked only where there is a driver, for it takes seconds."""
    if not shutil.which("nvidia-smi"):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


class Page:
    """One notebook of the book: what it was made from the last time, and how to make it again."""

    def __init__(self, name: str, given: dict):
        self.name = name
        self.source = ROOT / f"{name}.ipynb"
        self.result = EXECUTED / f"{name}.ipynb"
        self.record = EXECUTED / f"{name}.json"
        self.folder = RUNNING / name.replace("/", "-")
        self.parameters = parameters(self.source, given)

    def fresh(self, digests: Digests) -> bool:
        last = read(self.record)
        return (
            self.result.exists()
            and "failed" not in last
            and last.get("parameters") == self.parameters
            and all(digests.of(use) == was for use, was in last["uses"].items())
        )

    def start(self, digests: Digests) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.began = time.time()
        self.digest = digests.file(str(self.source))
        self.notes = self.folder / "notes"
        self.notes.touch()
        environment = dict(os.environ)
        environment |= {
            "ATTN_RUNNER": str(os.getpid()),
            "ATTN_NOTES": str(self.notes),
            "ATTN_NOTES_DATA": str(ROOT / "data"),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(TOOLS / "watch"), os.environ.get("PYTHONPATH")])),
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
            "IPYTHONDIR": str(BUILD / "ipython"),  # the reader's own settings stay out of the pages
            "MPLCONFIGDIR": str(BUILD / "matplotlib"),
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        }
        target = self.folder / "page.ipynb"
        command = [sys.executable, TOOLS / "page.py", self.source, target, json.dumps(self.parameters)]
        with (self.folder / "said").open("wb") as said, (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=log)

    def finish(self, digests: Digests) -> str | None:
        """Puts the result into place, or says what went wrong."""
        self.seconds = round(time.time() - self.began, 1)
        if self.process.returncode:
            said, log = ((self.folder / n).read_text("utf-8", "replace").strip() for n in ("said", "log"))
            short = said or f"its process ended with {self.process.returncode}"
            write(self.record, read(self.record) | {"failed": short.splitlines()[0]})
            return said if self.process.returncode == 1 and said else "\n".join([short, *log.splitlines()[-15:]])
        found = {}
        for use in sorted(uses(self.notes)):
            found[use] = digests.of(use)
            kind, path = use.split(" ", 1)
            # Edited while the page ran: which of the two versions it saw cannot be known.
            if kind == "file" and path.endswith(".py") and os.stat(ROOT / path).st_mtime > self.began:
                found[use] = "edited while the page ran"
        found[f"file {self.source.relative_to(ROOT)}"] = self.digest
        if self.name == LAST:
            found |= reports(digests)
        if left := TESTS.get(self.name):
            found[left] = digests.of(left)
        self.result.parent.mkdir(parents=True, exist_ok=True)
        self.record.unlink(missing_ok=True)  # first, so that a record never speaks of another result than its own
        (self.folder / "page.ipynb").replace(self.result)
        how = {"parameters": self.parameters, "seconds": self.seconds, "versions": versions()}
        write(self.record, how | {"date": datetime.now(UTC).isoformat(timespec="seconds"), "uses": found})
        shutil.rmtree(self.folder)
        return None


class Progress:
    """One line that moves on a terminal; one line a page elsewhere."""

    def __init__(self, pages: list[Page], jobs: int):
        self.seconds = read(TIMES)
        self.pages, self.jobs, self.done, self.live = pages, jobs, 0, sys.stdout.isatty()

    def guess(self, page: Page) -> float:
        known = list(self.seconds.values())
        return self.seconds.get(page.name, sum(known) / len(known) if known else GUESS)

    def left(self, waiting: list[Page], running: list[Page]) -> str:
        work = sum(map(self.guess, waiting)) + sum(max(1, self.guess(p) - time.time() + p.began) for p in running)
        longest = max((max(1, self.guess(p) - time.time() + p.began) for p in running), default=0)
        seconds = max(work / self.jobs, longest)
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"

    def show(self, waiting: list[Page], running: list[Page]) -> None:
        if self.live:
            names = ", ".join(p.name.removeprefix("notebooks/") for p in running)
            line = f"  {self.done}/{len(self.pages)} pages   {self.left(waiting, running)}   running {names}"
            print("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1], end="", flush=True)

    def tell(self, page: Page, error: str | None, waiting: list[Page], running: list[Page]) -> None:
        self.done += 1
        if not error:
            self.seconds[page.name] = page.seconds
        clear = "\r\x1b[K" if self.live else ""
        rest = f"   {self.left(waiting, running)}" if waiting or running else ""
        mark = "FAILED" if error else f"{page.seconds:6.1f} s"
        print(f"{clear}  {self.done:>3}/{len(self.pages)}  {page.name:<40} {mark}{rest}", flush=True)
        if error:
            print("    " + error.replace("\n", "\n    "), flush=True)


def prepare() -> None:
    """What the first page would otherwise do in front of the reader: the data set, and matplotlib's list of fonts."""
    if subprocess.run([sys.executable, "-m", "attn", "data", "make", "digits"]).returncode:
        sys.exit("pages: the data could not be made")
    environment = dict(os.environ, MPLCONFIGDIR=str(BUILD / "matplotlib"))
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], env=environment, stderr=subprocess.DEVNULL)


def run(pages: list[Page], digests: Digests, jobs: int) -> list[Page]:
    """Runs the pages, longest first and LAST alone after all of them; returns those that failed."""
    progress = Progress(pages, jobs)
    waiting, running, failed = sorted(pages, key=lambda p: (p.name != LAST, progress.guess(p))), [], []
    try:
        while waiting or running:
            while waiting and len(running) < (1 if waiting[-1].name == LAST else jobs):
                running.append(waiting.pop())
                running[-1].start(digests)
            progress.show(waiting, running)
            time.sleep(0.1)
            for page in [p for p in running if p.process.poll() is not None]:
                running.remove(page)
                error = page.finish(digests)
                failed += [page] if error else []
                progress.tell(page, error, waiting, running)
                write(TIMES, progress.seconds)
    finally:
        for page in running:
            page.process.kill()
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="quick", choices=("quick", "record", "full"))
    parser.add_argument("--device", default="", help="what the pages train on (default: they choose)")
    parser.add_argument("--jobs", type=int, default=2, help="how many pages run at a time")
    parser.add_argument("--only", metavar="SLUG", help="only the page of this name")
    options = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    lock = (BUILD / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit("pages: another make is running the pages of this folder")

    given = {"profile": options.profile, "device": options.device or device()}
    pages = [Page(n, given) for n in toc() if (ROOT / f"{n}.ipynb").exists()]
    if options.only and not (chosen := [p for p in pages if p.source.stem == options.only]):
        sys.exit(f"pages: _toc.yml has no page {options.only!r}; it has {', '.join(p.source.stem for p in pages)}")
    pages = chosen if options.only else pages
    digests = Digests()
    stale = [p for p in pages if not p.fresh(digests)]
    if stale:  # what they leave behind will have changed
        stale += [p for p in pages if p.name == LAST and p not in stale]
    digests.save()
    if not stale:
        print(f"pages: up to date ({len(pages)})")
        return
    prepare()
    began = time.time()
    print(f"pages: {len(stale)} of {len(pages)} to run, {options.jobs} at a time, profile {options.profile}")
    try:
        failed = run(stale, digests, options.jobs)
    except KeyboardInterrupt:
        sys.exit("\npages: stopped; the same command again goes on")
    finally:
        digests.save()
    if failed:
        sys.exit(f"pages: {len(failed)} of {len(stale)} failed: {', '.join(p.name for p in failed)}")
    print(f"pages: done in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
