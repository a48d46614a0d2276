"""Training: learning rate, processes and micro-batches, the run directory, and what can go wrong."""

import copy
import hashlib
import json
import math
import multiprocessing
import os
import signal
import socket
import threading
import traceback
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny_config import TINY, tiny_config
from torch.utils._python_dispatch import TorchDispatchMode

import fsaf_core as fsaf
from fsaf_core.config import TrainConfig
from fsaf_core.data.loader import Loader, open_dataset
from fsaf_core.engine import train, trainer
from fsaf_core.engine.guards import Interrupt
from fsaf_core.engine.meters import Meters
from fsaf_core.engine.optim import (
    build_optimizer,
    clip_gradients,
    learning_rate,
    snapshot_steps,
    update_average,
)
from fsaf_core.engine.run_dir import Log, differences, validate_run_dir
from fsaf_core.engine.trainer import Trainer
from fsaf_core.engine.training_state import training_files
from fsaf_core.engine.training_step import TrainingStep
from fsaf_core.utils.distributed import DistributedContext, destroy, device_of, init


def lines(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]


# Learning rate, optimizer and gradients


def test_the_learning_rate_of_mmdetections_recipe():
    recipe, total = TrainConfig(), 12 * 7330
    rates = [learning_rate(recipe, step, total) for step in range(total)]
    assert rates[0] == pytest.approx(0.01 * 0.001)
    assert rates[250] == pytest.approx(0.01 * (0.001 + 0.999 * 250 / 499))
    assert rates[499] == pytest.approx(0.01) == rates[8 * 7330 - 1]
    assert rates[8 * 7330] == pytest.approx(0.001) == rates[11 * 7330 - 1]
    assert rates[11 * 7330] == pytest.approx(0.0001) == rates[-1]


def test_the_learning_rate_is_scaled_by_the_batch_and_follows_the_cosine():
    recipe = TrainConfig(batch_size=8, schedule="cosine", warmup_steps=0)
    assert learning_rate(recipe, 0, 100) == pytest.approx(0.005)
    assert learning_rate(recipe, 50, 100) == pytest.approx(0.0025)
    assert learning_rate(recipe, 99, 100) == pytest.approx(0.0025 * (1 + math.cos(0.99 * math.pi)))


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_the_optimizer_holds_the_trained_parameters_and_decays_all_of_them(name, kind):
    detector = fsaf.build_detector(replace(TINY.model, backbone="resnet18", frozen_stages=1))
    optimizer = build_optimizer(TrainConfig(optimizer=name), detector)
    assert isinstance(optimizer, kind)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in detector.parameters() if parameter.requires_grad}
    assert len(held) < len([*detector.parameters()])
    assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-4}


def test_gradients_are_scaled_to_the_norm_and_the_norm_before_is_returned():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1)
    weight.grad = torch.tensor([3.0, 4.0])
    assert clip_gradients(optimizer, None) == 5 and weight.grad.tolist() == [3, 4]
    assert clip_gradients(optimizer, 1.0) == 5
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8], abs=1e-5)


def test_the_average_forgets_its_first_weights_and_then_keeps_the_decay():
    model, average = torch.nn.BatchNorm2d(1), torch.nn.BatchNorm2d(1)
    expected = model.weight.item()
    for step in range(1, 41):
        model.weight.data.fill_(step)
        model.running_mean.fill_(step)
        update_average(average, model, 0.7, step)
        keep = 0.7 if step > 20 else (1 + step) / (10 + step)  # 21 / 30 = 0.7
        expected = keep * expected + (1 - keep) * step
    assert average.weight.item() == pytest.approx(expected, rel=1e-5)  # float32, 40 steps
    assert abs(average.running_mean.item() - expected) < 1e-3 * expected  # it began at 0, not at 1


