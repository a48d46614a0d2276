"""The state of a training: the last checkpoints are kept, random generators continue, no code is run."""

import random

import numpy as np
import pytest
import torch

from fsaf_core.config import FSAFError
from fsaf_core.engine.training_state import (
    random_states,
    save_training,
    set_random_states,
    training_files,
)
from fsaf_core.weights.checkpoint import read_training


def state(step: int) -> dict:
    weights = {"w": torch.full((3,), float(step))}
    return {
        "step": step,
        "model": weights,
        "config": {"train": {"lr": 0.1}},
        "random": random_states(),
    }


def test_the_last_checkpoints_are_kept_and_the_older_ones_removed(tmp_path):
    for step in (5, 10, 200, 1500):
        save_training(tmp_path, state(step), keep=2)
    assert [path.name for path in training_files(tmp_path)] == [
        "step_000000200.pt",
        "step_000001500.pt",
    ]
    assert torch.equal(
        read_training(training_files(tmp_path)[-1])["model"]["w"], torch.full((3,), 1500.0)
    )


def test_random_generators_continue_where_they_were(tmp_path):
    drawn = []
    path = save_training(tmp_path, state(1), keep=1)
    states = read_training(path)["random"]
    for _ in range(2):
        set_random_states(states)
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))
    assert drawn[0] == drawn[1]
    assert all(
        a != b for a, b in zip(drawn[0], (random.random(), np.random.rand(), torch.rand(()).item()))
    )


class Evil:
    def __reduce__(self):
        return (print, ("code was run",))


@pytest.mark.parametrize("content", ["text", "cut", "evil", "other"])
def test_an_unreadable_checkpoint_is_one_sentence_and_runs_no_code(content, tmp_path, capsys):
    path = tmp_path / "step_000000001.pt"
    if content == "text":
        path.write_text("hello")
    elif content == "cut":
        save_training(tmp_path, state(1), keep=1)
        path.write_bytes(path.read_bytes()[:-100])
    else:
        torch.save(
            {"step": 1, "model": {}, "config": Evil()} if content == "evil" else [1, 2], path
        )
    with pytest.raises(
        FSAFError,
        match=r"step_000000001\.pt is no readable checkpoint of fsaf train .*: give a file",
    ) as caught:
        read_training(path)
    assert "\n" not in str(caught.value)
    assert "code was run" not in capsys.readouterr().out
