# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Polarized self-attention, in parallel and in sequence, against loops written from the paper's equations."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.broken.polarized import ReleasedParallel, ReleasedSequential
from attn.contract import subject


def softmax(s):
    e = [math.exp(v - max(s)) for v in s]
    return [v / sum(e) for v in e]


def loops(x, wq, bq, wv, bv, wz, bz, norm, vq, cq, vv, cv, sequential):
    """PSA: A^ch = sigma(LN(W_z (W_v x softmax_HW(W_q x)))), A^sp = sigma(softmax_C/2(GAP(V_q x))^T V_v x).

    In parallel the output is A^ch x + A^sp x. In sequence the channel gate comes first, and the spatial gate
    is computed from what it left.

    Args:
        x: The map, nested B x C x H x W, C even.
        wq: W_q of the channel gate, C numbers: one query for each place.
        bq: The bias of W_q, one number.
        wv: W_v of the channel gate, nested C/2 x C.
        bv: The bias of W_v, C/2 numbers.
        wz: W_z of the channel gate, nested C x C/2.
        bz: The bias of W_z, C numbers.
        norm: (weights, biases, eps) of the LayerNorm over the C channels after W_z, or None for no LayerNorm.
        vq: V_q of the spatial gate, nested C/2 x C.
        cq: The bias of V_q, C/2 numbers.
        vv: V_v of the spatial gate, nested C/2 x C.
        cv: The bias of V_v, C/2 numbers.
        sequential: True for PSA_s, False for PSA_p.

    Returns:
        The map after both gates, nested B x C x H x W.
    """
    y = []
    for xb in x:
        cs, half, hs, ws = range(len(xb)), range(len(wv)), range(len(xb[0])), range(len(xb[0][0]))
        places = [(i, j) for i in hs for j in ws]
        p = softmax([bq + sum(wq[c] * xb[c][i][j] for c in cs) for i, j in places])
        z = [
            sum(p[n] * (bv[m] + sum(wv[m][c] * xb[c][i][j] for c in cs)) for n, (i, j) in enumerate(places))
            for m in half
        ]
        u = [bz[c] + sum(wz[c][m] * z[m] for m in half) for c in cs]
        if norm is not None:
            mean = sum(u) / len(u)
            var = sum((v - mean) ** 2 for v in u) / len(u)
            u = [norm[0][c] * (u[c] - mean) / math.sqrt(var + norm[2]) + norm[1][c] for c in cs]
        zch = [[[xb[c][i][j] / (1.0 + math.exp(-u[c])) for j in ws] for i in hs] for c in cs]
        s = zch if sequential else xb  # what the spatial gate reads
        gap = [sum(cq[m] + sum(vq[m][c] * s[c][i][j] for c in cs) for i, j in places) / len(places) for m in half]
        q = softmax(gap)
        yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for i, j in places:
            a = sum(q[m] * (cv[m] + sum(vv[m][c] * s[c][i][j] for c in cs)) for m in half)
            for c in cs:
                gated = s[c][i][j] / (1.0 + math.exp(-a))
                yb[c][i][j] = gated if sequential else zch[c][i][j] + gated
        y.append(yb)
    return y


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", ["parallel", "sequential"])
def test_equals_the_equations(layout, bias):
    module = attn.create("polarized", 24, layout=layout, bias=bias).double().eval()
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype) / 2
    x = torch.randn(2, 24, 9, 5, generator=generator, dtype=torch.float64)
    given = []
    for layer in (module.channel_query, module.channel_value, module.channel_up):
        given += layer.weight.flatten(1).squeeze(0).tolist(), _bias(layer)
    given.append((module.norm.weight.tolist(), module.norm.bias.tolist(), module.norm.eps))
    for layer in (module.spatial_query, module.spatial_value):
        given += layer.weight.tolist(), _bias(layer)
    given[1] = given[1][0]  # W_q gives one number
    wanted = torch.tensor(loops(x.tolist(), *given, layout == "sequential"), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


def _bias(layer):
    return [0.0] * len(layer.weight) if layer.bias is None else layer.bias.tolist()


def numbers():
    with pytest.importorskip("safetensors").safe_open(
        Path(__file__).parents[1] / "parity" / "polarized.safetensors", "pt"
    ) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def under(prefix, given):
    return {name.removeprefix(prefix): t for name, t in given.items() if name.startswith(prefix)}


@torch.no_grad()
def test_the_sequence_gives_what_the_widespread_version_gave():
    """The same weights as in tests/test_parity.py, which replays the other layout."""
    given = numbers()
    module = attn.create("polarized", 24, bias=True, layout="sequential").eval()
    module.load_state_dict(under("weights.", given))
    torch.testing.assert_close(module(given["input.0"]), given["sequential"], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_wrong_versions_give_what_the_authors_code_gave():
    """Both of their classes, once the layers behind the channel gate are theirs, too."""
    given = numbers()
    weights = {name: t for name, t in under("weights.", given).items() if not name.endswith(".bias")}
    up = nn.Sequential(nn.Conv2d(12, 3, 1), nn.LayerNorm([3, 1, 1]), nn.ReLU(), nn.Conv2d(3, 24, 1))
    up.load_state_dict(under("released.up.", given))
    for cls, layout in ((ReleasedParallel, "parallel"), (ReleasedSequential, "sequential")):
        module = cls(24, layout=layout).eval()
        module.load_state_dict(weights, strict=False)
        module.norm = nn.Identity()
        if layout == "sequential":
            module.channel_up = nn.Sequential(nn.Unflatten(1, (-1, 1, 1)), up, nn.Flatten())
        y = module(given["input.0"])
        torch.testing.assert_close(y, given[f"released.{layout}"], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_spatial_scores_are_a_mean_of_half_as_many_maps_as_channels():
    """Each lies between the smallest and the largest of the C/2 values of its position."""
    module, x = subject("polarized").module(), subject("polarized").inputs()[0]
    values = torch.einsum("dc,bchw->bdhw", module.spatial_value.weight, x)  # B C/2 H W
    s = module.attention(x)["spatial"].logit()
    assert (s <= values.amax(1, keepdim=True) + 1e-3).all()
    assert (s >= values.amin(1, keepdim=True) - 1e-3).all()


@torch.no_grad()
def test_in_sequence_the_spatial_gate_sees_what_the_channel_gate_left():
    parallel, sequential = (subject("polarized", layout=layout).module() for layout in ("parallel", "sequential"))
    x = subject("polarized").inputs()[0]
    abreast, in_turn = parallel.attention(x), sequential.attention(x)
    assert torch.equal(abreast["channel"], in_turn["channel"])
    assert (abreast["spatial"] - in_turn["spatial"]).abs().max() > 0.01
    torch.testing.assert_close(in_turn["spatial"], parallel.attention(x * in_turn["channel"])["spatial"])


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (9, {}, "channels must be even, not 9; near it: 8 and 10"),
        (
            8,
            {"layout": "serial"},
            "unknown layout 'serial'; did you mean 'sequential'",
        ),
    ],
)
def test_refused(channels, options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("polarized", channels, **options)


def test_the_mean_of_the_clock_says_which_plan_is_valid():
    x, target, day = tasks.polarized.plans(64, seed=3)
    assert x.shape == (64, len(tasks.polarized.PLAN_CHANNELS), 16, 16)
    assert 0 < day.sum() < 64
    assert torch.equal(x[:, 1].mean((1, 2)) > 0, day)
    assert 0.6 < ((x[:, 1] > 0) == day[:, None, None]).float().mean() < 0.8
    for image, wanted, is_day in zip(x, target, day, strict=True):
        assert torch.equal(wanted[0], image[0] * (image[2 if is_day else 3] > 0))
    assert torch.equal(x, tasks.polarized.plans(64, seed=3)[0])


def test_the_gate_of_the_paper_follows_the_valid_plan_and_the_released_one_cannot():
    readout = nn.Conv2d(4, 1, 1, bias=False).requires_grad_(False)
    nn.init.dirac_(readout.weight)
    x, target, _ = tasks.polarized.plans(128)
    new, new_target, _ = tasks.polarized.plans(64, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = [nn.Sequential(cls(4), readout) for cls in (attn.PolarizedSelfAttention, ReleasedParallel)]
    paper, released = (tasks.error(tasks.learn(m, x, target, 100, 0.1, batch=32), new, new_target) for m in models)
    assert paper < 0.05 < 0.4 < released
