# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SE against loops written from the paper's equations, and against torchvision's and timm's own versions."""

import math

import pytest
import torch
from torch import nn

import attn
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
        z = []
        for c in range(channels):
            total = 0.0
            for i in range(height):
                for j in range(width):
                    total += xb[c][i][j]
            z.append(total / (height * width))
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
