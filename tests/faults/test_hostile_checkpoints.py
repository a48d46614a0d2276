"""Weights and checkpoints from strangers: refused in one sentence, without running their code or taking memory."""

import io
import json
import os
import pickle
import resource
import shutil
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from helpers import SMALL
from safetensors.torch import load_file, save_file
from tiny_config import tiny_config

import fsaf_core as fsaf
from fsaf_core.cli import main
from fsaf_core.config import FSAFError, ModelConfig
from fsaf_core.engine.train import train
from fsaf_core.engine.training_state import save_training
from fsaf_core.weights import inert_pickle
from fsaf_core.weights.checkpoint import read_training, read_weights
from fsaf_core.weights.formats import load_weights

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("good") / "model.safetensors"
    fsaf.save(fsaf.build_detector(SMALL), path)
    return path


@pytest.fixture(scope="module")
def published() -> dict:
    """A narrow ResNet-18's weights under MMDetection's names."""
    torch.manual_seed(0)
    return fsaf.to_mmdet(
        fsaf.build_detector(
            ModelConfig(class_names=("a", "b"), backbone="resnet18", channels=8, tower_depth=1)
        )
    )


@pytest.fixture(autouse=True)
def memory_stays_small():
    """No test here may take more than 1 GB, whatever its file claims."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


def refused(read, path, *words) -> str:
    """What is said: one sentence that names the file."""
    with pytest.raises(FSAFError) as fault:
        read(path)
    text = str(fault.value)
    assert Path(path).name in text and "\n" not in text and len(text) < 600, text
    assert all(word in text for word in words), text
    return text


# Pickles that run code


class Touch:
    """Unpickling it writes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.open, (self.path, os.O_CREAT)


class Shell(Touch):
    """Unpickling it gives a command to the shell."""

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


class Code(Touch):
    """Unpickling it evaluates a text."""

    def __reduce__(self):
        return eval, (f"open({self.path!r}, 'w')",)


HIDDEN = ["bare", "legacy", "pickle", "state_dict", "deep", "tensor"]


