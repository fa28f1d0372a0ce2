# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Criss-cross attention against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, w_q, b_q, w_k, b_k, w_v, b_v, gamma, R=2):
    """Recurrent criss-cross attention: R passes of one module, each over the row and the column of every position.

    One pass: A_u = softmax over i in Ω_u of (Q_uᵀ K_i), then y_u = γ Σ_{i in Ω_u} A_{u,i} V_i + x_u, where Ω_u is the
    row and the column of u, u itself counted once, H + W - 1 positions. The scores are not scaled.

    Args:
        x: The map H, nested B x C x H x W.
        w_q: The 1×1 convolution of the queries, nested C/8 x C.
        b_q: Its bias, C/8 numbers.
        w_k: The 1×1 convolution of the keys, nested C/8 x C.
        b_k: Its bias, C/8 numbers.
        w_v: The 1×1 convolution of the values, nested C x C.
        b_v: Its bias, C numbers.
        gamma: γ, one number, the same in each pass.
        R: The number of passes; all of them use the weights above.

    Returns:
        H'' (for R = 2), nested B x C x H x W.
    """
    for _ in range(R):
        y = []
        for xb in x:
            cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
            q, k, v = (
                {(i, j): [b[d] + sum(w[d][c] * xb[c][i][j] for c in cs) for d in range(len(w))] for i in hs for j in ws}
                for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v))
            )
            yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
            for i in hs:
                for j in ws:
                    omega = [(p, j) for p in hs] + [(i, t) for t in ws if t != j]
                    d = [sum(a * b for a, b in zip(q[i, j], k[u], strict=True)) for u in omega]
                    e = [math.exp(s - max(d)) for s in d]
                    for c in cs:
                        mixed = sum(share * v[u][c] for share, u in zip(e, omega, strict=True)) / sum(e)
                        yb[c][i][j] = gamma * mixed + xb[c][i][j]
            y.append(yb)
        x = y
    return x


def parameters(module):
    convs = (module.q, module.k, module.v)
    return [t for conv in convs for t in (conv.weight.flatten(1).tolist(), conv.bias.tolist())] + [module.gamma.item()]


@pytest.mark.parametrize("options", [{}, {"passes": 1}, {"passes": 3, "reduction": 4}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("ccnet", 24, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for t in module.parameters():
        t.data = torch.randn(t.shape, generator=generator, dtype=t.dtype) / 2
    nn.init.constant_(module.gamma, 0.7)
    x = torch.randn(2, 24, 4, 6, generator=generator, dtype=torch.float64)
    wanted = torch.tensor(loops(x.tolist(), *parameters(module), R=options.get("passes", 2)), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [(6, 7), (1, 9), (5, 1), (1, 1)], ids=str)
def test_two_passes_reach_every_position(size):
    h, w = size
    for options, reached in ({"passes": 1}, h + w - 1), ({}, h * w):
        module = attn.create("ccnet", 16, **options)
        nn.init.ones_(module.gamma)
        x = attn.card("ccnet").example(16, size, 1)[0].requires_grad_()
        module(x)[0, :, h // 2, w // 2].sum().backward()
        assert (x.grad[0] != 0).any(0).sum() == reached


def test_a_position_is_weighed_once():
    a = attn.create("ccnet", 16).attention(attn.card("ccnet").example(16, (6, 7))[0])  # B R H W K
    assert a.shape == (2, 2, 6, 7, 13)
    itself = a[..., :6].diagonal(dim1=2, dim2=4)
    assert (itself == 0).all()
    assert (a[..., 6:].diagonal(dim1=3, dim2=4) > 0).all()


def test_the_mask_follows_the_input():
    module = attn.create("ccnet", 16).to("meta")
    assert module(torch.empty(1, 16, 6, 7, device="meta")).shape == (1, 16, 6, 7)


def test_untrained_it_is_the_identity():
    x = subject("ccnet").inputs()[0]
    assert torch.equal(attn.create("ccnet", 64)(x), x)


def test_the_passes_share_their_weights():
    assert attn.cost("ccnet", (1, 512, 4, 4)).params == 328_321
    assert attn.cost("ccnet", (1, 512, 4, 4), passes=5).params == 328_321


def test_memory_grows_with_the_length_of_a_cross():
    """Twice the side: four times the positions, each with twice the keys; a map of all pairs would grow 16 times."""

    def weights(side):
        ends = [attn.cost("ccnet", (1, 8, side, side), passes=p).saved_bytes for p in (1, 2)]
        return ends[1] - ends[0]

    assert 4 < weights(128) / weights(64) < 8.1


def test_keeps_one_channel_in_queries_and_keys():
    module = attn.create("ccnet", 8, reduction=16)
    assert module.q.out_channels == module.k.out_channels == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"passes": 0}, "passes must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("ccnet", 64, **options)


def test_the_beacon_is_one_position_and_its_value_the_target():
    x, target, cross = tasks.ccnet.beacon(16, seed=3, size=(5, 8))
    assert x.shape == (16, len(tasks.ccnet.BEACON_CHANNELS), 5, 8)
    for image, wanted, on in zip(x, target, cross, strict=True):
        ((i, j),) = image[0].nonzero().tolist()
        assert (wanted == image[1, i, j]).all()
        assert on.sum() == 5 + 8 - 1
        assert on[0, i].all()
        assert on[0, :, j].all()
    assert torch.equal(x, tasks.ccnet.beacon(16, seed=3, size=(5, 8))[0])
    assert not torch.equal(x, tasks.ccnet.beacon(16, seed=4, size=(5, 8))[0])


def test_one_pass_leaves_what_two_bring():
    x, target, _ = tasks.ccnet.beacon(512)
    new, new_target, cross = tasks.ccnet.beacon(64, seed=1)

    def shares(passes, steps):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = attn.create("ccnet", 8, reduction=1, passes=passes)
            model = nn.Sequential(nn.Conv2d(2, 8, 1), module, nn.Conv2d(8, 1, 1))
        tasks.learn(model, x, target, steps=steps, batch=32)
        with torch.no_grad():
            squares = (model(new) - new_target).square() / new_target.var()
        return squares[cross].mean(), squares[~cross].mean()

    assert max(shares(2, 250)) < 0.1
    on, off = shares(1, 100)
    assert on < 0.8 < 0.9 < off
