# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Every rival that the bench times computes what ours computes, forward and backward."""

from pathlib import Path

import pytest
import torch

import attn
from attn.contract import close, subject, tensors
from attn.rivals import about, rivals

PAIRS = [(slug, name) for slug in attn.names() for name in rivals(slug)]


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("slug", "name"), PAIRS, ids=[f"{slug}-{name}" for slug, name in PAIRS])
def test_equals_ours(slug, name, train):
    facts, make = subject(slug), rivals(slug)[name]
    for channels, size in ((64, (20, 20)), (128, (9, 7))):
        ours = facts.module(channels, train)
        try:
            theirs = make(ours).train(train)
        except ImportError as e:
            pytest.skip(str(e))
        found = []
        for module in (ours, theirs):
            inputs = [x.requires_grad_() for x in facts.inputs(channels, size)]
            outputs = tensors(module(*inputs))
            above = [torch.linspace(-1, 1, y.numel()).reshape(y.shape) for y in outputs]
            found.append([*outputs, *torch.autograd.grad(outputs, inputs, above)])
        close(*found, 1e-4, name)
        if not train:
            with torch.no_grad():  # nn.MultiheadAttention has another way there
                close(ours(*inputs), theirs(*inputs), 1e-4, f"{name} without gradients")


@pytest.mark.parametrize(("slug", "name"), PAIRS, ids=[f"{slug}-{name}" for slug, name in PAIRS])
def test_says_what_it_is(slug, name):
    text = about(rivals(slug)[name])
    assert name == "plain" or text.startswith(name.replace("_", "."))


def test_every_file_is_a_mechanisms():
    files = {p.stem for p in Path(attn.rivals.__file__).parent.glob("[!_]*.py")}
    assert files == {slug for slug, _ in PAIRS} <= set(attn.names())
    assert rivals("adl") == {}


def test_an_unknown_slug_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown mechanism 'biforner'; did you mean 'biformer'"):
        rivals("biforner")
