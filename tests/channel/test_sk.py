# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""SK against loops written from the paper's equations, against timm, and against the counts of its network."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import hosts, tasks
from attn.contract import subject


def normalised(value, norm, channel):
    """BN in evaluation mode of one number; norm is (weight, bias, running mean, running variance, eps)."""
    weight, bias, mean, variance, eps = norm
    return weight[channel] * (value - mean[channel]) / math.sqrt(variance[channel] + eps) + bias[channel]


def loops(x, F, norms, dilations, G, W, norm, A):
    """Split, fuse and select of the paper, in evaluation mode, one element at a time, on nested lists.

    Args:
        x: the input, B × C × H × W.
        F: the kernel of each of the M branches, each C × C/G × k × k, k odd, without bias.
        norms: the BN of each branch: (weight, bias, running mean, running variance), lists of C, and eps, a number.
        dilations: the distance between taps of each branch, M numbers; zeros beyond the border keep the size.
        G: groups of every branch: output channel c sees the C/G input channels of its own group.
        W: the squeezing layer, d × C, without bias.
        norm: its BN, like one of ``norms`` with lists of d.
        A: the selecting layers, M × C × d, without bias: the logit of channel c in branch m is A[m][c] · z.

    Returns:
        V, B × C × H × W; and a, B × M × C, which sums to one over the branches.
    """
    B, C, height, width, M, d = len(x), len(x[0]), len(x[0][0]), len(x[0][0][0]), len(F), len(W)
    places = [(i, j) for i in range(height) for j in range(width)]
    V = [[[[0.0] * width for _ in range(height)] for _ in range(C)] for _ in range(B)]
    a = [[[0.0] * C for _ in range(M)] for _ in range(B)]
    for b in range(B):
        U = [[[[0.0] * width for _ in range(height)] for _ in range(C)] for _ in range(M)]
        for m in range(M):
            k = len(F[m][0][0])
            for c in range(C):
                first = c // (C // G) * (C // G)  # of the input channels of c's group
                for i, j in places:
                    t = 0.0
                    for n in range(C // G):
                        for u in range(k):
                            for v in range(k):
                                row, column = i + dilations[m] * (u - k // 2), j + dilations[m] * (v - k // 2)
                                if 0 <= row < height and 0 <= column < width:
                                    t += F[m][c][n][u][v] * x[b][first + n][row][column]
                    U[m][c][i][j] = max(0.0, normalised(t, norms[m], c))
        s = [sum(U[m][c][i][j] for m in range(M) for i, j in places) / (height * width) for c in range(C)]
        z = [max(0.0, normalised(sum(W[q][c] * s[c] for c in range(C)), norm, q)) for q in range(d)]
        for c in range(C):
            logits = [sum(A[m][c][q] * z[q] for q in range(d)) for m in range(M)]
            total = sum(math.exp(logit) for logit in logits)
            for m in range(M):
                a[b][m][c] = math.exp(logits[m]) / total
            for i, j in places:
                V[b][c][i][j] = sum(a[b][m][c] * U[m][c][i][j] for m in range(M))
    return V, a


def numbers(norm):
    """A BN as ``loops`` takes it."""
    return (*(t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)), norm.eps)


@pytest.mark.parametrize(
    ("channels", "options"),
    [(16, {}), (24, {"groups": 4, "min_hidden": 5}), (16, {"dilation": (1, 2, 3), "reduction": 2, "min_hidden": 1})],
    ids=str,
)
def test_equals_the_equations(channels, options):
    module = attn.create("sk", channels, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 2)
    x = torch.randn(2, channels, 7, 4, generator=generator, dtype=torch.float64)
    convs, norms = [b[0] for b in module.branches], [numbers(b[1]) for b in module.branches]
    A = module.select.weight.flatten(1).unflatten(0, (len(convs), channels)).tolist()
    wanted, weights = loops(
        x.tolist(), [c.weight.tolist() for c in convs], norms, options.get("dilation", (1, 2)), convs[0].groups,
        module.fuse[0].weight.flatten(1).tolist(), numbers(module.fuse[1]), A,
    )  # fmt: skip
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)
    a = module.attention(x).flatten(2)
    torch.testing.assert_close(a, torch.tensor(weights, dtype=x.dtype), atol=1e-10, rtol=0)
    assert a.std() > 0.1


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(("channels", "stride"), [(64, 1), (64, 2), (1024, 1)])
def test_equals_timm(channels, stride, train):
    theirs = pytest.importorskip("timm.layers").SelectiveKernel(
        channels, stride=stride, groups=32, split_input=False, rd_divisor=32
    )
    ours = subject("sk", stride=stride).module(channels, train)
    names = {f"branches.{m}.{i}": f"paths.{m}.{name}" for m in (0, 1) for i, name in enumerate(("conv", "bn"))}
    names |= {"fuse.0": "attn.fc_reduce", "fuse.1": "attn.bn", "select": "attn.fc_select"}
    state = {names[n.rpartition(".")[0]] + "." + n.rpartition(".")[2]: t.clone() for n, t in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x = torch.randn(3, channels, 9, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x), theirs.train(train)(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels", "groups", "hidden"), [(8, 8, 32), (40, 20, 32), (512, 32, 32), (1024, 32, 64)])
def test_defaults_fit_the_channels(channels, groups, hidden):
    module = attn.create("sk", channels)
    assert {b[0].groups for b in module.branches} == {groups}
    assert module.fuse[0].out_channels == hidden


def test_starts_as_the_mean_of_its_branches():
    module = attn.create("sk", 64).eval()
    x = subject("sk").inputs()[0]
    assert (module.attention(x) - 0.5).abs().max() < 0.01


def test_a_batch_of_one_pixel_trains_and_keeps_the_statistics():
    module = subject("sk").module(train=True)
    before = {n: t.clone() for n, t in module.named_buffers()}
    x = subject("sk").inputs(size=(1, 1), batch=1)[0]
    y = module(x)
    assert all(torch.equal(t, before[n]) for n, t in module.named_buffers())
    torch.testing.assert_close(y, module.eval()(x))
    module.train()(subject("sk").inputs(size=(5, 5), batch=1)[0])  # the branches have 25 values, the pooled vector one
    changed = {n for n, t in module.named_buffers() if not torch.equal(t, before[n])}
    assert {n.split(".")[0] for n in changed} == {"branches"}


def test_its_network_halves_the_map_where_resnext_does():
    with torch.device("meta"):
        network = hosts.build("sk")
    units = [u.branch[3] for u in network if hasattr(u, "branch")]
    assert [type(u).__name__ for u in units] == ["SK"] * 16
    assert [u.branches[1][0].stride[0] for u in units] == [1] * 3 + [2, 1, 1, 1] + [2] + [1] * 5 + [2, 1, 1]
    assert {u.branches[0][0].groups for u in units} == {32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 48}, "groups must divide the 64 channels, not 48; near it: 32"),
        ({"groups": 0}, "groups must divide the 64 channels, not 0; near it: 1"),
        ({"dilation": 2}, "dilation must be two or more numbers from 1 on, not 2"),
        ({"dilation": (1,)}, r"not \(1,\); the paper's is \(1, 2\)"),
        ({"dilation": (0, 1)}, r"dilation must be two or more numbers from 1 on, not \(0, 1\)"),
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"min_hidden": 0}, "min_hidden must be at least 1, not 0"),
        ({"stride": 0}, "stride must be at least 1, not 0"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("sk", 64, **options)


def test_the_squares_say_how_wide_the_rings_are():
    x, target, large = tasks.sk.rings(16, seed=3)
    assert x.shape == (16, 2, 16, 16)
    assert target.shape == (16, 1, 16, 16)
    assert 0 < large.sum() < 16
    assert (x[:, 1].sum((1, 2)) == 32).all(), "the mean tells the size"
    for image, wanted, is_large in zip(x, target, large, strict=True):
        reach = 2 if is_large else 1
        ring = torch.zeros(16, 16)
        for i, j in (image[0] == 4).nonzero().tolist():
            for row in (i - reach, i, i + reach):
                for column in (j - reach, j, j + reach):
                    if (row, column) != (i, j) and 0 <= row < 16 and 0 <= column < 16:
                        ring[row, column] += 1
        assert torch.equal(wanted[0], ring)
        inside = [image[1, i : i + 4, j : j + 4].sum().item() for i in range(13) for j in range(13)]
        assert (max(inside) == 16) == bool(is_large)
    assert torch.equal(x, tasks.sk.rings(16, seed=3)[0])
    assert not torch.equal(x, tasks.sk.rings(16, seed=4)[0])


def test_sk_solves_what_a_fixed_mixture_cannot():
    x, target, _ = tasks.sk.rings(128)
    new, new_target, _ = tasks.sk.rings(64, seed=1)
    errors = []
    for held in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(2, 8, 1, bias=False), attn.create("sk", 8), nn.Conv2d(8, 1, 1))
        if held:
            nn.init.zeros_(model[1].select.weight).requires_grad_(False)
        errors.append(tasks.error(tasks.learn(model, x, target, steps=120, batch=32), new, new_target))
    assert errors[0] < 0.05
    assert errors[1] > 0.4
