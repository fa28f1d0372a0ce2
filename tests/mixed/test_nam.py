# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""NAM against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks


def loops(x, gamma, beta, mu, var, eps, pixel=False):
    """NAM: W_gamma = |gamma_c| / sum_k |gamma_k|, M_c = sigmoid(W_gamma BN(F)), then M_c F.

    The batch normalisation is given by its numbers, so the same loops serve evaluation (running statistics) and
    training (the mean and the biased variance of the batch, over B, H and W).

    Args:
        x: The map F, nested B x C x H x W.
        gamma: The scale of the BN, C numbers of any sign; the share of a channel is over their absolute values.
        beta: The shift of the BN, C numbers.
        mu: The mean mu_B of each channel, C numbers.
        var: The variance sigma_B^2 of each channel, C numbers, none below 0.
        eps: The small number that the BN adds to the variance before the root.
        pixel: False for the channel part. True for the pixel part, M_s = sigmoid(W_lambda BN_s(F)): the positions
            then play the part of the channels, row after row, so `gamma`, `beta`, `mu` and `var` have H*W
            numbers each, position (i, j) at i*W + j.

    Returns:
        (M, y), each nested B x C x H x W; y = M F element by element.
    """
    total = 0.0
    for value in gamma:
        total += abs(value)
    gate, y = [], []
    for xb in x:
        gate_b, y_b = [], []
        for c in range(len(xb)):
            gate_c, y_c = [], []
            for i in range(len(xb[c])):
                gate_row, y_row = [], []
                for j in range(len(xb[c][i])):
                    n = i * len(xb[c][i]) + j if pixel else c  # whose statistics and whose share
                    normed = gamma[n] * (xb[c][i][j] - mu[n]) / math.sqrt(var[n] + eps) + beta[n]
                    score = abs(gamma[n]) / total * normed
                    gate_row.append(1.0 / (1.0 + math.exp(-score)))
                    y_row.append(gate_row[-1] * xb[c][i][j])
                gate_c.append(gate_row)
                y_c.append(y_row)
            gate_b.append(gate_c)
            y_b.append(y_c)
        gate.append(gate_b)
        y.append(y_b)
    return gate, y


def uneven(channels=16, size=(9, 5)):
    """A module without an initial value in it, in float64, and an input whose channels differ."""
    module, generator = attn.create("nam", channels).double(), torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else 2 * random)
    x = torch.randn(2, channels, *size, generator=generator, dtype=torch.float64)
    return module, x * torch.linspace(0.5, 4, channels, dtype=torch.float64)[:, None, None] + 1


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
def test_equals_the_equations(train):
    module, x = uneven()
    norm = module.train(train).norm
    assert norm.weight.min() < 0 < norm.weight.max()
    mu, var = (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)) if train else (norm.running_mean, norm.running_var)
    numbers = (t.tolist() for t in (norm.weight, norm.bias, mu.clone(), var.clone()))
    wanted = [torch.tensor(t, dtype=x.dtype) for t in loops(x.tolist(), *numbers, norm.eps)]
    torch.testing.assert_close([module.attention(x), module(x)], wanted, atol=1e-10, rtol=0)


def test_the_part_over_positions_is_this_module_with_the_axes_exchanged():
    module, x = uneven(4 * 3)
    norm, x = module.eval().norm, x[:, :, :8, :2].reshape(2, 12, 16)  # B HW C
    numbers = (t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var))
    maps = x.mT.unflatten(2, (4, 3))  # B C H W
    wanted = torch.tensor(loops(maps.tolist(), *numbers, norm.eps, pixel=True)[1], dtype=x.dtype)
    y = module(maps.flatten(2).mT[..., None])  # B HW C 1
    torch.testing.assert_close(y[..., 0].mT.unflatten(2, (4, 3)), wanted, atol=1e-10, rtol=0)


def test_a_scale_changes_the_gates_of_the_other_channels_and_learns_from_it():
    """The derivative of w_0 in the scale of channel 1 is -w_0 sign / S; the authors' code has 0 there."""
    module, x = uneven()
    gamma = module.eval().norm.weight
    a = module.attention(x)[0, 0, 3, 2]
    (slope,) = torch.autograd.grad(a, gamma)
    wanted = -(a * (1 - a) * a.logit() * gamma[1].sign() / gamma.abs().sum()).detach()
    torch.testing.assert_close(slope[1], wanted)
    assert slope[1].abs() > 1e-3
    gamma.data[1] *= 1.001
    change = module.attention(x)[0, 0, 3, 2] - a
    torch.testing.assert_close(change, 0.001 * gamma[1] / 1.001 * wanted, rtol=1e-2, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_without_any_scale_every_gate_is_a_half(dtype):
    module = attn.create("nam", 16).to(dtype).eval()
    nn.init.zeros_(module.norm.weight)
    gates = module.attention(torch.ones(2, 16, 3, 4, dtype=dtype))
    assert torch.equal(gates, torch.full_like(gates, 0.5))
    nn.init.ones_(module.norm.bias)
    module.float().attention(torch.ones(2, 16, 3, 4)).sum().backward()
    assert module.norm.weight.grad.isfinite().all()


@torch.no_grad()
def test_at_the_start_the_layer_halves_its_input():
    x = torch.randn(4, 512, 20, 20, generator=torch.Generator().manual_seed(0))
    gates = attn.create("nam", 512).attention(x)
    assert 1e-3 < (gates - 0.5).abs().max() < 3e-3


@torch.no_grad()
def test_a_channel_without_a_share_is_halved_and_never_shut():
    module, x = uneven()
    module.eval().norm.weight[3] = 0
    torch.testing.assert_close(module(x)[:, 3], x[:, 3] / 2)


@torch.no_grad()
def test_scales_of_the_other_sign_open_where_the_others_shut():
    module, x = uneven()
    before = module.eval().attention(x)
    module.norm.weight.neg_()
    module.norm.bias.neg_()
    torch.testing.assert_close(module.attention(x), 1 - before)


def test_wanted_channels_are_wanted_above_their_level():
    x, target = tasks.nam.above(64, seed=3, wanted=2)
    assert x.shape == (64, 16, 8, 8)
    assert target.shape == (64, 2, 8, 8)
    for c in range(2):
        kept = target[:, c] != 0
        assert torch.equal(target[:, c][kept], x[:, c][kept])
        assert x[:, c][~kept].max() < x[:, c][kept].min()
        assert 0.45 < kept.float().mean() < 0.55
    assert torch.equal(x, tasks.nam.above(64, seed=3)[0])
    assert not torch.equal(x, tasks.nam.above(64, seed=4)[0])


def test_nam_gives_its_share_to_the_one_channel_that_needs_it():
    x, target = tasks.nam.above(256)
    new, new_target = tasks.nam.above(64, seed=1)
    errors = []
    for slug in ("nam", "se"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(attn.create(slug, 16), nn.Conv2d(16, 1, 1))
        errors.append(tasks.error(tasks.learn(model, x, target, steps=150), new, new_target))
        if slug == "nam":
            assert model[0]._share()[0] > 0.9
    assert errors[0] < 0.02 < 0.2 < errors[1]
