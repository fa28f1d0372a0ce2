# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""The whole life of a model with attention, through ultralytics' own calls.

Trained, stopped and resumed, validated, used, exported, reopened where nothing was imported, shared out to several
processes. The detector is the one that was trained on digits, so that it finds something, with CBAM at layer 9 and
α = 0.5, so that what loses the attention on the way gives other numbers.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import torch

yolo = pytest.importorskip("attn.yolo", exc_type=ImportError)

from ultralytics import YOLO  # noqa: E402
from ultralytics.models.yolo.detect import DetectionTrainer  # noqa: E402
from ultralytics.utils.dist import generate_ddp_file  # noqa: E402

from attn import cli, datasets, experiment  # noqa: E402

BASE = experiment.weights_file("final", "digits", "yolov5n.yaml", 0)
QUICK = {"imgsz": 64, "batch": 8, "device": "cpu", "workers": 0, "plots": False, "verbose": False, "amp": False}


@pytest.fixture(scope="module")
def data():
    return str(datasets.yaml("digits", train=16, val=8))


def built(start=0.5, **options):
    torch.manual_seed(0)
    y = yolo.build("yolov5n.yaml", "cbam", 9, weights=BASE, **options)
    y.model.model[9].alpha.data.fill_(start)
    return y


def output(y, size=(64, 64)):
    x = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return y.model.eval()(x)[0]


def python(code, cwd, **kwargs):
    """Runs the code in an interpreter that has imported nothing of ours."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=600, check=False, **kwargs
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def life(data, tmp_path_factory):
    """Two epochs of two steps, the first of them warm-up, in this process; what is looked at while it runs is kept."""
    y, seen = built(), types.SimpleNamespace(steps=[], folder=tmp_path_factory.mktemp("life"))

    def stepped(trainer):
        alpha = trainer.model.model[9].alpha
        weight, bias = trainer.model.model[9].mechanism, trainer.model.model[0].bn.bias
        of = {id(p): group for group in trainer.optimizer.param_groups for p in group["params"]}
        seen.steps.append(
            {
                "alpha": (of[id(alpha)]["param_group"], of[id(alpha)]["lr"]),
                "kernel": of[id(trainer.model.model[0].conv.weight)]["lr"],
                "bias": of[id(bias)]["lr"],
                "owned": all(id(p) in of for p in weight.parameters()),
            }
        )

    def saved(trainer):
        seen.averaged = {name: tensor.clone() for name, tensor in trainer.ema.ema.state_dict().items()}

    y.add_callback("on_train_batch_end", stepped)
    y.add_callback("on_model_save", saved)
    settings = {"optimizer": "SGD", "lr0": 0.01, "warmup_epochs": 1, "nbs": 8}
    y.train(data=data, epochs=2, project=str(seen.folder), name="one", **settings, **QUICK)
    seen.best, seen.last = (seen.folder / f"one/weights/{name}.pt" for name in ("best", "last"))
    return seen


# Training


def test_alpha_warms_up_as_a_weight_and_not_as_a_bias(life):
    first, second = life.steps[:2]
    assert first["bias"] == pytest.approx(0.1)  # the warm-up's own rate, ten times lr0
    assert first["alpha"] == ("weight", 0.0)
    assert first["kernel"] == 0.0
    assert second["alpha"][1] == second["kernel"] == pytest.approx(0.005)
    assert first["owned"]


@pytest.mark.parametrize("optimizer", ["auto", "MuSGD", "AdamW"])
@pytest.mark.parametrize("slug", ["se", "cbam", "eca", "bottleneck-large"])
def test_alpha_is_no_bias_to_any_optimizer(slug, optimizer, data):
    model = yolo.build("yolov5n.yaml", slug, ["before:SPPF", "neck"], start="identity").model
    trainer = types.SimpleNamespace(args=types.SimpleNamespace(lr0=0.01, warmup_bias_lr=0.1), data={"nc": 10})
    groups = DetectionTrainer.build_optimizer(trainer, model, name=optimizer, iterations=10).param_groups
    alphas = {id(p) for name, p in model.named_parameters() if name.endswith("alpha")}
    found = [group["param_group"] for group in groups for p in group["params"] if id(p) in alphas]
    assert found == ["weight"] * 4


def test_the_checkpoint_holds_the_averaged_weights(life):
    found = yolo.read(life.last)
    assert found.tensors.keys() == life.averaged.keys()
    assert all(
        torch.equal(found.tensors[name], t.half() if t.is_floating_point() else t) for name, t in life.averaged.items()
    )
    (layer,) = found.inserted
    assert (layer.layer, layer.attention) == ("model.9", "cbam")
    assert layer.alpha == pytest.approx(0.5, abs=0.01)


@pytest.mark.proof
def test_killed_and_resumed(data, tmp_path, capsys):
    """Killed in the second of three epochs; resumed where only ultralytics was imported."""
    settings = {**QUICK, "project": str(tmp_path / "runs"), "name": "run", "epochs": 3, "val": False}
    settings |= {"optimizer": "AdamW", "lr0": 0.01, "nbs": 8, "warmup_epochs": 0}
    code = f"""
