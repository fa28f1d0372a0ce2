# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The contract: what every mechanism promises, one function a promise.

A check builds modules, runs them and returns the number it measured; a broken promise raises ``AssertionError`` with
one readable line. The test suite runs every check over the register. A promise that a mechanism cannot keep stands in
its card (``limits``) with the reason, and the suite makes sure that it is indeed not kept.
"""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .registry import Card, Map, card

SIZES = ((20, 20), (13, 17), (7, 4), (1, 9), (1, 1))

# In float32 another order of summation moves the last digits, and weights far from their initial values amplify that;
# a mistake moves the first.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Subject:
    """What is checked: how to build it and how to feed it.

    Args:
        build: ``build(channels)`` gives a fresh module.
        example: ``example(channels, size, batch)`` gives its inputs.
        widths: smallest channel count, and the number that every channel count is a multiple of.
        card: the mechanism's card, or None for a module that is not in the register.
    """

    build: Callable[[int], nn.Module]
    example: Callable[..., tuple[Tensor, ...]]
    widths: tuple[int, int] = (8, 8)
    card: Card | None = None

    @property
    def width(self) -> int:
        """A channel count that it takes, near 64."""
        smallest, multiple = self.widths
        return max(smallest, 64 // multiple * multiple)

    def module(self, channels: int | None = None, train: bool = False) -> nn.Module:
        """A module with random weights and running statistics.

        A gate or a scale that starts at zero would let a wrong version pass, so nothing keeps its initial value.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            module = self.build(channels or self.width)
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                if tensor.is_floating_point():
                    noise = torch.randn_like(tensor)
                    tensor.data = 0.5 + noise.abs() if name.endswith("running_var") else tensor.data + 0.3 * noise
        return module.train(train)

    def inputs(self, channels: int | None = None, size=(20, 20), batch=2) -> tuple[Tensor, ...]:
        return self.example(channels or self.width, size, batch)


def subject(slug: str, **options) -> Subject:
    """The mechanism ``slug`` as something to check."""
    facts = card(slug)
    return Subject(lambda channels: facts.cls(channels, **options), facts.example, facts.widths, facts)


CHECKS: dict[str, Callable[[Subject], float]] = {}
SLOW = {"gradcheck", "compile", "export", "onnx"}  # seconds each: the long tier


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
    """Every allowed channel count from the smallest to 1024 builds with default options and runs."""
    smallest, multiple = s.widths
    counts = range(max(smallest, multiple), 1025, multiple) if multiple else (smallest,)
    for channels in counts:
        finite(s.build(channels).eval()(*s.inputs(channels, (4, 4), 1)), f"{channels} channels")
    return len(counts)


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
    return 0.0


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
    module, x = s.module(train=True), tuple(t.requires_grad_() for t in s.inputs())
    with torch.autocast("cpu", torch.bfloat16):
        large = module(*(30 * t for t in x))
    finite(large, "bf16 autocast")
    sum(t.float().square().mean() for t in tensors(large) if t.requires_grad).backward()
    finite([p.grad for p in module.parameters() if p.grad is not None] or [torch.zeros(1)], "gradients under bf16")
    module = s.module()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(*x)
    return close(module(*x), y, 0.1, "bf16 autocast against fp32")


@promise
def gradients(s: Subject) -> float:
    """Gradients are finite, and every parameter and every input is reached."""
    module, x = s.module(train=True), tuple(t.requires_grad_() for t in s.inputs(size=(13, 17)))
    outputs = [t for t in tensors(module(*x)) if t.requires_grad]
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
    """The gradient equals the finite difference in float64 (fast mode, smallest width)."""
    smallest = max(s.widths)
    module = s.module(smallest).double()
    x = tuple(t.double().requires_grad_() for t in s.inputs(smallest, (5, 4), 2))
    torch.autograd.gradcheck(lambda *i: tuple(t for t in tensors(module(*i)) if t.requires_grad), x, fast_mode=True)
    return 0.0


@promise
@torch.no_grad()
def untouched(s: Subject) -> float:
    """The input is not modified, and nothing but declared buffers is written onto the module."""
    module, x = s.module(train=True), s.inputs()
    before, fields = tuple(t.clone() for t in x), {id(m): set(vars(m)) for m in module.modules()}
    module(*x)
    if s.card is not None:
        module.attention(*x)
    assert all(torch.equal(a, b) for a, b in zip(x, before, strict=True)), "the input was modified"
    for m in module.modules():
        assert set(vars(m)) == fields[id(m)], f"forward wrote {set(vars(m)) - fields[id(m)]} onto {type(m).__name__}"
    return 0.0


@promise
@torch.no_grad()
def deterministic(s: Subject) -> float:
    """The same module, input and seed give the same bits, also under deterministic algorithms."""
    x, results = s.inputs(), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(3)
                results.append(s.module(train=True)(*x))
    finally:
        torch.use_deterministic_algorithms(False)
    gap = distance(*results)
    assert gap == 0, f"two equal runs differ by {gap:.3g}"
    return gap


@promise
@torch.no_grad()
def copies(s: Subject) -> float:
    """``state_dict``, ``deepcopy`` and ``pickle`` keep everything."""
    module, x = s.module(), s.inputs()
    loaded = s.build(s.width).eval()
    loaded.load_state_dict(module.state_dict())
    if s.card is None:
        others = (loaded, copy.deepcopy(module))
    else:
        others = (loaded, copy.deepcopy(module), pickle.loads(pickle.dumps(module)))
    return max(close(module(*x), other(*x), 0.0, "a copy") for other in others)


@promise
def names(s: Subject) -> float:
    """No sub-module is called f, i, np or type: ultralytics writes attributes of those names onto every layer."""
    taken = {"f", "i", "np", "type"} & set(dict(s.build(s.width).named_children()))
    assert not taken, f"sub-modules called {', '.join(sorted(taken))}"
    return 0.0


@promise
def compile(s: Subject) -> float:
    """``torch.compile`` gives the same result without a graph break, forward and backward."""
    module, x = s.module(), s.inputs()
    torch._dynamo.reset()
    y = torch.compile(module, backend="aot_eager", fullgraph=True)(*x)
    for t in tensors(y):
        if t.requires_grad:
            t.sum().backward(retain_graph=True)
    return close(module(*x), y, ROUNDING, "torch.compile")


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
    import onnxruntime

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
    height, width = (torch.export.Dim(name, min=2, max=512) for name in ("height", "width"))
    free = tuple({t.dim() - 2: height, t.dim() - 1: width} if t.dim() > 3 else {} for t in x)
    return torch.export.export(module, x, dynamic_shapes=free)


# What only a card can promise.


@promise
def params(s: Subject) -> float:
    """The card's formula gives the measured number of parameters, at several widths and for the studied options."""
    for channels in {max(s.widths), s.width, 256, 1024}:
        for options in studied(s.card):
            module = s.card.cls(channels, **options)
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
        real = cost(s.card.slug, (1, s.width, height, width)).macs
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
