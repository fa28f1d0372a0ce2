# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Triplet attention against loops written from the paper's equations."""

import math

import pytest
import torch

import attn
from attn import tasks
from attn.contract import subject


def loops(x, f, norms):
    """y = (P_1^-1 A_1(P_1 x) + P_2^-1 A_2(P_2 x) + A_3(x)) / 3 with A_i(t) = t sigma(BN(f_i * [max t; mean t])).

    Z-pool takes the maximum and the mean over the first axis of t; P_1 swaps C and H, P_2 swaps C and W. So the planes
    are C x W (pooled over H), H x C (pooled over W) and H x W (pooled over C), rows first.

    Args:
        x: The tensor chi, nested B x C x H x W.
        f: The three convolutions, in the order of the branches P_1, P_2, identity, each nested 2 x k x k, k odd: f_i[0]
            reads the maximum, f_i[1] the mean; the rows of the kernel lie along the rows of the plane.
        norms: Three of (weight, bias, mean, variance, eps), the BN after each f_i in evaluation, in the same order.

    Returns:
        y, nested B x C x H x W.
    """
    swaps = ((1, 0, 2), (2, 1, 0), (0, 1, 2))  # where axis n of t comes from in C, H, W; each is its own inverse
    out = []
    for xb in x:
        size = (len(xb), len(xb[0]), len(xb[0][0]))
        y = [[[0.0 for _ in range(size[2])] for _ in range(size[1])] for _ in range(size[0])]
        for swap, kernel, (weight, bias, mean, variance, eps) in zip(swaps, f, norms, strict=True):
            depth, rows, cols = (range(size[n]) for n in swap)
            k = len(kernel[0])

            def place(d, i, j, swap=swap):
                """Channel, row and column in x of the number that stands at d, i, j of P x."""
                return tuple((d, i, j)[n] for n in swap)

            def t(d, i, j, xb=xb, place=place):
                c, h, w = place(d, i, j)
                return xb[c][h][w]

            pooled = [
                [[max(t(d, i, j) for d in depth) for j in cols] for i in rows],
                [[sum(t(d, i, j) for d in depth) / len(depth) for j in cols] for i in rows],
            ]
            for i in rows:
                for j in cols:
                    s = 0.0
                    for q in range(2):
                        for u in range(k):
                            for v in range(k):
                                row, col = i + u - k // 2, j + v - k // 2
                                if row in rows and col in cols:  # outside the plane the padding is zero
                                    s += kernel[q][u][v] * pooled[q][row][col]
                    s = weight * (s - mean) / math.sqrt(variance + eps) + bias
                    for d in depth:
                        c, h, w = place(d, i, j)
                        y[c][h][w] += t(d, i, j) / (1.0 + math.exp(-s)) / 3
        out.append(y)
    return out


