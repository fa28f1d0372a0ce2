# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The ``attn`` command, which ``python -m attn`` is too.

Each verb is a function ``_<verb>(args) -> int | None`` whose docstring is its help and whose arguments stand in
``_parsers``. A verb imports what it needs when it runs, so that ``attn list`` works where ultralytics is missing.

Exit status: 0 done, 1 failed, 2 a bad call. An error is one line on stderr; ``--traceback`` or ``ATTN_DEBUG=1`` shows
where it arose.
"""

import argparse
import ast
import contextlib
import importlib
import inspect
import io
import logging
import os
import platform
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from .fresh import CONTROLS
from .registry import FAMILIES, Card, Map, card, names, unknown


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one call, ``sys.argv`` by default, and returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser, verbs = _parsers()
    try:
        if not argv:
            parser.print_help()
            return 0
        if argv[0] not in (*verbs, "-h", "--help", "--version"):
            raise _BadCall("attn", unknown("verb", argv[0], verbs))
        if argv[0] == "yolo" and argv[1:2] not in (["-h"], ["--help"]):
            args, rest = parser.parse_args(["yolo"]), []
            args.words = argv[1:]
        else:
            args, rest = parser.parse_known_args(argv)
        if rest:
            raise _BadCall(f"attn {args.verb}", _unexpected(rest[0], verbs[args.verb]))
    except _BadCall as e:
        print(e, file=sys.stderr)
        return 2
    try:
        status = args.run(args) or 0
        sys.stdout.flush()  # here, where a closed pipe is still caught
        return status
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"attn {args.verb}: stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as e:
        if args.traceback or os.environ.get("ATTN_DEBUG") == "1":
            raise
        print(f"attn {args.verb}: {_one_line(e)}", file=sys.stderr)
        return 2 if isinstance(e, ValueError | FileNotFoundError | FileExistsError) else 1


class _BadCall(Exception):
    """A call that the parser refuses: one line, which names the command."""

    def __init__(self, command: str, message: str):
        super().__init__(f"{command}: {message} See {command} --help.")


class _Parser(argparse.ArgumentParser):
    """A parser that raises where argparse would print the usage and leave."""

    def __init__(self, **settings):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise _BadCall(self.prog, message.rstrip(".") + ".")


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(
        prog="attn",
        description="Visual attention: what there is, what it costs, and how it gets into a detector.",
        epilog="attn <verb> --help shows what a verb takes, with an example.",
    )
    from . import __version__

    parser.add_argument("--version", action="version", version=f"attn {__version__}")
    made = parser.add_subparsers(dest="verb", metavar="<verb>", parser_class=_Parser)
    verbs = {}

    def verb(run, example: str) -> _Parser:
        name, help = run.__name__[1:], inspect.getdoc(run)
        verbs[name] = new = made.add_parser(
            name, help=help.splitlines()[0], description=help, epilog=f"example:\n  {example}"
        )
        new.set_defaults(run=run)
        new.add_argument("--traceback", action="store_true", help="show where an error arose")
        return new

    def slug(parser) -> None:
        parser.add_argument("slug", metavar="SLUG", help="a mechanism; attn list shows them")

    def options(parser) -> None:
        parser.add_argument(
            *("-O", "--option"),
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="an option of the mechanism; attn show SLUG lists them; may be repeated",
        )

    new = verb(_list, "attn list --family channel")
    new.add_argument("--family", metavar="FAMILY", help=f"only this one of {', '.join(FAMILIES)}")

    new = verb(_show, "attn show se")
    new.add_argument("slug", metavar="SLUG|FILE", help="a mechanism, as attn list shows them; or a .pt, .safetensors")
    new.add_argument("--trust", action="store_true", help="open a .pt that can run code while it is opened")

    new = verb(_cost, "attn cost se --channels 256 --size 20 20 --option reduction=4")
    slug(new)
    new.add_argument("--channels", type=int, default=256, metavar="C", help="channels of the input (256)")
    new.add_argument("--size", type=int, nargs=2, default=(20, 20), metavar=("H", "W"), help="of the input (20 20)")
    new.add_argument("--batch", type=int, default=1, metavar="B", help="images, for the bytes kept for backward (1)")
    options(new)

    new = verb(_bench, "attn bench se cbam --quick")
    new.add_argument("slugs", nargs="*", metavar="SLUG", help="mechanisms; attn list shows them; all by default")
    new.add_argument("--quick", action="store_true", help="the two smaller maps, without rivals; nothing is kept")
    new.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu (the default), cuda, cuda:1")
    new.add_argument("--threads", type=int, default=1, metavar="N", help="of a CPU (1)")
    new.add_argument("--batch", type=int, default=2, metavar="B", help="images at a time (2)")

    new = verb(_insert, "attn insert yolov5s.yaml se --at 9 -o yolov5s-se.yaml")
    new.add_argument("model", metavar="MODEL", help="a model file, or a name that ultralytics knows")
    slug(new)
    _add_at(new, required=True)
    new.add_argument("--start", metavar="START", help="plain or identity (the default with --weights)")
    new.add_argument("--weights", metavar="W", help="trained weights of this model, a .pt or .safetensors")
    new.add_argument("--trust", action="store_true", help="open a .pt that can run code while it is opened")
    options(new)
    new.add_argument("-o", "--output", type=Path, metavar="FILE.yaml", help="write the model, and FILE.pt with weights")

    new = verb(_train, "attn train se --profile quick")
    slug(new)
    new.add_argument("--data", default="digits", metavar="SET", help="a set of the study (digits)")
    new.add_argument("--profile", default="quick", metavar="PROFILE", help="quick (the default), record or full")
    new.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the run and of its controls (0)")
    _add_at(new)
    new.add_argument("--epochs", type=int, metavar="N", help="instead of the profile's number")
    new.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:1, mps; by default what there is")
    new.add_argument("--start", metavar="START", help="plain (the default) or identity")
    options(new)

    new = verb(_data, "attn data make digits")
    new.add_argument("action", metavar="ACTION", help=f"one of {', '.join(_ACTIONS)}")
    new.add_argument("target", nargs="?", metavar="NAME|PATH", help="the set, or for check and convert a path")
    new.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where convert writes")

    new = verb(_yolo, "attn yolo train model=yolov5s-se.yaml data=my-data.yaml epochs=100")
    new.add_argument("words", nargs="*", metavar="WORD", help="what yolo takes; attn yolo help lists it")

    new = verb(_check, "attn check mine:Attention --channels 64")
    new.add_argument("target", metavar="MODULE:CLASS|SLUG", help="a class that Python can import; or a mechanism")
    new.add_argument("--channels", type=int, metavar="C", help="channels of the input, and the class's argument (64)")
    new.add_argument("--args", metavar="ARGS", help="the class's arguments instead: '64, 64, 1', 'dim=64, heads=8'")
    new.add_argument("--quick", action="store_true", help="without compile, export and ONNX")
    new.add_argument("--full", action="store_true", help="with inductor, half a minute more")

    verb(_doctor, "attn doctor")
    return parser, verbs


def _add_at(parser: _Parser, **settings) -> None:
    parser.add_argument(
        "--at",
        action="append",
        metavar="PLACE",
        help="where: 9 (becomes that layer), before:SPPF, after:C3, after:C3[1], neck, inside:C3, inside:C3.m, "
        "replace:C3.m.cv2; may be repeated",
        **settings,
    )


# The verbs


def _list(args) -> None:
    """List the mechanisms, family by family.

    The parameters are those at 256 channels with the default options; the last column says how the cost grows, in
    the letters of book/notation.md."""
    from .measure import Table

    slugs = names(args.family)
    table = Table(
        {"slug": c.slug, "name": c.name, "year": str(c.year), "parameters": c.params(256), "cost grows with": c.order}
        for c in map(card, slugs)
    )
    head, *rows = str(table).splitlines() or [""]
    print(f"  {head}".rstrip())
    family = None
    for slug, row in zip(slugs, rows, strict=True):
        if card(slug).family != family:
            family = card(slug).family
            print(family)
        print(f"  {row}")


def _show(args) -> None:
    """Show the card of a mechanism: its paper, shapes, cost and limits, and how it is used.

    Of a checkpoint: the attention in it, layer by layer, with the α that it has learned."""
    if args.slug.endswith((".pt", ".safetensors")):
        from . import yolo

        found = yolo.read(args.slug, trust=args.trust)
        print(f"{args.slug}: {len(found.tensors)} tensors, {found.classes or 'unknown'} classes")
        print(*(found.inserted or ["no attention in it"]), sep="\n")
        return
    facts = card(args.slug)
    print(f"{facts.name} ({facts.slug}), {facts.family} attention\n")
    rows = list(_facts(facts))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        for i, line in enumerate(value.splitlines()):
            print(f"{'' if i else name:{width}}  {line}")
    print(f"\n{inspect.getdoc(facts.cls)}")


def _facts(c: Card) -> Iterable[tuple[str, str]]:
    """The rows of a card for the terminal; what a mechanism has not is left out."""

    def described(m: Map) -> str:
        text = m.shape
        if m.range:
            text += f", from {m.range[0]} to {m.range[1]}"
        return text + (f", sums to one over {m.sums}" if m.sums else "")

    def given(options: dict[str, Any], sign: str = "=") -> str:
        return ", ".join(f"{k}{sign}{v}" for k, v in options.items())

    maps = {"": c.maps} if isinstance(c.maps, Map) else c.maps
    yield "paper", f"{c.title}\n{', '.join(c.authors)}\n{c.venue}, {c.year}; {c.paper}"
    if c.code:
        yield "authors' code", f"{c.code} (licence: {c.code_licence})"
    yield "input", "\n".join(c.shape_in)
    yield "result", c.given
    yield "attention", "\n".join(f"{name}: {described(m)}" if name else described(m) for name, m in maps.items())
    if c.options:
        yield "options", given(c.options)
    if c.studied:
        yield "studied", "\n".join(f"{k}: {', '.join(map(str, values))}" for k, values in c.studied.items())
    yield "channels", f"at least {c.widths[0]}, a multiple of {c.widths[1]}"
    yield "parameters", ", ".join(f"{c.params(C):,} at C={C}" for C in (64, 256))
    yield "multiply-adds", f"{c.macs(256, 20, 20):,} at C=256 and 20×20; they grow with {c.order}"
    for h in c.hosts:
        options = f" with {given(h.options)}" if h.options else ""
        yield "host", f"{h.trunk}, {h.place}{options}: {h.params:,} parameters ({h.source})"
    if c.symmetries:
        yield "commutes with", ", ".join(c.symmetries)
    yield "detector", c.detector or "no detector holds it"
    for promise, reason in c.limits.items():
        yield "limit", f"{promise}: {reason}"


def _cost(args) -> None:
    """Measure a mechanism: parameters, multiply-adds, and the bytes it keeps for the backward pass."""
    from .measure import cost

    print(cost(args.slug, (args.batch, args.channels, *args.size), **_options(args.slug, args.option)))


def _bench(args) -> None:
    """Time mechanisms beside other implementations, at the maps that YOLOv5s makes of 640 px.

    All are run in turns in one process, so a ratio tells more than a time. Without --quick the times are kept in
    data/results/bench/<device>.json, mechanism by mechanism.
    """
    from .measure import bench

    slugs = args.slugs or names()
    for slug in slugs:
        card(slug)  # an unknown one is refused before anything is measured
    for slug in slugs:
        measured = bench(slug, quick=args.quick, device=args.device, threads=args.threads, batch=args.batch)
        print(measured, end="\n\n", flush=True)
        if not args.quick:
            path = measured.save()
    if not args.quick:
        print(f"written: {path}", file=sys.stderr)


def _insert(args) -> None:
    """Put a mechanism into a model file and show the lines that change.

    Every later layer number is renumbered. With -o the new model is written, for the one scale that MODEL names, so
    that it builds the same network under any file name.

    With --weights every tensor that the model shares with them is moved to where its layer is now, and the count is
    shown. FILE.pt beside FILE.yaml then holds them, in half precision, with the attention at its start: train that
    one. Without --weights there is no FILE.pt, and FILE.yaml starts from random numbers.
    """
    options = _options(args.slug, args.option)
    from . import yolo

    before, given = yolo.load(args.model), _given(start=args.start)
    file = args.output
    if file and file.suffix not in (".yaml", ".yml"):
        raise ValueError(f"-o {file} is no name for a model, which ends in .yaml: {file.with_suffix('.yaml')}")
    beside = file.with_suffix(".pt") if file and args.weights else None
    if beside and beside.exists():
        raise FileExistsError(f"{beside} is there already; give a name that is not taken")
    if args.weights:
        source = yolo.read(args.weights, trust=args.trust)
        with contextlib.redirect_stdout(io.StringIO()) as told:  # the place and the count
            made = yolo.build(before, args.slug, _place(args.at), weights=source, **given, **options)
        print(told.getvalue(), end="", file=sys.stderr)  # stdout is for the lines that change
        after = before | {part: made.model.yaml[part] for part in ("nc", "backbone", "head")}
    else:
        after = yolo.insert(before, args.slug, _place(args.at), **given, **options)
    if file:
        _write(file, yolo.dump(after))
    if beside:
        made.save(beside)
    for line in yolo.diff(before, after).splitlines():
        print(_coloured(line))
    if file:
        print(f"written: {file}{f' and {beside}' if beside else ''}", file=sys.stderr)


def _train(args) -> None:
    """Train a detector with a mechanism, and its controls, and print how they differ.

    The quick profile walks through every step in under a minute; its numbers say nothing about the mechanism. A run
    that has its record already is read, not repeated. It trains on the sets of the study; on your own pictures a
    detector is trained by attn yolo train.
    """
    options = _options(args.slug, args.option)
    from . import datasets, experiment

    if args.data not in datasets.names() and re.search(r"[/.]", args.data):
        raise ValueError(
            f"{args.data!r} is no set of the study ({', '.join(datasets.names())}); on your own pictures: "
            f"attn insert ... -o mine.yaml, then attn yolo train model=mine.yaml data={args.data}"
        )
    at = _place(args.at) if args.at else None
    given = _given(at=at, epochs=args.epochs, device=args.device, start=args.start)
    record = experiment.run(
        args.slug, data=args.data, profile=args.profile, seed=args.seed, progress=True, **given, **options
    )
    print(", ".join(f"{name} {value:.4f}" for name, value in record.metrics.items()), f"({record.path})")
    seeds = [r for r in experiment.read(args.slug) if r.plan.setup == record.plan.setup]
    for control in record.controls:  # the plain detector has none
        print(f"\n{experiment.compare(args.slug, to=control, records=seeds)}")


def _data(args) -> int | None:
    """Make, fetch, check or convert a data set.

    make     draw a set that is not there or not whole: digits
    fetch    download a set and verify every file: bccd
    check    read a set, one of these or one of yours (a folder in the layout of YOLO or Pascal VOC, or ultralytics'
             .yaml), and report every broken image or label by file and line
    convert  write a Pascal VOC folder in the layout of YOLO, with -o
    """
    from . import datasets

    action, target = args.action, args.target
    if action not in _ACTIONS:
        raise ValueError(unknown("action", action, _ACTIONS))
    if (action == "convert") != bool(args.output):
        raise ValueError(
            f"{action} takes no -o" if args.output else "convert needs -o and a folder that is not there yet"
        )
    if target is None and action == "convert":
        raise ValueError("convert needs a folder in the layout of Pascal VOC")
    if action == "check":
        target = target or "digits"
        # A word without a slash is a set of ours, a path is a set of yours.
        report = datasets.check(datasets.home() / "data" / target if target in datasets.names() else target)
        print(report)
        return 0 if report.ok else 1
    if action == "convert":
        print(datasets.convert(target, args.output))
    elif action == "fetch":
        print(datasets.fetch(target or "bccd"))
    else:
        print(datasets.make(target or "digits"))


_ACTIONS = ("make", "fetch", "check", "convert")


def _yolo(args) -> None:
    """Run ultralytics' own yolo command, in which a model file may name any mechanism: [-1, 1, CBAM, []].

    Behind the verb stands what yolo takes: train, val, predict, track or export, and NAME=VALUE. Results go to runs/
    of this folder. Nothing is downloaded, nothing is reported to anybody, and a .pt that can run code is refused
    unless --trust stands there too. Your own settings of ultralytics are neither read nor changed; to use them, import
    ultralytics and then attn.yolo in a Python program.
    """
    words = [word for word in args.words if word != "--trust"]
    from .yolo.command import yolo

    yolo(words, trust=len(words) < len(args.words))


def _check(args) -> int:
    """Hold a module of yours to the contract of the mechanisms: sizes, batch, gradients, half precision, export.

    A line for each promise says whether it is kept, and what was measured or what is wrong. The class is imported as
    Python does it from this folder, called with the number of channels or with --args, and given maps of B C H W. One
    that is derived from a mechanism is held to the promises of its card, too, and to its results with equal weights.
    The exit status is 1 when a promise is broken.
    """
    from . import contract

    s = _subject(args.target, args.channels, args.args)
    promises = [p for p in (contract.CHECKS if s.card else contract.ANY) if args.full or p not in contract.FULL]
    if args.quick:
        promises = [p for p in promises if p not in contract.SLOW]
    with _quiet():
        derived = s.card and type(s.build(s.width)) is not s.card.cls
    if derived:
        promises += contract.DERIVED
    width, broken = max(map(len, promises)), 0
    print(f"{'promise':{width}}  kept      measured, or what is wrong")
    for promise in promises:
        with _quiet():
            found = contract.ask(s, promise)
        number = "" if found.number is None else f"{found.number:.4g}"
        print(f"{promise:{width}}  {found.state:8}  {found.reason or number}".rstrip(), flush=True)
        broken += found.state == "no"
    print(f"{broken} of {len(promises)} promises broken")
    return 1 if broken else 0


def _subject(target: str, channels: int | None, arguments: str | None):
    """What ``attn check`` was given, as something to check.

    Raises:
        ValueError: it cannot be imported or built.
        RuntimeError: it does not run on an ordinary map.
    """
    import torch
    from torch import nn

    from .contract import Subject, line

    if channels is not None and channels < 1:
        raise ValueError(f"--channels must be at least 1, not {channels}")
    module, colon, name = target.partition(":")
    if not colon and ("." in target or "/" in target):
        raise ValueError(f"a class is given as package.module:Class, not {target!r}")
    cls = _imported(module, name) if colon else card(target).cls
    given, named = _arguments(arguments) if arguments is not None else ((), {})
    facts = getattr(cls, "card", None)
    if isinstance(facts, Card) and arguments is None:
        s = Subject(cls, facts.example, facts.widths, facts, channels or 64)
    else:
        count = channels or next((a for a in (*given, *named.values()) if type(a) is int and a > 0), 64)

        def example(channels: int, size: tuple[int, int], batch: int = 2) -> tuple[torch.Tensor, ...]:
            return (torch.randn((batch, channels, *size), generator=torch.Generator().manual_seed(0)),)

        if arguments is None:
            s = Subject(cls, example, near=count)
        else:
            s = Subject(lambda _: cls(*given, **named), example, (count, 0))
    words = str(s.width) if arguments is None else arguments
    with _quiet():
        try:
            built = s.build(s.width)
        except Exception as e:
            raise ValueError(f"{target} cannot be built as {name or cls.__name__}({words}): {line(e)}") from e
        if not isinstance(built, nn.Module):
            raise ValueError(f"{target} gives no torch.nn.Module, but {type(built).__name__}")
        x = s.inputs()
        try:
            s.module()(*x)
        except Exception as e:
            shapes = " and ".join("×".join(map(str, t.shape)) for t in x)
            raise RuntimeError(f"{name or cls.__name__}({words}) does not run on a map of {shapes}: {line(e)}") from e
    return s


def _imported(module: str, name: str) -> Any:
    """A class by the module and the name that ``package.module:Class`` gives."""
    from .contract import line

    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as python -m has it
    try:
        with _quiet():
            found = importlib.import_module(module)
    except Exception as e:
        hint = f" (a file is named without its ending: {module[:-3]}:{name})" if module.endswith(".py") else ""
        raise ValueError(f"{module!r} cannot be imported: {line(e)}{hint}") from e
    if not callable(cls := getattr(found, name, None)):
        classes = [n for n, c in vars(found).items() if inspect.isclass(c) and not n.startswith("_")]
        raise ValueError(unknown(f"class of {module}", name, classes))
    return cls


def _arguments(text: str) -> tuple[tuple, dict[str, Any]]:
    """``"64, heads=8"`` as the arguments of a call."""
    try:
        call = ast.parse(f"call({text})", mode="eval").body
        return tuple(map(ast.literal_eval, call.args)), {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, SyntaxError, AttributeError, TypeError):
        raise ValueError(f"--args takes Python values such as '64, 64, 1' or 'dim=64, heads=8', not {text!r}") from None


@contextlib.contextmanager
def _quiet():
    """Without what torch and a module say on the way."""
    was = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(was)


def _doctor(args) -> int:
    """Show the versions, this machine, and what is missing, with the command that brings it.

    The exit status is 1 where something is broken that the simplest use needs, and 0 where something is only missing.
    """
    found, missing, broken = _diagnosis()
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:{width}}  {value}")
    for title, cures in (("missing", missing), ("broken", broken)):
        for what, cure in cures.items():
            print(f"{title}: {what}: {cure}")
    return 1 if broken else 0


def _diagnosis() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What is here; what is not, and what does not work, each with its cure."""
    import torch

    from . import __version__, create, datasets

    found, missing, broken = {"Python": f"{platform.python_version()} ({sys.executable})"}, {}, {}
    found["attn"] = f"{__version__} ({len(names())} mechanisms)"
    try:
        needs = metadata.requires("attn") or []
    except metadata.PackageNotFoundError:  # run from its folder, which works
        needs = ["torch"]
    lacking: dict[str | None, list[str]] = {}
    for need in needs:
        package, wanted, extra = re.fullmatch(r"([\w.-]+)([^;]*)(?:;.*extra == ['\"](\w+)['\"])?", need).groups()
        if extra in (None, "yolo", "book"):
            try:
                found[package] = metadata.version(package) + (f" (wanted: {wanted})" if wanted else "")
            except metadata.PackageNotFoundError:
                lacking.setdefault(extra, []).append(package)
    for extra, packages in lacking.items():
        # From attn's folder, not by its name, which on an index may be somebody else's.
        whole = f'".[{extra}]"' if extra else "."
        (missing if extra else broken)[", ".join(packages)] = f"pip install {whole} in attn's folder"

    if torch.cuda.is_available():
        found["device"] = f"cuda ({torch.cuda.get_device_name()})"
    elif torch.backends.mps.is_available():
        found["device"] = "mps"
    else:
        found["device"] = "cpu (enough for the quick profile; a full training wants a GPU)"
    found["threads"] = f"{torch.get_num_threads()} of torch, {os.cpu_count()} processors"

    home = datasets.home()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    found["home"] = f"{home} ({shutil.disk_usage(there).free / 1e9:.1f} GB free)"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as e:
        broken[f"{there} cannot be written ({e.strerror})"] = "export ATTN_HOME=<a folder that can>"
    for name in datasets.names():
        folder = home / "data" / name
        pictures = {s: sum(1 for _ in (folder / "images" / s).glob("*")) for s in ("train", "val")}
        if all(pictures.values()):
            found[name] = ", ".join(f"{n} {s}" for s, n in pictures.items()) + " pictures"
        else:
            missing[f"data set {name}"] = f"attn data {'make' if name == 'digits' else 'fetch'} {name}"
        if detectors := sorted(p.stem for p in (home / "data" / "weights").glob(f"{name}-*.safetensors")):
            found[f"detectors of {name}"] = ", ".join(detectors)
        else:
            missing[f"base detector of {name}"] = f"python -m attn.yolo.fit base --data {name}"

    try:
        create("se", 8)(torch.zeros(1, 8, 4, 4))
    except Exception as e:
        broken[f"torch ({_one_line(e)})"] = "pip install --force-reinstall torch"
    if "ultralytics" in found:
        try:
            importlib.import_module("attn.yolo")
        except Exception as e:
            broken[f"attn.yolo ({_one_line(e)})"] = "pip install --force-reinstall '.[yolo]' in attn's folder"
    return found, missing, broken


