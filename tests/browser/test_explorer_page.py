"""The page of `Explorer.save_html`: no Python, no internet, the same levels and losses, and the teaching aids."""

import dataclasses
import random
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from conftest import until

import fsaf_core as fsaf
from fsaf_core.viz.widgets.explorer import Explorer

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))
import course


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    scene = course.scene()
    return Explorer(scene.image, scene.boxes, scene.labels, course.snapshots(), selected=scene.star)


@pytest.fixture
def page(explorer, browser, tmp_path):
    """The page, 900 px wide; it fails the test for any error and any request."""
    explorer.save_html(tmp_path / "explorer.html")
    opened, complaints = browser.new_page(viewport={"width": 900, "height": 1000}), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda said: said.type == "error" and complaints.append(said.text))
    opened.on(
        "request",
        lambda request: request.url.startswith(("http", "ws")) and complaints.append(request.url),
    )
    opened.goto((tmp_path / "explorer.html").as_uri())
    opened.locator(".fx-card").first.wait_for(timeout=20_000)
    yield opened
    opened.close()
    assert not complaints


def any_state(explorer: Explorer, seed: int) -> dict:
    """Boxes of any size, half of them on quarters of a pixel; both conventions, sometimes with single switches set."""
    chance = random.Random(seed)
    boxes = []
    for _ in range(chance.randint(1, 6)):
        w, h = (2 ** chance.uniform(1, 7) for _ in range(2))
        x, y = chance.uniform(-w / 2, 128 - w / 2), chance.uniform(-h / 2, 128 - h / 2)
        boxes.append(
            [round(value * 4) / 4 if seed % 4 < 2 else value for value in (x, y, x + w, y + h)]
        )
    switches = explorer.state["switches"] | {"convention": ("paper", "reference")[seed % 2]}
    switches |= {
        "selection": chance.choice(["online", "heuristic"]),
        "selection_focal": chance.choice(["all", "own"]),
    }
    if seed % 5 == 0:
        options = {
            "region_rounding": ["floor_ceil", "overlap"],
            "cell_center": [0.0, 0.5],
            "ignore_levels": ["adjacent", "all"],
        }
        options |= {
            "same_class_overlap": ["smaller_wins", "erase"],
            "effective_scale": [0.1, 0.2],
            "ignoring_scale": [0.2, 0.5],
        }
        switches |= {name: chance.choice(values) for name, values in options.items()}
    return explorer.state | {
        "boxes": boxes,
        "labels": [chance.choice([-1, 0, 0, 1, 2, 5]) for _ in boxes],
        "selected": chance.randrange(len(boxes)),
        "switches": switches,
        "snapshot": chance.randrange(len(explorer.snapshots.steps)),
        "mode": chance.choice(["instance", "image"]),
        "stamp": str(seed),
    }


def is_tie(explorer: Explorer, state: dict, own: dict, truth: dict) -> bool:
    """Whether two levels' losses are one number but for the last bit, which differs from CPU to CPU."""
    for index, (one, other) in enumerate(zip(own["online"], truth["online"])):
        losses = {
            level["level"]: level["loss"]
            for level in explorer.respond(state | {"selected": index, "mode": "instance"})["levels"]
        }
        if one != other and None not in (losses.get(one), losses.get(other)):
            return losses[one] == pytest.approx(losses[other], abs=2e-6)
    return False


def test_the_twin_says_what_python_says(explorer, page) -> None:
    """1,000 random states: regions, levels and sentences are equal, losses within 1e-5."""
    states, ties = [any_state(explorer, seed) for seed in range(1000)], 0
    for state, own in zip(
        states, page.evaluate("states => states.map(fsafExplorer.explore)", states)
    ):
        truth = explorer.respond(state)
        if own["online"] != truth["online"]:
            assert is_tie(explorer, state, own, truth), state
            ties += 1
            continue
        for name in ("selected", "heuristic", "cell_center", "notes"):
            assert own[name] == truth[name], (name, state)
        for level, true in zip(own["levels"], truth["levels"], strict=True):
            for name in ("level", "stride", "rows", "columns", "codes", "taught"):
                assert level[name] == true[name], (name, state)
            for name in ("loss", "focal", "iou"):
                assert level[name] == (
                    None if true[name] is None else pytest.approx(true[name], abs=1e-5)
                ), (name, state)
            assert {int(cell) for cell in level["cells"]} == true["cells"].keys()
            for cell, entry in true["cells"].items():
                assert level["cells"][str(cell)] == pytest.approx(entry, abs=2e-5), (cell, state)
    assert ties <= 3


