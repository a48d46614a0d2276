"""The whole detector and its contract: images to losses, images to detections, each stage alone, siblings."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import SHAPES, SMALL, random_outputs, random_target, target
from PIL import Image
from torch import nn
from torchvision.ops import box_iou
from torchvision.tv_tensors import Image as Picture

import fsaf_core as fsaf
from fsaf_core.config import COCO_CLASSES, FSAFError, TrainConfig
from fsaf_core.data.transforms import resize
from fsaf_core.engine.training_step import TrainingStep
from fsaf_core.model.structures import HeadOutputs

TINY = replace(
    SMALL, backbone_norm="batch", frozen_stages=0, short_side=64, long_side=128, score_thresh=0.005
)
BRANCHES = {"anchor_free": ("af_cls", "af_box"), "anchor_based": ("ab_cls", "ab_box")}
BRANCHES["joint"] = BRANCHES["anchor_free"] + BRANCHES["anchor_based"]


def make(config=TINY, seed=0):
    torch.manual_seed(seed)
    return fsaf.build_detector(config)


def images(*sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, *size, generator=generator) for size in sizes]


TWO = images((60, 96), (50, 61))
TARGETS = [target([[5, 5, 60, 50], [30, 10, 40, 22]], [0, 2]), target([[3, 4, 50, 45]], [1])]


@pytest.fixture(scope="module")
def trained():
    """A detector whose scores differ from each other, so that there are detections."""
    detector = make(replace(TINY, branches="joint")).eval()
    with torch.no_grad():
        for conv in (detector.network.head.af_cls, detector.network.head.ab_cls):
            nn.init.normal_(conv.weight, std=0.4)
            nn.init.constant_(conv.bias, -3.0)
    return detector


# ------------------------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("branches", BRANCHES)
def test_training_gives_named_losses_whose_sum_reaches_every_trained_parameter(branches):
    detector = make(replace(TINY, branches=branches)).train()
    losses = detector(TWO, TARGETS)
    assert tuple(losses) == BRANCHES[branches]
    assert all(
        loss.shape == () and loss.dtype == torch.float32 and loss > 0 for loss in losses.values()
    )
    sum(losses.values()).backward()
    without = [name for name, parameter in detector.named_parameters() if parameter.grad is None]
    assert without == []


def test_lambda_is_applied_beside_the_anchors():
    joint = make(replace(TINY, branches="joint", backbone_norm="frozen")).train()
    alone = make(replace(TINY, backbone_norm="frozen")).train()
    alone.load_state_dict(joint.state_dict(), strict=False)
    both, one = joint(TWO, TARGETS), alone(TWO, TARGETS)
    for name in ("af_cls", "af_box"):
        assert both[name].item() == pytest.approx(0.5 * one[name].item(), rel=1e-5)


@pytest.mark.parametrize("branches", BRANCHES)
@pytest.mark.parametrize("convention", ["paper", "reference"])
def test_a_batch_without_any_box_trains(branches, convention):
    detector = make(replace(TINY, branches=branches, convention=convention)).train()
    losses = detector(TWO, [target([], []), target([], [])])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(value == 0 for name, value in losses.items() if name.endswith("box"))
    assert all(
        parameter.grad.isfinite().all()
        for parameter in detector.parameters()
        if parameter.grad is not None
    )


def test_the_stages_called_alone_give_what_the_whole_gives():
    detector = make(replace(TINY, branches="joint", backbone_norm="frozen")).train()
    batch = detector.preprocess(TWO)
    outputs = detector.head_outputs(batch.tensor)
    assignment = detector.assign(outputs, TARGETS, batch.sizes)
    losses = detector.losses(outputs, assignment, TARGETS)
    whole = detector(TWO, TARGETS)
    assert {name: loss.item() for name, loss in losses.items()} == {
        name: loss.item() for name, loss in whole.items()
    }


def test_a_training_step_and_the_detector_are_one_path():
    detector = make(replace(TINY, branches="joint", backbone_norm="frozen")).train()
    step = TrainingStep(detector, TrainConfig())
    losses, counts = step(TWO, TARGETS)
    assert {name: loss.item() for name, loss in losses.items()} == {
        name: loss.item() for name, loss in detector(TWO, TARGETS).items()
    }
    assert counts["positives"] > 0
    outside = [target([[200, 5, 260, 50]], [0]), target([], [])]
    for run in (step, detector):
        with pytest.raises(FSAFError, match=r"targets\[0\]\['boxes'\]\[0\].* outside its image"):
            run(TWO, outside)
        with pytest.raises(FSAFError, match="2 images came with 1 targets"):
            run(TWO, outside[:1])


def test_an_assignment_says_losses_levels_and_regions_of_each_instance():
    detector = make(TINY).train()
    outputs = detector.head_outputs(detector.preprocess(TWO).tensor)
    assignment = detector.assign(outputs, TARGETS)
    assert assignment.level_losses.shape == (3, 5) and assignment.selected_level.shape == (3,)
    assert torch.equal(assignment.selected_level, assignment.level_losses.argmin(1))
    effective, ignoring = assignment.effective, assignment.ignoring
    assert effective.shape == ignoring.shape == (3, sum(rows * columns for rows, columns in SHAPES))
    assert (effective <= ignoring).all()
    with pytest.raises(dataclasses.FrozenInstanceError):
        assignment.assigned = None


def outputs_of(offsets, shapes=SHAPES):
    """Outputs of one image: the logit of class k is k, and all locations have the box outputs `offsets`."""
    cls = [torch.arange(3.0)[None, :, None, None].expand(1, 3, *shape) for shape in shapes]
    box = [torch.tensor(offsets)[None, :, None, None].expand(1, 4, *shape) for shape in shapes]
    return HeadOutputs(cls, box)


def test_predictions_are_the_logits_and_the_decoded_boxes_of_all_locations():
    """The first location of P4 has its center at (8, 8); its offsets are in units of 4 * 16 pixels."""
    predictions = make().predictions(outputs_of([0.25, 0.5, 0.0, 1.0]))
    first = SHAPES[0][0] * SHAPES[0][1]
    assert predictions.logits.shape == (1, 3, 129) and predictions.boxes.shape == (1, 129, 4)
    assert predictions.logits[0, :, first].tolist() == [0, 1, 2]
    assert predictions.boxes[0, first].tolist() == [8 - 16, 8 - 32, 8, 8 + 64]


def test_the_reference_takes_box_outputs_as_at_least_a_ten_thousandth():
    for convention, side in (("paper", 0.0), ("reference", 2 * 1e-4 * 32)):
        boxes = make(replace(TINY, convention=convention)).predictions(outputs_of([0.0] * 4)).boxes
        sides = boxes[0, 0, 2:] - boxes[0, 0, :2]
        assert sides.tolist() == pytest.approx([side, side])


def test_without_an_anchor_free_branch_there_is_no_assignment():
    detector = make(replace(TINY, branches="anchor_based")).train()
    outputs = detector.head_outputs(detector.preprocess(TWO).tensor)
    assert outputs.cls_logits == [] and detector.assign(outputs, TARGETS) is None
    assert set(detector.losses(outputs, None, TARGETS)) == {"ab_cls", "ab_box"}


def test_training_without_targets_is_a_users_fault():
    with pytest.raises(FSAFError, match="training mode and got no targets"):
        make().train()(TWO)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_detector_of_another_float_type_detects(kind):
    found = make().to(kind).predict(np.zeros((60, 96, 3), np.uint8))
    assert len(found["boxes"]) and found["boxes"].isfinite().all()


def test_a_detector_is_built_from_a_model_configuration_alone(unchecked):
    for wrong in ("tiny", fsaf.presets.get("tiny")):
        with pytest.raises(FSAFError, match=r"such as presets\.get\('tiny'\)\.model, not a"):
            fsaf.build_detector(wrong)


def test_losses_under_bf16_autocast_are_float32_and_finite_to_the_last_gradient():
    detector = make(replace(TINY, branches="joint")).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = detector.head_outputs(detector.preprocess(TWO).tensor)
        assert outputs.cls_logits[0].dtype == torch.bfloat16
        losses = detector(TWO, TARGETS)
    sum(losses.values()).backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in detector.parameters())


# ------------------------------------------------------------------------------------------------------------- preprocessing


def test_preprocessing_normalises_then_pads_with_zeros_to_a_multiple_of_32():
    detector = make()
    batch = detector.preprocess(TWO)
    assert batch.tensor.shape == (2, 3, 64, 96) and batch.sizes == [(60, 96), (50, 61)]
    mean, std = (
        torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    torch.testing.assert_close(
        batch.tensor[1, :, :50, :61], (TWO[1] - mean) / std, rtol=1e-5, atol=1e-5
    )
    assert (batch.tensor[1, :, 50:] == 0).all() and (batch.tensor[1, :, :, 61:] == 0).all()


def test_normalization_in_mmdetections_convention_has_its_very_constants():
    """MMDetection writes 123.675, ... and 58.395, 57.12, 57.375 and rounds each to float32 once."""
    detector = make(replace(TINY, convention="reference"))
    assert torch.equal(detector.mean.flatten(), torch.tensor([123.675, 116.28, 103.53]))
    assert torch.equal(detector.std.flatten(), torch.tensor([58.395, 57.12, 57.375]))


def test_uint8_images_mean_the_same_as_their_255ths():
    detector, levels = make(), torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)
    whole, parts = (detector.preprocess([image]).tensor for image in (levels, levels.float() / 255))
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------------- detections


def test_detections_lie_in_their_own_image_best_first(trained):
    for size, found in zip(((60, 96), (50, 61)), trained(TWO)):
        boxes = found["boxes"]
        assert (
            boxes.shape == (len(found["scores"]), 4)
            and found["labels"].shape == found["scores"].shape
        )
        assert 0 < len(boxes) <= 100
        assert boxes.min() >= 0 and boxes[:, 2].max() <= size[1] and boxes[:, 3].max() <= size[0]
        assert ((boxes[:, 2:] - boxes[:, :2]) > 0).all()
        assert (found["scores"].diff() <= 0).all() and found["scores"].min() > TINY.score_thresh
        assert found["labels"].dtype == torch.int64 and set(found["labels"].tolist()) <= {0, 1, 2}


def test_the_joint_detector_merges_both_branches(trained):
    outputs, sizes = trained.head_outputs(trained.preprocess(TWO[:1]).tensor), [(60, 96)]
    detector = make(
        replace(
            TINY, branches="joint", detections_per_img=10_000, nms_thresh=1.0, score_thresh=0.001
        )
    )
    whole = detector.postprocess(outputs, sizes)[0]
    anchor_free = HeadOutputs(outputs.cls_logits, outputs.box_offsets)
    alone = make(replace(detector.config, branches="anchor_free")).postprocess(anchor_free, sizes)[
        0
    ]
    based = make(replace(detector.config, branches="anchor_based")).postprocess(
        HeadOutputs([], [], outputs.ab_cls, outputs.ab_box), sizes
    )[0]
    assert min(len(alone["scores"]), len(based["scores"])) > 0
    merged = torch.cat([alone["scores"], based["scores"]]).sort(descending=True).values
    torch.testing.assert_close(whole["scores"], merged)


def one_cell(detector, scores, offsets):
    """Postprocessing of a single level of 8 x 12 cells; `scores` {(k, i, j): p}, all boxes alike."""
    cls, box = (
        torch.full((1, 3, 8, 12), -20.0),
        torch.tensor(offsets)[None, :, None, None].expand(1, 4, 8, 12),
    )
    for place, score in scores.items():
        cls[0][place] = torch.tensor(score).logit()
    other = (
        [torch.full((1, 3, *shape), -20.0) for shape in SHAPES[1:]],
        [torch.zeros(1, 4, *shape) for shape in SHAPES[1:]],
    )
    return detector.postprocess(HeadOutputs([cls, *other[0]], [box, *other[1]]), [(64, 96)])[0]


@pytest.mark.parametrize(("convention", "x", "y"), [("paper", 44, 20), ("reference", 40, 16)])
def test_a_cells_box_is_its_offsets_times_s_times_the_stride_around_the_point_where_the_cell_stands(
    convention, x, y
):
    found = one_cell(
        make(replace(TINY, convention=convention)), {(1, 2, 5): 0.9}, [0.5, 0.25, 0.25, 0.5]
    )
    assert found["boxes"].tolist() == [[x - 16, y - 8, x + 8, y + 16]] and found[
        "labels"
    ].tolist() == [1]
    assert found["scores"].tolist() == pytest.approx([0.9])


def test_scores_up_to_the_threshold_are_left_out():
    found = one_cell(
        make(replace(TINY, score_thresh=0.5)), {(0, 2, 2): 0.49, (0, 5, 9): 0.51}, [0.1] * 4
    )
    assert found["scores"].tolist() == pytest.approx([0.51])


def test_boxes_without_area_are_left_out():
    assert len(one_cell(make(), {(0, 2, 2): 0.9}, [0.0, 0.1, 0.0, 0.1])["boxes"]) == 0


def test_suppression_goes_class_by_class():
    detector = make()
    found = one_cell(
        detector, {(0, 3, 3): 0.9, (0, 3, 4): 0.8, (1, 3, 4): 0.7, (0, 3, 10): 0.6}, [0.5] * 4
    )
    assert found["labels"].tolist() == [0, 1, 0] and found["scores"].tolist() == pytest.approx(
        [0.9, 0.7, 0.6]
    )
    iou = box_iou(found["boxes"], found["boxes"])
    assert iou[0, 1] > detector.config.nms_thresh > iou[0, 2]


def test_at_most_so_many_detections_an_image():
    detector = make(replace(TINY, detections_per_img=2))
    found = one_cell(
        detector, {(0, 1, 1): 0.5, (0, 1, 5): 0.9, (0, 6, 1): 0.7, (0, 6, 8): 0.6}, [0.1] * 4
    )
    assert found["scores"].tolist() == pytest.approx([0.9, 0.7])


def test_the_paper_counts_its_best_1000_in_cells_and_the_reference_in_pairs_of_cell_and_class():
    scores = {(0, 1, 1): 0.9, (1, 1, 1): 0.8, (2, 1, 1): 0.7, (0, 5, 5): 0.6}
    kept = {
        convention: one_cell(
            make(replace(TINY, convention=convention, topk_candidates=2)), scores, [0.1] * 4
        )["scores"].tolist()
        for convention in ("paper", "reference")
    }
    assert kept["paper"] == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert kept["reference"] == pytest.approx([0.9, 0.8])


def test_boxes_come_back_in_the_pixels_before_the_resize(trained):
    batch = trained.preprocess(TWO[:1])
    outputs = trained.head_outputs(batch.tensor)
    (here,), (before,) = (
        trained.postprocess(outputs, batch.sizes),
        trained.postprocess(outputs, batch.sizes, [(0.5, 0.25)]),
    )
    assert before["boxes"][:, 2].max() <= 192 and before["boxes"][:, 3].max() <= 240
    best = here["boxes"][0] * torch.tensor([2, 4, 2, 4])
    torch.testing.assert_close(before["boxes"][0], best)


# -------------------------------------------------------------------------------------------------------------------- predict


def test_predict_takes_a_path_a_picture_an_array_or_a_list_of_them(trained, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    every = trained.predict([path, str(path), Image.fromarray(pixels), pixels])
    for found in every:
        assert set(found) == {"boxes", "scores", "labels", "names"}
        assert torch.equal(found["boxes"], every[0]["boxes"]) and len(found["boxes"])
        assert found["names"] == [
            trained.config.class_names[label] for label in found["labels"].tolist()
        ]


def test_predict_resizes_and_gives_boxes_in_the_files_own_pixels(trained):
    pixels = np.random.default_rng(1).integers(0, 256, (180, 240, 3), dtype=np.uint8)
    small = resize(torch.from_numpy(pixels).permute(2, 0, 1), 64, 128)
    assert small.shape == (3, 64, 85)
    batch = trained.preprocess([small])
    want = trained.postprocess(
        trained.head_outputs(batch.tensor), batch.sizes, [(85 / 240, 64 / 180)]
    )[0]
    found = trained.predict(pixels)
    torch.testing.assert_close(found["boxes"], want["boxes"])
    assert 128 < found["boxes"][:, 2].max() <= 240.001


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_predict_turns_a_file_as_its_exif_orientation_says(trained, tmp_path, orientation):
    picture = Image.fromarray(
        np.random.default_rng(2).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    )
    turned = {
        1: None,
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture.transpose(turned) if turned is not None else picture
    stored.save(tmp_path / "turned.png", exif=exif)
    want = trained.predict(picture)
    for source in (tmp_path / "turned.png", Image.open(tmp_path / "turned.png")):
        assert torch.equal(trained.predict(source)["boxes"], want["boxes"])


def test_predict_leaves_the_detector_in_its_mode_and_its_statistics_alone():
    detector = make().train()
    before = detector.network.backbone.bn1.running_mean.clone()
    detector.predict(np.zeros((40, 40, 3), dtype=np.uint8))
    assert detector.training and detector.network.backbone.bn1.training
    assert torch.equal(detector.network.backbone.bn1.running_mean, before)


@pytest.mark.parametrize("branches", BRANCHES)
def test_predict_leaves_nothing_behind_that_a_training_cannot_use(branches):
    detector = make(replace(TINY, branches=branches)).eval()
    found = detector.predict(np.zeros((60, 96, 3), np.uint8))
    (found["boxes"].requires_grad_() ** 2).sum().backward()
    detector.train()
    sum(detector(TWO, TARGETS).values()).backward()
    outputs = detector.head_outputs(detector.preprocess(TWO).tensor)
    sum(boxes.sum() for _, boxes in next(detector.candidates(outputs))).backward()


def test_predict_takes_tensors_as_the_detector_does_and_refuses_others(trained):
    pixels = np.random.default_rng(3).integers(0, 256, (90, 144, 3), dtype=np.uint8)
    want, tensor = trained.predict(pixels), torch.from_numpy(pixels).permute(2, 0, 1)
    for source in (tensor, tensor / 255, (tensor / 255).double(), Picture(tensor)):
        assert torch.equal(trained.predict(source)["boxes"], want["boxes"])
    assert len(trained.predict([tensor, pixels])) == 2
    for wrong in (tensor.float(), torch.from_numpy(pixels), tensor[None], tensor / 255 * 4 - 2):
        with pytest.raises(FSAFError, match=r"give a list of tensors \(3, H, W\)"):
            trained.predict(wrong)


def test_predict_of_a_missing_file_is_a_users_fault(trained, tmp_path):
    with pytest.raises(FSAFError, match=r"nothing\.jpg: no such file"):
        trained.predict(tmp_path / "nothing.jpg")


# ------------------------------------------------------------------------------------------------------------------- siblings


def test_category_ids_count_from_1_and_are_cocos_for_its_classes():
    assert make().category_ids == (1, 2, 3)
    coco = make(replace(TINY, class_names=COCO_CLASSES)).category_ids
    assert len(coco) == 80 and (coco[0], coco[11], coco[79]) == (1, 13, 90)  # 12 does not exist


@pytest.mark.parametrize(
    "change",
    [
        {"convention": "reference"},
        {"ignoring_scale": 0.7},
        {"selection": "heuristic"},
        {"class_names": ("x", "y", "z")},
    ],
)
def test_a_sibling_made_by_replace_takes_the_same_weights(change):
    detector = make()
    sibling = make(replace(detector.config, **change), seed=1)
    sibling.load_state_dict(detector.state_dict())
    tensor = detector.preprocess(TWO).tensor
    detector.eval(), sibling.eval()
    for one, other in zip(
        detector.head_outputs(tensor).cls_logits, sibling.head_outputs(tensor).cls_logits
    ):
        assert torch.equal(one, other)


def test_detectors_with_other_branches_share_the_names_of_what_they_share():
    keys = {
        branches: set(make(replace(TINY, branches=branches)).state_dict()) for branches in BRANCHES
    }
    assert keys["joint"] == keys["anchor_free"] | keys["anchor_based"]
    assert keys["joint"] - keys["anchor_based"] == {
        f"network.head.{part}.{leaf}" for part in ("af_cls", "af_box") for leaf in ("weight", "bias")
    }  # fmt: skip


def test_random_weights_are_those_of_the_seed():
    one, other = make(seed=3).state_dict(), make(seed=3).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_thousand_boxes_an_image_train():
    detector = make(replace(TINY, branches="joint")).train()
    losses = detector(images((64, 96)), [random_target(1000, 64, 96)])
    assert all(loss.isfinite() for loss in losses.values())


def test_a_box_loss_may_be_undefined_where_a_location_is_background():
    """Background has no target, and a loss of ratios, as CIoU's, divides by the sides of both boxes."""

    def aspect(predicted, boxes):
        width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
        own_width, own_height = (predicted[..., 2:] - predicted[..., :2]).unbind(-1)
        return (torch.atan(width / height) - torch.atan(own_width / own_height)) ** 2 + 1

    detector = fsaf.build_detector(SMALL, parts=fsaf.Parts(box_loss=aspect))
    outputs, targets = random_outputs(0), [target([[8, 4, 50, 30]], [0]), target([], [])]
    with torch.no_grad():
        for level in outputs.box_offsets:
            level[1] = 0  # boxes without sides
    outputs = type(outputs)(outputs.cls_logits, outputs.box_offsets)
    assignment = detector.assign(outputs, targets)
    loss = detector.losses(outputs, assignment, targets)["af_box"]
    loss.backward()
    boxes = detector.predictions(outputs).boxes[assignment.positive]
    by_hand = aspect(boxes, targets[0]["boxes"].expand_as(boxes)).mean()
    assert assignment.num_positive > 0
    torch.testing.assert_close(loss, by_hand)
    assert all(level.grad.isfinite().all() for level in outputs.box_offsets)
