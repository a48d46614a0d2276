"""What people ran into elsewhere: 23 points, each run as a user does. The sets are made here, of noise.

A detector of chance finds boxes in noise as well, and its own best detections serve as ground truth. So AP is above 0 without a
training.
"""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

import fsaf_core as fsaf
from fsaf_core.cli import main
from fsaf_core.config import COCO_CATEGORY_IDS, ModelConfig
from fsaf_core.data import loader
from fsaf_core.data.coco import CocoDataset
from fsaf_core.engine.run_dir import Log
from fsaf_core.model.postprocess import merge_candidates

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SIZES = {
    "a.png": (64, 64),
    "b.png": (96, 64),
    "c.png": (64, 90),
    "d.png": (48, 64),
    "e.png": (80, 70),
}
CATEGORIES = {7: "cat", 90: "dog"}
MODEL = {"channels": 16, "tower-depth": 1, "short-side": 64, "long-side": 128}
RECIPE = {
    "steps": 2,
    "batch-size": 2,
    "warmup-steps": 1,
    "snapshots": 0,
    "validate-every": 2,
    "crop": 0,
}
TRAIN = [
    *(part for name, value in MODEL.items() for part in (f"--model.{name}", str(value))),
    *(part for name, value in RECIPE.items() for part in (f"--train.{name}", str(value))),
    *("--data.workers", "0", "--device", "cpu"),
]


class Said(NamedTuple):
    """What a command left: its exit code and its words."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys):
    """Run a command in this process; a refusal must be one sentence of less than 400 characters."""

    def command(*args: object) -> Said:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        said = Said(code, *capsys.readouterr())
        if code == 2:
            *_, last = said.err.splitlines()
            assert last.startswith("fsaf: ") and last.endswith(".") and len(last) < 400, last
        return said

    return command


@pytest.fixture
def quick(monkeypatch):
    """Leave the pictures of a run out: they take as long as everything else."""
    monkeypatch.setattr("fsaf_core.cli.commands._draw", lambda folder: None)


def options(split: str, json_path: object, images: object) -> list[object]:
    return [f"--data.{split}-json", json_path, f"--data.{split}-images", images]


def noise(path: Path, size: tuple[int, int], seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng([seed, *size]).integers(0, 255, (size[1] // 8, size[0] // 8, 3))
    Image.fromarray(pixels.astype(np.uint8)).resize(size).save(path)


def coco(path: Path, sizes=None, boxes=None, categories=None) -> dict:
    """Write a json; without boxes each image has one of each category. Return its contents."""
    sizes, categories = sizes or SIZES, categories or CATEGORIES
    images = [
        {"id": number, "file_name": name, "width": size[0], "height": size[1]}
        for number, (name, size) in enumerate(sizes.items(), start=1)
    ]
    if boxes is None:
        boxes = [
            {"image_id": image["id"], "category_id": category, "bbox": [4 + 8 * place, 6, 24, 30]}
            for image in images
            for place, category in enumerate(categories)
        ]
    content = {
        "images": images,
        "annotations": [{"id": number, **box} for number, box in enumerate(boxes, start=1)],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }
    path.write_text(json.dumps(content))
    return content


def edit(path: Path, change, to: Path | None = None) -> Path:
    """Change a json's contents, in place or into another file."""
    content = json.loads(path.read_text())
    change(content)
    (to or path).write_text(json.dumps(content))
    return to or path


def detector(names=("cat", "dog"), ids=(7, 90), **fields) -> fsaf.Detector:
    """A detector of chance whose scores lie far apart."""
    torch.manual_seed(0)
    tiny = fsaf.presets.get("tiny").model
    sizes = {name.replace("-", "_"): value for name, value in MODEL.items()}
    made = fsaf.build_detector(replace(tiny, class_names=names, **{**sizes, **fields}))
    torch.nn.init.normal_(made.network.head.af_cls.weight, std=0.3)
    torch.nn.init.constant_(made.network.head.af_cls.bias, -2.0)
    made.category_ids = ids
    return made.eval()


