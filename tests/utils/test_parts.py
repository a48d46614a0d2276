"""Parts of one's own: their names in a file, what is missing, and backbones that do not fit."""

import json
import re
from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers import SMALL as SMALL_RESNET
from helpers import random_outputs, target
from safetensors import safe_open
from torch import nn

import fsaf_core as fsaf
from fsaf_core import FSAFError, Parts
from fsaf_core.method.assignment import Assignment
from fsaf_core.method.losses import iou_loss
from fsaf_core.utils.parts import import_path
from fsaf_core.weights.formats import load_weights

SMALL = replace(SMALL_RESNET, frozen_stages=0)


class Backbone(nn.Module):
    """One convolution a stage."""

    def __init__(self, strides=(8, 2, 2), out_channels=(4, 6, 8)):
        super().__init__()
        widths = zip((3, 4, 6), (4, 6, 8), strides)
        self.stages = nn.ModuleList(nn.Conv2d(*pair, step, step) for *pair, step in widths)
        self.norm = nn.BatchNorm2d(3)
        self.out_channels = out_channels

    def forward(self, images):
        features = [self.norm(images)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]


class Named(Backbone):
    def forward(self, images):
        return dict(zip("abc", super().forward(images)))


def first_box(locations, predictions, ground_truth):
    """Assign every location of an image to its first box."""
    assigned = torch.full((len(predictions.logits), len(locations.centers)), -1)
    for instance in reversed(range(len(ground_truth.boxes))):
        assigned[ground_truth.image[instance]] = instance
    return Assignment(assigned)


class FirstBox:
    def __call__(self, *args):
        return first_box(*args)


def double(predicted, boxes):
    return 2 * iou_loss(predicted, boxes)


OWN = Parts(Backbone, first_box, double)
TARGETS = [target([[8, 8, 60, 60]], [0]), target([[4, 6, 40, 44], [0, 0, 9, 9]], [1, 2])]


@pytest.mark.parametrize(
    ("part", "path"),
    [
        (first_box, "test_parts.first_box"),
        (FirstBox(), "test_parts.FirstBox"),
        (Backbone, "test_parts.Backbone"),
        (partial(Backbone, (8, 2, 2)), "test_parts.Backbone"),
        (fsaf.build_detector, "fsaf_core.model.detector.build_detector"),
    ],
)
def test_a_part_is_named_by_where_it_is_imported_from(part, path):
    assert import_path(part).endswith(path)


def test_own_parts_take_the_place_of_fsafs():
    detector = fsaf.build_detector(SMALL, parts=OWN)
    assert isinstance(detector.network.backbone, Backbone)
    outputs = random_outputs(0)
    assignment = detector.assign(outputs, TARGETS)
    assert [{*row} for row in assignment.assigned.tolist()] == [{0}, {1}]
    losses = detector.losses(outputs, assignment, TARGETS)
    same = fsaf.build_detector(SMALL, parts=Parts(assigner=first_box))
    plain = same.losses(outputs, assignment, TARGETS)
    assert torch.equal(losses["af_box"], 2 * plain["af_box"])
    assert torch.equal(losses["af_cls"], plain["af_cls"])


def test_no_location_in_the_padding_learns_with_an_own_assigner():
    detector = fsaf.build_detector(SMALL, parts=Parts(assigner=first_box))
    whole, cut = (
        detector.assign(random_outputs(0), TARGETS, [(64, 96), size])
        for size in ((64, 96), (33, 40))
    )
    assert (whole.assigned == 1).sum() == whole.assigned.shape[1]
    assert torch.equal(cut.assigned[1] >= 0, cut.valid[1]) and not cut.valid[1].all()


