# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The contract: what every mechanism promises, one function a promise.

A check builds modules, runs them and returns the number it measured: a difference as a ``float``, a count as an
``int``. A broken promise raises ``AssertionError`` with one readable line, or whatever the module raises; one that this
machine cannot ask raises :class:`Elsewhere`. The test suite runs every check over the register and keeps what it found
for the page (``read``, ``keep``, ``states``); ``attn check`` runs them over a module of the reader's. A promise that a
mechanism cannot keep stands in its card (``limits``) with the reason, and the suite makes sure that it is indeed not
kept.
"""

import contextlib
import copy
import functools
import hashlib
import inspect
import json
import os
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from . import blocks, registry
from .registry import Card, Map, card

SIZES = ((20, 20), (13, 17), (7, 4), (1, 9), (1, 1))

# In float32 another order of summation moves the last digits, and weights far from their initial values amplify that;
# a mistake moves the first.
ROUNDING = 1e-4


class Elsewhere(Exception):
    """The promise cannot be asked on this machine; the message says what it needs."""


@dataclass(frozen=True)
class Subject:
    """What is checked: how to build it and how to feed it.

    Args:
        build: ``build(channels)`` gives a fresh module; where there is a card it takes the options, too.
        example: ``example(channels, size, batch)`` gives its inputs.
        widths: smallest channel count, and the number that every channel count is a multiple of, or 0 where there is
            this one count only.
        card: the mechanism's card, or None for a module that is not in the register.
        near: the channel count that most checks take, or the nearest below that it can have.
    """

    build: Callable[..., nn.Module]
    example: Callable[..., tuple[Tensor, ...]]
    widths: tuple[int, int] = (8, 8)
    card: Card | None = None
    near: int = 64

    @property
    def width(self) -> int:
        """The channel count that most checks take."""
        smallest, multiple = self.widths
        return max(smallest, self.near // multiple * multiple) if multiple else smallest

    def module(self, channels: int | None = None, train: bool = False, spread: float = 0.3) -> nn.Module:
        """A module with random weights and running statistics.

        A gate or a scale that starts at zero would let a wrong version pass, so nothing keeps its initial value: noise
        with a standard deviation of ``spread`` is added.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            module = self.build(channels or self.width)
            for name, tensor in _own(module):
                if tensor.is_floating_point():
                    noise = torch.randn_like(tensor)
                    tensor.data = 0.5 + noise.abs() if name.endswith("running_var") else tensor.data + spread * noise
        return module.train(train)

    def inputs(self, channels: int | None = None, size=(20, 20), batch=2) -> tuple[Tensor, ...]:
        return self.example(channels or self.width, size, batch)


def subject(slug: str, **options) -> Subject:
    """The mechanism ``slug`` as something to check."""
    facts = card(slug)
    build = lambda channels, **more: facts.cls(channels, **options | more)  # noqa: E731
    return Subject(build, facts.example, facts.widths, facts)


CHECKS: dict[str, Callable[[Subject], float]] = {}
FULL = {"inductor"}  # half a minute each: only on request
SLOW = {"compile", "export", "onnx", *FULL}  # seconds each: the long tier


def promise(check):
    CHECKS[check.__name__] = check
    return check


def tensors(output) -> list[Tensor]:
    """The tensors of an output: a tensor, a named tuple, or a dict."""
    if isinstance(output, Tensor):
        return [output]
    return list(output.values() if isinstance(output, dict) else output)


def distance(a, b) -> float:
    """The largest absolute difference between two outputs of the same structure."""
    pairs = list(zip(tensors(a), tensors(b), strict=True))
    for left, right in pairs:
        assert left.shape == right.shape, f"shape {tuple(left.shape)} became {tuple(right.shape)}"
    return max((x.double() - y.double()).abs().max().item() for x, y in pairs)


def scale(output) -> float:
    return max(1.0, *(t.abs().max().item() for t in tensors(output)))


