"""The examples of box losses, backbones and callbacks."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from examples.convnext import convnext
from examples.giou import GIoUSelection, giou
from examples.live_curve import LiveCurve
from examples.mobilenet import mobilenet
from examples.tensorboard import TensorBoard
from helpers import SMALL, random_outputs, target
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_config import tiny_config

import fsaf_core as fsaf
from fsaf_core.method.losses import iou_loss
from fsaf_core.method.selection import instance_level_losses

TARGETS = [target([[8, 8, 60, 60]], [0]), target([[4, 6, 40, 44], [50, 2, 61, 30]], [1, 2])]


def test_giou_trains_the_boxes_and_selects_where_it_is_asked_to():
    outputs = random_outputs(2)
    trained, both = (
        fsaf.build_detector(SMALL, parts=parts)
        for parts in (fsaf.Parts(box_loss=giou), fsaf.Parts(None, GIoUSelection(SMALL), giou))
    )
    plain = fsaf.build_detector(SMALL).assign(outputs, TARGETS)
    own, other = (one.assign(outputs, TARGETS) for one in (trained, both))
    assert torch.equal(own.level_losses, plain.level_losses)

    # 1 - GIoU by hand: 1 - IoU + the share of the enclosing box that neither box covers.
    predictions, boxes = trained.predictions(outputs), torch.cat([t["boxes"] for t in TARGETS])
    target_boxes = boxes[own.before_selection]  # background: any box
    iou = iou_loss(predictions.boxes, target_boxes).neg().exp()
    low = torch.minimum(predictions.boxes[..., :2], target_boxes[..., :2])
    high = torch.maximum(predictions.boxes[..., 2:], target_boxes[..., 2:])
    enclosing = (high - low).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (predictions.boxes, target_boxes)]
    union = sum(areas) / (1 + iou)
    by_hand = 1 - iou + (enclosing - union) / enclosing
    loss = trained.losses(outputs, own, TARGETS)["af_box"]
    mean = by_hand[own.positive].mean()
    torch.testing.assert_close(loss, mean, rtol=1e-4, atol=0)  # exp(ln) and the floor of the IoU

    difference = by_hand.detach() - iou_loss(predictions.boxes, target_boxes).detach()
    locations = trained.locations(outputs)
    shift = instance_level_losses(difference, own.before_selection, locations, len(boxes))
    there = plain.level_losses.isfinite()
    torch.testing.assert_close(
        other.level_losses[there], (plain.level_losses + shift)[there], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(
    ("make", "channels", "millions"), [(mobilenet, (40, 112, 960), 2.97), (convnext, (80, 160, 320), 3.37)]
)  # fmt: skip
def test_a_backbone_of_another_library_trains_and_survives_save_load_and_copies(
    make, channels, millions, tmp_path
):
    parts = fsaf.Parts(backbone=make)
    config = replace(SMALL, frozen_stages=0, score_thresh=0.0, short_side=64)
    torch.manual_seed(0)
    detector = fsaf.build_detector(config, parts=parts).train()
    backbone = detector.network.backbone
    assert tuple(backbone.out_channels) == channels
    assert sum(p.numel() for p in backbone.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    images = [torch.rand(3, 64, 96) for _ in TARGETS]
    sum(detector(images, TARGETS).values()).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())

    with torch.no_grad():  # scores that differ from location to location
        torch.nn.init.normal_(detector.network.head.af_cls.weight)
    found = detector.predict(images[0])  # in training mode: with a copy in evaluation mode
    fsaf.save(detector, tmp_path / "x.safetensors")
    again = fsaf.load(tmp_path / "x.safetensors", parts).predict(images[0])
    assert len(found["boxes"]) == 100 and torch.equal(found["boxes"], again["boxes"])
    assert torch.equal(found["scores"], again["scores"])


@pytest.mark.parametrize("number", range(4))
def test_the_readmes_blocks_train(number, monkeypatch, capsys):
    """What a block hands to `train` makes a detector with finite losses, and a callback that prints."""
    page = (Path(__file__).parents[2] / "README.md").read_text()
    section = page.split("## Change one thing\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    assert len(list(filter(None, blocks[number].splitlines()))) <= 10

    def train(config, out, callbacks=(), **parts):
        detector = fsaf.build_detector(config.model, **parts)
        losses = detector([torch.rand(3, 64, 96)] * 2, TARGETS)
        assert all(loss.isfinite() and loss > 0 for loss in losses.values())
        for callback in callbacks:
            callback.on_step(None, None)
            callback.on_step(None, {"step": 20, "loss": 1.5, "grad_norm": 2.5})

    monkeypatch.setattr(fsaf, "train", train)
    exec(blocks[number], {})
    assert capsys.readouterr().out == ("20 1.5 2.5\n" if "Callback" in blocks[number] else "")


def test_tensorboard_and_the_live_curve_show_a_training(root, tmp_path):
    config = tiny_config(root, steps=4, log_every=1)
    curve, folder = LiveCurve(), tmp_path / "board"
    result = fsaf.train(config, tmp_path / "run", "cpu", callbacks=[TensorBoard(folder), curve])
    board = EventAccumulator(str(folder))
    board.Reload()
    losses = {event.step: event.value for event in board.Scalars("train/loss")}
    assert [*losses] == curve.steps == [1, 2, 3, 4]
    assert [*losses.values()] == pytest.approx(curve.losses["loss"], rel=1e-6)  # float32 there
    assert board.Scalars("validation/AP")[-1].value == pytest.approx(result.metrics["AP"], abs=1e-6)
    assert {"levels/P3", "train/lr"} <= {*board.Tags()["scalars"]}

    picture = np.asarray(Image.open(io.BytesIO(curve.image.value)).convert("RGB"))
    assert picture.shape == (240, 480, 3)
    colors = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
    assert {(31, 119, 180), (255, 127, 14), (44, 160, 44)} <= colors  # a line for each loss
