# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""ECA against loops written from the paper's equations, against timm, and against the counts of the paper."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import broken, tasks


def loops(x, w):
    """Efficient Channel Attention: z = GAP(x), s = sigmoid(conv1d_k(z)), y_c = s_c x_c.

    Args:
        x: The map x, nested B x C x H x W.
        w: The one kernel w shared over the channel axis, k numbers, k odd; no bias.

    Returns:
        y, nested B x C x H x W.
    """
    k = len(w)
    y = []
    for xb in x:
        channels, height, width = len(xb), len(xb[0]), len(xb[0][0])
        z = [sum(map(sum, xb[c])) / (height * width) for c in range(channels)]
        yb = []
        for c in range(channels):
            a = 0.0
            for t in range(k):
                n = c + t - (k - 1) // 2  # the neighbour under tap t; outside 0..C-1 the padding is zero
                if 0 <= n < channels:
                    a += w[t] * z[n]
            s = 1.0 / (1.0 + math.exp(-a))
            yb.append([[s * xb[c][i][j] for j in range(width)] for i in range(height)])
        y.append(yb)
    return y


@pytest.mark.parametrize(("channels", "kernel_size"), [(16, None), (24, 1), (24, 7), (130, None)])
def test_equals_the_equations(channels, kernel_size):
    module = attn.create("eca", channels, kernel_size=kernel_size).double()
    torch.manual_seed(0)
    nn.init.normal_(module.conv.weight)
    x = torch.randn(2, channels, 5, 3, dtype=torch.float64) + torch.randn(2, channels, 1, 1, dtype=torch.float64)
    wanted = torch.tensor(loops(x.tolist(), module.conv.weight.flatten().tolist()), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize("channels", [8, 48, 64, 128, 200, 256, 512, 1000, 2048])
def test_equals_timm(channels):
    theirs = pytest.importorskip("timm.layers").EcaModule(channels)
    ours = attn.create("eca", channels)
    nn.init.normal_(ours.conv.weight)
    theirs.load_state_dict(ours.state_dict())  # the same size, or this is refused
    x = torch.randn(2, channels, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)


def test_the_size_is_the_nearest_odd_number():
    sizes = {C: attn.create("eca", C).conv.kernel_size[0] for C in range(1, 2049)}
    assert {C: sizes[C] for C in (64, 128, 256, 512, 1024, 2048)} == {64: 3, 128: 5, 256: 5, 512: 5, 1024: 5, 2048: 7}
    for C, k in sizes.items():
        t = (math.log2(C) + 1) / 2
        nearest = min(abs(t - odd) for odd in range(1, 11, 2))
        assert k % 2 == 1
        assert abs(t - k) == nearest
        assert k > t or abs(t - k) != 1  # halfway the larger


def test_the_size_can_be_read():
    assert "kernel_size=(5,)" in repr(attn.create("eca", 256))
    assert sum(p.numel() for p in attn.create("eca", 256).parameters()) == 5


def test_the_released_network():
    with torch.device("meta"):
        network = attn.hosts.build("eca")
    sizes = [m.conv.kernel_size[0] for m in network.modules() if isinstance(m, attn.ECA)]
    assert sizes == [3] * 3 + [5] * 4 + [5] * 6 + [7] * 3
    assert sum(p.numel() for p in network.parameters()) == 25_557_112 == 25_557_032 + sum(sizes)


@pytest.mark.parametrize("size", [0, 4, -3, 3.0])
def test_refuses_a_size_that_is_not_odd(size):
    with pytest.raises(ValueError, match=f"kernel_size must be an odd whole number, not {size!r}; the paper tries 3"):
        attn.create("eca", 64, kernel_size=size)


def test_the_order_of_the_channels_matters():
    module, order = attn.create("eca", 64), torch.randperm(64, generator=torch.Generator().manual_seed(0))
    nn.init.normal_(module.conv.weight)
    x = torch.randn(2, 64, 4, 4)
    assert (module(x)[:, order] - module(x[:, order])).abs().max() > 0.01


def test_what_the_wrong_versions_show():
    rows = {row["error"]: (row["there"], row["here"]) for row in broken.table("eca")}
    assert rows["The product with the bare convolution"][0] < 0 < rows["The product with the bare convolution"][1]
    assert rows["Three channels for every width"] == (3, 5)
    assert rows["The convolution is made inside the call"][1] == 0
    assert rows["The convolution keeps its bias"][1] == 0.5


def test_the_levels_are_those_of_the_histogram():
    x, target = tasks.eca.levels(16)
    again, _ = tasks.eca.levels(16)
    elsewhere, _ = tasks.eca.levels(16, held_out=True)
    assert torch.equal(x, again)
    assert not torch.equal(x, elsewhere)
    assert torch.equal(x.mean(1), torch.ones(16, 16, 16))  # every pixel has one level
    z, kept = x.mean((2, 3)).tolist(), target.sum((2, 3)) > 0
    for b in range(16):
        for c in range(32):
            beside = [z[b][i] for i in (c - 1, c + 1) if 0 <= i < 32]
            assert bool(kept[b, c]) == (z[b][c] > max(*beside, 0))


def test_neighbours_solve_what_a_single_channel_cannot():
    torch.manual_seed(0)
    x, target = tasks.eca.levels(256)
    new, new_target = tasks.eca.levels(128, seed=1, held_out=True)
    errors = {
        k: tasks.error(tasks.learn(attn.create("eca", 32, kernel_size=k), x, target, steps=150), new, new_target)
        for k in (1, 3)
    }
    assert errors[3] < 0.15
    assert errors[1] > 0.2
