# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""EPSA (the pyramid split attention of EPSANet) against loops written from the paper's equations."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import hosts, measure, tasks
from attn.contract import subject


def loops(x, F, G, W1, b1, W2, b2):
    """Split into scales, one SE for all of them, softmax across them, concatenate; on nested lists.

    Args:
        x: the input, B × C × H × W.
        F: the kernel of each of the S branches, each C' × C/G_i × k_i × k_i, k_i odd, without bias; zeros beyond the
            border keep the size. Every branch reads the whole input.
        G: the groups of each branch, S numbers: output channel c reads the C/G_i input channels of its own group.
        W1: the squeezing layer of the SE that all branches share, m × C'.
        b1: its bias, m numbers.
        W2: the exciting layer of the same SE, C' × m.
        b2: its bias, C' numbers.

    Returns:
        Y, B × S·C' × H × W, the branches one behind the other in the order of F; and a, B × S × C', which sums to
        one over the branches.
    """
    B, C, height, width, S = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0]), len(F)
    part, m = len(F[0]), len(W1)  # C', and the width of the SE's bottleneck
    places = [(i, j) for i in range(height) for j in range(width)]
    Y = [[[[0.0] * width for _ in range(height)] for _ in range(S * part)] for _ in range(B)]
    a = [[[0.0] * part for _ in range(S)] for _ in range(B)]
    for b in range(B):
        Z = []
        for s in range(S):
            k = len(F[s][0][0])
            for c in range(part):
                first = c // (part // G[s]) * (C // G[s])  # of the input channels that c's group reads
                for i, j in places:
                    t = 0.0
                    for n in range(C // G[s]):
                        for u in range(k):
                            for v in range(k):
                                row, column = i + u - k // 2, j + v - k // 2
                                if 0 <= row < height and 0 <= column < width:
                                    t += F[s][c][n][u][v] * x[b][first + n][row][column]
                    Y[b][s * part + c][i][j] = t
            g = [sum(Y[b][s * part + c][i][j] for i, j in places) / (height * width) for c in range(part)]
            hidden = [max(0.0, b1[q] + sum(W1[q][c] * g[c] for c in range(part))) for q in range(m)]
            logits = [b2[c] + sum(W2[c][q] * hidden[q] for q in range(m)) for c in range(part)]
            Z.append([1.0 / (1.0 + math.exp(-logit)) for logit in logits])
        for c in range(part):
            total = sum(math.exp(Z[s][c]) for s in range(S))
            for s in range(S):
                a[b][s][c] = math.exp(Z[s][c]) / total
                for i, j in places:
                    Y[b][s * part + c][i][j] *= a[b][s][c]
    return Y, a


def lists(module):
    """What ``loops`` takes of a module: F, G, W1, b1, W2, b2."""
    F, G = [c.weight.tolist() for c in module.branches], [c.groups for c in module.branches]
    down, _, up, _ = module.weigh
    return F, G, *(t.tolist() for t in (down.weight, down.bias, up.weight, up.bias))


@pytest.mark.parametrize(
    ("channels", "options"),
    [
        (16, {}),
        (24, {"kernel_size": (3, 5, 1), "groups": (2, 1, 8), "reduction": 3}),
        (32, {"groups": (8, 4, 2, 1), "reduction": 2}),
    ],
    ids=str,
)
def test_equals_the_equations(channels, options):
    module = attn.create("epsa", channels, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for t in module.state_dict().values():
        t.copy_(torch.randn(t.shape, generator=generator, dtype=t.dtype))
    x = torch.randn(1, channels, 5, 2, generator=generator, dtype=torch.float64)
    wanted, weights = loops(x.tolist(), *lists(module))
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)
    a = module.attention(x).flatten(2)
    torch.testing.assert_close(a, torch.tensor(weights, dtype=x.dtype), atol=1e-10, rtol=0)
    assert a.std() > 0.02


@pytest.mark.parametrize(
    ("channels", "groups", "hidden"),
    [(8, (1, 2, 2, 2), 1), (40, (1, 2, 5, 10), 1), (64, (1, 4, 8, 16), 1), (512, (1, 4, 8, 16), 8)],
)
def test_defaults_fit_the_channels(channels, groups, hidden):
    module = attn.create("epsa", channels)
    assert tuple(c.groups for c in module.branches) == groups
    assert module.weigh[0].out_features == hidden


def test_the_sigmoid_in_front_of_the_softmax_bounds_the_weights():
    """Between 1/(1 + 3e) and e/(e + 3), however large the scores: 0.11 and 0.48."""
    module = subject("epsa").module(spread=30.0).double()
    a = module.attention(*(t.double() for t in subject("epsa").inputs()))
    low, high = 1 / (1 + 3 * math.e), math.e / (math.e + 3)
    assert low - 1e-9 < a.min() < low + 1e-3
    assert high - 1e-3 < a.max() < high + 1e-9


def test_one_se_serves_every_branch():
    """Two branches that give the same map get the same weight, whatever the SE has learned."""
    module = subject("epsa", kernel_size=(3, 3, 5), groups=(1, 1, 2)).module(24)
    module.branches[1].load_state_dict(module.branches[0].state_dict())
    a = module.attention(*subject("epsa").inputs(24))
    torch.testing.assert_close(a[:, 0], a[:, 1], atol=0, rtol=0)
    assert (a[:, 0] - a[:, 2]).abs().max() > 1e-3


def test_the_first_convolutions_have_the_spread_of_the_authors():
    for conv in attn.create("epsa", 256).branches:
        wanted = (2 / (conv.kernel_size[0] ** 2 * 64)) ** 0.5
        assert conv.weight.std().item() == pytest.approx(wanted, rel=0.05)


def test_every_unit_of_its_network_has_it_with_the_stride_of_the_convolution():
    taken = []

    def make(channels, stride=1):
        taken.append((channels, stride))
        return nn.Identity()

    network = hosts.resnet50("every", make, depths=(1, 2, 1, 1))
    assert taken == [(64, 1), (128, 2), (128, 1), (256, 2), (512, 2)]
    assert isinstance(network[4].branch[4], nn.BatchNorm2d)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 3}, "kernel_size must be odd numbers, two or more, not 3"),
        ({"kernel_size": (3, 4)}, r"kernel_size must be odd numbers, two or more, not \(3, 4\); near: \(3, 5, 7, 9\)"),
        ({"kernel_size": (3, 5, 7)}, "channels must be a multiple of 3, one part a kernel, not 64; near it: 63"),
        ({"groups": (1, 4, 8)}, r"groups must be 4 divisors of the 16 channels a part, not \(1, 4, 8\)"),
        ({"groups": (32, 32, 32, 32)}, r"not \(32, 32, 32, 32\); near: \(1, 4, 8, 16\)"),
        ({"groups": 4}, "groups must be 4 divisors of the 16 channels a part, not 4"),
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"stride": 0}, "stride must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("epsa", 64, **options)


