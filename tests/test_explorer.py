"""The explorer without a browser: what it shows is what training assigns; its files, pictures and sentences."""

import dataclasses
import json
import random
import time

import numpy as np
import pytest
import torch

import fsaf_core as fsaf
from fsaf_core.detector import HeadOutputs
from fsaf_core.draw.situation import CROWD, ERASED, UNDER_CROWD, Snapshots, explore
from fsaf_core.losses import iou_loss

TINY = fsaf.presets.get("tiny").model
SIZE = (128, 128)


def detector(seed: int = 0, **changes) -> fsaf.Detector:
    torch.manual_seed(seed)
    made = fsaf.build_detector(dataclasses.replace(TINY, **changes)).eval()
    for output in (made.network.head.af_cls, made.network.head.af_box):
        torch.nn.init.normal_(output.weight, std=0.3)  # outputs that differ from cell to cell
    return made


def photo(height: int = 128, width: int = 128, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def snapshots() -> Snapshots:
    return Snapshots.of({10 * seed: detector(seed) for seed in range(3)}, photo())


def any_switches(chance: random.Random) -> dict:
    switches = {
        "convention": chance.choice(["paper", "reference"]),
        "selection": chance.choice(["online", "heuristic"]),
        "effective_scale": chance.choice([0.2, 0.05, 0.4]),
        "ignoring_scale": chance.choice([None, 0.5, 0.8]),
        "cell_center": chance.choice([None, 0.0, 0.5]),
        "cells": chance.choice([None, "floor_ceil", "overlap"]),
        "other_levels": chance.choice([None, "adjacent", "all"]),
        "same_class": chance.choice([None, "smaller_wins", "erase"]),
        "selection_focal": chance.choice(["all", "own"]),
    }
    if switches["effective_scale"] > 0.2 and switches["ignoring_scale"] is None:
        switches["ignoring_scale"] = 0.9
    return switches


def any_outputs(seed: int, height: int, width: int) -> HeadOutputs:
    """As of a network in the middle of its training: scores about 0.1, distances up to 4 cells."""
    sides = [-(-side // 32) * 32 for side in (height, width)]
    shapes = [[-(-side // stride) for side in sides] for stride in TINY.strides]
    random = torch.Generator().manual_seed(seed)
    logits = [torch.randn(1, 6, *shape, generator=random).half() * 2 - 2 for shape in shapes]
    return HeadOutputs(logits, [torch.rand(1, 4, *shape, generator=random).half() for shape in shapes])


def any_boxes(chance: random.Random, count: int, height: int, width: int) -> list[list[float]]:
    boxes = []
    for _ in range(count):
        w, h = (2 ** chance.uniform(1, 7) for _ in range(2))
        x, y = chance.uniform(-w / 2, width - w / 2), chance.uniform(-h / 2, height - h / 2)
        boxes.append([x, y, x + w, y + h])
    return boxes


@pytest.mark.parametrize("situation", range(200))
def test_every_number_is_what_the_detector_assigns(situation: int) -> None:
    """Random boxes, classes, crowds, image sizes, switches and branches: each answer against `detector.assign` and its maps."""
    chance = random.Random(situation)
    height, width = chance.choice([(128, 128), (128, 128), (96, 200), (65, 33)])
    boxes = any_boxes(chance, chance.randint(1, 7), height, width)
    labels = [chance.randrange(-1, 2) if chance.random() < 0.9 else 5 for _ in boxes]
    config = dataclasses.replace(TINY, branches=chance.choice(["anchor_free", "joint"]), **any_switches(chance))
    outputs = any_outputs(situation, height, width)
    selected = chance.randrange(len(boxes))
    answers = [explore((height, width), boxes, labels, outputs, config, selected, whole) for whole in (False, True)]

    instances, crowds = ([i for i, label in enumerate(labels) if (label == CROWD) == crowd] for crowd in (False, True))
    target = {"boxes": torch.tensor([boxes[i] for i in instances]).view(-1, 4)}
    target |= {"labels": torch.tensor([labels[i] for i in instances]).long()}
    target |= {"ignored": torch.tensor([boxes[i] for i in crowds]).view(-1, 4)}
    with torch.device("meta"):  # no weights: `assign` sees only the outputs
        judge = fsaf.build_detector(config)
    truth = judge.assign(outputs, [target], [(height, width)])
    chosen = [level + 3 if level >= 0 else -1 for level in truth.selected_level.tolist()]
    row = instances.index(selected) if selected in instances else None
    effective, ignoring = truth.regions.maps()
    start = 0
    for index, (now, after) in enumerate(zip(*(answer["levels"] for answer in answers))):
        here = slice(start, start + now["rows"] * now["columns"])
        start = here.stop
        assert (now["level"], now["stride"], now["rows"]) == (index + 3, 8 * 2**index, outputs.cls_logits[index].shape[2])
        assert [answer["selected"][i] for answer in answers for i in instances] == chosen * 2
        positive = [code == "2" for code in after["codes"]]
        assert positive == truth.positive[0, here].tolist()
        for cell, told in after["cells"].items():
            assert told[0] == instances[int(truth.owner[0, here][cell]) - 1]
        if row is None:
            assert now["loss"] is None and now["taught"] is None
            continue
        loss = float(truth.level_losses[row, index])
        assert now["loss"] == (loss if loss < float("inf") else None)
        owned = (truth.owner[0, here] == row + 1).tolist()
        assert [code == "2" for code in now["codes"]] == owned
        assert [code in "23" for code in now["codes"]] == effective[row, here].tolist()
        assert [code != "0" for code in now["codes"]] == ignoring[row, here].tolist()
        own = [told for told in now["cells"].values() if len(told) == 3]
        if own:
            assert now["focal"] + now["iou"] == pytest.approx(loss, rel=1e-5)
            for part, name in ((1, "focal"), (2, "iou")):
                assert np.mean([told[part] for told in own]) == pytest.approx(now[name], abs=2e-5)
        for cell, told in now["cells"].items():
            owner = int(truth.owner[0, here][cell])
            covered = truth.valid is not None and not truth.valid[0, here][cell]
            assert told[0] == (instances[owner - 1] if owner else UNDER_CROWD if covered else ERASED)


def test_a_cell_s_numbers_are_its_own_losses(snapshots) -> None:
    """One cell by hand: the box of 40 px around a cell of P5, its IoU loss and its focal loss."""
    outputs, box = snapshots.outputs[0], [28.0, 28.0, 68.0, 68.0]
    level = explore(SIZE, [box], [2], outputs, TINY)["levels"][2]
    ((_, (owner, focal, iou)),) = [item for item in level["cells"].items() if item[0] == 5]
    l, t, r, b = (float(v) * 4 * 32 for v in outputs.box_offsets[2][0, :, 1, 1])
    decoded = torch.tensor([48 - l, 48 - t, 48 + r, 48 + b])
    p = outputs.cls_logits[2][0, :, 1, 1].double().sigmoid()
    own = -0.25 * (1 - p[2]) ** 2 * p[2].log()
    others = sum(-0.75 * q**2 * (1 - q).log() for q in p[[0, 1, 3, 4, 5]])
    assert owner == 0
    assert iou == pytest.approx(float(iou_loss(decoded, torch.tensor(box))), abs=1e-5)
    assert focal == pytest.approx(float(own + others), abs=1e-5)


def test_what_a_level_is_taught(snapshots) -> None:
    """Paper: ignored next to the winner, negative further away. Reference: ignored at every other level where it has cells."""
    box = [[30.0, 30.0, 94.0, 94.0]]
    for convention, kind in (("paper", "negative"), ("reference", "ignored")):
        config = dataclasses.replace(TINY, convention=convention, cells="floor_ceil")
        answer = explore(SIZE, box, [0], snapshots.outputs[0], config)
        (winner,) = answer["selected"]
        for level in answer["levels"]:
            distance = abs(level["level"] - winner)
            assert level["taught"] == ("positive" if distance == 0 else "ignored" if distance == 1 else kind)


def test_answers_are_quick_and_small(snapshots) -> None:
    """At most 15 ms of CPU time for a 128 px image, and 100 kB for 100 boxes on 1333 x 800 px."""
    boxes, labels = any_boxes(random.Random(1), 8, *SIZE), [0] * 8
    times = []
    for _ in range(20):
        start = time.process_time()
        explore(SIZE, boxes, labels, snapshots.outputs[0], TINY)
        times.append(time.process_time() - start)
    assert sorted(times)[10] < 0.015
    large = dataclasses.replace(TINY, last_level=7, effective_scale=1.0, ignoring_scale=1.0)
    shapes = [(100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]
    outputs = HeadOutputs([torch.zeros(1, 6, *s) for s in shapes], [torch.ones(1, 4, *s) for s in shapes])
    for whole in (False, True):
        answer = explore((800, 1333), any_boxes(random.Random(2), 100, 800, 1333), [1] * 100, outputs, large, 3, whole)
        assert len(json.dumps(answer)) < 100_000


@pytest.mark.parametrize(
    ("boxes", "labels", "sentence"),
    [
        ([[20, 20, 20, 60]], [0], "Box 1 has no area"),
        ([[60, 60, 20, 20]], [0], "Box 1 has no area"),
        ([[-50, 10, -1, 40]], [0], "Box 1 lies outside the image"),
        ([[0, 0, float("nan"), 5]], [0], "Box 1 is not finite"),
        ([[0, 0, 50, 50]], [6], "Box 1 has class 6, and there are 0 to 5"),
        ([[5, 5, 90, 90]] * 101, [0] * 101, "101 boxes are more"),
        ([[40, 40, 80, 80], [40, 40, 80, 80]], [0, 0], "Box 1 has no cell at any level"),
    ],
)
def test_odd_boxes_get_a_sentence_and_no_level(snapshots, boxes, labels, sentence) -> None:
    answer = explore(SIZE, boxes, labels, snapshots.outputs[0], TINY)
    assert any(note.startswith(sentence) for note in answer["notes"]), answer["notes"]
    assert len(answer["selected"]) == len(boxes) and (answer["selected"][0] == -1 or len(boxes) > 100)
    json.dumps(answer, allow_nan=False)


def test_without_a_network_there_are_regions_and_a_sentence() -> None:
    answer = explore(SIZE, [[20, 20, 60, 60]], [0], None, TINY)
    assert [level["loss"] for level in answer["levels"]] == [None] * 4
    assert all("2" in level["codes"] for level in answer["levels"])
    assert answer["selected"] == [-1] and answer["heuristic"] == [4]
    assert answer["notes"][0].startswith("No snapshots yet")


def test_odd_images_get_a_sentence() -> None:
    assert "long and narrow" in explore((20, 4000), [[5, 5, 900, 15]], [0], None, TINY)["notes"][0]
    answer = explore((3000, 4000), [[5, 5, 900, 15]], [0], None, TINY)
    assert answer["levels"] == [] and "2 megapixels" in answer["notes"][0]


def test_no_boxes_at_all(snapshots) -> None:
    answer = explore(SIZE, [], [], snapshots.outputs[0], TINY)
    assert answer["selected"] == [] and {code for level in answer["levels"] for code in level["codes"]} == {"0"}


def test_snapshots_come_back_from_their_file(snapshots, tmp_path) -> None:
    path = tmp_path / "snapshots.npz"
    snapshots.save(path)
    again = Snapshots.load(path)
    assert (again.config, again.steps) == (snapshots.config, snapshots.steps)
    assert np.array_equal(again.numbers, snapshots.numbers) and snapshots.numbers.shape == (3, 10, 340)
    one, other = (explore(SIZE, [[9, 9, 70, 50]], [1], kept.outputs[2], TINY) for kept in (snapshots, again))
    assert one == other


def test_snapshots_of_another_kind_are_refused(tmp_path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(fsaf.FSAFError, match="no readable file of snapshots"):
        Snapshots.load(path)
    for content in (b"", b"PK\x03\x04 nothing", b"junk"):
        path.write_bytes(content)
        with pytest.raises(fsaf.FSAFError, match="no readable file of snapshots"):
            Snapshots.load(path)
    with pytest.raises(fsaf.FSAFError, match="anchor-free branch"):
        Snapshots.of({0: fsaf.build_detector(dataclasses.replace(TINY, branches="anchor_based"))}, photo())
