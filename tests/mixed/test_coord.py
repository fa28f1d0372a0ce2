# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Coordinate Attention against loops written from the paper's equations, and against timm's version."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.contract import subject


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def loops(x, F1, b1, norm, Fh, bh, Fw, bw):
    """Coordinate attention in evaluation mode, one element at a time, on nested lists.

    Args:
        x: the input, B C H W.
        F1: the weight of the shared 1×1 convolution F_1, m rows of C numbers, m = max(8, C/r). b1: its bias, m.
        norm: the BN behind it as ``(weight, bias, mean, variance, eps)``: four lists of m, the running statistics
            among them, and one number.
        Fh, Fw: the weights of the two last 1×1 convolutions F_h (for rows) and F_w (for columns), C rows of m numbers.
        bh, bw: their biases, C.

    Returns:
        y, B C H W: y_c(i, j) = x_c(i, j) g^h_c(i) g^w_c(j).
    """
    B, C, H, W, m = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0]), len(F1)
    weight, bias, mean, variance, eps = norm
    y = [[[[0.0] * W for _ in range(H)] for _ in range(C)] for _ in range(B)]

    def hidden(z, k):
        """Number k of f at one row or column: z holds its C means."""
        t = b1[k]
        for c in range(C):
            t += F1[k][c] * z[c]
        t = weight[k] * (t - mean[k]) / math.sqrt(variance[k] + eps) + bias[k]
        return t * min(max(t + 3, 0.0), 6.0) / 6  # h-swish

    for b in range(B):
        gh, gw = {}, {}
        for i in range(H):
            z = [sum(x[b][c][i][j] for j in range(W)) / W for c in range(C)]  # z^h(i): mean of row i
            f = [hidden(z, k) for k in range(m)]
            for c in range(C):
                gh[c, i] = sigmoid(bh[c] + sum(Fh[c][k] * f[k] for k in range(m)))
        for j in range(W):
            z = [sum(x[b][c][i][j] for i in range(H)) / H for c in range(C)]  # z^w(j): mean of column j
            f = [hidden(z, k) for k in range(m)]
            for c in range(C):
                gw[c, j] = sigmoid(bw[c] + sum(Fw[c][k] * f[k] for k in range(m)))
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    y[b][c][i][j] = x[b][c][i][j] * gh[c, i] * gw[c, j]
    return y


