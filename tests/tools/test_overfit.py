"""The check before a long training: ten images are learned by heart, with a picture and advice."""

import json
from dataclasses import replace

from PIL import Image
from tiny_config import tiny_config

from fsaf_core.cli import main
from fsaf_core.data.coco import CocoDataset
from fsaf_core.tools import overfit as module
from fsaf_core.tools.overfit import _advice, _write_json, overfit


def test_ten_images_are_trained_on_and_drawn(root, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "STEPS", 30)
    config = tiny_config(root, crop=0.5, flip=0.5)
    text = overfit(config, tmp_path / "out", "cpu")
    written = json.loads((tmp_path / "out" / "images.json").read_text())
    assert len(written["images"]) == 10 and len(written["annotations"]) >= 10
    assert [entry["name"] for entry in written["categories"]] == [*config.model.class_names]
    assert (tmp_path / "out" / "pictures" / "detections.png").exists()
    before, after = text.split("loss ")[1].split(",")[0].split(" -> ")
    assert float(after) < 0.8 * float(before)
    assert "30 steps on 10 training images" in text and "AP50" in text


def test_only_boxes_that_are_trained_on_are_checked(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    boxes = [[1, 1, 20, 20], [30, 1, 20, 20], [30, 1, 0.5, 20], [100, 100, 9, 20], [50, 1, 40, 20]]
    annotations = [
        {"id": i, "image_id": 7, "category_id": 3, "bbox": b} for i, b in enumerate(boxes)
    ]
    annotations[1]["ignore"] = 1
    content = {"images": [{"id": 7, "file_name": "A.JPG"}], "annotations": annotations}
    content["categories"] = [{"id": 3, "name": "cell"}]
    (tmp_path / "set.json").write_text(json.dumps(content))
    dataset = CocoDataset(tmp_path / "set.json", tmp_path, train=True)
    assert _write_json(dataset, tmp_path / "images.json") == 1
    written = json.loads((tmp_path / "images.json").read_text())
    assert [row["bbox"] for row in written["annotations"]] == [[1, 1, 20, 20], [50, 1, 14, 20]]
    again = CocoDataset(tmp_path / "images.json", tmp_path, train=True)
    assert again[0]["boxes"].equal(dataset[0]["boxes"]) and again.class_names == ("cell",)


def test_it_stops_after_its_seconds(root, tmp_path):
    text = overfit(tiny_config(root), tmp_path / "out", "cpu", seconds=0.01)
    assert text.startswith("1 steps on 10 training images")


def test_the_advice_follows_from_loss_and_ap():
    falling = [4.0] * 5 + [1.0] * 5
    assert "start the training without --check" in _advice(falling, 0.9)
    assert "not learned yet" in _advice(falling, 0.1)
    assert "another --train.lr" in _advice([4.0] * 9, 0.1)


def test_the_command_leaves_the_run_s_own_folder_alone(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "STEPS", 2)
    scenes = replace(tiny_config(root).data.scenes, num_train=12)
    size = ["--data.scenes.num-train", scenes.num_train, "--data.scenes.num-val", 4]
    options = [
        "--data.root",
        root,
        *size,
        "--data.scenes.image-size",
        64,
        "--out",
        tmp_path / "run",
    ]
    assert main(["train", "tiny", "--check", *map(str, options)]) == 0
    assert "2 steps on 10" in capsys.readouterr().out
    assert (tmp_path / "run_check").is_dir() and not (tmp_path / "run").exists()
