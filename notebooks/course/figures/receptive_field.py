"""The figure of chapter 02: from one location back to the pixels that can change it."""

import random
from typing import Any

from fsaf_core.viz.svg import Svg
from fsaf_core.viz.widgets.kit import Figure

from .stage import CSS, Still, scene, scene_setup, script

# Kernel, stride and padding of the tiny backbone's layers, and which of them ends C2 to C5.
LAYERS = [("stem", 3, 2, 1)] + [
    (f"stage {stage}, layer {layer}", 3, 3 - layer, 1) for stage in (1, 2, 3, 4) for layer in (1, 2)
]
ENDS = {2: 3, 3: 5, 4: 7, 5: 9}  # how many layers lead to the map
MARGIN = 36  # pixels around the image


class ReceptiveField(Figure):
    """The receptive field of one location, layer by layer."""

    _esm = script("receptive_field")
    _css = CSS
    name, twin = "receptiveField", "makeReceptiveField"
    title = "The receptive field: which pixels can change a location?"

    def __init__(self, level: int, row: int, column: int, back: int) -> None:
        """Show a location of C2, ..., C5, walked `back` layers back."""
        self.scene = scene()
        setup = scene_setup(self.scene) | {"layers": LAYERS, "ends": ENDS, "margin": MARGIN}
        state = {"level": level, "row": row, "column": column, "back": back, "stamp": "start"}
        super().__init__(setup=setup | {"start": state}, state=state)

    def __repr__(self) -> str:
        return f"{self.title} C{self.state['level']}, row {self.state['row']}, column {self.state['column']}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the window of each map, in its locations and in pixels, and the share inside."""
        rows, columns = ([state[name]] * 2 for name in ("row", "column"))
        stride, walk = 2 ** state["level"], []
        layers = [*reversed(LAYERS[: ENDS[state["level"]]]), ("pixels", 1, 1, 0)]
        for _, kernel, step, padding in layers:
            box = [columns[0], rows[0], columns[1] + 1, rows[1] + 1]
            box = [edge * stride for edge in box]
            count = rows[1] - rows[0] + 1
            walk.append({"count": count, "stride": stride, "side": box[3] - box[1], "box": box})
            low, high = -padding, kernel - 1 - padding
            rows, columns = ([a * step + low, b * step + high] for a, b in (rows, columns))
            stride //= step
        x1, y1, x2, y2 = walk[state["back"]]["box"]
        height, width = self.setup["size"]
        inside = (min(x2, width) - max(x1, 0)) * (min(y2, height) - max(y1, 0))
        share = inside / ((x2 - x1) * (y2 - y1))
        return {"stamp": state["stamp"], "walk": walk, "inside": share}

    def picture(self) -> Svg:
        """Return the state as a drawing: the windows of all layers so far, one inside the other."""
        walk = self.answer["walk"][: self.state["back"] + 1]
        level, side = self.state["level"], walk[-1]["side"]
        alt = f"A location of C{level} of the scene and its window of {side} pixels"
        drawing = Still(self.scene, alt, MARGIN, 2)
        for index, step in enumerate(walk):
            drawing.frame(step["box"], "#ffffff", 3)
            drawing.frame(step["box"], drawing.theme.label(index), 1.5)
        return drawing


def example() -> ReceptiveField:
    """Return the figure as chapter 02 shows it: a location of C3 on the star, walked to the pixels."""
    return ReceptiveField(level=3, row=8, column=3, back=ENDS[3])


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    level = generator.randint(2, 5)
    count = 128 >> level
    row, column = generator.randrange(count), generator.randrange(count)
    return {"level": level, "row": row, "column": column, "back": generator.randint(0, ENDS[level])}
