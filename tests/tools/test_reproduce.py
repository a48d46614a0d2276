"""The published table, with a small checkpoint in the published format, a local server and generated scenes."""

import functools
import hashlib
import http.server
import json
import threading
from dataclasses import replace
from itertools import islice

import pytest
import torch

import fsaf_core as fsaf
from fsaf_core import presets
from fsaf_core.config import DataConfig, EvaluateConfig, SceneConfig
from fsaf_core.data.loader import Loader, open_dataset
from fsaf_core.tools import reproduce


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Publish a small detector as row r50, and return the address of its server."""
    torch.manual_seed(0)
    model = replace(
        presets.get("r50").model,
        class_names=presets.get("tiny").model.class_names,
        backbone="resnet18",
        channels=16,
        tower_depth=1,
    )
    file = tmp_path / "server" / "fsaf" / "file.pth"
    file.parent.mkdir(parents=True)
    torch.save({"state_dict": fsaf.to_mmdet(fsaf.build_detector(model)), "meta": {}}, file)
    name = f"fsaf-{hashlib.sha256(file.read_bytes()).hexdigest()[:8]}.pth"
    file.rename(file.with_name(name))
    monkeypatch.setitem(
        presets.PRESETS, "r50", replace(presets.PRESETS["r50"], checkpoint=f"fsaf/{name}")
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "server")
    handler.log_message = lambda *args: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_row_is_downloaded_measured_kept_and_printed_below_the_published_one(published, tmp_path):
    scenes = SceneConfig(num_train=4, num_val=4, image_size=64)
    data = DataConfig(source="scenes", root=str(tmp_path / "data"), workers=0, scenes=scenes)
    options = (tmp_path / "out", tmp_path / "weights", data, ("r50",), torch.device("cpu"))
    text = reproduce.reproduce(*options, published)
    lines = text.splitlines()
    below = lines[lines.index("| r50, published | 37.4 | 3.15 | 0.43 | 13.0 |") + 1]
    measured = json.loads((tmp_path / "out" / "r50.json").read_text())
    assert (
        below
        == f"| r50, here (cpu) | {measured['AP']:.1f} | not measured | not measured | {measured['fps']:.1f} |"
    )
    assert (
        "| x101, here (cpu) | not measured | not measured | not measured | not measured |" in lines
    )
    assert (
        reproduce.reproduce(*options, "http://127.0.0.1:9") == text
    )  # nothing is downloaded again

    assert len([*islice(reproduce._samples(loader_of(data)), 2)]) == 2  # of batches of one image
    for other in ({"device": "another"}, {"set": "another"}):
        (tmp_path / "out" / "r50.json").write_text(json.dumps(measured | other))
        with pytest.raises(fsaf.FSAFError, match=r"r50\.json was measured on another device or"):
            reproduce.reproduce(*options, published)


def loader_of(data):
    """Return the validation set in batches of one image."""
    config = replace(presets.get("tiny"), data=data, evaluate=EvaluateConfig(batch_size=1))
    return Loader(open_dataset(data, "val"), config, training=False)


def test_no_more_images_are_held_than_are_timed(tmp_path, monkeypatch):
    data = DataConfig(
        source="scenes",
        root=str(tmp_path),
        workers=0,
        scenes=SceneConfig(num_train=2, num_val=9, image_size=64),
    )
    samples, yielded = reproduce._samples, []

    def counted(loader):
        for sample in samples(loader):
            yielded.append(sample)
            yield sample

    monkeypatch.setattr(reproduce, "TIMED", 2)
    monkeypatch.setattr(reproduce, "_samples", counted)
    detector = fsaf.build_detector(presets.get("tiny").model)
    measured = reproduce.measure(detector, "tiny", data, torch.device("cpu"))
    assert measured["fps"] > 0 and len(yielded) == 2


def test_a_training_step_is_timed_and_moves_the_weights(monkeypatch):
    monkeypatch.setattr(reproduce, "STEPS", 1)
    config = presets.get("tiny")
    detector = fsaf.build_detector(config.model)
    before = detector.network.head.af_cls.weight.clone()
    images = [torch.zeros(3, 64, 64, dtype=torch.uint8)] * 2
    targets = [{"boxes": torch.tensor([[4.0, 4, 40, 40]]), "labels": torch.tensor([1])}] * 2
    memory, seconds = reproduce.training_speed(detector, config.train, images, targets)
    assert memory == 0 and seconds > 0
    assert not torch.equal(detector.network.head.af_cls.weight, before)


def test_a_row_without_a_published_file_is_refused(tmp_path):
    with pytest.raises(fsaf.FSAFError, match="no published file of 'r50_joint': take rows of r50"):
        reproduce.reproduce(
            tmp_path, tmp_path, DataConfig(), ("r50_joint",), torch.device("cpu"), "http://none"
        )


def test_a_set_of_other_classes_is_refused(tmp_path):
    data = DataConfig(
        source="scenes",
        root=str(tmp_path),
        workers=0,
        scenes=SceneConfig(num_train=2, num_val=2, image_size=64),
    )
    detector = fsaf.build_detector(replace(presets.get("tiny").model, class_names=("one", "two")))
    with pytest.raises(
        fsaf.FSAFError, match=r"the detector has 2 classes and .* has 6: 'one', 'two' are"
    ):
        reproduce.measure(detector, "r50", data, torch.device("cpu"))
