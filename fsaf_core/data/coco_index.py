"""A COCO-format json as flat arrays: parsed once, stored, and memory-mapped by all workers."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..config import FSAFError
from ..utils.files import excerpt, write_atomically

VERSION = 6  # of the arrays' layout; an index of another version is rebuilt
MAX_SIDE = 2**20  # pixels of an image
BEYOND = 1e12  # every valid coordinate and area is smaller


@dataclass(frozen=True, eq=False)
class CocoIndex:
    """A COCO json as flat arrays.

    It holds `I` images in the json's order, the `A` usable annotations grouped by image, and `K`
    categories.
    """

    image_ids: Int64[np.ndarray, " I"]
    widths: Int32[np.ndarray, " I"]
    heights: Int32[np.ndarray, " I"]
    names: UInt8[np.ndarray, "I bytes"]  # file names, filled up with zeros
    box_ends: Int64[np.ndarray, " I+1"]  # image i has the annotations box_ends[i] : box_ends[i+1]
    boxes: Float32[np.ndarray, "A 4"]  # x1 y1 x2 y2, pixels, clipped to the image
    labels: Int32[np.ndarray, " A"]  # 0..K-1, by ascending category id
    iscrowd: Bool[np.ndarray, " A"]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    repaired: dict[str, int]  # counts of entries whose meaning was clear
    counts: dict[str, int]  # of entries that are unusual or not used
    stamp: tuple[int, ...]  # as `CocoJson.stamp`
    sha256: str = ""  # of the json
    file: Path | None = None  # where the index is stored

    def __reduce__(self):  # a spawned worker maps the same file instead of receiving a copy
        return super().__reduce__() if self.file is None else (_load, (self.file,))

    def __len__(self) -> int:
        return len(self.image_ids)

    def file_name(self, i: int) -> str:
        """Return the i-th image's name below the image folder."""
        return self.names[i].tobytes().rstrip(b"\0").decode()

    def annotations(self, i: int) -> slice:
        """Return the slice of `boxes`, `labels` and `iscrowd` that belongs to the i-th image."""
        return slice(int(self.box_ends[i]), int(self.box_ends[i + 1]))

    def summary(self, counts: dict[str, int] | None = None) -> str:
        """Return one line on what was read, and `counts`: by default its own."""
        read = f"{len(self):,} images, {len(self.boxes):,} boxes of {len(self.class_names)} classes"
        return ", ".join([read, *counted(counts or self.repaired | self.counts)])


def counted(counts: dict[str, int]) -> list[str]:
    """Return "3 boxes clipped" and so on, for each count above 0."""
    return [f"{count:,} {what}" for what, count in counts.items() if count]


class CocoJson(NamedTuple):
    """The entries of a COCO json, without segmentations, repaired where their meaning is clear."""

    images: dict[int, dict]  # by id; `width` and `height` are 0 where the json has none
    categories: dict[int, dict]  # by id
    annotations: list[dict]  # `bbox` is x y w h, pixels, or empty
    repaired: Counter[str]  # how often each repair was made
    stamp: tuple[int, ...]  # version of the index, size and modification time of the json


def read_json(path: Path) -> CocoJson:
    """Read a COCO json.

    A json may lack annotations. Ids become ints, an object without a box gets the bounds of its
    polygons, and an area that is missing or 0 becomes that of the box. Of images and categories
    that are listed twice, the first counts.

    Raises:
        FSAFError: "x.json cannot be read (No such file or directory): give ..."; "x.json is
            malformed (Expecting value: line 1 column 1 (char 0)): write ..."; "x.json is not a
            COCO json, it lists no images: give ..."; "x.json: an entry of 'images' has no 'id':
            correct ..."; "x.json: an entry of 'images' cannot be used (id 7 is also that of
            'a.jpg'): correct ...".
    """
    try:
        status = path.stat()
        # From bytes: json knows UTF-16 as well, which PowerShell writes.
        content = json.loads(path.read_bytes(), object_hook=_without_outline)
    except OSError as error:
        raise FSAFError(
            f"{path} cannot be read ({error.strerror}): give the path of a COCO-format json."
        ) from None
    except (ValueError, RecursionError) as error:
        raise FSAFError(
            f"{path} is malformed ({excerpt(error)}): write or download it again."
        ) from None
    result = CocoJson({}, {}, [], Counter(), (VERSION, status.st_size, status.st_mtime_ns))
    takers = {"images": _take_image, "categories": _take_category, "annotations": _take_annotation}
    for key, take in takers.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not entries and key != "annotations":
            raise FSAFError(
                f"{path} is not a COCO json, it lists no {key}: give a json in COCO's format."
            )
        entry = entries
        try:
            for entry in entries or ():
                take(entry, result)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise _fault(path, key, entry, error) from None
    return result


