"""The base of every interactive figure: a state, its answer, a still, and a page without Python.

A figure is one pure function state -> answer. Python's (`respond`) is the judge. Its twin in
JavaScript answers at once, and also where no kernel runs: in a notebook that is opened again, and
on a page that `save_html` wrote. kit.js holds what the front ends share.
"""

import itertools
import json
import weakref
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from ...config import FSAFError
from ...utils.files import write_atomically
from ..colors import DARK, LIGHT, Theme, contrast_color
from ..svg import Svg

HERE = Path(__file__).parent


def source(*names: str) -> str:
    """Return the text of files of this folder, one after the other: no build step is needed."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


class Figure(anywidget.AnyWidget):
    """An interactive figure, for JupyterLab and Notebook 7; the last line of a cell shows it.

    A subclass sets `_esm` and `_css` (see `source`), `name`, the name of its figure in JavaScript,
    and `twin`, its function state -> answer there. Code can set `state` too, if it gives each state
    a stamp of its own: `figure.state = {**figure.state, "snapshot": 3, "stamp": "mine"}`.
    """

    name: ClassVar[str]
    twin: ClassVar[str]
    number: int
    setup = traitlets.Dict().tag(sync=True)  # what does not change: image, numbers, texts, colors
    state = traitlets.Dict().tag(sync=True)  # what the reader sets
    answer = traitlets.Dict().tag(sync=True)  # what `respond` returns for it, with its stamp

    _made: ClassVar[weakref.WeakValueDictionary] = weakref.WeakValueDictionary()
    _count: ClassVar[Iterator[int]] = itertools.count()

    def __new__(cls, *args: Any, **kwargs: Any) -> "Figure":
        """Give the figure a `number` that finds it again; see `numbered`."""
        figure = super().__new__(cls, *args, **kwargs)
        figure.number = next(Figure._count)
        Figure._made[figure.number] = figure
        return figure

    @classmethod
    def numbered(cls, number: int) -> "Figure":
        """Return the figure of this number; *copy as Python* writes it.

        Raises:
            FSAFError: "this kernel has no figure 3: run the cell that shows it, then copy again."
        """
        if number not in Figure._made:
            raise FSAFError(
                f"this kernel has no figure {number}: run the cell that shows it, then copy again."
            )
        return Figure._made[number]

    def respond(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to `state`, ready for JSON, with the state's stamp."""
        raise NotImplementedError

    def picture(self) -> Svg:
        """Return the state as a drawing, for readers without a kernel and without a script."""
        raise NotImplementedError

    @traitlets.observe("state")
    def _on_state(self, change: dict[str, Any]) -> None:
        self.answer = self.respond(change["new"])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return data | {"image/svg+xml": str(self.picture())}, metadata

    def save_html(self, path: str | Path) -> None:
        """Write a page with this figure as it is now; it needs no Python and no internet."""
        data = json.dumps(self.page(), separators=(",", ":")).replace("<", "\\u003c")
        style = f"{self._css}@media (prefers-color-scheme: dark) {{ body {{ "
        style += f"background: {DARK.paper}; color: {DARK.ink}; }} }}"
        script = f"{self._esm}\nshowPage({self.name}, {self.twin});"
        page = PAGE.format(title=self.title, style=style, data=data, script=script)
        write_atomically(path, page)

    def page(self) -> dict[str, Any]:
        """Return setup and state for a page without Python."""
        return {"setup": self.setup | {"page": True}, "state": self.state}

    title: ClassVar[str] = "A figure of the FSAF course"


def theme_setup(theme: Theme) -> dict[str, Any]:
    """Return a theme for the screen; `on` is the color of a name on each color of a box."""
    colors = (*theme.classes, *theme.levels, theme.muted)
    return asdict(theme) | {"on": {color: contrast_color(color) for color in colors}}


THEMES = {theme.name: theme_setup(theme) for theme in (LIGHT, DARK)}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>body {{ margin: 0; font-family: sans-serif; }} h1 {{ font-size: 1.1rem; margin: 8px; }}
{style}</style>
</head>
<body><main><h1>{title}</h1><div id="fsaf-figure"></div></main>
<script type="application/json" id="fsaf-page">{data}</script>
<script type="module">
{script}
</script>
</body>
</html>
"""
