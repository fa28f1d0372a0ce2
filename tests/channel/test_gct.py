# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""GCT against loops written from the paper's equations, and what keeps it apart from the other gates."""

import math

import pytest
import torch
from torch import nn

import attn
from attn import hosts, tasks


def loops(x, alpha, beta, gamma, eps=1e-5, mean=False):
    """GCT: s_c = α_c ‖x_c‖₂, ŝ_c = √C s_c / ‖s‖₂, x̂_c = x_c [1 + tanh(γ_c ŝ_c + β_c)].

    Args:
        x: The map x, nested B x C x H x W.
        alpha: α, the embedding weights, C numbers.
        beta: β, the gating biases, C numbers.
        gamma: γ, the gating weights, C numbers.
        eps: ε, added under the root of both norms.
        mean: Where the second ε stands. False, as the equation is written: √C s_c / √(Σ_k s_k² + ε).
            True, as the authors' code has it: s_c / √(1/C Σ_k s_k² + ε), so ε weighs C times as much.

    Returns:
        x̂, nested B x C x H x W.
    """
    y = []
    for xb in x:
        channels, rows, columns = len(xb), len(xb[0]), len(xb[0][0])
        s = []
        for c in range(channels):
            squares = 0.0
            for i in range(rows):
                for j in range(columns):
                    squares += xb[c][i][j] ** 2
            s.append(alpha[c] * math.sqrt(squares + eps))
        total = 0.0
        for k in range(channels):
            total += s[k] ** 2
        yb = []
        for c in range(channels):
            if mean:
                normed = s[c] / math.sqrt(total / channels + eps)
            else:
                normed = math.sqrt(channels) * s[c] / math.sqrt(total + eps)
            gate = 1.0 + math.tanh(gamma[c] * normed + beta[c])
            yb.append([[gate * xb[c][i][j] for j in range(columns)] for i in range(rows)])
        y.append(yb)
    return y


def drawn(channels, spread=1.0, **options):
    """A module in which no vector keeps its initial value, in float64."""
    module, generator = attn.create("gct", channels, **options).double(), torch.Generator().manual_seed(0)
    for p in module.parameters():
        nn.init.normal_(p, std=spread, generator=generator)
    return module


