# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""scSE against loops written from the paper's equations."""

import math

import pytest
import torch

import attn
from attn import tasks
from attn.contract import subject


def loops(x, w1, b1, w2, b2, w, b, combine="add"):
    """scSE: x_c = s x with a gate s per channel, x_s = q x with a gate q per position, both from the same x.

    Args:
        x: The map U, nested B x C x H x W.
        w1: W_1 of cSE, the second layer, nested C x C/r: the catalogue writes s = sigma(W_1 delta(W_2 z)).
        b1: The bias of W_1, C numbers; zeros for the bare equations.
        w2: W_2 of cSE, the first layer, nested C/r x C.
        b2: The bias of W_2, C/r numbers.
        w: The 1x1 convolution of sSE, C numbers.
        b: The bias of sSE, one number.
        combine: "add" for x_c + x_s (MICCAI), "max" for the larger of the two elements (TMI).

    Returns:
        y, nested B x C x H x W.
    """
    y = []
    for xb in x:
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        z = [sum(xb[c][i][j] for i in hs for j in ws) / (len(hs) * len(ws)) for c in cs]
        hidden = [max(b2[m] + sum(w2[m][c] * z[c] for c in cs), 0.0) for m in range(len(w2))]
        s = []
        for c in cs:
            v = b1[c] + sum(w1[c][m] * hidden[m] for m in range(len(w2)))
            s.append(1.0 / (1.0 + math.exp(-v)))
        yb = [[[0.0 for _ in ws] for _ in hs] for _ in cs]
        for i in hs:
            for j in ws:
                q = 1.0 / (1.0 + math.exp(-(b + sum(w[c] * xb[c][i][j] for c in cs))))
                for c in cs:
                    by_channel, by_place = s[c] * xb[c][i][j], q * xb[c][i][j]
                    if combine == "add":
                        yb[c][i][j] = by_channel + by_place
                    else:
                        yb[c][i][j] = max(by_channel, by_place)
        y.append(yb)
    return y


def equations(module, x):
    """What ``loops`` gives with the module's weights."""
    first, last = module.channel[0], module.channel[2]
    w2, w1, w = (layer.weight.flatten(1).tolist() for layer in (first, last, module.spatial))
    b2, b1, b = (
        [0.0] * layer.out_channels if layer.bias is None else layer.bias.tolist()
        for layer in (first, last, module.spatial)
    )
    return torch.tensor(loops(x.tolist(), w1, b1, w2, b2, w[0], b[0], module.combine), dtype=x.dtype)


@pytest.mark.parametrize(
    "options",
    [{}, {"combine": "max"}, {"reduction": 4, "bias": False}],
    ids=["add", "max", "bare"],
)
def test_equals_the_equations(options):
    module = attn.create("scse", 24, **options).double()
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=p.dtype) / 2
    x = torch.randn(2, 24, 9, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(module(x), equations(module, x), atol=1e-10, rtol=0)


@pytest.mark.parametrize(("channels", "count"), [(64, 4_257), (256, 66_177), (512, 263_425)])
def test_the_count_of_the_equations(channels, count):
    """C² + C/2 + 2C + 1 at r = 2."""
    assert sum(p.numel() for p in attn.create("scse", channels).parameters()) == count


def test_cse_is_se_and_sse_is_a_gate_of_one_map():
    ours, se = subject("scse").module(), attn.create("se", 64, reduction=2)
    names = {"down": "channel.0", "up": "channel.2"}
    for name, p in se.named_parameters():
        layer, _, kind = name.rpartition(".")
        p.data = ours.state_dict()[f"{names[layer]}.{kind}"]
    x = subject("scse").inputs()[0]
    torch.testing.assert_close(ours.attention(x)["channel"], se.attention(x))
    torch.testing.assert_close(ours(x) - se(x), x * ours.attention(x)["spatial"])


def test_both_gates_read_x():
    """Unlike CBAM's: neither gate sees what the other let through."""
    module, x = subject("scse").module(), subject("scse").inputs()[0]
    before = module.attention(x)
    with torch.no_grad():
        module.channel[2].weight.neg_()
    after = module.attention(x)
    assert (before["channel"] - after["channel"]).abs().max() > 0.1
    assert torch.equal(before["spatial"], after["spatial"])


def test_the_maximum_takes_the_smaller_gate_of_a_negative_number():
    module = subject("scse", combine="max").module()
    x = subject("scse").inputs()[0]
    s, q = module.attention(x).values()
    gate = torch.where(x > 0, torch.maximum(s, q), torch.minimum(s, q))
    torch.testing.assert_close(module(x), x * gate)
    added = subject("scse").module()
    assert (added(x).abs() > x.abs()).any()
    assert (module(x).abs() <= x.abs()).all()


def test_the_maximum_gives_its_gradient_to_one_branch():
    gates = [torch.full((2,), v, requires_grad=True) for v in (0.6, 0.4)]
    x = torch.tensor([1.0, -1.0])
    torch.maximum(*(x * g for g in gates)).sum().backward()
    assert [g.grad.tolist() for g in gates] == [[1, 0], [0, -1]]


def test_keeps_one_hidden_unit():
    assert attn.create("scse", 8, reduction=16).channel[0].out_channels == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"combine": "maximum"}, "unknown combine 'maximum'; did you mean 'max'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("scse", 64, **options)


def test_says_how_it_joins():
    assert "combine='max'" in repr(attn.create("scse", 8, combine="max"))


@pytest.mark.parametrize("signed", [False, True])
def test_the_orchard_says_what_is_listed_and_what_is_ripe(signed):
    x, listed, ripe = tasks.scse.orchard(32, seed=3, signed=signed)
    assert x.shape == (32, len(tasks.scse.ORCHARD_CHANNELS), 16, 16)
    assert (x[:, :2].min() < -0.9) == signed
    assert torch.equal(x[:, 2:4].sum((2, 3)), 64 * listed[:, :, 0, 0])
    assert torch.equal(listed.sum(1).flatten(), torch.ones(32))
    assert listed[:, 0].mean() not in (0, 1)
    assert torch.equal(ripe, x[:, 4:])
    assert {16 <= n <= 32 for n in ripe.sum((1, 2, 3)).tolist()} == {True}
    assert torch.equal(x, tasks.scse.orchard(32, seed=3, signed=signed)[0])
    assert not torch.equal(x, tasks.scse.orchard(32, seed=4, signed=signed)[0])


def test_the_sum_solves_what_no_product_can():
    x, listed, ripe = tasks.scse.orchard(256)
    new, new_listed, new_ripe = tasks.scse.orchard(64, seed=1)
    joins = {"product": torch.mul, "scSE": torch.add}
    errors = {}
    for name, join in joins.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = tasks.scse.fruit(tasks.scse.Joined(5, join, reduction=1))
        tasks.learn(model, x, x[:, :2] * (listed + ripe), 80, 0.1, batch=32)
        errors[name] = tasks.error(model, new, new[:, :2] * (new_listed + new_ripe))
    assert errors["scSE"] < 0.05
    assert errors["product"] > 0.15