def test_the_twin_reads_the_focal_loss_s_parameters(explorer, browser, tmp_path) -> None:
    config = dataclasses.replace(explorer.snapshots.config, focal_alpha=0.4, focal_gamma=1.5)
    snapshots = dataclasses.replace(explorer.snapshots, config=config)
    scene = course.scene()
    own = Explorer(scene.image, scene.boxes, scene.labels, snapshots)
    own.save_html(tmp_path / "focal.html")
    opened = browser.new_page()
    opened.goto((tmp_path / "focal.html").as_uri())
    answer = opened.evaluate("state => fsafExplorer.explore(state)", own.state)
    opened.close()
    for level, true in zip(answer["levels"], own.answer["levels"], strict=True):
        assert level["focal"] == pytest.approx(true["focal"], abs=1e-5)


def test_the_twin_too_takes_a_hundred_boxes_and_says_so(explorer, page) -> None:
    boxes = [[x, y, x + 20, y + 15] for x in range(-10, 100, 10) for y in range(0, 100, 10)]
    state = explorer.state | {
        "boxes": boxes[:101],
        "labels": [0] * 101,
        "selected": 7,
        "stamp": "many",
    }
    own, truth = page.evaluate("fsafExplorer.explore", state), explorer.respond(state)
    assert truth["notes"][-1].startswith("101 boxes are more")
    assert (own["notes"], own["selected"]) == (truth["notes"], truth["selected"])


def test_a_state_of_python_s_is_taken_whatever_comes_first(page, explorer) -> None:
    """One message brings setup, state and answer, in an order that differs from kernel to kernel."""
    state = explorer.state | {
        "boxes": [[9, 9, 40, 50]],
        "labels": [1],
        "selected": 0,
        "stamp": "python 99",
    }
    page.locator(".fx-box").first.focus()
    page.keyboard.press("ArrowLeft")  # the screen's own state is the newest so far
    page.wait_for_timeout(300)
    asked = page.evaluate(
        """([state, answer]) => {
            const { model } = fsafExplorer, { get, set } = model, sent = [], next = { state, answer };
            model.get = (name) => next[name] ?? get(name);
            model.set = (name, value) => { if (name === "state") sent.push(value); else set(name, value); };
            model.set("answer", answer);
            return sent;
        }""",
        [state, explorer.respond(state)],
    )
    assert asked == []
    assert (
        page.locator(".fx-box").count() == 1
        and "square, 31 × 41 px" in page.locator(".fx-summary").inner_text()
    )


def test_boxes_follow_mouse_and_keyboard(page) -> None:
    star = page.locator(".fx-box").nth(1)
    body = star.locator("rect").first
    before = page.locator(".fx-summary").inner_text()
    at = star.locator("text").bounding_box()
    page.mouse.move(at["x"] + 5, at["y"] + 5)
    page.mouse.down()
    page.mouse.move(at["x"] + 85, at["y"] + 25, steps=5)
    page.mouse.up()
    assert float(body.get_attribute("x")) > 30
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Delete")
    until(lambda: page.locator(".fx-box").count() == 5, 5, "the box is still there")
    assert page.locator(".fx-summary").inner_text() != before


def test_tour_dims_all_but_its_part(page) -> None:
    page.get_by_role("button", name="tour").click()
    lit = []
    while page.locator(".fx-tour").is_visible():
        (part,) = page.locator(".fx-lit").all()
        lit.append(part.get_attribute("class").split()[0])
        page.wait_for_timeout(300)
        others = page.locator(".fx-part:not(.fx-lit)").all()
        assert len(others) > 3 and all(
            float(other.evaluate("one => getComputedStyle(one).opacity")) < 0.5 for other in others
        )
        page.locator(".fx-tour button").nth(-2).click()
    assert lit == ["fx-left", "fx-levels", "fx-levels", "fx-time", "fx-switches", "fx-top"]
    assert page.locator(".fx-touring").count() == 0


