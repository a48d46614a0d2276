"""The assignment explorer: drag a box and see which locations of which level learn it, and why.

`explore` (assignment_view.py) computes every number; its twin (twin.js) computes the same in the
browser, and Python checks it. views.js draws an answer, and explorer.js takes mouse and keys.
Without a script, the reader sees the same state as an SVG (static_view.py).
"""

import base64
import io
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import traitlets
from PIL import Image

from ... import presets
from ...config import CONVENTIONS, FSAFError, ModelConfig
from ...data.images import load_image
from ...data.transforms import padded_size
from ...model.detector import Detector
from ...model.structures import HeadOutputs
from ..svg import Svg
from .assignment_view import (
    CHOICES,
    MOST_PIXELS,
    NO_LEVEL,
    Snapshots,
    explore,
    head_outputs,
)
from .kit import THEMES, Figure, source
from .static_view import StaticView
from .texts import SCALES, SWITCHES, WALK, situations

TWIN_FIELDS = (  # of the configuration: what the twin reads
    "focal_alpha",
    "focal_gamma",
    "offset_normalizer",
    "heuristic_size",
    "heuristic_level",
)
MOST_NUMBERS = 500_000  # of all snapshots; with more, the browser asks Python for each answer

_stamps = itertools.count()

Picture = np.ndarray | Image.Image | str | Path


class PopulationItem(NamedTuple):
    """One image of a population, with its boxes."""

    image: Picture
    boxes: Sequence[Sequence[float]]  # x1 y1 x2 y2, pixels
    labels: Sequence[int]  # 0..K-1


