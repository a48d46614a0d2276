"""The `reference` convention against numbers recorded from MMDetection's own FSAF (mmdet 3.3.0, float32, CPU, one thread).

The records lie beside this file; `recipe.py` remakes weights and images. What is too large to keep or not ours to pass on (whole
maps of features, a photograph) lies in a folder that FSAF_TEST_REFERENCE names; without it those tests are skipped.

Tolerances. Both sides compute in float32, and each CPU adds up in its own order. A float32
operation is off by at most U = 2^-24 of its result. A convolution adds up to 4,608 products in
blocks, which leaves a few U, say 8, with a random sign. Through the 60 layers of the deepest
network these grow to sqrt(60) * 8 = 62 U. So each side is within 64 U of the exact value, and both
within NETWORK = 128 U of each other: 7.6e-6. This holds for sums over many locations and for
gradient norms. A ReLU whose input lies within rounding of 0 may open on one CPU and stay shut on
another: 20 of the 8 million of a case lie within 64 U of a standard deviation. One that flipped
(ATEN_CPU_CAPABILITY=default, ONEDNN_MAX_CPU_ISA=AVX2) moved the norm of one parameter's gradient by
8e-6 of the *total* norm; 20 with random signs move it by sqrt(20) * 8e-6 = FLIPS, which is allowed
in addition. -ln IoU multiplies errors where boxes hardly overlap: `iou_condition`.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import recipe
import torch
from cases import (
    CASES,
    FLIPS,
    MAPS,
    NETWORK,
    as_targets,
    by_level,
    figures,
    make_detector,
    recorded_levels,
    run,
)
from helpers import left_out

from fsaf_core.config import TrainConfig
from fsaf_core.data.images import load_image
from fsaf_core.data.transforms import resize
from fsaf_core.method.assignment import look_up
from fsaf_core.method.selection import instance_level_losses
from fsaf_core.weights.inference import for_inference

cases = pytest.mark.parametrize("name", CASES)
mapped = pytest.mark.parametrize("name", sorted(MAPS))


def iou_condition(name):
    """Return (B, R): by how much -ln IoU of each assigned location multiplies a relative error of its four distances.

    The overlap is w x h and the distances are l t r b, so w is off by at most the errors of l and r, and
    |d ln(w h)| <= (l + r) / w + (t + b) / h. The union is off by no more: hence the factor 2.
    """
    case = run(name, torch.float64)
    boxes, assigned = case.predictions.boxes.detach(), case.assignment.before_selection
    target = look_up(torch.cat([one["boxes"] for one in case.targets]).double(), assigned, 0)
    sides = boxes[..., 2:] - boxes[..., :2]
    overlap = torch.minimum(boxes, target)[..., 2:] - torch.maximum(boxes, target)[..., :2]
    condition = 2 * (sides / overlap).sum(2)
    return condition.masked_fill((overlap <= 0).any(2) | (assigned < 0), 0)  # no overlap: constant


def level_bound(name):
    """Return (N, L): how far two float32 results of each level loss may be apart."""
    case = run(name, torch.float64)
    losses, assigned = case.assignment.level_losses, case.assignment.before_selection
    condition = instance_level_losses(iou_condition(name), assigned, case.locations, len(losses))
    # The focal part: d ln(p^2 ln(1 - p)) <= 3 |x| dx / x for a logit x, and |x| is below 10 here.
    return NETWORK * (condition + 30 * losses).nan_to_num(posinf=0)


def unrolled(pairs):
    value, count = torch.tensor(pairs).unbind(1)
    return torch.repeat_interleave(value, count)


# ---------------------------------------------------------------------------------------------------------------- assignment


@cases
def test_the_network_gives_the_references_features_and_outputs_on_average(name):
    case = run(name)
    assert list(case.tensor.shape) == case.want["input_shape"]
    for maps, key in (
        (case.outputs.cls_logits, "cls_logits_mean"),
        (case.outputs.box_offsets, "box_outputs_mean"),
    ):
        assert [level.double().mean().item() for level in maps] == pytest.approx(
            case.want[key], rel=NETWORK, abs=1e-6
        )


@cases
def test_losses_of_each_instance_at_each_level(name):
    case = run(name)
    want, ours = recorded_levels(case.want), case.assignment.level_losses.double()
    assert torch.equal(ours.isinf(), want.isinf()), (
        "an instance has cells at other levels than the reference's"
    )
    there = want.isfinite()
    assert ((ours - want).abs()[there] <= level_bound(name)[there]).all()


@cases
def test_selected_levels_are_equal(name):
    case = run(name)
    assert case.assignment.selected_level.tolist() == [
        -1 if level is None else level for level in case.want["selected_level"]
    ]


@cases
def test_positive_cells_by_level_before_and_after_the_selection(name):
    case = run(name)
    assert (
        by_level(case.assignment.before_selection >= 0, case.locations)
        == case.want["positives_by_level_before"]
    )
    assert (
        by_level(case.assignment.positive, case.locations) == case.want["positives_by_level_after"]
    )
    assert (
        case.assignment.num_positive.item() / len(case.tensor) == case.want["positives_per_image"]
    )


@cases
def test_ignored_entries_by_level(name):
    case = run(name)
    assert (
        by_level(left_out(case.assignment, case.targets, every_level=True), case.locations)
        == case.want["ignored_entries_by_level"]
    )


@mapped
def test_every_cells_instance_is_the_references(name):
    case = run(name)
    first = torch.tensor([0] + [len(target["boxes"]) for target in case.want["targets"]]).cumsum(0)[
        :-1, None
    ]
    ours = case.assignment.before_selection
    recorded = unrolled(MAPS[name]["owner"]).view_as(ours)  # 1 + instance of its image, 0: none
    assert torch.equal(ours, torch.where(recorded > 0, recorded - 1 + first, -1))


@mapped
def test_every_ignored_entry_is_the_references(name):
    case = run(name)
    ours = left_out(case.assignment, case.targets, every_level=True)
    assert torch.equal(ours, unrolled(MAPS[name]["ignored"]).view_as(ours).bool())


# ------------------------------------------------------------------------------------------------- losses, gradients, detections


@cases
def test_losses(name):
    case = run(name)
    assert case.losses["af_cls"] == pytest.approx(case.want["loss_cls"], rel=NETWORK)
    assert case.losses["af_box"] == pytest.approx(case.want["loss_box"], rel=NETWORK)


@cases
def test_the_gradients_norm(name):
    case = run(name)
    assert case.total == pytest.approx(case.want["grad_norm_total"], rel=NETWORK)


@cases
def test_the_gradient_of_each_parameter(name):
    case = run(name)
    total = case.want["grad_norm_total"]
    ours = {key: case.norms[key] for key in case.want["grad_norms"]}
    assert ours == pytest.approx(case.want["grad_norms"], rel=NETWORK, abs=FLIPS * total)


def test_our_distance_from_float64_is_at_most_twice_the_references():
    """The same inputs in float64 are the measure. Distances are in units of each bound."""
    ours, theirs = [], []
    for name in CASES:
        exact, case = run(name, torch.float64), run(name)
        losses = [("af_cls", "loss_cls"), ("af_box", "loss_box")]
        rows = [
            (case.losses[own], case.want[key], exact.losses[own], NETWORK * exact.losses[own])
            for own, key in losses
        ]
        rows.append((case.total, case.want["grad_norm_total"], exact.total, NETWORK * exact.total))
        for key, norm in case.want["grad_norms"].items():
            rows.append(
                (
                    case.norms[key],
                    norm,
                    exact.norms[key],
                    NETWORK * exact.norms[key] + FLIPS * exact.total,
                )
            )
        want, level_losses = recorded_levels(case.want), case.assignment.level_losses.double()
        there = want.isfinite()
        rows += zip(
            *(
                part[there].tolist()
                for part in (level_losses, want, exact.assignment.level_losses, level_bound(name))
            )
        )
        ours += [abs(mine - true) / bound for mine, _, true, bound in rows if bound]
        theirs += [abs(recorded - true) / bound for _, recorded, true, bound in rows if bound]
    assert max(theirs) <= 1, "the bounds are too tight: not even the reference is within them"
    assert max(ours) <= 2 * max(theirs)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX2", reason="torch.randn runs other code here"
)
@pytest.mark.parametrize("count", [5, 16, 17, 1000, 100_003])
def test_the_recipes_noise_is_that_of_torch_randn(count):
    assert torch.equal(
        recipe.normal((count,), 7), torch.randn(count, generator=torch.Generator().manual_seed(7))
    )


def assert_detections(found, want):
    for ours, recorded in zip(found, want, strict=True):
        first = len(recorded["boxes"])
        assert len(ours["boxes"]) == recorded["count"]
        assert ours["labels"][:first].tolist() == recorded["labels"]
        # A logit below 10 is off by at most 10 * NETWORK, and a sigmoid's slope is at most 1 / 4.
        assert ours["scores"][:first].tolist() == pytest.approx(
            recorded["scores"], abs=2.5 * NETWORK
        )
        # Records keep 3 decimals. Distances below 200 px are off by at most 200 * NETWORK.
        torch.testing.assert_close(
            ours["boxes"][:first], torch.tensor(recorded["boxes"]).reshape(-1, 4), rtol=0, atol=2e-3
        )


@cases
def test_detections(name):
    assert_detections(run(name).found, run(name).want["detections"])


@cases
def test_detections_of_the_copy_for_inference(name):
    """Folding rounds each weight of a convolution once more, which the few U of its sum include."""
    case = run(name)
    fast = for_inference(make_detector(case.want))
    sizes = [tuple(one["img_shape"]) for one in case.want["targets"]]
    with torch.no_grad():
        found = fast.postprocess(fast.head_outputs(case.tensor), sizes)
    assert_detections(found, case.want["detections"])


# ------------------------------------------------------------------------------------------------------------------ training


def follow(detector, step):
    """Follow ten recorded steps from the recorded weights; `step` moves ours.

    Ours run in float64, so that they are the same on every CPU. The record ran in float32. A ReLU near 0 that rounds to the other
    side moves its weights, and from step to step the distance grows: it is 2e-7 at first, 4e-5 after three steps, 8e-3 after
    nine, which is about threefold a step. A float32 run of ours differs from the record by as much on a CPU without AVX2, and by
    less than 1e-6 with it.
    """
    want = figures("trajectory")["steps"]
    for index, one in enumerate(want):
        outputs = detector.head_outputs(recipe.normal_images(2, 128, 160, one["seed"]).double())
        targets = as_targets(one["targets"])
        losses = detector.losses(outputs, detector.assign(outputs, targets), targets)
        detector.zero_grad()
        sum(losses.values()).backward()
        norm = sum(
            (p.grad.double() ** 2).sum() for p in detector.parameters() if p.grad is not None
        ).sqrt()
        ours = losses["af_cls"].item(), losses["af_box"].item(), norm.item()
        recorded = one["loss_cls"], one["loss_box"], one["grad_norm_before_clip"]
        assert ours == pytest.approx(recorded, rel=NETWORK * 3**index), f"step {index}"
        step()
    assert index == 9


def test_ten_training_steps_follow_the_references_losses():
    detector = make_detector(figures("trajectory")).train().double()
    trained = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.002, momentum=0.9, weight_decay=1e-4)

    def step():
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        optimizer.step()

    follow(detector, step)


def test_ten_training_steps_with_our_optimiser_follow_the_references_losses():
    optim = pytest.importorskip("fsaf_core.engine.optim")
    detector = make_detector(figures("trajectory")).train().double()
    config = TrainConfig(lr=0.002, batch_size=16, warmup_steps=1, clip_norm=10.0, milestones=())
    optimizer = optim.build_optimizer(config, detector)

    def step():
        optim.set_rate(optimizer, optim.learning_rate(config, 0, 10))
        optim.clip_gradients(optimizer, config.clip_norm)
        optimizer.step()

    follow(detector, step)


# ------------------------------------------------------------------------------------- whole maps, and from a file to detections


@pytest.fixture(scope="session")
def folder():
    if "FSAF_TEST_REFERENCE" not in os.environ:
        pytest.skip("FSAF_TEST_REFERENCE names no folder with the reference's maps and photograph")
    return Path(os.environ["FSAF_TEST_REFERENCE"])


@mapped
def test_every_feature_output_and_detection_is_the_references(name, folder):
    case, want = run(name), np.load(folder / f"{name}.npz")
    for index, level in enumerate(range(3, 8)):
        ours = (
            case.levels[index],
            case.outputs.cls_logits[index],
            case.outputs.box_offsets[index][:, [1, 3, 0, 2]],
        )
        for tensor, key in zip(ours, ("fpn", "cls_logits", "box_outputs_tblr")):
            torch.testing.assert_close(
                tensor.detach(), torch.from_numpy(want[f"{key}_P{level}"]), rtol=1e-4, atol=2e-5
            )
    for index, found in enumerate(case.found):
        theirs = torch.from_numpy(want[f"detections_{index}"])
        assert found["labels"].tolist() == theirs[:, 5].long().tolist()
        torch.testing.assert_close(found["scores"], theirs[:, 4], rtol=0, atol=1e-6)
        torch.testing.assert_close(found["boxes"], theirs[:, :4], rtol=0, atol=1e-3)


def opencv_resized(folder, height, width):
    """The photograph as the reference sees it: OpenCV's file reading and bilinear resize, RGB (3, h, w)."""
    cv2 = pytest.importorskip("cv2")
    picture = cv2.resize(
        cv2.imread(str(folder / "photo.jpg")), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return torch.from_numpy(np.ascontiguousarray(picture[..., ::-1])).permute(2, 0, 1)


@pytest.mark.parametrize("scale", ["1333x800", "666x400"])
def test_a_photographs_detections_in_its_own_pixels(scale, folder):
    photo = figures("photo")
    want, detector = photo["runs"][scale], make_detector(photo).eval()
    picture = opencv_resized(folder, *want["resized"])
    assert picture.double().mean((1, 2)).tolist() == pytest.approx(
        want["resized_mean_rgb"], abs=1e-6
    )
    batch = detector.preprocess([picture])
    assert list(batch.tensor.shape[2:]) == want["padded"]
    height, width = photo["size"]
    scales = [(picture.shape[2] / width, picture.shape[1] / height)]
    found = detector.postprocess(detector.head_outputs(batch.tensor), batch.sizes, scales)[0]
    assert len(found["boxes"]) == want["count"] and found["labels"].tolist() == want["labels"]
    torch.testing.assert_close(found["boxes"], torch.tensor(want["boxes"]), rtol=0, atol=2e-3)


@pytest.mark.parametrize("scale", ["1333x800", "666x400"])
def test_our_resize_of_a_photograph_is_opencvs_within_a_grey_level(scale, folder):
    long, short = map(int, scale.split("x"))
    ours = resize(
        torch.from_numpy(np.array(load_image(folder / "photo.jpg"))).permute(2, 0, 1), short, long
    )
    theirs = opencv_resized(folder, *ours.shape[1:])
    difference = (ours.int() - theirs.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() <= 0.08


def test_predict_of_the_photographs_file_is_its_stages_one_by_one(folder):
    detector = make_detector(figures("photo")).eval()
    picture = torch.from_numpy(np.array(load_image(folder / "photo.jpg"))).permute(2, 0, 1)
    small = resize(picture, 800, 1333)
    batch = detector.preprocess([small])
    want = detector.postprocess(detector.head_outputs(batch.tensor), batch.sizes, [(0.8, 0.8)])[0]
    found = detector.predict(folder / "photo.jpg")
    torch.testing.assert_close(found["boxes"], want["boxes"], rtol=0, atol=1e-3)
    assert found["names"] == [f"class_{label}" for label in want["labels"].tolist()]
