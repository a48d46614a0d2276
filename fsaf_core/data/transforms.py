"""Transforms of an image and its boxes: resize, multi-scale, flip, zoom and crop.

All work on uint8 images and on boxes in pixels. The detector normalizes and pads. Random numbers
come from a generator that the caller derives from (seed, epoch, image), so the result for an image
does not depend on the images loaded before it.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxFormat

from ..config import ModelConfig, TrainConfig
from .coco import Sample

ZOOM = (0.6, 1.6)  # limits of the magnification, which is log-uniform
MIN_VISIBLE = 0.4  # fraction of a box's area that must remain inside the crop
MULTI_SCALE = 0.8  # smallest short side of multi-scale training: 640 of 800


def resized_size(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """Return the largest height and width that fit into the limits at the same aspect ratio.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        short: limit of the shorter side, pixels.
        long: limit of the longer side, pixels.

    Source: MMDetection 3.3.0, mmdet/datasets/transforms/transforms.py, Resize: the factor is
        min(long / max(h, w), short / min(h, w)) and the size is int(x * factor + 0.5).
    Differs: a side that would be rounded to 0 becomes 1 pixel. MMDetection fails there.
    """
    factor = min(long / max(height, width), short / min(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def padded_size(height: int, width: int, step: int) -> tuple[int, int]:
    """Return height and width rounded up to multiples of `step`, in pixels."""
    return -(-height // step) * step, -(-width // step) * step


def bilinear(image: UInt8[Tensor, "3 H W"], height: int, width: int) -> UInt8[Tensor, "3 h w"]:
    """Return the image at another size, interpolated bilinearly without antialiasing.

    Source: MMDetection resizes with OpenCV, whose integer arithmetic gives 7 to 13 % of the values
        one gray level less than rounded floating-point arithmetic.
    """
    # Plane by plane, because transposing to OpenCV's order of axes takes longer than the resize.
    size, method = (width, height), cv2.INTER_LINEAR
    planes = [cv2.resize(plane, size, interpolation=method) for plane in image.numpy()]
    return torch.from_numpy(np.stack(planes))


def resize(
    image: UInt8[Tensor, "3 H W"], short: int = 800, long: int = 1333
) -> UInt8[Tensor, "3 h w"]:
    """Return the image resized to `resized_size` by `bilinear`.

    Differs: torchvision antialiases by default. The values of a large photo that is made smaller
        then differ by up to 91 gray levels.
    """
    size = resized_size(image.shape[1], image.shape[2], short, long)
    return image if size == tuple(image.shape[1:]) else bilinear(image, *size)


def _scaled(sample: Sample, short: int, long: int) -> Sample:
    """Return the sample resized. Each axis of the boxes is scaled by its own factor."""
    image = resize(sample["image"], short, long)
    before, after = sample["image"].shape[1:], image.shape[1:]
    boxes, _ = functional.resize_bounding_boxes(sample["boxes"], before, after)
    ignored, _ = functional.resize_bounding_boxes(sample["ignored"], before, after)
    return {**sample, "image": image, "boxes": boxes, "ignored": ignored}


def _mirrored(boxes: Float32[Tensor, "N 4"], size: torch.Size) -> Float32[Tensor, "N 4"]:
    return functional.horizontal_flip_bounding_boxes(boxes, BoundingBoxFormat.XYXY, size)


def flip(sample: Sample) -> Sample:
    """Return the sample mirrored left to right."""
    size = sample["image"].shape[1:]
    image = functional.horizontal_flip_image(sample["image"])
    boxes, ignored = _mirrored(sample["boxes"], size), _mirrored(sample["ignored"], size)
    return {**sample, "image": image, "boxes": boxes, "ignored": ignored}


def zoom_crop(sample: Sample, fill: tuple[float, float, float], rng: np.random.Generator) -> Sample:
    """Return the part of the sample inside a random window, scaled to the size of the image.

    A window larger than the image (zooming out) shows `fill` around the image. Boxes are clipped
    to the window. A box is dropped if its center lies outside, if less than 40 % of its area
    remains, or if a side is shorter than 2 pixels. A window without any box is drawn again, up to
    ten times; then the sample is returned unchanged.

    Args:
        sample: image and boxes.
        fill: RGB, 0..1, of the pixels outside the image.
        rng: source of the random numbers.
    """
    image, boxes = sample["image"], sample["boxes"]
    height, width = image.shape[1:]
    limit = torch.tensor([width, height, width, height], dtype=torch.float32)
    for _ in range(10):
        zoom = float(np.exp(rng.uniform(*np.log(ZOOM))))
        w, h = max(1, round(width / zoom)), max(1, round(height / zoom))
        x, y = (
            int(rng.integers(min(0, room), max(0, room) + 1)) for room in (width - w, height - h)
        )
        # torchvision's crop of boxes would clip them first, and their whole area would be lost.
        shift, scale = torch.tensor([x, y, x, y]), torch.tensor([width / w, height / h]).repeat(2)
        moved = (boxes - shift) * scale
        clipped = moved.clamp(min=torch.zeros(4), max=limit)
        center = (moved[:, :2] + moved[:, 2:]) / 2
        sides, visible = moved[:, 2:] - moved[:, :2], clipped[:, 2:] - clipped[:, :2]
        inside = (
            ((center > 0) & (center < limit[:2])).all(1)
            & (visible.prod(1) >= MIN_VISIBLE * sides.prod(1))
            & (visible >= 2).all(1)
        )
        if inside.any() or not len(boxes):
            break
    else:
        return sample
    # A negative padding crops, so one call handles windows that are larger or smaller.
    window = functional.pad_image(
        image,
        [-x, -y, x + w - width, y + h - height],
        fill=torch.tensor(fill).mul(255).round().tolist(),
    )
    ignored = ((sample["ignored"] - shift) * scale).clamp(min=torch.zeros(4), max=limit)
    return {
        **sample,
        "image": bilinear(window, height, width),
        "boxes": clipped[inside],
        "labels": sample["labels"][inside],
        "ignored": ignored[(ignored[:, 2:] > ignored[:, :2]).all(1)],
    }


def train_transform(
    sample: Sample, model: ModelConfig, train: TrainConfig, rng: np.random.Generator
) -> Sample:
    """Return the sample after random zoom and crop, resize, and random flip.

    Args:
        sample: image and boxes as the dataset returns them.
        model: gives `short_side`, `long_side`, and the mean color that fills the outside.
        train: gives the probabilities `crop` and `flip`. With `ms`, the short side is random.
        rng: derived from (seed, epoch, image).
    """
    if rng.random() < train.crop:
        sample = zoom_crop(sample, model.image_mean, rng)
    short = model.short_side
    if train.ms:
        short = int(rng.integers(round(MULTI_SCALE * short), short + 1))
    sample = _scaled(sample, short, model.long_side)
    return flip(sample) if rng.random() < train.flip else sample


def eval_transform(sample: Sample, model: ModelConfig) -> Sample:
    """Return the sample after MMDetection's resize, without augmentation."""
    return _scaled(sample, model.short_side, model.long_side)
