"""The film of a training: what the network detects at a dozen steps, with its losses."""

import base64
import json
import random
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from fsaf_core.model.structures import HeadOutputs
from fsaf_core.viz.colors import contrast_color
from fsaf_core.viz.svg import Svg, number, png
from fsaf_core.viz.widgets.kit import THEMES, Figure, source

from .. import model, scene, snapshots, training_log
from ..faults import fault_runs

HERE = Path(__file__).parent
LABELED = ("no warm-up", "3 no normalizer", "4 no prior bias", "7 half a cell")
SIDE, CHART, TOP = 330, 380, 10  # pixels: the image, the chart's width, above the chart's frame
FOUND = 0.5  # least IoU of a true positive


def iou(one: list[float], other: list[float]) -> float:
    """Return the IoU of two boxes x1 y1 x2 y2 with an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)


class FilmFigure(Figure):
    """`setup` has the detections, losses and levels of each snapshot; see `example`."""

    _esm = source("kit.js") + (HERE / "film.js").read_text(encoding="utf-8")
    _css = source("explorer.css")
    name, twin = "filmFigure", "makeFilm"
    title = "The film of a training"

    def __repr__(self) -> str:
        return f"FilmFigure: {len(self.setup['steps'])} snapshots, step {self.answer['step']}"

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the detections with a score of at least `lowest`, and the objects they find."""
        setup, nth = self.setup, state["snapshot"]
        shown = [row for row in setup["frames"][nth] if row[4] >= state["lowest"]]
        finder = [-1] * len(setup["boxes"])  # the detection that finds each object
        for index, row in enumerate(shown):
            best, most = -1, FOUND
            for instance, box in enumerate(setup["boxes"]):
                is_free = finder[instance] < 0 and setup["labels"][instance] == row[5]
                if is_free and iou(box, row) >= most:
                    best, most = instance, iou(box, row)
            if best >= 0:
                finder[best] = index
        found = sum(index >= 0 for index in finder)
        step, loss = setup["steps"][nth], setup["losses"][nth]
        text = (
            f"Step {step}: loss {loss:.3f} on this scene, {found} of {len(finder)} objects found, "
            f"{len(shown) - found} false positives. The star selects P{setup['levels'][nth]}."
        )
        return {"stamp": state["stamp"], "step": step, "shown": len(shown), "finder": finder,
                "loss": loss, "text": text}  # fmt: skip

    def picture(self) -> Svg:
        """Return the scene with its detections, and the losses over the steps."""
        setup, state, answer = self.setup, self.state, self.answer
        svg = Svg(SIDE + 20 + CHART, SIDE + 30, answer["text"])
        scale = SIDE / setup["size"]
        svg.add("image", x=0, y=0, width=SIDE, height=SIDE, href=setup["image"])
        for index in reversed(range(answer["shown"])):
            x1, y1, x2, y2, score, label = setup["frames"][state["snapshot"]][index]
            color = svg.theme.label(int(label))
            is_found = index in answer["finder"]
            x1, y1, x2, y2 = (side * scale for side in (x1, y1, x2, y2))
            dash = None if is_found else "3 3"
            svg.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, stroke_width=2.5,
                     stroke_dasharray=dash)  # fmt: skip
            if is_found:
                svg.rect(x1, y1, 26, 13, fill=color)
                svg.text(x1 + 2, y1 + 10, f"{score:.2f}", size=11, fill=contrast_color(color))
        self._chart(svg)
        svg.text(0, SIDE + 20, answer["text"])
        return svg

    def _chart(self, svg: Svg) -> None:
        """Draw the losses on logarithmic axes, with a cursor at the snapshot's step."""
        setup, state, theme, (low, high) = self.setup, self.state, svg.theme, self.setup["decades"]
        left, width, height = SIDE + 20 + 44, CHART - 60, SIDE - 50

        def at(step: float, loss: float) -> tuple[float, float]:
            x = log10(max(step, 1)) / log10(setup["steps"][-1])
            return left + x * width, TOP + (high - log10(loss)) / (high - low) * height

        for decade in range(low, high + 1):
            y = at(1, 10**decade)[1]
            svg.line(left, y, left + width, y, stroke=theme.grid)
            svg.text(left - 5, y + 4, number(10**decade), size=11, anchor="end", fill=theme.muted)
        for step in (1, 10, 100, 1000):
            x = at(step, 1)[0]
            svg.text(x, TOP + height + 15, str(step), size=11, anchor="middle", fill=theme.muted)
        svg.text(left + width / 2, TOP + height + 32, "step", anchor="middle")
        curves = {
            "training log": setup["log"],
            "this scene": [*zip(setup["steps"], setup["losses"])],
        }
        if state["fault"] in setup["runs"]:
            curves |= {name: setup["runs"][name] for name in ("sound", state["fault"])}
        styles = {"training log": (theme.muted, 1.5, None), "this scene": (theme.ink, 2, None),
                  "sound": (theme.label(0), 2, "5 3")}  # fmt: skip
        for row, (name, points) in enumerate(curves.items()):
            color, thickness, dash = styles.get(name, (theme.label(1), 2, None))
            shown = "small run, sound" if name == "sound" else name
            svg.polyline([at(*point) for point in points], color, stroke_width=thickness,
                         stroke_dasharray=dash)  # fmt: skip
            svg.line(left + width - 125, 20 + 15 * row, left + width - 105, 20 + 15 * row,
                     stroke=color, stroke_width=thickness, stroke_dasharray=dash)  # fmt: skip
            svg.text(left + width - 100, 24 + 15 * row, shown, size=11)
        x, y = at(self.answer["step"], self.answer["loss"])
        svg.line(x, TOP, x, TOP + height, stroke=theme.ink, stroke_width=1)
        svg.circle(x, y, 5, fill=theme.ink)


