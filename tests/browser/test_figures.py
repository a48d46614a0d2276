"""Every figure of notebooks/course/figures/: its twin answers what Python answers, and its page works for every reader.

A figure is a module with `example() -> Figure` and `random_state(generator) -> dict`, a state that a reader can reach or a
part of one. Where it needs another tolerance than the one below, the module says so: `TOLERANCE = 1e-4`, with its reason.
"""

import importlib
import json
import random
import re
import sys
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from axe_playwright_python.sync_playwright import Axe
from page_driver import SHOWN, FigurePage

from fsaf_core.viz.colors import DARK, LIGHT
from fsaf_core.viz.widgets.kit import Figure

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))

FIGURES = [
    path.stem
    for path in sorted((NOTEBOOKS / "course" / "figures").glob("*.py"))
    if {"example", "random_state"}
    <= set(re.findall(r"^def (\w+)", path.read_text("utf-8"), re.MULTILINE))
]
# The twin computes in 64 bits, Python often in the 32 bits of torch: each operation there rounds by at most 2**-24 of its result.
# A number of an answer comes out of at most about a hundred operations in a row.
TOLERANCE = 100 * 2**-24  # of a number, or of 1 for smaller ones
STATES = 30
SIZES = {"desktop": (1280, 720), "phone": (390, 844)}
CONTROLS = "button, select, input, textarea, summary, a[href], [tabindex='0']"

every_figure = pytest.mark.parametrize("name", ["focal_figure", *FIGURES])


@cache
def module(name: str) -> ModuleType:
    return importlib.import_module(name if name == "focal_figure" else f"course.figures.{name}")


@cache
def figure(name: str) -> Figure:
    return module(name).example()


@pytest.fixture(scope="session")
def page_of(tmp_path_factory):
    """The page that a figure's `save_html` writes."""

    @cache
    def write(name: str) -> Path:
        path = tmp_path_factory.mktemp("figures") / f"{name}.html"
        figure(name).save_html(path)
        return path

    return write


def states(name: str) -> list[dict]:
    """Random states of a figure, the same in every run; a module may name only what it changes."""
    return [
        figure(name).state
        | module(name).random_state(random.Random(f"{name} {index}"))
        | {"stamp": f"random {index}"}
        for index in range(STATES)
    ]


def link(state: dict) -> str:
    """The part of an address that opens a figure's page in this state."""
    changed = {key: value for key, value in state.items() if key != "stamp"}
    return "#" + json.dumps(changed).replace("%", "%25")


def differences(own, truth, tolerance: float, where: str = "answer") -> list[str]:
    """Where the twin's answer is not Python's: numbers may be `tolerance` apart, and a printed number one in its last place."""
    if isinstance(own, dict) and isinstance(truth, dict):
        if own.keys() != truth.keys():
            return [f"{where}: the twin has {sorted(own)}, Python {sorted(truth)}"]
        pairs = [(f"{where}.{key}", own[key], truth[key]) for key in own]
    elif isinstance(own, list) and isinstance(truth, list):
        if len(own) != len(truth):
            return [f"{where}: {len(own)} entries, and {len(truth)} of Python"]
        pairs = [(f"{where}[{i}]", *both) for i, both in enumerate(zip(own, truth))]
    else:
        return [] if same(own, truth, tolerance) else [f"{where}: {own!r}, and {truth!r} of Python"]
    return [line for at, *both in pairs for line in differences(*both, tolerance, at)]


def same(own, truth, tolerance: float) -> bool:
    if isinstance(own, bool) or isinstance(truth, bool):
        return own is truth
    if isinstance(own, (int, float)) and isinstance(truth, (int, float)):
        exact = isinstance(truth, int)  # of Python's: a count, an index, a level
        return own == truth if exact else abs(own - truth) <= tolerance * max(1, abs(truth))
    if isinstance(own, str) and isinstance(truth, str):
        one, other = (re.split(r"(\d+\.\d+)", text) for text in (own, truth))
        return len(one) == len(other) and all(
            a == b or (i % 2 and abs(float(a) - float(b)) < 1.01 * 10.0 ** -len(b.split(".")[1]))
            for i, (a, b) in enumerate(zip(one, other))
        )
    return own == truth


def truth_of(name: str, state: dict) -> dict:
    """Python's answer as a page would read it."""
    return json.loads(json.dumps(figure(name).respond(state), allow_nan=False))


# Without a browser


