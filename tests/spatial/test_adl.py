# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""ADL against loops written from the paper's equations, and against both maps of the authors' code."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import attn
from attn import tasks


def loops(x, gamma, b=None):
    """The layer of the paper, one element at a time, on nested lists.

    Args:
        x: the input, B × C × H × W.
        gamma: γ, the share of each image's largest value in a that parts hidden from kept positions.
        b: the coin of a training step, one for the whole batch: 1 takes the drop mask D, 0 the importance map I;
            None is evaluation.

    Returns:
        y, B × C × H × W.
    """
    B, C, H, W = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0])
    y = [[[[0.0] * W for _ in range(H)] for _ in range(C)] for _ in range(B)]
    for n in range(B):
        a = [[sum(x[n][c][i][j] for c in range(C)) / C for j in range(W)] for i in range(H)]
        threshold = gamma * max(a[i][j] for i in range(H) for j in range(W))  # of this image alone
        for i in range(H):
            for j in range(W):
                keep = 1.0 if a[i][j] < threshold else 0.0  # D: the hottest positions are hidden
                importance = 1 / (1 + math.exp(-a[i][j]))  # I
                factor = 1.0 if b is None else b * keep + (1 - b) * importance
                for c in range(C):
                    y[n][c][i][j] = x[n][c][i][j] * factor
    return y


def features(*shape: int) -> torch.Tensor:
    """Random maps of positive numbers in float64, warmer at some positions than at others."""
    generator = torch.Generator().manual_seed(0)
    warmth = torch.rand(shape[0], 1, *shape[2:], generator=generator, dtype=torch.float64)
    return warmth * (0.1 + torch.rand(shape, generator=generator, dtype=torch.float64))


def factors(x: torch.Tensor, gamma: float, b: int | None) -> torch.Tensor:
    """The factor of each position, by the loops on x without its negative numbers."""
    a = x.clamp(min=0).mean(1, keepdim=True)
    pair = torch.cat([2 * a + 1, -torch.ones_like(a)], 1)  # its mean is a, and its second channel shows the factor
    return -torch.tensor(loops(pair.tolist(), gamma, b), dtype=x.dtype)[:, 1:]


