# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of a chapter, over every notebook of every family: a new chapter is covered without an edit here."""

import ast
import json
import re
from collections import Counter
from pathlib import Path

import pytest

import attn
from attn.registry import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [p for family in FAMILIES for p in sorted((ROOT / "notebooks" / family).glob("*.ipynb"))]
CHAPTERS = [p for p in PAGES if p.stem != "index"]

START = ["In one picture", "The mathematics", "Step by step", "The module", "What it costs"]
END = ["Limits and kin", "Exercises", "References"]
IN_DETECTOR = ["What it looks at", "In the detector"]
ELSEWHERE = ["At work"]

# What the guide asks for; a test refuses only what is half of the least or half again the most.
GUIDE = {"words": (1300, 1800), "lines": (80, 130), "cells": (14, 18), "figures": (4, 4), "exercises": (3, 3)}

PARAMETERS = {"profile": "quick", "seed": 0, "device": None, "data": "digits", "epochs": None}
IDS = {"intro", "setup", "parameters", "card", "maths-1", "step-1", "claim", "cost"}
TRAINING = r"\.backward\(|\boptim\b|\boptimi[sz]er\.step|zero_grad"
DOWNLOAD = r"urllib|requests\.|urlopen|wget|curl|load_state_dict_from_url|pip install|torch\.hub"

ABBREVIATIONS = r"(?:Eqs?|Figs?|Sec|al|vs|cf|No|[A-Z])\.$"


def pages(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda p: f"{p.parent.name}/{p.stem}")


def cells(path: Path, kind: str | None = None) -> list[dict]:
    found = json.loads(path.read_text("utf-8"))["cells"]
    return [{**c, "source": "".join(c["source"])} for c in found if kind in (None, c["cell_type"])]


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


def shown(path: Path) -> list[dict]:
    """The code cells that a reader reads."""
    return [c for c in cells(path, "code") if c["id"] not in ("setup", "parameters")]


def text(path: Path) -> str:
    return "\n\n".join(c["source"] for c in cells(path, "markdown"))


