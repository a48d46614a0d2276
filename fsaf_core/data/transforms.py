"""From a photograph to the network's size: the reference's resize, flips, multi-scale, and the tiny preset's zoom and crop.

All work on uint8 images and boxes in their pixels; normalising and padding are the detector's. Chance comes from a generator that
the caller derives from (seed, epoch, image), so that what happens to an image does not depend on what was loaded before it.
"""

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from ..config import ModelConfig, TrainConfig
from .coco import Sample

ZOOM = (0.6, 1.6)  # the crop's magnification is log-uniform in here
MIN_VISIBLE = 0.4  # of a box's area; with less of it left inside the crop it is left out
MULTI_SCALE = 0.8  # of the short side: 640 of 800


def resized_size(height: int, width: int, short: int, long: int) -> tuple[int, int]:
    """Height and width after resizing: as large as fits, the short side at most `short`, the long one at most `long`.

    Source: the reference, factor = min(long / max(h, w), short / min(h, w)), size = int(x * factor + 0.5).
    Differs: a side of a long thin image that would vanish keeps 1 pixel; the reference fails there.
    """
    factor = min(long / max(height, width), short / min(height, width))
    return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))


def _taps(before: int, after: int, ends: bool) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel of a resized row the two pixels that it lies between, (2, after), and their weights in 1/2048.

    Beyond the centres of the outermost pixels these count alone (`ends`), or twice with their shares.
    """
    at = ((np.arange(after) + 0.5) * (1 / (after / before)) - 0.5).astype(np.float32)
    low = np.floor(at)
    weights = np.rint(np.stack([1 - (at - low), at - low]) * np.float32(2048)).astype(np.int32)
    if ends:
        weights[:, low < 0], weights[:, low + 1 >= before] = [[0], [2048]], [[2048], [0]]
    return np.stack([low, low + 1]).astype(np.int64).clip(0, before - 1), weights


def bilinear(image: UInt8[Tensor, "3 H W"], height: int, width: int) -> UInt8[Tensor, "3 h w"]:
    """The image at another size: bilinear **without antialiasing**, to the bit as `cv2.resize(..., INTER_LINEAR)` does it.

    That is in whole numbers: weights are rounded to 1/2048, sums cut off to 1/128 and 1/4 of a grey level on the way. Floats
    rounded at the end are above it by one grey level in 7 to 13 % of the values.
    """
    columns, across = _taps(image.shape[2], width, ends=True)
    rows, down = _taps(image.shape[1], height, ends=False)
    pixels, step = (
        image.numpy(),
        max(1, 2**14 // width),
    )  # lines at a time: what is worked on stays in the processor's cache
    lines, out = (
        np.empty((3, pixels.shape[1], width), np.int16),
        np.empty((3, height, width), np.uint8),
    )
    for y in range(0, pixels.shape[1], step):
        left, right = (
            np.take(pixels[:, y : y + step], columns[side], 2) * across[side] for side in (0, 1)
        )
        lines[:, y : y + step] = (left + right) >> 4
    for y in range(0, height, step):
        above, below = (
            (lines[:, rows[side, y : y + step]] * down[side, y : y + step, None]) >> 16
            for side in (0, 1)
        )
        out[:, y : y + step] = (above + below + 2) >> 2
    return torch.from_numpy(out)


def resize(
    image: UInt8[Tensor, "3 H W"], short: int = 800, long: int = 1333
) -> UInt8[Tensor, "3 h w"]:
    """The image at `resized_size`, `bilinear`.

    Differs: torchvision's default antialiases, which is off by up to 91 grey levels where a large photo is made smaller.
    """
    size = resized_size(image.shape[1], image.shape[2], short, long)
    return image if size == tuple(image.shape[1:]) else bilinear(image, *size)


def _scaled(sample: Sample, short: int, long: int) -> Sample:
    """The sample resized, boxes scaled by each axis's own factor."""
    height, width = sample["image"].shape[1:]
    image = resize(sample["image"], short, long)
    scale = torch.tensor([image.shape[2] / width, image.shape[1] / height]).repeat(2)
    return {
        **sample,
        "image": image,
        "boxes": sample["boxes"] * scale,
        "ignored": sample["ignored"] * scale,
    }


def _mirrored(boxes: Float32[Tensor, "N 4"], width: int) -> Float32[Tensor, "N 4"]:
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def flip(sample: Sample) -> Sample:
    """The sample mirrored left to right."""
    image, width = sample["image"], sample["image"].shape[2]
    boxes, ignored = _mirrored(sample["boxes"], width), _mirrored(sample["ignored"], width)
    return {**sample, "image": image.flip(2), "boxes": boxes, "ignored": ignored}


def zoom_crop(sample: Sample, fill: tuple[float, float, float], rng: np.random.Generator) -> Sample:
    """The sample seen through a random window, its image of the same size as before.

    A window larger than the image (zooming out) shows `fill` around it. Boxes are cut at the window; those whose centre is
    outside or of which less than 40 % is left are dropped. A window without any box is drawn again.

    Args:
        sample: image and boxes.
        fill: RGB, 0..1, of what lies outside the image.
        rng: the source of chance.
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
        shift, scale = torch.tensor([x, y, x, y]), torch.tensor([width / w, height / h]).repeat(2)
        moved = (boxes - shift) * scale
        cut = moved.clamp(min=torch.zeros(4), max=limit)
        centre, sides, left = (
            (moved[:, :2] + moved[:, 2:]) / 2,
            moved[:, 2:] - moved[:, :2],
            cut[:, 2:] - cut[:, :2],
        )
        inside = (
            ((centre > 0) & (centre < limit[:2])).all(1)
            & (left.prod(1) >= MIN_VISIBLE * sides.prod(1))
            & (left >= 2).all(1)
        )
        if inside.any() or not len(boxes):
            break
    else:
        return sample
    window = torch.tensor(fill).mul(255).round().to(torch.uint8)[:, None, None].repeat(1, h, w)
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    window[:, y1 - y : y2 - y, x1 - x : x2 - x] = image[:, y1:y2, x1:x2]
    ignored = ((sample["ignored"] - shift) * scale).clamp(min=torch.zeros(4), max=limit)
    ignored = ignored[(ignored[:, 2:] > ignored[:, :2]).all(1)]
    kept = {"boxes": cut[inside], "labels": sample["labels"][inside], "ignored": ignored}
    return {**sample, "image": bilinear(window, height, width), **kept}  # type: ignore[typeddict-item]


def train_transform(
    sample: Sample, model: ModelConfig, train: TrainConfig, rng: np.random.Generator
) -> Sample:
    """Zoom and crop, resize (to a random short side if `train.ms`), flip: each by chance, as the recipe says.

    Args:
        sample: image and boxes as the dataset gives them.
        model: `short_side`, `long_side`, and the mean that fills what lies outside.
        train: `crop` and `flip` are probabilities; `ms`.
        rng: derived from (seed, epoch, image).
    """
    if rng.random() < train.crop:
        sample = zoom_crop(sample, model.image_mean, rng)
    short = (
        int(rng.integers(round(MULTI_SCALE * model.short_side), model.short_side + 1))
        if train.ms
        else model.short_side
    )
    sample = _scaled(sample, short, model.long_side)
    return flip(sample) if rng.random() < train.flip else sample


def eval_transform(sample: Sample, model: ModelConfig) -> Sample:
    """The reference's resize and nothing else."""
    return _scaled(sample, model.short_side, model.long_side)
