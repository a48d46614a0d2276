"""A run that was stopped at any moment and resumed ends bit by bit like one that was not stopped."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_config import tiny_config

import fsaf_core as fsaf
from fsaf_core.engine import train, trainer
from fsaf_core.engine.training_state import training_files

TIMES = ("seconds", "images_per_s", "waiting")  # may differ between two runs


def everything(root: Path, **recipe) -> fsaf.Config:
    """Return two epochs of six steps with augmentation, snapshots, accumulation, average and AdamW."""
    return tiny_config(
        root,
        **{
            "accumulate": 2,
            "log_every": 4,
            "snapshots": 4,
            "checkpoint_every": 5,
            "crop": 0.5,
            "ema": 0.8,
        }
        | recipe,
    )


def results(run_dir: Path) -> dict[str, object]:
    """Return all that a run leaves, except times."""
    log = [json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()]
    kept: dict[str, object] = {
        "log": [{name: value for name, value in line.items() if name not in TIMES} for line in log]
    }
    for path in [*run_dir.rglob("*.safetensors"), *run_dir.glob("*.json")]:
        kept[str(path.relative_to(run_dir))] = path.read_bytes()
    state = torch.load(training_files(run_dir / "checkpoints")[-1], weights_only=True)
    for part in ("model", "average", "optimizer"):
        kept[part] = (
            repr(state[part])
            if part == "optimizer"
            else {name: t.tolist() for name, t in state[part].items()}
        )
    return kept


def assert_same(a: Path, b: Path) -> None:
    first, second = results(a), results(b)
    assert first.keys() == second.keys()
    for name in first:
        assert first[name] == second[name], name


@pytest.fixture(scope="module")
def undisturbed(root, tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    train.train(everything(root), run_dir, "cpu")
    return run_dir


def in_a_child(work) -> int:
    """Run `work` in a forked process, and return the process's number."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            work()
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(130)
        except BaseException:
            os._exit(1)
    return child


def test_two_undisturbed_runs_are_equal(undisturbed, root, tmp_path):
    train.train(everything(root), tmp_path / "run", "cpu")
    assert_same(undisturbed, tmp_path / "run")


@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(3, 20))]
)
def test_kill_at_any_moment_then_the_same_command(seed, undisturbed, root, tmp_path):
    """The kernel kills the run twice, after a random CPU time, even inside a write; then the same call finishes."""
    chance, kills = random.Random(seed), 0

    def dying():
        signal.setitimer(
            signal.ITIMER_PROF, chance.uniform(0.01, 0.5)
        )  # SIGPROF is not caught: it ends the process at once
        train.train(everything(root), tmp_path / "run", "cpu")

    for _ in range(2):
        kills += os.waitstatus_to_exitcode(os.waitpid(in_a_child(dying), 0)[1]) == -signal.SIGPROF
        chance.random()  # the child's draw does not advance this generator
        for path in tmp_path.rglob("step_*.pt"):
            torch.load(path, weights_only=True)  # a checkpoint is never unreadable
    assert kills or seed
    if not (tmp_path / "run" / "model.safetensors").exists():
        train.train(everything(root), tmp_path / "run", "cpu")
    assert_same(undisturbed, tmp_path / "run")


class Killed(BaseException):
    """Stands for a process that ends at this line."""