@pytest.mark.parametrize("options", [{}, {"kernel_size": 3}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("triplet", 16, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 2)
    x = torch.randn(1, 16, 7, 5, generator=generator, dtype=torch.float64)
    kernels = [conv.weight[0].tolist() for conv, *_ in module.gates.values()]
    norms = [
        (norm.weight.item(), norm.bias.item(), norm.running_mean.item(), norm.running_var.item(), norm.eps)
        for _, norm, _ in module.gates.values()
    ]
    wanted = torch.tensor(loops(x.tolist(), kernels, norms), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


@torch.no_grad()
def test_a_side_is_the_spatial_gate_of_cbam_on_the_turned_map():
    """What P_s does is an exchange of axes: the same gate on x with H or W in the place of C."""
    module, cbam = subject("triplet").module(), subject("cbam").module()
    x = subject("triplet").inputs(size=(13, 17))[0]
    for (side, a), axis in zip(module.attention(x).items(), (2, 3, 1), strict=True):
        cbam.conv, cbam.norm = module.gates[side][0], module.gates[side][1]
        torch.testing.assert_close(a, cbam._spatial(x.transpose(1, axis)).transpose(1, axis))


@torch.no_grad()
def test_no_weight_depends_on_the_channels_so_a_state_fits_any_width():
    small, large = subject("triplet").module(16), attn.create("triplet", 256).eval()
    large.load_state_dict(small.state_dict())
    x = subject("triplet").inputs()[0]
    torch.testing.assert_close(large(x), small(x))


@torch.no_grad()
def test_the_channels_have_an_order():
    """A kernel slides along them, so shuffled channels get other gates; shuffled maps of CBAM's spatial gate do not."""
    module, x = subject("triplet").module(), subject("triplet").inputs()[0]
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(0))
    before, after = module.attention(x), module.attention(x[:, order])
    torch.testing.assert_close(after["hw"], before["hw"])
    assert all((after[side] - before[side][:, order]).abs().max() > 0.1 for side in ("cw", "hc"))


@torch.no_grad()
def test_a_change_reaches_three_channels_and_three_steps_of_its_own_line():
    """Row 8, column 9, channel 20 of a 20 × 20 map of 64 channels; k = 7."""
    module, x = subject("triplet").module(), subject("triplet").inputs()[0]
    grown = x.clone()
    grown[:, 20, 8, 9] += 10
    before, after = module.attention(x), module.attention(grown)
    moved = {side: (a - after[side]).abs().amax(0) > 0 for side, a in before.items()}
    near = {"C": slice(17, 24), "H": slice(5, 12), "W": slice(6, 13)}
    for side, place in (
        ("cw", (near["C"], slice(None), near["W"])),
        ("hc", (near["C"], near["H"])),
        ("hw", (slice(None), near["H"], near["W"])),
    ):
        outside = moved[side].clone()
        outside[place] = False
        assert moved[side][place].any()
        assert not outside.any()


@torch.no_grad()
def test_one_side_alone_can_neither_open_nor_close_a_place():
    module, x = subject("triplet").module(), subject("triplet").inputs()[0]
    for conv, norm, _ in module.gates.values():
        conv.weight.zero_()
        norm.bias.fill_(-20)
        norm.running_mean.zero_()
    module.gates["cw"][1].bias.fill_(20)
    torch.testing.assert_close(module(x), x / 3)


def test_a_batch_of_one_pixel_trains_and_keeps_the_statistics_of_the_third_side():
    module = subject("triplet").module(train=True)
    before = {n: t.clone() for n, t in module.named_buffers()}
    module(subject("triplet").inputs(size=(1, 1), batch=1)[0])
    moved = {n for n, t in module.named_buffers() if not torch.equal(t, before[n])}
    assert {n.split(".")[1] for n in moved} == {"cw", "hc"}


@pytest.mark.parametrize(
    ("kernel_size", "message"),
    [(8, "must be odd, not 8, .* near it: 7 and 9"), (0, "must be odd, not 0, .* near it: 1")],
)
def test_refused(kernel_size, message):
    with pytest.raises(ValueError, match=message):
        attn.create("triplet", 64, kernel_size=kernel_size)


def test_a_switch_opens_the_channel_behind_it_in_its_column():
    x, target, wanted = tasks.triplet.switches(16, seed=3, channels=8, side=12)
    assert x.shape == target.shape == (16, 8, 12, 12)
    for image, wish, opened in zip(x, target, wanted, strict=True):
        for c in range(8):
            for j in range(12):
                assert bool(opened[c, 0, j]) == (c % 2 == 1 and bool((image[c - 1, :, j] == 4).any()))
        assert torch.equal(wish, image * opened)
    assert 0.2 < wanted[:, 1::2].float().mean() < 0.3
    assert torch.equal(x, tasks.triplet.switches(16, seed=3, channels=8, side=12)[0])
    assert not torch.equal(x, tasks.triplet.switches(16, seed=4, channels=8, side=12)[0])


def test_triplet_finds_the_switches_and_a_shuffle_hides_them():
    x, target, _ = tasks.triplet.switches(64, channels=16, side=8)
    new, new_target, _ = tasks.triplet.switches(64, seed=1, channels=16, side=8)
    wide, wide_target, _ = tasks.triplet.switches(16, seed=2, channels=64, side=8)
    shuffled = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    error = {}
    for name, order in (("in order", torch.arange(16)), ("shuffled", shuffled)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = tasks.triplet.Scaled(attn.create("triplet", 16, kernel_size=3))
        tasks.learn(model, x[:, order], target[:, order], 100, lr=0.1, batch=16)
        error[name] = tasks.error(model, new[:, order], new_target[:, order])
        if name == "in order":
            assert tasks.error(model, wide, wide_target) < 0.05
    assert error["in order"] < 0.05
    assert error["shuffled"] > 0.5