def test_with_an_average_the_run_evaluates_and_saves_it(root, tmp_path):
    config = tiny_config(root, steps=4, snapshots=2, ema=0.5)
    by_hand, seen = None, []

    class Watched(Trainer):
        def update(self, *batches):
            nonlocal by_hand
            by_hand = by_hand or copy.deepcopy(self.detector)
            super().update(*batches)
            update_average(by_hand, self.detector, 0.5, self.step + 1)
            seen.append(self.detector.network.head.af_cls.weight.detach().clone())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "Trainer", Watched)
        result = train.train(config, tmp_path / "run", "cpu")
    name = "network.head.af_cls.weight"
    saved = fsaf.load(tmp_path / "run" / "model.safetensors").state_dict()[name]
    assert saved.equal(by_hand.state_dict()[name]) and not saved.equal(seen[-1])
    checkpoint = fsaf.load(training_files(tmp_path / "run" / "checkpoints")[-1])
    assert checkpoint.state_dict()[name].equal(saved)
    again = fsaf.evaluate(by_hand.eval(), Loader(open_dataset(config.data, "val"), config, False))
    assert again.metrics["AP"] == result.metrics["AP"]


def test_snapshots_are_log_spaced_from_the_start_to_the_end():
    assert snapshot_steps(0, 100) == set()
    assert snapshot_steps(4, 1000) == {0, 1, 32, 1000}
    assert len(snapshot_steps(12, 1800)) == 12


# A run


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "a"
    train.train(tiny_config(root, snapshots=4), run_dir, "cpu")
    return run_dir


def test_a_run_leaves_its_files(finished):
    names = {path.name for path in finished.iterdir() if not path.name.startswith(".")}
    assert names == {
        "config.json", "log.jsonl", "checkpoints", "snapshots", "best.safetensors", "model.safetensors",
        "metrics.json", "levels.json", "detections.json", "pictures.json",
    }  # fmt: skip
    assert [path.stem for path in sorted((finished / "snapshots").iterdir())] == [
        f"step_{step:09d}" for step in (0, 1, 3, 12)
    ]
    assert [path.stem for path in training_files(finished / "checkpoints")] == [
        "step_000000008",
        "step_000000012",
    ]
    assert {"AP", "AP50", "by_class", "by_size"} <= json.loads(
        (finished / "metrics.json").read_text()
    ).keys()
    levels = json.loads((finished / "levels.json").read_text())
    assert len(levels["size"]) == len(levels["level"]) == len(levels["heuristic"]) > 0


def test_the_final_file_holds_the_weights_of_the_last_step(finished):
    last = torch.load(training_files(finished / "checkpoints")[-1], weights_only=True)["model"]
    final = fsaf.load(finished / "model.safetensors").state_dict()
    assert all(torch.equal(last[name], tensor) for name, tensor in final.items())


def test_the_log_adds_up(finished):
    steps = [line for line in lines(finished) if "validation" not in line]
    assert [line["step"] for line in steps] == [2, 4, 6, 8, 10, 12]
    assert [line["step"] for line in lines(finished) if "validation" in line] == [6, 12]
    for line in steps:
        assert line["loss"] == pytest.approx(line["af_cls"] + line["af_box"], rel=1e-5)
        assert sum(line["levels"].values()) + line["no_cell"] == line["instances"] > 0
        assert 0 <= line["dead"] <= 1 and 0 <= line["waiting"] <= 1
        assert line["grad_norm"] > 0 and line["positives"] > 0
    assert steps[0]["lr"] == pytest.approx(
        learning_rate(tiny_config(Path("x")).train, 1, 12), rel=1e-4
    )


def test_the_log_counts_dead_relus(root):
    detector = fsaf.build_detector(tiny_config(root).model).train()
    torch.nn.init.constant_(detector.network.head.af_box.bias, -100.0)
    loader = Loader(open_dataset(tiny_config(root).data, "train"), tiny_config(root), training=True)
    images, targets, _ = next(loader.epoch())
    _, counts = TrainingStep(detector, tiny_config(root).train)(images, targets)
    assert counts["dead"] == counts["positives"] > 0
    torch.nn.init.constant_(detector.network.head.af_box.bias, 100.0)
    assert TrainingStep(detector, tiny_config(root).train)(images, targets)[1]["dead"] == 0


@pytest.mark.parametrize(
    "recipe",
    [
        {"optimizer": "sgd", "schedule": "step"},
        {"ms": True, "epochs": 2, "clip_norm": None},
        {"amp": "bf16"},
    ],
)
def test_other_recipes_run(recipe, root, tmp_path):
    trained = train.train(
        tiny_config(root, **{"epochs": 1, "validate_every": 100} | recipe), tmp_path / "run", "cpu"
    )
    assert trained.steps == (
        18 if recipe.get("ms") else 6
    )  # multi-scale: half as many epochs again
    assert all(math.isfinite(line["loss"]) for line in lines(tmp_path / "run") if "loss" in line)


