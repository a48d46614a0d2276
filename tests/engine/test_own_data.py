"""A run and its data: classes by name, the jsons' hashes, category ids, and the call from Python."""

import json
import os
import shutil
import socket
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_config import tiny_config

import fsaf_core as fsaf
from fsaf_core.config import FSAFError
from fsaf_core.data.synthetic.dataset import make_scenes
from fsaf_core.engine import train as train_module
from fsaf_core.engine import trainer
from fsaf_core.engine.guards import MAX_SKIPPED, NonFiniteGuard
from fsaf_core.engine.train import train
from fsaf_core.engine.training_state import training_files
from fsaf_core.utils.distributed import destroy, init
from fsaf_core.weights.checkpoint import read_weights


@pytest.fixture
def own(root, tmp_path) -> fsaf.Config:
    """Own jsons whose six categories have the ids 10, 20, .., 60, with the scenes' images."""
    config = tiny_config(root, steps=2, validate_every=2, checkpoint_every=1)
    scenes = make_scenes(config.data.scenes, root)
    paths = {}
    for split in ("train", "val"):
        content = json.loads((scenes / f"annotations_{split}.json").read_text())
        for entry in content["categories"]:
            entry["id"] *= 10
        for entry in content["annotations"]:
            entry["category_id"] *= 10
        path = tmp_path / "sets" / f"{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        paths |= {f"{split}_json": str(path), f"{split}_images": str(scenes / split)}
    return replace(config, data=replace(config.data, source="files", **paths))


def change(path: str, edit) -> None:
    content = json.loads(Path(path).read_text())
    edit(content)
    Path(path).write_text(json.dumps(content))


class Killed(BaseException):
    """Stands for a process that ends at this line."""


def stopped(config: fsaf.Config, run_dir: Path, monkeypatch) -> None:
    """Train until the first evaluation, where the process ends."""

    def stop(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "evaluate", stop)
        with pytest.raises(Killed):
            train(config, run_dir, "cpu")


def test_the_sets_own_category_ids_travel_with_the_weights_and_return_in_the_results(own, tmp_path):
    train(own, tmp_path / "run", "cpu")
    ids = (10, 20, 30, 40, 50, 60)
    assert fsaf.load(tmp_path / "run" / "model.safetensors").category_ids == ids
    assert read_weights(training_files(tmp_path / "run" / "checkpoints")[-1]).category_ids == ids
    results = json.loads((tmp_path / "run" / "detections.json").read_text())
    assert {result["category_id"] for result in results} <= {*ids}


def test_a_validation_json_of_the_same_names_in_another_order_changes_no_metric(own, tmp_path):
    first = train(own, tmp_path / "a", "cpu").metrics

    def reverse(content):
        new = {10 * number: 10 * (7 - number) for number in range(1, 7)}
        for entry in content["categories"]:
            entry["id"] = new[entry["id"]]
        for entry in content["annotations"]:
            entry["category_id"] = new[entry["category_id"]]

    change(own.data.val_json, reverse)
    second = train(own, tmp_path / "b", "cpu").metrics
    assert second["AP"] == pytest.approx(first["AP"], abs=1e-12)


def test_a_validation_json_of_other_names_is_refused_by_name(own, tmp_path):
    change(own.data.val_json, lambda content: content["categories"][1].update(name="cow"))
    with pytest.raises(FSAFError, match=r"'square' is only in the first; 'cow' is only in the"):
        train(own, tmp_path / "run", "cpu")


def test_a_run_is_not_resumed_with_another_json(own, tmp_path, monkeypatch):
    stopped(own, tmp_path / "run", monkeypatch)
    change(own.data.train_json, lambda content: content["annotations"].pop())
    with pytest.raises(FSAFError, match=r"started on another train json: .*train\.json has"):
        train(own, tmp_path / "run", "cpu")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_run_whose_sets_have_moved_says_so_and_goes_on(own, tmp_path, monkeypatch, capsys):
    stopped(own, tmp_path / "run", monkeypatch)
    shutil.move(tmp_path / "sets", tmp_path / "moved")
    jsons = {
        f"{split}_json": str(tmp_path / "moved" / f"{split}.json") for split in ("train", "val")
    }
    train(replace(own, data=replace(own.data, **jsons)), tmp_path / "run", "cpu")
    assert "the sets have moved, their jsons are the same: sets.train.json" in (
        capsys.readouterr().out
    )


def test_a_checkpoint_is_written_before_an_evaluation(own, tmp_path, monkeypatch):
    own = replace(own, train=replace(own.train, checkpoint_every=100))
    stopped(own, tmp_path / "run", monkeypatch)
    (last,) = training_files(tmp_path / "run" / "checkpoints")
    assert last.stem == "step_000000002"


