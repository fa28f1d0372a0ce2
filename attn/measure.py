# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What a module costs: parameters, multiply-adds, the bytes it keeps for the backward pass, and time.

**What counts as a multiply-add** (MAC), here and in ``card.macs``: one for every product of two numbers that both come
from tensors.

- convolutions, linear layers and matrix products (attention's QKᵀ and its product with V included): one for each
  product they sum;
- a product of two tensors, element by element, as in x · s: one for each element of the result;
- bilinear sampling (``grid_sample``): four for each element of the result.

Not counted: additions, biases, pooling, interpolation to another size, norms, divisions, activation functions,
softmax, and a product with a plain number.
"""

import contextlib
import copy
import dataclasses
import functools
import importlib.util
import json
import math
import os
import random
import statistics
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from .registry import card, create, unknown

__all__ = ["Bench", "Cost", "Table", "bench", "cost", "table"]

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


def significant(value: float, digits: int = 3) -> str:
    """So many digits, and all those in front of the point where these are more: 0.0123, 1,620."""
    return f"{value:,.0f}" if abs(value) >= 10**digits - 0.5 else f"{value:.{digits}g}"


def _text(key: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{significant(100 * value)} %" if key.startswith("share") else significant(value, 4)
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


# Time


LEVELS = ((128, 80), (256, 40), (512, 20))  # channels and side of the maps that YOLOv5s makes of 640 px
SECONDS = {False: 0.4, True: 0.1}  # of measurement for each rival and kind of pass, in full and quick
BLOCK = 1e-3  # calls that take less are repeated to fill so many seconds: the clock and a GPU's queue need it


@dataclass(frozen=True)
class Bench:
    """What :func:`bench` measured of one mechanism, and under which conditions.

    Args:
        batch: images at a time. load: the machine's load average when the measurement began, of which the measurement
            itself is no part yet, and ``processors`` the number it is to be compared with.
        module_hash: of the mechanism's code at the time.
        levels: for each of ``LEVELS`` a dict. ``shapes``: of the inputs. ``runs``: "ours" and then the rivals by name,
            each with ``is``, what it is, and ``needs``, the most bytes alive at a time, as estimated; what was not run
            has ``refused``, the reason, and any other ``forward`` and ``step``, seconds of a forward pass in evaluation
            and of a forward and backward pass in training; ``saved_bytes`` as in :class:`Cost`; ``moved_bytes``, those
            of the inputs and of the result, 0 where the result is the input itself; on a GPU ``peak_bytes``, by how
            much a step raises the memory; and the rivals ``forward_ratio`` and ``step_ratio``, our time divided by
            theirs. A time and a ratio are three numbers, the quartiles with the median in the middle. Where ours was
            run there are ``macs`` of the batch, ``in_bytes`` of the inputs, and ``copy``, seconds in which those are
            copied.
        missing: the rivals that could not be built, each with the reason.
    """

    slug: str
    device: str
    processor: str
    processors: int
    threads: int
    load: float
    batch: int
    quick: bool
    date: str
    versions: dict[str, str]
    module_hash: str
    levels: list[dict[str, Any]]
    missing: dict[str, str]

    @property
    def conditions(self) -> str:
        """The machine and its load in a line."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}" if self.device == "cpu" else self.device
        load = f"load {self.load:.2f} on {self.processors} processors"
        return f"{self.processor}, {threads}, batch {self.batch}, torch {self.versions['torch']}, {load}"

    @property
    def rows(self) -> Table:
        """A row for each level and each of ours and its rivals; a step is a forward and backward pass in training."""
        rows = Table()
        for level in self.levels:
            C, *size = level["shapes"][0][-3:]
            where = {"C": str(C), "H×W": "×".join(map(str, size))}
            for name, run in level["runs"].items():
                row = where | {"what": run["is"]}
                for way in ("forward", "step"):
                    row[f"{way}, ms"] = _spread(run.get(way), 1e3)
                    if not self.quick:
                        row[f"{way}: ours / this"] = _spread(run.get(f"{way}_ratio"))
                for what in ("saved", "peak") if self.device != "cpu" else ("saved",):
                    row[f"{what}, MB"] = "–" if "refused" in run else f"{run[f'{what}_bytes'] / 1e6:.3g}"
                share = bandwidth(level, name)
                row["of a copy's bandwidth"] = "–" if share is None else f"{share:.1%}"
                rows.append(row | ({"forward, ms": run["refused"]} if "refused" in run else {}))
        return rows

    def __str__(self) -> str:
        lacking = [f"not beside {name}: {why}" for name, why in self.missing.items()]
        return "\n".join([f"{self.slug} on {self.conditions}", *lacking, str(self.rows)])

    def _repr_markdown_(self) -> str:
        return self.rows._repr_markdown_()

    def save(self) -> Path:
        """Puts the measurement into ``data/results/bench/<device>.json``, which is either the old file or the new one.

        Raises:
            ValueError: the measurement is a quick one, or the file holds those of another machine or setting.
        """
        if self.quick:
            raise ValueError("a quick measurement is printed and not kept")
        path, there = _bench_file(self.device), Bench.read(self.device)
        for other in there.values():
            for what in ("processor", "threads", "batch", "versions"):
                old, new = getattr(other, what), getattr(self, what)
                if old != new:
                    raise ValueError(f"{path} holds times with {what} {old}, not {new}: move it away first")
        there[self.slug] = self
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            content = {slug: dataclasses.asdict(there[slug]) for slug in sorted(there)}
            aside.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        return path

    @staticmethod
    def read(device: str = "cpu") -> dict[str, "Bench"]:
        """The measurements kept for a device, by slug; empty where there are none."""
        path = _bench_file(device)
        kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return {slug: Bench(**one) for slug, one in kept.items()}


def _bench_file(device: str) -> Path:
    from . import datasets

    return datasets.home() / "data" / "results" / "bench" / f"{device.partition(':')[0]}.json"


def _spread(values: list[float] | None, unit: float = 1) -> str:
    """Median and quartiles with three digits."""
    if not values:
        return "–"
    low, middle, high = (significant(unit * v) for v in values)
    return f"{middle} ({low}–{high})"


def bandwidth(level: dict[str, Any], name: str = "ours") -> float | None:
    """The share of the bandwidth of a copy that a forward pass reaches; None where it was not run or moves nothing.

    It has to read its inputs and to write its result once; a copy of the inputs does no more and shows how long the
    machine takes for such bytes. What a mechanism holds in its own parameters is not counted.
    """
    run = level["runs"][name]
    if not run.get("moved_bytes"):
        return None
    return run["moved_bytes"] / run["forward"][1] / (2 * level["in_bytes"] / level["copy"][1])


def bench(
    slug: str,
    *,
    quick: bool = False,
    device: str = "cpu",
    threads: int = 1,
    batch: int = 2,
    limit: int | None = None,
) -> Bench:
    """Times a mechanism beside its rivals (:mod:`attn.rivals`) on the maps of YOLOv5s at 640 px.

    All are run in turns, so that what else the machine does falls on all of them alike, and a ratio is the median over
    the turns. Parameters that start at zero get small random values: an offset of zero reads the memory in order, as no
    trained one does.

    Args:
        quick: the two smaller maps, ours alone, for a quarter of the time.
        device: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. threads: of a CPU; two of them wait for each other as soon as
            something else runs. batch: images at a time; in training some rivals refuse a single one.
        limit: bytes; what would need more is not run. By default half of the memory that is free now: near the end of
            the memory a machine swaps and measures its disk.

    Raises:
        ValueError: the slug or the device does not exist, or ``threads`` or ``batch`` is no whole number of
            at least 1.
    """
    from . import experiment
    from .rivals import about, rivals

    facts = card(slug)
    place = _device(device)
    for name, value in (("threads", threads), ("batch", batch)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    load = os.getloadavg()[0]
    makers, missing, levels = {} if quick else rivals(slug), {}, []
    for C, side in LEVELS[quick:]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            ours = create(slug, C)
            for p in ours.parameters():
                if not p.any():
                    nn.init.normal_(p, std=0.02)
        ours.to(place)
        with _numberless():
            shapes = facts.example(C, (side, side), batch)
        modules, runs = {}, {}
        free = limit if limit is not None else _free(place) // 2
        for name, make in {"ours": None, **makers}.items():
            try:
                module = make(ours).to(place) if make else ours
                needs = _peak(module, shapes, place) + sum(x.nbytes for x in shapes)  # these are copied
            except (ImportError, ValueError, RuntimeError) as e:  # not installed, or it does not take such a batch
                if not make:
                    raise
                missing[name] = str(e)
                continue
            runs[name] = {"is": about(make) if make else facts.cls.__name__, "needs": needs}
            if needs > free:
                runs[name]["refused"] = f"would need {needs / 1e9:.1f} GB; {free / 1e9:.1f} GB can be taken"
            else:
                modules[name] = module
        level = {"shapes": [list(x.shape) for x in shapes], "runs": runs}
        if "ours" in modules:
            inputs = tuple(x.to(place) for x in facts.example(C, (side, side), batch))
            level["macs"] = _macs(ours.eval(), inputs)
            with _threads(threads):
                timed = _timed(modules, inputs, SECONDS[quick])
            for name, found in timed.pop("runs").items():
                runs[name] |= found
            level |= timed
        levels.append(level)
    return Bench(
        slug=slug,
        device=device,
        processor=experiment.processor(device),
        processors=os.cpu_count(),
        threads=threads,
        load=load,
        batch=batch,
        quick=quick,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=experiment.versions(),
        module_hash=experiment._module_hash(slug),
        levels=levels,
        missing=missing,
    )


@contextlib.contextmanager
def _threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _device(name: str) -> torch.device:
    """A device that is there.

    Raises:
        ValueError: it is not, or its time cannot be taken.
    """
    there = ["cpu", *(["cuda"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]) * torch.cuda.is_available()]
    if name not in there:
        raise ValueError(unknown("device", name, there))
    return torch.device(name)


def _free(device: torch.device) -> int:
    """Bytes that can be taken without anything being swapped out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch keeps for itself can be taken too
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except OSError:  # no Linux: what the machine has, of which half is what the guard allows
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _numberless():
    """A context in which tensors have shapes and a device, and no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


class _Alive(TorchDispatchMode):
    """Counts the bytes of the storages that are alive, and keeps the largest sum."""

    def __init__(self):
        super().__init__()
        self.there, self.now, self.most = {}, 0, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.there:
                    self.now += storage.nbytes()
                    self.there[storage._cdata] = weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.most = max(self.most, self.now)
        return result

    def _gone(self, key: int, size: int) -> None:
        self.now -= size
        del self.there[key]


def _peak(module: nn.Module, inputs: tuple[Tensor, ...], device: torch.device) -> int:
    """The most bytes alive at a time in a training step, with nothing allocated: the tensors have no numbers.

    Inputs and parameters are counted in; what a kernel takes for itself is not known here.
    """
    with _numberless(), _Alive() as alive:

        def like(tensor: Tensor, grad: bool) -> Tensor:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=device, requires_grad=grad)

        state = {name: like(t, t.requires_grad) for name, t in module.state_dict(keep_vars=True).items()}
        given = [like(x, x.is_floating_point()) for x in inputs]
        outputs = _differentiable(torch.func.functional_call(module, state, tuple(given)))
        wanted = [t for t in (*given, *state.values()) if t.requires_grad]
        torch.autograd.grad(outputs, wanted, [torch.ones_like(y) for y in outputs], allow_unused=True)
    return alive.most


def _differentiable(output) -> list[Tensor]:
    return [y for y in (output if isinstance(output, tuple) else [output]) if y.requires_grad]


def _timed(modules: dict[str, nn.Module], inputs: tuple[Tensor, ...], seconds: float) -> dict[str, Any]:
    """Seconds and bytes of modules that compute the same."""
    device = inputs[0].device
    inputs = tuple(x.requires_grad_() if x.is_floating_point() else x for x in inputs)
    copies = [torch.empty_like(x) for x in inputs]
    runs = {name: {} for name in modules}
    above = [torch.randn_like(y) for y in _differentiable(modules["ours"].train()(*inputs))]
    steps = {}

    def copied() -> None:
        for target, x in zip(copies, inputs, strict=True):
            target.copy_(x)

    with torch.no_grad():
        calls = {name: functools.partial(module.eval(), *inputs) for name, module in modules.items()}
        for name, call in calls.items():
            output = call()
            outputs = output if isinstance(output, tuple) else [output]
            through = any(y.data_ptr() == x.data_ptr() for x in inputs for y in outputs)
            runs[name]["moved_bytes"] = 0 if through else sum(t.nbytes for t in (*inputs, *outputs))
        times = {"forward": _in_turns({**calls, "copy": copied}, seconds, device)}
    copy_times = times["forward"].pop("copy")

    for name, module in modules.items():
        module.train()
        runs[name]["saved_bytes"] = _saved_bytes(module, inputs)
        steps[name] = _step(module, inputs, above)
        if device.type == "cuda":
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            steps[name]()
            runs[name]["peak_bytes"] = torch.cuda.max_memory_allocated(device) - before
    times["step"] = _in_turns(steps, seconds, device)

    for way, found in times.items():
        for name, values in found.items():
            runs[name][way] = _quartiles(values)
            if name != "ours":
                runs[name][f"{way}_ratio"] = _quartiles([a / b for a, b in zip(found["ours"], values, strict=True)])
    return {"in_bytes": sum(x.nbytes for x in inputs), "copy": _quartiles(copy_times), "runs": runs}


def _step(module: nn.Module, inputs: tuple[Tensor, ...], above: list[Tensor]) -> Callable[[], Any]:
    """A forward and backward pass, to the inputs and the parameters, from the gradients ``above``."""
    wanted = [t for t in (*inputs, *module.parameters()) if t.requires_grad]

    def step():
        return torch.autograd.grad(_differentiable(module(*inputs)), wanted, above, allow_unused=True)

    return step


def _in_turns(calls: dict[str, Callable], seconds: float, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each call, as often as fit into ``seconds`` a call, in turns of a random order.

    With one thread on a CPU they are those in which the process had the processor, so that what else runs there counts
    only by what it takes of the caches; else they are those that passed.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.process_time() if alone else time.perf_counter()

    def block(call: Callable, times: int) -> float:
        start = clock()
        for _ in range(times):
            call()
        return (clock() - start) / times

    repeats, slowest = {}, 0.0
    for name, call in calls.items():
        block(call, 1)  # warm
        once = block(call, 1)
        repeats[name] = max(1, math.ceil(BLOCK / once))
        slowest = max(slowest, once * repeats[name])
    turns = min(101, max(5, round(seconds / slowest)))
    found, shuffled = {name: [] for name in calls}, random.Random(0)
    for _ in range(turns):
        for name in shuffled.sample(list(calls), len(calls)):  # or each would find the caches of the same one
            found[name].append(block(calls[name], repeats[name]))
    return found


def _quartiles(values: list[float]) -> list[float]:
    return [float(f"{v:.4g}") for v in statistics.quantiles(values, n=4, method="inclusive")]
