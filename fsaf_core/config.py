"""What can be set: frozen dataclasses, changed by `dataclasses.replace`. The command line is generated from these fields.

Legend, here and everywhere: `B` images, `N` instances, `L` levels, `K` foreground classes, `H x W` cells of a level,
`R` cells of all levels. Boxes are x1 y1 x2 y2 in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

SCENE_CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")

# COCO's 80 categories in ascending order of their ids: label c of a COCO-trained detector is COCO_CLASSES[c].
COCO_CLASSES = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,bench,"
    "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,"
    "sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,"
    "toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,"
    "teddy bear,hair drier,toothbrush".split(",")
)


class FSAFError(Exception):
    """A fault of the input, in one sentence: what, where, what to do. The command line prints it and exits with code 2."""


@dataclass(frozen=True)
class Rules:
    """Everything in which the paper and the reference differ; see CONVENTIONS. One code path reads these fields."""

    cell_center: float  # a cell (i, j) stands at ((i + c) * stride, (j + c) * stride)
    region_rounding: Literal["floor_ceil", "overlap"]  # which locations belong to a scaled box
    ignoring_scale: float  # the outer box's sides as a share of the instance's
    ignore_levels: Literal[
        "adjacent", "all"
    ]  # where, besides its selected level, an instance is ignored for its class
    same_class_overlap: Literal[
        "smaller_wins", "erase"
    ]  # what happens where regions of two instances of one class overlap
    no_positive_normalizer: Literal["one", "cells"]  # the losses' divisor when no cell is positive
    box_bias: float  # of the anchor-free box output at the start
    min_offset: float  # box outputs are clamped to at least this in training
    topk: Literal["cells", "pairs"]  # what the best 1000 of a level are counted in


CONVENTIONS = {
    "paper": Rules(0.5, "floor_ceil", 0.5, "adjacent", "smaller_wins", "one", 0.1, 0.0, "cells"),
    "reference": Rules(0.0, "overlap", 0.2, "all", "erase", "cells", 0.25, 1e-4, "pairs"),
}


# Of fields that memory and time depend on: a file's header may hold any number.
_LIMITS: dict[str, tuple[float, float]] = {
    "frozen_stages": (0, 4), "channels": (1, 4096), "tower_depth": (0, 32), "short_side": (1, 10_000), "long_side": (1, 20_000),
    "size_divisor": (1, 1024), "nms_thresh": (0, 1), "topk_candidates": (1, 2**31 - 1), "detections_per_img": (1, 2**31 - 1),
}  # fmt: skip


@dataclass(frozen=True)
class ModelConfig:
    """The detector. A switch that is None is as the convention says: changing `convention` flips all not set by hand."""

    class_names: tuple[str, ...] = (
        COCO_CLASSES  # foreground classes only; label c is class_names[c]
    )

    backbone: Literal["resnet18", "resnet50", "resnet101", "resnext101_64x4d", "tiny"] = "resnet50"
    backbone_norm: Literal["frozen", "batch"] = (
        "frozen"  # frozen: statistics fixed, affine trained; batch: statistics of the batch
    )
    frozen_stages: int = 1  # 0: all is trained; 1: the stem and layer1 are not; .. 4
    first_level: int = 3
    last_level: int = 7
    channels: int = 256  # of the pyramid and the towers
    tower_depth: int = 4
    tower_norm: Literal["none", "group"] = "none"

    branches: Literal["anchor_free", "anchor_based", "joint"] = "anchor_free"
    selection: Literal["online", "heuristic"] = "online"
    convention: Literal["paper", "reference"] = "paper"
    effective_scale: float = 0.2  # the paper's epsilon_e
    ignoring_scale: float | None = None  # the paper's epsilon_i
    cell_center: float | None = None
    region_rounding: Literal["floor_ceil", "overlap"] | None = None
    ignore_levels: Literal["adjacent", "all"] | None = None
    same_class_overlap: Literal["smaller_wins", "erase"] | None = None
    selection_focal: Literal["all", "own"] = (
        "all"  # focal loss in the selection: all classes of a cell, or its own
    )
    offset_normalizer: float = 4.0  # the paper's S
    heuristic_size: float = 224.0  # an instance with sqrt(w * h) of this size belongs to ...
    heuristic_level: int = 5  # ... this level, by the heuristic
    anchor_scale: float = 4.0  # the smallest anchor of a level, in strides
    loss_weight: float | None = (
        None  # the paper's lambda, on the anchor-free losses; None: 0.5 when joint, else 1
    )

    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    short_side: int = 800  # images are scaled so that the short side fits this ...
    long_side: int = 1333  # ... and the long side this
    size_divisor: int = 32

    score_thresh: float = 0.05
    topk_candidates: int = 1000
    nms_thresh: float = 0.5
    detections_per_img: int = 100

    def __post_init__(self) -> None:
        if not self.class_names:
            raise FSAFError("class_names is empty: give at least one class.")
        for name, (low, high) in _LIMITS.items():
            if not low <= getattr(self, name) <= high:
                raise FSAFError(
                    f"{name} is {getattr(self, name)}: it must lie in {low:,}..{high:,}."
                )
        if not 0 < self.effective_scale <= 1:
            raise FSAFError(f"effective_scale is {self.effective_scale}: it must lie in (0, 1].")
        if not self.effective_scale <= self.rules.ignoring_scale <= 1:
            raise FSAFError(
                f"ignoring_scale is {self.rules.ignoring_scale}: it must lie in {self.effective_scale} (effective_scale) .. 1."
            )
        if not 3 <= self.first_level <= 5 <= self.last_level <= 7:
            raise FSAFError(
                f"levels {self.first_level}..{self.last_level}: the first must be 3, 4 or 5, the last 5, 6 or 7."
            )

    @property
    def num_classes(self) -> int:
        """K, foreground classes only."""
        return len(self.class_names)

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels between the cells of each level, 2^l."""
        return tuple(2**level for level in range(self.first_level, self.last_level + 1))

    @property
    def rules(self) -> Rules:
        """The convention's rules with the switches set by hand put in."""
        switches = (
            "cell_center",
            "region_rounding",
            "ignoring_scale",
            "ignore_levels",
            "same_class_overlap",
        )
        given = {name: getattr(self, name) for name in switches if getattr(self, name) is not None}
        return replace(CONVENTIONS[self.convention], **given)

    @property
    def af_weight(self) -> float:
        """The paper's lambda: 0.5 beside the anchor-based losses, 1 alone, unless set."""
        if self.loss_weight is not None:
            return self.loss_weight
        return 0.5 if self.branches == "joint" else 1.0