def prose(markdown: str) -> list[str]:
    """The lines that hold sentences: no code, no displayed formula, no table, no heading, no directive."""
    markdown = re.sub(r"^(`{3,})(\{math\}|\w).*?^\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    lines = (line.strip() for line in markdown.splitlines())
    return [line for line in lines if line and not re.match(r"[|#:]|`{3,}|\$\$|<|!\[", line)]


def words(markdown: str) -> int:
    plain = re.sub(r"\$[^$]*\$|\{\w+\}`[^`]*`", " ", "\n".join(prose(markdown)))
    return len(re.findall(r"\b[^\W_][\w'’-]*", plain))


def two_sentences(line: str) -> bool:
    """Whether a second sentence starts inside the line."""
    line = re.sub(r"`[^`]*`|\$[^$]*\$", "X", line)
    return any(
        not re.search(ABBREVIATIONS, line[: m.start() + 1])
        for m in re.finditer(r"[.!?][)\"”*]*\s+(?=[A-Z\"“(*])", line)
    )


def headings(path: Path) -> list[str]:
    return re.findall(r"^## +(.+?) *$", text(path), re.MULTILINE)


def figures(path: Path) -> list[dict]:
    return [c for c in cells(path, "code") if "mystnb" in c["metadata"]]


def equations(path: Path) -> list[str]:
    return re.findall(r"^:label: *(\S+)", text(path), re.MULTILINE)


def test_there_is_a_chapter_for_every_mechanism():
    assert {p.stem: p.parent.name for p in CHAPTERS} == {s: attn.card(s).family for s in attn.names()}


@pages(CHAPTERS)
def test_headings_and_their_order(path):
    middle = ELSEWHERE if attn.card(path.stem).detector is None else IN_DETECTOR
    assert headings(path) == START + middle + END
    assert len(re.findall(r"^# ", text(path), re.MULTILINE)) == 1


@pages(CHAPTERS)
def test_length(path):
    code = shown(path)
    counts = {
        "words": words(text(path)),
        "lines": sum(bool(line.strip()) for c in code for line in c["source"].splitlines()),
        "cells": len(code),
        "figures": len(figures(path)),
        "exercises": len(re.findall(r"^\*\*Exercise \d: .*minutes", text(path), re.MULTILINE)),
    }
    for what, (least, most) in GUIDE.items():
        assert least / 2 < counts[what] < most * 1.5, f"{counts[what]} {what}, where the guide says {least} to {most}"


@pages(CHAPTERS)
def test_sections_without_code(path):
    section, found = "", []
    for cell in cells(path):
        if cell["cell_type"] == "markdown":
            section = (re.findall(r"^## +(.+?) *$", cell["source"], re.MULTILINE) or [section])[-1]
        elif section in ("The mathematics", "Limits and kin", "References"):
            found.append(cell["id"])
    assert not found


@pages(PAGES)
def test_no_cell_does_what_the_package_is_for(path):
    for i, cell in enumerate(cells(path, "code")):
        source, where = cell["source"], f"cell {cell['id']}"
        assert len(source.splitlines()) <= 20, f"{where} has more than 20 lines"
        assert cell["id"].startswith("exercise") or not re.search(r"^\s*class ", source, re.MULTILINE), (
            f"{where}: class"
        )
        assert not re.search(r"\bplt\.|pyplot", source), f"{where}: pyplot"
        assert not re.search(TRAINING, source), f"{where}: a training loop"
        assert i == 0 or not re.search(DOWNLOAD, source), f"{where}: a download"


@pages(PAGES)
def test_cells_are_clean(path):
    notebook = json.loads(path.read_text("utf-8"))
    assert set(notebook["metadata"]) <= {"kernelspec", "language_info"}
    ids = [c["id"] for c in notebook["cells"]]
    assert len(ids) == len(set(ids))
    for cell in notebook["cells"]:
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", cell["id"]), f"{cell['id']!r} is no name"
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pages(CHAPTERS)
def test_named_cells(path):
    ids = {c["id"] for c in cells(path)}
    assert ids >= IDS
    assert any(i.startswith("exercise-") for i in ids)
    claim = next(c["source"] for c in cells(path, "code") if c["id"] == "claim")
    assert "torch.testing.assert_close(" in claim
    assert f'attn.create("{path.stem}"' in "".join(
        c["source"] for c in shown(path) if c["id"].startswith(("step", "claim"))
    )
    assert "assert" in next(c["source"] for c in cells(path, "code") if c["id"] == "cost")


@pages(PAGES)
def test_first_cells(path):
    setup, *rest = cells(path, "code")
    assert setup["id"] == "setup"
    assert set(tags(setup)) & {"remove-cell", "hide-input"}
    given = [c for c in rest if "parameters" in tags(c)]
    if path in CHAPTERS:
        assert rest[0] in given
    for cell in given:
        lines = ast.parse(cell["source"]).body
        assert {line.targets[0].id: ast.literal_eval(line.value) for line in lines} == PARAMETERS


@pages(PAGES)
def test_figures(path):
    prefix = f"fig-{path.parent.name}-" if path.stem == "index" else f"fig-{path.stem}-"
    for cell in figures(path):
        about = cell["metadata"]["mystnb"]
        name, caption = about["figure"]["name"], about["figure"]["caption"]
        assert name.startswith(prefix)
        assert caption.rstrip().endswith(".")
        assert len(about["image"]["alt"].split()) >= 8, f"{name}: the alt text says too little"
        assert f"{{numref}}`{name}`" in text(path), f"{name} is not mentioned in the text"
    drawing = [
        c["id"]
        for c in cells(path, "code")
        if re.search(r"^viz\.(heat|paths|diagram|curves|intervals)\(", c["source"], re.M)
    ]
    assert drawing == [c["id"] for c in figures(path)], "a figure needs a caption and an alt text"
    for a, b in zip(cells(path), cells(path)[1:], strict=False):
        assert a["id"] not in drawing or b["cell_type"] == "markdown", f"no sentence reads the figure of cell {a['id']}"


@pages(CHAPTERS)
def test_equations(path):
    labels = equations(path)
    assert 2 <= len(labels) <= 6
    assert all(label.startswith(f"eq-{path.stem}-") for label in labels)
    assert set(re.findall(r"\{eq\}`([^`]+)`", text(path))) == set(labels), "each equation is referred to, and no other"


def test_labels_are_unique_over_the_book():
    labels = [e for p in PAGES for e in equations(p)]
    labels += [c["metadata"]["mystnb"]["figure"]["name"] for p in PAGES for c in figures(p)]
    assert not [label for label, n in Counter(labels).items() if n > 1]


@pages(PAGES)
def test_citations(path):
    known = set(re.findall(r"^@\w+\{(\S+),", (ROOT / "book" / "references.bib").read_text("utf-8"), re.MULTILINE))
    cited = {k.strip() for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text(path)) for k in group.split(",")}
    assert cited <= known
    if path in CHAPTERS:
        assert path.stem in cited


@pages(PAGES)
def test_prose(path):
    whole = text(path)
    for word in ("simply", "obviously"):
        assert not re.search(rf"\b{word}\b", whole, re.IGNORECASE), word
    for line in prose(whole):
        assert not two_sentences(line), f"two sentences in one line: {line}"
        assert re.search(r"[.!?:;,][)*`_]*$|\*\*$", line), f"a line that ends in the middle of a sentence: {line}"


@pytest.mark.parametrize(
    ("line", "two"),
    [
        ("One sentence, as Eq. 3 and Hu et al. say.", False),
        ("One. Two.", True),
        ("It ends `here.` Next one.", False),
        ("See Table 1. The rest follows.", True),
        ("A question? Yes.", True),
        ("A number of 0.5 and J. Hu.", False),
    ],
)
def test_a_second_sentence_is_seen(line, two):
    assert two_sentences(line) is two


def test_words_are_those_of_sentences():
    maths = "```{math}\n:label: a\nx = y\n```"
    folded = "```{dropdown} Answer\nThree more words.\n```"
    markdown = f"## Head\n\nTwo words, {{cite}}`se` $x_c$.\n\n{maths}\n\n| a | b |\n\n{folded}"
    assert words(markdown) == 5
