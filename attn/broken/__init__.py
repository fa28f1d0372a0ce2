# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that circulate, each as a class that differs from ours in the one wrong thing, beside its symptom.

``attn/broken/<slug>.py`` holds one class an error, of at most ten lines behind ``@error(...)``, and for a class
``NoFloor`` the function ``no_floor(cls=NoFloor)``: the symptom as a number. Called with our own class it gives the
right one.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import registry
from ..measure import Table

# What kinds of error there are, and why each goes unnoticed.
KINDS = {
    "wrong axis": "Every shape is right, and over another axis a mean is still a mean and a softmax still adds up to "
    "one. A second image in the batch, a map that is not square or twice as large, or a longer clip shows it.",
    "wrong channel count": "The result has the shape that the next layer expects. Only the number of parameters tells, "
    "and a training log does not set it beside the paper's.",
    "silent no-op": "The network trains as it did without the module, and a gain that is missing looks like bad luck.",
    "works at one size only": "The example at the foot of the file runs, because it was written for that size.",
    "in-place overlap": "The source and the target of the copy share memory, and no message says that values were "
    "read after they had been overwritten.",
    ".data cuts the gradient": "The forward pass is right to the last digit, and the loss still falls, on the "
    "gradient of another function.",
    "missing scale": "The result has the right form, and a layer behind it can learn the factor back. Scores that are "
    "not scaled grow with the width only, and then the softmax comes down to one position.",
    "parameters not registered": "The forward pass runs. The optimiser, a checkpoint and a move to the GPU do "
    "not know of the numbers, and none of them complains.",
    "mask on the wrong device": "On the machine where it was written there is one device.",
    "frozen window in ONNX": "The export succeeds, and at the size that was traced the graph agrees with PyTorch "
    "to the last digit.",
    "wrong paper": "The name and the address of the paper are right, and the code does what some other paper says.",
    "layer missing or added": "Without the layer, or with one more, everything runs and trains; what comes out is "
    "no longer what the paper measured.",
    "wrong constant": "A default is read by nobody who does not change it, and any value runs.",
    "another function of the same weights": "The names and shapes in the state dict agree, so the authors' weights "
    "load without a word, and then mean something else.",
    "NaN at the edge": "Ordinary maps in float32 stay far from it. It comes with a map of one row or one position, or "
    "in float16, hours into a run.",
    "wrong gradient": "The forward pass is right, or nearly everywhere; a gradient runs where the paper has none, or "
    "with another value.",
    "wrong mode": "The module runs in training and in evaluation, and nobody compares two calls of either.",
    "one memory format only": "PyTorch's default format hides it, and channels_last is switched on later, for speed.",
}


@dataclass(frozen=True)
class Error:
    """What a wrong class is an example of.

    Args:
        kind: one of ``KINDS``.
        found: where it circulates, as repository and file; or that it was not found, and what invites it.
        caught: the id of the test of ours that turns red when the class stands in the place of ours
            (``"tests/test_contract.py::test_promise[se-widths]"``).
    """

    kind: str
    found: str
    caught: str


def error(*, kind: str, found: str, caught: str) -> Callable[[type], type]:
    """Class decorator: says what the class is an example of. The keywords are the fields of :class:`Error`.

    Raises:
        ValueError: there is no such kind; the message names the nearest ones.
    """
    if kind not in KINDS:
        raise ValueError(registry.unknown("kind of error", kind, KINDS))

    def decorate(cls):
        cls.error = Error(kind, found, caught)
        return cls

    return decorate


def names() -> list[str]:
    """The slugs of the mechanisms that have a file here, in the order of the register."""
    there = {path.stem for path in Path(__file__).parent.glob("[!_]*.py")}
    return [slug for slug in registry.names() if slug in there]


def errors(slug: str) -> dict[type, Callable[..., float]]:
    """The wrong classes of a mechanism, each with the function that measures its symptom."""
    registry.card(slug)  # an unknown slug is refused by name
    module = importlib.import_module(f"{__name__}.{slug}")
    classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
    return {c: getattr(module, re.sub(r"(?<!^)(?=[A-Z])", "_", c.__name__).lower()) for c in classes}


def table(slug: str) -> Table:
    """Every error of a mechanism with its symptom, there and here."""
    ours = registry.card(slug).cls
    return Table(
        {
            "error": inspect.getdoc(wrong).splitlines()[0].rstrip("."),
            "symptom": inspect.getdoc(symptom).splitlines()[0].rstrip("."),
            "there": symptom(),
            "here": symptom(ours),
        }
        for wrong, symptom in errors(slug).items()
    )


class Gallery(list):
    """The errors of one kind, a dict each, that print as a list below the sentence that says why nobody notices."""

    def __init__(self, kind: str, cases: Iterable[dict]):
        super().__init__(cases)
        self.kind = kind

    def _repr_markdown_(self) -> str:
        items = "\n".join(_ITEM.format_map(case) for case in self)
        return f"{KINDS[self.kind]}\n\n{items or 'No mechanism here has an example of it yet.'}"


# One error on a page in ``notebooks/compare``; a list fits a phone, where six columns do not.
_ITEM = r"""- [{name}](../{family}/{slug}.ipynb): **{cause}.**\
  {symptom}: {there} there, {here} here.\
  Caught by {caught}.\
  {found}."""


def gallery(kind: str) -> Gallery:
    """Every error of a kind: cause, symptom there and here, the test that catches it and where it was found.

    Raises:
        ValueError: there is no such kind; the message names the nearest ones.
    """
    if kind not in KINDS:
        raise ValueError(registry.unknown("kind of error", kind, KINDS))
    cases = [(registry.card(slug), *case) for slug in names() for case in errors(slug).items()]
    return Gallery(kind, [_case(*case) for case in cases if case[1].error.kind == kind])


def _case(card: registry.Card, wrong: type, symptom: Callable[..., float]) -> dict:
    cause, effect = (inspect.getdoc(f).splitlines()[0].rstrip(".") for f in (wrong, symptom))
    found, (file, test) = wrong.error.found, wrong.error.caught.split("::")
    promise = re.fullmatch(rf"test_promise\[{card.slug}-(\w+)\]", test)
    said = re.sub(r"\[.*", "", test).removeprefix("test_").replace("_", " ")
    return {
        "name": card.cls.__name__,
        "family": card.family,
        "slug": card.slug,
        "cause": cause,
        "symptom": effect,
        "there": _number(symptom()),
        "here": _number(symptom(card.cls)),
        "caught": f"*{promise[1]}* of the contract" if promise else f"*{said}* in `{file}`",
        "found": f"N{found[1:]}" if found.startswith("not ") else f"Found: {found}",
    }


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
