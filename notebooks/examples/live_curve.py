"""The loss of a training as a curve below a notebook's cell, drawn while the training runs."""

import io
from typing import Any

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure

from fsaf_core import Callback


class LiveCurve(Callback):
    """Show the curve of each loss; a new line of the log draws it again."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: dict[str, list[float]] = {"loss": [], "af_cls": [], "af_box": []}
        self.image = ipywidgets.Image(format="png")
        display(self.image)

    def on_step(self, trainer: Any, entry: dict[str, Any] | None) -> None:
        if entry is None:
            return
        self.steps.append(entry["step"])
        for name, values in self.losses.items():
            values.append(entry.get(name, float("nan")))
        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        for name, values in self.losses.items():
            axes.plot(self.steps, values, label=name)
        axes.set(xlabel="step", ylabel="loss", xlim=(0, trainer.total_steps), yscale="log")
        axes.legend()
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=80)
        self.image.value = png.getvalue()
