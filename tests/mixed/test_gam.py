# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""GAM against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks


def loops(f1, w0, b0, w1, b1, c1, d1, n1, c2, d2, n2, groups=1, shuffle=True, sigmoid=True):
    """GAM: F2 = M_c(F1) F1, then F3 = M_s(F2) F2.

    Args:
        f1: The map F1, nested B x C x H x W.
        w0: First layer of the MLP that runs over the channels of every position, nested C/r x C.
        b0: Its bias, C/r numbers; ReLU behind it.
        w1: Second layer of the MLP, nested C x C/r.
        b1: Its bias, C numbers.
        c1: First k x k convolution of M_s, nested C/r x C/g x k x k, k odd, zeros outside the map.
        d1: Its bias, C/r numbers.
        n1: (weight, bias, mean, variance, eps) of the BN behind it in evaluation, C/r numbers each but eps, then ReLU.
        c2: Second k x k convolution, nested C x C/(r g) x k x k.
        d2: Its bias, C numbers.
        n2: As n1, of C numbers, then the sigmoid.
        groups: g of both convolutions.
        shuffle: Whether channel u C/(r g) + v becomes channel v g + u between the two, where g > 1.
        sigmoid: Whether M_c ends in a sigmoid, or is the MLP's number itself.

    Returns:
        F3, nested B x C x H x W.
    """

    def sigma(t):
        return 1.0 / (1.0 + math.exp(-t))

    def conv_bn(x, weight, bias, norm):
        hs, ws, k = range(len(x[0])), range(len(x[0][0])), len(weight[0][0])
        y = [[[0.0 for _ in ws] for _ in hs] for _ in weight]
        for o in range(len(weight)):
            first = o // (len(weight) // groups) * (len(x) // groups)  # the first channel of its group
            for i in hs:
                for j in ws:
                    v = bias[o]
                    for c in range(len(weight[o])):
                        for p in range(k):
                            for q in range(k):
                                row, col = i + p - k // 2, j + q - k // 2
                                if row in hs and col in ws:
                                    v += weight[o][c][p][q] * x[first + c][row][col]
                    y[o][i][j] = norm[0][o] * (v - norm[2][o]) / math.sqrt(norm[3][o] + norm[4]) + norm[1][o]
        return y

    result = []
    for x in f1:
        cs, hs, ws, ms = range(len(x)), range(len(x[0])), range(len(x[0][0])), range(len(w0))
        f2 = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for i in hs:
            for j in ws:
                hidden = [max(b0[m] + sum(w0[m][c] * x[c][i][j] for c in cs), 0.0) for m in ms]
                for c in cs:
                    a = b1[c] + sum(w1[c][m] * hidden[m] for m in ms)
                    f2[c][i][j] = (sigma(a) if sigmoid else a) * x[c][i][j]
        z = [[[max(v, 0.0) for v in row] for row in plane] for plane in conv_bn(f2, c1, d1, n1)]
        if shuffle and groups > 1:
            each = len(z) // groups
            dealt = [None for _ in z]
            for u in range(groups):
                for v in range(each):
                    dealt[v * groups + u] = z[u * each + v]
            z = dealt
        s = conv_bn(z, c2, d2, n2)
        result.append([[[sigma(s[c][i][j]) * f2[c][i][j] for j in ws] for i in hs] for c in cs])
    return result


