# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""A small Sphinx extension: what Jupyter Book's configuration file cannot say about this site.

It changes single theme options, because ``html_theme_options`` in _config.yml would replace all that Jupyter Book
computes there.
"""

from pathlib import Path

from sphinx.application import Sphinx
from tables import TABLES


def configure(app: Sphinx, config) -> None:
    options = config.html_theme_options
    options["navbar_persistent"] = []  # else an empty bar of 64 px stands above every page
    options["show_toc_level"] = 2
    options["use_repository_button"] = bool(options["repository_url"])
    if not options["repository_url"]:
        del options["launch_buttons"]  # without an address the theme stops at them
    config.html_context["default_mode"] = "auto"
    config.myst_substitutions |= {name: text(Path(app.srcdir)) for name, text in TABLES.items()}
    if (Path(app.srcdir) / "mathjax").is_dir():  # build.py put it there; else Sphinx's own setting asks a CDN
        config.mathjax_path = "mathjax/tex-mml-chtml.js"


def page(app: Sphinx, name: str, template: str, context: dict, doctree) -> None:
    # Thebe (running code in the page) is not used; its script would be there twice, one of them naming another host.
    context["script_files"] = [
        s
        for s in context["script_files"]
        if "thebe" not in f"{getattr(s, 'filename', s)} {getattr(s, 'attributes', {}).get('body', '')}"
    ]


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", configure, priority=900)
    app.connect("html-page-context", page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
