"""Draw notebooks/course/choice.svg, the README's moving picture: which level learns the star?

It shows the running example at each stored step of the course's training. After the last step, the
star's box grows, shrinks, and returns to its size. `Detector.assign` computes every level and
loss. The animation is CSS, which runs inside an <img> too. A reader who asks for less motion, or
whose viewer does not animate, sees the star after the last step.

`make course-model` writes the file too; alone: python tests/notebooks/make_choice_picture.py
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))
import course

from fsaf_core.model.structures import HeadOutputs
from fsaf_core.viz.colors import contrast_color
from fsaf_core.viz.svg import Svg, number
from fsaf_core.viz.widgets.assignment_view import assigner

FILE = course.FOLDER / "choice.svg"
LARGE, SMALL = (44.0, 118.0), (9.0, 13.0)  # sizes of the star's box, pixels

# A round of the film has 100 ticks, so that the keyframes are whole percents.
TICKS, SECONDS = 100, 20
TRAINING, TRAINED, HOLD = 4, 10, 7  # ticks of a snapshot, of the last one, of an end of the path
GROWING, SHRINKING, RETURNING = 14, 15, 5  # frames

# The map of sizes: FIELD x FIELD boxes, from SIDES[0] to SIDES[1] pixels, on logarithmic axes.
FIELD, SIDES = 20, (4.0, 128.0)

# The drawing, in pixels.
WIDTH, HEIGHT, TOP = 886.0, 394.0, 92.0
IMAGE_LEFT, IMAGE_SIDE = 14.0, 288.0
BARS_LEFT, BAR_WIDTH, ROW_HEIGHT, ROW_GAP = 330.0, 180.0, 62.0, 13.3
MAP_LEFT, CELL = 632.0, 12.0
MAP_SIDE = CELL * FIELD

Size = tuple[float, float]


@dataclass(frozen=True)
class Frame:
    """What the film shows for some ticks."""

    snapshot: int
    size: Size  # width and height of the star's box, pixels
    boxes: Tensor  # (N, 4)
    selected: list[int]  # of each box: the level that learns it
    losses: list[float]  # of the star at each level; inf: it has no location there
    by_size: int  # the level that the heuristic names for the star
    start: int  # tick
    ticks: int


class Film:
    """The film of the running example."""

    def __init__(self) -> None:
        self.scene, self.snapshots = course.scene(), course.snapshots()
        config = self.config = self.snapshots.config
        self.last = len(self.snapshots.steps) - 1
        self.levels = range(config.first_level, config.last_level + 1)
        x1, y1, x2, y2 = self.scene.boxes[self.scene.star].tolist()
        self.own: Size = round(x2 - x1, 2), round(y2 - y1, 2)

    def assign(self, snapshot: int, layouts: Tensor, selection: str) -> tuple[Tensor, Tensor]:
        """Return how `Detector.assign` assigns the objects of the scene, with other boxes.

        Args:
            snapshot: index of the training step.
            layouts: (M, N, 4) boxes of the N objects in each of M cases, pixels.
            selection: "online" or "heuristic".

        Returns:
            The selected level (M, N), or -1 for none, and the loss at each level (M, N, L).
        """
        kept, count = self.snapshots.outputs[snapshot], len(layouts)
        cls_logits, box_offsets = (
            [level.expand(count, -1, -1, -1) for level in levels]
            for levels in (kept.cls_logits, kept.box_offsets)
        )
        targets = [{"boxes": boxes, "labels": self.scene.labels} for boxes in layouts]
        detector = assigner(replace(self.config, selection=selection))
        assignment = detector.assign(HeadOutputs(cls_logits, box_offsets), targets)
        index = assignment.selected_level
        level = torch.where(index < 0, -1, index + self.config.first_level)
        shape = layouts.shape[:2]
        return level.view(shape), assignment.level_losses.view(*shape, -1)

    def with_star(self, sizes: Sequence[Size]) -> Tensor:
        """Return the boxes (M, N, 4) of the scene, the star's with each of M sizes."""
        layouts, star = self.scene.boxes.repeat(len(sizes), 1, 1), self.scene.star
        box = self.scene.boxes[star]
        center, half = (box[:2] + box[2:]) / 2, torch.tensor(sizes) / 2
        layouts[:, star] = torch.cat([center - half, center + half], 1)
        return layouts

    def frames(self) -> list[Frame]:
        """Return the frames in their order."""
        path = [(snapshot, self.own, TRAINING) for snapshot in range(self.last)]
        path.append((self.last, self.own, TRAINED))
        moves = (
            (self.own, LARGE, GROWING),
            (LARGE, SMALL, SHRINKING),
            (SMALL, self.own, RETURNING),
        )
        for start, end, count in moves:
            for index in range(1, count + 1):
                share = index / count
                size = tuple(round(a * (b / a) ** share, 2) for a, b in zip(start, end))
                path.append((self.last, size, HOLD if index == count else 1))
        rest = TICKS - sum(ticks for *_, ticks in path[:-1])
        path[-1] = (*path[-1][:2], rest)

        frames: list[Frame] = []
        for snapshot, size, ticks in path:
            boxes = self.with_star([size])
            selected, losses = self.assign(snapshot, boxes, "online")
            by_size, _ = self.assign(snapshot, boxes, "heuristic")
            start = frames[-1].start + frames[-1].ticks if frames else 0
            star = self.scene.star
            frames.append(
                Frame(
                    snapshot, size, boxes[0], selected[0].tolist(), losses[0, star].tolist(),
                    int(by_size[0, star]), start, ticks,
                )
            )  # fmt: skip
        return frames

    def landscape(self, snapshot: int) -> tuple[Tensor, Tensor]:
        """Return the selected level and the least loss of the star for each size of its box.

        Returns:
            Two tensors (FIELD, FIELD); the first axis is the height, the second the width.
        """
        low, high = SIDES
        sides = [low * (high / low) ** ((index + 0.5) / FIELD) for index in range(FIELD)]
        layouts = self.with_star([(width, height) for height in sides for width in sides])
        level, losses = (
            one[:, self.scene.star] for one in self.assign(snapshot, layouts, "online")
        )
        return level.view(FIELD, FIELD), losses.amin(1).view(FIELD, FIELD)

    def words(self, frame: Frame) -> tuple[str, str]:
        """Return the two lines above a frame."""
        width, height = (f"{side:.0f}" for side in frame.size)
        steps, level = self.snapshots.steps, frame.selected[self.scene.star]
        first = f"Training step {steps[frame.snapshot]:,} of {steps[-1]:,}"
        if frame.size != self.own:
            first = "After the training: the star's box with another size"
        second = (
            f"P{level} has the least loss, so P{level} learns the star. "
            f"By its size, {width} × {height} px, the heuristic names P{frame.by_size}."
        )
        return first, second

    def picture(self) -> Svg:
        """Return the drawing."""
        frames = self.frames()
        trained = frames[self.last]
        losses = ", ".join(
            f"P{level} {loss:.2f}" for level, loss in zip(self.levels, trained.losses)
        )
        alt = (
            "A film of the course's training, seen on one scene. The star's loss at each level of "
            "the pyramid changes, and the level with the least loss learns the star. After "
            f"{self.snapshots.steps[-1]:,} steps the losses are {losses}, so "
            f"P{trained.selected[self.scene.star]} learns it. By its size, the FPN level "
            f"heuristic names P{trained.by_size}."
        )
        svg = Svg(WIDTH, HEIGHT, alt)
        after = TICKS - trained.start
        svg.parts.append(style({frame.ticks for frame in frames} | {after}))
        muted = svg.theme.muted
        for left, text in (
            (IMAGE_LEFT, "Each box has the color of the level that learns it"),
            (BARS_LEFT - 6, "Loss of the star at each level"),
            (MAP_LEFT, "Color: the level that learns a box of this size"),
        ):
            svg.text(left, TOP - 8, text, size=12, fill=muted)
        svg.image(self.scene.image, IMAGE_LEFT, TOP, IMAGE_SIDE, IMAGE_SIDE)
        for frame in frames[: self.last + 1]:
            ticks = frame.ticks if frame is not trained else after
            svg.parts.append(group("map", frame.start, ticks, frame is trained))
            self._draw_map(svg, frame.snapshot)
            svg.parts.append("</g>")
        self._draw_axes(svg)
        for frame in frames:
            svg.parts.append(group("frame", frame.start, frame.ticks, frame is trained))
            first, second = self.words(frame)
            svg.text(IMAGE_LEFT, 30, first, size=18, font_weight="bold")
            svg.text(IMAGE_LEFT, 56, second, size=15)
            self._draw_image(svg, frame)
            self._draw_bars(svg, frame)
            svg.circle(*place(frame.size), 6, svg.theme.paper, stroke=svg.theme.ink, stroke_width=3)
            svg.parts.append("</g>")
        return svg

    def _draw_image(self, svg: Svg, frame: Frame) -> None:
        """Draw the boxes on the image, the star's last."""
        scale, star = IMAGE_SIDE / self.scene.image.shape[0], self.scene.star
        for index in sorted(range(len(frame.boxes)), key=lambda index: index == star):
            is_star, level = index == star, frame.selected[index]
            x1, y1, x2, y2 = (frame.boxes[index] * scale).tolist()
            x, y, line = IMAGE_LEFT + x1, TOP + y1, 4 if is_star else 1.5
            color = svg.theme.level(level)
            # A wide line in the page's color makes the box visible on any image.
            svg.rect(x, y, x2 - x1, y2 - y1, stroke=svg.theme.paper, stroke_width=line + 2.5)
            svg.rect(x, y, x2 - x1, y2 - y1, stroke=color, stroke_width=line)
            name, high, wide = (f"star P{level}", 19, 60) if is_star else (f"P{level}", 13, 19)
            left = max(IMAGE_LEFT, min(x - line / 2, IMAGE_LEFT + IMAGE_SIDE - wide))
            top = y - high if y - high >= TOP else y
            svg.rect(left, top, wide, high, fill=color)
            svg.text(
                left + 3, top + high - (5 if is_star else 3), name, size=14 if is_star else 11,
                fill=contrast_color(color), font_weight="bold" if is_star else None,
            )  # fmt: skip

    def _draw_bars(self, svg: Svg, frame: Frame) -> None:
        """Draw the loss of the star at each level; the level that learns it has a frame."""
        largest = max(loss for loss in frame.losses if loss < torch.inf)
        for index, (level, loss) in enumerate(zip(self.levels, frame.losses)):
            x, y = BARS_LEFT, TOP + 2 + index * (ROW_HEIGHT + ROW_GAP)
            color, wins = svg.theme.level(level), level == frame.selected[self.scene.star]
            stroke, width = (color, 3) if wins else (svg.theme.grid, 1)
            svg.rect(x - 6, y, 280, ROW_HEIGHT, "none", stroke=stroke, stroke_width=width, rx=4)
            svg.rect(x + 2, y + 9, 14, 14, fill=color)
            svg.text(x + 22, y + 21, f"P{level}", size=15, font_weight="bold")
            marks = ["★ learns the star"] * wins + ["▲ by size"] * (level == frame.by_size)
            weight = "bold" if wins else None
            svg.text(x + 52, y + 21, " · ".join(marks), size=13, font_weight=weight)
            shown, length = "no location", 0.0
            if loss < torch.inf:
                shown, length = f"loss {loss:.2f}", max(2.0, BAR_WIDTH * loss / largest)
            svg.rect(x + 2, y + 35, length, 16, fill=color)
            svg.text(x + 8 + length, y + 48, shown, size=13)

    def _draw_map(self, svg: Svg, snapshot: int) -> None:
        """Draw the landscape: color for the level, a stronger color for a smaller loss."""
        level, loss = self.landscape(snapshot)
        strength = (3 * torch.exp(-loss / 2)).round().long()
        outlines: dict[tuple[int, int], str] = {}
        for row in range(FIELD):
            kinds = [*zip(level[row].tolist(), strength[row].tolist())]
            y, column = TOP + MAP_SIDE - (row + 1) * CELL, 0
            while column < FIELD:  # neighbors of a kind are one rectangle
                end, kind = column, kinds[column]
                while end < FIELD and kinds[end] == kind:
                    end += 1
                width = number((end - column) * CELL)
                corner = f"M{number(MAP_LEFT + column * CELL)} {number(y)}"
                outline = f"{corner}h{width}v{number(CELL)}h-{width}z"
                outlines[kind] = outlines.get(kind, "") + outline
                column = end
        for (one, bright), outline in sorted(outlines.items()):
            if one >= 0:
                svg.add(
                    "path", class_=f"level{one}", d=outline, fill=svg.theme.level(one),
                    fill_opacity=0.25 + 0.25 * bright, shape_rendering="crispEdges",
                )  # fmt: skip
        self._draw_heuristic(svg)
        for one in self.levels:  # the name of a level stands in the middle of its part
            cells = (level == one).nonzero().float()
            if len(cells) >= FIELD:
                far = (cells - cells.mean(0)).square().sum(1)
                row, column = cells[far.argmin()].tolist()
                x, y = MAP_LEFT + (column + 0.5) * CELL, TOP + MAP_SIDE - (row + 0.5) * CELL
                svg.rect(x - 12, y - 9, 24, 18, svg.theme.paper, fill_opacity=0.85, rx=3)
                svg.text(x, y + 5, f"P{one}", size=13, anchor="middle", font_weight="bold")

    def _draw_heuristic(self, svg: Svg) -> None:
        """Draw the sizes at which the heuristic changes the level."""
        low, high = SIDES
        for level in self.levels[1:]:  # from this side of a square on, the heuristic names `level`
            side = self.config.heuristic_size * 2.0 ** (level - self.config.heuristic_level)
            ends = max(low, side**2 / high), min(high, side**2 / low)
            if ends[0] < ends[1]:
                line = [*place((ends[0], side**2 / ends[0])), *place((ends[1], side**2 / ends[1]))]
                svg.line(*line, svg.theme.paper, stroke_width=3.5)
                svg.line(*line, svg.theme.ink, stroke_width=1.5, stroke_dasharray="5 3")

    def _draw_axes(self, svg: Svg) -> None:
        """Draw the ticks of the map, and the meaning of its axes and lines."""
        muted, bottom = svg.theme.muted, TOP + MAP_SIDE
        for tick in (8, 16, 32, 64, 128):
            x, y = place((tick, tick))
            svg.text(x, bottom + 15, str(tick), size=11, anchor="middle", fill=muted)
            svg.text(MAP_LEFT - 4, y + 4, str(tick), size=11, anchor="end", fill=muted)
        svg.text(
            MAP_LEFT, bottom + 31, "across: width, up: height of the box, px", size=12, fill=muted
        )
        svg.text(
            MAP_LEFT, bottom + 47, "dashed: the heuristic changes the level", size=12, fill=muted
        )