def close(a, b, tolerance: float, what: str) -> float:
    gap = distance(a, b) / scale(a)
    assert gap <= tolerance, f"{what}: off by {gap:.3g} of the largest value, {tolerance:.0e} is allowed"
    return gap


def finite(output, what: str) -> None:
    assert all(torch.isfinite(t).all() for t in tensors(output)), f"{what}: NaN or infinity"


def axes(shape: str, tensor: Tensor, known: dict[str, int], what: str) -> None:
    """Assert that a tensor has the axes that a card declares; free letters are bound in ``known``."""
    letters = shape.split()
    assert len(letters) == tensor.dim(), f"{what}: declared {shape}, got {tuple(tensor.shape)}"
    for letter, length in zip(letters, tensor.shape, strict=True):
        wanted = int(letter) if letter.isdigit() else known.setdefault(letter, length)
        assert length == wanted, f"{what}: declared {shape}, got {tuple(tensor.shape)}: {letter} should be {wanted}"


@promise
@torch.no_grad()
def sizes(s: Subject) -> float:
    """Any height and width, odd and 1×1, and a constant input: finite, of the declared shape, in both modes."""
    for train in (False, True):
        for size in SIZES:
            x = s.inputs(size=size)
            for inputs in (x, tuple(torch.ones_like(t) for t in x), tuple(torch.zeros_like(t) for t in x)):
                y = s.module(train=train)(*inputs)
                finite(y, f"{size[0]}×{size[1]}")
                shaped(s, inputs, y)
    return len(SIZES)


def shaped(s: Subject, inputs, output) -> None:
    if s.card is None:
        return
    known: dict[str, int] = {}
    for shape, tensor in zip(s.card.shape_in, inputs, strict=True):
        axes(shape, tensor, known, "input")
    if isinstance(s.card.shape_out, str):
        axes(s.card.shape_out, output, known, "output")
    else:
        for name, shape in s.card.shape_out.items():
            axes(shape, getattr(output, name), known, f"output {name}")


@promise
@torch.no_grad()
def widths(s: Subject) -> float:
    """Every allowed channel count from the smallest to 1024 builds with default options, without an empty parameter."""
    smallest, multiple = s.widths
    counts = range(max(smallest, multiple), 1025, multiple) if multiple else (smallest,)
    built = large = 0
    for channels in counts:
        # Where numbers would take long: shapes alone, and numbers at the powers of two.
        if (large > 2**20 or channels > 256) and channels.bit_count() > 1:
            with contextlib.suppress(Exception):  # which real tensors then judge
                built += _runs(s, channels, "meta") is not None
                continue
        size = _runs(s, channels, "cpu")
        built, large = built + (size is not None), size or large
    return built


def _runs(s: Subject, channels: int, device: str) -> int | None:
    """How many parameters it has at this channel count, or None where it refuses it, as one without a card may."""
    try:
        with torch.device(device):
            module = s.build(channels).eval()
    except (ValueError, AssertionError):
        if s.card is not None:
            raise
        return None
    empty = [name for name, p in module.named_parameters() if not p.numel()]
    assert not empty, f"{channels} channels: no number in {', '.join(empty)}"
    y = module(*(t.to(device) for t in s.inputs(channels, (4, 4), 1)))
    if device == "cpu":
        finite(y, f"{channels} channels")
    return sum(p.numel() for p in module.parameters())


@promise
@torch.no_grad()
def batch(s: Subject) -> float:
    """An image's result does not depend on its company (evaluation mode)."""
    module, x = s.module(), s.inputs(batch=3)
    alone = [module(*(t[i : i + 1] for t in x)) for i in range(3)]
    together = module(*x)
    joined = [torch.cat(parts) for parts in zip(*map(tensors, alone), strict=True)]
    return close(tensors(together), joined, ROUNDING, "alone against in a batch of three")


