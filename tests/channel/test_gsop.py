# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""GSoP against loops written from the paper's equations."""

import math

import pytest
import torch

import attn
from attn import tasks
from attn.contract import subject


def normalised(value, norm, channel):
    """BN in evaluation mode of one number; norm is (weight, bias, running mean, running variance, eps)."""
    weight, bias, mean, variance, eps = norm
    return weight[channel] * (value - mean[channel]) / math.sqrt(variance[channel] + eps) + bias[channel]


def loops(x, W_d, b_d, norm_d, norm_row, W_row, b_row, W_e, b_e, stride=1):
    """The channel gate of GSoP-Net1, in evaluation mode, one element at a time, on nested lists.

    Args:
        x: the input, B × C × H × W.
        W_d: the 1×1 convolution that reduces the channels, d × C; it reads ReLU(x).
        b_d: its bias, d numbers.
        norm_d: the BN behind it: (weight, bias, running mean, running variance), lists of d, and eps, a number.
        norm_row: the BN of the covariance, like ``norm_d``; row p of Σ is its channel p.
        W_row: the row-wise convolution, 4 × d × d: output q of row p has the kernel W_row[q][p], which reads the d
            numbers of that row alone. In a grouped convolution it is the output channel 4 p + q.
        b_row: its bias, 4 × d.
        W_e: the expansion, C × 4d, which reads the outputs in the order 4 p + q.
        b_e: its bias, C numbers.
        stride: of the 1×1 convolution; the paper's network has 2 in its first stage.

    Returns:
        y, B × C × H × W; Σ, B × d × d, before its BN; and s, B × C, the gates.
    """
    C, d, outputs = len(x[0]), len(W_d), len(W_row)
    height, width = len(x[0][0]), len(x[0][0][0])
    places = [(i, j) for i in range(0, height, stride) for j in range(0, width, stride)]
    M = len(places)
    y, covariances, gates = [], [], []
    for image in x:
        u = [[0.0] * M for _ in range(d)]
        for p in range(d):
            for m, (i, j) in enumerate(places):
                reduced = b_d[p] + sum(W_d[p][c] * max(0.0, image[c][i][j]) for c in range(C))
                u[p][m] = max(0.0, normalised(reduced, norm_d, p))
        mean = [sum(u[p]) / M for p in range(d)]
        sigma = [[0.0] * d for _ in range(d)]
        for p in range(d):
            for q in range(d):  # U J Uᵀ with J = (I − 11ᵀ/M) / M: divided by M and not by M − 1
                sigma[p][q] = sum((u[p][m] - mean[p]) * (u[q][m] - mean[q]) for m in range(M)) / M
        t = [0.0] * (outputs * d)
        for p in range(d):
            row = [normalised(sigma[p][e], norm_row, p) for e in range(d)]
            for q in range(outputs):
                t[outputs * p + q] = b_row[q][p] + sum(W_row[q][p][e] * row[e] for e in range(d))
        s = [0.0] * C
        for c in range(C):  # no ReLU between the row-wise convolution and the expansion
            s[c] = 1.0 / (1.0 + math.exp(-(b_e[c] + sum(W_e[c][n] * t[n] for n in range(outputs * d)))))
        y.append([[[s[c] * image[c][i][j] for j in range(width)] for i in range(height)] for c in range(C)])
        covariances.append(sigma)
        gates.append(s)
    return y, covariances, gates


def randomised(channels, **options):
    """In float64 and evaluation mode, with no weight and no statistic at its initial value."""
    module = attn.create("gsop", channels, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 2)
    x = torch.randn(2, channels, 5, 4, generator=generator, dtype=torch.float64)
    return module, x * (0.5 + torch.rand(2, channels, 1, 1, generator=generator, dtype=torch.float64))


def of_norm(norm):
    return *(t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)), norm.eps


@pytest.mark.parametrize("options", [{}, {"dim": 5, "stride": 2}])
@torch.no_grad()
def test_equals_the_equations(options):
    module, x = randomised(20, **options)
    d = module.reduce.out_channels
    wanted, covariances, gates = loops(
        *(x.tolist(), module.reduce.weight.flatten(1).tolist(), module.reduce.bias.tolist()),
        *(of_norm(module.norm), of_norm(module.row_norm)),
        *(t.unflatten(0, (d, 4)).transpose(0, 1).squeeze().tolist() for t in module.rows.parameters()),
        *(module.expand.weight.flatten(1).tolist(), module.expand.bias.tolist()),
        stride=module.reduce.stride[0],
    )
    for ours, theirs in (
        (module(x), wanted),
        (module._covariance(x), covariances),
        (module.attention(x).flatten(1), gates),
    ):
        torch.testing.assert_close(ours, torch.tensor(theirs, dtype=x.dtype), atol=1e-10, rtol=0)
    assert module.attention(x).std() > 0.1