# What the verbs share


def _options(slug: str, pairs: Iterable[str]) -> dict[str, Any]:
    """``["reduction=4"]`` as ``{"reduction": 4}``.

    Raises:
        ValueError: a pair has no ``=``, the option does not exist, or a word stands where a number or a truth value
            belongs.
    """
    if slug == "none" or slug in CONTROLS:  # what train and insert take beside the mechanisms
        known, found = {}, {}
    else:
        known, found = card(slug).options, {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ValueError(f"an option is given as NAME=VALUE, such as reduction=4, not {pair!r}")
        if name not in known:
            raise ValueError(unknown(f"option of {slug}", name, known))
        value, usual = _value(text), known[name]
        if isinstance(value, str) and isinstance(usual, int | float):
            kind = "true or false" if isinstance(usual, bool) else "a number"
            raise ValueError(f"the option {name} of {slug} is {kind} ({usual} by default), not {text!r}")
        found[name] = value
    return found


def _value(text: str) -> Any:
    """A word of the command line as the Python value it spells; what spells none is itself."""
    try:
        return ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError):
        return text


def _given(**arguments) -> dict[str, Any]:
    """The arguments that the caller gave; the others are left to the function's own defaults."""
    return {name: value for name, value in arguments.items() if value is not None}


def _place(words: list[str]) -> int | str | list[int | str]:
    """What ``--at`` gave, as ``attn.yolo.insert`` takes it: numbers are layer numbers."""
    places = [int(w) if w.lstrip("-").isdecimal() else w for w in words]
    return places[0] if len(places) == 1 else places


def _unexpected(word: str, parser: argparse.ArgumentParser) -> str:
    if not word.startswith("-"):
        return f"one argument too many: {word!r}."
    return unknown("option", word.partition("=")[0], dict.fromkeys(re.findall(r"--\w+", parser.format_help())))


def _coloured(line: str) -> str:
    """A line of a unified diff, in colour on a terminal that wants it."""
    colour = {"+": "32", "-": "31", "@": "36"}.get(line[:1])
    if colour is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return line
    return f"\x1b[{colour}m{line}\x1b[0m"


def _one_line(e: BaseException) -> str:
    if isinstance(e, OSError) and e.strerror:
        return f"{e.strerror}: {e.filename}" if e.filename else e.strerror
    return " ".join(str(e).split()) or type(e).__name__


def _write(path: Path, text: str) -> None:
    """Writes aside and renames, so that nobody ever reads half a file; what is there already is not overwritten."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if path.exists():
        if path.is_file() and path.read_bytes() == text.encode():
            return
        raise FileExistsError(f"{path} is there already and holds something else; give a name that is not taken")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, "utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
