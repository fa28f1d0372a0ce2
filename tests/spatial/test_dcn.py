# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Deformable convolution, v1 and v2, against loops written from the papers' equations."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import attn
from attn import tasks
from attn.contract import subject

OPTIONS = [
    {},
    {"mask": False},
    {"groups": 2, "stride": 2},
    {"mask": False, "groups": 4, "dilation": 2},
    {"kernel_size": 5, "stride": 3, "dilation": 2},
    {"kernel_size": 1},
]
each = pytest.mark.parametrize("options", OPTIONS, ids=str)


def bilinear(plane, row, column):
    """x(q') = sum over q of max(0, 1 - |q_y - q'_y|) max(0, 1 - |q_x - q'_x|) x(q); what is outside counts as 0."""
    value = 0.0
    for i in range(len(plane)):
        for j in range(len(plane[0])):
            value += max(0.0, 1 - abs(i - row)) * max(0.0, 1 - abs(j - column)) * plane[i][j]
    return value


def loops(x, w, b, w_p, b_p, w_m=None, b_m=None, groups=1, stride=1, dilation=1):
    """y(p) = b + sum over taps k of w_k x(p + p_k + dp_k) dm_k, one output element at a time, on nested lists.

    Args:
        x: the input, [B][C][H][W].
        w: the weights w_k, [C'][C][n][n], n odd: n n taps, row by row.
        b: one bias for each output channel, [C'], or None.
        w_p: kernel of the plain convolution that predicts the offsets dp_k, [2 G n n][C][n][n], of the same stride,
            dilation and padding. Channel 2 (g n n + k) is the shift in rows of tap k in offset group g, the next
            channel its shift in columns: (y0, x0, y1, x1, ...).
        b_p: its bias, [2 G n n], or None.
        w_m: kernel that predicts the mask before its sigmoid, [G n n][C][n][n], channel g n n + k; None is v1, where
            every dm_k is 1.
        b_m: its bias, [G n n], or None.
        groups: G; offset group g serves the input channels from g C / G up to (g + 1) C / G.
        stride: steps between places p.
        dilation: distance between taps; the padding is dilation (n - 1) / 2 zeros.
    """
    B, C, H, W, n = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0]), len(w[0][0])
    taps = [((u - n // 2) * dilation, (v - n // 2) * dilation) for u in range(n) for v in range(n)]
    rows, columns = range(0, H, stride), range(0, W, stride)
    y = [[[[0.0 for _ in columns] for _ in rows] for _ in w] for _ in range(B)]

    def plain(image, kernel, bias, i, j):
        """One element of an ordinary convolution at the place (i, j)."""
        s = bias
        for c in range(C):
            for k, (u, v) in enumerate(taps):
                if 0 <= i + u < H and 0 <= j + v < W:
                    s += kernel[c][k // n][k % n] * image[c][i + u][j + v]
        return s

    for image, out in zip(x, y, strict=True):
        for oi, i in enumerate(rows):
            for oj, j in enumerate(columns):
                dp = [plain(image, w_p[q], b_p[q] if b_p else 0.0, i, j) for q in range(2 * groups * n * n)]
                dm = [1.0] * (groups * n * n)
                if w_m is not None:
                    scores = [plain(image, w_m[q], b_m[q] if b_m else 0.0, i, j) for q in range(groups * n * n)]
                    dm = [1 / (1 + math.exp(-s)) for s in scores]
                for o in range(len(w)):
                    out[o][oi][oj] = b[o] if b else 0.0
                for c in range(C):
                    g = c // (C // groups)
                    for k, (u, v) in enumerate(taps):
                        t = g * n * n + k
                        sample = dm[t] * bilinear(image[c], i + u + dp[2 * t], j + v + dp[2 * t + 1])
                        for o in range(len(w)):
                            out[o][oi][oj] += w[o][c][k // n][k % n] * sample
    return y


def moved(options, channels=16, dtype=torch.float64):
    """A module whose points lie about a pixel from the grid, and inputs of 9 × 6."""
    module = attn.create("dcn", channels, **options).to(dtype).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for t in module.state_dict().values():
        t.copy_(torch.randn(t.shape, generator=generator, dtype=dtype) / 9)
    return module, torch.randn(2, channels, 9, 6, generator=generator, dtype=dtype)


@each
def test_equals_the_equations(options):
    module, x = moved(options)
    assert module.attention(x)["offset"].std() > 0.3
    parts, masked = 2 * module.groups * module.weight[0, 0].numel(), options.get("mask", True)
    kernel, bias = module.predict.weight.tolist(), module.predict.bias.tolist()
    w_m, b_m = (kernel[parts:], bias[parts:]) if masked else (None, None)
    w = (2 * module.weight if masked else module.weight).tolist()  # the paper's mask is half of ours
    named = {k: options.get(k, 1) for k in ("groups", "stride", "dilation")}
    wanted = loops(x.tolist(), w, None, kernel[:parts], bias[:parts], w_m, b_m, **named)
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def operator(x, weight, offset, mask=None, stride=1, dilation=1):
    deform = pytest.importorskip("torchvision.ops").deform_conv2d
    mask = None if mask is None else mask.flatten(1, 2)
    padding = dilation * (weight.shape[2] // 2)
    return deform(x, offset.flatten(1, 3), weight, None, stride, padding, dilation, mask)


@each
@pytest.mark.parametrize("size", [(9, 6), (1, 1), (1, 7), (20, 20)])
def test_equals_torchvision_forward_and_backward(options, size):
    module = attn.create("dcn", 16, **options)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, *size, generator=generator)
    a = {
        name: spread * torch.randn(t.shape, generator=generator)  # some of them far outside
        for (name, t), spread in zip(module.attention(x).items(), (3, 1), strict=False)
    }
    tensors = [t.detach().requires_grad_() for t in (x, module.weight, *a.values())]
    place = {k: options[k] for k in ("stride", "dilation") if k in options}
    theirs = operator(*tensors, **place)
    module.weight = torch.nn.Parameter(tensors[1].detach())
    ours = module.convolve(tensors[0], *tensors[2:])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    up = torch.randn(theirs.shape, generator=generator)
    wanted = torch.autograd.grad(theirs, tensors, up)
    given = torch.autograd.grad(ours, [tensors[0], module.weight, *tensors[2:]], up)
    for left, right in zip(given, wanted, strict=True):
        torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-4)


@each
def test_starts_as_the_convolution_whose_weights_it_takes_over(options):
    module = attn.create("dcn", 16, **options)
    x = torch.randn(2, 16, 9, 6, generator=torch.Generator().manual_seed(0))
    k, s, d = module.weight.shape[2], module.stride, module.dilation
    torch.testing.assert_close(module(x), F.conv2d(x, module.weight, None, s, d * (k // 2), d), atol=1e-6, rtol=1e-5)
    a = module.attention(x)
    assert not a["offset"].any()
    assert "mask" not in a or (a["mask"] == 1).all()


def test_a_point_near_the_edge_is_interpolated_with_zero_and_one_far_away_is_zero():
    module = attn.create("dcn", 8, kernel_size=1).requires_grad_(False)
    torch.nn.init.dirac_(module.weight)
    x, offset = torch.ones(1, 8, 5, 5), torch.zeros(1, 1, 1, 2, 5, 5)
    offset[0, 0, 0, 0, 0], offset[0, 0, 0, 1, :, 4] = -0.25, 1.5
    y = module.convolve(x, offset)[0, 0]
    assert y[0, 0] == 0.75
    assert y[2, 2] == 1
    assert not y[:, 4].any()
    for far in (1e6, -1e6, 1e30, -1e30):
        assert not module.convolve(x, offset + far).any()


def test_a_shift_of_the_points_is_a_shift_of_the_picture():
    """The bias of the offsets alone moves every tap: one row down, two columns to the right."""
    module = attn.create("dcn", 8, mask=False).requires_grad_(False)
    x = torch.randn(1, 8, 9, 9, generator=torch.Generator().manual_seed(0))
    plain = module(x)
    module.predict.bias.copy_(torch.tensor([1.0, 2.0]).repeat(9))
    torch.testing.assert_close(module(x)[..., 1:-3, 1:-4], plain[..., 2:-2, 3:-2], atol=1e-5, rtol=1e-5)


@each
def test_multiply_adds_by_hand(options):
    card = attn.card("dcn")
    for size in ((20, 20), (13, 17), (1, 1)):
        assert attn.cost("dcn", (1, 16, *size), **options).macs == card.macs(16, *size, **options)
    assert sum(p.numel() for p in attn.create("dcn", 16, **options).parameters()) == card.params(16, **options)


def test_half_precision_finds_the_pixels_of_a_wide_map():
    """bfloat16 cannot tell 300 from 301, so the points are computed in float32."""
    module = attn.create("dcn", 8, kernel_size=1).requires_grad_(False).bfloat16()
    torch.nn.init.dirac_(module.weight)
    x = torch.arange(400).remainder(7).expand(1, 8, 1, 400).bfloat16()
    assert torch.equal(module(x), x)


def test_the_backward_pass_is_deterministic():
    module, x = subject("dcn").module(train=True), subject("dcn").inputs()[0]
    gradients = []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            module.zero_grad()
            module(x).square().sum().backward()
            gradients.append([p.grad.clone() for p in module.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd, not 4, .* near it: 3 and 5"),
        ({"kernel_size": 0}, "kernel_size must be odd, not 0, .* near it: 1"),
        ({"stride": 0}, "stride must be at least 1, not 0"),
        ({"dilation": 0}, "dilation must be at least 1, not 0"),
        ({"groups": 0}, "groups must divide the 64 channels, not 0; near it: 1 and 2"),
        ({"groups": 6}, "groups must divide the 64 channels, not 6; near it: 4 and 8"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("dcn", 64, **options)


def test_slipped_rows_are_the_rows_elsewhere():
    picture = torch.randn(2, 1, 3, 8, generator=torch.Generator().manual_seed(0))
    x = tasks.dcn.slipped(picture, torch.tensor([[0.0, 2.0, -1.0], [0.5, 0.0, 9.0]]))
    moved, shift = x[:, 0], x[:, 1]
    torch.testing.assert_close(moved[0, 0], picture[0, 0, 0])
    torch.testing.assert_close(moved[0, 1], F.pad(picture[0, 0, 1, :-2], (2, 0)))
    torch.testing.assert_close(moved[0, 2], F.pad(picture[0, 0, 2, 1:], (0, 1)))
    torch.testing.assert_close(moved[1, 0, 1:], (picture[1, 0, 0, 1:] + picture[1, 0, 0, :-1]) / 2)
    assert not moved[1, 2].any()
    assert torch.equal(shift[:, :, 0], shift[:, :, 7])
    assert shift[0, :, 3].tolist() == [0, 2, -1]


def test_the_waves_are_the_pictures_slipped_by_three_pixels_at_most():
    x, picture = tasks.dcn.waves(64, seed=2)
    assert x.shape == (64, 2, 16, 16)
    assert picture.shape == (64, 1, 16, 16)
    shift = x[:, 1, :, 0]
    assert 2 < shift.abs().max() <= 3
    torch.testing.assert_close(tasks.dcn.slipped(picture, shift), x)
    assert picture.var() == pytest.approx(1, abs=1e-3)
    assert torch.equal(x, tasks.dcn.waves(64, seed=2)[0])
    assert not torch.equal(x, tasks.dcn.waves(64, seed=3)[0])


def test_one_tap_straightens_what_a_convolution_cannot():
    x, picture = tasks.dcn.waves(128)
    new, new_picture = tasks.dcn.waves(64, seed=1)
    first = nn.Conv2d(2, 1, 1, bias=False).requires_grad_(False)
    nn.init.dirac_(first.weight)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tap = nn.Sequential(attn.create("dcn", 2, kernel_size=1, mask=False), first)
        fixed = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), first)
    assert tasks.error(tasks.learn(tap, x, picture, 150, batch=16), new, new_picture) < 0.1
    assert tasks.error(tasks.learn(fixed, x, picture, 150, batch=16), new, new_picture) > 0.2
    offset = tap[0].attention(new)["offset"][:, 0, 0]  # down and right
    assert (offset[:, 1] - new[:, 1]).abs().mean() < 0.3
    assert offset[:, 0].abs().mean() < 0.3
