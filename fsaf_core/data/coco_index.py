"""A COCO-format json as flat arrays: parsed once, stored, and memory-mapped by all workers."""

import hashlib
import json
from array import array
from collections import Counter
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
from ..utils.files import excerpt, write_atomically

VERSION = 4  # of the arrays' layout; an index of another version is rebuilt
MAX_SIDE = 2**20  # pixels of an image
BEYOND = 1e12  # every valid coordinate and area is smaller
SizeOf = Callable[[str], tuple[int, int]]


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
    repaired: dict[str, int]  # counts of entries whose meaning was clear
    counts: dict[str, int]  # of entries that are unusual or not used
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
        """Return one line on what was read, what was repaired, and what is not used."""
        read = f"{len(self):,} images, {len(self.boxes):,} boxes of {len(self.class_names)} classes"
        return ", ".join([read, *counted(self.repaired | self.counts)])


def counted(counts: dict[str, int]) -> list[str]:
    """Return "3 boxes clipped" and so on, for each count above 0."""
    return [f"{count:,} {what}" for what, count in counts.items() if count]


def _without_outline(entry: dict) -> dict:
    """Drop the segmentation of a json object, which is nine tenths of COCO's text.

    An object without a box keeps the bounds of its polygons.
    """
    polygons = entry.pop("segmentation", None)
    if polygons and not entry.get("bbox"):
        with suppress(TypeError, ValueError, OverflowError, KeyError):  # run-length codes
            if isinstance(polygons[0], (int, float)):  # VIA writes one polygon without its list
                polygons = [polygons]
            points = np.concatenate([np.array(part, float).reshape(-1, 2) for part in polygons])
            low, high = points.min(0), points.max(0)
            entry["bounds"] = [*low.tolist(), *(high - low).tolist()]
    return entry


def _whole(entry: dict, key: str) -> int:
    """Return a whole number of an entry, which may be written as 12.0 or "12"."""
    value = entry[key]
    if isinstance(value, (int, str)) or (isinstance(value, float) and value.is_integer()):
        with suppress(ValueError):
            return int(value)
    raise ValueError(f"its {key} is {value!r}, not a whole number")


def _is_new(entry: dict, name: str, known: dict[int, str]) -> bool:
    """Return whether an entry's id is new; raise if the id already has another name."""
    number = entry["id"] = _whole(entry, "id")
    if known.get(number, name) != name:
        raise ValueError(f"id {number} is also that of {known[number]!r}")
    if number in known:
        return False
    known[number] = name
    return True


def _unreadable(path: Path | str, reason: object) -> FSAFError:
    return FSAFError(f"{path} cannot be read ({reason}): give the path of a COCO-format json.")


def read_json(
    path: Path,
    take_image: Callable[[dict], None],
    take_category: Callable[[dict], None],
    take_annotation: Callable[[dict], None],
) -> Counter[str]:
    """Read a COCO json and pass its images, then its categories, then its annotations on.

    Segmentations are left out. A json may lack annotations. Where the meaning is clear, an entry
    is repaired before it is passed on: ids become ints, an object without a box gets the bounds of
    its polygons, and an area that is missing or 0 becomes that of the box. Of images and
    categories that are listed twice, the first is passed on.

    Args:
        path: a COCO-format json.
        take_image: is called with each entry of `images`.
        take_category: is called with each entry of `categories`.
        take_annotation: is called with each entry of `annotations`.

    Returns:
        How often each repair was made.

    Raises:
        FSAFError: "x.json cannot be read (No such file or directory): give ..."; "x.json is
            malformed, Expecting value at line 1, column 1: write ..."; "x.json is not a COCO json,
            it lists no images: give ..."; "x.json: an entry of 'images' has no 'file_name':
            correct ..."; "x.json: an entry of 'images' cannot be used (id 7 is 'a.jpg', too):
            correct ...".
    """
    repaired: Counter[str] = Counter()
    files: dict[int, str] = {}
    classes: dict[int, str] = {}

    def image(entry: dict) -> None:
        if "file_name" not in entry and "coco_url" in entry:
            # LVIS has only this: http://host/train2017/000000000009.jpg
            entry["file_name"] = entry["coco_url"].partition("//")[2].partition("/")[2]
        if _is_new(entry, entry.get("file_name", ""), files):  # metrics need no file
            take_image(entry)
        else:
            repaired["images listed again"] += 1

    def category(entry: dict) -> None:
        name = entry["name"] = str(entry["name"])
        is_known = name in classes.values()
        if not _is_new(entry, name, classes):
            repaired["categories listed again"] += 1
        elif is_known:
            raise ValueError("another id has the same name")
        else:
            take_category(entry)

    def annotation(entry: dict) -> None:
        for key in ("image_id", "category_id"):
            entry[key] = _whole(entry, key)
        entry["iscrowd"] = int(entry.get("iscrowd") or 0)
        if "bounds" in entry:
            entry["bbox"] = entry["bounds"]
            repaired["boxes taken from polygons"] += 1
        if entry.get("bbox"):
            entry["bbox"] = [*map(float, entry["bbox"])]
        if entry.get("bbox") and not entry.get("area"):
            _, _, w, h = entry["bbox"]
            repaired["areas of 0 replaced by the box's"] += entry.get("area") == 0 < w * h
            entry["area"] = w * h
        take_annotation(entry)

    try:
        # From bytes: json knows UTF-16 as well, which PowerShell writes.
        content = json.loads(path.read_bytes(), object_hook=_without_outline)
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
    takers = {"images": image, "categories": category, "annotations": annotation}
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
    return repaired


