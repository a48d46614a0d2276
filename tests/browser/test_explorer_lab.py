"""The explorer in JupyterLab, with mouse and keyboard: the screen, the widget's traits and `explore` agree."""

import json

import pytest
from lab_driver import PREPARE, Notebook, until

TELL, SLOWER, EMPTY = 2, 3, 4  # cells of the notebook


def settled(notebook: Notebook) -> None:
    """Wait until Python has checked what the screen shows."""
    until(
        lambda: (
            notebook.page.wait_for_timeout(300)
            or notebook.page.locator(".fx").get_attribute("data-python") == "checked"
        ),
        30,
        "Python has not checked the screen",
    )


def drag(notebook: Notebook, index: int, by: tuple[float, float], moves: int = 12) -> None:
    """Drag a box by a distance in pixels of the screen."""
    target = notebook.page.locator(".fx-box").nth(index)
    target.scroll_into_view_if_needed()
    at = target.bounding_box()
    x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    notebook.page.mouse.move(x, y)
    notebook.page.mouse.down()
    for move in range(1, moves + 1):
        notebook.page.mouse.move(x + by[0] * move / moves, y + by[1] * move / moves)
        notebook.page.wait_for_timeout(15)
    notebook.page.mouse.up()


def agreed(notebook: Notebook) -> dict:
    """Return the state, after checking that the screen, the traits and `explore` agree on it."""
    settled(notebook)
    told = json.loads(notebook.run(TELL).splitlines()[-1])
    assert told["answer"] == told["pure"]
    state, answer, page = told["state"], told["answer"], notebook.page
    assert page.locator(".fx").get_attribute("data-stamp") == state["stamp"]
    assert page.locator(".fx-verdict").inner_text() == answer["verdict"]
    for box, values in zip(page.locator(".fx-box rect").all(), state["boxes"], strict=True):
        assert [float(box.get_attribute(name)) for name in ("x", "y")] == values[:2]
    cards = page.locator(".fx-cards").first.locator(".fx-card")
    for card, level in zip(cards.all(), answer["levels"], strict=True):
        says = card.get_attribute("aria-label")
        assert says.startswith(f"P{level['level']}; stride {level['stride']}")
        if level["loss"] is not None:
            sums = f"loss {level['loss']:.3f} = focal {level['focal']:.3f} + IoU {level['iou']:.3f}"
            assert sums in says
        assert (card.get_attribute("data-winner") == "true") == (
            answer["selected"][state["selected"]] == level["level"]
        )
        for kind, code in (("ignoring", "1"), ("effective", "2"), ("lost", "3")):
            drawn = card.locator(f"path.{kind}").all()
            assert sum(path.get_attribute("d").count("M") for path in drawn) == level[
                "codes"
            ].count(code)
    return state


@pytest.fixture
def book(notebook) -> Notebook:
    """The notebook with a fresh explorer on the screen."""
    notebook.run(0)
    notebook.run(1)
    notebook.page.locator(".fx-card").first.wait_for(timeout=20_000)
    return notebook


def test_mouse_keyboard_and_controls(book) -> None:
    """Each time the screen, the traits and `explore` agree."""
    page = book.page
    before = agreed(book)
    drag(book, 0, (-60, -90))
    state = agreed(book)
    assert state["selected"] == 0 and state["boxes"][0][0] < before["boxes"][0][0] - 10
    page.locator(".fx-box").nth(0).focus()
    for key in ("ArrowLeft", "Shift+ArrowDown", "Alt+ArrowRight", "+"):
        page.keyboard.press(key)
    state = agreed(book)
    assert len(state["boxes"]) == 7 and state["selected"] == 6
    page.get_by_label("class of box 6").select_option("crowd (left out)")
    assert agreed(book)["labels"][6] == -1
    page.keyboard.press("Control+z")
    page.get_by_label("training snapshot").focus()
    page.keyboard.press("ArrowLeft")
    assert agreed(book)["snapshot"] == 10
    page.locator(".fx-more summary").click()
    page.locator("select[name=convention]").select_option("reference")
    page.locator("input[name=effective_scale]").fill("0.4")
    switches = agreed(book)["switches"]
    assert switches["convention"] == "reference"
    assert switches["effective_scale"] == switches["ignoring_scale"] == 0.4
    for name in ("tiny", "nested", "long and thin", "over the border", "crowd"):
        page.get_by_label("situations", exact=True).select_option(name)
        agreed(book)
    page.get_by_role("button", name="reset").click()
    assert agreed(book)["snapshot"] == 11
    prompt = page.locator(".jp-InputPrompt").nth(1).inner_text()
    assert "[2]" in prompt  # no key reached the notebook's own commands


