# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Class-specific residual attention against loops written from the paper's equations."""

import dataclasses
import math

import pytest
import torch
from torch.nn import functional as F

import attn
from attn import experiment, tasks

SETS = [(1,), (1, math.inf), (1, 2, 4, math.inf)]  # the authors' sets of temperatures, for 1, 2 and 4 heads


def loops(x, m, temperatures, lam):
    """The class scores of class-specific residual attention: ŷ_k = Σ_h (s̄_k^h + λ a_k^h), over the heads h.

    In each head s_{k,j} = m_kᵀ x_j / ‖m_k‖ is the score of class k at position j, s̄_k its mean over all positions, and
    a_k its mean weighted by a softmax over the positions of T s_{k,j}; at T = ∞ its maximum.

    Args:
        x: The last feature map, nested B x C x H x W.
        m: The classifiers, one for each head and class, without a bias and of any length, nested heads x K x C.
        temperatures: T of each head, a number, or math.inf for the maximum.
        lam: λ, the weight of the second score.

    Returns:
        ŷ, nested B x K.
    """
    y = []
    for xb in x:
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        yb = [0.0 for _ in m[0]]
        for mh, t in zip(m, temperatures, strict=True):  # no head sees another
            for k, row in enumerate(mh):
                norm = math.sqrt(sum(w * w for w in row))
                s = [sum(row[c] * xb[c][i][j] for c in cs) / norm for i in hs for j in ws]
                mean, top = sum(s) / len(s), max(s)
                if t == math.inf:
                    a = top
                else:
                    e = [math.exp(t * (score - top)) for score in s]  # the largest subtracted: the quotient stays
                    a = sum(weight / sum(e) * score for weight, score in zip(e, s, strict=True))
                yb[k] += mean + lam * a
        y.append(yb)
    return y


def drawn(channels=24, size=(7, 5), **options):
    """A module in float64 whose weights are far from unit length, and an input."""
    generator = torch.Generator().manual_seed(0)
    module = attn.create("csra", channels, **{"classes": 6, **options}).double().requires_grad_(False)
    module.weight.copy_(3 * torch.randn(module.weight.shape, generator=generator, dtype=torch.float64))
    return module, torch.randn(2, channels, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("temperatures", [*SETS, (0.3, 7)])
def test_equals_the_equations(temperatures):
    module, x = drawn(temperatures=temperatures, lam=0.7)
    wanted = loops(x.tolist(), module.weight.tolist(), temperatures, 0.7)
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


def test_the_length_of_a_classifier_does_not_matter():
    module, x = drawn(temperatures=(1, math.inf))
    before = module(x)
    module.weight.mul_(torch.arange(1, 7)[:, None])
    torch.testing.assert_close(module(x), before)


def test_the_defaults_are_those_of_a_released_model():
    """One head, 20 classes and λ = 0.1: `--num_heads 1 --lam 0.1 --dataset voc07 --num_cls 20` in their README."""
    assert attn.card("csra").options == {"classes": 20, "temperatures": (1,), "lam": 0.1}
    for classes, heads, count in ((20, (1,), 40_960), (80, SETS[2], 655_360)):
        module = attn.create("csra", 2048, classes=classes, temperatures=heads)
        assert sum(p.numel() for p in module.parameters()) == count


def test_without_the_second_term_it_is_a_mean_and_a_linear_layer():
    module, x = drawn(lam=0.0)
    torch.testing.assert_close(module(x), F.linear(x.mean((2, 3)), F.normalize(module.weight[0], dim=1)))


def test_the_map_of_a_class_weighs_features():
    """A class's score is its classifier on features that are weighed by its own map: f_k = mean x + λ Σ a x."""
    module, x = drawn(temperatures=(2,))
    a = module.attention(x)[:, 0]
    features = x.mean((2, 3))[:, None] + module.lam * torch.einsum("bkhw,bchw->bkc", a, x)
    torch.testing.assert_close(module(x), (features * F.normalize(module.weight[0], dim=1)).sum(2))


def test_a_large_temperature_comes_to_the_maximum():
    module, x = drawn(temperatures=(math.inf,))
    a = module.attention(x)
    assert ((a == 1).sum((3, 4)) == 1).all()
    module.temperatures = (1e6,)
    torch.testing.assert_close(module.attention(x), a)


def test_equal_positions_share_the_maximum_and_its_gradient():
    module, x = drawn(temperatures=(math.inf,))
    x = torch.cat([x, x], 3).requires_grad_()
    assert ((module.attention(x) == 0.5).sum((3, 4)) == 2).all()
    (gradient,) = torch.autograd.grad(module(x).sum(), x)
    torch.testing.assert_close(*gradient.chunk(2, 3))


def test_where_a_thing_stands_does_not_matter():
    module, x = drawn(temperatures=(1, 2, math.inf))
    order = torch.randperm(35, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(x.flatten(2)[..., order].unflatten(2, (7, 5))), module(x))


def test_a_picture_of_equal_positions_gets_one_plus_lambda_times_its_score():
    module, x = drawn(lam=0.5)
    x = x[..., :1, :1].expand(-1, -1, 7, 5)
    assert torch.allclose(module.attention(x), torch.tensor(1 / 35, dtype=x.dtype))
    torch.testing.assert_close(module(x), 1.5 * F.linear(x[..., 0, 0], F.normalize(module.weight[0], dim=1)))


def test_bad_options_are_named():
    for bad in ({"classes": 0}, {"temperatures": ()}, {"temperatures": 1}, {"temperatures": (1, 0)}, {"lam": -0.1}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
            attn.create("csra", 8, **bad)


def test_a_sheet_shows_the_digits_of_its_labels():
    x, labels, cells = tasks.csra.sheets(50)
    assert x.shape == (50, 1, 96, 96)
    assert torch.equal(labels, (cells >= 0).float())
    assert (labels.sum(1) == 3).all()
    ink = F.avg_pool2d(x, 16).flatten(1)  # of each cell
    assert ((ink > 0).sum(1) == 7).all()
    assert (ink.gather(1, cells.clamp_min(0))[labels > 0] > 0).all()
    again = tasks.csra.sheets(50)
    assert all(torch.equal(a, b) for a, b in zip((x, labels, cells), again, strict=True))
    with pytest.raises(ValueError, match="unknown part 'test'"):
        tasks.csra.sheets(1, part="test")


def test_a_map_is_found_in_the_cell_of_its_largest_value():
    cells = torch.full((1, 10), -1)
    cells[0, 3], cells[0, 5] = 8, 13  # row 1, column 2, and row 2, column 1
    a = torch.zeros(1, 10, 12, 12)
    a[0, 3, 3, 4] = a[0, 5, 0, 0] = 1
    assert tasks.csra.found(a, cells) == 0.5


@pytest.mark.parametrize("condition", ["plain", "control"])
def test_the_task_gives_what_a_record_holds(condition):
    plan = experiment.plan("csra", condition=condition, epochs=2, device="cpu")
    plan = dataclasses.replace(plan, images=64, val=50)
    result, again = tasks.fit(plan), tasks.fit(plan)
    assert result == again
    assert [e["epoch"] for e in result["curve"]] == [1, 2]
    assert 0.2 < result["metrics"]["accuracy"] <= 1
    assert ("engagement" in result) == ("found" in result["metrics"]) == (condition == "plain")


def test_both_arms_start_from_one_backbone():
    starts = []
    for options in (None, {}):
        torch.manual_seed(0)
        starts.append(tasks.csra.Network(options).backbone[0].weight)
    assert torch.equal(*starts)
