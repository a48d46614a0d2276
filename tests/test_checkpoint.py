"""Files of weights and of trainings: whole or not at all, without pickle, and clear about what does not fit."""

import errno
import os
import random
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import fsaf_core as fsaf
from fsaf_core.checkpoint import (
    differences,
    load_weights,
    random_states,
    read_training,
    save_training,
    set_random_states,
    training_files,
    write_atomically,
)

SMALL = replace(fsaf.presets.get("tiny").model, channels=16, tower_depth=1)


@pytest.fixture
def detector() -> fsaf.Detector:
    torch.manual_seed(0)
    return fsaf.build_detector(SMALL)


def test_a_saved_detector_comes_back_with_its_weights_and_its_configuration(detector, tmp_path):
    fsaf.save(detector, tmp_path / "new" / "x.safetensors")
    again = fsaf.load(tmp_path / "new" / "x.safetensors")
    assert again.config == detector.config
    assert not again.training
    assert all(torch.equal(a, b) for a, b in zip(detector.state_dict().values(), again.state_dict().values(), strict=True))


def test_channels_last_weights_are_written_and_read(detector, tmp_path):
    fsaf.save(detector.to(memory_format=torch.channels_last), tmp_path / "x.safetensors")
    again = fsaf.load(tmp_path / "x.safetensors").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in detector.state_dict().items())


def test_half_precision_halves_the_file_and_comes_back_as_float(detector, tmp_path):
    from fsaf_core.checkpoint import save

    save(detector, tmp_path / "x.safetensors")
    save(detector, tmp_path / "half.safetensors", half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("x", "half"))
    assert half < 0.55 * whole
    again = fsaf.load(tmp_path / "half.safetensors").state_dict()
    for name, tensor in detector.state_dict().items():
        assert again[name].dtype == tensor.dtype
        assert torch.allclose(again[name], tensor, atol=1e-3, rtol=1e-3)


