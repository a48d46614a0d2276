"""The exported network finds what the eager one finds."""

import dataclasses
import json

import jaxtyping
import numpy as np
import pytest
import torch

import fsaf_core as fsaf
from fsaf_core.cli import main
from fsaf_core.cli.commands import Evaluate
from fsaf_core.config import TrainConfig
from fsaf_core.model.postprocess import merge_candidates
from fsaf_core.weights.onnx import Exported, OnnxDetector, export

# Two float32 results of a logit below 10 differ by at most 10 * 128 U, as `tests/parity` derives, and
# a sigmoid's slope is at most 1 / 4.
ROUNDING = 2.5 * 128 * 2**-24


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


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a detector and its file."""
    model = detector("reference")
    model.category_ids = (3, 4, 5, 6, 7, 8)
    path = tmp_path_factory.mktemp("onnx") / "new" / "tiny.onnx"
    with pytest.MonkeyPatch.context() as patch:  # checked shapes would be constants of the graph
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        return model, export(model, path)


def test_onnxruntime_finds_what_the_detector_finds_at_any_size(exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, path = exported
    session = onnxruntime.InferenceSession(path)
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


def test_a_file_predicts_what_its_detector_predicts(exported):
    model, path = exported
    from_file, rng = OnnxDetector(path), np.random.default_rng(0)
    assert (from_file.config, from_file.category_ids) == (model.config, model.category_ids)
    frames = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((61, 90), (200, 128))]
    for ours, theirs in zip(from_file.predict(frames), model.predict(frames), strict=True):
        assert len(ours["scores"]) == len(theirs["scores"]) > 10
        torch.testing.assert_close(ours["scores"], theirs["scores"], rtol=0, atol=ROUNDING)
        assert ours["boxes"][:, 2].max() <= theirs["boxes"][:, 2].max() + 0.01


def test_the_commands_take_a_file_as_they_take_weights(exported, tmp_path, capsys):
    model, path = exported
    weights = tmp_path / "model.safetensors"
    scenes = "--data.scenes.num-train 1 --data.scenes.num-val 6 --data.scenes.image-size 64"
    data = [
        "--data.source",
        "scenes",
        "--data.root",
        tmp_path,
        *scenes.split(),
        "--data.workers",
        0,
    ]
    fsaf.save(model, weights)
    for tta in ("--evaluate.no-tta", "--evaluate.tta"):
        scores = []
        for number, file in enumerate((path, weights)):
            out = tmp_path / f"{tta}{number}"
            assert main([*map(str, ["evaluate", file, *data, "--out", out, tta])]) == 0
            results = json.loads((out / "detections.json").read_text())
            scores.append(sorted(one["score"] for one in results))
            assert len(json.loads((out / "pictures.json").read_text())["images"]) == 6
        assert len(scores[0]) > 100
        assert scores[0] == pytest.approx(scores[1], abs=ROUNDING)
    picture = json.loads((out / "pictures.json").read_text())["images"][0]["file"]
    out = tmp_path / "found"
    assert main([*map(str, ["predict", picture, "--weights", path, "--out", out])]) == 0
    found = json.loads((out / "detections.json").read_text())
    assert found and {one["category_id"] for one in found} <= {*model.category_ids}
    for option in (["--device", "cuda"], ["--amp", "bf16"]):
        for command in (["evaluate", path, *data], ["predict", picture, "--weights", path]):
            assert main([*map(str, [*command, *option])]) == 2
            assert "runs on the CPU in float32: leave out" in capsys.readouterr().err


def test_a_file_of_a_bf16_run_is_evaluated_in_float32(exported, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps(dataclasses.asdict(
        dataclasses.replace(fsaf.presets.get("tiny"), train=TrainConfig(amp="bf16"))
    )))  # fmt: skip
    path = tmp_path / "x.onnx"
    path.write_bytes(exported[1].read_bytes())
    parsed = []
    monkeypatch.setattr(Evaluate, "__call__", lambda self: parsed.append(self))
    assert main(["evaluate", str(path)]) == 0
    assert parsed[0].amp == "none"


def test_what_is_no_file_of_an_export_is_said_in_a_sentence(exported, tmp_path):
    onnx = pytest.importorskip("onnx")
    with pytest.raises(fsaf.FSAFError, match=r"no\.onnx does not exist: give"):
        OnnxDetector(tmp_path / "no.onnx")
    damaged, foreign = tmp_path / "damaged.onnx", tmp_path / "foreign.onnx"
    damaged.write_bytes(exported[1].read_bytes()[:1000])
    with pytest.raises(fsaf.FSAFError, match=r"damaged\.onnx cannot be read .*: export it again"):
        OnnxDetector(damaged)
    model = onnx.load(exported[1])
    del model.metadata_props[:]
    onnx.save(model, foreign)
    with pytest.raises(fsaf.FSAFError, match=r"foreign\.onnx was not written by fsaf export"):
        OnnxDetector(foreign)


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
