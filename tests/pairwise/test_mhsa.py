# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Multi-head self-attention against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def positions(N, d):
    """The paper's term for the position (Section 3.5), N x d: it is added to the input before the first layer, once.

    PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(pos / 10000^(2i/d)); pos counts from 0.
    """
    return [[(math.cos if c % 2 else math.sin)(pos / 10000 ** ((c - c % 2) / d)) for c in range(d)] for pos in range(N)]


def loops(x, WQ, WK, WV, WO, bQ=None, bK=None, bV=None, bO=None, P=None):
    """Multi-head attention with Q = K = V = x, one number at a time, on nested lists.

    head_i = softmax((x W_i^Q) (x W_i^K)^T / sqrt(d_k)) x W_i^V,   y = [head_1, ..., head_h] W^O

    The paper's equations have no biases and no term for the position; no residual, no normalisation and no dropout
    belong to them either.

    Args:
        x: the tokens, B x N x d. A map is flattened to them row by row: token i·W + j is position (i, j).
        WQ, WK: the projections of each head, h x d x d_k, with the input's channel first (row vectors, as the paper).
        WV: h x d x d_v.
        WO: the last projection, h d_v x d; row i d_v + m is number m of head i.
        bQ, bK, bV: biases of the projections, h x d_k, h x d_k and h x d_v, or None as in the paper. bO: d numbers.
        P: N x d numbers added to every image's tokens first (``positions(N, d)`` for instance), or None.

    Returns:
        y, B x N x d, and a, B x h x N x N: a[b][i][n][m] is what query n of head i takes from key m.
    """
    N, d, h, dk, dv = len(x[0]), len(x[0][0]), len(WQ), len(WQ[0][0]), len(WV[0][0])

    def projected(token, W, b, i, m):
        """Number m of head i."""
        return (b[i][m] if b else 0.0) + sum(token[c] * W[i][c][m] for c in range(d))

    y, a = [], []
    for image in x:
        tokens = [[image[n][c] + (P[n][c] if P else 0.0) for c in range(d)] for n in range(N)]
        heads, maps = [[] for _ in range(N)], []
        for i in range(h):
            Q = [[projected(t, WQ, bQ, i, m) for m in range(dk)] for t in tokens]
            K = [[projected(t, WK, bK, i, m) for m in range(dk)] for t in tokens]
            V = [[projected(t, WV, bV, i, m) for m in range(dv)] for t in tokens]
            maps.append([])
            for n in range(N):
                s = [sum(Q[n][m] * K[o][m] for m in range(dk)) / math.sqrt(dk) for o in range(N)]
                total = sum(math.exp(t - max(s)) for t in s)
                row = [math.exp(t - max(s)) / total for t in s]
                maps[i].append(row)
                heads[n] += [sum(row[o] * V[o][m] for o in range(N)) for m in range(dv)]
        y.append(
            [[(bO[c] if bO else 0.0) + sum(z[m] * WO[m][c] for m in range(h * dv)) for c in range(d)] for z in heads]
        )
        a.append(maps)
    return y, a


def heads_first(weight, h):
    """The rows of a torch.nn.Linear, d x d, as the paper's W_i, h x d x d_k."""
    return weight.unflatten(0, (h, -1)).transpose(1, 2).tolist()


@pytest.mark.parametrize(
    ("heads", "bias", "positioned"), [(4, True, False), (1, False, True), (8, True, True)], ids=str
)
def test_equals_the_equations(heads, bias, positioned):
    module = attn.create("mhsa", 16, heads=heads, bias=bias, residual=False).double().eval()
    generator = torch.Generator().manual_seed(0)
    for t in module.state_dict().values():
        t.copy_(torch.randn(t.shape, generator=generator, dtype=t.dtype) / 2)
    x = torch.randn(2, 16, 3, 5, generator=generator, dtype=torch.float64)
    P = positions(15, 16) if positioned else None  # a code of the position is added outside the module
    weights = [heads_first(layer.weight, heads) for layer in (module.q, module.k, module.v)]
    biases = [None] * 4
    if bias:
        biases = [layer.bias.unflatten(0, (heads, -1)).tolist() for layer in (module.q, module.k, module.v)]
        biases.append(module.out.bias.tolist())
    tokens = x.flatten(2).transpose(1, 2)
    y, a = loops(tokens.tolist(), *weights, module.out.weight.T.tolist(), *biases, P)
    if positioned:
        x = x + torch.tensor(P, dtype=x.dtype).T.unflatten(1, (3, 5))
    wanted = torch.tensor(y, dtype=x.dtype).transpose(1, 2).unflatten(2, (3, 5))
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(module.attention(x), torch.tensor(a, dtype=x.dtype), atol=1e-10, rtol=0)


