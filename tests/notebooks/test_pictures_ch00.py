"""Pictures of chapter 00: the marks of the loss table, and the losses of the figure `first_guess`."""

import re

import torch
from course import ch00, scene, snapshots
from course.figures import first_guess
from matplotlib.patches import Rectangle

import fsaf_core as fsaf


def test_the_loss_table_shows_each_loss_the_selected_level_and_the_heuristic_s() -> None:
    losses = torch.tensor([[0.104, 2.03, 3.3], [1.5, 0.251, torch.inf]])
    (axes,) = ch00.loss_table(losses, [0, 1], [0, 0], ["square", "star"]).axes
    texts = {tuple(round(at) for at in text.get_position()): text.get_text() for text in axes.texts}
    assert texts[0, 0] == "0.10  ▲" and texts[1, 0] == "2.03"
    assert texts[0, 1] == "1.50  ▲" and texts[1, 1] == "0.25" and texts[2, 1] == "no location"
    frames = [
        tuple(patch.get_center().round()) for patch in axes.patches if isinstance(patch, Rectangle)
    ]
    assert frames == [(0, 0), (1, 1)]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["square", "star"]
    shade = axes.images[0].get_array()
    assert shade[0, 0] < shade[1, 1] < shade[1, 0] < shade[0, 1] < shade[0, 2]


def test_first_guess_shows_the_losses_that_assign_computes() -> None:
    figure, example, history = first_guess.example(), scene(), snapshots()
    detector = fsaf.build_detector(history.config)
    for answer, outputs in zip(figure.history, history.outputs, strict=True):
        assignment = detector.assign(outputs, example.targets)
        losses = torch.tensor([level["loss"] for level in answer["levels"]])
        torch.testing.assert_close(losses, assignment.level_losses[example.star])
        selected = int(assignment.selected_level[example.star]) + history.config.first_level
        assert answer["selected"][example.star] == selected


def test_the_hook_of_the_course_holds() -> None:
    """The trained network selects another level for the star than the size heuristic names."""
    figure, star = first_guess.example(), scene().star
    assert figure.winners[-1] != figure.history[-1]["heuristic"][star]


def test_the_still_has_a_star_where_the_selected_level_changes() -> None:
    figure = first_guess.example()
    still = str(figure.picture())
    changes = sum(one != other for one, other in zip(figure.winners, figure.winners[1:]))
    assert still.count(">★<") == changes
    assert len(re.findall("<polyline", still)) == len(figure.setup["levels"])
    assert ", ".join(f"P{level}" for level in figure.winners) in still


def test_a_guess_is_told_right_or_wrong() -> None:
    figure = first_guess.example()
    right = figure.winners[-1]
    for guess in figure.setup["levels"]:
        says = figure.respond(figure.state | {"guess": guess, "stamp": "x"})["says"]
        assert says.startswith("Right" if guess == right else f"You chose P{guess}")
        assert f"the network selects P{right}." in says
    played = figure.respond(figure.state | {"guess": right, "snapshot": 0, "stamp": "x"})["says"]
    assert played.startswith("After step 0 ") and played.endswith("0 times so far.")
