"""The configuration: each number has one range, and what contradicts itself is refused."""

import dataclasses
import math

import pytest

import fsaf_core as fsaf
from fsaf_core.config import (
    Config,
    DataConfig,
    EvaluateConfig,
    FSAFError,
    ModelConfig,
    SceneConfig,
    TrainConfig,
    ranges,
)

CONFIGS = (ModelConfig, SceneConfig, DataConfig, TrainConfig, EvaluateConfig)


def test_every_numeric_field_has_a_range():
    for config in CONFIGS:
        numeric = {
            field.name
            for field in dataclasses.fields(config)
            if not {"int", "float", "Count", "Whole", "Share"}.isdisjoint(
                str(field.type).replace("[", " ").replace(",", " ").split()
            )
        }
        assert numeric <= ranges(config).keys()
    assert sum(len(ranges(config)) for config in CONFIGS) > 55


@pytest.mark.parametrize("config", CONFIGS)
def test_a_number_out_of_its_range_is_one_short_sentence(config, unchecked):
    for name, (_, limits) in ranges(config).items():
        for value in [math.nan, math.inf, -5, "1", True, 10**400]:
            if value == 10**400 and limits.high == math.inf:
                continue  # a very large number is a number
            given = (value,) * 3 if name in ("milestones", "image_mean", "image_std") else value
            words = rf"^{name} is .*: give (a tuple.*, each entry )?a (whole )?number .* instead\.$"
            with pytest.raises(FSAFError, match=words) as caught:
                config(**{name: given})
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("config", "name", "value", "advice"),
    [
        (ModelConfig, "selection", "heurstic", "give one of 'online', 'heuristic' instead."),
        (ModelConfig, "branches", "anchorfree", "'anchor_free', 'anchor_based', 'joint' instead."),
        (ModelConfig, "convention", "mmdet", "give one of 'paper', 'reference' instead."),
        (ModelConfig, "ignore_levels", "none", "one of 'adjacent', 'all' or None instead."),
        (ModelConfig, "class_names", "cat", "give a tuple, each entry text instead."),
        (ModelConfig, "class_names", (1, 2), "give a tuple, each entry text instead."),
        (
            ModelConfig,
            "image_mean",
            (0.5, 0.5),
            "give a tuple of 3, each entry a number from 0 to 1",
        ),
        (TrainConfig, "optimizer", "adam", "give one of 'sgd', 'adamw' instead."),
        (TrainConfig, "ms", "yes", "give True or False instead."),
        (TrainConfig, "clip_norm", -1, "give a number above 0 or None instead."),
        (DataConfig, "root", 5, "give text instead."),
        (DataConfig, "scenes", None, "give a SceneConfig instead."),
        (Config, "model", "r50", "give a ModelConfig instead."),
    ],
)
def test_a_value_of_another_kind_names_field_value_and_choices(
    config, name, value, advice, unchecked
):
    with pytest.raises(FSAFError) as caught:
        config(**{name: value})
    assert str(caught.value).startswith(f"{name} is {value!r}: give ")
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("log_every", 0), ("lr", 0.0), ("steps", 0), ("epochs", 1.5)],
)
def test_a_recipe_that_cannot_be_run_is_refused(name, value, unchecked):
    with pytest.raises(FSAFError, match=f"^{name} is {value}"):
        TrainConfig(**{name: value})


def test_a_training_lasts_epochs_or_steps():
    assert TrainConfig().epochs == 12
    assert TrainConfig(steps=5).epochs is None
    tiny = fsaf.presets.get("tiny").train
    with pytest.raises(FSAFError, match="1 epochs and 5000 steps: set epochs or steps"):
        dataclasses.replace(tiny, epochs=1)
    assert dataclasses.replace(tiny, epochs=1, steps=None).steps is None


def test_a_path_to_own_data_is_used_or_refused():
    with pytest.raises(FSAFError, match=r"'coco', but train_json is given \('a.json'\)"):
        DataConfig(train_json="a.json")
    assert DataConfig("files", train_json="a.json").train_json == "a.json"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"short_side": 1400}, "short_side is 1400, above long_side, 1333"),
        ({"image_mean": (123.675, 116.28, 103.53)}, "image_mean is .* from 0 to 1"),
        ({"image_std": (58.395, 57.12, 57.375)}, "image_std is .* above 0 to 1"),
        ({"image_std": (0.0, 1.0, 1.0)}, "image_std is"),
    ],
)
def test_sizes_and_normalization_that_would_mean_something_else_are_refused(setting, said):
    with pytest.raises(FSAFError, match=said):
        ModelConfig(**setting)


def test_a_configuration_without_a_preset_has_no_name_of_one():
    assert Config().name == "custom" and Config().name not in fsaf.presets.names()


@pytest.mark.parametrize("setting", [{"min_size": 200.0}, {"min_objects": 9}])
def test_settings_of_the_scenes_fit_each_other(setting):
    with pytest.raises(FSAFError, match="give at most"):
        SceneConfig(**setting)


def test_a_list_stands_for_a_tuple(unchecked):
    config = ModelConfig(class_names=["cat", "dog"], image_mean=[0.5, 0.5, 0.5])
    assert config.class_names == ("cat", "dog") and config.image_mean == (0.5, 0.5, 0.5)
    assert hash(config) == hash(ModelConfig(class_names=("cat", "dog"), image_mean=(0.5,) * 3))
