"""Batches: their order, that resuming needs no replay, and what happens when images cannot be read."""

import json
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import SMALL
from PIL import Image

from fsaf_core.config import (
    SCENE_CLASSES,
    Config,
    DataConfig,
    EvaluateConfig,
    FSAFError,
    ModelConfig,
    SceneConfig,
    TrainConfig,
)
from fsaf_core.data import loader as loader_module
from fsaf_core.data.coco import CocoDataset
from fsaf_core.data.loader import Loader, eval_order, open_dataset, train_order
from fsaf_core.data.synthetic.renderer import render_scene
from fsaf_core.evaluation.evaluator import evaluate
from fsaf_core.model.detector import Detector, build_detector

WIDE = np.random.default_rng(0).random(103) < 0.7


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    scenes = SceneConfig(num_train=23, num_val=7, image_size=64, empty_share=0.0)
    return Config(
        model=ModelConfig(class_names=SCENE_CLASSES, short_side=64, long_side=64),
        data=DataConfig(
            source="scenes", root=str(tmp_path_factory.mktemp("data")), workers=0, scenes=scenes
        ),
        train=TrainConfig(batch_size=4, crop=0.5),
        evaluate=EvaluateConfig(batch_size=3),
    )


@pytest.fixture
def broken(tmp_path):
    """A set of `count` images of which some cannot be read."""

    def write(count: int, faulty: list[int]) -> CocoDataset:
        images = [
            {"id": i, "file_name": f"{i}.png", "width": 33, "height": 32 + 2 * (i % 2)}
            for i in range(count)
        ]
        box = {"category_id": 1, "bbox": [1, 1, 20, 20], "area": 400, "iscrowd": 0}
        content = {"images": images, "categories": [{"id": 1, "name": "thing"}]}
        content["annotations"] = [{"id": i, "image_id": i, **box} for i in range(count)]
        (tmp_path / "set.json").write_text(json.dumps(content))
        for entry in images:
            Image.new("RGB", (entry["width"], entry["height"])).save(tmp_path / entry["file_name"])
        for i in faulty:
            (tmp_path / f"{i}.png").write_bytes(b"no image")
        return CocoDataset(tmp_path / "set.json", tmp_path, train=True)

    return write


def same(a, b) -> bool:
    """Whether two batches are equal to the bit."""
    tensors = [torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True)]
    for s, t in zip(a.targets, b.targets, strict=True):
        tensors += [torch.equal(s[name], t[name]) for name in ("boxes", "labels", "ignored")]
    return a.ids == b.ids and all(tensors)


def test_the_order_is_a_pure_function_of_seed_and_epoch():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    first = train_order(WIDE, 4, seed=0, epoch=3)
    random.seed(2), np.random.seed(2), torch.manual_seed(2)
    assert first == train_order(WIDE, 4, seed=0, epoch=3)
    assert first != train_order(WIDE, 4, seed=0, epoch=4) and first != train_order(
        WIDE, 4, seed=1, epoch=3
    )


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_batches_are_full_grouped_by_aspect_and_shared_evenly(batch_size, world):
    ranks = [train_order(WIDE, batch_size, 0, 0, rank, world) for rank in range(world)]
    assert len({len(batches) for batches in ranks}) == 1
    flat = [i for batches in ranks for batch in batches for i in batch]
    assert len(set(flat)) == len(flat) > 103 - batch_size * world
    assert all(len(batch) == batch_size for batches in ranks for batch in batches)
    mixed = sum(len(set(WIDE[batch])) == 2 for batches in ranks for batch in batches)
    assert mixed <= 1  # of what is left over in both groups


def test_every_image_has_its_turn():
    wide = np.arange(20) > 0  # one image is high: alone in its group, it comes in mixed batches
    seen = {i for epoch in range(10) for batch in train_order(wide, 4, 0, epoch) for i in batch}
    assert seen == set(range(20))


