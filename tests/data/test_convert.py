"""YOLO folders and Pascal VOC become COCO jsons with the same boxes; `fsaf data check` says what a set holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsaf_core import cli
from fsaf_core.config import FSAFError
from fsaf_core.data.coco import CocoDataset
from fsaf_core.data.convert import convert

BOXES = np.random.default_rng(0).uniform(0, 40, (6, 4)).round(2)
BOXES[:, 2:] = (BOXES[:, :2] + BOXES[:, 2:] / 2 + 2).round(2)  # x1 y1 x2 y2 in an image of 64 x 96
NAMES = {
    "list": "names:\n- 'red cell'\n- \"can't\"  # a comment\n- dog\nnc: 3\n",
    "indented": "path: x\nnames:\n  - red cell\n  - can't\n  - dog\n",
    "dict": "names:\n  0: red cell\n  1: can't\n  2: dog\n\nval: images\n",
    "flow": "train: ../train/images\nnc: 3\nnames: ['red cell', \"can't\", dog]\n",
    "lines": "names: [\n  'red cell',\n  \"can't\",\n  'dog',\n]\n",
    "flow dict": "names: {2: dog, 0: red cell, 1: can't}\n",
}


def picture(path: Path, orientation: int = 1) -> None:
    """An image of 64 x 96 pixels, after its EXIF rotation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (96, 64) if orientation == 6 else (64, 96)).save(path, exif=exif)


def same(json_path: Path, images: Path, expected: dict[str, np.ndarray]) -> CocoDataset:
    dataset = CocoDataset(json_path, images, train=False)
    got = {dataset.path(i).stem: dataset[i]["boxes"].numpy() for i in range(len(dataset))}
    assert got.keys() == expected.keys()
    for name, boxes in expected.items():
        assert got[name].shape == boxes.shape and np.allclose(got[name], boxes, atol=0.01)
    return dataset


@pytest.mark.parametrize("kind", NAMES)
def test_class_names_of_every_kind_of_yaml(kind, tmp_path):
    picture(tmp_path / "train" / "images" / "a.jpg")
    (tmp_path / "train" / "labels").mkdir()
    (tmp_path / "train" / "labels" / "a.txt").write_text("1 .5 .5 .25 .25")
    (tmp_path / "data.yaml").write_text(NAMES[kind])
    convert("yolo", tmp_path / "train", tmp_path / "out.json")
    content = json.loads((tmp_path / "out.json").read_text())
    assert [entry["name"] for entry in content["categories"]] == ["red cell", "can't", "dog"]
    assert content["annotations"][0]["category_id"] == 2


@pytest.mark.parametrize("layout", ["images/labels", "split", "beside", "beside, in images"])
def test_yolo_boxes_come_back(layout, tmp_path):
    images, labels = {
        "images/labels": ("train/images", "train/labels"),
        "split": ("images/train", "labels/train"),
        "beside": ("set", "set"),
        "beside, in images": ("images/cells", "images/cells"),
    }[layout]
    lines = []
    for x1, y1, x2, y2 in BOXES[:4]:
        center = ((x1 + x2) / 128, (y1 + y2) / 192, (x2 - x1) / 64, (y2 - y1) / 96)
        lines.append(f"{len(lines) % 3} {' '.join(map(str, center))}")
    lines[3] += " 0.77"  # the score of a detection
    for x1, y1, x2, y2 in BOXES[4:]:
        outline = (x1, y1, x2, y1, x2, y2, (x1 + x2) / 2, y2)
        lines.append("2 " + " ".join(str(v / (64, 96)[i % 2]) for i, v in enumerate(outline)))
    for name, orientation in ("a.jpg", 1), ("turned.jpg", 6), ("empty.png", 1), ("none.png", 1):
        picture(tmp_path / images / name, orientation)
    (tmp_path / labels).mkdir(parents=True, exist_ok=True)
    for name in ("a", "turned"):
        text = "\ufeff" + "\r\n".join(lines) + "\r\n\r\n"
        (tmp_path / labels / f"{name}.txt").write_bytes(text.encode())
    (tmp_path / labels / "empty.txt").write_text("")
    (tmp_path / "classes.txt").write_text("b\na\nc\n")
    source = tmp_path / images
    assert convert("yolo", source, tmp_path / "out.json") == (4, 12)
    none = np.zeros((0, 4))
    expected = {"a": BOXES, "turned": BOXES, "empty": none, "none": none}
    dataset = same(tmp_path / "out.json", source, expected)
    assert dataset.class_names == ("b", "a", "c")
    assert dataset[0]["labels"].tolist() == [0, 1, 2, 0, 2, 2]


