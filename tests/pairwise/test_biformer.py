# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Bi-level routing attention against loops written from the paper's equations, and against PyTorch's attention."""

import math
import re

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, wq, bq, wk, bk, wv, bv, wo, bo, f, fb, s, k, h):
    """BRA: A^r = Q^r (K^r)^T, I^r = its k best per row, O = softmax(Q (K^g)^T / sqrt(C)) V^g + DWConv(V), y = W_o O.

    The map is cut into regions of ceil(H/S) x ceil(W/S), counted from the first row and column. Where S does not
    divide H or W the last regions hold fewer positions (means are over the real ones), and those that hold none do
    not exist: they are neither averaged nor chosen.

    Args:
        x: The map X, nested B x C x H x W.
        wq: The projection W^q to Q, nested C x C, rows are outputs; bq: its bias, C numbers.
        wk: W^k; bk: its bias.
        wv: W^v; bv: its bias.
        wo: W_o, which mixes the heads; bo: its bias.
        f: The depth-wise kernel of the local position term on V, nested C x t x t, t odd, zero padding; fb: its bias.
        s: S, regions along each side of the map.
        k: Partner regions that each region keeps; never more than there are.
        h: Heads; head m holds the channels m C/h to (m + 1) C/h - 1. The scale is that of the full width C.

    Returns:
        y, nested B x C x H x W.
    """
    y, t = [], len(f[0])
    for xb in x:
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        rows, cols = math.ceil(len(hs) / s), math.ceil(len(ws) / s)
        q, key, v = (
            {(i, j): [b[o] + sum(w[o][c] * xb[c][i][j] for c in cs) for o in cs] for i in hs for j in ws}
            for w, b in ((wq, bq), (wk, bk), (wv, bv))
        )
        regions = {}
        for i in hs:
            for j in ws:
                regions.setdefault((i // rows, j // cols), []).append((i, j))
        qr, kr = (
            {r: [sum(z[p][c] for p in held) / len(held) for c in cs] for r, held in regions.items()} for z in (q, key)
        )
        yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for r, held in regions.items():
            affinity = {other: sum(qr[r][c] * kr[other][c] for c in cs) for other in regions}
            chosen = sorted(regions, key=affinity.get, reverse=True)[:k]
            gathered = [p for other in chosen for p in regions[other]]
            for i, j in held:
                out = []
                for c in cs:
                    width = len(cs) // h
                    head = range(c // width * width, (c // width + 1) * width)
                    scores = [sum(q[i, j][d] * key[p][d] for d in head) / math.sqrt(len(cs)) for p in gathered]
                    weights = [math.exp(z - max(scores)) for z in scores]
                    o = sum(a * v[p][c] for a, p in zip(weights, gathered, strict=True)) / sum(weights) + fb[c]
                    for m in range(t):
                        for n in range(t):
                            p = (i + m - t // 2, j + n - t // 2)
                            o += f[c][m][n] * v[p][c] if p in v else 0.0  # outside the map the padding is zero
                    out.append(o)
                for o in cs:
                    yb[o][i][j] = bo[o] + sum(wo[o][c] * out[c] for c in cs)
        y.append(yb)
    return y


def like(module, x):
    """What ``loops`` gives with the weights of a module."""
    (wq, wk, wv), (bq, bk, bv) = (t.squeeze().chunk(3) for t in (module.qkv.weight, module.qkv.bias))
    weights = (wq, bq, wk, bk, wv, bv, module.out.weight.squeeze(), module.out.bias)
    kernel = (module.lepe.weight.squeeze(1), module.lepe.bias)
    numbers = (t.tolist() for t in (x, *weights, *kernel))
    y = torch.tensor(loops(*numbers, module.regions, module.topk, module.heads), dtype=x.dtype)
    return x + y if module.residual else y


def random(module, seed=0):
    """A module in float64 of which nothing keeps its initial value, and a generator."""
    generator = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64) / 2
    return module.double().eval().requires_grad_(False), generator


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"regions": 3}, (9, 6)),  # the regions fit
        (
            {"regions": 3, "topk": 2, "kernel_size": 3, "residual": False},
            (8, 5),
        ),  # the last reach beyond the map
        ({}, (4, 9)),  # 20 of 49 regions hold any of it
        ({"regions": 4, "topk": 16}, (3, 2)),  # more are asked for than there are
        ({"regions": 1, "topk": 1}, (4, 5)),  # ordinary attention
    ],
    ids=str,
)
def test_equals_the_equations(options, size):
    module, generator = random(attn.create("biformer", 16, heads=4, **options))
    x = torch.randn(2, 16, *size, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(module(x), like(module, x), atol=1e-10, rtol=0)


def test_one_region_is_torchs_attention():
    module, generator = random(attn.create("biformer", 16, regions=1, topk=1, heads=4, residual=False))
    nn.init.zeros_(module.lepe.weight), nn.init.zeros_(module.lepe.bias)
    theirs = nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.float64).eval().requires_grad_(False)
    theirs.in_proj_weight.copy_(module.qkv.weight.squeeze())
    theirs.in_proj_bias.copy_(module.qkv.bias)
    theirs.in_proj_weight[:16] /= 2  # theirs divides by the root of 4, the width of a head, ours by that of 16
    theirs.in_proj_bias[:16] /= 2
    theirs.out_proj.weight.copy_(module.out.weight.squeeze())
    theirs.out_proj.bias.copy_(module.out.bias)
    x = torch.randn(2, 16, 5, 3, generator=generator, dtype=torch.float64)
    tokens = x.flatten(2).transpose(1, 2)
    wanted = theirs(tokens, tokens, tokens)[0].transpose(1, 2).unflatten(2, (5, 3))
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