def test_two_processes_see_what_one_with_twice_the_batch_sees():
    wide = np.ones(40, bool)
    one = train_order(wide, 8, 0, 0)
    two = [train_order(wide, 4, 0, 0, rank, world_size=2) for rank in range(2)]
    assert [a + b for a, b in zip(*two)] == one


@pytest.mark.parametrize("world", [1, 2, 3])
def test_an_evaluation_sees_each_image_once_over_all_ranks(world):
    sizes = [(64, 96) if wide else (96, 64) for wide in WIDE]
    batches = [batch for rank in range(world) for batch in eval_order(sizes, 4, rank, world)]
    assert sorted(i for batch in batches for i in batch) == list(range(103))
    assert all(len({sizes[i] for i in batch}) == 1 and len(batch) <= 4 for batch in batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_in_the_middle_gives_the_rest_to_the_bit(config, workers):
    config = replace(config, data=replace(config.data, workers=workers))
    dataset = open_dataset(config.data, "train")
    loader = Loader(dataset, config, training=True)
    assert len(loader) == 5
    whole = [list(loader.epoch(epoch)) for epoch in (0, 1)]
    assert [len(batches) for batches in whole] == [5, 5] and not same(whole[0][0], whole[1][0])
    for _ in loader.epoch(1):  # left in the middle
        break
    again = list(
        Loader(open_dataset(config.data, "train"), config, training=True).epoch(1, start=3)
    )
    assert len(again) == 2 and all(map(same, again, whole[1][3:]))
    assert all(map(same, loader.epoch(1, start=3), again))


def test_workers_change_nothing(config):
    batches = []
    for workers in (0, 1):
        each = replace(config, data=replace(config.data, workers=workers))
        batches.append(list(Loader(open_dataset(each.data, "train"), each, training=True).epoch(2)))
    assert all(map(same, *batches))


def test_loading_leaves_the_global_generators_alone(config):
    loader = Loader(open_dataset(config.data, "train"), config, training=True)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(loader.epoch(0))
    assert torch.equal(before, torch.get_rng_state())


def test_an_evaluation_gives_images_as_they_are(config):
    dataset = open_dataset(config.data, "val")
    batches = list(Loader(dataset, config, training=False).epoch())
    assert [len(batch.images) for batch in batches] == [3, 3, 1]
    assert sorted(i for batch in batches for i in batch.ids) == list(range(1, 8))
    for images, targets, ids in batches:
        for image, target, image_id in zip(images, targets, ids):
            assert torch.equal(image, dataset[image_id - 1]["image"]) and target["size"] == (64, 64)
            assert target["labels"].dtype == torch.int64 and target["boxes"].shape == (
                len(target["labels"]),
                4,
            )


def test_the_batch_is_shared_by_processes_and_micro_batches(config):
    dataset = open_dataset(config.data, "train")
    two = replace(config, train=replace(config.train, accumulate=2))
    assert Loader(dataset, two, training=True, rank=1, world_size=2).batch_size == 1
    assert [len(batch.images) for batch in Loader(dataset, two, training=True).epoch(0)] == [2] * 11
    with pytest.raises(
        FSAFError, match="A batch of 4 cannot be divided among 3 processes x 1 micro-batches"
    ):
        Loader(dataset, config, training=True, world_size=3)
    with pytest.raises(
        FSAFError,
        match="23 images are less than a batch of 32 for each of 1 processes: set a smaller",
    ):
        Loader(dataset, replace(config, train=TrainConfig(batch_size=32)), training=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_counted_and_replaced(
    config, broken, workers, capsys
):
    config = replace(config, data=replace(config.data, workers=workers))
    dataset = broken(120, [17])
    loader = Loader(dataset, config, training=True)
    for epoch in range(2):
        batches = list(loader.epoch(epoch))
        assert all(len(batch.images) == 4 for batch in batches)
        assert 17 not in {i for batch in batches for i in batch.ids}
    assert list(loader.faulty) == [17]
    said = capsys.readouterr().err
    assert said.count("skipped: ") == 1 and "17.png is not a readable image" in said


def test_in_an_evaluation_it_is_left_out(config, broken):
    one = replace(config, evaluate=EvaluateConfig(batch_size=1))
    batches = list(Loader(broken(120, [17]), one, training=False).epoch())
    assert sorted(i for batch in batches for i in batch.ids) == sorted(set(range(120)) - {17})


def test_more_than_one_percent_stops(config, broken):
    loader = Loader(broken(120, [17, 63]), config, training=True)
    with pytest.raises(
        FSAFError,
        match=r"2 of 120 images cannot be read, more than 1 %: repair or remove them\. The last: .*png",
    ):
        list(loader.epoch(0))


class Dies(CocoDataset):
    """A set whose process dies at the third image."""

    def __getitem__(self, i: int):
        if i == 3 and torch.utils.data.get_worker_info():
            os._exit(9)
        return super().__getitem__(i)


def test_a_worker_that_dies_is_one_sentence(config, broken):
    dataset = broken(40, [])
    dataset.__class__ = Dies
    loader = Loader(dataset, replace(config, data=replace(config.data, workers=1)), training=True)
    with pytest.raises(FSAFError, match=r"A loading process died .*try fewer --data\.workers"):
        list(loader.epoch(0))


@pytest.mark.parametrize("annotations", [None, []], ids=["no key", "none"])
def test_a_validation_set_without_any_box_is_refused_before_anything_is_trained(
    annotations, broken, tmp_path
):
    broken(4, [])
    content = json.loads((tmp_path / "set.json").read_text())
    del content["annotations"]
    (tmp_path / "bare.json").write_text(
        json.dumps(content if annotations is None else content | {"annotations": annotations})
    )
    data = DataConfig(
        source="files", val_json=str(tmp_path / "bare.json"), val_images=str(tmp_path)
    )
    with pytest.raises(FSAFError, match=r"bare\.json has no usable box \(4 images, 0 boxes"):
        open_dataset(data, "val")


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_set_of_crowds_alone_is_refused(split, broken, tmp_path):
    broken(4, [])
    path = tmp_path / "set.json"
    path.write_text(path.read_text().replace('"iscrowd": 0', '"iscrowd": 1'))
    data = DataConfig("files", **{f"{split}_json": str(path), f"{split}_images": str(tmp_path)})
    with pytest.raises(FSAFError, match=r"set\.json has no usable box .*, 4 crowds"):
        open_dataset(data, split)


def test_no_more_processes_are_started_than_there_are_cores(config, broken, monkeypatch, recwarn):
    monkeypatch.setattr(loader_module, "_cores", lambda: 2)
    many = replace(config, data=replace(config.data, workers=64))
    loader = Loader(broken(8, []), many, training=True)
    assert loader._loader.num_workers == 2 and not recwarn
    assert 1 <= loader_module._cores() <= os.cpu_count()


def test_shared_memory_that_is_too_small_is_said_before_any_process_starts(
    config, broken, monkeypatch
):
    dataset, two = broken(8, []), replace(config, data=replace(config.data, workers=1))
    free = SimpleNamespace(free=64_000)  # a container has 64 MB
    monkeypatch.setattr(loader_module.shutil, "disk_usage", lambda path: free)
    said = r"need 0 MB of shared memory, and /dev/shm has 0 MB free: set --data\.workers 0"
    with pytest.raises(FSAFError, match=said):
        Loader(dataset, two, training=True)
    Loader(dataset, config, training=True)  # no process, no shared memory


class Hangs(CocoDataset):
    """A set whose loading process never answers."""

    def __getitem__(self, i: int):
        if torch.utils.data.get_worker_info():
            time.sleep(1000)
        return super().__getitem__(i)


def test_a_wait_without_end_is_said_and_ends(config, broken, monkeypatch, capsys):
    monkeypatch.setattr(loader_module, "PATIENCE", 2)
    monkeypatch.setattr(loader_module, "END_AFTER", 4)
    dataset = broken(8, [])
    dataset.__class__ = Hangs
    loader = Loader(dataset, replace(config, data=replace(config.data, workers=1)), training=True)
    start = time.monotonic()
    with pytest.raises(
        FSAFError, match=r"No batch was loaded for 4 seconds; .*try --data\.workers 0"
    ):
        list(loader.epoch(0))
    assert 4 <= time.monotonic() - start < 30
    assert capsys.readouterr().err.count("No batch was loaded for 2 seconds; /dev/shm may be") == 1
    loader.close()


SIZES = ((96, 64), (64, 96), (50, 90), (128, 40), (70, 70))  # width, height


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[CocoDataset, Detector]:
    """Fifteen images of five sizes, and a detector whose scores depend on padding."""
    folder = tmp_path_factory.mktemp("mixed")
    images = []
    for i in range(15):
        width, height = SIZES[i % 5]
        picture, _ = render_scene(SceneConfig(image_size=128), i, "val")
        picture.crop((0, 0, width, height)).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": width, "height": height})
    box = {"category_id": 1, "bbox": [1, 1, 20, 20], "area": 400, "iscrowd": 0}
    content = {
        "images": images,
        "categories": [{"id": i, "name": name} for i, name in enumerate("abc", 1)],
        "annotations": [{"id": i, "image_id": i, **box} for i in range(15)],
    }
    (folder / "set.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    model = replace(SMALL, channels=64, tower_norm="group", short_side=64, long_side=128)
    detector = build_detector(model).eval()
    with torch.no_grad():
        detector.network.head.af_cls.weight.mul_(40)
        detector.network.head.af_cls.bias.fill_(-2)
    return CocoDataset(folder / "set.json", folder, train=False), detector


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_detections_do_not_depend_on_the_batch(config, mixed, batch_size):
    dataset, detector = mixed
    each = replace(config, model=detector.config, evaluate=EvaluateConfig(batch_size=batch_size))
    loader = Loader(dataset, each, training=False)
    assert len(loader) == {1: 15, 3: 5, 50: 5}[batch_size]
    found: dict[int, list] = {i: [] for i in range(15)}
    for row in evaluate(detector, loader, thorough=False).results:
        found[row["image_id"]].append(row)
    for i in range(15):
        alone = detector.predict(dataset.path(i))
        assert len(alone["scores"]) == len(found[i]) > 3
        scores = torch.tensor([row["score"] for row in found[i]])
        assert (scores - alone["scores"]).abs().max() <= 1e-5
        # Boxes of equal scores may change places.
        boxes = sorted(row["bbox"] for row in found[i])
        corners = alone["boxes"].clone()
        corners[:, 2:] -= corners[:, :2]
        assert np.allclose(boxes, sorted(corners.tolist()), atol=2e-3)


def test_each_source_is_found_or_its_lack_explained(config, broken, tmp_path):
    broken(4, [])
    files = DataConfig(
        source="files", train_json=str(tmp_path / "set.json"), train_images=str(tmp_path)
    )
    assert len(open_dataset(files, "train")) == 4
    with pytest.raises(FSAFError, match=r"give --data\.val_json and --data.val_images"):
        open_dataset(files, "val")
    with pytest.raises(
        FSAFError, match=r"instances_val2017\.json does not exist: get COCO with `fsaf data coco`"
    ):
        open_dataset(DataConfig(root=str(tmp_path)), "val")
    coco = tmp_path / "coco"
    (coco / "annotations").mkdir(parents=True)
    (coco / "annotations" / "instances_val2017.json").write_text(Path(files.train_json).read_text())
    (coco / "val2017").symlink_to(tmp_path)
    assert len(open_dataset(DataConfig(root=str(tmp_path)), "val")) == 4
    assert len(open_dataset(config.data, "train")) == 23
