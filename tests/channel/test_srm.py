# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SRM against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.channel.srm import EPS
from attn.contract import subject


def loops(x, w, gamma, beta, mean=None, variance=None, eps=1e-5, sigma_eps=1e-5, correction=1):
    """Style-based Recalibration Module: t = (mu, sigma) per channel, z = w . t, g = sigmoid(BN(z)), y = g x.

    Args:
        x: The map X, nested N x C x H x W, H W > correction.
        w: The channel-wise fully connected W, nested C x 2: w[c][0] weighs mu_c, w[c][1] weighs sigma_c; no bias.
        gamma: The scale of the BN, C numbers.
        beta: The shift of the BN, C numbers.
        mean: The BN's mean of z, C numbers (evaluation), or None for the mean of this batch (training).
        variance: The BN's variance of z, C numbers, or None for the biased variance of this batch.
        eps: What the BN adds to the variance.
        sigma_eps: What is added under the square root of sigma; 0 is the paper's equation.
        correction: The variance under sigma divides by H W - correction; 1 as the authors' code does, 0 as the paper.

    Returns:
        (y, g): y nested N x C x H x W, the gate g nested N x C.
    """
    images, cs = range(len(x)), range(len(x[0]))
    hs, ws = range(len(x[0][0])), range(len(x[0][0][0]))
    z = [[0.0 for _ in cs] for _ in images]
    for n in images:
        for c in cs:
            mu = 0.0
            for i in hs:
                for j in ws:
                    mu += x[n][c][i][j] / (len(hs) * len(ws))
            squares = 0.0
            for i in hs:
                for j in ws:
                    squares += (x[n][c][i][j] - mu) ** 2
            sigma = math.sqrt(squares / (len(hs) * len(ws) - correction) + sigma_eps)
            z[n][c] = w[c][0] * mu + w[c][1] * sigma
    g = [[0.0 for _ in cs] for _ in images]
    for c in cs:
        m = sum(z[n][c] for n in images) / len(images) if mean is None else mean[c]
        v = sum((z[n][c] - m) ** 2 for n in images) / len(images) if variance is None else variance[c]
        for n in images:
            g[n][c] = 1.0 / (1.0 + math.exp(-(gamma[c] * (z[n][c] - m) / math.sqrt(v + eps) + beta[c])))
    return [[[[g[n][c] * x[n][c][i][j] for j in ws] for i in hs] for c in cs] for n in images], g


def randomised(channels):
    """In float64, with no weight and no statistic at its initial value."""
    module = attn.create("srm", channels).double()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 2)
    x = torch.randn(3, channels, 7, 4, generator=generator, dtype=torch.float64)
    return module, x * (0.5 + torch.rand(3, channels, 1, 1, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("train", [False, True])
def test_equals_the_equations(train):
    module, x = randomised(20)
    norm = module.train(train).norm
    statistics = (None, None) if train else (norm.running_mean.tolist(), norm.running_var.tolist())
    wanted, gates = loops(
        x.tolist(), module.cfc.tolist(), norm.weight.tolist(), norm.bias.tolist(), *statistics, eps=norm.eps
    )
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)
    g = module.attention(x).flatten(1)
    torch.testing.assert_close(g, torch.tensor(gates, dtype=x.dtype), atol=1e-10, rtol=0)
    assert g.std() > 0.1


def test_starts_half_open_and_moves():
    module, x = attn.create("srm", 16), subject("srm").inputs(16, batch=8)[0]
    for train in (False, True):
        assert (module.train(train).attention(x) == 0.5).all()
    module(x).square().sum().backward()
    assert module.cfc.grad.abs().min() > 0
    nn.init.normal_(module.cfc, std=0.1)
    assert module.attention(x).std() > 0.1


def test_the_length_of_w_is_lost_in_training():
    module, x = randomised(16)
    trained, evaluated = (module.train(train).attention(x) for train in (True, False))
    module.cfc.data *= 3
    longer, evaluated_longer = (module.train(train).attention(x) for train in (True, False))
    torch.testing.assert_close(trained, longer, atol=1e-3, rtol=0)  # ε of the BN is all that tells them apart
    assert (evaluated - evaluated_longer).abs().max() > 0.1


def test_each_gate_reads_its_own_channel_alone():
    module, x = randomised(16)
    other = x.clone()
    other[:, 5] *= 2
    changed = (module.eval().attention(x) != module.attention(other)).any(0).flatten()
    assert changed.nonzero().tolist() == [[5]]


def test_a_gate_reads_the_spread_and_not_only_the_mean():
    module, x = randomised(16)
    mean = x.mean((2, 3), keepdim=True)
    calmer = mean + (x - mean) / 2
    assert (module.eval().attention(x) - module.attention(calmer)).abs().max() > 0.01


def test_a_constant_channel_has_a_finite_gradient():
    module, x = randomised(16)
    x[:, 3] = 0
    module(x.requires_grad_()).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(module.cfc.grad).all()


def test_a_map_of_one_position_has_the_spread_of_epsilon():
    module, x = randomised(16)
    t = module._style(x[..., :1, :1])
    assert torch.equal(t[:, :, 0], x[..., 0, :1])
    torch.testing.assert_close(t[:, :, 1], torch.full_like(t[:, :, 1], EPS**0.5))


def test_a_batch_of_one_trains_and_keeps_the_statistics():
    module, x = randomised(16)
    before = {n: t.clone() for n, t in module.named_buffers()}
    y = module.train()(x[:1])
    assert all(torch.equal(t, before[n]) for n, t in module.named_buffers())
    torch.testing.assert_close(y, module.eval()(x[:1]))


def test_the_sensors_differ_in_spread_and_not_in_mean():
    x, target, quiet = tasks.srm.sensors(32, seed=3)
    assert x.shape == target.shape == (32, 4, 16, 16)
    assert 0 < quiet.sum() < quiet.numel()
    torch.testing.assert_close(x.mean((2, 3)), torch.full((32, 4), 1 / 16))
    spread = x.std((2, 3))
    assert spread[quiet].max() < 0.5 < spread[~quiet].min()
    assert torch.equal(target[quiet], x[quiet])
    assert not target[~quiet].any()
    assert torch.equal(x, tasks.srm.sensors(32, seed=3)[0])
    assert not torch.equal(x, tasks.srm.sensors(32, seed=4)[0])


def test_srm_solves_what_the_means_cannot():
    x, target, _ = tasks.srm.sensors(256)
    new, new_target, _ = tasks.srm.sensors(64, seed=1)
    errors = []
    for slug, options in (("srm", {}), ("se", {"reduction": 1})):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = attn.create(slug, 4, **options)
        errors.append(tasks.error(tasks.learn(model, x, target, steps=150, batch=32), new, new_target))
    assert errors[0] < 0.05
    assert errors[1] > 0.5
