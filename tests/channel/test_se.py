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
    """Eqs. 2 to 4 of the paper, one output element at a time, on nested lists."""
    B, C, H, W = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0])
    y = [[[[0.0] * W for _ in range(H)] for _ in range(C)] for _ in range(B)]
    for b in range(B):
        z = [sum(x[b][c][i][j] for i in range(H) for j in range(W)) / (H * W) for c in range(C)]
        hidden = [max(0.0, b1[k] + sum(w1[k][c] * z[c] for c in range(C))) for k in range(len(w1))]
        for c in range(C):
            s = 1 / (1 + math.exp(-(b2[c] + sum(w2[c][k] * hidden[k] for k in range(len(hidden))))))
            for i in range(H):
                for j in range(W):
                    y[b][c][i][j] = s * x[b][c][i][j]
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