@pytest.mark.parametrize("branches", ["anchor_based", "joint"])
def test_other_branches_run(branches, root, tmp_path):
    config = tiny_config(root, steps=2, validate_every=100)
    train.train(
        replace(config, model=replace(config.model, branches=branches)), tmp_path / "run", "cpu"
    )
    line = lines(tmp_path / "run")[0]
    parts = [line[name] for name in ("af_cls", "af_box", "ab_cls", "ab_box") if name in line]
    assert line["loss"] == pytest.approx(sum(parts), rel=1e-5)
    assert len(parts) == (4 if branches == "joint" else 2)
    assert ("levels" in line) == (branches == "joint")


def test_fp16_steps_that_overflow_are_skipped_and_the_run_continues(root, tmp_path, monkeypatch):
    high = partial(torch.amp.GradScaler, init_scale=2.0**40)
    monkeypatch.setattr(torch.amp, "GradScaler", high)
    train.train(
        tiny_config(root, steps=6, amp="fp16", checkpoint_every=3, validate_every=100),
        tmp_path / "run",
        "cpu",
    )
    state = torch.load(training_files(tmp_path / "run" / "checkpoints")[-1], weights_only=True)
    assert state["scaler"]["scale"] < 2.0**40
    assert all(torch.isfinite(tensor.float()).all() for tensor in state["model"].values())


@pytest.mark.slow
def test_compiled_and_plain_steps_give_the_same_losses(root):
    config = tiny_config(root)
    loader = Loader(open_dataset(config.data, "train"), config, training=True)
    images, targets, _ = next(loader.epoch())
    detector = fsaf.build_detector(config.model).train()
    plain = TrainingStep(detector, config.train)
    compiled = TrainingStep(detector, config.train)
    compiled.network = torch.compile(detector.head_outputs, backend="eager")
    for name, value in plain(images, targets)[0].items():
        assert torch.allclose(compiled(images, targets)[0][name], value, rtol=1e-5)


def test_class_names_are_those_of_the_training_set(root, tmp_path):
    config = tiny_config(root, steps=1, validate_every=100)
    train.train(
        replace(config, model=replace(config.model, class_names=("a", "b"))),
        tmp_path / "run",
        "cpu",
    )
    assert (
        fsaf.load(tmp_path / "run" / "model.safetensors").config.class_names
        == TINY.model.class_names
    )


def test_a_run_starts_from_the_weights_of_a_file(root, tmp_path, finished, capsys):
    other = fsaf.build_detector(replace(tiny_config(root).model, class_names=("one",)))
    fsaf.save(other, tmp_path / "other.safetensors")
    config = tiny_config(root, steps=1, snapshots=3, validate_every=100)
    train.train(config, tmp_path / "run", "cpu", weights=tmp_path / "other.safetensors")
    assert (
        "class layer: the rows of 0 classes come from" in (printed := capsys.readouterr().out)
        and "those of 'circle', 'square', 'triangle' and 3 more start from scratch" in printed
    )
    start = fsaf.load(tmp_path / "run" / "snapshots" / "step_000000000.safetensors").state_dict()
    for name, tensor in other.state_dict().items():
        assert "af_cls" in name or torch.allclose(start[name], tensor, atol=1e-3), name


def test_a_run_records_the_weights_it_started_from(root, tmp_path):
    """A stopped run is resumed with the same weights, wherever they lie now."""
    config, run = tiny_config(root, steps=1, validate_every=100), tmp_path / "run"
    files = [tmp_path / f"{name}.safetensors" for name in ("one", "moved", "other")]
    for file in files[::2]:
        fsaf.save(fsaf.build_detector(config.model), file)
    train.train(config, run, "cpu", weights=files[0])
    start = json.loads((run / "config.json").read_text())["from"]
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert start == {"file": str(files[0].resolve()), "sha256": digest}
    (run / "model.safetensors").unlink()  # the run looks stopped
    with pytest.raises(fsaf.FSAFError, match=rf"\(from.sha256: {digest} -> \w+\)"):
        train.train(config, run, "cpu", weights=files[2])
    files[0].rename(files[1])
    train.train(config, run, "cpu", weights=files[1])
    assert json.loads((run / "config.json").read_text())["from"]["sha256"] == digest


