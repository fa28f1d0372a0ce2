# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from torch import nn

import attn
from attn import hosts


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
    with pytest.raises(ValueError, match=r"unknown place in resnet50 'residuals'; did you mean 'residual'"):
        hosts.build("se", replace(host, place="residuals"))
    with pytest.raises(ValueError, match="unknown option of se 'reduktion'; did you mean 'reduction'"):
        hosts.build("se", reduktion=4)
    with pytest.raises(ValueError, match="unknown mechanism 'sse'; did you mean 'se'"):
        hosts.build("sse")


def test_a_card_without_a_host(monkeypatch):
    monkeypatch.setattr(hosts, "card", lambda slug: replace(attn.card(slug), hosts=()))
    with pytest.raises(ValueError, match="the card of 'se' names no network"):
        hosts.build("se")
