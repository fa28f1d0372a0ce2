# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SCNet's self-calibrated convolution against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import measure, tasks
from attn.contract import subject


def loops(x1, x2, f1, f2, f3, f4, norms, r, bilinear=False):
    """Self-calibrated convolution at stride 1: Y = [Y_1, Y_2], each half read from its own input.

    X_1' = Up(F_2(AvgPool_r(X_1))), Y_1' = F_3(X_1) * sigmoid(X_1 + X_1'), Y_1 = F_4(Y_1'), Y_2 = F_1(X_2).

    Args:
        x1: X_1, the half that is calibrated, nested B x C x H x W, H and W at least r.
        x2: X_2, the half of the plain convolution, nested B x C2 x H x W.
        f1: The kernel F_1, nested O x C2 x k x k, k odd; no bias, zeros outside the map, as for all four.
        f2: The kernel F_2, nested C x C x k x k, on the pooled map.
        f3: The kernel F_3, nested C x C x k x k.
        f4: The kernel F_4, nested C x C x k x k.
        norms: For F_1 to F_4 each the batch norm after it in evaluation, (weight, bias, mean, variance, eps), a list
            per channel each and one number eps, or None for none. There is no ReLU inside.
        r: Side and stride of the pooling's window; windows that would leave the map are dropped.
        bilinear: Up interpolates as the paper writes (corners not aligned), instead of taking the nearest as the code.

    Returns:
        [Y_1, Y_2] along the channels, nested B x (C + O) x H x W.
    """

    def conv(x, f, norm):
        k, hs, ws, y = len(f[0][0]), range(len(x[0])), range(len(x[0][0])), []
        for o in range(len(f)):
            y.append([[0.0 for _ in ws] for _ in hs])
            for i in hs:
                for j in ws:
                    v = 0.0
                    for c in range(len(x)):
                        for p in range(k):
                            for q in range(k):
                                row, col = i + p - k // 2, j + q - k // 2
                                if row in hs and col in ws:
                                    v += f[o][c][p][q] * x[c][row][col]
                    if norm is not None:
                        weight, bias, mean, variance, eps = norm
                        v = weight[o] * (v - mean[o]) / math.sqrt(variance[o] + eps) + bias[o]
                    y[o][i][j] = v
        return y

    def taps(i, n, m):  # where place i of n reads a line of m values: (index, weight) pairs
        if not bilinear:
            return [(i * m // n, 1.0)]
        at = max((i + 0.5) * m / n - 0.5, 0.0)
        low = int(at)
        return [(low, 1.0 - (at - low)), (min(low + 1, m - 1), at - low)]

    y = []
    for xb, other in zip(x1, x2, strict=True):
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        m, n = len(hs) // r, len(ws) // r
        t = [
            [
                [sum(xb[c][i * r + p][j * r + q] for p in range(r) for q in range(r)) / (r * r) for j in range(n)]
                for i in range(m)
            ]
            for c in cs
        ]
        low, gated = conv(t, f2, norms[1]), conv(xb, f3, norms[2])
        for c in cs:
            for i in hs:
                for j in ws:
                    up = 0.0
                    for p, u in taps(i, len(hs), m):
                        for q, v in taps(j, len(ws), n):
                            up += u * v * low[c][p][q]
                    gated[c][i][j] /= 1.0 + math.exp(-(xb[c][i][j] + up))
        y.append(conv(gated, f4, norms[3]) + conv(other, f1, norms[0]))
    return y


def statistics(norm):
    """What ``loops`` takes of a BN in evaluation."""
    return *(t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)), norm.eps


@pytest.mark.parametrize(
    ("channels", "size", "options"),
    [(16, (9, 5), {}), (16, (5, 8), {"bilinear": True}), (16, (3, 2), {"pool": 1}), (20, (5, 4), {"pool": 2})],
    ids=str,
)
def test_equals_the_equations(channels, size, options):
    module = attn.create("scnet", channels, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 4)
    x = torch.randn(1, channels, *size, generator=generator, dtype=torch.float64)
    kernels = [conv.weight.tolist() for conv in (module.k1, module.k2[0], module.k3[0], module.k4)]
    norms = (None, statistics(module.k2[1]), statistics(module.k3[1]), None)
    halves = (half.tolist() for half in x.chunk(2, 1))
    wanted = loops(*halves, *kernels, norms, module.pool, options.get("bilinear", False))
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def test_a_stride_thins_out_the_result_and_leaves_the_gate():
    one, two = (subject("scnet", stride=stride).module() for stride in (1, 2))
    two.load_state_dict(one.state_dict())
    (x,) = subject("scnet").inputs(size=(9, 6))
    torch.testing.assert_close(two(x), one(x)[..., ::2, ::2], atol=1e-5, rtol=0)
    assert two.attention(x).shape[2:] == (9, 6)


def test_the_gate_reads_the_first_half_and_the_second_is_a_convolution():
    module, (x,) = subject("scnet").module(), subject("scnet").inputs()
    other = torch.cat([x[:, :32], -x[:, 32:]], 1)
    torch.testing.assert_close(module.attention(other), module.attention(x), atol=0, rtol=0)
    torch.testing.assert_close(module(other)[:, 32:], -module(x)[:, 32:])
    torch.testing.assert_close(module(other)[:, :32], module(x)[:, :32])


@pytest.mark.parametrize(("size", "seen"), [((20, 20), 20), ((7, 7), 4), ((10, 10), 8), ((3, 9), 8)])
def test_the_windows_leave_out_what_is_left_over(size, seen):
    """Beyond the last whole window the small map sees nothing; a side below r is one window."""
    module = subject("scnet").module().double()
    x = subject("scnet").inputs(size=size)[0].double().requires_grad_()
    spread = module.attention(x).logit() - x[:, :32]  # x1'
    (gradient,) = torch.autograd.grad(spread.square().sum(), x)
    assert (gradient.abs().sum((0, 1, 2)) > 1e-9).tolist() == [j < seen for j in range(size[1])]


def test_nearest_repeats_and_bilinear_does_not():
    (x,) = (t.double() for t in subject("scnet").inputs(size=(8, 8)))
    for options, steps in (({}, {3}), ({"bilinear": True}, {1, 2, 3, 4, 5})):
        spread = subject("scnet", **options).module().double().attention(x).logit() - x[:, :32]
        changes = (spread.diff(dim=3).abs().amax((0, 1, 2)) > 1e-9).nonzero().flatten().tolist()
        assert set(changes) == steps


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (9, {}, "channels must be even, one half for each way, not 9; near it: 10"),
        (64, {"pool": 0}, "pool must be at least 1, not 0"),
        (64, {"stride": 0}, "stride must be at least 1, not 0"),
    ],
)
def test_refused(channels, options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("scnet", channels, **options)


@pytest.mark.parametrize("options", [{"stride": 2}, {"bilinear": True}, {"pool": 3, "stride": 3}], ids=str)
def test_the_formulas_of_the_card_hold_for_every_option(options):
    module, facts = attn.create("scnet", 64, **options), attn.card("scnet")
    found = measure.cost(module, (1, 64, 7, 2))
    assert (found.params, found.macs) == (facts.params(64, **options), facts.macs(64, 7, 2, **options))


def test_the_rain_is_what_it_is_said_to_be():
    x, target, wet = tasks.scnet.rain(64, seed=3)
    assert (x.shape, target.shape, wet.shape) == ((64, 2, 24, 24), (64, 1, 24, 24), (64, 1, 24, 24))
    assert torch.equal(target, x[:, :1] * wet)
    for ground, chance in ((wet, tasks.scnet.WET), (~wet, tasks.scnet.DRY)):
        assert x[:, 1:][ground].mean().item() == pytest.approx(chance, rel=0.05)
    assert 0.1 < wet.float().mean((1, 2, 3)).min() < wet.float().mean((1, 2, 3)).max() < 0.9, "both grounds in each"
    assert torch.equal(x, tasks.scnet.rain(64, seed=3)[0])
    assert not torch.equal(x, tasks.scnet.rain(64, seed=4)[0])


@pytest.mark.parametrize(("window", "low", "high"), [(3, 0.6, 0.8), (11, 0.9, 1.0)])
def test_only_a_wide_window_tells_whether_it_rains(window, low, high):
    x, _, wet = tasks.scnet.rain(64)
    share = nn.functional.avg_pool2d(x[:, 1:], window, 1, window // 2, count_include_pad=False)
    guess = share > (tasks.scnet.DRY + tasks.scnet.WET) / 2
    assert low < (guess == wet).float().mean() < high