def test_the_summary_names_the_changed_fields_and_the_folders(root, tmp_path, capsys):
    train.train(tiny_config(root, steps=1, lr=0.5, validate_every=100), tmp_path / "run", "cpu")
    printed = capsys.readouterr().out
    assert "train.lr: 0.01 -> 0.5" in printed
    assert str(tmp_path / "run") in printed and str(root) in printed
    assert "M parameters" in printed and "cpu" in printed


# What can go wrong


def test_a_finished_run_is_never_replaced(finished, root):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}
    for resume in (False, True):
        with pytest.raises(fsaf.FSAFError, match=r"finished run: take another --out.*--resume"):
            train.train(tiny_config(root, snapshots=4), finished, "cpu", resume=resume)
    assert before == {
        path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"
    }


def test_folders_that_are_not_runs_are_not_changed(root, tmp_path):
    config = tiny_config(root)
    (tmp_path / "file").write_text("x")
    with pytest.raises(fsaf.FSAFError, match="is a file"):
        validate_run_dir(tmp_path / "file", {}, False)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("x")
    for content in (None, "{", "[]", '{"architectures": []}'):
        if content:
            (tmp_path / "photos" / "config.json").write_text(content)
        with pytest.raises(fsaf.FSAFError, match="is not a run of fsaf train: take another --out"):
            train.train(config, tmp_path / "photos", "cpu")
    assert not (tmp_path / "photos" / ".lock").exists()
    with pytest.raises(fsaf.FSAFError, match="holds no run to resume"):
        train.train(config, tmp_path / "new", "cpu", resume=True)
    assert not (tmp_path / "new").exists()


def test_a_preset_s_name_is_no_configuration(unchecked, tmp_path):
    with pytest.raises(
        fsaf.FSAFError, match=r"config is a str: give a Config, such as presets\.get\('tiny'\)"
    ):
        train.train("tiny", tmp_path / "run")


def test_a_run_of_another_configuration_names_the_fields(root, tmp_path):
    config = tiny_config(root)
    record = {**asdict(config), "sets": {}}
    (tmp_path / "config.json").write_text(json.dumps(record))
    workers = {**record, "data": asdict(replace(config.data, workers=7))}
    assert validate_run_dir(tmp_path, workers, True) == []
    other = record | {
        "train": asdict(replace(config.train, lr=1.0)),
        "model": asdict(replace(config.model, channels=24)),
    }
    with pytest.raises(
        fsaf.FSAFError,
        match=r"\(model.channels: 16 -> 24; train.lr: 0.01 -> 1.0\).*--resume.*--out",
    ):
        validate_run_dir(tmp_path, other, False)


def test_two_processes_do_not_train_into_one_folder(root, tmp_path):
    child = os.fork()
    if child == 0:
        with train.lock_run_dir(tmp_path / "run"):
            (tmp_path / "held").write_text("")
            signal.pause()
    while not (tmp_path / "held").exists():
        pass
    try:
        with pytest.raises(fsaf.FSAFError, match="Another process is training into"):
            train.train(tiny_config(root), tmp_path / "run", "cpu")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    train.train(
        tiny_config(root, epochs=2), tmp_path / "run", "cpu"
    )  # the lock ended with its process


def test_a_run_that_another_process_finishes_meanwhile_is_not_trained(root, tmp_path, monkeypatch):
    lock = train.lock_run_dir

    def late(run_dir):
        record = run_dir / "config.json"
        run_dir.mkdir()
        record.write_text(json.dumps({"model": {}, "train": {}, "sets": {}}))
        (run_dir / "model.safetensors").write_text("")
        return lock(run_dir)

    monkeypatch.setattr(train, "lock_run_dir", late)
    with pytest.raises(fsaf.FSAFError, match="holds a finished run"):
        train.train(tiny_config(root), tmp_path / "run", "cpu")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_nothing_is_saved_before_the_guard_has_answered(tmp_path):
    """On CUDA the answer to a step comes one step late."""

    class Guard:
        def wait(self):
            raise fsaf.FSAFError("Step 3: the loss or its gradient is not finite: look at it.")

    context = SimpleNamespace(is_main=True)
    trainer = SimpleNamespace(
        step=3, snapshots={3}, guard=Guard(), context=context, run_dir=tmp_path, detector=None
    )
    with pytest.raises(fsaf.FSAFError, match="Step 3"):
        Trainer.snapshot(trainer)
    assert not [*tmp_path.iterdir()]
    trainer.step = 4  # no snapshot is due
    Trainer.snapshot(trainer)


