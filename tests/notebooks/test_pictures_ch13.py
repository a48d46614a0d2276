"""Pictures of chapter 13: each shows the numbers that the chapter computes; published numbers have their footnote."""

import re
from pathlib import Path

import nbformat
import pytest
import torch
from course import ch13, scene
from matplotlib.colors import to_hex

import fsaf_core as fsaf
from fsaf_core.presets import PRESETS

CHAPTER = Path(__file__).parents[2] / "notebooks" / "13_full_coco_training.ipynb"
ROWS = {name: row for name, row in PRESETS.items() if row.ap is not None}
PUBLISHED_ROWS = {  # the tables of the paper, and MMDetection's: every AP of the picture
    "r50": 37.4, "r50_ring": 36.0, "r101": 39.3, "x101": 42.4, "r50_retinanet": 35.7,
    "r50_af_heuristic": 34.7, "r50_paper": 35.9, "r50_joint_heuristic": 36.1, "r50_joint": 37.2,
    "r101_joint": 39.3, "x101_joint": 41.6, "r101_retinanet": 37.7, "r101_paper": 37.9,
    "x101_retinanet": 39.8, "x101_paper": 41.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def prose() -> str:
    cells = nbformat.read(CHAPTER, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_the_learning_rates_are_the_core_s() -> None:
    recipe, total = fsaf.presets.get("r50").train, 87_948
    whole, start = ch13.learning_rates(recipe, total).axes
    (line,), (warmup,) = whole.lines, start.lines
    epochs, rates = line.get_data()
    assert max(rates) == pytest.approx(0.01) and rates[0] == pytest.approx(1e-5)
    late = [rate for epoch, rate in zip(epochs, rates) if 8 <= epoch < 11]
    assert set(late) == {0.001} and epochs[-1] == pytest.approx(12, abs=0.001)
    steps, rates = warmup.get_data()
    assert (steps[0], steps[-1]) == (0, 1000)
    assert rates[5] == pytest.approx(0.005015, rel=1e-4) and rates[-1] == pytest.approx(0.01)


def test_a_bar_of_memory_is_as_long_as_its_value() -> None:
    values = {"plan: 1 image": 1.61, "published": 3.15}
    (axes,) = ch13.memory(values, "published").axes
    assert [bar.get_width() for bar in axes.patches] == [1.61, 3.15]
    assert [text.get_text() for text in axes.texts] == ["1.61 GB", "3.15 GB"]
    assert len({to_hex(bar.get_facecolor()) for bar in axes.patches}) == 2


def test_published_aps_and_their_footnote_marks() -> None:
    (axes,) = ch13.published_ap(ROWS).axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    shown = dict(zip((name.rstrip("¹²") for name in names), (b.get_width() for b in axes.patches)))
    assert shown == PUBLISHED_ROWS
    marked = {name.rstrip("¹²"): name[-1] for name in names if name[-1] in "¹²"}
    ablation = {"r50_af_heuristic", "r50_joint_heuristic", "r50_joint"}
    backbones = {"r101_retinanet", "r101_joint", "x101_retinanet", "x101_joint"}
    assert marked == dict.fromkeys(ablation, "¹") | dict.fromkeys(backbones, "²")
    assert {name for name, row in ROWS.items() if row.status == "unverified"} == marked.keys()


def test_a_footnote_has_one_form(prose: str) -> None:
    notes = re.findall(r"^([¹²]) (.*)$", prose, re.MULTILINE)
    assert notes == [
        (mark, f"quoted from the paper's Table {number}; not re-checked")
        for mark, number in (("¹", 1), ("²", 2))
    ]
    assert not re.search("unverified|rumou?r|believe(?! in)", prose)


def test_numbers_in_the_text_are_the_presets(prose: str) -> None:
    """AP and steps that the sentences name, beside those that cells compute."""
    ap = {name: row.ap for name, row in ROWS.items()}
    assert ap["r50"] - ap["r50_ring"] == pytest.approx(1.4) and "cost 1.4 AP" in prose
    assert ap["r50_paper"] - ap["r50_retinanet"] == pytest.approx(0.2) and "0.2 AP" in prose
    assert ap["r50"] - 36.5 == pytest.approx(0.9) and "0.9 AP in MMDetection" in prose
    for number in ("118,287", "117,266", "**37.4**", "44.6", "42.9"):
        assert number in prose


def test_the_rows_of_the_box_output_in_the_wrong_order() -> None:
    (axes,) = ch13.permuted_box((80, 20), (-10.0, -10.0, 40.0, 40.0)).axes
    right, wrong, location = axes.lines
    assert (min(right.get_xdata()), max(right.get_xdata())) == (-40, 40)
    assert (min(wrong.get_ydata()), max(wrong.get_ydata())) == (-10, 40)
    assert location.get_xdata() == [0]


def test_the_conventions_have_a_panel_each_with_its_regions() -> None:
    codes = {"one": torch.zeros(16, 16).long(), "two": torch.full((16, 16), 1)}
    codes["one"][3, 4] = 2
    example = scene()
    drawing = ch13.conventions(example.image, example.boxes[1], codes, (0.5, 0.0))
    assert "one: 1 effective, 0 ignored; two: 0 effective, 256 ignored" in drawing.alt
    text = str(drawing)
    assert text.count('class="effective"') == 1 and text.count('class="ignoring"') == 1
