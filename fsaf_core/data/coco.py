"""Any COCO-format set as a torch dataset: images decoded with PIL, boxes in pixels, labels 0..K-1, crowds apart."""

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

MIN_SIDE = 32  # pixels; training leaves out images with a shorter side, as the reference does
CACHE_BYTES = 256 * 2**20  # sets whose decoded images need no more than this are decoded once


class Sample(TypedDict):
    """One image and what is known of it. Boxes are x1 y1 x2 y2 in pixels of the image as it is here."""

    image: UInt8[Tensor, "3 H W"]
    boxes: Float32[Tensor, "N 4"]
    labels: Int64[Tensor, " N"]  # 0..K-1
    ignored: Float32[Tensor, "M 4"]  # crowds
    image_id: int  # the json's own
    size: tuple[int, int]  # height and width of the file's image, whatever was done to it since


def _files(folder: Path) -> set[str]:
    """Names of the files in a folder, links to files too; no pipes, no devices."""
    try:
        return {entry.name for entry in os.scandir(folder) if entry.is_file()}
    except OSError:
        return set()


class CocoDataset(Dataset):
    """Images and boxes of a COCO-format json.

    In training, images without any box and images with a side under 32 px are left out. Small sets are decoded once: their images
    are kept in memory that processes started by fork share.

    Args:
        json_path: a COCO-format json.
        images: the folder that its file names start from.
        train: leave out what training cannot use.

    Raises:
        FSAFError: as `open_index`; "none of the 5000 images of x.json lies in y: ..."; in `[i]` as `load_image`, or
            "x.jpg: 640 x 480 pixels, but the json says ...".
    """

    def __init__(self, json_path: Path | str, images: Path | str, train: bool) -> None:
        self.index: CocoIndex = open_index(json_path)
        self.json_path, self.root = Path(json_path), Path(images)
        if not self.root.is_dir():
            raise FSAFError(
                f"{images}: no such folder: give the folder of the images of {json_path}."
            )
        index = self.index
        there = self._present()
        keep = there.copy()
        if train:
            keep &= (np.minimum(index.widths, index.heights) >= MIN_SIDE) & (
                np.diff(index.box_ends) > 0
            )
        self.kept = np.flatnonzero(keep).astype(
            np.int32
        )  # where the dataset's images lie in the index
        self.missing = int((~there).sum())
        self.left_out = len(index) - self.missing - len(self.kept)
        if not there.any():
            raise FSAFError(
                f"none of the {len(index)} images of {json_path} lies in {images}: give the folder of its files."
            )
        if not len(self.kept):
            raise FSAFError(
                f"{json_path}: no image is left to train on ({index.summary()}): take some with boxes."
            )
        pixels = 3 * index.widths[self.kept].astype(np.int64) * index.heights[self.kept]
        self._starts = np.concatenate([[0], np.cumsum(pixels)])
        self._cache = self._cached = np.zeros(0, np.uint8)
        if self._starts[-1] <= CACHE_BYTES:
            # Anonymous shared memory: workers started by fork fill one cache together; containers' small /dev/shm is not touched.
            self._cache = np.frombuffer(mmap.mmap(-1, int(self._starts[-1])), np.uint8)
            self._cached = np.frombuffer(mmap.mmap(-1, len(self.kept)), np.uint8)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_cache": np.zeros(0, np.uint8), "_cached": np.zeros(0, np.uint8)}

    def _present(self) -> np.ndarray:
        """(I,) whether each image's file exists; one listing a folder, as a question a file takes minutes on a network disk."""
        folders: dict[str, set[str]] = {}
        there = np.ones(len(self.index), bool)
        for i in range(len(self.index)):
            folder, _, name = self.index.file_name(i).rpartition("/")
            if folder not in folders:
                folders[folder] = _files(self.root / folder)
            there[i] = name in folders[folder]
        return there

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names in ascending order of their category ids."""
        return self.index.class_names

    @property
    def wide(self) -> np.ndarray:
        """(len,) bool: whether each image is at least as wide as high; batches are grouped by it."""
        return self.index.widths[self.kept] >= self.index.heights[self.kept]

    def path(self, i: int) -> Path:
        """The i-th image's file."""
        return self.root / self.index.file_name(int(self.kept[i]))

    def summary(self) -> str:
        """One line on what was read, what was left out, and why."""
        said = [self.index.summary()]
        said += [f"{self.missing:,} files missing"] if self.missing else []
        said += (
            [f"{self.left_out:,} images not used for training (no box, or under {MIN_SIDE} px)"]
            if self.left_out
            else []
        )
        return ", ".join(said)

    def _image(self, i: int) -> UInt8[Tensor, "3 H W"]:
        k = int(self.kept[i])
        w, h = int(self.index.widths[k]), int(self.index.heights[k])
        place = (
            self._cache[self._starts[i] : self._starts[i + 1]].reshape(3, h, w)
            if len(self._cache)
            else None
        )
        if place is not None and self._cached[i]:
            return torch.tensor(place)
        picture = load_image(self.path(i))
        if picture.size != (w, h):
            real = f"{picture.width} x {picture.height}"
            raise FSAFError(
                f"{self.path(i)}: {real} pixels, but the json says {w} x {h}: mend the one or the other."
            )
        pixels = np.asarray(picture).transpose(2, 0, 1)
        if place is not None:
            place[:] = pixels
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
