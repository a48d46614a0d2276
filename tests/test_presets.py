"""The rows by name: the reference's published ones, the paper's, the tiny world's, and what their configurations say."""

import dataclasses

import pytest
import torch

import fsaf_core as fsaf
from fsaf_core.config import COCO_CLASSES, CONVENTIONS, FSAFError, ModelConfig
from fsaf_core.model.network import Network
from fsaf_core.presets import PRESETS

REFERENCE = ("r50", "r50_ring", "r101", "x101")
PAPER = (
    "r50_retinanet",
    "r50_af_heuristic",
    "r50_paper",
    "r50_joint_heuristic",
    "r50_joint",
    "r101_joint",
    "x101_joint",
)


def test_every_published_row_and_its_tiny_sibling_have_a_name():
    ablation = (
        "tiny_retinanet",
        "tiny_af_heuristic",
        "tiny_paper",
        "tiny_joint_heuristic",
        "tiny_joint",
    )
    assert set(fsaf.presets.names()) == {*REFERENCE, *PAPER, "tiny", *ablation}


@pytest.mark.parametrize("name", fsaf.presets.names())
def test_a_preset_is_frozen_named_and_can_be_built(name):
    config = fsaf.presets.get(name)
    assert config.name == name
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model.channels = 3
    with torch.device("meta"):
        network = Network(config.model)
    assert network.head.anchor_free == (config.model.branches != "anchor_based")


def test_published_figures_stand_beside_their_rows():
    want = {
        "r50": 37.4, "r50_ring": 36.0, "r101": 39.3, "x101": 42.4, "r50_retinanet": 35.7, "r50_af_heuristic": 34.7,
        "r50_paper": 35.9, "r50_joint_heuristic": 36.1, "r50_joint": 37.2, "r101_joint": 39.3, "x101_joint": 41.6,
    }  # fmt: skip
    assert {name: row.ap for name, row in PRESETS.items() if row.ap is not None} == want
    assert all(
        row.status in ("published", "unverified") for row in PRESETS.values() if row.ap is not None
    )
    assert not any(PRESETS[name].status for name in PRESETS if name.startswith("tiny"))


def test_reference_rows_name_their_published_file_with_the_beginning_of_its_hash():
    files = [PRESETS[name].checkpoint for name in REFERENCE]
    assert [file[-12:-4] for file in files] == ["94ccc51f", "b555b0e0", "9e71098f", "e3f6e6fd"]
    assert not any(PRESETS[name].checkpoint for name in PAPER)


def test_reference_rows_follow_the_reference_and_all_others_the_paper():
    for name in fsaf.presets.names():
        config = fsaf.presets.get(name)
        assert config.model.convention == ("reference" if name in REFERENCE else "paper")
        if name in REFERENCE:
            assert config.train.clip_norm == 10
            assert config.model.rules.ignoring_scale == (0.5 if name == "r50_ring" else 0.2)
        elif name in PAPER:
            assert config.train.clip_norm is None and config.model.rules.ignoring_scale == 0.5


def test_rows_of_coco_have_its_80_classes_and_the_papers_recipe():
    for name in (*REFERENCE, *PAPER):
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


def test_an_unknown_name_is_a_users_fault_and_says_which_there_are():
    with pytest.raises(FSAFError, match=r"no preset 'r5O': .*r50_ring"):
        fsaf.presets.get("r5O")


# ------------------------------------------------------------------------------------------------------------- conventions


def test_changing_the_convention_flips_every_switch_that_was_not_set_by_hand():
    by_hand = {
        "region_rounding": "overlap",
        "ignore_levels": "adjacent",
    }  # one as in the reference, one as in the paper
    paper = ModelConfig(**by_hand)
    flipped = dataclasses.replace(paper, convention="reference")
    assert paper.rules == dataclasses.replace(CONVENTIONS["paper"], **by_hand)
    assert flipped.rules == dataclasses.replace(CONVENTIONS["reference"], **by_hand)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"class_names": ()}, "class_names is empty"),
        ({"effective_scale": 0.0}, r"effective_scale is 0\.0"),
        ({"effective_scale": 0.6}, r"ignoring_scale is 0\.5"),
        ({"ignoring_scale": 1.5}, r"ignoring_scale is 1\.5"),
        ({"ignoring_scale": 0.1}, r"ignoring_scale is 0\.1"),
        ({"last_level": 8}, r"levels 3\.\.8"),
        ({"first_level": 2}, r"levels 2\.\.7"),
    ],
)
def test_a_configuration_that_means_nothing_is_a_users_fault(fault, words):
    with pytest.raises(FSAFError, match=words):
        ModelConfig(**fault)