import os
from attn import yolo
y = yolo.build("yolov5n.yaml", "cbam", 9, weights={str(BASE)!r})
y.add_callback("on_train_epoch_end", lambda trainer: os._exit(9) if trainer.epoch == 1 else None)
y.train(data={data!r}, **{settings!r})
"""
    status, out, err = python(code, tmp_path)
    assert status == 9, err[-2000:]
    last = tmp_path / "runs/run/weights/last.pt"
    (stopped,) = yolo.read(last).inserted
    code = f"""
from ultralytics import YOLO
y, epochs = YOLO({str(last)!r}), []
y.add_callback("on_train_epoch_start", lambda trainer: epochs.append(trainer.epoch))
y.train(resume=True)
print("RESULT", epochs)
"""
    status, out, err = python(code, tmp_path)
    assert status == 0, err[-2000:]
    assert "RESULT [1, 2]" in out
    assert cli.main(["show", str(last)]) == 0
    (ended,) = yolo.read(last).inserted
    assert capsys.readouterr().out.endswith(f"10 classes\nmodel.9: cbam, identity start, α now {ended.alpha:.3g}\n")
    assert 0 != stopped.alpha != ended.alpha != 0


def test_a_step_in_half_precision(data):
    y = built()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = y.model.train()(torch.rand(2, 3, 64, 64))
        loss = sum(t.float().square().mean() for t in (outputs["boxes"], outputs["scores"]))
    loss.backward()
    alpha = y.model.model[9].alpha
    assert outputs["scores"].dtype == torch.bfloat16
    assert alpha.dtype == alpha.grad.dtype == torch.float32
    assert alpha.grad.isfinite()
    assert alpha.grad != 0


def test_an_identity_start_is_exact_in_half_precision_too():
    plain, ours = yolo.build("yolov5n.yaml", weights=BASE), built(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(output(ours), output(plain))
    assert torch.equal(
        output(types.SimpleNamespace(model=ours.model.fuse())), output(types.SimpleNamespace(model=plain.model.fuse()))
    )


# Use


def test_validation_of_an_identity_start_is_that_of_the_old_network(data, tmp_path):
    settings = {"data": data, "imgsz": 160, "batch": 8, "device": "cpu", "workers": 0, "plots": False, "verbose": False}
    old, new = (
        y.val(project=str(tmp_path), **settings).results_dict
        for y in (yolo.build("yolov5n.yaml", weights=BASE), yolo.build("yolov5n.yaml", "cbam", 3, weights=BASE))
    )
    assert new == old
    assert old["metrics/mAP50(B)"] > 0.5


@pytest.fixture(scope="module")
def picture(data):
    folder = next(path for path in datasets.home().glob("data/digits/images/*val*") if path.is_dir())
    return str(sorted(folder.iterdir())[0])


def test_reopened_in_a_fresh_interpreter_it_sees_the_same(life, picture, tmp_path):
    settings = {"imgsz": 160, "conf": 1e-6, "device": "cpu", "verbose": False}
    (here,) = YOLO(life.best).predict(picture, **settings)
    assert len(here.boxes) > 0
    code = f"""
