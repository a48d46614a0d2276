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

import numpy as np

from .colors import LIGHT, on

REGION_NAMES = ("negative", "ignoring", "effective", "lost")  # a cell's code 0..3
HATCHES = {  # the lines over a cell: where each begins and how far it goes, in shares of the cell's side
    "diagonal": ((0.0, 0.5, 0.5, -0.5), (0.0, 1.0, 1.0, -1.0), (0.5, 1.0, 0.5, -0.5)),
    "cross": ((0.2, 0.2, 0.6, 0.6), (0.2, 0.8, 0.6, -0.6)),
}


def number(value: float) -> str:
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

    theme = LIGHT  # what is stored cannot know the page that it is read on

    def __init__(self, width: float, height: float, alt: str) -> None:
        self.width, self.height, self.alt = width, height, alt
        self.parts: list[str] = []
        self.rect(0, 0, width, height, fill=self.theme.paper)

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

    def add(
        self,
        tag: str,
        text: str | None = None,
        title: str | None = None,
        **attributes: float | str | None,
    ) -> None:
        """One element; `_` in an attribute's name stands for `-`, numbers are rounded, None is left out; `title`: on hover."""
        pairs = (
            f'{name.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else number(value)}"'
            for name, value in attributes.items()
            if value is not None
        )
        inside = (f"<title>{escape(title)}</title>" if title else "") + (
            escape(text) if text else ""
        )
        head = " ".join([f"<{tag}", *pairs])
        self.parts.append(f"{head}>{inside}</{tag}>" if inside else f"{head}/>")

    def rect(
        self, x: float, y: float, width: float, height: float, fill: str = "none", **style
    ) -> None:
        """A rectangle; `style` as in `add`: stroke, stroke_width, stroke_dasharray, fill_opacity, title ..."""
        self.add("rect", x=x, y=y, width=width, height=height, fill=fill, **style)

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str, **style) -> None:
        """A straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, **style)

    def polyline(self, points: Sequence[tuple[float, float]], stroke: str, **style) -> None:
        """A line through `points`."""
        text = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.add("polyline", points=text, fill="none", stroke=stroke, **style)

    def circle(self, x: float, y: float, radius: float, fill: str = "none", **style) -> None:
        """A circle."""
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
        """`text` on the base line y; `anchor`: "start", "middle" or "end" of it lies at x."""
        self.add(
            "text",
            text,
            x=x,
            y=y,
            font_size=size,
            text_anchor=anchor,
            fill=fill or self.theme.ink,
            **style,
        )

    def image(self, pixels: np.ndarray, x: float, y: float, width: float, height: float) -> None:
        """`pixels` (H,W,3) uint8, stretched over the rectangle; shown in at most 256 colours (a third of the bytes)."""
        uri = "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")
        self.add(
            "image",
            x=x,
            y=y,
            width=width,
            height=height,
            preserveAspectRatio="none",
            style="image-rendering:pixelated",
            href=uri,
        )

    def cells(self, codes: np.ndarray, x: float, y: float, cell: float) -> None:
        """The grid of a level: `codes` (h,w) are indices into REGION_NAMES, `cell` is in pixels a side.

        One path for each kind, so that a level of 16 x 16 cells costs a few kilobytes.
        """
        height, width = codes.shape
        for code, name in enumerate(REGION_NAMES):
            style = self.theme.regions[name]
            corners = [
                (x + column * cell, y + row * cell)
                for row, column in np.argwhere(codes == code).tolist()
            ]
            if not corners:
                continue
            square = f"h{number(cell)}v{number(cell)}h{number(-cell)}z"
            outline = "".join(f"M{number(left)} {number(top)}{square}" for left, top in corners)
            self.add("path", d=outline, fill=style.fill, fill_opacity=style.opacity, class_=name)
            hatch = "".join(
                f"M{number(left + dx * cell)} {number(top + dy * cell)}l{number(to_x * cell)} {number(to_y * cell)}"
                for left, top in corners
                for dx, dy, to_x, to_y in HATCHES.get(style.hatch, ())
            )
            if hatch:
                self.add(
                    "path", d=hatch, fill="none", stroke=style.ink, stroke_width=min(1.5, cell / 8)
                )
        lines = [
            f"M{number(x + i * cell)} {number(y)}v{number(height * cell)}" for i in range(width + 1)
        ]
        lines += [
            f"M{number(x)} {number(y + i * cell)}h{number(width * cell)}" for i in range(height + 1)
        ]
        self.add("path", d="".join(lines), fill="none", stroke=self.theme.grid, stroke_width=0.5)

    def box(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        color: str,
        label: str = "",
        stroke_width: float = 2,
    ) -> None:
        """A rectangle by its corners with its label on a filled tab above it, or inside where the drawing ends."""
        self.rect(x1, y1, x2 - x1, y2 - y1, stroke=color, stroke_width=stroke_width)
        if label:
            width, height = 0.62 * 11 * len(label) + 6, 15
            left, top = max(0, min(x1 - 1, self.width - width)), y1 - height if y1 >= height else y1
            self.rect(left, top, width, height, fill=color)
            self.text(left + 3, top + 11, label, size=11, fill=on(color))

    def bars(
        self,
        values: Sequence[float],
        names: Sequence[str],
        colors: Sequence[str],
        x: float,
        y: float,
        width: float,
        row: float = 20,
        top_value: float | None = None,
        form: str = "{:.3f}",
    ) -> None:
        """Horizontal bars, one a row, each with its name before and its value behind it; the largest, or `top_value`, is full."""
        top_value = top_value or max(values) or 1.0
        for index, (value, name, color) in enumerate(zip(values, names, colors, strict=True)):
            top = y + index * row
            length = width * (value / top_value)
            self.text(x - 6, top + row * 0.68, name, size=row * 0.6, anchor="end")
            self.rect(x, top + row * 0.15, length, row * 0.7, fill=color)
            self.text(x + length + 5, top + row * 0.68, form.format(value), size=row * 0.6)

    def axes(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        xs: Sequence[float],
        ys: Sequence[float],
        **names,
    ) -> Axes:
        """A chart in the rectangle; `xs` and `ys` are its ticks, the outer ones its ends; `names`: see `Axes`."""
        return Axes(self, x, y, width, height, tuple(xs), tuple(ys), **names)


@dataclass(frozen=True)
class Axes:
    """A chart's frame, ticks and grid, drawn when it is made; then `scatter` and `line` in the units of its ticks."""

    svg: Svg
    x: float
    y: float
    width: float
    height: float
    xs: tuple[float, ...]
    ys: tuple[float, ...]
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
        svg.polyline(
            [(self.x, self.y), (self.x, bottom), (self.x + self.width, bottom)],
            svg.theme.ink,
            stroke_width=1,
        )
        svg.text(self.x + self.width / 2, bottom + 30, self.x_name, anchor="middle")
        middle = f"rotate(-90 {number(self.x - 34)} {number(self.y + self.height / 2)})"
        svg.text(
            self.x - 34, self.y + self.height / 2, self.y_name, anchor="middle", transform=middle
        )

    def at(self, value_x: float, value_y: float) -> tuple[float, float]:
        """Where the point lies, in the drawing's pixels."""
        scale = math.log2 if self.log_x else float
        low, high = scale(self.xs[0]), scale(self.xs[-1])
        share_x, share_y = (
            (scale(value_x) - low) / (high - low),
            (value_y - self.ys[0]) / (self.ys[-1] - self.ys[0]),
        )
        return self.x + share_x * self.width, self.y + (1 - share_y) * self.height

    def scatter(self, xs: Sequence[float], ys: Sequence[float], colors: Sequence[str]) -> None:
        """A dot for each point."""
        for value_x, value_y, color in zip(xs, ys, colors, strict=True):
            self.svg.circle(*self.at(value_x, value_y), 3, fill=color)

    def line(self, xs: Sequence[float], ys: Sequence[float], color: str, **style) -> None:
        """A line through the points."""
        self.svg.polyline(
            [self.at(*point) for point in zip(xs, ys, strict=True)], color, stroke_width=2, **style
        )


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of `pixels` (H,W,3) uint8 in at most 256 colours, uncompressed: the same bytes with any zlib.

    Raises:
        ValueError: "png wants uint8 of (H,W,3)".
    """
    if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,) or not pixels.size:
        raise ValueError(f"png wants uint8 of (H,W,3), not {pixels.dtype} of {pixels.shape}")
    height, width = pixels.shape[:2]
    colors, index = median_cut(pixels.reshape(-1, 3))
    rows = b"".join(
        b"\0" + row.tobytes() for row in index.reshape(height, width)
    )  # each row after its filter's number: none
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", colors.tobytes()),
        (b"IDAT", stored(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def stored(data: bytes) -> bytes:
    """`data` as a zlib stream of stored blocks, written by hand (RFC 1950, 1951)."""
    blocks = [data[start : start + 65535] for start in range(0, len(data), 65535)]
    body = b"".join(
        struct.pack("<BHH", index == len(blocks) - 1, len(block), 65535 - len(block)) + block
        for index, block in enumerate(blocks)
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(data))


def median_cut(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 256 colours for `pixels` (P,3) uint8: (colours (C,3) uint8, index (P,) uint8). Exact where there are fewer.

    Heckbert's median cut: each group of pixels is cut at the median of the channel with the widest range, eight times.
    """
    exact, index = np.unique(pixels, axis=0, return_inverse=True)
    if len(exact) <= 256:
        return exact, index.reshape(-1).astype(np.uint8)
    groups = [np.arange(len(pixels))]
    for _ in range(8):  # 2, 4, .. 256 groups
        halves: list[np.ndarray] = []
        for group in groups:
            span = np.ptp(pixels[group], axis=0)
            order = group[np.argsort(pixels[group, span.argmax()], kind="stable")]
            halves += np.array_split(order, 2) if span.any() else [group]
        groups = halves
    index = np.empty(len(pixels), np.uint8)
    for nth, group in enumerate(groups):
        index[group] = nth
    return np.stack(
        [(pixels[group].sum(0, dtype=np.int64) // len(group)).astype(np.uint8) for group in groups]
    ), index
