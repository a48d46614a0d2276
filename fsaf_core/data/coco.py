"""COCO-format sets as torch datasets: decoded images, boxes in pixels, labels 0..K-1, crowds."""

import mmap
import os
import posixpath
import unicodedata
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TypedDict
from urllib.parse import unquote

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from ..config import FSAFError
from ..utils.files import excerpt
from .coco_index import open_index
from .images import header_size, load_image

# Source: MMDetection 3.3.0, configs/_base_/datasets/coco_detection.py, filter_cfg.
MIN_SIDE = 32  # pixels; training leaves out images with a shorter side
MAX_FAULTY = 0.01  # fraction of a set's images that may be missing or unreadable
CACHE_BYTES = 320 * 2**20  # a set whose decoded images fit into this is decoded only once


class Sample(TypedDict):
    """One image with its annotations. Boxes are x1 y1 x2 y2 in pixels of this image."""

    image: UInt8[Tensor, "3 H W"]
    boxes: Float32[Tensor, "N 4"]
    labels: Int64[Tensor, " N"]  # 0..K-1
    ignored: Float32[Tensor, "M 4"]  # crowds
    image_id: int  # the json's own
    size: tuple[int, int]  # height and width of the image in the file, before any transform


def _key(name: str) -> str:
    """Return a name without its letter case, its Unicode form and its %20 codes."""
    return unicodedata.normalize("NFC", unquote(name)).casefold()


