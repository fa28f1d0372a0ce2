# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

import attn
from attn import registry


def fresh(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_import_brings_torch_and_nothing_else():
    ours = "import sys, torch; before = set(sys.modules); import attn; new = set(sys.modules) - before; "
    show = "print(*sorted({m.split('.')[0] for m in new} - set(sys.stdlib_module_names)))"
    assert fresh(ours + show) == "attn"


def test_create_imports_only_its_own_file():
    code = "import sys, attn; attn.create('se', 64); print(*(m for m in sys.modules if m.startswith('attn.channel.')))"
    assert fresh(code) == "attn.channel.se"
    assert fresh("import sys, attn; attn.names(); dir(attn); print('attn.channel.se' in sys.modules)") == "False"


def test_names():
    assert "se" in attn.names() == sorted(attn.names(), key=attn.names().index)
    assert attn.names("channel", "s*")
    assert attn.names(pattern="nothing*") == []
    with pytest.raises(ValueError, match=r"unknown family 'chanel'; did you mean 'channel'"):
        attn.names("chanel")


@pytest.mark.parametrize("slug", attn.names())
def test_cards(slug):
    card = attn.card(slug)
    assert (card.slug, card.cls.__module__) == (slug, f"attn.{card.family}.{slug}")
    assert getattr(attn, card.cls.__name__) is card.cls
    assert card.paper.startswith("https://")
    number = card.paper.rsplit("/", 1)[1] if "arxiv.org" in card.paper else f", {card.year}, "
    assert number in sys.modules[card.cls.__module__].__doc__
    assert f"notebooks/{card.family}/{slug}.ipynb" in sys.modules[card.cls.__module__].__doc__
    assert "Differs:" in card.cls.__doc__
    assert set(card.studied) <= set(card.options)
    assert card.detector or card.limits["detector"]


def test_example():
    (x,) = attn.card("se").example(32, (5, 4), batch=3)
    assert x.shape == (3, 32, 5, 4)
    assert x.equal(attn.card("se").example(32, (5, 4), batch=3)[0])
    assert attn.card("se").keeps_shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attn.create("biforner", 64), "unknown mechanism 'biforner'; did you mean 'biformer'"),
        (lambda: attn.create("SE", 64), "unknown mechanism 'SE'; did you mean 'se'"),
        (lambda: attn.card("zzzz"), "unknown mechanism 'zzzz'"),
        (lambda: attn.create("se", 0), "channels must be a whole number of at least 1, not 0"),
        (lambda: attn.create("se", "64"), "channels must be a whole number of at least 1, not '64'"),
        (lambda: attn.create("se", 64, reduktion=4), "unknown option of se 'reduktion'; did you mean 'reduction'"),
    ],
)
def test_bad_calls_name_the_value_and_the_nearest_good_one(call, message):
    with pytest.raises(ValueError, match=r"unknown|channels") as error:
        call()
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = attn.Nothing


def test_largest_divisor():
    assert [registry.largest_divisor(n, 32) for n in (8, 48, 64, 7)] == [8, 24, 32, 7]


def test_a_file_without_a_registered_class_is_named(tmp_path, monkeypatch):
    half = tmp_path / "half.py"
    half.write_text("import torch\n")
    monkeypatch.setattr(registry, "_files", lambda: {"half": half})
    with pytest.raises(ImportError, match=r"half\.py: a mechanism's file has a class behind @register"):
        registry.class_names.__wrapped__()
