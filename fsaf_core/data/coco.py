"""COCO-format sets as torch datasets: decoded images, boxes in pixels, labels 0..K-1, crowds."""

import mmap
import os
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from ..config import FSAFError
from .coco_index import CocoIndex, open_index
from .images import load_image

# Source: MMDetection 3.3.0, configs/_base_/datasets/coco_detection.py, filter_cfg.
MIN_SIDE = 32  # pixels; training leaves out images with a shorter side
CACHE_BYTES = 256 * 2**20  # a set whose decoded images fit into this is decoded only once


class Sample(TypedDict):
    """One image with its annotations. Boxes are x1 y1 x2 y2 in pixels of this image."""

    image: UInt8[Tensor, "3 H W"]
    boxes: Float32[Tensor, "N 4"]
    labels: Int64[Tensor, " N"]  # 0..K-1
    ignored: Float32[Tensor, "M 4"]  # crowds
    image_id: int  # the json's own
    size: tuple[int, int]  # height and width of the image in the file, before any transform


def _files(folder: Path) -> set[str]:
    """Return the names of the files in a folder, with links to files, without pipes and devices."""
    try:
        return {entry.name for entry in os.scandir(folder) if entry.is_file()}
    except OSError:
        return set()


class CocoDataset(Dataset):
    """Images and boxes of a COCO-format json.

    In training, images without any box and images with a side under 32 pixels are left out. A
    small set is decoded once, into memory that forked worker processes share.

    Args:
        json_path: a COCO-format json.
        images: the folder that contains the files it names.
        train: leave out images that training cannot use.

    Raises:
        FSAFError: as `open_index`; "y does not contain any of the 5000 images of x.json: give
            ..."; and from `[i]` as `load_image`, or "x.jpg has 640 x 480 pixels, but the json says
            ...: correct ...".
    """

    def __init__(self, json_path: Path | str, images: Path | str, train: bool) -> None:
        self.index: CocoIndex = open_index(json_path)
        self.json_path, self.root = Path(json_path), Path(images)
        if not self.root.is_dir():
            raise FSAFError(f"{images} is not a folder: give the folder of {json_path}'s images.")
        index = self.index
        present = self._present()
        keep = present.copy()
        if train:
            keep &= np.minimum(index.widths, index.heights) >= MIN_SIDE
            keep &= np.diff(index.box_ends) > 0
        self.kept = np.flatnonzero(keep).astype(np.int32)  # the images' positions in the index
        self.missing = int((~present).sum())
        self.left_out = len(index) - self.missing - len(self.kept)
        if not present.any():
            raise FSAFError(
                f"{images} does not contain any of the {len(index)} images of {json_path}: "
                "give the folder of its files."
            )
        if not len(self.kept):
            raise FSAFError(
                f"{json_path} has no image to train on ({index.summary()}): add images with boxes."
            )
        pixels = 3 * index.widths[self.kept].astype(np.int64) * index.heights[self.kept]
        self._starts = np.concatenate([[0], np.cumsum(pixels)])
        self._cache = self._cached = np.zeros(0, np.uint8)
        if self._starts[-1] <= CACHE_BYTES:
            # Forked workers fill one cache together in anonymous shared memory. It does not count
            # against /dev/shm, which is small in containers.
            self._cache = np.frombuffer(mmap.mmap(-1, int(self._starts[-1])), np.uint8)
            self._cached = np.frombuffer(mmap.mmap(-1, len(self.kept)), np.uint8)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_cache": np.zeros(0, np.uint8), "_cached": np.zeros(0, np.uint8)}

    def _present(self) -> np.ndarray:
        """Return whether each image's file exists, (I,).

        Each folder is listed once, because a look-up for each file takes minutes on a network disk.
        """
        folders: dict[str, set[str]] = {}
        present = np.ones(len(self.index), bool)
        for i in range(len(self.index)):
            folder, _, name = self.index.file_name(i).rpartition("/")
            if folder not in folders:
                folders[folder] = _files(self.root / folder)
            present[i] = name in folders[folder]
        return present

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the K class names in ascending order of their category ids."""
        return self.index.class_names

    @property
    def wide(self) -> np.ndarray:
        """Return whether each image is at least as wide as high, (len,) bool."""
        return self.index.widths[self.kept] >= self.index.heights[self.kept]

    def path(self, i: int) -> Path:
        """Return the path of the i-th image."""
        return self.root / self.index.file_name(int(self.kept[i]))

    def summary(self) -> str:
        """Return one line on what was read, what was left out, and why."""
        parts = [self.index.summary()]
        if self.missing:
            parts.append(f"{self.missing:,} files missing")
        if self.left_out:
            unused = f"{self.left_out:,} images not used for training"
            parts.append(f"{unused} (no box, or under {MIN_SIDE} px)")
        return ", ".join(parts)

    def _image(self, i: int) -> UInt8[Tensor, "3 H W"]:
        k = int(self.kept[i])
        w, h = int(self.index.widths[k]), int(self.index.heights[k])
        cached = None
        if len(self._cache):
            cached = self._cache[self._starts[i] : self._starts[i + 1]].reshape(3, h, w)
            if self._cached[i]:
                return torch.tensor(cached)
        picture = load_image(self.path(i))
        if picture.size != (w, h):
            raise FSAFError(
                f"{self.path(i)} has {picture.width} x {picture.height} pixels, but the json says "
                f"{w} x {h}: correct the json or the file."
            )
        pixels = np.asarray(picture).transpose(2, 0, 1)
        if cached is not None:
            cached[:] = pixels
            self._cached[i] = 1
        return torch.tensor(np.ascontiguousarray(pixels))

    def __getitem__(self, i: int) -> Sample:
        index, k = self.index, int(self.kept[i])
        image = self._image(i)
        at = index.annotations(k)
        boxes, crowd = torch.tensor(index.boxes[at]), torch.tensor(index.iscrowd[at])
        return {
            "image": image,
            "boxes": boxes[~crowd],
            "labels": torch.tensor(index.labels[at], dtype=torch.int64)[~crowd],
            "ignored": boxes[crowd],
            "image_id": int(index.image_ids[k]),
            "size": (image.shape[1], image.shape[2]),
        }
