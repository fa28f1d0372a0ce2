# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Dual attention against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(a, w_q, b_q, w_k, b_k, w_v, b_v, alpha, beta, flipped=False):
    """Both branches of dual attention, each E_j = scale * sum_i s_ji (...)_i + A_j, over positions and over channels.

    Args:
        a: The map A, nested B x C x H x W.
        w_q: The layer of the queries, nested C/8 x C (1 x 1 convolution); its vector is that of the position j itself.
        b_q: The bias of w_q, C/8 numbers.
        w_k: The layer of the keys, nested C/8 x C; its vector is that of the position i that j looks at.
        b_k: The bias of w_k, C/8 numbers.
        w_v: The layer D of the values, nested C x C.
        b_v: The bias of w_v, C numbers.
        alpha: The scale of the position branch, a number.
        beta: The scale of the channel branch, a number; the branch has no other weight.
        flipped: False for the paper's softmax_i(A_j . A_i) of the channels; True for the released code's
            softmax_i(max_i(A_j . A_i) - A_j . A_i).

    Returns:
        (E of the position branch, E of the channel branch), each nested B x C x H x W.
    """

    def linear(w, b, p):
        return [bias + sum(w_c * p_c for w_c, p_c in zip(row, p, strict=True)) for row, bias in zip(w, b, strict=True)]

    def dot(u, v):
        return sum(u_n * v_n for u_n, v_n in zip(u, v, strict=True))

    def softmax(s):
        top = max(s)
        e = [math.exp(v - top) for v in s]
        return [v / sum(e) for v in e]

    positions, channels = [], []
    for ab in a:  # a sample never sees another
        cs, hs, ws = range(len(ab)), range(len(ab[0])), range(len(ab[0][0]))
        pixels = [[ab[c][y][x] for c in cs] for y in hs for x in ws]  # N x C
        rows = [[p[c] for p in pixels] for c in cs]  # C x N
        queries, keys, values = ([linear(w, b, p) for p in pixels] for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
        by_position = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        by_channel = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for y in hs:
            for x in ws:
                s = softmax([dot(queries[y * len(ws) + x], k) for k in keys])  # of position j, over all N, no scale
                for c in cs:
                    mixed = sum(s_i * v[c] for s_i, v in zip(s, values, strict=True))
                    by_position[c][y][x] = alpha * mixed + ab[c][y][x]
        for j in cs:
            energy = [dot(rows[j], rows[i]) for i in cs]
            s = softmax([max(energy) - e for e in energy] if flipped else energy)  # of channel j, over all C
            for y in hs:
                for x in ws:
                    mixed = sum(s[i] * ab[i][y][x] for i in cs)
                    by_channel[j][y][x] = beta * mixed + ab[j][y][x]
        positions.append(by_position)
        channels.append(by_channel)
    return positions, channels


@pytest.mark.parametrize("options", [{}, {"flipped": True}, {"reduction": 4}], ids=str)
@torch.no_grad()
def test_equals_the_equations(options):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, 5, 3, generator=generator, dtype=torch.float64) / 2
    both = attn.create("danet", 16, **options).double()
    for t in both.state_dict().values():
        t.copy_(torch.randn(t.shape, generator=generator, dtype=t.dtype) / 2)
    weights = [t.squeeze().tolist() for layer in (both.q, both.k, both.v) for t in (layer.weight, layer.bias)]
    scales = both.alpha.item(), both.beta.item()
    given = loops(x.tolist(), *weights, *scales, flipped=options.get("flipped", False))
    wanted = [torch.tensor(e, dtype=x.dtype) for e in given]
    torch.testing.assert_close(both(x), wanted[0] + wanted[1] - x, atol=1e-10, rtol=0)
    for branch, e in zip(("position", "channel"), wanted, strict=True):
        one = attn.create("danet", 16, branch=branch, **options).double()
        one.load_state_dict({name: both.state_dict()[name] for name in one.state_dict()})
        torch.testing.assert_close(one(x), e, atol=1e-10, rtol=0)


def test_the_authors_counts():
    assert attn.card("danet").params(512) == 328_321 + 1  # PAM_Module and CAM_Module
    assert [
        sum(p.numel() for p in attn.create("danet", 512, branch=b).parameters()) for b in ("position", "channel")
    ] == [
        328_321,
        1,
    ]


