"""Plumbing that the course does not teach: the running example and the files of the course's model.

All notebooks use one scene and one instance: the star of validation scene 238. `make course-model`
trains the model again and rewrites the files in this folder, except those that `fsaf ablation`
(ablation.json, detail.json) and make_assigners.py (assigners.json) wrote.
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
from fsaf_core.config import SCENE_CLASSES, SceneConfig
from fsaf_core.data.synthetic.renderer import render_scene
from fsaf_core.viz.colors import LIGHT
from fsaf_core.viz.svg import Svg
from fsaf_core.viz.widgets.assignment_view import Snapshots
from fsaf_core.viz.widgets.explorer import PopulationItem

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
        """Return the image as the detector takes it: (3, 128, 128) uint8."""
        return torch.from_numpy(self.image).permute(2, 0, 1)

    @property
    def targets(self) -> list[dict[str, Tensor]]:
        """Return the targets of a batch of this one image."""
        return [{"boxes": self.boxes, "labels": self.labels}]


def scene() -> Scene:
    """Return the running example: six objects on 128 x 128 pixels."""
    entry = json.loads((FOLDER / "scene.json").read_text())
    image = np.array(Image.open(FOLDER / "scene.png").convert("RGB"))
    boxes, labels = torch.tensor(entry["boxes"]), torch.tensor(entry["labels"])
    return Scene(image, boxes, labels, tuple(entry["class_names"]), entry["star"])


def model(path: str | Path = FOLDER / "model.safetensors") -> fsaf.Detector:
    """Return a trained detector in evaluation mode; give `path` to look at your own run's model."""
    return fsaf.load(path).eval()


def snapshots() -> Snapshots:
    """Return the network's outputs for the running example at a dozen training steps."""
    return Snapshots.load(FOLDER / "snapshots.npz")


def population(count: int = 30) -> list[PopulationItem]:
    """Return the first validation scenes, as the explorer takes them."""
    scenes = (render_scene(SceneConfig(), index, "val") for index in range(count))
    return [
        PopulationItem(image, [one.box for one in objects], [one.label for one in objects])
        for image, objects in scenes
    ]


def population_points() -> list[list]:
    """Return size, image, box and selected levels by snapshot of each box of `population()`."""
    return json.loads((FOLDER / "population.json").read_text())


def training_log() -> list[dict]:
    """Return the log of the course's training, a dict for each line."""
    return [json.loads(line) for line in (FOLDER / "log.jsonl").read_text().splitlines()]


def metrics() -> dict:
    """Return the COCO metrics of the course's model on the 500 validation scenes."""
    return json.loads((FOLDER / "metrics.json").read_text())


def ablation(name: str = "ablation") -> dict:
    """Return what `fsaf ablation` wrote: `steps`, `seeds`, and AP and AP50 of each row by seed."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def picture(
    image: np.ndarray,
    boxes: Iterable,
    names: Sequence[str],
    alt: str,
    scale: float = 3,
    colors: Sequence[str] | None = None,
) -> Svg:
    """Return a drawing of the image, enlarged, with boxes; add to it with `.rect`, `.text`, ...

    Args:
        image: (H, W, 3) uint8.
        boxes: x1 y1 x2 y2 each, in pixels of the image.
        names: text of each box.
        alt: alt text.
        scale: pixels of the drawing for each pixel of the image.
        colors: of each box. None: the class name in a box's text gives the class's color.
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
    """Return a drawing with a panel for each level: its regions, the image and the boxes.

    Args:
        codes: (rows, columns) of each level: 0 negative, 1 ignoring, 2 effective, 3 lost to a
            smaller instance.
        strides: of each level, pixels.
        alt: alt text.
        image: (H, W, 3) uint8, drawn below the cells; None: no image.
        boxes: x1 y1 x2 y2 in pixels of the image.
        cell_center: center of a location, in cells from the corner; with 0 the first cells begin
            half a cell outside the image.
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
            # A dark line on a wider light one is visible on cells of any color.
            for color, line in ((drawing.theme.paper, 3.5), (drawing.theme.ink, 1.5)):
                drawing.rect(x + x1, y + y1, x2 - x1, y2 - y1, stroke=color, stroke_width=line)
    return drawing


def show(figure: Figure | Image.Image, alt: str) -> None:
    """Show a photograph or a chart as PNG with its alt text.

    nbval does not compare PNGs, so print a fact next to it.
    """
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
