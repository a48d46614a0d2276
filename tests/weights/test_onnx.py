"""The exported network finds what the eager one finds."""

import dataclasses
import json

import pytest
import torch
from torch import nn

import fsaf_core as fsaf
from fsaf_core.config import ModelConfig
from fsaf_core.model.network import Network
from fsaf_core.model.postprocess import merge_candidates
from fsaf_core.weights.onnx import Exported, export, fold_norms


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
            rows = [
                torch.cat([one["labels"][:, None], one["boxes"]], 1) for one in (merged, expected)
            ]
            # Scores that are equal within rounding change places, and NMS follows their order.
            distance = (rows[0][:, None] - rows[1]).abs().amax(2)
            assert (distance.amin(1) < 2e-2).float().mean() >= 0.98


@pytest.mark.parametrize("convention", ["paper", "reference"])
def test_the_graph_before_export_finds_what_the_detector_finds(convention):
    model = detector(convention)
    graph = Exported(model).eval()
    check(
        model,
        lambda images: [output.detach() for output in graph(images)],
        [(1, 128, 128), (2, 96, 160), (1, 61, 100)],
    )


def test_a_detector_of_half_precision_is_exported_as_float32():
    half = detector("paper").half()
    graph = Exported(half).eval()
    assert {value.dtype for value in (*graph.parameters(), graph.mean)} == {torch.float32}
    boxes, scores, _ = graph(torch.rand(1, 3, 64, 64))
    assert boxes.isfinite().all() and scores.dtype == torch.float32
    assert half.network.head.af_cls.weight.dtype == torch.float16


@pytest.mark.slow
def test_onnxruntime_finds_what_the_detector_finds_at_any_size(tmp_path, unchecked):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = detector("reference")
    model.category_ids = (3, 4, 5, 6, 7, 8)
    session = onnxruntime.InferenceSession(export(model, tmp_path / "new" / "tiny.onnx"))
    check(
        model,
        lambda images: map(torch.from_numpy, session.run(None, {"images": images.numpy()})),
        [(1, 128, 128), (2, 96, 160), (1, 320, 256), (1, 61, 100), (2, 255, 33)],
    )
    given = {
        name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()
    }
    config = dataclasses.asdict(model.config) | {"category_ids": model.category_ids}
    assert given.items() >= json.loads(json.dumps(config)).items()


def test_an_export_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"old")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.onnx, "export", stop)
    with pytest.raises(KeyboardInterrupt):
        export(detector("paper"), path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_a_joint_detector_is_refused_in_a_sentence():
    with pytest.raises(fsaf.FSAFError, match="only anchor_free detectors are exported"):
        Exported(fsaf.build_detector(fsaf.presets.get("tiny_joint").model))


def test_folded_norms_give_equal_outputs():
    torch.manual_seed(1)
    config = ModelConfig(backbone="resnet18", channels=16, tower_depth=1)
    network = Network(config).eval()
    for module in network.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.2, 0.6)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        folded = fold_norms(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        for ours, theirs in zip(
            network.neck(network.features(images)), folded.neck(folded.features(images))
        ):
            assert ours.std() > 0.01
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