def voc(folder: Path, name: str, filename: str, difficult: int = 0) -> None:
    objects = "".join(
        f"<object><name>{'dog' if i else 'cat'}</name><difficult>{difficult if i else 0}</difficult>"
        f"<bndbox><ymin>{y1 + 1}</ymin><xmin>{x1 + 1}</xmin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
        for i, (x1, y1, x2, y2) in enumerate(BOXES)
    )
    folder.mkdir(parents=True, exist_ok=True)
    text = f'<?xml version="1.0" encoding="latin-1"?><annotation><filename>{filename}</filename>{objects}'
    (folder / f"{name}.xml").write_bytes(f"{text}<size/></annotation>".encode("latin-1"))


def test_voc_boxes_come_back(tmp_path):
    for name in ("a.jpg", "größe.png", "c.jpg"):
        picture(tmp_path / "JPEGImages" / name)
    voc(tmp_path / "Annotations", "a", "a.jpg")
    voc(tmp_path / "Annotations", "b", "C:\\photos\\größe.png", difficult=1)
    voc(tmp_path / "Annotations", "c", "renamed.jpg")  # the xml's own name counts then
    assert convert("voc", tmp_path, tmp_path / "out.json") == (3, 18)
    expected = {"a": BOXES, "größe": BOXES[:1], "c": BOXES}
    dataset = same(tmp_path / "out.json", tmp_path, expected)
    assert dataset.class_names == ("cat", "dog")
    assert "5 annotations marked 'ignore' not trained on" in dataset.summary()