def _fault(path: Path, key: str, entry: Any, error: Exception) -> FSAFError:
    lacks = isinstance(error, KeyError)
    what = f"has no {excerpt(error)}" if lacks else f"cannot be used ({excerpt(error)})"
    return FSAFError(f"{path}: an entry of {key!r} {what}: correct {excerpt(entry)}.")


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
            if abs(int(value)) < 2**63:
                return int(value)
    raise ValueError(f"its {key} is {value!r}, not a whole number of 64 bits")


def _add(entry: dict, key: str, name: str, into: CocoJson) -> None:
    """Add an image or a category once; raise if its id already belongs to another one."""
    entry["id"] = _whole(entry, "id")
    known = getattr(into, key).setdefault(entry["id"], entry)
    if known.get(name) != entry.get(name):
        raise ValueError(f"id {entry['id']} is also that of {known.get(name)!r}")
    sizes = {(one.get("width"), one.get("height")) for one in (known, entry)}
    if len(sizes - {(0, 0)}) > 1:
        raise ValueError(f"id {entry['id']} has two sizes")
    if known is not entry:
        into.repaired[f"{key} listed again"] += 1


def _take_image(entry: dict, into: CocoJson) -> None:
    if "file_name" not in entry and "coco_url" in entry:
        # LVIS has only this: http://host/train2017/000000000009.jpg
        entry["file_name"] = entry["coco_url"].partition("//")[2].partition("/")[2]
    if not isinstance(entry.get("file_name", ""), str):  # the metrics need no name
        raise ValueError("its file_name is not text")
    entry.get("file_name", "").encode()
    for key in ("width", "height"):
        entry[key] = _whole(entry, key) if entry.get(key) else 0
        if not 0 <= entry[key] <= MAX_SIDE:
            raise ValueError(f"its {key} is below 1 or above {MAX_SIDE:,}")
    _add(entry, "images", "file_name", into)


def _take_category(entry: dict, into: CocoJson) -> None:
    entry["name"] = str(entry["name"])
    _add(entry, "categories", "name", into)
    names = [known["name"] for known in into.categories.values()]
    if names.count(entry["name"]) > 1:
        raise ValueError("another id has the same name")


def _take_annotation(entry: dict, into: CocoJson) -> None:
    for key in ("image_id", "category_id"):
        entry[key] = _whole(entry, key)
    for key in ("iscrowd", "ignore"):
        entry[key] = int(entry.get(key) or 0)
    if "bounds" in entry:
        entry["bbox"] = entry["bounds"]
        into.repaired["boxes taken from polygons"] += 1
    entry["bbox"] = [*map(float, entry.get("bbox") or ())]
    if entry["bbox"]:
        _, _, w, h = entry["bbox"]
        if not entry.get("area"):
            into.repaired["areas of 0 replaced by the box's"] += entry.get("area") == 0 < w * h
            entry["area"] = w * h
    entry["area"] = float(entry.get("area") or 0)
    into.annotations.append(entry)