def uneven(channels, size=(5, 3), seed=1):
    """Two images in float64 whose channels differ in size by far."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randn(2, channels, 1, 1, generator=generator, dtype=torch.float64).exp()
    return sizes * torch.randn(2, channels, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("channels", [16, 24, 3])
def test_equals_the_equations(channels):
    module, x = drawn(channels), uneven(channels)
    vectors = (p.tolist() for p in (module.alpha, module.beta, module.gamma))
    wanted = torch.tensor(loops(x.tolist(), *vectors, mean=True), dtype=x.dtype)
    torch.testing.assert_close(module(x), wanted, atol=1e-10, rtol=0)


def test_where_epsilon_stands_shows_on_faint_maps_alone():
    module, x = drawn(16), uneven(16)
    vectors = [p.tolist() for p in (module.alpha, module.beta, module.gamma)]
    gaps = []
    for faint in (1, 1e-4):
        written = torch.tensor(loops((faint * x).tolist(), *vectors), dtype=x.dtype) / faint
        gaps.append((module(faint * x) / faint - written).abs().max())
    assert gaps[0] < 1e-4
    assert gaps[1] > 1e-2


def test_the_other_norm():
    module, x = drawn(16, mode="l1"), uneven(16)
    s = module.alpha * x.abs().sum((2, 3))
    gates = 1 + (module.gamma * 16 * s / s.abs().sum(1, keepdim=True) + module.beta).tanh()
    torch.testing.assert_close(module.attention(x)[:, :, 0, 0], gates, atol=1e-5, rtol=0)
    assert (drawn(16)(x) - module(x)).abs().max() > 0.1


def test_refuses_another_norm():
    with pytest.raises(ValueError, match="unknown mode 'l3'; did you mean 'l2'"):
        attn.create("gct", 16, mode="l3")


@pytest.mark.parametrize("mode", ["l2", "l1"])
def test_a_new_module_changes_nothing(mode):
    x = uneven(16).float()
    assert torch.equal(attn.create("gct", 16, mode=mode)(x), x)


def test_it_takes_part_in_training_from_the_first_step_but_alpha():
    module, x = attn.create("gct", 16).double(), uneven(16)
    (module(x) * torch.randn_like(x)).sum().backward()
    assert not module.alpha.grad.any()  # it acts through γ, which is zero
    assert module.gamma.grad.all()
    assert module.beta.grad.all()


def test_how_large_a_map_is_makes_no_difference_to_the_gates():
    module, x = drawn(16), uneven(16)
    torch.testing.assert_close(module.attention(100 * x), module.attention(x), atol=1e-4, rtol=0)
    four = x.repeat(1, 1, 2, 2)  # norms twice as long
    torch.testing.assert_close(module.attention(four), module.attention(x), atol=1e-4, rtol=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_sign_of_gamma_decides_between_competition_and_cooperation(sign):
    """The share of the largest channel in the norms of all grows where γ > 0, and shrinks where γ < 0."""
    module, x = attn.create("gct", 16).double(), uneven(16)
    nn.init.constant_(module.gamma, 0.5 * sign)
    before, after = (t.norm(dim=(2, 3)) for t in (x, module(x)))
    share = lambda norms: norms.amax(1) / norms.sum(1)  # noqa: E731
    assert (sign * (share(after) - share(before)) > 0.01).all()


def test_a_channel_with_alpha_zero_is_left_out_of_the_comparison():
    module, x = drawn(16), uneven(16)
    with torch.no_grad():
        module.alpha[3] = 0
    louder = x.clone()
    louder[:, 3] *= 50
    torch.testing.assert_close(module.attention(louder), module.attention(x), atol=1e-9, rtol=0)
    with torch.no_grad():
        module.alpha[3] = 1
    assert (module.attention(louder) - module.attention(x)).abs().max() > 0.1


def test_half_precision_where_the_squares_overflow():
    module = drawn(16).half()
    x = torch.full((1, 16, 32, 32), 20.0).half()
    assert (x.float() ** 2).sum((2, 3)).min() > torch.finfo(torch.float16).max
    given = module(x)
    assert given.dtype == torch.float16
    torch.testing.assert_close(given.float(), module.float()(x.float()), atol=0.05, rtol=1e-3)


def test_the_network_of_the_paper():
    with torch.device("meta"):
        network = hosts.build("gct")
        gates = [m for m in network.modules() if isinstance(m, attn.GCT)]
        asked = []
        plain = hosts.resnet50("before", lambda channels: asked.append(channels) or nn.Identity())
        assert plain(torch.zeros(1, 3, 64, 96)).shape == (1, 1000)
    assert asked == [len(m.alpha) for m in gates]
    assert len(asked) == sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 53
    assert sum(p.numel() for p in network.parameters()) == 25_557_032 + 3 * sum(asked) == 25_624_625
    pairs = [m for m in network.modules() if isinstance(m, nn.Sequential) and isinstance(m[0], attn.GCT)]
    assert [p[1].in_channels for p in pairs] == asked


def test_the_network_starts_as_the_plain_one():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = hosts.build("gct").eval()
        plain = hosts.resnet50(early=True).eval()
    own = [t for name, t in network.state_dict().items() if not name.endswith((".alpha", ".gamma", ".beta"))]
    plain.load_state_dict(dict(zip(plain.state_dict(), own, strict=True)))
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(network(x), plain(x))


def test_the_edges_of_a_photograph_and_the_strongest_of_them():
    x, wanted = tasks.gct.edges(32, seed=2)
    assert x.shape == wanted.shape == (32, 8, 16, 16)
    assert torch.equal(x, tasks.gct.edges(32, seed=2)[0])
    assert not torch.equal(x, tasks.gct.edges(32, seed=2, held_out=True)[0])
    for image, kept in zip(x, wanted, strict=True):
        norms = [float(c.norm()) for c in image]
        limit = math.sqrt(sum(n * n for n in norms) / 8)
        assert 0 < sum(n > limit for n in norms) < 8
        for c, n in enumerate(norms):
            assert torch.equal(kept[c], image[c] if n > limit else torch.zeros(16, 16))
        inside = [image[c, : 16 - i, : 16 - j] for c, (i, j) in ((0, (0, 2)), (4, (2, 0)))]
        across, down = inside[0][:14], inside[1][:, :14]
        # Right and then down, or down and then right, is the same as both at once.
        torch.testing.assert_close(across + image[4, :14, 2:], image[2, :14, :14])
        torch.testing.assert_close(down + image[0, 2:, :14], image[2, :14, :14])
    brighter, same = tasks.gct.edges(32, seed=2, contrast=16)
    assert torch.equal(brighter, 16 * x)
    assert torch.equal(same, 16 * wanted)


def test_what_gct_has_learned_holds_at_another_contrast():
    x, wanted = tasks.gct.edges(256)
    errors = {}
    for gate, rate in ((attn.GCT, 0.1), (tasks.gct.Magnitudes, 0.03)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = nn.Sequential(gate(8), nn.Conv2d(8, 8, 1, groups=8, bias=False))
        nn.init.ones_(model[1].weight)
        tasks.learn(model, x, wanted, steps=150, lr=rate)
        new = (tasks.gct.edges(128, seed=1, held_out=True, contrast=c) for c in (1, 1 / 16, 16))
        errors[gate] = [tasks.error(model, *pair) for pair in new]
    ours, theirs = errors.values()
    assert max(ours) < 0.3
    assert max(ours) - min(ours) < 1e-3
    assert max(theirs) > theirs[0] + 0.1
