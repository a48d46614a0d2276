"""Why objects were missed: three planted cases of each cause, and counts that agree with pycocotools."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from fsaf_core.config import ModelConfig
from fsaf_core.evaluation.coco_metrics import size_bin
from fsaf_core.evaluation.miss_analysis import (
    CAUSES,
    CLASS,
    CUT,
    LOST,
    NMS,
    NO_CELL,
    POOR,
    SCORE,
    diagnose_misses,
    miss_table,
)
from fsaf_core.method.locations import encode
from fsaf_core.model.detector import build_detector
from fsaf_core.model.structures import HeadOutputs

SIDE = 256  # pixels of the planted image
PAPER = ModelConfig(
    class_names=("cat", "dog", "cow"),
    backbone="tiny",
    backbone_norm="batch",
    frozen_stages=0,
    channels=16,
    tower_depth=1,
)
REFERENCE = replace(PAPER, convention="reference")


def plant(config, *predictions, images=1):
    """A detector and outputs in which nothing scores but `predictions`: (box, label, score, stride[, image])."""
    detector = build_detector(config).eval()
    shapes = [(SIDE // stride, SIDE // stride) for stride in config.strides]
    logits = [torch.full((images, 3, *shape), -10.0) for shape in shapes]
    offsets = [torch.zeros(images, 4, *shape) for shape in shapes]
    for box, label, score, stride, *image in predictions:
        level, image = config.strides.index(stride), image[0] if image else 0
        box = torch.tensor(box, dtype=torch.float32)
        column, row = ((box[:2] + box[2:]) / 2 / stride).floor().long().tolist()
        center = (torch.tensor([column, row]) + config.rules.cell_center) * stride
        offsets[level][image, :, row, column] = encode(
            box, center, torch.tensor(config.offset_normalizer * stride)
        )
        assert offsets[level].min() >= 0, "the cell lies outside its box: take a larger one"
        logits[level][image, label, row, column] = torch.logit(torch.tensor(score))
    return detector, HeadOutputs(logits, offsets)


def causes(config, objects, *predictions):
    """The causes of `objects`, (box, label) each, in one image."""
    boxes = torch.tensor([box for box, _ in objects], dtype=torch.float32).reshape(-1, 4)
    targets = [
        {"boxes": boxes, "labels": torch.tensor([label for _, label in objects], dtype=torch.int64)}
    ]
    detector, outputs = plant(config, *predictions)
    return diagnose_misses(detector, outputs, [(SIDE, SIDE)], targets)[0]


A, B, C = (
    [50, 50, 100, 100],
    [50, 60, 100, 110],
    [50, 40, 100, 90],
)  # A overlaps B and C by an IoU of 2/3
FAR = [160, 160, 220, 220]


@pytest.mark.parametrize("config", [PAPER, REFERENCE], ids=["paper", "reference"])
def test_what_is_found_has_no_cause(config):
    assert causes(config, [(A, 1), (FAR, 2)], (A, 1, 0.9, 16), (FAR, 2, 0.06, 16)) == [None, None]
    assert causes(config, []) == []


@pytest.mark.parametrize(
    "box",
    [[1, 1, 5, 5], [10, 10, 14, 14], [10, 10, 200, 14]],
    ids=["corner", "between points", "a thin line"],
)
def test_no_cell_at_any_level(box):
    assert causes(REFERENCE, [(box, 0)]) == [NO_CELL]
    assert causes(PAPER, [(box, 0)]) == [POOR]  # here every object has cells


@pytest.mark.parametrize(
    ("config", "objects", "expected"),
    [
        (PAPER, [(A, 0), (A, 0)], [LOST, POOR]),
        (PAPER, [([20, 20, 32, 32], 0), ([22, 22, 30, 30], 1)], [LOST, POOR]),
        (REFERENCE, [([40, 40, 140, 100], 0), ([60, 50, 120, 90], 0)], [POOR, LOST]),
    ],
    ids=["twins", "one cell for two", "nested in one class, erased by MMDetection's rule"],
)
def test_lost_to_a_smaller_one(config, objects, expected):
    assert causes(config, objects) == expected


def test_lost_at_the_level_that_a_heuristic_selects():
    """Both objects select P3 by their sizes; the smaller one takes the larger one's only location there."""
    config = replace(PAPER, selection="heuristic")
    assert causes(config, [([20, 20, 32, 32], 0), ([22, 22, 30, 30], 1)]) == [LOST, POOR]
    assert causes(config, [([20, 20, 32, 32], 0)]) == [POOR]


