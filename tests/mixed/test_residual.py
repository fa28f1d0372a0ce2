# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Residual Attention Network's Attention Module against loops written from the paper and its published network file."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject
from attn.mixed.residual import Unit


def loops(x, trunk, down, skip, up, linear, pad=0, corners=True):
    """An Attention Module between its first unit and its last: H = (1 + M) T, M the soft mask of an hourglass.

    Written from the paper's equation (arXiv 1704.06904) and from what the authors' network file of Attention-56 joins
    to what. A step is (norm, f): batch norm, ReLU, then a convolution without bias; norm is (weight,
    bias, mean, variance, eps) in evaluation, a list per channel each and one number eps, or None for neither BN nor
    ReLU; f is nested O x C x k x k, k odd, zeros outside the map. A unit is a list of steps, whose result is added to
    its input. At depth d the hourglass pools and runs down[d]; if there is a deeper level, it adds skip[d] of that to
    what the deeper level returns, at this size; then it runs up[d].

    Args:
        x: What both branches read (after the p units), nested B x C x H x W.
        trunk: The t units of the trunk T, one after the other.
        down: One list of units per pooling.
        skip: One list of units per pooling but the last.
        up: One list of units per pooling; the last runs at the lowest resolution, before any upsampling.
        linear: The steps after the hourglass, two of 1 x 1 in the paper; the last one's sums go into the sigmoid.
        pad: Of the 3 x 3 maximum of stride 2: 0 cuts the last window at the map's edge (as Caffe does), 1 starts
            one place outside the map.
        corners: The bilinear upsampling keeps the corners' values (Caffe's Interp), instead of half-pixel centres.

    Returns:
        (H, M), both nested B x C x H x W.
    """

    def steps(x, layers):
        for norm, f in layers:
            k, hs, ws = len(f[0][0]), range(len(x[0])), range(len(x[0][0]))
            if norm is not None:
                g, b, m, v, eps = norm
                x = [
                    [[max(g[c] * (x[c][i][j] - m[c]) / math.sqrt(v[c] + eps) + b[c], 0.0) for j in ws] for i in hs]
                    for c in range(len(x))
                ]
            y = [[[0.0 for _ in ws] for _ in hs] for _ in f]
            for o in range(len(f)):
                for i in hs:
                    for j in ws:
                        for c in range(len(x)):
                            for p in range(k):
                                for q in range(k):
                                    row, col = i + p - k // 2, j + q - k // 2
                                    if row in hs and col in ws:
                                        y[o][i][j] += f[o][c][p][q] * x[c][row][col]
            x = y
        return x

    def add(a, b):
        return [
            [[u + v for u, v in zip(r, s, strict=True)] for r, s in zip(m, n, strict=True)]
            for m, n in zip(a, b, strict=True)
        ]

    def run(x, units):
        for unit in units:
            x = add(x, steps(x, unit))
        return x

    def starts(n):  # where the windows of the pooling begin on a line of n
        return [2 * i - pad for i in range(max(math.ceil((n - 3) / 2) + 1, 1) if pad == 0 else (n - 1) // 2 + 1)]

    def pool(x):
        n, m = len(x[0]), len(x[0][0])
        return [
            [
                [
                    max(z[r][c] for r in range(max(i, 0), min(i + 3, n)) for c in range(max(j, 0), min(j + 3, m)))
                    for j in starts(m)
                ]
                for i in starts(n)
            ]
            for z in x
        ]

    def taps(i, n, m):  # where place i of n reads a line of m values: (index, weight) pairs
        at = i * (m - 1) / max(n - 1, 1) if corners else max((i + 0.5) * m / n - 0.5, 0.0)
        low = min(int(at), m - 1)
        return [(low, 1.0 - (at - low)), (min(low + 1, m - 1), at - low)]

    def resize(x, like):
        n, m, h, w = len(x[0]), len(x[0][0]), len(like[0]), len(like[0][0])
        return [
            [
                [sum(u * v * z[r][c] for r, u in taps(i, h, n) for c, v in taps(j, w, m)) for j in range(w)]
                for i in range(h)
            ]
            for z in x
        ]

    def hourglass(x, d):
        z = run(pool(x), down[d])
        if d + 1 < len(down):
            z = add(run(z, skip[d]), resize(hourglass(z, d + 1), z))
        return run(z, up[d])

    out, masks = [], []
    for xb in x:
        t = run(xb, trunk)
        s = steps(resize(hourglass(xb, 0), t), linear)
        mask = [[[1.0 / (1.0 + math.exp(-v)) for v in row] for row in z] for z in s]
        masks.append(mask)
        out.append(
            [
                [[(1.0 + g) * v for g, v in zip(a, b, strict=True)] for a, b in zip(m, z, strict=True)]
                for m, z in zip(mask, t, strict=True)
            ]
        )
    return out, masks


@pytest.mark.parametrize(("poolings", "trunk"), [(1, 0), (2, 1), (3, 0)], ids=str)
def test_equals_the_equations(poolings, trunk):
    module = attn.create("residual", 16, poolings=poolings, trunk=trunk).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / t[0].numel() ** 0.5)
    x = torch.randn(1, 16, 8, 16, generator=generator, dtype=torch.float64)

    def step(norm, conv):
        norm = *(t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)), norm.eps
        return norm, conv.weight.tolist()

    def unit(u):
        return [step(u.branch[i], u.branch[i + 2]) for i in (0, 3, 6)]

    glass, down, skip, up = module.mask[0], [], [], []
    while glass is not None:
        down.append([unit(glass.down)])
        up.append([unit(glass.up)])
        if glass.inner is not None:
            skip.append([unit(glass.skip)])
        glass = glass.inner
    linear = [step(module.mask[i], module.mask[i + 2]) for i in (1, 4)]
    wanted, mask = loops(x.tolist(), [unit(u) for u in module.trunk], down, skip, up, linear)
    assert torch.tensor(mask).std() > 0.1  # neither half open nor shut everywhere
    torch.testing.assert_close(module.attention(x), torch.tensor(mask, dtype=x.dtype), atol=1e-10, rtol=0)
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


