"""The figure of chapter 06: the regions of two boxes, with both scales and the convention."""

import base64
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fsaf_core import presets
from fsaf_core.config import CONVENTIONS
from fsaf_core.data.transforms import padded_size
from fsaf_core.viz.svg import Svg, png
from fsaf_core.viz.widgets.assignment_view import explore
from fsaf_core.viz.widgets.explorer import TWIN_FIELDS
from fsaf_core.viz.widgets.kit import THEMES, Figure, source

from .. import levels_picture, scene

CSS = """
.rg-cards { display: flex; flex-wrap: wrap; gap: 6px; align-content: flex-start; }
.rg-card { border: 1px solid var(--grid); border-radius: 5px; padding: 4px; }
.rg-rules { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 8px; align-items: center; }
.rg-rules label { display: inline-flex; align-items: center; gap: 5px; }
.rg-main { display: flex; flex-wrap: wrap; gap: 12px; }
"""
SWITCHES = ("convention", "effective_scale", "ignoring_scale", "selection", "selection_focal")


class RegionFigure(Figure):
    """Effective and ignored locations of one of several boxes, at every level."""

    _esm = source("kit.js", "twin.js", "views.js") + Path(__file__).with_suffix(".js").read_text()
    _css = source("explorer.css") + CSS
    name, twin = "regionFigure", "makeRegions"
    title = "Regions: which locations may learn the box?"

    def __init__(
        self, image: np.ndarray, boxes: Sequence[Sequence[float]], labels: Sequence[int]
    ) -> None:
        """Show `image` (H, W, 3) uint8 with `boxes` x1 y1 x2 y2 in pixels and their classes."""
        self.image, self.config = image, presets.get("tiny").model
        config, size = self.config, image.shape[:2]
        switches = {name: getattr(config, name) for name in SWITCHES}
        switches["ignoring_scale"] = config.rules.ignoring_scale
        setup = {
            "image": f"data:image/png;base64,{base64.b64encode(png(image)).decode('ascii')}",
            "size": list(size),
            "padded": list(padded_size(*size, config.size_divisor)),
            "levels": list(range(config.first_level, config.last_level + 1)),
            "classes": list(config.class_names),
            "steps": [],
            "numbers": None,
            "config": {name: getattr(config, name) for name in TWIN_FIELDS},
            "conventions": {name: asdict(rules) for name, rules in CONVENTIONS.items()},
            "themes": THEMES,
        }
        state = {
            "boxes": [[float(side) for side in box] for box in boxes],
            "labels": [int(label) for label in labels],
            "selected": 0,
            "mode": "instance",
            "snapshot": 0,
            "switches": switches,
            "stamp": "start",
        }
        super().__init__(setup=setup | {"start": state}, state=state)

    def __repr__(self) -> str:
        return f"{self.title} {len(self.state['boxes'])} boxes, 4 levels"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the codes of all locations, how many there are of each kind, and their area."""
        config = replace(self.config, **state["switches"])
        boxes, selected = state["boxes"], state["selected"]
        found = explore(self.image.shape[:2], boxes, state["labels"], None, config, selected)
        x1, y1, x2, y2 = boxes[selected]
        levels = []
        for one in found["levels"]:
            entry = {name: one[name] for name in ("level", "stride", "rows", "columns", "codes")}
            counts = {
                name: one["codes"].count(code)
                for name, code in (("effective", "2"), ("ignored", "1"), ("lost", "3"))
            }
            area = counts["effective"] * one["stride"] ** 2
            levels.append(entry | counts | {"covered": 100 * area / ((x2 - x1) * (y2 - y1))})
        return {"stamp": state["stamp"], "cell_center": found["cell_center"], "levels": levels}

    def picture(self) -> Svg:
        """Return the state as a drawing: a panel for each level."""
        levels, state = self.answer["levels"], self.state
        x1, y1, x2, y2 = state["boxes"][state["selected"]]
        outlines = list(state["boxes"])
        for name in ("ignoring_scale", "effective_scale"):
            w, h = (state["switches"][name] * side / 2 for side in (x2 - x1, y2 - y1))
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            outlines.append([x - w, y - h, x + w, y + h])
        codes = [
            torch.tensor([int(code) for code in one["codes"]]).view(one["rows"], one["columns"])
            for one in levels
        ]
        told = "; ".join(
            f"P{one['level']}: {one['effective']} effective, {one['ignored']} ignored, "
            f"{one['lost']} lost"
            for one in levels
        )
        strides = [one["stride"] for one in levels]
        center = self.answer["cell_center"]
        return levels_picture(codes, strides, told, self.image, outlines, center)


def example() -> RegionFigure:
    """Return the figure as chapter 06 shows it: the star, and the triangle in front of it."""
    running = scene()
    shown = [running.star, 5]
    return RegionFigure(running.image, running.boxes[shown].tolist(), running.labels[shown])


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""

    def side() -> list[float]:
        middle, half = generator.uniform(0, 128), generator.choice((2, 6, 20, 45))
        half *= generator.uniform(1, 1.5)
        return [round(4 * (middle - half)) / 4, round(4 * (middle + half)) / 4]

    boxes = []
    for _ in range(2):
        (x1, x2), (y1, y2) = side(), side()
        boxes.append([x1, y1, x2, y2])
    effective, ignoring = sorted(generator.randint(1, 20) / 20 for _ in range(2))
    switches = {
        "convention": generator.choice(("paper", "reference")),
        "effective_scale": effective,
        "ignoring_scale": ignoring,
    }
    start = example().state
    return start | {
        "boxes": boxes,
        "selected": generator.randint(0, 1),
        "switches": start["switches"] | switches,
        "stamp": "random",
    }