@promise
def single(s: Subject) -> float:
    """A batch of one trains, and leaves finite gradients and statistics, down to a 1×1 map and on zeros."""
    for size in ((20, 20), (1, 1)):
        for inputs in (s.inputs(size=size, batch=1), tuple(torch.zeros_like(t) for t in s.inputs(size=size, batch=1))):
            module = s.module(train=True)
            y = module(*(t.requires_grad_() for t in inputs))  # it may have no parameters
            finite(y, f"batch of one, {size[0]}×{size[1]}")
            sum((t.float() + 1).square().sum() for t in tensors(y) if t.requires_grad).backward()
            finite([p.grad for p in module.parameters() if p.grad is not None], "gradients of a batch of one")
            finite(dict(module.state_dict()), "state after a batch of one")
    return 4


@promise
@torch.no_grad()
def channels_last(s: Subject) -> float:
    """The memory format of the input does not matter."""
    module, x = s.module(), s.inputs()
    last = tuple(t.movedim(-3, -1).contiguous().movedim(-1, -3) if t.dim() > 3 else t for t in x)
    return close(module(*x), module(*last), ROUNDING, "channels_last")


@promise
def autocast(s: Subject) -> float:
    """bf16 autocast is finite at a large input, forward and backward, and near fp32 at an ordinary one."""
    return _narrow(s, torch.bfloat16, tuple(30 * t for t in s.inputs()))


@promise
def half(s: Subject) -> float:
    """fp16 autocast is finite at a large input in fp16, forward and backward, and near fp32 at an ordinary one."""
    # Weights near their start, for fp16 ends at 65504: what is large is the input.
    return _narrow(s, torch.float16, tuple((100 * t).half() for t in s.inputs()), spread=0.02)


