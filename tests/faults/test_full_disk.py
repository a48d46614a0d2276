"""A disk that is really full (a small tmpfs): old files survive, and one sentence says what is needed. Root only."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import SMALL

import fsaf_core as fsaf
from fsaf_core import cli
from fsaf_core.config import FSAFError, SceneConfig
from fsaf_core.data.synthetic.dataset import make_scenes
from fsaf_core.engine.training_state import save_training, training_files
from fsaf_core.weights.checkpoint import read_training


@pytest.fixture
def disk(tmp_path):
    """Return a folder that holds 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if os.name != "posix" or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root, outside most containers")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_the_old_weights_and_checkpoints_survive_a_full_disk(disk):
    detector = fsaf.build_detector(SMALL)
    fsaf.save(detector, disk / "x.safetensors", half=True)
    before = (disk / "x.safetensors").read_bytes()
    first = save_training(disk, {"step": 1, "model": {"w": torch.zeros(9)}, "config": {}}, keep=1)
    with pytest.raises(
        FSAFError,
        match=r"x\.safetensors needs .* the disk has .* MB left\); .*untouched: make room",
    ):
        fsaf.save(fsaf.build_detector(replace(SMALL, channels=128)), disk / "x.safetensors")
    with pytest.raises(FSAFError, match=r"step_000000002\.pt needs"):
        save_training(disk, {"step": 2, "model": {"w": torch.zeros(10**6)}, "config": {}}, keep=1)
    assert (disk / "x.safetensors").read_bytes() == before and training_files(disk) == [first]
    assert read_training(first)["step"] == 1
    assert sorted(path.name for path in disk.iterdir()) == ["step_000000001.pt", "x.safetensors"]


def test_scenes_that_do_not_fit_leave_nothing_behind(disk):
    with pytest.raises(FSAFError, match="free some space or choose another"):
        make_scenes(SceneConfig(num_train=190, image_size=256, num_val=2), disk)
    assert [path for path in disk.rglob("*") if path.is_file()] == []


def test_predictions_that_do_not_fit_are_one_sentence(disk, tmp_path, capsys):
    fsaf.save(fsaf.build_detector(fsaf.presets.get("tiny").model), tmp_path / "tiny.safetensors")
    scenes = make_scenes(SceneConfig(num_train=4, num_val=1, image_size=256), tmp_path)
    (disk / "ballast").write_bytes(bytes(2**22 - 100_000))
    command = [
        "predict",
        str(scenes / "train"),
        "--weights",
        str(tmp_path / "tiny.safetensors"),
        "--out",
        str(disk / "out"),
    ]
    assert cli.main(command) == 2
    message = capsys.readouterr().err
    assert "No space left on device: check" in message and len(message.splitlines()) == 1
    assert Path(disk / "ballast").exists()