def test_copied_python_runs_in_its_own_notebook(book) -> None:
    """As a student does it: nothing else is in the cell."""
    drag(book, 1, (30, 20))
    state = agreed(book)
    book.page.locator(".fx-more summary").click()
    book.page.get_by_role("button", name="copy as Python").click()
    code = book.page.locator(".fx-code").inner_text()
    book.page.locator(".jp-CodeCell").nth(EMPTY).locator(".jp-InputArea-editor").click()
    book.page.keyboard.press("Control+a")
    book.page.keyboard.insert_text(
        code + "\nimport json; print(json.dumps(assignment.selected_level.tolist()))"
    )
    said = book.run(EMPTY)
    assert "Error" not in said
    told = json.loads(book.run(TELL).splitlines()[-1])["answer"]["selected"]
    assert [level + 3 for level in json.loads(said.splitlines()[-1])] == told
    assert len(told) == len(state["boxes"])


def test_population_and_themes(book) -> None:
    """A point of the population opens its instance, by key and by click; the dark theme and back."""
    page = book.page
    page.get_by_role("button", name="population").click()
    point = page.locator(".fx-chart circle").nth(7)
    point.wait_for(timeout=60_000)
    box = int(point.get_attribute("data-box"))
    page.locator(".fx-chart circle").first.focus()
    for key in ["ArrowRight"] * 9 + ["ArrowLeft"] * 2:
        page.keyboard.press(key)
    assert point.evaluate("point => point === document.activeElement")
    for opens in (lambda: page.keyboard.press("Enter"), lambda: point.dispatch_event("click")):
        opens()
        until(
            lambda: page.locator(".fx").get_attribute("data-mode") == "instance",
            20,
            "no instance was opened",
        )
        assert agreed(book)["selected"] == box
        page.get_by_role("button", name="population").click()
        point.wait_for(timeout=60_000)
    page.get_by_role("button", name="reset").click()
    for name, theme in (("Dark", "dark"), ("Light", "light")):
        page.keyboard.press("Control+Shift+C")
        page.locator(".lm-CommandPalette-input").fill(f"use theme: jupyterlab {name}")
        page.get_by_text(f"Use Theme: JupyterLab {name}", exact=True).first.click()
        page.locator(f".fx[data-theme={theme}]").wait_for(timeout=20_000)
    agreed(book)


def test_a_slow_kernel_never_leaves_a_stale_picture(book) -> None:
    """The answer is there at once; few questions are asked; a sign says that Python is late, and it goes."""
    book.run(SLOWER)
    page = book.page
    before = page.locator(".fx-verdict").inner_text()
    page.evaluate("performance.clearMeasures()")
    drag(book, 1, (60, 30))
    assert page.locator(".fx-verdict").inner_text() != before
    page.get_by_text("Python is busy or not running").wait_for(timeout=10_000)
    agreed(book)
    assert page.locator(".fx-sign").inner_text() == "checked by Python ✓"
    asked = page.evaluate("performance.getEntriesByName('fsaf-python').length")
    assert 1 <= asked < 8


def test_the_next_day(lab, browser) -> None:
    """Run, save, end the kernel, open again: the figure is there and works without a kernel."""
    day = Notebook(lab, browser, "day.ipynb", PREPARE, "explorer")
    day.run(0)
    day.run(1)
    day.page.locator(".fx-card").first.wait_for(timeout=20_000)
    drag(day, 1, (40, 10))
    settled(day)
    shown = day.page.locator(".fx-verdict").inner_text()
    day.save_and_end_kernel()
    day.open(1280, 1300)
    day.page.locator(".fx-card").first.wait_for(timeout=60_000)
    assert "Error displaying widget" not in day.page.locator(".jp-Notebook").inner_text()
    assert day.page.locator(".fx-verdict").inner_text() == shown
    drag(day, 1, (-30, 40))
    assert day.page.locator(".fx-verdict").inner_text() != shown
    day.page.get_by_text("computed here; Python is busy or not running").wait_for(timeout=10_000)
    day.page.close()
    assert not day.complaints
