"""One box and four assigners: which locations of each level are positive under each rule."""

import base64
import random
from math import sqrt
from pathlib import Path
from typing import Any

from fsaf_core.viz.svg import Svg, png
from fsaf_core.viz.widgets.assignment_view import Snapshots, explore
from fsaf_core.viz.widgets.explorer import Explorer
from fsaf_core.viz.widgets.kit import Figure, source

from .. import scene, snapshots

HERE = Path(__file__).parent
NAMES = ("anchors + IoU", "FCOS", "ATSS", "FSAF")
SIDE, RANGE, RADIUS, TOPK, MARGIN = 2, (1, 2), 1.5, 9, 0.01  # as in notebook 12; strides, pixels
IMAGE, CELL, GAP = 300, 96, 10  # pixels of the drawing
TOLERANCE = 1e-4  # FSAF's losses: torch computes them in 32 bits, from half-precision outputs


def iou(one: list[float], other: list[float]) -> float:
    """Return the IoU of two boxes x1 y1 x2 y2 with an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


class AssignersFigure(Figure):
    """`setup` is an explorer's, with one snapshot; the state is the box and its label."""

    _esm = source("kit.js", "twin.js") + (HERE / "assigners.js").read_text(encoding="utf-8")
    _css = source("explorer.css")
    name, twin = "assignersFigure", "makeAssigners"
    title = "One box, four assigners"

    def __init__(self, snapshot: Snapshots, setup: dict[str, Any], state: dict[str, Any]) -> None:
        """Take the network's outputs, and what the traits hold."""
        self.snapshot = snapshot
        self.cells = [  # stride, x, y and anchor of each location, level by level
            [self._cell(stride, index, setup["size"][1] // stride) for index in range(count)]
            for stride, count in (
                (2**level, (setup["size"][0] // 2**level) * (setup["size"][1] // 2**level))
                for level in setup["levels"]
            )
        ]
        super().__init__(setup=setup, state=state)

    @staticmethod
    def _cell(stride: int, index: int, columns: int) -> tuple[int, float, float, list[float]]:
        x, y = (index % columns + 0.5) * stride, (index // columns + 0.5) * stride
        half = SIDE / 2 * stride
        return stride, x, y, [x - half, y - half, x + half, y + half]

    def __repr__(self) -> str:
        return f"AssignersFigure: {self.answer['text']}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return, for each assigner and level, the positive locations of the box."""
        box = state["box"]
        overlaps = [[iou(box, anchor) for *_, anchor in level] for level in self.cells]
        top = max(max(level) for level in overlaps)
        by_iou = [[i for i, v in enumerate(level) if v >= 0.5 or v == top] for level in overlaps]
        threshold, by_atss = self._atss(box, overlaps)
        levels, selected = self._fsaf(box, state["label"])
        cells = [by_iou, self._fcos(box), by_atss, levels["cells"]]
        counts = [sum(len(level) for level in one) for one in cells]
        text = ", ".join(f"{name} {count}" for name, count in zip(NAMES, counts))
        return {"stamp": state["stamp"], "cells": cells, "threshold": threshold,
                "losses": levels["losses"], "selected": selected,
                "text": f"Positive locations: {text}."}  # fmt: skip

    def _fcos(self, box: list[float]) -> list[list[int]]:
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        found, last = [], len(self.cells) - 1
        for level, cells in enumerate(self.cells):
            positive = []
            for index, (stride, x, y, _) in enumerate(cells):
                sides = x - box[0], y - box[1], box[2] - x, box[3] - y
                near = max(abs(x - middle[0]), abs(y - middle[1])) < RADIUS * stride
                above = level == 0 or max(sides) > RANGE[0] * stride
                below = level == last or max(sides) < RANGE[1] * stride
                if near and min(sides) > 0 and above and below:
                    positive.append(index)
            found.append(positive)
        return found

    def _atss(self, box: list[float], overlaps: list) -> tuple[float, list[list[int]]]:
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        nearest = []
        for cells in self.cells:
            away = [(x - middle[0]) ** 2 + (y - middle[1]) ** 2 for _, x, y, _ in cells]
            nearest.append(sorted(range(len(cells)), key=lambda i, a=away: (a[i], i))[:TOPK])
        values = [overlaps[level][i] for level, some in enumerate(nearest) for i in some]
        mean = sum(values) / len(values)
        threshold = mean + sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        found = []
        for level, some in enumerate(nearest):
            positive = []
            for index in sorted(some):
                _, x, y, _ = self.cells[level][index]
                inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > MARGIN
                if inside and overlaps[level][index] >= threshold:
                    positive.append(index)
            found.append(positive)
        return threshold, found

    def _fsaf(self, box: list[float], label: int) -> tuple[dict[str, list], int]:
        given = [box], [label], self.snapshot.outputs[0], self.snapshot.config
        answer = explore(tuple(self.setup["size"]), *given)
        selected = answer["selected"][0]
        cells = [
            [
                i
                for i, code in enumerate(level["codes"])
                if code == "2" and level["level"] == selected
            ]
            for level in answer["levels"]
        ]
        return {"cells": cells, "losses": [level["loss"] for level in answer["levels"]]}, selected

    def picture(self) -> Svg:
        """Return the image with the box, and a table of grids: assigners by levels."""
        setup, answer, theme = self.setup, self.answer, Svg.theme
        left, down = IMAGE + 60, len(self.cells) * (CELL + GAP) + 24
        svg = Svg(left + len(NAMES) * (CELL + GAP), max(down, IMAGE + 60), answer["text"])
        scale = IMAGE / setup["size"][0]
        svg.add("image", x=0, y=24, width=IMAGE, height=IMAGE, href=setup["picture"])
        x1, y1, x2, y2 = (side * scale for side in self.state["box"])
        svg.rect(x1, 24 + y1, x2 - x1, y2 - y1, stroke=theme.ink, stroke_width=2.5)
        svg.text(0, IMAGE + 44, answer["text"].split(": ")[1], size=11)
        svg.text(0, IMAGE + 59, f"ATSS threshold {answer['threshold']:.3f}", size=11)
        for column, name in enumerate(NAMES):
            svg.text(left + column * (CELL + GAP), 16, name, size=12)
        for row, level in enumerate(setup["levels"]):
            y, stride = 24 + row * (CELL + GAP), 2**level
            svg.text(left - 8, y + 14, f"P{level}", anchor="end", fill=theme.level(level))
            for column in range(len(NAMES)):
                x = left + column * (CELL + GAP)
                self._grid(svg, x, y, stride, level, answer["cells"][column][row])
        return svg

    def _grid(self, svg: Svg, x: float, y: float, stride: int, level: int, cells: list) -> None:
        """Draw a level's grid with its positive locations and the box."""
        count, scale = self.setup["size"][1] // stride, CELL / self.setup["size"][1]
        side = stride * scale
        lines = "".join(f"M{x + i * side:.2f} {y}v{CELL}M{x} {y + i * side:.2f}h{CELL}"
                        for i in range(count + 1))  # fmt: skip
        svg.add("path", d=lines, fill="none", stroke=svg.theme.grid, stroke_width=0.6)
        for index in cells:
            svg.rect(x + index % count * side, y + index // count * side, side, side,
                     fill=svg.theme.level(level))  # fmt: skip
        x1, y1, x2, y2 = (edge * scale for edge in self.state["box"])
        svg.rect(x + x1, y + y1, x2 - x1, y2 - y1, stroke=svg.theme.ink, stroke_width=1.2)


def example() -> AssignersFigure:
    """Return the star under the four assigners, with the trained network."""
    shown, kept = scene(), snapshots()
    last = Snapshots(kept.config, kept.steps[-1:], kept.outputs[-1:])
    explorer = Explorer(shown.image, shown.boxes, shown.labels, last)
    boxes = [[round(side, 2) for side in box] for box in shown.boxes.tolist()]
    keys = (
        "size",
        "padded",
        "levels",
        "classes",
        "steps",
        "numbers",
        "config",
        "conventions",
        "themes",
    )
    setup = {key: explorer.setup[key] for key in keys} | {
        "picture": "data:image/png;base64," + base64.b64encode(png(shown.image)).decode("ascii"),
        "names": list(NAMES),
        "switches": explorer.state["switches"],
        "objects": [
            {"name": f"{shown.class_names[label]} {index}", "box": box, "label": label}
            for index, (box, label) in enumerate(zip(boxes, shown.labels.tolist()))
        ],
    }
    state = {"box": boxes[shown.star], "label": shown.labels[shown.star].item(), "stamp": "start"}
    return AssignersFigure(last, setup, state)


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    x1, y1 = (round(generator.uniform(-3, 90), 2) for _ in range(2))
    width, height = (round(6 * 12 ** generator.random(), 2) for _ in range(2))
    box = [x1, y1, round(x1 + width, 2), round(y1 + height, 2)]
    return {"box": box, "label": generator.randrange(6), "stamp": "random"}
