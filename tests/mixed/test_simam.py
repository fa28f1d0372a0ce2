# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SimAM against loops written from the paper's energy: as released and as printed."""

import math

import pytest
import torch

import attn
from attn import tasks


def loops(x, lam=1e-4, released=True):
    """SimAM, one element t at a time, on nested lists: y = sigmoid(1 / e_t) t, e_t the minimal energy of Eq. 5.

    The energy is kept in the paper's form, e_t = 4 (v + lam) / ((t - mu)^2 + 2 v + 2 lam), and inverted afterwards.
    The mean mu and the variance v are those of the element's own channel in its own image.

    Args:
        x: the input, B x C x H x W, with H W > 1.
        lam: lambda, greater than zero.
        released: v divides by n = H W - 1, as the authors' code does, else by M = H W, as Eq. 5 is printed.
    """
    H, W = len(x[0][0]), len(x[0][0][0])
    places = [(i, j) for i in range(H) for j in range(W)]
    n = H * W - 1 if released else H * W
    y = [[[[0.0] * W for _ in range(H)] for _ in image] for image in x]
    for b, image in enumerate(x):
        for c, plane in enumerate(image):
            mu = sum(plane[i][j] for i, j in places) / (H * W)
            v = sum((plane[i][j] - mu) ** 2 for i, j in places) / n
            for i, j in places:
                t = plane[i][j]
                e = 4 * (v + lam) / ((t - mu) ** 2 + 2 * v + 2 * lam)
                y[b][c][i][j] = t / (1 + math.exp(-1 / e))
    return y


def uneven(size=(9, 5)):
    """Channels of all levels, from nearly flat to steep."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16, *size, generator=generator, dtype=torch.float64)
    level = torch.randn(1, 16, 1, 1, generator=generator, dtype=torch.float64)
    return x * torch.logspace(-2, 1, 16, dtype=torch.float64)[:, None, None] + level


@pytest.mark.parametrize(("options", "lam"), [({}, 0.1), ({"e_lambda": 1e-4}, 1e-4)])
def test_equals_the_equations(options, lam):
    x, module = uneven(), attn.create("simam", 16, **options)
    wanted = torch.tensor(loops(x.tolist(), lam), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


def test_the_variance_is_that_of_the_authors_code():
    """Over M - 1; over M, as printed, the gates of 45 values are another by less than a hundredth."""
    x = uneven()
    printed = torch.tensor(loops(x.tolist(), 0.1, released=False), dtype=x.dtype)
    gap = (attn.create("simam", 16)(x) / x - printed / x).abs().max()
    assert 1e-4 < gap < 1e-2


@pytest.mark.parametrize("size", [(9, 5), (20, 20), (1, 2)])
def test_every_channel_has_the_same_mean_importance_but_for_lambda(size):
    x, module = uneven(size), attn.create("simam", 16)
    M, variance = size[0] * size[1], x.var((2, 3))
    wanted = 0.5 + (M - 1) / (4 * M) * variance / (variance + 0.1)
    torch.testing.assert_close(module.attention(x).logit().mean((2, 3)), wanted)


def test_level_and_contrast_do_not_count_if_lambda_goes_with_them():
    x = uneven()
    gates = attn.create("simam", 16).attention(x)
    torch.testing.assert_close(attn.create("simam", 16, e_lambda=2.5).attention(7 - 5 * x), gates)
    assert (attn.create("simam", 16).attention(7 - 5 * x) - gates).abs().max() > 0.1


def test_it_holds_nothing_and_training_changes_nothing():
    module, x = attn.create("simam", 16), uneven()
    assert not module.state_dict()
    assert torch.equal(module.train()(x), module.eval()(x))


@pytest.mark.parametrize("size", [(1, 1), (3, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_where_nothing_stands_out_every_gate_is_the_smallest(size, dtype):
    x = torch.full((2, 16, *size), 1000.0, dtype=dtype, requires_grad=True)
    gates = attn.create("simam", 16).attention(x)
    assert torch.equal(gates, torch.full_like(x, 0.5).sigmoid())
    (gates * x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_bears_values_whose_squares_it_cannot_hold(dtype):
    x = (500 * uneven()).to(dtype).requires_grad_()
    y = attn.create("simam", 16)(x)
    assert y.dtype == dtype
    assert x.abs().max() > 256
    torch.testing.assert_close(y.double(), attn.create("simam", 16)(x.double()), atol=0, rtol=0.01)
    y.float().mean().backward()
    assert x.grad.isfinite().all()


def test_two_values_weigh_the_same():
    """They lie equally far from their mean."""
    gates = attn.create("simam", 16).attention(uneven((1, 2)))
    torch.testing.assert_close(gates[..., 0], gates[..., 1])


@pytest.mark.parametrize("value", [0, -0.1, float("nan")])
def test_refused(value):
    with pytest.raises(ValueError, match=f"e_lambda must be above 0, not {value}"):
        attn.create("simam", 64, e_lambda=value)


def test_odd_values_lie_outside_the_others_of_their_own_map():
    x, target = tasks.simam.odd(32, seed=3)
    assert x.shape == target.shape == (32, 1, 16, 16)
    assert target.sum((1, 2, 3)).tolist() == [4] * 32
    for values, odd in zip(x[:, 0], target[:, 0] > 0, strict=True):
        outside = (values > values[~odd].max()) | (values < values[~odd].min())
        assert torch.equal(outside, odd)
    assert torch.equal(x, tasks.simam.odd(32, seed=3)[0])
    assert not torch.equal(x, tasks.simam.odd(32, seed=4)[0])


def test_one_threshold_on_the_gates_finds_the_odd_values_of_every_map():
    x, target = tasks.simam.odd(256, seed=1)
    odd = target > 0
    gates = attn.create("simam", 1).attention(x)
    assert gates[~odd].max() < 0.8 < gates[odd].min()
    ordinary = x[~odd]  # while on the values themselves the two kinds lie across each other
    assert ((ordinary < x[odd].quantile(0.25)) | (ordinary > x[odd].quantile(0.75))).float().mean() > 0.05
