"""Resize, flip, zoom and crop: pixels against OpenCV, boxes against the pixels they are drawn around."""

import os
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fsaf_core.config import ModelConfig, TrainConfig
from fsaf_core.data.transforms import (
    bilinear,
    eval_transform,
    flip,
    resize,
    resized_size,
    train_transform,
    zoom_crop,
)

REAL = Path(os.environ.get("FSAF_TEST_DATA", "unset"))
MODEL = ModelConfig(short_side=96, long_side=160)


def noise(height, width, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    )


def opencv(image, height, width):
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    return torch.from_numpy(
        cv2.resize(array, (width, height), interpolation=cv2.INTER_LINEAR)
    ).permute(2, 0, 1)


def sample(
    height=96, width=128, boxes=((10, 20, 40, 60), (70, 5, 120, 90)), ignored=((0, 0, 128, 10),)
):
    """A black image; the first box is filled with red, the second with green."""
    image = torch.zeros((3, height, width), dtype=torch.uint8)
    for channel, (x1, y1, x2, y2) in enumerate(boxes):
        image[channel, y1:y2, x1:x2] = 200
    return {
        "image": image,
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.arange(len(boxes)),
        "ignored": torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
        "image_id": 7,
        "size": (height, width),
    }


def seen_box(image, channel):
    """The tight box of a color."""
    ys, xs = torch.nonzero(image[channel] >= 100, as_tuple=True)
    return [xs.min().item(), ys.min().item(), xs.max().item() + 1, ys.max().item() + 1]


def test_sizes_are_those_of_mmdetection():
    # factor = min(1333 / long, 800 / short), then int(x * factor + 0.5)
    assert resized_size(480, 640, 800, 1333) == (800, 1067)  # 800 / 480 = 1.6667: 640 -> 1066.67
    assert resized_size(427, 640, 800, 1333) == (800, 1199)  # 1.8735: 640 -> 1199.06
    assert resized_size(375, 1242, 800, 1333) == (
        402,
        1333,
    )  # 1.0733, by the long side: 375 -> 402.47
    assert resized_size(3000, 2000, 800, 1333) == (1200, 800)
    assert resized_size(128, 128, 128, 128) == (128, 128)


@pytest.mark.parametrize(
    ("before", "after"), [((240, 320), (800, 1067)), ((500, 375), (1067, 800)), ((61, 47), (97, 31)), ((1600, 2130), (800, 1065)),
                          ((1, 1), (5, 7)), ((2, 3), (1, 1)), ((1600, 2000), (800, 1000)), ((777, 1111), (776, 1112))]
)  # fmt: skip
def test_bilinear_is_opencv_s_to_the_bit(before, after):
    image = noise(*before)
    assert torch.equal(bilinear(image, *after), opencv(image, *after))


def test_a_large_photo_made_smaller_is_within_one_gray_level_of_floats_and_not_antialiased():
    image = noise(1500, 2000)
    ours, size = resize(image), (800, 1067)
    plain = F.interpolate(image[None].float(), size, mode="bilinear", antialias=False)[0]
    smooth = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
    assert (ours - plain).abs().max() <= 1 and (ours - smooth).abs().max() > 40


@pytest.mark.skipif(not REAL.is_dir(), reason="FSAF_TEST_DATA names no folder with coco20")
def test_real_photographs_are_resized_as_opencv_does():
    from fsaf_core.data.images import load_image

    for path in sorted((REAL / "coco20" / "images" / "val").iterdir())[:4]:
        image = torch.from_numpy(np.asarray(load_image(path)).transpose(2, 0, 1).copy())
        assert torch.equal(resize(image), opencv(image, *resized_size(*image.shape[1:], 800, 1333)))


def test_boxes_are_scaled_by_each_axis_s_own_factor():
    out = eval_transform(
        sample(60, 107, boxes=[(0, 0, 107, 60)], ignored=[(53, 30, 107, 60)]), MODEL
    )
    assert out["image"].shape == (3, 90, 160)  # 160 / 107 = 1.4953: 60 -> 89.7
    assert torch.allclose(out["boxes"], torch.tensor([[0.0, 0, 160, 90]]))
    assert torch.allclose(out["ignored"], torch.tensor([[53 * 160 / 107, 45, 160, 90]]))
    assert out["size"] == (60, 107) and out["image_id"] == 7


def test_an_image_of_the_right_size_is_left_as_it_is():
    before = sample(96, 128)
    assert eval_transform(before, MODEL)["image"] is before["image"]


