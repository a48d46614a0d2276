"""The explorer's teaching texts: the example situations, the tour, and the meaning of each rule."""

from typing import Any

from .assignment_view import CROWD

SCALES = {
    "effective_scale": ("ε_e", "sides of the effective box, as a share of the sides of the box"),
    "ignoring_scale": ("ε_i", "sides of the ignoring box, as a share of the sides of the box"),
}
# The values to choose from, and what they decide. None: the value of the convention.
SWITCHES = {
    "convention": (
        ("paper", "reference"),
        "all rules in which the paper and the reference code differ, at once",
    ),
    "selection": (
        ("online", "heuristic"),
        "who chooses the level: the loss (online) or the size of the box (heuristic)",
    ),
    "cell_center": ((None, 0, 0.5), "where a cell stands, in cells from its corner"),
    "region_rounding": ((None, "floor_ceil", "overlap"), "which cells belong to a scaled box"),
    "ignore_levels": (
        (None, "adjacent", "all"),
        "at which other levels the box is left out of the loss",
    ),
    "same_class_overlap": (
        (None, "smaller_wins", "erase"),
        "what happens where regions of two boxes of one class overlap",
    ),
    "selection_focal": (
        ("all", "own"),
        "the focal loss in the selection: of all classes at a cell, or of the box's own",
    ),
}
TOUR = (  # each step: the part of the screen that it explains, and its text
    (
        "left",
        "The question. A pyramid of feature maps looks at this image, fine maps to coarse ones. "
        "Which of them shall learn the box? Drag it or its corners; or reach it with Tab and use "
        "the arrows (Shift: 10 px, Alt or Ctrl: the corner).",
    ),
    (
        "levels",
        "The candidates. Each level cuts the image into cells. Those in the middle of the box "
        "(effective) would learn it there, a ring around them (ignoring) is left out of the loss, "
        "and all others learn that nothing is there.",
    ),
    (
        "levels",
        "The bids. Under each level stands the loss that the network has there for this box: focal "
        "loss of the class + −ln IoU of its sides, the mean over the effective cells. The least "
        "bid wins (★): that level learns the box.",
    ),
    (
        "time",
        "Time. The losses are those of a network in training. Drag through the snapshots: at first "
        "the winner means little; as the network learns, the choice settles, and confirms itself.",
    ),
    (
        "switches",
        "The rules. ▲ marks the level that the box's size alone would name. Paper and reference "
        "differ in five rules: set one and see which cells it moves. The situations at the top "
        "show where it matters.",
    ),
    (
        "top",
        "The whole. 'All boxes' shows what is left after the selection; 'population' (with a "
        "kernel) shows size against level over many images. Reset brings everything back.",
    ),
)


def situations(height: int, width: int) -> list[dict[str, Any]]:
    """Return example situations for an image of this size.

    Returns:
        For each situation its `name`, what it `says`, `boxes` x1 y1 x2 y2 in pixels, `labels`, and
        the `switches` to set.
    """
    unit = min(height, width) / 128

    def scaled(*boxes: tuple[float, float, float, float]) -> list[list[float]]:
        return [[round(value * unit * 4) / 4 for value in box] for box in boxes]

    return [
        {
            "name": "tiny",
            "boxes": [[34.0, 34.0, 38.0, 38.0]],
            "labels": [0],
            "switches": {"convention": "reference"},
            "says": "In the reference a cell must stand inside the box. P3's cells stand 8 px "
            "apart, and this box of 4 px lies between them: nothing learns it.",
        },
        {
            "name": "nested",
            "boxes": scaled((24, 24, 104, 84), (39, 32, 84, 72)),
            "labels": [0, 0],
            "switches": {"convention": "reference"},
            "says": "Two boxes of one class, one in the other. The paper gives shared cells to the "
            "smaller one; in the reference they are lost to both.",
        },
        {
            "name": "long and thin",
            "boxes": scaled((8, 60, 120, 68)),
            "labels": [0],
            "switches": {},
            "says": "14 to 1. The rule of size sees only √(w·h), that of a small square; but which "
            "level can learn both of its sides?",
        },
        {
            "name": "over the border",
            "boxes": scaled((-30, 40, 34, 104)),
            "labels": [0],
            "switches": {},
            "says": "The middle of the box lies at the image's edge: its cells are cut there, or "
            "moved inside.",
        },
        {
            "name": "crowd",
            "boxes": scaled((40, 30, 60, 56), (16, 16, 112, 84)),
            "labels": [0, CROWD],
            "switches": {},
            "says": "The dashed box is a crowd: cells inside its inner half teach nothing, and "
            "boxes there lose them.",
        },
    ]
