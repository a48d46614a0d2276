"""One image's assignment as plain numbers: which cells of which level learn a box, at what loss, and which level wins.

All comes from `Detector.assign`, which training uses, and from the same losses; here it is only taken apart and named.
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
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ...config import FSAFError, ModelConfig
from ...method.assignment import Assignment
from ...method.losses import focal_loss, focal_positive, gather_class
from ...method.selection import instance_level_losses, select_heuristic, select_online
from ...model.detector import Detector, build_detector
from ...model.structures import HeadOutputs
from ...utils.files import write_atomically
from ...weights.checkpoint import model_config

MOST_BOXES = 100
MOST_PIXELS = 2_000_000  # of an image; above, one update would be more than 100 kB
MOST_NUMBERS = 2_000  # cells whose own losses are told
NO_LEVEL = -1  # in place of a level, 3..7
CROWD = -1  # in place of a label, 0..K-1
CHOICES = ("selected", "online", "heuristic")
ERASED, UNDER_CROWD = -1, -2  # in place of the box that a cell was lost to


@dataclass(frozen=True)
class Snapshots:
    """What a detector says of one image after each of a few training steps, in half precision; no network is needed then."""

    config: ModelConfig
    steps: tuple[int, ...]
    outputs: tuple[HeadOutputs, ...]  # of one image each, anchor-free outputs only

    @classmethod
    def of(cls, detectors: Mapping[int, Detector], image: np.ndarray) -> "Snapshots":
        """Runs the detector of each step, one or more, once on `image` (H, W, 3) uint8; raises what `head_outputs` raises."""
        outputs = tuple(head_outputs(detector, image) for detector in detectors.values())
        return cls(next(iter(detectors.values())).config, tuple(detectors), outputs)

    @property
    def numbers(self) -> np.ndarray:
        """All outputs as one array (steps, K + 4, R) float16: class logits and l t r b over the cells of all levels."""
        by_step = (
            [torch.cat(both, 1).flatten(2) for both in zip(one.cls_logits, one.box_offsets)]
            for one in self.outputs
        )
        return torch.cat([torch.cat(levels, 2) for levels in by_step]).numpy()

    def save(self, path: str | Path) -> None:
        """Writes a small .npz: under 83 kB for 12 snapshots of a 128 px image with 6 classes."""
        shapes, config = (
            [m.shape[-2:] for m in self.outputs[0].cls_logits],
            json.dumps(asdict(self.config)),
        )
        np.savez_compressed(
            file := io.BytesIO(),
            numbers=self.numbers,
            shapes=shapes,
            steps=self.steps,
            config=config,
        )
        write_atomically(path, file.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "Snapshots":
        """What `save` wrote.

        Raises:
            FSAFError: "x.npz is no readable file of snapshots (...): make it with Snapshots.save."
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                numbers, shapes, steps = (
                    torch.from_numpy(file["numbers"]),
                    file["shapes"].tolist(),
                    file["steps"].tolist(),
                )
                config = model_config(json.loads(str(file["config"])), str(path))
            maps = [
                part.unflatten(2, shape)
                for part, shape in zip(numbers.split([h * w for h, w in shapes], 2), shapes)
            ]
        except (OSError, ValueError, KeyError, EOFError, RuntimeError, BadZipFile) as error:
            raise FSAFError(
                f"{path} is no readable file of snapshots ({error}): make it with Snapshots.save."
            ) from error
        outputs = (
            HeadOutputs([m[i : i + 1, :-4] for m in maps], [m[i : i + 1, -4:] for m in maps])
            for i in range(len(steps))
        )
        return cls(config, tuple(steps), tuple(outputs))


@torch.no_grad()
def head_outputs(detector: Detector, image: np.ndarray) -> HeadOutputs:
    """The anchor-free outputs of `image` (H, W, 3) uint8, in inference mode, half precision, on the CPU.

    Raises:
        FSAFError: "the explorer shows the anchor-free branch, and this detector has none: give another."
    """
    if detector.config.branches == "anchor_based":
        raise FSAFError(
            "the explorer shows the anchor-free branch, and this detector has none: give another."
        )
    was_training = detector.training
    detector.eval()
    found = detector.head_outputs(
        detector.preprocess([torch.from_numpy(np.array(image)).permute(2, 0, 1)]).tensor
    )
    detector.train(was_training)
    return HeadOutputs(
        [m.half().cpu() for m in found.cls_logits], [m.half().cpu() for m in found.box_offsets]
    )


