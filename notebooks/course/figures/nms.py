"""Non-maximum suppression, one kept box at a time, on the star's candidates."""

import base64
import random
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.ops import clip_boxes_to_image

from fsaf_core.model.postprocess import top_candidates
from fsaf_core.viz.colors import contrast_color
from fsaf_core.viz.svg import Svg, png
from fsaf_core.viz.widgets.kit import THEMES, Figure, source

from .. import model, scene

HERE = Path(__file__).parent
SIGMA = 0.5  # of Soft-NMS
LOWEST = 0.05  # Soft-NMS ends where no score exceeds this
MOST = 48  # candidates
METHODS = {"hard": "NMS", "soft": "Soft-NMS"}


def uri(image: np.ndarray) -> str:
    """Return (H, W, 3) uint8 as a data URI, the same on every machine."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode("ascii")


def iou(one: list[float], other: list[float]) -> float:
    """Return the IoU of two boxes x1 y1 x2 y2, 0 for two boxes without area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


class NmsFigure(Figure):
    """`setup` has `image`, `size`, `boxes`, `scores`, `levels` and `star`; see `example`."""

    _esm = source("kit.js") + (HERE / "nms.js").read_text(encoding="utf-8")
    _css = source("explorer.css")
    name, twin = "nmsFigure", "makeNms"
    title = "Non-maximum suppression, step by step"

    def __repr__(self) -> str:
        return f"NmsFigure: {len(self.setup['boxes'])} candidates, step {self.state['step']}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return which boxes are kept and removed after `step` steps, and each score now."""
        boxes, scores = self.setup["boxes"], list(self.setup["scores"])
        waiting = list(range(len(boxes)))  # best score first
        kept: list[int] = []
        by = [-1] * len(boxes)  # the kept box that removed a candidate
        overlaps: list[float] = [0.0] * len(boxes)  # with the box of the last step
        lost: list[int] = []
        for _ in range(state["step"]):
            best = max(waiting, key=lambda index: scores[index], default=-1)
            if best < 0:
                break
            kept.append(best)
            waiting.remove(best)
            overlaps, lost = [iou(boxes[best], box) for box in boxes], []
            for index in waiting:
                if state["method"] == "soft":
                    scores[index] *= exp(-(overlaps[index] ** 2) / SIGMA)
                if scores[index] <= LOWEST or (
                    state["method"] == "hard" and overlaps[index] > state["threshold"]
                ):
                    by[index] = best
                    lost.append(index)
            waiting = [index for index in waiting if by[index] < 0]
        return {
            "stamp": state["stamp"],
            "kept": kept,
            "by": by,
            "lost": lost,
            "scores": scores,
            "overlaps": overlaps,
            "waiting": waiting,
            "text": told(kept, lost, waiting, len(boxes)),
        }

    def picture(self) -> Svg:
        """Return the boxes of the state on the image, and the bars of their scores."""
        answer, setup = self.answer, self.setup
        scale = 360 / setup["size"]
        svg = Svg(700, 392, f"The star's candidates. {answer['text']}")
        svg.add("image", x=0, y=0, width=360, height=360, href=setup["image"])
        theme, count = svg.theme, len(setup["boxes"])
        for index in reversed(range(count)):
            x1, y1, x2, y2 = (side * scale for side in setup["boxes"][index])
            color = theme.level(setup["levels"][index])
            is_kept, is_gone = index in answer["kept"], answer["by"][index] >= 0
            width, dash = (3, None) if is_kept else (1, "2 3" if is_gone else None)
            svg.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, stroke_width=width,
                     stroke_dasharray=dash, stroke_opacity=0.4 if is_gone else 1)  # fmt: skip
            row = 360 / count
            length = 220 * answer["scores"][index]
            svg.rect(440, index * row, length, row - 1.5, fill=color,
                     fill_opacity=0.2 if is_gone else 1)  # fmt: skip
            if is_kept:
                place = answer["kept"].index(index) + 1
                svg.rect(x1, y1, 16, 14, fill=color)
                svg.text(x1 + 3, y1 + 11, str(place), size=11, fill=contrast_color(color))
                svg.text(434, index * row + row - 1, f"kept {place}", size=9, anchor="end")
        svg.text(0, 382, answer["text"])
        return svg


def told(kept: list[int], lost: list[int], waiting: list[int], count: int) -> str:
    """Return a step in a sentence."""
    if not kept:
        return f"Step 0: {count} candidates of one class, best score first."
    end = f"{len(waiting)} remain." if waiting else f"Done: {len(kept)} of {count} are kept."
    return f"Step {len(kept)}: keep candidate {kept[-1] + 1}, remove {len(lost)}. {end}"


def example() -> NmsFigure:
    """Return the star's candidates in the course's scene, before the first step."""
    shown, detector = scene(), model()
    batch = detector.preprocess([shown.tensor])
    with torch.no_grad():
        (levels,) = detector.candidates(detector.head_outputs(batch.tensor))
    rows = []
    for level, stride in zip(levels, detector.config.strides):
        boxes, scores, labels = top_candidates(*level, detector.config)
        boxes = clip_boxes_to_image(boxes, shown.image.shape[:2])
        for box, score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist()):
            if label == shown.labels[shown.star]:
                sides = [round(side, 1) for side in box]
                rows.append((round(score, 3), stride.bit_length() - 1, sides))
    rows = sorted(rows, key=lambda row: -row[0])[:MOST]
    setup = {
        "image": uri(shown.image),
        "size": shown.image.shape[0],
        "scores": [row[0] for row in rows],
        "levels": [row[1] for row in rows],
        "boxes": [row[2] for row in rows],
        "methods": METHODS,
        "themes": THEMES,
    }
    return NmsFigure(setup=setup, state=_state(0, 0.5, "hard", -1, "start"))


def _state(step: int, threshold: float, method: str, selected: int, stamp: str) -> dict[str, Any]:
    return {"step": step, "threshold": threshold, "method": method, "selected": selected,
            "stamp": stamp}  # fmt: skip


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    threshold = generator.randrange(2, 19) / 20
    step, selected = generator.randrange(30), generator.randrange(-1, 8)
    return _state(step, threshold, generator.choice(list(METHODS)), selected, "random")