class Own(NamedTuple):
    """A user's folder: photos of five sizes, a json, weights whose AP on it is above 0."""

    folder: Path
    photos: Path
    json: Path
    weights: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Own:
    folder = tmp_path_factory.mktemp("own")
    for name, size in SIZES.items():
        noise(folder / "photos" / name, size)
    own = detector()
    fsaf.save(own, folder / "model.safetensors")
    boxes = []
    for number, name in enumerate(SIZES, start=1):
        found = own.predict(folder / "photos" / name)
        for (x1, y1, x2, y2), label in zip(found["boxes"][:6].tolist(), found["labels"].tolist()):
            box = {"image_id": number, "category_id": (7, 90)[label]}
            boxes.append({**box, "bbox": [x1, y1, x2 - x1, y2 - y1]})
    assert {box["category_id"] for box in boxes} == {7, 90}
    coco(folder / "a.json", boxes=boxes)
    return Own(folder, folder / "photos", folder / "a.json", folder / "model.safetensors")


@pytest.fixture
def own(made, tmp_path) -> Own:
    """A copy that a test may change."""
    folder = tmp_path / "own"
    shutil.copytree(made.folder, folder)
    return Own(folder, *(folder / path.name for path in made[1:]))


def evaluate(run, own: Own, *more: object, json_path: Path | None = None) -> Said:
    data = options("val", json_path or own.json, own.photos)
    return run("evaluate", own.weights, *data, "--data.workers", 0, "--device", "cpu", *more)


def ap(said: Said) -> str:
    """The line of the twelve metrics."""
    assert said.code == 0, said.err
    return re.search(r"AP50.*\n(.*)\n", said.out)[1]


def train(run, own: Own, out: object, *more: object) -> Said:
    data = [*options("train", own.json, own.photos), *options("val", own.json, own.photos)]
    return run("train", "tiny", *data, *TRAIN, "--out", out, *more)


def by_image(path: Path) -> dict[int, list[dict]]:
    rows: dict[int, list[dict]] = {}
    for row in json.loads(path.read_text()):
        rows.setdefault(row["image_id"], []).append(row)
    return rows


def last_step(run_dir: Path) -> int:
    return json.loads((run_dir / "log.jsonl").read_text().splitlines()[-1])["step"]


def mmdet(names: tuple[str, ...], path: Path, meta: dict, wrap=lambda state: {"state_dict": state}):
    """Write weights in MMDetection's format whose only detections are of the class before the last."""
    torch.manual_seed(0)
    made = fsaf.build_detector(
        ModelConfig(class_names=names, backbone="resnet18", channels=8, tower_depth=1)
    )
    with torch.no_grad():
        made.network.head.af_cls.bias.fill_(-20)
        made.network.head.af_cls.bias[11 if len(names) == 80 else -2] = 3
    torch.save({**wrap(fsaf.to_mmdet(made)), "meta": meta}, path)
    return path


# Silent wrong results


def test_01_classes_by_name(run, own, quick, tmp_path):
    right = ap(evaluate(run, own))
    assert float(right.split()[0]) > 5

    def exchange(content):
        new = {7: 90, 90: 7}
        for entry in content["categories"]:
            entry["id"] = new[entry["id"]]
        for entry in content["annotations"]:
            entry["category_id"] = new[entry["category_id"]]

    other = edit(own.json, exchange, own.folder / "b.json")
    assert ap(evaluate(run, own, json_path=other)) == right
    edit(other, lambda content: content["categories"][0].update(name="cow"))
    said = evaluate(run, own, json_path=other)
    assert said.code == 2 and "'cat' is only in the first; 'cow' is only in the second" in said.err
    data = [*options("train", own.json, own.photos), *options("val", other, own.photos)]
    said = run("train", "tiny", *data, *TRAIN, "--out", tmp_path / "run")
    assert said.code == 2 and "'cow'" in said.err and not (tmp_path / "run").exists()
    fsaf.save(detector(("class_0", "class_1"), (1, 2)), own.weights)
    said = evaluate(run, own)
    assert (
        ap(said) == right and "has no class names: its classes are matched by position" in said.out
    )
    names = ("cow", "dog", "hen")
    fsaf.save(detector(names, (1, 2, 3)), own.weights)
    said = train(run, own, tmp_path / "from", "--from", own.weights, "--train.lr", "1e-9")
    assert said.code == 0 and "the rows of 1 classes come from" in said.out
    assert "those of 'cat' start from scratch" in said.out
    before, after = fsaf.load(own.weights), fsaf.load(tmp_path / "from" / "model.safetensors")
    rows = [one.network.head.af_cls.weight for one in (before, after)]
    assert torch.allclose(rows[0][1], rows[1][1], atol=1e-5)  # dog, in both


