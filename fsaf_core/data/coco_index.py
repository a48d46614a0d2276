"""A COCO-format json as flat arrays: parsed once, stored, and memory-mapped by all workers."""

import hashlib
import json
import os
import re
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..config import FSAFError
from ..utils.files import excerpt

VERSION = 3  # of the arrays' layout; an index of another version is rebuilt
MAX_SIDE = 2**20  # pixels of an image
BEYOND = 1e12  # every valid coordinate and area is smaller
# Names that lead out of their folder on some operating system.
OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")


@dataclass(frozen=True, eq=False)
class CocoIndex:
    """A COCO json as flat arrays.

    It holds `I` images in the json's order, the `A` usable annotations grouped by image, and `K`
    categories.
    """

    image_ids: Int64[np.ndarray, " I"]
    widths: Int32[np.ndarray, " I"]
    heights: Int32[np.ndarray, " I"]
    names: UInt8[np.ndarray, " bytes"]  # all file names, one after the other
    name_ends: Int64[np.ndarray, " I+1"]
    box_ends: Int64[np.ndarray, " I+1"]  # image i has the annotations box_ends[i] : box_ends[i+1]
    boxes: Float32[np.ndarray, "A 4"]  # x1 y1 x2 y2, pixels, clipped to the image
    labels: Int32[np.ndarray, " A"]  # 0..K-1, by ascending category id
    iscrowd: Bool[np.ndarray, " A"]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    counts: dict[str, int]  # of entries that are unusual or were dropped
    stamp: tuple[int, int] = (0, 0)  # the json's size and mtime_ns
    sha256: str = ""
    file: Path | None = None  # where the index is stored

    def __reduce__(self):  # a spawned worker maps the same file instead of receiving a copy
        return super().__reduce__() if self.file is None else (_load, (self.file,))

    def __len__(self) -> int:
        return len(self.image_ids)

    def file_name(self, i: int) -> str:
        """Return the i-th image's name below the image folder."""
        return self.names[self.name_ends[i] : self.name_ends[i + 1]].tobytes().decode()

    def annotations(self, i: int) -> slice:
        """Return the slice of `boxes`, `labels` and `iscrowd` that belongs to the i-th image."""
        return slice(int(self.box_ends[i]), int(self.box_ends[i + 1]))

    def summary(self) -> str:
        """Return one line on what was read and what was dropped."""
        read = f"{len(self):,} images, {len(self.boxes):,} boxes of {len(self.class_names)} classes"
        return ", ".join([read, *(f"{n:,} {what}" for what, n in self.counts.items() if n)])


def _without_outline(entry: dict) -> dict:
    """Drop the segmentation of a json object, which is nine tenths of COCO's text."""
    entry.pop("segmentation", None)
    return entry


def _unreadable(path: Path | str, reason: object) -> FSAFError:
    return FSAFError(f"{path} cannot be read ({reason}): give the path of a COCO-format json.")