def _parse(path: Path, size_of: Callable[[str], tuple[int, int]]) -> CocoIndex:
    """Read the json; select, clip, sort by image and count."""
    content = read_json(path)
    images, annotations = [*content.images.values()], content.annotations
    for entry in images:
        if "file_name" not in entry:
            raise _fault(path, "images", entry, KeyError("file_name"))
        if not entry["width"] * entry["height"]:
            entry["width"], entry["height"] = size_of(entry["file_name"])
            content.repaired["sizes read from the files"] += 1
    names = [entry["file_name"].encode() for entry in images]
    widths, heights = (
        np.array([entry[key] for entry in images], np.int32) for key in ("width", "height")
    )
    categories = sorted(content.categories)
    position = {image_id: i for i, image_id in enumerate(content.images)}
    label_of = {category: label for label, category in enumerate(categories)}
    image = np.array([position.get(entry["image_id"], -1) for entry in annotations], np.int64)
    label = np.array([label_of.get(entry["category_id"], -1) for entry in annotations], np.int32)
    iscrowd = np.array([entry["iscrowd"] != 0 for entry in annotations], np.bool_)
    area = np.array([entry["area"] for entry in annotations], np.float64)
    xywh = np.array([entry["bbox"] or [0.0] * 4 for entry in annotations]).reshape(-1, 4)

    counts = {"images of a file that has another id, too": len(names) - len(set(names))}
    keep = np.ones(len(annotations), np.bool_)

    def drop(wrong: np.ndarray, what: str) -> None:
        counts[what] = int((keep & wrong).sum())
        keep[wrong] = False

    drop(image < 0, "annotations of no image left out")
    drop(label < 0, "annotations of no category left out")
    # The metrics count these and the following, as pycocotools does.
    drop(_are_repeated(annotations), "repeated annotations not trained on")
    # Source: MMDetection 3.3.0, mmdet/datasets/coco.py, CocoDataset.parse_data_info.
    ignored = np.array([entry["ignore"] != 0 for entry in annotations], np.bool_)
    drop(ignored, "annotations marked 'ignore' not trained on")
    finite = (np.abs(np.column_stack([area, xywh])) < BEYOND).all(1)  # False for NaN, too
    sound = finite & (area > 0) & (xywh[:, 2:] >= 1).all(1)
    drop(~sound, "degenerate boxes not trained on")
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    limits = np.stack([widths, heights, widths, heights], axis=1)
    clipped = corners.clip(0, limits[image])
    sides = clipped[:, 2:] - clipped[:, :2]
    drop(sides.min(1) <= 0, "boxes outside the image not trained on")

    kept = np.flatnonzero(keep)
    kept = kept[np.argsort(image[kept], kind="stable")]
    per_image = np.bincount(image[kept], minlength=len(images))
    moved = np.abs(clipped[kept] - corners[kept]) > 0.5  # less is rounding in the json
    clipped_boxes = int(moved.any(1).sum())
    hint = " (are they x y w h?)" if clipped_boxes > max(9, len(kept) / 5) else ""
    counts[f"boxes clipped{hint}"] = clipped_boxes
    same = np.column_stack([image[kept], label[kept], iscrowd[kept], xywh[kept]])
    counts["boxes equal to another of their class"] = len(kept) - len({*map(bytes, same)})
    counts["crowds"] = int(iscrowd[kept].sum())
    counts["images without a box"] = int((per_image == 0).sum())
    return CocoIndex(
        image_ids=np.array([*content.images], np.int64),
        widths=widths,
        heights=heights,
        names=np.array(names).view(np.uint8).reshape(len(names), -1),
        box_ends=np.concatenate([[0], np.cumsum(per_image)]),
        boxes=clipped[kept].astype(np.float32),
        labels=label[kept],
        iscrowd=iscrowd[kept],
        class_names=tuple(content.categories[category]["name"] for category in categories),
        category_ids=tuple(categories),
        repaired=dict(content.repaired),
        counts=counts,
        stamp=content.stamp,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _are_repeated(annotations: list[dict]) -> Bool[np.ndarray, " A"]:
    """Return which annotations have the id, image, class and box of an earlier one."""
    fields = ("image_id", "category_id", "bbox")
    first: dict[str, dict] = {}
    repeated = np.zeros(len(annotations), np.bool_)
    for place, entry in enumerate(annotations):
        if "id" in entry:
            known = first.setdefault(str(entry["id"]), entry)
            if known is not entry:
                repeated[place] = all(known[field] == entry[field] for field in fields)
    return repeated


def open_index(
    json_path: Path | str, size_of: Callable[[str], tuple[int, int]] = lambda name: (0, 0)
) -> CocoIndex:
    """Return the index of a COCO json, memory-mapped where possible.

    The first call parses the json and stores the index beside it, as
    `<json>.fsaf-index.safetensors`. Later calls map that file if the json still has the recorded
    size and modification time. Where the file cannot be written, each call parses the json. File
    names are as in the json and may lead anywhere.

    Args:
        json_path: a COCO-format json.
        size_of: returns width and height of the file with that name, or 0, 0; it is called for
            images without a size.

    Raises:
        FSAFError: as `read_json`.
    """
    path = Path(json_path).resolve()
    file = path.with_name(f"{path.name}.fsaf-index.safetensors")
    # No index is there, or it is damaged or of another version.
    with suppress(OSError, SafetensorError, ValueError, KeyError, TypeError):
        index, status = _load(file), path.stat()
        if index.stamp == (VERSION, status.st_size, status.st_mtime_ns):
            return index
    index = _parse(path, size_of)
    if not index.widths.all() or "sizes read from the files" in index.repaired:
        return index  # the next time there may be other files
    arrays = {name: value for name, value in vars(index).items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in vars(index).items() if name not in {*arrays, "file"}}
    try:
        write_atomically(file, save(arrays, {"facts": json.dumps(facts)}))
    except FSAFError:  # a read-only disk, for example
        return index
    return _load(file)


def _load(file: Path) -> CocoIndex:
    """Map a stored index."""
    with safe_open(file, "pt") as stored:
        facts = json.loads(stored.metadata()["facts"])
        arrays = {name: stored.get_tensor(name).numpy() for name in stored.keys()}  # noqa: SIM118
    lists = {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
    return CocoIndex(**arrays, **facts | lists, file=file)
