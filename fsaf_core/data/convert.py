"""YOLO folders and Pascal VOC as COCO jsons."""

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from ..config import FSAFError
from ..utils.files import excerpt, write_atomically
from .images import header_size, images_below

ITEM = re.compile(r"""(?:(\d+)\s*:\s*)?("[^"]*"|'[^']*'|[^\s,\[\]{}][^,\[\]{}]*)""")


class Object(NamedTuple):
    """An object of an image: its class and its box x1 y1 x2 y2 in pixels."""

    name: str
    box: tuple[float, float, float, float]
    ignore: bool = False  # not trained on


Annotated = Iterable[tuple[Path, list[Object]]]


def convert(kind: Literal["yolo", "voc"], source: Path, out: Path) -> tuple[int, int]:
    """Write the images and boxes of a folder as a COCO json.

    File names are relative to `source`. Objects that VOC calls difficult are marked `ignore`, as
    MMDetection does: they are not trained on.

    Args:
        kind: of the annotations. `yolo`: `labels/x.txt` for `images/x.jpg`, or `x.txt` beside it;
            the class names are in a data.yaml or classes.txt here or in a folder above. Keypoints
            are left out, if the data.yaml has their kpt_shape. `voc`: an xml for each image; a
            classes.txt here or in the folder above may list classes that do not occur.
        source: the folder of the images, or one above it.
        out: the json.

    Returns:
        The numbers of images and of boxes.

    Raises:
        FSAFError: as the readers; "photos has no annotation: ..."
    """
    if not source.is_dir():
        raise FSAFError(f"{source} is not a folder: give the folder of images and annotations.")
    names, annotated = _yolo(source) if kind == "yolo" else _voc(source)
    images: list[dict] = []
    annotations: list[dict] = []
    for number, (path, objects) in enumerate(annotated, start=1):
        width, height, _ = header_size(path)
        file_name = path.relative_to(source).as_posix()
        images.append({"id": number, "file_name": file_name, "width": width, "height": height})
        for name, (x1, y1, x2, y2), ignore in objects:
            annotation = {"id": len(annotations) + 1, "image_id": number, "iscrowd": 0}
            annotation |= {"category_id": names.index(name) + 1, "ignore": int(ignore)}
            box = [round(edge, 4) for edge in (x1, y1, x2 - x1, y2 - y1)]
            annotations.append({**annotation, "bbox": box, "area": round(box[2] * box[3], 4)})
    if not annotations:
        raise FSAFError(
            f"{source} has no image with an annotation of this kind: give the folder of the images."
        )
    categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(out, json.dumps(content))
    return len(images), len(annotations)


def _yolo(source: Path) -> tuple[list[str], Annotated]:
    """Return the class names, and each image with its objects.

    Raises:
        FSAFError: "no class names for photos: ..."; "a.txt, line 3 cannot be used (...): ..."
    """
    (names, has_keypoints), found = _settings(source), []
    for path in images_below(source)[0]:
        head, images, tail = str(path.absolute()).rpartition(f"{os.sep}images{os.sep}")
        label = Path(f"{head}{os.sep}labels{os.sep}{tail}" if images else tail).with_suffix(".txt")
        label = label if label.exists() else path.with_suffix(".txt")
        lines = _read(label).splitlines() if label.exists() else []
        width, height, _ = header_size(path)
        objects = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                index, *values = map(float, line.split())
                x1, y1, x2, y2 = _yolo_box(values[:4] if has_keypoints else values)
                name = dict(enumerate(names))[int(index)]
            except (ValueError, KeyError, OverflowError) as error:
                raise FSAFError(
                    f"{label}, line {number} cannot be used ({excerpt(error)}): write a class "
                    f"below {len(names)}, then x y w h or a polygon in fractions of the image."
                ) from None
            objects.append(Object(name, (x1 * width, y1 * height, x2 * width, y2 * height)))
        found.append((path, objects))
    return names, found


