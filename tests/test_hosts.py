# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from decimal import Decimal

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import attn
from attn import hosts
from attn.registry import Printed


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture
def meta():
    with torch.device("meta"):
        yield


HOSTS = [(slug, host) for slug in attn.names() for host in attn.card(slug).hosts]


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize(("slug", "host"), HOSTS, ids=[f"{s}-{h.trunk}-{h.params}" for s, h in HOSTS])
def test_every_card_tells_the_count_of_its_network(slug, host):
    assert count(hosts.build(slug, host)) == host.params


@pytest.mark.usefixtures("meta")
def test_se_resnet50():
    assert count(hosts.resnet50()) == 25_557_032
    assert count(hosts.build("se")) == 28_088_024
    assert count(hosts.build("se", bias=False)) == 28_071_976
    # One SE in each of the 16 units, behind the last BN of the branch, at the unit's outgoing width.
    units = [u for u in hosts.build("se") if hasattr(u, "branch")]
    assert [type(u.branch[-1]).__name__ for u in units] == ["SE"] * 16
    assert all(isinstance(u.branch[-2], nn.BatchNorm2d) for u in units)
    assert [u.branch[-1].up.out_channels for u in units] == [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("resnet50", "resnet50"), ("resnext50", "resnext50_32x4d"), ("mobilenetv2", "mobilenet_v2")],
)
def test_the_trunk_is_torchvisions(name, theirs):
    torchvision = pytest.importorskip("torchvision")
    theirs, ours = getattr(torchvision.models, theirs)().eval(), getattr(hosts, name)().eval()
    given, taken = theirs.state_dict(), ours.state_dict()
    assert [v.shape for v in given.values()] == [v.shape for v in taken.values()]
    generator = torch.Generator().manual_seed(0)
    for name, value in given.items():  # statistics that a BN at its start would not show
        if "running" in name:
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    ours.load_state_dict(dict(zip(taken, given.values(), strict=True)))
    x = torch.randn(1, 3, 75, 64, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.usefixtures("meta")
def test_every_place_of_a_residual_network():
    """How wide and how strided the module is, unit by unit."""

    def made(place):
        asked = []

        def make(channels, stride=1):
            asked.append((channels, stride))
            return nn.Conv2d(channels, channels, 1, stride)

        network = hosts.resnet50(place, make)
        assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 1000)
        return asked

    widths = [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3
    strides = [1] * 3 + [2, 1, 1, 1] + [2, 1, 1, 1, 1, 1] + [2, 1, 1]
    assert made("reduced") == [(w, 1) for w in widths]
    assert made("convolved") == [(w, 1) for w in widths]
    assert made("unit") == list(zip(widths, strides, strict=True))
    assert made("conv") == list(zip(widths, strides, strict=True))[3:]
    assert made("residual") == [(4 * w, 1) for w in widths]
    assert made("stage") == [(256, 1), (512, 1), (1024, 1)]
    assert made("late") == [(1024, 1), (2048, 1), (2048, 1)]
    assert made("second") == [(512, 1)] * 2 + [(1024, 1)] * 3


@pytest.mark.usefixtures("meta")
def test_the_place_in_mobilenetv2():
    """Behind the depthwise convolution of each of the 16 blocks that widen."""
    network = hosts.mobilenetv2("depthwise", nn.InstanceNorm2d)  # takes the number of channels alone
    assert network(torch.zeros(1, 3, 96, 128)).shape == (1, 1000)
    blocks = [list(b.branch) for b in network if hasattr(b, "branch")]
    assert [len(b) for b in blocks] == [5] + [9] * 16
    assert {(type(b[5]), type(b[6]), type(b[7])) for b in blocks[1:]} == {(nn.ReLU6, nn.InstanceNorm2d, nn.Conv2d)}
    widths = [96] + [144] * 2 + [192] * 3 + [384] * 4 + [576] * 3 + [960] * 3
    assert [b[6].num_features for b in blocks[1:]] == widths
    assert all(b[3].groups == b[6].num_features for b in blocks[1:])


@pytest.mark.usefixtures("meta")
def test_an_early_stride_has_the_same_parameters_and_smaller_maps():
    x = torch.zeros(1, 3, 224, 224)
    late, early = (hosts.count(hosts.resnet50(early=early), x) for early in (False, True))
    assert early.params == late.params
    # In the first unit of c3 to c5 the 1×1 convolution, 2w to w channels, meets a quarter of the positions.
    saved = sum(3 * side**2 * 2 * w * w for w, side in ((128, 28), (256, 14), (512, 7)))
    assert late.macs - early.macs == saved
    assert hosts.in_unit("3.86 G", early.macs)[1] == 0  # SE, Table 2: the plain network


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize(
    ("name", "theirs"),
    [("resnet50", "resnet50"), ("resnext50", "resnext50_32x4d"), ("mobilenetv2", "mobilenet_v2")],
)
def test_the_multiply_adds_are_torchvisions(name, theirs):
    """Counted by PyTorch's own counter, without our additions to it."""
    torchvision = pytest.importorskip("torchvision")
    x = torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter:
        getattr(torchvision.models, theirs)().eval()(x)
    counted = hosts.count(getattr(hosts, name)(), x)
    assert counted.macs == counter.get_total_flops() // 2
    # torchvision prints them in units of 10⁹, 4.09, 4.23 and 0.3.
    weights = torchvision.models.get_model_weights(theirs).IMAGENET1K_V1
    assert hosts.in_unit(f"{weights.meta['_ops']} G", counted.macs)[1] == 0


def test_a_count_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    counted = hosts.count(network, torch.ones(1, 3, 5, 6), attention=nn.BatchNorm2d)
    assert network.training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert not any(m._forward_pre_hooks for m in network.modules())
    assert counted[:3] == (24, 8, 360)
    # 120 numbers enter the BN, the ReLU and the pooling each.
    operations = {name: counted.in_convention(c) for name, c in hosts.CONVENTIONS.items()}
    assert operations == {"plain": 360, "binary": 600, "norms": 600, "layers": 840, "flops": 720}


def test_a_count_in_the_unit_of_the_paper():
    # ECA's Table 3: M stands for 2²⁰; CBAM there has neither biases nor a BN.
    n = attn.card("cbam").hosts[1].params
    assert n == 28_073_544
    assert hosts.in_unit("26.77 M", n, 1024) == (Decimal("26.77"), 0)
    assert hosts.in_unit("26.77 M", n) == (Decimal("28.07"), Decimal("1.30"))
    assert hosts.in_unit("24.37 M", 25_557_112, 1024)[1] == 0
    # Digits are the printed ones, halves go up, and the sign is that of ours less theirs.
    assert hosts.in_unit("28 M", n) == (28, 0)
    assert hosts.in_unit("0.3 K", 250) == (Decimal("0.3"), 0)
    assert hosts.in_unit("2.50 G", 2_494_999_999) == (Decimal("2.49"), Decimal("-0.01"))
    assert hosts.in_unit("8,037,696", 8_037_700) == (8_037_700, 4)
    for wrong in ("26.77M", "26.77 m", "M", "", "1e6", "26.77 M "):
        with pytest.raises(ValueError, match="a printed figure is a number"):
            hosts.in_unit(wrong, n)


PRINTED = [(slug, host, p) for slug, host in HOSTS for p in host.printed]


@pytest.mark.parametrize(("slug", "host", "printed"), PRINTED, ids=[f"{s}-{p.table}" for s, _, p in PRINTED])
def test_a_printed_count_comes_out_or_says_why_not(slug, host, printed):
    assert printed.params or printed.macs
    convention = hosts.CONVENTIONS[printed.convention]
    if printed.params:
        off = hosts.in_unit(printed.params, host.params, convention.base)[1]
        assert not off or printed.why, f"{printed.params} is {off} off, and the card does not say why"


@pytest.mark.proof
@pytest.mark.parametrize("slug", [s for s in attn.names() if any(h.printed for h in attn.card(s).hosts)])
def test_printed_operations_come_out_or_say_why_not(slug):
    found = hosts.figures(slug)
    assert len(found) == sum(bool(p.params) + bool(p.macs) for h in attn.card(slug).hosts for p in h.printed)
    assert [(f.text, f.printed.table) for f in found if f.difference and not f.printed.why] == []
    # A reason for a difference that is none any more is dropped.
    off = {id(f.printed) for f in found if f.difference}
    assert [p.table for h in attn.card(slug).hosts for p in h.printed if p.why and id(p) not in off] == []


def test_a_mechanism_without_a_network_says_why():
    silent = [s for s in attn.names() if not attn.card(s).hosts and not attn.card(s).limits.get("hosts")]
    assert silent == []
    assert [s for s in attn.names() if attn.card(s).hosts and "hosts" in attn.card(s).limits] == []


def test_figures_of_a_host(monkeypatch):
    host = replace(attn.card("simam").hosts[0], inputs=("3 64 64",), printed=(Printed("T", "25.6 M", "0.3 G"),))
    facts = replace(attn.card("simam"), hosts=(host,))
    monkeypatch.setattr(hosts, "card", lambda slug: facts)
    monkeypatch.setattr(hosts, "counts", hosts.counts.__wrapped__)  # nothing of this stays behind
    params, macs = hosts.figures("simam")
    assert params[2:] == ("params", "25.6 M", Decimal("25.6"), 0)
    assert macs.what == "macs"
    facts = replace(facts, hosts=(replace(host, printed=(Printed("T", "25.6 M", convention="plane"),)),))
    with pytest.raises(ValueError, match="unknown convention 'plane'; did you mean 'plain'"):
        hosts.figures("simam")


def test_clips_pass():
    host = attn.card("tam").hosts[1]
    network = hosts.build("tam", host).eval()
    x = torch.randn(2, 8, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = network(x)
        assert y.shape == (2, 400)
        # Clips do not mix, but the frames of a clip do.
        torch.testing.assert_close(network(x[:1]), y[:1], rtol=1e-4, atol=1e-4)
        assert not torch.allclose(network(x.flip(1)), y, rtol=1e-3, atol=1e-5)


def test_pairs_pass():
    network = hosts.build("cross").eval()
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(2, n, 3, 84, 84, generator=generator) for n in (3, 4))
    with torch.no_grad():
        y = network(p, q)
        assert y.shape == (2, 4, 3)
        torch.testing.assert_close(network(p[:, [2, 0, 1]], q), y[:, :, [2, 0, 1]])
    assert 0 < y.abs().max() <= 7 + 1e-5


@pytest.mark.parametrize("trunk", ["biformer_t", "biformer_stl"])
def test_biformer_passes(trunk):
    host = next(h for h in attn.card("biformer").hosts if h.trunk == trunk)
    with torch.no_grad():
        y = hosts.build("biformer", host).eval()(torch.ones(1, 3, 224, 224))
    assert y.shape == (1, 1000)
    assert y.isfinite().all()


def test_the_attention_of_the_last_stage_is_pytorchs():
    module = hosts._Attend(16, of_values=True).eval()
    nn.init.zeros_(module.code.weight)
    nn.init.zeros_(module.code.bias)
    x = torch.randn(2, 16, 3, 5, generator=torch.Generator().manual_seed(0))
    theirs = nn.MultiheadAttention(16, 8, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(module.qkv.weight.flatten(1))
        theirs.out_proj.weight.copy_(module.out.weight.flatten(1))
        theirs.out_proj.bias.copy_(module.out.bias)
        tokens = x.flatten(2).mT
        y = theirs(tokens, tokens, tokens)[0].mT.unflatten(2, (3, 5))
        torch.testing.assert_close(module(x), y)


def test_forward_at_the_papers_size():
    with torch.no_grad():
        y = hosts.build("se").eval()(torch.zeros(1, 3, 224, 224))
    assert y.shape == (1, 1000)
    assert y.isfinite().all()


@pytest.mark.usefixtures("meta")
def test_refused():
    host = attn.card("se").hosts[0]
    with pytest.raises(ValueError, match=r"unknown trunk 'resnet5'; did you mean 'resnet50'"):
        hosts.build("se", replace(host, trunk="resnet5"))
    with pytest.raises(ValueError, match=r"unknown place in resnet50_early 'residuals'; did you mean 'residual'"):
        hosts.build("se", replace(host, place="residuals"))
    with pytest.raises(ValueError, match="unknown option of se 'reduktion'; did you mean 'reduction'"):
        hosts.build("se", reduktion=4)
    with pytest.raises(ValueError, match="unknown mechanism 'biforner'; did you mean 'biformer'"):
        hosts.build("biforner")


def test_a_card_without_a_host(monkeypatch):
    monkeypatch.setattr(hosts, "card", lambda slug: replace(attn.card(slug), hosts=()))
    with pytest.raises(ValueError, match="the card of 'se' names no network"):
        hosts.build("se")
