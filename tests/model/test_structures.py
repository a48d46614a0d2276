"""What a batch brings: pictures and targets of every kind and scale, taken or named, and packed."""

import pytest
import torch
from helpers import target
from torchvision import tv_tensors

from fsaf_core.config import FSAFError
from fsaf_core.model.structures import pack_ground_truth

CPU = torch.device("cpu")
TWO = [
    torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    for size in ((60, 96), (50, 61))
]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            {"boxes": torch.tensor([[0.1, 0.1, 0.5, 0.9]]), "labels": torch.tensor([1])},
            "all boxes lie within 0..1",
        ),
        (
            {"boxes": torch.tensor([[99.0, 9, 120, 40]]), "labels": torch.tensor([1])},
            r"\[0\] is .* outside its image of 96 x 60",
        ),
        (
            {"boxes": torch.tensor([[9.0, 9, 20, 40]]), "labels": torch.tensor([1.0])},
            "whole numbers",
        ),
        (
            {"boxes": torch.tensor([[9.0, 9, 20, 40]]), "labels": torch.tensor(1.0)},
            "whole numbers",
        ),
        ({"boxes": torch.tensor([[9.0, 9, 20, 40]]), "labels": [1]}, "has no tensor 'labels'"),
        ({"boxes": torch.tensor([[9.0, 9, 20, 40]])}, "has no tensor 'labels'"),
        (
            {
                "boxes": torch.tensor([[9.0, 9, 20, 40]]),
                "labels": torch.tensor([1]),
                "ignored": [[9.0, 9, 20, 40]],
            },
            "has no tensor 'ignored'",
        ),
        (
            {
                "boxes": torch.tensor([[9.0, 9, 20, 40]]),
                "labels": torch.tensor([1]),
                "ignored": None,
            },
            "has no tensor 'ignored'",
        ),
        (None, "is a NoneType"),
    ],
    ids=[
        "fractions",
        "another scale",
        "float labels",
        "one label without an axis",
        "list",
        "no labels",
        "list of crowds",
        "crowds None",
        "none",
    ],
)
def test_targets_of_another_kind_or_scale_are_named(target, said, unchecked):
    with pytest.raises(FSAFError, match=said):
        pack_ground_truth([target], CPU, 3, [(60, 96)])


def test_a_box_of_the_first_pixel_is_no_fraction():
    one = {"boxes": torch.tensor([[0.0, 0, 1, 1]]), "labels": torch.tensor([1])}
    assert pack_ground_truth([one], CPU, 3, [(50, 61)]).counts == [1]


def test_labels_may_be_of_any_whole_type_and_of_none_of_any():
    box, no_box = (
        torch.tensor([[9.0, 9, 40, 40]]),
        {"boxes": torch.zeros(0, 4), "labels": torch.tensor([])},
    )
    for kind in (torch.int64, torch.uint8):
        packed = pack_ground_truth(
            [{"boxes": box, "labels": torch.tensor([1], dtype=kind)}, no_box], CPU, 3
        )
        assert packed.labels.dtype == torch.int64 and packed.labels.tolist() == [1]


def test_boxes_of_half_precision_are_checked_and_packed():
    boxes = torch.tensor([[9, 9, 40, 40]], dtype=torch.bfloat16)
    one = {"boxes": boxes, "labels": torch.tensor([1]), "ignored": boxes}
    packed = pack_ground_truth([one], CPU, 3, [(60, 96)])
    assert packed.boxes.dtype == packed.crowd_boxes.dtype == torch.float32
    assert packed.boxes.tolist() == packed.crowd_boxes.tolist() == [[9, 9, 40, 40]]


def test_boxes_and_labels_of_different_number_are_a_users_fault():
    wrong = {"boxes": torch.zeros(2, 4), "labels": torch.zeros(3, dtype=torch.long)}
    with pytest.raises(FSAFError, match=r"targets\[1\].*labels"):
        pack_ground_truth([target([], []), wrong], CPU, 3)


@pytest.mark.parametrize(
    ("form", "box"),
    [("XYXY", [2.0, 3, 12, 8]), ("XYWH", [2.0, 3, 10, 5]), ("CXCYWH", [7.0, 5.5, 10, 5])],
)
def test_boxes_with_a_format_are_converted(form, box):
    boxes = tv_tensors.BoundingBoxes([box], format=form, canvas_size=(60, 96))
    one = {"boxes": boxes, "labels": torch.tensor([1]), "ignored": boxes}
    for sizes in (None, [(60, 96)]):
        packed = pack_ground_truth([one], CPU, 3, sizes)
        assert packed.boxes.tolist() == packed.crowd_boxes.tolist() == [[2, 3, 12, 8]]
        assert type(packed.boxes) is torch.Tensor


def test_boxes_for_another_image_or_with_an_angle_are_refused(unchecked):
    label = torch.tensor([1])
    boxes = tv_tensors.BoundingBoxes([[2.0, 3, 12, 8]], format="XYXY", canvas_size=(30, 48))
    said = r"targets\[0\]\['boxes'\] belong to an image of 48 x 30 pixels, and it has 96 x 60"
    with pytest.raises(FSAFError, match=said):
        pack_ground_truth([{"boxes": boxes, "labels": label}], CPU, 3, [(60, 96)])
    turned = tv_tensors.BoundingBoxes([[7.0, 5, 9, 5, 30]], format="CXCYWHR", canvas_size=(60, 96))
    with pytest.raises(FSAFError, match=r"has boxes \(1, 5\) .* 'boxes' \(N, 4\) x1 y1 x2 y2"):
        pack_ground_truth([{"boxes": turned, "labels": label}], CPU, 3)


def test_instances_and_crowds_are_packed_image_by_image():
    scene = [
        target([[0, 0, 1, 1]] * 2, [2, 0]),
        target([], []),
        target([[5, 5, 9, 9]], [1], ignored=[[1, 1, 2, 2]] * 2),
    ]
    scene[2]["boxes"] = scene[2]["boxes"].double()
    packed = pack_ground_truth(
        [{key: scene[0][key] for key in ("boxes", "labels")}, *scene], CPU, 3
    )
    assert packed.boxes.dtype == torch.float32 and packed.boxes.tolist()[3:] == [
        [0, 0, 1, 1],
        [5, 5, 9, 9],
    ]
    assert (packed.labels.tolist(), packed.image.tolist()) == ([2, 0, 2, 0, 1], [0, 0, 1, 1, 3])
    assert (packed.crowd_boxes.tolist(), packed.crowd_image.tolist()) == (
        [[1, 1, 2, 2]] * 2,
        [3, 3],
    )
