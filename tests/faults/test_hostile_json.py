"""Malformed COCO jsons are read with every fault counted, or refused in one sentence; none hangs."""

import copy
import json
import os
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fsaf_core.config import FSAFError
from fsaf_core.data.coco import CocoDataset
from fsaf_core.data.coco_index import open_index
from fsaf_core.evaluation.coco_metrics import coco_metrics

ANNOTATION = {
    "image_id": 1,
    "category_id": 7,
    "bbox": [10, 12, 20.5, 15],
    "area": 300.0,
    "iscrowd": 0,
}
BASE = {
    "info": {"year": 2017},
    "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in (1, 2, 3)],
    "annotations": [
        {"id": i, **ANNOTATION, "image_id": 1 + i % 2, "category_id": (3, 7)[i % 2]}
        for i in range(1, 6)
    ],
    "categories": [{"id": 7, "name": "train"}, {"id": 3, "name": "car"}],
}
HUGE = "<1e400>"  # replaced after json.dumps, which cannot write this number
VALUES = [
    None, True, -1, 0, 1, 7, 1.5, 2**31, 2**63 - 1, 2**63, 10**30, -(10**30), 1e308, -1e308, 1e12, float("nan"), float("inf"),
    HUGE, "", "text", "12", "\ud800", "ünï 映像.png", "a\nb", "x" * 5000, "../../etc/passwd", "/etc/passwd", "C:\\x.png", "a\0b",
    "/dev/zero", "con/" * 300 + "x.png", [], {}, [[]], {"a": {"b": [1]}}, [1, 2], [1, 2, 3, 4], ["1", "2", "3", "4"],
    [1, 2, 3, 4, 5], {"id": 1}, [float("nan"), 1, 5, 5], [1, 1, float("inf"), 5], [1e308, 1e308, 1e308, 1e308], [0, 0, -5, -5],
]  # fmt: skip


def places(tree, above=()):
    """The path to every entry of the json, by keys and numbers."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*above, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*above, key))


PLACES = list(places(BASE))
HOW = ("delete", "put", "put", "put", "twice", "rename")
CHANGES = st.lists(st.tuples(*map(st.sampled_from, (PLACES, HOW, VALUES))), min_size=1, max_size=4)


def changed(changes) -> str:
    """BASE's text with the changes."""
    tree = copy.deepcopy(BASE)
    for place, how, value in changes:
        at = tree
        try:
            for step in place[:-1]:
                at = at[step]
            old, last = at[place[-1]], place[-1]
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
        if isinstance(at, str):
            continue
        if how == "delete":
            del at[last]
        elif how == "put":
            at[last] = copy.deepcopy(value)
        elif how == "twice" and isinstance(at, list):
            at.append(copy.deepcopy(old))
        elif isinstance(at, dict):
            at[f"{last}\n"] = at.pop(last)
    return json.dumps(tree).replace(json.dumps(HUGE), "1e400")


def one_sentence(fault: FSAFError, path) -> None:
    text = str(fault)
    assert str(path) in text and "\n" not in text and len(text) < 400 + 2 * len(str(path)), text


def read_all(path, images) -> None:
    """Index, dataset and metrics of a json: a result with every fault counted, or one sentence with the file's name."""
    try:
        index = open_index(path)
    except FSAFError as fault:
        return one_sentence(fault, path)
    content = json.loads(path.read_text(encoding="utf-8"))
    counts = index.counts | index.repaired
    assert len(index) + counts.get("images listed again", 0) == len(content["images"])
    left_out = {what: count for what, count in counts.items() if what.endswith((" on", " out"))}
    in_annotations = sum(left_out.values())
    annotations = content.get("annotations")
    assert len(index.boxes) + in_annotations == (
        len(annotations) if isinstance(annotations, list) else 0
    )
    assert all(f"{count:,} {what}" in index.summary() for what, count in counts.items() if count)
    try:
        dataset = CocoDataset(path, images, train=False)
        for i in range(len(dataset)):
            try:
                sample = dataset[i]
            except FSAFError as fault:  # the file has another size than the json says
                one_sentence(fault, images)
                continue
            limit = sample["boxes"].new_tensor([64, 48, 64, 48])
            assert ((sample["boxes"] >= 0) & (sample["boxes"] <= limit)).all()
            assert (sample["boxes"][:, 2:] > sample["boxes"][:, :2]).all()
    except FSAFError as fault:  # none of its files is there
        one_sentence(fault, path)
    # What the index accepts, the metrics accept too: both use one reader.
    json.dumps(coco_metrics(path, [], index.image_ids.tolist()), allow_nan=False)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in (1, 2, 3):
        Image.new("RGB", (64, 48), (200, 10, 10)).save(folder / f"{i}.png")
    return folder


@settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(changes=CHANGES)
@example(
    changes=[(("images", 0, "width"), "put", 7)]
)  # these two are too rare for chance: a size that is not the file's,
@example(
    changes=[(("images", i, "file_name"), "put", "text") for i in range(3)]
)  # and no file at all
def test_200_mutations_are_read_and_counted_or_refused_in_one_sentence(changes, images):
    path = images.parent / "mutated.json"
    path.write_text(changed(changes), encoding="utf-8")
    os.utime(
        path, ns=(1, abs(hash(path.read_bytes())) % 10**18)
    )  # so the index of the example before is not reused
    start = time.process_time()  # wall time would depend on the other load of the machine
    read_all(path, images)
    assert time.process_time() - start < 5


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_cut_off_flipped_and_spliced_texts_are_refused_in_one_sentence_or_read(data, images):
    text = json.dumps(BASE).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    how = data.draw(st.sampled_from(["cut", "flip", "splice"]))
    if how == "cut":
        text = text[:at]
    elif how == "flip":
        text = text[:at] + bytes([text[at] ^ (1 << data.draw(st.integers(0, 7)))]) + text[at + 1 :]
    else:
        text = text[:at] + text[data.draw(st.integers(0, len(text) - 1)) :]
    path = images.parent / "broken.json"
    path.write_bytes(text)
    os.utime(path, ns=(1, abs(hash(text)) % 10**18))
    try:
        json.loads(text)
    except ValueError:
        with pytest.raises(FSAFError) as fault:
            open_index(path)
        one_sentence(fault.value, path)
    else:
        read_all(path, images)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**6,
        '{"images": ' + "[" * 10**6,
        '{"a": ' * 10**5,
        '{"images": [' + '{"a": ' * 10**5,
        "9" * 10**6,
        '"x' * 10**6,
    ],
)
def test_nesting_without_end_is_refused_in_one_sentence(text, tmp_path):
    path = tmp_path / "deep.json"
    path.write_text(text)
    with pytest.raises(FSAFError) as fault:
        open_index(path)
    one_sentence(fault.value, path)


@pytest.mark.parametrize("encoding", ["gb18030", "latin-1"])
def test_another_encoding_is_refused(encoding, images, tmp_path):
    path = tmp_path / "encoded.json"
    path.write_bytes(json.dumps({**BASE, "info": "ünï"}, ensure_ascii=False).encode(encoding))
    with pytest.raises(FSAFError) as fault:
        open_index(path)
    one_sentence(fault.value, path)


def with_names(folder, *names):
    path = folder / "named.json"
    listed = [
        {"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)
    ]
    path.write_text(json.dumps({**BASE, "images": listed}))
    return path


def test_a_set_may_be_put_together_from_links(images, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "file.png").symlink_to(images / "1.png")
    (root / "folder").symlink_to(images)
    (tmp_path / "alias").symlink_to(root)
    dataset = CocoDataset(
        with_names(tmp_path, "file.png", "folder/1.png"), tmp_path / "alias", train=False
    )
    assert len(dataset) == 2 and (dataset[0]["image"] == dataset[1]["image"]).all()


def test_pipes_devices_folders_and_endless_names_count_as_missing(images, tmp_path):
    root = tmp_path / "root"
    (root / "folder.png").mkdir(parents=True)
    (root / "1.png").write_bytes((images / "1.png").read_bytes())
    os.mkfifo(root / "pipe.png")
    (root / "dead.png").symlink_to("nothing.png")
    names = [
        "1.png",
        "pipe.png",
        "folder.png",
        "dead.png",
        "x" * 5000,
        "d/" * 5000 + "x.png",
        "",
        ".",
        "1.png/",
        "1.png/1.png",
    ]
    with pytest.raises(FSAFError, match="does not contain 9 of the 10 images") as fault:
        CocoDataset(with_names(tmp_path, *names), root, train=False)
    one_sentence(fault.value, tmp_path)


def test_sizes_that_no_image_has_are_refused(tmp_path):
    for width, height in ((2**31, 5), (5, 2**21), (2**62, 2**62), (-5, 9)):
        path = tmp_path / f"{width}.json"
        path.write_text(
            json.dumps(
                {
                    **BASE,
                    "images": [{"id": 1, "file_name": "1.png", "width": width, "height": height}],
                }
            )
        )
        with pytest.raises(FSAFError, match=r"below 1 or above 1,048,576"):
            open_index(path)


def test_a_mark_of_byte_order_is_no_fault_and_a_crowd_of_2_is_one(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps({**BASE, "annotations": [{"id": 1, **ANNOTATION, "iscrowd": 2}]}),
        encoding="utf-8-sig",
    )
    assert "1 boxes of 2 classes, 1 crowds" in open_index(path).summary()
    coco_metrics(path, [])


@pytest.mark.parametrize("area", [float("inf"), float("nan"), 1e308, 1e13])
def test_an_area_that_is_no_number_neither_hangs_nor_stops_an_evaluation(area, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps(
            {
                **BASE,
                "annotations": [{"id": 1, **ANNOTATION}, {"id": 2, **ANNOTATION, "area": area}],
            }
        )
    )
    metrics = coco_metrics(path, [])
    assert metrics["instances"] == 1 and set(metrics["by_size"]) == {"16-32"}
    assert "1 degenerate boxes not trained on" in open_index(path).summary()