def test_the_log_counts_an_instance_only_at_a_level_that_learns_it(root):
    """The large box belongs to P4, where the small one takes its only location."""
    config = tiny_config(root)
    model = replace(config.model, selection="heuristic")
    boxes = torch.tensor([[4.0, 4, 44, 44], [14.0, 14, 30, 30]])
    target = {"boxes": boxes, "labels": torch.tensor([0, 1])}
    step = TrainingStep(fsaf.build_detector(model).train(), config.train)
    _, counts = step([torch.zeros(3, 64, 64, dtype=torch.uint8)], [target])
    names = ("no_cell", "P3", "P4", "P5", "P6")
    assert [int(counts[name]) for name in names] == [1, 1, 0, 0, 0]


def test_a_non_finite_loss_stops_at_once_and_keeps_the_last_good_checkpoint(
    root, tmp_path, monkeypatch
):
    forward, seen = TrainingStep.forward, []

    def poisoned(self, images, targets):
        losses, counts = forward(self, images, targets)
        seen.append(1)
        return {
            name: loss * (math.nan if len(seen) == 7 else 1) for name, loss in losses.items()
        }, counts

    monkeypatch.setattr(TrainingStep, "forward", poisoned)
    config = tiny_config(root, validate_every=100)
    with pytest.raises(
        fsaf.FSAFError,
        match=r"Step 6: the loss .* is not finite \(images \d+, \d+, \d+, \d+\)",
    ) as caught:
        train.train(config, tmp_path / "run", "cpu")
    assert len(seen) == 7
    _, _, ids = next(Loader(open_dataset(config.data, "train"), config, training=True).epoch(1))
    assert f"(images {', '.join(map(str, ids))})" in str(caught.value)
    state = torch.load(training_files(tmp_path / "run" / "checkpoints")[-1], weights_only=True)
    assert state["step"] == 4 and all(
        torch.isfinite(tensor.float()).all() for tensor in state["model"].values()
    )


@pytest.mark.parametrize("fault", [None, ValueError("planted"), KeyboardInterrupt()])
def test_no_loading_process_outlives_its_training_though_the_traceback_is_kept(
    fault, root, tmp_path, monkeypatch
):
    children = []

    def check(self, finite, step, ids):
        children.append(len(multiprocessing.active_children()))
        if step == 7 and fault:  # after a validation, so that both sets have their process
            raise fault

    monkeypatch.setattr(trainer.NonFiniteGuard, "check", check)
    config = tiny_config(root)
    config = replace(config, data=replace(config.data, workers=1))
    before = len(multiprocessing.active_children())
    with pytest.raises(type(fault)) if fault else nullcontext() as kept:
        train.train(config, tmp_path / "run", "cpu")
    assert children[-1] == before + 2
    assert len(multiprocessing.active_children()) == before
    assert fault is None or kept.value.__traceback__


def test_a_non_finite_gradient_stops_too(root, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer.optim, "clip_gradients", lambda *_: torch.tensor(math.inf))
    with pytest.raises(fsaf.FSAFError, match="Step 0: the loss or its gradient"):
        train.train(tiny_config(root), tmp_path / "run", "cpu")


