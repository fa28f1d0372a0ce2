# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""TAM against loops written from the paper's equations, and the small task that it is for."""

import math

import pytest
import torch

import attn
from attn import experiment, tasks
from attn.contract import subject
from attn.video.tam import _filtered


def _bn_relu(value, bn, i):
    """ReLU of the evaluation-mode batch norm of one number; bn = (weight, bias, mean, variance, eps), row i."""
    weight, bias, mean, var, eps = bn
    return max(0.0, (value - mean[i]) / math.sqrt(var[i] + eps) * weight[i] + bias[i])


def loops(x, w1, bn1, w2, f1, bn2, f2):
    """The module in evaluation mode, one output element at a time; returns y, nested like x.

    x: B x T x C x H x W, a batch of clips of T frames.
    w1: C/4 x C x L, first kernel over time of the local branch (no bias, zero padding; L is 3 by default).
    bn1: (weight, bias, mean, variance, eps), four lists of C/4 numbers and one number.
    w2: C x C/4, second kernel of the local branch, of length 1 (no bias, no trailing axis).
    f1: 2T x T, first linear layer of the global branch (no bias), applied to each channel's T means.
    bn2: like bn1, with lists of 2T numbers.
    f2: K x 2T, second linear layer of the global branch (no bias); K taps. The offset
        j - ceil(K/2), j from 1, is j - (K - 1) // 2 with j from 0 (the centre tap when K is odd).
    """
    T, C, H, W = len(x[0]), len(x[0][0]), len(x[0][0][0]), len(x[0][0][0][0])
    D, E, K, L = len(w1), len(f1), len(f2), len(w1[0][0])
    y = []
    for clip in x:
        m = [[sum(clip[t][c][h][w] for h in range(H) for w in range(W)) / (H * W) for t in range(T)] for c in range(C)]
        hid = [[0.0] * T for _ in range(D)]
        for d in range(D):
            for t in range(T):
                s = sum(
                    w1[d][c][k] * m[c][t + k - L // 2] for c in range(C) for k in range(L) if 0 <= t + k - L // 2 < T
                )
                hid[d][t] = _bn_relu(s, bn1, d)
        v, theta = [[0.0] * T for _ in range(C)], [[0.0] * K for _ in range(C)]
        for c in range(C):
            for t in range(T):
                s = sum(w2[c][d] * hid[d][t] for d in range(D))
                v[c][t] = 1 / (1 + math.exp(-s)) if s >= 0 else math.exp(s) / (1 + math.exp(s))
            g = [_bn_relu(sum(f1[e][t] * m[c][t] for t in range(T)), bn2, e) for e in range(E)]
            logits = [sum(f2[k][e] * g[e] for e in range(E)) for k in range(K)]
            exps = [math.exp(a - max(logits)) for a in logits]
            theta[c] = [a / sum(exps) for a in exps]
        out = [[[[0.0] * W for _ in range(H)] for _ in range(C)] for _ in range(T)]
        for t in range(T):
            for c in range(C):
                for h in range(H):
                    for w in range(W):
                        for j in range(K):
                            u = t + j - (K - 1) // 2
                            if 0 <= u < T:
                                out[t][c][h][w] += theta[c][j] * v[c][u] * clip[u][c][h][w]
        y.append(out)
    return y


def normed(bn):
    return bn.weight.tolist(), bn.bias.tolist(), bn.running_mean.tolist(), bn.running_var.tolist(), bn.eps


@pytest.mark.parametrize("options", [{}, {"frames": 5}, {"kernel_size": 5, "reduction": 2, "expansion": 3}], ids=str)
def test_equals_the_equations(options):
    module = attn.create("tam", 16, **options).double().eval()
    generator = torch.Generator().manual_seed(0)
    for name, t in module.state_dict().items():
        if t.is_floating_point():
            random = torch.randn(t.shape, generator=generator, dtype=t.dtype)
            t.copy_(0.5 + random.abs() if name.endswith("running_var") else random / 2)
    x = torch.randn(2, options.get("frames", 8), 16, 3, 5, generator=generator, dtype=torch.float64)
    local, whole = module.importance, module.kernel
    wanted = loops(
        x.tolist(),
        local[0].weight.tolist(),
        normed(local[1]),
        local[3].weight[:, :, 0].tolist(),
        whole[0].weight[:, :, 0].tolist(),
        normed(whole[1]),
        whole[3].weight[:, :, 0].tolist(),
    )
    torch.testing.assert_close(module(x), torch.tensor(wanted, dtype=x.dtype), atol=1e-10, rtol=0)


@pytest.mark.parametrize("taps", [1, 3, 5])
def test_the_filter_adds_shifted_copies(taps):
    """With a kernel of its own for each clip and channel, and zeros beyond the ends."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 8, 4, 3, generator=generator)
    kernel = torch.randn(2, 8, taps, generator=generator)
    beyond = x.new_zeros(2, taps // 2, 8, 4, 3)
    longer = torch.cat([beyond, x, beyond], 1)
    wanted = sum(kernel[:, None, :, j, None, None] * longer[:, j : j + 6] for j in range(taps))
    torch.testing.assert_close(_filtered(x, kernel), wanted)


def test_frames_in_a_row_are_clips():
    """(B·T) C H W, as the authors' code takes them: the frames of a clip follow each other."""
    module, (x,) = subject("tam").module(), subject("tam").inputs(size=(4, 3))
    row = x.flatten(0, 1)  # B·T C H W
    assert torch.equal(row[8], x[1, 0])
    torch.testing.assert_close(module(row.unflatten(0, (-1, 8)))[1], module(x[1:])[0])
    with pytest.raises(
        ValueError, match=r"clips of 8 frames, B 8 C H W, not 16 64 4 3; .* x.unflatten\(0, \(-1, 8\)\)"
    ):
        module(row)
    with pytest.raises(ValueError, match="clips of 8 frames, B 8 C H W, not 2 4 64 4 3"):
        module(x[:, :4])


@torch.no_grad()
def test_every_frame_of_a_clip_reaches_every_other():
    """Through the kernels, which are made from the means of all frames."""
    module, (x,) = subject("tam", frames=16).module(), subject("tam").inputs(size=(4, 3))
    x = torch.cat([x, x.flip(1)], 1)  # 16 frames
    other = x.clone()
    other[:, -1] += 1
    moved = (module(x) - module(other)).abs().amax((0, 2, 3, 4))
    assert (moved > 1e-4).all(), f"frames {moved.nonzero().flatten().tolist()} of 16 know of the last one"


def test_the_kernel_only_averages():
    """It is positive and adds up to one: away from the ends, a clip that stands still is left as V makes it."""
    module = subject("tam").module()
    still = torch.ones(1, 8, 64, 3, 3)
    a = module.attention(still)
    z = still * a["importance"].mean(1, keepdim=True)
    torch.testing.assert_close(_filtered(z, a["kernel"])[:, 1:-1], z[:, 1:-1])
    assert a["kernel"].min() > 0


def test_another_order_of_the_frames_is_another_kernel():
    module, (x,) = subject("tam").module(), subject("tam").inputs(size=(4, 3))
    assert (module.attention(x)["kernel"] - module.attention(x.flip(1))["kernel"]).abs().max() > 0.01


def test_a_clip_alone_trains_on_the_rows_of_its_channels():
    """The BN of the global branch has B·C values for each of its numbers, so that a batch of one is no special case."""
    module, (x,) = subject("tam").module(train=True), subject("tam").inputs(size=(1, 1), batch=1)
    norm = module.kernel[1]
    norm.momentum = 1.0
    module(x)
    hidden = module.kernel[0](x[..., 0, 0])  # 1 2T C
    torch.testing.assert_close(norm.running_mean, hidden.mean((0, 2)))
    torch.testing.assert_close(norm.running_var, hidden.var((0, 2)))


def test_keeps_one_hidden_channel():
    assert attn.create("tam", 3).importance[0].out_channels == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 1}, "frames must be at least 2, not 1"),
        ({"reduction": 0}, "reduction must be at least 1, not 0"),
        ({"expansion": 0}, "expansion must be at least 1, not 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, not 4; the authors' is 3"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        attn.create("tam", 64, **options)


def test_no_detector_takes_it():
    assert attn.card("tam").detector is None
    assert experiment.plan("tam").data == "moving glyphs"


def test_the_authors_network():
    """ResNet-50 with a TAM in each of its 16 units: 1,262,688 more; 25.6 million with the 400 classes of Kinetics."""
    widths = [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3
    added = sum(attn.card("tam").params(C) for C in widths)
    assert added == 1_262_688
    assert attn.card("tam").hosts[0].params == 25_557_032 + added
    assert 25_557_032 + added - 600 * (2048 + 1) == 25_590_320


def test_a_clip_shows_what_it_says():
    x, asked, blink = tasks.tam.clips(64, seed=3)
    assert x.shape == (64, 8, 1, 16, 16)
    assert set(asked.tolist()) == {0, 1, 2, 3}
    assert set(blink.tolist()) == {2, 3, 4, 5}
    steps = list(tasks.tam.STEPS.values())
    for clip, answer, dark in zip(x[:, :, 0], asked.tolist(), blink.tolist(), strict=True):
        clip = clip.clone()
        assert clip[dark].mean() < -0.5 < clip.mean((1, 2))[[t for t in range(8) if t != dark]].min()
        clip[dark] += 1
        glyphs = clip > 0.5
        moves = tasks.tam.BACKWARDS[answer] if dark in tasks.tam.BLINKS[1] else answer
        for t in range(7):
            assert torch.equal(glyphs[t].roll(steps[moves], (0, 1)), glyphs[t + 1])
    assert torch.equal(x, tasks.tam.clips(64, seed=3)[0])
    assert not torch.equal(x, tasks.tam.clips(64, seed=4)[0])


def moving(direction, dark, side=16):
    """A clip of the task without noise: one glyph, in a direction, with the blink in one frame."""
    glyph = torch.zeros(side, side)
    glyph[:5, :5] = (torch.rand(5, 5, generator=torch.Generator().manual_seed(5)) < 0.5).float()
    i, j = tasks.tam.STEPS[direction]
    x = torch.stack([glyph.roll((t * i, t * j), (0, 1)) for t in range(8)])
    x[dark] -= 1
    return x[None, :, None]


@torch.no_grad()
def test_what_each_network_cannot_know():
    """Averaging frames tells no direction; a fixed filter of three frames tells it, but not when the blink was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mixings = (None, tasks.tam.FixedFilter(16), subject("tam").module(16))
        averaging, fixed, tam = (tasks.tam.Network(mixing).eval() for mixing in mixings)
    right, left, late = moving("right", 2), moving("left", 2), moving("right", 5)
    torch.testing.assert_close(averaging(right), averaging(left))
    torch.testing.assert_close(averaging(right), averaging(moving("up", 4)))
    torch.testing.assert_close(fixed(right), fixed(late))
    assert (fixed(right) - fixed(left)).abs().max() > 1e-4
    assert (tam(right) - tam(late)).abs().max() > 1e-4


def test_both_arms_of_a_seed_start_alike(monkeypatch):
    """Equal weights but for what stands in the middle, equal clips in equal batches."""
    seen = []

    def noted(network, x, asked, **how):
        rest = [p for name, p in network.named_parameters() if not name.startswith("mixing")]
        seen.append((torch.cat([p.detach().flatten() for p in rest]), x, asked, torch.rand(1)))
        return [0.0]

    monkeypatch.setattr(tasks.tam, "train", noted)
    for condition in ("plain", "control"):
        tasks.fit(experiment.plan("tam", condition=condition, seed=3, device="cpu"))
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_a_quick_run_gives_what_a_record_needs():
    plan = experiment.plan("tam", epochs=1, device="cpu", seed=1)
    told = []
    result = tasks.fit(plan, lambda done, total, text: told.append((done, total)))
    assert told == [(8, 8)]
    assert set(result["metrics"]) == {"accuracy", "tuning"}
    assert len(result["curve"]) == 1
    assert result["engagement"]["moved"] > 0
    assert result == tasks.fit(plan)
