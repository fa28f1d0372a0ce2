# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Gather-Excite against loops written from the paper's equations, and its parameter-free form against timm's."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, e, convs=(), mlp=None):
    """Gather-Excite: x̂ = ξ_G(x), y = x ⊙ σ(interp(x̂)), interp taking the nearest value; three versions.

    Args:
        x: The map x, nested B x C x H x W.
        e: The extent: one number is gathered every e positions (e = 2^k); None gathers the whole map into one.
        convs: The learned gather: (kernel, norm) of each depthwise convolution in order; kernel nested C x p x q, no
            bias, norm = (weight, bias, mean, variance, eps) of its BN in evaluation, the first four with C numbers.
            With an extent, k = log2(e) kernels of 3 x 3, stride 2, padding 1; for the whole map one of H x W. A ReLU
            stands between them and not after the last. Empty is theta-minus: the mean of the 2e - 1 by 2e - 1 square
            around each e-th position, of those values that lie in the map, or the mean of the whole map.
        mlp: For theta-plus (w1, b1, w2, b2): W_1 nested C/r x C with C/r biases, W_2 nested C x C/r with C biases,
            at each gathered position; a ReLU before W_1 and one after it. Otherwise None.

    Returns:
        y, nested B x C x H x W.
    """
    y = []
    for xb in x:
        cs, height, width = range(len(xb)), len(xb[0]), len(xb[0][0])
        g = xb
        if not convs:
            near, step = (e - 1, e) if e else (max(height, width), max(height, width))
            g = []
            for c in cs:
                g.append([])
                for i in range(0, height, step):
                    g[c].append([])
                    for j in range(0, width, step):
                        rows = range(max(0, i - near), min(height, i + near + 1))
                        cols = range(max(0, j - near), min(width, j + near + 1))
                        g[c][-1].append(sum(xb[c][p][q] for p in rows for q in cols) / (len(rows) * len(cols)))
        for n, (kernel, (weight, bias, mean, variance, eps)) in enumerate(convs):
            hs, ws, old = range(len(g[0])), range(len(g[0][0])), g
            rows, cols = (range(0, len(hs), 2), range(0, len(ws), 2)) if e else (range(1), range(1))
            pad = 1 if e else 0
            g = [[[0.0 for _ in cols] for _ in rows] for _ in cs]
            for c in cs:
                for a, i in enumerate(rows):
                    for b, j in enumerate(cols):
                        v = 0.0
                        for p in range(len(kernel[c])):
                            for q in range(len(kernel[c][0])):
                                row, col = i + p - pad, j + q - pad
                                if row in hs and col in ws:  # outside the map the padding is zero
                                    v += kernel[c][p][q] * old[c][row][col]
                        v = weight[c] * (v - mean[c]) / math.sqrt(variance[c] + eps) + bias[c]
                        g[c][a][b] = v if n == len(convs) - 1 else max(v, 0.0)
        rows, cols = range(len(g[0])), range(len(g[0][0]))
        if mlp is not None:
            w1, b1, w2, b2 = mlp
            for a in rows:
                for b in cols:
                    z = [max(g[c][a][b], 0.0) for c in cs]
                    hidden = [max(b1[m] + sum(w1[m][c] * z[c] for c in cs), 0.0) for m in range(len(w1))]
                    for c in cs:
                        g[c][a][b] = b2[c] + sum(w2[c][m] * hidden[m] for m in range(len(w1)))
        yb = [[[0.0 for _ in range(width)] for _ in range(height)] for _ in cs]
        for c in cs:
            for i in range(height):
                for j in range(width):
                    s = g[c][i * len(rows) // height][j * len(cols) // width]
                    yb[c][i][j] = xb[c][i][j] / (1.0 + math.exp(-s))
        y.append(yb)
    return y


FORMS = {
    "θ 8": {},
    "θ 2": {"extent": 2},
    "θ": {"extent": None, "size": (9, 13)},
    "θ+": {"extent": None, "size": (9, 13), "mlp": True, "reduction": 4},
    "θ+ 4": {"extent": 4, "mlp": True, "reduction": 4},
    "θ- 8": {"extent": 8, "learned": False},
    "θ- 2": {"extent": 2, "learned": False},
    "θ-": {"extent": None, "learned": False},
}


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
@torch.no_grad()
def test_equals_the_equations(options):
    module = subject("genet", **options).module(24).double()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 24, 9, 13, generator=generator, dtype=torch.float64)
    layers = [m for m in module.gather if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    convs = [
        (
            conv.weight.flatten(0, 1).tolist(),
            [t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)] + [norm.eps],
        )
        for conv, norm in zip(layers[::2], layers[1::2], strict=True)
    ]
    mlp = None
    if options.get("mlp"):
        down, up = (m for m in module.excite if isinstance(m, nn.Conv2d))
        mlp = [t.tolist() for m in (down, up) for t in (m.weight.flatten(1), m.bias)]
    wanted = torch.tensor(loops(x.tolist(), module.extent, convs, mlp), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("extent", [2, 4, 8, None])
@torch.no_grad()
def test_the_parameter_free_form_equals_timm(extent):
    timm = pytest.importorskip("timm.layers.gather_excite")
    theirs = timm.GatherExcite(24, extent=extent or 0, use_mlp=False)
    x = attn.card("genet").example(24, (13, 17))[0]
    torch.testing.assert_close(attn.create("genet", 24, extent=extent, learned=False)(x), theirs(x))


@torch.no_grad()
def test_a_mean_of_the_whole_map_and_two_layers_are_se():
    ours, se = (subject("genet", extent=None, learned=False, mlp=True).module(64), attn.create("se", 64).eval())
    se.load_state_dict(
        {n.replace("excite.0", "down").replace("excite.2", "up"): t for n, t in ours.state_dict().items()}
    )
    x = attn.card("genet").example(64, (13, 17))[0]
    torch.testing.assert_close(ours(x), se(x))


@pytest.mark.parametrize("extent", [8, None])
def test_the_parameter_free_form_has_no_parameters(extent):
    assert not list(attn.create("genet", 64, extent=extent, learned=False).parameters())


@torch.no_grad()
def test_a_gate_sees_its_neighbourhood_and_its_channel_alone():
    """Extent 8 reaches seven positions to either side of every eighth; a learned gather of the map reaches all."""
    x = attn.card("genet").example(8, (24, 24), batch=1)[0]
    moved = x.clone()
    moved[0, 3, 0, 0] += 100
    for options in ({}, {"learned": False}, {"extent": None, "size": 24}):
        module = subject("genet", **options).module(8)
        changed = (module.attention(x) != module.attention(moved))[0]
        assert not changed[[0, 1, 2, 4, 5, 6, 7]].any()
        if options.get("extent", 8):
            assert changed[3, :8, :8].all()
            assert not changed[3, 8:].any()
            assert not changed[3, :, 8:].any()
        else:
            assert changed[3].all()


@torch.no_grad()
def test_the_kernel_of_the_whole_map_takes_no_other():
    module = attn.create("genet", 8, extent=None, size=(7, 5)).eval()
    assert module(torch.zeros(1, 8, 7, 5)).shape == (1, 8, 7, 5)
    with pytest.raises(ValueError, match=r"must be 7×5, .* not 14×14; with an extent, .* any size runs"):
        module(torch.zeros(1, 8, 14, 14))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extent": 6}, "a power of two from 2 on, or None for the whole map, not 6"),
        ({"extent": 1}, "a power of two from 2 on, or None for the whole map, not 1"),
        ({"extent": None}, "size must be .* not None with extent=None and learned=True"),
        ({"extent": None, "size": 0}, "size must be .* not 0 with"),
        ({"size": 20}, "size must be .* not 20 with extent=8"),
        ({"extent": None, "learned": False, "size": 20}, "size must be .* not 20 with extent=None and learned=False"),
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("genet", 64, **options)


def test_the_crowds_say_which_points_count():
    x, target, crowded = tasks.genet.crowds(32, seed=3)
    assert x.shape == target.shape == crowded.shape == (32, 4, 24, 24)
    assert torch.equal(target, x * crowded)
    blocks = crowded.unflatten(3, (3, 8)).unflatten(2, (3, 8))  # n C 3 8 3 8
    assert torch.equal(blocks.amin((3, 5)), blocks.amax((3, 5)))
    assert 0.4 < crowded.mean() < 0.6
    assert x[crowded > 0].mean() == pytest.approx(0.3, abs=0.02)
    assert x[crowded == 0].mean() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(x, tasks.genet.crowds(32, seed=3)[0])
    assert not torch.equal(x, tasks.genet.crowds(32, seed=4)[0])


def test_a_learned_gather_solves_what_neither_the_whole_map_nor_a_mean_does():
    x, target, _ = tasks.genet.crowds(256)
    new, new_target, _ = tasks.genet.crowds(64, seed=1)
    errors = []
    for slug, options in (("genet", {}), ("genet", {"learned": False}), ("se", {"reduction": 1})):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(attn.create(slug, 4, **options), nn.Conv2d(4, 4, 1))
        errors.append(tasks.error(tasks.learn(model, x, target, batch=16), new, new_target))
    assert errors[0] < 0.06
    assert min(errors[1:]) > 0.2