class Explorer(Figure):
    """The explorer of one image.

    The reader sets `state` (boxes, labels, selected, mode, snapshot, switches), and `answer` is
    what `explore` returns for it.
    """

    _esm = source("kit.js", "twin.js", "views.js", "explorer.js")
    _css = source("explorer.css")
    name, twin = "explorer", "makeTwin"
    title = "The assignment explorer: which level learns the box?"

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
        points: list[list] | None = None,
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
            points: what `population_points` returned for a population; it is shown without a
                detector of the step, and on pages.
            selected: index of the box that is selected at first.
            mode: "instance", "image", "population", "split" (paper and MMDetection) or "predict".
        """
        self.detectors, self.population = dict(detectors or {}), population
        self.config = config or presets.get("tiny").model  # before any switch of the screen
        # Of each training step: the outputs for every image of the population.
        self._seen: dict[int, list[HeadOutputs]] = {}
        self._stored = points
        self._first = partial(
            self._open, image, boxes, labels, snapshots, selected=selected, mode=mode
        )
        super().__init__(**self._first())

    def __repr__(self) -> str:
        (height, width), levels, steps = (self.setup[name] for name in ("size", "levels", "steps"))
        shown = f"{width} x {height} px, {len(self.state['boxes'])} boxes"
        return f"Explorer: {shown}, P{levels[0]}..P{levels[-1]}, {len(steps)} snapshots"

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
        config = self.config = snapshots.config if snapshots else self.config
        steps = list(snapshots.steps) if snapshots else []
        numbers = snapshots.numbers if snapshots else np.zeros(0, np.float16)
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
            "padded": list(padded_size(height, width, config.size_divisor)),
            "levels": list(range(config.first_level, config.last_level + 1)),
            "classes": list(config.class_names),
            "steps": steps,
            "numbers": _base64(numbers) if 0 < numbers.size <= MOST_NUMBERS else None,
            "config": {name: getattr(config, name) for name in TWIN_FIELDS},
            "number": self.number,
            "population": len(self.population) if self.detectors else 0,
            "points": self._stored,
            "conventions": {name: asdict(rules) for name, rules in CONVENTIONS.items()},
            "themes": THEMES,
            "situations": situations(height, width),
            "scales": SCALES,
            "switches": SWITCHES,
            "walk": WALK,
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
            config = replace(self.config, **state["switches"])
        except FSAFError as error:
            none: dict[str, Any] = dict.fromkeys(CHOICES, [NO_LEVEL] * len(state["boxes"]))
            none |= {"notes": [str(error)], "levels": [], "verdict": ""}
            return {"stamp": state["stamp"], **none}
        size, whole = self.image.shape[:2], state["mode"] == "image"
        boxes, labels, selected = (state[name] for name in ("boxes", "labels", "selected"))
        answer = explore(size, boxes, labels, outputs, config, selected, whole)
        if state["mode"] == "population" and self.detectors:
            answer["points"] = self._points(config)
        return {"stamp": state["stamp"]} | answer

    def _points(self, config: ModelConfig) -> list[list]:
        """Return [sqrt(w * h) in pixels, image, box, levels] of each box of the population.

        `levels` has the selected level after each snapshot: by the detector of its step, or else
        as it is stored, or NO_LEVEL.
        """
        steps = self.setup["steps"]
        for step in set(steps) & self.detectors.keys() - self._seen.keys():
            self._seen[step] = [
                head_outputs(self.detectors[step], _pixels(item.image)) for item in self.population
            ]
        points: list[list] = []
        for index, item in enumerate(self.population):
            size = _pixels(item.image).shape[:2]
            chosen = [
                explore(size, item.boxes, item.labels, self._seen[step][index], config)["selected"]
                if step in self._seen
                else [NO_LEVEL] * len(item.boxes)
                for step in steps
            ]
            for box, (x1, y1, x2, y2) in enumerate(item.boxes):
                levels = [at_step[box] for at_step in chosen]
                if self._stored:
                    stored = self._stored[len(points)][3]
                    levels = [
                        one if step in self._seen else other
                        for step, one, other in zip(steps, levels, stored)
                    ]
                length = round(math.sqrt((x2 - x1) * (y2 - y1)), 2)
                points.append([length, index, box, levels])
        return points

    def picture(self) -> Svg:
        """Return the state as a drawing, which a notebook stores for readers without a kernel."""
        return StaticView(self.image, self.state, self.answer, self.config).draw()

    def page(self) -> dict[str, Any]:
        """Return setup and state for a page: without Python there is no image but this one."""
        setup = self.setup | {"population": 0, "home": True, "page": True}
        if self.snapshots:  # of any size: there is no Python to ask
            setup["numbers"] = _base64(self.snapshots.numbers)
        if self.detectors and self.population and not self._stored:
            setup["points"] = self._points(self.config)
        mode = self.state["mode"]
        if mode == "population" and not setup["points"]:
            mode = "instance"
        return {"setup": setup, "state": self.state | {"mode": mode}}


def population_points(
    detectors: Mapping[int, Detector], population: Sequence[PopulationItem]
) -> list[list]:
    """Return [sqrt(w * h) in pixels, image, box, levels] of each box, for an explorer's `points`.

    Args:
        detectors: by training step; `levels` has the selected level after each.
        population: one or more images with their boxes.
    """
    return Explorer(*population[0], detectors=detectors, population=population)._points(
        next(iter(detectors.values())).config
    )


def _pixels(image: Picture) -> np.ndarray:
    """Return a file, a PIL image or an array as (H, W, 3) uint8."""
    picture = load_image(image) if isinstance(image, (str, Path)) else image
    return np.asarray(picture.convert("RGB") if isinstance(picture, Image.Image) else picture)


def _base64(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.astype("<f2").tobytes()).decode("ascii")


def _uri(pixels: np.ndarray) -> str:
    """Return the image as a data URI: PNG if it is small, else JPEG of at most 2,000 px a side."""
    picture, file = Image.fromarray(pixels), io.BytesIO()
    kind = "png" if pixels.shape[0] * pixels.shape[1] <= 256 * 256 else "jpeg"
    picture.thumbnail((2000, 2000))
    picture.save(file, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