def place(size: Size) -> tuple[float, float]:
    """Return the position of a size in the map, in pixels of the drawing."""
    low, high = SIDES
    x, y = (torch.tensor(size).div(low).log2() / torch.tensor(high / low).log2()).tolist()
    return MAP_LEFT + x * MAP_SIDE, TOP + (1 - y) * MAP_SIDE


def style(durations: set[int]) -> str:
    """Return the style element: for each duration, keyframes that show a group and hide it."""
    keyframes = "\n".join(
        f"@keyframes show{ticks}{{0%{{visibility:visible}}{ticks}%,100%{{visibility:hidden}}}}"
        for ticks in sorted(durations)
    )
    rule = f"visibility:hidden;animation:{SECONDS}s step-end infinite"
    motion = f"@media (prefers-reduced-motion:no-preference){{.map,.frame{{{rule}}}}}"
    return f"<style>\n{keyframes}\n{motion}\n</style>"


def group(name: str, start: int, ticks: int, still: bool) -> str:
    """Return the start of a group that is visible for `ticks` from tick `start` of each round.

    Args:
        name: its class.
        start: tick.
        ticks: how long.
        still: whether it is visible without the animation.
    """
    delay = number(start * SECONDS / TICKS)
    timing = f"animation-name:show{ticks};animation-delay:{delay}s"
    return f'<g class="{name}" visibility="{"visible" if still else "hidden"}" style="{timing}">'


def write() -> None:
    """Write the file."""
    FILE.write_text(str(Film().picture()), encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    write()
