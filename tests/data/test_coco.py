"""Reading COCO-format sets: what is kept, what is counted, what is refused, and what it costs at COCO's size."""

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fsaf_core.config import FSAFError
from fsaf_core.data.coco import CocoDataset
from fsaf_core.data.coco_index import open_index
from fsaf_core.data.images import image_files, load_image

REAL = Path(os.environ.get("FSAF_TEST_DATA", "unset"))
ENTRY = {
    "id": 1,
    "image_id": 10,
    "category_id": 7,
    "bbox": [10, 20, 30, 40],
    "area": 600.0,
    "iscrowd": 0,
}
BASE = {
    "info": {"year": 2017},
    "licenses": [],
    "annotations": [  # before the images, as some tools write it
        ENTRY,
        {
            **ENTRY,
            "id": 2,
            "category_id": 90,
            "bbox": [-5, 30, 20, 500],
        },  # out of the image on three sides
        {
            **ENTRY,
            "id": 3,
            "category_id": 3,
            "iscrowd": 1,
            "segmentation": {"counts": [1, 2], "size": [48, 64]},
        },
        {**ENTRY, "id": 4, "image_id": 30, "bbox": [0, 0, 5, 5]},
    ],
    "categories": [
        {"id": 90, "name": "brush"},
        {"id": 3, "name": "car"},
        {"id": 7, "name": "train"},
    ],
    "images": [
        {"id": 30, "file_name": "deep/er/ünï 映像.png", "width": 40, "height": 50, "license": 1},
        {"id": 10, "file_name": "a.jpg", "width": 64, "height": 48},
        {"id": 20, "file_name": "empty.jpg", "width": 64, "height": 48},
    ],
}


@pytest.fixture
def make(tmp_path):
    """Write a json (BASE with changes) and its images; returns the json's path."""

    def write(**changes) -> Path:
        content = copy.deepcopy(BASE) | changes
        for entry in content["images"]:
            path = tmp_path / "images" / entry["file_name"]
            if (
                path.is_relative_to(tmp_path / "images")
                and not set(entry["file_name"]) & set("\\\0")
                and ".." not in path.parts
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (entry["width"], entry["height"]), (200, 10, 10)).save(path)
        path = tmp_path / "set.json"
        path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        return path

    return write


def with_annotations(*entries) -> dict:
    return {
        "annotations": BASE["annotations"]
        + [{**ENTRY, "id": 100 + i, **entry} for i, entry in enumerate(entries)]
    }


def test_boxes_labels_and_crowds_come_out_by_image(make, tmp_path):
    dataset = CocoDataset(make(), tmp_path / "images", train=False)
    assert dataset.class_names == ("car", "train", "brush")  # ascending category ids 3, 7, 90
    assert [dataset[i]["image_id"] for i in range(3)] == [30, 10, 20]
    sample = dataset[1]
    assert sample["boxes"].tolist() == [
        [10, 20, 40, 60 - 12],
        [0, 30, 15, 48],
    ]  # cut at 48 and at 0
    assert sample["labels"].tolist() == [1, 2] and sample["labels"].dtype == torch.int64
    assert sample["ignored"].tolist() == [[10, 20, 40, 48]]
    assert (
        sample["image"].shape == (3, 48, 64)
        and sample["image"].dtype == torch.uint8
        and sample["size"] == (48, 64)
    )
    assert dataset[0]["image"].shape == (3, 50, 40)
    empty = dataset[2]
    assert (
        empty["boxes"].shape == (0, 4)
        and empty["ignored"].shape == (0, 4)
        and empty["labels"].shape == (0,)
    )


