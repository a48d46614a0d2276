"""A small SVG writer whose output is the same to the byte on every machine.

Notebooks store its drawings and tests compare them byte for byte. Three choices make that work:
numbers have at most two decimals, images are PNGs written here (compressors differ between
versions of zlib), and hatches are plain lines (pattern ids would collide on a page with two
figures).
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from .colors import LIGHT, contrast_color

REGION_NAMES = ("negative", "ignoring", "effective", "lost")  # a cell's code is its index, 0..3
HATCHES = {  # lines over a cell: x and y of the start, then dx and dy, as fractions of its side
    "diagonal": ((0.0, 0.5, 0.5, -0.5), (0.0, 1.0, 1.0, -1.0), (0.5, 1.0, 0.5, -0.5)),
    "cross": ((0.2, 0.2, 0.6, 0.6), (0.2, 0.8, 0.6, -0.6)),
}


def number(value: float) -> str:
    """Return `value` with at most two decimals: 3.10 gives "3.1" and -0.001 gives "0".

    Raises:
        ValueError: "cannot draw nan: every number of a drawing must be finite".
    """
    if not math.isfinite(value):  # a renderer would skip the element without a word
        raise ValueError(f"cannot draw {value}: every number of a drawing must be finite")
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


class Svg:
    """A drawing of `width` x `height` pixels that a notebook displays.

    Coordinates are pixels from the upper left corner. Each method draws on top of what is already
    there. `alt` describes the drawing to a reader who cannot see it.
    """

    theme = LIGHT  # a stored drawing cannot follow the theme of the page that shows it

    def __init__(self, width: float, height: float, alt: str) -> None:
        self.width, self.height, self.alt = width, height, alt
        self.parts: list[str] = []
        self.rect(0, 0, width, height, fill=self.theme.paper)

    def __str__(self) -> str:
        width, height, alt = number(self.width), number(self.height), escape(self.alt)
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        text = f'role="img" aria-label="{alt}" font-family="sans-serif"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {text}>'
        return "\n".join([head, f"<title>{alt}</title>", *self.parts, "</svg>"]) + "\n"

    def __repr__(self) -> str:
        return self.alt

    def _repr_svg_(self) -> str:
        return str(self)

    def add(self, tag: str, text: str = "", **attributes: float | str | None) -> None:
        """Add one element.

        Args:
            tag: name of the element.
            text: what it contains.
            attributes: `stroke_width` becomes `stroke-width`, and `class_` becomes `class`. Numbers
                are rounded to two decimals. An attribute that is None is left out.
        """
        head = f"<{tag}"
        for name, value in attributes.items():
            if value is not None:
                shown = escape(value) if isinstance(value, str) else number(value)
                head += f' {name.rstrip("_").replace("_", "-")}="{shown}"'
        self.parts.append(f"{head}>{escape(text)}</{tag}>" if text else f"{head}/>")

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str = "none", **style
    ) -> None:
        """Draw a rectangle; `style` is passed to `add` (stroke, stroke_width, ...)."""
        self.add("rect", x=x, y=y, width=width, height=height, fill=fill, **style)

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str, **style) -> None:
        """Draw a straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, **style)

    def polyline(self, points: Sequence[tuple[float, float]], stroke: str, **style) -> None:
        """Draw a line through `points`."""
        text = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.add("polyline", points=text, fill="none", stroke=stroke, **style)

    def circle(self, x: float, y: float, radius: float, fill: str = "none", **style) -> None:
        """Draw a circle around (x, y)."""
        self.add("circle", cx=x, cy=y, r=radius, fill=fill, **style)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 12,
        anchor: str = "start",
        fill: str | None = None,
        **style,
    ) -> None:
        """Write `text` on the base line y, with its start, middle or end (`anchor`) at x."""
        style = {"font_size": size, "text_anchor": anchor, "fill": fill or self.theme.ink, **style}
        self.add("text", text, x=x, y=y, **style)

    def image(self, pixels: np.ndarray, x: float, y: float, width: float, height: float) -> None:
        """Draw `pixels` (H, W, 3) uint8, stretched over the rectangle, in at most 256 colors."""
        uri = "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
        style = {"preserveAspectRatio": "none", "style": "image-rendering:pixelated"}
        self.add("image", x=x, y=y, width=width, height=height, **style, href=uri)

    def cells(
        self, codes: np.ndarray, x: float, y: float, cell: float, level: int | None = None
    ) -> None:
        """Draw the cells of a level; one path for each kind of region keeps the drawing small.

        Args:
            codes: (rows, columns), indices into REGION_NAMES.
            x: left edge of the grid, pixels.
            y: upper edge of the grid, pixels.
            cell: side of a cell, pixels.
            level: 3..7; its color fills the effective cells, and ignoring ones have the page's, so
                that both stand apart. None: all levels look alike.
        """
        rows, columns = codes.shape
        square = f"h{number(cell)}v{number(cell)}h{number(-cell)}z"
        for code, name in enumerate(REGION_NAMES):
            style = self.theme.regions[name]
            corners = [
                (x + column * cell, y + row * cell)
                for row, column in np.argwhere(codes == code).tolist()
            ]
            if not corners:
                continue
            outline = "".join(f"M{number(left)} {number(top)}{square}" for left, top in corners)
            fill, opacity = style.fill, style.opacity
            if level is not None and name != "negative":
                fill = self.theme.level(level) if name == "effective" else self.theme.paper
                opacity = 0.85
            self.add("path", d=outline, fill=fill, fill_opacity=opacity, class_=name)
            hatch = "".join(
                f"M{number(left + start_x * cell)} {number(top + start_y * cell)}"
                f"l{number(dx * cell)} {number(dy * cell)}"
                for left, top in corners
                for start_x, start_y, dx, dy in HATCHES.get(style.hatch, ())
            )
            if hatch:
                width = min(1.5, cell / 8)
                self.add("path", d=hatch, fill="none", stroke=style.ink, stroke_width=width)
        right, down = number(columns * cell), number(rows * cell)
        lines = [f"M{number(x + i * cell)} {number(y)}v{down}" for i in range(columns + 1)]
        lines += [f"M{number(x)} {number(y + i * cell)}h{right}" for i in range(rows + 1)]
        self.add("path", d="".join(lines), fill="none", stroke=self.theme.grid, stroke_width=0.5)

    def box(self, x1: float, y1: float, x2: float, y2: float, color: str, label: str = "") -> None:
        """Draw a box, and its label on a filled tab."""
        self.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, stroke_width=2)
        if label:
            self.tab(x1, y1, label, color, 0, 0, self.width)

    def tab(
        self, x: float, y: float, label: str, color: str, left: float, top: float, right: float
    ) -> None:
        """Write a label on a filled tab at a box's corner: above the box where there is room.

        Args:
            x, y: the upper left corner of the box.
            label: of the box.
            color: of the tab.
            left, top, right: the tab reaches no further.
        """
        width, height = 0.62 * 11 * len(label) + 6, 15
        x, y = max(left, min(x - 1, right - width)), y - height if y >= top + height else y
        self.rect(x, y, width, height, fill=color)
        self.text(x + 3, y + 11, label, size=11, fill=contrast_color(color))


