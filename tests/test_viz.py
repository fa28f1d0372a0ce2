# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Figures: what they draw, on which scale, that they are the same every time, and how they refuse bad input."""

import itertools
import re
import subprocess
import sys

import pytest
import torch

import attn
from attn import viz
from attn.registry import Map

matplotlib = pytest.importorskip("matplotlib")

BLOCK = ("tensor x | C H W > multiply > tensor y", "tensor x > pool mean | C 1 1 > gate σ > multiply")
PICTURES = torch.linspace(0, 1, 2 * 3 * 6 * 8).reshape(2, 3, 6, 8)


def texts(drawing) -> list[str]:
    found = [t.get_text() for axes in drawing.figure.axes for t in axes.texts]
    return [t for t in found if t]


def drawings():
    yield viz.heat(torch.full((2, 5, 1, 1), 0.5), PICTURES, labels=["a", "b"])
    yield viz.heat({"channel": torch.rand(2, 4, 1, 1), "spatial": torch.rand(2, 1, 3, 4)}, PICTURES)
    yield viz.diagram(*BLOCK)
    yield viz.curves({"se": [[0.1, 0.2], [0.1, 0.3]], "none": [0.1, 0.25]}, xlabel="epoch", ylabel="mAP50")
    yield viz.intervals({"se": (0.001, -0.002, 0.004)}, xlabel="difference", zero=0, band=0.005)
    yield viz.grid({"yolov5n.yaml": dict.fromkeys(("before", "after"), "yes")})
    yield viz.scatter({"se": (1, 2), "sk": (30, 4)}, groups={"se": "a", "sk": "b"}, xlabel="bytes", ylabel="ms")


def test_the_same_figure_gives_the_same_bytes():
    torch.manual_seed(0)
    first = [d._repr_svg_() for d in drawings()]
    torch.manual_seed(0)
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black"}):  # a reader's own settings
        second = [d._repr_svg_() for d in drawings()]
    assert first == second
    assert all(svg.startswith("<?xml") and "<dc:date>" not in svg for svg in first)


def test_the_figures_fit_the_page_and_have_no_title():
    for drawing in drawings():
        assert drawing.figure.get_figwidth() <= viz.WIDTH + 1e-9
        assert all(axes.get_title() == "" for axes in drawing.figure.axes)
        sizes = {t.get_fontsize() for axes in drawing.figure.axes for t in axes.texts}
        assert min(sizes, default=9) >= 9


def test_drawing_leaves_the_readers_settings_alone():
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    viz.diagram(*BLOCK)._repr_svg_()
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []  # a notebook would show those a second time


def test_save(tmp_path):
    viz.diagram(*BLOCK).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"


# Heat maps


def test_one_scale_for_all_pictures():
    a = torch.stack([torch.full((4, 1, 1), 0.5), torch.tensor([0.1, 0.2, 0.3, 0.9])[:, None, None]])
    drawing = viz.heat(a, PICTURES)
    bars = [axes for axes in drawing.figure.axes if axes.patches]
    assert [axes.get_ylim() for axes in bars] == [(0, 1), (0, 1)]
    assert [round(float(p.get_height()), 3) for p in bars[1].patches] == [0.1, 0.2, 0.3, 0.9]
    assert texts(drawing) == ["0.50 to 0.50", "0.10 to 0.90"]


def test_equal_values_have_equal_colours_whatever_stands_beside_them():
    flat, wide = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[[[0.0, 0.5], [0.5, 1.0]]]])
    colours = [viz.heat(a).figure.axes[0].images[0].get_array() for a in (flat, wide)]
    assert (colours[0][0, 1] == colours[1][0, 1]).all()
    assert (colours[1][0, 0] != colours[1][1, 1]).any()


def test_a_symmetric_scale_diverges():
    a = torch.tensor([[[[-1.0, 0.0, 1.0]]]])
    low, zero, high = viz.heat(a, scale=(-1, 1)).figure.axes[0].images[0].get_array()[0]
    assert min(zero[:3]) > 0.9  # almost white
    assert min(low[:3]) < 0.5
    assert min(high[:3]) < 0.5


def test_every_map_of_a_dict_is_drawn_and_named():
    drawing = viz.heat({"channel": torch.full((2, 4, 1, 1), 0.25), "spatial": torch.full((2, 1, 3, 4), 0.75)}, PICTURES)
    assert texts(drawing) == ["channel 0.25 to 0.25", "spatial 0.75 to 0.75"] * 2


