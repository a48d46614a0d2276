"""What a batch brings: pictures and targets of every kind and scale, taken or named, and packed."""

import pytest
import torch
from helpers import target

from fsaf_core.config import FSAFError
from fsaf_core.model.structures import check_images, pack_ground_truth

CPU = torch.device("cpu")
TWO = [
    torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    for size in ((60, 96), (50, 61))
]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda it: it * 255, lambda it: it * 4 - 2, lambda it: it - 1, lambda it: it.permute(1, 2, 0), lambda it: it[:1], lambda it: it[0],
        lambda it: (it * 255).long(), lambda it: it * float("nan"), lambda it: it[:, :0], lambda it: it.numpy(), lambda it: None,
    ],
    ids=["0..255", "normalised", "negative", "HWC", "grey", "flat", "int", "nan", "empty", "numpy", "none"],
)  # fmt: skip
def test_what_is_no_picture_is_named_and_never_taken_for_one(wrong, unchecked):
    with pytest.raises(
        FSAFError,
        match=r"images\[1\] .*give a list of tensors \(3, H, W\), RGB, uint8 or floats in 0\.\.1",
    ):
        check_images([TWO[0], wrong(TWO[1])])


@pytest.mark.parametrize("images", [None, [], TWO[0]], ids=["none", "no image", "one tensor"])
def test_images_are_a_list(images, unchecked):
    with pytest.raises(FSAFError, match="give a list of tensors"):
        check_images(images)


def test_floats_may_be_of_any_width_and_overshoot_a_little():
    for other in (TWO[0].double(), TWO[0].half(), TWO[0] * 1.2 - 0.1):
        check_images([other])


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
        ({"boxes": torch.tensor([[9.0, 9, 20, 40]]), "labels": [1]}, "no dict of two tensors"),
        ({"boxes": torch.tensor([[9.0, 9, 20, 40]])}, "no dict of two tensors"),
        (None, "no dict of two tensors"),
    ],
    ids=["fractions", "another scale", "float labels", "list", "no labels", "none"],
)
def test_targets_of_another_kind_or_scale_are_named(target, said, unchecked):
    with pytest.raises(FSAFError, match=said):
        pack_ground_truth([target], CPU, 3, [(60, 96)])


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


def test_boxes_and_labels_of_different_number_are_a_users_fault():
    wrong = {"boxes": torch.zeros(2, 4), "labels": torch.zeros(3, dtype=torch.long)}
    with pytest.raises(FSAFError, match=r"targets\[1\].*labels"):
        pack_ground_truth([target([], []), wrong], CPU, 3)


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