@pytest.mark.parametrize("trap", [Touch, Shell, Code])
@pytest.mark.parametrize("where", HIDDEN)
def test_no_code_of_a_file_is_run(trap, where, published, tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "step_000000001.pth"
    evil = trap(touched)
    contents = {
        "bare": evil,
        "state_dict": {"state_dict": dict(published, evil=evil)},
        "deep": {"model": {}, "step": 1, "config": {"model": {}}, "random": [[{"a": (evil,)}]]},
        "tensor": {"state_dict": published, "meta": {evil: 1}},
    }.get(where, {"state_dict": published, "meta": evil})
    if where == "pickle":
        path.write_bytes(pickle.dumps(contents))
    else:
        torch.save(contents, path, _use_new_zipfile_serialization=where != "legacy")
    if where == "tensor":  # the weights are read, and what lies beside them is not
        assert fsaf.load_mmdet(path).config.num_classes == 2
    else:
        refused(fsaf.load_mmdet, path)
    refused(read_training, path)
    refused(fsaf.load, path)
    path = path.rename(path.with_suffix(".pt"))
    refused(read_weights, path)
    refused(lambda file: load_weights(fsaf.build_detector(SMALL), file), path)
    assert (
        main(["evaluate", str(path)]) == main(["export", str(path), str(tmp_path / "x.onnx")]) == 2
    )
    assert not touched.exists()
    with suppress(Exception):
        torch.load(path, weights_only=False)
    assert touched.exists()  # the trap does work where one is careless


def torch_zip(pickled: bytes) -> bytes:
    """A file of torch whose pickle is given."""
    plain, changed = io.BytesIO(), io.BytesIO()
    torch.save({}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(changed, "w") as target:
        for entry in source.infolist():
            own = source.read(entry)
            target.writestr(entry, pickled if entry.filename.endswith("data.pkl") else own)
    return changed.getvalue()


def dangerous(path) -> dict[str, bytes]:
    """Pickles, opcode by opcode, that call, build or change something."""
    command, end = f"touch '{path}'".encode(), b"."
    system = b"cposix\nsystem\n"
    text = b"X" + struct.pack("<I", len(command)) + command
    rebuild, ordered = b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"
    return {
        "reduce": system + b"(" + text + b"tR" + end,
        "eval": b"cbuiltins\neval\n(" + text + b"tR" + end,
        "new object": b"\x80\x02" + system + text + b"\x85\x81" + end,
        "instance": b"(" + text + b"iposix\nsystem\n" + end,
        "object": b"(" + system + text + b"o" + end,
        "dotted": b"\x80\x04\x8c\x05torch\x8c\x12serialization.os.x\x93)R" + end,
        "built by setstate": system + b")R}X\x01\x00\x00\x00a" + text + b"sb" + end,
        "class changed": rebuild + b"}X\x07\x00\x00\x00__new__" + system + b"sb" + end,
        "slots changed": ordered + b"N}X\x0b\x00\x00\x00__setitem__" + system + b"s\x86b" + end,
        "called twice": system + b")R(" + text + b"tR" + end,
        "item of a class": ordered + text + system + b"s" + end,
        "appended": system + b")R" + text + b"a" + end,
        "storage": rebuild + b"(" + system + b"K\x00)))tR" + end,
        "rebuilt by type": b"ctorch._tensor\n_rebuild_from_type_v2\n("
        + system
        + text
        + b"}tR"
        + end,
        "persistent": text + b"Q" + end,
        "partial": b"cfunctools\npartial\n(" + system + b"tR(" + text + b"tR" + end,
    }


@pytest.mark.parametrize("kind", dangerous("x"))
def test_no_opcode_of_a_pickle_runs_or_changes_anything(kind, tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "x.pth"
    parts = (inert_pickle.Inert, *inert_pickle.KNOWN.values())
    before = [dict(part.__dict__) for part in parts]
    path.write_bytes(torch_zip(dangerous(touched)[kind]))
    refused(fsaf.load_mmdet, path)
    assert not touched.exists() and before == [dict(part.__dict__) for part in parts]


def test_a_torchscript_archive_with_a_wrong_name_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("it was loaded"))
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "x.pth")
    refused(fsaf.load_mmdet, tmp_path / "x.pth", "no checkpoint of torch")


# Files that claim more than they are


def packed(contents) -> bytes:
    """What torch would write, but deflated."""
    plain, small = io.BytesIO(), io.BytesIO()
    torch.save(contents, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    return small.getvalue()


def test_a_checkpoint_that_would_unpack_to_hundreds_of_times_its_size_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    path.write_bytes(packed({"state_dict": {"more": torch.zeros(30_000_000)}}))
    assert path.stat().st_size < 120e6 / 500
    tracemalloc.start()
    refused(fsaf.load_mmdet, path)
    refused(read_training, path, "unpack to more than it holds")
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


@pytest.mark.parametrize("size", [10**6, 10**9])
def test_a_tensor_of_a_few_bytes_that_claims_gigabytes_is_refused(size, published, tmp_path):
    path = tmp_path / "claims.pth"
    torch.save(
        dict(published, **{"bbox_head.retina_cls.weight": torch.zeros(()).expand(size, 8, 3, 3)}),
        path,
    )
    refused(fsaf.load_mmdet, path)


def test_shapes_that_ask_for_a_giant_network_are_refused_before_it_is_built(published, tmp_path):
    path = tmp_path / "wide.pth"
    for channels in (4000, 10**6):
        wide = {"bbox_head.retina_cls.weight": torch.zeros(1, channels, 1, 1)}
        refused(fsaf.load_mmdet, _saved(dict(published, **wide), path), "wide.pth")
    deep = {f"bbox_head.cls_convs.{number}.conv.weight": torch.zeros(1) for number in range(3000)}
    refused(fsaf.load_mmdet, _saved(dict(published, **deep), path), "tower_depth is 3000")


def _saved(contents, path):
    torch.save(contents, path)
    return path


# Tensors that are none


def kinds():
    values = torch.ones(8)
    return {
        "integers": torch.ones(8, dtype=torch.int64),
        "complex": torch.ones(8, dtype=torch.complex64),
        "bool": torch.ones(8, dtype=torch.bool),
        "sparse": values.to_sparse(),
        "meta": torch.ones(8, device="meta"),
        "quantised": torch.quantize_per_tensor(values, 0.1, 0, torch.qint8),
        "nan": values * NAN,
        "inf": values * INF,
        "one nan in half": torch.tensor([1.0] * 7 + [NAN]).half(),
        "text": "ones",
        "number": 1.0,
        "none": None,
        "list": [1.0] * 8,
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", kinds())
def test_what_is_no_tensor_of_numbers_is_refused_by_name(kind, published, tmp_path):
    path = _saved(
        dict(published, **{"neck.fpn_convs.0.conv.bias": kinds()[kind]}), tmp_path / "x.pth"
    )
    said = refused(fsaf.load_mmdet, path)
    assert "neck.fpn_convs.0.conv.bias" in said or "no checkpoint" in said
    detector = fsaf.build_detector(SMALL)
    state = dict(detector.state_dict(), **{"network.neck.output.0.bias": kinds()[kind]})
    training = save_training(tmp_path, {"model": state, "config": {"model": {}}, "step": 1}, keep=1)
    said = refused(lambda file: load_weights(detector, file), training)
    assert "network.neck.output.0.bias" in said or "another kind" in said or "no readable" in said


@pytest.mark.parametrize("number", [NAN, INF, -INF])
def test_non_finite_weights_are_refused_from_our_own_file_too(number, good, tmp_path):
    detector = fsaf.load(good)
    with torch.no_grad():
        detector.network.head.af_cls.weight[0, 0, 0, 0] = number
    fsaf.save(detector, tmp_path / "x.safetensors")
    refused(
        fsaf.load,
        tmp_path / "x.safetensors",
        "network.head.af_cls.weight (holds non-finite values)",
    )


# safetensors whose header lies


def safetensors(header, tail=b"", length=None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + tail


def entry(start, end, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


HEADERS = {
    "length beyond the file": safetensors({}, length=10**6),
    "length of the universe": safetensors({}, length=2**63),
    "length 0": safetensors({}, length=0),
    "no json": safetensors(b"hello"),
    "deep": safetensors(b'{"a":' * 100_000),
    "list": safetensors([1]),
    "overlap": safetensors({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)),
    "hole": safetensors({"a": entry(0, 8), "b": entry(16, 24)}, bytes(24)),
    "beyond the end": safetensors({"a": entry(0, 8)}, bytes(4)),
    "far beyond": safetensors({"a": entry(0, 4 * 10**15, shape=(10**15,))}, bytes(8)),
    "backwards": safetensors({"a": entry(8, 0)}, bytes(8)),
    "negative": safetensors({"a": entry(-8, 0)}, bytes(8)),
    "shape of another size": safetensors({"a": entry(0, 8, shape=(10**9,))}, bytes(8)),
    "shape that overflows": safetensors({"a": entry(0, 8, shape=(2**40, 2**40))}, bytes(8)),
    "negative shape": safetensors({"a": entry(0, 8, shape=(-2,))}, bytes(8)),
    "unknown type": safetensors({"a": entry(0, 8, dtype="X9")}, bytes(8)),
    "strange type": safetensors({"a": entry(0, 2, dtype="F8_E5M2")}, bytes(2)),
    "type of a number": safetensors({"a": entry(0, 8, dtype=32)}, bytes(8)),
    "twice": safetensors(
        json.dumps({"a": entry(0, 8), "b": entry(0, 8)}).replace('"b"', '"a"').encode(), bytes(8)
    ),
    "metadata of numbers": safetensors({"__metadata__": {"fsaf": 1}}),
    "nothing": safetensors({}),
    "only metadata": safetensors({"__metadata__": {"fsaf": "{}"}}),
    "path as a name": safetensors({"../../../tmp/x": entry(0, 8)}, bytes(8)),
    "NUL in a name": safetensors({"a\0b": entry(0, 8)}, bytes(8)),
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_safetensors_whose_header_lies_is_refused_in_one_sentence(header, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(HEADERS[header])
    refused(fsaf.load, path)
    with pytest.raises(FSAFError):
        load_weights(fsaf.build_detector(SMALL), path)
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_a_header_of_hundreds_of_megabytes_is_refused_unread(tmp_path):
    path = tmp_path / "x.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 300 * 10**6))
        file.truncate(300 * 10**6 + 8)  # a hole: takes no room
    refused(fsaf.load, path)


FIELDS = [
    ("channels", 10**9), ("channels", 0), ("channels", -8), ("channels", "8"), ("channels", 8.0), ("channels", None),
    ("channels", True), ("channels", [8]), ("channels", 10**400), ("tower_depth", 10**9), ("tower_depth", -1),
    ("tower_depth", {}),
    ("class_names", 3), ("class_names", []), ("class_names", "abc"), ("class_names", [1, 2]), ("class_names", [["a"]]),
    ("class_names", {"a": 1}),
    ("backbone", "resnet999"), ("backbone", "../../resnet18"), ("backbone", 18), ("backbone", None), ("backbone_norm", "evil"), ("first_level", "3"),
    ("last_level", 5.5), ("effective_scale", NAN), ("effective_scale", "x"),
    ("ignoring_scale", INF), ("cell_center", NAN), ("cell_center", [0]), ("image_mean", [1, 2]), ("image_mean", "abc"),
    ("image_std", [NAN, 1, 1]), ("image_std", None), ("short_side", 10**9), ("short_side", -1), ("long_side", 0),
    ("size_divisor", 0), ("size_divisor", 10**9), ("score_thresh", "0.5"), ("score_thresh", NAN),
    ("topk_candidates", -1), ("topk_candidates", 10**12),
    ("nms_thresh", [0.5]), ("nms_thresh", 7), ("detections_per_img", 0), ("offset_normalizer", NAN), ("__class__", "x"),
    ("convention", "mine"), ("branches", ["joint"]), ("selection", None), ("../x", 1),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), FIELDS, ids=lambda part: str(part)[:20])
def test_a_field_of_the_header_that_cannot_be_is_named(field, value, good, tmp_path, unchecked):
    path, values = tmp_path / "x.safetensors", {**asdict(SMALL), field: value}
    save_file(load_file(good), path, {"fsaf": json.dumps({"model": values})})
    assert field in refused(fsaf.load, path, "model field")


NO_HEADERS = [
    "",
    "null",
    "3",
    '"x"',
    "[]",
    '{"model": null}',
    '{"model": 3}',
    '{"model": []}',
    "{" * 10**5,
    '{"a":' * 10**5,
]


@pytest.mark.parametrize("text", NO_HEADERS, ids=range(len(NO_HEADERS)))
def test_a_header_that_is_no_configuration_is_refused(text, good, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(load_file(good), path, {"fsaf": text})
    refused(fsaf.load, path)


def test_a_configuration_that_asks_for_far_more_than_the_file_holds_is_refused_before_it_is_built(
    good, tmp_path
):
    path = tmp_path / "x.safetensors"
    huge = replace(SMALL, backbone="resnet101", channels=4096, tower_depth=32)  # 40 GB
    save_file(load_file(good), path, {"fsaf": json.dumps({"model": asdict(huge)})})
    refused(fsaf.load, path, "does not fit its own configuration")


# The checkpoint of a run


@pytest.fixture(scope="module")
def stopped(root, tmp_path_factory):
    """A run stopped before its end: its folder, its configuration."""
    run, config = (
        tmp_path_factory.mktemp("runs") / "run",
        tiny_config(root, epochs=None, steps=2, checkpoint_every=1, validate_every=5),
    )
    train(config, run, "cpu")
    (run / "model.safetensors").unlink()
    return run, config


BROKEN = {
    "no optimizer": lambda state: state.pop("optimizer"),
    "optimizer of another kind": lambda state: state.update(optimizer=[1]),
    "optimizer of other groups": lambda state: state["optimizer"].update(param_groups=[]),
    "random states of another kind": lambda state: state.update(
        random={"python": 1, "numpy": 2, "torch": 3, "cuda": []}
    ),
    "random state cut off": lambda state: state["random"].update(
        torch=torch.zeros(3, dtype=torch.uint8)
    ),
    "step as text": lambda state: state.update(step="1"),
    "step beyond the end": lambda state: state.update(step=10**9),
    "step before the start": lambda state: state.update(step=-5),
    "step no number": lambda state: state.update(step=NAN),
    "no steps_per_epoch": lambda state: state.pop("steps_per_epoch"),
    "meters of another kind": lambda state: state.update(meters=3),
    "sums of another kind": lambda state: state["meters"].update(sums={"loss": "much"}),
    "model missing a tensor": lambda state: state["model"].popitem(),
    "model of another width": lambda state: state.update(
        model={name: torch.zeros(3) for name in state["model"]}
    ),
    "config of another kind": lambda state: state.update(config=3),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_run_does_not_go_on_from_a_checkpoint_that_does_not_fit(how, stopped, tmp_path):
    run, config = stopped
    folder = shutil.copytree(run, tmp_path / "run")
    last = sorted((folder / "checkpoints").glob("*.pt"))[-1]
    state = torch.load(last, weights_only=True)
    BROKEN[how](state)
    torch.save(state, last)
    before = last.read_bytes()
    if how == "config of another kind":
        refused(read_weights, last)
    else:
        refused(lambda file: train(config, folder, "cpu"), last, "delete it")
    assert last.read_bytes() == before


def test_a_damaged_log_or_configuration_is_one_sentence(stopped, tmp_path, capsys):
    run, config = stopped
    folder = shutil.copytree(run, tmp_path / "run")
    with open(folder / "log.jsonl", "r+") as log:
        log.write("#")
    refused(lambda file: train(config, folder, "cpu"), folder / "log.jsonl", "damaged line")
    (folder / "config.json").write_text('{"model": {}')
    assert main(["evaluate", str(folder / "best.safetensors")]) == 2
    said = capsys.readouterr().err
    assert "config.json" in said and "Traceback" not in said and len(said.splitlines()) == 1
