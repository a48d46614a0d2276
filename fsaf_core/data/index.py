"""A COCO-format json as flat arrays, at COCO's scale: parsed once, kept beside the json, mapped into memory, so that workers share it."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..config import FSAFError

VERSION = 1  # of the arrays' layout: an index of another version is made anew
_OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")
_SPACE = re.compile(r"[ \t\n\r]*")
_ARRAYS = {  # name: type of its entries
    "image_ids": np.int64, "widths": np.int32, "heights": np.int32, "names": np.uint8, "name_ends": np.int64,
    "box_ends": np.int64, "boxes": np.float32, "labels": np.int32, "iscrowd": np.bool_, "areas": np.float32, "annotation_ids": np.int64,
}  # fmt: skip


class CocoIndex:
    """A COCO json as flat arrays. `I` images, `A` annotations that are left, grouped by image in the json's order.

    Attributes:
        image_ids, widths, heights: (I,).
        boxes: (A, 4) float32, x1 y1 x2 y2 in pixels, inside the image.
        labels: (A,) 0..K-1, categories in ascending order of their ids.
        iscrowd, areas, annotation_ids: (A,).
        class_names, category_ids: K of each.
        counts: what was found and left out, by name.
    """

    def __init__(self, arrays: dict[str, np.ndarray], facts: dict, folder: Path | None) -> None:
        for name in _ARRAYS:
            setattr(self, name, arrays[name])
        self.class_names: tuple[str, ...] = tuple(facts["class_names"])
        self.category_ids: tuple[int, ...] = tuple(facts["category_ids"])
        self.counts: dict[str, int] = facts["counts"]
        self._folder = folder

    def __reduce__(self):  # a worker that is started afresh maps the same files instead of getting a copy
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        facts = {"class_names": self.class_names, "category_ids": self.category_ids, "counts": self.counts}
        return (CocoIndex, (arrays, facts, None)) if self._folder is None else (_load, (self._folder,))

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


def _members(text: str, path: Path) -> Iterator[tuple[str, dict]]:
    """(key, element) for the elements of the json's top-level lists, one at a time: the whole as objects would need gigabytes."""
    decode = json.JSONDecoder().raw_decode
    skip = lambda at: _SPACE.match(text, at).end()  # noqa: E731
    try:
        at = skip(0)
        if text[at] != "{":
            raise FSAFError(f"{path}: not a COCO json: it must be an object with images, annotations and categories.")
        at = skip(at + 1)
        while text[at] != "}":
            key, at = decode(text, at)
            at = skip(at)
            if text[at] != ":":
                raise json.JSONDecodeError("Expecting ':'", text, at)
            at = skip(at + 1)
            if text[at] == "[":
                at = skip(at + 1)
                while text[at] != "]":
                    element, at = decode(text, at)
                    yield key, element
                    at = skip(at)
                    if text[at] == ",":
                        at = skip(at + 1)
                    elif text[at] != "]":
                        raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
                at += 1
            else:
                _, at = decode(text, at)
            at = skip(at)
            if text[at] == ",":
                at = skip(at + 1)
            elif text[at] != "}":
                raise json.JSONDecodeError("Expecting ',' or '}'", text, at)
    except IndexError:
        raise FSAFError(f"{path}: malformed json: it ends too early, as after a broken download.") from None
    except json.JSONDecodeError as error:
        raise FSAFError(f"{path}: malformed json: {error.msg} at line {error.lineno}, column {error.colno}.") from None