def _narrow(s: Subject, dtype: torch.dtype, large: tuple[Tensor, ...], **how) -> float:
    module, what = s.module(train=True, **how), {torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
    with torch.autocast("cpu", dtype):
        y = module(*(t.requires_grad_() for t in large))
    finite(y, f"{what} autocast")
    sum(t.float().square().mean() for t in tensors(y) if t.requires_grad).backward()
    finite([p.grad for p in module.parameters() if p.grad is not None] or [torch.zeros(1)], f"gradients under {what}")
    module, x = s.module(**how), s.inputs()
    with torch.no_grad():
        with torch.autocast("cpu", dtype):
            y = module(*x)
        return close(module(*x), y, 0.1, f"{what} autocast against fp32")


@promise
def gradients(s: Subject) -> float:
    """Gradients are finite, and every parameter and every input is reached."""
    module, x = s.module(train=True), tuple(t.requires_grad_() for t in s.inputs(size=(13, 17)))
    outputs = [t for t in tensors(module(*x)) if t.requires_grad]
    assert outputs, "no gradient leads out of any result"
    generator = torch.Generator().manual_seed(2)
    sum((t * torch.randn(t.shape, generator=generator)).sum() for t in outputs).backward()
    for name, tensor in [*module.named_parameters(), *((f"input {i}", t) for i, t in enumerate(x))]:
        if tensor.requires_grad:
            assert tensor.grad is not None, f"no gradient reaches {name}"
            assert torch.isfinite(tensor.grad).all(), f"the gradient of {name} is not finite"
            assert tensor.grad.abs().max() > 0, f"the gradient of {name} is zero"
    return sum(1 for _ in module.parameters())


@promise
def gradcheck(s: Subject) -> float:
    """The gradient of each input and parameter equals a finite difference in float64 (a random direction each)."""
    width = max(s.widths) if s.card else s.width
    module, generator = s.module(width).double(), torch.Generator().manual_seed(5)
    given = dict(module.named_parameters())
    given |= {f"input {i}": t.double().requires_grad_() for i, t in enumerate(s.inputs(width, (5, 4), 2))}
    drawn = lambda like: torch.randn(like.shape, dtype=torch.float64, generator=generator)  # noqa: E731

    def run(**moved: Tensor) -> list[Tensor]:
        now = given | moved
        x = tuple(now.pop(name) for name in given if name.startswith("input "))
        return [t for t in tensors(functional_call(module, now, x)) if t.requires_grad]

    y = run()
    assert y, "no gradient leads out of any result"
    weights, step, worst = [drawn(t) for t in y], 1e-7, 0.0
    total = lambda outputs: sum((w * t).sum() for w, t in zip(weights, outputs, strict=True))  # noqa: E731
    ours = torch.autograd.grad(total(y), list(given.values()), materialize_grads=True)
    for (name, t), gradient in zip(given.items(), ours, strict=True):
        along = drawn(t)
        there, back = (total(run(**{name: (t + sign * step * along)})).item() for sign in (1, -1))
        difference, slope = (there - back) / (2 * step), (gradient * along).sum().item()
        gap = abs(slope - difference) / max(1.0, abs(difference))
        assert gap < ROUNDING, f"the gradient of {name} says {slope:.4g}, the finite difference {difference:.4g}"
        worst = max(worst, gap)
    return worst


@promise
@torch.no_grad()
def untouched(s: Subject) -> float:
    """The input is not modified, and nothing but declared buffers is written onto the module, nor made, by a call."""
    x = s.inputs()
    before = tuple(t.clone() for t in x)
    for train in (True, False):
        module = s.module(train=train)
        own, fields = set(dict(module.named_parameters())), {id(m): _fields(m) for m in module.modules()}
        module(*x)
        if s.card is not None:
            module.attention(*x)
        assert all(torch.equal(a, b) for a, b in zip(x, before, strict=True)), "the input was modified"
        made = set(dict(module.named_parameters())) ^ own
        assert not made, f"parameters that the call made: {', '.join(sorted(made))}"
        for m in module.modules():
            written = {name for name, value in _fields(m).items() if fields.get(id(m), {}).get(name) != value}
            assert not written, f"the call wrote {', '.join(sorted(written))} onto {type(m).__name__}"
    return len(fields)


def _fields(module: nn.Module) -> dict[str, int]:
    return {name: id(value) for name, value in vars(module).items()}


@promise
@torch.no_grad()
def deterministic(s: Subject) -> float:
    """Equal seeds give the same bits in training, deterministic algorithms on, and any seeds do in evaluation."""
    x, trained = s.inputs(), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            trained.append(_seeded(3, s.module(train=True), x))
    finally:
        torch.use_deterministic_algorithms(False)
    gap = distance(*trained)
    assert gap == 0, f"two equal runs differ by {gap:.3g}"
    module = s.module()
    gap = distance(_seeded(3, module, x), _seeded(4, module, x))
    assert gap == 0, f"two calls in evaluation differ by {gap:.3g}"
    return gap


def _seeded(seed: int, module: nn.Module, x: tuple[Tensor, ...]) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return module(*x)


@promise
@torch.no_grad()
def statistics(s: Subject) -> float:
    """Running statistics follow the input in training, and no buffer changes in evaluation."""
    for train in (True, False):
        module = s.module(train=train)
        before = {name: t.clone() for name, t in module.named_buffers()}
        module(*s.inputs())
        for name, t in module.named_buffers():
            same = name in before and torch.equal(t, before[name])
            if train:
                assert not (same and name.rpartition(".")[2].startswith("running_")), f"{name} stands still in training"
            else:
                assert same, f"{name} changes in evaluation"
    return len(before)


@promise
@torch.no_grad()
def copies(s: Subject) -> float:
    """``state_dict``, ``deepcopy`` and ``pickle`` keep everything, for both modes."""
    module, x, gap = s.module(), s.inputs(), 0.0
    loaded = s.build(s.width)
    loaded.load_state_dict(module.state_dict())
    others = {"state_dict": loaded, "deepcopy": copy.deepcopy(module), "pickle": pickle.loads(pickle.dumps(module))}
    for train in (False, True):
        wanted = _seeded(3, module.train(train), x)
        for name, other in others.items():
            gap = max(gap, close(wanted, _seeded(3, other.train(train), x), 0.0, f"a copy by {name}"))
    return gap


@promise
@torch.no_grad()
def moves(s: Subject) -> float:
    """``.to`` takes everything along: to float64, and to another device, where no tensor stays behind."""
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
        FakeTensorMode,
    )

    module, x = s.module(), s.inputs()
    single, double = module(*x), copy.deepcopy(module).double()(*(t.double() for t in x))
    narrow = {str(t.dtype) for t in tensors(double)} - {"torch.float64"}
    assert not narrow, f"a float64 input gives {', '.join(narrow)}"
    gap = close(double, single, ROUNDING, "float64 against float32")
    # Tensors without numbers: whether two devices meet is seen on a machine that has one.
    with FakeTensorMode(allow_non_fake_inputs=True):
        own = {name: torch.empty_like(t, device="cuda") for name, t in _own(module)}
        try:
            y = functional_call(module, own, tuple(torch.empty_like(t, device="cuda") for t in x))
        except (DataDependentOutputException, DynamicOutputShapeException):
            raise Elsewhere("asks a tensor for a number on the way, so only another device can tell") from None
        except RuntimeError as e:
            raise AssertionError(f"a tensor stays behind: {str(e).splitlines()[0]}") from e
    behind = {str(t.device) for t in tensors(y) if t.device.type != "cuda"}
    assert not behind, f"the result stays on {', '.join(behind)}"
    return gap