def test_each_unusable_annotation_is_counted_and_not_trained_on(make):
    index = open_index(
        make(
            **with_annotations(
                {"image_id": 99},
                {"category_id": 5},
                {"bbox": [1, 1, 0.5, 9]},
                {"bbox": [1, 1, 9, 0]},
                {"area": -1},
                {"ignore": 1},
                {"bbox": []},
                {"bbox": [float("nan"), 1, 5, 5]},
                {"bbox": [1000, 1, 5, 5]},
                {"id": 1, "note": "b"},  # the first annotation once more, but for a note
                {"id": 1, "bbox": [1, 2, 3, 4]},  # the same id, but another box
            ),
            images=[
                *BASE["images"],
                {"id": 10, "file_name": "a.jpg", "width": 64, "height": 48},
                {"id": 50, "file_name": "a.jpg", "width": 64, "height": 48},
            ],
        )
    )
    assert {what: count for what, count in index.counts.items() if count} == {
        "images of a file that has another id, too": 1,
        "annotations of no image left out": 1,
        "annotations of no category left out": 1,
        "repeated annotations not trained on": 1,
        "annotations marked 'ignore' not trained on": 1,
        "degenerate boxes not trained on": 5,
        "boxes outside the image not trained on": 1,
        "boxes clipped": 3,
        "crowds": 1,
        "images without a box": 2,
    }
    assert {what: count for what, count in index.repaired.items() if count} == {
        "images listed again": 1
    }
    assert len(index) == 4 and len(index.boxes) == 5
    assert index.summary().startswith(
        "4 images, 5 boxes of 3 classes, 1 images listed again, 1 images of a file that has"
    )


def test_ids_sizes_areas_and_boxes_may_be_written_in_other_ways(make, tmp_path):
    from fsaf_core.evaluation.coco_metrics import coco_metrics

    entries = [
        {"id": "6f9619ff-8b86", "image_id": 10.0, "category_id": "7", "bbox": [1, 2, 30, 40]},
        {**ENTRY, "id": 2**80, "area": 0},
        {**ENTRY, "id": None, "bbox": None, "segmentation": [[5, 6, 25, 6, 25, 36], [4, 9, 5, 9, 5, 8]]},
        {**ENTRY, "id": 4, "bbox": [], "segmentation": {"counts": "abc", "size": [48, 64]}},
    ]  # fmt: skip
    path = make(annotations=entries)
    content = json.loads(path.read_text())
    content["images"][1] |= {"id": "10", "width": 0, "coco_url": "x"}
    del content["images"][2]["file_name"]
    content["images"][2]["coco_url"] = "http://images.example.org/images/empty.jpg"
    del content["images"][2]["height"]
    content["categories"][2]["id"] = 7.0
    path.write_text(json.dumps(content))
    dataset = CocoDataset(path, tmp_path / "images", train=False)
    assert dataset[1]["boxes"].tolist() == [[1, 2, 31, 42], [10, 20, 40, 48], [4, 6, 25, 36]]
    assert dataset[1]["labels"].tolist() == [1, 1, 1] and dataset[2]["size"] == (48, 64)
    assert dataset.index.repaired == {
        "boxes taken from polygons": 1,
        "areas of 0 replaced by the box's": 1,
        "sizes read from the files": 2,
    }
    assert "1 boxes taken from polygons, 2 sizes read from the files" in dataset.summary()
    assert coco_metrics(path, [])["instances"] == 3


def test_sizes_are_read_from_the_files_each_time(make, tmp_path):
    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 9} for i in range(100)]
    path = make(images=images, annotations=[{**ENTRY, "image_id": 7, "bbox": [1, 1, 5, 5]}])
    path.write_text(path.read_text().replace('"width": 8', '"width": null'))
    (tmp_path / "images" / "7.png").rename(tmp_path / "7.png")
    assert len(CocoDataset(path, tmp_path / "images", train=False)) == 99
    (tmp_path / "7.png").rename(tmp_path / "images" / "7.png")
    dataset = CocoDataset(path, tmp_path / "images", train=False)
    assert dataset[7]["boxes"].tolist() == [[1, 1, 6, 6]]
    (tmp_path / "small").mkdir()
    for i in range(100):
        Image.new("RGB", (4, 3)).save(tmp_path / "small" / f"{i}.png")
    small = CocoDataset(path, tmp_path / "small", train=False)
    assert small[7]["boxes"].tolist() == [[1, 1, 4, 3]]


