"""The generated scenes: what is drawn, what is written, and that neither changes by itself."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from fsaf_core.config import SCENE_CLASSES, FSAFError, SceneConfig
from fsaf_core.data.synthetic.dataset import config_hash, make_scenes
from fsaf_core.data.synthetic.renderer import render_scene

SMALL = SceneConfig(num_train=11, num_val=3, image_size=64)


def sizes(objects):
    return np.array([[o.box[2] - o.box[0], o.box[3] - o.box[1]] for o in objects])


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_default_difficulty_is_frozen():
    # The published metrics belong to these scenes. Other settings or another renderer need new ones.
    assert config_hash(SceneConfig()) == "4e5b80a2c510"
    assert config_hash(SceneConfig(num_train=3000)) == "2c3dae5c9b3e"  # the first edition's
    _, objects = render_scene(SceneConfig(), 0)
    assert [SCENE_CLASSES[o.label] for o in objects] == [
        "square",
        "star",
        "ring",
        "square",
        "cross",
    ]
    boxes = [
        (4.56, 65.56, 26.73, 113.75),
        (65.06, 5.6, 117.75, 39.41),
        (100.76, 36.79, 127.49, 48.25),
        (10.42, 45.85, 122.75, 109.69),
        (0.77, 82.97, 9.0, 103.5),
    ]
    assert np.allclose([o.box for o in objects], boxes, atol=0.02)


def test_same_settings_give_the_same_bytes(tmp_path):
    first, second = make_scenes(SMALL, tmp_path / "a"), make_scenes(SMALL, tmp_path / "b")
    assert first.name == second.name and files(first) == files(second)
    other = make_scenes(replace(SMALL, seed=1), tmp_path / "a")
    assert other != first and files(other)["train/000001.jpg"] != files(first)["train/000001.jpg"]


def test_several_processes_write_what_one_writes(tmp_path, monkeypatch):
    config = replace(SMALL, num_train=210)
    many = files(make_scenes(config, tmp_path / "many"))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert files(make_scenes(config, tmp_path / "one")) == many


def test_a_scene_depends_on_its_split_and_number_alone():
    pixels = np.asarray(render_scene(SMALL, 5)[0])
    assert (pixels == np.asarray(render_scene(replace(SMALL, num_train=9999), 5)[0])).all()
    assert (pixels != np.asarray(render_scene(SMALL, 5, "val")[0])).any()
    assert (pixels != np.asarray(render_scene(SMALL, 6)[0])).any()


def test_pycocotools_reads_what_is_written(tmp_path, capsys):
    folder = make_scenes(SMALL, tmp_path)
    coco = COCO(str(folder / "annotations_train.json"))
    assert [c["name"] for c in coco.loadCats(sorted(coco.getCatIds()))] == list(SCENE_CLASSES)
    assert sorted(coco.getCatIds()) == [1, 2, 3, 4, 5, 6] and len(coco.getImgIds()) == 11
    for number, entry in enumerate(coco.loadImgs(coco.getImgIds())):
        with Image.open(folder / "train" / entry["file_name"]) as picture:
            assert picture.size == (entry["width"], entry["height"]) == (64, 64)
            assert picture.format == ("PNG" if number % 10 == 9 else "JPEG")
        annotations = coco.loadAnns(coco.getAnnIds(entry["id"]))
        objects = render_scene(SMALL, number)[1]
        assert [a["category_id"] for a in annotations] == [o.label + 1 for o in objects]
        for annotation, drawn in zip(annotations, objects):
            x, y, w, h = annotation["bbox"]
            assert np.allclose((x, y, x + w, y + h), drawn.box, atol=0.01)
            assert (
                annotation["area"] == pytest.approx(w * h, abs=0.01) and annotation["iscrowd"] == 0
            )


def test_boxes_are_tight_and_stay_in_the_image():
    # One object on a plain ground: the pixels that differ from the ground say where it is.
    plain = SceneConfig(
        max_objects=1, empty_share=0.0, crowd_share=0.0, clutter=0, noise=0.0, min_size=20.0
    )
    cut = 0
    for number in range(40):
        pixels = np.asarray(render_scene(plain, number)[0]).astype(int)
        ((x1, y1, x2, y2),) = (o.box for o in render_scene(plain, number)[1])
        assert 0 <= x1 < x2 <= 128 and 0 <= y1 < y2 <= 128
        cut += x1 == 0 or y1 == 0 or x2 == 128 or y2 == 128
        # The ground is greyish, objects are not.
        ys, xs = np.nonzero(pixels.max(2) - pixels.min(2) > 55)
        if len(xs) and (pixels.max(2) - pixels.min(2) > 55).mean() > 0.01:
            assert (
                x1 - 1 <= xs.min()
                and xs.max() + 1 <= x2 + 1
                and y1 - 1 <= ys.min()
                and ys.max() + 1 <= y2 + 1
            )
            assert (
                xs.min() <= x1 + 5
                and xs.max() + 1 >= x2 - 5
                and ys.min() <= y1 + 5
                and ys.max() + 1 >= y2 - 5
            )
    assert cut > 0


def test_settings_do_what_they_say():
    many = [render_scene(SceneConfig(), number)[1] for number in range(160)]
    flat = [o for objects in many for o in objects]
    whole = [o for o in flat if min(o.box) > 0 and max(o.box) < 128]
    side = np.sqrt(sizes(whole).prod(1))
    aspect = np.maximum(*(sizes(whole).T)) / np.minimum(*(sizes(whole).T))
    assert (
        7.7 <= side.min() < 9 and 90 < side.max() <= 0.8 * 128 + 0.1 and 2.5 < aspect.max() <= 3.01
    )
    low, middle, high = np.percentile(np.log(side), [5, 50, 95])
    assert abs((middle - low) / (high - low) - 0.5) < 0.15  # log-uniform
    assert np.bincount([o.label for o in flat], minlength=6).min() > 0.1 * len(flat)
    assert min(o.visible for o in flat) >= 0.49 and sum(o.visible < 0.9 for o in flat) > 20
    assert any(not objects for objects in many) and max(map(len, many)) > 8  # empty ones and crowds
    crowds = [objects for objects in many if len(objects) > 8]
    assert all(np.bincount([o.label for o in objects]).max() >= 5 for objects in crowds)

    thin = replace(
        SceneConfig(),
        max_aspect=8.0,
        empty_share=0.0,
        crowd_share=0.0,
        min_objects=3,
        max_objects=3,
    )
    sides = sizes([o for number in range(60) for o in render_scene(thin, number)[1]])
    assert (sides.max(1) / sides.min(1)).max() > 6

    kinds = [
        o.kind
        for number in range(40)
        for o in render_scene(replace(SceneConfig(), detail=1.0), number)[1]
    ]
    assert "plain" not in kinds and 0.3 < np.mean([kind == "fine" for kind in kinds]) < 0.7
    assert {o.kind for o in flat} == {"plain"}


def test_centers_of_objects_keep_their_distance():
    for number in range(30):
        boxes = np.array([o.box for o in render_scene(SceneConfig(), number)[1]]).reshape(-1, 4)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        apart = np.linalg.norm(middles[:, None] - middles, axis=2) + 1e9 * np.eye(len(boxes))
        assert (apart > 5.4).all()


def test_made_scenes_are_not_made_again(tmp_path):
    folder = make_scenes(SMALL, tmp_path)
    stamp = (folder / "config.json").stat().st_mtime_ns
    assert make_scenes(SMALL, tmp_path) == folder
    assert (folder / "config.json").stat().st_mtime_ns == stamp
    assert json.loads((folder / "config.json").read_text()) == asdict(SMALL)
    image = folder / "train" / "000004.jpg"
    content = image.read_bytes()
    image.unlink()
    assert make_scenes(SMALL, tmp_path) == folder and image.read_bytes() == content
    assert [path.name for path in (tmp_path / "scenes").iterdir()] == [folder.name]


def test_a_kill_leaves_nothing_that_looks_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    config = replace(SMALL, num_train=20_000)
    child = multiprocessing.get_context("fork").Process(target=make_scenes, args=(config, tmp_path))
    child.start()
    while child.is_alive() and not list((tmp_path / "scenes").glob(".*/*/train/000005.jpg")):
        time.sleep(0.01)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not (tmp_path / "scenes" / config_hash(config)).exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"min_size": 200.0}, "min_size is 200"),
        ({"image_size": 8}, "image_size is 8"),
        ({"max_aspect": 20.0}, "max_aspect is 20"),
        ({"empty_share": 1.5}, "empty_share is 1.5"),
        ({"min_objects": 9}, "min_objects is 9"),
        ({"num_val": -1}, "num_val is -1"),
    ],
)
def test_impossible_settings_are_refused_in_one_sentence(tmp_path, setting, said):
    with pytest.raises(FSAFError, match=said):
        make_scenes(replace(SceneConfig(), **setting), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FSAFError, match=r"file.* cannot be written"):
        make_scenes(SMALL, tmp_path / "file")
