# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Errors that circulate, each as a class that differs from ours in the one wrong thing, beside its symptom.

``attn/broken/<slug>.py`` holds one class an error, of at most ten lines, and for a class ``NoFloor`` the function
``no_floor(cls=NoFloor)``: the symptom as a number. Called with our own class it gives the right one.
"""

import importlib
import inspect
import re
from collections.abc import Callable

from .. import registry
from ..measure import Table


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
