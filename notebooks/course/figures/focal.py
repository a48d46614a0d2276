"""The figure of chapter 07, section 2: the focal loss, with gamma and alpha to be set."""

import math
import random
from pathlib import Path
from typing import Any

from fsaf_core.viz.svg import Axes, Svg
from fsaf_core.viz.widgets.kit import THEMES, Figure, source

POINTS = [0.02 + 0.04 * index for index in range(25)]  # of the curves: p from 0.02 to 0.98
EASY, RARE = (2000, 0.05), (40, 0.3)  # background and positive entries: how many, and their p
MOST = 3.0  # loss at the upper end of the axis


def loss(p: float, target: int, gamma: float, alpha: float) -> float:
    """Return the focal loss of one entry of probability p."""
    if target:
        return -alpha * (1 - p) ** gamma * math.log(p)
    return -(1 - alpha) * p**gamma * math.log(1 - p)


class FocalFigure(Figure):
    """The focal loss of an entry against its probability, and two sums of such losses."""

    _esm = source("kit.js") + Path(__file__).with_suffix(".js").read_text()
    _css = source("explorer.css") + ".fo-main { display: flex; flex-wrap: wrap; gap: 12px; }"
    name, twin = "focalFigure", "makeFocal"
    title = "The focal loss: what gamma and alpha do"

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, p: float = 0.1) -> None:
        """Show the curves for `gamma` and `alpha`, and read them at probability `p`."""
        state = {"gamma": gamma, "alpha": alpha, "p": p, "stamp": "start"}
        setup = {"points": POINTS, "easy": EASY, "rare": RARE, "most": MOST, "themes": THEMES}
        super().__init__(setup=setup | {"start": state}, state=state)

    def __repr__(self) -> str:
        return f"{self.title}: gamma {self.state['gamma']}, alpha {self.state['alpha']}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return both curves, their values at p, and the sums over easy and rare entries."""
        gamma, alpha, p = (state[name] for name in ("gamma", "alpha", "p"))
        return {
            "stamp": state["stamp"],
            "positive": [loss(x, 1, gamma, alpha) for x in POINTS],
            "negative": [loss(x, 0, gamma, alpha) for x in POINTS],
            "at": [loss(p, 1, gamma, alpha), loss(p, 0, gamma, alpha)],
            "entropy": [-math.log(p), -math.log(1 - p)],
            "sums": [
                RARE[0] * loss(RARE[1], 1, gamma, alpha),
                EASY[0] * loss(EASY[1], 0, gamma, alpha),
            ],
        }

    def picture(self) -> Svg:
        """Return the state as a drawing."""
        answer, state = self.answer, self.state
        told = f"gamma {state['gamma']}, alpha {state['alpha']}: at p {state['p']} the loss is "
        told += f"{answer['at'][0]:.3f} for target 1 and {answer['at'][1]:.4f} for target 0; "
        rare, easy = answer["sums"]
        told += f"{RARE[0]} positive entries have {rare:.1f}, {EASY[0]} background ones {easy:.1f}."
        svg = Svg(620, 300, told)
        chart = Axes(svg, 50, 20, 380, 230, [0, 0.2, 0.4, 0.6, 0.8, 1], [0, 1, 2, 3], x_name="p")
        lines = (
            ("cross entropy, target 1", svg.theme.muted, [-math.log(x) for x in POINTS], "4 3"),
            ("focal loss, target 1", svg.theme.label(0), answer["positive"], None),
            ("focal loss, target 0", svg.theme.label(1), answer["negative"], "8 2"),
        )
        for row, (name, color, values, dash) in enumerate(lines):
            shown = [(x, y) for x, y in zip(POINTS, values) if y <= MOST]
            chart.line(*zip(*shown), color=color, stroke_dasharray=dash)
            svg.text(445, 60 + 22 * row, name, fill=color)
        svg.text(445, 150, f"{RARE[0]} positives at p {RARE[1]}: {rare:.2f}")
        svg.text(445, 172, f"{EASY[0]} negatives at p {EASY[1]}: {easy:.2f}")
        return svg


def example() -> FocalFigure:
    """Return the figure as chapter 07 shows it."""
    return FocalFigure()


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    return {
        "gamma": generator.randint(0, 50) / 10,
        "alpha": generator.randint(1, 19) / 20,
        "p": generator.randint(2, 98) / 100,
        "stamp": "random",
    }
