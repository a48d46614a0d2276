"""NaN and infinity: one sentence or a defined result, never a NaN in a json and never an endless loop."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import SMALL, target

import fsaf_core as fsaf
from fsaf_core.config import FSAFError
from fsaf_core.evaluation.coco_metrics import coco_metrics, to_coco_results

NAN, INF = float("nan"), float("inf")
NUMBERS = pytest.mark.parametrize("number", [NAN, INF, -INF, 1e38])
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return fsaf.build_detector(SMALL).eval()


def assert_valid(detections, width=96, height=64):
    """Check that a json can hold the detections and a picture can show them."""
    boxes, scores = detections["boxes"], detections["scores"]
    assert (
        boxes.isfinite().all() and scores.isfinite().all() and ((scores >= 0) & (scores <= 1)).all()
    )
    assert (boxes >= 0).all() and (
        boxes <= boxes.new_tensor([width, height, width, height]) + 1e-3
    ).all()
    json.dumps(to_coco_results([1], [detections], [1, 2, 3]), allow_nan=False)


@NUMBERS
@pytest.mark.parametrize("layer", ["af_cls", "af_box", "cls_tower", "all"])
def test_detections_of_non_finite_weights_are_finite(number, layer, detector):
    with torch.no_grad():
        for name, value in detector.named_parameters():
            if layer == "all" or layer in name:
                value.fill_(number)
    assert_valid(detector.predict(PICTURE))


@NUMBERS
def test_a_non_finite_image_is_refused_and_if_it_were_not_no_detection_would_be_outside(
    number, detector
):
    image = torch.from_numpy(PICTURE).permute(2, 0, 1) / 255
    batch = detector.preprocess([image])
    image[:, 10:20, 10:20] = batch.tensor[..., 10:20, 10:20] = number
    with pytest.raises(FSAFError, match=r"images\[0\] holds .*: give a list of tensors"):
        detector([image])
    outputs, targets = detector.train().head_outputs(batch.tensor), [target([[8, 8, 40, 40]], [1])]
    assert_valid(detector.postprocess(outputs, batch.sizes)[0])
    losses = detector.losses(outputs, detector.assign(outputs, targets), targets)
    assert all(
        loss.shape == () for loss in losses.values()
    )  # the training loop stops at the first one that is not finite


@pytest.mark.parametrize("branches", ["anchor_free", "anchor_based", "joint"])
@pytest.mark.parametrize(
    "box",
    [
        [-50, -50, -10, -10],
        [500, 500, 600, 600],
        [-1e4, -1e4, 1e4, 1e4],
        [8, 8, 8.001, 8.001],
        [8, 8, 8.001, 40],
    ],
    ids=str,
)
def test_a_box_far_outside_or_very_small_gives_finite_losses(box, branches):
    torch.manual_seed(0)
    detector = fsaf.build_detector(replace(SMALL, branches=branches)).train()
    image = torch.from_numpy(PICTURE).permute(2, 0, 1)
    for boxes in ([box], [box, [8, 8, 40, 40]]):
        targets, outputs = (
            [target(boxes, [1] * len(boxes))],
            detector.head_outputs(detector.preprocess([image]).tensor),
        )
        losses = detector.losses(outputs, detector.assign(outputs, targets), targets)
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())
        assert all(
            value.grad.isfinite().all() for value in detector.parameters() if value.grad is not None
        )


@pytest.mark.parametrize("name", ["boxes", "ignored"])
@pytest.mark.parametrize(
    "box",
    [
        [NAN, 0, 9, 9],
        [0, 0, INF, 9],
        [-INF, 0, INF, 9],
        [9, 0, 3, 9],
        [3, 3, 3, 9],
        [-3e38, 0, 3e38, 9],
    ],
    ids=str,
)
@pytest.mark.parametrize("branches", ["anchor_free", "joint"])
def test_an_impossible_box_is_named_with_its_image_before_any_loss_is_computed(branches, box, name):
    """Such boxes of a json are dropped; these come from Python."""
    detector = fsaf.build_detector(replace(SMALL, branches=branches)).train()
    images, good = [torch.from_numpy(PICTURE).permute(2, 0, 1)] * 2, [8, 8, 40, 40]
    targets = [target([good], [1]), target([good, good], [0, 1], ignored=[good, good])]
    targets[1][name][1] = torch.tensor(box)
    message = rf"targets\[1\]\['{name}'\]\[1\] is \[.*\]: give x1 y1 x2 y2 in pixels, finite, with x1 < x2 and y1 < y2\."
    with pytest.raises(FSAFError, match=message):
        detector(images, targets)
    with pytest.raises(FSAFError, match=message):
        detector.assign(detector.head_outputs(detector.preprocess(images).tensor), targets)


@pytest.mark.parametrize("label", [-1, 3, 91])
def test_a_label_out_of_range_is_named_with_its_image(label, detector):
    targets = [target([[8, 8, 40, 40]] * 2, [1, 2]), target([[8, 8, 40, 40]] * 2, [0, label])]
    with pytest.raises(
        FSAFError, match=rf"targets\[1\]\['labels'\]\[1\] is {label}: .* so give 0\.\.2\."
    ):
        detector.train()([torch.from_numpy(PICTURE).permute(2, 0, 1)] * 2, targets)


def test_images_without_targets_are_refused(detector):
    with pytest.raises(FSAFError, match="2 images came with 1 targets: give a dict for each image"):
        detector.train()([torch.from_numpy(PICTURE).permute(2, 0, 1)] * 2, [target([], [])])


@pytest.mark.parametrize(
    "kind", ["float", "nan", "16 bits", "gray", "bool", "four", "text", "empty"]
)
def test_an_array_that_is_no_picture_is_one_sentence(kind, detector):
    array = {
        "float": PICTURE / 255, "nan": np.full((64, 96), NAN, np.float32), "16 bits": PICTURE.astype(np.uint16),
        "gray": PICTURE[..., 0].astype(np.int32), "bool": PICTURE[..., :2] > 3, "four": PICTURE[None], "text": np.array(["a"]), "empty": np.zeros((0, 5, 3), np.uint8),
    }[kind]  # fmt: skip
    with pytest.raises(
        FSAFError,
        match=r"no image was given .*: give a path, a PIL image or a uint8 array \(H, W, 3\)\.",
    ):
        detector.predict(array)


@pytest.mark.parametrize("number", [NAN, INF])
def test_non_finite_results_do_not_reach_the_metrics(number, tmp_path):
    path = tmp_path / "x.json"
    truth = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 20, 20]}
    path.write_text(
        json.dumps(
            {"images": [{"id": 1}], "annotations": [truth], "categories": [{"id": 1, "name": "a"}]}
        )
    )
    for row in (
        {"bbox": [1, 1, number, 20], "score": 0.5},
        {"bbox": [1, 1, 20, 20], "score": number},
    ):
        with pytest.raises(
            FSAFError, match="A detection of image 1 holds a value that is no number"
        ):
            coco_metrics(path, [{"image_id": 1, "category_id": 1, **row}])