@torch.no_grad()
def test_a_fresh_module_returns_its_input():
    x = attn.card("danet").example(16)[0]
    for branch in ("both", "position", "channel"):
        assert torch.equal(attn.create("danet", 16, branch=branch)(x), x)


@torch.no_grad()
def test_a_channel_takes_from_what_is_alike():
    """Channel 1 is nearly channel 0, channel 2 its opposite; flipped, the opposite gets everything."""
    x = attn.card("danet").example(3)[0][:1]
    x[:, 1], x[:, 2] = 0.99 * x[:, 0], -x[:, 0]
    paper, theirs = (attn.create("danet", 3, flipped=f).attention(x)["channel"][0, 0] for f in (False, True))
    assert paper[0] > paper[1] > 1e-3
    assert paper[2] < 1e-6
    assert theirs[2] > 1 - 1e-6


@torch.no_grad()
def test_the_branches_add_up():
    both, x = subject("danet").module(), subject("danet").inputs()[0]
    found = x
    for branch in ("position", "channel"):
        one = attn.create("danet", 64, branch=branch).eval()
        one.load_state_dict({name: both.state_dict()[name] for name in one.state_dict()})
        assert list(one.attention(x)) == [branch]
        found = found + one(x) - x
    torch.testing.assert_close(both(x), found)


@torch.no_grad()
def test_scores_beyond_float16_stay_finite():
    """Rows of 300 over 400 positions have products of 36 million; float16 ends at 65,504."""
    module = subject("danet").module(16, spread=0.02)
    x = torch.full((1, 16, 20, 20), 300.0)
    with torch.autocast("cpu", torch.float16):
        assert module(x.half()).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction must be at least 1, not 0; the authors' is 8"),
        ({"branch": "chanel"}, "unknown branch 'chanel'; did you mean 'channel'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("danet", 64, **options)


def test_the_levels_are_wrong_by_position_and_by_channel():
    x, target = tasks.danet.levels(8, seed=3)
    assert x.shape == (8, 24, 8, 8)
    named, wrong = x[:, :8].flatten(2) / 0.3, (x[:, 8:] - target).flatten(2)  # n 8 N, n 16 N
    torch.testing.assert_close(named.sum(1), torch.ones(8, 64))
    groups = target.flatten(2)[:, :, None].eq(target.flatten(2)[:, None]).all(3)
    assert (groups.sum(2) == 8).all()
    shared = wrong - wrong[:, :1]  # without what all channels share at a position
    for image, colours in zip(shared, named.bool(), strict=True):
        for colour in colours:
            torch.testing.assert_close(image[:, colour], image[:, colour][:, :1].expand(-1, int(colour.sum())))
    assert torch.equal(x, tasks.danet.levels(8, seed=3)[0])
    assert not torch.equal(x, tasks.danet.levels(8, seed=4)[0])


def test_means_of_either_kind_take_away_one_and_their_sum_both():
    x, target = tasks.danet.levels(64, side=16)
    named, a, wanted = x[:, :8].flatten(2) / 0.3, x[:, 8:].flatten(2), target.flatten(2)
    alike = named.transpose(1, 2) @ named  # B N N
    position = a @ (alike / alike.sum(1, keepdim=True))
    alike = wanted[:, :, None].eq(wanted[:, None]).all(3).float()  # B C C
    channel = alike / alike.sum(2, keepdim=True) @ a
    errors = [
        float((z - wanted).square().mean() / wanted.var()) for z in (a, position, channel, position + channel - a)
    ]
    for error, about in zip(errors, (0.98, 0.49 + 0.49 / 32, 0.49 + 0.49 / 8, 0.49 / 32 + 0.49 / 8), strict=True):
        assert error == pytest.approx(about, abs=0.06)


@torch.no_grad()
def test_the_channel_branch_finds_the_group():
    """Untrained, the paper's formula takes away part of what the channels do not share; the other one adds to it."""
    x, target = tasks.danet.levels(64)
    wanted, errors = target.flatten(2), {}
    for flipped in (False, True):
        a = attn.create("danet", 24, branch="channel", flipped=flipped).attention(x)["channel"]
        errors[flipped] = tasks.error(nn.Identity(), (a @ x.flatten(2))[:, 8:], wanted)
    assert errors[False] < 0.7 < 1 < errors[True]