@pytest.mark.parametrize(
    ("a", "options", "says"),
    [
        (torch.rand(2, 4), {}, "2 4"),
        ({"a": torch.rand(2, 4, 1, 1), "b": torch.rand(3, 4, 1, 1)}, {}, "'b'"),
        (torch.full((2, 4, 1, 1), 1.5), {}, "1.5"),
        (torch.full((2, 4, 1, 1), float("nan")), {}, "nan"),
        (torch.rand(2, 4, 1, 1), {"x": torch.rand(2, 1, 6, 8)}, "2 1 6 8"),
        (torch.rand(2, 4, 1, 1), {"labels": ["one"]}, "1 labels for 2"),
    ],
)
def test_heat_refuses(a, options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        viz.heat(a, **options)


# Diagrams


def test_the_diagram_has_every_box_its_label_and_its_shape():
    assert sorted(texts(viz.diagram(*BLOCK))) == sorted(["x\nC H W", "×", "y", "pool\nmean", "C 1 1", "gate\nσ"])


def test_a_lit_step_changes_the_colours_and_nothing_else():
    whole, step = viz.diagram(*BLOCK), viz.diagram(*BLOCK, lit=["pool mean"])
    assert texts(whole) == texts(step)

    def look(drawing):
        patches = drawing.figure.axes[0].patches
        return [p.get_window_extent().bounds for p in patches], [p.get_facecolor() for p in patches]

    assert look(whole)[0] == look(step)[0]
    pool = matplotlib.colors.to_rgba(viz.KINDS["pool"])
    assert look(step)[1].count(pool) == 1
    assert set(look(step)[1]) == {pool, matplotlib.colors.to_rgba(viz.PAPER)}
    assert len(set(look(whole)[1])) == 3


def test_a_box_stands_to_the_right_of_all_that_feed_it():
    boxes, edges = viz._layout(("tensor x > add > tensor y", "tensor x > conv 3×3 > norm BN > add"))
    assert all(boxes[a].column < boxes[b].column for a, b in edges)
    assert [boxes[b].row for b in ("tensor x", "add", "conv 3×3")] == [0, 0, 1]


@pytest.mark.parametrize("kind", viz.KINDS)
def test_every_kind_can_be_drawn(kind):
    assert len(viz.diagram(f"tensor x > {kind} k > tensor y").figure.axes[0].patches) >= 3


@pytest.mark.parametrize(
    ("chains", "lit", "says"),
    [
        (["tensor x > pol mean"], None, "'pol'"),
        (["tensor x > > tensor y"], None, "kind of box ''"),
        (["tensor x > pool mean"], ["pool max"], "'pool max'"),
        (["tensor x > pool a > gate b > pool a"], None, "loop"),
        (["tensor x > pool a > add", "tensor x > add"], None, "through 'pool a'"),
        ([" > ".join(f"conv {i}" for i in range(12))], None, "12 boxes"),
    ],
)
def test_diagram_refuses(chains, lit, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        viz.diagram(*chains, lit=lit)


# Curves, intervals, tables


def test_curves_refuse_lists_of_different_lengths():
    with pytest.raises(ValueError, match="'b' has 3 values for 2 places"):
        viz.curves({"a": [1, 2], "b": [1, 2, 3]}, x=[1, 2], xlabel="x", ylabel="y")


def test_close_ends_of_curves_keep_their_names_apart():
    drawing = viz.curves({"a": [0, 0.5], "b": [0, 0.5], "c": [0, 1.0]}, xlabel="x", ylabel="y")
    names = drawing.figure.axes[0].texts
    heights = sorted(t.xyann[1] + 0.8 * 2.6 * 72 * t.xy[1] / 1.1 for t in names)
    assert all(b - a >= 11.9 for a, b in itertools.pairwise(heights))


def test_a_power_is_a_straight_line_on_logarithmic_axes():
    drawing = viz.curves({"a": [1, 100], "b": [1, 101]}, x=[1, 10], xlabel="x", ylabel="y", log=True)
    axes = drawing.figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "10"]
    a, b = (t.xyann[1] for t in axes.texts)
    assert 11 < b - a < 13


def test_an_interval_holds_its_value():
    with pytest.raises(ValueError, match="'se'"):
        viz.intervals({"se": (1.0, 0.0, 0.5)}, xlabel="x")


def test_a_row_without_record_says_so_beside_the_others():
    drawing = viz.intervals({"se": None, "eca": (0.001, -0.002, 0.004)}, xlabel="difference")
    assert texts(drawing) == ["no record"]
    assert [float(y) for line in drawing.figure.axes[0].lines for y in line.get_ydata()] == [1, 1, 1]
    assert texts(viz.intervals({"se": None, "eca": None}, xlabel="difference", zero=0)) == ["no record"] * 2


def test_a_grid_has_a_sign_in_every_cell_and_a_key_for_what_is_there():
    drawing = viz.grid({"a": {"before": "yes", "neck": "no"}, "b": {"before": "yes", "neck": "not run"}})
    assert sorted(texts(drawing)) == sorted(
        ["✓", "yes", "×", "no", "?", "not run", "before", "neck", "a", "b", "✓", "×", "✓", "?"]
    )
    fills = [matplotlib.colors.to_hex(p.get_facecolor()) for p in drawing.figure.axes[0].patches[-4:]]
    assert fills == [viz.STATES[state][0] for state in ("yes", "no", "yes", "not run")]
    assert len({look for looks in viz.STATES.values() for look in looks}) == 2 * len(viz.STATES)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({}, "at least one row"),
        ({"a": {"before": "yse"}}, "unknown state 'yse'; did you mean 'yes'"),
        ({"a": {"before": "yes"}, "b": {"after": "yes"}}, "'b' has the columns after, not before"),
    ],
)
def test_grid_refuses(rows, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        viz.grid(rows)


@pytest.mark.parametrize("slug", attn.names())
def test_card(slug, tmp_path, monkeypatch):
    monkeypatch.setattr("attn.experiment.read", lambda slug, **where: [])
    rows = {row[""]: row[attn.card(slug).name] for row in viz.card(slug)}
    assert rows["measured here"] == "no run of record yet"
    assert rows["family"] == attn.card(slug).family
    assert attn.card(slug).paper in rows["paper"]
    assert f"{attn.card(slug).params(256):,}" in rows["parameters"]


def test_family_lists_what_the_register_has():
    assert {row["mechanism"] for row in viz.family("channel")} == {
        f"[{attn.card(s).name}]({s}.ipynb)" for s in attn.names("channel")
    }


def test_a_map_is_described_with_its_range_and_sum():
    assert viz._describe(Map("B h N N", (0, 1), "N")) == "B h N N, 0 to 1, adds up to one over N"
    assert viz._describe(Map("B C H W")) == "B C H W"


def test_the_source_is_the_class_without_its_card():
    text = repr(viz.source(attn.SE))
    assert text.startswith("class SE(")
    assert text.rstrip().endswith("return x * self.attention(x)")


def test_without_matplotlib_the_extra_is_named():
    code = "import sys; sys.modules['matplotlib'] = None; from attn import viz; viz.diagram('tensor x > tensor y')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("ImportError: figures need matplotlib: pip install attn[book]")


def test_paths_draw_a_square_for_each_look():
    places = torch.tensor([[[0.0, 0.0], [0.5, -0.25]]])
    (axes,) = viz.paths({"after": places}, torch.zeros(1, 1, 16, 32), side=8).figure.axes
    assert [p.get_xy() for p in axes.patches] == [(11.5, 3.5), (19.5, 1.5)]
    assert [t.get_text() for t in axes.texts] == ["1", "2"]
    with pytest.raises(ValueError, match="the places 'after' must be 2 T 2, not 1 2 2"):
        viz.paths({"after": places}, torch.zeros(2, 1, 16, 16), side=8)


def test_scatter_names_what_has_room():
    apart = {f"m{i}": (10.0**i, 2.0**i) for i in range(5)}
    drawing = viz.scatter(apart, xlabel="multiply-adds", ylabel="ms")
    assert texts(drawing) == list(apart)
    (axes,) = drawing.figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    heap = {f"mechanism{i}": (100 + i, 100 - i) for i in range(40)} | {"alone": (1e6, 1e6)}
    named = texts(viz.scatter(heap, groups=dict.fromkeys(heap, "channel"), xlabel="a", ylabel="b"))
    assert "alone" in named
    assert 1 < len(named) < 10


@pytest.mark.parametrize(("points", "message"), [({}, "at least one point"), ({"adl": (0, 1)}, "'adl' at 0, 1")])
def test_scatter_refuses(points, message):
    with pytest.raises(ValueError, match=message):
        viz.scatter(points, xlabel="a", ylabel="b")