def _yolo_box(values: list[float]) -> tuple[float, float, float, float]:
    """Return x1 y1 x2 y2 of a center with width and height, or of a polygon, in fractions."""
    if not -1 <= min(values) <= max(values) <= 2:
        raise ValueError("its values are not fractions of the image")
    if len(values) > 5:
        if len(values) % 2:
            raise ValueError(f"{len(values)} values are neither a box nor a polygon")
        return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    x, y, w, h = values[:4]  # a fifth value is the score of a detection
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def _settings(source: Path) -> tuple[list[str], bool]:
    """Return the names in a data.yaml or classes.txt of the folder or the nearest one above.

    The second value is whether a box is followed by keypoints, which a data.yaml says.
    """
    for folder in (source, *source.absolute().parents[:3]):
        for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            lines = re.sub(r"(?m)(^|\s)#.*$", "", _read(file)).rstrip()
            # The names end where the next key begins.
            block = re.search(r"(?ms)^names:(.*?)(?=^\w|\Z)", lines)
            if block:
                text = re.sub(r"(?m)^\s*-\s+", ",", block[1]).replace("\n", ",")
                items = enumerate(ITEM.findall(text))
                named = {int(key or i): name.strip().strip("\"'") for i, (key, name) in items}
                names = [named.get(i, f"class_{i}") for i in range(max(named, default=-1) + 1)]
                return names, bool(re.search(r"(?m)^kpt_shape:", lines))
        if names := _listed(folder):
            return names, False
    raise FSAFError(f"no class names for {source}: put a data.yaml or a classes.txt there.")


def _listed(folder: Path) -> list[str]:
    """Return the names in the classes.txt of a folder, if there is one."""
    file = folder / "classes.txt"
    return [name.strip() for name in _read(file).strip().splitlines()] if file.exists() else []


def _voc(source: Path) -> tuple[list[str], Annotated]:
    """Return the class names, and each image with its objects.

    The names are those of a classes.txt here or in the folder above, then the others that occur,
    in alphabetical order.

    Raises:
        FSAFError: "a.xml cannot be used (...): correct it."; "a.xml is of no image ...: ..."
    """
    by_name = defaultdict(list)  # with and without the suffix
    for path in images_below(source)[0]:
        by_name[path.name].append(path)
        by_name[path.stem].append(path)
    found = []
    for xml in sorted(source.rglob("[!.]*.xml")):  # macOS puts ._a.xml beside a.xml
        try:
            root = ElementTree.parse(xml).getroot()
            objects = [
                Object(
                    name=item.findtext("name", "").strip(),
                    box=_voc_box(item),
                    ignore=item.findtext("difficult", "0").strip() == "1",
                )
                for item in root.iter("object")
            ]
        except (ElementTree.ParseError, ValueError) as error:
            raise FSAFError(f"{xml} cannot be used ({excerpt(error)}): correct it.") from None
        stated = Path(root.findtext("filename", "").replace("\\", "/")).name
        images = by_name[xml.stem] or by_name[stated]  # a renamed file may still state its old name
        if not images:
            raise FSAFError(f"{xml} is of no image below {source}: add {stated}, or remove it.")
        nearest = max(images, key=lambda path: len(os.path.commonpath([path, xml])))
        found.append((nearest, objects))
    listed = _listed(source) or _listed(source.absolute().parent)
    others = {item.name for _, objects in found for item in objects} - {*listed}
    return [*listed, *sorted(others)], found


def _voc_box(item: ElementTree.Element) -> tuple[float, float, float, float]:
    """Return the corners. VOC counts pixels from 1, and the last one belongs to the box."""
    edges = ("xmin", "ymin", "xmax", "ymax")
    x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{edge}", "")) for edge in edges)
    return x1 - 1, y1 - 1, x2, y2


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except ValueError:
        raise FSAFError(f"{path} is not a text in UTF-8: write it again.") from None
