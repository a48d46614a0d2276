"""The explorer's texts: the meaning of each rule, the steps of one decision, the situations."""

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
        "all rules in which the paper and MMDetection (reference) differ, at once",
    ),
    "selection": (
        ("online", "heuristic"),
        "what selects the level: the loss (online) or the size of the box (heuristic)",
    ),
    "cell_center": ((None, 0, 0.5), "center of a location, in cells from the corner of its cell"),
    "region_rounding": ((None, "floor_ceil", "overlap"), "which locations belong to a scaled box"),
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
        "the focal loss in the selection: of all classes of a location, or of the box's own",
    ),
}
REGIONS, LOSSES = "06_regions.ipynb#cell-id=", "07_losses_and_selection.ipynb#cell-id="
# The steps of one decision, then three about the screen. `part` of the screen is lit; `reveal` is
# the step up to which the levels show their results; explorer.js fills in the {numbers}.
WALK = [
    {"part": part, "reveal": min(number, 7), "says": says, "link": link}
    for number, (part, says, link) in enumerate(
        (
            (
                "levels",
                "1 Project. A cell of {name} is {stride} px wide, so the box of {size} px covers "
                "{projected} cells there. The finer the level, the more cells.",
                REGIONS + "regions-projected",
            ),
            (
                "levels",
                "2 Scale. Two boxes with the same center: the effective box has {effective} of "
                "the sides, the ignoring box {ignoring} (dashed).",
                REGIONS + "regions-projected",
            ),
            (
                "levels",
                "3 Locations. Those of the effective box may learn the object (filled). Those of "
                "the ignoring box around it have no loss for its class (hatched: {ring} on "
                "{name}). All others are negative.",
                REGIONS + "regions-cells",
            ),
            (
                "levels",
                "4 Overlaps. Where effective boxes overlap, the smaller box takes the location. "
                "This box keeps {kept} on {name}; over all levels it loses {lost} (crossed).",
                REGIONS + "regions-sharing",
            ),
            (
                "image",
                "5 Losses. Each location predicts a class and a box (drawn on the image). Its loss "
                "is focal loss + (−ln IoU). On {name}: {sum}.",
                LOSSES + "losses-cells",
            ),
            (
                "levels",
                "6 Mean. ({sum}) / {count} = {loss} on {name}. The mean, not the sum: a fine level "
                "has more locations.",
                LOSSES + "losses-mean",
            ),
            (
                "levels",
                "7 Argmin. {all}. {name} learns the box (★). Its size alone would name "
                "{heuristic} (▲).",
                LOSSES + "losses-mean",
            ),
            (
                "training",
                "Time. These are the losses of a network in training. Press ▶: at first the "
                "selected level means little, then the choice settles and confirms itself.",
                LOSSES + "losses-heuristic",
            ),
            (
                "rules",
                "The rules. The paper and MMDetection differ in some; open 'rules and export' to "
                "set one. 'paper | MMDetection' shows both at once.",
                REGIONS + "regions-conventions",
            ),
            (
                "bar",
                "The whole. 'All boxes' shows what is left after the selection. 'Predict first' "
                "hides the losses and asks you.",
                "",
            ),
        ),
        start=1,
    )
]


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
            "says": "In MMDetection the center of a location must lie inside the box. P3's lie "
            "8 px apart, and this box of 4 px lies between them: nothing learns it.",
        },
        {
            "name": "nested",
            "boxes": scaled((24, 24, 104, 84), (39, 32, 84, 72)),
            "labels": [0, 0],
            "switches": {"convention": "reference"},
            "says": "Two boxes of one class, one in the other. The paper gives shared locations to "
            "the smaller one; in MMDetection they are lost to both.",
        },
        {
            "name": "long and thin",
            "boxes": scaled((8, 60, 120, 68)),
            "labels": [0],
            "switches": {},
            "says": "14 to 1. The size heuristic sees only √(w·h), that of a small square; but "
            "which level can learn both of its sides?",
        },
        {
            "name": "over the border",
            "boxes": scaled((-30, 40, 34, 104)),
            "labels": [0],
            "switches": {},
            "says": "The middle of the box lies at the image's edge: its locations are cut there, "
            "or moved inside.",
        },
        {
            "name": "crowd",
            "boxes": scaled((40, 30, 60, 56), (16, 16, 112, 84)),
            "labels": [0, CROWD],
            "switches": {},
            "says": "The dashed box is a crowd: locations inside its inner half have no loss, and "
            "boxes there lose them.",
        },
    ]
