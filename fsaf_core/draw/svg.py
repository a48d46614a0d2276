"""A small SVG writer: the same bytes for the same input, on any machine. Notebooks store its drawings and tests compare them.

Numbers have at most two decimals, images become PNG by the few lines at the end rather than by a compressor that differs from
version to version, and hatches are plain lines: no pattern ids, which would collide on a page with two figures.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from .palette import LIGHT, Style, Theme, on

Number = float | int
REGION_NAMES = ("negative", "ignoring", "effective", "lost")  # a cell's code 0..3


def number(value: Number) -> str:
    """`value` with at most two decimals and nothing superfluous: 3.10 is "3.1", -0.001 is "0".

    Raises:
        ValueError: "cannot draw nan": a figure of a value that is not finite would show nothing and compare equal.
    """
    if not math.isfinite(value):
        raise ValueError(f"cannot draw {value}")
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


class Svg:
    """A drawing of `width` x `height` pixels; a notebook shows it, and `alt` is what a reader without eyes for it gets.

    Coordinates are pixels from the upper left corner. Every method returns nothing and draws over what is there.
    """

    def __init__(self, width: Number, height: Number, alt: str, theme: Theme = LIGHT) -> None:
        self.width, self.height, self.alt, self.theme = width, height, alt, theme
        self.parts: list[str] = []
        self.rect(0, 0, width, height, fill=theme.paper)

    def __str__(self) -> str:
        size = f'width="{number(self.width)}" height="{number(self.height)}"'
        box = f'viewBox="0 0 {number(self.width)} {number(self.height)}"'
        alt = escape(self.alt)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img" aria-label="{alt}" font-family="sans-serif">'
        return "\n".join([head, f"<title>{alt}</title>", *self.parts, "</svg>"]) + "\n"

    def __repr__(self) -> str:
        return self.alt

    def _repr_svg_(self) -> str:
        return str(self)

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"image/svg+xml": str(self), "text/plain": self.alt}

    def save(self, path: str | Path) -> None:
        """Write the file `path`."""
        Path(path).write_text(str(self), encoding="utf-8")

    def add(self, tag: str, text: str | None = None, title: str | None = None, **attributes: Number | str | None) -> None:
        """One element; `_` in an attribute's name stands for `-`, numbers are rounded, None is left out; `title`: on hover."""
        pairs = (
            f'{name.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
            for name, value in attributes.items()
            if value is not None
        )
        inside = (f"<title>{escape(title)}</title>" if title else "") + (escape(text) if text else "")
        head = " ".join([f"<{tag}", *pairs])
        self.parts.append(f"{head}>{inside}</{tag}>" if inside else f"{head}/>")

    def rect(
        self, x: Number, y: Number, width: Number, height: Number, fill: str = "none", title: str | None = None, **style
    ) -> None:
        """A rectangle; `style` as in `add`: stroke, stroke_width, stroke_dasharray, fill_opacity ..."""
        self.add("rect", x=x, y=y, width=width, height=height, fill=fill, title=title, **style)

    def line(self, x1: Number, y1: Number, x2: Number, y2: Number, stroke: str | None = None, **style) -> None:
        """A straight line, in the theme's ink unless said."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke or self.theme.ink, **style)

    def polyline(self, points: Sequence[tuple[Number, Number]], stroke: str | None = None, **style) -> None:
        """A line through `points`."""
        text = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.add("polyline", points=text, fill="none", stroke=stroke or self.theme.ink, **style)

    def circle(self, x: Number, y: Number, radius: Number, fill: str = "none", title: str | None = None, **style) -> None:
        """A circle."""
        self.add("circle", cx=x, cy=y, r=radius, fill=fill, title=title, **style)

    def text(
        self, x: Number, y: Number, text: str, size: Number = 12, anchor: str = "start", fill: str | None = None, **style
    ) -> None:
        """`text` on the base line y; `anchor`: "start", "middle" or "end" of it lies at x."""
        self.add("text", text, x=x, y=y, font_size=size, text_anchor=anchor, fill=fill or self.theme.ink, **style)

    def image(self, pixels: np.ndarray, x: Number, y: Number, width: Number, height: Number) -> None:
        """`pixels` (H,W,3) or (H,W) uint8, stretched over the rectangle; shown in at most 256 colours (a third of the bytes)."""
        uri = "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
        self.add(
            "image", x=x, y=y, width=width, height=height, preserveAspectRatio="none", style="image-rendering:pixelated", href=uri
        )

    def cells(self, codes: np.ndarray, x: Number, y: Number, cell: Number, titles: Sequence[Sequence[str]] | None = None) -> None:
        """The grid of a level: `codes` (h,w) are indices into REGION_NAMES, `cell` is in pixels a side, `titles` show on hover.

        One path for each kind, so that a level of 16 x 16 cells costs a few kilobytes.
        """
        codes = np.asarray(codes)
        height, width = codes.shape
        for code, name in enumerate(REGION_NAMES):
            style = self.theme.regions[name]
            corners = [(x + column * cell, y + row * cell) for row, column in np.argwhere(codes == code).tolist()]
            if corners:
                square = f"h{number(cell)}v{number(cell)}h{number(-cell)}z"
                outline = "".join(f"M{number(left)} {number(top)}{square}" for left, top in corners)
                self.add("path", d=outline, fill=style.fill, fill_opacity=style.opacity, class_=name)
                self.hatch(corners, cell, style)
        lines = [f"M{number(x + i * cell)} {number(y)}v{number(height * cell)}" for i in range(width + 1)]
        lines += [f"M{number(x)} {number(y + i * cell)}h{number(width * cell)}" for i in range(height + 1)]
        self.add("path", d="".join(lines), fill="none", stroke=self.theme.grid, stroke_width=0.5)
        for row, names in enumerate(titles or ()):
            for column, title in enumerate(names):
                self.rect(x + column * cell, y + row * cell, cell, cell, title=title, pointer_events="all")

    def hatch(self, corners: Sequence[tuple[Number, Number]], cell: Number, style: Style) -> None:
        """The style's lines over squares of `cell` pixels with the upper left `corners`."""
        if style.hatch == "diagonal":
            half = cell / 2
            strokes = ((0, half, half, -half), (0, cell, cell, -cell), (half, cell, half, -half))
        elif style.hatch == "cross":
            inset = cell * 0.2
            strokes = (
                (inset, inset, cell - 2 * inset, cell - 2 * inset),
                (inset, cell - inset, cell - 2 * inset, 2 * inset - cell),
            )
        else:
            return
        lines = (
            f"M{number(left + dx)} {number(top + dy)}l{number(to_x)} {number(to_y)}"
            for left, top in corners
            for dx, dy, to_x, to_y in strokes
        )
        self.add("path", d="".join(lines), fill="none", stroke=style.ink, stroke_width=min(1.5, cell / 8))

    def box(
        self, x1: Number, y1: Number, x2: Number, y2: Number, color: str, label: str = "", size: Number = 11, **style
    ) -> None:
        """A rectangle by its corners with its label on a filled tab above it, or inside where the drawing ends."""
        self.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, **{"stroke_width": 2, **style})
        if label:
            width, height = 0.62 * size * len(label) + 6, size + 4
            left, top = max(0, min(x1 - 1, self.width - width)), y1 - height if y1 >= height else y1
            self.rect(left, top, width, height, fill=color)
            self.text(left + 3, top + size, label, size=size, fill=on(color))

    def bars(
        self,
        values: Sequence[Number | None],
        names: Sequence[str],
        colors: Sequence[str],
        x: Number,
        y: Number,
        width: Number,
        row: Number = 20,
        top_value: Number | None = None,
        form: str = "{:.3f}",
    ) -> None:
        """Horizontal bars, one a row, each with its name before and its value behind it; None is no bar and a dash."""
        top_value = top_value or max((value for value in values if value is not None), default=1.0) or 1.0
        for index, (value, name, color) in enumerate(zip(values, names, colors, strict=True)):
            top = y + index * row
            length = 0.0 if value is None else width * min(max(value / top_value, 0.0), 1.0)
            self.text(x - 6, top + row * 0.68, name, size=row * 0.6, anchor="end")
            self.rect(x, top + row * 0.15, length, row * 0.7, fill=color)
            self.text(x + length + 5, top + row * 0.68, "–" if value is None else form.format(value), size=row * 0.6)

    def axes(
        self, x: Number, y: Number, width: Number, height: Number, xs: Sequence[Number], ys: Sequence[Number], **names
    ) -> Axes:
        """A chart in the rectangle; `xs` and `ys` are its ticks, the outer ones its ends; `names`: see `Axes`."""
        return Axes(self, x, y, width, height, tuple(xs), tuple(ys), **names)


