"""The explorer's state as an SVG, for readers without a kernel.

Notebooks store this drawing, and tests compare it byte for byte.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...config import ModelConfig
from ...data.transforms import padded_size
from ..svg import REGION_NAMES, Svg
from .assignment_view import CROWD, class_name, level_name

# All in pixels.
IMAGE_SIDE = 300
LEFT, TOP = 10, 34  # of the image; above it is the verdict
LEVEL_SIDE = 146
LEVEL_GAP = 18
LOSS_HEIGHT = 58  # bar and text below a level
KEY_HEIGHT = 58
ZOOM_ABOVE = 256  # for longer images, the levels show only the surroundings of the selected box


@dataclass(frozen=True)
class StaticView:
    """One state of an `Explorer` as text and as a drawing."""

    image: np.ndarray  # (H, W, 3) uint8
    state: dict[str, Any]  # of the explorer
    answer: dict[str, Any]  # of `explore` to that state
    config: ModelConfig

    @property
    def whole(self) -> bool:
        """Return whether all boxes are shown, not one."""
        return self.state["mode"] == "image"

    @property
    def box(self) -> list[float] | None:
        """Return the selected box if it is shown, else None."""
        boxes, index = self.state["boxes"], self.state["selected"]
        return boxes[index] if index < len(boxes) and not self.whole else None

    def _class(self, index: int) -> str:
        return class_name(self.state["labels"][index], self.config)

    def description(self) -> str:
        """Return the alt text of the drawing."""
        chosen, index = self.answer["selected"], self.state["selected"]
        if self.box is None:
            counts = (
                f"P{level['level']} learns {chosen.count(level['level'])}"
                for level in self.answer["levels"]
            )
            return f"{len(chosen)} boxes: {', '.join(counts)}."
        losses = (
            f"P{one['level']} " + ("none" if one["loss"] is None else f"{one['loss']:.3f}")
            for one in self.answer["levels"]
        )
        by_size = level_name(self.answer["heuristic"][index])
        return (
            f"Box {index}, {self._class(index)}, one of {len(chosen)}. "
            f"Loss at each level: {', '.join(losses)}. "
            f"Selected: {level_name(chosen[index])}; by size: {by_size}."
        )

    def draw(self) -> Svg:
        """Return the drawing: the image with its boxes, and each level with its cells and loss."""
        levels, left = self.answer["levels"], LEFT + IMAGE_SIDE + 22
        height, width = self.image.shape[:2]
        scale = min(IMAGE_SIDE / width, IMAGE_SIDE / height)
        key_top = TOP + 22 + LEVEL_SIDE + LOSS_HEIGHT + 16
        bottom = max(TOP + height * scale + 10, key_top + KEY_HEIGHT)
        svg = Svg(left + len(levels) * (LEVEL_SIDE + LEVEL_GAP), bottom, self.description())
        svg.text(LEFT, 20, self.answer["verdict"], size=14, font_weight="bold")
        self._draw_image(svg, scale)
        largest = max((level["loss"] or 0 for level in levels), default=0) or 1
        for index, level in enumerate(levels):
            self._draw_level(svg, left + index * (LEVEL_SIDE + LEVEL_GAP), TOP + 16, level, largest)
        if levels:
            self._draw_key(svg, left - 5, key_top, levels[0]["level"])
        return svg

    def _draw_image(self, svg: Svg, scale: float) -> None:
        """Draw the image with all boxes, and what the selected box's locations predict."""
        height, width = self.image.shape[:2]
        pixels = _subsample(self.image, 256)
        svg.image(pixels, LEFT, TOP, width * scale, height * scale)

        def place(box: list[float]) -> list[float]:
            offsets = (LEFT, TOP, LEFT, TOP)
            return [side * scale + offset for side, offset in zip(box, offsets)]

        chosen, selected = self.answer["selected"], self.state["selected"]
        for level in self.answer["levels"] if self.box else []:
            wins = chosen[selected] == level["level"]
            line = 2 if wins else 1
            for assigned, *details in level["cells"].values():
                if assigned == selected and details:
                    within = (width, height, width, height)
                    cut = [min(max(side, 0), most) for side, most in zip(details[-1], within)]
                    x1, y1, x2, y2 = place(cut)
                    color = svg.theme.level(level["level"])
                    svg.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, stroke_width=line)
        for index, (box, label) in enumerate(zip(self.state["boxes"], self.state["labels"])):
            color = svg.theme.level(chosen[index]) if self.whole else svg.theme.label(max(label, 0))
            color = svg.theme.muted if label == CROWD else color
            text = f"{index} {self._class(index)}"
            text += f" {level_name(chosen[index])}" if self.whole and label != CROWD else ""
            x1, y1, x2, y2 = place(box)
            line = 3 if index == selected and not self.whole else 1
            # A wide line in the page's color makes the box visible on any image.
            svg.rect(x1, y1, x2 - x1, y2 - y1, stroke=svg.theme.paper, stroke_width=line + 2)
            svg.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, stroke_width=line)
            svg.tab(x1, y1, text, color, LEFT, TOP, LEFT + width * scale)

    def _draw_key(self, svg: Svg, x: float, y: float, level: int) -> None:
        """Draw the key of the regions and of the two parts of a loss bar."""
        names = ("negative", "ignored", "positive") if self.whole else REGION_NAMES
        for code, name in enumerate(names):
            left = x + code * 100
            svg.rect(left, y, 14, 14, stroke=svg.theme.muted)
            svg.cells(np.array([[code]]), left, y, 14, level)
            svg.text(left + 20, y + 11, name)
        if self.box:
            svg.rect(x + 400, y + 2, 20, 10, fill=svg.theme.muted, stroke=svg.theme.muted)
            svg.rect(x + 420, y + 2, 20, 10, stroke=svg.theme.muted)
            svg.text(x + 446, y + 11, "focal + IoU loss")
            svg.text(x, y + 36, "★ learns the box · ▲ named by its size alone")

    def _draw_level(
        self, svg: Svg, x: float, y: float, level: dict[str, Any], largest: float
    ) -> None:
        """Draw a level with its cells and loss; the selected level has a bold frame."""
        chosen = self.answer["selected"]
        wins = self.box is not None and chosen[self.state["selected"]] == level["level"]
        color = svg.theme.level(level["level"])
        frame, width = (color, 3) if wins else (svg.theme.grid, 1)
        height = LEVEL_SIDE + LOSS_HEIGHT + 22
        svg.rect(x - 5, y - 16, LEVEL_SIDE + 10, height, stroke=frame, stroke_width=width)
        svg.rect(x, y - 10, 11, 11, fill=color)
        svg.text(x + 16, y, level_name(level["level"]), size=13, font_weight="bold")
        shape = f"{level['columns']} × {level['rows']}, stride {level['stride']}"
        svg.text(x + LEVEL_SIDE, y, shape, 10, "end", svg.theme.muted)
        self._draw_cells(svg, x, y + 6, level)
        self._draw_loss(svg, x, y + LEVEL_SIDE + 13, level, largest, color)

    def _draw_cells(self, svg: Svg, x: float, y: float, level: dict[str, Any]) -> None:
        """Draw a level's cells over the image, or over the surroundings of the selected box."""
        height, width = self.image.shape[:2]
        low_x = low_y = 0.0
        span = float(max(padded_size(height, width, self.config.size_divisor)))
        if self.box and max(height, width) > ZOOM_ABOVE:
            x1, y1, x2, y2 = self.box
            span = 1.3 * max(x2 - x1, y2 - y1, 48)
            low_x, low_y = (x1 + x2 - span) / 2, (y1 + y2 - span) / 2
        scale, stride, shift = LEVEL_SIDE / span, level["stride"], self.answer["cell_center"] - 0.5
        # An inner svg element cuts off what lies outside of it.
        size = f'width="{LEVEL_SIDE}" height="{LEVEL_SIDE}"'
        svg.parts.append(f'<svg x="{x:.0f}" y="{y:.0f}" {size}>')
        top, left = (max(0, int(low)) for low in (low_y, low_x))
        part = self.image[top : int(low_y + span) + 1, left : int(low_x + span) + 1]
        if part.size:
            place = ((left - low_x) * scale, (top - low_y) * scale)
            svg.image(_subsample(part, 64), *place, part.shape[1] * scale, part.shape[0] * scale)
        codes = np.array([int(code) for code in level["codes"]])
        codes = codes.reshape(level["rows"], level["columns"])
        row, column = (max(0, int(low / stride - shift)) for low in (low_y, low_x))
        last_row, last_column = (int((low + span) / stride - shift) for low in (low_y, low_x))
        codes = codes[row : last_row + 1, column : last_column + 1]
        if codes.size:
            corner_x = ((column + shift) * stride - low_x) * scale
            corner_y = ((row + shift) * stride - low_y) * scale
            svg.cells(codes, corner_x, corner_y, stride * scale, level["level"])
        if self.box:
            x1, y1, x2, y2 = self.box
            place = ((x1 - low_x) * scale, (y1 - low_y) * scale)
            svg.rect(*place, (x2 - x1) * scale, (y2 - y1) * scale, stroke=svg.theme.ink)
        svg.parts.append("</svg>")

    def _draw_loss(
        self, svg: Svg, x: float, y: float, level: dict[str, Any], largest: float, color: str
    ) -> None:
        """Draw the level's loss as a bar of two parts and in numbers, and what follows from it."""
        if self.box is not None and level["loss"] is not None:
            focal, iou = (round(level[name], 3) / largest * LEVEL_SIDE for name in ("focal", "iou"))
            svg.rect(x, y, focal, 9, fill=color, stroke=color)
            svg.rect(x + focal, y, iou, 9, fill=svg.theme.paper, stroke=color)
        svg.text(x, y + 24, level["says"])
        svg.text(x, y + 40, level["mark"], font_weight="bold" if "★" in level["mark"] else None)


def _subsample(pixels: np.ndarray, most: int) -> np.ndarray:
    """Return every n-th pixel, so that no side is longer than `most`."""
    step = -(-max(pixels.shape[:2]) // most)
    return pixels[::step, ::step]
