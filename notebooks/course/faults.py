"""Plumbing of notebook 08: a small training with one fault, its log and its detections.

Each fault is a context that replaces one line of the detector. tests/notebooks/make_faults.py runs
the trainings and stores them in faults.json.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

import fsaf_core as fsaf
from fsaf_core.config import SCENE_CLASSES, SceneConfig
from fsaf_core.data.synthetic.renderer import render_scene
from fsaf_core.engine.optim import learning_rate
from fsaf_core.evaluation.coco_metrics import coco_metrics
from fsaf_core.method import assignment as method
from fsaf_core.method.selection import instance_level_losses
from fsaf_core.model.detector import Detector
from fsaf_core.model.structures import HeadOutputs

FILE = Path(__file__).parent / "faults.json"
SCENES, BATCH, STEPS, WARMUP = 16, 8, 200, 10
LOGGED = (1, 2, 5, *range(10, STEPS + 1, 10))  # steps with a line in the log
PICTURE = 2  # of the scenes: the one whose detections are stored


def small_scenes(count: int = SCENES) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return training scenes of 64 x 64 pixels: images (3, 64, 64) uint8, and targets."""
    config = SceneConfig(image_size=64, max_objects=3, empty_share=0.0)
    images, targets = [], []
    for index in range(count):
        image, objects = render_scene(config, index, "train")
        images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
        boxes = torch.tensor([one.box for one in objects])
        labels = torch.tensor([one.label for one in objects])
        targets.append({"boxes": boxes, "labels": labels})
    return images, targets


def recipe(warmup: int = WARMUP) -> fsaf.config.TrainConfig:
    """Return the recipe of the small trainings."""
    tiny = fsaf.presets.get("tiny").train
    return replace(tiny, steps=STEPS, warmup_steps=warmup, batch_size=16, lr=0.004)


@contextmanager
def every_level_learns() -> Iterator[None]:
    """Fault 1: keep the locations of all levels positive."""
    right = Detector.assign

    def assign(*args):
        assignment = right(*args)
        return replace(assignment, assigned=assignment.before_selection)

    with patch.object(Detector, "assign", assign):
        yield


def sums(location_loss, assigned, locations, num_instances):
    """Return the sum of the losses at each level, where `instance_level_losses` has the mean."""
    given = assigned, locations, num_instances
    ones = torch.ones_like(location_loss)
    levels = len(locations.strides)
    slot = (assigned.clamp(min=0) * levels + locations.level)[assigned >= 0]
    count = torch.bincount(slot, minlength=num_instances * levels).view(-1, levels)
    mean = instance_level_losses(location_loss, *given)
    assert torch.equal(instance_level_losses(ones, *given).isinf(), count == 0)
    return mean * count.clamp(min=1)


@contextmanager
def sum_for_mean() -> Iterator[None]:
    """Fault 2: compare sums of losses in the selection."""
    with patch.object(method, "instance_level_losses", sums):
        yield


@contextmanager
def no_normalizer() -> Iterator[None]:
    """Fault 3: divide the losses by 1."""
    with patch.object(Detector, "normalizer", lambda self, assignment: torch.tensor(1.0)):
        yield


@contextmanager
def no_prior() -> Iterator[None]:
    """Fault 4: start the bias of the class output at 0."""
    right = Detector.__init__

    def init(self, *args, **kwargs):
        right(self, *args, **kwargs)
        nn.init.zeros_(self.network.head.af_cls.bias)

    with patch.object(Detector, "__init__", init):
        yield


@contextmanager
def decoded_from(cell_center: float) -> Iterator[None]:
    """Fault 7: decode the boxes in inference from another point of the cell."""
    right = Detector.postprocess

    def postprocess(self, *args):
        config = self.config
        self.config = replace(config, cell_center=cell_center)
        try:
            return right(self, *args)
        finally:
            self.config = config

    with patch.object(Detector, "postprocess", postprocess):
        yield


@contextmanager
def double_sigmoid() -> Iterator[None]:
    """Fault 8: take the sigmoid twice in inference."""
    right = Detector.postprocess

    def postprocess(self, outputs, *args):
        once = [level.sigmoid() for level in outputs.cls_logits]
        return right(self, HeadOutputs(once, outputs.box_offsets), *args)

    with patch.object(Detector, "postprocess", postprocess):
        yield


FAULTS: dict[str, Callable] = {
    "sound": nullcontext,
    "1 every level learns": every_level_learns,
    "2 sum for mean": sum_for_mean,
    "3 no normalizer": no_normalizer,
    "4 no prior bias": no_prior,
    "7 half a cell": lambda: decoded_from(0.0),
    "8 double sigmoid": double_sigmoid,
}


