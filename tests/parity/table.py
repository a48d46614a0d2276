"""`python tests/parity/table.py`: the parity tests' cases as a table, case by case, as Markdown."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


import conftest  # one thread, no internet  # noqa: E402, F401
import torch  # noqa: E402
from cases import CASES, run  # noqa: E402


def relative(ours: float, theirs: float) -> str:
    """How far ours is from the reference's, relative; plain where both are 0."""
    return "equal" if ours == theirs else f"{abs(ours - theirs) / abs(theirs):.0e}"


def row(name: str) -> str:
    """One case: what is equal, and how far the rest is."""
    case = run(name)
    want = case.want
    levels = case.assignment.selected_level.tolist() == [
        -1 if level is None else level for level in want["selected_level"]
    ]
    found = [
        (ours, theirs) for ours, theirs in zip(case.found, want["detections"]) if theirs["boxes"]
    ]
    labels = all(
        ours["labels"][: len(theirs["labels"])].tolist() == theirs["labels"]
        for ours, theirs in found
    )
    boxes = [
        (ours["boxes"][: len(theirs["boxes"])] - torch.tensor(theirs["boxes"])).abs().max()
        for ours, theirs in found
    ]
    cells = [
        "equal" if levels else "DIFFERENT",
        f"{case.losses['af_cls']:.6f}",
        relative(case.losses["af_cls"], want["loss_cls"]),
        f"{case.losses['af_box']:.6f}",
        relative(case.losses["af_box"], want["loss_box"]),
        relative(case.total, want["grad_norm_total"]),
        "equal" if labels else "DIFFERENT",
        f"{max(boxes):.0e} px" if boxes else "none",
    ]
    return f"| {name} | {len(want['selected_level'])} | " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table."""
    heads = (
        "levels",
        "focal loss",
        "off by",
        "IoU loss",
        "off by",
        "gradient norm off by",
        "detected labels",
        "boxes off by",
    )
    print("| case | boxes | " + " | ".join(heads) + " |")
    print("|---" * 10 + "|")
    for name in CASES:
        print(row(name))


if __name__ == "__main__":
    main()
