# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SOCA against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import hosts, tasks
from attn.channel.soca import EPS


def loops(x, w_d, b_d, w_u, b_u, iterations=5, eps=0.0):
    """Second-order Channel Attention: gates from the row means of the square root of the channels' covariance.

    Args:
        x: The map F, nested N x C x H x W; not constant unless eps > 0.
        w_d: The reducing W_D, nested C/r x C.
        b_d: Its bias, C/r numbers.
        w_u: The expanding W_U, nested C x C/r.
        b_u: Its bias, C numbers.
        iterations: Newton-Schulz steps, N = 5 in the paper.
        eps: What is added to the trace before Sigma is divided by it and before its root is multiplied back; 0 in the
            paper.

    Returns:
        (y, w, root): y nested N x C x H x W, the gates w nested N x C, the roots of the covariances nested N x C x C.
    """

    def times(a, b):
        return [[sum(a[i][m] * b[m][j] for m in range(len(b))) for j in range(len(b[0]))] for i in range(len(a))]

    y, gates, roots = [], [], []
    for f in x:
        cs, hs, ws = range(len(f)), range(len(f[0])), range(len(f[0][0]))
        s = len(hs) * len(ws)
        mean = [sum(f[c][i][j] for i in hs for j in ws) / s for c in cs]
        sigma = [[0.0 for _ in cs] for _ in cs]
        for c in cs:
            for k in cs:
                for i in hs:
                    for j in ws:
                        sigma[c][k] += (f[c][i][j] - mean[c]) * (f[k][i][j] - mean[k]) / s
        trace = sum(sigma[c][c] for c in cs) + eps
        Y = [[sigma[c][k] / trace for k in cs] for c in cs]
        Z = [[1.0 if c == k else 0.0 for k in cs] for c in cs]
        for _ in range(iterations):
            zy = times(Z, Y)
            t = [[((3.0 if c == k else 0.0) - zy[c][k]) / 2 for k in cs] for c in cs]
            Y, Z = times(Y, t), times(t, Z)
        root = [[math.sqrt(trace) * Y[c][k] for k in cs] for c in cs]
        z = [sum(root[k][c] for k in cs) / len(cs) for c in cs]
        hidden = [max(b_d[m] + sum(w_d[m][c] * z[c] for c in cs), 0.0) for m in range(len(w_d))]
        w = [1.0 / (1.0 + math.exp(-(b_u[c] + sum(w_u[c][m] * hidden[m] for m in range(len(w_d)))))) for c in cs]
        y.append([[[w[c] * f[c][i][j] for j in ws] for i in hs] for c in cs])
        gates.append(w)
        roots.append(root)
    return y, gates, roots


def randomised(channels, **options):
    """In float64 with random weights, and a map whose channels are mixtures with a mean and a spread of their own."""
    generator = torch.Generator().manual_seed(0)
    drawn = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    module = attn.create("soca", channels, **options).double()
    for parameter in module.parameters():
        parameter.data = drawn(*parameter.shape) * (4 if parameter is module.down.weight else 1)
    x = torch.einsum("oc,bcn->bon", drawn(channels, channels), drawn(2, channels, 35)) + 3 * drawn(2, channels, 1)
    return module, x.unflatten(2, (7, 5))


@pytest.mark.parametrize("iterations", [2, 5])
def test_equals_the_equations(iterations):
    module, x = randomised(16, reduction=4, iterations=iterations)
    weights = (module.down.weight.flatten(1), module.down.bias, module.up.weight.flatten(1), module.up.bias)
    wanted = loops(x.tolist(), *(t.tolist() for t in weights), iterations, EPS)
    y, gates, roots = (torch.tensor(t, dtype=torch.float64) for t in wanted)
    torch.testing.assert_close(module(x), y, atol=1e-10, rtol=0)
    torch.testing.assert_close(module.attention(x).flatten(1), gates, atol=1e-10, rtol=0)
    a, trace = module._covariance(x)
    torch.testing.assert_close(trace.sqrt() * module._root(a), roots, atol=1e-10, rtol=0)
    assert gates.std() > 0.1