@torch.no_grad()
def test_equals_torch():
    ours = subject("mhsa").module().double()
    theirs = nn.MultiheadAttention(64, 8, batch_first=True).double().eval()
    qkv = (ours.q, ours.k, ours.v)
    state = {f"in_proj_{name}": torch.cat([getattr(layer, name) for layer in qkv]) for name in ("weight", "bias")}
    state |= {f"out_proj.{name}": getattr(ours.out, name) for name in ("weight", "bias")}
    theirs.load_state_dict(state)
    x = subject("mhsa").inputs(size=(9, 7))[0].double()
    tokens = x.flatten(2).transpose(1, 2)
    y, a = theirs(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(ours(x) - x, y.transpose(1, 2).unflatten(2, (9, 7)), atol=1e-10, rtol=0)
    torch.testing.assert_close(ours.attention(x), a, atol=1e-10, rtol=0)


def test_counts():
    assert attn.cost("mhsa", (1, 512, 2, 2)).params == 1_050_624
    assert attn.cost("mhsa", (1, 512, 2, 2), bias=False).params == 1_048_576


@torch.no_grad()
def test_a_fresh_layer_answers():
    """What it adds to an input of deviation 1 can be seen beside it."""
    x = subject("mhsa").inputs()[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        y = attn.create("mhsa", 64)(x) - x
    assert 0.05 < y.std() < 1


@torch.no_grad()
def test_the_bias_of_the_keys_changes_nothing():
    module, x = subject("mhsa").module().double(), subject("mhsa").inputs(size=(4, 5))[0].double()
    y = module(x)
    for name, moves in (("k", False), ("q", True), ("v", True)):
        bias = getattr(module, name).bias
        before = bias.clone()
        bias.copy_(torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
        assert (module(x) - y).abs().max().gt(1e-3) == moves, name
        bias.copy_(before)


def test_forward_keeps_no_map():
    """Four times the positions, four times the bytes for the backward pass; the map would take sixteen times."""
    small, large = (attn.cost("mhsa", (1, 64, n, n)).saved_bytes for n in (16, 32))
    assert large == 4 * small
    assert large < 8 * 32**4 * 4  # the map alone, in float32


@pytest.mark.parametrize(("heads", "near"), [(5, "4 and 2"), (0, "1 and 2"), (128, "64 and 32")])
def test_refused(heads, near):
    with pytest.raises(ValueError, match=f"heads must divide the 64 channels, not be {heads}; near it: {near}"):
        attn.create("mhsa", 64, heads=heads)


def test_partners_share_a_code_and_only_one_knows_the_value():
    x, target, places = tasks.mhsa.pairs(16, seed=3)
    assert (x.shape, target.shape, places.shape) == ((16, 8, 12, 12), (16, 1, 12, 12), (16, 2, 8))
    for image, wanted, (knows, asks) in zip(x.flatten(2), target.flatten(1), places, strict=True):
        assert len({*knows.tolist(), *asks.tolist()}) == 16
        assert torch.equal(image[2:, knows], image[2:, asks])
        assert len(set(map(tuple, image[2:, knows].T.tolist()))) == 8
        assert torch.equal(image[1, knows], torch.ones(8))
        assert not image[:2, asks].any()
        assert torch.equal(wanted[knows], image[0, knows])
        assert torch.equal(wanted[asks], image[0, knows])
        assert image.any(0).sum() == 16
        assert not wanted[~image.any(0)].any()
    assert torch.equal(x, tasks.mhsa.pairs(16, seed=3)[0])
    assert not torch.equal(x, tasks.mhsa.pairs(16, seed=4)[0])


def test_one_head_finds_partners_and_eight_narrow_ones_do_not():
    x, target, _ = tasks.mhsa.pairs(256, side=8, count=4)
    new, new_target, _ = tasks.mhsa.pairs(64, 1, side=8, count=4)
    errors = {}
    for heads in (1, 8):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(attn.create("mhsa", 8, heads=heads, residual=False), nn.Conv2d(8, 1, 1))
        errors[heads] = tasks.error(tasks.learn(model, x, target, 200, batch=32), new, new_target)
    assert errors[1] < 0.1 < 0.2 < errors[8]
