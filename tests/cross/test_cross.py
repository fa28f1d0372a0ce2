# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The Cross Attention Module against loops written from the paper's equations."""

import dataclasses
import math

import pytest
import torch

import attn
from attn import experiment, tasks
from attn.contract import subject


def loops(P, Q, W1, b1, norm, W2, b2, tau=0.025):
    """The Cross Attention Module on one pair of maps, in evaluation mode, one element at a time, on nested lists.

    Args:
        P: the class map, C H W; its position number i = row · W + column, m = H·W positions.
        Q: the query map, C H W, of the same size.
        W1: the first layer of the small network that makes the kernel, m/r rows of m numbers. b1: its bias, m/r.
        norm: the BN behind it as ``(weight, bias, mean, variance, eps)``: four lists of m/r, the running statistics
            among them, and one number.
        W2: its second layer, m rows of m/r numbers. b2: its bias, m.
        tau: the temperature of the softmax.

    Returns:
        ``(P̂, Q̂, A_P, A_Q)``: the two weighted maps, C H W each, and the two attention maps, H W each, every one of
        which sums to one. One is added to a map only where it multiplies: P̂ = P (1 + A_P), Q̂ = Q (1 + A_Q).
    """
    C, H, W = len(P), len(P[0]), len(P[0][0])
    m, hidden = H * W, len(W1)
    weight, bias, mean, variance, eps = norm

    def cosine(i, j):
        """R_ij: position i of P beside position j of Q."""
        p = [P[c][i // W][i % W] for c in range(C)]
        q = [Q[c][j // W][j % W] for c in range(C)]
        lengths = [max(math.sqrt(sum(t * t for t in v)), 1e-12) for v in (p, q)]
        return sum(a * b for a, b in zip(p, q, strict=True)) / (lengths[0] * lengths[1])

    def fusion(R):
        """A of the map whose positions are the rows of R: one row's m correlations are collapsed by the kernel w."""
        pooled = [sum(R[i][j] for i in range(m)) / m for j in range(m)]  # the mean row, one number for each j
        u = []
        for k in range(hidden):
            t = b1[k] + sum(W1[k][j] * pooled[j] for j in range(m))
            u.append(max(0.0, weight[k] * (t - mean[k]) / math.sqrt(variance[k] + eps) + bias[k]))
        w = [b2[j] + sum(W2[j][k] * u[k] for k in range(hidden)) for j in range(m)]
        s = [sum(w[j] * R[i][j] for j in range(m)) / m / tau for i in range(m)]
        e = [math.exp(t - max(s)) for t in s]
        return [[e[i * W + j] / sum(e) for j in range(W)] for i in range(H)]

    def weighted(X, A):
        return [[[X[c][i][j] * (1 + A[i][j]) for j in range(W)] for i in range(H)] for c in range(C)]

    R = [[cosine(i, j) for j in range(m)] for i in range(m)]
    A_P = fusion(R)
    A_Q = fusion([[R[i][j] for i in range(m)] for j in range(m)])  # R^T: its rows are the positions of Q
    return weighted(P, A_P), weighted(Q, A_Q), A_P, A_Q


def module_of(size=(3, 5), **options):
    """In float64 and evaluation mode, with every weight and statistic random."""
    module = attn.create("cross", 16, size=size, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random)
    return module


def maps_of(size=(3, 5), B=2, K=2, M=3):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(B, n, 16, *size, generator=generator, dtype=torch.float64) for n in (K, M))


@pytest.mark.parametrize("options", [{}, {"reduction": 2, "temperature": 0.1}], ids=str)
@torch.no_grad()
def test_equals_the_equations(options):
    module, (p, q) = module_of(**options), maps_of()
    first, norm, _, second = module.kernel
    weights = [t.tolist() for t in (first.weight.flatten(1), first.bias)]
    statistics = [t.tolist() for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)]
    rest = [t.tolist() for t in (second.weight.flatten(1), second.bias)]
    given, a = module(p, q), module.attention(p, q)
    for b, m, k in [(0, 0, 0), (0, 2, 1), (1, 1, 0)]:
        wanted = loops(p[b, k].tolist(), q[b, m].tolist(), *weights, (*statistics, norm.eps), *rest, module.temperature)
        ours = (given.classes[b, m, k], given.queries[b, m, k], a["classes"][b, m, k], a["queries"][b, m, k])
        for left, right in zip(ours, wanted, strict=True):
            torch.testing.assert_close(left, torch.tensor(right, dtype=left.dtype), atol=1e-10, rtol=0)
        assert ours[2].max() > 2 / 15, "a flat map proves nothing"


@torch.no_grad()
def test_a_pair_does_not_depend_on_the_others():
    module, (p, q) = module_of(), maps_of(K=4)
    whole, alone = module(p, q), module(p[:, 2:3], q[:, 1:2])
    torch.testing.assert_close(whole.classes[:, 1:2, 2:3], alone.classes)
    torch.testing.assert_close(whole.queries[:, 1:2, 2:3], alone.queries)


@torch.no_grad()
def test_the_two_pictures_change_places():
    """The same layers serve both, but the pooled row of a matrix is not that of its transpose."""
    module, (p, q) = module_of(), maps_of()
    there, back = module.attention(p, q), module.attention(q, p)
    torch.testing.assert_close(there["classes"], back["queries"].transpose(1, 2))
    torch.testing.assert_close(there["queries"], back["classes"].transpose(1, 2))


@torch.no_grad()
def test_any_rotation_of_the_channels_leaves_the_maps():
    module, (p, q) = module_of(), maps_of()
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(2), dtype=p.dtype)).Q
    turned = (torch.einsum("dc,bkchw->bkdhw", turn, x) for x in (p, q))
    for before, after in zip(module.attention(p, q).values(), module.attention(*turned).values(), strict=True):
        torch.testing.assert_close(before, after)


