"""The command line: help for every field, one sentence and exit code 2 for a mistake, no run overwritten."""

import dataclasses
import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fsaf_core as fsaf
from fsaf_core.cli import COMMANDS, main
from fsaf_core.config import FSAFError
from fsaf_core.engine.train import TrainResult
from fsaf_core.evaluation.coco_metrics import COCO_METRICS
from fsaf_core.utils.distributed import computes_in


def run(capsys, *args):
    """Run a command, and return its exit code, standard output and standard error."""
    try:
        code = main([str(arg) for arg in args])
    except SystemExit as stop:  # the parser's own
        code = stop.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    detector = fsaf.build_detector(fsaf.presets.get("tiny").model)
    torch.nn.init.constant_(
        detector.network.head.af_cls.bias, -2.0
    )  # scores above the threshold: there are detections
    fsaf.save(detector, path)
    return path


def test_help_names_every_command_and_preset(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(name in out for name in [*COMMANDS, *fsaf.presets.names()])


def options(config, start=""):
    """Yield the option of each field of a dataclass."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        yield from (
            options(value, f"{start}{field.name}.")
            if dataclasses.is_dataclass(value)
            else [f"--{start}{field.name}"]
        )


def test_help_of_data_names_its_commands(capsys):
    for args in (["data", "-h"], ["data", "--help"]):
        assert main(args) == 0
        assert "data convert" in capsys.readouterr().out


def test_every_field_of_the_configuration_is_an_option(capsys):
    _, out, _ = run(capsys, "train", "tiny", "--help")
    shown = re.findall(r"--[a-z][\w.-]*", out.replace("_", "-"))
    named = {option.replace("_", "-") for option in options(fsaf.presets.get("tiny"))}
    assert len(named) > 60 and not {
        option for option in named if not {option, option.replace(".", ".no-")} & {*shown}
    }


def test_every_option_of_a_training_has_a_help_text(capsys):
    _, out, _ = run(capsys, "train", "tiny", "--help")
    lines = re.findall(r"^\W +.*", out, re.MULTILINE)
    # A help text stands below its option, indented more.
    below = [(line, after) for line, after in pairwise(lines) if re.match(r"\W +-", line)]
    assert len(below) > 90
    assert not [line for line, after in below if re.match(r"\W {7}\(default", after)]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fly"], "There is no command 'fly'"),
        (["train"], "The preset is missing"),
        (["train", "huge"], "There is no preset 'huge': take one of r50"),
        (["data"], "There is no command 'data': take one of train, "),
        (["data", "fly"], "There is no command 'data fly'"),
        (
            ["predict", "--weights", "nothing.safetensors", "nowhere.jpg"],
            "nowhere.jpg: no such file or folder",
        ),
        (["evaluate", "nothing.safetensors"], "nothing.safetensors"),
        (["train", "tiny", "--data.source", "files"], "give --data.train-json"),
        (["train", "tiny", "--data.scenes.min-size", "200"], "min_size is 200"),
        (["train", "tiny", "--model.effective-scale", "0.7"], "ignoring_scale is 0.5"),
    ],
)
def test_a_mistake_is_one_sentence_with_code_2_and_no_traceback(
    args, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *args)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_an_unknown_field_is_refused_with_code_2(capsys):
    code, out, err = run(capsys, "train", "tiny", "--train.lrr", "1")
    assert code == 2
    assert "--train.lrr" in out + err


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(FSAFError):
        main(["--debug", "train", "huge"])


@pytest.mark.parametrize("supported", [True, False])
def test_half_precision_without_instructions_for_it_is_said(
    supported, weights, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("fsaf_core.cli.commands.computes_in", lambda device, amp: supported)
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    args = [tmp_path / "a.png", "--weights", weights, "--out", tmp_path / "p", "--amp", "bf16"]
    code, out, _ = run(capsys, "predict", *args, "--device", "cpu")
    assert code == 0 and ("cpu has no instructions for bf16" in out) != supported


def test_every_device_computes_in_float32():
    cpu = torch.device("cpu")
    assert computes_in(cpu, "none") and computes_in(torch.device("mps"), "fp16")
    assert {computes_in(cpu, "bf16"), computes_in(cpu, "fp16")} <= {True, False}


def test_predict_shows_its_progress_on_a_terminal(weights, tmp_path, capsys, monkeypatch):
    for number in range(5):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number}.png")
    args = ["predict", tmp_path, "--weights", weights, "--out", tmp_path / "found"]
    for is_terminal in (False, True):
        monkeypatch.setattr("sys.stderr.isatty", lambda answer=is_terminal: answer)
        code, out, err = run(capsys, *args)
        assert code == 0 and out.count(" objects of score ") == 5
        assert ("4/5" in err) == is_terminal and bool(err) == is_terminal


def test_predict_draws_and_writes_coco_results_and_survives_one_bad_file(weights, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (90, 140, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(pictures / "a.png")
    Image.fromarray(pixels).convert("CMYK").save(pictures / "b.jpg")
    Image.fromarray(pixels).convert("L").save(pictures / "c.bmp")
    (pictures / "d.jpg").write_bytes(b"no picture")
    code, _, err = run(
        capsys,
        "predict",
        pictures,
        "--weights",
        weights,
        "--out",
        tmp_path / "found",
        "--score",
        "0.0",
    )
    assert code == 2
    assert "1 of 4 images could not be read" in err
    assert "d.jpg" in err
    drawn = sorted(path.name for path in (tmp_path / "found").glob("*.png"))
    assert drawn == ["000001_a.png", "000002_b.png", "000003_c.png"]
    results = json.loads((tmp_path / "found" / "detections.json").read_text())
    assert {one["image_id"] for one in results} == {1, 2, 3}
    for one in results:
        x, y, w, h = one["bbox"]
        assert min(x, y) >= 0  # in pixels of the file
        assert x + w <= 140.01
        assert y + h <= 90.01
        assert one["category"] == fsaf.presets.get("tiny").model.class_names[one["category_id"] - 1]


@pytest.mark.parametrize("rank", ["0", "1"])
def test_of_several_processes_only_the_first_prints_and_draws(rank, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", rank)
    drawn, metrics = [], dict.fromkeys(COCO_METRICS, 0.5) | {"by_class": {}, "by_size": {}}
    monkeypatch.setattr(
        "fsaf_core.cli.commands.train", lambda *_: TrainResult(tmp_path, 1, metrics)
    )
    monkeypatch.setattr("fsaf_core.viz.plots.write_run_figures", drawn.append)
    code, out, _ = run(capsys, "train", "tiny", "--out", tmp_path)
    assert code == 0
    assert (len(drawn), "AP50" in out) == ((1, True) if rank == "0" else (0, False))


def test_evaluate_without_weights_asks_for_them(capsys):
    code, _, err = run(capsys, "evaluate")
    assert code == 2
    assert "Required options" in err and "model.safetensors" not in err


def test_paths_to_own_data_may_be_paths(unchecked):
    data = fsaf.config.DataConfig(source="files", train_json=Path("a b.json"), root=Path("x"))
    assert (data.train_json, data.root) == ("a b.json", "x")


def test_evaluate_takes_the_data_of_the_run_that_the_weights_lie_in(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [
        "--data.scenes.num-train",
        16,
        "--data.scenes.num-val",
        4,
        "--data.scenes.image-size",
        64,
        "--train.steps",
        1,
    ]
    code, out, err = run(capsys, "train", "tiny", *options, "--out", "run")
    assert code == 0, err
    assert "AP by class" in out
    code, _, err = run(
        capsys, "evaluate", "--out", "again", "run/model.safetensors"
    )  # in whatever order
    assert code == 0, err
    assert json.loads((tmp_path / "again" / "metrics.json").read_text())["AP"] == pytest.approx(
        json.loads((tmp_path / "run" / "metrics.json").read_text())["AP"], abs=1e-6
    )
    code, _, err = run(capsys, "train", "tiny", *options, "--out", "run")
    assert code == 2  # a finished run is never replaced
    assert "run" in err
