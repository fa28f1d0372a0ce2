# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Shuffle attention against loops written from the paper's equations."""

import copy
import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, w1, b1, w2, b2, gamma, beta, groups, eps=1e-5):
    """SA: the first half of each group takes a gate a channel, the second a gate a place, then a shuffle by 2.

    The six vectors have n = C / 2G numbers each and are shared by all G groups.

    Args:
        x: The map X, nested B x C x H x W, C divisible by 2G.
        w1: W_1 of the channel gate sigma(W_1 s + b_1), s the mean over the places, n numbers.
        b1: b_1 of the channel gate, n numbers.
        w2: W_2 of the spatial gate sigma(W_2 GN(X_k2) + b_2), n numbers.
        b2: b_2 of the spatial gate, n numbers.
        gamma: The scale of the group norm, which has n groups of one channel, n numbers.
        beta: The shift of the group norm, n numbers.
        groups: G, the number of groups the channels are cut into.
        eps: What the group norm adds to its variance.

    Returns:
        The map after the shuffle, nested B x C x H x W.
    """
    y = []
    for xb in x:
        channels = len(xb)
        n, hs, ws = channels // (2 * groups), range(len(xb[0])), range(len(xb[0][0]))
        area = len(hs) * len(ws)
        joined = []  # the pieces X'_11, X'_12, X'_21, X'_22, ... one behind the other
        for c in range(channels):
            piece, m = c // n, c % n  # piece 2k is X_k1, piece 2k + 1 is X_k2
            mean = sum(xb[c][i][j] for i in hs for j in ws) / area
            var = sum((xb[c][i][j] - mean) ** 2 for i in hs for j in ws) / area
            out = [[0.0 for _ in ws] for _ in hs]
            for i in hs:
                for j in ws:
                    if piece % 2 == 0:
                        s = w1[m] * mean + b1[m]
                    else:
                        s = w2[m] * (gamma[m] * (xb[c][i][j] - mean) / math.sqrt(var + eps) + beta[m]) + b2[m]
                    out[i][j] = xb[c][i][j] / (1.0 + math.exp(-s))
            joined.append(out)
        # The shuffle by 2 reads the channels as 2 rows of C/2 and takes them out column by column.
        yb = [joined[(c % 2) * (channels // 2) + c // 2] for c in range(channels)]
        y.append(yb)
    return y


@pytest.mark.parametrize("groups", [1, 4, 12])
def test_equals_the_equations(groups):
    module = attn.create("shuffle", 24, groups=groups).double().eval()
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype)
    x = torch.randn(2, 24, 5, 4, generator=generator, dtype=torch.float64) + 0.5
    names = ("channel_weight", "channel_bias", "spatial_weight", "spatial_bias", "norm.weight", "norm.bias")
    numbers = (module.get_parameter(name).flatten().tolist() for name in names)
    wanted = torch.tensor(loops(x.tolist(), *numbers, groups, module.norm.eps), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (64, 32), (128, 64), (136, 34), (192, 48), (512, 64)])
def test_the_default_is_the_largest_divisor_of_a_half_up_to_64(channels, groups):
    assert attn.create("shuffle", channels).groups == groups


def test_a_fresh_module_passes_the_same_share_of_everything():
    for gate in attn.create("shuffle", 32).attention(attn.card("shuffle").example(32)[0]).values():
        torch.testing.assert_close(gate, torch.ones_like(gate).sigmoid())


def test_the_shuffle_deals_the_two_halves_of_the_channels_in_turn():
    module = attn.create("shuffle", 12, groups=3)
    x = torch.arange(1.0, 13).reshape(1, 12, 1, 1)
    share = torch.ones(()).sigmoid()  # of a fresh module
    assert (module(x) / share).flatten().round().int().tolist() == [1, 7, 2, 8, 3, 9, 4, 10, 5, 11, 6, 12]


def test_one_group_takes_a_batch_of_one_pixel():
    module, x = attn.create("shuffle", 8, groups=1), torch.ones(1, 8, 1, 1)
    torch.testing.assert_close(module(x), x * torch.ones(()).sigmoid())
    with pytest.raises(ValueError, match="Expected more than 1 value"):  # what we go around
        module.norm(x[:, 4:])


def test_a_residual_network_has_the_same_functions_without_the_shuffle():
    """Channels of the stream are renamed, which the weights of its convolutions can take up."""
    C, generator = 24, torch.Generator().manual_seed(0)
    stem, *branches, head = torch.randn(4, C, C, generator=generator) / C**0.5
    modules = [subject("shuffle", groups=3).module(C) for _ in branches]
    plain = [copy.deepcopy(m) for m in modules]
    for m in plain:
        m._dealt = lambda first, second: torch.cat([first, second], 2).flatten(1, 2)

    def network(x, stem, branches, head, modules):
        z = torch.einsum("oc,bchw->bohw", stem, x)
        for weight, module in zip(branches, modules, strict=True):
            z = z + module(torch.einsum("oc,bchw->bohw", weight, z))
        return torch.einsum("oc,bchw->bohw", head, z)

    x = torch.randn(2, C, 5, 4, generator=generator)
    wanted = network(x, stem, branches, head, modules)
    back = torch.arange(C).unflatten(0, (2, -1)).T.flatten().argsort()
    renamed = (stem[back], [w[:, back] for w in branches], head[:, back])
    torch.testing.assert_close(network(x, *renamed, plain), wanted, atol=1e-4, rtol=1e-4)
    assert (network(x, stem, branches, head, plain) - wanted).abs().max() > 0.1


@pytest.mark.parametrize(
    ("channels", "groups", "message"),
    [
        (64, 5, "groups must divide 32, half of the channels, not 5; these do: 1, 2, 4, 8, 16, 32"),
        (64, 0, "groups must divide 32, half of the channels, not 0"),
        (64, 64, "groups must divide 32, half of the channels, not 64"),
        (15, None, "channels must be even, not 15; near it: 14 and 16"),
    ],
)
def test_refused(channels, groups, message):
    with pytest.raises(ValueError, match=message):
        attn.create("shuffle", channels, groups=groups)


def test_the_lamps_are_kept_where_lit_and_the_maps_where_the_spot_is():
    x, wanted = tasks.shuffle.lamps(64, seed=3)
    assert x.shape == wanted.shape == (64, 8, 10, 10)
    lit = wanted[:, ::2].flatten(2).any(2)
    assert 0.3 < lit.float().mean() < 0.7
    torch.testing.assert_close(x[:, ::2].mean((2, 3)), 2.0 * lit, atol=0.5, rtol=0)
    assert torch.equal(wanted[:, ::2], x[:, ::2] * lit[:, :, None, None])
    spot = wanted[:, 1::2] != 0
    assert (spot.sum((2, 3)) == 9).all()
    assert torch.equal(wanted[:, 1::2], x[:, 1::2] * spot)
    assert torch.equal(x, tasks.shuffle.lamps(64, seed=3)[0])
    assert not torch.equal(x, tasks.shuffle.lamps(64, seed=4)[0])


def test_shuffle_attention_solves_what_one_kind_of_gate_cannot():
    x, wanted = tasks.shuffle.lamps(256)
    new, new_wanted = tasks.shuffle.lamps(64, seed=1)

    def error(slug, **options):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(attn.create(slug, 8, **options), nn.Conv2d(8, 8, 1, bias=False))
        return tasks.error(tasks.learn(model, x, wanted, steps=200, lr=0.1, batch=32), new, new_wanted)

    assert error("shuffle") < 0.05
    assert error("se", reduction=1) > 0.15