@pytest.mark.parametrize("write", [1, 5, 10, 15])
def test_kill_inside_each_write(write, undisturbed, root, tmp_path, monkeypatch):
    """The n-th of the 15 files is left half written beside its place, and the process ends."""
    replaced, count = os.replace, []

    def half_written(source, target):
        count.append(target)
        if len(count) == write:
            Path(source).write_bytes(Path(source).read_bytes()[:50])
            raise Killed
        replaced(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", half_written)
        with pytest.raises(Killed):
            train.train(everything(root), tmp_path / "run", "cpu")
    train.train(everything(root), tmp_path / "run", "cpu")
    assert_same(undisturbed, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_the_step_and_says_how_to_resume(
    number, undisturbed, root, tmp_path, monkeypatch
):
    forward, calls = trainer.TrainingStep.forward, []

    def interrupted(self, images, targets):
        calls.append(1)
        if len(calls) == 15:  # in the middle of the eighth step
            signal.raise_signal(number)
        return forward(self, images, targets)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.TrainingStep, "forward", interrupted)
        with pytest.raises(
            KeyboardInterrupt,
            match=r"Stopped at step 8 of 12; .*run is safe: the same command resumes the run",
        ):
            train.train(everything(root), tmp_path / "run", "cpu")
    assert training_files(tmp_path / "run" / "checkpoints")[-1].stem == "step_000000008"
    train.train(everything(root), tmp_path / "run", "cpu", resume=True)
    assert_same(undisturbed, tmp_path / "run")


def test_ctrl_c_in_a_validation_stops_at_once_and_validates_later(
    undisturbed, root, tmp_path, monkeypatch
):
    def interrupted(*_, **__):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt, match="Stopped at step 6 of 12"):
            train.train(everything(root), tmp_path / "run", "cpu")
    train.train(everything(root), tmp_path / "run", "cpu")
    assert_same(undisturbed, tmp_path / "run")


def test_a_second_ctrl_c_in_a_step_saves_nothing_half_done(
    undisturbed, root, tmp_path, monkeypatch
):
    forward, calls = trainer.TrainingStep.forward, []

    def interrupted(self, images, targets):
        calls.append(1)
        if len(calls) == 15:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return forward(self, images, targets)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.TrainingStep, "forward", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train.train(everything(root), tmp_path / "run", "cpu")
    assert training_files(tmp_path / "run" / "checkpoints")[-1].stem == "step_000000006"
    train.train(everything(root), tmp_path / "run", "cpu")
    assert_same(undisturbed, tmp_path / "run")


def test_a_damaged_last_checkpoint_is_named_and_the_one_before_it_is_used(
    undisturbed, root, tmp_path, monkeypatch
):
    def stop(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "validate", stop)
        with pytest.raises(Killed):
            train.train(everything(root, checkpoint_every=2), tmp_path / "run", "cpu")
    last = training_files(tmp_path / "run" / "checkpoints")[-1]
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(fsaf.FSAFError, match=rf"{last.name} is no readable checkpoint .*delete it"):
        train.train(everything(root, checkpoint_every=2), tmp_path / "run", "cpu")
    last.unlink()
    train.train(everything(root, checkpoint_every=2), tmp_path / "run", "cpu")
    whole, again = (
        fsaf.load(run / "model.safetensors").state_dict() for run in (undisturbed, tmp_path / "run")
    )
    assert all(torch.equal(whole[name], tensor) for name, tensor in again.items())


def test_another_training_set_is_refused(root, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "validate", stop)
        with pytest.raises(Killed):
            train.train(everything(root), tmp_path / "run", "cpu")
    monkeypatch.setattr(trainer.Loader, "__len__", lambda self: 4)
    with pytest.raises(fsaf.FSAFError, match="training set of 6 steps an epoch, this one has 2"):
        train.train(everything(root), tmp_path / "run", "cpu")


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_ten_times_end_as_undisturbed(root, tmp_path):
    """torchrun restarts both. In each of the first ten lives one is killed after a random CPU time."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import os, random, signal, sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from pathlib import Path
from test_resume import everything
from fsaf_core.engine.train import train

life, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
chance = random.Random(life)
if "killed" in sys.argv[1] and life < 10 and rank == chance.randrange(2):
    signal.setitimer(signal.ITIMER_PROF, chance.uniform(0.01, 1.0))  # SIGPROF is not caught
train(everything(Path({str(root)!r}), batch_size=4, epochs=30), sys.argv[1], "cpu")
if rank == 0:
    print("lives:", life + 1)
""")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "--max-restarts",
        "10",
    ]
    environment = {
        **os.environ,
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }  # otherwise a restart finds the addresses of ended processes
    for name in ("whole", "killed"):
        done = subprocess.run(
            [*command, script, tmp_path / name],
            capture_output=True,
            text=True,
            timeout=1800,
            env=environment,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split("lives:")[1]) == 11
    assert_same(tmp_path / "whole", tmp_path / "killed")
