# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What circulates under the name of deformable convolution."""

import torch
from torch import nn
from torch.nn import functional as F

from ..spatial.dcn import DCN
from . import error


@error(
    kind="missing scale",
    found="mmcv, `mmcv/ops/modulated_deform_conv.py` at `0093647`; `yolo-improve/yolov5-DCN.py` of "
    "z1069614715/objectdetection_script at `7e2597d`",
    caught="tests/spatial/test_dcn.py::test_starts_as_the_convolution_whose_weights_it_takes_over[{}]",
)
class BareSigmoid(DCN):
    """The mask is the sigmoid, not twice the sigmoid."""

    def convolve(self, x, offset, mask=None):
        return super().convolve(x, offset, mask / 2)


@torch.no_grad()
def bare_sigmoid(cls: type[nn.Module] = BareSigmoid) -> float:
    """Result of a fresh layer as a share of the convolution with its weights."""
    module, x = _fresh(cls), _maps()
    plain = F.conv2d(x, module.weight, padding=1)
    return float((module(x) * plain).sum() / plain.square().sum())


@error(
    kind="wrong constant",
    found="`deform_conv_v2.py` of 4uiiurz1/pytorch-deform-conv-v2 at `529abbb`",
    caught="tests/spatial/test_dcn.py::test_starts_as_the_convolution_whose_weights_it_takes_over[{}]",
)
class LooseBias(DCN):
    """The weights that predict the offsets start at zero, their biases at random."""

    def __init__(self, channels, **options):
        super().__init__(channels, **options)
        bound = self.predict.weight[0].numel() ** -0.5  # PyTorch's own
        nn.init.uniform_(self.predict.bias, -bound, bound)


@torch.no_grad()
def loose_bias(cls: type[nn.Module] = LooseBias) -> float:
    """Largest offset of a fresh layer in pixels, C = 16."""
    return float(_fresh(cls).attention(_maps())["offset"].abs().max())


@error(
    kind="another function of the same weights",
    found="`deform_conv_v2.py` of 4uiiurz1/pytorch-deform-conv-v2 at `529abbb`",
    caught="tests/test_parity.py::test_the_module_gives_what_the_authors_code_gave[dcn]",
)
class AxesApart(DCN):
    """All steps down stand before all steps to the right, where ours alternate."""

    def attention(self, x):
        a = super().attention(x)
        return a | {"offset": a["offset"].flatten(2, 3).unflatten(2, (2, -1)).transpose(2, 3)}


@torch.no_grad()
def axes_apart(cls: type[nn.Module] = AxesApart) -> float:
    """Largest change when it takes over the weights of ours, as a share of the largest value."""
    ours, theirs, x = _fresh(DCN), _fresh(cls), _maps()
    for i, t in enumerate(ours.predict.parameters()):
        t.copy_(torch.randn(t.shape, generator=torch.Generator().manual_seed(i)) / 9)
    theirs.load_state_dict(ours.state_dict())  # the shapes agree, so nothing complains
    y = ours(x)
    return float((theirs(x) - y).abs().max() / y.abs().max())


@error(
    kind="wrong gradient",
    found="the authors' first operator; `DCNv2_op/README.md` of their second tells of it",
    caught="tests/spatial/test_dcn.py::test_a_point_near_the_edge_is_interpolated_with_zero_and_one_far_away_is_zero",
)
class ZeroBeyond(DCN):
    """A point beyond the edge counts as 0 at once, instead of being interpolated with 0."""

    def sample(self, x, offset):
        inside = super().sample(torch.ones_like(x), offset) == 1
        return super().sample(x, offset) * inside


def zero_beyond(cls: type[nn.Module] = ZeroBeyond) -> float:
    """Slope of a row of ones for a point that lies a quarter of a pixel above it."""
    module = _fresh(cls, kernel_size=1)
    nn.init.dirac_(module.weight)
    offset = torch.tensor([-0.25, 0.0]).reshape(1, 1, 1, 2, 1, 1).expand(-1, -1, -1, -1, 1, 5).requires_grad_()
    y = module.convolve(torch.ones(1, 16, 1, 5), offset)
    return float(torch.autograd.grad(y[0, 0].sum(), offset)[0][0, 0, 0, 0].mean())


def _fresh(cls: type[nn.Module], **options) -> nn.Module:
    """With random numbers of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(16, **options).requires_grad_(False)


def _maps() -> torch.Tensor:
    return DCN.card.example(16)[0]
