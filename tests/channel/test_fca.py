# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""FcaNet's module against loops written from the paper's equations, and against SciPy's cosine transform."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import tasks
from attn.channel.fca import RANKING


def loops(x, frequencies, w1, w2, size=None, normalised=False):
    """Frequency Channel Attention: z_c is one 2-D DCT coefficient of channel c, then s = sigmoid(W_2 ReLU(W_1 z)).

    Args:
        x: The map, nested B x C x H x W.
        frequencies: (u_g, v_g) of each of the n groups of C/n channels that follow one another; u belongs to the rows,
            v to the columns.
        w1: W_1, nested C/r x C, no bias.
        w2: W_2, nested C x C/r, no bias.
        size: (h, w), where the map is first averaged down to h rows and w columns: cell (i, j) is the mean over rows
            floor(i H/h) to ceil((i + 1) H/h), the last one not included, and columns alike. None: the map as it is.
        normalised: False is the equation, z_c = sum of x_c B, where B is a product of two cosines. True is the authors'
            code: along each axis of n places the cosine is divided by sqrt(n), and times sqrt(2) where its frequency
            is not 0.

    Returns:
        y_c = s_c x_c, nested B x C x H x W.
    """

    def basis(frequency, place, places):
        b = math.cos(math.pi * frequency * (place + 0.5) / places)
        return b if not normalised else b * math.sqrt((1 if frequency == 0 else 2) / places)

    y = []
    for xb in x:
        cs, height, width = range(len(xb)), len(xb[0]), len(xb[0][0])
        h, w = size or (height, width)
        z = []
        for c in cs:
            u, v = frequencies[c // (len(xb) // len(frequencies))]
            total = 0.0
            for i in range(h):
                for j in range(w):
                    rows = range(i * height // h, -(-(i + 1) * height // h))
                    cols = range(j * width // w, -(-(j + 1) * width // w))
                    mean = sum(xb[c][p][q] for p in rows for q in cols) / (len(rows) * len(cols))
                    total += mean * basis(u, i, h) * basis(v, j, w)
            z.append(total)
        hidden = [max(sum(row[c] * z[c] for c in cs), 0.0) for row in w1]
        s = [1.0 / (1.0 + math.exp(-sum(w2[c][m] * hidden[m] for m in range(len(w1))))) for c in cs]
        y.append([[[s[c] * xb[c][i][j] for j in range(width)] for i in range(height)] for c in cs])
    return y


def drawn(channels, shape, **options):
    """A module in float64 with random weights, and a map whose channels have means of their own."""
    torch.manual_seed(0)
    module = attn.create("fca", channels, **options).double().requires_grad_(False)
    for layer in (module.down, module.up):
        nn.init.normal_(layer.weight, std=0.5)
    x = torch.randn(2, channels, *shape, dtype=torch.float64) + torch.randn(2, channels, 1, 1, dtype=torch.float64) / 4
    return module, x


@pytest.mark.parametrize(
    ("channels", "shape", "options", "times"),
    [
        (32, (9, 7), {}, (1, 1)),
        (48, (15, 8), {"groups": 8}, (2, 1)),
        (32, (22, 14), {"groups": 32}, (3, 2)),
        (16, (11, 5), {"size": 14}, (2, 2)),
        (24, (16, 23), {"size": 7}, (1, 1)),
        (16, (3, 1), {"size": 8, "groups": 4}, (1, 1)),
    ],
)
def test_equals_the_equations(channels, shape, options, times):
    module, x = drawn(channels, shape, reduction=2, **options)
    u, v = times
    pairs = [(u * a, v * b) for a, b in module.frequencies.tolist()]
    size = (options["size"],) * 2 if "size" in options else None
    wanted = loops(x.tolist(), pairs, module.down.weight.tolist(), module.up.weight.tolist(), size, normalised=True)
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)
    assert module.attention(x).std(1).min() > 0.05  # no image's hidden units are all at zero


def test_the_coefficients_are_scipys():
    fft = pytest.importorskip("scipy.fft")
    module, x = drawn(64, (14, 21), groups=32)
    wanted = fft.dctn(x.numpy(), axes=(2, 3), norm="ortho")
    z = module._coefficients(x)
    for c in range(64):
        u, v = RANKING[c // 2]
        torch.testing.assert_close(z[:, c], torch.from_numpy(wanted[:, c, 2 * u, 3 * v]))


def test_one_group_is_se_up_to_a_factor():
    module, x = drawn(32, (10, 12), groups=1)
    se = attn.create("se", 32, bias=False).double().requires_grad_(False)
    se.down.weight.copy_(module.down.weight[:, :, None, None] * math.sqrt(10 * 12))
    se.up.weight.copy_(module.up.weight[:, :, None, None])
    torch.testing.assert_close(module(x), se(x))


def test_a_constant_map_has_one_coefficient():
    module, _ = drawn(64, (1, 1))
    z = module._coefficients(torch.full((1, 64, 21, 14), 3.0, dtype=torch.float64))[0]
    torch.testing.assert_close(z[:4], torch.full((4,), 3.0 * math.sqrt(21 * 14), dtype=z.dtype))
    assert z[4:].abs().max() < 1e-10


def test_a_frequency_keeps_its_wave_where_the_map_grows():
    """The first seven positions of a map of 28 carry the cosine of a map of 7, up to the length."""
    module = attn.create("fca", 64)
    k, like = torch.arange(7), torch.empty(0, dtype=torch.float64)
    small, large = (module._waves(k, length, like) for length in (7, 28))
    torch.testing.assert_close(large[:, :7] * 2, small)


@pytest.mark.parametrize(("side", "different"), [(1, 1), (3, 7), (6, 14), (7, 16), (20, 16)])
def test_a_small_map_keeps_the_frequencies_that_it_has(side, different):
    module = attn.create("fca", 16)
    waves = [module._waves(k, side, torch.empty(0)) for k in module.frequencies.unbind(1)]
    patterns = torch.einsum("gi,gj->gij", *waves).flatten(1)
    assert len({tuple(p.mul(1e4).round().tolist()) for p in patterns}) == different


@pytest.mark.parametrize(("channels", "groups"), [(8, 8), (16, 16), (24, 12), (40, 10), (64, 16), (1000, 10)])
def test_the_default_fits_the_channels_and_can_be_read(channels, groups):
    module = attn.create("fca", channels)
    assert f"groups={groups}, size=None" in repr(module)
    assert module.frequencies.tolist() == [list(pair) for pair in RANKING[:groups]]


@pytest.mark.parametrize("channels", [8, 24, 40])
def test_every_channel_has_a_coefficient(channels):
    _, x = drawn(channels, (9, 8))
    assert (attn.create("fca", channels)._coefficients(x).abs() > 1e-6).all()


def test_weights_do_not_go_to_other_frequencies():
    assert len(set(RANKING)) == 32
    with pytest.raises(RuntimeError, match="size mismatch for frequencies"):
        attn.create("fca", 64, groups=8).load_state_dict(attn.create("fca", 64).state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 24}, "groups must divide the 64 channels and be from 1 to 32, not 24; near it: 16"),
        ({"groups": 64}, "not 64; near it: 32"),
        ({"groups": 0}, "not 0; near it: 1"),
        ({"size": 0}, "size must be at least 1, not 0"),
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("fca", 64, **options)


def test_the_lamps_leave_the_mean_as_it_is():
    x, target, left = tasks.fca.lamps(32, seed=3)
    assert x.shape == (32, len(tasks.fca.LAMP_CHANNELS), 12, 12)
    assert 0 < left.sum() < 32
    light = x[:, tasks.fca.LAMP_CHANNELS.index("light")]
    torch.testing.assert_close(light.mean((1, 2)), torch.full((32,), 0.5))
    halves = light[:, :, :6].mean((1, 2)) > light[:, :, 6:].mean((1, 2))
    assert (halves == left).float().mean() > 0.9
    for image, wanted, lamp in zip(x, target[:, 0], left, strict=True):
        assert torch.equal(wanted, image[0 if lamp else 2])
    assert torch.equal(x, tasks.fca.lamps(32, seed=3)[0])
    assert not torch.equal(x, tasks.fca.lamps(32, seed=3, held_out=True)[0])


def test_a_wave_tells_what_the_mean_cannot():
    x, wanted, _ = tasks.fca.lamps(256)
    new, new_wanted, _ = tasks.fca.lamps(128, seed=1, held_out=True)
    errors = []
    for groups in (1, None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(attn.create("fca", 8, groups=groups, reduction=1), nn.Conv2d(8, 1, 1))
        errors.append(tasks.error(tasks.learn(model, x, wanted, 200, 0.05, 32), new, new_wanted))
    assert errors[0] > 0.2
    assert errors[1] < 0.05
