# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""The README's ten lines do what they say, up to the training itself."""

import re
from pathlib import Path

import pytest

pytest.importorskip("ultralytics")

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_ten_lines(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    *lines, train = code.strip().splitlines()
    assert train.startswith("model.train(")
    assert len([line for line in lines if line]) <= 9
    names = {}
    exec("\n".join(lines), names)
    assert names["y"].shape == names["x"].shape
    assert "427 of 427 tensors" in capsys.readouterr().out
