"""COCO metrics: from a json and detections to AP and AR.

pycocotools computes them. Where faster-coco-eval is installed, it returns the same values faster.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..config import FSAFError
from ..data.coco_index import BEYOND, read_json

# In the order of pycocotools.
COCO_METRICS = tuple("AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl".split())
COCO_AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}


def to_coco_results(
    image_ids: Sequence[int],
    detections: Sequence[Mapping[str, Tensor]],
    category_ids: Sequence[int],
) -> list[dict[str, Any]]:
    """Return detections in COCO's results format.

    Args:
        image_ids: ids of the B images.
        detections: for each image `boxes` (D, 4) x1 y1 x2 y2 in pixels of the file, `scores` (D,),
            `labels` (D,) 0..K-1.
        category_ids: ids of the K classes in the annotations.

    Returns:
        A dict for each detection: `image_id`, `category_id`, `bbox` (x y w h, pixels), `score`.
    """
    results = []
    for image_id, detected in zip(image_ids, detections, strict=True):
        boxes = detected["boxes"].detach().cpu().double()  # MPS has no float64
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)
        scores, labels = detected["scores"].tolist(), detected["labels"].tolist()
        results += [
            {
                "image_id": int(image_id),
                "category_id": int(category_ids[label]),
                "bbox": box,
                "score": score,
            }
            for box, score, label in zip(boxes.tolist(), scores, labels, strict=True)
        ]
    return results


def size_bin(area: float | int) -> str:
    """Return the size bin (x 2) of an object by sqrt(area) in pixels.

    Args:
        area: of the object, pixels^2.

    Returns:
        "0-8" below 8 pixels, then "8-16", "16-32", ...; a bin includes its lower end.
    """
    low, high = 0, 8
    while area >= high**2:
        low, high = high, 2 * high
    return f"{low}-{high}"


def coco_metrics(
    annotations: str | Path,
    results: Sequence[Mapping[str, Any]],
    image_ids: Iterable[int] | None = None,
    library: Literal["pycocotools"] | None = None,
) -> dict[str, Any]:
    """Return the twelve COCO metrics, and AP by class and by size.

    Args:
        annotations: path of a COCO json.
        results: detections in COCO's results format. An empty list gives metrics of 0.
        image_ids: ids of the evaluated images; None: all images of the json.
        library: the library that computes; None: faster_coco_eval if it is installed, else
            pycocotools. Both return the same values.

    Returns:
        The twelve metrics by name (`COCO_METRICS`), 0..1, or -1 where the set has no object of
        that size, as in COCO; `images` and `instances`, counts; `by_class`, {name: {AP, AP50,
        instances}}, and `by_size`, {size bin: {AP, AP50, instances}}, of the classes and bins that
        have instances; `precision_recall`, {recall, "0.50", "0.75", mean}, each with 101
        precisions, averaged over the classes.

    Raises:
        FSAFError: as `read_json`; "A detection names image 7, none of ...: evaluate on ..."; "A
            detection of image 7 holds a value that is no number: leave it out."
    """
    truth = _ground_truth(Path(annotations), None if image_ids is None else set(image_ids))
    known = {image["id"] for image in truth["images"]}
    for row in results:
        image_id = row["image_id"]
        if not np.isfinite([row["score"], *row["bbox"]]).all():
            raise FSAFError(
                f"A detection of image {image_id} holds a value that is no number: leave it out."
            )
        if image_id not in known:
            raise FSAFError(
                f"A detection names image {image_id}, none of {annotations}: "
                "evaluate on the set that the detections were made on."
            )
    counted = [row for row in truth["annotations"] if not row["iscrowd"]]
    of_class = Counter(row["category_id"] for row in counted)
    # Sorted by area, so the bins come in the order of size.
    of_size = Counter(map(size_bin, sorted(row["area"] for row in counted)))
    areas = dict(COCO_AREAS)
    for name in of_size:
        low, high = (int(side) ** 2 for side in name.split("-"))
        # COCO's ranges include both ends. A bin excludes its upper end, or an object of exactly
        # 16 pixels would count in two bins.
        areas[name] = (float(low), float(np.nextafter(high, 0)))
    precision, recall = _tables(truth, results, areas, library)
    at_100, bins = precision[..., 2], enumerate(of_size.items(), len(COCO_AREAS))
    values = [  # of COCO_METRICS
        *(at_100[ious, ..., 0] for ious in (slice(None), 0, 5)),  # IoU 0.5 .. 0.95, 0.5, 0.75
        *(at_100[..., area] for area in (1, 2, 3)),
        *(recall[..., 0, limit] for limit in (0, 1, 2)),
        *(recall[..., area, 2] for area in (1, 2, 3)),
    ]
    return {
        **dict(zip(COCO_METRICS, map(_mean, values), strict=True)),
        "images": len(known),
        "instances": len(counted),
        "by_class": {
            row["name"]: _part(at_100[:, :, column, 0], of_class[row["id"]])
            for column, row in enumerate(truth["categories"])
            if row["id"] in of_class
        },
        "by_size": {name: _part(at_100[..., area], count) for area, (name, count) in bins},
        "precision_recall": _curves(at_100[..., 0]),
    }


def _mean(values: np.ndarray) -> float:
    """Return the mean of the values that have instances, -1 if there are none."""
    values = values[values > -1]
    return float(values.mean()) if values.size else -1.0


def _part(precision: np.ndarray, instances: int) -> dict[str, float]:
    """Return the metrics of a class or a size bin; `precision` (T, 101, ...) is its own."""
    return {"AP": _mean(precision), "AP50": _mean(precision[0]), "instances": instances}


def _curves(precision: np.ndarray) -> dict[str, list[float]]:
    """Return precision by recall, averaged over the classes that have instances.

    Args:
        precision: (T, 101, K), -1 for classes without an instance.
    """
    precision = precision[:, :, (precision > -1).any((0, 1))]
    by_iou = precision.mean(2) if precision.shape[2] else np.zeros(precision.shape[:2])
    curves = {"0.50": by_iou[0], "0.75": by_iou[5], "mean": by_iou.mean(0)}
    curves = {"recall": np.linspace(0, 1, 101), **curves}
    return {name: np.round(curve, 4).tolist() for name, curve in curves.items()}


def table(metrics: Mapping[str, Any]) -> str:
    """Return the metrics as text: COCO's twelve in percent, AP by class and by size."""
    lines = [
        "  ".join(f"{name:>5}" for name in COCO_METRICS),
        "  ".join(_percent(metrics[name]) for name in COCO_METRICS),
    ]
    for title, key in (("AP by class", "by_class"), ("AP by sqrt(area)", "by_size")):
        parts = [f"{name} {_percent(row['AP']).strip()}" for name, row in metrics[key].items()]
        if parts:
            lines.append(f"{title}: {', '.join(parts)}")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:5.1f}" if value >= 0 else "    -"


