# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient multi-head self-attention (ResT) against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def normalised(v, eps):
    """v with mean 0 and variance 1 (divided by the count, not by one less), as both normalisations take it."""
    mean = sum(v) / len(v)
    return [(t - mean) / math.sqrt(sum((u - mean) ** 2 for u in v) / len(v) + eps) for t in v]


def loops(x, WQ, WK, WV, WO, bQ, bK, bV, bO, h, s=1, dw=None, ln=None, mix=None, eps=1e-5):
    """EMSA on one map, one number at a time, on nested lists.

    x' = LN(DWConv(x)),   Q = x W^Q,   K = x' W^K,   V = x' W^V,
    A_i = IN(softmax(Conv(Q K^T / sqrt(d)))_i),   y = [A_1 V_1, ..., A_h V_h] W^O

    The convolution over the heads acts on the scores before the softmax, the instance norm on the weights after it:
    once for each image and head over all the N x N' weights of that head, without a learned scale or shift.
    With s = 1 there is neither DWConv nor LN (x' = x), with h = 1 neither Conv nor IN.
    No residual, no normalisation of x and no term for the position belong to it.

    Args:
        x: The map, nested B x C x H x W. Token n = i·W + j is position (i, j); x' is flattened in the same way.
        WQ, WK, WV, WO: Nested C x C, the input's channel first (row vectors, as the paper). Channels i·d to i·d + d - 1
            of Q, K and V, with d = C / h, belong to head i; the heads are put side by side in that order before W^O.
        bQ, bK, bV, bO: C numbers each.
        h: Heads.
        s: The reduction.
        dw: (weight, bias) of DWConv: C x (s+1) x (s+1), cross-correlated as torch does, and C numbers. Stride s, s // 2
            zeros around the map. None where s = 1.
        ln: (weight, bias, eps) of the LN over the channels of each token, C numbers twice. None where s = 1.
        mix: (weight, bias) of the 1 x 1 convolution over the heads, h x h with the output's head first, and h numbers.
            None where h = 1.
        eps: Of IN.

    Returns:
        y, nested B x C x H x W, and A, B x h x N x N', after IN.
    """
    C, H, W = len(x[0]), len(x[0][0]), len(x[0][0][0])
    cs, d = range(C), C // h

    def projected(token, weight, b):
        return [b[m] + sum(token[c] * weight[c][m] for c in cs) for m in cs]

    def shrunk(image):
        """x', token by token."""
        if s == 1:
            return [[image[c][i][j] for c in cs] for i in range(H) for j in range(W)]
        k, pad, tokens = s + 1, s // 2, []
        for i in range((H + 2 * pad - k) // s + 1):
            for j in range((W + 2 * pad - k) // s + 1):
                token = [dw[1][c] for c in cs]
                for c in cs:
                    for p in range(k):
                        for t in range(k):
                            row, col = i * s + p - pad, j * s + t - pad
                            if 0 <= row < H and 0 <= col < W:  # outside the map the padding is zero
                                token[c] += dw[0][c][p][t] * image[c][row][col]
                tokens.append([ln[0][c] * v + ln[1][c] for c, v in zip(cs, normalised(token, ln[2]), strict=True)])
        return tokens

    y, a = [], []
    for image in x:
        Q = [projected([image[c][i][j] for c in cs], WQ, bQ) for i in range(H) for j in range(W)]
        small = shrunk(image)
        K, V = ([projected(t, weight, b) for t in small] for weight, b in ((WK, bK), (WV, bV)))
        ns, os = range(len(Q)), range(len(K))
        scores = [
            [[sum(Q[n][i * d + m] * K[o][i * d + m] for m in range(d)) / math.sqrt(d) for o in os] for n in ns]
            for i in range(h)
        ]
        maps = []
        for i in range(h):
            weights = []
            for n in ns:
                row = [scores[i][n][o] for o in os]
                if h > 1:
                    row = [mix[1][i] + sum(mix[0][i][g] * scores[g][n][o] for g in range(h)) for o in os]
                e = [math.exp(t - max(row)) for t in row]
                weights += [t / sum(e) for t in e]
            if h > 1:
                weights = normalised(weights, eps)
            maps.append([weights[n * len(K) : (n + 1) * len(K)] for n in ns])
        heads = [[sum(maps[c // d][n][o] * V[o][c] for o in os) for c in cs] for n in ns]
        out = [projected(z, WO, bO) for z in heads]
        y.append([[[out[i * W + j][c] for j in range(W)] for i in range(H)] for c in cs])
        a.append(maps)
    return y, a


OPTIONS = [{}, {"heads": 3, "reduction": 2}, {"heads": 2, "reduction": 1}, {"heads": 1, "reduction": 2}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_the_equations(options):
    module = attn.create("emsa", 24, residual=False, **options).double()
    generator = torch.Generator().manual_seed(0)
    for t in module.state_dict().values():
        t.copy_(torch.randn(t.shape, generator=generator, dtype=t.dtype) / 2)
    x = torch.randn(2, 24, 5, 4, generator=generator, dtype=torch.float64)
    h, s = module.heads, module.reduction
    (WK, WV), (bK, bV) = module.kv.weight.chunk(2), module.kv.bias.chunk(2)
    weights = [w.T.tolist() for w in (module.q.weight, WK, WV, module.out.weight)]
    biases = [b.tolist() for b in (module.q.bias, bK, bV, module.out.bias)]
    dw = ln = None
    if s > 1:
        dw = module.shrink.weight[:, 0].tolist(), module.shrink.bias.tolist()
        ln = module.norm.weight.tolist(), module.norm.bias.tolist(), module.norm.eps
    mix = (module.mix.weight[:, :, 0, 0].tolist(), module.mix.bias.tolist()) if h > 1 else None
    y, a = loops(x.tolist(), *weights, *biases, h, s, dw, ln, mix)
    wanted, a = (torch.tensor(t, dtype=x.dtype) for t in (y, a))
    torch.testing.assert_close(module.attention(x), a, atol=1e-10, rtol=0)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("options", [*OPTIONS, {"mix": False}, {"bias": False}, {"reduction": 8}], ids=str)
def test_the_formulas_hold_for_every_option(options):
    cost = attn.cost("emsa", (1, 24, 9, 13), **options)
    facts = attn.card("emsa")
    assert (cost.params, cost.macs) == (facts.params(24, **options), facts.macs(24, 9, 13, **options))


def test_the_count_of_the_authors_class():
    assert attn.card("emsa").params(512, heads=8, reduction=2) == 1_056_840


def test_is_self_attention_where_nothing_is_shrunk_or_mixed():
    s = subject("emsa", reduction=1, mix=False)
    module, x = s.module(), s.inputs()[0]
    other = attn.create("mhsa", 64)
    other.q.load_state_dict(module.q.state_dict())
    other.out.load_state_dict(module.out.state_dict())
    for i, layer in enumerate((other.k, other.v)):
        layer.load_state_dict({name: t.chunk(2)[i] for name, t in module.kv.state_dict().items()})
    torch.testing.assert_close(module(x), other(x), atol=1e-4, rtol=1e-4)


def test_what_all_values_share_is_not_seen():
    """Rows of A add up to zero, so a constant in the values, their bias for instance, changes nothing."""
    s = subject("emsa")
    module, x = s.module(), s.inputs()[0]
    with torch.no_grad():
        a, y = module.attention(x), module(x)
        assert a.sum(3).abs().max() < 1e-4
        torch.testing.assert_close(a.square().mean((2, 3)), torch.ones(2, 8), atol=0.2, rtol=0)
        module.kv.bias += torch.linspace(-3, 3, 128)
        module.mix.bias += torch.linspace(-3, 3, 8)
        torch.testing.assert_close(module(x), y, atol=1e-4, rtol=1e-4)
        plain = subject("emsa", mix=False).module()
        y = plain(x)
        plain.kv.bias += torch.linspace(-3, 3, 128)
        assert (plain(x) - y).abs().max() > 0.1


def test_the_shrunk_map_is_what_keys_and_values_come_from():
    """As many keys as windows at any size, and the kernel reaches the result."""
    for reduction, keys in ((2, 7 * 10), (4, 4 * 5), (8, 2 * 3)):
        s = subject("emsa", reduction=reduction)
        module, x = s.module(), s.inputs(size=(13, 20))[0]
        assert module.attention(x).shape == (2, 8, 260, keys)
        with torch.no_grad():
            y = module(x)
            module.shrink.weight.neg_()
            assert (module(x) - y).abs().max() > 0.01


def test_a_query_feels_the_others_through_the_norm():
    """IN's variance is that of all queries, so a change at one corner reaches the weights at the other."""
    for mix in (True, False):
        module = subject("emsa", reduction=1, mix=mix).module()
        q, k, _ = (t.detach() for t in module._qkv(subject("emsa").inputs(size=(6, 6))[0]))
        (a, scale), q[:, :, 0] = module._weights(q, k), 30
        b, other = module._weights(q, k)
        gap = (scale * a - other * b)[:, :, 1:].abs().max()
        assert gap > 0.01 if mix else gap == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 7}, "heads must divide the 64 channels, not be 7; near it: 8 and 4"),
        ({"reduction": 3}, "reduction must be 1 or even, not 3; the paper has 8, 4, 2 and 1"),
        ({"reduction": 0}, "reduction must be 1 or even, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("emsa", 64, **options)


def test_every_visitor_has_one_house():
    x, target = tasks.emsa.houses(8, seed=3)
    assert x.shape == (8, 13, 8, 8)
    address, hand = x[:, :6, ::2, ::2].flatten(2), x[:, 6:12].flatten(2)
    assert torch.equal(x[:, :6], x[:, :6, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))
    right = torch.einsum("ncq,nck->nqk", hand, address) == 6  # no two houses have one address
    assert (right.sum(2) == 1).all()
    guests = x[:, 12, ::2, ::2].flatten(1)
    torch.testing.assert_close(right.float() @ guests[:, :, None], target.flatten(2).mT)
    assert guests.mean(1).abs().max() < 1e-6
    assert torch.equal(x, tasks.emsa.houses(8, seed=3)[0])
    assert not torch.equal(x, tasks.emsa.houses(8, seed=4)[0])


def test_narrow_heads_need_the_mixing():
    x, target = tasks.emsa.houses(256)
    new, new_target = tasks.emsa.houses(128, seed=1)
    errors = []
    for mix, steps in ((True, 250), (False, 150)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            block = attn.create("emsa", 16, reduction=2, mix=mix)
            model = nn.Sequential(nn.Conv2d(13, 16, 1), block, nn.Conv2d(16, 1, 1))
        errors.append(tasks.error(tasks.learn(model, x, target, steps, lr=0.02, batch=16), new, new_target))
    assert errors[0] < 0.1 < 0.2 < errors[1]
