"""A COCO-format json as flat arrays, at COCO's scale: parsed once, kept beside it, mapped into memory that all workers share."""

import hashlib
import json
import os
import re
from array import array
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

VERSION = 3  # of the arrays' layout: an index of another version is made anew
MAX_SIDE = 2**20  # pixels of an image
BEYOND = 1e12  # no coordinate and no area is as large
OUTSIDE = re.compile(
    r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0"
)  # what leads a name out of its folder, on some system


@dataclass(frozen=True, eq=False)
class CocoIndex:
    """A COCO json as flat arrays: `I` images in the json's order, the `A` annotations left grouped by image, `K` categories."""

    image_ids: Int64[np.ndarray, " I"]
    widths: Int32[np.ndarray, " I"]
    heights: Int32[np.ndarray, " I"]
    names: UInt8[np.ndarray, " bytes"]  # all file names, one after the other
    name_ends: Int64[np.ndarray, " I+1"]
    box_ends: Int64[np.ndarray, " I+1"]  # where an image's annotations begin and end
    boxes: Float32[np.ndarray, "A 4"]  # x1 y1 x2 y2, pixels, cut at the image's border
    labels: Int32[np.ndarray, " A"]  # 0..K-1, by ascending category id
    iscrowd: Bool[np.ndarray, " A"]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    counts: dict[str, int]  # what was found odd or left out
    stamp: tuple[int, int] = (0, 0)  # the json's size and mtime_ns
    sha256: str = ""
    file: Path | None = None  # where it is kept

    def __reduce__(
        self,
    ):  # a worker that is started afresh maps the same file instead of getting a copy
        return super().__reduce__() if self.file is None else (_load, (self.file,))

    def __len__(self) -> int:
        return len(self.image_ids)

    def file_name(self, i: int) -> str:
        """The i-th image's name below the images' folder."""
        return self.names[self.name_ends[i] : self.name_ends[i + 1]].tobytes().decode()

    def annotations(self, i: int) -> slice:
        """Where the i-th image's annotations lie in `boxes`, `labels`, ..."""
        return slice(int(self.box_ends[i]), int(self.box_ends[i + 1]))

    def summary(self) -> str:
        """One line on what was read and what was left out."""
        said = [
            f"{len(self):,} images, {len(self.boxes):,} boxes of {len(self.class_names)} classes"
        ]
        return ", ".join(
            said + [f"{count:,} {what}" for what, count in self.counts.items() if count]
        )


def _without_outline(entry: dict) -> dict:
    """A json's object without its segmentation: nine tenths of COCO's text, gigabytes as lists of numbers."""
    entry.pop("segmentation", None)
    return entry