def _parse(path: Path, size_of: SizeOf | None) -> CocoIndex:
    """Read the json; select, clip, sort by image and count."""
    images, names, name_ends = array("q"), bytearray(), array("q", [0])  # id, width, height
    numbers, measures = array("q"), array("d")  # image, category, id, crowd, ignore; area, x y w h
    categories: dict[int, str] = {}
    files: set[str] = set()
    counts = {"images of a file that has another id, too": 0}
    sizes_read = 0

    def take_image(entry: dict) -> None:
        nonlocal sizes_read
        name = entry["file_name"]
        width, height = (_whole(entry, key) if entry.get(key) else 0 for key in ("width", "height"))
        if size_of is not None and (width, height).count(0):
            width, height = size_of(name)
            sizes_read += 1
        elif not 1 <= min(width, height) <= max(width, height) <= MAX_SIDE:
            raise ValueError(f"its width or height is below 1 or above {MAX_SIDE:,}")
        images.extend((entry["id"], width, height))
        names.extend(name.encode())
        name_ends.append(len(names))
        counts["images of a file that has another id, too"] += name in files
        files.add(name)

    def take_category(entry: dict) -> None:
        categories[entry["id"]] = entry["name"]

    def take_annotation(entry: dict) -> None:
        own_id = entry.get("id", -1 - len(numbers))
        if not isinstance(own_id, int) or abs(own_id) >= 2**63:
            own_id = hash(str(own_id))  # it only has to differ from the others
        flags = entry["iscrowd"] != 0, bool(entry.get("ignore"))
        numbers.extend((entry["image_id"], entry["category_id"], own_id, *flags))
        x, y, w, h = entry.get("bbox") or (0, 0, 0, 0)
        measures.extend((entry.get("area", 0), x, y, w, h))

    repaired = read_json(path, take_image, take_category, take_annotation)
    repaired["sizes read from the files"] += sizes_read
    image_ids, *sizes = np.array(images, np.int64).reshape(-1, 3).T
    of_image, of_category, own_ids, crowd, ignore = np.array(numbers, np.int64).reshape(-1, 5).T
    area, xywh = np.split(np.array(measures).reshape(-1, 5), [1], axis=1)
    category_ids = sorted(categories)
    order = np.argsort(image_ids)
    image = order[np.searchsorted(image_ids, of_image, sorter=order).clip(0, len(image_ids) - 1)]
    keep = np.ones(len(xywh), np.bool_)

    def drop(wrong: Any, what: str) -> None:
        counts[what] = int((keep & wrong).sum())
        keep[wrong] = False

    drop(image_ids[image] != of_image, "annotations of no image left out")
    drop(~np.isin(of_category, category_ids), "annotations of no category left out")
    again = np.zeros(len(keep), np.bool_)
    if len(np.unique(own_ids)) < len(own_ids):  # a repeated id is a duplicate if all else is equal
        rows = np.column_stack([own_ids, of_image, of_category, xywh])
        by_content = np.lexsort(rows.T)  # stable: of equal rows, the first comes first
        again[by_content[1:]] = (rows[by_content[1:]] == rows[by_content[:-1]]).all(1)
    # The metrics count these and the following, as pycocotools does.
    drop(again, "repeated annotations not trained on")
    # Source: MMDetection 3.3.0, mmdet/datasets/coco.py, CocoDataset.parse_data_info.
    drop(ignore != 0, "annotations marked 'ignore' not trained on")
    finite = (np.abs(np.hstack([area, xywh])) < BEYOND).all(1)  # False for NaN, too
    sound = finite & (area[:, 0] > 0) & (xywh[:, 2:] >= 1).all(1)
    drop(~sound, "degenerate boxes not trained on")
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    clipped = corners.clip(0, np.tile(np.stack(sizes, axis=1)[image], 2))
    drop((clipped[:, 2:] <= clipped[:, :2]).any(1), "boxes outside the image not trained on")
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
        repaired=dict(repaired),
        counts=counts,
    )


def open_index(json_path: Path | str, size_of: SizeOf | None = None) -> CocoIndex:
    """Return the index of a COCO json, memory-mapped where possible.

    The first call parses the json and stores the index beside it, as
    `<json>.fsaf-index.safetensors`. Later calls map that file if the json still has the recorded
    size and modification time, or else the recorded SHA-256. Where the file cannot be written,
    each call parses the json. File names are as in the json and may lead anywhere.

    Args:
        json_path: a COCO-format json.
        size_of: returns width and height of the file with that name, or 0, 0; it is called for
            images without a size. None: such images are refused.

    Raises:
        FSAFError: as `read_json`; "x.json: an entry of 'images' cannot be used (its width or height
            is below 1 or above 1,048,576): correct ...".
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
        index = _parse(path, size_of)
        if not index.widths.all():  # the files may be there the next time
            return index
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
    try:
        write_atomically(file, save(arrays, {"facts": json.dumps({"version": VERSION, **facts})}))
    except FSAFError:  # a read-only disk, for example
        return index
    return _load(file)