@dataclass(frozen=True)
class SceneConfig:
    """Dials of the generated scenes. The same dials give the same bytes (of one version of numpy and Pillow)."""

    num_train: int = 3000
    num_val: int = 500
    image_size: int = 128  # pixels a side
    min_objects: int = 1
    max_objects: int = 8
    empty_share: float = 0.03  # of the images, without any object
    crowd_share: float = 0.08  # of the images, with a crowd of same-class objects
    min_size: float = 8.0  # pixels, sqrt(w * h); sizes are log-uniform from here ...
    max_size: float = 0.8  # ... to this share of the image
    max_aspect: float = 3.0  # longer side over shorter, up to 8
    max_overlap: float = 0.5  # share of an object that later ones may hide
    clutter: int = 6  # strokes and blobs of the background that are no object
    noise: float = 10.0  # standard deviation, grey levels of 255
    detail: float = (
        0.0  # share of objects whose class shows only in fine detail (half) or coarse shape (half)
    )
    seed: int = 0


@dataclass(frozen=True)
class DataConfig:
    """Where images and boxes come from."""

    source: Literal["scenes", "coco", "files"] = "coco"  # files: the four paths below
    root: str = "data"
    train_json: str = ""
    train_images: str = ""
    val_json: str = ""
    val_images: str = ""
    workers: int = 4
    scenes: SceneConfig = field(default_factory=SceneConfig)

    def __post_init__(self) -> None:
        for name in (
            "root",
            "train_json",
            "train_images",
            "val_json",
            "val_images",
        ):  # a Path would not go into config.json
            object.__setattr__(self, name, str(getattr(self, name)))


@dataclass(frozen=True)
class TrainConfig:
    """The recipe."""

    epochs: int = 12
    steps: int | None = None  # a number of steps instead of epochs
    batch_size: int = 16  # images a step, over all processes and accumulated micro-batches
    accumulate: int = 1  # micro-batches a step
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01  # at batch 16; scaled by batch_size / 16
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int = 500
    warmup_factor: float = 0.001
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[float, ...] = (
        8 / 12,
        11 / 12,
    )  # shares of the run after which the rate falls to a tenth
    clip_norm: float | None = None
    flip: float = 0.5  # probability of a horizontal flip
    ms: bool = (
        False  # multi-scale: short side drawn from 640..800, and half as many epochs again (18)
    )
    crop: float = 0.0  # probability of a random zoom and crop (tiny's augmentation)
    amp: Literal["none", "bf16", "fp16"] = "none"
    channels_last: bool = False
    compile: bool = False
    sync_normalizer: bool = (
        False  # divide by the world's mean of the positives instead of each process's own
    )
    snapshots: int = 0  # log-spaced copies of the weights, for the explorer's time slider
    log_every: int = 20  # steps
    validate_every: int | None = None  # steps; None: at the end of each epoch
    checkpoint_every: int = 500  # steps; one is also written after each validation
    keep: int = 2  # last checkpoints kept, beside the best
    pretrained_backbone: bool = (
        True  # torchvision's IMAGENET1K_V1, where the body has them and no --from is given
    )
    seed: int = 0


@dataclass(frozen=True)
class EvaluateConfig:
    """How detections are made and judged."""

    batch_size: int = 2
    tta: bool = False  # multi-scale and flip testing


@dataclass(frozen=True)
class Config:
    """One row: a detector, its data, its recipe and its evaluation."""

    name: str = "r50"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
