"""Trainings by name: MMDetection's published rows, the paper's rows, and rows for the scenes."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from .config import (
    SCENE_CLASSES,
    Config,
    DataConfig,
    EvaluateConfig,
    FSAFError,
    ModelConfig,
    TrainConfig,
)


@dataclass(frozen=True)
class Preset:
    """One row of a table: how it differs from its base, and the AP published for it."""

    base: Literal["coco", "tiny"]
    model: dict[str, Any]  # the fields of ModelConfig that differ from the base
    ap: float | None = None  # published box AP in percent, on COCO val2017 or minival
    #: "published": read in the source; "unverified": not re-checked; "": no AP was published.
    status: Literal["published", "unverified", ""] = ""
    source: str = ""
    checkpoint: str = ""  # MMDetection's file, as <config name>/<file>


_MODEL_ZOO = "MMDetection, configs/fsaf/README.md"
_TABLE_1, _TABLE_2 = "paper, ablation table", "paper, table of backbones"
_AB = {"branches": "anchor_based"}
_JOINT = {"branches": "joint"}
_HEURISTIC = {"selection": "heuristic"}
_R101 = {"backbone": "resnet101"}
_X101 = {"backbone": "resnext101_64x4d"}


def _mmdetection(ap: float, config: str, version: str, **model: Any) -> Preset:
    """Return a row of MMDetection's table; `config` and `version` are in its file's name."""
    folder = f"fsaf_{config}_fpn_1x_coco"
    file = f"{folder}/{folder}{version}.pth"
    return Preset("coco", {"convention": "reference", **model}, ap, "published", _MODEL_ZOO, file)


PRESETS: dict[str, Preset] = {
    "r50": _mmdetection(37.4, "r50", "-94ccc51f"),
    "r50_ring": _mmdetection(
        36.0, "pscale0.2_nscale0.5_r50", "_20200715-b555b0e0", ignoring_scale=0.5
    ),
    "r101": _mmdetection(39.3, "r101", "-9e71098f", **_R101),
    "x101": _mmdetection(42.4, "x101_64x4d", "-e3f6e6fd", **_X101),
    "r50_retinanet": Preset("coco", _AB, 35.7, "published", _TABLE_1),
    "r50_af_heuristic": Preset("coco", _HEURISTIC, 34.7, "unverified", _TABLE_1),
    "r50_paper": Preset("coco", {}, 35.9, "published", _TABLE_1),
    "r50_joint_heuristic": Preset("coco", _JOINT | _HEURISTIC, 36.1, "unverified", _TABLE_1),
    "r50_joint": Preset("coco", _JOINT, 37.2, "unverified", _TABLE_1),
    "r101_retinanet": Preset("coco", _AB | _R101, 37.7, "unverified", _TABLE_2),
    "r101_paper": Preset("coco", _R101, 37.9, "published", _TABLE_2),
    "r101_joint": Preset("coco", _JOINT | _R101, 39.3, "unverified", _TABLE_2),
    "x101_retinanet": Preset("coco", _AB | _X101, 39.8, "unverified", _TABLE_2),
    "x101_paper": Preset("coco", _X101, 41.0, "published", _TABLE_2),
    "x101_joint": Preset("coco", _JOINT | _X101, 41.6, "unverified", _TABLE_2),
    "tiny": Preset("tiny", {}),
    "tiny_retinanet": Preset("tiny", _AB),
    "tiny_af_heuristic": Preset("tiny", _HEURISTIC),
    "tiny_paper": Preset("tiny", {}),
    "tiny_joint_heuristic": Preset("tiny", _JOINT | _HEURISTIC),
    "tiny_joint": Preset("tiny", _JOINT),
}

# The paper's ablation, on the scenes.
ABLATION_PRESETS = tuple(name for name in PRESETS if name.startswith("tiny_"))

# Published with the models, for 8 Titan Xp with 2 images each: memory of training in GB, seconds of
# a step, images a second of inference.
# Source: MMDetection, configs/fsaf/README.md.
PUBLISHED = {
    "r50_ring": (3.15, 0.43, 12.3),
    "r50": (3.15, 0.43, 13.0),
    "r101": (5.08, 0.58, 10.8),
    "x101": (9.38, 1.23, 5.6),
}

# Trains from scratch on a CPU in minutes. It differs from the paper where that needs it:
# - small widths, and normalization in the backbone and the towers: there are no pretrained weights,
#   and towers without it do not start to learn;
# - AdamW with a cosine schedule: with SGD the ReLU of the box output dies;
# - levels P3..P6: P7 would be a single location;
# - anchors and the heuristic's constants fit objects of 8 to 100 px.
_TINY = Config(
    "tiny",
    ModelConfig(
        class_names=SCENE_CLASSES,
        backbone="tiny",
        backbone_norm="batch",
        frozen_stages=0,
        last_level=6,
        channels=48,
        tower_depth=2,
        tower_norm="group",
        heuristic_size=32.0,
        heuristic_level=4,
        anchor_scale=2.0,
        short_side=128,
        long_side=256,
    ),
    DataConfig(source="scenes", workers=1),
    TrainConfig(
        steps=5000,
        batch_size=8,
        optimizer="adamw",
        lr=0.01,
        weight_decay=0.05,
        warmup_steps=50,
        schedule="cosine",
        clip_norm=10.0,
        snapshots=12,
        validate_every=1000,
        channels_last=True,
    ),
    EvaluateConfig(batch_size=50),
)


def names() -> list[str]:
    """Return the names of all presets."""
    return [*PRESETS]


def get(name: str) -> Config:
    """Return the configuration of a preset. It is frozen: change it by `dataclasses.replace`.

    Args:
        name: one of `names()`.

    Raises:
        FSAFError: "There is no preset 'foo': take one of r50, ..."
    """
    if name not in PRESETS:
        raise FSAFError(f"There is no preset {name!r}: take one of {', '.join(names())}.")
    preset = PRESETS[name]
    base = _TINY if preset.base == "tiny" else Config()
    clip = 10.0 if preset.model.get("convention") == "reference" else base.train.clip_norm
    return replace(
        base,
        name=name,
        model=replace(base.model, **preset.model),
        train=replace(base.train, clip_norm=clip),
    )
