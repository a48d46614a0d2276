"""Chapter 09's pictures hold the numbers that the chapter computes, and each figure's still its state."""

import random

import numpy as np
import pytest
import torch
from course import ch09 as pictures
from course.figures import nms, threshold
from matplotlib.patches import Rectangle
from PIL import Image

from fsaf_core.viz.plots import draw_boxes


def boxes_of(ax) -> list[list[float]]:
    return [
        [*patch.get_xy(), patch.get_x() + patch.get_width(), patch.get_y() + patch.get_height()]
        for patch in ax.patches
        if isinstance(patch, Rectangle)
    ]


def test_candidates_are_on_the_panel_of_their_level() -> None:
    boxes = torch.tensor([[1.0, 2, 3, 4], [5, 6, 9, 9], [0, 0, 8, 8]])
    image = np.zeros((16, 16, 3), np.uint8)
    figure = pictures.candidates_by_level(image, boxes, torch.tensor([8, 16, 8]))
    assert [ax.get_title() for ax in figure.axes] == ["P3: 2 candidates", "P4: 1 candidates"]
    assert boxes_of(figure.axes[0]) == boxes[[0, 2]].tolist()
    assert boxes_of(figure.axes[1]) == boxes[[1]].tolist()


def test_three_boxes_and_detections() -> None:
    boxes = [[0, 0, 100, 10], [25, 0, 125, 10], [54, 0, 154, 10]]
    (ax,) = pictures.three_boxes(boxes, [0.9, 0.8, 0.7]).axes
    assert boxes_of(ax) == boxes
    assert [text.get_text() for text in ax.texts] == ["A 0.9", "B 0.8", "C 0.7"]
    found = torch.tensor(boxes).float(), torch.tensor([0.9, 0.8, 0.2]), torch.tensor([0, 1, 1])
    image = np.zeros((16, 160, 3), np.uint8)
    drawn = pictures.detections(image, found, ["a", "b"], 0.3)
    passed = boxes[:2], [0, 1], found[1].tolist()[:2], ["a", "b"]
    assert drawn.tobytes() == draw_boxes(Image.fromarray(image), *passed).tobytes()


def test_worked_example_links_true_positives_alone() -> None:
    objects = {"A": [(10, 10, 50, 50)], "B": [(20, 20, 60, 60)]}
    entries = [("A", 0.9, (20, 10, 60, 50)), ("B", 0.8, (40, 20, 80, 60))]
    figure = pictures.worked_example(objects, entries, [0, -1])
    assert [len(boxes_of(ax)) for ax in figure.axes] == [2, 2]
    arrows = [[text for text in ax.texts if hasattr(text, "arrow_patch")] for ax in figure.axes]
    assert [len(one) for one in arrows] == [1, 0]
    assert arrows[0][0].xy == (44, 43)  # beside the name of object a1


def test_curves_and_bars() -> None:
    precision, recall = [1, 0.5, 2 / 3], [0.5, 0.5, 1]
    (ax,) = pictures.precision_recall(precision, recall).axes
    points, steps = ax.lines
    assert points.get_ydata().tolist() == precision and points.get_xdata().tolist() == recall
    assert steps.get_ydata().tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3, 0, 0])
    curve = np.linspace(1, 0, 101)
    (ax,) = pictures.curves_by_iou({0.5: curve, 0.9: curve / 2}).axes
    assert [line.get_label() for line in ax.lines] == ["IoU 0.5: AP 50.0", "IoU 0.9: AP 25.0"]
    assert np.allclose(ax.lines[1].get_ydata(), curve / 2)
    (ax,) = pictures.loss_bars({"anchors, class": 1.5, "λ · box": 0.5}).axes
    assert [bar.get_width() for bar in ax.patches] == [1.5, 0.5]


@pytest.mark.parametrize("module", [nms, threshold], ids=lambda module: module.__name__)
def test_still_changes_with_the_state(module) -> None:
    figure, generator = module.example(), random.Random(1)
    first = str(figure.picture())
    assert figure.answer["text"] in first and "at 0x" not in repr(figure)
    figure.state = module.random_state(generator) | {"stamp": "test"}
    assert figure.answer["stamp"] == "test" and str(figure.picture()) != first


def test_nms_steps_are_torchvisions() -> None:
    figure = nms.example()
    boxes, scores = (torch.tensor(figure.setup[name]) for name in ("boxes", "scores"))
    from torchvision.ops import nms as library

    for least in (0.2, 0.5, 0.8):
        state = {"step": 99, "threshold": least, "method": "hard", "selected": -1, "stamp": "x"}
        assert figure.respond(state)["kept"] == library(boxes, scores, least).tolist()


def test_threshold_figures_ap_is_cocos() -> None:
    figure = threshold.example()
    entries = figure.answer["entries"]
    ranked = [figure.setup["found"][entry[0]][2] for entry in entries]
    assert ranked == sorted(ranked, reverse=True)
    taken = [entry[1] for entry in entries if entry[1] >= 0]
    assert len(taken) == len(set(taken)) <= figure.answer["objects"]
    hits = sum(entry[1] >= 0 for entry in entries[: figure.answer["above"]])
    assert figure.answer["text"].startswith(f"{hits} true positives")
    assert 0 <= figure.answer["cut"] <= figure.answer["ap"] <= 1
