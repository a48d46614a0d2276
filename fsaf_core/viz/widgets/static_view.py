"""The explorer's state as a drawing: what is stored in a notebook, seen without a kernel, and compared by tests to the byte."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...config import ModelConfig
from ..svg import REGION_NAMES, Svg
from .assignment_view import CROWD, NO_LEVEL, padded

STAGE, SIDE, GAP, BELOW = (
    280,
    186,
    14,
    66,
)  # pixels: the image's width, a level's, between levels, for what stands below one
KEY = 86  # pixels: for the key below the image
ZOOM_ABOVE = 256  # pixels: of larger images the levels show the surroundings of the selected box


def level_name(level: int) -> str:
    """What a level is called, "no level" included."""
    return "no level" if level == NO_LEVEL else f"P{level}"


@dataclass(frozen=True)
class Still:
    """One state of an `Explorer`, in words and as a drawing."""

    image: np.ndarray  # (H, W, 3) uint8
    state: dict[str, Any]
    answer: dict[str, Any]
    config: ModelConfig

    @property
    def whole(self) -> bool:
        """All boxes are shown, not one."""
        return self.state["mode"] == "image"

    @property
    def box(self) -> list[float] | None:
        """The selected box, if there is one and it is what is shown."""
        boxes, index = self.state["boxes"], self.state["selected"]
        return boxes[index] if index < len(boxes) and not self.whole else None

    def class_name(self, index: int) -> str:
        """Of box `index`."""
        label = self.state["labels"][index]
        if label == CROWD:
            return "crowd"
        return (
            self.config.class_names[label] if label < self.config.num_classes else f"class {label}"
        )

    def in_words(self) -> str:
        """For a reader without the picture."""
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
        levels = f"Selected: {level_name(chosen[index])}; by size: {level_name(self.answer['heuristic'][index])}."
        return f"Box {index + 1} of {len(chosen)}, {self.class_name(index)}. Loss at each level: {', '.join(losses)}. {levels}"

    def draw(self) -> Svg:
        """The image with its boxes, and beside it each level's cells and loss; the same to the byte for the same numbers."""
        levels, left = self.answer["levels"], STAGE + 32
        across = 2 if len(levels) <= 4 else 3
        scale = min(STAGE / self.image.shape[1], 1.4 * STAGE / self.image.shape[0])
        bottom = max(
            40 + KEY + self.image.shape[0] * scale,
            4 + -(-len(levels) // across) * (SIDE + BELOW + GAP),
        )
        svg = Svg(left + across * (SIDE + GAP), bottom, self.in_words())
        self._draw_boxes(svg, scale)
        self._draw_key(svg, 10, 40 + self.image.shape[0] * scale)
        worst = max((level["loss"] or 0 for level in levels), default=0) or 1
        for index, level in enumerate(levels):
            x, y = left + index % across * (SIDE + GAP), 22 + index // across * (SIDE + BELOW + GAP)
            winner = (
                self.box is not None
                and self.answer["selected"][self.state["selected"]] == level["level"]
            )
            color = svg.theme.level(level["level"])
            frame = color if winner else svg.theme.grid
            svg.rect(
                x - 5,
                y - 16,
                SIDE + 10,
                SIDE + BELOW + 6,
                stroke=frame,
                stroke_width=4 if winner else 1,
            )
            svg.text(x, y, level_name(level["level"]), size=13, font_weight="bold")
            svg.text(
                x + SIDE,
                y,
                f"stride {level['stride']}, {level['columns']} × {level['rows']} cells",
                10,
                "end",
                svg.theme.muted,
            )
            self._draw_cells(svg, x, y + 6, level)
            self._draw_bid(svg, x, y + SIDE + 12, level, worst, color)
        return svg

    def _draw_boxes(self, svg: Svg, scale: float) -> None:
        svg.image(
            _thin(self.image, 256), 10, 22, self.image.shape[1] * scale, self.image.shape[0] * scale
        )
        for index, (box, label) in enumerate(zip(self.state["boxes"], self.state["labels"])):
            chosen, own = self.answer["selected"][index], index == self.state["selected"]
            color = svg.theme.level(chosen) if self.whole else svg.theme.label(max(label, 0))
            words = f"{index + 1} {self.class_name(index)}" + (
                f" {level_name(chosen)}" if self.whole else ""
            )
            x1, y1, x2, y2 = (value * scale + shift for value, shift in zip(box, (10, 22, 10, 22)))
            svg.box(x1, y1, x2, y2, color, words, stroke_width=3 if own else 1.5)

    def _draw_key(self, svg: Svg, x: float, y: float) -> None:
        """What the kinds of cell, and the two parts of a bar, look like."""
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

    def _draw_cells(self, svg: Svg, x: float, y: float, level: dict[str, Any]) -> None:
        """The level's cells over the image, or over the part of it around the selected box, in a square of SIDE pixels."""
        low_x, low_y, span = 0.0, 0.0, float(max(padded(self.image.shape[:2], self.config)))
        if self.box and max(self.image.shape[:2]) > ZOOM_ABOVE:
            x1, y1, x2, y2 = self.box
            span = 1.3 * max(x2 - x1, y2 - y1, 48)
            low_x, low_y = (x1 + x2 - span) / 2, (y1 + y2 - span) / 2
        scale, stride, shift = SIDE / span, level["stride"], self.answer["cell_center"] - 0.5
        svg.parts.append(
            f'<svg x="{x:.0f}" y="{y:.0f}" width="{SIDE}" height="{SIDE}">'
        )  # cuts what lies outside
        top, left = (max(0, int(low)) for low in (low_y, low_x))
        part = self.image[top : int(low_y + span) + 1, left : int(low_x + span) + 1]
        if part.size:
            svg.image(
                _thin(part, 64),
                (left - low_x) * scale,
                (top - low_y) * scale,
                part.shape[1] * scale,
                part.shape[0] * scale,
            )
        codes = np.array([int(code) for code in level["codes"]]).reshape(
            level["rows"], level["columns"]
        )
        row, column = (max(0, int(low / stride - shift)) for low in (low_y, low_x))
        codes = codes[
            row : int((low_y + span) / stride - shift) + 1,
            column : int((low_x + span) / stride - shift) + 1,
        ]
        if codes.size:
            corner_x, corner_y = (
                ((first + shift) * stride - low) * scale
                for first, low in ((column, low_x), (row, low_y))
            )
            svg.cells(codes, corner_x, corner_y, stride * scale)
        if self.box:
            x1, y1, x2, y2 = self.box
            svg.rect(
                (x1 - low_x) * scale,
                (y1 - low_y) * scale,
                (x2 - x1) * scale,
                (y2 - y1) * scale,
                stroke=svg.theme.ink,
            )
        svg.parts.append("</svg>")

    def _draw_bid(
        self, svg: Svg, x: float, y: float, level: dict[str, Any], worst: float, color: str
    ) -> None:
        """The level's loss as a bar of two parts, in numbers, and what comes of it."""
        chosen, index = self.answer["selected"], self.state["selected"]
        if self.box is None:
            svg.text(x, y + 12, f"learns {chosen.count(level['level'])} of {len(chosen)} boxes")
            return
        if level["loss"] is None:
            lost = "all its cells are lost" if "3" in level["codes"] else "no cell of the box"
            words = "loss not known" if "2" in level["codes"] else lost
        else:
            focal, iou = (round(level[name], 3) / worst * SIDE for name in ("focal", "iou"))
            svg.rect(x, y, focal, 9, fill=color, stroke=color)
            svg.rect(x + focal, y, iou, 9, fill=svg.theme.paper, stroke=color)
            words = f"{level['loss']:.3f} = focal {level['focal']:.3f} + IoU {level['iou']:.3f}"
        svg.text(x, y + 24, words)
        marks = (
            ["★ learns it"]
            if chosen[index] == level["level"]
            else [f"{level['taught']} here"]
            if level["taught"]
            else []
        )
        marks += ["▲ by size"] if self.answer["heuristic"][index] == level["level"] else []
        svg.text(x, y + 40, " · ".join(marks), font_weight="bold")


def _thin(pixels: np.ndarray, most: int) -> np.ndarray:
    """Every so many-th pixel, so that no side is longer than `most`."""
    step = -(-max(pixels.shape[:2]) // most)
    return pixels[::step, ::step]
