# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""BAM against loops written from the paper's equations, in both of its forms: as released and as printed."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import broken, tasks
from attn.contract import subject


def loops(x, W, b, f, fb, channel_norms, spatial_norms, d=4, released=True):
    """BAM in evaluation mode, one element at a time, on nested lists: y = (1 + M) x.

    As released: M = sigmoid(M_c * M_s), where BN and ReLU follow every layer of a branch but its last.
    As printed: M = sigmoid(M_c + M_s), where one BN closes each branch, ReLU follows W_0 alone, and nothing stands
    between the convolutions (no ReLU is printed there).

    Args:
        x: the input, B x C x H x W.
        W: [W_0, W_1], the two linear layers of M_c, C/r x C and C x C/r.
        b: [b_0, b_1], their biases.
        f: [f_0, f_1, f_2, f_3], the kernels of M_s, each outputs x inputs x k x k: 1x1 to C/r, two dilated 3x3, and
            1x1 to one map.
        fb: their biases.
        channel_norms: released: one norm, behind W_0; printed: one norm, behind W_1. A norm is (weights, biases,
            running means, running variances, eps), the first four with one number a channel.
        spatial_norms: released: three norms, behind f_0, f_1 and f_2; printed: one norm of one channel, behind f_3.
        d: dilation of the 3x3 convolutions; zeros are padded so that the map keeps its size.
        released: the authors' code, else the paper's equations.
    """
    H, Wd = len(x[0][0]), len(x[0][0][0])
    places = [(i, j) for i in range(H) for j in range(Wd)]

    def normed(s, norm, c):
        weight, bias, mean, variance, eps = norm
        return weight[c] * (s - mean[c]) / math.sqrt(variance[c] + eps) + bias[c]

    out = []
    for image in x:
        z = [sum(plane[i][j] for i, j in places) / (H * Wd) for plane in image]
        for n in (0, 1):
            z = [b[n][o] + sum(W[n][o][c] * z[c] for c in range(len(z))) for o in range(len(W[n]))]
            if n == (0 if released else 1):
                z = [normed(s, channel_norms[0], c) for c, s in enumerate(z)]
            if n == 0:
                z = [max(0.0, s) for s in z]
        maps = image
        for n in range(4):
            k, new = len(f[n][0][0]), []
            for o in range(len(f[n])):
                plane = [[0.0] * Wd for _ in range(H)]
                for i, j in places:
                    s = fb[n][o]
                    for c in range(len(maps)):
                        for u in range(k):
                            for v in range(k):
                                row, column = i + d * (u - k // 2), j + d * (v - k // 2)
                                if 0 <= row < H and 0 <= column < Wd:
                                    s += f[n][o][c][u][v] * maps[c][row][column]
                    if released and n < 3:
                        s = max(0.0, normed(s, spatial_norms[n], o))
                    if not released and n == 3:
                        s = normed(s, spatial_norms[0], o)
                    plane[i][j] = s
                new.append(plane)
            maps = new
        y = [[[0.0] * Wd for _ in range(H)] for _ in image]
        for c in range(len(image)):
            for i, j in places:
                s = z[c] * maps[0][i][j] if released else z[c] + maps[0][i][j]
                y[c][i][j] = (1 + 1 / (1 + math.exp(-s))) * image[c][i][j]
        out.append(y)
    return out


@pytest.mark.parametrize("options", [{}, {"printed": True}, {"reduction": 3, "dilation": 2}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("bam", 16, **{"reduction": 4, **options}).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 2)
    x = torch.randn(2, 16, 9, 5, generator=generator, dtype=torch.float64)
    layers = {nn.Conv2d: ([], []), nn.BatchNorm2d: ([], [])}
    for branch, sequence in enumerate((module.channel, module.spatial)):
        for kind, found in layers.items():
            found[branch].extend(layer for layer in sequence if isinstance(layer, kind))
    (W, f), (channel_norms, spatial_norms) = (layers[kind] for kind in (nn.Conv2d, nn.BatchNorm2d))
    norms = [
        [(*(t.tolist() for t in (n.weight, n.bias, n.running_mean, n.running_var)), n.eps) for n in norms]
        for norms in (channel_norms, spatial_norms)
    ]
    weights = [[w.weight.flatten(1).tolist() for w in W], [w.bias.tolist() for w in W]]
    weights += [[w.weight.tolist() for w in f], [w.bias.tolist() for w in f]]
    wanted = loops(x.tolist(), *weights, *norms, options.get("dilation", 4), not options.get("printed", False))
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


@torch.no_grad()
def test_a_number_is_seen_from_25_places():
    """Two 3×3 convolutions with taps 4 apart: a lattice of 5 × 5 over 17 × 17, and holes between its points."""
    module, x = subject("bam").module(), subject("bam").inputs(size=(33, 33))[0]
    other = x.clone()
    other[:, :, 16, 16] += 10
    moved = (module.spatial(x) - module.spatial(other)).abs().amax((0, 1)) > 1e-6
    assert set(map(tuple, moved.nonzero().tolist())) <= {(i, j) for i in range(8, 25, 4) for j in range(8, 25, 4)}
    assert moved[8].any()
    assert moved[24].any()


@torch.no_grad()
def test_the_product_can_open_two_channels_in_opposite_places_and_the_sum_cannot():
    x = subject("bam").inputs()[0].double()
    for printed, opposite in ((False, True), (True, False)):
        module = subject("bam", printed=printed).module().double()
        signs = module._channel(x)[0].flatten().sign()
        assert {-1.0, 1.0} <= set(signs.tolist())
        a = module.attention(x)[0].flatten(1)  # C HW
        order = a[:, a[0].argsort()].diff()
        rises = (order >= -1e-12).all(1)  # where channel 0 rises this one does too
        assert bool(rises.all()) is not opposite
        if opposite:
            assert torch.equal(rises, signs == signs[0])


@torch.no_grad()
def test_passes_between_one_and_two_times_the_map():
    module, x = subject("bam").module(), subject("bam").inputs()[0]
    factor = module(x) / x
    assert 1 <= factor.min() < 1.2
    assert 1.8 < factor.max() <= 2


@torch.no_grad()
def test_every_column_of_a_wide_map_counts():
    """The last column reaches the first gate through the mean alone: the lattice around it ends 8 places away."""
    module, x = subject("bam").module(), subject("bam").inputs(size=(20, 24))[0]
    grown = x.clone()
    grown[..., -1] += 10
    assert (module.attention(x) - module.attention(grown))[..., 0, 0].abs().max() > 1e-3


def test_a_batch_of_one_trains_and_keeps_the_statistics_of_the_means():
    module = subject("bam").module(train=True)
    before = {n: t.clone() for n, t in module.named_buffers()}
    module(subject("bam").inputs(batch=1)[0])
    for name, t in module.named_buffers():
        assert torch.equal(t, before[name]) is name.startswith("channel."), name


def test_keeps_one_hidden_channel():
    assert attn.create("bam", 8).spatial[0].out_channels == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"dilation": 0}, "dilation must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("bam", 64, **options)


def test_a_shadow_lies_eight_columns_from_its_tower():
    x, target, shadow, day = tasks.bam.shadows(32, seed=3)
    assert x.shape == (32, len(tasks.bam.SHADOW_CHANNELS), 20, 20)
    assert 0 < day.sum() < 32
    assert torch.equal(shadow[:, 0, :, 8:], x[:, 2, :, :12] > 0)
    assert not shadow[..., :8].any()
    for image, wanted, dark, is_day in zip(x, target, shadow[:, 0], day, strict=True):
        assert image[3].sum() == (36 if is_day else 0)
        assert image[4].sum() == (0 if is_day else 36)
        assert torch.equal(wanted[0], image[0] * (dark if is_day else ~dark))
        assert torch.equal(wanted[0] == 0, wanted[1] != 0)
    assert torch.equal(x, tasks.bam.shadows(32, seed=3)[0])
    assert not torch.equal(x, tasks.bam.shadows(32, seed=4)[0])


def test_bam_finds_the_shadows_and_a_sum_or_a_small_reach_does_not():
    x, target, *_ = tasks.bam.shadows(512)
    new, new_target, *_ = tasks.bam.shadows(64, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ours, near = (attn.create("bam", 8, reduction=1, dilation=d) for d in (4, 1))
        summed = broken.bam.Summed(8, reduction=1)
    ours, near, summed = (
        tasks.error(tasks.learn(tasks.bam.Added(m), x, target, 120, batch=32), new, new_target)
        for m in (ours, near, summed)
    )
    assert ours < 0.05
    assert near > 0.2
    assert summed > 0.2
