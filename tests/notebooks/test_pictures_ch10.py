"""Chapter 10's pictures hold the numbers that the chapter computes."""

import numpy as np
import pytest
import torch
from course import ch10 as pictures

from fsaf_core.config import SCENE_CLASSES


def test_gallery_has_a_panel_for_each_cause() -> None:
    detection = {"name": "ring", "score": 0.61, "box": [2.0, 2, 12, 12]}
    one = {"image": np.zeros((64, 64, 3), np.uint8), "scene": 7, "name": "star"}
    one |= {"box": [1.0, 2, 11, 12], "detections": [detection]}
    figure = pictures.gallery({"box too poor": one, "wrong class": one})
    assert [ax.get_title() for ax in figure.axes] == [
        "box too poor\nstar, scene 7",
        "wrong class\nstar, scene 7",
    ]
    truth, other = figure.axes[0].patches
    assert (*truth.get_xy(), truth.get_width()) == (1, 2, 10) and other.get_xy() == (2, 2)
    assert "ring 0.61" in [text.get_text() for text in figure.axes[0].texts]
    assert figure.axes[0].get_xlim() == (-11, 23)  # the object with 12 pixels around it


def test_seeds_are_joined() -> None:
    rows = {"a": [1.0, 2, 3], "b": [4.0, 5, 7], "c": [6.0]}
    (ax,) = pictures.seeds(rows).axes
    *lines, means = ax.lines
    assert [
        line.get_ydata().tolist() if hasattr(line.get_ydata(), "tolist") else list(line.get_ydata())
        for line in lines
    ] == [[1, 4, 6], [2, 5], [3, 7]]
    assert list(means.get_ydata()) == pytest.approx([2, 16 / 3, 6])


def test_differences_show_both_intervals() -> None:
    one = {"values": [1.0, 2, 3], "t": (-0.5, 4.5), "bootstrap": (1.2, 2.8)}
    (ax,) = pictures.differences({"question": one}).axes
    (bar,) = ax.patches
    assert (bar.get_x(), bar.get_width()) == (-0.5, 5)
    inner, dots, zero = ax.lines
    assert list(inner.get_xdata()) == [1.2, 2.8] and list(dots.get_xdata()) == [1, 2, 3]
    assert list(zero.get_xdata()) == [0, 0]


def test_side_by_side() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    figure = pictures.side_by_side(
        {"plain": (image, [(1, 2, 4, 5)], ["star"]), "hard": (image, [], [])}
    )
    assert [ax.get_title() for ax in figure.axes] == ["plain", "hard"]
    (box,) = figure.axes[0].patches
    assert (*box.get_xy(), box.get_width(), box.get_height()) == (1, 2, 3, 3)


def test_perfect_detections_have_ap_1_and_a_missed_object_costs() -> None:
    target = {
        "boxes": torch.tensor([[1.0, 2, 30, 40], [50, 50, 90, 80]]),
        "labels": torch.tensor([3, 3]),
    }
    found = target | {"scores": torch.tensor([0.9, 0.8])}
    result = pictures.coco_of([target], [found])
    assert result["AP"] == pytest.approx(1) and result["detections"] == 2
    half = {name: value[:1] for name, value in found.items()}
    assert pictures.coco_of([target], [half])["AP50"] == pytest.approx(51 / 101)
    assert SCENE_CLASSES[3] == "star"
