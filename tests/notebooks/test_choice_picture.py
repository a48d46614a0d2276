"""The README's moving picture shows what the core answers, and is what its command draws."""

import re
from functools import lru_cache
from itertools import product
from xml.etree import ElementTree

import make_choice_picture as maker
import pytest
from make_choice_picture import FIELD, FILE, SECONDS, SIDES, TICKS, Film, Frame

from fsaf_core.viz.widgets.assignment_view import explore

SVG = "{http://www.w3.org/2000/svg}"
LOSS = re.compile(r"loss (\d+\.\d\d)")


@lru_cache
def film() -> Film:
    return Film()


@lru_cache
def frames() -> list[Frame]:
    return film().frames()


def stored() -> ElementTree.Element:
    return ElementTree.fromstring(FILE.read_text(encoding="utf-8"))


def groups(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return root.findall(f"{SVG}g[@class='{name}']")


def texts(group: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in group.findall(f"{SVG}text")]


def timing(group: ElementTree.Element) -> tuple[int, int]:
    """Return the tick at which a group is shown first in a round, and for how many."""
    ticks, delay = re.fullmatch(
        r"animation-name:show(\d+);animation-delay:([\d.]+)s", group.get("style", "")
    ).groups()
    return round(float(delay) * TICKS / SECONDS), int(ticks)


def answer(snapshot: int, size: tuple[float, float]) -> dict:
    """Return what the explorer computes for the scene with another size of the star's box."""
    boxes = film().with_star([size])[0].tolist()
    scene, kept = film().scene, film().snapshots
    of_image = scene.image.shape[:2], boxes, scene.labels.tolist()
    return explore(*of_image, kept.outputs[snapshot], kept.config, scene.star)


@pytest.mark.parametrize("number", [0, 3, 6, 9, 11, 18, 25, 30, 40, 45])
def test_a_frame_shows_what_the_core_answers(number: int) -> None:
    frame, star = frames()[number], film().scene.star
    told = answer(frame.snapshot, frame.size)
    shown = texts(groups(stored(), "frame")[number])
    level, by_size = told["online"][star], told["heuristic"][star]
    width, height = (f"{side:.0f}" for side in frame.size)
    assert shown[1] == (
        f"P{level} has the least loss, so P{level} learns the star. "
        f"By its size, {width} × {height} px, the heuristic names P{by_size}."
    )
    tabs = [f"P{one}" for index, one in enumerate(told["online"]) if index != star]
    assert shown[2:8] == [*tabs, f"star P{level}"]
    losses = [float(LOSS.fullmatch(text)[1]) for text in shown if LOSS.fullmatch(text)]
    assert losses == pytest.approx([one["loss"] for one in told["levels"]], abs=0.011)
    marks = [text for text in shown[8:] if not text or "★" in text or "▲" in text]
    assert [3 + row for row, text in enumerate(marks) if "★" in text] == [level]
    assert [3 + row for row, text in enumerate(marks) if "▲" in text] == [by_size]


def test_a_map_shows_the_level_of_each_size() -> None:
    low, high = SIDES
    sides = [low * (high / low) ** ((index + 0.5) / FIELD) for index in range(FIELD)]
    for number in (0, 5, 11):
        drawn = {}
        for path in groups(stored(), "map")[number].findall(f"{SVG}path"):
            level = int(path.get("class", "").removeprefix("level"))
            for x, y, width in re.findall(r"M(\S+) (\S+?)h(\S+?)v", path.get("d", "")):
                row = round((maker.TOP + maker.MAP_SIDE - float(y)) / maker.CELL) - 1
                first = round((float(x) - maker.MAP_LEFT) / maker.CELL)
                for column in range(first, first + round(float(width) / maker.CELL)):
                    assert (row, column) not in drawn
                    drawn[row, column] = level
        for row, column in product(range(0, FIELD, 5), repeat=2):
            told = answer(number, (sides[column], sides[row]))["online"][film().scene.star]
            assert drawn.get((row, column), -1) == told, (number, row, column)


def test_the_file_is_what_the_command_draws() -> None:
    """Another CPU may round a loss to the other side, and no more."""
    new, old = ElementTree.fromstring(str(film().picture())), stored()
    one, other = [[element.tag for element in root.iter()] for root in (new, old)]
    assert len(one) == pytest.approx(len(other), abs=10)  # a cell of a map may change its kind
    for name in ("frame", "map"):
        pairs = list(zip(groups(new, name), groups(old, name), strict=True))
        assert [(timing(a), a.get("visibility")) for a, _ in pairs] == [
            (timing(b), b.get("visibility")) for _, b in pairs
        ]
        for a, b in pairs:
            assert [LOSS.sub("", text) for text in texts(a)] == [
                LOSS.sub("", text) for text in texts(b)
            ]
    assert 0 < FILE.stat().st_size < 400_000


def test_each_moment_has_one_frame_and_one_map_and_so_has_the_still() -> None:
    root = stored()
    for name in ("frame", "map"):
        shown = [0] * TICKS
        for group in groups(root, name):
            start, ticks = timing(group)
            shown[start : start + ticks] = [count + 1 for count in shown[start : start + ticks]]
        assert shown == [1] * TICKS
        assert [one.get("visibility") for one in groups(root, name)].count("visible") == 1
    (still,) = (one for one in groups(root, "frame") if one.get("visibility") == "visible")
    assert texts(still)[0] == "Training step 5,000 of 5,000"
    text = FILE.read_text(encoding="utf-8")
    assert "prefers-reduced-motion:no-preference" in text
    assert "<script" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_the_description_tells_the_last_step() -> None:
    star, told = film().scene.star, answer(film().last, film().own)
    losses = ", ".join(f"P{one['level']} {one['loss']:.2f}" for one in told["levels"])
    described = stored().get("aria-label", "")
    assert f"the losses are {losses}, so P{told['online'][star]} learns it." in described
    assert f"heuristic names P{told['heuristic'][star]}." in described
