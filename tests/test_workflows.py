# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Rules over .github/workflows that actionlint (`make workflows`) does not have."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
workflows = pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)


def load(path: Path) -> dict:
    found = yaml.safe_load(path.read_text("utf-8"))
    return {"on" if key is True else key: value for key, value in found.items()}  # YAML 1.1 reads `on` as true


def steps(job: dict, what: str) -> list[str]:
    return [step[what] for step in job["steps"] if what in step]


def test_what_starts_each():
    found = {path.stem: load(path)["on"] for path in FILES}
    assert set(found) == {"checks", "gpu", "publish"}
    assert set(found["checks"]) == {"pull_request", "push"}
    assert set(found["gpu"]) == {"workflow_dispatch"}
    assert set(found["publish"]) == {"push"}
    assert set(found["publish"]["push"]) == {"tags"}


@workflows
def test_every_action_is_pinned_by_its_commit(path):
    used = re.findall(r"uses: *(.+)", path.read_text("utf-8"))
    assert used
    assert [u for u in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", u)] == []


def test_an_action_has_one_version():
    used = {u for path in FILES for u in re.findall(r"uses: *(.+)", path.read_text("utf-8"))}
    assert len(used) == len({u.partition("@")[0] for u in used})


@workflows
def test_a_job_that_may_write_runs_none_of_our_code(path):
    found = load(path)
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        assert job["timeout-minutes"]
        if "write" in job.get("permissions", {}).values():
            said = "\n".join(steps(job, "run"))
            assert not re.search(r"\b(make|python|pip|bash|sh)\b|\./", said), name
        else:
            clones = [s for s in job["steps"] if "actions/checkout@" in s.get("uses", "")]
            assert all(s["with"]["persist-credentials"] is False for s in clones), name


@workflows
def test_who_tests_or_trains_has_the_whole_history(path):
    """A record names the commit that it was made at, and tests and pages look it up."""
    for name, job in load(path)["jobs"].items():
        if re.search(r"make (test|proof|records|book)\b", "\n".join(steps(job, "run"))):
            (clone,) = [s for s in job["steps"] if "actions/checkout@" in s.get("uses", "")]
            assert clone["with"]["fetch-depth"] == 0, name


@workflows
def test_what_they_call_is_there(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    said = "\n".join(line for job in load(path)["jobs"].values() for line in steps(job, "run"))
    assert set(re.findall(r"\bmake ([a-z]+)", said)) <= targets
    for file in re.findall(r"\b(?:tests|book|attn)/[\w/]+\.py\b", said):
        assert (ROOT / file).is_file(), file


def test_the_gpu_proposes_records_and_nothing_else():
    jobs = load(ROOT / ".github/workflows/gpu.yml")["jobs"]
    assert "nvidia-smi" in steps(jobs["train"], "run")
    assert jobs["train"]["runs-on"] == "${{ inputs.runner }}"
    assert any("PROFILE" in s and s.startswith("make book") for s in steps(jobs["train"], "run"))
    (said,) = steps(jobs["propose"], "run")
    assert re.findall(r"git add .*", said) == ["git add -- data/results"]


@pytest.mark.parametrize(
    ("change", "new"),
    [
        ("A\tdata/results/se/digits-record-cuda-s0-1a2b3c4d.json", True),
        ("M\tdata/results/se/digits-record-cuda-s0-1a2b3c4d.json", False),
        ("A\tdata/results/se/notes.txt", False),
        ("A\tattn/channel/se.py", False),
    ],
)
def test_what_counts_as_a_new_record(change, new):
    (said,) = steps(load(ROOT / ".github/workflows/gpu.yml")["jobs"]["propose"], "run")
    (rule,) = re.findall(r"grep -v -P '(.+)'", said)
    assert bool(re.search(rule, change)) is new
