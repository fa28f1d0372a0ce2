# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Every circulating error: short, with a symptom that tells it from ours, and kept out of the register."""

import inspect
import math
from pathlib import Path

import pytest
import torch

import attn
from attn import broken

SLUGS = sorted(p.stem for p in Path(broken.__file__).parent.glob("[!_]*.py"))
ERRORS = [(slug, wrong, symptom) for slug in SLUGS for wrong, symptom in broken.errors(slug).items()]
each = pytest.mark.parametrize(("slug", "wrong", "symptom"), ERRORS, ids=[f"{s}-{w.__name__}" for s, w, _ in ERRORS])


def test_every_file_is_a_mechanism_and_holds_an_error():
    assert set(SLUGS) <= set(attn.names())
    assert {slug for slug, *_ in ERRORS} == set(SLUGS)


@each
def test_the_class_is_short_and_documented(slug, wrong, symptom):
    lines = [line for line in inspect.getsource(wrong).splitlines() if line.strip()]
    lines = lines[:1] + lines[1 + len(wrong.__doc__.splitlines()) :]  # the docstring is no line of code
    assert len(lines) <= 10
    assert wrong.__doc__
    assert symptom.__doc__


@each
def test_the_symptom_tells_it_from_ours(slug, wrong, symptom):
    state = torch.random.get_rng_state()
    there, here = symptom(), symptom(attn.card(slug).cls)
    assert there == symptom(wrong)
    assert math.isfinite(there)
    assert math.isfinite(here)
    assert there != here
    assert torch.equal(state, torch.random.get_rng_state()), "a measurement draws from the caller's random numbers"


@pytest.mark.parametrize("slug", SLUGS)
def test_the_table_has_a_row_for_each_error(slug):
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
