# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of GCT."""

import torch
from torch import nn

from ..channel.gct import GCT
from . import error


@error(
    kind="parameters not registered",
    found="`code/channel_attentions/gct_module.py` of youge325/Awesome-Vision-Attentions at `10ca7fc`, carried over "
    "from Jittor, where a plain tensor is a parameter",
    caught="tests/test_contract.py::test_promise[gct-params]",
)
class PlainTensors(GCT):
    """The three vectors are tensors and no parameters."""

    def __init__(self, channels, *, mode="l2"):
        super().__init__(channels, mode=mode)
        for name, p in list(self.named_parameters()):
            delattr(self, name)
            setattr(self, name, p.detach())


def plain_tensors(cls: type[nn.Module] = PlainTensors) -> int:
    """Numbers that an optimiser can move, C = 64."""
    return sum(p.numel() for p in cls(64).parameters())


@error(
    kind="wrong paper",
    found="`attention_mechanisms/gct.py` of changzy00/pytorch-attention at `8ce59da`, under the class name GCT: the "
    "Gaussian Context Transformer of 2021; the gated one stands there as `gate_channel_module.py`",
    caught="tests/channel/test_gct.py::test_a_new_module_changes_nothing[l2]",
)
class Gaussian(GCT):
    """A Gaussian of the normalised means in the place of the gate."""

    def attention(self, x):
        z = x.mean((2, 3), keepdim=True)
        variance, mean = torch.var_mean(z, 1, keepdim=True, correction=0)
        return (-((z - mean) ** 2) / (variance + 1e-5)).exp()


@torch.no_grad()
def gaussian(cls: type[nn.Module] = Gaussian) -> float:
    """Mean gate of a module at its start, 8 random maps, C = 64."""
    return float(cls(64).attention(_maps()).mean())


@error(
    kind="NaN at the edge",
    found="`PyTorch/GCT.py` of z-x-yang/GCT at `68983ed`",
    caught="tests/test_contract.py::test_promise[gct-half]",
)
class NarrowSquares(GCT):
    """The squares are added up in the type of the input."""

    def attention(self, x):
        s = self.alpha * ((x * x).sum((2, 3)) + self.eps).sqrt()
        s = s / ((s * s).mean(1, keepdim=True) + self.eps).sqrt()
        return (1 + (self.gamma * s + self.beta).tanh())[:, :, None, None]


@torch.no_grad()
def narrow_squares(cls: type[nn.Module] = NarrowSquares) -> int:
    """Gates of 64 that are NaN on a map of 20×20 values of 20 in float16."""
    return int(cls(64).half().attention(torch.full((1, 64, 20, 20), 20.0).half()).isnan().sum())


def _maps() -> torch.Tensor:
    return torch.randn(8, 64, 5, 5, generator=torch.Generator().manual_seed(0))