def train_with(fault: str, seed: int, warmup: int = WARMUP, cell_center: float = 0.5) -> dict:
    """Train on the small scenes with a fault, and return what faults.json holds of the run.

    Args:
        fault: a key of `FAULTS`.
        seed: of the first weights.
        warmup: steps of the warm-up.
        cell_center: of the training.

    Returns:
        `log`, a list of dicts: `step`, `loss`, `af_cls`, `af_box`, `positives` of an image, `dead`
        (share of the box outputs), `grad_norm` before clipping, `levels`, objects by level;
        `detections` of one scene, x1 y1 x2 y2 score label each; `AP50` and `AP75` on all scenes.
    """
    context = FAULTS[fault]
    if fault.startswith("7"):
        context = lambda: decoded_from(0.5 - cell_center)  # noqa: E731
    images, targets = small_scenes()
    torch.manual_seed(seed)
    with context():
        config = replace(fsaf.presets.get("tiny").model, cell_center=cell_center)
        detector = fsaf.build_detector(config).train()
        rates = recipe(warmup)
        optimizer = torch.optim.AdamW(detector.parameters(), weight_decay=rates.weight_decay)
        log = []
        for step in range(STEPS):
            half = slice(0, BATCH) if step % 2 else slice(BATCH, 2 * BATCH)
            line = _step(detector, optimizer, images[half], targets[half], rates, step)
            if step + 1 in LOGGED:
                log.append({"step": step + 1} | line)
        detector.eval()
        found = [detector.detect([image])[0] for image in images]
    return {"log": log, "detections": _rows(found[PICTURE])} | _metrics(found, targets)


def _step(detector, optimizer, images, targets, rates, step) -> dict:
    """Train one step and return its line of the log."""
    outputs = detector.head_outputs(detector.preprocess(images).tensor)
    assignment = detector.assign(outputs, targets)
    losses = detector.losses(outputs, assignment, targets)
    total = losses["af_cls"] + losses["af_box"]
    optimizer.zero_grad()
    total.backward()
    norm = nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(rates, step, STEPS)
    optimizer.step()
    offsets = torch.cat([level.flatten(2) for level in outputs.box_offsets], 2).mT
    numbers = {
        "loss": total,
        **losses,
        "positives": assignment.num_positive / len(images),
        "dead": (offsets[assignment.positive] <= 0).float().mean(),
        "grad_norm": norm,
    }
    chosen = assignment.selected_level.tolist()
    levels = {f"P{level + 3}": chosen.count(level) for level in range(4)}
    return {name: round(float(number.detach()), 4) for name, number in numbers.items()} | {
        "levels": levels
    }


def _rows(found: dict[str, Tensor]) -> list[list[float]]:
    """Return detections as rows x1 y1 x2 y2 score label, best first."""
    parts = found["boxes"].round(decimals=1), found["scores"][:, None].round(decimals=3)
    rows = torch.cat([*parts, found["labels"][:, None]], 1).tolist()
    return [[round(number, 3) for number in row] for row in rows]


def _metrics(found: list[dict[str, Tensor]], targets: list[dict[str, Tensor]]) -> dict[str, float]:
    """Return AP50 and AP75 of detections, 0..1."""
    truth, results = [], []
    for image, (one, target) in enumerate(zip(found, targets)):
        for rows, given in ((truth, target), (results, one)):
            corners, labels = given["boxes"], given["labels"].tolist()
            sides = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1).tolist()
            for index, (box, label) in enumerate(zip(sides, labels)):
                row = {"image_id": image, "category_id": label + 1, "bbox": box}
                if given is target:
                    row |= {"id": len(truth) + 1, "area": box[2] * box[3], "iscrowd": 0}
                else:
                    row |= {"score": one["scores"][index].item()}
                rows.append(row)
    categories = [{"id": i, "name": name} for i, name in enumerate(SCENE_CLASSES, 1)]
    coco = {
        "images": [{"id": image} for image in range(len(found))],
        "annotations": truth,
        "categories": categories,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenes.json"
        path.write_text(json.dumps(coco))
        metrics = coco_metrics(path, results)
    return {name: round(metrics[name], 3) for name in ("AP50", "AP75")}


def fault_runs() -> dict[str, dict]:
    """Return the stored runs by name: the labeled ones, then A to E."""
    return json.loads(FILE.read_text())


def summary(run: dict) -> str:
    """Return the numbers of a stored run in one line."""
    first, end = run["log"][0], run["log"][-1]
    lowest = min((row[4] for row in run["detections"]), default=1.0)
    return (
        f"loss {first['loss']:6.1f} to {end['loss']:6.3f}, positives {end['positives']:4.1f}, "
        f"AP50 {100 * run['AP50']:3.0f}, AP75 {100 * run['AP75']:3.0f}, "
        f"{len(run['detections']):3} boxes, scores from {lowest:.2f}"
    )
