# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The tools behind make: the setup's refusals, which pages run again, and what the site leaves out."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOLS = Path(__file__).parents[1] / "book/tools"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"book_tools_{name}", TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- the setup -------------------------------------------------------------------------------------------------------


def fake_python(root: Path) -> None:
    (root / ".venv/bin").mkdir()
    (root / ".venv/bin/python").symlink_to(sys.executable)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """The setup in an empty project on an empty disk; nothing reaches pip, and ``calls`` is what it was asked."""
    monkeypatch.chdir(tmp_path)
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_text("zipp==4.1.2\n")
    install = load("install")
    install.calls = []
    monkeypatch.setattr(install, "pip", lambda *a, count=0: install.calls.append(a))
    monkeypatch.setattr(install, "check_network", lambda python: None)
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: SimpleNamespace(free=1e12))
    monkeypatch.setattr(install, "make_venv", lambda: fake_python(tmp_path))
    return install


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 14, 0), (2, 7, 18)])
def test_setup_refuses_a_python_that_does_not_fit(install, version):
    with pytest.raises(install.Refused, match=rf"^Python {version[0]}\.{version[1]} does not fit: 3.11, 3.12 or 3.13"):
        install.check_python(version)


def test_setup_refuses_a_full_disk(install, monkeypatch):
    monkeypatch.setattr(install.shutil, "disk_usage", lambda _: SimpleNamespace(free=3.24e9))
    with pytest.raises(install.Refused, match=r"^3\.2 GB are free here, \d+ GB are needed"):
        install.setup()
    assert not Path(".venv").exists()


