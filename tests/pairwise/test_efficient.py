# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient attention against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, w_q, b_q, w_k, b_k, w_v, b_v, w_r, b_r, heads=1, kind="softmax"):
    """Efficient attention: y = x + W_r E(Q, K, V) with E(Q, K, V) = ρ_q(Q) (ρ_k(K)ᵀ V), one head after the other.

    ρ by ``kind``: "softmax" takes the softmax of each query over its own channels (of one head) and of each channel of
    the keys over all n = H W positions; "scaling" divides queries and keys by the root of n. Nothing else is scaled.

    Args:
        x: The map, nested B x C x H x W.
        w_q: The 1×1 convolution of the queries Q, nested d_k x C.
        b_q: Its bias, d_k numbers.
        w_k: The 1×1 convolution of the keys K, nested d_k x C.
        b_k: Its bias, d_k numbers.
        w_v: The 1×1 convolution of the values V, nested d_v x C.
        b_v: Its bias, d_v numbers.
        w_r: The 1×1 convolution after the attention, nested C x d_v.
        b_r: Its bias, C numbers.
        heads: Each head takes the next d_k / heads rows of Q and K and the next d_v / heads of V; the heads' results
            stand one after the other before W_r.
        kind: "softmax" or "scaling".

    Returns:
        y, nested B x C x H x W.
    """

    def linear(w, b, p):
        return [bias + sum(a * c for a, c in zip(row, p, strict=True)) for row, bias in zip(w, b, strict=True)]

    def softmax(s):
        e = [math.exp(t - max(s)) for t in s]
        return [t / sum(e) for t in e]

    y = []
    for xb in x:  # a sample never sees another
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        places = [(i, j) for i in hs for j in ws]
        pixels = [[xb[c][i][j] for c in cs] for i, j in places]
        q, k, v = ([linear(w, b, p) for p in pixels] for w, b in ((w_q, b_q), (w_k, b_k), (w_v, b_v)))
        n, dk, dv = len(places), len(w_q) // heads, len(w_v) // heads
        e = [[] for _ in places]  # d_v numbers a position, head after head
        for h in range(heads):
            qh = [row[h * dk : (h + 1) * dk] for row in q]
            kh = [[k[p][h * dk + d] for p in range(n)] for d in range(dk)]  # d_k x n
            if kind == "softmax":
                qh, kh = [softmax(row) for row in qh], [softmax(row) for row in kh]
            else:
                qh, kh = ([[t / math.sqrt(n) for t in row] for row in rows] for rows in (qh, kh))
            vh = range(h * dv, (h + 1) * dv)
            context = [[sum(kh[d][p] * v[p][m] for p in range(n)) for m in vh] for d in range(dk)]
            for p in range(n):
                e[p] += [sum(qh[p][d] * context[d][m] for d in range(dk)) for m in range(dv)]
        yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for p, (i, j) in enumerate(places):
            out = linear(w_r, b_r, e[p])
            for c in cs:
                yb[c][i][j] = pixels[p][c] + out[c]
        y.append(yb)
    return y