@pytest.mark.parametrize(
    ("key", "entry", "said"),
    [
        ("images", {"id": 10, "file_name": "b.jpg", "width": 9, "height": 9}, "id 10 is also that of 'a.jpg'"),
        ("categories", {"id": 7, "name": "tram"}, "id 7 is also that of 'train'"),
        ("categories", {"id": 8, "name": "train"}, "another id has the same name"),
        ("images", {"id": 10, "file_name": "a.jpg", "width": 9, "height": 9}, "id 10 has two sizes"),
        ("images", {"id": 11, "file_name": None}, "its file_name is not text"),
        ("images", {"id": "x7", "file_name": "b.jpg"}, "its id is 'x7', not a whole number"),
        ("annotations", {**ENTRY, "image_id": 1.5}, "its image_id is 1.5, not a whole number"),
    ],
)  # fmt: skip
def test_two_meanings_of_an_id_or_a_name_are_refused(make, key, entry, said):
    path = make()
    content = json.loads(path.read_text())
    content[key].append(entry)
    path.write_text(json.dumps(content))
    with pytest.raises(FSAFError, match=f"an entry of '{key}' cannot be used .{said}"):
        open_index(path)


def test_area_id_and_iscrowd_may_be_left_out(make):
    entries = [dict(ENTRY), {k: v for k, v in ENTRY.items() if k not in ("id", "area", "iscrowd")}]
    index = open_index(make(annotations=entries))
    assert len(index.boxes) == 2 and not index.iscrowd.any()


def test_equal_boxes_and_boxes_that_look_like_corners_are_counted(make):
    equal = [dict(ENTRY), {**ENTRY, "id": 2}, {**ENTRY, "id": 3, "category_id": 90}]
    assert (
        "1 boxes equal to another of their class" in open_index(make(annotations=equal)).summary()
    )
    corners = [{**ENTRY, "id": i, "bbox": [20 + i, 20, 90, 47]} for i in range(10)]
    path = make(annotations=corners)
    assert "10 boxes clipped (are they x y w h?)" in open_index(path).summary()


@pytest.mark.parametrize(("ignore", "count"), [("0", 1), (0.0, 1), (None, 1), ("1", 0), (True, 0)])
def test_ignore_may_be_text(ignore, count, make):
    index = open_index(make(annotations=[{**ENTRY, "ignore": ignore}]))
    assert len(index.boxes) == count


def test_training_leaves_out_images_without_box_and_small_ones(make, tmp_path):
    images = [*BASE["images"], {"id": 40, "file_name": "small.png", "width": 31, "height": 99}]
    path = make(images=images, **with_annotations({"image_id": 40, "bbox": [0, 0, 9, 9]}))
    for train, names in (
        (False, ["ünï 映像.png", "a.jpg", "empty.jpg", "small.png"]),
        (True, ["ünï 映像.png", "a.jpg"]),
    ):
        dataset = CocoDataset(path, tmp_path / "images", train=train)
        assert [dataset.path(i).name for i in range(len(dataset))] == names
    assert dataset.summary().endswith("2 images not used for training (no box, or under 32 px)")
    assert dataset.wide.tolist() == [False, True]


def test_missing_files_are_counted_and_more_than_one_percent_is_a_fault(make, tmp_path):
    many = [{"id": i, "file_name": f"{i}.png", "width": 9, "height": 9} for i in range(100)]
    path = make(images=many)
    (tmp_path / "images" / "17.png").unlink()
    dataset = CocoDataset(path, tmp_path / "images", train=False)
    assert len(dataset) == 99 and "1 files missing" in dataset.summary()
    (tmp_path / "images" / "16.png").unlink()
    said = r"images does not contain 2 of the 100 images of .*set\.json, for example .*/16\.png"
    with pytest.raises(FSAFError, match=said):
        CocoDataset(path, tmp_path / "images", train=False)
    path = make()
    (tmp_path / "other").mkdir()
    with pytest.raises(FSAFError, match=r"other does not contain 3 of the 3 images of .*set\.json"):
        CocoDataset(path, tmp_path / "other", train=False)
    with pytest.raises(FSAFError, match="nowhere is not a folder"):
        CocoDataset(path, tmp_path / "nowhere", train=False)
    with pytest.raises(FSAFError, match="has no image to train on"):
        CocoDataset(make(annotations=[]), tmp_path / "images", train=True)


