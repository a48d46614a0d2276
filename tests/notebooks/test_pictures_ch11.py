"""Pictures and progress bar of chapter 11."""

import pytest
import torch
from course import ch11, scene


@pytest.mark.parametrize("steps", [1, 7, 40, 320])
def test_the_progress_bar_ends_with_all_its_marks(capsys, steps: int) -> None:
    assert list(ch11.progress(steps)) == list(range(steps))
    printed = capsys.readouterr().out
    assert printed == f"{steps} steps {'█' * ch11.MARKS} done\n"


def test_the_progress_bar_grows_on_the_way(capsys) -> None:
    seen = []
    for step in ch11.progress(80):
        if step in (20, 40, 60):
            seen.append(capsys.readouterr().out.count("█"))
    assert seen == [10, 10, 10]


def test_each_location_has_its_mark() -> None:
    example = scene()
    centers = [torch.tensor([[8.0, 56.0], [24.0, 56.0]]), torch.tensor([[16.0, 48.0]])]
    drawing = ch11.locations(example.image, example.boxes[example.star], centers)
    assert "2 locations of P4" in drawing.alt and "1 of P5" in drawing.alt
    text = str(drawing)
    assert text.count("<circle") == 3 and 'cx="24" cy="168" r="4"' in text
    assert 'cx="48" cy="144" r="9"' in text


def test_bars_are_the_shares() -> None:
    shares = torch.tensor([[0.5, 0.25, 0.25], [0.75, 0.25, 0.0]])
    (axes,) = ch11.selected_levels(shares, [10, 30]).axes
    heights = torch.tensor([bar.get_height() for bar in axes.patches]).view(3, 2)
    torch.testing.assert_close(heights.T, shares, check_dtype=False)
    bottoms = torch.tensor([bar.get_y() for bar in axes.patches]).view(3, 2).T
    expected = shares.cumsum(1)[:, :-1]
    torch.testing.assert_close(bottoms[:, 1:], expected, check_dtype=False)


def test_each_detection_has_its_box_and_name() -> None:
    images = [torch.zeros(3, 8, 8, dtype=torch.uint8)] * 2
    none = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long()
    one = torch.tensor([[1.0, 2.0, 5.0, 7.0]]), torch.tensor([0.5]), torch.tensor([1])
    first, second = ch11.detections(images, [none, one], ("a", "b")).axes
    assert not first.patches
    (box,) = second.patches
    assert (*box.get_xy(), box.get_width(), box.get_height()) == (1, 2, 4, 5)
    assert box.get_linewidth() == pytest.approx(1.5)
    assert [text.get_text() for text in second.texts] == ["b"]