def test_a_full_gpu_gets_advice(root, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ..")

    monkeypatch.setattr(TrainingStep, "forward", full)
    with pytest.raises(
        fsaf.FSAFError, match=r"is full \(CUDA out of memory\): take --train.accumulate 2"
    ) as caught:
        train.train(tiny_config(root), tmp_path / "run", "cpu")
    assert "\n" not in str(caught.value)


def test_pretrained_weights_that_cannot_be_fetched_say_the_way_out(root, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(train, "build_detector", offline)
    config = tiny_config(root)
    config = replace(config, model=replace(config.model, backbone="resnet18"))
    out = r"resnet18 cannot be downloaded \(no route to host\).*--from.*--train.no-pretrained-backbone"
    with pytest.raises(fsaf.FSAFError, match=out):
        train.train(config, tmp_path / "run", "cpu")
    monkeypatch.undo()
    train.train(
        tiny_config(root, steps=1, validate_every=100), tmp_path / "run", "cpu"
    )  # the same folder, as no run was begun there


def test_random_weights_are_not_frozen(root, tmp_path):
    for changes in ({"frozen_stages": 1}, {"backbone_norm": "frozen"}):
        config = tiny_config(root)
        config = replace(config, model=replace(config.model, **changes))
        with pytest.raises(fsaf.FSAFError, match=r"tiny starts from random weights.*start --from"):
            train.train(config, tmp_path / "run", "cpu")


def test_a_warm_up_longer_than_half_of_the_training_is_said(root, tmp_path, capsys):
    said = "the learning rate rises for 3 of {} steps, more than half"
    for steps in (5, 6):
        config = tiny_config(root, steps=steps, validate_every=100)
        train.train(config, tmp_path / str(steps), "cpu")
        assert (said.format(steps) in capsys.readouterr().out) == (steps == 5)


def test_a_step_needs_all_its_micro_batches(root, tmp_path):
    with pytest.raises(fsaf.FSAFError, match="24 micro-batches are less than one step of 48"):
        train.train(tiny_config(root, batch_size=48, accumulate=48), tmp_path / "run", "cpu")


def test_batch_normalization_of_a_single_value_is_refused(root, tmp_path):
    config = tiny_config(root, batch_size=4, accumulate=4)
    config = replace(config, model=replace(config.model, short_side=32, long_side=32))
    with pytest.raises(fsaf.FSAFError, match="no statistics in one image of 32 pixels: set a la"):
        train.train(config, tmp_path / "run", "cpu")


def test_devices_are_named_or_refused():
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type in ("cuda", "mps", "cpu")
    for name in ("tpu", "meta", "cuda:99"):
        with pytest.raises(fsaf.FSAFError, match="device"):
            device_of(name)


# Accumulation and several processes


def gradients(config: fsaf.Config, images: list, targets: list) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    detector = fsaf.build_detector(config.model).train()
    step = TrainingStep(detector, config.train)
    parts = config.train.accumulate
    size = len(images) // parts
    for part in range(parts):
        chunk = slice(part * size, (part + 1) * size)
        losses, _ = step(images[chunk], targets[chunk])
        (sum(losses.values()) / parts).backward()
    return {name: parameter.grad for name, parameter in detector.named_parameters()}


def test_accumulated_steps_take_the_mean_of_their_micro_batches(root, tmp_path):
    """The normalizer is per micro-batch: a step of two has the mean of two steps' gradients."""
    plain = {
        "optimizer": "sgd",
        "lr": 16 / 4,
        "weight_decay": 0.0,
        "momentum": 0.0,
        "clip_norm": None,
    }  # a rate of 1
    config = tiny_config(
        root, accumulate=2, steps=1, warmup_steps=0, schedule="step", milestones=(), **plain
    )
    config = replace(config, model=replace(config.model, backbone_norm="frozen"))
    loader = Loader(open_dataset(config.data, "train"), config, training=True)
    batches = loader.epoch()
    pair = [next(batches), next(batches)]
    expected = gradients(config, pair[0].images + pair[1].images, pair[0].targets + pair[1].targets)
    torch.manual_seed(0)
    detector = fsaf.build_detector(config.model)
    before = {name: parameter.detach().clone() for name, parameter in detector.named_parameters()}
    run = Trainer(config, tmp_path, detector, loader, loader, DistributedContext())
    run.validated = 1  # no validation
    run.run()
    for name, parameter in detector.named_parameters():
        assert torch.allclose(before[name] - parameter, expected[name], atol=2e-6), name


def one_of_two(
    rank: int, port: int, config: fsaf.Config, images: list, targets: list, out: Path
) -> None:
    """Run one process of two, and save its losses and the gradients that DDP leaves."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
    }
    context = init("cpu")
    torch.manual_seed(0)
    detector = fsaf.build_detector(config.model).train()
    detector.sync_normalizer = config.train.sync_normalizer
    network = torch.nn.parallel.DistributedDataParallel(TrainingStep(detector, config.train))
    half = slice(rank * len(images) // 2, (rank + 1) * len(images) // 2)
    losses, _ = network(images[half], targets[half])
    sum(losses.values()).backward()
    mean = {name: context.sum(loss.detach().clone()) / 2 for name, loss in losses.items()}
    if context.is_main:
        torch.save((mean, {name: p.grad for name, p in detector.named_parameters()}), out)
    del (
        network
    )  # before its process group, or DDP waits for its threads while it holds Python's lock
    destroy()


ANCHOR_FREE = [("paper", 0), ("paper", 4), ("paper", 8), ("reference", 0), ("reference", 8)]


@pytest.mark.parametrize(
    ("branches", "convention", "empty"),
    [
        *(("anchor_free", *case) for case in ANCHOR_FREE),
        ("joint", "paper", 0),
        ("joint", "paper", 4),
        ("joint", "paper", 8),
    ],
)
def test_two_processes_with_one_normalizer_equal_one_process_with_the_doubled_batch(
    branches, convention, empty, root, tmp_path
):
    config = tiny_config(root, batch_size=8, sync_normalizer=True)
    config = replace(
        config,
        model=replace(
            config.model, backbone_norm="frozen", convention=convention, branches=branches
        ),
    )
    images, targets, _ = next(
        Loader(open_dataset(config.data, "train"), config, training=True).epoch()
    )
    if empty:  # one process, or both, without any object
        for target in targets[-empty:]:
            target.update(boxes=target["boxes"][:0], labels=target["labels"][:0])
    expected = gradients(
        replace(config, train=replace(config.train, accumulate=1)), images, targets
    )
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            try:
                one_of_two(rank, port, config, images, targets, tmp_path / "out.pt")
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    losses, grads = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.manual_seed(0)
    detector = fsaf.build_detector(config.model).train()
    for name, loss in detector(images, targets).items():
        assert losses[name].item() == pytest.approx(loss.item(), rel=1e-5), name
    for name, grad in grads.items():
        assert torch.allclose(
            grad, expected[name], atol=1e-5 * max(1, expected[name].abs().max().item())
        ), name


# The log


def test_differences_name_the_fields():
    old = {"train": {"lr": 0.1, "milestones": (0.5, 0.7)}, "name": "a"}
    new = {"train": {"lr": 0.2, "milestones": [0.5, 0.7]}, "name": "a", "more": None}
    assert differences(old, old) == {}
    assert differences(old, new) == {"train.lr": "0.1 -> 0.2"}


def test_a_log_is_cut_at_the_checkpoint_and_an_incomplete_line_is_removed(tmp_path):
    path = tmp_path / "log.jsonl"
    validation = '{"step": %d, "validation": {}}\n'
    path.write_text(
        '{"step": 2}\n' + validation % 2 + '{"step": 4}\n' + validation % 4 + '{"step": 6}\n{"ste'
    )
    log = Log(path, 4, validated=2)  # the validation at step 4 comes after the checkpoint
    log.write(step=5)
    assert path.read_text() == '{"step": 2}\n' + validation % 2 + '{"step": 4}\n{"step": 5}\n'


def test_meters_sum_over_a_window_and_then_begin_another():
    meters = Meters()
    meters.add({"a": torch.tensor(1.0), "n": torch.tensor(2)})
    meters.add({"a": torch.tensor(2.5), "n": torch.tensor(3)})
    assert meters.read(lambda values: values, stop=1.0) == {"a": 3.5, "n": 5.0, "stop": 1.0}
    assert meters.sums == {}


def test_the_first_interrupt_waits_for_the_step_and_the_second_does_not():
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with Interrupt(single_process=False) as interrupt:  # torchrun repeats the signal
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert interrupt.requested


class SyncCounter(TorchDispatchMode):
    """Counts the operations that make Python wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (
            torch.ops.aten._local_scalar_dense,
            torch.ops.aten.nonzero,
            torch.ops.aten.masked_select,
        ):
            self.syncs.append(str(func))
        return func(*args, **kwargs or {})


def test_no_step_waits_for_the_device(root):
    config = tiny_config(root)
    images, targets, _ = next(
        Loader(open_dataset(config.data, "train"), config, training=True).epoch()
    )
    detector = fsaf.build_detector(config.model).train()
    step, optimizer, meters = (
        TrainingStep(detector, config.train),
        build_optimizer(config.train, detector),
        Meters(),
    )
    with SyncCounter() as counter:
        losses, counts = step(images, targets)
        torch.stack([*losses.values()]).sum().backward()
        meters.add({**losses, **counts, "grad_norm": clip_gradients(optimizer, 10.0)})
        assert counter.syncs == []
    with SyncCounter() as counter:
        assert torch.ones(()).item() == 1 and counter.syncs  # it does count