def test_02_a_path_is_used(run, own, quick, tmp_path):
    assert train(run, own, tmp_path / "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["source"] == "files" and config["model"]["class_names"] == ["cat", "dog"]
    assert config["sets"]["train"]["json"] == str(own.json.resolve())
    assert str(own.json) in evaluate(run, own).out or "5 images" in evaluate(run, own).out
    said = train(run, own, tmp_path / "x", "--data.source", "scenes")
    assert said.code == 2 and "'scenes', but train_json is given" in said.err
    said = run("train", "tiny", *options("train", own.json, own.photos), *TRAIN)
    assert said.code == 2 and "--data.val-json" in said.err


def test_03_a_folder_predicted_twice(run, own, monkeypatch):
    monkeypatch.chdir(own.photos)
    noise(own.photos / ".hidden.png", (64, 64))
    noise(own.photos / "__MACOSX" / "._a.png", (64, 64))
    (own.photos / "notes.txt").write_text("x")
    for _ in range(2):
        said = run("predict", "--weights", own.weights, ".", "--score", 0.5)
        assert said.code == 0 and said.out.startswith("1 files of other kinds were passed over.\n")
        assert set(by_image(Path("predictions/detections.json"))) <= {*range(1, 6)}
        assert "detections of 5 images" in said.out


def test_04_one_id_twice(run, own, tmp_path):
    check = ["data", "check", own.json, own.photos, "--out", tmp_path / "check"]
    edit(own.json, lambda content: content["images"].append(content["images"][0]))
    assert "1 images listed again" in run(*check).out
    edit(own.json, lambda content: content["images"][-1].update(file_name="b.png"))
    said = run(*check)
    assert said.code == 2 and "id 1 is also that of 'a.png'" in said.err
    edit(own.json, lambda content: content["images"].pop())
    for entry, message in {
        (7, "cow"): "id 7 is also that of 'cat'",
        (8, "dog"): "another id has the same name",
    }.items():
        new = {"id": entry[0], "name": entry[1]}
        edit(own.json, lambda content, new=new: content["categories"].append(new))
        said = run(*check)
        assert said.code == 2 and message in said.err
        edit(own.json, lambda content: content["categories"].pop())


def test_05_a_run_knows_its_data(run, own, quick, tmp_path, monkeypatch):
    write, out = Log.write, tmp_path / "run"
    with monkeypatch.context() as patch:

        def stop(self, **values):
            write(self, **values)
            os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(Log, "write", stop)
        more = ["--train.steps", 4, "--train.validate-every", 4, "--train.log-every", 1]
        said = train(run, own, out, *more)
    assert said.code == 130 and "the same command resumes the run" in said.err
    assert last_step(out) < 4

    right = own.json.read_text()
    edit(own.json, lambda content: content["annotations"].pop())
    said = train(run, own, out, *more)
    assert said.code == 2 and "was started on another train json" in said.err
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copytree(own.photos, elsewhere / "photos")
    shutil.copy(own.json, elsewhere / "a.json")
    monkeypatch.chdir(elsewhere)
    here = Own(elsewhere, Path("photos"), Path("a.json"), own.weights)
    assert "was started on another train json" in train(run, here, out, *more).err
    (elsewhere / "a.json").write_text(right)
    said = train(run, here, out, *more)
    assert said.code == 0 and "the sets have moved, their jsons are the same" in said.out
    assert last_step(out) == 4


def test_06_metrics_do_not_depend_on_the_batch(run, own, quick, tmp_path):
    said = train(run, own, tmp_path / "run", "--from", own.weights, "--train.lr", "1e-6")
    assert said.code == 0
    weights = tmp_path / "run" / "model.safetensors"
    own = own._replace(weights=weights)
    found = {"training": by_image(tmp_path / "run" / "detections.json")}
    lines = set()
    for size in (1, 3, 50):
        lines.add(
            ap(evaluate(run, own, "--evaluate.batch-size", size, "--out", tmp_path / str(size)))
        )
        found[size] = by_image(tmp_path / str(size) / "detections.json")
    run("predict", own.photos, "--weights", weights, "--out", tmp_path / "p", "--score", 1)
    found["predict"] = by_image(tmp_path / "p" / "detections.json")
    assert len(lines) == 1 and lines.pop().split()[0] != "0.0"
    for which, rows in found.items():
        assert rows.keys() == found[1].keys()
        for image_id, alone in found[1].items():
            scores, boxes = (
                np.array([[row[name] for row in part] for part in (alone, rows[image_id])])
                for name in ("score", "bbox")
            )
            assert abs(scores[0] - scores[1]).max() < 1e-5, which
            assert abs(boxes[0] - boxes[1]).max() < 1e-2, which


def test_07_every_kind_of_tensor_is_checked(unchecked):
    model, pixels = detector(), torch.rand(3, 64, 96)
    for wrong in (pixels * 255, (pixels - 0.5) / 0.2):
        for image in (wrong, tv_tensors.Image(wrong)):
            for call in (model, lambda images: [model.predict(one) for one in images]):
                with pytest.raises(fsaf.FSAFError, match=r"images\[0\] holds"):
                    call([image])
    plain = {"boxes": torch.tensor([[10.0, 12, 40, 50]]), "labels": torch.tensor([1])}
    same = tv_tensors.BoundingBoxes([[10.0, 12, 30, 38]], format="XYWH", canvas_size=(64, 96))
    losses = [
        sum(model.train()([pixels], [{**plain, "boxes": boxes}]).values()).item()
        for boxes in (plain["boxes"], same)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    other = tv_tensors.BoundingBoxes([[10.0, 12, 30, 38]], format="XYWH", canvas_size=(640, 960))
    with pytest.raises(fsaf.FSAFError, match="belong to an image of 960 x 640 pixels"):
        model([pixels], [{**plain, "boxes": other}])


def test_08_numbers_have_ranges(run, own, quick, tmp_path):
    short = [part for part in TRAIN if part not in ("--train.steps",)]
    short.remove("2")
    data = [*options("train", own.json, own.photos), *options("val", own.json, own.photos)]
    said = run("train", "tiny", *data, *short, "--train.epochs", 1, "--out", tmp_path / "run")
    assert said.code == 0 and "--train.epochs takes their place" in said.out
    assert last_step(tmp_path / "run") == 2  # five images, two a step
    for name, value in {
        "train.steps": 0,
        "train.epochs": 0,
        "train.batch-size": 0,
        "train.lr": "nan",
        "train.log-every": 0,
        "train.flip": 1.5,
        "train.accumulate": -1,
        "train.lr ": "inf",
        "data.workers": -1,
        "model.short-side": 0,
        "model.score-thresh": 1.5,
        "train.keep": 0,
        "evaluate.batch-size": 0,
        "train.steps ": -5,
    }.items():
        name = name.strip()
        said = train(run, own, tmp_path / "x", f"--{name}", value)
        field = name.rpartition(".")[2].replace("-", "_")
        assert said.code == 2 and f"{field} is {value}: give a " in said.err, said.err
    said = run("train", "tiny", "--data.scenes.image-size", 8, "--out", tmp_path / "x")
    assert said.code == 2 and "image_size is 8: give a " in said.err
    said = train(run, own, tmp_path / "x", "--train.epochs", 2)
    assert said.code == 2 and "2 epochs and 2 steps" in said.err


def test_09_checkpoints_of_mmdetection(run, own, quick, tmp_path, monkeypatch):
    def names_found(path: Path) -> set[str]:
        out = tmp_path / "p" / path.stem
        said = run("predict", own.photos / "a.png", "--weights", path, "--out", out, "--score", 1)
        assert said.code == 0, said.err
        return {row["category"] for row in json.loads((out / "detections.json").read_text())}

    three = ("red", "green", "blue")
    path = mmdet(three, tmp_path / "v3.pth", {"dataset_meta": {"classes": three}})
    assert names_found(path) == {"green"}
    eighty = tuple(f"kind {number}" for number in range(80))
    path = mmdet(eighty, tmp_path / "own.pth", {"CLASSES": eighty})
    assert fsaf.load_mmdet(path).config.class_names == eighty

    plain = fsaf.load_mmdet(tmp_path / "v3.pth").state_dict()
    for name, wrap in {
        "module": lambda state: {
            "state_dict": {f"module.{key}": value for key, value in state.items()}
        },
        "ema": lambda state: {"state_dict": {f"ema_{key}": value for key, value in state.items()}},
        "model": lambda state: {"model": state},
        "old": lambda state: {
            "state_dict": {key: value for key, value in state.items() if "num_batches" not in key}
        },
    }.items():
        path = mmdet(three, tmp_path / f"{name}.pth", {"CLASSES": three}, wrap)
        loaded = fsaf.load_mmdet(path)
        assert loaded.config.class_names == three
        assert all(torch.equal(loaded.state_dict()[key], plain[key]) for key in plain), name

    fields = {
        "backbone": "resnet18",
        "backbone-norm": "frozen",
        "tower-norm": "none",
        "last-level": 7,
    }
    fields |= {"channels": 8, "convention": "reference"}
    more = [part for name, value in fields.items() for part in (f"--model.{name}", value)]
    said = train(run, own, tmp_path / "run", *more, "--from", tmp_path / "v3.pth")
    assert said.code == 0, said.err
    torch.save({"model": torch.nn.Linear(2, 2).state_dict(), "epoch": 3}, tmp_path / "best.pt")
    said = run("predict", own.photos, "--weights", tmp_path / "best.pt")
    assert said.code == 2 and "delete" not in said.err and "best.pt" in said.err


def test_10_category_ids_of_the_training_set(run, own, tmp_path):
    weights = mmdet(fsaf.config.COCO_CLASSES, tmp_path / "coco.pth", {})
    for path, expected in {
        weights: {13: "stop sign"},
        own.weights: {7: "cat", 90: "dog"},
    }.items():
        out = tmp_path / path.stem
        said = run("predict", own.photos / "a.png", "--weights", path, "--out", out, "--score", 1)
        rows = json.loads((out / "detections.json").read_text())
        assert said.code == 0 and {row["category_id"]: row["category"] for row in rows} == expected
    assert len(COCO_CATEGORY_IDS) == 80 and COCO_CATEGORY_IDS[-1] == 90


def test_11_what_is_not_trained_on_is_said(run, own, tmp_path):
    boxes = [
        {"image_id": 1, "category_id": 7, "bbox": [4, 6, 24, 30]},
        {"image_id": 1, "category_id": 7, "bbox": [4, 6, 24, 30], "ignore": 1},
        {"image_id": 1, "category_id": 7, "bbox": [4, 6, 0, 30]},
        {"image_id": 1, "category_id": 90, "bbox": [400, 6, 24, 30]},
        {"image_id": 2, "category_id": 90, "bbox": [4, 6, 24, 30], "iscrowd": 1},
        {"image_id": 2, "category_id": 90, "bbox": [4, 6, 24, 30]},
    ]
    content = coco(own.json, boxes=boxes)
    content["annotations"].append(content["annotations"][0])
    own.json.write_text(json.dumps(content))
    said = run("data", "check", own.json, own.photos, "--out", tmp_path / "check")
    assert said.out.startswith("trained on: 2 of 5 images, 2 boxes\n")
    for part in (
        *("1 repeated annotations not trained on", "1 annotations marked 'ignore' not trained on"),
        *("1 degenerate boxes not trained on", "1 boxes outside the image not trained on"),
        *("1 crowds", "3 images without a box"),
    ):
        assert part in said.out, said.out
    assert "dropped" not in said.out


def test_12_white_goes_by_the_depth(run, own, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for largest in (255, 256, 65535):
        values = np.full((64, 64), largest, np.uint16)
        Image.fromarray(values).save(frames / f"{largest:06d}.png")
    said = run("predict", frames, "--weights", own.weights, "--out", tmp_path / "p", "--score", 1)
    greys = [np.asarray(Image.open(path)).max() for path in sorted((tmp_path / "p").glob("*.png"))]
    assert said.code == 0 and greys == [1, 1, 255]


def test_13_missing_files(run, own, quick, tmp_path):
    for name in list(SIZES)[1:]:
        (own.photos / name).unlink()
    for said in (train(run, own, tmp_path / "run"), evaluate(run, own)):
        assert said.code == 2 and "does not contain 4 of the 5 images" in said.err
        assert "b.png" in said.err
    sizes = {f"{number}.png": (32, 32) for number in range(100)}
    for name in list(sizes)[:99]:
        noise(own.photos / name, (32, 32))
    coco(own.json, sizes)
    said = evaluate(run, own)
    assert said.code == 0 and "1 files missing" in said.out


def test_14_predict_changes_no_mode(made):
    model = detector().train()
    alone = detector().predict(made.photos / "a.png")
    found: list[dict] = []

    def work():
        found.extend(model.predict([made.photos / "a.png"] * 3))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(module.training for module in model.modules())
    assert len(found) == 9
    for one in found:  # three images share a forward pass, which adds in another order than one
        torch.testing.assert_close(one["scores"], alone["scores"], rtol=0, atol=1e-5)


# Hangs, losses, tracebacks


def test_15_shared_memory_too_small(run, own, quick, tmp_path, monkeypatch):
    data = ["--data.workers", 2]
    with monkeypatch.context() as patch:
        patch.setattr(loader.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 900))
        said = train(run, own, tmp_path / "run", *data)
    assert said.code == 2 and "MB of shared memory, and /dev/shm has 0 MB free" in said.err
    assert "--data.workers 0" in said.err

    image = CocoDataset._image

    def slow(self, i):
        time.sleep(3)
        return image(self, i)

    monkeypatch.setattr(CocoDataset, "_image", slow)
    monkeypatch.setattr(loader, "PATIENCE", 1)
    monkeypatch.setattr(loader, "END_AFTER", 2)
    said = train(run, own, tmp_path / "slow", *data)
    assert said.code == 2 and said.err.count("No batch was loaded for") == 2


def test_16_a_damaged_validation_image_loses_nothing(run, own, quick, tmp_path):
    shutil.copytree(own.photos, own.folder / "val")
    (own.folder / "val" / "c.png").write_bytes(b"no image")
    out = tmp_path / "run"
    more = [*options("val", own.json, own.folder / "val"), "--train.checkpoint-every", 100]
    said = train(run, own, out, *more)
    assert said.code == 2 and "1 of 5 images cannot be read" in said.err and "c.png" in said.err
    assert [path.stem for path in (out / "checkpoints").glob("*.pt")] == ["step_000000002"]
    shutil.copy(own.photos / "c.png", own.folder / "val" / "c.png")
    said = train(run, own, out, *more)
    assert said.code == 0 and "resuming from step 2 to 2" in said.out


def test_17_ctrl_c_keeps_the_results(run, own, tmp_path, monkeypatch):
    # More lines than a pipe holds (64 kB), so the child cannot end before the signal comes.
    noise(tmp_path / "many" / "0000.png", (64, 64))
    for number in range(1, 2000):
        os.link(tmp_path / "many" / "0000.png", tmp_path / "many" / f"{number:04d}.png")
    out = tmp_path / "p"
    command = [sys.executable, "-m", "fsaf_core", "predict", tmp_path / "many"]
    command += ["--weights", own.weights, "--out", out, "--device", "cpu"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(3):
        child.stdout.readline()
    child.send_signal(signal.SIGINT)
    said, error = child.communicate(timeout=300)
    assert child.returncode == 130
    assert re.fullmatch(r"\nfsaf: stopped after \d+ of 2000 images\.\n", error)
    count = int(re.search(r"detections of (\d+) images", said)[1])
    # The third image's line is printed before its results are noted.
    assert 2 <= count < 2000 and set(by_image(out / "detections.json")) <= {*range(1, count + 1)}

    outputs, calls = fsaf.Detector.head_outputs, []

    def stop(self, tensor):
        calls.append(tensor)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return outputs(self, tensor)

    monkeypatch.setattr(fsaf.Detector, "head_outputs", stop)
    said = evaluate(run, own, "--evaluate.batch-size", 1, "--out", tmp_path / "e")
    assert said.code == 130 and "stopped after 2 of 5 images: their detections are in" in said.err
    assert len(by_image(tmp_path / "e" / "detections.json")) == 2


def test_18_small_batches_and_half_detectors(run, own, quick, tmp_path, exported):
    for name in SIZES:
        noise(own.photos / name, (32, 32))
    coco(own.json, dict.fromkeys(SIZES, (32, 32)), categories=CATEGORIES)
    more = ["--train.batch-size", 1, "--model.short-side", 32, "--model.long-side", 32]
    said = train(run, own, tmp_path / "run", *more)
    assert (
        said.code == 2
        and "Batch normalization has no statistics in one image of 32 pixels" in said.err
    )
    assert exported[1].stat().st_size > 100_000


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[fsaf.Detector, Path]:
    """A detector, and the ONNX file of its copy in half precision."""
    from fsaf_core.weights.onnx import export

    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # checked shapes would become constants of the graph
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        export(model := detector().half(), path)
        return model.float(), path


# Refused though acceptable, or unclear


def test_19_ids_and_sizes_may_be_written_differently(run, own, tmp_path):
    def change(content):
        first, second, third = content["images"][:3]
        first["id"], second["id"], third["width"], third["height"] = "1", 2.0, None, 0
        content["categories"][0]["id"] = "7"
        for number, entry in enumerate(content["annotations"]):
            entry["id"] = f"9b2e-{number}"
            entry["area"] = 0
            if number == 0:
                x, y, w, h = entry.pop("bbox")
                entry["segmentation"] = [[x, y, x + w, y, x + w, y + h]]

    right = run("data", "check", own.json, own.photos, "--out", tmp_path / "check").out
    boxes = len(json.loads(own.json.read_text())["annotations"])
    edit(own.json, change)
    said = run("data", "check", own.json, own.photos, "--out", tmp_path / "check")
    assert said.code == 0, said.err
    assert said.out.splitlines()[:2] == right.splitlines()[:2]
    assert "1 sizes read from the files" in said.out and "1 boxes taken from polygons" in said.out
    assert f"{boxes} areas of 0 replaced by the box's" in said.out
    assert ap(evaluate(run, own))


def test_20_file_names_may_be_written_differently(run, own, tmp_path):
    photos, names = own.photos, list(SIZES)
    shutil.copy(photos / "a.png", photos / "with space.png")
    other = [
        *("photos\\a.png", f"{photos.resolve()}/b.png", "../photos/c.png"),
        *("D.PNG", "with%20space.png", "E.png"),
    ]
    sizes = dict(zip(other, [SIZES[name] for name in names[:4]] + [SIZES["a.png"], SIZES["e.png"]]))
    coco(own.json, sizes)
    said = run("data", "check", own.json, photos, "--out", tmp_path / "check")
    assert said.code == 0, said.err
    assert (
        "trained on: 6 of 6 images" in said.out and "6 files found under another name" in said.out
    )
    coco(own.json, {f"elsewhere/{number}.png": (64, 64) for number in range(3)})
    said = run("data", "check", own.json, photos)
    assert said.code == 2 and f"{photos}/elsewhere/0.png" in said.err


def test_21_a_thousand_classes_of_which_one_is_missing(run, own, tmp_path):
    names = tuple(f"a species of the genus {number}" for number in range(1000))
    fsaf.save(detector(names, tuple(range(1, 1001))), own.weights)
    coco(own.json, boxes=[], categories=dict(enumerate(names[:-1], start=1)))
    edit(own.json, lambda content: content["annotations"].append(
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 6, 24, 30]}
    ))  # fmt: skip
    said = evaluate(run, own)
    assert said.code == 2 and "'a species of the genus 999' is only in the first" in said.err


SCRIPT = """
import multiprocessing
multiprocessing.set_start_method("spawn", force=True)
import sys
from dataclasses import replace
import fsaf_core as fsaf
config = fsaf.presets.get("tiny")
config = replace(config, data=replace(config.data, workers=1), train=replace(config.train, batch_size=2))
fsaf.train(config, "run", "cpu", train_json="a.json", train_images="photos", val_json="a.json", val_images="photos")
"""


def test_22_scripts_checkpoints_and_onnx(run, own, quick, tmp_path, exported):
    (own.folder / "script.py").write_text(SCRIPT)
    child = subprocess.run(
        [sys.executable, "script.py"], cwd=own.folder, capture_output=True, text=True, timeout=120
    )
    assert child.returncode and 'if __name__ == "__main__"' in child.stderr.splitlines()[-1]

    assert train(run, own, tmp_path / "run").code == 0
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("*.pt")
    said = run("evaluate", checkpoint, "--device", "cpu")
    assert said.code == 0 and "5 images" in said.out

    onnxruntime = pytest.importorskip("onnxruntime")
    model, path = exported
    session = onnxruntime.InferenceSession(path)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == ["cat", "dog"]
    assert {"image_mean", "image_std", "score_thresh", "nms_thresh", "size_divisor"} <= facts.keys()
    # A size that is no multiple of 32 gives the detector's own scores.
    image = torch.rand(3, 61, 90, generator=torch.Generator().manual_seed(0))
    boxes, scores, labels = map(
        torch.from_numpy, session.run(None, {"images": image[None].numpy()})
    )
    found = merge_candidates(boxes[0], scores[0], labels[0], model.config)["scores"]
    expected = model([image])[0]["scores"]
    assert len(found) == len(expected) > 10
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_23_a_notebook_run_from_another_folder(tmp_path):
    cells = json.loads((NOTEBOOKS / "00_start_here.ipynb").read_text())["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    child = subprocess.run(
        [sys.executable, "-c", first], cwd=tmp_path, capture_output=True, text=True
    )
    assert child.returncode and "notebooks" in child.stderr.splitlines()[-1]


# More of the same kinds, each mended when it was found


def flat_polygon(content):
    for entry in content["annotations"]:
        x, y, w, h = entry.pop("bbox")
        entry["segmentation"] = [x, y, x + w, y, x + w, y + h, x, y + h]


def text_boxes(content):
    for entry in content["annotations"]:
        entry["bbox"] = [str(value) for value in entry["bbox"]]


def no_urls(content):
    for entry in content["images"]:
        entry |= {"coco_url": None, "license": None}


def twin_names(content):
    for entry, name in zip(content["categories"], ("apple", "Apple"), strict=True):
        entry["name"] = name


@pytest.mark.parametrize("change", [flat_polygon, text_boxes, no_urls])
def test_24_jsons_of_other_tools(change, run, own, tmp_path):
    coco(own.json)
    right = run("data", "check", own.json, own.photos, "--out", tmp_path / "check").out
    edit(own.json, change)
    said = run("data", "check", own.json, own.photos, "--out", tmp_path / "check")
    assert said.code == 0 and said.out.splitlines()[:2] == right.splitlines()[:2], said
    assert evaluate(run, own).code == 0


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_25_a_json_written_on_windows(encoding, run, own, tmp_path):
    content = coco(own.json, categories={7: "Käfer", 90: "犬"})
    text = json.dumps(content, indent=1, ensure_ascii=False)
    own.json.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    said = run("data", "check", own.json, own.photos, "--out", tmp_path / "check")
    assert said.code == 0 and "boxes of each class: Käfer 5, 犬 5\n" in said.out


def test_26_names_that_differ_in_letter_case_alone(run, own, quick, tmp_path):
    edit(own.json, twin_names)
    assert train(run, own, tmp_path / "run").code == 0
    own = own._replace(weights=tmp_path / "run" / "model.safetensors")
    assert evaluate(run, own).code == 0


def test_27_what_macos_and_links_add_to_a_folder(run, own, tmp_path):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    xml = (
        f"<annotation><filename>a.png</filename><object><name>cat</name>{box}</object></annotation>"
    )
    (own.photos / "a.xml").write_text(xml)
    (own.photos / "._a.xml").write_bytes(b"\0\5\x16\7")
    said = run("data", "convert", "voc", own.photos, tmp_path / "voc.json")
    assert said.code == 0 and "has 1 images and 1 boxes" in said.out
    (own.photos / "a.xml").unlink()
    os.symlink(own.photos, own.photos / "again")
    # The results lie above the photos, and none of them inside.
    said = run("predict", own.photos, "--weights", own.weights, "--out", own.folder)
    assert said.code == 0 and said.out.startswith("1 files of other kinds were passed over.\n")
    assert "detections of 5 images" in said.out


def test_28_values_that_no_detector_can_have(run, own, tmp_path):
    said = train(run, own, tmp_path / "run", "--model.channels", 15)
    assert said.code == 2 and "channels is 15: give a multiple of 8" in said.err
    said = train(run, own, tmp_path / "run", "--model.class-names", "cat", "cow")
    assert said.code == 2 and "--model.class_names is given, but the classes are those" in said.err
    said = run("predict", "x" * 5000, "--weights", own.weights)
    assert said.code == 2 and "File name too long" in said.err


@pytest.mark.parametrize("size", ["2", "abc"])
def test_29_an_environment_that_torchrun_did_not_make(size, run, own, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", size)
    said = train(run, own, tmp_path / "run")
    assert said.code == 2 and f"WORLD_SIZE {size} without torchrun's RANK" in said.err


def test_30_a_service_without_output(own, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    images = [str(own.photos), "--weights", str(own.weights)]
    assert main(["predict", *images, "--out", str(tmp_path)]) == 0


def test_31_a_quota_is_no_full_disk(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", refuse)
    said = r"needs 2\.0 MB and cannot be written \(Disk quota exceeded; the disk has"
    with pytest.raises(fsaf.FSAFError, match=said):
        fsaf.save(detector(channels=8), tmp_path / "x.safetensors")


def test_32_files_that_are_no_weights(run, own, tmp_path):
    for name, content in {"page": b"<!DOCTYPE html>", "lfs": b"version https://git-lfs"}.items():
        (tmp_path / f"{name}.pth").write_bytes(content)
        said = run("predict", own.photos, "--weights", tmp_path / f"{name}.pth")
        assert (
            said.code == 2
            and "is no checkpoint of torch, or is cut off (it begins with" in said.err
        )
    shutil.copy(own.weights, tmp_path / "MODEL.SAFETENSORS")
    image, weights = own.photos / "a.png", tmp_path / "MODEL.SAFETENSORS"
    assert run("predict", image, "--weights", weights, "--out", tmp_path / "p").code == 0
