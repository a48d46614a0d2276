"""Plumbing of the course, not taught: the running example, and what the course's own training left behind.

One scene and one instance go through all notebooks: the star of validation scene 238. `make course-model` trains the model again
and rewrites all files beside this one but the scene and what `fsaf ablation` wrote (ablation, peer, detail).
"""

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import fsaf_core as fsaf
from fsaf_core.config import SCENE_CLASSES
from fsaf_core.viz.colors import LIGHT
from fsaf_core.viz.svg import Svg
from fsaf_core.viz.widgets.assignment_view import Snapshots

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


def ablation(name: str = "ablation") -> dict:
    """What `fsaf ablation` wrote: `steps`, `seeds`, and of each row its AP and AP50, seed by seed."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def picture(
    image: np.ndarray,
    boxes: Iterable,
    names: Sequence[str],
    alt: str,
    scale: float = 3,
    colors: Sequence[str] | None = None,
) -> Svg:
    """The image enlarged, with boxes (x1 y1 x2 y2 in its pixels) and their names over it; draw on with `.rect`, `.text`, ...

    Where no colours are given, a class's name gives a box the colour that the class has in the explorer too.
    """
    height, width = image.shape[:2]
    drawing = Svg(width * scale, height * scale, alt)
    drawing.image(image, 0, 0, width * scale, height * scale)
    for index, (box, name) in enumerate(zip(boxes, names, strict=True)):
        label = next(
            (SCENE_CLASSES.index(word) for word in name.split() if word in SCENE_CLASSES), index
        )
        color = colors[index] if colors else LIGHT.label(label)
        drawing.box(*(float(side) * scale for side in box), color, name)
    return drawing


def levels_picture(
    codes: Sequence[Tensor],
    strides: Sequence[int],
    alt: str,
    image: np.ndarray | None = None,
    boxes: Iterable = (),
    cell_center: float = 0.5,
) -> Svg:
    """A panel for each level: its cells by kind, over the image if given, with the boxes' outlines.

    Args:
        codes: (rows, columns) of each level: 0 negative, 1 ignoring, 2 effective, 3 lost to a smaller instance.
        strides: pixels between the cells of each level.
        boxes: x1 y1 x2 y2 in pixels of the image.
        cell_center: where in its square a cell stands; at 0 the squares begin half a cell outside the image.
    """
    gap, head = 14, 22
    height, width = (side * strides[0] for side in codes[0].shape)
    margin = (0.5 - cell_center) * strides[-1]
    scale = ((820 + gap) / len(codes) - gap) / (width + margin)
    height, width, margin = height * scale, width * scale, margin * scale
    drawing = Svg(len(codes) * (width + margin + gap) - gap, head + margin + height, alt)
    for index, (level, stride) in enumerate(zip(codes, strides, strict=True)):
        x, y = index * (width + margin + gap) + margin, head + margin
        name = f"P{stride.bit_length() - 1}: stride {stride}, {len(level)} x {level.shape[1]} cells"
        drawing.text(x - margin, 15, name)
        if image is not None:
            drawing.image(image, x, y, width, height)
        shift = (cell_center - 0.5) * stride * scale
        drawing.cells(level.numpy(), x + shift, y + shift, stride * scale)
        for x1, y1, x2, y2 in ([float(side) * scale for side in box] for box in boxes):
            for color, thick in (
                (drawing.theme.paper, 3.5),
                (drawing.theme.ink, 1.5),
            ):  # to be seen on any cell
                drawing.rect(x + x1, y + y1, x2 - x1, y2 - y1, stroke=color, stroke_width=thick)
    return drawing


def show(figure: Figure | Image.Image, alt: str) -> None:
    """Shows a photograph or a chart as PNG with its alt text. nbval does not compare PNGs: print a fact beside it."""
    file = io.BytesIO()
    if isinstance(figure, Figure):
        figure.savefig(file, format="png", dpi=80, bbox_inches="tight")
    else:
        figure.save(file, format="PNG")
    display(
        {"image/png": file.getvalue(), "text/plain": alt},
        raw=True,
        metadata={"image/png": {"alt": alt}},
    )