@pytest.mark.parametrize("threshold", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("b", [None, 0, 1])
def test_equals_the_equations(b, threshold):
    x = features(2, 24, 9, 5)
    module = attn.create("adl", 24, drop_rate=float(b or 0), threshold=threshold).train(b is not None)
    wanted = torch.tensor(loops(x.tolist(), threshold, b), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)
    assert b is None or not torch.equal(wanted, x)


@pytest.mark.parametrize("b", [0, 1])
def test_negative_features_take_no_part_in_the_map_but_stay_in_the_result(b):
    x = features(2, 24, 9, 5) - 0.1  # as behind SiLU
    wanted = x * factors(x, 0.9, b)
    torch.testing.assert_close(attn.create("adl", 24, drop_rate=float(b)).train()(x), wanted, atol=1e-10, rtol=0)
    assert (wanted < 0).any()


def test_the_hottest_position_is_hidden_whatever_the_level():
    """The formula read literally hides nothing where the largest mean is negative: γ times it lies above it."""
    x = features(3, 16, 9, 5)
    for level in (0.0, 0.3, 3.0):
        low = x - level
        drop = attn.create("adl", 16).attention(low)["drop"]
        hottest = low.clamp(min=0).mean(1, keepdim=True) == low.clamp(min=0).mean(1).amax((1, 2)).view(3, 1, 1, 1)
        assert (drop[hottest] == 0).all()
    a = low.mean(1, keepdim=True)
    assert (a < 0.9 * a.amax((2, 3), keepdim=True)).all()  # nothing is hidden


@torch.no_grad()
def test_the_authors_code_gave_both_maps():
    safetensors = pytest.importorskip("safetensors.torch")
    numbers = safetensors.load_file(Path(__file__).parents[1] / "parity" / "adl.safetensors")
    x = numbers["input.0"]
    for drop_rate, name in ((1.0, "output.0"), (0.0, "importance")):
        ours = attn.create("adl", 16, drop_rate=drop_rate, threshold=0.8).train()(x)
        torch.testing.assert_close(ours, numbers[name], atol=1e-6, rtol=0)


def test_both_maps_rebuild_a_training_step():
    """What the contract's ``rebuild`` cannot ask of an identity."""
    module, x = attn.create("adl", 16).train(), features(2, 16, 9, 5)
    a, seen = module.attention(x), set()
    for seed in range(20):
        torch.manual_seed(seed)
        y = module(x)
        seen |= {name for name, t in a.items() if torch.equal(y, x * t)}
        assert any(torch.equal(y, x * t) for t in a.values())
    assert seen == {"drop", "importance"}


def test_one_coin_for_the_batch_from_torchs_generator():
    module, x = attn.create("adl", 16).train(), features(8, 16, 5, 4)
    drop, heads = module.attention(x)["drop"], 0
    torch.manual_seed(0)
    for _ in range(400):
        hidden = module(x) == x * drop
        assert hidden.all() or not hidden.flatten(1).all(1).any()  # all images of a batch, or none
        heads += bool(hidden.all())
    assert abs(heads / 400 - 0.75) < 0.06
    torch.manual_seed(5)
    wanted = bool((torch.rand(()) + 0.75).floor())  # the coin of the authors' code
    torch.manual_seed(5)
    assert torch.equal(module(x), x * drop) is wanted


def test_evaluation_returns_what_it_was_given_and_draws_nothing():
    module, x = attn.create("adl", 16).eval(), features(2, 16, 5, 4)
    state = torch.random.get_rng_state()
    assert module(x) is x
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_gradient_behind_a_relu_is_the_authors():
    """At a dead feature, 0 behind the ReLU, the two maps have other slopes; the ReLU lets neither through."""
    z = features(2, 16, 5, 4) - 0.3
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(1), dtype=z.dtype)
    attn.create("adl", 16, drop_rate=0.0).train()(ours.relu()).backward(direction)
    (theirs.relu() * theirs.relu().mean(1, keepdim=True).sigmoid()).backward(direction)
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.proof
def test_a_training_step_compiles_into_one_graph():
    torch._dynamo.reset()
    for drop_rate, name in ((1.0, "drop"), (0.0, "importance")):
        module, x = attn.create("adl", 16, drop_rate=drop_rate).train(), features(2, 16, 5, 4).float()
        step = torch.compile(module, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(step(x), x * module.attention(x)[name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_step_makes_the_processor_wait_for_nothing():
    module, x = attn.create("adl", 16).cuda().train(), features(2, 16, 5, 4).float().cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        module(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_map_without_a_difference_is_hidden_whole():
    module = attn.create("adl", 8, drop_rate=1.0).train()
    assert not module(torch.ones(2, 8, 4, 3)).any()
    assert not module(torch.rand(2, 8, 1, 1)).any()
    assert module(torch.eye(4).expand(1, 8, 4, 4)).sum() == 0  # the diagonal is as hot as it gets, and the rest is 0


def test_it_has_nothing_to_learn_and_nothing_to_save():
    module = attn.create("adl", 64)
    assert not list(module.parameters())
    assert not module.state_dict()
    assert repr(module) == "ADL(drop_rate=0.75, threshold=0.9)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_rate": 1.5}, "drop_rate must lie between 0 and 1, not 1.5"),
        ({"threshold": -0.1}, "threshold must lie between 0 and 1, not -0.1"),
        ({"keep_prob": 0.25}, "unknown option of adl 'keep_prob'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("adl", 64, **options)


def test_a_sprite_tells_its_class_twice():
    x, label, parts = tasks.adl.sprites(64, seed=3)
    assert x.shape == (64, 3, 24, 24)
    assert set(label.tolist()) == {0, 1, 2}
    assert (parts.sum((2, 3)) == torch.tensor([16.0, 64.0])).all()
    assert not parts.prod(1).any()  # the head lies on no body
    head, body = ((x * parts[:, k : k + 1]).sum((2, 3)) / parts[:, k].sum((1, 2))[:, None] for k in (0, 1))
    assert torch.equal(head.argmax(1), label)
    assert head.max(1).values.min() > 1.8
    assert body.abs().max() < 0.1  # stripes have no mean
    bare = tasks.adl.headless(x, parts)
    assert (bare * parts[:, :1]).abs().max() < 0.6
    assert torch.equal(bare[:, 0][parts[:, 0] == 0], x[:, 0][parts[:, 0] == 0])
    assert torch.equal(x, tasks.adl.sprites(64, seed=3)[0])
    assert not torch.equal(x, tasks.adl.sprites(64, seed=4)[0])


def test_the_cut_is_perfect_on_a_perfect_map_and_poor_on_a_flat_one():
    parts = tasks.adl.sprites(8)[2]
    assert tasks.adl.overlap(parts.sum(1, keepdim=True), parts) == (1, 1, 1)
    iou, head, body = tasks.adl.overlap(torch.ones(8, 1, 24, 24), parts)
    assert iou == pytest.approx(80 / 24**2)
    assert (head, body) == (1, 1)
    assert tasks.adl.overlap(parts[:, :1], parts)[1:] == (1, 0)


def test_adl_learns_the_body_too():
    x, label, _ = tasks.adl.sprites(2048)
    new, truth, parts = tasks.adl.sprites(256, seed=1000)
    right = {}
    for name, layer in (("none", lambda C: nn.Identity()), ("adl", lambda C: attn.create("adl", C, threshold=0.5))):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = tasks.adl.learn(tasks.adl.classifier(layer), x, label)
        assert tasks.adl.accuracy(model, new, truth) > 0.95
        right[name] = tasks.adl.accuracy(model, tasks.adl.headless(new, parts), truth)
        maps = tasks.adl.cam(model, new, truth)
        assert maps.shape == (256, 1, 24, 24)
        assert 0 <= maps.min() <= maps.max() <= 1
    assert right["none"] < 0.6 < 0.8 < right["adl"]
