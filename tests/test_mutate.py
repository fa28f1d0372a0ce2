# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Puts every circulating error in the place of ours, and asserts that the test it names turns red: make mutate S=se."""

import contextlib
import dataclasses
import functools
import inspect
import sys
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

import attn
from attn import broken

ROOT = Path(__file__).parents[1]
# A test that cannot deal with the class, or was not run, is no test that sees the error.
ANOTHER_REASON = ("passed", "skipped", "TypeError", "AttributeError", "KeyError", "IndexError", "NameError",
                  "ValueError: unknown option")  # fmt: skip


@contextlib.contextmanager
def instead(slug, wrong):
    """``wrong`` in the place of ours: in its module, and so in ``attn.card``, ``attn.create`` and ``attn.<Class>``."""
    ours = attn.card(slug).cls
    takes, options = inspect.signature(wrong).parameters, inspect.signature(ours).parameters
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):  # it passes on the options of ours
        takes = {**options, **{name: p for name, p in takes.items() if p.kind is not p.VAR_KEYWORD}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[ours.__module__], ours.__name__, wrong)
        patch.setattr(wrong, "card", dataclasses.replace(ours.card, cls=wrong), raising=False)
        patch.setattr(wrong, "__signature__", inspect.Signature(takes.values()), raising=False)
        own = named(wrong, *named(ours))  # a test that reads the name sees no error by that
        forget()
        try:
            yield
        finally:
            named(wrong, *own)
            forget()


def named(cls, *new):
    """The names that ``cls`` had, after it was given others."""
    names = ("__name__", "__qualname__", "__module__")
    old = [getattr(cls, name) for name in names]
    for name, value in zip(names, new or old, strict=True):
        setattr(cls, name, value)
    return old


def forget():
    """Empty what our modules and tests have cached, so that neither class is remembered in the place of the other."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("attn", "test_")):
            for value in vars(module).values():
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


class Runs:
    """Runs each collected test as it is, then with each error that names it; holds how each run ended."""

    def __init__(self, slug, errors):
        self.slug, self.errors, self.ours, self.wrong = slug, errors, {}, {}

    def pytest_runtestloop(self, session):
        for item in session.items:
            self.ours[item.nodeid] = end(item)
            for wrong in self.errors:
                if wrong.error.caught == item.nodeid:
                    with instead(self.slug, wrong):
                        self.wrong[wrong] = end(item)
        return True


def end(item):
    """``"passed"``, or in one line why not. All fixtures are made for this run alone."""
    item._initrequest()  # as pytest-rerunfailures does
    for report in runtestprotocol(item, log=False, nextitem=None):
        if not report.passed:
            crash = getattr(report.longrepr, "reprcrash", None)
            return crash.message.splitlines()[0] if crash else f"{report.outcome}: {report.longrepr}"
    return "passed"


@pytest.mark.proof
@pytest.mark.parametrize("slug", broken.names())
def test_each_error_turns_the_test_red_that_it_names(slug):
    errors = list(broken.errors(slug))
    tests, runs = {wrong.error.caught for wrong in errors}, Runs(slug, errors)
    options = ["-o", "addopts=", *(f"-pno:{p}" for p in ("cacheprovider", "faulthandler", "terminal", "xdist"))]
    pytest.main([*options, f"--rootdir={ROOT}", *(str(ROOT / test) for test in sorted(tests))], [runs])
    for test in sorted(tests - set(runs.ours)):
        near = [other for other in runs.ours if other.startswith(f"{test}[")]
        pytest.fail(f"no such test: {test}" + (f"; there are {', '.join(near)}" if near else ""))
    assert set(runs.ours.values()) == {"passed"}, f"red without any error: {runs.ours}"
    for wrong in errors:
        print(f"{slug} {wrong.__name__}\n    {wrong.error.caught}\n    {runs.wrong[wrong]}")
    unseen = {wrong.__name__: why for wrong, why in runs.wrong.items() if why.startswith(ANOTHER_REASON)}
    assert not unseen, f"the test that they name does not see them: {unseen}"