@pytest.mark.parametrize(
    ("box", "stride"), [([40, 40, 60, 60], 8), (A, 16), ([20, 20, 200, 220], 32)]
)
def test_score_below_threshold(box, stride):
    assert causes(PAPER, [(box, 2)], (box, 2, 0.049, stride)) == [SCORE]
    assert causes(PAPER, [(box, 2)], (box, 2, 0.051, stride)) == [None]


@pytest.mark.parametrize(
    "config",
    [
        replace(PAPER, detections_per_img=1),
        replace(PAPER, topk_candidates=1),
        replace(REFERENCE, topk_candidates=1),
    ],
    ids=["the 100", "top-k cells", "top-k pairs"],
)
def test_cut_by_top_k_or_the_100(config):
    assert causes(config, [(A, 0), (FAR, 1)], (A, 0, 0.8, 16), (FAR, 1, 0.9, 16)) == [CUT, None]


@pytest.mark.parametrize(
    ("objects", "predictions", "expected"),
    [
        ([(A, 0), (B, 0)], [(A, 0, 0.9, 16), (B, 0, 0.8, 16)], [None, NMS]),
        ([(A, 0), (B, 0)], [(A, 0, 0.7, 8), (B, 0, 0.8, 32)], [NMS, None]),
        (
            [(A, 0), (B, 0), (C, 0)],
            [(A, 0, 0.9, 16), (B, 0, 0.8, 16), (C, 0, 0.7, 8)],
            [None, NMS, NMS],
        ),
    ],
    ids=["one level", "two levels", "three neighbours"],
)
def test_suppressed_by_nms(objects, predictions, expected):
    assert causes(PAPER, objects, *predictions) == expected


@pytest.mark.parametrize(
    ("objects", "predictions", "expected"),
    [
        ([(A, 0)], [], [POOR]),
        ([(A, 0)], [([50, 50, 100, 70], 0, 0.9, 16)], [POOR]),  # IoU 0.4
        (
            [(A, 0), (B, 0)],
            [(A, 0, 0.9, 16)],
            [None, POOR],
        ),  # one good box for two: the other has none of its own
    ],
    ids=["no box", "a bad box", "one box for two"],
)
def test_box_too_poor(objects, predictions, expected):
    assert causes(PAPER, objects, *predictions) == expected


@pytest.mark.parametrize(
    ("config", "predictions"),
    [
        (PAPER, [(A, 1, 0.9, 16)]),
        (REFERENCE, [(A, 2, 0.3, 32)]),
        (PAPER, [(A, 1, 0.9, 16), (A, 0, 0.04, 8)]),
    ],
    ids=["alone", "reference", "the right class too low"],
)
def test_wrong_class(config, predictions):
    assert causes(config, [(A, 0)], *predictions) == [CLASS]


def test_a_detection_of_a_neighbour_is_no_confusion():
    # The dog is found; that it lies on the cat too explains nothing. The cat's own score was too low.
    assert causes(PAPER, [([48, 48, 104, 104], 0), (A, 1)], (A, 1, 0.9, 16))[0] == SCORE