@torch.no_grad()
def test_no_position_more_than_doubles_and_constant_maps_are_flat():
    module, (p, q) = module_of(), maps_of()
    y = module(p, q)
    ratio = y.queries / q[:, :, None]
    assert ratio.min() >= 1
    assert ratio.max() <= 2
    assert torch.allclose(ratio.mean((-1, -2)), torch.tensor(1 + 1 / 15, dtype=p.dtype))  # 1 + A has the mean 1 + 1/N
    flat = module.attention(torch.ones_like(p), torch.ones_like(q))
    assert all(torch.allclose(a, torch.full_like(a, 1 / 15)) for a in flat.values())


def test_the_authors_own_count():
    assert sum(p.numel() for p in attn.create("cross", 512).parameters()) == 486 == attn.card("cross").params(512)


def test_another_size_is_refused_by_name():
    module = attn.create("cross", 8, size=(5, 7))
    p, q = torch.zeros(1, 2, 8, 5, 7), torch.zeros(1, 1, 8, 6, 6)
    with pytest.raises(ValueError, match=r"a map of 6×6 where the kernel has 5×7 positions"):
        module(p, q)
    for bad in ({"size": (6, 0)}, {"size": (6,)}, {"size": 6}, {"reduction": 0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be"):
            attn.create("cross", 8, **bad)


def test_one_pair_trains_and_keeps_the_statistics():
    module = subject("cross").module(train=True)
    before = module.kernel[1].running_mean.clone()
    p, q = (x[:1, :1] for x in subject("cross").inputs())
    y = module(p, q)
    assert torch.equal(module.kernel[1].running_mean, before)
    torch.testing.assert_close(y, module.eval()(p, q))


@torch.no_grad()
def test_half_precision_survives_a_position_without_a_feature():
    """Behind a ReLU whole positions are zero; divided by 1e-12, which is 0 in float16, they would become NaN."""
    p, q = (x.half().relu() for x in subject("cross").inputs())
    p[..., 0, 0] = 0
    y = attn.create("cross", 64).eval().half()(p, q)
    assert all(t.isfinite().all() for t in y)


@pytest.mark.proof
@torch.no_grad()
def test_exports_at_its_own_size():
    onnxruntime = pytest.importorskip("onnxruntime")
    s = subject("cross")
    module, x = s.module(), s.inputs()
    program = torch.export.export(module, x)
    torch.testing.assert_close(tuple(program.module()(*x)), tuple(module(*x)), atol=1e-5, rtol=1e-5)
    model = torch.onnx.export(program, dynamo=True, verbose=False).model_proto
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, {i.name: t.numpy() for i, t in zip(session.get_inputs(), x, strict=True)})
    for ours, theirs in zip(module(*x), got, strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), atol=1e-5, rtol=1e-5)


def test_the_boards_of_a_pair_share_one_glyph():
    x = tasks.cross.episodes(4)
    assert x.classes.shape == x.queries.shape == (4, 5, 1, 48, 48)
    cells = [b.unflatten(4, (6, 8)).unflatten(3, (6, 8)).movedim(5, 4).flatten(3, 4)[:, :, 0] for b in x[:2]]
    assert all(((c.sum((3, 4)) > 0).sum(2) == 1 + tasks.cross.OTHERS).all() for c in cells)
    at = [p[..., None, None, None].expand(-1, -1, 1, 8, 8) for p in (x.class_places, x.query_places)]
    glyphs = [c.gather(2, p)[:, :, 0] for c, p in zip(cells, at, strict=True)]  # n 5 8 8
    gap = (glyphs[1][:, :, None] - glyphs[0][:, None]).square().sum((3, 4))  # n queries classes
    assert (gap.argmin(2) == x.labels).float().mean() > 0.9  # in pixels, and told where to look
    again = tasks.cross.episodes(4)
    assert all(torch.equal(a, b) for a, b in zip(x, again, strict=True))
    assert not torch.equal(x.classes, tasks.cross.episodes(4, seed=1).classes)


@pytest.mark.parametrize("condition", ["plain", "control"])
def test_the_task_gives_what_a_record_holds(condition):
    plan = experiment.plan("cross", condition=condition, epochs=2, device="cpu")
    plan = dataclasses.replace(plan, images=40, val=50)
    result, again = tasks.fit(plan), tasks.fit(plan)
    assert result == again
    assert [e["epoch"] for e in result["curve"]] == [1, 2]
    assert 0.2 < result["metrics"]["accuracy"] <= 1
    assert ("engagement" in result) == ("found" in result["metrics"]) == (condition == "plain")


def test_both_arms_of_a_seed_see_the_same_boards(monkeypatch):
    seen = []
    draw = tasks.cross._draw
    monkeypatch.setattr(tasks.cross, "_draw", lambda *what: seen.append(draw(*what)) or seen[-1])
    for condition in ("plain", "control"):
        tasks.fit(dataclasses.replace(experiment.plan("cross", condition=condition, device="cpu"), images=40, val=50))
    half = len(seen) // 2
    assert all(torch.equal(a.classes, b.classes) for a, b in zip(seen[:half], seen[half:], strict=True))