def explore(
    size: tuple[int, int],
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    outputs: HeadOutputs | None,
    config: ModelConfig,
    selected: int = 0,
    whole: bool = False,
) -> dict[str, Any]:
    """All that the explorer shows of one image, ready for JSON, at most 100 kB.

    Args:
        size: height, width of the image, pixels.
        boxes: x1 y1 x2 y2 each, pixels.
        labels: 0..K-1, or -1 for a crowd box.
        outputs: of this image; None while there is no network: regions without losses.
        config: with the switches as wanted; its network need not be the one that made `outputs`.
        selected: the box whose regions are shown.
        whole: instead of them what the selection left of all boxes: positive cells, ignored cells.

    Returns:
        For each box its level 3..7 (-1: none) in `selected`, `online` and `heuristic`; `notes`, sentences on what is odd;
        `cell_center`, where a cell stands, in cells; and `levels`, a dict each: `level`, `stride`, `rows`, `columns`; `codes`, a
        digit for each cell, row by row: 0 negative, 1 ignoring, 2 effective, 3 lost; `loss`, `focal`, `iou` of the selected box
        (None: no cell); `taught`, what the level learns of it in the end: "positive", "ignored" or "negative"; `cells`:
        {index: [owner, focal, iou]}, of a lost cell {index: [owner]}.
    """
    good, notes = _judge(size, boxes, labels, config)
    levels: list[dict[str, Any]] = []
    answer: dict[str, Any] = {name: [NO_LEVEL] * len(boxes) for name in CHOICES}
    answer |= {"notes": notes, "levels": levels, "cell_center": config.rules.cell_center}
    if size[0] * size[1] > MOST_PIXELS:
        notes.append(
            f"The image is {size[1]} × {size[0]} px; the explorer takes 2 megapixels: make it smaller first."
        )
        return answer
    known = outputs is not None  # without them only what needs no loss is told
    if outputs is None:
        notes.append(
            "No snapshots yet: here are the regions, but losses need a network. Train one: fsaf train tiny."
        )
        outputs = _silence(size, config)
    instances = [index for index in good if labels[index] != CROWD]
    target = {
        "boxes": torch.tensor([boxes[index] for index in instances]).view(-1, 4).float(),
        "labels": torch.tensor([labels[index] for index in instances]).long(),
        "ignored": torch.tensor([boxes[index] for index in good if labels[index] == CROWD])
        .view(-1, 4)
        .float(),
    }
    assignment = assigner(config).assign(outputs, [target], [size])
    assert assignment is not None  # there is an anchor-free branch
    grid = assignment.regions.grid
    losses, size_rule = (
        assignment.level_losses,
        (config.first_level, config.heuristic_size, config.heuristic_level),
    )
    choices = {"heuristic": select_heuristic(target["boxes"], losses, *size_rule)}
    if known:
        choices["online"] = select_online(losses)
    if known or config.selection == "heuristic":
        choices["selected"] = assignment.selected_level
    for name, chosen in choices.items():
        for index, level in zip(instances, chosen.tolist()):
            answer[name][index] = level + config.first_level if level >= 0 else NO_LEVEL
    row = instances.index(selected) if selected in instances else None
    if row is not None and not (assignment.owner == row + 1).any():
        notes.append(f"Box {selected + 1} has no cell at any level: nothing learns it.")
    focal_loss, cell_iou = _cell_losses(outputs, assignment, config)
    focal, iou = (
        instance_level_losses(part, assignment.owner, grid, len(instances))
        for part in (focal_loss, cell_iou)
    )
    effective, ignoring = assignment.regions.maps()
    codes = _codes(assignment, effective, ignoring, row, whole and known)
    cells = _cells(codes, focal_loss[0], cell_iou[0], assignment, instances) if known else {}
    if len(cells) > MOST_NUMBERS:
        notes.append(
            "So many cells take part that their own losses are not told; the levels' are exact."
        )
        cells = {}
    for level, (rows, columns) in enumerate(grid.shapes):
        here = range(grid.starts[level], grid.starts[level] + grid.sizes[level])
        entry: dict[str, Any] = {
            "level": config.first_level + level,
            "stride": grid.strides[level],
            "rows": rows,
            "columns": columns,
            "codes": "".join(map(str, codes[here.start : here.stop].tolist())),
            "cells": {
                cell - here.start: numbers for cell, numbers in cells.items() if cell in here
            },
        }
        entry |= dict.fromkeys(("taught", "loss", "focal", "iou"))
        if known and row is not None:
            entry["taught"] = _taught(assignment, ignoring[row], row, labels[selected], level)
            if losses[row, level].isfinite():
                entry |= {
                    "loss": float(losses[row, level]),
                    "focal": float(focal[row, level]),
                    "iou": float(iou[row, level]),
                }
        levels.append(entry)
    return answer


@lru_cache(maxsize=64)
def assigner(config: ModelConfig) -> Detector:
    """A detector for its `assign` alone, which never looks at the network: so with the smallest one, and no weights."""
    with torch.device("meta"):
        return build_detector(
            replace(config, backbone="tiny", channels=8, tower_depth=0, branches="anchor_free")
        )


