"""The figure of chapter 04: which anchors a box matches, at which level."""

import math
import random
from typing import Any

import numpy as np

from fsaf_core import presets
from fsaf_core.viz.svg import Svg
from fsaf_core.viz.widgets.kit import Figure

from .stage import CSS, Still, scene, scene_setup, script

MARGIN = 24  # pixels around the image


def all_anchors(strides: list[int], size: tuple[int, int], scale: float) -> list[list[list[float]]]:
    """Return the anchors of each level, location by location, as torchvision makes them."""
    levels = []
    for stride in strides:
        shapes = []
        for ratio in (0.5, 1.0, 2.0):
            for octave in range(3):
                side = math.floor(scale * stride * 2 ** (octave / 3))
                w, h = round(side / math.sqrt(ratio) / 2), round(side * math.sqrt(ratio) / 2)
                shapes.append((w, h))
        rows, columns = (edge // stride for edge in size)
        levels.append(
            [
                [j * stride - w, i * stride - h, j * stride + w, i * stride + h]
                for i in range(rows)
                for j in range(columns)
                for w, h in shapes
            ]
        )
    return levels


class AnchorFigure(Figure):
    """A box, and the anchors that match it at each level."""

    _esm = script("anchors")
    _css = CSS
    name, twin = "anchorFigure", "makeAnchors"
    title = "Anchors: which of them match the box?"

    def __init__(self) -> None:
        """Show the star, the thresholds 0.5 and 0.4, and the tiny preset's anchors."""
        self.scene, config = scene(), presets.get("tiny").model
        self.strides = list(config.strides)
        setup = scene_setup(self.scene) | {
            "strides": self.strides,
            "margin": MARGIN,
            "heuristic": [config.heuristic_level, config.heuristic_size],
        }
        state = {
            "box": setup["star"],
            "scale": float(config.anchor_scale),
            "positive": 0.5,
            "negative": 0.4,
            "stamp": "start",
        }
        super().__init__(setup=setup | {"start": state}, state=state)

    def __repr__(self) -> str:
        return f"{self.title} {len(self.strides)} levels"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return for each level its positive anchors, how many are left out, and its best IoU."""
        x1, y1, x2, y2 = state["box"]
        levels = []
        for anchors in all_anchors(self.strides, self.setup["size"], state["scale"]):
            a = np.array(anchors, float)
            w = np.clip(np.minimum(a[:, 2], x2) - np.maximum(a[:, 0], x1), 0, None)
            h = np.clip(np.minimum(a[:, 3], y2) - np.maximum(a[:, 1], y1), 0, None)
            area = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
            iou = w * h / (area + (x2 - x1) * (y2 - y1) - w * h)
            positive = iou >= state["positive"]
            between = (iou >= state["negative"]) & ~positive
            levels.append(
                {
                    "positive": np.flatnonzero(positive).tolist(),
                    "between": int(between.sum()),
                    "best": float(iou.max()),
                    "anchor": [int(side) for side in anchors[int(iou.argmax())]],
                }
            )
        level, size = self.setup["heuristic"]
        exact = level + math.log2(math.sqrt((x2 - x1) * (y2 - y1)) / size)
        first, last = 3, 2 + len(self.strides)
        by_size = min(max(math.floor(exact), first), last)
        return {"stamp": state["stamp"], "levels": levels, "by_size": by_size}

    def picture(self) -> Svg:
        """Return the state as a drawing: the box and its positive anchors."""
        levels = self.answer["levels"]
        counts = ", ".join(f"{len(one['positive'])} at P{3 + i}" for i, one in enumerate(levels))
        drawing = Still(self.scene, f"A box and its positive anchors: {counts}", MARGIN, 2.4)
        made = all_anchors(self.strides, self.setup["size"], self.state["scale"])
        for index, (one, anchors) in enumerate(zip(levels, made)):
            for nth in one["positive"]:
                drawing.frame(anchors[nth], drawing.theme.level(3 + index), 1.5)
        drawing.frame(self.state["box"], "#ffffff", 3)
        return drawing


def example() -> AnchorFigure:
    """Return the figure as chapter 04 shows it."""
    return AnchorFigure()


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    x, y = generator.uniform(0, 110), generator.uniform(0, 110)
    w, h = (4 * 16 ** generator.random() for _ in range(2))
    positive = generator.randint(4, 18)
    return {
        "box": [round(4 * edge) / 4 for edge in (x, y, x + w, y + h)],
        "scale": generator.choice((1.0, 2.0, 4.0)),
        "positive": positive / 20,
        "negative": generator.randint(2, positive) / 20,
    }