def test_keypoints_are_left_out_or_refused(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .5 .5 .25 .25 .1 .1 2 .9 .9 1 .2 .3 0")
    (tmp_path / "classes.txt").write_text("person")
    with pytest.raises(FSAFError, match="13 values are neither a box nor a polygon"):
        convert("yolo", tmp_path, tmp_path / "out.json")
    for shape, more in (("[3, 3]", ""), ("[4, 2]", " .7")):  # with and without visibility
        (tmp_path / "data.yaml").write_text(f"names: [person]\nkpt_shape: {shape}\n")
        line = (tmp_path / "labels" / "a.txt").read_text()
        (tmp_path / "labels" / "a.txt").write_text(line + more)
        convert("yolo", tmp_path, tmp_path / "out.json")
        same(tmp_path / "out.json", tmp_path, {"a": np.array([[24, 36, 40, 60]])})


def test_a_renamed_image_keeps_its_own_xml(tmp_path):
    """001.xml and 001.jpg were renamed together; the xml still names 002.jpg."""
    for name in ("001", "002"):
        picture(tmp_path / f"{name}.jpg")
        voc(tmp_path, name, "002.jpg")
    convert("voc", tmp_path, tmp_path / "out.json")
    same(tmp_path / "out.json", tmp_path, {"001": BOXES, "002": BOXES})


def test_a_classes_file_lists_what_does_not_occur(tmp_path):
    picture(tmp_path / "val" / "a.jpg")
    voc(tmp_path / "val", "a", "a.jpg")
    (tmp_path / "classes.txt").write_text("dog\nowl\n")
    convert("voc", tmp_path / "val", tmp_path / "out.json")
    dataset = same(tmp_path / "out.json", tmp_path / "val", {"a": BOXES})
    assert dataset.class_names == ("dog", "owl", "cat")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("3 .5 .5 .1 .1", "cannot be used .3"),
        ("-1 .5 .5 .1 .1", "cannot be used"),
        ("inf .5 .5 .1 .1", "cannot be used .cannot convert float infinity"),
        ("x .5 .5 .1 .1", "cannot be used .could not convert"),
        ("1 .5 .5", "cannot be used"),
        ("1 30 40 20 20", "not fractions of the image"),
        ("1 nan .5 .1 .1", "not fractions of the image"),
        ("\xff", "line 2 cannot be used|not a text in UTF-8"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line, said, tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_bytes(b"0 .5 .5 .1 .1\n" + line.encode("latin-1"))
    (tmp_path / "classes.txt").write_text("a\nb\nc")
    with pytest.raises(FSAFError, match=rf"a\.txt.*({said})"):
        convert("yolo", tmp_path, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_what_cannot_be_converted_is_one_sentence(tmp_path):
    picture(tmp_path / "images" / "a.jpg")
    out = tmp_path / "out.json"
    for kind, source, said in [
        ("yolo", tmp_path, "no class names for"),
        ("voc", tmp_path, "has no image with an annotation of this kind"),
        ("voc", tmp_path / "none", "is not a folder"),
    ]:
        with pytest.raises(FSAFError, match=said):
            convert(kind, source, out)
    voc(tmp_path, "b", "b.jpg")
    with pytest.raises(FSAFError, match=r"b\.xml is of no image below .*: add b\.jpg"):
        convert("voc", tmp_path, out)
    (tmp_path / "b.xml").write_text("<annotation><object>")
    with pytest.raises(FSAFError, match=r"b\.xml cannot be used"):
        convert("voc", tmp_path, out)


def test_convert_and_check_say_what_a_set_holds(tmp_path, capsys):
    for i in range(12):
        picture(tmp_path / "images" / f"{i}.jpg", 6 if i == 0 else 1)
    for name in ("11.jpg", "10.jpg"):
        (tmp_path / "images" / name).write_bytes(b"no image")
    folder = tmp_path / "images"
    entries = [
        {"id": i, "file_name": f"IMAGES\\{i}.JPG", "width": 64, "height": 96} for i in range(12)
    ]
    boxes = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": i % 2}
        for i in range(12)
    ]
    boxes += [{**boxes[0], "id": 20, "bbox": [1, 2, 0, 4]}, {**boxes[0], "id": 21, "ignore": 1}]
    content = {
        "images": entries,
        "annotations": boxes,
        "categories": [{"id": 1, "name": "cell"}],
    }
    (tmp_path / "set.json").write_text(json.dumps(content))
    command = ["data", "check", str(tmp_path / "set.json"), str(folder)]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    for part in (
        "trained on: 10 of 12 images, 6 boxes\nboxes of each class: cell 6\n",
        "repaired: 12 files found under another name\n",
        "1 annotations marked 'ignore' not trained on; 1 degenerate boxes not trained on; 6 crowds",
        "2 files that cannot be used, as said below; 1 images turned by their EXIF data",
        "10.jpg is not a readable image",
    ):
        assert part in said, said
    with Image.open(tmp_path / "out" / "check.png") as sheet:
        assert sheet.width > 1000 and len(sheet.convert("RGB").getcolors(10**6)) > 3
    (tmp_path / "classes.txt").write_text("cell")
    for name in ("10.jpg", "11.jpg"):
        (folder / name).unlink()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("0 .5 .5 .2 .2")
    assert cli.main(["data", "convert", "yolo", str(folder), str(tmp_path / "y.json")]) == 0
    said = capsys.readouterr().out
    assert "y.json has 10 images and 1 boxes" in said and "fsaf data check" in said
    assert "joins" not in said


def test_a_folder_of_several_parts_and_a_class_without_a_box_are_named(tmp_path, capsys):
    """Ultralytics' layout converted as a whole; Roboflow's root category, which no box uses."""
    (tmp_path / "data.yaml").write_text("names: [cells, red]\n")
    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / kind / part).mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "images" / part / f"{part}.jpg")
        (tmp_path / "labels" / part / f"{part}.txt").write_text("1 .5 .5 .5 .5")
    out = tmp_path / "set.json"
    assert cli.main(["data", "convert", "yolo", str(tmp_path), str(out)]) == 0
    said = capsys.readouterr().out
    assert "joins images/train and images/val: for a training, convert each alone." in said
    check = ["data", "check", str(out), str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.main(check) == 0
    said = capsys.readouterr().out
    assert "boxes of each class: cells 0, red 2\n" in said and "1 classes without a box" in said