@dataclass(frozen=True)
class Axes:
    """A chart's frame, ticks and grid, drawn when it is made; then `scatter` and `line` in the units of its ticks."""

    svg: Svg
    x: Number
    y: Number
    width: Number
    height: Number
    xs: tuple[Number, ...]
    ys: tuple[Number, ...]
    x_name: str = ""
    y_name: str = ""
    log_x: bool = False  # equal steps for equal ratios

    def __post_init__(self) -> None:
        svg, muted = self.svg, self.svg.theme.muted
        bottom = self.y + self.height
        for value in self.xs:
            at = self.at(value, self.ys[0])[0]
            svg.line(at, self.y, at, bottom, stroke=svg.theme.grid, stroke_width=0.5)
            svg.text(at, bottom + 14, number(value), size=11, anchor="middle", fill=muted)
        for value in self.ys:
            at = self.at(self.xs[0], value)[1]
            svg.line(self.x, at, self.x + self.width, at, stroke=svg.theme.grid, stroke_width=0.5)
            svg.text(self.x - 5, at + 4, number(value), size=11, anchor="end", fill=muted)
        svg.polyline([(self.x, self.y), (self.x, bottom), (self.x + self.width, bottom)], stroke_width=1)
        svg.text(self.x + self.width / 2, bottom + 30, self.x_name, anchor="middle")
        middle = f"rotate(-90 {number(self.x - 34)} {number(self.y + self.height / 2)})"
        svg.text(self.x - 34, self.y + self.height / 2, self.y_name, anchor="middle", transform=middle)

    def at(self, value_x: Number, value_y: Number) -> tuple[Number, Number]:
        """Where the point lies, in the drawing's pixels."""
        scale = math.log2 if self.log_x else float
        low, high = scale(self.xs[0]), scale(self.xs[-1])
        share_x, share_y = (scale(value_x) - low) / (high - low), (value_y - self.ys[0]) / (self.ys[-1] - self.ys[0])
        return self.x + share_x * self.width, self.y + (1 - share_y) * self.height

    def scatter(self, xs: Sequence[Number], ys: Sequence[Number], colors: Sequence[str], radius: Number = 3, titles=None) -> None:
        """A dot for each point."""
        for index, (value_x, value_y, color) in enumerate(zip(xs, ys, colors, strict=True)):
            self.svg.circle(*self.at(value_x, value_y), radius, fill=color, title=titles[index] if titles else None)

    def line(self, xs: Sequence[Number], ys: Sequence[Number], color: str | None = None, **style) -> None:
        """A line through the points."""
        self.svg.polyline([self.at(*point) for point in zip(xs, ys, strict=True)], stroke=color, **{"stroke_width": 2, **style})


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of `pixels` (H,W,3) or (H,W) uint8 in at most 256 colours, uncompressed: the same bytes with any zlib.

    Raises:
        ValueError: "png wants uint8 of (H,W) or (H,W,3)".
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or 0 in pixels.shape:
        raise ValueError(f"png wants uint8 of (H,W) or (H,W,3), not {pixels.dtype} of {pixels.shape}")
    if pixels.ndim == 2:
        colors, index = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1), pixels
    else:
        colors, index = median_cut(pixels.reshape(-1, 3))
        index = index.reshape(pixels.shape[:2])
    height, width = index.shape
    rows = b"".join(b"\0" + row.tobytes() for row in index)  # each row after its filter's number: none
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", colors.tobytes()), (b"IDAT", stored(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def stored(data: bytes) -> bytes:
    """`data` as a zlib stream of stored blocks, written by hand (RFC 1950, 1951)."""
    blocks = [data[start : start + 65535] for start in range(0, len(data), 65535)]
    body = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), 65535 - len(block)) + block
        for index, block in enumerate(blocks)
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(data))


def median_cut(pixels: np.ndarray, depth: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """At most 2^depth colours for `pixels` (P,3) uint8: (colours (C,3) uint8, index (P,) uint8). Exact where there are fewer.

    Heckbert's median cut: each group of pixels is cut at the median of the channel with the widest range, `depth` times.
    """
    exact, index = np.unique(pixels, axis=0, return_inverse=True)
    if len(exact) <= 2**depth:
        return exact, index.reshape(-1).astype(np.uint8)
    groups = [np.arange(len(pixels))]
    for _ in range(depth):
        halves: list[np.ndarray] = []
        for group in groups:
            span = np.ptp(pixels[group], axis=0)
            order = group[np.argsort(pixels[group, span.argmax()], kind="stable")]
            halves += [half for half in np.array_split(order, 2) if len(half)] if span.any() else [group]
        groups = halves
    index = np.empty(len(pixels), np.uint8)
    for number_, group in enumerate(groups):
        index[group] = number_
    return np.stack([(pixels[group].sum(0, dtype=np.int64) // len(group)).astype(np.uint8) for group in groups]), index
