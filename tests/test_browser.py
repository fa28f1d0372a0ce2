# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The built site in a real browser, under a sub-path, with every other host closed. Needs `make book` and chromium.

Its links and the descriptions of its pictures are read from the files.
"""

import functools
import html.parser
import http.server
import os
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

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


class Parsed(html.parser.HTMLParser):
    """What of a page can be linked to, what it links to, and its pictures; all that is shown, not what scripts hold."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.pictures = {""}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.ids |= {has[k] for k in ("id", "name") if has.get(k)}
        self.links += [has[k] for k in ("href", "src") if has.get(k) is not None]
        if tag == "img" or has.get("role") == "img":
            self.pictures.append((has.get("src", tag), has.get("alt", has.get("aria-label")) or ""))


@functools.cache
def parsed(path: Path) -> Parsed:
    return Parsed(path.read_text("utf-8"))


def broken(page: Path, link: str, site: Path) -> str | None:
    """What is wrong with a link, or None. Other hosts are not asked."""
    try:
        to = urlsplit(link)
    except ValueError as e:
        return str(e)
    if to.scheme in ("data", "mailto"):
        return None
    if to.scheme or to.netloc:
        well = to.scheme == "https" and re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", to.netloc) and " " not in link
        return None if well else "no address that begins with https:// and a host"
    target = (page.parent / unquote(to.path)).resolve() if to.path else page
    if not target.is_relative_to(site.resolve()):
        return "leads out of the site"
    if not target.is_file():
        return "no such file"
    if target.suffix == ".html" and unquote(to.fragment) not in parsed(target).ids:
        return "no such anchor"
    return None


def undescribed(source: str, alt: str) -> bool:
    """Whether a picture has no description; where the source gave none, Sphinx puts the file's name."""
    return len(alt.split()) < 2 or alt == source or bool(re.search(r"\.(svg|png|jpe?g|gif)$", alt))


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


def test_every_link_leads_somewhere():
    wrong = [
        f"{page.relative_to(SITE)}: {link}: {what}"
        for page in sorted(SITE.rglob("*.html"))
        if "_static" not in page.parts  # the theme's templates, which are no pages
        for link in dict.fromkeys(parsed(page).links)
        if (what := broken(page.resolve(), link, SITE))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_is_described(name):
    assert [picture for picture in parsed(SITE / name).pictures if undescribed(*picture)] == []


@pytest.mark.parametrize("name", PAGES)
def test_colab_opens_the_page_where_the_repository_has_an_address(name):
    repository = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]
    there = [link for link in parsed(SITE / name).links if "://colab." in link]
    notebook = Path(name).with_suffix(".ipynb")
    if repository["url"] and (ROOT / notebook).is_file():
        blob = f"{repository['url'].removeprefix('https://github.com')}/blob/{repository['branch']}/{notebook}"
        assert set(there) == {f"https://colab.research.google.com/github{blob}"}
    else:
        assert there == []


@pytest.mark.parametrize(
    ("link", "what"),
    [
        ("", None),
        ("#here", None),
        ("b.html#there", None),
        ("b%20c.txt", None),
        ("https://example.org/x#y", None),
        ("mailto:a@example.org", None),
        ("#there", "no such anchor"),
        ("b.html#here", "no such anchor"),
        ("c.html", "no such file"),
        ("../outside.txt", "leads out of the site"),
        ("http://example.org", "https"),
        ("https://", "https"),
        ("https://example.org/a b", "https"),
        ("//example.org/x", "https"),
        ("https://[", "IPv6"),
    ],
)
def test_a_broken_link_is_seen(tmp_path, link, what):
    site = tmp_path / "site"
    site.mkdir()
    for name, text in {
        "a.html": "<p id=here>",
        "b.html": "<a name=there>",
        "b c.txt": "",
        "../outside.txt": "",
    }.items():
        (site / name).write_text(text)
    found = broken(site / "a.html", link, site)
    assert found is None if what is None else what in found


@pytest.mark.parametrize(
    ("alt", "bad"), [("", True), ("figure", True), ("_images/a b.svg", True), ("Two gates in a row", False)]
)
def test_a_picture_without_description_is_seen(alt, bad):
    ((source, said),) = Parsed(f'<img src="x.svg" alt="{alt}">').pictures
    assert undescribed(source, said) is bad


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
