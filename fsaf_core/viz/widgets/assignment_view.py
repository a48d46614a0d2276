"""The label assignment of one image as plain numbers for the explorer.

The numbers come from `Detector.assign`, which training uses, and from the loss functions of
training. This module only takes them apart and names them.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ...config import FSAFError, ModelConfig
from ...data.transforms import padded_size
from ...method.assignment import look_up
from ...method.losses import focal_loss, focal_loss_positive, gather_class, iou_loss
from ...method.selection import instance_level_losses, select_heuristic, select_online
from ...model.detector import Detector, build_detector
from ...model.structures import HeadOutputs
from ...utils.files import write_atomically
from ...weights.checkpoint import model_config

MOST_BOXES = 100
MOST_PIXELS = 2_000_000  # of an image; above it, an answer would exceed 100 kB
MOST_LOSSES = 1_000  # locations whose own losses and boxes an answer lists
NO_LEVEL = -1  # in place of a level 3..7
CROWD = -1  # in place of a label 0..K-1
CHOICES = ("selected", "online", "heuristic")
ERASED, UNDER_CROWD = -1, -2  # in place of the box that took a lost location


@dataclass(frozen=True)
class Snapshots:
    """A detector's outputs for one image at several training steps, in half precision."""

    config: ModelConfig
    steps: tuple[int, ...]
    outputs: tuple[HeadOutputs, ...]  # of one image each, anchor-free branch only

    @classmethod
    def of(cls, detectors: Mapping[int, Detector], image: np.ndarray) -> "Snapshots":
        """Run the detector of each training step on `image`.

        Args:
            detectors: one or more, by training step.
            image: (H, W, 3) uint8, RGB.

        Raises:
            FSAFError: as `head_outputs`.
        """
        outputs = tuple(head_outputs(detector, image) for detector in detectors.values())
        return cls(next(iter(detectors.values())).config, tuple(detectors), outputs)

    @property
    def numbers(self) -> np.ndarray:
        """Return all outputs as one array (steps, K + 4, R) float16: class logits, then l t r b."""
        by_step = (
            [torch.cat(both, 1).flatten(2) for both in zip(one.cls_logits, one.box_offsets)]
            for one in self.outputs
        )
        return torch.cat([torch.cat(levels, 2) for levels in by_step]).numpy()

    def save(self, path: str | Path) -> None:
        """Write an .npz file; 12 snapshots of a 128 px image with 6 classes take under 83 kB."""
        np.savez_compressed(
            file := io.BytesIO(),
            numbers=self.numbers,
            shapes=[level.shape[-2:] for level in self.outputs[0].cls_logits],
            steps=self.steps,
            config=json.dumps(asdict(self.config)),
        )
        write_atomically(path, file.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "Snapshots":
        """Read what `save` wrote.

        Raises:
            FSAFError: "x.npz is not a readable file of snapshots (...): write it with
                Snapshots.save."
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                numbers, steps = torch.from_numpy(file["numbers"]), file["steps"].tolist()
                shapes = file["shapes"].tolist()
                config = model_config(json.loads(str(file["config"])), str(path))
            levels = numbers.split([rows * columns for rows, columns in shapes], 2)
            maps = [level.unflatten(2, shape) for level, shape in zip(levels, shapes)]
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, BadZipFile) as error:
            raise FSAFError(
                f"{path} is not a readable file of snapshots ({error}): "
                "write it with Snapshots.save."
            ) from error
        outputs = (
            HeadOutputs([m[i : i + 1, :-4] for m in maps], [m[i : i + 1, -4:] for m in maps])
            for i in range(len(steps))
        )
        return cls(config, tuple(steps), tuple(outputs))


@torch.no_grad()
def head_outputs(detector: Detector, image: np.ndarray) -> HeadOutputs:
    """Return the anchor-free outputs of `image` in evaluation mode, in half precision, on the CPU.

    Args:
        detector: its mode is the same afterwards.
        image: (H, W, 3) uint8, RGB.

    Raises:
        FSAFError: "the explorer shows the anchor-free branch, and this detector has none: use a
            detector that has one."
    """
    if detector.config.branches == "anchor_based":
        raise FSAFError(
            "the explorer shows the anchor-free branch, and this detector has none: "
            "use a detector that has one."
        )
    was_training = detector.training
    detector.eval()
    batch = detector.preprocess([torch.from_numpy(np.array(image)).permute(2, 0, 1)])
    outputs = detector.head_outputs(batch.tensor)
    detector.train(was_training)
    cls_logits, box_offsets = (
        [level.half().cpu() for level in levels]
        for levels in (outputs.cls_logits, outputs.box_offsets)
    )
    return HeadOutputs(cls_logits, box_offsets)


def explore(
    size: tuple[int, int],
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    outputs: HeadOutputs | None,
    config: ModelConfig,
    selected: int = 0,
    whole: bool = False,
) -> dict[str, Any]:
    """Return all that the explorer shows of one image, ready for JSON, at most 100 kB.

    Args:
        size: height, width of the image, pixels.
        boxes: x1 y1 x2 y2 each, pixels.
        labels: 0..K-1, or -1 for a crowd box.
        outputs: of this image. None: there is no network, so regions come without losses.
        config: with the switches set. It need not be that of the network that made `outputs`.
        selected: index of the box whose regions are shown.
        whole: show instead the result for all boxes: positive and ignored locations.

    Returns:
        `selected`, `online`, `heuristic`: the level 3..7 of each box, or -1 for none.
        `notes`: sentences about unusual input.
        `cell_center`: the center of a location, in cells from the corner of its cell.
        `levels`: a dict for each level, with
            `level`, `stride`, `rows`, `columns`;
            `codes`: a digit for each location, row by row: 0 negative, 1 ignoring, 2 effective,
                3 lost;
            `loss`, `focal`, `iou`: the loss of the selected box and its two terms, or None if the
                box has no location;
            `taught`: what the level learns of the selected box after the selection: "positive",
                "ignored" or "negative";
            `cells`: {location: [box, focal, iou, predicted box]}, and {location: [box]} for a lost
                location, where the box is the one that took it, ERASED or UNDER_CROWD;
            `says`, `mark`: its loss and its part in the selection, in words.
        `verdict`: a sentence about the selected box, or about all boxes.
    """
    usable, notes = _usable_boxes(size, boxes, labels, config)
    levels: list[dict[str, Any]] = []
    answer: dict[str, Any] = {name: [NO_LEVEL] * len(boxes) for name in CHOICES}
    answer |= {"notes": notes, "levels": levels, "cell_center": config.rules.cell_center}
    answer["verdict"] = ""
    if size[0] * size[1] > MOST_PIXELS:
        notes.append(
            f"The image is {size[1]} × {size[0]} px; the explorer takes 2 megapixels: make it "
            "smaller first."
        )
        return answer
    has_network = outputs is not None
    if outputs is None:
        notes.append("No snapshots: here are the regions, but losses need a network.")
        outputs = _zero_outputs(size, config)

    instances = [index for index in usable if labels[index] != CROWD]
    crowds = [index for index in usable if labels[index] == CROWD]
    target = {
        "boxes": torch.tensor([boxes[index] for index in instances]).view(-1, 4).float(),
        "labels": torch.tensor([labels[index] for index in instances]).long(),
        "ignored": torch.tensor([boxes[index] for index in crowds]).view(-1, 4).float(),
    }
    detector = assigner(config)
    # Any: FSAF's own assigner sets the optional fields of an Assignment too.
    assignment: Any = detector.assign(outputs, [target], [size])
    assigned, losses = assignment.before_selection, assignment.level_losses
    heuristic = (config.first_level, config.heuristic_size, config.heuristic_level)
    choices = {"heuristic": select_heuristic(target["boxes"], losses, *heuristic)}
    if has_network:
        choices["online"] = select_online(losses)
    if has_network or config.selection == "heuristic":
        choices["selected"] = assignment.selected_level
    for name, chosen in choices.items():
        for index, level in zip(instances, chosen.tolist()):
            answer[name][index] = level + config.first_level if level >= 0 else NO_LEVEL

    row = instances.index(selected) if selected in instances else None
    if row is not None and not (assigned == row).any():
        notes.append(f"Box {selected} has no location at any level: nothing learns it.")
    locations = detector.locations(outputs)
    predictions = detector.predictions(outputs)
    terms = _location_losses(predictions, target, assignment, config)
    focal, iou = (
        instance_level_losses(term, assigned, locations, len(instances)) for term in terms
    )
    codes = _codes(assignment, row, whole and has_network)
    decoded = predictions.boxes[0]
    cells = _cells(codes, assignment, terms, decoded, instances) if has_network else {}
    if len(cells) > MOST_LOSSES:
        notes.append("So many locations take part that only the losses of the levels are shown.")
        cells = {}
    for level, (rows, columns) in enumerate(locations.shapes):
        start = locations.starts[level]
        end = start + rows * columns
        entry: dict[str, Any] = {
            "level": config.first_level + level,
            "stride": locations.strides[level],
            "rows": rows,
            "columns": columns,
            "codes": "".join(map(str, codes[start:end].tolist())),
            "cells": {cell - start: cells[cell] for cell in cells if start <= cell < end},
            **dict.fromkeys(("taught", "loss", "focal", "iou")),
        }
        if has_network and row is not None:
            ignored = assignment.ignore[0, labels[selected], start:end]
            ignored = ignored[assignment.ignoring[row, start:end]]
            entry["taught"] = "ignored" if len(ignored) and ignored.all() else "negative"
            if assignment.selected_level[row] == level:
                entry["taught"] = "positive"
            if losses[row, level].isfinite():
                for name, values in (("loss", losses), ("focal", focal), ("iou", iou)):
                    entry[name] = float(values[row, level])
        levels.append(entry | _level_words(entry, answer, selected, whole))
    labels = labels[:MOST_BOXES]
    answer["verdict"] = _verdict(boxes, labels, answer, config, selected, whole)
    return answer


@lru_cache(maxsize=64)
def assigner(config: ModelConfig) -> Detector:
    """Return a detector for its assignment alone: the smallest network, without weights."""
    with torch.device("meta"):
        return build_detector(
            replace(config, backbone="tiny", channels=8, tower_depth=0, branches="anchor_free")
        )


def _zero_outputs(size: tuple[int, int], config: ModelConfig) -> HeadOutputs:
    height, width = padded_size(*size, config.size_divisor)
    shapes = [(-(-height // stride), -(-width // stride)) for stride in config.strides]
    cls_logits, box_offsets = (
        [torch.zeros(1, channels, *shape) for shape in shapes]
        for channels in (config.num_classes, 4)
    )
    return HeadOutputs(cls_logits, box_offsets)


def _usable_boxes(
    size: tuple[int, int], boxes: Sequence, labels: Sequence[int], config: ModelConfig
) -> tuple[list[int], list[str]]:
    """Return the indices of the boxes that can be assigned, and a sentence for each other box."""
    usable, notes = [], []
    for index, ((x1, y1, x2, y2), label) in enumerate(zip(boxes[:MOST_BOXES], labels)):
        wrong = ""
        if not all(map(math.isfinite, (x1, y1, x2, y2))):
            wrong = "is not finite"
        elif x2 <= x1 or y2 <= y1:
            wrong = "has no area (drag a corner)"
        elif x2 <= 0 or y2 <= 0 or x1 >= size[1] or y1 >= size[0]:
            wrong = "lies outside the image (move it with the arrow keys)"
        elif not CROWD <= label < config.num_classes:
            wrong = f"has class {label}, and there are 0 to {config.num_classes - 1}"
        if wrong:
            notes.append(f"Box {index} {wrong}: it is left out.")
        else:
            usable.append(index)
    if len(boxes) > MOST_BOXES:
        notes.append(
            f"{len(boxes)} boxes are more than the explorer takes: the first {MOST_BOXES} take "
            "part."
        )
    if max(size) > 20 * min(size):
        notes.append(
            f"The image is {size[1]} × {size[0]} px, long and narrow: scroll along it, and trust "
            "the numbers."
        )
    return usable, notes


def _location_losses(
    predictions: Any, target: dict[str, Tensor], assignment: Any, config: ModelConfig
) -> tuple[Float[Tensor, "1 R"], Float[Tensor, "1 R"]]:
    """Return the focal and the IoU loss of each location, as the selection saw them."""
    assigned = assignment.before_selection
    iou = iou_loss(predictions.boxes, look_up(target["boxes"], assigned, 0))
    label = look_up(target["labels"], assigned, -1)
    parameters = config.focal_alpha, config.focal_gamma
    if config.selection_focal == "own":
        return focal_loss_positive(gather_class(predictions.logits, label), *parameters), iou
    # The other rule, "adjacent", follows from the selection and has no part in it.
    ignore = assignment.ignore if config.rules.ignore_levels == "all" else None
    return focal_loss(predictions.logits, label, ignore, *parameters), iou


def _codes(assignment: Any, row: int | None, whole: bool) -> Int64[Tensor, " R"]:
    """Return the code of each location for instance `row`, or after the selection for all."""
    assigned = assignment.before_selection[0]
    codes = torch.zeros_like(assigned)
    if row is not None and not whole:
        codes[assignment.ignoring[row]] = 1
        codes[assignment.effective[row]] = 3
        codes[assigned == row] = 2
        return codes
    if assignment.valid is not None:
        codes[~assignment.valid[0]] = 1
    if whole:
        codes[assignment.ignore[0].any(0)] = 1
        codes[assignment.positive[0]] = 2
    return codes


def _cells(
    codes: Int64[Tensor, " R"],
    assignment: Any,
    terms: tuple[Float[Tensor, "1 R"], Float[Tensor, "1 R"]],
    decoded: Float[Tensor, "R 4"],
    boxes: list[int],
) -> dict[int, list]:
    """Return what is known of each effective location, and the taker of each lost one.

    Args:
        codes: of `_codes`.
        assignment: of the image.
        terms: focal and IoU loss of each location.
        decoded: the box that each location predicts.
        boxes: the index among all boxes of each instance.
    """
    valid = torch.ones_like(codes) if assignment.valid is None else assignment.valid[0]
    where, cells = (codes >= 2).nonzero()[:, 0], {}
    columns = (codes, assignment.before_selection[0], valid, *(term[0] for term in terms), decoded)
    for cell, code, instance, inside, focal, iou, box in zip(
        where.tolist(), *(column[where].tolist() for column in columns)
    ):
        index = boxes[instance] if instance >= 0 else ERASED if inside else UNDER_CROWD
        numbers = [round(focal, 5), round(iou, 5), [round(side, 4) for side in box]]
        cells[cell] = [index, *numbers] if code == 2 else [index]
    return cells


def level_name(level: int) -> str:
    """Return "P3", ..., "P7", or "no level"."""
    return "no level" if level == NO_LEVEL else f"P{level}"


def class_name(label: int, config: ModelConfig) -> str:
    """Return the name of class `label`; CROWD and unknown classes have one too."""
    if label == CROWD:
        return "crowd"
    return config.class_names[label] if label < config.num_classes else f"class {label}"


def _level_words(
    entry: dict[str, Any], answer: dict[str, Any], selected: int, whole: bool
) -> dict[str, str]:
    """Return `says` and `mark` of a level."""
    level, chosen = entry["level"], answer["selected"]
    if whole:
        return {"says": f"learns {chosen.count(level)} of {len(chosen)}", "mark": ""}
    says, marks = "no location of the box", []
    if entry["loss"] is not None:
        says = "{focal:.3f} + {iou:.3f} = {loss:.3f}".format(**entry)
    elif "2" in entry["codes"]:
        says = "loss not known"
    elif "3" in entry["codes"]:
        says = "all its locations are lost"
    own = {name: answer[name][selected : selected + 1] == [level] for name in CHOICES}
    if own["selected"]:
        marks.append("★ learns it")
    elif own["online"]:
        marks.append("least loss")
    if entry["taught"] in ("ignored", "negative"):
        marks.append(f"{entry['taught']} here")
    if own["heuristic"]:
        marks.append("▲ size")
    return {"says": says, "mark": " · ".join(marks)}


def _verdict(
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    answer: dict[str, Any],
    config: ModelConfig,
    selected: int,
    whole: bool,
) -> str:
    """Return one sentence about the selected box, or about all boxes."""
    chosen = answer["selected"]
    if whole:
        learned = (
            f"P{one['level']} learns {chosen.count(one['level'])}" for one in answer["levels"]
        )
        return f"After the selection: {', '.join(learned)}."
    if selected >= len(labels):
        return "There is no box: draw one on the image."
    x1, y1, x2, y2 = boxes[selected]
    size = " × ".join(f"{round(side, 2):g}" for side in (x2 - x1, y2 - y1))
    what = f"Box {selected} ({class_name(labels[selected], config)}, {size} px)"
    if labels[selected] == CROWD:
        return f"{what}: locations inside its inner half have no loss."
    learns = "no level learns it"
    if chosen[selected] != NO_LEVEL:
        loss = answer["levels"][chosen[selected] - config.first_level]["loss"]
        learns = f"P{chosen[selected]} learns it" + ("" if loss is None else f", loss {loss:.3f}")
    return f"{what}: {learns}; by size: {level_name(answer['heuristic'][selected])}."
