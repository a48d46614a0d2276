"""A detector on a validation set: its detections, figures, levels and misses. Writes files of numbers; draws nothing."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import UInt8
from torch import Tensor
from torchvision.ops import batched_nms
from tqdm.auto import tqdm

from ..config import FSAFError
from ..data.loader import Batch, Loader
from ..data.transforms import resize
from ..method.locations import box_area
from ..method.selection import select_heuristic
from ..model.detector import Detector
from ..utils.files import write_atomically
from .coco_metrics import coco_metrics, size_bin, to_coco_results
from .miss_analysis import diagnose_misses, miss_table

TTA_SCALES = (
    1.0,
    0.5,
    1.5,
)  # of short and long side: (1333, 800), (666, 400), (2000, 1200); reference, rule 19
NUM_PICTURES = 10  # images whose boxes are kept for drawing


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found out, as plain numbers; `write` makes the files that pictures are drawn from."""

    metrics: dict[str, Any]  # as `coco_metrics`, and `missed` as `misses.miss_table`
    results: list[dict[str, Any]]  # detections in COCO's results format
    levels: dict[
        str, list
    ]  # of each object: size (sqrt(w h), pixels of the network's input), level (3..7, -1 = none), heuristic
    pictures: dict[
        str, Any
    ]  # class_names, and of some images file, truth, found; boxes in the file's pixels

    def write(self, run_dir: str | Path) -> None:
        """`metrics.json`, `detections.json`, `levels.json` and `pictures.json` in `run_dir`."""
        files = {
            "metrics": self.metrics,
            "detections": self.results,
            "levels": self.levels,
            "pictures": self.pictures,
        }
        for name, numbers in files.items():
            write_atomically(
                Path(run_dir) / f"{name}.json",
                json.dumps(numbers, indent=1 if name == "metrics" else None),
            )


@torch.no_grad()
def evaluate(detector: Detector, loader: Loader, thorough: bool = True) -> EvaluationResult:
    """The detector's figures on the images of `loader`, shared with the other processes if there are any.

    Args:
        detector: left in the mode it was in.
        loader: of a validation set, with this process's share of it; multi-scale and flip testing if `config.evaluate.tta`.
        thorough: levels, pictures and causes of misses too; else the metrics alone.

    Returns:
        The same record in every process.

    Raises:
        FSAFError: "The detector knows 80 classes, ... has 6: take the set that it was trained for ..."; as `Loader.epoch`.
    """
    was_training, dataset, tta = detector.training, loader.dataset, loader.config.evaluate.tta
    if len(dataset.class_names) != detector.config.num_classes:
        raise FSAFError(
            f"The detector knows {detector.config.num_classes} classes, {dataset.json_path} has {len(dataset.class_names)}: take "
            "the set that it was trained for (--data.source, --data.root, --data.val-json)."
        )
    index = dataset.index
    place = {
        int(index.image_ids[kept]): number for number, kept in enumerate(dataset.kept.tolist())
    }
    shown = set(
        np.linspace(0, len(dataset) - 1, min(NUM_PICTURES, len(dataset))).astype(int).tolist()
    )
    ids, results, levels, pictures = [], [], [], []
    outcomes: list[
        tuple[str, str | None]
    ] = []  # of each object its size octave, and why it was missed
    silent = loader.rank > 0 or not sys.stderr.isatty()
    detector.eval()
    try:
        for batch in tqdm(
            loader.epoch(),
            total=len(loader),
            desc="evaluation",
            unit="batch",
            disable=silent,
            leave=False,
        ):
            scales = [
                _scale(image, target["size"]) for image, target in zip(batch.images, batch.targets)
            ]
            if tta:
                found = [
                    detect_tta(detector, dataset[place[image_id]]["image"])
                    for image_id in batch.ids
                ]
            else:
                prepared = detector.preprocess(batch.images)
                outputs = detector.head_outputs(prepared.tensor)
                found = detector.postprocess(outputs, prepared.sizes, scales)
            ids += batch.ids
            results += to_coco_results(batch.ids, found, index.category_ids)
            if not thorough:
                continue
            for image_id, target, own, scale in zip(batch.ids, batch.targets, found, scales):
                if place[image_id] in shown:
                    truth = {
                        "boxes": (target["boxes"] / torch.tensor(scale * 2)).tolist(),
                        "labels": target["labels"].tolist(),
                    }
                    lists = {name: own[name].tolist() for name in ("boxes", "labels", "scores")}
                    file = str(dataset.path(place[image_id]).resolve())
                    pictures.append(
                        (place[image_id], {"file": file, "truth": truth, "found": lists})
                    )
            if not tta:  # the causes and levels are those of one pass
                assignment = detector.assign(outputs, batch.targets, prepared.sizes)
                for own, scale in zip(found, scales):  # to the input's pixels
                    own["boxes"] = own["boxes"] * own["boxes"].new_tensor(scale * 2)
                causes = diagnose_misses(
                    detector, outputs, prepared.sizes, batch.targets, found, assignment
                )
                for target, scale, of_image in zip(batch.targets, scales, causes):
                    areas = box_area(target["boxes"] / torch.tensor(scale * 2)).tolist()
                    outcomes += zip(map(size_bin, areas), of_image)
                levels += _levels(detector, assignment, batch)
    finally:
        detector.train(was_training)

    ids, results, levels, pictures, outcomes = (
        _gathered(part) for part in (ids, results, levels, pictures, outcomes)
    )
    metrics = [
        coco_metrics(dataset.json_path, results, ids)
        if not dist.is_initialized() or dist.get_rank() == 0
        else {}
    ]
    if dist.is_initialized():
        dist.broadcast_object_list(metrics)
    if outcomes:
        metrics[0]["missed"] = miss_table(outcomes)
    columns = {
        name: [row[number] for row in levels]
        for number, name in enumerate(("size", "level", "heuristic"))
    }
    in_order = [picture for _, picture in sorted(pictures, key=lambda pair: pair[0])]
    return EvaluationResult(
        metrics[0], results, columns, {"class_names": list(dataset.class_names), "images": in_order}
    )