def test_detectors_with_and_without_a_box_loss_select_the_same_levels():
    outputs = random_outputs(1)
    own, plain = (
        fsaf.build_detector(SMALL, parts=parts) for parts in (Parts(box_loss=double), Parts())
    )
    pair = [one.assign(outputs, TARGETS).level_losses for one in (own, plain)]
    assert torch.equal(*pair)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.assigned, r"test_parts\.\S+ returns a Tensor: give an Assignment"),
        (lambda a: Assignment(a.assigned[0]), r"returns assigned of \(129, torch\.int64\): give an Assignment whose assigned is \(2, 129\)"),
        (lambda a: Assignment(a.assigned.int()), r"returns assigned of \(2, 129, torch\.int32\)"),
        (lambda a: None, r"returns a NoneType"),
        (lambda a: replace(a, valid=torch.ones(129) > 0), r"returns valid of \(129, torch\.bool\): give \(2, 129\) of torch\.bool"),
        (lambda a: replace(a, valid=torch.ones(2, 129)), r"returns valid of \(2, 129, torch\.float32\)"),
        (lambda a: replace(a, ignore=torch.ones(2, 129) > 0), r"returns ignore of \(2, 129, torch\.bool\): give \(2, \d, 129\)"),
        (lambda a: Assignment(a.assigned + 2), r"returns the index 3, but the batch has 3 instances: count them from 0 over all"),
        (lambda a: Assignment(a.assigned * 0), r"gives a location of image 1 the instance 0, which is in image 0: count"),
        (lambda a: Assignment(a.assigned - 2), r"returns the index -2, but"),
    ],
)  # fmt: skip
def test_what_an_assigner_returns_is_looked_at(unchecked, change, message):
    detector = fsaf.build_detector(
        SMALL, parts=Parts(assigner=lambda *args: change(first_box(*args)))
    )
    with pytest.raises(FSAFError, match=message):
        detector.assign(random_outputs(0), TARGETS)


@pytest.mark.parametrize(
    ("box_loss", "shape"),
    [
        (nn.L1Loss(), r"\(\)"),
        (nn.L1Loss(reduction="none"), r"\(2, 129, 4\)"),
    ],
)
def test_a_box_loss_gives_one_value_a_box(box_loss, shape):
    detector = fsaf.build_detector(SMALL, parts=Parts(box_loss=box_loss))
    outputs = random_outputs(0)
    with pytest.raises(
        FSAFError, match=rf"^The box loss torch\.\S*L1Loss turns boxes \(2, 129, 4\) into {shape}: "
    ):
        detector.losses(outputs, detector.assign(outputs, TARGETS), TARGETS)


def test_a_box_loss_gives_a_tensor():
    detector = fsaf.build_detector(SMALL, parts=Parts(box_loss=lambda *boxes: 1.0))
    outputs = random_outputs(0)
    with pytest.raises(FSAFError, match="into a float: give one loss for each box"):
        detector.losses(outputs, detector.assign(outputs, TARGETS), TARGETS)


# ------------------------------------------------------------------------------------------------------------- save and load


def test_a_file_holds_the_names_of_own_parts_and_load_takes_them_again(tmp_path):
    path = tmp_path / "x.safetensors"
    detector = fsaf.build_detector(SMALL, parts=OWN).eval()
    fsaf.save(detector, path)
    with safe_open(path, framework="pt") as file:
        named = json.loads(file.metadata()["fsaf"])["parts"]
    assert named == detector.parts.import_paths and named.keys() == {"backbone", "assigner", "box_loss"}  # fmt: skip
    again = fsaf.load(path, OWN)
    assert again.parts == OWN
    image = torch.rand(3, 64, 64)
    assert torch.equal(
        again.head_outputs(again.preprocess([image]).tensor).cls_logits[0],
        detector.head_outputs(detector.preprocess([image]).tensor).cls_logits[0],
    )


def test_without_its_backbone_a_file_is_refused_and_nothing_is_imported(tmp_path):
    path = tmp_path / "x.safetensors"
    fsaf.save(fsaf.build_detector(SMALL, parts=OWN), path)
    with pytest.raises(
        FSAFError,
        match=r"x\.safetensors was trained with its own backbone, .*test_parts\.Backbone: import it and "
        r"give it to load as parts=Parts\(backbone=\.\.\.\)\.",
    ):
        fsaf.load(path)


