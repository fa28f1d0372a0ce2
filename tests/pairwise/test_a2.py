# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Double attention against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, w_a, b_a, w_b, b_b, w_v, b_v, w_z, b_z):
    """Double attention: gather G = A softmax(B)^T, distribute Z = G softmax(V), return X + W_Z Z.

    Args:
        x: The map X, nested B x C x H x W.
        w_a: The features A = W_A X that are gathered, nested m x C.
        b_a: The bias of W_A, m numbers.
        w_b: The n gathering maps B = W_B X, nested n x C; each map is softmaxed over the N = H W positions.
        b_b: The bias of W_B, n numbers.
        w_v: The distributing vectors V = W_V X, nested n x C; at each position softmaxed over the n entries.
        b_v: The bias of W_V, n numbers.
        w_z: W_Z, which brings the m channels back to C, nested C x m.
        b_z: The bias of W_Z, C numbers.

    Returns:
        X + W_Z Z, nested B x C x H x W.
    """

    def linear(w, b, p):
        return [bias + sum(w_c * p_c for w_c, p_c in zip(row, p, strict=True)) for row, bias in zip(w, b, strict=True)]

    def softmax(s):
        top = max(s)
        e = [math.exp(v - top) for v in s]
        return [v / sum(e) for v in e]

    y = []
    for xb in x:  # a sample never sees another
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        ms, ns, cells = range(len(w_a)), range(len(w_b)), range(len(hs) * len(ws))
        pixels = [[xb[c][i][j] for c in cs] for i in hs for j in ws]
        a = [linear(w_a, b_a, p) for p in pixels]  # N x m
        scores = [linear(w_b, b_b, p) for p in pixels]  # N x n
        gathers = [softmax([scores[u][q] for u in cells]) for q in ns]  # n x N, each row sums to 1
        g = [[sum(a[u][k] * gathers[q][u] for u in cells) for q in ns] for k in ms]  # m x n
        yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for i in hs:
            for j in ws:
                p = pixels[i * len(ws) + j]
                v = softmax(linear(w_v, b_v, p))  # n numbers that sum to 1
                z = [sum(g[k][q] * v[q] for q in ns) for k in ms]
                out = linear(w_z, b_z, z)
                for c in cs:
                    yb[c][i][j] = xb[c][i][j] + out[c]
        y.append(yb)
    return y


@pytest.mark.parametrize("options", [{}, {"m": 5, "n": 7}, {"n": 3, "bias": False}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("a2", 16, **options).double()
    generator = torch.Generator().manual_seed(0)
    for t in module.state_dict().values():
        t.copy_(torch.randn(t.shape, generator=generator, dtype=t.dtype) / 2)
    x = torch.randn(2, 16, 5, 3, generator=generator, dtype=torch.float64)
    weights = []
    for layer in (module.features, module.gather, module.distribute, module.project):
        bias = [0.0] * layer.out_channels if layer.bias is None else layer.bias.tolist()
        weights += [layer.weight.flatten(1).tolist(), bias]
    wanted = torch.tensor(loops(x.tolist(), *weights), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


def test_the_count_at_the_circulating_size():
    module = attn.create("a2", 512, m=128, n=128)
    assert sum(p.numel() for p in module.parameters()) == attn.card("a2").params(512, m=128, n=128) == 263_040
    assert attn.card("a2").params(512) == 263_040  # C/4 is 128


@pytest.mark.parametrize("options", [{"m": 3}, {"n": 5, "bias": False}, {"m": 40, "n": 1}], ids=str)
def test_the_formulas_hold_for_every_option(options):
    cost = attn.cost("a2", (1, 24, 7, 5), **options)
    facts = attn.card("a2")
    assert (cost.params, cost.macs) == (facts.params(24, **options), facts.macs(24, 7, 5, **options))


def test_no_map_of_all_pairs_is_kept():
    """What the backward pass keeps grows with the positions, not with their square."""
    small, large = (attn.cost("a2", (1, 16, side, side)).saved_bytes for side in (16, 64))
    assert large < 17 * small


def test_a_descriptor_is_a_weighted_mean_of_the_features():
    """It lies between the smallest and the largest feature, however many positions there are."""
    module = subject("a2").module()
    for size in ((1, 1), (7, 4), (40, 40)):
        x = subject("a2").inputs(size=size)[0]
        features, gather = module.features(x), module.attention(x)["gather"]
        g = torch.einsum("bmhw,bnhw->bmn", features, gather)
        low, high = features.amin((2, 3))[:, :, None], features.amax((2, 3))[:, :, None]
        assert (low - 1e-5 <= g).all()
        assert (g <= high + 1e-5).all()


def test_the_biases_of_the_gathering_layer_change_nothing():
    """A softmax over the positions does not see a constant of its row; that over the descriptors sees its own."""
    module, x = subject("a2").module(), subject("a2").inputs()[0]
    y = module(x)
    with torch.no_grad():
        module.gather.bias += torch.linspace(-3, 3, 16)
        torch.testing.assert_close(module(x), y)
        module.distribute.bias += torch.linspace(-3, 3, 16)
    assert (module(x) - y).abs().max() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [({"m": 0}, "m must be at least 1, not 0; the paper's C/4 is 16"), ({"n": -2}, "n must be at least 1, not -2")],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("a2", 64, **options)


def test_one_position_or_one_value_leaves_a_linear_map():
    """Where all positions are alike, every weighted mean is the value itself."""
    module = subject("a2").module()
    for size in ((1, 1), (6, 5)):
        x = subject("a2").inputs(size=(1, 1))[0].expand(-1, -1, *size)
        torch.testing.assert_close(module(x), x + module.project(module.features(x)))


def test_the_lamps_say_how_bright_their_colour_is():
    x, target = tasks.a2.lamps(16, seed=3)
    assert x.shape == (16, len(tasks.a2.LAMP_CHANNELS), 8, 8)
    for image, wanted in zip(x, target[:, 0], strict=True):
        ground, lamp, brightness = image[: tasks.a2.COLOURS], image[4] == 1, image[5]
        assert torch.equal(ground.sum((1, 2)), torch.full((4,), 16.0))
        assert torch.equal(ground.sum(0), torch.ones(8, 8))
        assert not brightness[~lamp].any()
        for colour in ground.bool():
            assert (colour & lamp).sum() == 1
            assert torch.equal(wanted[colour], brightness[colour & lamp].expand(16))
    assert torch.equal(x, tasks.a2.lamps(16, seed=3)[0])
    assert not torch.equal(x, tasks.a2.lamps(16, seed=4)[0])


def test_as_many_descriptors_as_lamps_are_needed():
    x, target = tasks.a2.lamps(512)
    new, new_target = tasks.a2.lamps(256, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        many, one = (nn.Sequential(attn.create("a2", 6, m=8, n=n), nn.Conv2d(6, 1, 1)) for n in (8, 1))
    assert tasks.error(tasks.learn(many, x, target, 400, batch=16), new, new_target) < 0.1
    assert tasks.error(tasks.learn(one, x, target, 200, batch=16), new, new_target) > 0.6
