"""What detects has the same prediction: files, arrays and video frames to detections."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..config import Amp, ModelConfig
from ..data.sources import Source, detect_each
from ..utils.distributed import autocast


class Predictor(nn.Module):
    """A base class of `Detector`. A subclass sets `config`, `category_ids`, `device`, `detect`."""

    config: ModelConfig
    category_ids: tuple[int, ...]

    @property
    def device(self) -> torch.device:
        """Return the device that it computes on."""
        raise NotImplementedError

    def detect(
        self, images: Sequence[Tensor], scales: Sequence[tuple[float, float]] | None = None
    ) -> list[dict[str, Tensor]]:
        """Return the detections of each image, best first.

        Args:
            images: (3, h, w) each, RGB, uint8 or float in 0..1, not normalized.
            scales: factors (x, y) by which each image was resized. Boxes come back in the pixels
                before the resize; None: in the image's pixels.

        Returns:
            For each image `boxes` (D, 4) x1 y1 x2 y2, `scores` (D,) 0..1, `labels` (D,) 0..K-1.
        """
        raise NotImplementedError

    def predict(self, source: Source | list | tuple, batch_size: int = 4, amp: Amp = "none") -> Any:
        """Return the detections of an image, or of each image of a list.

        The detector's mode does not count and is not changed, so threads may share a detector.

        Args:
            source: an image file, a PIL image, a uint8 RGB array (H, W, 3), a tensor (3, H, W) as
                in `detect`, or a list of these. OpenCV's arrays are BGR: give `array[..., ::-1]`.
            batch_size: number of images that are read at a time. Those of equal padded size share
                a forward pass.
            amp: number format of the network: none (float32), bf16 or fp16. It is fast only on a
                device that computes in half precision, and moves scores by about 0.01.

        Returns:
            A dict, or a list of them: `boxes` (D, 4) x1 y1 x2 y2 in the image's own pixels (EXIF
            orientation applied), `scores` (D,), `labels` (D,) and class `names`, best first.

        Raises:
            FSAFError: as `detect_each`.
        """
        if isinstance(source, (list, tuple)):
            return [*self.stream(source, batch_size, amp)]
        return next(self.stream([source], 1, amp))

    def stream(
        self, frames: Iterable[Source], batch_size: int = 1, amp: Amp = "none"
    ) -> Iterator[dict[str, Any]]:
        """Return an iterator over the detections of each image, such as the frames of a video.

        They come in order. At most `batch_size` frames are taken ahead.

        Args:
            frames: images as in `predict`, also from a generator without an end.
            batch_size, amp: as in `predict`.
        """
        if self.training:  # detect with a copy in evaluation mode, which shares all tensors
            tensors = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
            return copy.deepcopy(self, tensors).eval().stream(frames, batch_size, amp)

        def detect(
            images: list[Tensor], scales: list[tuple[float, float]]
        ) -> list[dict[str, Tensor]]:
            with torch.no_grad(), autocast(self.device, amp):
                return self.detect(images, scales)

        return detect_each(detect, frames, batch_size, self.config)