def named(make, tmp_path, *names) -> CocoDataset:
    """A set of one file, `images/deep/Ä b.png`, that the json names differently."""
    path = make(images=[{"id": 10, "file_name": "x.png", "width": 64, "height": 48}])
    (tmp_path / "images" / "deep").mkdir()
    (tmp_path / "images" / "x.png").rename(tmp_path / "images" / "deep" / "Ä b.png")
    (tmp_path / "b.png").write_bytes(b"outside")
    images = [
        {"id": i, "file_name": name.replace("ROOT", str(tmp_path)), "width": 64, "height": 48}
        for i, name in enumerate(names, 10)
    ]
    path.write_text(json.dumps({**BASE, "images": images}))
    return CocoDataset(path, tmp_path / "images", train=False)


@pytest.mark.parametrize(
    "name",
    [
        "deep\\Ä b.png",
        "ROOT/images/deep/Ä b.png",
        "../images/deep/Ä b.png",
        "images/deep/Ä b.png",
        "C:\\data\\images\\deep\\Ä b.png",
        "deep/Ä%20b.png",
        "Deep/Ä B.PNG",
        "deep/A\u0308 b.png",
        "./deep//Ä b.png",
        "x/../deep/ä b.png",
    ],
)
def test_a_file_is_found_where_its_name_is_written_differently(make, tmp_path, name):
    dataset = named(make, tmp_path, name)
    assert dataset.path(0) == tmp_path / "images" / "deep" / "Ä b.png"
    assert dataset[0]["image"].shape == (3, 48, 64) and len(dataset[0]["boxes"]) == 2
    assert "1 files found under another name" in dataset.summary()


@pytest.mark.parametrize(
    "name",
    [
        "../b.png",
        "ROOT/b.png",
        "/etc/passwd",
        "x/../../b.png",
        "..",
        "C:\\b.png",
        "a\0b",
        "Ä b.png",
    ],
)
def test_nothing_is_found_outside_the_folder_or_in_another_place(make, tmp_path, name):
    with pytest.raises(FSAFError, match="does not contain 1 of the 1 images") as fault:
        named(make, tmp_path, name)
    assert name.replace("ROOT", str(tmp_path)) in str(fault.value)


def test_a_file_belongs_to_one_name(make, tmp_path):
    with pytest.raises(FSAFError, match="does not contain 2 of the 2 images"):
        named(make, tmp_path, "deep/ä b.png", "deep/Ä B.png")


def test_an_index_that_somebody_planted_reads_nothing_outside_the_folder(make, tmp_path):
    path = make(images=[{"id": 10, "file_name": "aa/aa.png", "width": 64, "height": 48}])
    file = open_index(path).file
    (tmp_path / "images" / "aa" / "aa.png").rename(tmp_path / "bb.png")
    file.write_bytes(file.read_bytes().replace(b"aa/aa.png", b"../bb.png"))
    assert open_index(path).file_name(0) == "../bb.png"  # size and time are the json's
    with pytest.raises(FSAFError, match="does not contain 1 of the 1 images"):
        CocoDataset(path, tmp_path / "images", train=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is malformed (Expecting value: line 1 column 1"),
        ('{"images": [{"id": 1, "file_', "is malformed"),
        (
            '{"images": [{"id": 1}], "categories": [{"id": 1, "name": "b"}]}',
            "has no 'file_name'",
        ),
        ('{"images": [1, 2]}', "cannot be used"),
        ('{"images": 1}', "cannot be used"),
        (
            '{"info": {} "images": []}',
            "is malformed (Expecting ',' delimiter: line 1 column 13",
        ),
        ("[1, 2]", "lists no images"),
        ('{"images": [], "categories": []}', "lists no images"),
        ("{}", "lists no images"),
        ("{} {}", "is malformed (Extra data: line 1 column 4"),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": 3, "height": 3}]}',
            "lists no categories",
        ),
        (
            '{"images": [{"id": "one", "file_name": "a", "width": 3, "height": 3}]}',
            "an entry of 'images' cannot be used",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": -1, "height": 3}]}',
            "its width is below 1",
        ),
        (
            '{"images": [{"id": 1, "file_name": "a", "width": 3, "height": 3}],'
            '"categories": [{"id": 1, "name": "b"}],'
            '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]}',
            "an entry of 'annotations' cannot be used",
        ),
        ("{" + '"a":[' * 100_000, "is malformed"),
        ("\udcff", "is malformed"),
    ],
)
def test_a_malformed_json_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(FSAFError) as fault:
        open_index(path)
    assert (
        said in str(fault.value) and str(path) in str(fault.value) and "\n" not in str(fault.value)
    )
    assert os.listdir(tmp_path) == ["bad.json"]