def test_every_region_looks_into_k_and_a_position_into_their_positions():
    module = subject("biformer").module()
    a = module.attention(subject("biformer").inputs(size=(21, 14))[0])
    assert a["regions"].shape == (2, 49, 49)
    assert (a["regions"].sum(2) == 4).all()
    assert (a["tokens"] > 0).sum(3).eq(4 * 3 * 2).all()  # regions of 3 × 2
    nothing = subject("biformer").module().attention(torch.zeros(1, 64, 8, 1))["regions"]  # of 2 × 1, 4 on the map
    assert (nothing.sum(2) == 4).all()
    assert nothing[0].any(0).nonzero().flatten().tolist() == [0, 7, 14, 21]


def test_what_lies_beyond_the_map_weighs_nothing():
    """Values of one come out as one."""
    module = subject("biformer", residual=False).module()
    weight, bias = module.qkv.weight.data, module.qkv.bias.data
    weight[128:], bias[128:] = 0, 1
    nn.init.zeros_(module.lepe.weight), nn.init.zeros_(module.lepe.bias)
    nn.init.dirac_(module.out.weight), nn.init.zeros_(module.out.bias)
    for size in ((20, 20), (13, 17), (3, 5), (1, 1)):
        y = module(subject("biformer").inputs(size=size)[0])
        torch.testing.assert_close(y, torch.ones_like(y))


def test_the_choice_has_no_gradient_and_queries_learn_through_their_softmax():
    module = attn.create("biformer", 16, regions=2, topk=1)
    x = torch.randn(1, 16, 2, 2)  # one position a region: the softmax over a single key is 1 whatever q and k are
    module(x).square().sum().backward()
    gradient = module.qkv.weight.grad.squeeze()
    assert gradient[32:].abs().max() > 0
    assert gradient[:32].abs().max() < 1e-5 * gradient[32:].abs().max()


def test_half_precision_where_there_is_nothing_to_choose():
    """The declared limit is the choice alone: with all regions looked into, bf16 stays near float32."""
    module = subject("biformer", topk=49).module()
    x = subject("biformer").inputs()[0]
    y = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, large = module(x), subject("biformer").module()(30 * x)
    assert (rounded - y).abs().max() < 0.1 * y.abs().max()
    assert large.isfinite().all()


@pytest.mark.parametrize(("channels", "heads"), [(8, 1), (32, 1), (64, 2), (72, 2), (200, 5), (256, 8), (1024, 32)])
def test_one_head_for_every_32_channels(channels, heads):
    assert attn.create("biformer", channels).heads == heads


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regions": 0}, "regions must be at least 1, not 0"),
        ({"topk": 0}, "topk must be from 1 to regions² = 49, not 0"),
        ({"regions": 2, "topk": 5}, "topk must be from 1 to regions² = 4, not 5"),
        ({"heads": 5}, "heads must divide the 64 channels, not be 5; near it: 4 and 2"),
        ({"heads": 0}, "heads must divide the 64 channels, not be 0; near it: 1 and 2"),
        ({"kernel_size": 4}, "kernel_size must be odd, not 4"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        attn.create("biformer", 64, **options)


def test_partners_have_one_colour_and_the_mean_of_their_numbers():
    x, target, colour = tasks.biformer.partners(8, seed=3)
    assert x.shape == (8, 9, 8, 8)
    assert target.shape == (8, 1, 8, 8)
    assert all(sorted(c) == sorted([*range(8), *range(8)]) for c in colour.tolist())
    for image, wanted, colours in zip(x, target, colour, strict=True):
        assert (image[:8].argmax(0)[::2, ::2].flatten() == colours).all()
        for c in range(8):
            at = image[c] == 1
            assert at.sum() == 8
            torch.testing.assert_close(wanted[0][at], image[8][at].mean().expand(8))
    assert torch.equal(x, tasks.biformer.partners(8, seed=3)[0])
    assert not torch.equal(x, tasks.biformer.partners(8, seed=4)[0])


def test_two_regions_are_enough_where_the_content_chooses_them():
    """Learned with all regions, used with two; two that stand in a fixed place see half of what is needed."""
    readout = nn.Conv2d(9, 1, 1, bias=False).requires_grad_(False)
    readout.weight.zero_()[0, 8] = 1
    x, target, _ = tasks.biformer.partners(512)
    new, new_target, _ = tasks.biformer.partners(64, seed=1)
    options = {"regions": 4, "kernel_size": 1, "residual": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        routed = attn.create("biformer", 9, topk=16, **options)
        fixed = tasks.biformer.Neighbours(9, topk=2, **options)
    tasks.learn(nn.Sequential(routed, readout), x, target, batch=32, steps=200)
    tasks.learn(nn.Sequential(fixed, readout), x, target, batch=32, steps=200)
    routed.topk = 2
    assert tasks.error(nn.Sequential(routed, readout), new, new_target) < 0.1
    assert tasks.error(nn.Sequential(fixed, readout), new, new_target) > 0.4
