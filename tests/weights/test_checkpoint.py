"""Files of weights: loaded unchanged, free of pickles, and clear about what does not fit."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import fsaf_core as fsaf
from fsaf_core.config import FSAFError
from fsaf_core.engine.training_state import save_training
from fsaf_core.weights.checkpoint import OLD_FIELDS, model_config, read_weights
from fsaf_core.weights.formats import load_any, load_weights

SMALL = replace(fsaf.presets.get("tiny").model, channels=16, tower_depth=1)


@pytest.fixture
def detector() -> fsaf.Detector:
    torch.manual_seed(0)
    return fsaf.build_detector(SMALL)


def test_a_saved_detector_comes_back_with_its_weights_and_its_configuration(detector, tmp_path):
    fsaf.save(detector, tmp_path / "new" / "x.safetensors")
    again = fsaf.load(tmp_path / "new" / "x.safetensors")
    assert again.config == detector.config
    assert not again.training
    assert all(
        torch.equal(a, b)
        for a, b in zip(detector.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_a_file_is_named_so_that_it_can_be_read_again(detector, tmp_path):
    for name in ("mine.pth", "mine.pt", "mine"):
        with pytest.raises(FSAFError, match=r"named \.safetensors"):
            fsaf.save(detector, tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_channels_last_weights_are_written_and_read(detector, tmp_path):
    fsaf.save(detector.to(memory_format=torch.channels_last), tmp_path / "x.safetensors")
    again = fsaf.load(tmp_path / "x.safetensors").state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in detector.state_dict().items())


def test_half_precision_halves_the_file_and_comes_back_as_float(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    fsaf.save(detector, tmp_path / "half.safetensors", half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("x", "half"))
    assert half < 0.55 * whole
    again = fsaf.load(tmp_path / "half.safetensors").state_dict()
    for name, tensor in detector.state_dict().items():
        assert again[name].dtype == tensor.dtype
        assert torch.allclose(again[name], tensor, atol=1e-3, rtol=1e-3)


def test_missing_foreign_and_damaged_files_are_one_sentence_each(detector, tmp_path):
    with pytest.raises(fsaf.FSAFError, match="does not exist"):
        fsaf.load(tmp_path / "none.safetensors")
    with pytest.raises(fsaf.FSAFError, match="is a folder"):
        fsaf.load(tmp_path)
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(fsaf.FSAFError, match="no readable safetensors"):
        fsaf.load(tmp_path / "text.safetensors")
    fsaf.save(detector, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(fsaf.FSAFError, match="no readable safetensors"):
        fsaf.load(tmp_path / "cut.safetensors")
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(fsaf.FSAFError, match="no FSAF configuration"):
        fsaf.load(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("header", ["{", "[]", '{"model": {"channels": "x", "class_names": 3}}'])
def test_a_damaged_header_is_one_sentence(header, detector, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors", {"fsaf": header})
    with pytest.raises(fsaf.FSAFError, match=r"x\.safetensors"):
        fsaf.load(tmp_path / "x.safetensors")


def test_a_field_of_a_later_version_is_named(detector, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors", {"fsaf": '{"model": {"wings": 2}}'})
    with pytest.raises(fsaf.FSAFError, match=r"'wings'.*update"):
        fsaf.load(tmp_path / "x.safetensors")


FIRST_EDITION = replace(
    SMALL, region_rounding="overlap", ignore_levels="all", same_class_overlap="erase"
)


def first_edition_header(config):
    """The fields as the first edition named them, without those that it did not have."""
    old_names = {name: old for old, name in OLD_FIELDS.items()}
    return {
        old_names.get(name, name): value
        for name, value in asdict(config).items()
        if name not in ("focal_alpha", "focal_gamma")
    }


def test_a_file_of_the_first_edition_loads_with_all_its_fields(tmp_path):
    first = fsaf.build_detector(FIRST_EDITION)
    model = first_edition_header(FIRST_EDITION)
    assert {"body", "body_norm", "cells", "other_levels", "same_class"} <= model.keys()
    assert "backbone" not in model and model["body"] == "tiny" and model["cells"] == "overlap"
    state = {name: tensor.contiguous() for name, tensor in first.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors", {"fsaf": json.dumps({"model": model})})
    again = fsaf.load(tmp_path / "x.safetensors")
    assert again.config == FIRST_EDITION
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in state.items())


def test_weights_of_an_unfinished_run_of_the_first_edition_are_read(detector, tmp_path):
    state = {"model": detector.state_dict(), "step": 1}
    state["config"] = {"model": first_edition_header(SMALL)}
    tensors, config, ids, _ = read_weights(save_training(tmp_path, state, keep=1))
    assert ids is None and config == SMALL and tensors.keys() == state["model"].keys()


def test_a_wrong_value_under_an_old_name_is_named_by_the_new_one(unchecked):
    with pytest.raises(
        FSAFError, match=r"^x\.safetensors: its model field backbone is 'resnet999'"
    ):
        model_config({"body": "resnet999"}, "x.safetensors")


def test_a_checkpoint_of_another_shape_names_its_tensors(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    wider = fsaf.build_detector(replace(SMALL, channels=24))
    shapes = r"network\.head\.af_box\.weight \(\(4, 16, 3, 3\) in the file, \(4, 24, 3, 3\) in the model\)"
    with pytest.raises(fsaf.FSAFError, match=shapes):
        load_weights(wider, tmp_path / "x.safetensors")
    joint = fsaf.build_detector(replace(SMALL, branches="joint"))
    with pytest.raises(fsaf.FSAFError, match=r"ab_box.*missing"):
        load_weights(joint, tmp_path / "x.safetensors")


def test_weights_of_other_classes_go_into_all_but_the_class_layer(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    other = fsaf.build_detector(replace(SMALL, class_names=("cell", "platelet")))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    assert load_weights(other, tmp_path / "x.safetensors")[1] == [None, None]
    for name, tensor in other.state_dict().items():
        source = before if "af_cls" in name else detector.state_dict()
        assert torch.equal(tensor, source[name]), name


def test_weights_that_fit_are_all_taken(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    other = fsaf.build_detector(SMALL)
    assert load_weights(other, tmp_path / "x.safetensors")[1] == [0, 1, 2, 3, 4, 5]
    assert all(
        torch.equal(a, b)
        for a, b in zip(detector.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_no_file_holds_a_pickle(detector, tmp_path):
    fsaf.save(detector, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert set(file.metadata()) == {"fsaf"}
    assert Path(tmp_path / "x.safetensors").read_bytes().find(b"pickle") == -1


def test_category_ids_travel_in_the_header(detector, tmp_path):
    detector.category_ids = (3, 7, 11, 12, 40, 90)
    fsaf.save(detector, tmp_path / "x.safetensors")
    assert fsaf.load(tmp_path / "x.safetensors").category_ids == (3, 7, 11, 12, 40, 90)


@pytest.mark.parametrize("ids", [[1, 2], [1, 1, 2, 3, 4, 5], ["1"] * 6, 7, [1, 2, 3, 4, 5, None]])
def test_category_ids_that_do_not_fit_are_refused(ids, detector, tmp_path):
    state = {name: tensor.contiguous() for name, tensor in detector.state_dict().items()}
    header = {"model": asdict(detector.config), "category_ids": ids}
    save_file(state, tmp_path / "x.safetensors", {"fsaf": json.dumps(header)})
    with pytest.raises(FSAFError, match=r"x\.safetensors has a damaged configuration"):
        fsaf.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("branches", ["anchor_free", "joint"])
def test_rows_of_the_class_layers_are_taken_by_name(branches, tmp_path):
    source = fsaf.build_detector(replace(SMALL, branches=branches, class_names=("cat", "dog")))
    fsaf.save(source, tmp_path / "x.safetensors")
    names = ("cow", "dog", "cat")
    other = fsaf.build_detector(replace(SMALL, branches=branches, class_names=names))
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    weights, labels = load_weights(other, tmp_path / "x.safetensors")
    assert labels == [None, 1, 0] and weights.config.class_names == ("cat", "dog")
    for kind, anchors in (("af_cls", 1), ("ab_cls", 9)):
        for part in ("weight", "bias"):
            name = f"network.head.{kind}.{part}"
            if name not in before:
                continue
            own, old, theirs = (
                state[name].unflatten(0, (anchors, -1))
                for state in (other.state_dict(), before, source.state_dict())
            )
            assert torch.equal(own[:, 0], old[:, 0])
            assert torch.equal(own[:, 1:], theirs.flip(1))


def test_a_published_file_is_a_start(tmp_path):
    model = replace(
        SMALL, backbone="resnet18", backbone_norm="frozen", tower_norm="none", last_level=7
    )
    source = fsaf.build_detector(replace(model, class_names=("class_0", "class_1")))
    torch.save({"state_dict": fsaf.to_mmdet(source), "meta": {}}, tmp_path / "x.pth")
    own = fsaf.build_detector(replace(model, class_names=("cell", "platelet")))
    _, labels = load_weights(own, tmp_path / "x.pth")
    assert labels == [0, 1]  # placeholders are taken by position
    assert torch.equal(own.network.head.af_cls.weight, source.network.head.af_cls.weight)
    assert not load_any(tmp_path / "x.pth").training


def test_a_file_of_any_other_name_is_read_as_mmdetections(detector, tmp_path):
    model = replace(
        SMALL, backbone="resnet18", backbone_norm="frozen", tower_norm="none", last_level=7
    )
    source = fsaf.build_detector(model)
    torch.save({"state_dict": fsaf.to_mmdet(source), "meta": {}}, tmp_path / "weights.bin")
    assert load_any(tmp_path / "weights.bin").config.backbone == "resnet18"
    assert load_weights(source, tmp_path / "weights.bin")[1] == [*range(len(model.class_names))]


def test_a_checkpoint_of_other_code_is_not_to_be_deleted(tmp_path):
    torch.save({"epoch": 3, "model": "a yolo"}, tmp_path / "best.pt")
    with pytest.raises(FSAFError, match=r"best\.pt is no readable checkpoint") as caught:
        load_any(tmp_path / "best.pt")
    assert "delete" not in str(caught.value) and "MMDetection" in str(caught.value)
