# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of Coordinate Attention."""

import torch
from torch import nn

from ..mixed.coord import CoordAttention
from . import error


@error(
    kind="layer missing or added",
    found="`attention-mechanisms/coordatten.py` of changzy00/pytorch-attention at `23ddce5`",
    caught="tests/test_contract.py::test_promise[coord-maps]",
)
class NoSigmoid(CoordAttention):
    """The two sigmoids are missing."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.gate = nn.Identity()


@torch.no_grad()
def no_sigmoid(cls: type[nn.Module] = NoSigmoid) -> float:
    """Smallest factor y / x over random maps, C = 64."""
    x = _maps()
    return float((_fresh(cls)(x) / x).min())


@error(
    kind="wrong paper",
    found="`models/utils/CAModule.py` of rinbarpen/RbpXNet at `da42461`",
    caught="tests/mixed/test_coord.py::test_a_gate_sees_its_own_line_only",
)
class Namesake(CoordAttention):
    """The spatial gate of CBAM under this paper's title."""

    def __init__(self, channels):
        super().__init__(channels)
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def attention(self, x):
        a = self.gate(self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))
        return {"rows": a, "columns": torch.ones_like(a)}


@torch.no_grad()
def namesake(cls: type[nn.Module] = Namesake) -> float:
    """Change of the factors at one end of a row when the other end grows by 10, 20 × 20."""
    module, x = _fresh(cls), _maps()
    grown = x.clone()
    grown[:, :, 0, 0] += 10
    return float((module(x) / x - module(grown) / grown)[:, :, 0, -1].abs().max())


@error(
    kind="parameters not registered",
    found="`ultralytics/nn/modules/coordatt.py` of handiism/yolov8ce at `fcc9088`, `DynamicCoordAtt`",
    caught="tests/test_contract.py::test_promise[coord-params]",
)
class LateWeights(nn.Module):
    """The layers are made by the first call."""

    def __init__(self, channels):
        super().__init__()
        self.inner = None

    def forward(self, x):
        self.inner = self.inner or CoordAttention(x.shape[1])
        return self.inner(x)


def late_weights(cls: type[nn.Module] = LateWeights) -> int:
    """Numbers that an optimiser made before the first call trains, C = 64."""
    return sum(p.numel() for p in _fresh(cls).parameters())


@error(
    kind="another function of the same weights",
    found="`ultralytics/nn/modules/coordatt.py` of sancteor/ultralytics at `5550a43`; "
    "`attention-mechanisms/coordatten.py` of changzy00/pytorch-attention at `23ddce5`",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[coord]",
)
class PlainRelu(CoordAttention):
    """ReLU in place of h-swish."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        self.shared[2] = nn.ReLU()


@torch.no_grad()
def plain_relu(cls: type[nn.Module] = PlainRelu) -> float:
    """Largest change of a gate when it takes over the weights of ours."""
    ours, theirs = _fresh(CoordAttention), _fresh(cls)
    theirs.load_state_dict(ours.state_dict())  # the shapes agree, so nothing complains
    given, taken = ours.attention(_maps()), theirs.attention(_maps())
    return max(float((given[k] - taken[k]).abs().max()) for k in given)


def _fresh(cls: type[nn.Module]) -> nn.Module:
    """In evaluation mode, with random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(64).eval()


def _maps() -> torch.Tensor:
    """Random maps whose row and column means differ as those of pictures do: an offset for each row and column."""
    generator = torch.Generator().manual_seed(0)
    noise, rows, columns = (
        torch.randn(s, generator=generator) for s in ((8, 64, 20, 20), (8, 64, 20, 1), (8, 64, 1, 20))
    )
    return noise + rows + columns