def _own(module: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


@promise
def names(s: Subject) -> float:
    """No sub-module is called f, i, np or type: ultralytics writes attributes of those names onto every layer."""
    taken = {"f", "i", "np", "type"} & set(dict(s.build(s.width).named_children()))
    assert not taken, f"sub-modules called {', '.join(sorted(taken))}"
    return 0


@promise
def compile(s: Subject) -> float:
    """``torch.compile`` gives the same result without a graph break, forward and backward (``aot_eager``)."""
    return _compiled(s, "aot_eager")


@promise
def inductor(s: Subject) -> float:
    """``torch.compile`` does so with the kernels that inductor writes."""
    return _compiled(s, "inductor")


def _compiled(s: Subject, backend: str) -> float:
    module, x = s.module(), s.inputs()
    torch._dynamo.reset()
    y = torch.compile(module, backend=backend, fullgraph=True)(*x)
    for t in tensors(y):
        if t.requires_grad:
            t.sum().backward(retain_graph=True)
    return close(module(*x), y, ROUNDING, f"torch.compile with {backend}")


@promise
@torch.no_grad()
def export(s: Subject) -> float:
    """``torch.export`` of one graph with free height and width equals the module at another size."""
    module = s.module()
    program = _program(s, module)
    x = s.inputs(size=(9, 12))
    return close(module(*x), program.module()(*x), ROUNDING, "torch.export at another size")


@promise
@torch.no_grad()
def onnx(s: Subject) -> float:
    """onnxruntime equals torch at two sizes from one graph with free height and width."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401, what torch exports with
    except ImportError as e:
        raise Elsewhere(f"needs {e.name}") from e

    module, gap = s.module(), 0.0
    model = torch.onnx.export(_program(s, module), dynamo=True, verbose=False).model_proto
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in ((20, 20), (9, 12)):
        x = s.inputs(size=size)
        got = session.run(None, {i.name: t.numpy() for i, t in zip(session.get_inputs(), x, strict=True)})
        gap = max(gap, close(tensors(module(*x)), [torch.from_numpy(g) for g in got], ROUNDING, f"ONNX at {size}"))
    return gap


def _program(s: Subject, module: nn.Module):
    x = s.inputs()
    # From the smallest that is asked for on: a stride of 8 leaves one row of 8, a case of its own to torch.export.
    height, width = (torch.export.Dim(name, min=9, max=512) for name in ("height", "width"))
    free = tuple({t.dim() - 2: height, t.dim() - 1: width} if t.dim() > 3 else {} for t in x)
    return torch.export.export(module, x, dynamic_shapes=free)


@promise
def cuda(s: Subject) -> float:
    """A GPU gives what the processor gives, forward and backward."""
    if not torch.cuda.is_available():
        raise Elsewhere("needs a GPU")
    found = []
    for device in ("cpu", "cuda"):
        module, x = s.module().to(device), tuple(t.to(device).requires_grad_() for t in s.inputs())
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            y = [t for t in tensors(module(*x)) if t.requires_grad]
            sum(t.square().mean() for t in y).backward()
        own = [t.grad for t in (*module.parameters(), *x) if t.grad is not None]
        found.append([t.detach().cpu() for t in (*y, *own)])
    return close(*found, 10 * ROUNDING, "the GPU against the processor")


# What only a card can promise.


@promise
def params(s: Subject) -> float:
    """The card's formula gives the measured number of parameters, at several widths and for the studied options."""
    for channels in {max(s.widths), s.width, 256, 1024}:
        for options in studied(s.card):
            module = s.build(channels, **options)
            counted, real = s.card.params(channels, **options), sum(p.numel() for p in module.parameters())
            assert counted == real, f"{channels} channels, {options}: the formula says {counted}, there are {real}"
    return s.card.params(256)


def studied(facts: Card) -> list[dict]:
    """The default options, then each studied value on its own."""
    return [{}, *({option: value} for option, values in facts.studied.items() for value in values)]


@promise
def macs(s: Subject) -> float:
    """The card's formula gives the measured number of multiply-adds."""
    from .measure import cost

    for height, width in ((20, 20), (13, 17)):
        counted = s.card.macs(s.width, height, width)
        real = cost(s.module(), (1, s.width, height, width)).macs
        assert counted == real, f"{s.width}×{height}×{width}: the formula says {counted}, {real} were measured"
    return s.card.macs(256, 20, 20)


@promise
@torch.no_grad()
def maps(s: Subject) -> float:
    """``attention`` returns the declared maps: shape, range, sum."""
    module, x = s.module(), s.inputs(size=(13, 17))
    attention, known = module.attention(*x), {}
    for shape, tensor in zip(s.card.shape_in, x, strict=True):
        axes(shape, tensor, known, "input")
    if {"H", "W"} <= known.keys():
        known["N"] = known["H"] * known["W"]
    declared = s.card.maps if isinstance(s.card.maps, dict) else {"attention": s.card.maps}
    given = attention if isinstance(attention, dict) else {"attention": attention}
    assert list(given) == list(declared), f"maps {list(given)}, the card declares {list(declared)}"
    for name, wanted in declared.items():
        _check_map(name, wanted, given[name], known)
    return len(declared)


def _check_map(name: str, wanted: Map, tensor: Tensor, known: dict[str, int]) -> None:
    axes(wanted.shape, tensor, known, name)
    if wanted.range:
        low, high = wanted.range
        assert low <= tensor.min(), f"{name} goes down to {tensor.min():.3g}, below {low}"
        assert tensor.max() <= high, f"{name} goes up to {tensor.max():.3g}, above {high}"
        assert tensor.max() > tensor.min(), f"{name} is the same everywhere"
    if wanted.sums:
        letters = wanted.shape.split()
        over = [len(letters) - 1 - letters[::-1].index(a) for a in wanted.sums.split()]
        gap = (tensor.sum(over) - 1).abs().max().item()
        assert gap < 1e-4, f"{name} over {wanted.sums} misses one by {gap:.3g}"


@promise
@torch.no_grad()
def rebuild(s: Subject) -> float:
    """``forward`` follows from what ``attention`` returns."""
    module, x = s.module(), s.inputs(size=(13, 17))
    attention = module.attention(*x)
    if s.card.rebuild is not None:
        y = s.card.rebuild(module, attention, *x)
    else:
        (y,) = x
        for a in tensors(attention):
            y = y * a
    return close(module(*x), y, ROUNDING, "forward against attention")


@promise
@torch.no_grad()
def symmetry(s: Subject) -> float:
    """What the card says commutes with the module does."""
    module, x, gap = s.module(), s.inputs(size=(8, 8)), 0.0
    order = torch.randperm(64, generator=torch.Generator().manual_seed(4))
    moves = {
        "shift": lambda t: t.roll((2, 3), (-2, -1)),
        "flip": lambda t: t.flip(-1),
        "transpose": lambda t: t.mT,
        "permute": lambda t: t.flatten(-2)[..., order].unflatten(-1, (8, 8)),
        "channels": lambda t: t.roll(1, -3),
    }
    for name in s.card.symmetries:
        moved = [moves[name](t) for t in tensors(module(*x))]
        gap = max(gap, close(moved, module(*map(moves[name], x)), ROUNDING, f"symmetry {name}"))
    return gap


# The promises that any module can be held to, registered or not.
ANY = [name for name in CHECKS if name not in ("params", "macs", "maps", "rebuild", "symmetry")]


def same(s: Subject) -> float:
    """A class derived from a mechanism starts as the mechanism does and, with its weights, gives the same results.

    At several widths and sizes, on ordinary inputs and on those far from zero; with ordinary weights, large ones and
    zeros; in both modes, and gradients, too. Then with each studied option that it takes.
    """
    own = Subject(s.card.cls, s.card.example, s.card.widths, s.card, s.near)
    widths = sorted({max(s.widths), s.width, 4 * s.width}) if s.widths[1] else [s.width]
    gap = max(_beside(own, s, channels, f"{channels} channels") for channels in widths)
    for options in studied(s.card)[1:]:
        with contextlib.suppress(TypeError, ValueError):  # it has no such option, or asks for other inputs
            what = ", ".join([f"{s.width} channels", *(f"{k}={v}" for k, v in options.items())])
            pair = (replace(x, build=functools.partial(x.build, **options)) for x in (own, s))
            gap = max(gap, _beside(*pair, s.width, what))
    return gap


def _beside(own: Subject, s: Subject, channels: int, what: str) -> float:
    """The largest difference between a mechanism and what is derived from it, at this width."""
    name, pair = s.card.cls.__name__, [_built(build, channels) for build in (own.build, s.build)]
    shapes = [{name: t.shape for name, t in m.state_dict().items()} for m in pair]
    odd = sorted({tensor for tensor, _ in shapes[0].items() ^ shapes[1].items()})
    assert not odd, f"{what}: other names or shapes of weights than {name}: {', '.join(odd)}"
    gap = _alike(pair, own.inputs(channels), f"{what}, fresh, beside a fresh {name}")
    drawn, zero = own.module(channels), own.module(channels)
    for p in zero.parameters():
        p.data.zero_()
    for words, given in (
        ("far from the start", own.module(channels, spread=1)),
        ("all 0", zero),
        (f"of {name}", drawn),
    ):
        for m in pair:
            m.load_state_dict(given.state_dict())
        gap = max(gap, _alike(pair, own.inputs(channels), f"{what}, with weights {words}"))
    for size in SIZES[:3]:
        x = own.inputs(channels, size)
        for inputs in (x, tuple(8 + t for t in x), tuple(t / 8 for t in x), tuple(torch.ones_like(t) for t in x)):
            gap = max(gap, _alike(pair, inputs, f"{what}, {size[0]}×{size[1]}, with weights of {name}"))
    return gap


def _built(build: Callable[..., nn.Module], channels: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build(channels)


def _alike(pair: list[nn.Module], x: tuple[Tensor, ...], what: str) -> float:
    """Results of two modules in both modes, and the gradients of their parameters in training."""
    gap = 0.0
    for train in (False, True):
        ours, theirs = (_seeded(3, m.train(train), x) for m in pair)
        gap = max(gap, close(ours, theirs, ROUNDING, what))
    reached = []
    for m, y in zip(pair, (ours, theirs), strict=True):
        total = sum((t.float() + 1).square().sum() for t in tensors(y) if t.requires_grad)
        given = [p for p in m.parameters() if p.requires_grad]
        reached.append(torch.autograd.grad(total, given, materialize_grads=True) if given else [torch.zeros(1)])
    return max(gap, close(*map(list, reached), 100 * ROUNDING, f"{what}: gradients"))


# What only a class of somebody else's that is derived from a mechanism can be asked.
DERIVED = {"same": same}


# What was found.

STATES = ("yes", "no", "limit", "not here", "nothing", "not run")
COLUMNS = [*CHECKS, "parity"]  # the last is tests/test_parity.py: the output of the authors' code


class Finding(NamedTuple):
    """What became of one promise.

    Args:
        state: ``"yes"``, ``"no"``, ``"limit"`` (declared, and indeed not kept) or ``"not here"`` (this machine cannot
            ask it).
        number: what was measured, or None.
        reason: why it is not ``"yes"``.
    """

    state: str
    number: float | None = None
    reason: str = ""


def ask(s: Subject, promise: str) -> Finding:
    """Asks for one promise and never fails: whatever the module raises is the finding."""
    declared = s.card.limits.get(promise) if s.card else None
    try:
        number = {**CHECKS, **DERIVED}[promise](s)
    except Elsewhere as e:
        return Finding("not here", None, str(e))
    except Exception as e:
        return Finding("limit", None, declared) if declared else Finding("no", None, line(e))
    if declared:
        return Finding("no", number, f"kept, though declared as a limit: {declared}")
    return Finding("yes", number)


def line(e: BaseException) -> str:
    """An error as one line, with its name unless it is a promise's own."""
    said = " ".join(str(e).split("\n\n")[0].split())
    return said if said and type(e) is AssertionError else f"{type(e).__name__}: {said or 'no message'}"


def read() -> dict[str, dict[str, dict[str, Any]]]:
    """What the tests have left in ``_build/contract.json``: {slug: {promise: entry}}; nothing where they have not run.

    An entry is a :class:`Finding` by its names, and ``module``, the :func:`version` it is about.
    """
    file = _file()
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def keep(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Adds entries to those that were left before, so that the short and the long tests fill one file.

    That a promise cannot be asked here does not take back what was found elsewhere about the same version.
    """
    import fcntl  # which Windows has not

    file = _file()
    file.parent.mkdir(exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        content = read()
        for slug, entries in found.items():
            row = content.setdefault(slug, {})
            for promise, entry in entries.items():
                if entry["state"] != "not here" or row.get(promise, {}).get("module") != entry["module"]:
                    row[promise] = entry
        aside = file.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", "utf-8")
        aside.replace(file)


def states(found: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, str]]:
    """The page's cells, {slug: {column: one of STATES}}, a row for each mechanism of the register.

    ``"not run"`` where there is no entry, or one of another version; ``"nothing"`` where there are no numbers of the
    authors' code to compare with.
    """
    parity = _file().parents[1] / "tests" / "parity"
    rows = {}
    for slug in registry.names():
        entries = found.get(slug, {})
        current = {p for p in COLUMNS if p in entries and entries[p]["module"] == version(slug, p)}
        rows[slug] = {p: entries[p]["state"] if p in current else "not run" for p in COLUMNS}
        if not (parity / f"{slug}.safetensors").is_file():
            rows[slug]["parity"] = "nothing"
    return rows


def version(slug: str, promise: str) -> str:
    """Of what an entry is about: the mechanism's file, what mechanisms share, and the promise itself."""
    asked = inspect.getsource(CHECKS[promise]) if promise in CHECKS else ""
    return hashlib.sha256(_sources(slug) + asked.encode()).hexdigest()[:16]


@functools.cache
def _sources(slug: str) -> bytes:
    return b"".join(Path(p).read_bytes() for p in (inspect.getsourcefile(card(slug).cls), blocks.__file__))


def _file() -> Path:
    from .datasets import home

    return home() / "_build" / "contract.json"
