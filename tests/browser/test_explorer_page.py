"""The page of `Explorer.save_html`: no Python, no internet, the same levels and losses, and every control."""

import dataclasses
import random
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from lab_driver import until
from page_driver import FigurePage

import fsaf_core as fsaf
from fsaf_core.viz.widgets.explorer import Explorer

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))
import course

LEVELS = (3, 4, 5, 6)


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    scene = course.scene()
    return Explorer(scene.image, scene.boxes, scene.labels, course.snapshots(), selected=scene.star)


class Page(FigurePage):
    """The explorer's page."""

    def __init__(self, browser, path: Path, **options) -> None:
        viewport = {"viewport": {"width": 900, "height": 700}}
        super().__init__(browser, path, ready=".fx-card", **viewport | options)

    def verdict(self) -> str:
        self.settle()
        return self.page.locator(".fx-verdict").inner_text()

    def note(self) -> str:
        self.settle()
        return self.page.locator(".fx-note").inner_text()

    def middle(self, index: int) -> tuple[float, float]:
        at = self.page.locator(".fx-box").nth(index).bounding_box()
        return at["x"] + at["width"] / 2, at["y"] + at["height"] / 2

    def rules(self) -> None:
        self.page.locator(".fx-more summary").click()


@pytest.fixture(scope="module")
def file(explorer, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "explorer.html"
    explorer.save_html(path)
    return path


@pytest.fixture
def page(browser, file):
    opened = Page(browser, file)
    yield opened
    opened.page.close()
    assert not opened.complaints


# The twin


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


def without_numbers(text: str) -> str:
    return re.sub(r"\d+\.\d+", "#", text)


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
def test_the_twin_answers_what_python_answers(explorer, page, count) -> None:
    """Random states: regions, levels and sentences are equal, losses within 1e-5."""
    states, ties = [any_state(explorer, seed) for seed in range(count)], 0
    owns = page.page.evaluate("states => states.map((one) => fsafFigure.twin.explore(one))", states)
    for state, own in zip(states, owns):
        truth = explorer.respond(state)
        if own["online"] != truth["online"]:
            assert is_tie(explorer, state, own, truth), state
            ties += 1
            continue
        for name in ("selected", "heuristic", "cell_center", "notes"):
            assert own[name] == truth[name], (name, state)
        assert without_numbers(own["verdict"]) == without_numbers(truth["verdict"]), state
        for level, true in zip(own["levels"], truth["levels"], strict=True):
            for name in ("level", "stride", "rows", "columns", "codes", "taught", "mark"):
                assert level[name] == true[name], (name, state)
            assert without_numbers(level["says"]) == without_numbers(true["says"]), state
            for name in ("loss", "focal", "iou"):
                assert level[name] == (
                    None if true[name] is None else pytest.approx(true[name], abs=1e-5)
                ), (name, state)
            assert {int(cell) for cell in level["cells"]} == true["cells"].keys()
            for cell, (box, *numbers) in true["cells"].items():
                own_box, *own_numbers = level["cells"][str(cell)]
                assert own_box == box, (cell, state)
                assert own_numbers[:2] == pytest.approx(numbers[:2], abs=2e-5), (cell, state)
                if numbers:
                    assert own_numbers[2] == pytest.approx(numbers[2], abs=1e-3), (cell, state)
    assert ties <= count / 100


def test_curves_and_landscape_are_the_answer_s(explorer, page) -> None:
    """What the twin computes for other snapshots, and for other boxes, is what it answers when they are set."""
    states = [any_state(explorer, seed) | {"mode": "instance"} for seed in range(60)]
    wrong, points = page.page.evaluate(
        """(states) => {
            const { twin } = fsafFigure;
            let wrong = 0, points = 0;
            const same = (one, other) => { points += 1; wrong += one !== other; };
            for (const state of states) {
                if (state.labels[state.selected] === -1) continue;
                twin.curves(state).forEach((levels, snapshot) => {
                    twin.explore({ ...state, snapshot }).levels.forEach((level, i) => same(level.loss, levels[i].loss));
                });
                const contest = twin.contest(state);
                for (let k = 0; k < 20; k++) {
                    const box = [(k * 29) % 100 - 10, (k * 53) % 100 - 10, (k * 29) % 100 + 4 + 5 * k, (k * 53) % 100 + 30];
                    const answer = twin.explore({ ...state, boxes: state.boxes.map((old, i) => (i === state.selected ? box : old)) });
                    const level = answer.selected[state.selected], [winner, loss] = contest(box);
                    same(level, winner);
                    same(answer.levels.find((one) => one.level === level)?.loss ?? null, loss);
                }
            }
            return [wrong, points];
        }""",
        states,
    )
    assert wrong == 0 and points > 3000


def test_the_twin_reads_the_focal_loss_s_parameters(explorer, browser, tmp_path) -> None:
    config = dataclasses.replace(explorer.snapshots.config, focal_alpha=0.4, focal_gamma=1.5)
    snapshots = dataclasses.replace(explorer.snapshots, config=config)
    scene = course.scene()
    own = Explorer(scene.image, scene.boxes, scene.labels, snapshots)
    own.save_html(tmp_path / "focal.html")
    opened = Page(browser, tmp_path / "focal.html")
    for level, true in zip(opened.answer()["levels"], own.answer["levels"], strict=True):
        assert level["focal"] == pytest.approx(true["focal"], abs=1e-5)
    opened.page.close()


def test_the_twin_too_takes_a_hundred_boxes_and_says_so(explorer, page) -> None:
    boxes = [[x, y, x + 20, y + 15] for x in range(-10, 100, 10) for y in range(0, 100, 10)]
    state = explorer.state | {"boxes": boxes[:101], "labels": [0] * 101, "selected": 7}
    own = page.page.evaluate("state => fsafFigure.twin.explore(state)", state)
    truth = explorer.respond(state)
    assert truth["notes"][-1].startswith("101 boxes are more")
    assert (own["notes"], own["selected"]) == (truth["notes"], truth["selected"])


# Boxes: mouse and keys


def test_boxes_follow_mouse_and_keyboard(page) -> None:
    before = page.state()["boxes"][1]
    tab = page.page.locator(".fx-stage").get_by_text("1 star").bounding_box()
    page.drag(tab["x"] + 5, tab["y"] + 5, (tab["x"] + 85, tab["y"] + 25))  # a box by its name
    state = page.state()
    assert state["selected"] == 1 and state["boxes"][1][0] > before[0] + 20
    moved = state["boxes"][1]
    for key, by in (
        ("Shift+ArrowRight", [10, 0, 10, 0]),
        ("ArrowUp", [0, -1, 0, -1]),
        ("Alt+ArrowDown", [0, 0, 0, 1]),
        ("Control+ArrowLeft", [0, 0, -1, 0]),
    ):
        page.page.keyboard.press(key)
        moved = [side + step for side, step in zip(moved, by)]
        assert page.state()["boxes"][1] == pytest.approx(moved)
    page.page.keyboard.press("n")
    assert page.state()["selected"] == 2
    page.page.keyboard.press("p")
    page.page.keyboard.press("Delete")
    assert len(page.state()["boxes"]) == 5
    page.page.keyboard.press("+")
    assert len(page.state()["boxes"]) == 6 and page.state()["selected"] == 5


def test_a_box_cannot_be_lost_outside(page) -> None:
    page.drag(*page.middle(1), (5, 5))
    assert min(page.state()["boxes"][1][2:]) >= 2
    page.page.locator(".fx-box").nth(1).focus()
    for _ in range(30):
        page.page.keyboard.press("Shift+ArrowDown")
    assert page.state()["boxes"][1][1] <= 126


def test_draw_undo_redo_and_escape(page) -> None:
    before = page.state()["boxes"]
    stage = page.page.locator(".fx-stage").bounding_box()
    at = stage["x"] + 0.75 * stage["width"], stage["y"] + 0.12 * stage["height"]
    page.drag(*at, (at[0] + 40, at[1] + 30))  # on empty image
    drawn = page.state()
    assert len(drawn["boxes"]) == 7 and drawn["selected"] == 6
    x1, y1, x2, y2 = drawn["boxes"][6]
    assert (x2 - x1) / (y2 - y1) == pytest.approx(4 / 3, rel=0.05)
    page.drag(*page.middle(6), (at[0] - 60, at[1] + 60))
    assert page.state()["boxes"][6] != drawn["boxes"][6]
    page.page.keyboard.press("Control+z")  # a whole drag at once
    assert page.state()["boxes"] == drawn["boxes"]
    page.page.keyboard.press("Control+z")
    assert page.state()["boxes"] == before
    page.page.keyboard.press("Control+Shift+Z")
    assert page.state()["boxes"] == drawn["boxes"]
    page.button("undo")
    page.drag(*page.middle(1), (at[0], at[1]), drop=False)
    assert page.state()["boxes"] != before
    page.page.keyboard.press("Escape")
    page.page.mouse.move(at[0] + 30, at[1] + 30)
    assert page.state()["boxes"] == before
    page.page.mouse.up()


def test_a_mouse_drag_shows_no_frame_for_the_keyboard(page) -> None:
    page.page.locator(".fx-box").nth(1).focus()
    page.page.keyboard.press("ArrowRight")
    assert page.page.locator(".fx-keys").count() == 1
    page.drag(*page.middle(4), (500, 300))
    assert page.page.locator(".fx-keys").count() == 0


def test_every_control_is_reached_by_tab_with_the_same_box_selected(page) -> None:
    """The tab order holds one box, so the class list and the rules work on any box."""
    page.rules()
    page.page.locator(".fx-bar button").first.focus()
    seen = []
    for _ in range(60):
        seen.append(
            page.page.evaluate(
                """() => { const one = document.activeElement;
                return one.name || one.ariaLabel || one.getAttribute("aria-label") || one.textContent; }"""
            )
        )
        page.page.keyboard.press("Tab")
    assert page.state()["selected"] == 1
    joined = "\n".join(map(str, seen))
    for name in (
        "class of box 1",
        "training snapshot",
        "play the training",
        "convention",
        "P3; stride 8",
        "P6; stride 64",
    ):
        assert name in joined
    for name in (
        "undo",
        "redo",
        "situations",
        "copy as Python",
        "save SVG",
        "link",
        "effective_scale",
        "place",
        "of the box in the landscape",
    ):
        assert name in joined


# What it shows


def test_situations_show_what_they_say(page) -> None:
    choose = page.page.get_by_label("situations", exact=True)
    choose.select_option("tiny")
    assert "nothing learns it" in page.note()
    page.rules()
    page.page.locator("select[name=convention]").select_option("paper")
    page.settle()
    assert page.page.locator(".fx-card[data-winner=true]").count() == 1
    choose.select_option("nested")
    page.settle()
    assert page.page.locator(".fx-card path.lost").count() > 0
    page.button("reset")
    assert page.page.locator(".fx-box").count() == 6


def location(page: Page, answer: dict, nth: int) -> tuple[int, list]:
    level = answer["levels"][nth]
    cell, entry = next((int(cell), one) for cell, one in level["cells"].items() if len(one) == 4)
    card = page.page.locator(".fx-card").nth(nth)
    panel = card.locator("svg").bounding_box()
    side = panel["width"] / level["columns"]
    row, column = divmod(cell, level["columns"])
    page.page.mouse.move(panel["x"] + (column + 0.5) * side, panel["y"] + (row + 0.5) * side)
    return cell, entry


@pytest.mark.parametrize("nth", [0, 3])
def test_a_location_lights_up_everywhere_and_its_formula_is_exact(page, nth) -> None:
    answer = page.answer()
    cell, (box, focal, iou, _) = location(page, answer, nth)
    said = page.note()
    row, column = divmod(cell, answer["levels"][nth]["columns"])
    assert said.startswith(f"P{LEVELS[nth]}, row {row}, column {column}, center")
    assert (
        f"effective, box {box}. Focal {focal:.3f} + (−ln IoU {iou:.3f}) = {focal + iou:.3f}" in said
    )
    loss = answer["levels"][nth]["loss"]
    terms = re.search(r"Mean of P\d: \((.*)\) / (\d+) = (\S+)\.", said)
    assert terms[3] == f"{loss:.3f}" and int(terms[2]) == answer["levels"][nth]["codes"].count("2")
    for mark in (".fx-hovered", ".fx-here", ".fx-share"):
        assert page.page.locator(mark).count() >= 1, mark
    page.page.mouse.move(5, 5)
    page.settle()
    assert page.page.locator(".fx-hovered, .fx-here").count() == 0


def test_locations_are_read_by_keyboard(page) -> None:
    page.page.locator(".fx-card").nth(0).focus()
    page.page.keyboard.press("ArrowRight")
    first = page.note()
    assert first.startswith("P3, row") and "Focal" in first
    page.page.keyboard.press("ArrowRight")
    assert page.note() != first


def test_each_location_s_predicted_box_is_on_the_image(page) -> None:
    drawn = page.page.locator(".fx-predicted").count()
    own = sum(len(one) == 4 for level in page.answer()["levels"] for one in level["cells"].values())
    assert drawn == own > 4
    page.page.get_by_label("predictions").uncheck()
    page.settle()
    assert page.page.locator(".fx-predicted").count() == 0


def test_curves_follow_the_cursor_and_play_runs_the_training(page) -> None:
    assert (
        page.page.locator(".fx-curve").count() == 4 and page.page.locator(".fx-turn").count() >= 1
    )
    at = page.page.locator(".fx-curves").bounding_box()
    page.page.mouse.click(at["x"] + 32, at["y"] + 60)
    assert page.state()["snapshot"] == 0
    page.button("play the training")
    until(lambda: page.state()["snapshot"] >= 2, 5, "the training does not play")
    page.button("stop")
    stopped = page.state()["snapshot"]
    page.page.wait_for_timeout(900)
    assert page.state()["snapshot"] == stopped


def test_without_motion_play_is_a_step(page) -> None:
    page.page.emulate_media(reduced_motion="reduce")
    page.page.get_by_label("training snapshot").fill("3")
    page.page.locator(".fx-play").click()
    page.page.wait_for_timeout(900)
    assert page.state()["snapshot"] == 4


def test_the_landscape_and_the_box_move_each_other(page) -> None:
    assert (
        page.page.locator(".fx-land").count() >= 2 and page.page.locator(".fx-stairs").count() >= 2
    )
    dot = page.page.locator(".fx-dot-handle")
    before, at = page.state()["boxes"][1], dot.bounding_box()
    page.drag(at["x"] + 9, at["y"] + 9, (at["x"] + 49, at["y"] + 9))  # wider, at the same center
    after = page.state()["boxes"][1]
    assert after[2] - after[0] > 1.3 * (before[2] - before[0])
    assert after[0] + after[2] == pytest.approx(before[0] + before[2], abs=0.1)
    assert after[3] - after[1] == pytest.approx(before[3] - before[1], rel=0.05)
    page.page.locator(".fx-box").nth(1).focus()
    here = dot.bounding_box()["y"]
    for _ in range(3):
        page.page.keyboard.press("Alt+Shift+ArrowDown")
    page.settle()
    assert dot.bounding_box()["y"] < here - 3  # a higher box stands higher
    dot.focus()
    page.page.keyboard.press("Shift+ArrowLeft")
    narrower = page.state()["boxes"][1]
    assert narrower[2] - narrower[0] < after[2] - after[0] - 1
    page.button("place")
    page.page.keyboard.press("Shift+ArrowRight")
    dot.focus()
    page.page.keyboard.press("Shift+ArrowRight")
    assert page.state()["boxes"][1][0] == pytest.approx(narrower[0] + 12.8, abs=0.1)


def test_step_through_one_decision(page) -> None:
    """Seven steps reveal the decision; each text has the numbers of this box, and its part is lit and in view."""
    page.button("step through")
    answer, seen = page.answer(), []
    winner = answer["levels"][answer["selected"][1] - 3]
    while page.page.locator(".fx-walkrow").is_visible():
        seen.append(page.note())
        lit = page.page.locator(".fx-lit")
        assert lit.count() == 1 and "{" not in seen[-1]
        box = lit.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 700
        marks = page.page.locator(".fx-card path.effective").count()
        assert (marks > 0) == (len(seen) >= 3)
        assert (page.page.locator(".fx-card[data-level='3'] .fx-focal").count() > 0) == (
            len(seen) >= 6
        )
        page.page.locator(".fx-walkrow button").nth(-2).click()
        page.settle()
    assert len(seen) == 10 and seen[0].startswith("1 Project")
    assert f"= {winner['loss']:.3f} on P{winner['level']}" in seen[5]
    assert page.page.locator(".fx-walking").count() == 0


def test_paper_and_mmdetection_side_by_side(page, explorer) -> None:
    page.button("paper | MMDetection")
    assert page.page.locator(".fx-others .fx-card").count() == 4
    state = page.state()
    other = explorer.respond(state | {"switches": state["switches"] | {"convention": "reference"}})
    for card, level in zip(page.page.locator(".fx-others .fx-card").all(), other["levels"]):
        drawn = card.locator("path.effective")
        count = drawn.get_attribute("d").count("M") if drawn.count() else 0
        assert count == level["codes"].count("2")
    page.drag(*page.middle(1), (300, 300))  # one drag moves both
    state = page.state()
    other = explorer.respond(state | {"switches": state["switches"] | {"convention": "reference"}})
    says = page.page.locator(".fx-others .fx-card").nth(0).get_attribute("aria-label")
    if other["levels"][0]["loss"] is not None:
        assert f"loss {other['levels'][0]['loss']:.3f}" in says


def test_differing_locations_are_outlined(page, explorer) -> None:
    page.button("paper | MMDetection")
    state = page.state()
    other = explorer.respond(state | {"switches": state["switches"] | {"convention": "reference"}})
    for nth, (one, level) in enumerate(zip(explorer.answer["levels"], other["levels"])):
        differ = sum(a != b for a, b in zip(one["codes"], level["codes"]))
        outline = page.page.locator(".fx-card").nth(nth).locator(".fx-differs")
        assert outline.get_attribute("d").count("M") == differ > 0


def test_predict_first_hides_the_losses_until_a_level_is_chosen(page) -> None:
    page.button("predict first")
    cards = page.page.locator(".fx-cards").first
    assert page.page.locator(".fx-focal, .fx-predicted, [data-winner=true]").count() == 0
    assert not page.page.locator(".fx-panes").is_visible()
    assert all("loss hidden" in text for text in cards.locator("svg.fx-card").all_text_contents())
    assert "which level has the least loss" in page.verdict()
    right = page.answer()["selected"][1]
    page.page.locator(f".fx-card[data-level='{right}']").first.click()
    assert page.note().startswith(f"Right: P{right}. Score 1 of 1.")
    page.button("next question")
    assert page.page.locator(".fx-focal").count() == 0
    wrong = next(
        level for level in LEVELS if level != page.answer()["selected"][page.state()["selected"]]
    )
    page.page.keyboard.press(str(wrong))
    assert "Score 1 of 2." in page.note() and page.note().startswith("No: P")


def test_all_boxes_show_the_history_of_each(page, explorer) -> None:
    page.button("all boxes")
    assert "After the selection: P3 learns" in page.verdict()
    steps = explorer.snapshots.steps
    names = page.page.locator(".fx-history text").all_text_contents()
    for snapshot in (0, len(steps) - 1):
        truth = explorer.respond(explorer.state | {"snapshot": snapshot, "mode": "image"})
        shown = [names[index * (len(steps) + 1) + 1 + snapshot] for index in range(6)]
        assert shown == [f"P{level}" for level in truth["selected"]]


# Out of the page


def test_copied_python_gives_what_is_on_the_screen(page, explorer) -> None:
    page.page.get_by_label("situations", exact=True).select_option("crowd")
    page.page.locator(".fx-box").first.focus()
    page.page.keyboard.press("Shift+ArrowUp")
    page.page.keyboard.press("Shift+Alt+ArrowRight")
    page.rules()
    page.page.locator("select[name=convention]").select_option("reference")
    page.page.get_by_label("training snapshot").fill("5")
    page.button("copy as Python")
    names: dict = {}
    exec(page.page.locator(".fx-code").inner_text(), names)  # as it is: it finds its own explorer
    answer, assignment = page.answer(), names["assignment"]
    losses = [
        level["loss"] if level["loss"] is not None else float("inf") for level in answer["levels"]
    ]
    assert assignment.level_losses[0].tolist() == pytest.approx(losses, abs=1e-5)
    assert assignment.selected_level.tolist() == [
        level - 3 if level >= 0 else level for level in answer["selected"][:1]
    ]


def test_a_link_holds_the_state(page, browser) -> None:
    page.drag(*page.middle(1), (250, 260))
    page.rules()
    page.button("link")
    state = page.state()
    again = browser.new_page()
    again.goto(page.page.url)
    again.locator(".fx-card").first.wait_for()
    assert again.evaluate("fsafFigure.model.get('state').boxes") == state["boxes"]
    again.close()


def test_saved_svg_holds_the_picture(page, tmp_path) -> None:
    page.rules()
    with page.page.expect_download() as waiting:
        page.button("save SVG")
    waiting.value.save_as(tmp_path / "saved.svg")
    root = ET.parse(tmp_path / "saved.svg").getroot()
    told = " ".join(root.itertext())
    assert page.verdict() in told
    assert all(f"P{level}" in told for level in LEVELS) and "★ learns it" in told
    assert len(root.findall(".//{*}image")) == 5


def test_a_page_without_snapshots_still_shows_regions(browser, tmp_path) -> None:
    image = torch.zeros(60, 700, 3, dtype=torch.uint8).numpy()
    config = dataclasses.replace(fsaf.presets.get("tiny").model, last_level=7)
    Explorer(image, [[30, 5, 90, 50]], [0], config=config).save_html(tmp_path / "bare.html")
    opened = Page(browser, tmp_path / "bare.html")
    assert "No snapshots" in opened.note()
    assert opened.page.locator(".fx-card path.effective").count() == 5
    assert not opened.complaints
    opened.page.close()


# Sizes and readers


@pytest.mark.parametrize("size", [(1280, 720), (900, 640), (390, 844)])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_fault_for_readers_with_aids(browser, file, size, theme) -> None:
    """axe-core finds none in any mode; nothing is wider than the page."""
    opened = Page(browser, file, viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
    opened.rules()
    for mode in ("instance", "image", "split", "predict"):
        opened.page.locator(f"[data-mode={mode}]").first.click()
        opened.settle()
        found = Axe().run(opened.page).response["violations"]
        bad = [
            (one["id"], [node["html"][:120] for node in one["nodes"]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert bad == [], (mode, bad)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert not opened.complaints
    opened.page.close()


@pytest.mark.parametrize(
    "width", [848, 1008]
)  # of an output in JupyterLab at 1280 and 1440 pixels, with its file browser
def test_all_that_a_drag_changes_is_on_one_screen(browser, file, width) -> None:
    height = {848: 599, 1008: 779}[width]  # of a notebook there
    opened = Page(
        browser, file, viewport={"width": width, "height": height + 45}
    )  # and the heading
    box = opened.page.locator(".fx").bounding_box()
    assert box["height"] <= height
    stage = opened.page.locator(".fx-stage").bounding_box()
    assert 290 <= stage["width"] <= 345
    for name in (".fx-verdict", ".fx-curves", ".fx-field", ".fx-note"):
        at = opened.page.locator(name).bounding_box()
        assert at["y"] + at["height"] <= box["y"] + height, name
    at = opened.page.locator(".fx-stage").bounding_box()
    opened.drag(*opened.middle(1), (at["x"] + 200, at["y"] + 200))
    assert opened.page.locator(".fx-stage").bounding_box() == at  # nothing moves during a drag
    opened.page.close()


def test_a_phone_scrolls_by_swipes_on_the_image(browser, file) -> None:
    opened = Page(browser, file, viewport={"width": 390, "height": 844}, has_touch=True)
    action = "one => getComputedStyle(one).touchAction"
    assert opened.page.locator(".fx-stage").evaluate(action) == "pan-y"
    assert opened.page.locator(".fx-box").first.evaluate(action) == "none"
    opened.page.close()


def test_a_drag_is_as_long_as_the_pointer_s_way_when_the_page_is_zoomed(page) -> None:
    page.page.evaluate("document.documentElement.style.zoom = 1.5")
    page.settle()
    before, x, y = page.state()["boxes"][1], *page.middle(1)
    page.drag(x, y, (x + 60, y))
    stage = page.page.locator(".fx-stage").bounding_box()
    units = 128 * (1 + 2 * 0.07) / stage["width"]
    assert page.state()["boxes"][1][0] - before[0] == pytest.approx(60 * units, abs=0.3)


def test_dark_pages_are_dark(page) -> None:
    page.page.emulate_media(color_scheme="dark")
    page.page.locator(".fx[data-theme=dark]").wait_for(timeout=5_000)
    color = "one => getComputedStyle(one).backgroundColor"
    assert page.page.locator(".fx").evaluate(color) == "rgb(22, 24, 29)"