def test_situations_tell_what_they_say(page) -> None:
    page.get_by_role("button", name="tiny").click()
    until(
        lambda: "nothing learns it" in page.locator(".fx-notes").inner_text(),
        5,
        "the tiny box has a level",
    )
    page.locator("select[name=convention]").select_option("paper")
    until(
        lambda: page.locator(".fx-card[data-winner=true]").count() == 1,
        5,
        "the tiny box has no level in the paper either",
    )
    page.get_by_role("button", name="nested").click()
    until(lambda: page.locator(".fx-card path.lost").count() > 0, 5, "no cell is lost")
    page.get_by_role("button", name="reset").click()
    until(lambda: page.locator(".fx-box").count() == 6, 5, "reset does not bring the boxes back")


def test_hovering_a_cell_tells_its_losses(page, explorer) -> None:
    level = explorer.answer["levels"][3]
    cell, (box, focal, iou) = next(item for item in level["cells"].items() if len(item[1]) == 3)
    panel = page.locator(".fx-card").nth(3).locator("svg").bounding_box()
    side = panel["width"] / level["columns"]
    page.mouse.move(panel["x"] + (cell % 2 + 0.5) * side, panel["y"] + (cell // 2 + 0.5) * side)
    said = page.locator(".fx-hover").inner_text()
    assert (
        f"P6, row {cell // 2}, column {cell % 2}, at ({cell % 2 * 64 + 32}, {cell // 2 * 64 + 32}) px: effective"
        in said
    )
    assert f"box {box + 1}: focal {focal:.3f} + −ln IoU {iou:.3f} = {focal + iou:.3f}" in said


def test_copied_python_gives_what_is_on_the_screen(page, explorer) -> None:
    page.get_by_role("button", name="crowd").click()
    page.locator(".fx-box").first.focus()
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Shift+Alt+ArrowRight")
    page.locator("select[name=convention]").select_option("reference")
    page.get_by_label("training snapshot").fill("5")
    page.get_by_role("button", name="copy as Python").click()
    names = {"snapshots": explorer.snapshots}
    exec(page.locator(".fx-code").inner_text(), names)
    page.wait_for_timeout(300)
    answer = page.evaluate("fsafExplorer.model.get('answer')")
    assignment = names["assignment"]
    losses = [
        level["loss"] if level["loss"] is not None else float("inf") for level in answer["levels"]
    ]
    assert assignment.level_losses[0].tolist() == pytest.approx(losses, abs=1e-5)
    assert assignment.selected_level.tolist() == [
        level - 3 if level >= 0 else level for level in answer["selected"][:1]
    ]


def test_saved_svg_holds_the_picture(page, tmp_path) -> None:
    with page.expect_download() as waiting:
        page.get_by_role("button", name="save SVG").click()
    waiting.value.save_as(tmp_path / "saved.svg")
    root = ET.parse(tmp_path / "saved.svg").getroot()
    words = " ".join(root.itertext())
    assert page.locator(".fx-summary").inner_text() in words
    assert all(f"P{level}" in words for level in (3, 4, 5, 6)) and "★ learns it" in words
    assert len(root.findall(".//{*}image")) == 5


def test_dark_pages_are_dark(page) -> None:
    page.emulate_media(color_scheme="dark")
    page.locator(".fx[data-theme=dark]").wait_for(timeout=5_000)
    assert (
        page.locator(".fx").evaluate("one => getComputedStyle(one).backgroundColor")
        == "rgb(22, 24, 29)"
    )


def test_nothing_is_wider_than_900_pixels(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 900


def test_a_page_without_snapshots_still_shows_regions(browser, tmp_path) -> None:
    image = torch.zeros(60, 700, 3, dtype=torch.uint8).numpy()
    config = dataclasses.replace(fsaf.presets.get("tiny").model, last_level=7)
    Explorer(image, [[30, 5, 90, 50]], [0], config=config).save_html(tmp_path / "bare.html")
    opened = browser.new_page()
    opened.goto((tmp_path / "bare.html").as_uri())
    opened.locator(".fx-card").nth(4).wait_for(timeout=20_000)
    assert "No snapshots" in opened.locator(".fx-notes").inner_text()
    assert opened.locator(".fx-card path.effective").count() == 5
    opened.close()
