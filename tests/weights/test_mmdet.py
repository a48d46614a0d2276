"""Checkpoints of MMDetection: recognized, converted in both directions, and every mismatch named."""

import collections
import datetime
import hashlib
import json
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SMALL

import fsaf_core as fsaf
from fsaf_core.config import COCO_CLASSES, FSAFError, ModelConfig
from fsaf_core.weights.mmdet import reference_name

SHAPES = json.loads((Path(__file__).parents[1] / "parity" / "checkpoint_shapes.json").read_text())
R18 = ModelConfig(class_names=("a", "b"), backbone="resnet18", channels=8, tower_depth=2)


@pytest.fixture(scope="module")
def weights():
    """A whole checkpoint of a narrow ResNet-18, under MMDetection's names."""
    torch.manual_seed(0)
    return fsaf.to_mmdet(fsaf.build_detector(R18))


@pytest.mark.parametrize(
    ("name", "backbone", "channels", "depth", "classes"),
    [
        ("tiny1", "resnet18", 64, 1, 3),
        ("tiny2", "resnet18", 64, 2, 3),
        ("r50", "resnet50", 256, 4, 80),
        ("r101", "resnet101", 256, 4, 80),
        ("x101", "resnext101_64x4d", 256, 4, 80),
    ],
)
def test_backbone_width_depth_and_classes_follow_from_names_and_shapes(
    name, backbone, channels, depth, classes
):
    shapes = {key: tuple(shape) for key, shape in SHAPES[name].items()}
    detector = fsaf.load_mmdet(
        {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    )
    config = detector.config
    assert (config.backbone, config.channels, config.tower_depth, config.num_classes) == (
        backbone,
        channels,
        depth,
        classes,
    )
    assert config.convention == "reference" and config.rules.ignoring_scale == 0.2
    assert config.class_names == (
        COCO_CLASSES if classes == 80 else ("class_0", "class_1", "class_2")
    )
    assert {
        reference_name(key): tuple(value.shape) for key, value in detector.state_dict().items()
    } == shapes


def test_there_and_back_changes_nothing(weights):
    detector = fsaf.load_mmdet(weights)
    again = fsaf.to_mmdet(detector)
    assert list(again) == list(weights) and all(
        torch.equal(again[name], weights[name]) for name in weights
    )


def test_box_rows_are_top_bottom_left_right_there_and_left_top_right_bottom_here(weights):
    marked = dict(weights)
    marked["bbox_head.retina_reg.bias"] = torch.tensor([1.0, 2, 3, 4])  # t b l r
    marked["bbox_head.retina_reg.weight"] = torch.arange(4.0)[:, None, None, None].expand(
        4, 8, 3, 3
    )
    head = fsaf.load_mmdet(marked).network.head
    assert head.af_box.bias.tolist() == [3, 1, 4, 2]
    assert head.af_box.weight[:, 0, 0, 0].tolist() == [2, 0, 3, 1]


def test_a_file_a_state_dict_and_a_dict_that_holds_one_are_alike(weights, tmp_path):
    bare, whole = tmp_path / "bare.pth", tmp_path / "whole.pth"
    torch.save(OrderedDict(weights), bare)
    torch.save(
        {"state_dict": OrderedDict(weights), "meta": {"epoch": 12, "CLASSES": ("x", "y")}}, whole
    )
    for source in (bare, str(whole), {"state_dict": weights}):
        assert torch.equal(
            fsaf.load_mmdet(source).network.head.af_cls.weight,
            weights["bbox_head.retina_cls.weight"],
        )


def test_half_precision_weights_are_read_as_float32(weights):
    half = {
        name: value.half() if value.is_floating_point() else value
        for name, value in weights.items()
    }
    assert fsaf.load_mmdet(half).network.head.af_cls.weight.dtype == torch.float32


def test_the_ignoring_scale_is_the_one_in_the_files_name(weights, tmp_path):
    for name, scale in (("fsaf_pscale0.2_nscale0.5_r50.pth", 0.5), ("fsaf_r50.pth", 0.2)):
        torch.save(weights, tmp_path / name)
        assert fsaf.load_mmdet(tmp_path / name).config.rules.ignoring_scale == scale


def test_a_published_files_name_must_begin_its_hash(weights, tmp_path):
    torch.save(weights, tmp_path / "x.pth")
    digest = hashlib.sha256((tmp_path / "x.pth").read_bytes()).hexdigest()
    right, wrong = tmp_path / f"fsaf-{digest[:8]}.pth", tmp_path / "fsaf-0123abcd.pth"
    (tmp_path / "x.pth").rename(right)
    fsaf.load_mmdet(right)
    right.rename(wrong)
    with pytest.raises(FSAFError, match=rf"begins with {digest[:8]}, its name says 0123abcd"):
        fsaf.load_mmdet(wrong)


def drop(name):
    return lambda weights: weights.pop(name)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (drop("neck.fpn_convs.3.conv.bias"), r"neck\.fpn_convs\.3\.conv\.bias \(missing\)"),
        (
            drop("bbox_head.reg_convs.1.conv.weight"),
            r"bbox_head\.reg_convs\.1\.conv\.weight \(missing\)",
        ),
        (drop("bbox_head.retina_cls.weight"), r"bbox_head\.retina_cls\.weight is missing"),
        (drop("backbone.layer1.0.conv1.weight"), r"backbone\.layer1\.0\.conv1\.weight is missing"),
        (
            drop("backbone.layer3.1.bn2.running_var"),
            r"backbone\.layer3\.1\.bn2\.running_var \(missing\)",
        ),
        (lambda w: w.update(extra=torch.zeros(1)), r"extra \(not of this model\)"),
        (
            lambda w: w.update({"neck.fpn_convs.4.conv.bias": torch.zeros(3)}),
            r"conv\.bias \(\(3,\) in the file, \(8,\) in",
        ),
        (
            lambda w: w.update({"bbox_head.retina_cls.weight": torch.zeros(8)}),
            r"\(8,\), not the weight of a convolution",
        ),
        (lambda w: w.update(text="hello"), "no checkpoint"),
        (lambda w: w.clear(), "is missing"),
        (drop("backbone.layer4.1.conv1.weight"), r"layer4\.1\.conv1\.weight \(missing\)"),
    ],
)
def test_what_is_missing_extra_or_misshapen_is_said_by_name(weights, fault, words):
    broken = dict(weights)
    fault(broken)
    with pytest.raises(FSAFError, match=words):
        fsaf.load_mmdet(broken)


