# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Split attention against loops written from the paper's equations, against timm, and against timm's network."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import hosts, tasks
from attn.contract import subject
from attn.rivals import renamed


def loops(x, F, bn, W1, b1, bn1, W2, b2, R=2, K=1, stride=1, eps=1e-5):
    """Split attention: y = sum_r a_r U_r, with a from the sum of the splits U_r of one convolution.

    U = ReLU(BN(F * x)), g = GAP(sum_r U_r), h = ReLU(BN(W_1 g + b_1)), q = W_2 h + b_2, a = softmax over r of q.

    Args:
        x: The map, nested N x C_in x H x W.
        F: The convolution in K R groups, nested (R C) x C_in / (K R) x k x k, k odd, no bias; zeros around x. Split r
            of U is the channels r C to (r + 1) C.
        bn: The BN behind F: its scale, shift, mean and variance, R C numbers each.
        W1: m x C / K: the first layer in K groups, each of which reads the C / K channels of its cardinal group.
        b1: m numbers.
        bn1: The BN behind W1: its scale, shift, mean and variance, m numbers each.
        W2: (R C) x m / K: the second layer in K groups. Row k R C / K + r C / K + i gives q of split r and of channel
            k C / K + i, so that a group's rows hold its splits one after the other.
        b2: R C numbers, in the order of the rows of W2.
        R: The radix. a is the softmax over the R splits, or for R = 1 the sigmoid.
        K: The cardinality.
        stride: Of the convolution.
        eps: What both BNs add to the variance.

    Returns:
        (y, a): y nested N x C x H' x W', and the weights a nested N x R x C.
    """

    def norm(value, statistics, c):
        scale, shift, mean, variance = (numbers[c] for numbers in statistics)
        return scale * (value - mean) / math.sqrt(variance + eps) + shift

    height, width, k = len(x[0][0]), len(x[0][0][0]), len(F[0][0])
    C, m, pad = len(F) // R, len(W1), len(F[0][0]) // 2
    hs, ws = (range((n + 2 * pad - k) // stride + 1) for n in (height, width))
    ys, weights = [], []
    for image in x:
        U = [[[0.0 for _ in ws] for _ in hs] for _ in F]
        for o in range(R * C):
            group = o // (C // K)  # of K R
            for i in hs:
                for j in ws:
                    total = 0.0
                    for e in range(len(F[0])):
                        for p in range(k):
                            for s in range(k):
                                row, column = i * stride + p - pad, j * stride + s - pad
                                if 0 <= row < height and 0 <= column < width:
                                    total += F[o][e][p][s] * image[group * len(F[0]) + e][row][column]
                    U[o][i][j] = max(0.0, norm(total, bn, o))
        g = [sum(U[r * C + c][i][j] for r in range(R) for i in hs for j in ws) / len(hs) / len(ws) for c in range(C)]
        h = []
        for d in range(m):
            first = d // (m // K) * (C // K)
            h.append(max(0.0, norm(b1[d] + sum(W1[d][e] * g[first + e] for e in range(C // K)), bn1, d)))
        a = [[0.0 for _ in range(C)] for _ in range(R)]
        for c in range(C):
            group, within = c // (C // K), c % (C // K)
            q = []
            for r in range(R):
                row = group * (R * C // K) + r * (C // K) + within
                q.append(b2[row] + sum(W2[row][e] * h[group * (m // K) + e] for e in range(m // K)))
            for r in range(R):
                a[r][c] = math.exp(q[r]) / sum(map(math.exp, q)) if R > 1 else 1.0 / (1.0 + math.exp(-q[r]))
        ys.append([[[sum(a[r][c] * U[r * C + c][i][j] for r in range(R)) for j in ws] for i in hs] for c in range(C)])
        weights.append(a)
    return ys, weights


def numbers(norm):
    """A BN as ``loops`` takes it."""
    return [t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (16, {}),
        (16, {"groups": 2, "min_hidden": 6, "stride": 2}),
        (16, {"radix": 4, "groups": 2, "reduction": 8, "min_hidden": 2}),
        (16, {"radix": 1, "min_hidden": 5}),
    ],
    ids=str,
)
def test_equals_the_equations(channels, options):
    module = subject("splat", **options).module(channels, spread=0.5).double()
    x = torch.randn(2, channels, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted, weights = loops(
        x.tolist(), module.conv[0].weight.tolist(), numbers(module.conv[1]),
        module.fuse[0].weight.flatten(1).tolist(), module.fuse[0].bias.tolist(), numbers(module.fuse[1]),
        module.select.weight.flatten(1).tolist(), module.select.bias.tolist(),
        R=module.radix, K=module.groups, stride=options.get("stride", 1),
    )  # fmt: skip
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)
    a = module.attention(x).flatten(2)
    torch.testing.assert_close(a, torch.tensor(weights, dtype=x.dtype), atol=1e-10, rtol=0)
    assert a.std() > 0.1


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    ("channels", "options"),
    [(64, {}), (64, {"groups": 2, "stride": 2}), (64, {"radix": 4, "groups": 2}), (64, {"radix": 1}), (256, {})],
    ids=str,
)
def test_equals_timm(channels, options, train):
    layers = pytest.importorskip("timm.layers")
    theirs = layers.SplitAttn(channels, norm_layer=nn.BatchNorm2d, **options).train(train)
    ours = subject("splat", **options).module(channels, train)
    names = {"conv.0": "conv", "conv.1": "bn0", "fuse.0": "fc1", "fuse.1": "bn1", "select": "fc2"}
    theirs.load_state_dict(renamed(ours, names))
    x = torch.randn(3, channels, 7, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels", "hidden"), [(8, 32), (64, 32), (72, 36), (1024, 512)])
def test_the_gate_has_a_floor(channels, hidden):
    with torch.device("meta"):
        assert attn.create("splat", channels).fuse[0].out_channels == hidden


def test_the_sum_of_the_splits_is_a_full_convolution():
    """Split r reads the r-th part of the channels, and without BN, ReLU and weights the parts add up to one kernel."""
    conv = attn.create("splat", 16, radix=4).conv[0]
    x = torch.randn(2, 16, 5, 4, generator=torch.Generator().manual_seed(0))
    splits = conv(x).unflatten(1, (4, -1))
    kernel = torch.cat(conv.weight.chunk(4), 1)
    torch.testing.assert_close(splits.sum(1), nn.functional.conv2d(x, kernel, padding=1))
    x[:, 4:8] = 0
    assert (conv(x).unflatten(1, (4, -1)).abs().amax((0, 2, 3, 4)) > 0).tolist() == [True, False, True, True]


def test_a_cardinal_group_weighs_by_its_own_channels():
    """With K = 2 the weights of the first half of the channels follow from the first half of the sum of the splits."""
    module = subject("splat", groups=2).module(16)
    u = torch.rand(2, 2, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    a = module._weigh(u)
    u[:, :, 8:] += 1
    moved = (module._weigh(u) - a).abs().amax((0, 1, 3, 4))
    assert (moved[:8] == 0).all()
    assert (moved[8:] > 0).any()


def test_a_batch_of_one_pixel_trains_and_keeps_the_statistics():
    module = subject("splat").module(train=True)
    before = {n: t.clone() for n, t in module.named_buffers()}
    module(subject("splat").inputs(size=(1, 1), batch=1)[0])
    assert all(torch.equal(t, before[n]) for n, t in module.named_buffers())
    module(subject("splat").inputs(size=(3, 3), batch=1)[0])  # the splits have nine values, the pooled vector one
    assert {n.split(".")[0] for n, t in module.named_buffers() if not torch.equal(t, before[n])} == {"conv"}


def test_its_network_pools_where_resnet_strides():
    """No convolution behind the stem has a stride; three units pool behind the module, the fast ones in front of it."""
    for host, step in zip(attn.card("splat").hosts[:2], (1, -1), strict=True):
        with torch.device("meta"):
            network = hosts.build("splat", host)
        units = [list(u.branch) for u in network if hasattr(u, "branch")]
        at = [next(i for i, m in enumerate(u) if isinstance(m, attn.SplitAttention)) for u in units]
        pooled = [isinstance(u[i + step], nn.AvgPool2d) for u, i in zip(units, at, strict=True)]
        assert [i for i, p in enumerate(pooled) if p] == [3, 7, 13]
        assert [len(u) for u in units] == [7 if p else 6 for p in pooled]
        convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        assert [i for i, m in enumerate(convs) if m.stride != (1, 1)] == [0]


@pytest.mark.parametrize("early", [False, True])
def test_its_network_is_timms(early):
    """One unit a stage, so that it stays small; the order of the tensors is timm's but for the shortcut's place."""
    resnet, resnest = pytest.importorskip("timm.models.resnet"), pytest.importorskip("timm.models.resnest")
    how = {"radix": 2, "avd": True, "avd_first": early}
    theirs = resnet.ResNet(
        resnest.ResNestBottleneck, [1] * 4, 10, stem_type="deep", stem_width=32, avg_down=True, base_width=64,
        cardinality=1, block_args=how,
    )  # fmt: skip
    make = lambda channels: attn.create("splat", channels)  # noqa: E731
    ours = hosts.resnest50("unit", make, depths=(1,) * 4, early=early, classes=10)
    given = dict(theirs.state_dict())
    assert sum(t.numel() for t in given.values()) == sum(t.numel() for t in ours.state_dict().values())
    generator = torch.Generator().manual_seed(0)
    for name, t in given.items():
        if "running" in name:
            t.copy_(torch.rand(t.shape, generator=generator) + 0.5)
        elif t.is_floating_point() and t.dim() == 1:
            t.copy_(torch.randn(t.shape, generator=generator) / 2 + 0.5)
    ours.load_state_dict(dict(zip(ours.state_dict(), given.values(), strict=True)))
    x = torch.randn(1, 3, 37, 45, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radix": 3}, "groups times radix must divide the 64 channels, not 1 · 3 = 3; near it: 2"),
        ({"groups": 48}, "groups times radix must divide the 64 channels, not 48 · 2 = 96; near it: 64"),
        ({"groups": 16, "min_hidden": 40}, "groups must divide the 40 hidden units, not 16; near it: 8"),
        ({"radix": 0}, "radix must be at least 1, not 0"),
        ({"groups": 0}, "groups must be at least 1, not 0"),
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"min_hidden": 0}, "min_hidden must be at least 1, not 0"),
        ({"stride": 0}, "stride must be at least 1, not 0"),
    ],
    ids=str,
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("splat", 64, **options)


def test_one_split_is_gated_itself():
    module = subject("splat", radix=1).module()
    x = subject("splat").inputs(size=(4, 5))[0]
    torch.testing.assert_close(module(x), module.attention(x)[:, 0] * module.conv(x))


def test_the_quiet_camera_is_what_the_target_shows():
    x, target, second = tasks.splat.cameras(32, seed=3)
    assert x.shape == target.shape == (32, 8, 12, 12)
    assert 8 < second.sum() < 24
    for image, wanted, is_second in zip(x, target, second, strict=True):
        quiet, noisy = image[4:], image[:4]
        if not is_second:
            quiet, noisy = noisy, quiet
        points = quiet.round()
        assert (quiet - points).abs().max() < 0.3
        assert (noisy - noisy.round().clamp(0, 1)).std() > 0.2
        assert torch.equal(wanted[:4, :, :-1], points[:, :, 1:])
        assert torch.equal(wanted[4:, :-1], points[:, 1:])
        assert not wanted[:4, :, -1].any()
        assert not wanted[4:, -1].any()
    assert torch.equal(x, tasks.splat.cameras(32, seed=3)[0])
    assert not torch.equal(x, tasks.splat.cameras(32, seed=4)[0])


def test_split_attention_learns_what_held_shares_cannot():
    x, target, _ = tasks.splat.cameras(256, side=8)
    new, new_target, _ = tasks.splat.cameras(64, seed=1, side=8)
    errors = []
    for held in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(attn.create("splat", 8), nn.Conv2d(8, 8, 1))
        if held:
            for t in model[0].select.parameters():
                nn.init.zeros_(t).requires_grad_(False)
        errors.append(tasks.error(tasks.learn(model, x, target, steps=100), new, new_target))
    assert errors[0] < 0.4
    assert errors[1] > 0.55
