"""The pictures and the table of notebook 12 show the numbers that the chapter computes."""

import json

import pytest
import torch
from course import ch12, model, scene
from make_assigners import PARTS, main
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from fsaf_core.tools.ablation import t_interval
from fsaf_core.viz.colors import LIGHT

EXAMPLE, DETECTOR = scene(), model()


def locations():
    with torch.no_grad():
        batch = DETECTOR.preprocess([EXAMPLE.tensor])
        return DETECTOR.locations(DETECTOR.head_outputs(batch.tensor))


def test_positives_are_squares_at_their_centers() -> None:
    places = locations()
    assigned = torch.full((340,), -1)
    assigned[[20, 270, 330]] = torch.tensor([1, 1, 2])
    given = EXAMPLE.image, EXAMPLE.boxes, {"one": assigned, "none": assigned * 0 - 1}, places
    one, none = ch12.positives_picture(*given, [1]).axes
    squares = [patch for patch in one.patches if patch.get_fill()]
    assert len(squares) == 2 and not [patch for patch in none.patches if patch.get_fill()]
    for patch, place in zip(squares, (20, 270)):
        assert patch.get_center() == pytest.approx(places.centers[place].tolist())
        assert to_hex(patch.get_facecolor()) == LIGHT.level(3 + int(places.level[place]))
    assert ch12.level_counts(assigned, places, 1) == [1, 1, 0, 0]


def test_candidates_and_threshold_stand_at_their_iou() -> None:
    overlaps = {"a": torch.tensor([0.1, 0.5, 0.7])}
    low, high, line = ch12.threshold_picture(overlaps, {"a": 0.5}).axes[0].lines
    assert [*low.get_xdata()] == pytest.approx([0.1])
    assert [*high.get_xdata()] == pytest.approx([0.5, 0.7])
    assert [*line.get_xdata()] == [0.5, 0.5]


def test_costs_are_written_and_the_chosen_ones_framed() -> None:
    cost = torch.tensor([[1.0, 20.0], [1e5, 0.5]])
    chosen = torch.tensor([[True, False], [False, True]])
    axes = ch12.cost_picture(cost, chosen, ["a", "b"], ["1", "2"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["1.0", "20.0", "-", "0.5"]
    (left, right) = (patch.get_center() for patch in axes.patches)
    assert [*left] == pytest.approx([0, 0]) and [*right] == pytest.approx([1, 1])


def test_the_map_has_each_method_at_its_year() -> None:
    axes = ch12.map_picture().axes[0]
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    for name, (year, height, group) in ch12.METHODS.items():
        assert texts[name] == (year, height) and group in ch12.GROUPS
    assert len(axes.lines) == len(ch12.LINKS)
    for one, other in ch12.LINKS:
        assert ch12.METHODS[one][0] < ch12.METHODS[other][0], "an heir is older"


def stored(**rows):
    return {"steps": 1000, "rows": rows}


def test_no_claim_without_five_seeds_or_with_0_in_the_interval() -> None:
    (line,) = ch12.claim_table(None)
    assert line.startswith("no claim")
    (line,) = ch12.claim_table(stored(ATSS=[40.0] * 4, FSAF=[30.0] * 4))
    assert line.startswith("no claim")
    fsaf, near, far = [30, 31, 32, 33, 34], [31, 30, 33, 32, 35], [34, 35.5, 36, 37, 38.5]
    lines = ch12.claim_table(stored(FCOS=near, ATSS=far, FSAF=fsaf))
    low, high = t_interval(torch.tensor(near).double().numpy() - torch.tensor(fsaf).numpy())
    assert f"[{low:+.1f}, {high:+.1f}]: no claim" in lines[1] and low < 0 < high
    assert lines[2].endswith("differs") and "AP 32.0" in lines[3]


def test_a_seed_s_dots_are_joined() -> None:
    rows = stored(FCOS=[1.0, 2.0], FSAF=[3.0, 4.0])
    lines = ch12.seeds_picture(rows).axes[0].lines
    assert [[*line.get_ydata()] for line in lines] == [[1.0, 3.0], [2.0, 4.0]]
    assert not ch12.seeds_picture(None).axes[0].lines


def test_frames_are_rectangles() -> None:
    axes = ch12.positives_picture(
        EXAMPLE.image, EXAMPLE.boxes, {"a": torch.full((340,), -1)}, locations(), [1]
    ).axes
    x1, y1, x2, _ = EXAMPLE.boxes[1].tolist()
    (frame,) = [patch for patch in axes[0].patches if isinstance(patch, Rectangle)]
    assert frame.get_xy() == pytest.approx((x1, y1)) and frame.get_width() == pytest.approx(x2 - x1)


@pytest.mark.slow
def test_the_command_trains_all_rows_and_finds_finished_runs(tmp_path) -> None:
    given = ["--steps", "2", "--seeds", "1", "--out", f"{tmp_path}", "--file", f"{tmp_path}/a.json"]
    first = main(given)
    assert {name: len(values) for name, values in first["rows"].items()} == dict.fromkeys(PARTS, 1)
    assert json.loads((tmp_path / "a.json").read_text()) == first == main(given)