@dataclass(frozen=True)
class Axes:
    """A chart. Creating it draws frame, ticks and grid; `line` and `at` take its units."""

    svg: Svg
    x: float
    y: float
    width: float
    height: float
    xs: Sequence[float]  # ticks; the first and the last are the ends of the axis
    ys: Sequence[float]
    x_name: str = ""
    y_name: str = ""

    def __post_init__(self) -> None:
        svg, muted = self.svg, self.svg.theme.muted
        bottom, right = self.y + self.height, self.x + self.width
        for value in self.xs:
            at = self.at(value, self.ys[0])[0]
            svg.line(at, self.y, at, bottom, stroke=svg.theme.grid, stroke_width=0.5)
            svg.text(at, bottom + 14, number(value), size=11, anchor="middle", fill=muted)
        for value in self.ys:
            at = self.at(self.xs[0], value)[1]
            svg.line(self.x, at, right, at, stroke=svg.theme.grid, stroke_width=0.5)
            svg.text(self.x - 5, at + 4, number(value), size=11, anchor="end", fill=muted)
        corners = [(self.x, self.y), (self.x, bottom), (right, bottom)]
        svg.polyline(corners, svg.theme.ink, stroke_width=1)
        svg.text(self.x + self.width / 2, bottom + 30, self.x_name, anchor="middle")
        left, middle = self.x - 34, self.y + self.height / 2
        turn = f"rotate(-90 {number(left)} {number(middle)})"
        svg.text(left, middle, self.y_name, anchor="middle", transform=turn)

    def at(self, value_x: float, value_y: float) -> tuple[float, float]:
        """Return the pixel position of a point of the chart."""
        share_x = (value_x - self.xs[0]) / (self.xs[-1] - self.xs[0])
        share_y = (value_y - self.ys[0]) / (self.ys[-1] - self.ys[0])
        return self.x + share_x * self.width, self.y + (1 - share_y) * self.height

    def line(self, xs: Sequence[float], ys: Sequence[float], color: str, **style) -> None:
        """Draw a line through the points."""
        points = [self.at(*point) for point in zip(xs, ys, strict=True)]
        self.svg.polyline(points, color, stroke_width=2, **style)


