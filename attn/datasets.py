# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The sets under data/: ``make`` draws digits, ``fetch`` brings bccd, ``check`` reads your own before it is trained on.

digits: scenes composed from scikit-learn's handwritten digits (E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning
Repository) over photographs that scikit-image ships. Whole numbers only, so the pixels are the same on every machine.
bccd: blood cells under the microscope, Shenggan/BCCD_Dataset on GitHub, MIT licence.
Cards: data/digits.yaml, data/bccd.yaml. Page: data/README.md
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import importlib
import math
import os
import re
import shutil
import sys
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from xml.etree import ElementTree

from .registry import unknown

SPLITS = ("train", "val", "test")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

_DONE = "SHA256"  # written last into a set's folder: its digest, the stamp of its files, the card's digest


# Where things are


def home() -> Path:
    """The folder that holds ``data/``: the nearest one at or above the working directory whose data/ is this
    project's (it holds digits.yaml), else ``$ATTN_HOME``, else ``$XDG_CACHE_HOME/attn`` or ``~/.cache/attn``."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "data" / "digits.yaml").is_file():
            return folder
    if named := os.environ.get("ATTN_HOME"):
        return Path(named).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attn"


@functools.cache
def _cards() -> Path:
    """The folder of the cards: inside an installed package, beside it in a checkout."""
    inside = Path(__file__).parent / "data"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "data"


def names() -> list[str]:
    """The names of the sets."""
    return sorted(path.stem for path in _cards().glob("*.yaml"))


def card(name: str) -> dict[str, Any]:
    """The card of a set: source, licence, counts, checksums.

    Raises:
        ValueError: there is no such set.
    """
    if name not in names():
        raise ValueError(unknown("set", name, names()))
    return _need("yaml").safe_load((_cards() / f"{name}.yaml").read_text("utf-8"))


def _need(module: str):
    """Imports what only the extra brings."""
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise ImportError(f"the data sets need {module.partition('.')[0]}: pip install attn[yolo]") from e


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _bar(title: str, items: list, progress: bool) -> Iterator:
    """Yields the items; on a terminal with a line that says how many are done and how many seconds are left."""
    start, show = time.monotonic(), progress and sys.stderr.isatty()
    for done, item in enumerate(items):
        if show and done and done % 20 == 0:
            left = (time.monotonic() - start) / done * (len(items) - done)
            print(f"\r{title}: {done} of {len(items)}, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
        yield item
    if show:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# Digits


@dataclass(frozen=True)
class Digits:
    """The knobs of the set ``digits``; the defaults are the set that data/digits.yaml describes.

    Args:
        count: the most digits in a scene, 1 to 16; each scene draws from 1 to this number.
        scale: size of the digits in percent, 50 to 200; at 100 the longer side of a box has 12 to 80 pixels.
        rotation: the largest turn in whole degrees to either side, 0 to 180.
        clutter: the most distractors in a scene (pieces of digits, and scratches longer than any digit), 0 to 40;
            each scene draws from 0 to this number.
        occlusion: tenths of each digit's box, rounded down to whole pixels, that a patch of its scene's photograph
            hides, 0 to 8. The boxes stay those of the set without it.
        scenes: scenes in each of the two halves, 1 to 10000; a smaller set is the beginning of a larger one.
    """

    count: int = 8
    scale: int = 100
    rotation: int = 8
    clutter: int = 2
    occlusion: int = 0
    scenes: int = 1000

    LIMITS: ClassVar[dict[str, tuple[int, int]]] = {
        "count": (1, 16),
        "scale": (50, 200),
        "rotation": (0, 180),
        "clutter": (0, 40),
        "occlusion": (0, 8),
        "scenes": (1, 10_000),
    }

    def __post_init__(self):
        for knob, (low, high) in self.LIMITS.items():
            value = getattr(self, knob)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ValueError(f"{knob} must be a whole number from {low} to {high}, not {value!r}")

    @property
    def folder(self) -> str:
        """The folder's name: ``digits``, and each knob that differs from its default (``digits-occlusion3``)."""
        changed = (f"{f.name}{getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default)
        return "-".join(("digits", *changed))


SEED = 1998  # the year of the digits
SIDE = 160  # pixels of a scene's side
GREY = (77, 150, 29)  # a colour's grey level, in parts of 256
CONTRAST = (60, 150)  # grey levels between the ink and the mean of what is under it, before each channel varies
HUE = 40  # levels by which each channel of an ink may differ from its grey
OVERLAP = 35  # percent of the smaller of two boxes that the other may cover

# Photographs inside scikit-image's wheel: file, licence as its documentation gives it, who made it. Only PNG files
# stand under the digits: the pixels of a JPEG file depend on the library that decodes it.
PHOTOGRAPHS = {
    "astronaut": ("astronaut.png", "public domain", "NASA"),
    "chelsea": ("chelsea.png", "CC0", "Stefan van der Walt"),
    "coffee": ("coffee.png", "CC0", "Rachel Michetti"),
    "rocket": ("rocket.jpg", "public domain", "SpaceX"),
    "camera": ("camera.png", "CC0", "Lav Varshney"),
    "hubble": ("hubble_deep_field.jpg", "public domain", "NASA"),
    "retina": ("retina.jpg", "CC0", "Mikael Häggström"),
    "coins": ("coins.png", "no known copyright restrictions", "Brooklyn Museum"),
    "brick": ("brick.png", "CC0", "CC0 Textures"),
    "grass": ("grass.png", "CC0", "linolafett"),
    "gravel": ("gravel.png", "CC0", "CC0 Textures"),
}
BACKGROUNDS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel")


def _photograph(name: str):
    """A photograph as H W 3 uint8."""
    folder = Path(_need("skimage").__file__).parent / "data"
    with _need("PIL.Image").open(folder / PHOTOGRAPHS[name][0]) as image:
        return _need("numpy").asarray(image.convert("RGB"))


def photographs(size: int = 256, n: int = 4) -> tuple[Any, list[str], list[str]]:
    """The first ``n`` photographs that scikit-image ships, cut to their middle square, for figures.

    Returns:
        images (n, size, size, 3, uint8), their names, and for each its licence and who made it.

    Raises:
        ValueError: ``n`` or ``size`` is below 1, or ``n`` is above the number of photographs.
    """
    if not 1 <= n <= len(PHOTOGRAPHS):
        raise ValueError(f"n must be from 1 to {len(PHOTOGRAPHS)}, not {n!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, not {size!r}")
    numpy, pillow = _need("numpy"), _need("PIL.Image")
    images, chosen = [], list(PHOTOGRAPHS)[:n]
    for name in chosen:
        image = pillow.fromarray(_photograph(name))
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        images.append(numpy.asarray(image.resize((size, size), pillow.Resampling.LANCZOS, box)))
    return numpy.stack(images), chosen, [f"{PHOTOGRAPHS[c][1]}, {PHOTOGRAPHS[c][2]}" for c in chosen]


class _Draw:
    """Whole numbers from the raw stream of PCG64, which NumPy keeps the same over its versions."""

    def __init__(self, *seed: int):
        self._raw = _need("numpy").random.PCG64(list(seed)).random_raw

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int(self._raw()) % (high - low + 1)


@functools.cache
def _sources(split: int) -> tuple[dict[int, list], list]:
    """What one half is drawn from: 8x8 digits by class, and the photographs' regions.

    scikit-learn lists the digits writer by writer, so the first half of each class and the second are mostly from
    different hands. The left half of a photograph goes to training, the right half to validation.
    """
    numpy = _need("numpy")
    bunch = _need("sklearn.datasets").load_digits()
    images, labels = bunch.images.astype(numpy.int64), bunch.target
    digits = {}
    for c in range(10):
        (of_class,) = numpy.nonzero(labels == c)
        middle = len(of_class) // 2
        digits[c] = [images[i] for i in (of_class[middle:] if split else of_class[:middle])]
    regions = []
    for name in BACKGROUNDS:
        photograph = _photograph(name).astype(numpy.int64)
        middle = photograph.shape[1] // 2
        regions.append(photograph[:, middle:] if split else photograph[:, :middle])
    return digits, regions


def _enlarge(source, side: int, degrees: int, aspect: int):
    """An 8x8 digit, enlarged, turned and cut to its ink.

    Bilinear in 16-bit fixed point: each pixel of the result asks where it lies in the digit. The ramp that follows
    makes a pen stroke of the blur.

    Args:
        source: 8 8, values 0 to 16. side: pixels of the longer side before the turn. aspect: width in percent.

    Returns:
        coverage, h w, 0 to 255; the box around what is at least half covered fills it, and is empty where nothing is.
    """
    numpy = _need("numpy")
    inked = numpy.argwhere(source >= 7)
    (top, left), (bottom, right) = inked.min(0).tolist(), (inked.max(0) + 1).tolist()
    step = (max(bottom - top, right - left) << 16) // side
    # Twelve bits of a sine: no whole degree lies so near to a rounding edge that the processor could matter.
    cos, sin = (round(4096 * f(math.radians(degrees))) for f in (math.cos, math.sin))
    d = 2 * numpy.arange(side * 3 // 2 + 8, dtype=numpy.int64) - (side * 3 // 2 + 7)  # half pixels from the middle
    x = (cos * d[None, :] + sin * d[:, None]) * step // 8192 * 100 // aspect + (left + right + 1) * 32768
    y = (cos * d[:, None] - sin * d[None, :]) * step // 8192 + (top + bottom + 1) * 32768
    x, y = (v.clip(0, (10 << 16) - 1) for v in (x, y))
    padded = numpy.zeros((11, 11), numpy.int64)
    padded[1:9, 1:9] = source
    i, j, fy, fx = y >> 16, x >> 16, (y >> 8) & 255, (x >> 8) & 255
    upper = padded[i, j] * (256 - fx) + padded[i, j + 1] * fx
    lower = padded[i + 1, j] * (256 - fx) + padded[i + 1, j + 1] * fx
    ink = ((upper * (256 - fy) + lower * fy - (6 << 16)) * 255 // (4 << 16)).clip(0, 255)
    rows, columns = (numpy.nonzero((ink >= 128).any(axis))[0] for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else ink[:0, :0]


def _scratch(draw: _Draw):
    """A line across the whole scene, 2 or 3 pixels wide: coverage, 160 160, 0 or 255."""
    numpy = _need("numpy")
    start, end, width = draw.between(0, SIDE - 1), draw.between(0, SIDE - 1), draw.between(2, 3)
    along = numpy.arange(SIDE)
    line = (start * (SIDE - 1 - along) + end * along) // (SIDE - 1)
    ink = (abs(2 * (along[:, None] - line[None, :]) + 1) <= width) * 255
    return ink if draw.between(0, 1) else ink.T


def _paint(scene, ink, top: int, left: int, draw: _Draw) -> None:
    """Lays ink over the scene in a colour around a grey that differs from what is under it by CONTRAST."""
    under = scene[top : top + ink.shape[0], left : left + ink.shape[1]]
    solid = ink >= 128
    grey = int((under[solid] @ GREY).sum()) // int(solid.sum()) >> 8
    step = draw.between(*CONTRAST)
    lighter = draw.between(0, 1)
    if (grey + step > 255) if lighter else (grey < step):
        lighter = not lighter
    level = min(255, max(0, grey + step if lighter else grey - step))
    colour = [min(255, max(0, level + draw.between(-HUE, HUE))) for _ in range(3)]
    under += (colour - under) * ink[..., None] // 255


def _scene(split: int, number: int, knobs: Digits):
    """One scene: pixels 160 160 3 uint8 and rows (class, left, top, right, bottom) in whole pixels."""
    numpy = _need("numpy")
    digits, regions = _sources(split)
    draw = _Draw(SEED, split, number)

    region = regions[draw.between(0, len(regions) - 1)]
    top, left = (draw.between(0, extent - SIDE) for extent in region.shape[:2])
    photograph = region[top : top + SIDE, left : left + SIDE]
    if draw.between(0, 1):
        photograph = photograph[:, ::-1]
    photograph = 128 + (photograph - 128) * draw.between(120, 256) // 256  # the photograph's own contrast varies
    photograph = (photograph + numpy.array([draw.between(-30, 30) for _ in range(3)])).clip(0, 255)
    scene = photograph.copy()

    def digit(source):
        low, high = 12 * knobs.scale // 100, min(80 * knobs.scale // 100, SIDE)
        while True:
            # Small sizes are the more frequent: each of the eight steps from 12 to 80 pixels is as likely as another.
            step = draw.between(0, 7)
            edges = [(12, 15, 19, 25, 31, 40, 51, 64, 80)[k] * knobs.scale // 100 for k in (step, step + 1)]
            turn, aspect = draw.between(-knobs.rotation, knobs.rotation), draw.between(80, 120)
            ink = _enlarge(source, draw.between(*edges), turn, aspect)
            if low <= max(ink.shape) <= high:
                return ink

    def clutter():
        if draw.between(0, 3) == 0:
            return None, _scratch(draw), 0, 0
        # A quarter of a round digit is an arc, which is no digit; a quarter of a 1 would be a 1.
        shapes = digits[(0, 2, 3, 5, 6, 8, 9)[draw.between(0, 6)]]
        whole, corner = shapes[draw.between(0, len(shapes) - 1)], draw.between(0, 3)
        piece = numpy.zeros_like(whole)
        rows, columns = slice(0, 4) if corner & 1 else slice(4, 8), slice(0, 4) if corner & 2 else slice(4, 8)
        piece[rows, columns] = whole[rows, columns]
        if (piece >= 10).sum() < 3:
            return clutter()
        ink = _enlarge(piece, draw.between(8, 28), draw.between(-180, 180), 100)
        if not ink.size:
            return clutter()
        return None, ink, draw.between(0, SIDE - ink.shape[0]), draw.between(0, SIDE - ink.shape[1])

    boxes, things = [], []
    for _ in range(draw.between(1, knobs.count)):
        c = draw.between(0, 9)
        ink = digit(digits[c][draw.between(0, len(digits[c]) - 1)])
        overlapping = bool(boxes) and draw.between(0, 2) == 0  # meant to touch another digit
        for _try in range(50):
            top, left = draw.between(0, SIDE - ink.shape[0]), draw.between(0, SIDE - ink.shape[1])
            box = (left, top, left + ink.shape[1], top + ink.shape[0])
            covered = max((_covered(box, other[1:]) for other in boxes), default=0)
            if (10 <= covered <= OVERLAP) if overlapping else covered <= 5:
                boxes.append((c, *box))
                things.append((box, ink, top, left))
                break
    for _ in range(draw.between(0, knobs.clutter)):
        things.insert(draw.between(0, len(things)), clutter())
    for box, ink, top, left in things:
        _paint(scene, ink, top, left, draw)
        if box and knobs.occlusion:
            _hide(scene, photograph, box, knobs.occlusion, draw)
    return scene.astype(numpy.uint8), boxes


def _covered(a, b) -> int:
    """Percent of the smaller of two boxes (left, top, right, bottom) that the other covers."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0
    return 100 * width * height // min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def _hide(scene, photograph, box, tenths: int, draw: _Draw) -> None:
    """Lays the photograph back over a band at one side of a box: that many tenths of its height or width."""
    left, top, right, bottom = box
    side, height, width = draw.between(0, 3), (bottom - top) * tenths // 10, (right - left) * tenths // 10
    if side == 0:
        bottom = top + height
    elif side == 1:
        top = bottom - height
    elif side == 2:
        right = left + width
    else:
        left = right - width
    scene[top:bottom, left:right] = photograph[top:bottom, left:right]


def _row(c: int, box, width: int, height: int) -> str:
    """The line of a label file for a box (left, top, right, bottom) in pixels."""
    left, top, right, bottom = box
    x, w = (left + right) / 2 / width, (right - left) / width
    y, h = (top + bottom) / 2 / height, (bottom - top) / height
    return f"{c} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n"


def _source_sums() -> dict[str, str]:
    """SHA-256 over the pixels of each thing that the scenes are composed from."""
    sources = {"digits": _need("sklearn.datasets").load_digits().images.astype("uint8")}
    sources |= {name: _photograph(name) for name in BACKGROUNDS}
    return {name: hashlib.sha256(source.tobytes()).hexdigest() for name, source in sources.items()}


def _draw_digits(folder: Path, knobs: Digits, progress: bool) -> None:
    """Writes every scene below folder: images/<split>/0000.png and labels/<split>/0000.txt."""
    pillow, expected = _need("PIL.Image"), card("digits")["sources"]
    for source, found in _source_sums().items():
        if found != expected[source]:
            origin = "scikit-learn" if source == "digits" else "scikit-image"
            raise RuntimeError(
                f"{origin} {_need('importlib.metadata').version(origin)} ships another {source} than the one that "
                f"digits is made from (SHA-256 {found}, not {expected[source]})"
            )
    for half in SPLITS[:2]:
        (folder / "images" / half).mkdir(parents=True)
        (folder / "labels" / half).mkdir(parents=True)
    scenes = [(split, number) for split in (0, 1) for number in range(knobs.scenes)]
    if progress:
        _say(f"drawing {knobs.folder}: {len(scenes)} scenes")
    for split, number in _bar(knobs.folder, scenes, progress):
        pixels, boxes = _scene(split, number, knobs)
        rows = [_row(c, box, SIDE, SIDE) for c, *box in boxes]
        name = f"{SPLITS[split]}/{number:04d}"
        pillow.fromarray(pixels).save(folder / "images" / f"{name}.png", compress_level=3)
        (folder / "labels" / f"{name}.txt").write_text("".join(rows))


# Sets that are whole or not there


def make(name: str = "digits", *, progress: bool = True, **knobs) -> Path:
    """The folder of a set, made first where it is not there, not whole or changed. ``bccd`` is fetched.

    The folder appears in one step when everything in it is written and verified, so that a run that was killed leaves
    nothing that could be taken for a set; the next call clears up after it.

    Args:
        name: ``digits`` or ``bccd``.
        progress: whether to say what is being made and, on a terminal, how far it is.
        knobs: those of :class:`Digits`; each combination has a folder of its own.

    Raises:
        ValueError: an unknown set or knob, or a knob out of its range.
        OSError: the disk is full.
        RuntimeError: what was made, or what it is made from, is not what the card says.
    """
    facts, plan = card(name), _plan(name, knobs)
    if name == "bccd":
        return _whole(name, facts["sha256"], True, lambda half: _bring_bccd(half, facts, progress))
    return _whole(plan.folder, facts["sha256"], plan == Digits(), lambda half: _draw_digits(half, plan, progress))


def _plan(name: str, knobs: dict[str, Any]) -> Digits | None:
    """The knobs, checked; None for a set that has none."""
    good = [f.name for f in fields(Digits)] if name == "digits" else []
    for knob in knobs:
        if knob not in good:
            raise ValueError(unknown(f"knob of {name}", knob, good))
    return Digits(**knobs) if name == "digits" else None


def digest(name: str = "digits", **knobs) -> str:
    """The SHA-256 of a set, made first where it is missing: over the decoded pixels of its PNG files, the bytes of its
    JPEG files, and the text of its labels."""
    return (make(name, progress=False, **knobs) / _DONE).read_text().split()[0]


def yaml(
    name: str = "digits", *, train: int | None = None, val: int | None = None, progress: bool = True, **knobs
) -> Path:
    """The dataset file that ultralytics reads, with absolute paths; the set is made first where it is missing.

    Args:
        train, val: take only the first so many images of that split; such a file stands under ``_build/data/``, any
            other beside the images.
        knobs: as for :func:`make`.

    Raises:
        ValueError: a split has fewer images than asked for, or fewer than one are asked for.
    """
    folder = make(name, progress=progress, **knobs)
    entries = {s: f"images/{s}" for s in SPLITS if (folder / "images" / s).is_dir()}
    target = folder / f"{folder.name}.yaml"
    wanted = {split: n for split, n in (("train", train), ("val", val)) if n is not None}
    if wanted:
        label = "-".join((folder.name, *(f"{split}{n}" for split, n in wanted.items())))
        target = home() / "_build" / "data" / f"{label}.yaml"
        target.parent.mkdir(parents=True, exist_ok=True)
    for split, n in wanted.items():
        images = _images(folder / "images" / split)
        if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(images):
            raise ValueError(f"{split} must be a whole number from 1 to {len(images)}, the images there, not {n!r}")
        entries[split] = str(target.with_name(f"{folder.name}-{split}{n}.txt"))
        _write(Path(entries[split]), "".join(f"{image}\n" for image in images[:n]))
    content = {"path": str(folder), **entries, "names": dict(enumerate(card(name)["classes"]))}
    _write(target, _need("yaml").safe_dump(content, sort_keys=False, allow_unicode=True))
    return target


def _write(path: Path, text: str) -> None:
    """Writes a small file aside and renames it; leaves it alone where it already says so."""
    if path.is_file() and path.read_text("utf-8") == text:
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text, "utf-8")
    aside.replace(path)


def _whole(name: str, version: str, exact: bool, write: Callable[[Path], None]) -> Path:
    """The folder data/<name>, written by ``write(folder)`` where it is not there or not whole.

    Args:
        version: the digest on the card. exact: whether it is this folder's; the digest of a variant is on no card, but
            a variant made under another card is out of date.
    """
    folder = home() / "data" / name
    half, old = (folder.with_name(f".{name}.{end}") for end in ("half", "old"))
    if not half.exists() and not old.exists() and _fault(folder, version) is None:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.with_name(f".{name}.lock")):
        for leftover in (half, old):  # of a killed run: whoever holds the lock is the only one at work
            if leftover.exists():
                shutil.rmtree(leftover)
        if (fault := _fault(folder, version)) is None:
            return folder
        if folder.exists():
            _say(f"{folder} {fault}; it is made again")
        try:
            half.mkdir()
            write(half)
            found = _digest(half)
            if exact and found != version:
                raise RuntimeError(f"the set {name} made here has SHA-256 {found}, but its card says {version}")
            (half / _DONE).write_text(f"{found}\n{_stamp(half)}\n{version}\n")
            os.sync()  # a power cut must not leave a renamed folder with empty files
            if folder.exists():
                folder.rename(old)
            half.rename(folder)
        except BaseException as e:
            shutil.rmtree(half, ignore_errors=True)
            if isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(f"the disk of {folder.parent} is full: {name} was not made, nothing is left of it") from e
            raise
        if old.exists():
            shutil.rmtree(old)
    return folder


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds a lock that ends with the process, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"another process is making {path.parent / path.stem[1:]}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fault(folder: Path, version: str) -> str | None:
    """What keeps a folder from being the whole set, or None."""
    try:
        found, stamp, made_by = (folder / _DONE).read_text().split()
    except (OSError, ValueError):
        return "is not whole"
    if made_by != version:
        return "was made by another version"
    if stamp != (now := _stamp(folder)):  # touched or copied: look at the contents
        try:
            if _digest(folder) != found:
                return "was changed"
        except (OSError, SyntaxError, ValueError) as e:  # Pillow raises each of them for some broken PNG file
            return f"is damaged ({e})"
        with contextlib.suppress(OSError):  # a read-only copy is looked at each time
            _write(folder / _DONE, f"{found}\n{now}\n{version}\n")
    return None


def _files(folder: Path) -> list[Path]:
    """The images and labels of a set, in the order of the digest."""
    # Only images: ultralytics may have put its cache beside them.
    return [file for s in SPLITS for image in _images(folder / "images" / s) for file in (image, _label_of(image))]


def _images(folder: Path) -> list[Path]:
    """Every image in or below a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGES)


def _label_of(image: Path) -> Path:
    """images/.../name.png -> labels/.../name.txt, at the last folder called images; beside the image where there is
    none. So does ultralytics."""
    parts = list(image.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")


def _stamp(folder: Path) -> str:
    """A quick look: names, sizes and times of the files."""
    stamp = hashlib.sha256()
    for file in _files(folder):
        try:
            state = file.stat()
        except FileNotFoundError:
            stamp.update(b"missing")
        else:
            stamp.update(f"{file.relative_to(folder)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return stamp.hexdigest()


def _digest(folder: Path) -> str:
    """SHA-256 over names, pixels (the bytes of JPEG files, which decoders do not agree on) and label text."""
    pillow, total = _need("PIL.Image"), hashlib.sha256()
    for file in _files(folder):
        if file.suffix == ".png":
            with pillow.open(file) as image:
                content = f"{image.mode} {image.size} ".encode() + image.tobytes()
        else:
            content = file.read_bytes()
        total.update(f"{file.relative_to(folder).as_posix()} {len(content)} ".encode() + content)
    return total.hexdigest()


# bccd


def fetch(name: str = "bccd", *, progress: bool = True) -> Path:
    """The folder of a set that is downloaded; does nothing where it is whole.

    Every file is compared with its SHA-256 in data/bccd.sha256. ``$ATTN_DATA`` names a folder that holds a copy
    (``$ATTN_DATA/bccd``), which is then read instead of the network.

    Raises:
        ValueError: the set is not one that is downloaded, or a file is missing or not the one expected.
        OSError: the download broke off, the archive cannot be read, or the disk is full.
    """
    if "url" not in card(name):
        raise ValueError(f"{name} is made, not fetched: attn data make {name}")
    return make(name, progress=progress)


def _bring_bccd(half: Path, facts: dict[str, Any], progress: bool) -> None:
    """Verifies the files of the mirror or the archive and writes their YOLO form below half."""
    lines = (_cards() / "bccd.sha256").read_text().splitlines()
    sums = {path: total for total, path in (line.split(maxsplit=1) for line in lines)}
    voc = half / "voc"
    if mirror := os.environ.get("ATTN_DATA"):
        root = Path(mirror).expanduser() / "bccd"
        if not root.is_dir():
            raise FileNotFoundError(f"ATTN_DATA is {mirror}, which has no folder bccd")
        _verify(sums, lambda path: (root / path).read_bytes(), voc, str(root), progress)
    else:
        archive = _download(facts["url"], half / "download", progress)
        with _archive(archive, facts["url"]) as (packed, members):
            _verify(sums, lambda path: packed.read(members[path]), voc, facts["url"], progress)
        shutil.rmtree(half / "download")
    dropped = _to_yolo(_read_voc(voc), half, facts["classes"])
    if dropped:
        _say(f"warning: dropped {len(dropped)} without area: {', '.join(f.file.name for f in dropped)}")
    shutil.copy(voc / "LICENSE", half / "LICENSE")
    shutil.rmtree(voc)


def _download(url: str, folder: Path, progress: bool) -> Path:
    """The file at url. Its own sum is not known (GitHub packs it anew); each file inside is verified instead."""
    pooch, requests = _need("pooch"), _need("requests")
    pooch.get_logger().setLevel("ERROR")
    if progress:
        _say(f"downloading {url}")
    try:
        return Path(pooch.retrieve(url, None, "archive.zip", folder, downloader=pooch.HTTPDownloader(timeout=30)))
    except requests.exceptions.RequestException as e:
        reason = f"{type(e).__name__}; nothing was kept; try again, or name a copy with ATTN_DATA"
        raise OSError(f"the download of {url} failed: {reason}") from e


@contextlib.contextmanager
def _archive(path: Path, source: str):
    """An opened zip file and its members by their path below the top folder (and below BCCD/ in it).

    Raises:
        ValueError: a member points outside the archive's folder.
        OSError: it is no zip file, or only a part of one.
    """
    try:
        packed = zipfile.ZipFile(path)
    except zipfile.BadZipFile as e:
        raise OSError(f"what came from {source} is no whole zip file: nothing was kept, try again") from e
    with packed:
        members = {}
        for member in packed.namelist():
            inside = PurePosixPath(member.replace("\\", "/"))
            if inside.is_absolute() or ".." in inside.parts or ":" in inside.parts[0]:
                raise ValueError(f"the archive from {source} points outside its folder ({member!r}): refused")
            parts = inside.parts[2:] if inside.parts[1:2] == ("BCCD",) else inside.parts[1:]
            members["/".join(parts)] = member
        yield packed, members


def _verify(sums: dict[str, str], read: Callable[[str], bytes], target: Path, source: str, progress: bool) -> None:
    """Copies each file of the list to target, if all are there and as expected."""
    wrong = []
    for path, expected in _bar("verifying", list(sums.items()), progress):
        try:
            content = read(path)
        except (KeyError, FileNotFoundError):
            wrong.append(f"{path} is missing")
            continue
        except (zipfile.BadZipFile, zlib.error) as e:
            wrong.append(f"{path} is damaged ({e})")
            continue
        if (found := hashlib.sha256(content).hexdigest()) != expected:
            wrong.append(f"{path} has SHA-256 {found}, not {expected}")
            continue
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(content)
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise ValueError(f"{source} is not the set expected: {'; '.join(wrong[:3])}{more}")


# A set of your own


@dataclass(frozen=True)
class Fault:
    """What is wrong in one place: severity ``"error"``, or ``"note"`` for what may be meant so."""

    file: Path
    line: int | None
    what: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.file}:{'' if self.line is None else f'{self.line}:'} {self.severity}: {self.what}"


@dataclass(frozen=True)
class Report:
    """What ``check`` found; printed, one line for each fault and one for the whole.

    Args:
        layout: ``"YOLO"`` or ``"Pascal VOC"``. images: how many there are. boxes: how many have no error.
    """

    path: Path
    layout: str
    images: int
    boxes: int
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no errors; notes may be there."""
        return not any(f.severity == "error" for f in self.faults)

    def __str__(self) -> str:
        errors = sum(f.severity == "error" for f in self.faults)
        total = (
            f"{self.path}: {self.layout}, {self.images} images, {self.boxes} boxes, "
            f"{errors} errors, {len(self.faults) - errors} notes"
        )
        return "\n".join((*map(str, self.faults), total))


def check(path: str | os.PathLike) -> Report:
    """Looks at every image and label of a set and changes nothing.

    Args:
        path: a dataset file of ultralytics (.yaml), a folder with images/ and labels/ (with split folders inside or
            around them), or a Pascal VOC folder with JPEGImages/ and Annotations/.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it has none of these layouts.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.is_dir() and (path / "Annotations").is_dir() and (path / "JPEGImages").is_dir():
        voc = _read_voc(path)
        return Report(path, "Pascal VOC", len(voc.images), sum(map(len, voc.boxes.values())), tuple(voc.faults))
    if path.suffix in (".yaml", ".yml") or path.is_dir():
        return _check_yolo(path)
    raise ValueError(f"{path} is neither a folder nor a .yaml file")


def convert(path: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Writes the YOLO form of a Pascal VOC folder; the folder itself is not touched.

    The splits are those of ImageSets/Main; where it lacks train.txt or val.txt, every fifth image that is not in
    test.txt goes to val and the others to train. Classes are numbered in the order of the alphabet. Boxes without area
    and images in no list are left out, each with a line that names its file.

    Returns:
        the dataset file, ``out/<name of out>.yaml``.

    Raises:
        FileExistsError: ``out`` is there already.
        ValueError: the folder is no Pascal VOC folder, or has errors other than boxes without area.
    """
    path, out = Path(path), Path(out).absolute()
    if not (path / "Annotations").is_dir() or not (path / "JPEGImages").is_dir():
        raise ValueError(f"{path} is no Pascal VOC folder: it needs JPEGImages/ and Annotations/")
    if out.exists():
        raise FileExistsError(f"{out} is there already: give a folder that is not")
    voc = _read_voc(path)
    errors = [f for f in voc.faults if f.severity == "error" and f.what != NO_AREA]
    if errors:
        more = f" (and {len(errors) - 1} more: attn data check {path})" if errors[1:] else ""
        raise ValueError(f"not converted: {errors[0]}{more}")
    classes = sorted({name for boxes in voc.boxes.values() for name, *_ in boxes})
    half = out.with_name(f".{out.name}.half{os.getpid()}")
    half.mkdir(parents=True)
    try:
        dropped = _to_yolo(voc, half, classes)
        splits = {s: f"images/{s}" for s in SPLITS if (half / "images" / s).is_dir()}
        content = {"path": str(out), **splits, "names": dict(enumerate(classes))}
        _write(half / f"{out.name}.yaml", _need("yaml").safe_dump(content, sort_keys=False, allow_unicode=True))
        half.rename(out)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    for fault in dropped:
        _say(f"left out: {fault}")
    return out / f"{out.name}.yaml"


NO_AREA = "box without area"
NO_SPLIT = "in none of ImageSets/Main's lists"


def _image_fault(path: Path) -> tuple[tuple[int, int] | None, str | None]:
    """The size of an image (width, height), or what keeps it from being read to its end."""
    pillow = _need("PIL.Image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damage that it can read past; load() decides
            with pillow.open(path) as image:
                image.load()
                return image.size, None
    except (_need("PIL").UnidentifiedImageError, ImportError):
        # ImportError: where ultralytics was imported, Image.open asks for pi_heif when it does not know a file.
        return None, "no image that can be read"
    except Exception as e:  # each format of Pillow has errors of its own
        return None, f"broken image ({e})"


def _stems(images: list[Path]) -> Iterator[Fault]:
    """A fault for each image that would share its label file with an earlier one."""
    seen = {}
    for image in images:
        first = seen.setdefault(image.with_suffix(""), image)
        if first != image:
            yield Fault(image, None, f"same name as {first.name}: both would have one label file")


# YOLO


def _check_yolo(path: Path) -> Report:
    faults: list[Fault] = []
    images, classes = _yolo_images(path, faults)
    faults += _stems(images)
    boxes, labels = 0, set()
    for image in images:
        _size, fault = _image_fault(image)
        if fault:
            faults.append(Fault(image, None, fault))
        label = _label_of(image)
        if label in labels:
            continue
        labels.add(label)
        if not label.is_file():
            faults.append(Fault(label, None, f"no label file: {image.name} counts as background", "note"))
            continue
        boxes += _check_label(label, classes, faults)
    for folder in sorted({label.parent for label in labels}):
        for label in sorted(folder.glob("*.txt")):
            if label not in labels and label.name != "classes.txt":
                faults.append(Fault(label, None, "label without an image"))
    return Report(path, "YOLO", len(images), boxes, tuple(faults))


def _yolo_images(path: Path, faults: list[Fault]) -> tuple[list[Path], int | None]:
    """The images of a set in YOLO layout and its number of classes, where that can be known."""
    file = path
    if path.is_dir():
        folders = sorted(p for p in (*path.glob("images"), *path.glob("*/images")) if p.is_dir())
        if not folders:
            raise ValueError(
                f"{path} has neither images/ and labels/ (YOLO) nor JPEGImages/ and Annotations/ (Pascal VOC)"
            )
        cards = sorted(path.glob("*.yaml"))
        found = [image for folder in folders for image in _images(folder)]
        if not found:
            faults.append(Fault(path, None, "no images"))
        if len(cards) != 1:
            faults.append(Fault(path, None, "no single .yaml names the classes: their ids were not checked", "note"))
            return found, None
        file = cards[0]
    try:
        content = _need("yaml").safe_load(file.read_text("utf-8"))
    except (_need("yaml").YAMLError, UnicodeDecodeError) as e:
        mark = getattr(e, "problem_mark", None)
        faults.append(Fault(file, mark and mark.line + 1, f"no YAML: {getattr(e, 'problem', e)}"))
        return ([] if file is path else found), None
    if not isinstance(content, dict):
        faults.append(Fault(file, None, "no dataset file: it holds no names and values"))
        return ([] if file is path else found), None
    classes = _classes(file, content, faults)
    if file is not path:
        return found, classes
    root = file.parent / (content.get("path") or "")
    found = []
    for split in SPLITS:
        if split not in content or content[split] is None:
            if split != "test":
                faults.append(Fault(file, None, f"no entry {split}"))
            continue
        entries = content[split] if isinstance(content[split], list) else [content[split]]
        for entry in entries:
            found += _entry_images(file, root / str(entry), split, faults)
    return list(dict.fromkeys(found)), classes


def _classes(file: Path, content: dict, faults: list[Fault]) -> int | None:
    """How many classes a dataset file names."""
    given = content.get("names")
    if isinstance(given, dict) and sorted(given) != list(range(len(given))):
        faults.append(Fault(file, None, f"the ids of names must run from 0 to {len(given) - 1}"))
    n = len(given) if isinstance(given, dict | list) else content.get("nc")
    if not isinstance(n, int):
        faults.append(Fault(file, None, "no entry names: the ids of classes were not checked"))
        return None
    if content.get("nc", n) != n:
        faults.append(Fault(file, None, f"nc is {content['nc']}, but {n} classes are named"))
    return n


def _entry_images(file: Path, entry: Path, split: str, faults: list[Fault]) -> list[Path]:
    """The images that one entry of a dataset file stands for: a folder, or a list of files in a .txt."""
    if entry.is_dir():
        found = _images(entry)
    elif entry.is_file():
        found = []
        for number, line in enumerate(entry.read_text("utf-8").splitlines(), 1):
            if not line.strip():
                continue
            image = entry.parent / line.strip()
            if image.is_file():
                found.append(image)
            else:
                faults.append(Fault(entry, number, f"no image {line.strip()}"))
    else:
        faults.append(Fault(file, None, f"{split}: {entry} does not exist"))
        return []
    if not found:
        faults.append(Fault(entry, None, f"{split} has no images"))
    return found


def _check_label(label: Path, classes: int | None, faults: list[Fault]) -> int:
    """Adds what is wrong in one label file; returns how many boxes without an error it lists."""
    try:
        lines = label.read_text("utf-8").splitlines()
    except UnicodeDecodeError as e:
        faults.append(Fault(label, None, f"no text ({e.reason} at byte {e.start})"))
        return 0
    seen, boxes = {}, 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        wrong = [Fault(label, number, what) for what in _row_faults(line.split(), classes)]
        faults += wrong
        boxes += not wrong
        first = seen.setdefault(tuple(line.split()), number)
        if first != number:
            faults.append(Fault(label, number, f"same box as line {first}", "note"))
    if not seen:
        faults.append(Fault(label, None, "empty: its image counts as background", "note"))
    return boxes


def _row_faults(columns: list[str], classes: int | None) -> Iterator[str]:
    """What is wrong with one row of a label file."""
    if len(columns) != 5:
        yield f"{len(columns)} columns, not 5 (class x y width height)"
        return
    numbers = []
    for column in columns:
        try:
            numbers.append(float(column))
        except ValueError:
            numbers.append(math.nan)
        if not math.isfinite(numbers[-1]):
            yield f"{column!r} is not a number"
    if not all(map(math.isfinite, numbers)):
        return
    c, *box = numbers
    if not c.is_integer() or c < 0:
        yield f"class {columns[0]} is not a whole number from 0"
    elif classes is not None and c >= classes:
        yield f"class {columns[0]} is too high: there are {classes}, the last is {classes - 1}"
    for name, value, text in zip(("x", "y", "width", "height"), box, columns[1:], strict=True):
        if not 0 <= value <= 1:
            yield f"{name} {text} lies outside 0 to 1"
    if 0 in box[2:]:
        yield NO_AREA


# Pascal VOC


@dataclass
class _Voc:
    """A Pascal VOC folder as read: images by name, their sizes, boxes and splits, and what is wrong with them."""

    images: dict[str, Path]
    sizes: dict[str, tuple[int, int]]
    boxes: dict[str, list[tuple]]  # (class, left, top, right, bottom) in pixels
    splits: dict[str, list[str]]
    faults: list[Fault]


def _read_voc(folder: Path) -> _Voc:
    """Reads every image and annotation."""
    files = _images(folder / "JPEGImages")
    voc = _Voc({}, {}, {}, {}, list(_stems(files)))
    if not files:
        voc.faults.append(Fault(folder / "JPEGImages", None, "no images"))
    for image in files:
        voc.images.setdefault(image.stem, image)
    for name, image in voc.images.items():
        size, fault = _image_fault(image)
        if fault:
            voc.faults.append(Fault(image, None, fault))
        annotation = folder / "Annotations" / f"{name}.xml"
        voc.boxes[name] = []
        if annotation.is_file():
            voc.sizes[name], voc.boxes[name] = _read_annotation(annotation, size, voc.faults)
        else:
            voc.sizes[name] = size or (1, 1)
            voc.faults.append(Fault(annotation, None, f"no annotation: {image.name} counts as background", "note"))
    for annotation in sorted((folder / "Annotations").glob("*.xml")):
        if annotation.stem not in voc.images:
            voc.faults.append(Fault(annotation, None, "label without an image"))
    for split in SPLITS:
        file = folder / "ImageSets" / "Main" / f"{split}.txt"
        if not file.is_file():
            continue
        voc.splits[split] = []
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            if not line.strip():
                continue
            name = line.split()[0]
            if name in voc.images:
                voc.splits[split].append(name)
            else:
                voc.faults.append(Fault(file, number, f"no image {name}"))
    if not {"train", "val"} <= voc.splits.keys():
        test = voc.splits.get("test", [])
        rest = [name for name in voc.images if name not in test]
        voc.splits |= {"train": [name for i, name in enumerate(rest) if i % 5 != 4], "val": rest[4::5]}
    listed = {name for members in voc.splits.values() for name in members}
    voc.faults += (Fault(image, None, NO_SPLIT, "note") for name, image in voc.images.items() if name not in listed)
    return voc


def _read_annotation(file: Path, size: tuple[int, int] | None, faults: list[Fault]):
    """The size and the boxes of one annotation; what is wrong is added to faults, and only a whole box is returned."""
    text = file.read_bytes()
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as e:
        faults.append(Fault(file, e.position[0], f"no XML ({e})"))
        return size or (1, 1), []
    lines = [number for number, line in enumerate(text.splitlines(), 1) for _ in re.findall(rb"<object[\s>]", line)]
    try:
        said = tuple(int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
    except ValueError:
        said = size
    if size and said != size:
        faults.append(Fault(file, None, f"says {said[0]} x {said[1]} pixels, but the image has {size[0]} x {size[1]}"))
    width, height = size = size or said or (1, 1)
    boxes = []
    for i, entry in enumerate(root.iter("object")):
        line, name = lines[i] if i < len(lines) else None, (entry.findtext("name") or "").strip()
        values = [(entry.findtext(f"bndbox/{side}") or "").strip() for side in ("xmin", "ymin", "xmax", "ymax")]
        try:
            left, top, right, bottom = box = [float(v) for v in values]
        except ValueError:
            box = [math.nan]
        if not name:
            faults.append(Fault(file, line, "an object without a name"))
        elif not all(map(math.isfinite, box)):
            faults.append(Fault(file, line, f"{name}: a box needs four numbers, not {' '.join(map(repr, values))}"))
        elif left < 0 or top < 0 or right > width or bottom > height:
            faults.append(Fault(file, line, f"{name}: box {' '.join(values)} lies outside 0 0 {width} {height}"))
        elif right <= left or bottom <= top:
            faults.append(Fault(file, line, NO_AREA))
        else:
            boxes.append((name, left, top, right, bottom))
    if not boxes:
        faults.append(Fault(file, None, "no boxes: its image counts as background", "note"))
    return size, boxes


def _to_yolo(voc: _Voc, out: Path, classes: list[str]) -> list[Fault]:
    """Writes images/ and labels/ below out; returns what is left out: boxes without area, images in no list."""
    for split, members in voc.splits.items():
        (out / "images" / split).mkdir(parents=True)
        (out / "labels" / split).mkdir(parents=True)
        for name in members:
            shutil.copyfile(voc.images[name], out / "images" / split / voc.images[name].name)
            rows = (_row(classes.index(c), box, *voc.sizes[name]) for c, *box in voc.boxes[name])
            (out / "labels" / split / f"{name}.txt").write_text("".join(rows))
    return [f for f in voc.faults if f.what in (NO_AREA, NO_SPLIT)]
