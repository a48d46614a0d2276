"""The exported network finds what the eager one finds."""

import dataclasses

import numpy as np
import pytest
import torch

import fsaf_core as fsaf
from fsaf_core.weights.onnx import Exported, export, suppress


def detector(convention):
    torch.manual_seed(0)
    model = fsaf.build_detector(
        dataclasses.replace(fsaf.presets.get("tiny").model, convention=convention)
    ).eval()
    torch.nn.init.normal_(model.network.head.af_cls.weight, std=0.3)
    torch.nn.init.constant_(model.network.head.af_cls.bias, -2.0)
    return model


def check(model, run, sizes):
    for batch, height, width in sizes:
        images = torch.rand(
            batch, 3, height, width, generator=torch.Generator().manual_seed(height)
        )
        boxes, scores, labels = run(images)
        with torch.no_grad():
            wanted = model(list(images))
        for index, found in enumerate(wanted):
            kept = suppress(boxes[index], scores[index], labels[index])
            assert len(kept) == len(found["scores"])
            np.testing.assert_allclose(scores[index][kept], found["scores"].numpy(), atol=1e-4)
            mine = sorted(
                (label, *box.round(2))
                for box, label in zip(boxes[index][kept], labels[index][kept])
            )
            theirs = sorted(
                (label, *box.round(2))
                for box, label in zip(found["boxes"].numpy(), found["labels"].numpy())
            )
            np.testing.assert_allclose(
                np.array(mine), np.array(theirs), atol=2e-2
            )  # equal scores may change places


@pytest.mark.parametrize("convention", ["paper", "reference"])
def test_the_graph_before_export_finds_what_the_detector_finds(convention):
    model = detector(convention)
    graph = Exported(model).eval()
    check(
        model,
        lambda images: [out.detach().numpy() for out in graph(images)],
        [(1, 128, 128), (2, 96, 160)],
    )


@pytest.mark.slow
def test_onnxruntime_finds_what_the_detector_finds_at_three_sizes(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = detector("reference")
    session = onnxruntime.InferenceSession(export(model, tmp_path / "tiny.onnx"))
    check(
        model,
        lambda images: session.run(None, {"images": images.numpy()}),
        [(1, 128, 128), (2, 96, 160), (1, 320, 256)],
    )


def test_a_joint_detector_is_refused_in_a_sentence():
    with pytest.raises(fsaf.FSAFError, match="only anchor_free detectors are exported"):
        Exported(fsaf.build_detector(fsaf.presets.get("tiny_joint").model))


def test_suppress_keeps_the_better_of_two_of_a_class_and_both_of_two_classes():
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9.5], [5, 5, 5, 9]], dtype=np.float32
    )
    kept = suppress(boxes, np.array([0.5, 0.9, 0.4, 0.99]), np.array([0, 0, 1, 0]))
    assert kept.tolist() == [1, 2]  # 0 falls to 1, 2 is of another class, 3 has no area