def test_missing_foreign_and_damaged_files_are_one_sentence_each(detector, tmp_path):
    with pytest.raises(fsaf.FSAFError, match="does not exist"):
        fsaf.load(tmp_path / "none.safetensors")
    with pytest.raises(fsaf.FSAFError, match="is a folder"):
        fsaf.load(tmp_path)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(fsaf.FSAFError, match="no readable safetensors"):
        fsaf.load(tmp_path / "text.safetensors")
    fsaf.save(detector, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(fsaf.FSAFError, match="no readable safetensors"):
        fsaf.load(tmp_path / "cut.safetensors")
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(fsaf.FSAFError, match="no FSAF configuration"):
        fsaf.load(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("header", ["{", "[]", '{"model": {"channels": "x", "class_names": 3}}'])
def test_a_damaged_header_is_one_sentence(header, detector, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors", {"fsaf": header})
    with pytest.raises(fsaf.FSAFError, match=r"x\.safetensors"):
        fsaf.load(tmp_path / "x.safetensors")


def test_a_field_of_a_later_version_is_named(detector, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors", {"fsaf": '{"model": {"wings": 2}}'})
    with pytest.raises(fsaf.FSAFError, match=r"'wings'.*update"):
        fsaf.load(tmp_path / "x.safetensors")


def test_a_checkpoint_of_another_shape_names_its_tensors(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    wider = fsaf.build_detector(replace(SMALL, channels=24))
    shapes = r"network\.head\.af_box\.weight \(\(4, 16, 3, 3\) in the file, \(4, 24, 3, 3\) in the model\)"
    with pytest.raises(fsaf.FSAFError, match=shapes):
        load_weights(wider, tmp_path / "x.safetensors")
    joint = fsaf.build_detector(replace(SMALL, branches="joint"))
    with pytest.raises(fsaf.FSAFError, match=r"ab_box.*missing"):
        load_weights(joint, tmp_path / "x.safetensors")


def test_weights_of_other_classes_go_into_all_but_the_class_layer(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    other = fsaf.build_detector(replace(SMALL, class_names=("cell", "platelet")))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    assert load_weights(other, tmp_path / "x.safetensors") == ["network.head.af_cls.bias", "network.head.af_cls.weight"]
    for name, tensor in other.state_dict().items():
        source = before if "af_cls" in name else detector.state_dict()
        assert torch.equal(tensor, source[name]), name


def test_weights_that_fit_are_all_taken_from_a_file_or_a_state_dict(detector, tmp_path):
    for source in (detector.state_dict(), tmp_path / "x.safetensors"):
        fsaf.save(detector, tmp_path / "x.safetensors")
        other = fsaf.build_detector(SMALL)
        assert load_weights(other, source) == []
        assert all(torch.equal(a, b) for a, b in zip(detector.state_dict().values(), other.state_dict().values(), strict=True))


# Writing


def test_a_write_that_fails_keeps_the_old_file_and_says_what_it_needs(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    write_atomically(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(fsaf.FSAFError, match=r"x\.bin needs 3\.0 MB and the disk has .* MB left"):
        write_atomically(path, bytes(3_000_000))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.bin"]


def in_a_child(work) -> int:
    """Runs `work` in a forked process, which need not import torch again; its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def test_a_disk_that_takes_only_part_of_a_checkpoint_keeps_the_one_before(detector, tmp_path):
    """The kernel itself stops the write half-way: a limit on the size of files stands for the full disk."""
    fsaf.save(detector, tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()

    def overwrite():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            fsaf.save(detector, tmp_path / "x.safetensors", half=True)
        except fsaf.FSAFError as fault:
            (tmp_path / "said").write_text(str(fault))

    os.waitpid(in_a_child(overwrite), 0)
    said = (tmp_path / "said").read_text()
    assert "needs" in said and "untouched" in said
    assert (tmp_path / "x.safetensors").read_bytes() == before


def test_a_process_killed_while_writing_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x.bin"

    def write():
        for number in range(10**6):
            write_atomically(path, bytes([number % 256]) * 300_000)

    chance = random.Random(0)
    for _ in range(20):
        child = in_a_child(write)
        time.sleep(chance.uniform(0.001, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 300_000 and len(set(content)) == 1
    assert path.exists()


# The state of a training


def state(step: int) -> dict:
    weights = {"w": torch.full((3,), float(step))}
    return {"step": step, "model": weights, "config": {"train": {"lr": 0.1}}, "random": random_states()}


def test_the_last_checkpoints_are_kept_and_the_older_go(tmp_path):
    for step in (5, 10, 200, 1500):
        save_training(tmp_path, state(step), keep=2)
    assert [path.name for path in training_files(tmp_path)] == ["step_000000200.pt", "step_000001500.pt"]
    assert torch.equal(read_training(training_files(tmp_path)[-1])["model"]["w"], torch.full((3,), 1500.0))


def test_random_generators_go_on_where_they_were(tmp_path):
    drawn = []
    path = save_training(tmp_path, state(1), keep=1)
    states = read_training(path)["random"]
    for _ in range(2):
        set_random_states(states)
        drawn.append((random.random(), np.random.rand(), torch.rand(()).item()))  # noqa: NPY002
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[0], (random.random(), np.random.rand(), torch.rand(()).item())))  # noqa: NPY002


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
        torch.save({"step": 1, "model": {}, "config": Evil()} if content == "evil" else [1, 2], path)
    with pytest.raises(fsaf.FSAFError, match=r"step_000000001\.pt is no readable checkpoint .*: delete it") as caught:
        read_training(path)
    assert "\n" not in str(caught.value)
    assert "code was run" not in capsys.readouterr().out


def test_differences_name_the_fields():
    old = {"train": {"lr": 0.1, "milestones": (0.5, 0.7)}, "name": "a"}
    new = {"train": {"lr": 0.2, "milestones": [0.5, 0.7]}, "name": "a", "more": None}
    assert differences(old, old) == []
    assert differences(old, new) == ["train.lr: 0.1 -> 0.2"]


def test_no_file_holds_a_pickle(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert set(file.metadata()) == {"fsaf"}
    assert Path(tmp_path / "x.safetensors").read_bytes().find(b"pickle") == -1
