"""The worked example of chapters 06 and 07: every number follows, by arithmetic, from the numbers printed before it.

Neither torch nor the core is used here: a reader with a pocket calculator can repeat this file.
"""

import math
import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ROUNDED = 0.0006  # printed numbers have three decimals
SIDES = "ltrb"
STRIDE, S, COLUMNS, ROWS = 8, 4, 16, 16
EPSILON = {"projected": 1.0, "effective": 0.2, "ignoring": 0.5}
NUMBER = r"-?\d+(?:\.\d+)?"


def printed(notebook: str, *cells: str) -> str:
    """Return what these cells have printed."""
    book = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    found = {
        cell.id: "".join(output.get("text", "") for output in cell.get("outputs", ()))
        for cell in book.cells
    }
    return "\n".join(found[cell] for cell in cells)


def named(line: str) -> dict[str, float]:
    """`l 0.274  t 0.271` as a dict."""
    return {
        name: float(value)
        for name, value in re.findall(rf"([A-Za-z]\w*\*?) ({NUMBER})(?![\w,])", line)
    }


def by_cell(text: str) -> dict[tuple[int, int], list[str]]:
    """Return the lines that follow each `location (row, column)`."""
    found: dict[tuple[int, int], list[str]] = {}
    for line in text.splitlines():
        if head := re.match(r"\s*location \((\d+), (\d+)\)", line):
            lines = found.setdefault((int(head[1]), int(head[2])), [])
        if found:
            lines.append(line)
    return found


def line_of(lines: list[str], start: str) -> str:
    return next(line.strip() for line in lines if line.strip().startswith(start))


@pytest.fixture(scope="module")
def sheet() -> dict:
    """Return all that the worked example prints, by name. Chapter 07 follows one location."""
    first = printed("06_regions", "regions-sheet-box").splitlines()
    cells = by_cell(printed("06_regions", "regions-sheet-targets"))
    rows = by_cell(printed("07_losses_and_selection", "losses-sheet-classes"))
    boxes = by_cell(printed("07_losses_and_selection", "losses-sheet-boxes"))
    slopes = by_cell(printed("07_losses_and_selection", "losses-sheet-gradient-print"))
    assert list(rows) == list(boxes) == list(slopes)
    assert len(rows) == 1 and {*rows} <= {*cells}
    text = printed("07_losses_and_selection", "losses-sheet-classes")
    assert "of P3" in text  # chapter 06 prints the targets of P3
    classes = text.splitlines()[0].split()[1:]
    return {
        "first": first,
        "cells": cells,
        "classes": classes,
        "rows": rows,
        "boxes": boxes,
        "slopes": slopes,
    }


def logits_of(sheet: dict, cell: tuple[int, int], name: str = "logit") -> list[float]:
    return [float(value) for value in re.findall(NUMBER, line_of(sheet["rows"][cell], name))]


def offsets_of(sheet: dict, cell: tuple[int, int], name: str = "offsets") -> list[float]:
    told = named(line_of(sheet["boxes"][cell], name))
    return [told[side] for side in SIDES]


def box_of(sheet: dict) -> list[float]:
    return [*named(line_of(sheet["first"], "box b")).values()]


def exact_targets(sheet: dict, cell: tuple[int, int]) -> list[float]:
    x1, y1, x2, y2 = box_of(sheet)
    x, y = (cell[1] + 0.5) * STRIDE, (cell[0] + 0.5) * STRIDE
    return [distance / (S * STRIDE) for distance in (x - x1, y - y1, x2 - x, y2 - y)]


def focal(logit: float, answer: bool) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -0.25 * (1 - p) ** 2 * math.log(p) if answer else -0.75 * p**2 * math.log(1 - p)


def overlap_union(one: list[float], other: list[float]) -> tuple[float, float]:
    sides = [min(pair) for pair in zip(one, other)]
    overlap, area, other_area = ((l + r) * (t + b) for l, t, r, b in (sides, one, other))
    return overlap, area + other_area - overlap


def test_regions_follow_from_the_box(sheet) -> None:
    x1, y1, x2, y2 = box_of(sheet)
    lines = sheet["first"]
    for index, line in enumerate(lines):
        if (name := line.split()[0]) not in EPSILON:
            continue
        x, y, w, h = (
            (x1 + x2) / 2,
            (y1 + y2) / 2,
            EPSILON[name] * (x2 - x1),
            EPSILON[name] * (y2 - y1),
        )
        expected = [side / STRIDE for side in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)]
        assert [*named(line).values()] == pytest.approx(expected, abs=ROUNDED)
        if name != "projected":
            columns = list(
                range(max(math.floor(expected[0]), 0), min(math.ceil(expected[2]), COLUMNS))
            )
            rows = list(range(max(math.floor(expected[1]), 0), min(math.ceil(expected[3]), ROWS)))
            assert lines[index + 1].split() == f"columns {columns}  rows {rows}".split()
            if name == "effective":
                assert list(sheet["cells"]) == [(row, column) for row in rows for column in columns]
    assert sum(line.split()[0] in EPSILON for line in lines) == 3


