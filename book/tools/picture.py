# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Draws the picture of the README: `.venv/bin/python book/tools/picture.py` writes book/figures/readme.svg."""

from pathlib import Path

from attn import viz

FILE = Path(__file__).parents[1] / "figures" / "readme.svg"


def picture():
    return viz.diagram(
        "tensor x | C H W > multiply > tensor y | C H W",
        "tensor x > pool mean | C 1 1 > linear W₁ | C/r 1 1 > relu δ | C/r 1 1"
        " > linear W₂ | C 1 1 > gate σ | C 1 1 > multiply",
    )


if __name__ == "__main__":
    picture().save(FILE)
