# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""External attention against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import controls, tasks
from attn.contract import subject


def loops(x, m_k, m_v, w_1=None, w_2=None, norm=None, eps=1e-9):
    """The block around external attention: y = ReLU(x + BN(W_2 F_out)), from F = W_1 x, position by position.

    Ã = F M_kᵀ, N x S. Â is the softmax of each column of Ã, over the N = H W positions. A is each row of Â divided
    by its sum over the S slots (the double normalisation), and F_out = A M_v, N x C.

    Args:
        x: The map, nested B x C x H x W.
        m_k: The memory of keys M_k, nested S x C.
        m_v: The memory of values M_v, nested S x C: a layer from S to C channels holds its transpose as weight.
        w_1: (weight, bias) of W_1, nested C x C and C numbers, or None for F = x.
        w_2: (weight, bias) of W_2, the same; its bias may be None. None for the identity.
        norm: (weight, bias, mean, variance) of C numbers each, and eps, of the BN after W_2 in evaluation, or None.
        eps: The number that is added to the sum of a row of Â.

    Returns:
        y and A: nested B x C x H x W, and nested B x N x S, position h W + w at place h, w.
    """

    def linear(layer, p):
        weight, bias = layer
        bias = [0.0] * len(weight) if bias is None else bias
        return [b + sum(w * v for w, v in zip(row, p, strict=True)) for row, b in zip(weight, bias, strict=True)]

    y, maps = [], []
    for xb in x:  # the memories are shared by all samples, the softmax is not
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        slots = range(len(m_k))
        pixels = [[xb[c][i][j] for c in cs] for i in hs for j in ws]
        f = pixels if w_1 is None else [linear(w_1, p) for p in pixels]
        s = [[sum(m_k[k][c] * p[c] for c in cs) for k in slots] for p in f]  # Ã
        top = [max(row[k] for row in s) for k in slots]  # a factor common to a column of Â and its sum
        total = [sum(math.exp(row[k] - top[k]) for row in s) for k in slots]
        hat = [[math.exp(row[k] - top[k]) / total[k] for k in slots] for row in s]  # Â
        a = [[row[k] / (eps + sum(row)) for k in slots] for row in hat]
        yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for n in range(len(a)):
            out = [sum(a[n][k] * m_v[k][c] for k in slots) for c in cs]
            out = out if w_2 is None else linear(w_2, out)
            for c in cs:
                v = out[c]
                if norm is not None:
                    weight, bias, mean, variance, small = norm
                    v = weight[c] * (v - mean[c]) / math.sqrt(variance[c] + small) + bias[c]
                yb[c][n // len(ws)][n % len(ws)] = max(pixels[n][c] + v, 0.0)
        y.append(yb)
        maps.append(a)
    return y, maps


def given(module):
    """The arguments of ``loops`` but the first."""
    table = [layer.weight.flatten(1) for layer in (module.keys, module.values, module.query, module.project)]
    m_k, m_v, w_1, w_2 = table[0].tolist(), table[1].T.tolist(), table[2].tolist(), table[3].tolist()
    norm = module.norm
    bn = [t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]
    return m_k, m_v, (w_1, module.query.bias.tolist()), (w_2, None), (*bn, norm.eps)


def drawn(channels, **options):
    module = attn.create("external", channels, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for t in module.state_dict().values():
        if t.is_floating_point():
            t.copy_(torch.randn(t.shape, generator=generator, dtype=t.dtype) / 2)
    module.norm.running_var.abs_().add_(0.5)
    return module, torch.randn(2, channels, 3, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"slots": 5}, {"slots": 1}], ids=str)
def test_equals_the_equations(options):
    module, x = drawn(16, **options)
    y, maps = loops(x.tolist(), *given(module), eps=0.0)
    torch.testing.assert_close(module(x), torch.tensor(y, dtype=x.dtype), atol=1e-10, rtol=0)
    a = module.attention(x).flatten(2).transpose(1, 2)  # B N S
    torch.testing.assert_close(a, torch.tensor(maps, dtype=x.dtype), atol=1e-10, rtol=0)


def test_the_authors_floor_changes_next_to_nothing_at_ordinary_inputs():
    module, x = drawn(16)
    y, _ = loops(x.tolist(), *given(module))
    torch.testing.assert_close(module(x), torch.tensor(y, dtype=x.dtype), atol=1e-6, rtol=0)