def test_a_flip_mirrors_boxes_with_the_pixels_and_twice_is_nothing():
    before = sample()
    once = flip(before)
    for channel, box in enumerate(once["boxes"].tolist()):
        assert seen_box(once["image"], channel) == box
    assert once["ignored"].tolist() == [[0, 0, 128, 10]]
    twice = flip(once)
    assert all(
        torch.equal(twice[name], before[name]) for name in ("image", "boxes", "ignored", "labels")
    )


@pytest.mark.parametrize("seed", range(30))
def test_zoom_and_crop_moves_boxes_with_the_pixels(seed):
    before = sample()
    out = zoom_crop(before, (0.0, 0.0, 0.0), np.random.default_rng(seed))
    height, width = out["image"].shape[1:]
    assert (height, width) == (96, 128) and out["image"].dtype == torch.uint8
    assert 1 <= len(out["boxes"]) == len(out["labels"])
    for box, label in zip(out["boxes"], out["labels"].tolist()):
        assert (box >= 0).all() and (box[2:] <= torch.tensor([width, height])).all()
        assert np.allclose(seen_box(out["image"], label), box, atol=1.01)


def test_zoom_and_crop_drops_what_is_hardly_seen_and_keeps_empty_images():
    kept = np.zeros(2)
    for seed in range(200):
        before = sample(boxes=[(0, 0, 30, 30), (50, 40, 80, 60)])
        out = zoom_crop(before, (0.0, 0.0, 0.0), np.random.default_rng(seed))
        kept[out["labels"]] += 1
        assert len(out["ignored"]) <= 1
        area = (out["boxes"][:, 2:] - out["boxes"][:, :2]).prod(1)
        assert (area > 0.4 * 0.6**2 * 600).all()
    assert kept[0] < kept[1] <= 200 and kept[0] > 80
    empty = zoom_crop(sample(boxes=()), (0.0, 0.0, 0.0), np.random.default_rng(0))
    assert empty["boxes"].shape == (0, 4) and empty["labels"].shape == (0,)


def test_what_lies_outside_when_zooming_out_is_filled():
    image = torch.full((3, 64, 64), 200, dtype=torch.uint8)
    before = {**sample(64, 64, boxes=[(20, 20, 40, 40)], ignored=()), "image": image}
    outs = [zoom_crop(before, (0.2, 0.4, 0.6), np.random.default_rng(seed)) for seed in range(20)]
    filled = [out["image"] for out in outs if out["boxes"][0, 2] - out["boxes"][0, 0] < 17]
    assert filled
    for image in filled:
        assert (
            (image == torch.tensor([51, 102, 153], dtype=torch.uint8)[:, None, None]).all(0).any()
        )


def test_chance_is_the_generator_s_alone():
    train = TrainConfig(crop=0.5, ms=True)
    before = sample()
    outs = [
        train_transform(before, MODEL, train, np.random.default_rng([0, 3, 5])) for _ in range(2)
    ]
    assert all(
        torch.equal(outs[0][name], outs[1][name])
        for name in ("image", "boxes", "labels", "ignored")
    )
    assert torch.equal(before["image"], sample()["image"])  # nothing is done in place


def test_each_switch_of_the_recipe_is_obeyed():
    def drawn(train, count=60):
        return [
            train_transform(sample(), MODEL, train, np.random.default_rng([0, 0, i]))
            for i in range(count)
        ]

    off = TrainConfig(flip=0.0)
    assert all(torch.equal(out["boxes"], sample()["boxes"]) for out in drawn(off))
    flipped = sum(
        not torch.equal(out["boxes"], sample()["boxes"]) for out in drawn(TrainConfig(), 200)
    )
    assert 70 < flipped < 130  # binomial, 200 times one half
    # Multi-scale: the short side from 640 to 800 where the model's is 800, here from 77 to 96.
    shorts = [min(out["image"].shape[1:]) for out in drawn(replace(off, ms=True), 200)]
    assert min(shorts) == 77 and max(shorts) == 96 and len(set(shorts)) == 20
    cropped = sum(
        not torch.equal(out["boxes"], sample()["boxes"])
        for out in drawn(replace(off, crop=0.3), 200)
    )
    assert 40 < cropped < 80


def test_augmenting_a_small_image_costs_little():
    model, train, before = (
        ModelConfig(short_side=128, long_side=128),
        TrainConfig(crop=1.0),
        sample(128, 128),
    )
    spent = []
    for i in range(40):
        start = time.thread_time()
        train_transform(before, model, train, np.random.default_rng([0, 0, i]))
        spent.append(time.thread_time() - start)
    assert min(spent) < 3e-3  # 1.5 ms are aimed at; shape checking in the tests costs some of it
