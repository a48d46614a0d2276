"""The figure of chapter 05: four distances of one location, the box that they decode to, its loss."""

import math
import random
from typing import Any

import torch

from fsaf_core import presets
from fsaf_core.method.locations import box_iou_aligned, decode, encode
from fsaf_core.viz.svg import Svg
from fsaf_core.viz.widgets.kit import Figure

from .stage import CSS, Still, scene, scene_setup, script

MARGIN = 16  # pixels around the image
MOST = 2.0  # the largest output that a slider offers
LEAST_IOU = 1e-6


class DistanceFigure(Figure):
    """The outputs l t r b of one location, decoded and compared with the star's box."""

    _esm = script("distances")
    _css = CSS
    name, twin = "distanceFigure", "makeDistances"
    title = "Four distances: which box does a location predict?"

    def __init__(self, level: int, row: int, column: int, offsets: list[float]) -> None:
        """Show a location of P3, ..., P6 with four outputs, in units of S times the stride."""
        self.scene, config = scene(), presets.get("tiny").model
        setup = scene_setup(self.scene) | {
            "levels": list(range(config.first_level, config.last_level + 1)),
            "unit": config.offset_normalizer,
            "margin": MARGIN,
            "most": MOST,
        }
        state = {"level": level, "row": row, "column": column, "offsets": offsets, "stamp": "start"}
        super().__init__(setup=setup | {"start": state}, state=state)

    def __repr__(self) -> str:
        return f"{self.title} P{self.state['level']}, {self.state['offsets']}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the location's center, the decoded box, the target offsets, IoU and loss."""
        stride = 2 ** state["level"]
        unit = torch.tensor(self.setup["unit"] * stride).double()
        center = torch.tensor([state["column"] + 0.5, state["row"] + 0.5]).double() * stride
        star = torch.tensor(self.setup["star"]).double()
        box = decode(torch.tensor(state["offsets"]).double(), center, unit)
        iou = float(box_iou_aligned(box, star))
        return {
            "stamp": state["stamp"],
            "center": center.tolist(),
            "box": box.tolist(),
            "target": encode(star, center, unit).tolist(),
            "iou": iou,
            "loss": -math.log(max(iou, LEAST_IOU)),
        }

    def picture(self) -> Svg:
        """Return the state as a drawing: the star's box, the decoded box and its distances."""
        answer = self.answer
        alt = f"A location of P{self.state['level']} and its box: IoU {answer['iou']:.2f}"
        drawing = Still(self.scene, alt, MARGIN, 2.6)
        drawing.frame(self.setup["star"], "#ffffff", 3)
        drawing.frame(answer["box"], drawing.theme.level(self.state["level"]), 3)
        (x, y), (x1, y1, x2, y2) = answer["center"], answer["box"]
        for end in ((x1, y), (x, y1), (x2, y), (x, y2)):
            drawing.line(*drawing.place(x, y), *drawing.place(*end), "#ffffff", stroke_width=2)
        drawing.circle(*drawing.place(x, y), 5, fill="#ffffff")
        return drawing


def example() -> DistanceFigure:
    """Return the figure as chapter 05 shows it: a location of P4 on the star."""
    return DistanceFigure(level=4, row=3, column=1, offsets=[0.35, 0.35, 0.35, 0.35])


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    level = generator.randint(3, 6)
    count = 128 >> level
    offsets = [round(generator.uniform(0, MOST) * generator.choice((0, 0.3, 1)), 3) for _ in "ltrb"]
    row, column = generator.randrange(count), generator.randrange(count)
    return {"level": level, "row": row, "column": column, "offsets": offsets}
