"""One score threshold moves the picture, the list of detections and the point on the curve."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fsaf_core.config import SCENE_CLASSES, SceneConfig
from fsaf_core.data.synthetic.renderer import render_scene
from fsaf_core.viz.svg import Axes, Svg
from fsaf_core.viz.widgets.kit import THEMES, Figure, source

from .. import model
from .nms import iou, uri

HERE = Path(__file__).parent
IMAGES = (238, 30, 59, 134)  # validation scenes; the first is the course's scene
IOUS = (0.5, 0.75, 0.9)
ROWS = 24  # of the list
SIDE, GAP = 170, 4  # of an image in the still


def matched(state: dict[str, Any], setup: dict[str, Any]) -> list[list[float]]:
    """Return [detection, matched object or -1, best IoU] of each detection, best score first."""
    rows = [index for index, one in enumerate(setup["found"]) if one[1] == state["label"]]
    taken: set[int] = set()
    entries: list[list[float]] = []
    for index in sorted(rows, key=lambda row: -setup["found"][row][2]):
        image, label, _, box = setup["found"][index]
        overlap = [
            iou(box, truth[2]) if truth[:2] == [image, label] else 0.0 for truth in setup["objects"]
        ]
        free = [one for one in range(len(overlap)) if one not in taken]
        best = max(free, key=lambda one: overlap[one], default=-1)
        if best < 0 or overlap[best] < state["iou"]:
            best = -1
        taken.add(best)
        entries.append([index, best, max(overlap, default=0.0)])
    return entries


def average_precision(precision: list[float], recall: list[float]) -> float:
    """Return the mean of the best precision still reachable at recall 0, 0.01, ..., 1."""
    curve = list(zip(precision, recall))
    points = (max((p for p, r in curve if 100 * r >= i - 1e-9), default=0.0) for i in range(101))
    return sum(points) / 101


class ThresholdFigure(Figure):
    """`setup` has `images`, `size`, `objects` and `found`; see `example`."""

    _esm = source("kit.js") + (HERE / "threshold.js").read_text(encoding="utf-8")
    _css = source("explorer.css")
    name, twin = "thresholdFigure", "makeThreshold"
    title = "One score threshold: picture, list and curve"

    def __repr__(self) -> str:
        return f"ThresholdFigure: {self.answer['text']}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the matched list of one class and what the threshold leaves of it."""
        entries = matched(state, self.setup)
        objects = sum(one[1] == state["label"] for one in self.setup["objects"])
        scores = [self.setup["found"][int(entry[0])][2] for entry in entries]
        right = np.cumsum([entry[1] >= 0 for entry in entries]).tolist()
        precision = [hits / count for count, hits in enumerate(right, 1)]
        recall = [hits / max(objects, 1) for hits in right]
        above = sum(score >= state["threshold"] for score in scores)
        hits = right[above - 1] if above else 0
        ap, cut = (average_precision(precision[:n], recall[:n]) for n in (len(entries), above))
        text = f"{hits} true positives, {above - hits} false positives, {objects - hits} missed"
        return {"stamp": state["stamp"], "entries": entries, "above": above, "objects": objects,
                "precision": precision, "recall": recall, "ap": ap, "cut": cut,
                "text": text}  # fmt: skip

    def picture(self) -> Svg:
        """Return the images with the boxes above the threshold, and the curve with its point."""
        answer, setup, scale = self.answer, self.setup, SIDE / self.setup["size"]
        values = f"AP of these entries {answer['cut']:.3f}, of all {answer['ap']:.3f}."
        if answer["above"]:
            precision, recall = (
                answer[name][answer["above"] - 1] for name in ("precision", "recall")
            )
            values = f"precision {precision:.3f}, recall {recall:.3f}. {values}"
        text = f"{answer['text']}: {values}"
        svg = Svg(720, 2 * SIDE + GAP + 26, text)
        theme = svg.theme
        corners = [(i % 2 * (SIDE + GAP), i // 2 * (SIDE + GAP)) for i in range(4)]
        for (x, y), image in zip(corners, setup["images"]):
            svg.add("image", x=x, y=y, width=SIDE, height=SIDE, href=image)

        def outline(image: int, box: list[float], **style: Any) -> None:
            x1, y1, x2, y2 = (side * scale for side in box)
            x, y = corners[image]
            svg.rect(x + x1, y + y1, x2 - x1, y2 - y1, **style)

        for image, label, box in setup["objects"]:
            if label == self.state["label"]:
                outline(image, box, stroke=theme.paper, stroke_width=1.5, stroke_dasharray="2 2")
        for index, place, _ in answer["entries"][: answer["above"]]:
            image, _, _, box = setup["found"][index]
            color, dash = (theme.label(0), None) if place >= 0 else (theme.label(1), "5 3")
            outline(image, box, stroke=color, stroke_width=2, stroke_dasharray=dash)
        ticks = (0, 0.25, 0.5, 0.75, 1)
        axes = Axes(svg, 410, 20, 290, 280, ticks, ticks, x_name="recall", y_name="precision")
        if answer["entries"]:
            axes.line(answer["recall"], answer["precision"], theme.muted)
        if answer["above"]:
            last = answer["above"] - 1
            point = axes.at(answer["recall"][last], answer["precision"][last])
            svg.circle(*point, 6, fill=theme.label(0))
        svg.text(0, 2 * SIDE + GAP + 18, text, size=11)
        return svg


def example() -> ThresholdFigure:
    """Return four validation scenes, the stars in them, and a threshold of 0.3."""
    detector, images, objects, found = model(), [], [], []
    for place, number in enumerate(IMAGES):
        image, instances = render_scene(SceneConfig(), number, "val")
        pixels = np.array(image)
        images.append(uri(pixels))
        objects += [[place, one.label, [round(side, 1) for side in one.box]] for one in instances]
        with torch.no_grad():
            (result,) = detector([torch.from_numpy(pixels).permute(2, 0, 1)])
        for box, score, label in zip(*(result[name].tolist() for name in ("boxes", "scores", "labels"))):  # fmt: skip
            found.append([place, label, round(score, 3), [round(side, 1) for side in box]])
    setup = {"images": images, "size": 128, "objects": objects, "found": found, "rows": ROWS,
             "classes": list(SCENE_CLASSES), "ious": list(IOUS), "themes": THEMES}  # fmt: skip
    return ThresholdFigure(
        setup=setup, state=_state(0.3, SCENE_CLASSES.index("star"), 0.5, "start")
    )


def _state(threshold: float, label: int, iou: float, stamp: str) -> dict[str, Any]:
    return {"threshold": threshold, "label": label, "iou": iou, "selected": -1, "stamp": stamp}


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    threshold = generator.randrange(5, 101) / 100
    label, least = generator.randrange(len(SCENE_CLASSES)), generator.choice(IOUS)
    return _state(threshold, label, least, "random")