@pytest.mark.parametrize("side", range(1, 10))
def test_every_place_is_pooled_and_an_odd_side_keeps_its_last_window(side):
    glass = attn.create("residual", 4, poolings=1).mask[0]
    seen = []
    glass.down.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    line = torch.arange(float(side))
    glass(line.expand(1, 4, side, side))
    assert seen[0][0, 0, 0].tolist() == [min(2 * i + 2, side - 1) for i in range((side + 1) // 2)]
    glass(-line.expand(1, 4, side, side))
    assert seen[1][0, 0, 0].tolist() == [-2 * i for i in range((side + 1) // 2)]


def test_a_shut_mask_leaves_the_trunk_and_an_open_one_doubles_it():
    module = attn.create("residual", 16, trunk=1).eval()
    x = subject("residual").inputs(16)[0]
    with torch.no_grad():
        t = module.trunk(x)
        for value, factor in ((-1.0, 1), (1.0, 2)):
            module.mask[4].bias.fill_(1.0)
            module.mask[4].weight.zero_()
            module.mask[6].weight.fill_(10 * value)
            torch.testing.assert_close(module(x), factor * t)


def test_a_level_more_is_three_units_more():
    one, two, three = (attn.card("residual").params(64, poolings=p) for p in (1, 2, 3))
    assert two - one == three - two == 3 * sum(p.numel() for p in Unit(64).parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"poolings": 0}, "poolings must be at least 1, not 0; the paper has 1 to 3"),
        ({"trunk": -1}, "trunk must be at least 0, not -1; the paper has 2"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("residual", 64, **options)


def test_the_frames_say_what_is_wanted_inside_which():
    x, target, inside = tasks.residual.frames(16, seed=3)
    assert x.shape == (16, len(tasks.residual.FRAME_CHANNELS), 24, 24)
    assert not x[:, 4:].any()
    assert torch.equal(target, x[:, :2] * inside)
    for lines, within in zip(x[:, 2:4].flatten(0, 1), inside.flatten(0, 1), strict=True):
        around = nn.functional.max_pool2d(within[None].float(), 3, 1, 1)[0]
        assert ((around == 1) <= (lines.bool() | within)).all()  # what touches an inside is inside or a line
        assert 2 * 7 * 7 / 2 <= within.sum() <= 2 * 15 * 15
    assert torch.equal(x, tasks.residual.frames(16, seed=3)[0])
    assert not torch.equal(x, tasks.residual.frames(16, seed=4)[0])