def test_the_count_at_the_authors_width():
    module = attn.create("external", 512)
    assert sum(p.numel() for p in module.parameters()) == attn.card("external").params(512) == 591_360
    assert module.keys.weight.numel() + module.values.weight.numel() == 65_536


@pytest.mark.parametrize("slots", [1, 7, 100])
def test_the_formulas_hold_for_every_number_of_slots(slots):
    cost, facts = attn.cost("external", (1, 24, 7, 5), slots=slots), attn.card("external")
    assert (cost.params, cost.macs) == (facts.params(24, slots=slots), facts.macs(24, 7, 5, slots=slots))


def test_an_offset_that_all_positions_share_is_not_seen():
    """The softmax over the positions cancels it, slot by slot; so the bias of W_1 changes nothing."""
    module, x = subject("external").module(), subject("external").inputs()[0]
    a = module.attention(x)
    offset = torch.linspace(-3, 3, x.shape[1])[:, None, None]
    torch.testing.assert_close(module.attention(x + offset), a, atol=1e-5, rtol=0)
    with torch.no_grad():
        module.query.bias += torch.linspace(-3, 3, x.shape[1])
    torch.testing.assert_close(module.attention(x), a, atol=1e-5, rtol=0)
    assert (module.attention(2 * x) - a).abs().max() > 0.1


@pytest.mark.parametrize("size", [(1, 1), (5, 3)], ids=str)
def test_where_all_positions_are_alike_every_slot_weighs_the_same(size):
    module = subject("external").module()
    x = subject("external").inputs(size=(1, 1))[0].expand(-1, -1, *size)
    torch.testing.assert_close(module.attention(x), torch.full((len(x), 64, *size), 1 / 64))


def test_a_map_of_repeated_positions_has_the_same_weights():
    module, x = subject("external").module(), subject("external").inputs(size=(3, 5))[0]
    twice = [t.repeat_interleave(2, 2).repeat_interleave(3, 3) for t in (x, module.attention(x))]
    torch.testing.assert_close(module.attention(twice[0]), twice[1])


def test_a_position_that_no_slot_prefers_has_weights_too():
    module, x = subject("external").module(), subject("external").inputs()[0]
    for dtype, factor in ((torch.float32, 1e4), (torch.float16, 50)):
        a = module.to(dtype).attention((factor * x).to(dtype)).float()
        torch.testing.assert_close(a.sum(1), torch.ones_like(a[:, 0]), atol=1e-2, rtol=0)


def test_the_two_memories_are_loaded_apart():
    module = attn.create("external", 16)
    assert torch.equal(module.keys.weight[:, :, 0, 0], module.values.weight[:, :, 0, 0].T)  # equal at the start
    wanted = {name: torch.randn(t.shape) if t.is_floating_point() else t for name, t in module.state_dict().items()}
    module.load_state_dict(wanted)
    for name in ("keys.weight", "values.weight"):
        assert torch.equal(module.state_dict()[name], wanted[name]), name


def test_what_is_kept_grows_with_the_positions():
    small, large = (attn.cost("external", (1, 16, side, side)).saved_bytes for side in (16, 64))
    assert large < 17 * small


def test_refused():
    with pytest.raises(ValueError, match="slots must be at least 1, not 0; the authors take 64"):
        attn.create("external", 16, slots=0)


def test_the_lamp_adds_the_same_everywhere():
    x, paint = tasks.external.painted(8, seed=3)
    assert x.shape == paint.shape == (8, 3, 8, 8)
    assert (x - paint).std((2, 3)).max() < 1e-6
    assert (x - paint).mean((2, 3)).unique().numel() == 24
    white, same = tasks.external.painted(8, seed=3, lamp=torch.zeros(8, 3))
    assert torch.equal(same, paint)
    assert torch.equal(white, paint)
    assert not torch.equal(paint, tasks.external.painted(8, seed=4)[1])


def test_the_first_softmax_finds_the_paint():
    x, paint = tasks.external.painted(512)
    new, wanted = tasks.external.painted(256, seed=1)
    errors = []
    for layer in (lambda: attn.create("external", 8, slots=8), lambda: controls.Bottleneck(8, hidden=16)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(3, 8, 1), layer(), nn.Conv2d(8, 3, 1))
        errors.append(tasks.error(tasks.learn(model, x, paint, 150, batch=32), new, wanted))
    assert errors[0] < 0.1 < 0.4 < errors[1]
