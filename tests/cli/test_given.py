"""What is given on the command line is used, or refused with the reason; nothing is lost on Ctrl-C."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fsaf_core as fsaf
from fsaf_core.cli import COMMANDS, commands, main
from fsaf_core.data.synthetic.dataset import make_scenes
from fsaf_core.model.detector import Detector

PATHS = ["train-json", "train-images", "val-json", "val-images"]
OWN = [part for name in PATHS for part in (f"--data.{name}", name)]


@pytest.fixture
def parsed(monkeypatch):
    """Collect the commands that arguments are parsed into, and run none."""
    instances = []
    for command in COMMANDS.values():
        monkeypatch.setattr(command, "__call__", lambda self: instances.append(self))
    return instances


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """A folder that looks like a run on own data."""
    config = fsaf.presets.get("tiny")
    data = replace(config.data, source="files", val_json="own.json", val_images="own")
    config = replace(config, data=data, train=replace(config.train, amp="bf16"))
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    values = {name: vars(getattr(config, name)) for name in ("model", "data", "train", "evaluate")}
    values["data"] = values["data"] | {"scenes": vars(config.data.scenes)}
    (tmp_path / "run" / "config.json").write_text(json.dumps(values))
    return tmp_path / "run"


@pytest.fixture
def weights(tmp_path) -> Path:
    model = replace(fsaf.presets.get("tiny").model, class_names=("cat", "dog"))
    detector = fsaf.build_detector(model)
    torch.nn.init.constant_(detector.network.head.af_cls.bias, -2.0)  # there are detections
    detector.category_ids = (7, 90)
    fsaf.save(detector, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def photos(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    for name in "abc":
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{name}.png")
    return tmp_path / "photos"


def test_paths_of_own_data_mean_files(parsed):
    assert main(["train", "tiny", *OWN]) == 0
    assert parsed[0].config.data.source == "files"
    assert parsed[0].config.data.train_json == "train-json"
    assert (
        main(["evaluate", "x.safetensors", "--data.val_json=a.json", "--data.val-images", "a"]) == 0
    )
    assert (parsed[1].data.source, parsed[1].data.val_json) == ("files", "a.json")


def test_a_source_and_paths_that_contradict_it_are_refused(parsed, capsys):
    assert main(["train", "tiny", "--data.source", "scenes", *OWN]) == 2
    assert "'scenes', but train_json is given" in capsys.readouterr().err and not parsed


def test_epochs_take_the_place_of_a_preset_s_steps_and_the_other_way_round(parsed, capsys):
    assert main(["train", "tiny", "--train.epochs", "3"]) == 0
    assert (parsed[0].config.train.epochs, parsed[0].config.train.steps) == (3, None)
    assert "tiny counts steps (5000): --train.epochs takes their place" in capsys.readouterr().out
    assert main(["train", "r50", "--train.steps", "100"]) == 0
    assert (parsed[1].config.train.epochs, parsed[1].config.train.steps) == (None, 100)
    assert main(["train", "tiny", "--train.steps", "9", "--train.epochs", "3"]) == 2
    assert "3 epochs and 9 steps: set epochs or steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [("batch-size", "0"), ("lr", "nan"), ("log-every", "0"), ("steps", "-5"), ("epochs", "0")],
)
def test_a_number_out_of_its_range_is_one_sentence(option, value, parsed, capsys):
    assert main(["train", "tiny", f"--train.{option}", value]) == 2
    said = capsys.readouterr().err
    assert re.match(rf"fsaf: {option.replace('-', '_')} is {value}: give a ", said)
    assert len(said.splitlines()) == 1 and not parsed


@pytest.mark.parametrize(
    "args",
    [
        ["ablation", "--seeds", "0"],
        ["bench", "--pairs", "0"],
        ["plan", "r50", "--memory", "nan"],
        ["predict", "a.png", "--weights", "w.safetensors", "--score", "2"],
    ],
)
def test_numbers_of_the_commands_have_ranges_too(args, parsed, capsys):
    assert main(args) == 2 and not parsed
    assert f"{args[-2][2:]} is " in capsys.readouterr().err


def test_help_shows_the_ranges(capsys):
    with pytest.raises(SystemExit):
        main(["train", "tiny", "--help"])
    out = capsys.readouterr().out
    for option in (
        "--train.flip {float from 0 to 1}",
        "--train.lr {float above 0 to 1,000}",
        "--data.workers {int from 0 to 1,024}",
    ):
        assert option in out


@pytest.mark.parametrize("name", ["best.safetensors", "checkpoints/step_000000001.pt"])
def test_weights_of_a_run_are_evaluated_on_its_data(name, run_dir, parsed):
    assert main(["evaluate", str(run_dir / name)]) == 0
    assert (parsed[0].data.val_json, parsed[0].amp) == ("own.json", "bf16")
    assert main(["evaluate", str(run_dir / name), "--data.source", "scenes"]) == 0
    assert (parsed[1].data.source, parsed[1].data.val_json) == ("scenes", "")
    assert main(["evaluate", str(run_dir / name), "--data.val-json", "b.json"]) == 0
    assert (parsed[2].data.val_json, parsed[2].data.val_images) == ("b.json", "own")


def test_an_evaluation_does_not_replace_the_metrics_of_a_run(run_dir, capsys):
    (run_dir / "metrics.json").write_text("{}")
    assert main(["evaluate", str(run_dir / "best.safetensors"), "--out", str(run_dir)]) == 2
    said = capsys.readouterr().err
    assert f"{run_dir} is the folder of a run" in said and "take another --out" in said
    assert (run_dir / "metrics.json").read_text() == "{}"


def test_weights_of_a_run_are_evaluated_on_its_data_from_any_folder(run_dir, parsed, tmp_path):
    """The paths in config.json are relative to where the run began."""
    path = run_dir / "config.json"
    values = json.loads(path.read_text())
    home = tmp_path / "home" / "data"
    found = {}
    for source, folder in (("files", "a/b"), ("scenes", "scenes/4e5b"), ("coco", "coco/x")):
        json_path = home / folder / "val.json"
        json_path.parent.mkdir(parents=True)
        values["sets"] = {"val": {"json": str(json_path), "images": str(json_path.parent)}}
        values["data"]["source"] = source
        if source != "files":
            values["data"] |= {"val_json": "", "val_images": ""}
        path.write_text(json.dumps(values))
        assert main(["evaluate", str(run_dir / "best.safetensors")]) == 0
        found[source] = parsed[-1].data.val_json or "data"  # the set is not there any more
        json_path.write_text("{}")
        assert main(["evaluate", str(run_dir / "best.safetensors")]) == 0
        data = parsed[-1].data
        if source == "files":
            assert (data.val_json, data.val_images) == (str(json_path), str(json_path.parent))
        else:
            assert data.root == str(home)
    assert found == {"files": "own.json", "scenes": "data", "coco": "data"}


@pytest.mark.parametrize("val_set", [[], {"json": 3}, {"json": "/etc/passwd", "images": "/etc"}])
def test_a_damaged_record_of_the_set_is_one_sentence(val_set, run_dir, parsed, capsys):
    path = run_dir / "config.json"
    values = json.loads(path.read_text())
    values["data"] |= {"source": "coco", "val_json": "", "val_images": ""}
    path.write_text(json.dumps(values | {"sets": {"val": val_set}}))
    assert main(["evaluate", str(run_dir / "best.safetensors")]) == 2 and not parsed
    assert "config.json is damaged" in capsys.readouterr().err


def test_options_that_the_source_does_not_have_are_refused(run_dir, parsed, capsys):
    for args, option in [
        (["evaluate", str(run_dir / "best.safetensors"), "--data.root", "x"], "--data.root"),
        (["train", "tiny", *OWN, "--data.root=x"], "--data.root"),
        (["train", "r50", "--data.scenes.seed", "1"], "--data.scenes.seed"),
    ]:
        assert main(args) == 2
        assert f"{option} is given, but the data source is" in capsys.readouterr().err
    assert not parsed


@pytest.mark.parametrize(
    ("option", "said"), [("seed", "give --seeds"), ("steps", "give --steps"), ("epochs", "steps")]
)
def test_an_ablation_has_its_own_seeds_and_steps(option, said, parsed, capsys):
    assert main(["ablation", f"--train.{option}", "7"]) == 2 and not parsed
    assert said in capsys.readouterr().err
    assert main(["ablation", "--train.lr", "0.02", "--data.scenes.detail", "1"]) == 0
    assert (parsed[0].train.lr, parsed[0].data.scenes.detail) == (0.02, 1)


def test_results_have_the_training_set_s_own_category_ids(weights, photos, tmp_path):
    out = tmp_path / "found"
    assert main(["predict", str(photos), "--weights", str(weights), "--out", str(out)]) == 0
    results = json.loads((out / "detections.json").read_text())
    names = {result["category_id"]: result["category"] for result in results}
    assert names.items() <= {7: "cat", 90: "dog"}.items() and names


def test_a_folder_is_predicted_twice_with_equal_results(weights, photos, monkeypatch):
    monkeypatch.chdir(photos)
    for _ in range(2):
        assert main(["predict", ".", "--weights", str(weights)]) == 0
        results = json.loads(Path("predictions/detections.json").read_text())
        assert {result["image_id"] for result in results} == {1, 2, 3}


def test_ctrl_c_in_predict_keeps_the_results_so_far(weights, photos, tmp_path, monkeypatch, capsys):
    detect, calls = Detector.detect, []

    def stopped(self, images, scales):
        calls.append(images)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return detect(self, images, scales)

    monkeypatch.setattr(Detector, "detect", stopped)
    out = tmp_path / "found"
    args = [photos, "--weights", weights, "--out", out, "--batch-size", 1]
    assert main(["predict", *map(str, args)]) == 130
    assert "stopped after 2 of 3 images" in capsys.readouterr().err
    results = json.loads((out / "detections.json").read_text())
    assert {result["image_id"] for result in results} == {1, 2}


@pytest.mark.parametrize("out", [True, False])
def test_ctrl_c_in_evaluate_keeps_the_detections_so_far(
    out, weights, photos, tmp_path, monkeypatch, capsys
):
    outputs, calls = Detector.head_outputs, []

    def stopped(self, tensor):
        calls.append(tensor)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return outputs(self, tensor)

    monkeypatch.setattr(Detector, "head_outputs", stopped)
    content = {
        "images": [
            {"id": number, "file_name": f"{name}.png", "width": 64, "height": 64}
            for number, name in enumerate("abc", start=1)
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 7, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 9, 9]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    data = ["--data.val-json", tmp_path / "a.json", "--data.val-images", photos]
    args = [weights, *data, "--data.workers", "0", "--evaluate.batch-size", "1"]
    args += ["--out", tmp_path / "out"] if out else []
    assert main(["evaluate", *map(str, args)]) == 130
    said = capsys.readouterr().err
    assert "stopped after 1 of 3 images" in said and ("detections.json" in said) == out
    if out:
        results = json.loads((tmp_path / "out" / "detections.json").read_text())
        assert {result["image_id"] for result in results} == {1}
        assert {result["category_id"] for result in results} <= {7, 90}


def test_ctrl_c_is_a_sentence(monkeypatch, capsys):
    def stopped(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.Export, "__call__", stopped)
    assert main(["export", "a.safetensors", "b.onnx"]) == 130
    assert capsys.readouterr().err == "\nfsaf: stopped by Ctrl-C.\n"


def test_names_of_the_weights_and_the_json_must_fit(weights, tmp_path, root, capsys):
    scenes = make_scenes(
        replace(fsaf.presets.get("tiny").data.scenes, num_train=4, num_val=4), root
    )
    data = ["--data.val-json", scenes / "annotations_val.json", "--data.val-images", scenes / "val"]
    assert main(["evaluate", str(weights), *map(str, data), "--data.workers", "0"]) == 2
    said = capsys.readouterr().err
    assert (
        "'cat', 'dog' are only in" in said and "'circle', 'square', 'triangle' and 3 more" in said
    )
