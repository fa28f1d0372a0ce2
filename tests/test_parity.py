# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Replays what the authors' own code gave: the same weights and input must give the same output.

``tests/parity/<slug>.safetensors`` holds numbers, and none of that code: ``weights.<name>`` under the names of our
module's state dict, ``input.0``, ``input.1``, ... and ``output.0``, ... The card in its metadata tells how they were
got: ``repository``, ``commit``, ``file``, ``licence``, ``how``, and ``channels`` and ``options`` (JSON) for our module;
``mode`` is ``training`` for one that does nothing in evaluation.
"""

import json
from pathlib import Path

import pytest
import torch

import attn
from attn.contract import distance, scale, tensors, version

safetensors = pytest.importorskip("safetensors")

FILES = sorted((Path(__file__).parent / "parity").glob("*.safetensors"))
VERSIONS = {p.stem: version(p.stem, "parity") for p in FILES}
each = pytest.mark.parametrize("path", FILES, ids=[p.stem for p in FILES])


def opened(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    with safetensors.safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def under(prefix: str, numbers: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): t for name, t in sorted(numbers.items()) if name.startswith(prefix)}


@each
@torch.no_grad()
def test_the_module_gives_what_the_authors_code_gave(path, record_property):
    record_property("promise", (path.stem, "parity", VERSIONS[path.stem]))
    card, numbers = opened(path)
    module = attn.create(path.stem, int(card["channels"]), **json.loads(card["options"]))
    module.train(card.get("mode") == "training")
    module.load_state_dict(under("weights.", numbers))
    given = tensors(module(*under("input.", numbers).values()))
    wanted = list(under("output.", numbers).values())
    record_property("number", distance(wanted, given) / scale(wanted))
    for ours, theirs in zip(given, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@each
def test_the_numbers_can_tell_a_wrong_version(path):
    """No weight is all zeros or ones, the output is not the input, and the file stays small and says its origin."""
    card, numbers = opened(path)
    assert all(card.get(k) for k in ("repository", "commit", "file", "licence", "how"))
    assert len(card["commit"]) == 40
    assert path.stat().st_size <= 50_000
    for name, t in under("weights.", numbers).items():
        assert not t.is_floating_point() or not ((t == 0).all() or (t == 1).all()), f"{name} keeps its initial value"
    x, y = numbers["input.0"], numbers["output.0"]
    assert x.shape != y.shape or not torch.allclose(x, y, atol=1e-2)