import json
from ultralytics import YOLO
(there,) = YOLO({str(life.best)!r}).predict({picture!r}, **{settings!r})
print("RESULT", json.dumps(there.boxes.data.tolist()))
"""
    status, out, err = python(code, tmp_path)
    assert status == 0, err[-2000:]
    (line,) = [line for line in out.splitlines() if line.startswith("RESULT ")]
    assert json.loads(line.removeprefix("RESULT ")) == here.boxes.data.tolist()


@pytest.mark.skipif(importlib.util.find_spec("lap") is None, reason="tracking needs the package lap")
def test_tracked(picture):
    y = built()
    frames = [y.track(picture, persist=True, imgsz=160, device="cpu", verbose=False)[0] for _ in range(3)]
    assert len(frames[0].boxes) > 0
    assert all(torch.equal(frame.boxes.id, frames[0].boxes.id) for frame in frames)


def test_loaded_into_another(life):
    y = built(0).load(life.last)
    state = y.model.state_dict()
    assert all(torch.equal(state[name], t.half().to(t.dtype)) for name, t in life.averaged.items())
    assert y.model.model[9].alpha != 0


@pytest.mark.filterwarnings("ignore:std")  # of a single number, such as α
def test_information_counts_it():
    plain, ours = yolo.build("yolov5n.yaml", weights=BASE), built()
    _, before, *_ = plain.info()
    _, after, *_ = ours.info(detailed=True)
    own = sum(p.numel() for p in ours.model.model[9].parameters())
    assert after - before == own > 1000


def test_fusing_keeps_it():
    y = built()
    before = output(y)
    y.fuse()
    assert isinstance(y.model.model[9], yolo.Attend)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in y.model.model[8].modules())
    torch.testing.assert_close(output(y), before, rtol=1e-3, atol=1e-3)
    y.model.model[9].alpha.data.fill_(0)
    assert not torch.allclose(output(y), before, rtol=1e-2)


# Export

EXPORT = pytest.mark.filterwarnings("ignore")  # the exporters of torch warn of themselves and of every shape they fix


def exported(life, tmp_path, **settings):
    y = YOLO(life.best)
    file = y.export(imgsz=64, device="cpu", verbose=False, **settings)
    moved = tmp_path / os.path.basename(file)
    os.replace(file, moved)
    return moved


def close(a, b):
    return np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@EXPORT
@pytest.mark.parametrize("dynamic", [True, False], ids=["dynamic", "fixed"])
def test_onnx_computes_the_same(life, tmp_path, dynamic):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(exported(life, tmp_path, format="onnx", dynamic=dynamic, simplify=False)))
    network = YOLO(life.best).model.eval()
    muted = YOLO(life.best).model.eval()
    muted.model[9].alpha.data.fill_(0)
    for size in [(64, 64), (96, 128)] if dynamic else [(64, 64)]:
        x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
        (got,) = session.run(None, {"images": x.numpy()})
        with torch.no_grad():
            assert close(got, network(x)[0].numpy())
            assert not close(got, muted(x)[0].numpy())


@EXPORT
def test_torchscript_computes_the_same(life, tmp_path):
    scripted = torch.jit.load(exported(life, tmp_path, format="torchscript"))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert close(scripted(x).numpy(), YOLO(life.best).model.eval()(x)[0].numpy())


@EXPORT
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="this export needs the package openvino")
def test_openvino_computes_the_same(life, tmp_path):
    import openvino

    folder = exported(life, tmp_path, format="openvino")
    compiled = openvino.Core().compile_model(next(folder.glob("*.xml")), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert close(compiled(x.numpy())[0], YOLO(life.best).model.eval()(x)[0].numpy())


# Several processes


@pytest.mark.proof
@pytest.mark.parametrize("at", [9, "inside:C3[1]"])
def test_the_file_for_the_workers_of_several_gpus_runs_by_itself(at, data, tmp_path):
    """As ultralytics writes it for each worker; here one, on the processor, from a folder that is not ours."""
    y = yolo.build("yolov5n.yaml", "cbam", at, weights=BASE)
    trainer = DetectionTrainer(
        overrides={**y.overrides, **QUICK, "data": data, "epochs": 1, "project": str(tmp_path), "val": False}
    )
    trainer.model = y.model
    file = generate_ddp_file(trainer)
    try:
        done = subprocess.run([sys.executable, file], cwd="/", capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    finally:
        for written in (file, file.replace(".py", ".pt")):
            os.unlink(written)
    (layer,) = yolo.read(next(tmp_path.rglob("last.pt"))).inserted
    assert layer.attention == "cbam"


WORKER = """
import hashlib, sys
import torch
from torch import distributed, nn
from ultralytics import YOLO

