"""A COCO-format json as flat arrays, at COCO's scale: parsed once, kept beside it, mapped into memory that all workers share."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from ..config import FSAFError
from ..files import excerpt

VERSION = 2  # of the arrays' layout: an index of another version is made anew
MAX_SIDE = 2**20  # pixels of an image
BEYOND = 1e12  # no coordinate and no area is as large
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")
_SPACE = re.compile(r"[ \t\n\r]*")


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
    areas: Float32[np.ndarray, " A"]  # the json's own, in pixels (of the segmentation, in COCO)
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    counts: dict[str, int]  # what was found odd or left out
    folder: Path | None = None  # where it is kept

    def __reduce__(self):  # a worker that is started afresh maps the same files instead of getting a copy
        values = tuple(getattr(self, field.name) for field in fields(self))
        return (CocoIndex, values) if self.folder is None else (_load, (self.folder,))

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
        said = [f"{len(self):,} images, {len(self.boxes):,} boxes of {len(self.class_names)} classes"]
        return ", ".join(said + [f"{count:,} {what}" for what, count in self.counts.items() if count])


_ARRAYS: dict[str, type] = {
    "image_ids": np.int64, "widths": np.int32, "heights": np.int32, "names": np.uint8, "name_ends": np.int64,
    "box_ends": np.int64, "boxes": np.float32, "labels": np.int32, "iscrowd": np.bool_, "areas": np.float32,
}  # fmt: skip


def _members(text: str) -> Iterator[tuple[str, dict]]:
    """(key, element) of the json's top-level lists, one at a time: all as objects at once would take gigabytes."""
    decode = json.JSONDecoder().raw_decode

    def space(at: int) -> int:
        return _SPACE.match(text, at).end()  # type: ignore[union-attr]

    def token(at: int, allowed: str) -> int:
        at = space(at)
        if text[at] not in allowed:
            raise json.JSONDecodeError(f"expected {' or '.join(allowed)}", text, at)
        return at

    at = token(0, "{")
    if text[space(at + 1)] == "}":
        at = space(at + 1)
    while text[at] != "}":
        key, at = decode(text, space(at + 1))
        at = space(token(at, ":") + 1)
        if text[at] == "[":
            if text[space(at + 1)] == "]":
                at = space(at + 1)
            while text[at] != "]":
                element, at = decode(text, space(at + 1))
                yield key, element
                at = token(at, ",]")
            at += 1
        else:
            _, at = decode(text, at)
        at = token(at, ",}")
    if space(at + 1) < len(text):
        raise json.JSONDecodeError("more text behind its end", text, space(at + 1))