def _parse(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Read the json; clip, sort and count. Returns the arrays and the facts."""
    ids, widths, heights, names, ends = array("q"), array("q"), array("q"), bytearray(), array("q", [0])
    annotations = {"image": array("q"), "category": array("q"), "id": array("q"), "crowd": array("b"), "area": array("d")}
    boxes, categories, seen = array("d"), {}, set()
    found, element = set(), None
    counts = dict.fromkeys(
        ("crowds", "without a box", "boxes clipped", "degenerate boxes dropped", "boxes outside the image dropped", "duplicate images dropped",
         "duplicate annotations dropped", "annotations of no image dropped", "annotations of no category dropped"), 0)  # fmt: skip
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FSAFError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}): give the path of a COCO-format json.") from None
    try:
        for key, element in _members(text, path):
            found.add(key)
            if key == "annotations":
                box = element.get("bbox") or (0, 0, 0, 0)
                x, y, w, h = box
                boxes.extend((x, y, w, h))
                annotations["image"].append(element["image_id"])
                annotations["category"].append(element["category_id"])
                annotations["id"].append(element.get("id", len(annotations["id"])))
                annotations["crowd"].append(int(element.get("iscrowd", 0)))
                annotations["area"].append(element.get("area", w * h))
            elif key == "images":
                if element["id"] in seen:
                    counts["duplicate images dropped"] += 1
                    continue
                if _OUTSIDE.search(element["file_name"]):
                    raise FSAFError(f"{path}: file_name {element['file_name']!r} leads outside the images' folder: such a file is not read.")
                if min(element["width"], element["height"]) < 1:
                    raise ValueError("its width or height is below 1")
                seen.add(element["id"])
                ids.append(element["id"])
                widths.append(element["width"])
                heights.append(element["height"])
                names += element["file_name"].encode()
                ends.append(len(names))
            elif key == "categories":
                categories[int(element["id"])] = str(element["name"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else f"cannot be used ({error})"
        raise FSAFError(f"{path}: an entry of {key!r} {what}: {str(element)[:100]}") from None
    del text
    missing = {"images", "categories"} - found
    if missing:
        raise FSAFError(f"{path}: not a COCO json: it has no {' and no '.join(sorted(missing))}.")
    category_ids = sorted(categories)

    image_ids, sizes = np.array(ids, np.int64), np.array([widths, heights], np.float64)
    xywh, area = np.array(boxes, np.float64).reshape(-1, 4), np.array(annotations["area"], np.float64)
    of_image, of_category, own_id, crowd = (np.array(annotations[k], np.int64) for k in ("image", "category", "id", "crowd"))
    order = np.argsort(image_ids, kind="stable")
    slot = np.clip(np.searchsorted(image_ids, of_image, sorter=order), 0, len(ids) - 1)
    image = order[slot] if len(ids) else slot
    keep = np.ones(len(xywh), bool)

    def drop(wrong: np.ndarray, what: str) -> None:
        counts[what] += int((keep & wrong).sum())
        keep[wrong] = False

    drop(image_ids[image] != of_image if len(ids) else ~keep, "annotations of no image dropped")
    drop(~np.isin(of_category, category_ids), "annotations of no category dropped")
    if len(np.unique(own_id)) < len(own_id):
        rows = np.column_stack([own_id, of_image, of_category, xywh])
        by_content = np.lexsort(rows.T[::-1])  # stable: of equal annotations the first comes first
        again = np.zeros(len(rows), bool)
        again[by_content[1:]] = (rows[by_content[1:]] == rows[by_content[:-1]]).all(1)
        drop(again, "duplicate annotations dropped")
    drop(~((area > 0) & (xywh[:, 2:] >= 1).all(1) & np.isfinite(xywh).all(1)), "degenerate boxes dropped")
    corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    limits = np.tile(sizes[:, image].T, 2) if len(ids) else corners
    with np.errstate(invalid="ignore"):
        clipped = np.clip(corners, 0, limits)
    drop((clipped[:, 2:] <= clipped[:, :2]).any(1), "boxes outside the image dropped")
    # Half a pixel over the border is rounding in the json, not worth a count.
    counts["boxes clipped"] = int((np.abs(clipped - corners).max(1) > 0.5)[keep].sum()) if len(corners) else 0

    kept = np.flatnonzero(keep)
    kept = kept[np.argsort(image[kept], kind="stable")]
    per_image = np.bincount(image[kept], minlength=len(ids))
    counts["without a box"] = int((per_image == 0).sum())
    counts["crowds"] = int(crowd[kept].sum())
    arrays = {
        "image_ids": image_ids, "widths": sizes[0], "heights": sizes[1], "names": np.frombuffer(bytes(names), np.uint8), "name_ends": np.array(ends),
        "box_ends": np.concatenate([[0], np.cumsum(per_image)]), "boxes": clipped[kept], "labels": np.searchsorted(category_ids, of_category[kept]),
        "iscrowd": crowd[kept], "areas": area[kept], "annotation_ids": own_id[kept],
    }  # fmt: skip
    facts = {"class_names": [categories[c] for c in category_ids], "category_ids": category_ids, "counts": counts}
    return {name: np.ascontiguousarray(arrays[name], dtype=kind) for name, kind in _ARRAYS.items()}, facts


def _load(folder: Path) -> CocoIndex:
    """Map an index that was written before."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    return CocoIndex(arrays, json.loads((folder / "facts.json").read_text()), folder)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def open_index(json_path: Path | str) -> CocoIndex:
    """The index of a COCO json: mapped if it was made before, else parsed and kept in `<json>.fsaf-index/`.

    Where that folder cannot be written it is kept in the user's cache folder. An index is taken for the json's own when size and
    modification time agree, or else when size and SHA-256 do.

    Raises:
        FSAFError: "x.json: malformed json: ..."; "x.json: not a COCO json: it has no images."; "... leads outside the images' folder".
    """
    path = Path(json_path).resolve()
    try:
        status = path.stat()
    except OSError:
        raise FSAFError(f"{json_path}: no such file: give the path of a COCO-format json.") from None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fsaf"
    folders = [path.with_name(path.name + ".fsaf-index"), cache / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.fsaf-index"]
    for folder in folders:
        try:
            key = json.loads((folder / "key.json").read_text())
            if key["version"] == VERSION and key["size"] == status.st_size:
                if key["mtime_ns"] == status.st_mtime_ns:
                    return _load(folder)
                if key["sha256"] == _sha256(path):
                    _write_key(folder, {**key, "mtime_ns": status.st_mtime_ns})
                    return _load(folder)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # none there, or damaged: made anew
    arrays, facts = _parse(path)
    key = {"version": VERSION, "size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": _sha256(path)}
    for folder in folders:
        try:
            return _keep(folder, arrays, facts, key)
        except OSError:
            continue
    return CocoIndex(arrays, facts, None)


def _write_key(folder: Path, key: dict) -> None:
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False) as file:
        json.dump(key, file)
    os.replace(file.name, folder / "key.json")


def _keep(folder: Path, arrays: dict[str, np.ndarray], facts: dict, key: dict) -> CocoIndex:
    """Write the index beside its place, rename it and map it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        part.chmod(0o755)
        for name, values in arrays.items():
            np.save(part / f"{name}.npy", values)
        (part / "facts.json").write_text(json.dumps(facts))
        _write_key(part, key)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            part.rename(folder)
        except OSError:
            if not (folder / "key.json").exists():  # another process that parsed the same json was quicker
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _load(folder)
