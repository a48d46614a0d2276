"""`fsaf train PRESET --check`: learn ten images by heart before the long training.

A detector that cannot do so has wrong boxes, wrong images or an unsuitable learning rate.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import Config, DataConfig
from ..data.coco import CocoDataset
from ..data.coco_index import read_json
from ..data.loader import Loader, open_dataset
from ..engine.optim import set_rate
from ..engine.train import build
from ..engine.trainer import Trainer
from ..engine.training_step import TrainingStep
from ..evaluation.evaluator import evaluate
from ..utils.distributed import DistributedContext, device_of
from ..utils.files import write_atomically
from ..viz.plots import write_run_figures

IMAGES = 10
STEPS = 300
WARMUP = 20  # steps
LEARNED = 0.5  # AP50 on the images themselves


def overfit(
    config: Config, out: Path, device: str, weights: Path | None = None, seconds: float = 90
) -> str:
    """Train on ten images of the training set, draw the detections on them, and return a report.

    The images are not augmented. The learning rate is that of the recipe, and a tenth of it in the
    last fifth.

    Args:
        config: of the long training.
        out: folder of the ten images' json, the metrics and the pictures.
        device: as in `device_of`.
        weights: to start from, as in `train`.
        seconds: after which the training stops; after `STEPS` steps it stops as well.

    Raises:
        FSAFError: as `train`.
    """
    train_set = open_dataset(config.data, "train")
    count = _write_json(train_set, out / "images.json")
    paths = (str(out / "images.json"), str(train_set.root))
    batch = min(count, max(1, config.train.batch_size // config.train.accumulate))
    recipe: dict[str, Any] = {"epochs": None, "steps": STEPS, "batch_size": batch, "accumulate": 1}
    recipe |= {"flip": 0.0, "ms": False, "crop": 0.0, "snapshots": 0, "ema": 0.0, "compile": False}
    config = replace(
        config,
        model=replace(config.model, class_names=train_set.class_names),
        data=DataConfig("files", config.data.root, *paths, *paths, workers=0),
        train=replace(config.train, **recipe),
    )
    context = DistributedContext(device=device_of(device))
    ten = open_dataset(config.data, "train")
    val_data = Loader(ten, config, training=False)
    detector = build(config, context, weights, is_new=True)
    trainer = Trainer(config, out, detector, Loader(ten, config, True), val_data, context)
    network, batches = TrainingStep(detector.train(), config.train), trainer.batches()
    losses: list[float] = []
    start, share = time.perf_counter(), 0.0
    while share < 1:
        warmed = min(1, (trainer.step + 1) / WARMUP)
        rate = config.train.lr * batch / 16 * warmed * (0.1 if share > 0.8 else 1)
        set_rate(trainer.optimizer, rate)
        trainer.update(network, batches)
        trainer.step += 1
        losses.append(trainer.meters.read(context.sum)["loss"])
        share = max(trainer.step / STEPS, (time.perf_counter() - start) / seconds)
    result = evaluate(detector, val_data)
    result.write(out)
    write_run_figures(out)
    return "\n".join(
        [
            f"{trainer.step} steps on {count} training images in "
            f"{time.perf_counter() - start:.0f} s",
            f"loss {losses[0]:.3f} -> {np.mean(losses[-5:]):.3f}, on these images "
            f"AP {100 * result.metrics['AP']:.1f}, AP50 {100 * result.metrics['AP50']:.1f}",
            f"ground truth beside detections: {out / 'pictures' / 'detections.png'}",
            _advice(losses, result.metrics["AP50"]),
        ]
    )


def _write_json(dataset: CocoDataset, path: Path) -> int:
    """Write a json of up to ten images of one orientation, and return their number.

    A batch has images of one orientation only.
    """
    wide = dataset.wide
    candidates = np.flatnonzero(wide == (wide.mean() >= 0.5))
    chosen = np.unique(np.linspace(0, len(candidates) - 1, IMAGES).round().astype(int))
    ids = {*dataset.index.image_ids[dataset.kept[candidates[chosen]]].tolist()}
    entries = read_json(dataset.json_path)
    content = {
        "images": [image for image in entries.images.values() if image["id"] in ids],
        "categories": [*entries.categories.values()],
        "annotations": [one for one in entries.annotations if one["image_id"] in ids],
    }
    write_atomically(path, json.dumps(content))
    return len(ids)


def _advice(losses: list[float], ap50: float) -> str:
    """Return what to do next."""
    if ap50 >= LEARNED:
        return "The images are learned: start the training without --check."
    if np.mean(losses[-5:]) < 0.5 * losses[0]:
        return (
            "The loss falls, but the images are not learned yet: look at the picture. If its "
            "boxes are right, the long training may start."
        )
    return (
        "The images are not learned: look at the picture for wrong boxes or classes, and try "
        "another --train.lr."
    )
