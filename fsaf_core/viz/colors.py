"""The palette of all figures: one color for each pyramid level, each region and each class.

No figure depends on hue alone, so color-blind readers and gray prints lose nothing. A level has one
hue in both themes, and the levels get darker from P3 to P7. The regions differ in lightness and in
hatch. A name stands next to each color of a level or class. Tests compute the contrasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FIRST_LEVEL = 3


@dataclass(frozen=True)
class Style:
    """How the cells of one kind of region are drawn."""

    fill: str  # "#rrggbb"
    hatch: Literal["none", "solid", "diagonal", "cross"]  # "none" and "solid" draw no lines
    opacity: float  # of the fill, 0..1
    ink: str  # color of the hatch lines


@dataclass(frozen=True)
class Theme:
    """All colors of a light or a dark page, each as "#rrggbb"."""

    name: str
    paper: str  # background
    ink: str  # text and axes
    muted: str  # secondary text
    grid: str  # lines between cells, and the grid of a chart
    levels: tuple[str, ...]  # P3, P4, P5, P6, P7
    regions: dict[str, Style]  # effective, ignoring, negative, lost (to a smaller instance)
    classes: tuple[str, ...]  # of boxes; repeated when there are more classes

    def level(self, level: int) -> str:
        """Return the color of pyramid level 3..7, or the muted color for -1 (no level)."""
        return self.levels[level - FIRST_LEVEL] if level >= FIRST_LEVEL else self.muted

    def label(self, label: int) -> str:
        """Return the color of class `label`, 0..K-1."""
        return self.classes[label % len(self.classes)]


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1b1d22",
    muted="#636b78",
    grid="#d5d9e0",
    levels=("#c08300", "#0f7f90", "#b0203a", "#47308f", "#0e1330"),
    regions={
        "effective": Style("#0065a8", "solid", 0.85, "#0065a8"),
        "ignoring": Style("#f2b56b", "diagonal", 0.55, "#8a4b00"),
        "negative": Style("#eef0f4", "none", 0.35, "#eef0f4"),
        "lost": Style("#ffffff", "cross", 0.65, "#b0203a"),
    },
    classes=tuple("#0072b2 #d55e00 #009e73 #cc79a7 #e69f00 #56b4e9 #f0e442 #4d4d4d".split()),
)

DARK = Theme(
    name="dark",
    paper="#16181d",
    ink="#eceef2",
    muted="#9aa3b2",
    grid="#3a3f4a",
    levels=("#ffdc8a", "#4fc9d6", "#f37792", "#9a6fd8", "#4a6a8a"),
    regions={
        "effective": Style("#8fd0ff", "solid", 0.85, "#8fd0ff"),
        "ignoring": Style("#9a5a12", "diagonal", 0.55, "#ffc98a"),
        "negative": Style("#23262d", "none", 0.35, "#23262d"),
        "lost": Style("#16181d", "cross", 0.65, "#ff8aa3"),
    },
    classes=tuple("#56b4e9 #ff8a3d #2fc79a #e39ac4 #f5b942 #9fd4f5 #f0e442 #d0d0d0".split()),
)


def luminance(color: str) -> float:
    """Return the relative luminance, 0..1, of "#rrggbb".

    Source: WCAG 2.2, definition of relative luminance.
    """
    shares = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio, 1..21, of two colors: 3 is enough for marks, 4.5 for text.

    Source: WCAG 2.2, definition of contrast ratio.
    """
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def contrast_color(color: str) -> str:
    """Return black or white, whichever is easier to read on `color`; both are "#rrggbb"."""
    return max("#000000", "#ffffff", key=lambda ink: contrast(color, ink))