def test_with_anchors_no_object_goes_unlearned():
    detector = build_detector(replace(REFERENCE, branches="joint")).eval()
    targets = [{"boxes": torch.tensor([[1.0, 1, 5, 5]]), "labels": torch.tensor([0])}]
    with torch.no_grad():
        outputs = detector.head_outputs(torch.zeros(1, 3, 64, 64))
    assert diagnose_misses(detector, outputs, [(64, 64)], targets)[0][0] in (SCORE, POOR)


def test_counts_sum_exactly_and_found_are_pycocotools_matches():
    """Sixteen crowded images with boxes of every quality, so that all causes occur but those of objects that no location learns."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng, predictions, targets = np.random.default_rng(3), [], []
    config = replace(PAPER, detections_per_img=8)
    for image in range(16):
        boxes, labels = [], rng.integers(0, 3, 9)
        for label in labels:
            low, sides = rng.uniform(0, 170, 2), rng.uniform(20, 80, 2)
            box = np.clip([*low, *(low + sides)], 0, SIDE)
            boxes.append(box)
            for _ in range(rng.integers(0, 4)):
                noisy = np.clip(
                    box + rng.normal(0, 0.08, 4) * np.tile(box[2:] - box[:2], 2), 0, SIDE - 1
                )
                other = label if rng.random() < 0.7 else rng.integers(0, 3)
                center = (noisy[:2] + noisy[2:]) / 2
                stride = int(
                    rng.choice(
                        [
                            stride
                            for stride in (8, 16, 32)
                            if (np.abs(center % stride - stride / 2) < sides / 3).all()
                        ]
                        or [8]
                    )
                )
                predictions.append(
                    (noisy.tolist(), int(other), float(rng.uniform(0.01, 0.9)), stride, image)
                )
        targets.append(
            {
                "boxes": torch.tensor(np.array(boxes), dtype=torch.float32),
                "labels": torch.tensor(labels),
            }
        )
    detector, outputs = plant(config, *predictions, images=16)
    sizes = [(SIDE, SIDE)] * 16
    why = [cause for row in diagnose_misses(detector, outputs, sizes, targets) for cause in row]
    bins = [
        size_bin(float((box[2:] - box[:2]).prod())) for target in targets for box in target["boxes"]
    ]
    table = miss_table([*zip(bins, why)])
    assert table["instances"] == 144 == table["found"] + sum(table["causes"].values())
    for name in ("instances", *CAUSES):
        total = table["instances"] if name == "instances" else table["causes"][name]
        assert sum(row[name] for row in table["by_size"].values()) == total
    assert all(table["causes"][cause] for cause in (SCORE, CUT, NMS, POOR, CLASS)), table["causes"]

    def rows(image, boxes, labels, **more):
        for number, (box, label) in enumerate(zip(boxes.tolist(), labels.tolist(), strict=True)):
            xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            base = {
                "image_id": image,
                "category_id": label + 1,
                "bbox": xywh,
                "area": xywh[2] * xywh[3],
                "iscrowd": 0,
            }
            yield base | {name: values[number].item() for name, values in more.items()}

    truth, found = [], []
    for image, (target, own) in enumerate(
        zip(targets, detector.postprocess(outputs, sizes), strict=True)
    ):
        truth += rows(image, target["boxes"], target["labels"])
        found += rows(image, own["boxes"], own["labels"], score=own["scores"])
    with contextlib.redirect_stdout(io.StringIO()):
        sides = []
        for side_rows in (truth, found):
            side = COCO()
            side.dataset = {
                "images": [{"id": image} for image in range(16)],
                "categories": [{"id": number, "name": str(number)} for number in (1, 2, 3)],
                "annotations": [{**row, "id": number} for number, row in enumerate(side_rows, 1)],
            }
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, "bbox")
        judge.params.areaRng, judge.params.areaRngLbl, judge.params.iouThrs = (
            [[0, 1e10]],
            ["all"],
            np.array([0.5]),
        )
        judge.evaluate()
    matched = sum(int((one["gtMatches"] > 0).sum()) for one in judge.evalImgs if one)
    assert matched == table["found"]
