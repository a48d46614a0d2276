"""Callbacks of a training, and parts of one's own in a run that is stopped and resumed."""

import json
from functools import partial

import pytest
import torch
from tiny_config import tiny_config
from torchvision.models import resnet18
from torchvision.models._utils import IntermediateLayerGetter

import fsaf_core as fsaf
from fsaf_core.data.loader import Loader, open_dataset
from fsaf_core.method.assignment import assign


class Recorder(fsaf.Callback):
    """Note every call; from a step on, ask for a stop after the next one, as Ctrl-C does."""

    def __init__(self, stop=None):
        self.calls, self.entries, self.stop = [], [], stop

    def on_step(self, trainer, entry):
        self.calls.append(trainer.step)
        if entry is not None:
            self.entries.append(entry)
        trainer.interrupt.requested |= trainer.step == self.stop

    def on_validation(self, trainer, metrics):
        self.calls.append(f"validation {trainer.step}")
        assert metrics["AP"] == trainer.result.metrics["AP"]

    def on_end(self, trainer, metrics):
        self.calls.append("end")
        assert json.loads((trainer.run_dir / "metrics.json").read_text()) == metrics
        assert (trainer.run_dir / "model.safetensors").exists()


def backbone():
    made = IntermediateLayerGetter(resnet18(), {f"layer{n}": f"C{n + 1}" for n in (2, 3, 4)})
    made.out_channels = (128, 256, 512)
    return made


def l1(predicted, target):
    return (predicted - target).abs().mean(-1) / 64


def test_callbacks_follow_steps_validations_and_the_end(root, tmp_path):
    recorder = Recorder()
    config = tiny_config(root, steps=5, validate_every=3, log_every=2)
    fsaf.train(config, tmp_path / "run", "cpu", callbacks=[recorder, fsaf.Callback()])
    assert recorder.calls == [1, 2, 3, "validation 3", 4, 5, "validation 5", "end"]
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert recorder.entries == [line for line in log if "loss" in line]
    assert [entry["step"] for entry in recorder.entries] == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("callbacks", "given"),
    [
        ([Recorder], r"\[<class .*Recorder'>\]"),
        (fsaf.Callback(), "<.*Callback object"),
        ([object()], r"\[<object"),
    ],
)
def test_callbacks_are_looked_at_before_the_training(root, tmp_path, unchecked, callbacks, given):
    config = tiny_config(root, steps=5)
    with pytest.raises(fsaf.FSAFError, match=f"^callbacks is {given}.*: give a list of objects"):
        fsaf.train(config, tmp_path / "run", "cpu", callbacks=callbacks)
    assert not (tmp_path / "run").exists()


def test_a_run_with_own_parts_that_was_stopped_and_resumed_ends_as_one_that_was_not(root, tmp_path):
    config = tiny_config(root, steps=6, checkpoint_every=2)
    own = fsaf.Parts(backbone, partial(assign, config=config.model, box_loss=l1), l1)
    fsaf.train(config, tmp_path / "whole", "cpu", parts=own)
    run = tmp_path / "run"
    first = Recorder(stop=2)
    with pytest.raises(KeyboardInterrupt, match="Stopped at step 3 of 6"):
        fsaf.train(config, run, "cpu", parts=own, callbacks=[first])
    assert json.loads((run / "config.json").read_text())["parts"] == own.import_paths
    for other, changed in (
        (fsaf.Parts(), "parts.backbone: .*backbone -> None; parts.assigner: .*assign -> None; "),
        (fsaf.Parts(own.backbone, own.assigner, own.assigner), "parts.box_loss: .*l1 -> .*assign"),
    ):
        with pytest.raises(
            fsaf.FSAFError, match=rf"unfinished run of another configuration \({changed}"
        ):
            fsaf.train(config, run, "cpu", parts=other)
    checkpoint = sorted((run / "checkpoints").glob("*.pt"))[-1]
    with pytest.raises(fsaf.FSAFError, match=r"\.pt was trained with its own backbone, .*"):
        fsaf.load(checkpoint)
    assert fsaf.load(checkpoint, own).parts == own
    second = Recorder()
    fsaf.train(config, run, "cpu", resume=True, parts=own, callbacks=[second])
    assert [*first.calls, *second.calls] == [1, 2, 3, 4, 5, 6, "validation 6", "end"]
    whole, resumed = (
        fsaf.load(tmp_path / name / "model.safetensors", own) for name in ("whole", "run")
    )
    # Without its assigner it is evaluated, but for what the assigner would say.
    alone = fsaf.load(run / "model.safetensors", fsaf.Parts(backbone))
    files = fsaf.evaluate(alone, Loader(open_dataset(config.data, "val"), config, training=False))
    metrics = json.loads((run / "metrics.json").read_text())
    assert files.metrics["AP"] == metrics["AP"] and files.levels["size"] == []
    assert "missed" in metrics and "missed" not in files.metrics
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