def png(pixels: np.ndarray) -> bytes:
    """Return an uncompressed PNG file of at most 256 colors: the same bytes with any zlib.

    Args:
        pixels: (H, W, 3) uint8.

    Raises:
        ValueError: "png needs pixels of shape (H, W, 3) and type uint8, not ...".
    """
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,) or not pixels.size:
        given = f"{pixels.shape} and {pixels.dtype}"
        raise ValueError(f"png needs pixels of shape (H, W, 3) and type uint8, not {given}")
    height, width = pixels.shape[:2]
    colors, index = median_cut(pixels.reshape(-1, 3))
    # Each row starts with the number of its filter; 0 is none.
    rows = b"".join(b"\0" + row.tobytes() for row in index.reshape(height, width))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colors.tobytes()),
        (b"IDAT", zlib_stored(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def zlib_stored(data: bytes) -> bytes:
    """Return `data` as a zlib stream of stored (uncompressed) blocks, after RFC 1950 and 1951."""
    blocks = [data[start : start + 65535] for start in range(0, len(data), 65535)]
    stream = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), 65535 - len(block)) + block
        for index, block in enumerate(blocks)
    )
    return b"\x78\x01" + stream + struct.pack(">I", zlib.adler32(data))


def median_cut(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce `pixels` to at most 256 colors by Heckbert's median cut; fewer colors stay exact.

    Each of eight rounds cuts every group of pixels at the median of its widest channel.

    Args:
        pixels: (P, 3) uint8.

    Returns:
        The colors (C, 3) uint8, and the index (P,) uint8 of each pixel's color.
    """
    exact, index = np.unique(pixels, axis=0, return_inverse=True)
    if len(exact) <= 256:
        return exact, index.reshape(-1).astype(np.uint8)
    groups = [np.arange(len(pixels))]
    for _ in range(8):
        halves: list[np.ndarray] = []
        for group in groups:
            span = np.ptp(pixels[group], axis=0)
            order = group[np.argsort(pixels[group, span.argmax()], kind="stable")]
            halves += np.array_split(order, 2) if span.any() else [group]
        groups = halves
    index = np.empty(len(pixels), np.uint8)
    for nth, group in enumerate(groups):
        index[group] = nth
    colors = [pixels[group].sum(0, dtype=np.int64) // len(group) for group in groups]
    return np.array(colors, np.uint8), index