class ImageFolder:
    """The files below a folder, found by the names that a json gives them.

    Each folder is listed once, because a look-up for each file takes minutes on a network disk.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._names = {_key(root.name), _key(root.resolve().name)} - {""}  # of the folder itself
        self._listings: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> str | None:
        """Return the path below the folder of the file that `name` means, or None.

        Where no file has the name itself, backslashes, "..", a path that leads to the folder,
        letter case, Unicode form and codes such as %20 may differ. Nothing outside the folder is
        found.
        """
        if found := self._descend(name):
            return found
        clean = posixpath.normpath(name.replace("\\", "/"))
        parts = clean.split("/")
        below = ("/".join(parts[i:]) for i, p in enumerate(parts, 1) if _key(p) in self._names)
        return next(filter(None, map(self._descend, (clean, *below))), None)

    def size(self, name: str) -> tuple[int, int]:
        """Return width and height of the file that `name` means, or 0, 0 without one."""
        with suppress(FSAFError):
            width, height, _ = header_size(self.root / (self.find(name) or ""))
            return width, height
        return 0, 0

    def _descend(self, name: str) -> str | None:
        """Follow the parts of a name, each written so that it means one entry, to a file."""
        path = ""
        for part in name.split("/"):
            same = self._list(path).get(_key(part), [])
            exact = [entry for entry in same if entry.rstrip("/") == part] or same
            if len(exact) != 1:
                return None
            path += exact[0]
        return None if path.endswith("/") else path

    def _list(self, folder: str) -> dict[str, list[str]]:
        """Return the entries of a folder by their keys. All but files end with a slash."""
        if folder not in self._listings:
            listing = self._listings[folder] = {}
            with suppress(OSError), os.scandir(self.root / folder) as entries:
                for entry in entries:
                    name = entry.name if entry.is_file() else f"{entry.name}/"
                    listing.setdefault(_key(entry.name), []).append(name)
        return self._listings[folder]


def _shared(size: int) -> UInt8[np.ndarray, " size"]:
    """Return zeros in memory that forked workers share, and that no limit of /dev/shm holds for."""
    return np.frombuffer(mmap.mmap(-1, size), np.uint8)


class CocoDataset(Dataset):
    """Images and boxes of a COCO-format json.

    In training, images without any box and images with a side under 32 pixels are left out. A file
    is found as `ImageFolder.find` does; up to 1 % of the files may be missing. A small set is
    decoded once, into memory that forked worker processes share.

    Args:
        json_path: a COCO-format json.
        images: the folder that contains the files it names.
        train: leave out images that training cannot use.

    Raises:
        FSAFError: as `open_index`; "y does not contain 39 of the 40 images of x.json, for example
            y/1.jpg: give ..."; "x.json has no image to train on (...): ..."; and from `[i]` as
            `load_image`, or "x.jpg has 640 x 480 pixels, but the json says ...: correct ...".
    """

    def __init__(self, json_path: Path | str, images: Path | str, train: bool) -> None:
        self.json_path, self.root = Path(json_path), Path(images)
        if not self.root.is_dir():
            raise FSAFError(f"{images} is not a folder: give the folder of {json_path}'s images.")
        folder = ImageFolder(self.root)
        index = self.index = open_index(json_path, folder.size)
        self.renamed: dict[int, str] = {}  # files whose names differ from the json's, by position
        present = self._locate(folder)
        keep = present.copy()
        if train:
            keep &= np.minimum(index.widths, index.heights) >= MIN_SIDE
            keep &= np.diff(index.box_ends) > 0
        self.kept = np.flatnonzero(keep).astype(np.int32)  # the images' positions in the index
        missing = int((~present).sum())
        if missing > MAX_FAULTY * len(index):
            example = f"{images}/{excerpt(index.file_name(int(present.argmin())))}"
            raise FSAFError(
                f"{images} does not contain {missing:,} of the {len(index):,} images of "
                f"{json_path}, for example {example}: give the folder of its files."
            )
        if not len(self.kept):
            raise FSAFError(
                f"{json_path} has no image to train on ({index.summary()}): add images with boxes."
            )
        self.repaired = index.repaired | {"files found under another name": len(self.renamed)}
        unused = f"images not used for training (no box, or under {MIN_SIDE} px)"
        left_out = len(index) - missing - len(self.kept)
        self.counts = index.counts | {"files missing": missing, unused: left_out}
        pixels = 3 * index.widths[self.kept].astype(np.int64) * index.heights[self.kept]
        self._starts = np.concatenate([[0], np.cumsum(pixels)])
        # The images' values, one image after the other, and which images are there.
        self._cache: tuple[np.ndarray, np.ndarray] | None = None
        if self._starts[-1] <= CACHE_BYTES:
            self._cache = _shared(int(self._starts[-1])), _shared(len(self.kept))

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_cache": None}

    def _locate(self, folder: ImageFolder) -> np.ndarray:
        """Note the files' names that differ from the json's; return which files exist, (I,)."""
        names = [self.index.file_name(i) for i in range(len(self.index))]
        found = [folder.find(name) for name in names]
        uses = Counter(path for path, _ in {*zip(found, names)})
        present = self.index.widths > 0
        for i, (name, path) in enumerate(zip(names, found)):
            # A file that two names would mean belongs to neither, except to its own name.
            if path is None or (path != name and uses[path] > 1):
                present[i] = False
            elif path != name:
                self.renamed[i] = path
        return present

    @property
    def instances(self) -> int:
        """Return the number of boxes on the images of this set, crowds not counted."""
        places = np.repeat(np.arange(len(self.index)), np.diff(self.index.box_ends))
        return int((np.isin(places, self.kept) & ~self.index.iscrowd).sum())

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
        k = int(self.kept[i])
        return self.root / self.renamed.get(k, self.index.file_name(k))

    def summary(self) -> str:
        """Return one line on what was read, what was left out, and why."""
        return self.index.summary(self.repaired | self.counts)

    def check_size(self, i: int, size: tuple[int, int]) -> None:
        """Raise if the width and height of the i-th image's file are not the json's.

        Raises:
            FSAFError: "x.jpg has 640 x 480 pixels, but the json says 64 x 48: correct ..."
        """
        k = int(self.kept[i])
        stated = int(self.index.widths[k]), int(self.index.heights[k])
        if size != stated:
            turned = " after its EXIF rotation" if size == stated[::-1] else ""
            raise FSAFError(
                f"{self.path(i)} has {size[0]} x {size[1]} pixels{turned}, but the json says "
                f"{stated[0]} x {stated[1]}: correct the json or the file."
            )

    def _image(self, i: int) -> UInt8[Tensor, "3 H W"]:
        if self._cache is None:
            return torch.from_numpy(self._decode(i))
        values, is_cached = self._cache
        k = int(self.kept[i])
        shape = 3, int(self.index.heights[k]), int(self.index.widths[k])
        image = values[self._starts[i] : self._starts[i + 1]].reshape(shape)
        if not is_cached[i]:
            image[:] = self._decode(i)
            is_cached[i] = 1
        return torch.tensor(image)

    def _decode(self, i: int) -> UInt8[np.ndarray, "3 H W"]:
        picture = load_image(self.path(i))
        self.check_size(i, picture.size)
        return np.asarray(picture).transpose(2, 0, 1).copy()

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
