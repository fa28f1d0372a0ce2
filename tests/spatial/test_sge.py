# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Spatial Group-wise Enhance against loops written from the paper's equations."""

import math

import pytest
import torch

import attn
from attn import tasks
from attn.contract import subject


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def loops(x, gamma, beta, eps=1e-5, unbiased=True):
    """Spatial group-wise enhance, one element at a time, on nested lists.

    Args:
        x: the input, B C H W; C is divisible by G = len(gamma), and group m has the channels m C/G to (m + 1) C/G - 1.
        gamma, beta: one scale and one shift for each of the G groups.
        eps: the ε that is added to the standard deviation (to it, not to the variance).
        unbiased: the variance over the positions is divided by HW - 1, otherwise by HW.

    Returns:
        y, B C H W: y_i = σ(γ_m ĉ_i + β_m) x_i for the positions i of group m.
    """
    B, C, H, W, G = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0]), len(gamma)
    places = [(i, j) for i in range(H) for j in range(W)]
    n = len(places)
    y = [[[[0.0] * W for _ in range(H)] for _ in range(C)] for _ in range(B)]
    for b in range(B):
        for m in range(G):
            channels = range(m * C // G, (m + 1) * C // G)
            g = {k: sum(x[b][k][i][j] for i, j in places) / n for k in channels}  # the group's global vector
            c = {(i, j): sum(g[k] * x[b][k][i][j] for k in channels) for i, j in places}  # g · x_i
            mean = sum(c.values()) / n
            variance = sum((c[p] - mean) ** 2 for p in places) / (n - 1 if unbiased else n)
            for i, j in places:
                normal = (c[i, j] - mean) / (math.sqrt(variance) + eps)
                gate = sigmoid(gamma[m] * normal + beta[m])
                for k in channels:
                    y[b][k][i][j] = gate * x[b][k][i][j]
    return y


@pytest.mark.parametrize(("channels", "groups"), [(24, 8), (24, 3), (24, 1), (24, None), (66, None)], ids=str)
def test_equals_the_equations(channels, groups):
    module = subject("sge", groups=groups).module(channels).double()
    x = torch.randn(2, channels, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.3
    gamma, beta = module.weight.flatten().tolist(), module.bias.flatten().tolist()
    assert len(gamma) == {24: groups or 24, 66: 33}[channels]
    wanted = torch.tensor(loops(x.tolist(), gamma, beta), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)
    biased = torch.tensor(loops(x.tolist(), gamma, beta, unbiased=False), dtype=x.dtype)
    assert (module(x) - biased).abs().max() > 1e-4  # the random weights tell the two spreads apart


def test_the_loops_divide_by_0_on_one_position_and_the_module_does_not():
    x = torch.randn(2, 24, 1, 1)
    with pytest.raises(ZeroDivisionError):
        loops(x.tolist(), [1.0] * 8, [0.5] * 8)
    module = subject("sge", groups=8).module(24)
    torch.testing.assert_close(module.attention(x), module.bias.sigmoid().expand(2, -1, -1, -1))


def test_a_fresh_module_passes_the_same_share_of_everything():
    x = attn.card("sge").example(48)[0]
    module = attn.create("sge", 48)
    torch.testing.assert_close(module(x), x * torch.tensor(1.0).sigmoid())


def test_the_map_does_not_depend_on_the_strength_of_a_group():
    module = subject("sge", groups=3).module(24)
    x = subject("sge").inputs(24)[0] + 1  # far from 0: ε is small beside the spread
    strength = torch.tensor([0.1, 3.0, -20.0]).repeat_interleave(8)[:, None, None]
    torch.testing.assert_close(module.attention(x * strength), module.attention(x), atol=1e-4, rtol=0)


def test_one_channel_a_group_is_standardised_and_its_sign_that_of_its_mean():
    x = subject("sge").inputs(64)[0]
    module = attn.create("sge", 64)
    with torch.no_grad():
        module.weight.fill_(1)
    mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
    wanted = (mean.sign() * (x - mean) / std + 1).sigmoid()
    torch.testing.assert_close(module.attention(x), wanted, atol=2e-2, rtol=0)  # ε is not small beside a mean near 0


def test_a_group_sees_no_other():
    module = subject("sge", groups=4).module(32)
    x = subject("sge").inputs(32)[0]
    changed = x.clone()
    changed[:, 8:16] = subject("sge").inputs(8)[0]
    moved = (module(changed) - module(x)).abs().amax((0, 2, 3)) > 0
    assert moved.tolist() == [8 <= c < 16 for c in range(32)]


@pytest.mark.parametrize(("channels", "fitted"), [(8, 8), (64, 64), (72, 36), (136, 34), (256, 64), (1000, 50)])
def test_the_default_is_the_largest_divisor_up_to_64(channels, fitted):
    module = attn.create("sge", channels)
    assert module.groups == fitted
    assert f"groups={fitted}" in repr(module)
    assert sum(p.numel() for p in module.parameters()) == attn.card("sge").params(channels) == 2 * fitted


@pytest.mark.parametrize("groups", [5, 0, -8, 48, "8"])
def test_refused(groups):
    with pytest.raises(
        ValueError, match=rf"divide the 24 channels, not {groups!r}; these do: 1, 2, 3, 4, 6, 8, 12, 24"
    ):
        attn.create("sge", 24, groups=groups)


def test_the_things_are_told_by_repetition_alone():
    x, target, squares = tasks.sge.things(16, seed=3)
    assert x.shape == target.shape == (16, 24, 16, 16)
    assert squares.sum((2, 3)).eq(64).all()
    vectors = x.unflatten(1, (3, 8))
    torch.testing.assert_close(vectors.norm(dim=2), torch.ones(16, 3, 16, 16))
    assert torch.equal(target, (vectors * squares[:, :, None]).flatten(1, 2))
    directions = set()
    for group, square in zip(vectors.flatten(0, 1), squares.flatten(0, 1), strict=True):
        inside = group[:, square > 0]  # width 64
        assert torch.equal(inside, inside[:, :1].expand(-1, 64))
        directions.add(tuple(inside[:, 0].tolist()))
    assert len(directions) == 48
    assert torch.equal(x, tasks.sge.things(16, seed=3)[0])
    assert not torch.equal(x, tasks.sge.things(16, seed=4)[0])


def test_sge_solves_what_one_map_cannot():
    x, target, squares = tasks.sge.things(256)
    new, new_target, _ = tasks.sge.things(64, seed=1)
    errors = {}
    for groups in (3, 1):
        module = tasks.learn(attn.create("sge", 24, groups=groups), x, target, steps=200, batch=16)
        errors[groups] = tasks.error(module, new, new_target)
        if groups == 3:
            a = module.attention(x)
            assert a[squares > 0].mean() > 0.7 > 0.2 > a[squares == 0].mean()
    assert errors[3] < 0.2
    assert errors[1] > 0.4
