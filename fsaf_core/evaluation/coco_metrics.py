"""COCO's figures: detections and a json in, numbers out.

pycocotools is the measure; faster-coco-eval, where it is installed, gives the same figures sooner.
"""

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from ..config import FSAFError
from ..data.coco_index import BEYOND
from ..utils.files import excerpt

# Name -> (what, IoU threshold or None for the mean over 0.5, 0.55 .. 0.95, area, detections an image), in pycocotools' order.
COCO_METRICS: dict[str, tuple[str, float | None, str, int]] = {
    "AP": ("precision", None, "all", 100),
    "AP50": ("precision", 0.5, "all", 100),
    "AP75": ("precision", 0.75, "all", 100),
    "APs": ("precision", None, "small", 100),
    "APm": ("precision", None, "medium", 100),
    "APl": ("precision", None, "large", 100),
    "AR1": ("recall", None, "all", 1),
    "AR10": ("recall", None, "all", 10),
    "AR100": ("recall", None, "all", 100),
    "ARs": ("recall", None, "small", 100),
    "ARm": ("recall", None, "medium", 100),
    "ARl": ("recall", None, "large", 100),
}
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
    """Detections in COCO's results format: one dict for each, with image_id, category_id, bbox (x y w h, pixels) and score.

    Args:
        image_ids: of the B images.
        detections: of each image `boxes` (D,4) x1 y1 x2 y2 in the file's own pixels, `scores` (D,), `labels` (D,) 0..K-1.
        category_ids: of the K classes, as in the annotations.
    """
    results = []
    for image_id, found in zip(image_ids, detections, strict=True):
        boxes = found["boxes"].detach().double().cpu()
        boxes[:, 2:] -= boxes[:, :2]
        rows = zip(boxes.tolist(), found["scores"].tolist(), found["labels"].tolist(), strict=True)
        results += [
            {
                "image_id": int(image_id),
                "category_id": int(category_ids[label]),
                "bbox": [round(edge, 3) for edge in box],  # what COCO itself keeps of a box is less
                "score": round(score, 6),
            }
            for box, score, label in rows
        ]
    return results


def size_bin(area: float | int) -> str:
    """The octave of an object's size sqrt(area): "0-8" below 8 pixels, then "8-16", "16-32" .., the lower end included."""
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
    """The twelve COCO figures, and AP by class and by size.

    Args:
        annotations: path of a COCO json.
        results: detections in COCO's results format; none at all is a result too: zeros.
        image_ids: the images that were looked at; None: all of the json.
        library: which one computes; None: faster_coco_eval where installed, else pycocotools. The figures are the same.

    Returns:
        The twelve by name (`COCO_METRICS`), 0..1, or -1 where no object is of that size, as in COCO; `images`, `instances`;
        `by_class`: {name: {AP, AP50, instances}} and `by_size`: {octave: {AP, AP50, instances}} of those that have instances;
        `precision_recall`: {recall, "0.50", "0.75", mean}: 101 precisions each, mean over the classes.

    Raises:
        FSAFError: the json cannot be read or is none of COCO's; "A detection names image 7, none of ...: ..."
    """
    truth = _ground_truth(Path(annotations), None if image_ids is None else set(image_ids))
    known = {image["id"] for image in truth["images"]}
    broken = next(
        (row["image_id"] for row in results if not np.isfinite([row["score"], *row["bbox"]]).all()),
        None,
    )
    if broken is not None:
        raise FSAFError(
            f"A detection of image {broken} holds a value that is no number: leave it out."
        )
    stranger = next((row["image_id"] for row in results if row["image_id"] not in known), None)
    if stranger is not None:
        raise FSAFError(
            f"A detection names image {stranger}, none of {annotations}: evaluate on the set it was made on."
        )
    counted = [row for row in truth["annotations"] if not row["iscrowd"]]
    of_class = Counter(row["category_id"] for row in counted)
    of_size = Counter(
        size_bin(area) for area in sorted(row["area"] for row in counted)
    )  # so that they stand by size
    areas = dict(COCO_AREAS)
    for octave in of_size:
        low, high = (int(side) ** 2 for side in octave.split("-"))
        # COCO's ranges include both ends; an octave must not, or an object of exactly 16 px would stand in two.
        areas[octave] = (float(low), float(np.nextafter(high, 0)))
    table = _tables(truth, results, areas, library)

    def figure(
        what: str, iou: float | None, area: str, most: int = 100, column: int | slice = slice(None)
    ) -> float:
        values = table[what][
            ..., column, list(areas).index(area), (1, 10, 100).index(most)
        ]  # (T, [101,] [K])
        values = values if iou is None else values[round((iou - 0.5) / 0.05)]
        return float(np.mean(values[values > -1])) if (values > -1).any() else -1.0

    def part(
        instances: int, area: str = "all", column: int | slice = slice(None)
    ) -> dict[str, float]:
        ap, ap50 = (figure("precision", iou, area, column=column) for iou in (None, 0.5))
        return {"AP": ap, "AP50": ap50, "instances": instances}

    metrics: dict[str, Any] = {name: figure(*arguments) for name, arguments in COCO_METRICS.items()}
    classes = enumerate(truth["categories"])
    metrics |= {
        "images": len(known),
        "instances": len(counted),
        "by_class": {
            row["name"]: part(of_class[row["id"]], column=column)
            for column, row in classes
            if row["id"] in of_class
        },
        "by_size": {octave: part(number, octave) for octave, number in of_size.items()},
    }
    precision = table["precision"][
        :, :, :, 0, 2
    ]  # (T, 101, K), -1 in the columns of classes without an instance
    precision = precision[:, :, (precision > -1).any((0, 1))]
    by_iou = precision.mean(2) if precision.shape[2] else np.zeros(precision.shape[:2])
    curves = {
        "recall": np.linspace(0, 1, 101),
        "0.50": by_iou[0],
        "0.75": by_iou[5],
        "mean": by_iou.mean(0),
    }
    metrics["precision_recall"] = {
        name: np.round(curve, 4).tolist() for name, curve in curves.items()
    }
    return metrics