def test_setup_says_in_one_line_that_pip_gets_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in {"NO_INDEX": "1", "CONFIG_FILE": os.devnull, "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    Path("constraints.txt").write_text("zipp==4.1.2\n")
    install = load("install")
    with pytest.raises(install.Refused, match=r"^pip cannot get packages \(no network\?\): ERROR: [^\n]*zipp[^\n]*$"):
        install.check_network(sys.executable)


def test_setup_starts_over_when_it_was_cut_off_and_does_nothing_when_it_was_not(install):
    Path(".venv").mkdir()
    Path(".venv/half-a-package").touch()
    install.leave(done=None, torch_index="https://example.org/cpu")
    install.setup()
    assert not Path(".venv/half-a-package").exists()
    assert [c[0] for c in install.calls] == ["torch", "-r", "-e"]
    assert "https://example.org/cpu" in install.calls[0], "the address that the user gave is remembered"
    install.setup()
    assert len(install.calls) == 3
    Path("constraints.txt").write_text("zipp==4.1.3\n")
    install.setup()
    assert len(install.calls) == 6


def test_setup_goes_on_after_pip_failed(install, monkeypatch):
    def fails(*arguments, count=0):
        raise install.Refused("pip could not install")

    with monkeypatch.context() as patched:
        patched.setattr(install, "pip", fails)
        with pytest.raises(install.Refused, match="pip could not install"):
            install.setup()
    Path(".venv/what-was-installed").touch()
    install.setup()
    assert len(install.calls) == 3
    assert Path(".venv/what-was-installed").exists()


def test_setup_names_the_line_that_says_most(install):
    said = "Collecting x\n  FileNotFoundError: no such file: y\nerror: metadata-generation-failed\nhint: See above.\n"
    assert install.last_error(said) == "FileNotFoundError: no such file: y"
    assert install.last_error("ERROR: a\nERROR: No matching distribution\n\n") == "ERROR: No matching distribution"


# --- the pages -------------------------------------------------------------------------------------------------------


def notebook(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sources = {"parameters": 'profile = "quick"', "step-1": code}
    cells = [
        {"cell_type": "code", "id": i, "metadata": {}, "source": s, "outputs": [], "execution_count": None}
        for i, s in sources.items()
    ]
    cells[0]["metadata"]["tags"] = ["parameters"]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path.write_text(
        json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    )


class Book:
    """A project of two pages: ``a`` uses a mechanism; ``b`` another, a trainer, and the records in data/results/b."""

    def __init__(self, root: Path):
        self.root = root
        for name in (
            "__init__",
            "__main__",
            "channel/__init__",
            "channel/a",
            "mixed/__init__",
            "mixed/b",
            "yolo/__init__",
            "yolo/fit",
        ):
            file = root / f"attn/{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        (root / "data/results/b").mkdir(parents=True)
        (root / "data/weights").mkdir()
        (root / "data/results/b/1.json").write_text("1")
        (root / "_toc.yml").write_text("root: notebooks/a\nchapters:\n- file: notebooks/b\n")
        notebook(root / "notebooks/a.ipynb", "import attn.channel.a")
        notebook(
            root / "notebooks/b.ipynb",
            "import attn.mixed.b, attn.yolo.fit\nfrom pathlib import Path\n"
            "[p.read_text() for p in Path('../data/results/b').glob('*.json')]",
        )

    def start(self, *arguments) -> subprocess.Popen:
        environment = dict(os.environ, PYTHONPATH=str(self.root))
        command = [sys.executable, TOOLS / "pages.py", *arguments]
        return subprocess.Popen(
            command, cwd=self.root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def make(self, *arguments) -> tuple[int, list[str], str]:
        """The exit status, the pages that ran well, and all that was said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=120)
        ran = re.findall(r"^ +\d+/\d+  notebooks/(\w+) +[\d.]+ s", said, re.MULTILINE)
        return process.returncode, sorted(ran), said


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The project with every page run once."""
    book = Book(tmp_path_factory.mktemp("book"))
    status, ran, said = book.make()
    assert (status, ran) == (0, ["a", "b"]), said
    return book


def test_nothing_runs_again_without_a_change_of_content(book):
    os.utime(book.root / "attn/channel/a.py")
    assert book.make()[:2] == (0, [])


def test_a_changed_module_runs_the_pages_that_import_it(book):
    (book.root / "attn/channel/a.py").write_text("# a comment\n")
    assert book.make()[:2] == (0, ["a"])


def test_a_new_record_runs_the_pages_that_list_its_folder(book):
    (book.root / "data/results/b/2.json").write_text("2")
    assert book.make()[:2] == (0, ["b"])


def test_a_new_checkpoint_runs_the_pages_that_train(book):
    (book.root / "data/weights/early.safetensors").touch()
    assert book.make()[:2] == (0, ["b"])


def test_a_failing_page_is_explained_and_the_others_run(book):
    notebook(book.root / "notebooks/a.ipynb", "import attn.channel.a\n1 / 0")
    (book.root / "data/results/b/1.json").write_text("one")
    status, ran, said = book.make()
    assert (status, ran) == (1, ["b"]), said
    assert "cell 2 (step-1): ZeroDivisionError: division by zero" in said
    assert "1 of 2 failed: notebooks/a" in said
    notebook(book.root / "notebooks/a.ipynb", "import attn.channel.a")
    assert book.make()[0] == 0


def children(marker: str) -> list[int]:
    """The processes that have ``marker`` in their command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (process / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(process.name))
        except OSError:
            pass
    return found


def test_a_killed_run_leaves_no_process_and_the_next_goes_on(book):
    notebook(book.root / "notebooks/a.ipynb", "import time, pathlib\npathlib.Path('started').touch()\ntime.sleep(60)")
    process = book.start()
    started, until = book.root / "notebooks/started", time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    while children(str(book.root)):
        assert time.monotonic() < until
        time.sleep(0.05)
    notebook(book.root / "notebooks/a.ipynb", "import attn.channel.a")
    status, ran, said = book.make()
    assert status == 0, said
    assert ran == [], "the result of before the kill is whole, and its notebook is as it was"


def test_another_profile_is_another_page(book):
    assert book.make("--profile", "record", "--only", "a")[:2] == (0, ["a"])
    executed = json.loads((book.root / "_build/executed/notebooks/a.ipynb").read_text())
    assert 'profile = "record"' in "".join(executed["cells"][1]["source"])


@pytest.mark.proof
def test_the_last_page_reads_what_all_others_left_and_runs_again_when_one_has_changed(tmp_path):
    book = Book(tmp_path)
    (tmp_path / "_toc.yml").write_text("root: notebooks/compare/status\nchapters:\n- file: notebooks/a\n")
    read = "import json, pathlib\na = json.loads(pathlib.Path('../../_build/executed/notebooks/a.json').read_text())\n"
    notebook(tmp_path / "notebooks/compare/status.ipynb", read + "pathlib.Path('seen').write_text(json.dumps(a))")
    (tmp_path / "notebooks/b.ipynb").unlink()

    def seen() -> dict:
        return json.loads((tmp_path / "notebooks/compare/seen").read_text())

    assert book.make()[:2] == (0, ["a"])  # only the names of pages in no folder are told
    first = seen()
    assert set(first["versions"]) == {"attn", "python", "torch", "ultralytics"}
    assert first["seconds"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", first["date"])
    assert "up to date (2)" in book.make()[2]
    (tmp_path / "attn/channel/a.py").write_text("# a comment\n")
    assert book.make("--only", "a")[:2] == (0, ["a"])
    assert seen() == first
    status, ran, said = book.make()
    assert (status, ran) == (0, []), said
    assert "1 of 2 to run" in said
    assert seen()["date"] >= first["date"]
    assert seen() != first
    notebook(tmp_path / "notebooks/a.ipynb", "1 / 0")
    assert book.make()[0] == 1
    assert seen()["failed"] == "cell 2 (step-1): ZeroDivisionError: division by zero"


def test_a_first_record_and_a_new_family_run_the_pages_that_wait_for_them(tmp_path, monkeypatch):
    Book(tmp_path)
    (tmp_path / "attn/experiment.py").touch()
    monkeypatch.chdir(tmp_path)
    pages = load("pages")
    notes = tmp_path / "notes"
    notes.write_text("import attn.experiment\nimport attn.mixed.b\n")
    used = pages.uses(notes)
    assert used >= {"names data/results", "names attn/mixed", "names attn"}
    before = {use: pages.Digests().of(use) for use in used}
    (tmp_path / "data/results/c").mkdir()
    (tmp_path / "attn/spatial").mkdir()
    after = {use: pages.Digests().of(use) for use in used}
    assert {use for use in used if before[use] != after[use]} == {"names data/results", "names attn"}


def test_the_device_is_the_cpu_where_there_is_no_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert load("pages").device() == "cpu"


# --- the site --------------------------------------------------------------------------------------------------------


def test_readers_see_neither_papermills_cell_nor_the_parameters(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    build = load("build")
    tags = [["parameters"], ["injected-parameters"], ["hide-input"], ["parameters", "hide-input"]]
    cells = [{"id": str(i), "metadata": {"tags": list(t), "papermill": {}}} for i, t in enumerate(tags)]
    shown = build.for_readers({"cells": cells, "metadata": {"papermill": {"duration": 1}}, "nbformat": 4})
    assert [c["id"] for c in shown["cells"]] == ["0", "2", "3"]
    assert ["remove-cell" in c["metadata"]["tags"] for c in shown["cells"]] == [True, False, False]
    assert "papermill" not in json.dumps(shown)
