"""Images as users give them: every kind becomes a tensor, others are named, batches keep the order."""

from itertools import count, islice

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import tv_tensors

from fsaf_core.config import FSAFError, ModelConfig
from fsaf_core.data.sources import check_images, detect_each, image_tensor

TWO = [
    torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    for size in ((60, 96), (50, 61))
]
CONFIG = ModelConfig(class_names=("a", "b"), short_side=64, long_side=128)


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


@pytest.mark.parametrize("wrong", [lambda it: it * 255, lambda it: it * 4 - 2])
def test_the_values_of_every_subclass_of_a_tensor_are_checked(wrong):
    check_images([tv_tensors.Image(TWO[0]), torch.nn.Parameter(TWO[1])])
    for kind in (tv_tensors.Image, torch.nn.Parameter):
        with pytest.raises(FSAFError, match=r"images\[0\] holds .*not normalized"):
            check_images([kind(wrong(TWO[0]))])


def test_a_file_a_picture_an_array_and_a_tensor_are_one_image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    want = torch.from_numpy(pixels).permute(2, 0, 1)
    for source in (tmp_path / "a.png", Image.fromarray(pixels), pixels, want, want / 255):
        assert torch.equal(image_tensor(source), want)


def recorded(calls):
    """Return a `detect` that finds one box an image, whose score is the image's first value."""

    def detect(images, scales):
        calls.append([tuple(image.shape[1:]) for image in images])
        return [
            {"boxes": torch.tensor([[*scale, 9.0, 9.0]]), "scores": image[0, 0, :1] / 255, "labels": torch.tensor([1])}
            for image, scale in zip(images, scales, strict=True)
        ]  # fmt: skip

    return detect


def flat(number, height=64, width=64):
    """An image whose every value is `number`."""
    return np.full((height, width, 3), number, np.uint8)


def test_images_of_equal_padded_size_share_a_call_and_the_order_stays():
    calls = []
    # Resized to a short side of 64: padded to 64 x 64, 64 x 128, 64 x 64, 64 x 96, 64 x 64.
    sources = [flat(0), flat(1, 64, 128), flat(2, 32, 32), flat(3, 128, 140), flat(4)]
    found = list(detect_each(recorded(calls), sources, 4, CONFIG))
    assert [round(255 * one["scores"].item()) for one in found] == [0, 1, 2, 3, 4]
    assert calls == [[(64, 64), (64, 64)], [(64, 128)], [(64, 70)], [(64, 64)]]
    assert found[2]["boxes"].tolist() == [[2, 2, 9, 9]] and found[0]["names"] == ["b"]


@pytest.mark.parametrize("batch_size", [1, 3])
def test_frames_without_an_end_are_taken_a_batch_at_a_time(batch_size):
    taken = []

    def frames():
        for number in count():
            taken.append(number)
            yield flat(number)

    found = detect_each(recorded([]), frames(), batch_size, CONFIG)
    assert not taken
    for number, one in enumerate(islice(found, 6)):
        assert round(255 * one["scores"].item()) == number
        assert len(taken) == (number // batch_size + 1) * batch_size