@pytest.mark.parametrize(
    "options",
    [{"stride": 2}, {"kernel_size": (3, 1), "groups": (4, 1)}, {"groups": (16,) * 4, "reduction": 2}],
    ids=str,
)
def test_the_formulas_of_the_card_hold_for_every_option(options):
    module, facts = attn.create("epsa", 64, **options), attn.card("epsa")
    found = measure.cost(module, (1, 64, 7, 5))
    assert (found.params, found.macs) == (facts.params(64, **options), facts.macs(64, 7, 5, **options))


def test_the_weights_see_means_alone():
    """No ReLU comes before the mean, so away from the border the order of the positions is lost, whatever the reach."""
    module, (x,) = subject("epsa").module(), subject("epsa").inputs(size=(20, 20))
    x = nn.functional.pad(x[..., 4:-4, 4:-4], (4, 4, 4, 4))
    order = torch.randperm(144, generator=torch.Generator().manual_seed(1))
    mixed = nn.functional.pad(x[..., 4:-4, 4:-4].flatten(2)[..., order].unflatten(2, (12, 12)), (4, 4, 4, 4))
    torch.testing.assert_close(module.attention(mixed), module.attention(x), atol=1e-5, rtol=0)
    assert (module(mixed) - module(x)).abs().max() > 1


def test_the_grain_is_what_it_is_said_to_be():
    x, clean, deviation = tasks.epsa.grain(64, seed=3)
    assert (x.shape, clean.shape) == ((64, 2, 20, 20), (64, 1, 20, 20))
    assert set(clean.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(deviation.unique(), torch.tensor(tasks.epsa.GRAINS)), "both are drawn"
    for d in tasks.epsa.GRAINS:
        of = deviation.isclose(torch.tensor(d))
        assert (x[of, :1] - clean[of]).std().item() == pytest.approx(d, rel=0.05)
        assert x[of, 1].square().mean().sqrt().item() == pytest.approx(d, rel=0.05)
    assert torch.equal(x, tasks.epsa.grain(64, seed=3)[0])
    assert not torch.equal(x, tasks.epsa.grain(64, seed=4)[0])


def test_epsa_cleans_as_far_as_the_grain_demands():
    x, clean, _ = tasks.epsa.grain(96, side=12)
    new, new_clean, deviation = tasks.epsa.grain(96, seed=1, side=12)
    few, errors = deviation == deviation.min(), []
    for held in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layer = attn.create("epsa", 16, kernel_size=(1, 5), groups=(1, 1), reduction=1)
            model = nn.Sequential(nn.Conv2d(2, 16, 1), layer, nn.Conv2d(16, 1, 1))
        if held:
            nn.init.zeros_(layer.weigh[2].weight)
            layer.weigh.requires_grad_(False)
        tasks.learn(model, x, clean, steps=60, batch=12)
        errors.append(tasks.error(model, new[few], new_clean[few]))
    assert errors[0] < 0.1
    assert errors[1] > 0.3