def _ground_truth(path: Path, image_ids: set[int] | None) -> dict[str, Any]:
    """Return what the metrics need of the json, with defaults for `area` and `iscrowd`.

    Annotations get ids from 1, because pycocotools takes a match with the annotation of id 0 for
    no match.
    """
    content = read_json(path)
    images = [{"id": i} for i in content.images if image_ids is None or i in image_ids]
    known = {image["id"] for image in images}
    used = ("image_id", "category_id", "bbox", "area", "iscrowd")
    annotations: list[dict[str, Any]] = []
    for entry in content.annotations:
        numbers = (entry["area"], *entry["bbox"])
        is_finite = all(abs(number) < BEYOND for number in numbers)  # False for NaN, too
        if entry["image_id"] in known and entry["bbox"] and is_finite:
            row = {name: entry[name] for name in used}
            annotations.append({"id": len(annotations) + 1, **row})
    categories = [
        {"id": i, "name": entry["name"]} for i, entry in sorted(content.categories.items())
    ]
    return {"images": images, "annotations": annotations, "categories": categories}


def _tables(
    truth: dict[str, Any], results: Sequence[Mapping[str, Any]], areas: Mapping, library: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return COCO's tables of precision and recall, -1 where there is no instance.

    Returns:
        Precision (T IoUs 0.5, 0.55 .. 0.95; 101 recalls; K; A areas; M limits of 1, 10, 100
        detections an image) and recall (T, K, A, M).
    """
    COCO, COCOeval = _library(library)
    rows = []
    for number, row in enumerate(results, 1):
        bbox = [*row["bbox"]]
        rows.append({**row, "id": number, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0})
    with contextlib.redirect_stdout(io.StringIO()):  # both libraries print while they work
        sides = []
        for annotations in (truth["annotations"], rows):
            side = COCO()
            side.dataset = truth | {"annotations": annotations}
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, "bbox")
        evaluation.params.areaRng = [list(area) for area in areas.values()]
        evaluation.params.areaRngLbl = list(areas)
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (np.ascontiguousarray(evaluation.eval[w]) for w in ("precision", "recall"))
    return precision, recall


def _library(name: str | None) -> tuple[Any, Any]:
    if name is None:
        with contextlib.suppress(ImportError):
            from faster_coco_eval import COCO, COCOeval_faster

            return COCO, COCOeval_faster
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval
