"""Backbone, pyramid, towers, outputs: sizes, what is frozen, and differences from torchvision."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import SMALL
from torch import nn
from torch.nn import functional as F

from fsaf_core.config import ModelConfig
from fsaf_core.model.fpn import FeaturePyramid
from fsaf_core.model.network import Network

R18 = ModelConfig(class_names=("a", "b", "c"), backbone="resnet18", channels=16, tower_depth=1)


def on_paper(config):
    """A network without memory for its weights: for counting."""
    with torch.device("meta"):
        return Network(config)


@pytest.mark.parametrize(
    ("backbone", "millions"),
    [("resnet50", 36.42), ("resnet101", 55.41), ("resnext101_64x4d", 94.32)],
)
def test_parameters_are_as_many_as_in_the_published_models(backbone, millions):
    count = sum(
        parameter.numel() for parameter in on_paper(ModelConfig(backbone=backbone)).parameters()
    )
    assert round(count / 1e6, 2) == millions


def test_the_anchor_free_branch_adds_184400_and_9220_parameters():
    head = on_paper(ModelConfig(branches="joint")).head
    sizes = [
        sum(parameter.numel() for parameter in conv.parameters())
        for conv in (head.af_cls, head.af_box)
    ]
    assert sizes == [184_400, 9_220]
    alone = on_paper(ModelConfig(branches="anchor_based")).head
    assert sum(p.numel() for p in head.parameters()) - sum(
        p.numel() for p in alone.parameters()
    ) == sum(sizes)


def test_the_pyramid_makes_p6_from_c5_and_p7_from_p6_without_a_relu():
    torch.manual_seed(0)
    neck = FeaturePyramid((8, 16, 32), 4, 3, 7)
    c3, c4, c5 = (
        torch.randn(1, width, side, side + 1) for width, side in ((8, 13), (16, 7), (32, 4))
    )
    p3, p4, p5, p6, p7 = neck([c3, c4, c5])
    torch.testing.assert_close(p6, neck.output[3](c5))
    assert (p6 < 0).any(), "a ReLU would change nothing"
    torch.testing.assert_close(p7, neck.output[4](p6))
    torch.testing.assert_close(p5, neck.output[2](neck.lateral[2](c5)))
    up = F.interpolate(neck.lateral[2](c5), size=c4.shape[2:], mode="nearest")
    torch.testing.assert_close(p4, neck.output[1](neck.lateral[1](c4) + up))
    assert [tuple(level.shape[2:]) for level in (p3, p4, p5, p6, p7)] == [
        (13, 14),
        (7, 8),
        (4, 5),
        (2, 3),
        (1, 2),
    ]


@pytest.mark.parametrize(("first", "last"), [(3, 7), (3, 6), (4, 7), (5, 5)])
def test_levels_can_be_chosen(first, last):
    network = Network(replace(SMALL, first_level=first, last_level=last)).eval()
    cls, box, *_ = network(torch.zeros(1, 3, 128, 96))
    assert [tuple(level.shape) for level in cls] == [
        (1, 3, 128 // 2**n, -(-96 // 2**n)) for n in range(first, last + 1)
    ]
    assert [level.shape[1] for level in box] == [4] * (last - first + 1)


@pytest.mark.parametrize(
    ("branches", "filled"), [("anchor_free", "1100"), ("anchor_based", "0011"), ("joint", "1111")]
)
def test_each_branch_has_its_outputs(branches, filled):
    outputs = Network(replace(SMALL, branches=branches)).eval()(torch.zeros(1, 3, 64, 64))
    assert "".join(str(int(bool(maps))) for maps in outputs) == filled
    widths = [maps[0].shape[1] for maps in outputs if maps]
    assert widths == [width for width, there in zip((3, 4, 27, 36), filled) if there == "1"]


@pytest.mark.parametrize(("convention", "bias"), [("paper", 0.1), ("reference", 0.25)])
def test_outputs_start_as_the_paper_says(convention, bias):
    torch.manual_seed(0)
    head = Network(replace(SMALL, channels=64, convention=convention)).head
    assert head.af_cls.bias.tolist() == pytest.approx([-math.log(99)] * 3)
    assert head.af_box.bias.tolist() == pytest.approx([bias] * 4)
    assert head.af_cls.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.af_box.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_box_outputs_are_never_negative():
    network = Network(SMALL).eval()
    nn.init.normal_(network.head.af_box.weight, std=1.0)
    boxes = torch.cat([level.flatten() for level in network(torch.randn(1, 3, 64, 64))[1]])
    assert boxes.min() == 0 and boxes.max() > 0


def test_towers_are_shared_by_the_levels():
    names = {name for name, _ in Network(replace(SMALL, tower_depth=2)).head.named_parameters()}
    assert names == {
        f"{part}.{leaf}" for part in ("cls_tower.0", "cls_tower.2", "box_tower.0", "box_tower.2", "af_cls", "af_box")
        for leaf in ("weight", "bias")
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------- freezing


@pytest.mark.parametrize("stages", [0, 1, 3])
def test_frozen_stages_get_no_gradient_and_all_others_do(stages):
    network = Network(replace(R18, frozen_stages=stages)).train()
    images = torch.randn(2, 3, 64, 64)
    sum(level.sum() for maps in network(images)[:2] for level in maps).backward()
    frozen = ("conv1.", "bn1.", "layer1.") + ("layer2.", "layer3.") * (stages == 3)
    for name, parameter in network.backbone.named_parameters():
        assert (parameter.grad is None) == (stages > 0 and name.startswith(frozen)), name


def test_frozen_norms_keep_their_statistics_in_training_and_learn_their_affine_part():
    network = Network(R18).train()
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    sum(level.sum() for level in network(torch.randn(2, 3, 64, 64))[0]).backward()
    norms = [module for module in network.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 20 and not any(norm.training for norm in norms)
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    assert network.backbone.layer4[0].bn1.weight.grad.abs().sum() > 0


def test_batch_norms_learn_their_statistics_but_not_in_frozen_stages():
    network = Network(replace(R18, backbone_norm="batch", frozen_stages=1)).train()
    before = network.backbone.bn1.running_mean.clone()
    network(torch.randn(2, 3, 64, 64))
    assert torch.equal(network.backbone.bn1.running_mean, before)
    assert network.backbone.layer4[0].bn1.running_mean.abs().sum() > 0


def test_training_again_after_evaluation_keeps_frozen_parts_frozen():
    network = Network(replace(R18, backbone_norm="batch", frozen_stages=1)).train().eval().train()
    assert not network.backbone.bn1.training and network.backbone.layer2[0].bn1.training


def test_a_deeper_backbone_has_torchvisions_names():
    names = set(on_paper(ModelConfig(backbone="resnext101_64x4d")).backbone.state_dict())
    assert "layer3.22.conv3.weight" in names and not any(name.startswith("fc.") for name in names)