@every_figure
def test_python_answers_every_state_twice_the_same_and_with_its_stamp(name: str) -> None:
    for state in states(name):
        assert json.loads(json.dumps(state, allow_nan=False)) == state
        truth = truth_of(name, state)
        assert truth["stamp"] == state["stamp"] and len(truth) > 1
        assert truth == truth_of(name, json.loads(json.dumps(state))), state


@every_figure
def test_the_random_states_have_different_answers(name: str) -> None:
    told = {json.dumps(truth_of(name, state) | {"stamp": ""}) for state in states(name)}
    assert len(told) >= STATES / 4, f"only {len(told)} different answers in {STATES} states"


@every_figure
def test_the_still_says_what_it_shows(name: str) -> None:
    root = ET.fromstring(str(figure(name).picture()))
    says = root.get("aria-label") or ""
    assert len(says.split()) >= 3, f"the alt text is {says!r}"
    assert root.find("{*}title").text == says
    assert float(root.get("width")) <= 1000, "wider than a notebook's column"


def test_a_comparison_finds_what_differs() -> None:
    truth = {"loss": 0.5, "says": "0.500 at P3", "level": 3, "none": None, "cells": [1, 2]}
    assert differences(truth, truth, TOLERANCE) == []
    near = truth | {"loss": 0.500001, "says": "0.501 at P3"}
    assert differences(near, truth, TOLERANCE) == []
    for wrong in (
        {"loss": 0.50001},
        {"says": "0.502 at P3"},
        {"says": "0.500 at P4"},
        {"level": 3.000001},
        {"none": 0},
        {"cells": [1]},
        {"cells": [1, 3]},
        {"more": 1},
    ):
        assert len(differences(truth | wrong, truth, TOLERANCE)) == 1, wrong


# In the browser


@every_figure
def test_the_twin_answers_what_python_answers(name: str, browser, page_of) -> None:
    opened = FigurePage(browser, page_of(name))
    asked, tolerance = states(name), getattr(module(name), "TOLERANCE", TOLERANCE)
    owns = opened.page.evaluate(
        "states => states.map((one) => fsafFigure.twin.explore(one))", asked
    )
    opened.close()
    for state, own in zip(asked, owns, strict=True):
        found = differences(own, truth_of(name, state), tolerance)
        assert not found, f"{found[:5]} in the state {json.dumps(state)[:600]}"


@every_figure
def test_the_page_draws_each_state(name: str, browser, page_of) -> None:
    """No error, no `undefined` or `NaN` in a text or an attribute, and the state is that of the link."""
    for state in states(name)[:5]:
        opened = FigurePage(browser, page_of(name), link(state))
        shown = opened.page.locator("#fsaf-figure").inner_html()
        assert not re.search(r"\b(undefined|NaN|Infinity|\[object)\b", shown), state
        assert opened.state() | {"stamp": ""} == state | {"stamp": ""}
        opened.close()


@every_figure
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_every_reader_can_read_it(
    name: str, size: str, theme: str, browser, page_of
) -> None:
    """axe-core finds no violation; texts stand out from their background; nothing has to be scrolled that need not be."""
    width, height = SIZES[size]
    options = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
    options["reduced_motion"] = "reduce" if theme == "dark" else "no-preference"
    opened = FigurePage(browser, page_of(name), **options)
    found = Axe().run(opened.page).response["violations"]
    bad = [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found]
    assert bad == []
    wide, high = opened.page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert wide <= width, f"{wide - width} px too wide"
    if size == "desktop":
        assert high <= height, f"{high - height} px too high"
    faint = opened.page.evaluate(FAINT_TEXTS)
    assert faint == [], f"contrast below 4.5: {faint}"
    paper = {"light": LIGHT, "dark": DARK}[theme].paper
    shown = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    if theme == "dark":
        assert shown == "rgb({}, {}, {})".format(*bytes.fromhex(paper[1:]))
    opened.close()