def test_own_sets_are_trained_from_python_by_their_paths(own, tmp_path, monkeypatch):
    scenes = replace(own, data=tiny_config(tmp_path).data)
    monkeypatch.setattr(train_module.presets, "get", lambda name: scenes)
    data = {name: getattr(own.data, name) for name in train_module.PATHS}
    trained = fsaf.train(out=tmp_path / "run", device="cpu", **data)
    assert trained.run_dir == tmp_path / "run" and trained.steps == 2
    assert str(own.data.train_json) in (tmp_path / "run" / "config.json").read_text()


# fp16


class Scaler:
    def __init__(self, scale: float, enabled: bool = True) -> None:
        self.scale, self.enabled = scale, enabled

    def is_enabled(self) -> bool:
        return self.enabled

    def get_scale(self) -> float:
        return self.scale


def test_steps_that_the_scaler_skips_stop_a_run_only_when_there_are_many(unchecked):
    bad, good = torch.tensor(False), torch.tensor(True)
    guard = NonFiniteGuard(Scaler(8.0))
    for _ in range(3):
        for step in range(MAX_SKIPPED - 1):
            guard.check(bad, step, [1])
        guard.check(good, MAX_SKIPPED, [1])
    with pytest.raises(FSAFError, match=f"Step {MAX_SKIPPED - 1}: the loss"):
        for step in range(MAX_SKIPPED):
            guard.check(bad, step, [1])
    for scaler in (Scaler(0.5), Scaler(1.0, enabled=False)):
        with pytest.raises(FSAFError, match="Step 0: the loss"):
            NonFiniteGuard(scaler).check(bad, 0, [1])


def test_a_run_is_evaluated_in_its_number_format(root, tmp_path, monkeypatch):
    formats, head_outputs = set(), fsaf.Detector.head_outputs

    def watched(self, tensor):
        outputs = head_outputs(self, tensor)
        if not self.training:
            formats.add(outputs.cls_logits[0].dtype)
        return outputs

    monkeypatch.setattr(fsaf.Detector, "head_outputs", watched)
    train(tiny_config(root, steps=1, amp="bf16"), tmp_path / "run", "cpu")
    assert formats == {torch.bfloat16}


# Several processes


def two_processes(work) -> list[int]:
    """Run `work(rank)` in two processes of one group, and return their exit codes."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            os.environ |= {
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "localhost",
                "MASTER_PORT": str(port),
            }
            try:
                work(rank)
                os._exit(0)
            except Killed:
                os._exit(9)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def test_the_first_process_gives_its_values_to_the_other(tmp_path):
    def work(rank):
        context = init("cpu")
        values = torch.full((2,), float(rank))
        context.share(values)
        same = context.broadcast({"rank": rank, "tensor": values})
        assert values.tolist() == [0, 0] and same["rank"] == 0
        destroy()

    assert two_processes(work) == [0, 0]


def test_a_second_machine_without_the_run_s_folder_resumes_with_the_first(root, tmp_path):
    """Each process has a working folder of its own, so only the first one sees the checkpoint."""
    config = tiny_config(root, steps=4, checkpoint_every=2, validate_every=4)
    make_scenes(config.data.scenes, root)

    def life(rank, number):
        folder = tmp_path / str(rank)
        folder.mkdir(exist_ok=True)
        os.chdir(folder)
        run_on = trainer.Trainer.run

        def watched(run):
            (tmp_path / f"start{number}_{rank}").write_text(str(run.step))
            run_on(run)

        def stop(*_, **__):
            raise Killed

        trainer.Trainer.run = watched
        if number == 0:
            trainer.evaluate = stop
        train(config, "run", "cpu")

    assert two_processes(lambda rank: life(rank, 0)) == [9, 9]
    shutil.rmtree(tmp_path / "1")
    assert two_processes(lambda rank: life(rank, 1)) == [0, 0]
    assert [(tmp_path / f"start1_{rank}").read_text() for rank in (0, 1)] == ["4", "4"]
    assert (tmp_path / "0" / "run" / "model.safetensors").exists()
    assert not (tmp_path / "1" / "run").exists()


def test_both_processes_evaluate_with_the_first_one_s_batch_statistics(root, tmp_path, monkeypatch):
    config = tiny_config(root, steps=2, validate_every=2)
    make_scenes(config.data.scenes, root)

    def work(rank):
        def watched(detector, *_, **__):
            torch.save([*detector.buffers()], tmp_path / f"{rank}.pt")
            raise Killed

        trainer.evaluate = watched
        train(config, tmp_path / "run", "cpu")

    assert two_processes(work) == [9, 9]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(first) > 10
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
