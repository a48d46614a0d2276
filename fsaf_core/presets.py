"""The rows that can be trained by name: the reference's published ones, the paper's, and the tiny world's."""

from dataclasses import dataclass, replace
from typing import Any

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
    """One row of a table: how it differs from its base, and what was published for it."""

    base: str  # "coco" or "tiny"
    model: dict[str, Any]
    ap: float | None = None  # published box AP, COCO val2017 / minival, in percent
    status: str = (
        ""  # "published": read in the source; "unverified": believed; "": nothing was published
    )
    source: str = ""
    checkpoint: str = ""  # of the reference: <config name>/<file>


_REFERENCE = {"convention": "reference"}
_AB = {"branches": "anchor_based"}
_JOINT = {"branches": "joint"}
_HEURISTIC = {"selection": "heuristic"}
_R101 = {"backbone": "resnet101"}
_X101 = {"backbone": "resnext101_64x4d"}
_TABLE_1, _TABLE_2, _MMDET = "paper, ablation", "paper, backbones", "reference, published table"

PRESETS: dict[str, Preset] = {
    "r50": Preset(
        "coco",
        _REFERENCE,
        37.4,
        "published",
        _MMDET,
        "fsaf_r50_fpn_1x_coco/fsaf_r50_fpn_1x_coco-94ccc51f.pth",
    ),
    "r50_ring": Preset(
        "coco",
        _REFERENCE | {"ignoring_scale": 0.5},
        36.0,
        "published",
        _MMDET,
        "fsaf_pscale0.2_nscale0.5_r50_fpn_1x_coco/fsaf_pscale0.2_nscale0.5_r50_fpn_1x_coco_20200715-b555b0e0.pth",
    ),
    "r101": Preset(
        "coco",
        _REFERENCE | _R101,
        39.3,
        "published",
        _MMDET,
        "fsaf_r101_fpn_1x_coco/fsaf_r101_fpn_1x_coco-9e71098f.pth",
    ),
    "x101": Preset(
        "coco",
        _REFERENCE | _X101,
        42.4,
        "published",
        _MMDET,
        "fsaf_x101_64x4d_fpn_1x_coco/fsaf_x101_64x4d_fpn_1x_coco-e3f6e6fd.pth",
    ),
    "r50_retinanet": Preset("coco", _AB, 35.7, "published", _TABLE_1),
    "r50_af_heuristic": Preset("coco", _HEURISTIC, 34.7, "unverified", _TABLE_1),
    "r50_paper": Preset("coco", {}, 35.9, "published", _TABLE_1),
    "r50_joint_heuristic": Preset("coco", _JOINT | _HEURISTIC, 36.1, "unverified", _TABLE_1),
    "r50_joint": Preset("coco", _JOINT, 37.2, "unverified", _TABLE_1),
    "r101_joint": Preset("coco", _JOINT | _R101, 39.3, "unverified", _TABLE_2),
    "x101_joint": Preset("coco", _JOINT | _X101, 41.6, "unverified", _TABLE_2),
    "tiny": Preset("tiny", {}),
    "tiny_retinanet": Preset("tiny", _AB),
    "tiny_af_heuristic": Preset("tiny", _HEURISTIC),
    "tiny_paper": Preset("tiny", {}),
    "tiny_joint_heuristic": Preset("tiny", _JOINT | _HEURISTIC),
    "tiny_joint": Preset("tiny", _JOINT),
}

ABLATION_PRESETS = (
    "tiny_retinanet",
    "tiny_af_heuristic",
    "tiny_paper",
    "tiny_joint_heuristic",
    "tiny_joint",
)  # the paper's ablation
# Training memory (GB), seconds an iteration, images a second: 8 Titan Xp, batch 2 on each; reference, published table.
PUBLISHED = {
    "r50_ring": (3.15, 0.43, 12.3),
    "r50": (3.15, 0.43, 13.0),
    "r101": (5.08, 0.58, 10.8),
    "x101": (9.38, 1.23, 5.6),
}

# Learns from scratch on a CPU in minutes. It differs from the paper where that needs it: small widths and norm layers (nothing is
# pretrained, and plain towers do not start), AdamW with a cosine (SGD lets the ReLU of the box output die), levels P3..P6 (P7
# would be one cell), anchors and the heuristic's constants for objects of 8 to 100 px.
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
        steps=2400,
        batch_size=16,
        optimizer="adamw",
        lr=4e-3,
        weight_decay=0.05,
        warmup_steps=50,
        schedule="cosine",
        clip_norm=10.0,
        crop=0.5,
        snapshots=12,
        validate_every=600,
        channels_last=True,
    ),
    EvaluateConfig(batch_size=50),
)


def names() -> list[str]:
    """All presets, the published rows among them."""
    return [*PRESETS]


def get(name: str) -> Config:
    """The configuration of a preset; frozen, change it by `dataclasses.replace`.

    Raises:
        FSAFError: "no preset 'foo': there are ..."
    """
    if name not in PRESETS:
        raise FSAFError(f"no preset {name!r}: there are {', '.join(names())}.")
    row = PRESETS[name]
    base = _TINY if row.base == "tiny" else Config()
    clip = 10.0 if row.model.get("convention") == "reference" else base.train.clip_norm
    return replace(
        base,
        name=name,
        model=replace(base.model, **row.model),
        train=replace(base.train, clip_norm=clip),
    )
