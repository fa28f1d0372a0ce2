# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of external attention."""

import torch
from torch import nn

from ..pairwise.external import ExternalAttention
from . import error


@error(
    kind="layer missing or added",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/ExternalAttention.py`, as the class that "
    "tutorial articles put into a detector",
    caught="tests/pairwise/test_external.py::test_equals_the_equations[{}]",
)
class MemoriesAlone(ExternalAttention):
    """The two memories alone, without the layers and the sum around them."""

    def forward(self, x):
        return self.values(self.attention(x))


@torch.no_grad()
def memories_alone(cls: type[nn.Module] = MemoriesAlone) -> float:
    """Standard deviation over the positions, as a share of that of x, C = 64."""
    x = ExternalAttention.card.example(64)[0]
    return float((_fresh(cls)(x).std((2, 3)) / x.std((2, 3))).mean())


@error(
    kind="wrong axis",
    found="a class of a public project that we read without learning its name, with the softmax over the last axis; "
    "the pseudo-code of the paper has its positions on axis 1",
    caught="tests/pairwise/test_external.py::test_an_offset_that_all_positions_share_is_not_seen",
)
class SlotSoftmax(ExternalAttention):
    """The softmax over the slots, after which the second normalisation divides by one."""

    def attention(self, x):
        return self.keys(self.query(x)).softmax(1)


@torch.no_grad()
def slot_softmax(cls: type[nn.Module] = SlotSoftmax) -> float:
    """Largest change of a weight when every position of x is raised by 1, C = 64."""
    module, x = _fresh(cls), ExternalAttention.card.example(64)[0]
    return float((module.attention(x + 1) - module.attention(x)).abs().max())


@error(
    kind="another function of the same weights",
    found="MenghaoGuo/EANet, `model_torch.py`, until the network is moved to a GPU",
    caught="tests/pairwise/test_external.py::test_the_two_memories_are_loaded_apart",
)
class OneStorage(ExternalAttention):
    """One storage for both memories, where the file of weights has two."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.values.weight.data = self.keys.weight.data.transpose(0, 1)


@torch.no_grad()
def one_storage(cls: type[nn.Module] = OneStorage) -> float:
    """Largest error of a weight after two different memories were loaded, C = 64."""
    ours, module, x = _fresh(ExternalAttention), _fresh(cls), ExternalAttention.card.example(64)[0]
    ours.values.weight.neg_()
    module.load_state_dict(ours.state_dict())
    return float((module.attention(x) - ours.attention(x)).abs().max())


@error(
    kind="NaN at the edge",
    found="xmu-xiaoma666/External-Attention-pytorch, `model/attention/ExternalAttention.py`; "
    "ccfco/External-Attention-tensorflow, `attention/ExternalAttention.py`",
    caught="tests/test_contract.py::test_promise[external-autocast]",
)
class NoFloor(ExternalAttention):
    """The second normalisation divides by a sum that can be zero."""

    def attention(self, x):
        a = self.keys(self.query(x)).flatten(2).softmax(2)
        return (a / a.sum(1, keepdim=True)).unflatten(2, x.shape[2:])


@torch.no_grad()
def no_floor(cls: type[nn.Module] = NoFloor) -> float:
    """Share of NaN among the weights, x being 100 times as large as usual, C = 64."""
    return float(_fresh(cls).attention(100 * ExternalAttention.card.example(64)[0]).isnan().float().mean())


def _fresh(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64).eval()
