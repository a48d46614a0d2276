"""The assignment explorer: drag a box and see which locations of which level learn it, and why.

Python computes every number (assignment_view.py); explorer.js draws them and reports the boxes.
Without a kernel, the reader sees the same state as an SVG (static_view.py). `Explorer.save_html`
writes a page that needs no Python at all.
"""

import base64
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anywidget
import numpy as np
import traitlets
from PIL import Image

from ... import presets
from ...config import CONVENTIONS, FSAFError, ModelConfig
from ...data.images import load_image
from ...model.detector import Detector
from ...model.structures import HeadOutputs
from ...utils.files import write_atomically
from ..colors import DARK, LIGHT, Theme, contrast_color
from ..svg import Svg
from .assignment_view import (
    CHOICES,
    MOST_PIXELS,
    NO_LEVEL,
    Snapshots,
    explore,
    head_outputs,
    padded,
)
from .static_view import StaticView
from .texts import SCALES, SWITCHES, TOUR, situations

HERE = Path(__file__).parent

_stamps = itertools.count()

Picture = np.ndarray | Image.Image | str | Path


class PopulationItem(NamedTuple):
    """One image of a population, with its boxes."""

    image: Picture
    boxes: Sequence[Sequence[float]]  # x1 y1 x2 y2, pixels
    labels: Sequence[int]  # 0..K-1


