# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What the small tasks share; each has tests of its own beside those of its mechanism."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import attn
from attn import experiment, tasks


def test_every_mechanism_has_a_task():
    assert {slug for slug in attn.names() if tasks.of(slug)} == set(attn.names())
    with pytest.raises(ValueError, match="unknown task 'biforner'; did you mean 'biformer'"):
        tasks.of("biforner")
    with pytest.raises(AttributeError, match="unknown task 'biforner'"):
        tasks.biforner  # noqa: B018


@pytest.mark.parametrize("slug", [slug for slug in attn.names() if attn.card(slug).detector is None])
def test_what_records_are_made_of(slug):
    task = tasks.of(slug)
    assert all(isinstance(text, str) and text for text in (task.DATA, task.CONTROL))
    assert len(task.RATES) % 2 == 1
    assert list(task.RATES) == sorted(task.RATES)
    assert set(task.PROFILES) == {"quick", "record"}
    assert {frozenset(p) for p in task.PROFILES.values()} == {frozenset({"epochs", "images", "val", "size", "batch"})}


def test_a_fit_is_repeatable_and_leaves_torch_as_it_was(monkeypatch):
    seen = []

    def fit(plan, tell):
        tell(1, 1, "done")
        seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))
        return {"drawn": float(torch.rand(()))}

    monkeypatch.setattr(tasks, "of", lambda slug: SimpleNamespace(fit=fit))
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state()
    plans = [SimpleNamespace(slug="se", threads=2, seed=seed) for seed in (0, 0, 1)]
    first, again, other = (tasks.fit(plan) for plan in plans)
    assert first == again != other
    assert set(seen) == {(2, True)}
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.random.get_rng_state(), before[2])


def test_the_error_is_a_share_of_the_variance():
    x, target = torch.randn(64, 8, 4, 4), 3 + 2 * torch.randn(64, 1, 4, 4)
    constant = nn.Conv2d(8, 1, 1)
    nn.init.zeros_(constant.weight)
    nn.init.constant_(constant.bias, float(target.mean()))
    assert tasks.error(constant, x, target) == pytest.approx(1, abs=1e-2)


def test_a_plan_hashes_the_other_tasks_that_its_own_takes_from(monkeypatch, tmp_path):
    """CSRA's sheets show RAM's handwriting, so a change there makes other records; RAM takes from nobody."""
    ram, csra = tasks.of("ram"), tasks.of("csra")
    before = experiment._task_hash(ram), experiment._task_hash(csra)
    assert before[0] == experiment._code_hash(Path(ram.__file__).read_text("utf-8"))
    changed = tmp_path / "ram.py"
    changed.write_text(Path(ram.__file__).read_text("utf-8") + "\nMORE = 1\n", "utf-8")
    monkeypatch.setattr(ram, "__file__", str(changed))
    assert not {*before} & {experiment._task_hash(ram), experiment._task_hash(csra)}