@torch.no_grad()
def test_the_covariance_is_pytorchs():
    module, x = randomised(16)
    u = module.relu(module.norm(module.reduce(module.relu(x)))).flatten(2)
    wanted = torch.stack([torch.cov(image, correction=0) for image in u])
    torch.testing.assert_close(module._covariance(x), wanted)


@torch.no_grad()
def test_what_is_added_to_every_position_is_not_seen():
    """Where every value stays above zero, the mean of a channel goes into no gate."""
    module, x = randomised(16)
    module.norm.bias.fill_(100)
    x = x.abs() + 1
    gates = module.attention(x)
    torch.testing.assert_close(module.attention(x + 3 * torch.rand(1, 16, 1, 1, dtype=x.dtype)), gates)
    mixed = torch.stack([channel[torch.randperm(20)] for channel in x[0].flatten(1)]).unflatten(1, (5, 4))
    assert (module.attention(mixed[None]) - gates[:1]).abs().max() > 0.01  # each channel by itself is the same


@torch.no_grad()
def test_negative_values_are_cut_before_the_reduction():
    module, x = randomised(16)
    torch.testing.assert_close(module.attention(x), module.attention(x.relu()), atol=0, rtol=0)
    assert (module(x) != module(x.relu())).any()  # but the map that is weighed keeps them


@torch.no_grad()
def test_in_training_the_size_of_the_map_is_lost():
    module, x = randomised(16)
    module.train()
    torch.testing.assert_close(module.attention(10 * x), module.attention(x), atol=1e-3, rtol=0)  # but for the ε
    assert (module.eval().attention(10 * x) - module.attention(x)).abs().max() > 0.1


@torch.no_grad()
def test_a_map_of_one_position_gives_every_image_the_same_gates():
    module, x = randomised(16)
    assert not module._covariance(x[..., :1, :1]).any()
    gates = module.attention(x[..., :1, :1])
    torch.testing.assert_close(gates[0], gates[1])


def test_defaults_and_refusals():
    assert [attn.create("gsop", C).reduce.out_channels for C in (8, 64, 256, 1024)] == [4, 32, 128, 128]
    assert "stride=(2, 2)" in repr(attn.create("gsop", 64, stride=2))
    for option in ("dim", "stride"):
        with pytest.raises(ValueError, match=f"{option} must be at least 1, not 0"):
            attn.create("gsop", 64, **{option: 0})


@torch.no_grad()
def test_float16_stays_near():
    """The sum of squares over 6400 positions would not fit into float16."""
    module, x = randomised(16)[0].float(), 30 * subject("gsop").inputs(16, (80, 80), 1)[0]
    wanted = module._covariance(x)
    assert 6400 * wanted.max() > 65504
    with torch.autocast("cpu", torch.float16):
        given = module._covariance(x).float()
    torch.testing.assert_close(given, wanted, atol=0.01 * float(wanted.max()), rtol=0)


def test_half_of_the_witnesses_have_one_other_and_no_one_stands_out():
    x, target, other = tasks.gsop.witnesses(32, seed=3)
    assert x.shape == target.shape == (32, 8, 12, 12)
    alone = other == torch.arange(8)
    assert (alone.sum(1) == 4).all()
    assert torch.equal(other.gather(1, other), torch.arange(8).expand(32, 8))  # each is the other of its other
    torch.testing.assert_close(x.mean((2, 3)), torch.ones(32, 8))
    torch.testing.assert_close(x.std((2, 3)), torch.ones(32, 8))
    agree = torch.stack([image.flatten(1).corrcoef() for image in x]).gather(2, other[..., None]).squeeze(2)
    assert agree[~alone].min() > 0.8
    assert torch.equal(target != 0, ~alone[..., None, None] & (x != 0))
    assert torch.equal(x, tasks.gsop.witnesses(32, seed=3)[0])
    assert not torch.equal(x, tasks.gsop.witnesses(32, seed=4)[0])


def test_gsop_finds_the_witnesses_and_se_does_not():
    x, target, _ = tasks.gsop.witnesses(256)
    new, new_target, _ = tasks.gsop.witnesses(64, seed=1)
    errors = []
    for slug, options in (("gsop", {"dim": 8}), ("se", {"reduction": 1})):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = attn.create(slug, 8, **options)
        errors.append(tasks.error(tasks.learn(model, x, target, steps=100, batch=16), new, new_target))
    assert errors[0] < 0.4
    assert errors[1] > 0.6