rank, best, meeting = int(sys.argv[1]), *sys.argv[2:]
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
network = YOLO(best).model.train().requires_grad_(True)
network.model[-1].dfl.requires_grad_(False)
shared = nn.parallel.DistributedDataParallel(network, find_unused_parameters=True)
optimizer = torch.optim.SGD(network.parameters(), 0.01)
outputs = shared(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(rank)))
sum(t.square().mean() for t in (outputs["boxes"], outputs["scores"])).backward()
optimizer.step()
numbers = torch.cat([p.detach().flatten() for p in network.parameters()]).numpy().tobytes()
print("RESULT", hashlib.sha256(numbers).hexdigest(), float(network.model[9].alpha))
distributed.destroy_process_group()
"""


@pytest.mark.proof
def test_two_processes_take_the_same_step(life, tmp_path):
    calls = [[sys.executable, "-c", WORKER, str(rank), str(life.best), str(tmp_path / "meet")] for rank in range(2)]
    workers = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for call in calls]
    outs = [worker.communicate(timeout=600) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outs[0][1][-2000:]
    lines = [next(line for line in out.splitlines() if line.startswith("RESULT ")) for out, _ in outs]
    assert lines[0] == lines[1]
    (before,) = yolo.read(life.best).inserted
    assert math.isfinite(after := float(lines[0].split()[-1]))
    assert after != before.alpha


# Inside a block, and instead of a convolution


@pytest.mark.proof
@EXPORT
def test_the_life_of_attention_within_blocks(data, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    y = yolo.build("yolov5n.yaml", "cbam", ["inside:C3[1]", "replace:C3[1].m.cv2"], weights=BASE)
    inside = [m for m in y.model.modules() if isinstance(m, yolo.Attend) and m.alpha is not None]
    replaced = [m for m in y.model.modules() if isinstance(m, yolo.Attend) and m.alpha is None]
    assert (len(inside), len(replaced)) == (1, 2)  # this C3 has two bottlenecks
    inside[0].alpha.data.fill_(0.5)
    y.train(data=data, epochs=1, project=str(tmp_path), name="one", **QUICK)
    best = tmp_path / "one/weights/best.pt"
    found = sorted((m.attention, m.alpha is None) for m in yolo.read(best).inserted)
    assert found == [("cbam", False), ("cbam", True), ("cbam", True)]

    here = YOLO(best)
    code = f"""
import torch
from ultralytics import YOLO
x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    torch.save(YOLO({str(best)!r}).model.eval()(x)[0], "there.pt")
"""
    status, _, err = python(code, tmp_path)
    assert status == 0, err[-2000:]
    assert torch.equal(torch.load(tmp_path / "there.pt"), output(here))

    file = exported(types.SimpleNamespace(best=best), tmp_path, format="onnx", dynamic=True, simplify=False)
    session = runtime.InferenceSession(str(file))
    for size in [(64, 64), (96, 128)]:
        x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            assert close(session.run(None, {"images": x.numpy()})[0], here.model.eval()(x)[0].numpy())