def _read(path: Path) -> dict:
    """The json's content, outlines apart; empty where it is no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_hook=_without_outline)
    except RecursionError:
        raise FSAFError(
            f"{path}: malformed json: lists in lists, too deep to be read: get or write it anew."
        ) from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FSAFError(
            f"{path}: malformed json: {error.msg} at {where}: get or write it anew."
        ) from None
    except ValueError as error:  # no UTF-8, or a number of thousands of digits
        raise FSAFError(
            f"{path}: cannot be read ({error}): give the path of a COCO-format json."
        ) from None
    return content if isinstance(content, dict) else {}


def _parse(path: Path) -> CocoIndex:
    """Read the json; drop, clip, sort by image and count."""
    content = _read(path)
    numbers, measures = (
        array("q"),
        array("d"),
    )  # of each annotation: image, category, id, crowd; area, x, y, w, h
    images, names, name_ends = (
        array("q"),
        bytearray(),
        array("q", [0]),
    )  # of each image: id, width, height; its name
    categories: dict[int, str] = {}
    seen: set[int] = set()
    counts = {"duplicate images dropped": 0, "duplicate categories dropped": 0}
    key, entry = "", None
    try:
        for key in ("categories", "images", "annotations"):
            for entry in content.get(key) or ():
                if key == "annotations":
                    x, y, w, h = entry.get("bbox") or (0, 0, 0, 0)
                    own_id = entry.get("id", -1 - len(numbers))
                    numbers.extend(
                        (
                            entry["image_id"],
                            entry["category_id"],
                            own_id,
                            int(entry.get("iscrowd", 0)) != 0,
                        )
                    )
                    measures.extend((entry.get("area", w * h), x, y, w, h))
                elif key == "categories":
                    counts["duplicate categories dropped"] += int(entry["id"]) in categories
                    categories.setdefault(int(entry["id"]), str(entry["name"]))
                elif entry["id"] in seen:
                    counts["duplicate images dropped"] += 1
                else:
                    if OUTSIDE.search(entry["file_name"]):
                        name = excerpt(repr(entry["file_name"]))
                        raise FSAFError(
                            f"{path}: file_name {name} leads outside the images' folder: mend the json."
                        )
                    if (
                        not 1
                        <= min(entry["width"], entry["height"])
                        <= max(entry["width"], entry["height"])
                        <= MAX_SIDE
                    ):
                        raise ValueError(f"its width or height is below 1 or above {MAX_SIDE:,}")
                    seen.add(entry["id"])
                    images.extend((entry["id"], entry["width"], entry["height"]))
                    names += entry["file_name"].encode()
                    name_ends.append(len(names))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = (
            f"has no {excerpt(error)}"
            if isinstance(error, KeyError)
            else f"cannot be used ({excerpt(error)})"
        )
        raise FSAFError(f"{path}: an entry of {key!r} {what}: mend {excerpt(entry)}.") from None
    if not images or not categories:
        raise FSAFError(
            f"{path}: not a COCO json: it lists no {'categories' if images else 'images'}."
        )

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
    if len(np.unique(own_ids)) < len(
        own_ids
    ):  # the same id twice: a duplicate only if all else is equal, too
        rows = np.column_stack([own_ids, of_image, of_category, xywh])
        by_content = np.lexsort(rows.T)  # stable: of equals, the first comes first
        again[by_content[1:]] = (rows[by_content[1:]] == rows[by_content[:-1]]).all(1)
    drop(again, "duplicate annotations dropped")
    # Source: the reference's rule.
    sound = (np.abs(np.hstack([area, xywh])) < BEYOND).all(1)  # no NaN, either
    drop(~(sound & (area[:, 0] > 0) & (xywh[:, 2:] >= 1).all(1)), "degenerate boxes dropped")
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    clipped = corners.clip(0, np.tile(np.stack(sizes, axis=1)[image], 2))
    drop((clipped[:, 2:] <= clipped[:, :2]).any(1), "boxes outside the image dropped")
    beyond = np.abs(clipped - corners, where=keep[:, None], out=np.zeros_like(corners))
    kept = np.flatnonzero(keep)
    kept = kept[np.argsort(image[kept], kind="stable")]
    per_image = np.bincount(image[kept], minlength=len(image_ids))
    counts["boxes clipped"] = int(
        (beyond > 0.5).any(1).sum()
    )  # less than that is rounding in the json
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
    """The index of a COCO json: mapped if it was made before, else parsed and kept beside it in `<json>.fsaf-index.safetensors`.

    An index is taken for the json's own when size and modification time agree, or else when the SHA-256 does. Where it cannot be
    written it is made anew each time.

    Raises:
        FSAFError: "x.json: malformed json: ..."; "x.json: not a COCO json: it lists no images."; "... leads outside the ...".
    """
    path = Path(json_path).resolve()
    file = path.with_name(f"{path.name}.fsaf-index.safetensors")
    index = None
    try:
        status = path.stat()
        with suppress(
            OSError, SafetensorError, ValueError, KeyError, TypeError
        ):  # none there, damaged, or of another version
            index = _load(file)
        if index is not None and index.stamp == (status.st_size, status.st_mtime_ns):
            return index
        digest = _sha256(path)
    except FileNotFoundError:
        raise FSAFError(
            f"{json_path}: no such file: give the path of a COCO-format json."
        ) from None
    except OSError as error:
        raise FSAFError(
            f"{json_path}: cannot be read ({error.strerror}): give the path of a COCO-format json."
        ) from None
    if index is None or index.sha256 != digest:
        index = _parse(path)
    return _keep(replace(index, stamp=(status.st_size, status.st_mtime_ns), sha256=digest), file)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _load(file: Path) -> CocoIndex:
    """Map an index that was written before."""
    with safe_open(file, "pt") as stored:
        facts = json.loads(stored.metadata()["facts"])
        arrays = {name: stored.get_tensor(name).numpy() for name in stored.keys()}  # noqa: SIM118
    if facts.pop("version") != VERSION:
        raise ValueError("it is laid out in another way")
    lists = {name: tuple(value) for name, value in facts.items() if isinstance(value, list)}
    return CocoIndex(**arrays, **facts | lists, file=file)


def _keep(index: CocoIndex, file: Path) -> CocoIndex:
    """Write the index and map it; where it cannot be written, the index as it is."""
    arrays = {name: value for name, value in vars(index).items() if isinstance(value, np.ndarray)}
    facts = {name: value for name, value in vars(index).items() if name not in {*arrays, "file"}}
    part = file.with_name(f"{file.name}.{os.getpid()}")  # others may be about the same
    try:
        part.write_bytes(save(arrays, {"facts": json.dumps({"version": VERSION, **facts})}))
        os.replace(part, file)
    except OSError:
        with suppress(OSError):  # a read-only disk refuses even to remove what is not there
            part.unlink()
        return index
    return _load(file)