class Explorer(anywidget.AnyWidget):
    """The explorer of one image, for JupyterLab and Notebook 7.

    As the last line of a cell it shows itself. The reader sets `state` (boxes, labels, selected,
    mode, snapshot, switches), and `answer` is what `explore` returns for it. Code can set the
    state too, if it gives each state a stamp of its own:
    `explorer.state = {**explorer.state, "snapshot": 3, "stamp": "mine"}`.
    """

    _esm = HERE / "explorer.js"
    _css = HERE / "explorer.css"
    setup = traitlets.Dict().tag(sync=True)
    state = traitlets.Dict().tag(sync=True)
    answer = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        image: Picture,
        boxes: Any = (),
        labels: Any = (),
        snapshots: Snapshots | None = None,
        *,
        detectors: Mapping[int, Detector] | None = None,
        config: ModelConfig | None = None,
        population: Sequence[PopulationItem] = (),
        selected: int = 0,
        mode: str = "instance",
    ) -> None:
        """Show `image` with its boxes, after the last snapshot.

        Args:
            image: (H, W, 3) uint8, a PIL image or a file. It is not resized: resize it first, as
                the detector would.
            boxes: (N, 4) x1 y1 x2 y2, pixels.
            labels: (N,) 0..K-1; -1 is a crowd box.
            snapshots: the network's outputs for this image.
            detectors: by training step. Needed for a population, and for this image if there are
                no `snapshots`.
            config: of the detector, if there are neither snapshots nor detectors.
            population: images whose boxes the mode "population" shows.
            selected: index of the box that is selected at first.
            mode: "instance", "image" or "population".
        """
        self.detectors, self.population = dict(detectors or {}), population
        self._config = config or presets.get("tiny").model
        # Of each training step: size and outputs of every image of the population.
        self._seen: dict[int, list[tuple[tuple[int, int], HeadOutputs]]] = {}
        self._first = partial(
            self._open, image, boxes, labels, snapshots, selected=selected, mode=mode
        )
        super().__init__(**self._first())

    def __repr__(self) -> str:
        (height, width), levels, steps = (self.setup[name] for name in ("size", "levels", "steps"))
        shown = f"{width} x {height} px, {len(self.state['boxes'])} boxes"
        return f"Explorer: {shown}, P{levels[0]}..P{levels[-1]}, {len(steps)} snapshots"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return data | {"image/svg+xml": str(self.picture())}, metadata

    def _open(
        self,
        image: Picture,
        boxes: Any,
        labels: Any,
        snapshots: Snapshots | None,
        home: bool = True,
        **state: Any,
    ) -> dict[str, Any]:
        """Set `self.image` and `self.snapshots`, and return the traits that show them."""
        self.image = _pixels(image)
        height, width = self.image.shape[:2]
        if snapshots is None and self.detectors and height * width <= MOST_PIXELS:
            snapshots = Snapshots.of(self.detectors, self.image)
        self.snapshots = snapshots
        config = self._config = snapshots.config if snapshots else self._config
        steps = list(snapshots.steps) if snapshots else []
        start = {
            "boxes": np.asarray(boxes, dtype=float).reshape(-1, 4).round(4).tolist(),
            "labels": np.asarray(labels, dtype=int).reshape(-1).tolist(),
            "snapshot": max(len(steps) - 1, 0),
            "switches": {name: getattr(config, name) for name in (*SCALES, *SWITCHES)},
            "stamp": f"python {next(_stamps)}",
        } | state
        setup = {
            "image": _uri(self.image),
            "size": [height, width],
            "padded": list(padded((height, width), config)),
            "levels": list(range(config.first_level, config.last_level + 1)),
            "classes": list(config.class_names),
            "steps": steps,
            "population": len(self.population) if self.detectors else 0,
            "heuristic_size": config.heuristic_size,
            "heuristic_level": config.heuristic_level,
            "conventions": {name: asdict(rules) for name, rules in CONVENTIONS.items()},
            "themes": {theme.name: _theme(theme) for theme in (LIGHT, DARK)},
            "situations": situations(height, width),
            "scales": SCALES,
            "switches": SWITCHES,
            "tour": TOUR,
            "start": start,
            "home": home,
        }
        return {"setup": setup, "state": start}

    @traitlets.observe("state")
    def _on_state(self, change: dict[str, Any]) -> None:
        state = change["new"]
        if "open" not in state:
            self.answer = self.respond(state)
            return
        image, box = state["open"]
        if image < 0:
            traits = self._first()
        else:
            picture, boxes, labels = self.population[image]
            traits = self._open(picture, boxes, labels, None, False, selected=box, mode="instance")
        with self.hold_sync():
            self.setup = traits["setup"]
            self.state = traits["state"]

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of `explore` to `state`, with its stamp and any population's points."""
        outputs = self.snapshots.outputs[state["snapshot"]] if self.snapshots else None
        try:
            config = replace(self._config, **state["switches"])
        except FSAFError as error:
            none = dict.fromkeys(CHOICES, [NO_LEVEL] * len(state["boxes"]))
            return {"stamp": state["stamp"], "notes": [str(error)], "levels": [], **none}
        size, whole = self.image.shape[:2], state["mode"] == "image"
        boxes, labels, selected = (state[name] for name in ("boxes", "labels", "selected"))
        answer = explore(size, boxes, labels, outputs, config, selected, whole)
        if state["mode"] == "population":
            step = self.snapshots.steps[state["snapshot"]] if self.snapshots else -1
            if step in self.detectors:
                answer["points"] = self._points(step, config)
            else:
                answer["notes"].append(
                    "A population needs the weights of the step: there are those of "
                    f"{[*self.detectors]}."
                )
        return {"stamp": state["stamp"]} | answer

    def _points(self, step: int, config: ModelConfig) -> list[list[float]]:
        """Return [sqrt(w * h) in pixels, level, image, box] of each box of the population."""
        if step not in self._seen:
            pictures = [_pixels(item.image) for item in self.population]
            self._seen[step] = [
                (picture.shape[:2], head_outputs(self.detectors[step], picture))
                for picture in pictures
            ]
        points = []
        for index, (item, (size, outputs)) in enumerate(zip(self.population, self._seen[step])):
            answer = explore(size, item.boxes, item.labels, outputs, config)
            for box, ((x1, y1, x2, y2), level) in enumerate(zip(item.boxes, answer["selected"])):
                points.append([round(math.sqrt((x2 - x1) * (y2 - y1)), 2), level, index, box])
        return points

    def picture(self) -> Svg:
        """Return the state as a drawing, which a notebook stores for readers without a kernel."""
        return StaticView(self.image, self.state, self.answer, self._config).draw()

    def save_html(self, path: str | Path) -> None:
        """Write a page with this image and its snapshots; it needs no Python and no internet."""
        style, *scripts = (
            (HERE / name).read_text(encoding="utf-8")
            for name in ("explorer.css", "explorer.js", "explorer_twin.js")
        )
        # Without Python there is no population, and no image but this one.
        setup = self.setup | {"population": 0, "home": True}
        state = self.state | {"mode": "image" if self.state["mode"] == "image" else "instance"}
        page: dict[str, Any] = {"setup": setup, "state": state, "config": asdict(self._config)}
        if self.snapshots:
            page["numbers"] = base64.b64encode(self.snapshots.numbers.tobytes()).decode()
        data = json.dumps(page, separators=(",", ":")).replace("<", "\\u003c")
        style += f"@media (prefers-color-scheme: dark) {{ html {{ background: {DARK.paper}; }} }}"
        script = "\n".join(scripts)
        write_atomically(path, PAGE.format(title=repr(self), style=style, data=data, script=script))


PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
</head>
<body style="margin:0"><div id="explorer"></div>
<script type="application/json" id="page">{data}</script>
<script type="module">
{script}
</script>
</body>
</html>
"""


def _pixels(image: Picture) -> np.ndarray:
    """Return a file, a PIL image or an array as (H, W, 3) uint8."""
    picture = load_image(image) if isinstance(image, (str, Path)) else image
    return np.asarray(picture.convert("RGB") if isinstance(picture, Image.Image) else picture)


def _theme(theme: Theme) -> dict[str, Any]:
    """Return a theme for the screen; `on` is the color of a name on each color of a box."""
    colors = (*theme.classes, *theme.levels, theme.muted)
    return asdict(theme) | {"on": {color: contrast_color(color) for color in colors}}


def _uri(pixels: np.ndarray) -> str:
    """Return the image as a data URI: PNG if it is small, else JPEG of at most 2,000 px a side."""
    picture, file = Image.fromarray(pixels), io.BytesIO()
    kind = "png" if pixels.shape[0] * pixels.shape[1] <= 256 * 256 else "jpeg"
    picture.thumbnail((2000, 2000))
    picture.save(file, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