@pytest.mark.parametrize("options", [{}, {"reduction": 2}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("coord", 24, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random)
    x = torch.randn(2, 24, 9, 5, generator=generator, dtype=torch.float64)
    first, norm, _ = module.shared
    weights = [
        (layer.weight.flatten(1).tolist(), layer.bias.tolist()) for layer in (first, module.rows, module.columns)
    ]
    numbers = [t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]
    wanted = loops(x.tolist(), *weights[0], (*numbers, norm.eps), *weights[1], *weights[2])
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


@pytest.mark.parametrize("train", [False, True])
def test_equals_timm(train):
    """timm's hidden width and missing biases are options there; with the authors' it is the same module."""
    theirs = pytest.importorskip("timm.layers.coord_attn").CoordAttn(64, rd_channels=8, bias=True)
    ours = subject("coord").module(64, train)
    names = {"shared.0": "conv1", "shared.1": "bn1", "rows": "conv_h", "columns": "conv_w"}
    state = {names[n.rpartition(".")[0]] + "." + n.rpartition(".")[2]: t.clone() for n, t in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x = torch.randn(2, 64, 9, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs.train(train)(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels", "hidden"), [(3, 8), (8, 8), (64, 8), (256, 8), (320, 10), (960, 30), (1024, 32)])
def test_keeps_eight_hidden_units(channels, hidden):
    assert attn.create("coord", channels).shared[0].out_channels == hidden


@torch.no_grad()
def test_a_gate_sees_its_own_line_only():
    """In evaluation mode; in training the BN joins all lines of the batch."""
    module, x = subject("coord").module(), subject("coord").inputs()[0]
    other = x.clone()
    other[:, :, 3, 5] += 10
    moved = {
        k: (a - b).abs().amax((0, 1))
        for (k, a), b in zip(module.attention(x).items(), module.attention(other).values(), strict=True)
    }
    assert moved["rows"].flatten().nonzero().flatten().tolist() == [3]
    assert moved["columns"].flatten().nonzero().flatten().tolist() == [5]


@torch.no_grad()
def test_the_order_of_the_rows_is_unknown_to_it():
    """Despite the name it has no coordinates: rows and columns may be shuffled; only their roles differ."""
    module, x = subject("coord").module(), subject("coord").inputs(size=(8, 8))[0]
    rows, columns = (torch.randperm(8, generator=torch.Generator().manual_seed(k)) for k in range(2))
    torch.testing.assert_close(module(x[:, :, rows][..., columns]), module(x)[:, :, rows][..., columns])
    assert (module(x.mT) - module(x).mT).abs().max() > 0.1


@torch.no_grad()
def test_the_mask_of_a_channel_is_an_outer_product():
    """Two open places open the two other corners of their rectangle as well."""
    module, x = subject("coord").module(), subject("coord").inputs(size=(9, 7))[0].abs() + 0.1
    mask = module(x) / x
    i, j = torch.meshgrid(torch.arange(8), torch.arange(6), indexing="ij")
    torch.testing.assert_close(mask[..., i, j] * mask[..., i + 1, j + 1], mask[..., i, j + 1] * mask[..., i + 1, j])


@torch.no_grad()
def test_training_on_a_single_pixel_forgets_it():
    """A batch of one 1×1 map has its row mean and its column mean, the same number: the BN makes both zero."""
    module = subject("coord").module(train=True)
    x, other = (subject("coord").inputs(size=(1, 1), batch=1)[0] + k for k in range(2))
    torch.testing.assert_close(module(x) / x, module(other) / other, atol=1e-3, rtol=0)
    assert ((module.eval()(x) / x - module(other) / other).abs() > 0.01).any()


def test_refused():
    with pytest.raises(ValueError, match="reduction must be at least 1, not 0"):
        attn.create("coord", 64, reduction=0)


def test_a_wanted_cell_lies_where_a_marked_row_and_a_marked_column_cross():
    x, target, wanted = tasks.coord.cells(32, seed=3)
    assert x.shape == (32, len(tasks.coord.CELL_CHANNELS), 16, 16)
    assert wanted.sum((1, 2, 3)).tolist() == [9] * 32
    for image, cells, wish in zip(x, wanted[:, 0], target[:, 0], strict=True):
        for i in range(16):
            for j in range(16):
                assert bool(cells[i, j]) == ((image[1, i] == 4).any() and (image[2, :, j] == 4).any()).item()
        assert torch.equal(wish, image[0] * cells)
    assert (x[:, 1] == 4).sum((1, 2)).tolist() == [3] * 32
    assert torch.equal(x, tasks.coord.cells(32, seed=3)[0])
    assert not torch.equal(x, tasks.coord.cells(32, seed=4)[0])


def test_coord_finds_the_cells_and_cbam_does_not():
    readout = nn.Conv2d(3, 1, 1, bias=False).requires_grad_(False)
    nn.init.dirac_(readout.weight)
    x, target, _ = tasks.coord.cells(256)
    new, new_target, _ = tasks.coord.cells(64, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        lines, window = (
            nn.Sequential(attn.create(slug, 3, **options), readout)
            for slug, options in (("coord", {}), ("cbam", {"reduction": 1}))
        )
    assert tasks.error(tasks.learn(lines, x, target, 150, batch=32), new, new_target) < 0.02
    assert tasks.error(tasks.learn(window, x, target, 150, batch=32), new, new_target) > 0.7
