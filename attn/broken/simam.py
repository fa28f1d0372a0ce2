# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of SimAM."""

import torch
from torch import nn

from ..mixed.simam import SimAM
from . import error


@error(
    kind="wrong constant",
    found="the default of the authors' class, while their own commands say 0.1",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[simam]",
)
class SmallLambda(SimAM):
    """λ left at 1e-4, where the published results have 0.1."""

    def __init__(self, channels):
        super().__init__(channels, e_lambda=1e-4)


@torch.no_grad()
def small_lambda(cls: type[nn.Module] = SmallLambda) -> float:
    """Largest gate in channels of noise with standard deviation 0.05."""
    return float(cls(64).attention(0.05 * _maps()).max())


@error(
    kind="silent no-op",
    found="`cv-attention/SimAM.py` of z1069614715/objectdetection_script at `2faba8f`, whose demonstration "
    "builds `SimAM(64)`",
    caught="tests/mixed/test_simam.py::test_one_threshold_on_the_gates_finds_the_odd_values_of_every_map",
)
class WidthAsLambda(SimAM):
    """λ stands first among the arguments, and gets the number of channels."""

    def __init__(self, channels):
        super().__init__(channels, e_lambda=channels)


@torch.no_grad()
def width_as_lambda(cls: type[nn.Module] = WidthAsLambda) -> float:
    """Largest less smallest gate in channels of noise with standard deviation 1, C = 64."""
    a = cls(64).attention(_maps())
    return float(a.max() - a.min())


@error(
    kind="NaN at the edge",
    found="the authors' code; `cv-attention/SimAM.py` of z1069614715/objectdetection_script at `2faba8f`; "
    "`model/attention/SimAM.py` of xmu-xiaoma666/External-Attention-pytorch at `d3de2da`",
    caught="tests/test_contract.py::test_promise[simam-sizes]",
)
class NoGuard(SimAM):
    """Divides by H·W − 1 whatever it is."""

    def _importance(self, x):
        squares = (x - x.mean((2, 3), keepdim=True)).square()
        variance = squares.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3] - 1)
        return squares / (4 * (variance + self.e_lambda)) + 0.5


@torch.no_grad()
def no_guard(cls: type[nn.Module] = NoGuard) -> float:
    """Share of NaN in the result for 1 × 1 maps."""
    return float(cls(64)(_maps()[..., :1, :1]).isnan().float().mean())


@error(
    kind="NaN at the edge",
    found="the authors' code; `cv-attention/SimAM.py` of z1069614715/objectdetection_script at `2faba8f`; "
    "`model/attention/SimAM.py` of xmu-xiaoma666/External-Attention-pytorch at `d3de2da`",
    caught="tests/mixed/test_simam.py::test_half_precision_bears_values_whose_squares_it_cannot_hold[dtype0]",
)
class NarrowSquares(SimAM):
    """Squares in the type of x."""

    def attention(self, x):
        return self.gate(self._importance(x))


@torch.no_grad()
def narrow_squares(cls: type[nn.Module] = NarrowSquares) -> float:
    """Share of NaN in the result for float16 noise with a standard deviation of 200."""
    return float(cls(64)((200 * _maps()).half()).isnan().float().mean())


def _maps() -> torch.Tensor:
    return SimAM.card.example(64)[0]
