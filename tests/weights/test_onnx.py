"""The exported network finds what the eager one finds."""

import dataclasses

import numpy as np
import pytest
import torch

import fsaf_core as fsaf
from fsaf_core.model.postprocess import merge_candidates
from fsaf_core.weights.onnx import Exported, export


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
        for index, expected in enumerate(wanted):
            merged = merge_candidates(boxes[index], scores[index], labels[index], model.config)
            assert len(merged["scores"]) == len(expected["scores"])
            torch.testing.assert_close(merged["scores"], expected["scores"], atol=1e-4, rtol=0)
            rows = [  # sorted, because equal scores may change places
                sorted((label, *box) for box, label in zip(one["boxes"].numpy().round(2), one["labels"].tolist()))
                for one in (merged, expected)
            ]  # fmt: skip
            np.testing.assert_allclose(*map(np.array, rows), atol=2e-2)


@pytest.mark.parametrize("convention", ["paper", "reference"])
def test_the_graph_before_export_finds_what_the_detector_finds(convention):
    model = detector(convention)
    graph = Exported(model).eval()
    check(
        model,
        lambda images: [output.detach() for output in graph(images)],
        [(1, 128, 128), (2, 96, 160)],
    )


@pytest.mark.slow
def test_onnxruntime_finds_what_the_detector_finds_at_three_sizes(tmp_path, unchecked):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = detector("reference")
    session = onnxruntime.InferenceSession(export(model, tmp_path / "tiny.onnx"))
    check(
        model,
        lambda images: map(torch.from_numpy, session.run(None, {"images": images.numpy()})),
        [(1, 128, 128), (2, 96, 160), (1, 320, 256)],
    )


def test_a_joint_detector_is_refused_in_a_sentence():
    with pytest.raises(fsaf.FSAFError, match="only anchor_free detectors are exported"):
        Exported(fsaf.build_detector(fsaf.presets.get("tiny_joint").model))
