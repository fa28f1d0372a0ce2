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


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def loops(x, w0, b0, w1, b1, f, norm):
    """Eqs. 1 to 3 of the paper, and the BN of the authors' code, one element at a time, on nested lists."""
    B, C, H, W, k = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0]), len(f[0])
    places = [(i, j) for i in range(H) for j in range(W)]
    y = [[[[0.0] * W for _ in range(H)] for _ in range(C)] for _ in range(B)]
    for b in range(B):
        means = [sum(x[b][c][i][j] for i, j in places) / (H * W) for c in range(C)]
        peaks = [max(x[b][c][i][j] for i, j in places) for c in range(C)]
        hidden = [
            [max(0.0, b0[m] + sum(w0[m][c] * z[c] for c in range(C))) for m in range(len(w0))] for z in (means, peaks)
        ]
        for c in range(C):
            gate = sigmoid(sum(b1[c] + sum(w1[c][m] * h[m] for m in range(len(h))) for h in hidden))
            for i, j in places:
                y[b][c][i][j] = gate * x[b][c][i][j]
        pooled = [[[0.0] * W for _ in range(H)] for _ in range(2)]
        for i, j in places:
            pooled[0][i][j] = max(y[b][c][i][j] for c in range(C))
            pooled[1][i][j] = sum(y[b][c][i][j] for c in range(C)) / C
        spatial = {}
        for i, j in places:
            s = 0.0
            for p in range(2):
                for u in range(k):
                    for v in range(k):
                        row, column = i + u - k // 2, j + v - k // 2
                        if 0 <= row < H and 0 <= column < W:
                            s += f[p][u][v] * pooled[p][row][column]
            if norm:
                weight, bias, mean, variance, eps = norm
                s = weight * (s - mean) / math.sqrt(variance + eps) + bias
            spatial[i, j] = sigmoid(s)
        for c in range(C):
            for i, j in places:
                y[b][c][i][j] *= spatial[i, j]
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
