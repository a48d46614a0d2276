"""The changes that `make notebooks-mutate` makes: of what a reader sees, spread over the course, hidden by no sanitizer."""

import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from make_notebooks import all_notebooks, run, store
from mutate_notebooks import KINDS, Place, draw, fields, noticed, places, spans, spoil, spoiled
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbval.plugin import get_sanitize_patterns

HERE = Path(__file__).parent
DRAWING = '<svg width="12"><title>Two cells</title><rect fill=\'#0072b2\' x="3.5"/><text>P3 at 0.25</text></svg>'


def tokens(text: str, field: str) -> list[tuple[str, str]]:
    return [(kind, text[start:end]) for kind, start, end in spans(text, field)]


def test_numbers_and_words_of_a_text_are_found_whole() -> None:
    assert tokens("AP 43.9 is True, P3, x1", "text") == [
        ("number", "43.9"),
        ("word", "AP"),
        ("word", "is"),
        ("word", "True"),
    ]


def test_attributes_of_a_drawing_and_what_is_read_in_it_are_found() -> None:
    found = tokens(DRAWING, "image/svg+xml")
    assert [token for kind, token in found if kind == "SVG attribute"] == ["12", "#0072b2", "3.5"]
    assert [token for kind, token in found if kind != "SVG attribute"] == [
        "0.25",
        "Two",
        "cells",
        "at",
    ]


def test_a_changed_number_has_another_value_and_a_changed_word_is_another_word() -> None:
    rng = random.Random(0)
    for number in ("0", "0.001", "43.9", "2400", "100.0"):
        assert all(float(spoil(number, rng)) != float(number) for _ in range(50))
    for word in ("star", "Level", "inf", "#dd44aa", "4 3"):
        assert all(spoil(word, rng).lower() != word.lower() for _ in range(50))
    assert (spoil("True", rng), spoil("False", rng)) == ("False", "True")


def test_only_the_place_is_changed() -> None:
    stored = [
        new_output("display_data", data={"image/svg+xml": DRAWING}),
        new_output("stream", text="1 one\n"),
    ]
    for kind, start, end in spans(DRAWING, "image/svg+xml"):
        changed, _ = spoiled(
            stored, Place(Path("x"), 0, 0, "image/svg+xml", kind, start, end), random.Random(1)
        )
        text = changed[0].data["image/svg+xml"]
        assert text != DRAWING and (text[:start], text[end:]) == (DRAWING[:start], DRAWING[end:])
        assert changed[1] == stored[1] and stored[0].data["image/svg+xml"] == DRAWING


def test_pictures_that_nbval_never_compares_are_left_alone() -> None:
    assert fields(
        new_output("display_data", data={"image/png": "aGk=", "text/plain": "a figure"})
    ) == {"text/plain": "a figure"}


@pytest.fixture(scope="module")
def drawn() -> list[Place]:
    return draw(
        [output for path in all_notebooks() for output in places(path)], 200, random.Random(0)
    )


def test_200_different_places_of_three_kinds_are_drawn_the_same_every_time(
    drawn: list[Place],
) -> None:
    assert len(drawn) == len(set(drawn)) == 200
    assert sorted(Counter(place.kind for place in drawn).values()) == [66, 67, 67] and {
        place.kind for place in drawn
    } == {*KINDS}
    assert drawn == draw(
        [output for path in all_notebooks() for output in places(path)], 200, random.Random(0)
    )


def test_every_notebook_gets_its_share(drawn: list[Place]) -> None:
    """In each kind a notebook's places are its share of the outputs that hold the kind, but for the rounding at both ends."""
    for kind in KINDS:
        holders = {
            path: sum(any(place.kind == kind for place in output) for output in places(path))
            for path in all_notebooks()
        }
        count = Counter(place.notebook for place in drawn if place.kind == kind)
        for path, number in holders.items():
            share = count.total() * number / sum(holders.values())
            assert abs(count[path] - share) <= 2, (kind, path.name)


def test_no_sanitizer_hides_a_change(drawn: list[Place]) -> None:
    """Without running anything: what nbval compares differs from what was stored in at least 98 of 100 changes."""
    patterns = get_sanitize_patterns((HERE / "sanitize.cfg").read_text(encoding="utf-8"))
    hidden = 0
    for place in drawn:
        cell = [
            cell
            for cell in nbformat.read(place.notebook, as_version=4).cells
            if cell.cell_type == "code"
        ][place.cell]
        changed, _ = spoiled(cell.outputs, place, random.Random(0))
        texts = [
            fields(output)[place.field]
            for output in (cell.outputs[place.output], changed[place.output])
        ]
        for pattern, replacement in patterns:
            texts = [re.sub(pattern, replacement, text) for text in texts]
        hidden += texts[0] == texts[1]
    assert hidden <= 0.02 * len(drawn)


def test_a_cell_that_is_not_compared_notices_nothing() -> None:
    for options in ({"check": False, "skip": False}, {"check": True, "skip": True}):
        assert not noticed(
            SimpleNamespace(options=options, cell=SimpleNamespace(execution_count=1)), []
        )


@pytest.mark.parametrize("comment, share", [("", "100.0 %"), ("# NBVAL_IGNORE_OUTPUT\n", "50.0 %")])
def test_the_share_is_measured_and_the_survivors_are_named(
    tmp_path: Path, comment: str, share: str
) -> None:
    path = tmp_path / "small.ipynb"
    nbformat.write(
        new_notebook(
            cells=[new_code_cell("print(12, 345)"), new_code_cell(comment + "print(12, 345)")]
        ),
        path,
    )
    store(run(path), path)
    command = [sys.executable, HERE / "mutate_notebooks.py", path, "--places", "12", "--whole", "0"]
    result = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True)
    assert f"= {share}" in result.stdout, result.stdout
    assert result.returncode == (1 if comment else 0)
    assert result.stdout.count("not noticed: small.ipynb code cell 1, text, number") == (
        2 if comment else 0
    )