def _parse(path: Path) -> CocoIndex:
    """Read the json; drop, clip, sort by image and count."""
    numbers, measures = array("q"), array("d")  # of each annotation: image, category, id, crowd; area, x, y, w, h
    images, names, name_ends = array("q"), bytearray(), array("q", [0])  # of each image: id, width, height; its name
    categories: dict[int, str] = {}
    seen: set[int] = set()
    counts = {"duplicate images dropped": 0, "duplicate categories dropped": 0}
    key, entry = "", None
    try:
        for key, entry in _members(path.read_text(encoding="utf-8-sig")):
            if key in ("annotations", "images", "categories") and not isinstance(entry, dict):
                raise TypeError("it is no object")
            if key == "annotations":
                x, y, w, h = entry.get("bbox") or (0, 0, 0, 0)
                own_id = entry.get("id", -1 - len(numbers))
                numbers.extend((entry["image_id"], entry["category_id"], own_id, int(entry.get("iscrowd", 0))))
                measures.extend((entry.get("area", w * h), x, y, w, h))
            elif key == "categories":
                counts["duplicate categories dropped"] += int(entry["id"]) in categories
                categories.setdefault(int(entry["id"]), str(entry["name"]))
            elif key == "images" and entry["id"] in seen:
                counts["duplicate images dropped"] += 1
            elif key == "images":
                if _OUTSIDE.search(entry["file_name"]):
                    name = excerpt(repr(entry["file_name"]))
                    raise FSAFError(f"{path}: file_name {name} leads outside the images' folder: mend the json.")
                if not 1 <= min(entry["width"], entry["height"]) <= max(entry["width"], entry["height"]) <= MAX_SIDE:
                    raise ValueError(f"its width or height is below 1 or above {MAX_SIDE:,}")
                seen.add(entry["id"])
                images.extend((entry["id"], entry["width"], entry["height"]))
                names += entry["file_name"].encode()
                name_ends.append(len(names))
    except IndexError:
        raise FSAFError(f"{path}: malformed json: it ends too early, as after a broken download: get or write it anew.") from None
    except RecursionError:
        raise FSAFError(f"{path}: malformed json: lists in lists, too deep to be read: get or write it anew.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise FSAFError(f"{path}: malformed json: {error.msg} at {where}: get or write it anew.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FSAFError(f"{path}: cannot be read ({error}): give the path of a COCO-format json.") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"has no {excerpt(error)}" if isinstance(error, KeyError) else f"cannot be used ({excerpt(error)})"
        raise FSAFError(f"{path}: an entry of {excerpt(repr(key))} {what}: mend {excerpt(entry)}.") from None
    if not images or not categories:
        raise FSAFError(f"{path}: not a COCO json: it lists no {'categories' if images else 'images'}.")

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
    if len(np.unique(own_ids)) < len(own_ids):  # the same id twice: a duplicate only if all else is equal, too
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
    counts["boxes clipped"] = int((beyond > 0.5).any(1).sum())  # less than that is rounding in the json
    counts["crowds"] = int((crowd[kept] != 0).sum())
    counts["images without a box"] = int((per_image == 0).sum())
    values = (
        image_ids, sizes[0], sizes[1], np.frombuffer(bytes(names), np.uint8), np.array(name_ends, np.int64),
        np.concatenate([[0], np.cumsum(per_image)]), clipped[kept], np.searchsorted(category_ids, of_category[kept]),
        crowd[kept], area[kept, 0],
    )  # fmt: skip
    arrays: dict[str, Any] = {name: np.ascontiguousarray(value, dtype=_ARRAYS[name]) for name, value in zip(_ARRAYS, values)}
    names = tuple(categories[c] for c in category_ids)
    return CocoIndex(**arrays, class_names=names, category_ids=tuple(category_ids), counts=counts)


def open_index(json_path: Path | str) -> CocoIndex:
    """The index of a COCO json: mapped if it was made before, else parsed and kept in `<json>.fsaf-index/`.

    Where that folder cannot be written it is kept in the user's cache folder. An index is taken for the json's own when size and
    modification time agree, or else when size and SHA-256 do.

    Raises:
        FSAFError: "x.json: malformed json: ..."; "x.json: not a COCO json: it lists no images."; "... leads outside the ...".
    """
    path = Path(json_path).resolve()
    try:
        status = path.stat()
    except OSError:
        raise FSAFError(f"{json_path}: no such file: give the path of a COCO-format json.") from None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fsaf"
    short = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    folders = [path.with_name(f"{path.name}.fsaf-index"), cache / f"{short}.fsaf-index"]
    digest = ""
    for folder in folders:
        try:
            key = json.loads((folder / "key.json").read_text())
            if (key["version"], key["size"]) != (VERSION, status.st_size):
                continue
            if key["mtime_ns"] == status.st_mtime_ns:
                return _load(folder)
            digest = digest or _sha256(path)
            if key["sha256"] == digest:
                _write_json(folder / "key.json", {**key, "mtime_ns": status.st_mtime_ns})
                return _load(folder)
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            continue  # none there, or damaged: made anew
    index = _parse(path)
    key = {"version": VERSION, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest or _sha256(path)}
    for folder in folders:
        try:
            return _keep(folder, index, key)
        except OSError:
            continue
    return index


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def _write_json(path: Path, value: dict) -> None:
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as file:
        json.dump(value, file)
    os.replace(file.name, path)


def _load(folder: Path) -> CocoIndex:
    """Map an index that was written before."""
    facts = json.loads((folder / "facts.json").read_text())
    arrays: dict[str, Any] = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    names, ids = tuple(facts["class_names"]), tuple(facts["category_ids"])
    return CocoIndex(**arrays, class_names=names, category_ids=ids, counts=facts["counts"], folder=folder)


def _keep(folder: Path, index: CocoIndex, key: dict) -> CocoIndex:
    """Write the index beside its place, rename it and map it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        part.chmod(0o755)
        for name in _ARRAYS:
            np.save(part / f"{name}.npy", getattr(index, name))
        _write_json(part / "facts.json", {name: getattr(index, name) for name in ("class_names", "category_ids", "counts")})
        _write_json(part / "key.json", key)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            part.rename(folder)
        except OSError:
            if not (folder / "key.json").exists():  # else another process that parsed the same json was quicker
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _load(folder)