def example() -> FilmFigure:
    """Return the film of the course's training, after its last step."""
    shown, kept, detector = scene(), snapshots(), model()
    frames, losses, levels = [], [], []
    for half in kept.outputs:
        outputs = HeadOutputs([one.float() for one in half.cls_logits],
                              [one.float() for one in half.box_offsets])  # fmt: skip
        (found,) = detector.postprocess(outputs, [shown.image.shape[:2]])
        parts = zip(found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist())
        frames.append([[*(round(s, 1) for s in box), round(p, 3), k] for box, p, k in parts])
        assignment = detector.assign(outputs, shown.targets)
        total = sum(detector.losses(outputs, assignment, shown.targets).values())
        losses.append(round(total.item(), 3))
        levels.append(assignment.selected_level[shown.star].item() + 3)
    log = [[line["step"], round(line["loss"], 3)] for line in training_log() if "loss" in line]
    stored = fault_runs()
    runs = {name: [[line["step"], line["loss"]] for line in stored[name]["log"]]
            for name in ("sound", *LABELED)}  # fmt: skip
    every = [loss for run in (log, *runs.values()) for _, loss in run] + losses
    setup = {
        "image": "data:image/png;base64," + base64.b64encode(png(shown.image)).decode("ascii"),
        "size": shown.image.shape[0],
        "boxes": json.loads(
            json.dumps([[round(s, 2) for s in box] for box in shown.boxes.tolist()])
        ),
        "labels": shown.labels.tolist(),
        "classes": list(shown.class_names),
        "steps": list(kept.steps),
        "frames": frames,
        "losses": losses,
        "levels": levels,
        "log": log,
        "runs": runs,
        "decades": [floor(log10(min(every))), ceil(log10(max(every)))],
        "themes": THEMES,
    }
    last = len(kept.steps) - 1
    return FilmFigure(setup=setup, state=_state(last, 0.3, "none", "start"))


def _state(snapshot: int, lowest: float, fault: str, stamp: str) -> dict[str, Any]:
    return {"snapshot": snapshot, "lowest": lowest, "fault": fault, "stamp": stamp}


def random_state(generator: random.Random) -> dict[str, Any]:
    """Return a state that a reader can reach."""
    snapshot = generator.randrange(len(snapshots().steps))
    lowest = generator.randrange(1, 20) / 20
    return _state(snapshot, lowest, generator.choice(["none", *LABELED]), "random")