def test_all_faults_are_said_at_once_and_the_file_is_named(weights, tmp_path):
    broken = dict(weights, extra=torch.zeros(1))
    del broken["neck.lateral_convs.0.conv.bias"]
    torch.save(broken, tmp_path / "broken.pth")
    words = r"^broken\.pth does not fit: extra \(not of this model\), neck\.lateral_convs\.0\.conv\.bias \(missing\)"
    with pytest.raises(FSAFError, match=words):
        fsaf.load_mmdet(tmp_path / "broken.pth")


def test_an_unknown_backbone_is_said(weights):
    deeper = dict(
        weights, **{"backbone.layer1.2.conv1.weight": weights["backbone.layer1.1.conv1.weight"]}
    )
    with pytest.raises(FSAFError, match=r"a backbone of \(3, 2, 2, 2\) basic blocks is not known"):
        fsaf.load_mmdet(deeper)


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_an_old_file_that_needs_more_than_tensors_is_refused_unread_with_the_way_out(
    weights, tmp_path
):
    touched, path = tmp_path / "touched", tmp_path / "trap.pth"
    contents = {"state_dict": weights, "meta": Trap(touched)}
    torch.save(contents, path, _use_new_zipfile_serialization=False)
    words = r"old format and holds more than tensors.*weights_only=False.*load that"
    with pytest.raises(FSAFError, match=words):
        fsaf.load_mmdet(path)
    assert not touched.exists()


class HistoryBuffer:
    """Stands for MMEngine's, which lies in every file that its Runner writes."""

    def __init__(self):
        self._log_history = np.array([0.7, 0.5])
        self._statistics_methods = OrderedDict(mean=len)


def test_a_file_as_mmengines_runner_writes_it_is_read_without_its_objects(weights, tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], 0.01, momentum=0.9)
    parameter.grad = torch.ones(2)
    optimizer.step()
    contents = {
        "meta": {
            "dataset_meta": {"classes": ("cat", "dog"), "palette": [(220, 20, 60)]},
            "time": datetime.datetime(2024, 5, 1),
            "best": np.float64(0.36),
            "seed": np.int64(7),
        },
        "state_dict": OrderedDict(weights),
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer()}, "where": Path("runs")},
        "optimizer": optimizer.state_dict(),
        "param_schedulers": [{"milestones": collections.Counter({8: 1, 11: 1})}],
    }
    contents["state_dict"]._metadata = OrderedDict(version=1)  # an nn.Module's has it
    torch.save(contents, tmp_path / "epoch_12.pth")
    detector = fsaf.load_mmdet(tmp_path / "epoch_12.pth")
    assert detector.config.class_names == ("cat", "dog") and not detector.training
    again = fsaf.to_mmdet(detector)
    assert all(torch.equal(again[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"CLASSES": ("cat", "dog")}, ("cat", "dog")),  # version 2
        ({"dataset_meta": {"classes": ["cat", "dog"]}}, ("cat", "dog")),
        ({"dataset_meta": {"CLASSES": ("cat", "dog")}, "CLASSES": None}, ("cat", "dog")),
        ({"CLASSES": None}, ("class_0", "class_1")),
        ({"CLASSES": (1, 2)}, ("class_0", "class_1")),
        ({"dataset_meta": None}, ("class_0", "class_1")),
        (None, ("class_0", "class_1")),
    ],
)
def test_class_names_come_from_the_meta_of_either_version(meta, names, weights):
    detector = fsaf.load_mmdet({"state_dict": weights, "meta": meta})
    assert detector.config.class_names == names and detector.category_ids == (1, 2)


