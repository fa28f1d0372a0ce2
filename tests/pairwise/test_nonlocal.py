# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The non-local block against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject

toy = tasks.of("nonlocal")  # tasks.nonlocal is no Python
PAIRWISE = attn.card("nonlocal").studied["pairwise"]


def loops(x, kind, theta, phi, g, w_z, w_f=None, pool=1, scale=False, norm=None):
    """The non-local block: y_i = sum_j f(x_i, x̂_j) g(x̂_j) / C(x̂) and z_i = W_z y_i + x_i.

    f and C by ``kind``: "embedded" exp(theta_i . phi_j), C = sum_j f; "gaussian" exp(x_i . x̂_j), C = sum_j f;
    "dot" theta_i . phi_j, C = the number of keys; "concat" max(w_f . [theta_i, phi_j], 0), C = the number of keys.

    Args:
        x: The map, nested B x C x H x W; i runs over its H W positions.
        kind: One of "embedded", "gaussian", "dot" and "concat".
        theta: (weight, bias) of the embedding of i, nested C/2 x C and C/2 numbers; not read by "gaussian".
        phi: The same of the embedding of j; not read by "gaussian".
        g: (weight, bias) of the values, nested C/2 x C and C/2 numbers.
        w_z: (weight, bias) of W_z, nested C x C/2 and C numbers.
        w_f: The vector of "concat", C numbers: the first half meets theta_i, the second half phi_j.
        pool: x̂ is x after a maximum over windows of pool x pool with stride pool, channel by channel, a rest at
            the right or lower edge left out; at 1 x̂ is x.
        scale: Whether the exponent, or the product of "dot", is divided by the root of the length of its two vectors.
        norm: (weight, bias, mean, variance) of C numbers each, and eps, of the BN after W_z in evaluation, or None.

    Returns:
        z, nested B x C x H x W.
    """

    def linear(layer, p):
        return [b + sum(w * v for w, v in zip(row, p, strict=True)) for row, b in zip(*layer, strict=True)]

    z = []
    for xb in x:  # a sample never sees another
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        keys = []  # x̂_j, C numbers each
        for i in range(len(hs) // pool):
            for j in range(len(ws) // pool):
                window = [(i * pool + p, j * pool + q) for p in range(pool) for q in range(pool)]
                keys.append([max(xb[c][p][q] for p, q in window) for c in cs])
        right = keys if kind == "gaussian" else [linear(phi, key) for key in keys]
        values = [linear(g, key) for key in keys]
        zb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for i in hs:
            for j in ws:
                pixel = [xb[c][i][j] for c in cs]
                left = pixel if kind == "gaussian" else linear(theta, pixel)
                f = []
                for r in right:
                    if kind == "concat":
                        f.append(max(sum(w * v for w, v in zip(w_f, left + r, strict=True)), 0.0))
                    else:
                        s = sum(a * b for a, b in zip(left, r, strict=True))
                        f.append(s / math.sqrt(len(left)) if scale else s)
                if kind in ("embedded", "gaussian"):
                    top = max(f)  # a factor common to f and C
                    f = [math.exp(s - top) for s in f]
                total = sum(f) if kind in ("embedded", "gaussian") else len(keys)
                y = [sum(f[k] * values[k][m] for k in range(len(keys))) / total for m in range(len(values[0]))]
                out = linear(w_z, y)
                for c in cs:
                    if norm is not None:
                        out[c] = norm[0][c] * (out[c] - norm[2][c]) / math.sqrt(norm[3][c] + norm[4]) + norm[1][c]
                    zb[c][i][j] = out[c] + pixel[c]
        z.append(zb)
    return z


def random(channels, **options):
    """In evaluation and float64, with weights and statistics that are all far from where they start."""
    module = attn.create("nonlocal", channels, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            drawn = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + drawn.abs() if name.endswith("running_var") else drawn / 3)
    return module


@pytest.mark.parametrize("kind", PAIRWISE)
@pytest.mark.parametrize(
    "options", [{}, {"pool": 1, "scale": False, "reduction": 3}, {"norm": False, "pool": 3}], ids=str
)
def test_equals_the_equations(kind, options):
    module = random(16, pairwise=kind, **options)
    x = torch.randn(2, 16, 7, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pairs = {}
    for name in ("theta", "phi", "g", "out"):
        layer = getattr(module, name, None)
        pairs[name] = layer and (layer.weight.flatten(1).tolist(), layer.bias.tolist())
    norm = None
    if options.get("norm", True):
        n = module.norm
        norm = (*(t.tolist() for t in (n.weight, n.bias, n.running_mean, n.running_var)), n.eps)
    wanted = loops(
        x.tolist(),
        kind,
        *pairs.values(),
        w_f=module.pair.weight[0].tolist() if kind == "concat" else None,
        pool=options.get("pool", 2),
        scale=options.get("scale", True) and kind in ("embedded", "gaussian"),
        norm=norm,
    )
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def test_equals_timm():
    """Without pooling, and with the root of the inner width where timm takes that of the outer."""
    layers = pytest.importorskip("timm.layers")
    ours = random(32, reduction=4, pool=1).float()
    theirs = layers.NonLocalAttn(32, rd_channels=8).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = subject("nonlocal").inputs(32, (9, 5))[0]
    assert (theirs(x) - ours(x)).abs().max() > 0.01
    theirs.scale = 8**-0.5
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("norm", [True, False])
def test_a_fresh_block_changes_nothing(norm):
    module, x = attn.create("nonlocal", 16, norm=norm), subject("nonlocal").inputs(16)[0]
    for train in (True, False):
        assert torch.equal(module.train(train)(x), x)
    module(x).square().sum().backward()
    reached = {name for name, p in module.named_parameters() if p.grad.abs().max() > 0}
    # Behind the layer that starts at zero there is no gradient until that layer has moved.
    assert reached == ({"norm.weight", "norm.bias"} if norm else {"out.weight", "out.bias"})


def test_counts():
    for channels, wanted in ((512, 526_592), (1024, 2_101_760)):
        module = attn.create("nonlocal", channels)
        assert sum(p.numel() for p in module.parameters()) == attn.card("nonlocal").params(channels) == wanted


@pytest.mark.parametrize("kind", PAIRWISE)
@pytest.mark.parametrize("options", [{}, {"pool": 1}, {"reduction": 5, "norm": False, "pool": 3}], ids=str)
def test_the_formulas_hold_for_every_option(kind, options):
    cost, facts = attn.cost("nonlocal", (1, 24, 7, 5), pairwise=kind, **options), attn.card("nonlocal")
    assert cost.params == facts.params(24, pairwise=kind, **options)
    assert cost.macs == facts.macs(24, 7, 5, pairwise=kind, **options)


def test_without_pooling_the_order_of_the_positions_does_not_matter():
    module, x = random(16, pool=1), torch.randn(1, 16, 6, 6, dtype=torch.float64)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(2))
    mixed = lambda t: t.flatten(2)[..., order].unflatten(2, (6, 6))  # noqa: E731
    torch.testing.assert_close(module(mixed(x)), mixed(module(x)))


def test_keys_are_maxima_and_a_cut_window_is_none():
    module, x = random(16), torch.randn(1, 16, 7, 5, dtype=torch.float64)
    assert module.attention(x).shape == (1, 35, 6)
    further = x.clone()
    further[..., 6, :] = further[..., 4] = 0  # the last row and column are queries, and no keys
    inside = torch.ones(7, 5, dtype=torch.bool)
    inside[6], inside[:, 4] = False, False
    torch.testing.assert_close(module(x)[..., inside], module(further)[..., inside])


def test_the_dot_product_adds_up_to_no_fixed_number():
    x = subject("nonlocal").inputs(16)[0].double()
    a = random(16, pairwise="dot").attention(x)
    assert a.min() < 0
    assert a.sum(2).std() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairwise": "cosine"}, "unknown pairwise function 'cosine'"),
        ({"pairwise": "Gaussian"}, "did you mean 'gaussian'"),
        ({"reduction": 0}, "reduction must be from 1 to the channels, 16, not 0; the paper's is 2"),
        ({"reduction": 17}, "not 17"),
        ({"pool": 0}, "pool must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("nonlocal", 16, **options)


def test_the_kinds_are_under_noise_of_their_own_size():
    x, target = toy.noisy(16, seed=3)
    assert x.shape == target.shape == (16, toy.CHANNELS, 12, 12)
    assert all(len(image.flatten(1).unique(dim=1).T) == 4 for image in target)
    assert 0.9 < (x - target).var() / target.var() < 1.2
    assert torch.equal(x, toy.noisy(16, seed=3)[0])
    assert not torch.equal(x, toy.noisy(16, seed=4)[0])
    squares = toy.noisy(16, seed=3, block=2)[1].unflatten(2, (6, 2)).unflatten(4, (6, 2))
    assert torch.equal(squares, squares[:, :, :, :1, :, :1].expand_as(squares))


def test_non_local_means_weigh_by_distance():
    x, _ = toy.noisy(8)
    here = toy.means(x, 3)[0, :, 2, 5]
    weights = (-(x[0] - x[0, :, 2, 5, None, None]).square().sum(0) / (2 * 3**2)).exp()
    torch.testing.assert_close(here, (x[0] * weights).sum((1, 2)) / weights.sum())
    torch.testing.assert_close(toy.means(x, 0.01), x)
    torch.testing.assert_close(toy.means(x, 1e4), x.mean((2, 3), keepdim=True).expand_as(x))


def test_a_mean_over_what_looks_alike_goes_below_the_bound_of_one_position():
    x, target = toy.noisy(256)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = attn.create("nonlocal", 32, pool=1)
        model = nn.Sequential(nn.Conv2d(16, 32, 1), block, nn.Conv2d(32, 16, 1))
    tasks.learn(model, x, target, 120, batch=16, lr=0.02)
    assert tasks.error(model, *toy.noisy(64, seed=1)) < 0.4
