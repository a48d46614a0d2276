"""Images as users give them: checks, one tensor from any kind of image, batches for a detector."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ..config import FSAFError, ModelConfig
from .images import read_image
from .transforms import padded_size, resize

Source = str | Path | Image.Image | np.ndarray | Tensor  # one image
GIVE_IMAGES = (
    "give a list of tensors (3, H, W), RGB, uint8 or floats in 0..1, not normalized; "
    "Detector.predict takes files and arrays"
)


def readable(x: Tensor) -> bool:
    """Return whether values can be read without waiting for a device, and outside of tracing."""
    tracing = torch.compiler.is_compiling() or isinstance(x, FakeTensor)
    return x.device.type == "cpu" and not tracing


def check_images(images: Sequence[Tensor]) -> None:
    """Raise for anything but a list of images as the detector takes them.

    Args:
        images: (3, H, W) each, RGB, uint8 or floats in 0..1, not normalized.

    Raises:
        FSAFError: "no images were given: ..."; "images[0] is a Path: ..."; "images[0] is (480, 640,
            3) torch.uint8: ..."; "images[0] holds 0..255: give a list of tensors (3, H, W), RGB,
            uint8 or floats in 0..1, not normalized; ..."
    """
    if not isinstance(images, (list, tuple, Tensor)) or not len(images):
        raise FSAFError(f"no images were given: {GIVE_IMAGES}.")
    for index, image in enumerate(images):
        if problem := _image_problem(image):
            raise FSAFError(f"images[{index}] {problem}: {GIVE_IMAGES}.")


def _image_problem(image: Tensor) -> str:
    if not isinstance(image, Tensor):
        return f"is a {type(image).__name__}"
    known = image.dtype == torch.uint8 or image.is_floating_point()
    if image.shape[:-2] != (3,) or not image.numel() or not known:
        return f"is {tuple(image.shape)} {image.dtype}"
    if image.is_floating_point() and readable(image):
        low, high = (value.item() for value in image.detach().aminmax())
        # Resizing overshoots a little. NaN fails every comparison.
        if not -0.5 <= low <= high <= 1.5:
            return f"holds {low:.3g}..{high:.3g}"
    return ""


def image_tensor(source: Source) -> UInt8[Tensor, "3 H W"]:
    """Return an image of any kind as a tensor of its own size.

    Args:
        source: what `read_image` takes, or a tensor as `check_images` takes it.

    Raises:
        FSAFError: as `read_image` and `check_images`.
    """
    if not isinstance(source, Tensor):
        return torch.from_numpy(np.array(read_image(source))).permute(2, 0, 1)
    check_images([source])
    whole = source if source.dtype == torch.uint8 else (source * 255).round().clamp(0, 255)
    return whole.byte().cpu()


def detect_each(
    detect: Callable[[list[Tensor], list[tuple[float, float]]], list[dict[str, Tensor]]],
    sources: Iterable[Source],
    batch_size: int,
    config: ModelConfig,
) -> Iterator[dict[str, Any]]:
    """Yield the detections of each image, in order.

    Args:
        detect: as `Predictor.detect`; called with resized images of equal padded size.
        sources: images of any kind, also from a generator without an end.
        batch_size: number of images that are read at a time.
        config: its sizes and class names count here.

    Raises:
        FSAFError: "batch_size is 0: give at least 1."; as `image_tensor`.
    """
    if batch_size < 1:
        raise FSAFError(f"batch_size is {batch_size}: give at least 1.")
    sources = iter(sources)
    while images := [image_tensor(source) for source in islice(sources, batch_size)]:
        inputs = [resize(image, config.short_side, config.long_side) for image in images]
        scales = [
            (after.shape[2] / before.shape[2], after.shape[1] / before.shape[1])
            for before, after in zip(images, inputs)
        ]
        groups: dict[tuple[int, int], list[int]] = {}
        for place, image in enumerate(inputs):
            size = padded_size(image.shape[1], image.shape[2], config.size_divisor)
            groups.setdefault(size, []).append(place)
        found: dict[int, dict[str, Any]] = {}
        for places in groups.values():
            detected = detect([inputs[at] for at in places], [scales[at] for at in places])
            found |= zip(places, detected)
        for place in range(len(images)):
            names = [config.class_names[label] for label in found[place]["labels"].tolist()]
            yield {**found[place], "names": names}
