"""Plumbing of the course, not taught: the running example, and what the course's own training left behind.

One scene and one instance go through all notebooks: the star of validation scene 238. `make course-model` trains the model again
and rewrites all files beside this one but the scene.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import fsaf_core as fsaf
from fsaf_core.draw.situation import Snapshots

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Scene:
    """The running example."""

    image: np.ndarray  # (128, 128, 3) uint8, RGB
    boxes: Tensor  # (6, 4) float, x1 y1 x2 y2 in pixels
    labels: Tensor  # (6,) int64
    class_names: tuple[str, ...]
    star: int  # index of the running instance among the boxes

    @property
    def tensor(self) -> Tensor:
        """(3, 128, 128) uint8: as the detector takes it."""
        return torch.from_numpy(self.image).permute(2, 0, 1)

    @property
    def targets(self) -> list[dict[str, Tensor]]:
        """A batch of this one image's targets."""
        return [{"boxes": self.boxes, "labels": self.labels}]


def scene() -> Scene:
    """The running example: six objects on 128 x 128 pixels."""
    told = json.loads((FOLDER / "scene.json").read_text())
    image = np.array(Image.open(FOLDER / "scene.png").convert("RGB"))
    boxes, labels = torch.tensor(told["boxes"]), torch.tensor(told["labels"])
    return Scene(image, boxes, labels, tuple(told["class_names"]), told["star"])


def model(path: str | Path = FOLDER / "model.safetensors") -> fsaf.Detector:
    """The course's trained detector, in evaluation mode; give the path of your own run's model to look at that instead."""
    return fsaf.load(path).eval()


def snapshots() -> Snapshots:
    """What the network said of the running example after each of a dozen training steps."""
    return Snapshots.load(FOLDER / "snapshots.npz")


def training_log() -> list[dict]:
    """The log of the course's training, a dict for each line."""
    return [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()]


def metrics() -> dict:
    """COCO's figures of the course's model on the 500 validation scenes."""
    return json.loads((FOLDER / "metrics.json").read_text())