@pytest.mark.parametrize(
    "options", [{}, {"d_k": 6, "d_v": 9, "heads": 3}, {"d_k": 1, "d_v": 4}, {"heads": 2, "scaling": True}], ids=str
)
def test_equals_the_equations(options):
    module = attn.create("efficient", 16, **options).double()
    generator = torch.Generator().manual_seed(0)
    for t in module.state_dict().values():
        t.copy_(torch.randn(t.shape, generator=generator, dtype=t.dtype) / 2)
    x = torch.randn(2, 16, 5, 3, generator=generator, dtype=torch.float64)
    weights = []
    for layer in (module.q, module.k, module.v, module.out):
        weights += [layer.weight.flatten(1).tolist(), layer.bias.tolist()]
    kind = "scaling" if module.scaling else "softmax"
    wanted = torch.tensor(loops(x.tolist(), *weights, heads=module.heads, kind=kind), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


def test_the_count_of_the_authors_class():
    assert attn.card("efficient").params(256) == attn.card("efficient").params(256, d_k=128, d_v=128) == 131_712


@pytest.mark.parametrize("options", [{"d_k": 6, "d_v": 9, "heads": 3}, {"d_v": 40}, {"scaling": True}], ids=str)
def test_the_formulas_hold_for_every_option(options):
    cost = attn.cost("efficient", (1, 24, 7, 5), **options)
    facts = attn.card("efficient")
    assert (cost.params, cost.macs) == (facts.params(24, **options), facts.macs(24, 7, 5, **options))


def test_no_map_of_all_pairs_is_kept():
    """What the backward pass keeps grows with the positions, not with their square."""
    small, large = (attn.cost("efficient", (1, 16, side, side)).saved_bytes for side in (16, 64))
    assert large < 17 * small


@pytest.mark.parametrize("scaling", [False, True])
def test_equals_the_map_of_all_pairs(scaling):
    """In the scaling form the same numbers as QKᵀV/N; in the softmax form a map whose rows add up to one."""
    s = subject("efficient", d_k=8, scaling=scaling)
    module, x = s.module().double(), s.inputs(size=(6, 5))[0].double()
    q, k, v = module._qkv(x)
    queries, keys = module._weights(q, k)
    pairs = queries.transpose(2, 3) @ keys  # B h N N
    if scaling:
        torch.testing.assert_close(pairs, q.transpose(2, 3) @ k / 30)
    else:
        torch.testing.assert_close(pairs.sum(3), torch.ones(2, 1, 30).double())
        assert (pairs > 0).all()
    assert torch.linalg.matrix_rank(pairs).tolist() == [[8], [8]]
    torch.testing.assert_close(module(x), module._merge(v @ pairs.transpose(2, 3), x))


def test_what_is_read_lies_between_the_values():
    """E is a mean of values, at every size and for every head."""
    s = subject("efficient", heads=4)
    module = s.module()
    for size in ((1, 1), (7, 4), (40, 40)):
        x = s.inputs(size=size)[0]
        *_, v = module._qkv(x)
        a = module.attention(x)
        e = torch.einsum("bhdn,bhkn,bhki->bhdi", v, a["keys"].flatten(3), a["queries"].flatten(3))
        assert (v.amin(3, True) - 1e-4 <= e).all()
        assert (e <= v.amax(3, True) + 1e-4).all()
        torch.testing.assert_close(module(x), module._merge(e, x), atol=1e-4, rtol=1e-4)


def test_the_biases_of_the_keys_change_nothing():
    """A softmax over the positions does not see a constant of its row; the scaling form does."""
    for scaling in (False, True):
        s = subject("efficient", scaling=scaling)
        module, x = s.module(), s.inputs()[0]
        with torch.no_grad():
            y = module(x)
            module.k.bias += torch.linspace(-3, 3, 32)
            gap = (module(x) - y).abs().max()
        assert gap > 0.1 if scaling else gap < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"d_k": 6, "heads": 4}, "d_k must be a multiple of the 4 heads, not 6; near it: 4 and 8"),
        ({"d_v": 2, "heads": 4}, "d_v must be a multiple of the 4 heads, not 2; near it: 4$"),
        ({"d_k": 0}, "d_k must be a multiple of the 1 heads, not 0; near it: 1$"),
        ({"heads": 0}, "heads must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("efficient", 64, **options)


def test_no_channel_is_dropped():
    with pytest.raises(ValueError, match="d_k must be a multiple of the 4 heads, not 30; near it: 28 and 32"):
        attn.create("efficient", 64, d_k=30, heads=4)


def test_one_head_is_double_attention():
    """The same function under other names: keys gather, queries distribute."""
    s = subject("efficient", d_k=6, d_v=10)
    module, x = s.module(), s.inputs()[0]
    other = attn.create("a2", 64, m=10, n=6)
    for there, here in (("features", "v"), ("gather", "k"), ("distribute", "q"), ("project", "out")):
        getattr(other, there).load_state_dict(getattr(module, here).state_dict())
    torch.testing.assert_close(module(x), other(x), atol=1e-5, rtol=1e-5)


def test_the_flocks_have_one_target_each():
    x, target = tasks.efficient.flocks(8, seed=3)
    assert x.shape == (8, len(tasks.efficient.BIRD_CHANNELS), 12, 12)
    assert torch.equal(x[:, :4].sum(1), torch.ones(8, 12, 12))
    for image, wanted in zip(x, target[:, 0], strict=True):
        for member in image[:4].bool():
            torch.testing.assert_close(wanted[member], image[4][member].mean().expand(int(member.sum())))
    assert torch.equal(x, tasks.efficient.flocks(8, seed=3)[0])
    assert not torch.equal(x, tasks.efficient.flocks(8, seed=4)[0])


def test_more_keys_and_their_softmax_are_needed():
    x, target = tasks.efficient.flocks(512, side=8)
    new, new_target = tasks.efficient.flocks(256, seed=1, side=8)
    errors = []
    for options, steps in (({"d_k": 8}, 150), ({"d_k": 2}, 100), ({"d_k": 8, "scaling": True}, 100)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(attn.create("efficient", 5, d_v=2, **options), nn.Conv2d(5, 1, 1))
        errors.append(tasks.error(tasks.learn(model, x, target, steps, batch=16), new, new_target))
    assert errors[0] < 0.03
    assert min(errors[1:]) > 0.1
