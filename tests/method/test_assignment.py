"""From boxes to the maps of the losses: the batched code against plain loops, the switches, and what gradients may not do."""

import os
from dataclasses import replace

import pytest
import reference_loops
import torch
from helpers import (
    CLASSES,
    SHAPES,
    SMALL,
    labels_of,
    left_out,
    random_outputs,
    random_target,
    target,
)
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import fsaf_core as fsaf
from fsaf_core.method.assignment import look_up
from fsaf_core.method.losses import focal_loss, iou_loss

EXAMPLES = int(os.environ.get("FSAF_EXAMPLES", 500))  # random layouts; `make check` takes fewer
SIZES = [(60, 96), (50, 61)]  # the second image is smaller than the tensor of the batch, 64 x 96


@pytest.fixture(scope="module")
def detector():
    """A detector to ask for assignments and losses; its network is not used. Each test sets its config."""
    return fsaf.build_detector(SMALL)


# Corners lie on quarters of a pixel. With scales that are powers of two all edges are then exact, ties with borders of cells
# included. With the paper's 0.2 a shift keeps every edge away from those, where float32 and Python's floats may differ.
def boxes_in(height, width):
    sides = st.one_of(st.integers(1, 40), st.integers(1, 4 * width))

    @st.composite
    def one(draw):
        w, h = min(draw(sides), 4 * width), min(draw(sides), 4 * height)
        x, y = (
            draw(st.integers(-w // 2, 4 * width - w // 2)),
            draw(st.integers(-h // 2, 4 * height - h // 2)),
        )
        return x / 4, y / 4, (x + w) / 4, (y + h) / 4

    return one()


@st.composite
def image_layouts(draw, size):
    """Boxes of one image: tiny, thin, large, across the border, nested, identical, of any classes; crowds; or nothing."""
    boxes = draw(st.lists(boxes_in(*size), max_size=5))
    for like in draw(st.lists(st.sampled_from(boxes), max_size=3)) if boxes else []:
        kind = draw(st.sampled_from(["same", "inner"]))
        boxes.append(like if kind == "same" else reference_loops.scaled(like, 0.5))
    labels = draw(st.lists(st.integers(0, CLASSES - 1), min_size=len(boxes), max_size=len(boxes)))
    crowds = draw(st.lists(boxes_in(*size), max_size=1))
    return boxes, labels, crowds


layouts = st.tuples(*(image_layouts(size) for size in SIZES))


def compare(detector, config, layout, seed):
    """Twin and batched code on one batch; all that they say must be equal."""
    if config.effective_scale == 0.2:
        layout = [
            ([shifted(box) for box in boxes], labels, [shifted(box) for box in crowds])
            for boxes, labels, crowds in layout
        ]
    detector.config = config
    outputs, targets = random_outputs(seed), [target(*one) for one in layout]
    ours = detector.assign(outputs, targets, SIZES)
    losses = detector.losses(outputs, ours, targets)
    nested = [
        [level[index].tolist() for level in maps]
        for maps in (outputs.cls_logits, outputs.box_offsets)
        for index in (0, 1)
    ]
    sides = [
        tuple(target[key].tolist() for key in ("boxes", "labels", "ignored")) for target in targets
    ]
    theirs = [
        reference_loops.assign(
            config, nested[index], nested[2 + index], *sides[index], SIZES[index]
        )
        for index in (0, 1)
    ]

    cells = [
        (level, i, j)
        for level, (rows, columns) in enumerate(SHAPES)
        for i in range(rows)
        for j in range(columns)
    ]
    first = (0, len(layout[0][0]))
    masked = left_out(ours, targets)
    for index, one in enumerate(theirs):
        assigned = [one.owner[cell] + first[index] if cell in one.owner else -1 for cell in cells]
        assert ours.before_selection[index].tolist() == assigned, "assigned instances"
        mine = ours.level_losses[first[index] :][: len(one.selected)]
        want = [[losses.get(level, torch.inf) for level in range(5)] for losses in one.level_losses]
        torch.testing.assert_close(
            mine, torch.tensor(want).reshape(-1, 5), rtol=2e-5, atol=2e-6, msg="losses by level"
        )
        best = [sorted(losses.values())[:2] for losses in one.level_losses]
        assume(
            all(pair[-1] - pair[0] > 1e-4 for pair in best if len(pair) == 2)
        )  # a near tie may fall either way
        assert ours.selected_level[first[index] :][: len(one.selected)].tolist() == one.selected, (
            "selected levels"
        )
        assert ours.positive[index].tolist() == [cell in one.positive for cell in cells], (
            "positive cells"
        )
        want = [
            [cell not in one.valid or (*cell, k) in one.ignored for cell in cells]
            for k in range(CLASSES)
        ]
        assert masked[index].tolist() == want, "ignored entries"
    count = sum(len(one.positive) for one in theirs)
    if not count:
        count = (
            1
            if config.rules.no_positive_normalizer == "one"
            else sum(max(len(one.valid), 1) for one in theirs)
        )
    assert losses["af_cls"].item() == pytest.approx(
        sum(one.cls_sum for one in theirs) / count, rel=2e-5
    )
    assert losses["af_box"].item() == pytest.approx(
        sum(one.box_sum for one in theirs) / count, rel=2e-5, abs=1e-6
    )


def shifted(box):
    return box[0] + 0.0123, box[1] + 0.0123, box[2] + 0.0217, box[3] + 0.0217


quick = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow],
}


@pytest.mark.parametrize("convention", ["paper", "reference"])
@settings(max_examples=EXAMPLES, **quick)
@given(
    layout=layouts,
    seed=st.integers(0, 999),
    scales=st.sampled_from([(0.2, None), (0.2, 0.5), (0.25, 0.25), (0.25, 0.5)]),
)
def test_the_batched_code_says_what_plain_loops_say(detector, convention, layout, seed, scales):
    config = replace(
        SMALL, convention=convention, effective_scale=scales[0], ignoring_scale=scales[1] or None
    )
    compare(detector, config, layout, seed)


@settings(max_examples=EXAMPLES // 5, **quick)
@given(
    layout=layouts,
    seed=st.integers(0, 999),
    region_rounding=st.sampled_from(["floor_ceil", "overlap"]),
    ignore_levels=st.sampled_from(["adjacent", "all"]),
    same_class_overlap=st.sampled_from(["smaller_wins", "erase"]),
    cell_center=st.sampled_from([0.0, 0.5]),
)
def test_so_it_does_with_any_mixture_of_switches(detector, layout, seed, **switches):
    compare(
        detector, replace(SMALL, effective_scale=0.25, ignoring_scale=0.5, **switches), layout, seed
    )


# ------------------------------------------------------------------------------------------------------------------ switches


SCENE = [
    target([[4, 4, 60, 56], [14, 10, 50, 40], [70, 20, 90, 60], [20, 30, 44, 50]], [0, 0, 1, 2]),
    target([[10, 8, 90, 60]], [2], ignored=[[0, 0, 30, 30]]),
]


def figures(detector, config):
    """All numbers that a batch ends in: losses by level, losses, and how many entries are left out."""
    detector.config = config
    outputs = random_outputs(5)
    assignment = detector.assign(outputs, SCENE)
    losses = detector.losses(outputs, assignment, SCENE)
    numbers = [
        *assignment.level_losses.flatten().tolist(),
        *(loss.item() for loss in losses.values()),
    ]
    return [*numbers, *assignment.selected_level.tolist(), left_out(assignment, SCENE).sum().item()]


@pytest.mark.parametrize("convention", ["paper", "reference"])
@pytest.mark.parametrize(
    "switch",
    [
        {"cell_center": 0.25},
        {"ignoring_scale": 0.8},
        {"effective_scale": 0.15},
        {"selection_focal": "own"},
        {"selection": "heuristic", "heuristic_size": 16.0},
        {"offset_normalizer": 3.0},
        {"paper": {"region_rounding": "overlap"}, "reference": {"region_rounding": "floor_ceil"}},
        {"paper": {"ignore_levels": "all"}, "reference": {"ignore_levels": "adjacent"}},
        {
            "paper": {"same_class_overlap": "erase"},
            "reference": {"same_class_overlap": "smaller_wins"},
        },
    ],
    ids=lambda switch: "-".join(switch.get("paper", switch)),
)
def test_each_switch_changes_a_number(detector, convention, switch):
    plain = replace(SMALL, convention=convention)
    assert figures(detector, plain) != figures(
        detector, replace(plain, **switch.get(convention, switch))
    )


def test_a_switch_set_to_what_the_convention_says_changes_nothing(detector):
    spelled = {
        "cell_center": 0.0,
        "region_rounding": "overlap",
        "ignoring_scale": 0.2,
        "ignore_levels": "all",
        "same_class_overlap": "erase",
    }
    plain = replace(SMALL, convention="reference")
    assert figures(detector, plain) == figures(detector, replace(plain, **spelled))


@pytest.mark.parametrize("change", [{"focal_alpha": 0.5}, {"focal_gamma": 1.0}], ids=str)
def test_alpha_and_gamma_count_in_the_selection_and_in_the_losses(detector, change):
    outputs = random_outputs(5)
    detector.config = SMALL
    assignment = detector.assign(outputs, SCENE)
    loss = detector.losses(outputs, assignment, SCENE)["af_cls"]
    detector.config = replace(SMALL, **change)
    level_losses = detector.assign(outputs, SCENE).level_losses
    assert (level_losses != assignment.level_losses)[assignment.level_losses.isfinite()].all()
    assert detector.losses(outputs, assignment, SCENE)["af_cls"] != loss


# ----------------------------------------------------------------------------------------------------------------- gradients


def trained(detector, config, targets, outputs, sizes=None):
    """Assignment and losses of a batch, gradients taken."""
    detector.config = config
    assignment = detector.assign(outputs, targets, sizes)
    losses = detector.losses(outputs, assignment, targets)
    sum(losses.values()).backward()
    gradient = [
        torch.cat([level.grad.flatten(2) for level in maps], 2)
        for maps in (outputs.cls_logits, outputs.box_offsets)
    ]
    return assignment, losses, *gradient


conventions = pytest.mark.parametrize("convention", ["paper", "reference"])


@conventions
def test_a_level_that_was_not_selected_gets_exactly_no_box_gradient(detector, convention):
    assignment, _, _, box = trained(
        detector, replace(SMALL, convention=convention), SCENE, random_outputs(1)
    )
    unselected = (assignment.before_selection >= 0) & ~assignment.positive
    assert unselected.any() and assignment.positive.any()
    assert (box == 0).all(1)[~assignment.positive].all()
    assert (box != 0).any(1)[assignment.positive].all()


@conventions
def test_ignored_entries_get_exactly_no_gradient_and_all_others_some(detector, convention):
    config = replace(SMALL, convention=convention, ignoring_scale=0.5)
    assignment, _, cls, _ = trained(detector, config, SCENE, random_outputs(2), SIZES)
    masked = left_out(assignment, SCENE)
    assert masked.any() and not masked.all()
    assert (cls[masked] == 0).all() and (cls[~masked] != 0).all()


@conventions
@pytest.mark.parametrize("selection", ["online", "heuristic"])
def test_the_selection_carries_no_gradient(detector, convention, selection):
    detector.config = replace(SMALL, convention=convention, selection=selection)
    outputs = random_outputs(3)
    assignment = detector.assign(outputs, SCENE)
    tensors = [value for value in vars(assignment).values() if isinstance(value, torch.Tensor)]
    assert tensors and not any(tensor.requires_grad for tensor in tensors)
    losses = detector.losses(outputs, assignment, SCENE)
    assert all(loss.requires_grad for loss in losses.values())


def test_the_positive_entries_alone_pull_logits_up(detector):
    assignment, _, cls, _ = trained(detector, SMALL, SCENE, random_outputs(4))
    label = look_up(labels_of(SCENE), assignment.assigned, -1)
    assert torch.equal(cls < 0, torch.arange(CLASSES)[:, None] == label[:, None])


# ------------------------------------------------------------------------------------------------- what training may meet


HARD = {
    "no_box_in_the_batch": ([target([], []), target([], [])], 0.0),
    "no_box_but_crowds": (
        [target([], [], ignored=[[0, 0, 96, 64]]), target([], [], ignored=[[0, 0, 9, 9]])],
        0.0,
    ),
    "no_box_in_one_image": ([target([], []), target([[5, 5, 40, 40]], [1])], 0.0),
    "one_class_only": (
        [target([[5, 5, 40, 40], [20, 10, 60, 50], [5, 5, 40, 40]], [1, 1, 1]), target([], [])],
        0.0,
    ),
    "boxes_of_1_px": (
        [
            target([[5, 5, 6, 6], [95, 63, 96, 64], [0, 0, 1, 1]], [0, 1, 2]),
            target([[8, 8, 9, 9]], [0]),
        ],
        0.0,
    ),
    "boxes_as_large_as_the_image": (
        [target([[0, 0, 96, 64]] * 2, [0, 1]), target([[0, 0, 96, 64]], [2])],
        0.0,
    ),
    "boxes_larger_than_the_image": (
        [target([[-200, -90, 400, 300]], [0]), target([[90, 60, 900, 700]], [2])],
        0.0,
    ),
    "a_thousand_boxes": (
        [random_target(1000, 64, 96, seed=1), random_target(1000, 64, 96, seed=2)],
        0.0,
    ),
    "logits_of_plus_50": ([target([[5, 5, 40, 40]], [1]), target([], [])], 50.0),
    "logits_of_minus_50": ([target([[5, 5, 40, 40]], [1]), target([], [])], -50.0),
}


@conventions
@pytest.mark.parametrize("name", HARD)
def test_nothing_becomes_nan(detector, convention, name):
    targets, logit = HARD[name]
    outputs = random_outputs(6)
    with torch.no_grad():
        for level in outputs.cls_logits:
            level.add_(logit)
        for level in outputs.box_offsets:
            level[:, :, :1] = 0  # what the ReLU cuts off
    _, losses, cls, box = trained(detector, replace(SMALL, convention=convention), targets, outputs)
    assert all(loss.isfinite() and loss >= 0 for loss in losses.values()), losses
    assert cls.isfinite().all() and box.isfinite().all()
    if name.startswith(("no_box_in_the", "no_box_but")):
        assert losses["af_box"] == 0 and (box == 0).all()


@conventions
def test_outputs_in_bf16_give_losses_in_float32_near_those_of_float32(detector, convention):
    config = replace(SMALL, convention=convention)
    _, exact, _, _ = trained(detector, config, SCENE, random_outputs(7))
    _, half, cls, box = trained(detector, config, SCENE, random_outputs(7, dtype=torch.bfloat16))
    assert (
        cls.dtype == box.dtype == torch.bfloat16 and cls.isfinite().all() and box.isfinite().all()
    )
    for name, loss in half.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.03)


# ------------------------------------------------------------------------------------------------------------- rules, by hand


def test_a_larger_box_gives_way_and_a_later_one_of_equal_area_wins(detector):
    detector.config = SMALL
    outputs = random_outputs(8, batch=1)
    nested = detector.assign(outputs, [target([[0, 0, 96, 64], [40, 24, 56, 40]], [0, 1])])
    assert (
        nested.before_selection[0, 3 * 12 + 5] == 1
    )  # the smaller one, though it comes later and the larger one holds the cell as well
    assert nested.before_selection[0, 3 * 12 + 4] == 0
    equal = detector.assign(outputs, [target([[40, 24, 56, 40], [40, 24, 56, 40]], [0, 1])])
    assert set(equal.before_selection.unique().tolist()) == {-1, 1}
    assert equal.selected_level.tolist()[0] == -1, "a box that owns no cell is learnt at no level"


def test_the_reference_erases_cells_where_regions_of_one_class_overlap(detector):
    """[40 40 140 100] around [60 50 120 90]: of one class, the inner box loses all its cells; the paper gives them to it."""
    outputs = random_outputs(9, batch=1, shapes=((16, 20), (8, 10), (4, 5), (2, 3), (1, 2)))
    one, other, two = (
        [target([[40, 40, 140, 100], [60, 50, 120, 90]], labels)]
        for labels in ([0, 0], [1, 1], [0, 1])
    )
    for convention, targets, owns in (
        ("reference", one, False),
        ("reference", other, False),
        ("reference", two, True),
        ("paper", one, True),
    ):
        detector.config = replace(SMALL, convention=convention)
        assert (detector.assign(outputs, targets).before_selection == 1).any() == owns


def nested_pair(detector, config, labels):
    """A small box inside a large one: outputs, targets, assignment."""
    detector.config = config
    scene = [target([[8, 8, 88, 60], [36, 24, 60, 44]], labels)]
    outputs = random_outputs(9, batch=1)
    return outputs, scene, detector.assign(outputs, scene)


def test_the_reference_ignores_entries_in_the_selection_and_the_paper_does_not(detector):
    """The small box's cells lie in the large one's region: with the reference its class has no say in the small one's losses."""
    for convention, has_a_say in (("reference", False), ("paper", True)):
        outputs, scene, before = nested_pair(
            detector, replace(SMALL, convention=convention), [0, 1]
        )
        with torch.no_grad():
            for level in outputs.cls_logits:
                level[:, 0] += 5
        after = detector.assign(type(outputs)(outputs.cls_logits, outputs.box_offsets), scene)
        there = before.level_losses[1].isfinite()
        assert (
            there.any()
            and (after.level_losses[1] != before.level_losses[1])[there].any() == has_a_say
        )


def test_both_losses_have_a_say_in_the_selection(detector):
    for part, change in (("cls_logits", -3.0), ("box_offsets", 2.0)):
        outputs, scene, before = nested_pair(detector, SMALL, [0, 1])
        with torch.no_grad():
            for level in getattr(outputs, part):
                level += change
        after = detector.assign(type(outputs)(outputs.cls_logits, outputs.box_offsets), scene)
        there = before.level_losses.isfinite()
        assert (after.level_losses != before.level_losses)[there].all()


def test_the_ignored_entries_of_a_level_are_the_ignoring_region(detector):
    outputs, _, assignment = nested_pair(detector, SMALL, [0, 1])
    ignored, effective, ignoring = assignment.ignore[0], assignment.effective, assignment.ignoring
    for n in (0, 1):
        here = detector.locations(outputs).level == assignment.selected_level[n]
        assert torch.equal(ignored[n, here], ignoring[n, here]) and not torch.equal(
            effective[n, here], ignoring[n, here]
        )


def test_the_paper_ignores_an_instance_at_its_selected_level_and_those_beside_it(detector):
    outputs, _, assignment = nested_pair(detector, SMALL, [0, 1])
    ignored, level_of = assignment.ignore[0], detector.locations(outputs).level
    for n in (0, 1):
        chosen = assignment.selected_level[n].item()
        levels = {level for level in range(5) if ignored[n, level_of == level].any()}
        assert levels == {level for level in (chosen - 1, chosen, chosen + 1) if 0 <= level < 5}


def test_the_reference_ignores_an_instance_at_every_level(detector):
    config = replace(SMALL, convention="reference", ignoring_scale=0.5)
    outputs, _, assignment = nested_pair(detector, config, [0, 1])
    level_of = detector.locations(outputs).level
    assert set(level_of[assignment.ignoring[0]].tolist()) == {0, 1, 2, 3, 4}
    assert torch.equal(assignment.ignore[0, :2], assignment.ignoring)


def test_the_paper_ignores_nothing_for_an_instance_that_owns_no_cell(detector):
    """Of two identical boxes the first owns nothing; it is of another class."""
    detector.config = SMALL
    assignment = detector.assign(random_outputs(9, batch=1), [target([[8, 8, 40, 40]] * 2, [0, 1])])
    assert assignment.selected_level.tolist()[0] == -1
    ignored = assignment.ignore[0]
    assert not ignored[0].any() and ignored[1].any()


def test_equal_classes_of_different_images_do_not_meet(detector):
    detector.config = replace(SMALL, convention="reference")
    both = detector.assign(random_outputs(10), [target([[8, 8, 60, 60]], [0])] * 2)
    first, second = both.before_selection
    assert set(first.tolist()) == {-1, 0} and set(second.tolist()) == {-1, 1}
    assert torch.equal(first >= 0, second >= 0)


def test_a_crowds_inner_half_is_neither_positive_nor_negative(detector):
    detector.config = SMALL
    without = detector.assign(random_outputs(11, batch=1), [target([[16, 16, 80, 56]], [0])])
    crowded = detector.assign(
        random_outputs(11, batch=1), [target([[16, 16, 80, 56]], [0], ignored=[[0, 0, 96, 64]])]
    )
    assert without.valid is None
    x, y = detector.locations(random_outputs(11)).centers.unbind(1)
    inner = (x > 24) & (x < 72) & (y > 16) & (y < 48)
    assert torch.equal(crowded.valid[0], ~inner)
    assert (
        not (crowded.before_selection[0, inner] >= 0).any()
        and (without.before_selection[0, inner] >= 0).any()
    )


def test_a_crowd_in_one_image_leaves_the_padding_of_another_invalid(detector):
    detector.config = SMALL
    crowded = [target([], [], ignored=[[0, 0, 96, 64]]), target([], [])]
    plain = detector.assign(random_outputs(11), [target([], [])] * 2, SIZES).valid
    valid = detector.assign(random_outputs(11), crowded, SIZES).valid
    assert (
        not plain[1].all() and torch.equal(valid[1], plain[1]) and valid[0].sum() < plain[0].sum()
    )


def test_positives_divide_both_losses_and_without_any_each_convention_has_its_own_divisor(detector):
    outputs, none = random_outputs(12), [target([], []), target([], [], ignored=[[0, 0, 96, 64]])]
    whole = {}
    for convention in ("paper", "reference"):
        detector.config = replace(SMALL, convention=convention, cell_center=0.5)
        assignment = detector.assign(outputs, none)
        whole[convention] = detector.losses(outputs, assignment, none)["af_cls"]
    cells = assignment.assigned.numel() - (~assignment.valid).sum()
    assert (~assignment.valid).any()
    torch.testing.assert_close(whole["paper"], whole["reference"] * cells)


def test_the_losses_are_sums_over_valid_cells_and_over_positive_cells_divided_by_the_positives(
    detector,
):
    detector.config = SMALL
    outputs, grounded = (
        random_outputs(12),
        [*SCENE[:1], target([[10, 8, 90, 60]], [2], ignored=[[0, 0, 30, 30]])],
    )
    assignment = detector.assign(outputs, grounded)
    losses = detector.losses(outputs, assignment, grounded)
    predictions = detector.predictions(outputs)
    label = look_up(labels_of(grounded), assignment.assigned, -1)
    focal = focal_loss(predictions.logits, label, assignment.ignore)
    boxes = torch.cat([one["boxes"] for one in grounded])
    box = iou_loss(predictions.boxes, look_up(boxes, assignment.assigned, 0))
    positives = assignment.positive.sum()
    assert not assignment.valid.all() and 0 < positives < (assignment.before_selection >= 0).sum()
    torch.testing.assert_close(losses["af_cls"], focal[assignment.valid].sum() / positives)
    torch.testing.assert_close(losses["af_box"], box[assignment.positive].sum() / positives)


def test_the_reference_divides_by_the_valid_cells_and_at_least_one_an_image_where_nothing_is_positive(
    detector,
):
    detector.config = replace(SMALL, convention="reference")
    assignment = detector.assign(random_outputs(12), [target([], [])] * 2)
    valid = torch.zeros_like(assignment.positive)
    valid[0, :7] = True
    for now, divisor in ((None, assignment.positive.numel()), (valid, 7 + 1)):
        assert detector.normalizer(replace(assignment, valid=now)).item() == divisor


def test_lambda_scales_the_anchor_free_losses(detector):
    outputs = random_outputs(13)
    values = []
    for weight in (None, 0.5):
        detector.config = replace(SMALL, loss_weight=weight)
        values.append(detector.losses(outputs, detector.assign(outputs, SCENE), SCENE))
    assert all(
        values[1][name].item() == pytest.approx(0.5 * values[0][name].item())
        for name in ("af_cls", "af_box")
    )


def test_an_image_means_the_same_alone_and_in_a_batch_with_a_larger_one(detector):
    """Cells beyond an image's own padded size carry nothing, so only the other image's loss is added."""
    detector.config = SMALL
    boxes = [[3, 4, 40, 50], [30, 30, 58, 49], [40, 30, 90, 80]]  # the last crosses the border
    outputs, small = random_outputs(14), target(boxes, [0, 2, 1])
    both = detector.assign(outputs, [SCENE[0], small], [(64, 96), (50, 61)])
    shapes = ((8, 8), (4, 4), (2, 2), (1, 1), (1, 1))
    cut = [
        [level[1:, :, :rows, :columns] for level, (rows, columns) in zip(maps, shapes)]
        for maps in vars_of(outputs)
    ]
    alone = detector.assign(type(outputs)(*cut), [small], [(50, 61)])
    torch.testing.assert_close(both.level_losses[4:], alone.level_losses)
    assert both.selected_level[4:].tolist() == alone.selected_level.tolist()
    assert both.valid[1].sum() == alone.assigned.numel()
    assert (
        both.positive[1].sum() == alone.positive.sum()
        and not both.positive[1, ~both.valid[1]].any()
    )


@pytest.mark.parametrize("center", [0.0, 0.1, 0.3, 0.5, 0.7, 1.0])
def test_the_padding_is_the_same_for_every_center_of_a_cell(center, detector):
    detector.config = replace(SMALL, cell_center=center)
    nothing = [target([], [])] * 2
    valid = detector.assign(random_outputs(2), nothing, [(64, 96), (50, 61)]).valid
    assert valid[1].sum() == 8 * 8 + 4 * 4 + 2 * 2 + 1 + 1


def vars_of(outputs):
    return outputs.cls_logits, outputs.box_offsets


def test_targets_without_crowds_need_not_say_so(detector):
    detector.config = SMALL
    outputs, bare = (
        random_outputs(15),
        [{key: one[key] for key in ("boxes", "labels")} for one in (SCENE[0], SCENE[0])],
    )
    said = [SCENE[0], SCENE[0]]
    assert torch.equal(
        detector.assign(outputs, bare).assigned, detector.assign(outputs, said).assigned
    )