def test_a_missing_json_is_reported(tmp_path):
    with pytest.raises(FSAFError, match=r"none\.json cannot be read \(No such file"):
        open_index(tmp_path / "none.json")


@pytest.fixture
def parses(monkeypatch):
    """Return a list that grows by the path of each json that is parsed."""
    from fsaf_core.data import coco_index as index

    paths, read_json = [], index.read_json

    def noted(path):
        paths.append(path)
        return read_json(path)

    monkeypatch.setattr(index, "read_json", noted)
    return paths


def test_a_json_is_parsed_again_only_when_its_size_or_time_differs(make, parses):
    path = make()
    first, again = open_index(path), open_index(path)
    assert len(parses) == 1 and first.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (again.boxes == first.boxes).all() and again.counts == first.counts
    path.write_text(path.read_text().replace("train", "tramp"))  # same size
    os.utime(path, ns=(2, 2))
    assert open_index(path).class_names[1] == "tramp" and len(parses) == 2
    path.write_text(path.read_text().replace("tramp", "locomotive"))
    os.utime(path, ns=(2, 2))
    assert open_index(path).class_names[1] == "locomotive" and len(parses) == 3
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "images",
        "set.json",
        "set.json.fsaf-index.safetensors",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content.replace(b"boxes", b"foxes"),
    ],
)
def test_a_damaged_index_is_made_anew(make, parses, damage):
    path = make()
    file = open_index(path).file
    file.write_bytes(damage(file.read_bytes()))
    assert len(open_index(path).boxes) == 4 and len(parses) == 2
    open_index(path)
    assert len(parses) == 2


def test_an_index_of_another_version_is_made_anew(make, parses, monkeypatch):
    from fsaf_core.data import coco_index as index

    path = make()
    open_index(path)
    monkeypatch.setattr(index, "VERSION", index.VERSION + 1)
    assert len(open_index(path).boxes) == 4 and len(parses) == 2


@pytest.mark.parametrize("refused", ["rename", "all"])
def test_beside_a_json_in_a_locked_folder_or_on_a_read_only_disk_it_is_made_each_time(
    make, parses, tmp_path, monkeypatch, refused
):
    from fsaf_core.utils import files

    path = make()

    def locked(*_, **__):  # a folder's mode does not keep root out
        raise PermissionError(13, "Permission denied")

    def read_only(*_, **__):
        raise OSError(30, "Read-only file system")

    if refused == "rename":
        monkeypatch.setattr(files.os, "replace", locked)
    else:
        monkeypatch.setattr(files, "open", read_only, raising=False)
    for times in (1, 2):
        kept = open_index(path)
        assert kept.file is None and len(kept.boxes) == 4 and len(parses) == times
    assert sorted(os.listdir(tmp_path)) == ["images", "set.json"]
    assert (pickle.loads(pickle.dumps(kept)).boxes == kept.boxes).all()