def test_without_its_assigner_a_detector_detects_and_does_not_train(tmp_path):
    path = tmp_path / "x.safetensors"
    fsaf.save(fsaf.build_detector(SMALL, parts=Parts(assigner=first_box, box_loss=double)), path)
    detector = fsaf.load(path)
    assert len(detector.predict(torch.rand(3, 64, 64))["boxes"]) <= 100
    images = [torch.rand(3, 64, 96)] * 2
    with pytest.raises(FSAFError, match=r"x\.safetensors was trained with its own assigner, .*"):
        detector.train()(images, TARGETS)
    fsaf.save(detector, tmp_path / "again.safetensors")  # keeps the names
    with pytest.raises(FSAFError, match=r"own box_loss, .*test_parts\.double: import it"):
        fsaf.load(tmp_path / "again.safetensors", Parts(assigner=first_box)).train()(
            images, TARGETS
        )


@pytest.mark.parametrize(
    "parts", [[], "os.system", {"assigner": 1}, {"assigner": ["os"]}, {"optimizer": "os.system"}]
)
def test_a_header_with_damaged_parts_is_refused(tmp_path, parts):
    from safetensors.torch import save_file

    detector, path = fsaf.build_detector(SMALL), tmp_path / "x.safetensors"
    fsaf.save(detector, path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["fsaf"])
    save_file(detector.state_dict(), path, {"fsaf": json.dumps({**header, "parts": parts})})
    with pytest.raises(FSAFError, match=r"x\.safetensors has a damaged configuration"):
        fsaf.load(path)


def test_weights_start_a_detector_with_the_same_backbone(tmp_path):
    path = tmp_path / "x.safetensors"
    fsaf.save(fsaf.build_detector(SMALL, parts=OWN), path)
    other = fsaf.build_detector(SMALL, parts=Parts(backbone=Backbone))
    weights, _ = load_weights(other, path)
    assert torch.equal(
        weights.tensors["network.backbone.stages.0.weight"], other.network.backbone.stages[0].weight
    )
    with pytest.raises(FSAFError, match=r"does not fit this model: network\.backbone"):
        load_weights(fsaf.build_detector(SMALL), path)


# ------------------------------------------------------------------------------------------------------------------ backbones


def test_a_backbone_gives_a_sequence_or_a_dict_and_is_left_as_it_was_made():
    detector = fsaf.build_detector(SMALL, parts=Parts(backbone=Named))
    assert [tuple(stage.shape[1:]) for stage in detector.network.features(torch.zeros(1, 3, 64, 96))] == [
        (4, 8, 12), (6, 4, 6), (8, 2, 3)
    ]  # fmt: skip
    norm = detector.network.backbone.norm
    assert norm.training and norm.num_batches_tracked == 1  # of the call above alone
    detector.eval().train()
    assert norm.training


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(Backbone, (4, 2, 2)), "has out_channels (4, 6, 8) and gives [(1, 4, 16, 16), (1,"),
        (partial(Backbone, (8, 2, 2), (4, 6)), "has out_channels (4, 6) and gives [(1, 4, 8, 8), (1, 6"),
        (partial(Backbone, (8, 2, 2), ()), "has out_channels () and gives"),
        (partial(Backbone, (8, 2, 2), 8), "has out_channels 8 and gives"),
        (lambda: first_box, "Parts.backbone returns a function: give a function without arguments"),
    ],
)  # fmt: skip
def test_a_backbone_that_does_not_fit_is_refused(make, message):
    with pytest.raises(FSAFError, match=re.escape(message)):
        fsaf.build_detector(SMALL, parts=Parts(backbone=make))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"backbone": Backbone()}, r"^Parts\.backbone is a Backbone: give a function that makes the backbone\.$"),
        ({"assigner": "mine.fcos"}, r"^Parts\.assigner is a str: give a function\.$"),
    ],
)  # fmt: skip
def test_a_part_is_a_function(unchecked, parts, message):
    with pytest.raises(FSAFError, match=message):
        Parts(**parts)


def test_frozen_stages_belong_to_a_resnet():
    with pytest.raises(
        FSAFError, match=r"^frozen_stages is 1, which counts the stages of a ResNet"
    ):
        fsaf.build_detector(SMALL_RESNET, parts=OWN)
