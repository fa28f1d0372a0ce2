# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Every circulating error: short, with a symptom that tells it from ours, and kept out of the register."""

import ast
import functools
import inspect
import json
import math
import re
from pathlib import Path

import pytest
import torch

import attn
from attn import broken

ERRORS = [(slug, wrong, symptom) for slug in broken.names() for wrong, symptom in broken.errors(slug).items()]
each = pytest.mark.parametrize(("slug", "wrong", "symptom"), ERRORS, ids=[f"{s}-{w.__name__}" for s, w, _ in ERRORS])


def test_every_file_is_a_mechanism_and_holds_an_error():
    files = {p.stem for p in Path(broken.__file__).parent.glob("[!_]*.py")}
    assert files <= set(attn.names())
    assert {slug for slug, *_ in ERRORS} == files


@each
def test_the_class_is_short_and_documented(slug, wrong, symptom):
    (node,) = ast.parse(inspect.getsource(wrong)).body
    first, body = node.lineno, node.body[1:]  # neither what decorates it nor its docstring is a line of code
    lines = inspect.getsource(wrong).splitlines()
    code = lines[first - 1 : node.body[0].lineno - 1] + lines[node.body[0].end_lineno : body[-1].end_lineno]
    assert len([line for line in code if line.strip()]) <= 10
    assert wrong.__doc__
    assert symptom.__doc__


@each
def test_the_class_says_its_kind_where_it_was_found_and_what_catches_it(slug, wrong, symptom):
    facts = vars(wrong).get("error")
    assert isinstance(facts, broken.Error), "decorate it with @error(kind=..., found=..., caught=...)"
    assert facts.found
    assert ".py" not in re.sub(r"`[^`]*`", "", facts.found), "a file stands in `...`, or the page links it"
    file, test = facts.caught.split("::")
    source = (Path(__file__).parents[1] / file).read_text("utf-8")
    assert file.startswith("tests/")
    assert f"def {test.split('[')[0]}(" in source, f"{file} has no such test"


@pytest.mark.parametrize("of", [broken.gallery, lambda kind: broken.error(kind=kind, found="", caught="")])
def test_an_unknown_kind_is_refused_by_name(of):
    with pytest.raises(ValueError, match="unknown kind of error 'wrong axes'; did you mean 'wrong axis'"):
        of("wrong axes")


@pytest.fixture
def unmeasured(monkeypatch):
    """Pages and tables in no time: every symptom is 1 there and 2 here."""
    errors = {slug: {} for slug in broken.names()}
    for slug, wrong, symptom in ERRORS:
        errors[slug][wrong] = functools.wraps(symptom)(lambda cls=None: 1 if cls is None else 2)
    monkeypatch.setattr(broken, "errors", errors.get)


def test_the_gallery_holds_every_error_once_and_names_a_kind_without_one(unmeasured):
    pages = {kind: broken.gallery(kind) for kind in broken.KINDS}
    assert sum(map(len, pages.values())) == len(ERRORS)
    for slug, wrong, symptom in ERRORS:
        cause, effect = (f.__doc__.split("\n")[0].rstrip(".") for f in (wrong, symptom))
        (case,) = [c for c in pages[wrong.error.kind] if (c["slug"], c["cause"]) == (slug, cause)]
        assert case["symptom"] == effect
        assert case["found"].endswith(wrong.error.found[1:])
        assert (case["there"], case["here"]) == ("1", "2")
    for page in pages.values():
        assert page._repr_markdown_().count("- [") == len(page)
        assert ("No mechanism here has an example" in page._repr_markdown_()) == (not page)


def test_the_page_has_a_section_for_each_kind():
    page = Path(__file__).parents[1] / "notebooks/compare/broken.ipynb"
    cells = ["".join(cell["source"]) for cell in json.loads(page.read_text("utf-8"))["cells"]]
    shown = [i for i, cell in enumerate(cells) if cell.startswith("broken.gallery(")]
    assert [cells[i] for i in shown] == [f'broken.gallery("{kind}")' for kind in broken.KINDS]
    assert [cells[i - 1].removeprefix("## ").lower() for i in shown] == [kind.lower() for kind in broken.KINDS]


@each
def test_the_symptom_tells_it_from_ours(slug, wrong, symptom):
    state = torch.random.get_rng_state()
    there, here = symptom(), symptom(attn.card(slug).cls)
    assert there == symptom(wrong)
    assert math.isfinite(there)
    assert math.isfinite(here)
    assert broken._number(there) != broken._number(here), "as the page prints them"
    assert torch.equal(state, torch.random.get_rng_state()), "a measurement draws from the caller's random numbers"


@pytest.mark.parametrize("slug", broken.names())
def test_the_table_has_a_row_for_each_error(slug, unmeasured):
    rows = broken.table(slug)
    assert len(rows) == len(broken.errors(slug))
    assert all(row["there"] != row["here"] and row["error"] and row["symptom"] for row in rows)


def test_an_unknown_mechanism_is_refused_by_name():
    with pytest.raises(ValueError, match="'sq'"):
        broken.table("sq")


def test_se_without_a_floor_has_one_gate_for_every_image():
    module = broken.se.NoFloor(8)
    a = module.attention(torch.randn(4, 8, 3, 3))
    assert a.shape == (4, 8, 1, 1)
    assert torch.equal(a[0], a[3])


@pytest.mark.parametrize("channels", [8, 64, 72, 136, 200, 256, 1000, 1024])
def test_se_rounded_width_is_that_of_timm(channels):
    theirs = pytest.importorskip("timm.layers").SEModule(channels)
    module = broken.se.RoundedWidth(channels)
    assert module.down.out_channels == theirs.fc1.out_channels
    theirs.load_state_dict(
        {f"fc{i}.{k}": v for i, m in ((1, module.down), (2, module.up)) for k, v in m.state_dict().items()}
    )
    x = torch.randn(2, channels, 4, 3)
    torch.testing.assert_close(module(x), theirs(x))
