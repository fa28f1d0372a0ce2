# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""RAM against loops written from the paper's section 3, for places that are given."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import experiment, tasks
from attn.contract import subject


def linear(w, b, z):
    """W z + b, on lists."""
    return [b[i] + sum(w[i][j] * z[j] for j in range(len(z))) for i in range(len(w))]


def rect(z):
    return [max(0.0, t) for t in z]


def pixel(plane, row, column):
    """The plane's value at a place between the pixels (bilinear); pixel (0, 0) is at (0, 0); outside is 0."""
    i, j, total = math.floor(row), math.floor(column), 0.0
    for u, a in ((i, 1 - (row - i)), (i + 1, row - i)):
        for v, c in ((j, 1 - (column - j)), (j + 1, column - j)):
            if 0 <= u < len(plane) and 0 <= v < len(plane[0]):
                total += a * c * plane[u][v]
    return total


def retina(x, l, g, k, growth=2):  # noqa: E741
    """rho(x, l) of one picture x (C H W): k patches round l, each g x g in the end, as one list.

    l = (l_x, l_y): (0, 0) is the middle of the picture, (-1, -1) the outer corner at the top left and (1, 1) the one
    at the bottom right, so the centre lies (l_x + 1) W / 2 pixels from the left edge. Patch i is g growth**i pixels
    wide and is sampled at steps of one pixel (bilinear, nothing but 0 outside the picture); it shrinks to g x g by
    the AVERAGE of each growth**i x growth**i block (the paper says "resized" and no more). The list's order is
    patch, channel, row, column.
    """
    H, W = len(x[0]), len(x[0][0])
    middle_x, middle_y = (l[0] + 1) * W / 2, (l[1] + 1) * H / 2
    out = []
    for i in range(k):
        s = growth**i
        for plane in x:
            for p in range(g):
                for q in range(g):
                    total = 0.0
                    for u in range(s):
                        for v in range(s):
                            row = middle_y - g * s / 2 + p * s + u  # of the pixel's centre: + 1/2 - 1/2
                            column = middle_x - g * s / 2 + q * s + v
                            total += pixel(plane, row, column)
                    out.append(total / s**2)
    return out


def loops(x, l, wg, bg, wl, bl, w1, b1, w2, b2, wh, bh, wx, bx, wy, by, g, k, growth=2):  # noqa: E741
    """The whole pass of section 3 for given places, one element at a time, on nested lists.

    x is B C H W and l is B T 2 (l_0 to l_{T-1}, each x before y: glimpse t looks at l_{t-1}); g, k and growth are
    `retina`'s. wg, bg is the layer of the pixels (h_g = Rect(Wg rho + bg)) and wl, bl that of the place
    (h_l = Rect(Wl l + bl)); w1, b1 and w2, b2 bring both together (g_t = Rect(W1 h_g + b1 + W2 h_l + b2));
    wh, bh and wx, bx are the core (h_t = Rect(Wh h_{t-1} + bh + Wx g_t + bx), h_0 = 0) and wy, by the class layer.
    Returns B n_classes: the log of softmax(Wy h_T + by).
    """
    answers = []
    for picture, places in zip(x, l, strict=True):
        h = [0.0] * len(wh)
        for place in places:
            seen = rect(linear(wg, bg, retina(picture, place, g, k, growth)))
            where = rect(linear(wl, bl, place))
            glimpse = rect([a + b for a, b in zip(linear(w1, b1, seen), linear(w2, b2, where), strict=True)])
            h = rect([a + b for a, b in zip(linear(wh, bh, h), linear(wx, bx, glimpse), strict=True)])
        scores = linear(wy, by, h)
        top = max(scores)
        total = top + math.log(sum(math.exp(s - top) for s in scores))
        answers.append([s - total for s in scores])
    return answers