def test_workers_started_afresh_map_the_index_instead_of_copying_it(make, tmp_path):
    dataset = CocoDataset(
        make(annotations=[{**ENTRY, "id": i} for i in range(5000)]), tmp_path / "images", train=True
    )
    sent = pickle.dumps(dataset)
    assert len(sent) < 3000
    assert (pickle.loads(sent)[0]["boxes"] == dataset[0]["boxes"]).all()


def test_an_image_is_decoded_once_in_a_small_set(make, tmp_path):
    dataset = CocoDataset(make(), tmp_path / "images", train=False)
    first = dataset[1]["image"]
    (tmp_path / "images" / "a.jpg").unlink()
    assert (dataset[1]["image"] == first).all()
    dataset[1]["image"].zero_()  # what is handed out is a copy
    assert (dataset[1]["image"] == first).all()


PICTURES = {
    "grey": lambda: Image.new("L", (6, 4), 100),
    "two": lambda: Image.new("1", (6, 4), 1),
    "palette": lambda: Image.new("RGB", (6, 4), (100, 100, 100)).quantize(2),
    "alpha": lambda: Image.new("RGBA", (6, 4), (100, 100, 100, 7)),
    "grey and alpha": lambda: Image.new("LA", (6, 4), (100, 7)),
    "16 bits": lambda: Image.fromarray(np.full((4, 6), 100 * 257, np.uint16)),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_every_kind_of_picture_becomes_rgb(tmp_path, kind):
    PICTURES[kind]().save(tmp_path / "p.png")
    picture = load_image(tmp_path / "p.png")
    assert picture.mode == "RGB" and picture.size == (6, 4)
    assert np.asarray(picture).reshape(-1, 3).tolist() == [[255 if kind == "two" else 100] * 3] * 24


def test_cmyk_and_exif_orientation(tmp_path):
    Image.new("CMYK", (6, 4), (0, 255, 255, 0)).save(tmp_path / "c.jpg")
    r, g, b = np.asarray(load_image(tmp_path / "c.jpg")).reshape(-1, 3)[0]
    assert r > 200 and g < 60 and b < 60
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    stored = np.zeros((4, 6, 3), np.uint8)
    stored[:, 0] = 255  # what is stored on the left ...
    Image.fromarray(stored).save(tmp_path / "e.png", exif=exif)
    turned = np.asarray(load_image(tmp_path / "e.png"))
    assert (
        turned.shape == (6, 4, 3) and (turned[0] == 255).all() and (turned[1:] == 0).all()
    )  # ... is seen on top


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    good = tmp_path / "good.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(good)
    cut, text, bomb = tmp_path / "cut.jpg", tmp_path / "text.jpg", tmp_path / "bomb.bmp"
    cut.write_bytes(good.read_bytes()[:700])
    text.write_text("<html>404</html>")
    header = bytearray(54)  # a file of 54 bytes that claims 30000 x 30000 pixels
    header[:2], header[10], header[14], header[26], header[28] = b"BM", 54, 40, 1, 24
    header[18:20] = header[22:24] = (30000).to_bytes(2, "little")
    bomb.write_bytes(header)
    broken = "is not a readable image"
    none = tmp_path / "no.jpg"
    for path, said in [
        (cut, broken),
        (text, broken),
        (tmp_path, "not a file"),
        (bomb, "pixels"),
        (none, "no such file exists"),
    ]:
        with pytest.raises(FSAFError, match=said) as fault:
            load_image(path)
        assert str(path) in str(fault.value) and "\n" not in str(fault.value)


def test_an_image_of_another_size_than_the_json_says_is_refused(make, tmp_path):
    path = make()
    Image.new("RGB", (32, 24)).save(tmp_path / "images" / "a.jpg")
    with pytest.raises(FSAFError, match=r"a\.jpg has 32 x 24 pixels, but the json says 64 x 48"):
        CocoDataset(path, tmp_path / "images", train=False)[1]


@pytest.mark.skipif(not REAL.is_dir(), reason="FSAF_TEST_DATA names no folder with coco20 and bccd")
@pytest.mark.parametrize("name", ["coco20", "bccd"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_sets_agree_with_pycocotools(name, split, tmp_path):
    from pycocotools.coco import COCO

    path = tmp_path / "set.json"  # a copy, as the index is written beside it
    path.write_bytes((REAL / name / f"annotations_{split}.json").read_bytes())
    coco, dataset = COCO(str(path)), CocoDataset(path, REAL / name / "images" / split, train=False)
    assert len(dataset) == len(coco.getImgIds()) and dataset.index.category_ids == tuple(
        sorted(coco.getCatIds())
    )
    for i in range(len(dataset)):
        sample = dataset[i]
        theirs = coco.loadAnns(coco.getAnnIds(sample["image_id"], iscrowd=False))
        boxes = np.array([a["bbox"] for a in theirs], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes = boxes.clip(0, np.tile(np.array(sample["size"][::-1], np.float32), 2))
        assert np.allclose(sample["boxes"], boxes, atol=1e-3)
        assert [dataset.index.category_ids[c] for c in sample["labels"]] == [
            a["category_id"] for a in theirs
        ]


def write_big_json(path: Path, images: int = 118_287, boxes: int = 860_001) -> None:
    """A json of the size and shape of COCO's train2017, segmentations and all: about 420 MB."""
    rng = np.random.default_rng(0)
    categories = sorted(set(range(1, 91)) - {12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
    ids = np.sort(rng.choice(600_000, images, replace=False))
    image, category = rng.choice(ids, boxes), rng.choice(categories, boxes)
    crowd = rng.random(boxes) < 0.012
    xywh = np.concatenate(
        [rng.uniform(0, 400, (boxes, 2)), rng.uniform(2, 230, (boxes, 2))], axis=1
    )
    entry = '{{"license": 3, "file_name": "{0:012d}.jpg", "coco_url": "http://images.cocodataset.org/train2017/{0:012d}.jpg", '
    entry += '"height": 480, "width": 640, "date_captured": "2013-11-14 11:18:45", "flickr_url": "http://farm9.staticflickr.com/'
    entry += '8186/8119368305_4e622c8349_z.jpg", "id": {0}}}'
    with open(path, "w") as file:
        file.write(
            '{"info": {}, "licenses": [], "images": ['
            + ", ".join(map(entry.format, ids))
            + '], "annotations": ['
        )
        for k, (x, y, w, h) in enumerate(xywh):
            outline = ", ".join(f"{v:.2f}" for v in rng.random(2 * rng.integers(8, 30)) * w + x)
            segmentation = (
                f'{{"counts": [{", ".join(["177"] * 300)}], "size": [480, 640]}}'
                if crowd[k]
                else f"[[{outline}]]"
            )
            file.write(
                f'{", " if k else ""}{{"segmentation": {segmentation}, "area": {w * h * 0.6:.4f},'
            )
            file.write(f' "iscrowd": {int(crowd[k])},')
            file.write(
                f' "image_id": {image[k]}, "bbox": [{x:.2f}, {y:.2f}, {w:.2f}, {h:.2f}], "category_id": {category[k]},'
            )
            file.write(f' "id": {k + 1}}}')
        listed = [{"supercategory": "x", "id": c, "name": f"class {c}"} for c in categories]
        file.write('], "categories": ' + json.dumps(listed) + "}")


# Each way to hold the annotations: what it imports, what it reads first, and what a worker does with each image.
WAYS = {
    "ours": (
        "from fsaf_core.data.coco_index import open_index",
        "held = open_index(path); n = len(held)",
        "at = held.annotations(i); total += float(held.boxes[at].sum()) + int(held.labels[at].sum())",
    ),
    "pycocotools": (
        "from pycocotools.coco import COCO",
        "held = COCO(path); ids = held.getImgIds(); n = len(ids)",
        "total += sum(sum(a['bbox']) + a['category_id'] for a in held.imgToAnns[ids[i]])",
    ),
    "list of dicts": (
        "import json, collections",
        "whole = json.load(open(path))\nheld = collections.defaultdict(list)\n"
        "for a in whole['annotations']: held[a['image_id']].append({'bbox': a['bbox'], 'category_id': a['category_id']})\n"
        "ids = [e['id'] for e in whole['images']]; n = len(ids); del whole, a",
        "total += sum(sum(a['bbox']) + a['category_id'] for a in held[ids[i]])",
    ),
}
MEASURE = """
import gc, os, sys, time
path = sys.argv[1]
{imported}
def memory(what):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024
imports = memory("VmRSS")
start = time.perf_counter()
{open}
spent = time.perf_counter() - start
gc.collect()
def private():  # pages of its own; a mapped file's are the system's, however many map it
    total, file = 0, ""
    with open("/proc/self/smaps") as lines:
        for line in lines:
            first, *rest = line.split()
            if not first.endswith(":"):
                file = line
            elif first in ("Private_Clean:", "Private_Dirty:") and ".safetensors" not in file:
                total += int(rest[0])
    return total / 1024
peak = memory("VmHWM") - imports
if (child := os.fork()) == 0:  # a worker, as a DataLoader starts it
    before, total = private(), 0.0
    for i in range(n):
        {use}
    print(spent, peak, private() - before, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def measure(way: str, path: Path) -> tuple[float, float, float]:
    """Seconds to open, peak MB beyond the imports, and MB of a worker's own memory after it went through all images."""
    code = MEASURE.format(
        imported=WAYS[way][0], open=WAYS[way][1], use=textwrap.indent(WAYS[way][2], " " * 8).strip()
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout
    seconds, peak, private = map(float, out.strip().splitlines()[-1].split())
    return seconds, peak, private


@pytest.mark.slow
def test_at_coco_s_size(tmp_path):
    path = tmp_path / "instances_train2017.json"
    write_big_json(path)
    assert path.stat().st_size >= 400e6
    rows = {"ours, first": measure("ours", path)}
    kept = path.with_name(path.name + ".fsaf-index.safetensors").stat().st_size
    rows["ours, later"] = measure("ours", path)
    rows |= {way: measure(way, path) for way in ("pycocotools", "list of dicts")}
    print(
        f"\n{path.stat().st_size / 1e6:.0f} MB of json, index {kept / 1e6:.0f} MB\n{'':16}seconds  peak MB  MB a worker"
    )
    for name, (seconds, peak, private) in rows.items():
        print(f"{name:16}{seconds:7.2f}{peak:9.0f}{private:13.1f}")
    assert rows["ours, first"][0] <= 30 and rows["ours, later"][0] <= 1 and kept <= 100e6
    assert rows["ours, first"][2] <= 2 and rows["ours, later"][2] <= 2


def test_image_files_are_those_named_and_sorted_those_of_folders_and_what_is_not_there_is_said(
    tmp_path, capsys
):
    (tmp_path / "empty").mkdir()
    hidden = [".git/x.jpg", "__MACOSX/b/2.PNG", "@eaDir/1.jpg", ".trash.jpg", "Thumbs.db"]
    for name in ("b/2.PNG", "b/deep/1.jpg", "b/notes.txt", "b/plot.pdf", "b/out/found.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in hidden:
        (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / name).touch()
    named = [tmp_path / "b" / "notes.txt", tmp_path / "b"]
    inside = [tmp_path / "b" / "2.PNG", tmp_path / "b" / "deep" / "1.jpg"]
    assert image_files(named, exclude=tmp_path / "b" / "out") == [named[0], *inside]
    assert capsys.readouterr().out == "2 files of other kinds were passed over.\n"
    assert image_files([tmp_path / "b"]) == [*inside, tmp_path / "b" / "out" / "found.png"]
    assert len(image_files([tmp_path / "b"], exclude=tmp_path)) == 3  # results lie above it
    with pytest.raises(FSAFError, match="contains no image file outside of"):
        image_files([tmp_path / "b"], exclude=tmp_path / "b")
    for name, said in ("empty", "contains no image file"), ("x", "no such file or folder"):
        with pytest.raises(FSAFError, match=said):
            image_files([tmp_path / name])
    with pytest.raises(FSAFError, match="No image is given"):
        image_files([])
