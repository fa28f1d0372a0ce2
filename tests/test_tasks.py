# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The small tasks: what they ask for is what they say, and the mechanism they were made for is needed."""

import pytest
import torch
from torch import nn

import attn
from attn import tasks

pytest.importorskip("skimage")


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


def test_the_changes_are_those_of_the_brightness():
    x, _, _ = tasks.se.stamps(4, seed=0)
    brightness = x[:, 7]
    torch.testing.assert_close(x[:, 3, :, :-1], 5 * brightness.diff(dim=2).abs())
    torch.testing.assert_close(x[:, 4, :-1], 5 * brightness.diff(dim=1).abs())


def test_a_seed_fixes_the_draw_and_held_out_draws_from_elsewhere():
    first, again, other, elsewhere = (
        tasks.se.stamps(8, **k)[0] for k in ({"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "held_out": True})
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, elsewhere)


def test_the_error_is_a_share_of_the_variance():
    x, target, _ = tasks.se.stamps(64)
    constant = nn.Conv2d(8, 1, 1)
    nn.init.zeros_(constant.weight)
    nn.init.constant_(constant.bias, float(target.mean()))
    assert tasks.error(constant, x, target) == pytest.approx(1, abs=1e-3)


def test_se_solves_what_a_readout_alone_cannot():
    torch.manual_seed(0)
    x, target, _ = tasks.se.stamps(256)
    new, new_target, _ = tasks.se.stamps(64, seed=1, held_out=True)
    se = tasks.learn(nn.Sequential(attn.create("se", 8, reduction=1), nn.Conv2d(8, 1, 1)), x, target)
    alone = tasks.learn(nn.Conv2d(8, 1, 1), x, target)
    assert tasks.error(se, new, new_target) < 0.05
    assert tasks.error(alone, new, new_target) > 0.15
