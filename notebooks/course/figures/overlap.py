"""The figure of chapter 07, section 6: a predicted and a target box of one location, and their IoU."""

import base64
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fsaf_core.viz.svg import Svg, png
from fsaf_core.viz.widgets.kit import THEMES, Figure, source

SIDES = "ltrb"
LEAST_IOU = 1e-6  # under the logarithm
MOST = 1.6  # the longest distance that the drawing shows, in units
CSS = """
.ov-main { display: flex; flex-wrap: wrap; gap: 14px; }
.ov-main table { border-collapse: collapse; } .ov-main :is(td, th) { padding: 1px 8px; text-align: right; }
.ov-main circle:focus-visible { outline: 2px solid var(--ink); }
"""


class OverlapFigure(Figure):
    """The -ln IoU of one location, its parts, and the derivative of each predicted distance."""

    _esm = source("kit.js") + Path(__file__).with_suffix(".js").read_text()
    _css = source("explorer.css") + CSS
    name, twin = "overlapFigure", "makeOverlap"
    title = "One location: the box loss and its gradient"

    def __init__(
        self,
        offsets: Sequence[float],
        targets: Sequence[float],
        image: np.ndarray | None = None,
        center: Sequence[float] = (0, 0),
        unit: float = 1,
    ) -> None:
        """Show predicted `offsets` and `targets`, l t r b in units of `unit` pixels.

        Args:
            offsets: the predicted distances, at least 0.
            targets: the true distances; negative where the location is outside the box.
            image: (H, W, 3) uint8, drawn behind the boxes.
            center: x y of the location, pixels of the image.
            unit: S * stride, pixels.
        """
        state = {"offsets": list(offsets), "targets": list(targets), "stamp": "start"}
        setup: dict[str, Any] = {"most": MOST, "themes": THEMES, "image": None, "place": None}
        if image is not None:
            pixels = base64.b64encode(png(image)).decode("ascii")
            height, width = image.shape[:2]
            x, y = (-side / unit for side in center)
            place = {"x": x, "y": y, "width": width / unit, "height": height / unit}
            setup |= {"image": f"data:image/png;base64,{pixels}", "place": place}
        super().__init__(setup=setup | {"start": state}, state=state)

    def __repr__(self) -> str:
        return f"{self.title}: IoU {self.answer['iou']:.3f}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the overlap, both areas, the union, the IoU, the loss and its four slopes."""
        predicted, true = state["offsets"], state["targets"]
        shared = [min(pair) for pair in zip(predicted, true)]
        # the sides across each distance: the height for l and r, the width for t and b
        across = [[x[1] + x[3], x[0] + x[2]] for x in (predicted, true, shared)]
        across[2] = [max(side, 0.0) for side in across[2]]
        area, true_area, overlap = (high * wide for high, wide in across)
        union = area + true_area - overlap
        iou = overlap / union
        slopes = [0.0] * 4  # without overlap the loss is constant
        for side in range(4) if iou > LEAST_IOU else ():
            grows = across[2][side % 2] if predicted[side] < true[side] else 0.0
            slopes[side] = -grows / overlap + (across[0][side % 2] - grows) / union
        return {
            "stamp": state["stamp"],
            "shared": shared,
            "overlap": overlap,
            "area": area,
            "true_area": true_area,
            "union": union,
            "iou": iou,
            "loss": -math.log(max(iou, LEAST_IOU)),
            "slopes": slopes,
        }

    def picture(self) -> Svg:
        """Return the state as a drawing: two boxes, the shared part, and the numbers."""
        answer, state, side = self.answer, self.state, 100
        told = f"IoU {answer['iou']:.3f}, loss {answer['loss']:.3f}; slopes " + ", ".join(
            f"{name} {slope:.3f}" for name, slope in zip(SIDES, answer["slopes"])
        )
        svg = Svg(640, 330, told)
        middle = 165

        def place(distances: Sequence[float]) -> tuple[float, float, float, float]:
            l, t, r, b = (side * distance for distance in distances)
            return middle - l, middle - t, l + r, t + b

        theme = svg.theme
        if answer["overlap"] > 0:
            svg.rect(*place(answer["shared"]), fill=theme.level(3), fill_opacity=0.35)
        svg.rect(*place(state["targets"]), stroke=theme.ink, stroke_width=2, stroke_dasharray="6 4")
        svg.rect(*place(state["offsets"]), stroke=theme.level(3), stroke_width=2.5)
        svg.circle(middle, middle, 4, fill=theme.ink)
        rows = [f"I {answer['overlap']:.3f}", f"A {answer['area']:.3f}"]
        rows += [f"A_g {answer['true_area']:.3f}", f"union {answer['union']:.3f}"]
        rows += [f"IoU {answer['iou']:.3f}", f"-ln IoU {answer['loss']:.3f}"]
        rows += [
            f"{name}: {offset:.3f}, target {target:.3f}, slope {slope:.3f}"
            for name, offset, target, slope in zip(
                SIDES, state["offsets"], state["targets"], answer["slopes"]
            )
        ]
        for row, text in enumerate(rows):
            svg.text(360, 40 + 24 * row, text, size=14)
        return svg


def example() -> OverlapFigure:
    """Return the figure as chapter 07 shows it: a location of the star at its selected level."""
    from ..ch07 import worked_location

    return OverlapFigure(*worked_location())


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    offsets = [generator.randint(0, 160) / 100 for _ in SIDES]
    targets = generator.choice(
        ([0.41, 0.52, 0.63, 0.27], [0.5, 0.5, 0.5, 0.5], [1.2, 0.5, -0.6, 0.5])
    )
    return {"offsets": offsets, "targets": list(targets), "stamp": "random"}