# Texts of a drawing that stand on the page itself, and not on a shape: their contrast with it.
FAINT_TEXTS = """
() => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [0.2126 * r, 0.7152 * g, 0.0722 * b].reduce((sum, part, i) => {
        const share = [0.2126, 0.7152, 0.0722][i], c = part / share / 255;
        return sum + share * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    }, 0);
    const faint = [];
    for (const text of document.querySelectorAll("#fsaf-figure svg text")) {
        const box = text.getBoundingClientRect(), style = getComputedStyle(text);
        const below = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        if (!text.textContent.trim() || !below.length || style.visibility === "hidden") continue;
        if (below.some((one) => /^(rect|path|image|circle|polygon|polyline|line|ellipse|use|img)$/i.test(one.tagName))) continue;
        const behind = below.map((one) => getComputedStyle(one).backgroundColor).find((color) => !/, 0\\)$/.test(color));
        const fill = style.fill.startsWith("rgb") ? style.fill : "rgb(0, 0, 0)";
        const both = [fill, behind || "rgb(255, 255, 255)"].map((color) => light(parts(color)) + 0.05).sort((a, b) => a - b);
        if (both[1] / both[0] < 4.5) faint.push(`${text.textContent.slice(0, 40)}: ${(both[1] / both[0]).toFixed(2)}`);
    }
    return faint;
}
"""


@every_figure
def test_the_keyboard_reaches_every_control(name: str, browser, page_of) -> None:
    """Tab goes to each control once; what can be dragged can be focused, and there a key changes the state."""
    opened = FigurePage(browser, page_of(name))
    page = opened.page
    count = page.evaluate(
        """(controls) => {
            const usable = (one) => !one.disabled && one.tabIndex >= 0 && one.getClientRects().length
                && !(one.type === "radio" && one.name && !one.checked && document.querySelector(`[name="${one.name}"]:checked`));
            const all = [...document.querySelectorAll(controls)].filter((one) => one.closest("#fsaf-figure") && usable(one));
            all.forEach((one, i) => { one.dataset.control = i; });
            return all.length;
        }""",
        CONTROLS,
    )
    assert count > 0, "a figure without a control"
    reached = []
    for _ in range(3 * count + 10):
        page.keyboard.press("Tab")
        told = page.evaluate("document.activeElement.dataset.control ?? null")
        if told is not None and int(told) not in reached:
            reached.append(int(told))
    missed = page.evaluate(
        "all => [...document.querySelectorAll('[data-control]')].filter((one) => !all.includes(Number(one.dataset.control)))"
        ".map((one) => one.outerHTML.slice(0, 120))",
        reached,
    )
    assert missed == []
    pointer_only = page.evaluate(
        """() => [...document.querySelectorAll("#fsaf-figure *")].filter((one) => {
            const { cursor } = getComputedStyle(one), parent = one.parentElement;
            return /^(move|grab|crosshair|(.*-)?resize)$/.test(cursor) && getComputedStyle(parent).cursor !== cursor
                && !one.closest("[tabindex]") && !one.querySelector("[tabindex]") && !one.matches("input, button, select");
        }).map((one) => one.outerHTML.slice(0, 120))"""
    )
    assert pointer_only == [], "dragged by the pointer only"
    opened.close()


@every_figure
def test_a_key_changes_what_is_dragged(name: str, browser, page_of) -> None:
    opened = FigurePage(browser, page_of(name))
    page, handles = opened.page, "#fsaf-figure svg [tabindex='0'], #fsaf-figure svg[tabindex='0']"
    for nth in range(page.locator(handles).count()):
        before = opened.state()
        page.locator(handles).nth(nth).focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "Enter", " "):
            page.keyboard.press(key)
            if page.locator(handles).count() <= nth or opened.state()["stamp"] != before["stamp"]:
                break
        else:
            html = page.locator(handles).nth(nth).evaluate("one => one.outerHTML")
            raise AssertionError(f"no key does anything at {html[:160]}")
    opened.close()


@every_figure
def test_where_motion_is_unwelcome_play_is_a_step(name: str, browser, page_of) -> None:
    opened = FigurePage(browser, page_of(name), reduced_motion="reduce")
    page = opened.page
    for nth in range(page.locator(".fx-play").count()):
        page.locator(".fx-play").nth(nth).click()
        opened.settle()
        once = opened.state()
        page.wait_for_timeout(1500)
        assert opened.state() == once, "it plays"
    moving = "document.getAnimations().filter((one) => one.playState === 'running').length"
    assert page.evaluate(moving) == 0
    opened.close()


@every_figure
def test_a_figure_asks_nobody_and_is_small(name: str, page_of) -> None:
    text = page_of(name).read_text(encoding="utf-8")
    assert len(text) < 1_000_000, f"{len(text):,} bytes"
    # An address may be named (as a namespace is), but nothing is loaded from it.
    assert not re.search(
        r"(?:src|href)=\"https?:|import\s*\(?[\"']https?:|fetch\(|url\(\"?https?:", text
    )
    assert SHOWN.split()[0][1:] in text