@pytest.mark.parametrize("zooms", [(1, 2), (2, 4), (3, 2)], ids=str)
def test_equals_the_equations(zooms):
    scales, growth = zooms
    module = attn.create("ram", 16, glimpses=3, side=3, scales=scales, growth=growth, hidden=8, classes=5)
    module = module.double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) / 2)
    x = torch.randn(2, 16, 9, 5, generator=generator, dtype=torch.float64)
    places = 2.4 * torch.rand(2, 3, 2, generator=generator, dtype=torch.float64) - 1.2  # some beyond the edge
    layers = ("what", "where", "join_what", "join_where", "keep", "take", "classify")
    weights = [t.tolist() for name in layers for t in (getattr(module, name).weight, getattr(module, name).bias)]
    wanted = loops(x.tolist(), places.tolist(), *weights, g=3, k=scales, growth=growth)
    given = module(x, places).logits.log_softmax(1)
    torch.testing.assert_close(given, torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def test_a_whole_pixel_and_an_even_side_give_a_slice():
    module = attn.create("ram", 2, side=4, scales=2, growth=2)
    x = torch.randn(1, 2, 12, 20)
    patches = module.retina(x, torch.tensor([[0.2, -0.5]]))  # the corner between column 11 and 12, row 2 and 3
    torch.testing.assert_close(patches[:, :2], x[:, :, 1:5, 10:14])
    wide = nn.functional.pad(x, (0, 0, 1, 0))[:, :, :8, 8:16]  # one row lies above the picture
    torch.testing.assert_close(patches[:, 2:], nn.functional.avg_pool2d(wide, 2))


def test_by_default_each_patch_is_twice_as_wide_as_the_last():
    module, x = attn.create("ram", 1, scales=3), torch.randn(1, 1, 32, 32)
    near, middle, wide = module.retina(x, torch.zeros(1, 2))[0]
    torch.testing.assert_close(near, x[0, 0, 12:20, 12:20])
    torch.testing.assert_close(middle[None], nn.functional.avg_pool2d(x[0, :, 8:24, 8:24], 2))
    torch.testing.assert_close(wide[None], nn.functional.avg_pool2d(x[0], 4))


def test_each_loss_reaches_its_own_layers():
    module = subject("ram").module(1, train=True)
    x = torch.randn(4, 1, 20, 20)
    where, value = {"locate.weight", "locate.bias"}, {"expect.weight", "expect.bias"}
    rest = {name for name, _ in module.named_parameters()} - where - value
    for output, reached in (("logits", rest), ("means", where), ("baseline", value)):
        module.zero_grad()
        getattr(module(x), output).square().sum().backward()
        assert {n for n, p in module.named_parameters() if p.grad is not None and p.grad.abs().max() > 0} == reached
    assert not module(x).places.requires_grad


def test_places_are_drawn_in_training_and_chosen_in_evaluation():
    module = subject("ram").module(1, train=True)
    with torch.no_grad():
        module.locate.weight.mul_(0.01)
    x = torch.randn(512, 1, 20, 20)
    module.requires_grad_(False)
    drawn = module(x)
    gap = drawn.places[:, 1:] - drawn.means
    assert gap.std() == pytest.approx(0.2, rel=0.05)
    assert not drawn.places[:, 0].any()
    chosen = module.eval()(x)
    assert torch.equal(chosen.places[:, 1:], chosen.means.clamp(-1, 1))
    assert torch.equal(chosen.places, module.attention(x)["places"])
    assert torch.equal(chosen.logits, module(x).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"glimpses": 1}, "glimpses must be at least 2, not 1"),
        ({"hidden": 33}, "hidden must be even, not 33; near it: 32 and 34"),
        ({"scales": 0}, "scales must be at least 1, not 0"),
        ({"std": -0.1}, "std must be at least 0, not -0.1"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("ram", 1, **options)


def test_a_sheet_holds_one_digit_at_its_place():
    pytest.importorskip("sklearn")
    x, classes, middles = tasks.ram.sheets(64, seed=3)
    assert x.shape == (64, 1, 32, 32)
    assert set(classes.tolist()) <= set(range(10))
    for sheet, middle in zip(x[:, 0], middles, strict=True):
        left, top = ((middle + 1) * 16 - 6).round().long().tolist()
        inside = sheet[top : top + 12, left : left + 12]
        assert inside.shape == (12, 12)
        assert inside.count_nonzero() == sheet.count_nonzero() > 20
    assert torch.equal(x, tasks.ram.sheets(64, seed=3)[0])
    assert not torch.equal(x, tasks.ram.sheets(64, seed=4)[0])
    with pytest.raises(ValueError, match="unknown part 'tran'; did you mean 'train'"):
        tasks.ram.sheets(1, part="tran")


def test_the_parts_share_no_handwriting():
    pytest.importorskip("sklearn")
    digits = {part: tasks.ram._sources(part)[0].flatten(1) for part in tasks.ram.PARTS}
    assert sum(map(len, digits.values())) == 1797
    new, seen = digits["new"], torch.cat([digits["train"], digits["tune"]])
    assert torch.cdist(new, seen).min() > 0


def test_a_short_run_repeats_itself_and_its_control_looks_elsewhere():
    pytest.importorskip("sklearn")
    small = {"profile": "quick", "device": "cpu"}
    plans = [experiment.plan("ram", condition=c, **small) for c in ("plain", "plain", "control")]
    plans = [experiment.dataclasses.replace(p, images=128, val=64) for p in plans]
    first, again, control = (tasks.fit(p) for p in plans)
    assert first == again
    assert first["metrics"] != control["metrics"]
    assert set(first["metrics"]) == {"accuracy", "tuning"}
    assert 0 < first["engagement"]["moved"] < 1
    assert "engagement" not in control
    assert [set(c) for c in control["curve"]] == [{"epoch", "loss", "tuning"}]


@pytest.mark.proof
def test_the_policy_learns_to_see_more_of_the_digit():
    """What the chapter's page shows, with other new sheets."""
    pytest.importorskip("sklearn")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = attn.create("ram", 1, **tasks.ram.OPTIONS)
        x, classes, _ = tasks.ram.sheets(16_000)
        tasks.ram.learn(model, x, classes, epochs=2)
        new, wanted, _ = tasks.ram.sheets(2000, seed=2, part="new")
        own, random = (tasks.ram.accuracy(model, new, wanted, random=r) for r in (False, True))
        places = tasks.ram.looks(model, new).places
    middle, second = (model.retina(new, places[:, t])[:, 0].sum() / new.sum() for t in (0, 1))
    assert own > random + 0.03
    assert second > 1.2 * middle
