# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SE against loops written from the paper's equations, and against torchvision's and timm's own versions."""

import importlib.util
import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def loops(x, w1, b1, w2, b2):
    """Squeeze-and-Excitation: z = mean of x over H x W, s = sigmoid(W_2 ReLU(W_1 z)), y_c = s_c x_c.

    Args:
        x: The map x, nested B x C x H x W.
        w1: W_1 of the excitation, nested C/r x C.
        b1: The bias added to W_1 z, C/r numbers.
        w2: W_2 of the excitation, nested C x C/r.
        b2: The bias added to W_2 ReLU(.), C numbers.

    Returns:
        y, nested B x C x H x W.
    """
    y = []
    for xb in x:
        channels, height, width = len(xb), len(xb[0]), len(xb[0][0])
        z = [sum(map(sum, xb[c])) / (height * width) for c in range(channels)]
        hidden = []
        for m in range(len(w1)):
            a = b1[m]
            for c in range(channels):
                a += w1[m][c] * z[c]
            hidden.append(max(a, 0.0))
        yb = []
        for c in range(channels):
            a = b2[c]
            for m in range(len(w1)):
                a += w2[c][m] * hidden[m]
            s = 1.0 / (1.0 + math.exp(-a))
            yb.append([[s * xb[c][i][j] for j in range(width)] for i in range(height)])
        y.append(yb)
    return y


@pytest.mark.parametrize("bias", [True, False])
def test_equals_the_equations(bias):
    module = attn.create("se", 24, reduction=4, bias=bias).double()
    torch.manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p)
    x = torch.randn(2, 24, 5, 3, dtype=torch.float64)
    w1, w2 = (layer.weight.flatten(1).tolist() for layer in (module.down, module.up))
    b1, b2 = (layer.bias.tolist() if bias else [0.0] * layer.out_channels for layer in (module.down, module.up))
    torch.testing.assert_close(
        module(x), torch.tensor(loops(x.tolist(), w1, b1, w2, b2), dtype=x.dtype), atol=1e-10, rtol=0
    )


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_equals_other_libraries(library):
    if library == "torchvision":
        other = pytest.importorskip("torchvision.ops").SqueezeExcitation(64, 4)
    else:
        other = pytest.importorskip("timm.layers").SEModule(64, rd_channels=4)
    ours = attn.create("se", 64)
    with torch.no_grad():
        for p in ours.parameters():
            p.normal_()
    other.load_state_dict(
        {f"fc{i}.{k}": v for i, m in ((1, ours.down), (2, ours.up)) for k, v in m.state_dict().items()}
    )
    x = torch.randn(2, 64, 9, 7)
    torch.testing.assert_close(ours(x), other(x), atol=1e-6, rtol=1e-6)


def test_keeps_one_hidden_unit():
    assert attn.create("se", 8).down.out_channels == 1
    y = subject("se").build(8)(torch.randn(2, 8, 4, 4))
    assert y.shape == (2, 8, 4, 4)


def test_refuses_a_reduction_below_one():
    with pytest.raises(ValueError, match="reduction must be at least 1, not 0"):
        attn.create("se", 64, reduction=0)


# The stamps

photographs = pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None, reason="the photographs are scikit-image's"
)


@photographs
def test_the_stamp_says_which_change_is_wanted():
    x, target, red = tasks.se.stamps(32, seed=3, side=16)
    assert x.shape == (32, len(tasks.se.STAMP_CHANNELS), 16, 16)
    wanted = torch.where(red[:, None, None], x[:, 3], x[:, 4])
    assert torch.equal(target[:, 0], wanted)
    assert 0 < red.sum() < 32
    for image, is_red in zip(x, red, strict=True):
        stamped = (image[0] != image[2]) | (image[0] != image[1])  # grey has three equal channels
        assert stamped.sum() == 64
        assert ((image[0] - image[2])[stamped] == (1 if is_red else -1)).all()


@photographs
def test_the_changes_are_those_of_the_brightness():
    x, _, _ = tasks.se.stamps(4, seed=0)
    brightness = x[:, 7]
    torch.testing.assert_close(x[:, 3, :, :-1], 5 * brightness.diff(dim=2).abs())
    torch.testing.assert_close(x[:, 4, :-1], 5 * brightness.diff(dim=1).abs())


@photographs
def test_a_seed_fixes_the_draw_and_held_out_draws_from_elsewhere():
    first, again, other, elsewhere = (
        tasks.se.stamps(8, **k)[0] for k in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "held_out": True})
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, elsewhere)


@photographs
def test_se_solves_what_a_readout_alone_cannot():
    torch.manual_seed(0)
    x, target, _ = tasks.se.stamps(256)
    new, new_target, _ = tasks.se.stamps(64, seed=1, held_out=True)
    se = tasks.learn(nn.Sequential(attn.create("se", 8, reduction=1), nn.Conv2d(8, 1, 1)), x, target)
    alone = tasks.learn(nn.Conv2d(8, 1, 1), x, target)
    assert tasks.error(se, new, new_target) < 0.05
    assert tasks.error(alone, new, new_target) > 0.15