@torch.no_grad()
def numbers(module, seed=0):
    """The module in float64 and evaluation, no weight and no statistic at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    for name, t in module.double().eval().state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 4)
    return module


def behind(sequence, k):
    """Bias and BN behind the convolution of ``reduce`` or ``restore``, as the loops take them."""
    conv, width = sequence[0], sequence[0].out_channels
    bias = [0.0] * width if conv.bias is None else conv.bias.tolist()
    if k == len(sequence):
        return bias, ([1.0] * width, [0.0] * width, [0.0] * width, [1.0] * width, 0.0)
    norm = sequence[k]
    return bias, (*(t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)), norm.eps)


@pytest.mark.parametrize(
    "options",
    [{}, {"circulating": True}, {"groups": 2}, {"groups": 4, "circulating": True, "reduction": 4}],
    ids=["as printed", "circulating", "two groups", "four groups"],
)
def test_equals_the_equations(options):
    options = {"reduction": 8, "kernel_size": 3, **options}
    module = numbers(attn.create("gam", 16, **options))
    x = torch.randn(2, 16, 5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, last = module.mlp[0], module.mlp[2]
    mlp = (t.tolist() for t in (first.weight.flatten(1), first.bias, last.weight.flatten(1), last.bias))
    down, up = module.reduce[0].weight.tolist(), module.restore[0].weight.tolist()
    wanted = loops(
        *(x.tolist(), *mlp, down, *behind(module.reduce, 1), up, *behind(module.restore, 1)), groups=module.groups
    )
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def test_the_default_kernel_is_seven_by_seven():
    module = numbers(attn.create("gam", 16))
    x = torch.randn(1, 16, 3, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    first, last = module.mlp[0], module.mlp[2]
    mlp = (t.tolist() for t in (first.weight.flatten(1), first.bias, last.weight.flatten(1), last.bias))
    down, up = module.reduce[0].weight.tolist(), module.restore[0].weight.tolist()
    assert len(down) == 1
    assert len(down[0][0]) == 7
    wanted = loops(x.tolist(), *mlp, down, *behind(module.reduce, 1), up, *behind(module.restore, 1))
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def test_the_channel_gate_sees_one_position_and_the_spatial_gate_a_window():
    module = numbers(attn.create("gam", 16, reduction=4))
    x = torch.randn(1, 16, 15, 15, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    changed = x.clone()
    changed[..., 7, 7] += 1
    before, after = module.attention(x), module.attention(changed)
    reached = {name: (before[name] != after[name]).any(1)[0].nonzero() for name in before}
    assert reached["channel"].tolist() == [[7, 7]]
    assert reached["spatial"].amin(0).tolist() == [1, 1]  # two kernels of three steps each
    assert reached["spatial"].amax(0).tolist() == [13, 13]


def test_every_group_hears_of_every_channel_behind_the_shuffle():
    module = numbers(attn.create("gam", 64, reduction=4, groups=4))
    x = torch.randn(1, 64, 6, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x.requires_grad_()
    heard = torch.stack([torch.autograd.grad(module._spatial(x)[:, c].sum(), x)[0].ne(0).any() for c in range(64)])
    assert heard.all()
    slope = torch.autograd.grad(module._spatial(x)[:, 0].sum(), x)[0].abs().amax((0, 2, 3))
    assert (slope > 0).all()  # without the shuffle 48 of the 64 would be 0


# Units of each width in ResNet-50, and what the catalogues of circulating code make of them.
UNITS = {256: 3, 512: 4, 1024: 6, 2048: 3}


@pytest.mark.parametrize(
    ("reduction", "groups", "imagenet", "cifar"),
    [
        (4, 1, 528_621_352, 526_769_572),
        (4, 4, 158_924_584, 157_072_804),
        (16, 1, 151_368_424, 149_516_644),
        (16, 4, 58_944_232, 57_092_452),
    ],
)
def test_the_circulating_form_has_the_counts_of_its_formula(reduction, groups, imagenet, cifar):
    options = {"reduction": reduction, "groups": groups, "circulating": True}
    added = sum(n * attn.card("gam").params(C, **options) for C, n in UNITS.items())
    assert 25_557_032 + added == imagenet
    assert 23_705_252 + added == cifar
    with torch.device("meta"):
        for C in UNITS:
            module = attn.create("gam", C, **options)
            assert sum(p.numel() for p in module.parameters()) == attn.card("gam").params(C, **options)


def test_the_printed_form_has_the_counts_of_the_papers_tables():
    """Tables 1 to 3, ResNet-18 by its units; a bias or a BN behind the second convolution would miss three of them."""
    card, thousands = attn.card("gam"), {64: 2, 128: 2, 256: 2, 512: 2}
    whole = 11_689_512 + sum(n * card.params(C) for C, n in thousands.items())
    mlps = sum(n * (2 * C * (C // 16) + C + C // 16) for C, n in thousands.items())
    assert [round(n / 1e6, 2) for n in (whole, whole - mlps, 11_689_512 + mlps)] == [16.04, 15.95, 11.78]
    circulating = sum(n * card.params(C, circulating=True) for C, n in thousands.items())
    assert round((11_689_512 + circulating) / 1e6, 2) == 16.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction must be at least 1, not 0; the paper's is BAM's, 16"),
        ({"kernel_size": 4}, "kernel_size must be odd, not 4, .* near it: 3 and 5"),
        ({"kernel_size": 0}, "kernel_size must be odd, not 0, .* near it: 1"),
        ({"groups": 3}, "both the 64 channels and the 4 hidden ones, not 3; these do: 1, 2, 4"),
        ({"groups": 0}, "not 0; these do: 1, 2, 4"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("gam", 64, **options)


def test_the_dots_say_which_signal_is_wanted_and_the_veil_which_dot_counts():
    x, target, near = tasks.gam.veiled(16, seed=3)
    assert x.shape == (16, len(tasks.gam.DOT_CHANNELS), 16, 16)
    assert 0.4 < x[:, 4].mean() < 0.6
    for image, wanted, where in zip(x, target, near, strict=True):
        assert [int((image[c] == 4).sum()) for c in (2, 3)] == [4, 4]
        for c in range(2):
            around = torch.zeros(16, 16, dtype=torch.bool)
            for i, j in (image[2 + c] == 4).nonzero().tolist():
                if image[4, i, j] == 0:
                    around[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4] = True
            assert torch.equal(where[c], around)
            assert torch.equal(wanted[c], image[c] * around)
    assert torch.equal(x, tasks.gam.veiled(16, seed=3)[0])
    assert not torch.equal(x, tasks.gam.veiled(16, seed=4)[0])


def test_gam_solves_what_its_spatial_gate_alone_cannot():
    x, target, _ = tasks.gam.veiled(512)
    new, new_target, _ = tasks.gam.veiled(64, seed=1)
    first_two = nn.Conv2d(5, 2, 1, bias=False).requires_grad_(False)
    nn.init.dirac_(first_two.weight)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        both, alone = (attn.create("gam", 5, reduction=1) for _ in range(2))
    for p in alone.mlp.parameters():
        nn.init.zeros_(p).requires_grad_(False)
    errors = [
        tasks.error(tasks.learn(nn.Sequential(m, first_two), x, target, 80, 0.05, 16), new, new_target)
        for m in (both, alone)
    ]
    assert errors[0] < 0.1
    assert errors[1] > 0.3
