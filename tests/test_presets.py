"""The presets: MMDetection's published rows, the paper's rows, those for the scenes, and their configurations."""

import dataclasses

import pytest
import torch

import fsaf_core as fsaf
from fsaf_core.config import COCO_CLASSES, CONVENTIONS, FSAFError, ModelConfig
from fsaf_core.model.network import Network
from fsaf_core.presets import PRESETS

MMDETECTION = ("r50", "r50_ring", "r101", "x101")
PAPER = (
    "r50_retinanet",
    "r50_af_heuristic",
    "r50_paper",
    "r50_joint_heuristic",
    "r50_joint",
    "r101_retinanet",
    "r101_paper",
    "r101_joint",
    "x101_retinanet",
    "x101_paper",
    "x101_joint",
)


def test_every_published_row_and_its_tiny_counterpart_are_presets():
    ablation = (
        "tiny_retinanet",
        "tiny_af_heuristic",
        "tiny_paper",
        "tiny_joint_heuristic",
        "tiny_joint",
    )
    assert set(fsaf.presets.names()) == {*MMDETECTION, *PAPER, "tiny", *ablation}


@pytest.mark.parametrize("name", fsaf.presets.names())
def test_a_preset_is_frozen_named_and_can_be_built(name):
    config = fsaf.presets.get(name)
    assert config.name == name
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model.channels = 3
    with torch.device("meta"):
        network = Network(config.model)
    assert network.head.anchor_free == (config.model.branches != "anchor_based")


def test_rows_have_their_published_ap():
    expected = {
        "r50": 37.4, "r50_ring": 36.0, "r101": 39.3, "x101": 42.4, "r50_retinanet": 35.7, "r50_af_heuristic": 34.7,
        "r50_paper": 35.9, "r50_joint_heuristic": 36.1, "r50_joint": 37.2, "r101_joint": 39.3, "x101_joint": 41.6,
        "r101_retinanet": 37.7, "r101_paper": 37.9, "x101_retinanet": 39.8, "x101_paper": 41.0,
    }  # fmt: skip
    assert {name: row.ap for name, row in PRESETS.items() if row.ap is not None} == expected
    assert all(
        row.status in ("published", "unverified") for row in PRESETS.values() if row.ap is not None
    )
    assert not any(PRESETS[name].status for name in PRESETS if name.startswith("tiny"))


def test_mmdetections_rows_name_their_file_with_the_beginning_of_its_hash():
    files = [PRESETS[name].checkpoint for name in MMDETECTION]
    assert [file[-12:-4] for file in files] == ["94ccc51f", "b555b0e0", "9e71098f", "e3f6e6fd"]
    assert not any(PRESETS[name].checkpoint for name in PAPER)


def test_mmdetections_rows_have_its_convention_and_all_others_the_papers():
    for name in fsaf.presets.names():
        config = fsaf.presets.get(name)
        assert config.model.convention == ("reference" if name in MMDETECTION else "paper")
        if name in MMDETECTION:
            assert config.train.clip_norm == 10
            assert config.model.rules.ignoring_scale == (0.5 if name == "r50_ring" else 0.2)
        elif name in PAPER:
            assert config.train.clip_norm is None and config.model.rules.ignoring_scale == 0.5


def test_rows_of_coco_have_its_80_classes_and_the_papers_recipe():
    for name in (*MMDETECTION, *PAPER):
        config = fsaf.presets.get(name)
        assert config.model.class_names == COCO_CLASSES and config.model.num_classes == 80
        train = config.train
        assert (
            train.optimizer,
            train.lr,
            train.batch_size,
            train.momentum,
            train.weight_decay,
        ) == ("sgd", 0.01, 16, 0.9, 1e-4)
        assert (train.epochs, train.milestones, train.warmup_steps) == (12, (8 / 12, 11 / 12), 500)


def test_lambda_is_one_half_beside_the_anchors_and_one_alone():
    assert {name: fsaf.presets.get(name).model.af_weight for name in ("r50_joint", "tiny_joint", "r50", "r50_paper")} == {
        "r50_joint": 0.5, "tiny_joint": 0.5, "r50": 1.0, "r50_paper": 1.0,
    }  # fmt: skip
    assert ModelConfig(branches="joint", loss_weight=0.25).af_weight == 0.25


def test_an_unknown_name_is_refused_with_all_names():
    with pytest.raises(FSAFError, match=r"no preset 'r5O': .*r50_ring"):
        fsaf.presets.get("r5O")


# Conventions


def test_changing_the_convention_changes_every_rule_that_was_not_set_explicitly():
    explicit = {
        "region_rounding": "overlap",
        "ignore_levels": "adjacent",
    }  # one is MMDetection's rule, one the paper's
    paper = ModelConfig(**explicit)
    flipped = dataclasses.replace(paper, convention="reference")
    assert paper.rules == dataclasses.replace(CONVENTIONS["paper"], **explicit)
    assert flipped.rules == dataclasses.replace(CONVENTIONS["reference"], **explicit)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"class_names": ()}, "class_names is empty"),
        ({"effective_scale": 0.0}, r"effective_scale is 0\.0"),
        ({"effective_scale": 0.6}, r"ignoring_scale is 0\.5"),
        ({"ignoring_scale": 1.5}, r"ignoring_scale is 1\.5"),
        ({"ignoring_scale": 0.1}, r"ignoring_scale is 0\.1"),
        ({"focal_alpha": 1.5}, r"focal_alpha is 1\.5: give a number from 0 to 1"),
        ({"focal_gamma": -1.0}, r"focal_gamma is -1\.0: give a number from 0 up"),
        ({"focal_gamma": float("nan")}, "focal_gamma is nan"),
        ({"last_level": 8}, "last_level is 8: give a whole number from 5 to 7"),
        ({"first_level": 2}, "first_level is 2"),
    ],
)
def test_an_impossible_configuration_is_refused(fault, words):
    with pytest.raises(FSAFError, match=words):
        ModelConfig(**fault)
