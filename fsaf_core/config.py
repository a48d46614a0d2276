"""The configuration: frozen dataclasses, changed by `dataclasses.replace`.

The command line is generated from the fields, and their comments are its help.

Legend, here and everywhere: `B` images, `N` instances, `L` levels, `K` foreground classes,
`H x W` locations of a level, `R` locations of all levels. Boxes are x1 y1 x2 y2 in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

SCENE_CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")

# COCO's 80 categories in ascending order of their ids: label c of a detector is COCO_CLASSES[c].
COCO_CLASSES = tuple(
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
    "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
    "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,"
    "potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,"
    "oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,"
    "toothbrush".split(",")
)


class FSAFError(Exception):
    """A mistake in what the user gave, as one sentence: what is wrong, where, what to do.

    The command line prints the sentence and exits with code 2.
    """


@dataclass(frozen=True)
class Rules:
    """The rules in which the paper and MMDetection, our reference implementation, differ.

    `CONVENTIONS` holds both sets of values. One code path reads these fields.
    """

    cell_center: float  # c: the center of location (i, j) is ((i + c) * stride, (j + c) * stride)
    #: Which locations belong to a scaled box.
    region_rounding: Literal["floor_ceil", "overlap"]
    ignoring_scale: float  # sides of the ignored region, as a share of the instance's sides
    #: At which unselected levels an instance's region is ignored for its class.
    ignore_levels: Literal["adjacent", "all"]
    #: What happens where regions of two instances of one class overlap.
    same_class_overlap: Literal["smaller_wins", "erase"]
    #: Divisor of the losses when no location is positive: 1, or the number of valid locations.
    no_positive_normalizer: Literal["one", "cells"]
    box_bias: float  # initial bias of the anchor-free box output
    min_offset: float  # box outputs are clamped to at least this value in training
    #: What the best `topk_candidates` of a level are: locations, or (location, class) pairs.
    topk: Literal["cells", "pairs"]


CONVENTIONS = {
    "paper": Rules(
        cell_center=0.5,
        region_rounding="floor_ceil",
        ignoring_scale=0.5,
        ignore_levels="adjacent",
        same_class_overlap="smaller_wins",
        no_positive_normalizer="one",
        box_bias=0.1,
        min_offset=0.0,
        topk="cells",
    ),
    "reference": Rules(
        cell_center=0.0,
        region_rounding="overlap",
        ignoring_scale=0.2,
        ignore_levels="all",
        same_class_overlap="erase",
        no_positive_normalizer="cells",
        box_bias=0.25,
        min_offset=1e-4,
        topk="pairs",
    ),
}

# Bounds of fields that decide memory and time: the header of a weights file may hold any number.
_LIMITS: dict[str, tuple[float, float]] = {
    "frozen_stages": (0, 4),
    "channels": (1, 4096),
    "tower_depth": (0, 32),
    "focal_alpha": (0, 1),
    "short_side": (1, 10_000),
    "long_side": (1, 20_000),
    "size_divisor": (1, 1024),
    "nms_thresh": (0, 1),
    "topk_candidates": (1, 2**31 - 1),
    "detections_per_img": (1, 2**31 - 1),
}


@dataclass(frozen=True)
class ModelConfig:
    """The detector.

    A rule that is None takes the value of the convention. Changing `convention` therefore changes
    every rule that was not set explicitly.
    """

    #: Foreground classes only; label c is class_names[c].
    class_names: tuple[str, ...] = COCO_CLASSES

    backbone: Literal["resnet18", "resnet50", "resnet101", "resnext101_64x4d", "tiny"] = "resnet50"
    #: frozen: fixed statistics, trained scale and shift; batch: statistics of the batch.
    backbone_norm: Literal["frozen", "batch"] = "frozen"
    frozen_stages: int = 1  # 0 trains everything; 1 freezes the stem and layer1; 2..4 freeze more
    first_level: int = 3
    last_level: int = 7
    channels: int = 256  # channels of the pyramid and the towers
    tower_depth: int = 4  # convolutions of each tower
    tower_norm: Literal["none", "group"] = "none"

    branches: Literal["anchor_free", "anchor_based", "joint"] = "anchor_free"
    selection: Literal["online", "heuristic"] = "online"
    convention: Literal["paper", "reference"] = "paper"  # reference: as MMDetection does it
    effective_scale: float = 0.2  # the paper's epsilon_e
    ignoring_scale: float | None = None  # the paper's epsilon_i
    cell_center: float | None = None
    region_rounding: Literal["floor_ceil", "overlap"] | None = None
    ignore_levels: Literal["adjacent", "all"] | None = None
    same_class_overlap: Literal["smaller_wins", "erase"] | None = None
    #: Focal loss in the selection: summed over all classes, or the instance's own class only.
    selection_focal: Literal["all", "own"] = "all"
    offset_normalizer: float = 4.0  # the paper's S
    focal_alpha: float = 0.25  # focal loss: weight of the positives; background has 1 - alpha
    focal_gamma: float = 2.0  # focal loss: exponent that down-weights easy locations
    heuristic_size: float = 224.0  # sqrt(w * h) of an instance that belongs to heuristic_level
    heuristic_level: int = 5  # the heuristic's level for an instance of heuristic_size
    anchor_scale: float = 4.0  # the smallest anchor of a level, in strides
    #: The paper's lambda, on the anchor-free losses; None: 0.5 if joint, else 1.
    loss_weight: float | None = None

    image_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    image_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    short_side: int = 800  # resizing: largest length of an image's short side, in pixels
    long_side: int = 1333  # resizing: largest length of an image's long side, in pixels
    size_divisor: int = 32  # batches are padded to a multiple of this

    score_thresh: float = 0.05  # lowest score of a detection
    topk_candidates: int = 1000  # candidates of a level that reach NMS
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
        if not self.focal_gamma >= 0:
            raise FSAFError(f"focal_gamma is {self.focal_gamma}: it must be at least 0.")
        if not 0 < self.effective_scale <= 1:
            raise FSAFError(f"effective_scale is {self.effective_scale}: it must lie in (0, 1].")
        if not self.effective_scale <= self.rules.ignoring_scale <= 1:
            raise FSAFError(
                f"ignoring_scale is {self.rules.ignoring_scale}: it must lie in "
                f"{self.effective_scale} (effective_scale) .. 1."
            )
        if not 3 <= self.first_level <= 5 <= self.last_level <= 7:
            raise FSAFError(
                f"The levels are {self.first_level}..{self.last_level}: "
                "the first must be 3, 4 or 5, the last 5, 6 or 7."
            )

    @property
    def num_classes(self) -> int:
        """Return K, the number of foreground classes."""
        return len(self.class_names)

    @property
    def strides(self) -> tuple[int, ...]:
        """Return the stride of each level in pixels, 2^l."""
        return tuple(2**level for level in range(self.first_level, self.last_level + 1))

    @property
    def rules(self) -> Rules:
        """Return the convention's rules, with those that were set explicitly in their place."""
        names = (
            "cell_center",
            "region_rounding",
            "ignoring_scale",
            "ignore_levels",
            "same_class_overlap",
        )
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(CONVENTIONS[self.convention], **given)

    @property
    def af_weight(self) -> float:
        """Return the paper's lambda: `loss_weight` if set, else 0.5 if joint and 1 otherwise."""
        if self.loss_weight is not None:
            return self.loss_weight
        return 0.5 if self.branches == "joint" else 1.0


