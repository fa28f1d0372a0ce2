# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""One thread a test process, and ATTN_WITHOUT="ultralytics ..." to run the suite as if those were not installed.

A test that asks for a promise of the contract says so by ``record_property("promise", (slug, name, version))``, and
what it measured by ``record_property("number", ...)``; when the session ends, all is kept for the contract's page.
"""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
for missing in os.environ.get("ATTN_WITHOUT", "").split():
    sys.modules[missing] = None  # importing it raises ModuleNotFoundError

import torch  # noqa: E402

torch.set_num_threads(1)

_found: dict[str, dict] = {}


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also the tests that take half a minute each (inductor)")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: half a minute each; only with --full")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_runtest_logreport(report):
    told = dict(report.user_properties)
    if report.when == "call" and "promise" in told:
        slug, promise, version = told["promise"]
        _found.setdefault(slug, {})[promise] = finding(report, told.get("number"))._asdict() | {"module": version}


def finding(report, number):
    """What a test of one promise has found."""
    from attn.contract import Finding

    if report.passed:
        return Finding("yes", number)
    if hasattr(report, "wasxfail"):
        return Finding("limit", None, report.wasxfail.removeprefix("reason: "))
    if report.skipped:
        return Finding("not here", None, report.longrepr[2].removeprefix("Skipped: "))
    crash = getattr(report.longrepr, "reprcrash", None)  # a limit that is kept has none
    said = (crash.message if crash else str(report.longrepr)).removeprefix("AssertionError: ")
    return Finding("no", number, said.splitlines()[0])


def pytest_sessionfinish(session):
    if _found and not hasattr(session.config, "workerinput"):  # with xdist, the controller has what all have found
        from attn.contract import keep

        keep(_found)
