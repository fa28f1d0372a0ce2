# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""Every source tensor carries its own number, and the test looks where each number arrived.

And what a network with new attention computes: what the old one did, whatever the mechanism, and however the old one
was trained."""

import json

import pytest
import torch

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

from safetensors.torch import save_file  # noqa: E402
from trained import as_trained  # noqa: E402

from attn import card, names  # noqa: E402
from attn.controls import CONTROLS  # noqa: E402

LAYERS = [slug for slug in names() if card(slug).detector and card(slug).keeps_shape]


def numbered():
    module = yolo.build("yolov5n.yaml").model
    for i, tensor in enumerate(module.state_dict().values()):
        tensor.fill_(i + 1)
    return module


@pytest.fixture(scope="module")
def source():
    return numbered()


def arrivals(source, target, count):
    """For each source tensor the layers of the target, counted without attention, in which its number stands."""
    plain = [i for i, layer in enumerate(target.model.model) if not isinstance(layer, yolo.Attend)]
    home = {name: i + 1 for i, name in enumerate(source.state_dict())}
    number = {i: [] for i in range(1, count + 1)}
    for name, tensor in target.model.state_dict().items():
        value = tensor.unique()
        _, layer, rest = name.split(".", 2)
        if len(value) == 1 and int(layer) in plain and value.item() in number:
            number[int(value)].append(f"model.{plain.index(int(layer))}.{rest}")
    return {name: number[i] for name, i in home.items()}


@pytest.mark.parametrize("at", [0, 3, 9, 23, "before:SPPF", "after:C3", "after:C3[1]", "neck"])
def test_every_tensor_arrives_where_it_belongs(source, at):
    target = yolo.build("yolov5n.yaml", "se", at)
    done = yolo.transfer(source, target)
    assert (done.copied, done.total, done.wrong, done.skipped) == (427, 427, 0, {})
    assert {name: [name] for name in source.state_dict()} == arrivals(source, target, 427)


@pytest.mark.parametrize(
    ("at", "bias", "copied", "total"), [(9, True, 186, 431), (9, False, 186, 429), (3, True, 49, 431)]
)
def test_by_name_is_what_ultralytics_does(source, at, bias, copied, total):
    ours, theirs = (yolo.build("yolov5n.yaml", "se", at, bias=bias) for _ in range(2))
    theirs.model.load_state_dict(ours.model.state_dict())
    done = yolo.transfer(source, ours, by="name")
    theirs.load(source)
    assert (done.copied, done.total, len(done.skipped)) == (copied, total, 427 - copied)
    for name, tensor in theirs.model.state_dict().items():
        assert torch.equal(tensor, ours.model.state_dict()[name]), name
    # A number that stands in the target, but not at home.
    lost = [name for name, found in arrivals(source, ours, 427).items() if found and name not in found]
    assert done.wrong == len(lost) == {9: 0, 3: 7}[at]


def test_another_number_of_classes_is_skipped_and_both_are_named(source):
    done = yolo.transfer(source, yolo.build("yolov5n.yaml", "se", 9, nc=10))
    assert (done.copied, done.total, done.wrong) == (391, 427, 0)
    assert set(done.skipped.values()) == {"80 classes in the source, 10 in the target"}
    assert all(name.startswith("model.24.cv3") for name in done.skipped)
    assert "36 skipped" in str(done)


def test_attention_travels_too():
    places = ["after:C3[1]", "neck"]
    first, second = (yolo.build("yolov5n.yaml", "se", places, start="identity") for _ in range(2))
    for i, tensor in enumerate(first.model.state_dict().values()):
        tensor.fill_(i + 1)
    assert yolo.transfer(first, second).copied == len(first.model.state_dict()) == 427 + 4 * 5
    arrived = second.model.state_dict()
    assert all(torch.equal(tensor, arrived[name]) for name, tensor in first.model.state_dict().items())
    # Into a model without it, the rest is copied and the attention is named as left behind.
    plain = yolo.build("yolov5n.yaml")
    done = yolo.transfer(first, plain)
    assert (done.copied, done.total, len(done.skipped)) == (427, 447, 20)
    assert "model.5.alpha" in done.skipped
    number = list(first.model.state_dict()).index("model.6.conv.weight") + 1
    assert plain.model.state_dict()["model.5.conv.weight"].unique().item() == number


@pytest.mark.parametrize("other", ["yolov5s.yaml", "yolov8n.yaml", "yolov5n-p6.yaml"])
def test_another_architecture_is_refused_and_nothing_is_copied(source, other):
    target = yolo.build(other)
    before = {name: tensor.clone() for name, tensor in target.model.state_dict().items()}
    for by in ("structure", "name"):
        with pytest.raises(ValueError, match="not the same architecture"):
            yolo.transfer(source, target, by=by)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.model.state_dict().items())


def test_all_forms_of_a_source_are_the_same(source, tmp_path):
    whole = yolo.build("yolov5n.yaml")
    yolo.transfer(source, whole)
    whole.save(tmp_path / "w.pt")
    save_file(dict(source.state_dict()), tmp_path / "w.safetensors")
    forms = [source, whole, source.state_dict(), tmp_path / "w.pt", str(tmp_path / "w.safetensors")]
    for form in forms:
        target = yolo.build("yolov5n.yaml", "se", 9)
        assert yolo.transfer(form, target).copied == 427
        assert target.model.state_dict()["model.25.cv3.2.2.bias"].unique().item() == 426


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (("nowhere.pt",), FileNotFoundError, ["'nowhere.pt'"]),
        (("x.onnx",), ValueError, ["x.onnx", ".safetensors"]),
        ((3,), ValueError, ["int", "state dict"]),
        (({},), ValueError, ["dict"]),
        (({"conv.weight": torch.zeros(1)},), ValueError, ["'conv.weight'"]),
    ],
)
def test_a_bad_source_is_refused(call, error, words):
    with pytest.raises(error) as caught:
        yolo.transfer(*call, yolo.build("yolov5n.yaml"))
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_bad_target_or_way_is_refused(source):
    with pytest.raises(ValueError, match=r"'yolov5n\.yaml' is no target"):
        yolo.transfer(source, "yolov5n.yaml")
    with pytest.raises(ValueError, match=r"unknown by 'names'; did you mean 'name'\?"):
        yolo.transfer(source, source, by="names")


# What the new network computes


def shaken(*call, **options):
    """A detector whose every number is as if trained: statistics, and the attention too."""
    torch.manual_seed(0)
    y = yolo.build("yolov5n.yaml", *call, **{"nc": 3, **options})
    as_trained(y.model)
    return y


def output(y):
    x = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return y.model.eval()(x)[0]


@pytest.fixture(scope="module")
def plain():
    return shaken()


@pytest.mark.parametrize("slug", [*LAYERS, *CONTROLS])
def test_an_identity_start_equals_the_old_network_bit_for_bit(plain, slug):
    """Every mechanism that keeps its shape; at every kind of place it is test_build that says so, of SE."""
    y = yolo.build("yolov5n.yaml", slug, 9, weights=plain)
    assert y.model.model[9].alpha == 0
    assert torch.equal(output(y), output(plain))
    y.model.model[9].alpha.data.fill_(0.5)
    x = torch.randn(1, 256, 4, 4)
    nothing = torch.equal(y.model.model[9].mechanism.eval()(x), x)  # as a dropout, outside training
    assert torch.equal(output(y), output(plain)) is nothing


@pytest.fixture(scope="module")
def attended():
    return shaken("se", 9)


def alphas(y):
    return {layer.layer: layer.alpha for layer in yolo.read(y).inserted}


@pytest.mark.parametrize("form", ["pt", "yolo"])
def test_weights_of_the_same_model_keep_its_plain_start(attended, tmp_path, capsys, form):
    if form == "pt":
        attended.save(tmp_path / "best.pt")
    y = yolo.build("yolov5n.yaml", "se", 9, weights=attended if form == "yolo" else tmp_path / "best.pt")
    assert "start plain" in capsys.readouterr().out
    assert alphas(y) == {"model.9": None}
    if form == "yolo":
        assert torch.equal(output(y), output(attended))


def test_weights_of_the_same_model_keep_its_alpha():
    source = shaken("se", 9, start="identity")
    source.model.model[9].alpha.data.fill_(0.25)
    y = yolo.build("yolov5n.yaml", "se", 9, weights=source)
    assert alphas(y) == {"model.9": 0.25}
    assert torch.equal(output(y), output(source))


@pytest.mark.parametrize("form", ["yolo", "tensors"])
def test_what_was_trained_plainly_is_not_muted_by_a_new_alpha(attended, capsys, form):
    """Of two places one is new: an α for both, 0 at the new one, 1 at the one that was trained without."""
    source = attended if form == "yolo" else attended.model.state_dict()
    y = yolo.build("yolov5n.yaml", "se", [9, "after:C3[1]"], weights=source)
    assert "α is 1 at model.10, as the source was trained without α" in capsys.readouterr().out
    assert alphas(y) == {"model.5": 0, "model.10": 1}
    torch.testing.assert_close(output(y), output(attended), rtol=1e-4, atol=1e-4)
    x = torch.randn(1, 256, 4, 4)
    torch.testing.assert_close(y.model.model[10](x), attended.model.model[9](x))


def test_a_mechanism_without_tensors_is_not_muted_either():
    y = yolo.build("yolov5n.yaml", "mask-8", 9, weights=shaken("mask-8", 9), start="identity")
    assert alphas(y) == {"model.9": 1}


@pytest.mark.parametrize(("slug", "options"), [("eca", {}), ("se", {"reduction": 8})])
def test_another_mechanism_starts_at_zero(attended, slug, options):
    y = yolo.build("yolov5n.yaml", slug, 9, weights=attended, **options)
    assert alphas(y) == {"model.9": 0}


# What was put in, read back


def test_what_was_put_in_is_read_back_from_every_form(tmp_path):
    y = shaken("se", ["after:C3[1]", 9], start="identity")
    y.model.model[5].alpha.data.fill_(0.5)
    y.save(tmp_path / "best.pt")
    state = {name: tensor.contiguous() for name, tensor in y.model.state_dict().items()}
    save_file(state, tmp_path / "best.safetensors", {"names": json.dumps(["a", "b", "c"])})
    for form in (y, y.model, tmp_path / "best.pt"):
        assert yolo.read(form).inserted == (yolo.Inserted("model.5", "se", 0.5), yolo.Inserted("model.10", "se", 0.0))
    for form in (state, tmp_path / "best.safetensors"):
        assert yolo.read(form).inserted == (yolo.Inserted("model.5", None, 0.5), yolo.Inserted("model.10", None, 0.0))
    assert yolo.read(shaken()).inserted == ()
    found = yolo.read(tmp_path / "best.safetensors")
    assert (found.classes, found.names) == (3, {0: "a", 1: "b", 2: "c"})
    assert str(yolo.Inserted("model.5", "se", 0.5)) == "model.5: se, identity start, α now 0.5"
    assert str(yolo.Inserted("model.5", "se", None)) == "model.5: se, plain start"


def test_a_mechanism_takes_over_the_convolution_it_replaces(plain):
    place = "replace:C3[1].m.cv2"
    y = yolo.build("yolov5n.yaml", "dcn", place, weights=plain)
    torch.testing.assert_close(output(y), output(plain), atol=1e-4, rtol=1e-4)
    done = yolo.transfer(plain, y)
    assert (done.copied, done.total, done.wrong, done.skipped) == (427, 427, 0, {})
    nc = y.model.model[-1].nc
    again = yolo.transfer(y, yolo.build("yolov5n.yaml", "dcn", place, nc=nc))
    assert (again.copied, again.skipped) == (again.total, {})
    for slug, options in (("sk", {}), ("dcn", {"kernel_size": 5})):  # no tensor of these has the kernel's shape
        other = yolo.transfer(plain, yolo.build("yolov5n.yaml", slug, place, nc=nc, **options))
        assert (other.copied, set(other.skipped.values())) == (425, {"a mechanism stands there in the target"})
