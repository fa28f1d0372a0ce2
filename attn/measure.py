# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What a module costs: parameters, multiply-adds, and the bytes it keeps for the backward pass.

**What counts as a multiply-add** (MAC), here and in ``card.macs``: one for every product of two numbers that both come
from tensors.

- convolutions, linear layers and matrix products (attention's QKᵀ and its product with V included): one for each
  product they sum;
- a product of two tensors, element by element, as in x · s: one for each element of the result;
- bilinear sampling (``grid_sample``): four for each element of the result.

Not counted: additions, biases, pooling, interpolation to another size, norms, divisions, activation functions,
softmax, and a product with a plain number.
"""

import copy
import functools
import importlib.util
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .registry import create

__all__ = ["Cost", "Table", "cost", "table"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """What one module costs.

    Args:
        params: the number of parameters; one that is shared counts once.
        macs: multiply-adds for one input, in evaluation mode, in the convention of this module's docstring.
        macs_torchinfo: what torchinfo reports for the same input (None where it is not installed). It counts layers,
            not operations: matrix products and gates outside a layer are missing, and biases are in.
        saved_bytes: what autograd keeps for the backward pass of a training step on the whole batch. Every storage
            counts once and in full. Parameters and buffers are left out, being there anyway; the input is counted,
            because its producer would not have to keep it. Put between two layers that keep their inputs, the module
            raises the memory of training by this number.
    """

    params: int
    macs: int
    macs_torchinfo: int | None
    saved_bytes: int

    def __str__(self) -> str:
        return str(self._table())

    def _repr_markdown_(self) -> str:
        return self._table()._repr_markdown_()

    def _table(self) -> "Table":
        seen = "not installed" if self.macs_torchinfo is None else self.macs_torchinfo
        return Table(
            [
                {
                    "parameters": self.params,
                    "multiply-adds": self.macs,
                    "seen by torchinfo": seen,
                    "bytes for backward": self.saved_bytes,
                }
            ]
        )


class Table(list):
    """Rows, each a dict with the same keys, that print as a table on a terminal and on a page."""

    def _cells(self) -> list[list[str]]:
        return [list(self[0])] + [[_text(k, v) for k, v in row.items()] for row in self] if self else []

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        # Words stand left, numbers right, as the first row of values has them.
        left = [isinstance(v, str) for v in self[0].values()] if self else []
        return "\n".join(
            "  ".join(c.ljust(w) if t else c.rjust(w) for c, w, t in zip(row, widths, left, strict=True)).rstrip()
            for row in cells
        )

    def _repr_markdown_(self) -> str:
        if not self:
            return ""
        head, *body = self._cells()
        rule = [":--" if isinstance(v, str) else "--:" for v in self[0].values()]
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def _text(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{100 * value:.3g} %" if key.startswith("share") else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def cost(module: nn.Module | str, size: tuple[int, int, int, int] = (1, 256, 20, 20), **options) -> Cost:
    """What a module costs on an input of ``size``. The module itself is left as it is: a copy is measured.

    Args:
        module: a mechanism's slug, which is built for ``C`` channels with ``options``, or any module. One that has a
            card gets the inputs of ``card.example``, any other a single normal tensor of ``size``.
        size: B, C, H, W. B matters for ``saved_bytes`` alone; multiply-adds are those of one input.

    Raises:
        ValueError: the slug or an option does not exist, ``size`` is not four positive whole numbers, or options came
            with a module.
    """
    if len(size) != 4 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in size):
        raise ValueError(f"size must be four positive whole numbers B, C, H, W, not {size!r}")
    if isinstance(module, str):
        with torch.random.fork_rng(devices=[]):  # a measurement leaves the caller's random numbers where they were
            module = create(module, size[1], **options)
    elif options:
        raise ValueError(f"options go with a slug; {type(module).__name__} is built already: {', '.join(options)}")
    module = copy.deepcopy(module)
    batch, *rest = size
    one = _inputs(module, (1, *rest))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        return Cost(
            params=sum(p.numel() for p in module.parameters()),
            macs=_macs(module.eval(), one),
            macs_torchinfo=_macs_torchinfo(module.eval(), one),
            saved_bytes=_saved_bytes(module.train(), _inputs(module, (batch, *rest))),
        )


def table(
    slug: str,
    channels: tuple[int, ...] = (64, 128, 256),
    sizes: tuple[tuple[int, int], ...] = ((80, 80), (40, 40), (20, 20)),
    detector: tuple[int, int] | None = None,
    **options,
) -> Table:
    """The cost of a mechanism at the three levels of YOLOv5n at 640 px, a row each.

    Args:
        channels, sizes: C and (H, W) of each row.
        detector: parameters and multiply-adds of the detector that the shares are of. By default they are measured on
            YOLOv5n; where ultralytics is not installed the two columns are left out.
    """
    if detector is None and importlib.util.find_spec("ultralytics"):
        detector = _yolov5n()
    rows = Table()
    for C, (H, W) in zip(channels, sizes, strict=True):
        measured = cost(slug, (1, C, H, W), **options)
        row = {"C": C, "H×W": f"{H}×{W}", "parameters": measured.params, "multiply-adds": measured.macs}
        if detector is not None:
            row["share of parameters"] = measured.params / detector[0]
            row["share of multiply-adds"] = measured.macs / detector[1]
        rows.append(row | {"bytes for backward": measured.saved_bytes})
    return rows


@functools.cache
def _yolov5n() -> tuple[int, int]:
    from .yolo import build

    with torch.random.fork_rng(devices=[]):
        model = build("yolov5n.yaml").model.eval()
        return sum(p.numel() for p in model.parameters()), _macs(model, (torch.zeros(1, 3, 640, 640),))


def _inputs(module: nn.Module, size: tuple[int, ...]) -> tuple[Tensor, ...]:
    """Inputs on the module's device; they require a gradient, as they would inside a network."""
    batch, channels, *hw = size
    facts = getattr(module, "card", None)
    if facts is not None:
        inputs = facts.example(channels=channels, size=tuple(hw), batch=batch)
    else:
        inputs = (torch.randn(size, generator=torch.Generator().manual_seed(0)),)
    like = next(module.parameters(), torch.empty(0))
    return tuple(x.to(like).requires_grad_() if x.is_floating_point() else x.to(like.device) for x in inputs)


def _elementwise(*args, out_shape=None, tensors: tuple[int, ...] = (0, 1), products: int = 1, **kwargs) -> int:
    """Flops of an operation that makes ``products`` products for each element of the result.

    ``args`` hold a shape for every tensor and anything else as it was passed; the arguments numbered ``tensors`` must
    both be tensors.
    """
    return 2 * products * math.prod(out_shape) * all(isinstance(args[i], torch.Size) for i in tensors)


def _inner(*args, tensors: int, **kwargs) -> int:
    """Flops of a product with a vector: one product for each element of the larger operand, which stands first."""
    return 2 * math.prod(args[tensors])


# Operations that PyTorch's own counter gives no flops, by the convention above.
_PRODUCTS = {
    aten.mul: _elementwise,
    aten.mul_: _elementwise,
    aten.addcmul: functools.partial(_elementwise, tensors=(1, 2)),
    aten.addcmul_: functools.partial(_elementwise, tensors=(1, 2)),
    aten.lerp: functools.partial(_elementwise, tensors=(0, 2)),
    aten.grid_sampler_2d: functools.partial(_elementwise, products=4),
    aten.mv: functools.partial(_inner, tensors=0),
    aten.dot: functools.partial(_inner, tensors=0),
    aten.addmv: functools.partial(_inner, tensors=1),
}


def _macs(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    # With gradients on, nn.MultiheadAttention does not take its fused path, whose products no counter sees.
    with torch.enable_grad(), FlopCounterMode(display=False, custom_mapping=_PRODUCTS) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def _macs_torchinfo(module: nn.Module, inputs: tuple[Tensor, ...]) -> int | None:
    try:
        from torchinfo import summary
    except ImportError:
        return None
    return summary(module, input_data=inputs, verbose=0, device=inputs[0].device).total_mult_adds


def _saved_bytes(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    # The storages are held while the module runs, so that none is freed and its address taken by another.
    kept = {}
    there = {t.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers())}

    def pack(tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in there:
            kept[storage._cdata] = storage

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed):
        module(*inputs)
    return sum(storage.nbytes() for storage in kept.values())