def read_json(
    path: Path,
    take_image: Callable[[dict], None],
    take_category: Callable[[dict], None],
    take_annotation: Callable[[dict], None],
) -> None:
    """Read a COCO json and pass its images, then its categories, then its annotations on.

    Segmentations are left out. A json may lack annotations.

    Args:
        path: a COCO-format json.
        take_image: is called with each entry of `images`.
        take_category: is called with each entry of `categories`.
        take_annotation: is called with each entry of `annotations`.

    Raises:
        FSAFError: "x.json cannot be read (No such file or directory): give ..."; "x.json is
            malformed, Expecting value at line 1, column 1: write ..."; "x.json is not a COCO json,
            it lists no images: give ..."; "x.json: an entry of 'images' has no 'width': correct
            ...".
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=_without_outline)
    except RecursionError:
        raise FSAFError(
            f"{path} is malformed, its lists are nested too deeply: write or download it again."
        ) from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise FSAFError(f"{path} is malformed, {where}: write or download it again.") from None
    except OSError as error:
        raise _unreadable(path, error.strerror) from None
    except ValueError as error:  # not UTF-8, or a number of thousands of digits
        raise _unreadable(path, error) from None
    takers = {"images": take_image, "categories": take_category, "annotations": take_annotation}
    for key, take in takers.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not entries and key != "annotations":
            raise FSAFError(
                f"{path} is not a COCO json, it lists no {key}: give a json in COCO's format."
            )
        entry = entries
        try:
            for entry in entries or ():
                take(entry)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            lacks = isinstance(error, KeyError)
            what = f"has no {excerpt(error)}" if lacks else f"cannot be used ({excerpt(error)})"
            raise FSAFError(
                f"{path}: an entry of {key!r} {what}: correct {excerpt(entry)}."
            ) from None


def _parse(path: Path) -> CocoIndex:
    """Read the json; drop, clip, sort by image and count."""
    images, names, name_ends = array("q"), bytearray(), array("q", [0])  # id, width, height
    numbers, measures = array("q"), array("d")  # image, category, id, crowd; area, x, y, w, h
    categories: dict[int, str] = {}
    seen: set[int] = set()
    counts = {"duplicate images dropped": 0, "duplicate categories dropped": 0}

    def take_image(entry: dict) -> None:
        if entry["id"] in seen:
            counts["duplicate images dropped"] += 1
            return
        name, width, height = entry["file_name"], entry["width"], entry["height"]
        if OUTSIDE.search(name):
            raise ValueError(f"its file_name leads outside the image folder: {name!r}")
        if not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
            raise ValueError(f"its width or height is below 1 or above {MAX_SIDE:,}")
        seen.add(entry["id"])
        images.extend((entry["id"], width, height))
        names.extend(name.encode())
        name_ends.append(len(names))

    def take_category(entry: dict) -> None:
        counts["duplicate categories dropped"] += int(entry["id"]) in categories
        categories.setdefault(int(entry["id"]), str(entry["name"]))

    def take_annotation(entry: dict) -> None:
        x, y, w, h = entry.get("bbox") or (0, 0, 0, 0)
        own_id = entry.get("id", -1 - len(numbers))
        crowd = int(entry.get("iscrowd", 0)) != 0
        numbers.extend((entry["image_id"], entry["category_id"], own_id, crowd))
        measures.extend((entry.get("area", w * h), x, y, w, h))

    read_json(path, take_image, take_category, take_annotation)
    image_ids, *sizes = np.array(images, np.int64).reshape(-1, 3).T
    of_image, of_category, own_ids, crowd = np.array(numbers, np.int64).reshape(-1, 4).T
    area, xywh = np.split(np.array(measures).reshape(-1, 5), [1], axis=1)
    category_ids = sorted(categories)
    order = np.argsort(image_ids)
    image = order[np.searchsorted(image_ids, of_image, sorter=order).clip(0, len(image_ids) - 1)]
    keep = np.ones(len(xywh), np.bool_)

    def drop(wrong: Any, what: str) -> None:
        counts[what] = int((keep & wrong).sum())
        keep[wrong] = False

    drop(image_ids[image] != of_image, "annotations of no image dropped")
    drop(~np.isin(of_category, category_ids), "annotations of no category dropped")
    again = np.zeros(len(keep), np.bool_)
    if len(np.unique(own_ids)) < len(own_ids):  # a repeated id is a duplicate if all else is equal
        rows = np.column_stack([own_ids, of_image, of_category, xywh])
        by_content = np.lexsort(rows.T)  # stable: of equal rows, the first comes first
        again[by_content[1:]] = (rows[by_content[1:]] == rows[by_content[:-1]]).all(1)
    drop(again, "duplicate annotations dropped")
    # Source: MMDetection 3.3.0, mmdet/datasets/coco.py, CocoDataset.parse_data_info.
    finite = (np.abs(np.hstack([area, xywh])) < BEYOND).all(1)  # False for NaN, too
    drop(~(finite & (area[:, 0] > 0) & (xywh[:, 2:] >= 1).all(1)), "degenerate boxes dropped")
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    clipped = corners.clip(0, np.tile(np.stack(sizes, axis=1)[image], 2))
    drop((clipped[:, 2:] <= clipped[:, :2]).any(1), "boxes outside the image dropped")
    beyond = np.abs(clipped - corners, where=keep[:, None], out=np.zeros_like(corners))
    kept = np.flatnonzero(keep)
    kept = kept[np.argsort(image[kept], kind="stable")]
    per_image = np.bincount(image[kept], minlength=len(image_ids))
    counts["boxes clipped"] = int((beyond > 0.5).any(1).sum())  # less is rounding in the json
    counts["crowds"] = int(crowd[kept].sum())
    counts["images without a box"] = int((per_image == 0).sum())
    return CocoIndex(
        image_ids=image_ids.copy(),
        widths=sizes[0].astype(np.int32),
        heights=sizes[1].astype(np.int32),
        names=np.frombuffer(names, np.uint8),
        name_ends=np.array(name_ends, np.int64),
        box_ends=np.concatenate([[0], np.cumsum(per_image)]),
        boxes=clipped[kept].astype(np.float32),
        labels=np.searchsorted(category_ids, of_category[kept]).astype(np.int32),
        iscrowd=crowd[kept].astype(bool),
        class_names=tuple(categories[c] for c in category_ids),
        category_ids=tuple(category_ids),
        counts=counts,
    )


def open_index(json_path: Path | str) -> CocoIndex:
    """Return the index of a COCO json, memory-mapped where possible.

    The first call parses the json and stores the index beside it, as
    `<json>.fsaf-index.safetensors`. Later calls map that file if the json still has the recorded
    size and modification time, or else the recorded SHA-256. Where the file cannot be written,
    each call parses the json.

    Raises:
        FSAFError: as `read_json`; "x.json: an entry of 'images' cannot be used (its file_name
            leads outside the image folder: '../a.jpg'): correct ...".
    """
    path = Path(json_path).resolve()
    file = path.with_name(f"{path.name}.fsaf-index.safetensors")
    index = None
    try:
        status = path.stat()
        # No index is there, or it is damaged or of another version.
        with suppress(OSError, SafetensorError, ValueError, KeyError, TypeError):
            index = _load(file)
        if index is not None and index.stamp == (status.st_size, status.st_mtime_ns):
            return index
        digest = _sha256(path)
    except OSError as error:
        raise _unreadable(json_path, error.strerror) from None
    if index is None or index.sha256 != digest:
        index = _parse(path)
    return _store(replace(index, stamp=(status.st_size, status.st_mtime_ns), sha256=digest), file)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(file: Path) -> CocoIndex:
    """Map a stored index."""
    with safe_open(file, "pt") as stored:
        facts = json.loads(stored.metadata()["facts"])
        arrays = {name: stored.get_tensor(name).numpy() for name in stored.keys()}  # noqa: SIM118
    if facts.pop("version") != VERSION:
        raise ValueError("the index has another version")
    lists = {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
    return CocoIndex(**arrays, **facts | lists, file=file)


def _store(index: CocoIndex, file: Path) -> CocoIndex:
    """Write the index and map it; return it unchanged where it cannot be written."""
    arrays = {name: value for name, value in vars(index).items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in vars(index).items() if name not in {*arrays, "file"}}
    part = file.with_name(f"{file.name}.{os.getpid()}")  # other processes may write it, too
    try:
        part.write_bytes(save(arrays, {"facts": json.dumps({"version": VERSION, **facts})}))
        os.replace(part, file)
    except OSError:
        with suppress(OSError):  # a read-only disk refuses to remove even an absent file
            part.unlink()
        return index
    return _load(file)
