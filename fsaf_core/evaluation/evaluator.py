"""A detector on a validation set: detections, metrics, selected levels and causes of misses.

The results are plain numbers, written to files; pictures are drawn from these files elsewhere.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm.auto import tqdm

from ..data.loader import Loader
from ..data.transforms import resize
from ..method.assignment import Assignment
from ..method.locations import box_area
from ..method.selection import select_heuristic
from ..model.detector import Detector
from ..model.postprocess import merge_candidates
from ..model.predictor import Predictor
from ..utils.classes import match_classes
from ..utils.distributed import DistributedContext, autocast
from ..utils.files import write_atomically
from ..utils.parts import MissingPart
from .coco_metrics import coco_metrics, size_bin, to_coco_results
from .miss_analysis import diagnose_misses, miss_table

# Factors of the short and the long side: (1333, 800), (666, 400) and (2000, 1200).
# Source: MMDetection 3.3.0, configs/retinanet/retinanet_tta.py.
TTA_SCALES = (1.0, 0.5, 1.5)
NUM_PICTURES = 10  # images whose boxes are kept for drawing


@dataclass(frozen=True)
class EvaluationResult:
    """The results of an evaluation as plain numbers.

    `metrics` is as `coco_metrics` gives it, and `missed` in it as `miss_table`. `results` are the
    detections in COCO's format. `levels` has three columns with a row for each object: `size`
    (sqrt(w h), pixels of the network's input), `level` (3..7, -1: none) and `heuristic`. `pictures`
    has `class_names` and, for some images, `file`, `truth` and `found`, boxes in the file's pixels.
    """

    metrics: dict[str, Any]
    results: list[dict[str, Any]]
    levels: dict[str, list]
    pictures: dict[str, Any]

    def write(self, run_dir: str | Path) -> None:
        """Write metrics.json, detections.json, levels.json and pictures.json into `run_dir`."""
        files = {
            "metrics": self.metrics,
            "detections": self.results,
            "levels": self.levels,
            "pictures": self.pictures,
        }
        for name, values in files.items():
            text = json.dumps(values, indent=1 if name == "metrics" else None)
            write_atomically(Path(run_dir) / f"{name}.json", text)


class EvaluationStopped(KeyboardInterrupt):
    """Ctrl-C in an evaluation. `results` are COCO results of this process's first images.

    Args:
        results: as in `EvaluationResult`.
        images: the number of these images.
    """

    def __init__(self, results: list[dict[str, Any]], images: int) -> None:
        super().__init__()
        self.results, self.images = results, images


@torch.no_grad()
def evaluate(detector: Predictor, loader: Loader, thorough: bool = True) -> EvaluationResult:
    """Return the results of the detector on the images of `loader`.

    The classes of the detector and of the set are matched by name. Several processes share the
    images, and each returns the result of all.

    Args:
        detector: is left in its mode.
        loader: of a validation set, with this process's share. `config.evaluate.tta` turns on
            test-time augmentation, and `config.train.amp` gives the network's number format.
        thorough: whether to add selected levels, pictures and causes of misses to the metrics.
            With test-time augmentation, of an exported file, or without the assigner of the
            training, only pictures are added.

    Raises:
        FSAFError: as `match_classes` and `Loader.epoch`.
        EvaluationStopped: after Ctrl-C.
    """
    was_training, dataset, tta = detector.training, loader.dataset, loader.config.evaluate.tta
    context = DistributedContext(loader.rank, loader.world_size, detector.device)
    names, image_ids = dataset.class_names, dataset.index.image_ids[dataset.kept].tolist()
    own_label = torch.tensor(
        match_classes(detector.config.class_names, names, "the detector", dataset.json_path)
    )
    set_label = own_label.argsort().tolist()  # of each of the detector's labels
    category_ids = [dataset.index.category_ids[label] for label in set_label]
    place = {image_id: number for number, image_id in enumerate(image_ids)}
    shown = np.linspace(0, len(dataset) - 1, min(NUM_PICTURES, len(dataset))).astype(int).tolist()
    # None: test-time augmentation and exported files give detections without the outputs of a pass.
    observed = detector if isinstance(detector, Detector) and not tta else None
    ids, results, levels, pictures = [], [], [], []
    outcomes: list[tuple[str, str | None]] = []  # size bin of each object, why it was missed
    silent = not context.is_main or not sys.stderr.isatty()
    bar = tqdm(total=len(loader), desc="evaluation", unit="batch", disable=silent, leave=False)
    detector.eval()
    try:
        for batch in loader.epoch():
            targets = [
                {**target, "labels": own_label[target["labels"]]} for target in batch.targets
            ]
            scales = [_scale(image, target["size"]) for image, target in zip(batch.images, targets)]
            with autocast(detector.device, loader.config.train.amp):
                if observed is not None:
                    prepared = observed.preprocess(batch.images)
                    outputs = observed.head_outputs(prepared.tensor)
                    detections = observed.postprocess(outputs, prepared.sizes, scales)
                elif tta:
                    images = [dataset[place[image_id]]["image"] for image_id in batch.ids]
                    detections = [detect_tta(detector, image) for image in images]
                else:
                    detections = detector.detect(batch.images, scales)
            ids += batch.ids
            results += to_coco_results(batch.ids, detections, category_ids)
            bar.update()
            if not thorough:
                continue
            truths = [
                {"boxes": target["boxes"] / torch.tensor(scale * 2), "labels": target["labels"]}
                for target, scale in zip(targets, scales)
            ]
            for image_id, truth, detected in zip(batch.ids, truths, detections):
                number = place[image_id]
                if number in shown:
                    picture = {
                        "file": str(dataset.path(number).resolve()),
                        "truth": {name: values.tolist() for name, values in truth.items()},
                        "found": {name: values.tolist() for name, values in detected.items()},
                    }
                    pictures.append((number, picture))
            if observed is None or isinstance(observed.parts.assigner, MissingPart):
                continue
            assignment = observed.assign(outputs, targets, prepared.sizes)
            levels += _levels(observed, assignment, targets)
            in_input = [
                {**one, "boxes": one["boxes"] * one["boxes"].new_tensor(scale * 2)}
                for one, scale in zip(detections, scales)
            ]
            causes = diagnose_misses(
                observed, outputs, prepared.sizes, targets, in_input, assignment
            )
            for truth, causes_of_image in zip(truths, causes):
                bins = map(size_bin, box_area(truth["boxes"]).tolist())
                outcomes += zip(bins, causes_of_image)
    except KeyboardInterrupt as stop:
        raise EvaluationStopped(results, len(ids)) from stop
    finally:
        bar.close()
        detector.train(was_training)

    ids, results, levels, pictures, outcomes = (
        context.gather(part) for part in (ids, results, levels, pictures, outcomes)
    )
    metrics = coco_metrics(dataset.json_path, results, ids) if context.is_main else {}
    metrics = context.broadcast(metrics)
    if outcomes:
        metrics["missed"] = miss_table(outcomes)
    columns = {
        name: [row[column] for row in levels]
        for column, name in enumerate(("size", "level", "heuristic"))
    }
    in_order = [picture for _, picture in sorted(pictures, key=lambda pair: pair[0])]
    class_names = [names[label] for label in set_label]
    return EvaluationResult(
        metrics, results, columns, {"class_names": class_names, "images": in_order}
    )


def _scale(image: Tensor, size: tuple[int, int]) -> tuple[float, float]:
    """Return the factors (x, y) of the resize from `size` (height, width) to `image`."""
    return image.shape[2] / size[1], image.shape[1] / size[0]


def _levels(
    detector: Detector, assignment: Assignment | None, targets: list[dict[str, Any]]
) -> list[tuple[float, int, int]]:
    """Return size, selected level and the FPN heuristic's level of each object."""
    if assignment is None or assignment.selected_level is None:
        return []
    config = detector.config
    boxes = torch.cat([target["boxes"] for target in targets])
    every_level = torch.zeros(len(boxes), len(config.strides))  # finite: no level is left out
    heuristic = select_heuristic(
        boxes, every_level, config.first_level, config.heuristic_size, config.heuristic_level
    )
    selected = assignment.selected_level.cpu()
    selected = torch.where(selected < 0, -1, selected + config.first_level)
    sizes = box_area(boxes).sqrt()
    heuristic = heuristic + config.first_level
    return list(zip(sizes.tolist(), selected.tolist(), heuristic.tolist()))


def detect_tta(detector: Predictor, image: UInt8[Tensor, "3 H W"]) -> dict[str, Tensor]:
    """Return detections of an image with test-time augmentation: three scales, plain and mirrored.

    Args:
        detector: in evaluation mode.
        image: at the file's size, RGB.

    Returns:
        `boxes` (D, 4) in the image's pixels, `scores` (D,) and `labels` (D,), best first, merged
        by class-wise NMS.

    Source: MMDetection 3.3.0, configs/retinanet/retinanet_tta.py.
    """
    config, width, parts = detector.config, image.shape[2], []
    for factor in TTA_SCALES:
        sized = resize(image, round(factor * config.short_side), round(factor * config.long_side))
        scale = _scale(sized, (image.shape[1], width))
        for mirrored in (False, True):
            (detected,) = detector.detect([sized.flip(2) if mirrored else sized], [scale])
            if mirrored:
                x1, y1, x2, y2 = detected["boxes"].unbind(1)
                detected["boxes"] = torch.stack([width - x2, y1, width - x1, y2], 1)
            parts.append(detected)
    merged = {
        name: torch.cat([part[name] for part in parts]) for name in ("boxes", "scores", "labels")
    }
    return merge_candidates(**merged, config=config)