def padded(size: tuple[int, int], config: ModelConfig) -> tuple[int, int]:
    """Height and width of the detector's input for an image of `size`."""
    height, width = (-(-side // config.size_divisor) * config.size_divisor for side in size)
    return height, width


def _silence(size: tuple[int, int], config: ModelConfig) -> HeadOutputs:
    shapes = [
        tuple(-(-side // stride) for side in padded(size, config)) for stride in config.strides
    ]
    return HeadOutputs(
        [torch.zeros(1, config.num_classes, *s) for s in shapes],
        [torch.zeros(1, 4, *s) for s in shapes],
    )


def _judge(
    size: tuple[int, int], boxes: Sequence, labels: Sequence[int], config: ModelConfig
) -> tuple[list[int], list[str]]:
    """The boxes that can be assigned, and a sentence for each other one."""
    good, notes = [], []
    for index, ((x1, y1, x2, y2), label) in enumerate(zip(boxes[:MOST_BOXES], labels)):
        wrong = ""
        if not all(map(math.isfinite, (x1, y1, x2, y2))):
            wrong = "is not finite"
        elif x2 <= x1 or y2 <= y1:
            wrong = "has no area (drag a corner)"
        elif x2 <= 0 or y2 <= 0 or x1 >= size[1] or y1 >= size[0]:
            wrong = "lies outside the image (bring it back with Tab and the arrows)"
        elif not CROWD <= label < config.num_classes:
            wrong = f"has class {label}, and there are 0 to {config.num_classes - 1}"
        if wrong:
            notes.append(f"Box {index + 1} {wrong}: it is left out.")
        else:
            good.append(index)
    if len(boxes) > MOST_BOXES:
        notes.append(
            f"{len(boxes)} boxes are more than the explorer takes: the first {MOST_BOXES} take part."
        )
    if max(size) > 20 * min(size):
        notes.append(
            f"The image is {size[1]} × {size[0]} px, long and narrow: scroll along it, and trust the numbers."
        )
    return good, notes


def _cell_losses(
    outputs: HeadOutputs, assignment: Assignment, config: ModelConfig
) -> tuple[Float[Tensor, "1 R"], Float[Tensor, "1 R"]]:
    """Focal and IoU loss of each cell as the selection saw them, with its owner as target."""
    iou = outputs.box_loss(assignment.target_edges, assignment.regions.grid, config)
    if config.selection_focal == "own":
        return focal_positive(gather_class(outputs.blocks, assignment.label)), iou
    before = (
        assignment.ignored if config.rules.ignore_levels == "all" else None
    )  # the other rule follows from the selection
    return focal_loss(outputs.blocks, assignment.owner > 0, assignment.label, before), iou


def _codes(
    assignment: Assignment,
    effective: Bool[Tensor, "N R"],
    ignoring: Bool[Tensor, "N R"],
    row: int | None,
    whole: bool,
) -> Int64[Tensor, " R"]:
    """What each cell is for instance `row`, or (`whole`) after the selection for all."""
    owner = assignment.owner[0]
    codes = torch.zeros_like(owner)
    if row is not None and not whole:
        codes[ignoring[row]] = 1
        codes[effective[row]] = torch.where(owner[effective[row]] == row + 1, 2, 3)
        return codes
    if assignment.valid is not None:
        codes[~assignment.valid[0]] = 1
    if whole:
        codes[torch.cat([part.any(1) for part in assignment.ignored], 1)[0]] = 1
        codes[assignment.positive[0]] = 2
    return codes


def _cells(
    codes: Int64[Tensor, " R"],
    focal: Float[Tensor, " R"],
    iou: Float[Tensor, " R"],
    assignment: Assignment,
    boxes: list[int],
) -> dict[int, list]:
    """Of each effective cell its box, focal and IoU loss; of each lost one what took it."""
    valid = assignment.valid[0] if assignment.valid is not None else torch.ones_like(codes)
    where, told = (codes >= 2).nonzero()[:, 0], {}
    columns = (part[where].tolist() for part in (codes, assignment.owner[0], valid, focal, iou))
    for cell, code, owner, inside, *losses in zip(where.tolist(), *columns):
        who = boxes[owner - 1] if owner else ERASED if inside else UNDER_CROWD
        told[cell] = [who, *(round(loss, 5) for loss in losses)] if code == 2 else [who]
    return told


def _taught(
    assignment: Assignment, ignoring: Bool[Tensor, " R"], row: int, label: int, level: int
) -> str:
    """What becomes of an instance's region at a level after the selection, for its class."""
    here = (assignment.regions.grid.level == level) & ignoring
    if assignment.selected_level[row] == level:
        return "positive"
    left_out = torch.cat([part[0, label] for part in assignment.ignored])[here]
    return "ignored" if left_out.any() and left_out.all() else "negative"
