"""First guess: choose the level that learns the star, see the answer, play the training.

The figure is a small explorer: `explore` computes its losses, and twin.js is its twin.
"""

import random
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from fsaf_core.viz.svg import Svg
from fsaf_core.viz.widgets.explorer import Explorer
from fsaf_core.viz.widgets.kit import source
from fsaf_core.viz.widgets.static_view import LEVEL_GAP, LEVEL_SIDE, StaticView

from .. import scene, snapshots

TOLERANCE = 1e-4  # Python rounds the sides of predicted boxes to four decimals
LEFT, CARD_TOP, CURVES_TOP, CURVES_HEIGHT = 14, 54, 290, 130  # pixels of the still
CSS = """
.fg-cards { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 4px; }
.fx .fg-card { padding: 0; border: 0; border-radius: 5px; line-height: 0; }
.fx .fg-card[aria-pressed="true"] { background: var(--paper); outline: 2px dashed var(--ink); }
.fx .fg-card[aria-disabled="true"] { cursor: default; }
"""


class FirstGuess(Explorer):
    """Ask for the level of one box, then show its losses at every level through the training.

    The reader sets `guess` (0: none yet, else a level) and `snapshot` of the state.
    """

    _esm = source("kit.js", "twin.js", "views.js") + Path(__file__).with_suffix(".js").read_text(
        encoding="utf-8"
    )
    _css = source("explorer.css") + CSS
    name, twin = "firstGuess", "makeGuess"
    title = "First guess: which level learns the star?"

    def __repr__(self) -> str:
        return self.title

    def _open(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        traits = super()._open(*arguments, **options)
        traits["state"]["guess"] = 0
        return traits

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """Return the explorer's answer after each snapshot."""
        start, steps = self.setup["start"], self.setup["steps"]
        return [super(FirstGuess, self).respond(start | {"snapshot": i}) for i in range(len(steps))]

    @property
    def winners(self) -> list[int]:
        """Return the selected level after each snapshot."""
        return [answer["selected"][self.state["selected"]] for answer in self.history]

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the explorer's answer to `state`, and in `says` a sentence about the guess."""
        snapshot, guess, index = state["snapshot"], state["guess"], state["selected"]
        answer, steps = self.history[snapshot], self.setup["steps"]
        name = self.setup["classes"][state["labels"][index]]
        selected, by_size = answer["selected"][index], answer["heuristic"][index]
        if not guess:
            says = f"Which level will learn the {name}? Choose one of the pictures."
        elif snapshot == len(steps) - 1:
            start = "Right" if guess == selected else f"You chose P{guess}"
            says = f"{start}: after step {steps[-1]} the network selects P{selected}. "
            says += f"The size heuristic names P{by_size}. Press ▶ to see the training."
        else:
            pairs = pairwise(self.winners[: snapshot + 1])
            changes = sum(one != other for one, other in pairs)
            times = "once" if changes == 1 else f"{changes} times"
            says = f"After step {steps[snapshot]} the network selects P{selected}; "
            says += f"it has changed its level {times} so far."
        return answer | {"stamp": state["stamp"], "says": says}

    def picture(self) -> Svg:
        """Return the answer as a drawing: the levels at the end, the losses through the training."""
        return GuessView(self.image, self.state, self.history[-1], self.config).draw_all(self)


class GuessView(StaticView):
    """The still of a `FirstGuess`."""

    def draw_all(self, figure: FirstGuess) -> Svg:
        """Draw each level with its loss, and below them the losses after every snapshot."""
        levels, steps = self.answer["levels"], figure.setup["steps"]
        selected = ", ".join(f"P{level}" for level in figure.winners)
        alt = f"Loss of the star at each level over {len(steps)} snapshots of the training. "
        alt += f"Selected levels from step {steps[0]} to {steps[-1]}: {selected}."
        width = LEFT + len(levels) * (LEVEL_SIDE + LEVEL_GAP)
        svg = Svg(width, CURVES_TOP + CURVES_HEIGHT + 46, alt)
        svg.text(LEFT - 5, 20, f"Losses after step {steps[-1]}", size=13, font_weight="bold")
        largest = max(level["loss"] or 0 for level in levels)
        for index, level in enumerate(levels):
            left = LEFT + index * (LEVEL_SIDE + LEVEL_GAP)
            self._draw_level(svg, left, CARD_TOP, level, largest)
        self._draw_curves(svg, figure, width - 90)
        return svg

    def _draw_curves(self, svg: Svg, figure: FirstGuess, right: float) -> None:
        losses = [[level["loss"] for level in answer["levels"]] for answer in figure.history]
        most = max(loss for row in losses for loss in row if loss is not None)
        steps, left, bottom = figure.setup["steps"], 40, CURVES_TOP + CURVES_HEIGHT

        def place(snapshot: int, loss: float) -> tuple[float, float]:
            across = snapshot / (len(steps) - 1) * (right - left)
            return left + across, bottom - round(loss, 3) / most * (CURVES_HEIGHT - 16)

        svg.text(LEFT - 5, CURVES_TOP - 8, "Losses through the training", 13, font_weight="bold")
        for tick in range(int(most) + 1):
            y = place(0, tick)[1]
            svg.line(left, y, right, y, stroke=svg.theme.grid)
            svg.text(left - 6, y + 4, str(tick), 11, "end", svg.theme.muted)
        for snapshot, step in enumerate(steps):
            svg.text(place(snapshot, 0)[0], bottom + 16, str(step), 11, "middle", svg.theme.muted)
            if snapshot and figure.winners[snapshot] != figure.winners[snapshot - 1]:
                svg.text(place(snapshot, 0)[0], CURVES_TOP + 10, "★", 12, "middle")
        svg.text((left + right) / 2, bottom + 34, "training step", anchor="middle")
        for index, level in enumerate(self.answer["levels"]):
            color = svg.theme.level(level["level"])
            points = [
                place(i, row[index]) for i, row in enumerate(losses) if row[index] is not None
            ]
            svg.polyline(points, color, stroke_width=2)
            svg.text(right + 8, points[-1][1] + 4, f"P{level['level']}", fill=color)


@cache
def example() -> FirstGuess:
    """Return the figure as chapter 00 shows it."""
    given = scene()
    return FirstGuess(given.image, given.boxes, given.labels, snapshots(), selected=given.star)


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    steps, levels = (example().setup[name] for name in ("steps", "levels"))
    guess = generator.choice([0, *levels])
    snapshot = generator.randrange(len(steps)) if guess else len(steps) - 1
    stamp = f"random {generator.random()}"
    return example().state | {"guess": guess, "snapshot": snapshot, "stamp": stamp}