def table(metrics: Mapping[str, Any]) -> str:
    """The figures of an evaluation as text: COCO's twelve in percent, AP by class and by size."""
    lines = [
        "  ".join(f"{name:>5}" for name in COCO_METRICS),
        "  ".join(_percent(metrics[name]) for name in COCO_METRICS),
    ]
    for title, key in (("AP by class", "by_class"), ("AP by sqrt(area)", "by_size")):
        if metrics[key]:
            lines.append(
                f"{title}: "
                + ", ".join(
                    f"{name} {_percent(row['AP']).strip()}" for name, row in metrics[key].items()
                )
            )
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:5.1f}" if value >= 0 else "    -"


def _ground_truth(path: Path, image_ids: set[int] | None) -> dict[str, Any]:
    """The json without what the metrics do not need, and with what own data often leaves out: area, iscrowd, and ids from 1.

    pycocotools takes a match with the annotation of id 0 for no match.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
        images = [
            {"id": row["id"]}
            for row in data["images"]
            if image_ids is None or row["id"] in image_ids
        ]
        kept = {image["id"] for image in images}
        annotations = [
            {
                "image_id": row["image_id"],
                "category_id": row["category_id"],
                "bbox": row["bbox"],
                "area": row.get("area", row["bbox"][2] * row["bbox"][3]),
                "iscrowd": int(row.get("iscrowd", 0)),
            }
            for row in data["annotations"]
            if row["image_id"] in kept and row.get("bbox")
        ]
        annotations = [
            row
            for row in annotations
            if all(abs(value) < BEYOND for value in (row["area"], *row["bbox"]))
        ]  # no NaN
        names = {
            int(row["id"]): str(row["name"]) for row in reversed(data["categories"])
        }  # of equal ids, the first
        categories = [{"id": number, "name": name} for number, name in sorted(names.items())]
    except OSError as error:
        raise FSAFError(
            f"{path} cannot be read ({error.strerror}): give the path of a COCO json."
        ) from None
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise FSAFError(
            f"{path} is no COCO json ({type(error).__name__}: {excerpt(error)}): it needs images, annotations, categories."
        ) from None
    for number, row in enumerate(annotations, 1):
        row["id"] = number
    return {"images": images, "annotations": annotations, "categories": categories}


def _tables(
    truth: dict[str, Any], results: Sequence[Mapping[str, Any]], areas: Mapping, library: str | None
) -> dict[str, np.ndarray]:
    """`precision` (T IoUs, 101 recalls, K, A areas, M: 1, 10, 100 detections) and `recall` (T, K, A, M); -1 = no instance."""
    COCO, COCOeval = _library(library)
    found = [
        {
            **row,
            "id": number,
            "bbox": [*row["bbox"]],
            "area": row["bbox"][2] * row["bbox"][3],
            "iscrowd": 0,
        }
        for number, row in enumerate(results, 1)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # both libraries talk while they work
        sides = []
        for annotations in (truth["annotations"], found):
            side = COCO()
            side.dataset = truth | {"annotations": annotations}
            side.createIndex()
            sides.append(side)
        judge = COCOeval(*sides, "bbox")
        judge.params.areaRng, judge.params.areaRngLbl = (
            [list(area) for area in areas.values()],
            list(areas),
        )
        judge.evaluate()
        judge.accumulate()
    return {name: np.ascontiguousarray(judge.eval[name]) for name in ("precision", "recall")}


def _library(name: str | None) -> tuple[Any, Any]:
    if name is None:
        with contextlib.suppress(ImportError):
            from faster_coco_eval import COCO, COCOeval_faster

            return COCO, COCOeval_faster
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return COCO, COCOeval
