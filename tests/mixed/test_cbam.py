# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""CBAM against loops written from the paper's equations, and against timm's version."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.blocks import BatchNorm2d
from attn.contract import subject


def loops(x, w0, b0, w1, b1, f, norm):
    """CBAM, Eqs. 1 to 3: F' = M_c(F) F, then F'' = M_s(F') F', channel gate first.

    Args:
        x: The map F, nested B x C x H x W.
        w0: W_0 of the shared MLP, nested C/r x C.
        b0: The bias of W_0, C/r numbers.
        w1: W_1 of the shared MLP, nested C x C/r.
        b1: The bias of W_1, C numbers; each of the two passes of the MLP adds it.
        f: The convolution f^{k x k}, nested 2 x k x k, k odd; f[0] reads the maximum, f[1] the mean.
        norm: (weight, bias, mean, variance, eps) of the BN after f in evaluation, or None for no BN.

    Returns:
        F'', nested B x C x H x W.
    """
    k, y = len(f[0]), []
    for xb in x:
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        a = [0.0 for _ in cs]
        avg = [sum(xb[c][i][j] for i in hs for j in ws) / (len(hs) * len(ws)) for c in cs]
        top = [max(xb[c][i][j] for i in hs for j in ws) for c in cs]
        for z in (avg, top):
            hidden = [max(b0[m] + sum(w0[m][c] * z[c] for c in cs), 0.0) for m in range(len(w0))]
            for c in cs:
                a[c] += b1[c] + sum(w1[c][m] * hidden[m] for m in range(len(w0)))
        g = [[[xb[c][i][j] / (1.0 + math.exp(-a[c])) for j in ws] for i in hs] for c in cs]  # F'
        pooled = [
            [[max(g[c][i][j] for c in cs) for j in ws] for i in hs],
            [[sum(g[c][i][j] for c in cs) / len(cs) for j in ws] for i in hs],
        ]
        yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for i in hs:
            for j in ws:
                v = 0.0
                for q in range(2):
                    for p in range(k):
                        for t in range(k):
                            row, col = i + p - (k - 1) // 2, j + t - (k - 1) // 2
                            if row in hs and col in ws:  # outside the map the padding is zero
                                v += f[q][p][t] * pooled[q][row][col]
                if norm is not None:
                    v = norm[0] * (v - norm[2]) / math.sqrt(norm[3] + norm[4]) + norm[1]
                for c in cs:
                    yb[c][i][j] = g[c][i][j] / (1.0 + math.exp(-v))
        y.append(yb)
    return y


@pytest.mark.parametrize("options", [{}, {"kernel_size": 3}, {"bias": False, "norm": False}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("cbam", 24, reduction=4, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 2)
    x = torch.randn(2, 24, 9, 5, generator=generator, dtype=torch.float64)
    w0, w1 = (module.mlp[i].weight.flatten(1).tolist() for i in (0, 2))
    b0, b1 = (
        [0.0] * len(w) if module.mlp[i].bias is None else module.mlp[i].bias.tolist() for i, w in ((0, w0), (2, w1))
    )
    norm = module.norm
    if options.get("norm", True):
        norm = (norm.weight.item(), norm.bias.item(), norm.running_mean.item(), norm.running_var.item(), norm.eps)
    else:
        norm = None
    wanted = torch.tensor(loops(x.tolist(), w0, b0, w1, b1, module.conv.weight[0].tolist(), norm), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("train", [False, True])
def test_equals_timm(train):
    """timm stacks the mean before the maximum; with the two halves of the kernel exchanged it is the same module."""
    theirs = pytest.importorskip("timm.layers.cbam").CbamModule(64, mlp_bias=True)
    ours = subject("cbam").module(64, train)
    names = {"mlp.0": "channel.fc1", "mlp.2": "channel.fc2", "conv": "spatial.conv.conv", "norm": "spatial.conv.bn"}
    state = {names[n.rpartition(".")[0]] + "." + n.rpartition(".")[2]: t.clone() for n, t in ours.state_dict().items()}
    state["spatial.conv.conv.weight"] = state["spatial.conv.conv.weight"].flip(1)
    theirs.load_state_dict(state)
    x = torch.randn(2, 64, 9, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs.train(train)(x), atol=1e-5, rtol=1e-5)


def test_the_spatial_gate_sees_what_the_channel_gate_left():
    module = subject("cbam").module()
    x = subject("cbam").inputs()[0]
    a = module.attention(x)
    alone = module._spatial(x)
    assert list(a) == ["channel", "spatial"]
    assert (a["spatial"] - alone).abs().max() > 0.01
    torch.testing.assert_close(a["spatial"], module._spatial(x * a["channel"]))


def test_a_batch_of_one_pixel_trains_and_keeps_the_statistics():
    module = subject("cbam").module(train=True)
    before = {n: t.clone() for n, t in module.named_buffers()}
    x = subject("cbam").inputs(size=(1, 1), batch=1)[0]
    y = module(x)
    assert all(torch.equal(t, before[n]) for n, t in module.named_buffers())
    torch.testing.assert_close(y, module.eval()(x))
    module.train()(subject("cbam").inputs(size=(1, 1))[0])
    assert not torch.equal(module.norm.running_var, before["norm.running_var"])


def test_the_shared_norm_is_torchs_elsewhere():
    ours, theirs = BatchNorm2d(3, momentum=0.3), nn.BatchNorm2d(3, momentum=0.3)
    generator = torch.Generator().manual_seed(0)
    for x in torch.randn(3, 2, 3, 4, 5, generator=generator):
        assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), theirs.buffers(), strict=True))
    x = torch.randn(2, 3, 1, 1, generator=generator)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
    with pytest.raises(ValueError, match="Expected more than 1 value"):  # what the shared one is for
        theirs.train()(x[:1])


def test_keeps_one_hidden_unit():
    assert attn.create("cbam", 8).mlp[0].out_channels == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"kernel_size": 8}, "kernel_size must be odd, not 8, .* near it: 7 and 9"),
        ({"kernel_size": 0}, "kernel_size must be odd, not 0, .* near it: 1"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("cbam", 64, **options)


def test_the_marks_say_which_signal_is_wanted_and_where():
    x, target, red = tasks.cbam.marks(32, seed=3)
    assert x.shape == (32, len(tasks.cbam.MARK_CHANNELS), 16, 16)
    assert 0 < red.sum() < 32
    for image, wanted, is_red in zip(x, target, red, strict=True):
        assert image[2].sum() == (64 if is_red else 0)
        assert image[3].sum() == (0 if is_red else 64)
        near = torch.zeros(16, 16, dtype=torch.bool)
        for i, j in (image[4] == 4).nonzero().tolist():
            near[max(0, i - 3) : i + 4, max(0, j - 3) : j + 4] = True
        signal = 0 if is_red else 1
        assert torch.equal(wanted[signal], image[signal] * near)
        assert not wanted[1 - signal].any()
    assert torch.equal(x, tasks.cbam.marks(32, seed=3)[0])
    assert not torch.equal(x, tasks.cbam.marks(32, seed=4)[0])


def test_cbam_solves_what_one_gate_cannot():
    readout = nn.Conv2d(5, 2, 1, bias=False).requires_grad_(False)
    nn.init.dirac_(readout.weight)
    x, target, _ = tasks.cbam.marks(256)
    new, new_target, _ = tasks.cbam.marks(64, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        both, which = (nn.Sequential(attn.create(slug, 5, reduction=1), readout) for slug in ("cbam", "se"))
    assert tasks.error(tasks.learn(both, x, target, batch=32), new, new_target) < 0.1
    assert tasks.error(tasks.learn(which, x, target, batch=32), new, new_target) > 0.5