def test_targets_follow_from_the_cells(sheet) -> None:
    for cell, lines in sheet["cells"].items():
        expected = exact_targets(sheet, cell)
        assert named(lines[0]) == {"x": (cell[1] + 0.5) * STRIDE, "y": (cell[0] + 0.5) * STRIDE}
        assert [*named(line_of(lines, "distances")).values()][:4] == pytest.approx(
            [S * STRIDE * t for t in expected], abs=0.006
        )
        assert [*named(line_of(lines, "targets")).values()] == pytest.approx(expected, abs=ROUNDED)
    for cell in sheet["boxes"]:
        expected = exact_targets(sheet, cell)
        assert offsets_of(sheet, cell, "targets") == pytest.approx(expected, abs=ROUNDED)
        longer = sum(a > b for a, b in zip(offsets_of(sheet, cell), expected))
        assert 1 <= longer <= 3  # of mixed signs: both branches of the slope are shown


def test_focal_losses_follow_from_the_logits(sheet) -> None:
    for cell, lines in sheet["rows"].items():
        logits = logits_of(sheet, cell)
        terms = [focal(x, name == "star") for x, name in zip(logits, sheet["classes"], strict=True)]
        assert logits_of(sheet, cell, "p ") == pytest.approx(
            [1 / (1 + math.exp(-x)) for x in logits], abs=ROUNDED
        )
        assert [float(x) for x in line_of(lines, "focal  ").split()[1:]] == pytest.approx(
            terms, abs=ROUNDED
        )
        assert float(line_of(lines, "focal loss").split()[-1]) == pytest.approx(
            sum(terms), abs=ROUNDED
        )


def test_iou_losses_follow_from_the_distances(sheet) -> None:
    for cell, lines in sheet["boxes"].items():
        offsets, targets = offsets_of(sheet, cell), exact_targets(sheet, cell)
        overlap, union = overlap_union(offsets, targets)
        assert offsets_of(sheet, cell, "smaller") == pytest.approx(
            [min(pair) for pair in zip(offsets, targets)], abs=ROUNDED
        )
        told = named(line_of(lines, "I ")) | named(line_of(lines, "IoU"))
        l, t, r, b = offsets
        l_, t_, r_, b_ = targets
        expected = {
            "I": overlap,
            "A": (l + r) * (t + b),
            "A_g": (l_ + r_) * (t_ + b_),
            "union": union,
        }
        assert {name: told[name] for name in expected} == pytest.approx(expected, abs=ROUNDED)
        ratio, loss = re.findall(NUMBER, line_of(lines, "IoU"))
        assert (float(ratio), float(loss)) == pytest.approx(
            (overlap / union, -math.log(overlap / union)), abs=ROUNDED
        )


def test_the_loss_follows_from_the_printed_numbers_alone(sheet) -> None:
    lines = printed("07_losses_and_selection", "losses-sheet-loss").splitlines()
    cells, (worked,) = list(sheet["cells"]), list(sheet["rows"])
    told = [float(line.rsplit("=", 1)[1]) for line in lines]
    parts = [[float(x) for x in re.findall(r"\d+\.\d+", line)[:-1]] for line in lines[:2]]
    assert [len(one) for one in parts] == [len(cells)] * 2
    by_class = sum(
        focal(x, n == "star") for x, n in zip(logits_of(sheet, worked), sheet["classes"])
    )
    overlap, union = overlap_union(offsets_of(sheet, worked), exact_targets(sheet, worked))
    place = cells.index(worked)
    assert [one[place] for one in parts] == pytest.approx(
        [by_class, -math.log(overlap / union)], abs=ROUNDED
    )
    means = [sum(one) / len(cells) for one in parts]
    assert told == pytest.approx([*means, sum(means)], abs=2 * ROUNDED)


def test_the_finite_difference_follows_from_the_printed_numbers(sheet) -> None:
    slope, difference = printed("07_losses_and_selection", "losses-sheet-finite").splitlines()
    (worked,) = list(sheet["rows"])
    x = logits_of(sheet, worked)[sheet["classes"].index("star")]
    expected = (focal(x + 0.1, True) - focal(x - 0.1, True)) / 0.2
    assert float(difference.rsplit("=", 1)[1]) == pytest.approx(expected, abs=ROUNDED)
    assert float(slope.rsplit("=", 1)[1]) == pytest.approx(expected, abs=0.002)


def test_the_gradient_follows_from_the_printed_numbers_alone(sheet) -> None:
    """By small steps, not by the chapter's own formulas."""
    step, cells = 1e-4, list(sheet["cells"])
    for cell, lines in sheet["slopes"].items():
        logits, offsets, targets = (
            logits_of(sheet, cell),
            offsets_of(sheet, cell),
            exact_targets(sheet, cell),
        )
        answers = [name == "star" for name in sheet["classes"]]
        by_logit = [
            (focal(x + step, a) - focal(x - step, a)) / (2 * step) for x, a in zip(logits, answers)
        ]
        by_side = []
        for side in range(4):
            moved = []
            for way in (step, -step):
                overlap, union = overlap_union(
                    [x + way * (i == side) for i, x in enumerate(offsets)], targets
                )
                moved.append(-math.log(overlap / union))
            by_side.append((moved[0] - moved[1]) / (2 * step))
        told = [named(line_of(lines, part)) for part in ("logits", "distances")]
        assert told[0] == pytest.approx(
            {k: v / len(cells) for k, v in zip(sheet["classes"], by_logit)}, abs=ROUNDED
        )
        assert told[1] == pytest.approx(
            {k: v / len(cells) for k, v in zip(SIDES, by_side)}, abs=ROUNDED
        )
