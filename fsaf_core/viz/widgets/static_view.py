"""The explorer's state as an SVG, for readers without a kernel.

Notebooks store this drawing, and tests compare it byte for byte.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...config import ModelConfig
from ..svg import REGION_NAMES, Svg
from .assignment_view import CROWD, NO_LEVEL, padded

# All in pixels.
IMAGE_WIDTH = 280
IMAGE_LEFT, IMAGE_TOP = 10, 22
LEVEL_SIDE = 186
LEVEL_GAP = 14
LOSS_HEIGHT = 66  # bar and text below a level
KEY_HEIGHT = 86  # below the image
ZOOM_ABOVE = 256  # for longer images, the levels show only the surroundings of the selected box


def level_name(level: int) -> str:
    """Return "P3", ..., "P7", or "no level"."""
    return "no level" if level == NO_LEVEL else f"P{level}"


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

    def class_name(self, index: int) -> str:
        """Return the class name of box `index`."""
        label = self.state["labels"][index]
        if label == CROWD:
            return "crowd"
        known = label < self.config.num_classes
        return self.config.class_names[label] if known else f"class {label}"

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
            f"Box {index + 1} of {len(chosen)}, {self.class_name(index)}. "
            f"Loss at each level: {', '.join(losses)}. "
            f"Selected: {level_name(chosen[index])}; by size: {by_size}."
        )

    def draw(self) -> Svg:
        """Return the drawing: the image with its boxes, and each level with its cells and loss."""
        levels, left = self.answer["levels"], IMAGE_WIDTH + 32
        across = 2 if len(levels) <= 4 else 3
        height, width = self.image.shape[:2]
        scale = min(IMAGE_WIDTH / width, 1.4 * IMAGE_WIDTH / height)
        row_height = LEVEL_SIDE + LOSS_HEIGHT + LEVEL_GAP
        bottom = max(40 + KEY_HEIGHT + height * scale, 4 + -(-len(levels) // across) * row_height)
        svg = Svg(left + across * (LEVEL_SIDE + LEVEL_GAP), bottom, self.description())
        self._draw_image(svg, scale)
        self._draw_key(svg, IMAGE_LEFT, 40 + height * scale)
        largest = max((level["loss"] or 0 for level in levels), default=0) or 1
        for index, level in enumerate(levels):
            x = left + index % across * (LEVEL_SIDE + LEVEL_GAP)
            self._draw_level(svg, x, 22 + index // across * row_height, level, largest)
        return svg

    def _draw_image(self, svg: Svg, scale: float) -> None:
        """Draw the image with all boxes."""
        height, width = self.image.shape[:2]
        pixels = _subsample(self.image, 256)
        svg.image(pixels, IMAGE_LEFT, IMAGE_TOP, width * scale, height * scale)
        for index, (box, label) in enumerate(zip(self.state["boxes"], self.state["labels"])):
            level, is_selected = self.answer["selected"][index], index == self.state["selected"]
            color = svg.theme.level(level) if self.whole else svg.theme.label(max(label, 0))
            text = f"{index + 1} {self.class_name(index)}"
            text += f" {level_name(level)}" if self.whole else ""
            x1, x2 = (x * scale + IMAGE_LEFT for x in box[::2])
            y1, y2 = (y * scale + IMAGE_TOP for y in box[1::2])
            svg.box(x1, y1, x2, y2, color, text, stroke_width=3 if is_selected else 1.5)

    def _draw_key(self, svg: Svg, x: float, y: float) -> None:
        """Draw the key of the regions and of the two parts of a loss bar."""
        names = ("negative", "ignored", "positive") if self.whole else REGION_NAMES
        for code, name in enumerate(names):
            left, top = x + code % 2 * 140, y + code // 2 * 22
            svg.rect(left, top, 14, 14, stroke=svg.theme.muted)
            svg.cells(np.array([[code]]), left, top, 14)
            svg.text(left + 20, top + 11, name)
        if self.box:
            svg.rect(x, y + 46, 20, 10, fill=svg.theme.muted, stroke=svg.theme.muted)
            svg.rect(x + 20, y + 46, 20, 10, stroke=svg.theme.muted)
            svg.text(x + 46, y + 55, "focal + IoU loss")
            svg.text(x, y + 77, "★ learns the box · ▲ named by its size alone")

    def _draw_level(
        self, svg: Svg, x: float, y: float, level: dict[str, Any], largest: float
    ) -> None:
        """Draw a level with its cells and loss; the selected level has a bold frame."""
        selected = self.answer["selected"]
        wins = self.box is not None and selected[self.state["selected"]] == level["level"]
        color = svg.theme.level(level["level"])
        frame, width = (color, 4) if wins else (svg.theme.grid, 1)
        height = LEVEL_SIDE + LOSS_HEIGHT + 6
        svg.rect(x - 5, y - 16, LEVEL_SIDE + 10, height, stroke=frame, stroke_width=width)
        svg.text(x, y, level_name(level["level"]), size=13, font_weight="bold")
        shape = f"stride {level['stride']}, {level['columns']} × {level['rows']} cells"
        svg.text(x + LEVEL_SIDE, y, shape, 10, "end", svg.theme.muted)
        self._draw_cells(svg, x, y + 6, level)
        self._draw_loss(svg, x, y + LEVEL_SIDE + 12, level, largest, color)

    def _draw_cells(self, svg: Svg, x: float, y: float, level: dict[str, Any]) -> None:
        """Draw a level's cells over the image, or over the surroundings of the selected box."""
        low_x, low_y, span = 0.0, 0.0, float(max(padded(self.image.shape[:2], self.config)))
        if self.box and max(self.image.shape[:2]) > ZOOM_ABOVE:
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
            height, width = (side * scale for side in part.shape[:2])
            place = ((left - low_x) * scale, (top - low_y) * scale)
            svg.image(_subsample(part, 64), *place, width, height)
        codes = np.array([int(code) for code in level["codes"]])
        codes = codes.reshape(level["rows"], level["columns"])
        row, column = (max(0, int(low / stride - shift)) for low in (low_y, low_x))
        last_row, last_column = (int((low + span) / stride - shift) for low in (low_y, low_x))
        codes = codes[row : last_row + 1, column : last_column + 1]
        if codes.size:
            corner_x = ((column + shift) * stride - low_x) * scale
            corner_y = ((row + shift) * stride - low_y) * scale
            svg.cells(codes, corner_x, corner_y, stride * scale)
        if self.box:
            x1, y1, x2, y2 = self.box
            place = ((x1 - low_x) * scale, (y1 - low_y) * scale)
            svg.rect(*place, (x2 - x1) * scale, (y2 - y1) * scale, stroke=svg.theme.ink)
        svg.parts.append("</svg>")

    def _draw_loss(
        self, svg: Svg, x: float, y: float, level: dict[str, Any], largest: float, color: str
    ) -> None:
        """Draw the level's loss as a bar of two parts and in numbers, and what follows from it."""
        selected, index = self.answer["selected"], self.state["selected"]
        if self.box is None:
            svg.text(x, y + 12, f"learns {selected.count(level['level'])} of {len(selected)} boxes")
            return
        if level["loss"] is not None:
            focal, iou = (round(level[name], 3) / largest * LEVEL_SIDE for name in ("focal", "iou"))
            svg.rect(x, y, focal, 9, fill=color, stroke=color)
            svg.rect(x + focal, y, iou, 9, fill=svg.theme.paper, stroke=color)
            text = f"{level['loss']:.3f} = focal {level['focal']:.3f} + IoU {level['iou']:.3f}"
        elif "2" in level["codes"]:
            text = "loss not known"
        else:
            text = "all its cells are lost" if "3" in level["codes"] else "no cell of the box"
        svg.text(x, y + 24, text)
        marks = []
        if selected[index] == level["level"]:
            marks.append("★ learns it")
        elif level["taught"]:
            marks.append(f"{level['taught']} here")
        if self.answer["heuristic"][index] == level["level"]:
            marks.append("▲ by size")
        svg.text(x, y + 40, " · ".join(marks), font_weight="bold")


def _subsample(pixels: np.ndarray, most: int) -> np.ndarray:
    """Return every n-th pixel, so that no side is longer than `most`."""
    step = -(-max(pixels.shape[:2]) // most)
    return pixels[::step, ::step]