def _scale(image: Tensor, size: tuple[int, int]) -> tuple[float, float]:
    """The factors (x, y) by which a file's image of `size` (height, width) became `image`."""
    return image.shape[2] / size[1], image.shape[1] / size[0]


def _levels(detector: Detector, assignment: Any, batch: Batch) -> list[tuple[float, int, int]]:
    """Size, selected level and the heuristic's level of each object."""
    if assignment is None:
        return []
    config = detector.config
    boxes = torch.cat([target["boxes"] for target in batch.targets])
    all_levels = torch.zeros(len(boxes), len(config.strides))  # as if every level had a cell
    heuristic = select_heuristic(
        boxes, all_levels, config.first_level, config.heuristic_size, config.heuristic_level
    )
    chosen = assignment.selected_level.cpu()
    chosen = torch.where(chosen < 0, -1, chosen + config.first_level)
    return list(
        zip(
            box_area(boxes).sqrt().tolist(),
            chosen.tolist(),
            (heuristic + config.first_level).tolist(),
        )
    )


def _gathered(mine: list) -> list:
    """The lists of all processes one after the other."""
    if not dist.is_initialized():
        return mine
    lists: list = [None] * dist.get_world_size()
    dist.all_gather_object(lists, mine)
    return [entry for part in lists for entry in part]


def detect_tta(detector: Detector, image: UInt8[Tensor, "3 H W"]) -> dict[str, Tensor]:
    """Detections of an image at three scales, plain and mirrored, merged by class-wise NMS.

    Args:
        image: at the file's size.

    Returns:
        `boxes` (D, 4) in the image's pixels, `scores`, `labels`; best first.

    Source: reference, rule 19.
    """
    config, parts = detector.config, []
    for factor in TTA_SCALES:
        sized = resize(image, round(factor * config.short_side), round(factor * config.long_side))
        for mirrored in (False, True):
            batch = detector.preprocess([sized.flip(2) if mirrored else sized])
            scale = _scale(sized, (image.shape[1], image.shape[2]))
            found = detector.postprocess(detector.head_outputs(batch.tensor), batch.sizes, [scale])[
                0
            ]
            if mirrored:
                x1, y1, x2, y2 = found["boxes"].unbind(1)
                found["boxes"] = torch.stack([image.shape[2] - x2, y1, image.shape[2] - x1, y2], 1)
            parts.append(found)
    merged = {
        name: torch.cat([part[name] for part in parts]) for name in ("boxes", "scores", "labels")
    }
    keep = batched_nms(merged["boxes"], merged["scores"], merged["labels"], config.nms_thresh)[
        : config.detections_per_img
    ]
    return {name: values[keep] for name, values in merged.items()}
