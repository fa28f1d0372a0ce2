# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of split attention."""

import torch
from torch import nn

from ..channel.splat import SplitAttention
from . import error


@error(
    kind="wrong axis",
    found="`imed_vision/layers/splat.py` of Qsingle/imed_vision at `91776aa`",
    caught="tests/test_contract.py::test_promise[splat-maps]",
)
class SoftmaxOverGroups(SplitAttention):
    """The softmax runs over the K cardinal groups, of which there is one."""

    def _weigh(self, u):
        q = self.select(self.fuse(u.sum(1).mean((2, 3), keepdim=True)))
        a = q.unflatten(1, (self.groups, self.radix, -1)).softmax(1)
        return a.flatten(1, 3).unflatten(1, (self.radix, -1))


@torch.no_grad()
def softmax_over_groups(cls: type[nn.Module] = SoftmaxOverGroups) -> float:
    """What the weights of the splits add up to, mean over channels, C = 64, R = 2."""
    return float(_module(cls).eval().attention(SplitAttention.card.example(64)[0]).sum(1).mean())


@error(
    kind="another function of the same weights",
    found="proposed in issue 41 of zhanghang1989/ResNeSt, and answered there",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[splat]",
)
class GroupsFirst(SplitAttention):
    """The weights stand group by group, and the splits that they meet do not."""

    def _weigh(self, u):
        q = self.select(self.fuse(u.sum(1).mean((2, 3), keepdim=True)))
        a = q.unflatten(1, (self.groups, self.radix, -1)).softmax(2)
        return a.flatten(1, 3).unflatten(1, (self.radix, -1))


@torch.no_grad()
def groups_first(cls: type[nn.Module] = GroupsFirst) -> float:
    """By how much the weights of a channel miss one, largest, C = 64, R = K = 2."""
    a = _module(cls, groups=2).eval().attention(SplitAttention.card.example(64)[0])
    return float((a.sum(1) - 1).abs().max())


@error(
    kind="layer missing or added",
    found="`imed_vision/layers/splat.py` of Qsingle/imed_vision at `91776aa`",
    caught="tests/channel/test_splat.py::test_one_split_is_gated_itself",
)
class GatesTheInput(SplitAttention):
    """With one split the gate multiplies x, and what the convolution made is lost."""

    def forward(self, x):
        u = self._split(x)
        return (self._weigh(u) * (x[:, None] if self.radix == 1 else u)).sum(1)


@torch.no_grad()
def gates_the_input(cls: type[nn.Module] = GatesTheInput) -> float:
    """The smallest number that comes out behind the ReLU, C = 64, R = 1."""
    return float(_module(cls, radix=1).eval()(SplitAttention.card.example(64)[0]).min())


@error(
    kind="layer missing or added",
    found="the defaults of `SplAtConv2d` in the authors' `resnest/torch/models/splat.py` at `1dfb3e8`, which their "
    "networks do not use; copied to `AttentionModule/ResNeSt/SplitAttention.py` of "
    "pprp/awesome-attention-mechanism-in-cv at `59997fe`",
    caught="tests/test_contract.py::test_promise[splat-params]",
)
class NoNorm(SplitAttention):
    """No BN, neither behind the convolution nor in the gate, and a bias in the convolution."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        conv, self.conv[1], self.fuse[1] = self.conv[0], nn.Identity(), nn.Identity()
        conv.bias = nn.Parameter(torch.zeros(conv.out_channels))


@torch.no_grad()
def no_norm(cls: type[nn.Module] = NoNorm) -> float:
    """How many times larger y is in training where x is 100 times as large, C = 64."""
    module, (x,) = _module(cls), SplitAttention.card.example(64)
    return float(module(100 * x).mean() / module(x).mean())


def _module(cls: type[nn.Module], **options) -> nn.Module:
    """With random weights that are the same on every call, those of the second layer of the gate large."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = cls(64, **options)
        nn.init.normal_(module.select.weight)
    return module