def test_the_steps_tend_to_the_root_and_five_fall_short():
    _, x = randomised(64)
    errors = {}
    for n in (5, 20):
        module = attn.create("soca", 64, iterations=n).double()
        a, _ = module._covariance(x)
        errors[n] = (a - module._root(a) @ module._root(a)).abs().max() / a.abs().max()
    assert errors[20] < 1e-6
    assert errors[5] > 0.01


def test_a_map_without_variation_is_gated_by_the_biases_alone():
    module, x = randomised(16)
    wanted = module.up(module.down.bias[:, None, None].relu()).sigmoid()
    for flat in (torch.zeros_like(x), torch.full_like(x, 100.0), x[..., :1, :1]):
        flat = flat.float().requires_grad_()  # where a mean is not exact
        module.float().zero_grad()
        y = module.train()(flat)
        torch.testing.assert_close(module.attention(flat), wanted[None].float().expand(2, -1, 1, 1))
        y.square().sum().backward()
        assert all(t.grad.isfinite().all() for t in (flat, *module.parameters()))


def test_a_build_pass_on_zeros_in_training_leaves_the_next_statistics_finite():
    network = nn.Sequential(attn.create("soca", 16), nn.BatchNorm2d(16)).train()
    network(torch.zeros(1, 16, 8, 8))
    assert network[1].running_mean.isfinite().all()
    assert network[1].running_var.isfinite().all()


def test_a_gate_reads_how_channels_vary_together():
    module, x = randomised(16, reduction=1)
    other = x.clone()
    other[:, 5] = x[:, 5].flip(1)  # the same mean and the same variance
    changed = (module.attention(x) - module.attention(other)).abs().flatten(1)
    assert (changed.max(0).values > 0.01).sum() > 8


def test_a_mean_far_from_zero_does_not_drown_the_covariance():
    module, x = randomised(16)
    near, far = (module.float().attention(x.float() + shift) for shift in (0, 1000))
    torch.testing.assert_close(near, far, atol=1e-3, rtol=0)


def test_the_authors_network_holds_parameters_that_it_never_uses():
    network = hosts.san("group", lambda channels, **where: attn.create("soca", channels, **where), groups=2, blocks=1)
    y = network(torch.rand(1, 3, 6, 10) * 255)
    assert y.shape == (1, 3, 12, 20)
    y.sum().backward()
    unused = {name: p.numel() for name, p in network.named_parameters() if p.grad is None}
    assert sum(unused.values()) == 64 * 64 * 9 + 64 + 1096 + 2
    assert {name.partition(".")[0] for name in unused} == {"uncalled", "unread"}


@pytest.mark.parametrize("options", [{"reduction": 0}, {"iterations": 1}])
def test_refuses_what_cannot_work(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name} must be at least {value + 1}, not {value}"):
        attn.create("soca", 16, **options)


def test_the_scrambled_channels_have_the_same_pixels():
    x, target, intact = tasks.soca.scrambled(32, seed=3)
    assert x.shape == target.shape == (32, 8, 16, 16)
    assert (intact.sum(1) == 4).all()
    ordered = x.flatten(2).sort(2).values
    torch.testing.assert_close(ordered, ordered[:, :1].expand_as(ordered))
    torch.testing.assert_close(x.mean((2, 3)), torch.zeros(32, 8), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var((2, 3), correction=0), torch.ones(32, 8))
    assert torch.equal(target[intact], x[intact])
    assert not target[~intact].any()
    assert torch.equal(x, tasks.soca.scrambled(32, seed=3)[0])
    assert not torch.equal(x, tasks.soca.scrambled(32, seed=4)[0])


def test_soca_solves_what_each_channel_alone_cannot():
    x, target, _ = tasks.soca.scrambled(256)
    new, new_target, _ = tasks.soca.scrambled(64, seed=1)
    errors = []
    for slug, options in (("soca", {"reduction": 1}), ("srm", {})):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = attn.create(slug, 8, **options)
        errors.append(tasks.error(tasks.learn(model, x, target, steps=150, lr=0.1, batch=32), new, new_target))
    assert errors[0] < 0.05
    assert errors[1] > 0.4