@dataclass(frozen=True)
class SceneConfig:
    """The generated scenes. Equal settings give equal bytes (with equal numpy and Pillow)."""

    num_train: int = 3000
    num_val: int = 500
    image_size: int = 128  # side of an image, in pixels
    min_objects: int = 1
    max_objects: int = 8
    empty_share: float = 0.03  # share of the images without any object
    crowd_share: float = 0.08  # share of the images with a crowd of objects of one class
    min_size: float = 8.0  # smallest sqrt(w * h), in pixels; sizes are log-uniform
    max_size: float = 0.8  # largest sqrt(w * h), as a share of the image's side
    max_aspect: float = 3.0  # largest ratio of the longer to the shorter side; up to 8
    max_overlap: float = 0.5  # share of an object that later objects may hide
    clutter: int = 6  # strokes and blobs of the background that are no objects
    noise: float = 10.0  # standard deviation of the pixel noise, in gray levels of 255
    #: Share of objects whose class shows only in fine detail (half) or coarse shape (half).
    detail: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class DataConfig:
    """Where images and boxes come from."""

    source: Literal["scenes", "coco", "files"] = "coco"  # files: the two jsons and image folders
    root: str = "data"  # folder of the scenes and of COCO
    train_json: str = ""
    train_images: str = ""
    val_json: str = ""
    val_images: str = ""
    workers: int = 4  # loading processes
    scenes: SceneConfig = field(default_factory=SceneConfig)

    def __post_init__(self) -> None:
        # A Path is accepted, and stored as text: config.json cannot hold a Path.
        for name in ("root", "train_json", "train_images", "val_json", "val_images"):
            object.__setattr__(self, name, str(getattr(self, name)))


@dataclass(frozen=True)
class TrainConfig:
    """The training recipe."""

    epochs: int = 12
    steps: int | None = None  # length of the training in steps, instead of epochs
    batch_size: int = 16  # images of a step, over all processes and accumulated micro-batches
    accumulate: int = 1  # micro-batches of a step
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01  # learning rate at batch 16; it is scaled by batch_size / 16
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int = 500
    warmup_factor: float = 0.001  # the learning rate starts at this share of lr
    schedule: Literal["step", "cosine"] = "step"
    #: Shares of the training after which the learning rate falls to a tenth.
    milestones: tuple[float, ...] = (8 / 12, 11 / 12)
    clip_norm: float | None = None  # largest norm of the gradient; None: no clipping
    flip: float = 0.5  # probability of a horizontal flip
    ms: bool = False  # multi-scale: short side drawn from 640..800, and 1.5 x as many epochs
    crop: float = 0.0  # probability of a random zoom and crop (tiny's augmentation)
    amp: Literal["none", "bf16", "fp16"] = "none"  # number format of mixed precision
    channels_last: bool = False
    compile: bool = False
    #: Divide the losses by the positives' mean over all processes, not by each process's own.
    sync_normalizer: bool = False
    snapshots: int = 0  # copies of the weights at log-spaced steps, for the explorer's time slider
    log_every: int = 20  # steps between two lines of the log
    validate_every: int | None = None  # steps between two validations; None: an epoch
    checkpoint_every: int = 500  # steps between two checkpoints; each validation writes one too
    keep: int = 2  # checkpoints that are kept, the latest; the best weights are kept beside them
    #: Start from torchvision's IMAGENET1K_V1, where they exist and --from is not given.
    pretrained_backbone: bool = True
    seed: int = 0


@dataclass(frozen=True)
class EvaluateConfig:
    """How a detector is evaluated."""

    batch_size: int = 2
    tta: bool = False  # test-time augmentation: several scales, with and without a flip


@dataclass(frozen=True)
class Config:
    """One training: a detector, its data, its recipe and its evaluation."""

    name: str = "r50"  # name of the preset
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
