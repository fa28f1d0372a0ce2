# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The built site in a real browser, under a sub-path, with every other host closed. Needs `make book` and chromium."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
SITE = Path(os.environ.get("ATTN_SITE", ROOT / "_build/html"))
PAGES = sorted(str(p.relative_to(SITE)) for folder in ("book", "notebooks") for p in (SITE / folder).rglob("*.html"))
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += [f"--disable-{what}" for what in ("background-networking", "component-update", "sync")]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not PAGES, reason="there is no site yet (make book)"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]

# What MathJax leaves where it could not set a formula: an error box, or the unknown macro in red.
RED_MATHS = """() => [...document.querySelectorAll('mjx-merror, mjx-container *')]
    .filter(e => e.tagName == 'MJX-MERROR' || getComputedStyle(e).color == 'rgb(255, 0, 0)')
    .map(e => e.closest('mjx-container').textContent)"""
# What sticks out of the window and is not inside a box that scrolls on its own.
TOO_WIDE = """() => {
    const wide = document.documentElement.clientWidth;
    const clipped = e => e && e != document.body &&
        (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX) || clipped(e.parentElement));
    return [...document.querySelectorAll('main *')]
        .filter(e => e.getBoundingClientRect().right > wide + 1 && !clipped(e)).map(e => e.outerHTML.slice(0, 120))
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of the site, two folders below its server's root."""
    root = tmp_path_factory.mktemp("server")
    (root / "some").mkdir()
    (root / "some/where").symlink_to(SITE)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/some/where/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A fresh page; whatever it complains of, or asks of another host, fails the test in the end."""
    context = browser.new_context(viewport=DESKTOP)
    page, wrong = context.new_page(), []

    def route(route):
        if urlsplit(route.request.url).netloc == urlsplit(address).netloc:
            route.continue_()
        else:
            wrong.append(f"asks another host: {route.request.url}")
            route.abort()

    context.route("**/*", route)
    page.on(
        "console", lambda m: wrong.append(f"console {m.type}: {m.text}") if m.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda e: wrong.append(f"script error: {e}"))
    page.on("response", lambda r: wrong.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    yield page
    context.close()
    assert not wrong, "\n".join(wrong)


def visit(page, url):
    page.goto(url, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")


@pytest.mark.parametrize("name", PAGES)
def test_page(page, address, name):
    visit(page, address + name)
    assert page.evaluate(RED_MATHS) == []
    assert page.evaluate("() => [...document.images].filter(i => !i.alt.trim()).map(i => i.src)") == []
    assert page.evaluate("() => [...document.images].filter(i => !i.naturalWidth).map(i => i.src)") == []
    assert page.evaluate("() => document.querySelectorAll('.math:not(:has(mjx-container))').length") == 0, (
        "formulas not set"
    )
    raw = "() => [...document.querySelectorAll('p')].map(p => p.textContent).filter(t => /[|] *:?--?/.test(t))"
    assert page.evaluate(raw) == [], "a table that was not set"
    for size in (DESKTOP, PHONE):
        page.set_viewport_size(size)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
        assert page.evaluate(TOO_WIDE) == []


def test_the_front_door_leads_to_the_first_page(page, address):
    page.goto(address, wait_until="load")
    page.wait_for_url(address + "book/index.html")
    assert page.locator("article h1").inner_text().startswith("Visual attention")


def test_search_finds_squeeze(page, address):
    visit(page, address + "search.html?q=squeeze")
    page.wait_for_selector("#search-results li a")
    assert any("Squeeze" in t for t in page.locator("#search-results li a").all_inner_texts())