def test_eighty_classes_are_cocos_unless_the_file_names_others():
    shapes = SHAPES["r50"]
    weights = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    bare = fsaf.load_mmdet(weights)
    assert bare.config.class_names == COCO_CLASSES
    assert bare.category_ids[:13] == (*range(1, 12), 13, 14) and bare.category_ids[-1] == 90
    own = tuple(f"part {number}" for number in range(80))
    named = fsaf.load_mmdet({"state_dict": weights, "meta": {"CLASSES": own}})
    assert named.config.class_names == own and named.category_ids == tuple(range(1, 81))


def test_names_of_another_number_than_the_heads_are_refused(weights):
    with pytest.raises(FSAFError, match="names 3 classes, 'x' the first, and its head has 2"):
        fsaf.load_mmdet({"state_dict": weights, "meta": {"CLASSES": ("x", "y", "z")}})


def wrapped(prefix):
    return lambda weights: {f"{prefix}{name}": value for name, value in weights.items()}


@pytest.mark.parametrize(
    "change",
    [
        wrapped("module."),
        wrapped("model."),
        wrapped("ema_"),
        wrapped("ema_model.module."),
        lambda weights: wrapped("module.")(weights) | {"steps": torch.tensor(9)},
        lambda weights: weights | {"data_preprocessor.mean": torch.zeros(3, 1, 1)},
        lambda weights: weights | {f"ema_{n.replace('.', '_')}": -v for n, v in weights.items()},
        lambda weights: {n: v for n, v in weights.items() if not n.endswith("batches_tracked")},
    ],
    ids=["module", "model", "ema", "ema_model", "averaged", "preprocessor", "both", "uncounted"],
)
@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_wrapped_averaged_and_old_weights_are_those_of_the_plain_names(change, key, weights):
    changed = change(dict(weights))
    again = fsaf.to_mmdet(fsaf.load_mmdet({key: changed} if key else changed))
    for name, value in weights.items():
        assert torch.equal(again[name], value * (not name.endswith("batches_tracked"))) or (
            torch.equal(again[name], value)
        )


@pytest.mark.parametrize(
    "content",
    [b"", b"no checkpoint at all", pickle.dumps([1, 2, 3], protocol=2)],
    ids=["empty", "text", "pickle"],
)
def test_a_file_that_is_no_checkpoint_is_said(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(FSAFError, match=r"x\.pth"):
        fsaf.load_mmdet(tmp_path / "x.pth")


def test_a_file_that_holds_no_weights_or_is_cut_off_or_is_not_there_is_said(weights, tmp_path):
    path = tmp_path / "x.pth"
    torch.save([torch.zeros(1)], path)
    with pytest.raises(FSAFError, match=r"x\.pth is no checkpoint"):
        fsaf.load_mmdet(path)
    torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(FSAFError, match=r"x\.pth is no checkpoint of torch, or is cut off"):
        fsaf.load_mmdet(path)
    with pytest.raises(FSAFError, match=r"none\.pth cannot be read"):
        fsaf.load_mmdet(tmp_path / "none.pth")


@pytest.mark.parametrize(
    "change",
    [
        {"branches": "joint"},
        {"branches": "anchor_based"},
        {"backbone": "tiny"},
        {"last_level": 6},
        {"tower_norm": "group"},
    ],
)
def test_only_what_mmdetection_knows_can_be_written_in_its_names(change):
    detector = fsaf.build_detector(replace(SMALL, **{"backbone": "resnet18", **change}))
    words = f"MMDetection has no FSAF detector with .*{next(iter(change.values()))}"
    with pytest.raises(FSAFError, match=words):
        fsaf.to_mmdet(detector)


def test_what_comes_out_is_a_copy(weights):
    detector = fsaf.load_mmdet(weights)
    fsaf.to_mmdet(detector)["bbox_head.retina_cls.bias"].add_(9)
    assert torch.equal(detector.network.head.af_cls.bias, weights["bbox_head.retina_cls.bias"])
