# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""S2-MLPv2's token mixer against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, m1, n1, w1, w2, m2, n2, mean=False):
    """S2-MLPv2 without LayerNorm and residual: MLP_1, two shifts, split attention, MLP_2.

    Args:
        x: The map X, nested B x c x H x W, c a multiple of 4.
        m1: The weight of MLP_1, nested 3c x c; rows 0 to c - 1 make X_1, the next c X_2, the last c X_3.
        n1: The bias of MLP_1, 3c numbers.
        w1: W_1 of the split attention (a W_1), nested c x cbar; no bias.
        w2: W_2 of the split attention, nested cbar x 3c; column kc + j is the logit of channel j in branch k.
        m2: The weight of MLP_2, nested c x c, row = output channel.
        n2: The bias of MLP_2, c numbers.
        mean: Whether a is the mean over the H W positions; the paper's a is their sum.

    Returns:
        The output, nested B x c x H x W.
    """
    c, y = len(m2), []
    first = [(1, 0), (-1, 0), (0, 1), (0, -1)]  # SS1: content moves down, up, right, left, a quarter each
    moves = [first, [(q, p) for p, q in first], [(0, 0)] * 4]  # SS2 has the axes exchanged, X_3 stays
    for xb in x:
        hs, ws = range(len(xb[0])), range(len(xb[0][0]))
        branches = []  # [k][channel][row][column]
        for k in range(3):
            wide = [  # MLP_1, at each position alone
                [
                    [n1[k * c + o] + sum(m1[k * c + o][j] * xb[j][row][col] for j in range(c)) for col in ws]
                    for row in hs
                ]
                for o in range(c)
            ]
            moved = []
            for o in range(c):
                down, right = moves[k][o // (c // 4)]
                plane = [[wide[o][row][col] for col in ws] for row in hs]
                for row in hs:
                    for col in ws:
                        if row - down in hs and col - right in ws:  # else a border row: its old value stays
                            plane[row][col] = wide[o][row - down][col - right]
                moved.append(plane)
            branches.append(moved)
        a = [sum(branches[k][j][row][col] for k in range(3) for row in hs for col in ws) for j in range(c)]
        if mean:
            a = [v / (len(hs) * len(ws)) for v in a]
        z = [sum(a[j] * w1[j][m] for j in range(c)) for m in range(len(w2))]
        hidden = [v * (1.0 + math.erf(v / math.sqrt(2.0))) / 2.0 for v in z]  # GELU
        s = [sum(hidden[m] * w2[m][q] for m in range(len(w2))) for q in range(3 * c)]
        merged = []
        for j in range(c):
            top = max(s[k * c + j] for k in range(3))  # the sum's logits are large
            e = [math.exp(s[k * c + j] - top) for k in range(3)]
            merged.append(
                [[sum(e[k] / sum(e) * branches[k][j][row][col] for k in range(3)) for col in ws] for row in hs]
            )
        y.append(
            [
                [[n2[o] + sum(m2[o][j] * merged[j][row][col] for j in range(c)) for col in ws] for row in hs]
                for o in range(c)
            ]
        )
    return y


@pytest.mark.parametrize("options", [{}, {"reduction": 3}, {"reduction": 1, "mean": False}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("s2mlp", 16, residual=False, **options).double()
    generator = torch.Generator().manual_seed(0)
    for name, p in module.named_parameters():
        small = 0.005 if name == "fuse.weight" and "mean" in options else 0.3  # a sum must not settle the softmax
        p.data = small * torch.randn(p.shape, generator=generator, dtype=p.dtype)
    x = torch.randn(2, 16, 6, 5, generator=generator, dtype=torch.float64) + 0.5
    assert 0.01 < module.attention(x).min() < module.attention(x).max() < 0.99
    m1, w1, w2, m2 = (t.weight.flatten(1) for t in (module.expand, module.fuse, module.select, module.project))
    numbers = m1, module.expand.bias, w1.mT, w2.mT, m2, module.project.bias
    wanted = loops(x.tolist(), *(t.tolist() for t in numbers), mean=options.get("mean", True))
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def test_the_default_adds_x():
    ours, bare = subject("s2mlp"), subject("s2mlp", residual=False)
    x = ours.inputs()[0]
    torch.testing.assert_close(ours.module()(x), x + bare.module()(x))


def test_the_shifts_move_by_one_and_keep_the_border():
    module = attn.create("s2mlp", 8).requires_grad_(False)
    with torch.no_grad():
        module.expand.weight.copy_(torch.eye(8).repeat(3, 1)[..., None, None])  # three times x
        module.expand.bias.zero_()
    x = torch.arange(12.0).reshape(1, 1, 3, 4).expand(1, 8, 3, 4)
    down, up = [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 9, 10, 11, 8, 9, 10, 11]
    right, left = [0, 0, 1, 2, 4, 4, 5, 6, 8, 8, 9, 10], [1, 2, 3, 3, 5, 6, 7, 7, 9, 10, 11, 11]
    for part, ways in zip(module._parts(x).unbind(1), ((down, up, right, left), (right, left, down, up)), strict=False):
        assert part[0, ::2].flatten(1).tolist() == [*map(list, ways)]
        assert torch.equal(part[:, ::2], part[:, 1::2])
    assert torch.equal(module._parts(x)[:, 2], x)


@torch.no_grad()
def test_sums_settle_the_softmax_on_large_maps_and_means_do_not():
    largest = {}
    for mean in (True, False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = attn.create("s2mlp", 32, mean=mean)
        largest[mean] = [module.attention(torch.ones(1, 32, n, n)).amax(1).mean().item() for n in (1, 80)]
    assert largest[True][0] == pytest.approx(largest[True][1], abs=1e-4)
    assert largest[True][1] < 0.5 < 0.9 < largest[False][1]


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (6, {}, "channels must be a multiple of 4, one part a direction, not 6; near it: 4 and 8"),
        (3, {}, "not 3; near it: 4$"),
        (8, {"reduction": 0}, "reduction must be at least 1, not 0"),
    ],
)
def test_refused(channels, options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("s2mlp", channels, **options)


def test_keeps_one_hidden_unit():
    assert attn.create("s2mlp", 8, reduction=16).fuse.out_channels == 1


def test_the_flags_say_which_way_both_signals_move():
    x, target, way = tasks.s2mlp.flags(24, seed=3)
    assert set(way.tolist()) == {0, 1, 2}
    for image, wanted, k in zip(x, target, way.tolist(), strict=True):
        assert image[2:].sum((1, 2)).tolist() == [36.0 * (c == k) for c in range(3)]
        for i, j in ((4, 7), (9, 1), (0, 0)):
            a, b = ((max(i - 1, 0), j), (i, max(j - 1, 0)), (i, j))[k]
            assert torch.equal(wanted[:, i, j], image[:2, a, b])
    assert torch.equal(x, tasks.s2mlp.flags(24, seed=3)[0])
    assert not torch.equal(x, tasks.s2mlp.flags(24, seed=4)[0])


def test_s2mlp_solves_what_one_kernel_cannot():
    x, target, _ = tasks.s2mlp.flags(128)
    new, new_target, _ = tasks.s2mlp.flags(64, seed=1)
    left = []
    for make in (lambda: attn.create("s2mlp", 8, reduction=1), lambda: nn.Conv2d(8, 8, 3, padding=1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(5, 8, 1), make(), nn.Conv2d(8, 2, 1))
        left.append(tasks.error(tasks.learn(model, x, target, steps=200, batch=16), new, new_target))
    assert left[0] < 0.1 < 0.5 < left[1]
