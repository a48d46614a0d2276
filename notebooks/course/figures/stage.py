"""What the figures of chapters 02 to 05 share: the scene as a setup, and their style."""

import base64
from pathlib import Path
from typing import Any

from fsaf_core.viz.svg import Svg, png
from fsaf_core.viz.widgets.kit import THEMES, source

from .. import Scene, scene

HERE = Path(__file__).parent
CSS = (
    source("explorer.css")
    + """
.st-main { display: flex; flex-wrap: wrap; gap: 8px 16px; margin-top: 6px; }
.st-side { flex: 1 1 300px; min-width: 0; }
.st-stage { touch-action: none; cursor: crosshair; flex: none; }
.st-stage:focus-visible { outline: 2px solid var(--ink); }
.st-controls { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; }
.st-controls label { display: inline-flex; align-items: center; gap: 5px; }
.st-side table { border-collapse: collapse; margin: 8px 0; font-variant-numeric: tabular-nums; }
.st-side :is(td, th) { padding: 2px 10px 2px 0; text-align: right; font-weight: normal; }
.st-side :is(td, th):first-child { text-align: left; }
.st-side thead th { color: var(--muted); }
.st-side tr[data-on] { outline: 2px solid var(--ink); outline-offset: -1px; font-weight: bold; }
.st-main .fx-verdict { flex: none; min-height: 2.8em; }
"""
)


def script(name: str) -> str:
    """Return the kit, the stage and the figure `name` as one script."""
    return source("kit.js") + "\n".join(
        (HERE / file).read_text(encoding="utf-8") for file in ("stage.js", f"{name}.js")
    )


def scene_setup(example: Scene) -> dict[str, Any]:
    """Return what each of these figures shows: the image, the star's box, the themes."""
    return {
        "image": f"data:image/png;base64,{base64.b64encode(png(example.image)).decode('ascii')}",
        "size": list(example.image.shape[:2]),
        "star": [round(float(side), 2) for side in example.boxes[example.star]],
        "themes": THEMES,
    }


class Still(Svg):
    """A drawing in the pixels of the scene, enlarged, with a margin."""

    def __init__(self, example: Scene, alt: str, margin: float, scale: float) -> None:
        height, width = example.image.shape[:2]
        super().__init__((width + 2 * margin) * scale, (height + 2 * margin) * scale, alt)
        self.margin, self.scale = margin, scale
        self.image(example.image, margin * scale, margin * scale, width * scale, height * scale)

    def place(self, *values: float) -> list[float]:
        """Return coordinates of the scene as coordinates of the drawing."""
        return [(value + self.margin) * self.scale for value in values]

    def frame(self, box: tuple[float, ...] | list[float], color: str, width: float = 2) -> None:
        """Draw a box of the scene."""
        x1, y1, x2, y2 = self.place(*box)
        self.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, stroke_width=width)


__all__ = ["CSS", "Still", "scene", "scene_setup", "script"]
