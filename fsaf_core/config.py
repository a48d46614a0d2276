"""The configuration: frozen dataclasses, changed by `dataclasses.replace`.

The command line is generated from the fields, and their comments are its help.

Legend, here and everywhere: `B` images, `N` instances, `L` levels, `K` foreground classes,
`H x W` locations of a level, `R` locations of all levels. Boxes are x1 y1 x2 y2 in pixels.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

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
# The ids of these categories in COCO's files: 1..90 without ten that were never annotated.
COCO_CATEGORY_IDS = tuple(
    number for number in range(1, 91) if number not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
)

GROUPS = 8  # of group normalization in the towers


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
    no_positive_normalizer: Literal["one", "locations"]
    box_bias: float  # initial bias of the anchor-free box output
    min_offset: float  # box outputs are clamped to at least this value in training
    #: What the best `topk_candidates` of a level are: locations, or (location, class) pairs.
    topk: Literal["locations", "pairs"]


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
        topk="locations",
    ),
    "reference": Rules(
        cell_center=0.0,
        region_rounding="overlap",
        ignoring_scale=0.2,
        ignore_levels="all",
        same_class_overlap="erase",
        no_positive_normalizer="locations",
        box_bias=0.25,
        min_offset=1e-4,
        topk="pairs",
    ),
}


@dataclass(frozen=True)
class Range:
    """The values that a numeric field may have: annotation of its type, checked by `Checked`."""

    low: float
    high: float = math.inf
    low_is_allowed: bool = True

    def __contains__(self, value: Any) -> bool:
        is_above = value >= self.low if self.low_is_allowed else value > self.low
        return is_above and value <= self.high and value != math.inf

    def __str__(self) -> str:
        low = f"from {self.low:,}" if self.low_is_allowed else f"above {self.low:,}"
        if self.high < math.inf:
            return f"{low} to {self.high:,}"
        return f"{low} up" if self.low_is_allowed else low


@cache
def _hints(config: type) -> dict[str, Any]:
    """Return the type of each field, with its range. Finding them is slow."""
    return get_type_hints(config, include_extras=True)


def ranges(config: type) -> dict[str, tuple[type, Range]]:
    """Return the kind (int or float) and the range of each numeric field of a configuration."""

    def find(hint: Any) -> tuple[type, Range] | None:
        parts = get_args(hint)
        if get_origin(hint) is Annotated and isinstance(parts[1], Range):
            return parts[0], parts[1]
        return next(filter(None, map(find, parts)), None)

    return {name: found for name, hint in _hints(config).items() if (found := find(hint))}


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value has the type and range of a field; an int may stand for a float."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        limits = [part for part in parts[1:] if isinstance(part, Range)]
        return _fits(value, parts[0]) and all(value in one for one in limits)
    if kind is Literal:
        return isinstance(value, str) and value in parts
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        each = parts[:1] * len(value) if parts[-1] is ... else parts
        return len(value) == len(each) and all(map(_fits, value, each))
    if parts:  # a union
        return any(_fits(value, part) for part in parts)
    if hint is float:
        return type(value) is int or isinstance(value, float)
    return type(value) is int if hint is int else isinstance(value, hint)


def _describe(hint: Any) -> str:
    """Return the values that a field may have, as part of a sentence."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        limits = [f" {part}" for part in parts[1:] if isinstance(part, Range)]
        return _describe(parts[0]) + "".join(limits)
    if kind is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if kind is tuple:
        count = "" if parts[-1] is ... else f" of {len(parts)}"
        return f"a tuple{count}, each entry {_describe(parts[0])}"
    if parts:
        return " or ".join(map(_describe, parts))
    names = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}
    return "None" if hint is type(None) else names.get(hint, f"a {hint.__name__}")


class Checked:
    """A configuration; it is refused if a value does not have the type and range of its field.

    A list is taken where a field holds a tuple, and a path where it holds text, because json knows
    neither tuples nor paths.
    """

    def __post_init__(self) -> None:
        config: type = type(self)
        for name, hint in _hints(config).items():
            value = getattr(self, name)
            if get_origin(hint) is tuple and isinstance(value, list):
                value = tuple(value)
            elif hint is str and isinstance(value, os.PathLike):
                value = str(value)
            if not _fits(value, hint):
                raise FSAFError(f"{name} is {value!r:.60}: give {_describe(hint)} instead.")
            object.__setattr__(self, name, value)


Whole = Annotated[int, Range(0, 2**31 - 1)]
Count = Annotated[int, Range(1, 2**31 - 1)]
Share = Annotated[float, Range(0, 1)]  # a fraction or a probability
Positive = Annotated[float, Range(0, low_is_allowed=False)]
NotNegative = Annotated[float, Range(0)]
Deviation = Annotated[float, Range(0, 1, low_is_allowed=False)]  # of values in 0..1


@dataclass(frozen=True)
class ModelConfig(Checked):
    """The detector.

    A rule that is None takes the value of the convention. Changing `convention` therefore changes
    every rule that was not set explicitly.
    """

    #: Foreground classes only; label c is class_names[c].
    class_names: tuple[str, ...] = COCO_CLASSES

    #: The network that computes the features; tiny: a small ResNet for the scenes.
    backbone: Literal["resnet18", "resnet50", "resnet101", "resnext101_64x4d", "tiny"] = "resnet50"
    #: frozen: fixed statistics, trained scale and shift; batch: statistics of the batch.
    backbone_norm: Literal["frozen", "batch"] = "frozen"
    #: 0 trains everything; 1 freezes the stem and layer1; 2..4 freeze more.
    frozen_stages: Annotated[int, Range(0, 4)] = 1
    first_level: Annotated[int, Range(3, 5)] = 3  # the finest level, of stride 2^first_level
    last_level: Annotated[int, Range(5, 7)] = 7  # the coarsest level
    channels: Annotated[int, Range(1, 4096)] = 256  # channels of the pyramid and the towers
    tower_depth: Annotated[int, Range(0, 32)] = 4  # convolutions of each tower
    tower_norm: Literal["none", "group"] = "none"  # normalization in the towers

    #: The head's branches; joint: both of them.
    branches: Literal["anchor_free", "anchor_based", "joint"] = "anchor_free"
    #: How an instance's level is chosen: by the lowest loss, or by the instance's size.
    selection: Literal["online", "heuristic"] = "online"
    #: The rules of the paper, or of MMDetection (reference).
    convention: Literal["paper", "reference"] = "paper"
    #: The paper's epsilon_e: sides of the effective region, as a share of the instance's sides.
    effective_scale: Annotated[float, Range(0, 1, low_is_allowed=False)] = 0.2
    #: The paper's epsilon_i: the same for the ignored region; None: as the convention.
    ignoring_scale: Share | None = None
    #: Center of a location within its cell, as a share of the stride; None: as the convention.
    cell_center: Share | None = None
    #: Which locations belong to a scaled box; None: as the convention.
    region_rounding: Literal["floor_ceil", "overlap"] | None = None
    #: At which unselected levels an instance's region is ignored; None: as the convention.
    ignore_levels: Literal["adjacent", "all"] | None = None
    #: What happens where two instances of one class overlap; None: as the convention.
    same_class_overlap: Literal["smaller_wins", "erase"] | None = None
    #: Focal loss in the selection: summed over all classes, or the instance's own class only.
    selection_focal: Literal["all", "own"] = "all"
    offset_normalizer: Positive = 4.0  # the paper's S
    focal_alpha: Share = 0.25  # focal loss: weight of the positives; background has 1 - alpha
    focal_gamma: NotNegative = 2.0  # focal loss: exponent that down-weights easy locations
    heuristic_size: Positive = 224.0  # sqrt(w * h) of an instance that belongs to heuristic_level
    #: The heuristic's level for an instance of heuristic_size.
    heuristic_level: Annotated[int, Range(0, 16)] = 5
    anchor_scale: Positive = 4.0  # the smallest anchor of a level, in strides
    #: The paper's lambda, on the anchor-free losses; None: 0.5 if joint, else 1.
    loss_weight: NotNegative | None = None

    #: Subtracted from the red, green and blue values, which lie in 0..1.
    image_mean: tuple[Share, Share, Share] = (0.485, 0.456, 0.406)
    #: Divisors of the result.
    image_std: tuple[Deviation, Deviation, Deviation] = (0.229, 0.224, 0.225)
    #: Resizing: largest length of an image's short side, in pixels.
    short_side: Annotated[int, Range(1, 10_000)] = 800
    #: Resizing: largest length of an image's long side, in pixels.
    long_side: Annotated[int, Range(1, 20_000)] = 1333
    size_divisor: Annotated[int, Range(1, 1024)] = 32  # batches are padded to a multiple of this

    score_thresh: Share = 0.05  # lowest score of a detection
    topk_candidates: Count = 1000  # candidates of a level that reach NMS
    nms_thresh: Share = 0.5  # NMS removes a box whose IoU with a better one is above this
    detections_per_img: Count = 100  # largest number of detections of an image

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.class_names:
            raise FSAFError("class_names is empty: give at least one class.")
        if self.tower_norm == "group" and self.channels % GROUPS:
            raise FSAFError(
                f"channels is {self.channels}: give a multiple of {GROUPS}, the groups of "
                "tower_norm 'group'."
            )
        if self.short_side > self.long_side:
            raise FSAFError(
                f"short_side is {self.short_side}, above long_side, {self.long_side}: set both."
            )
        if not self.effective_scale <= self.rules.ignoring_scale <= 1:
            raise FSAFError(
                f"ignoring_scale is {self.rules.ignoring_scale}: it must lie in "
                f"{self.effective_scale} (effective_scale) .. 1."
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
        rules = CONVENTIONS[self.convention]
        own = {name: getattr(self, name, None) for name in vars(rules)}
        return replace(rules, **{name: value for name, value in own.items() if value is not None})

    @property
    def af_weight(self) -> float:
        """Return the paper's lambda: `loss_weight` if set, else 0.5 if joint and 1 otherwise."""
        if self.loss_weight is not None:
            return self.loss_weight
        return 0.5 if self.branches == "joint" else 1.0


@dataclass(frozen=True)
class SceneConfig(Checked):
    """The generated scenes. Equal settings give equal bytes (with equal numpy and Pillow)."""

    num_train: Count = 6000  # images of the training set
    num_val: Count = 500  # images of the validation set
    image_size: Annotated[int, Range(32, 4096)] = 128  # side of an image, in pixels
    min_objects: Whole = 1  # smallest number of objects in an image
    max_objects: Whole = 8  # largest number of objects in an image, outside crowds
    empty_share: Share = 0.03  # share of the images without any object
    crowd_share: Share = 0.08  # share of the images with a crowd of objects of one class
    #: Smallest sqrt(w * h), in pixels; sizes are log-uniform.
    min_size: Annotated[float, Range(3)] = 8.0
    max_size: Share = 0.8  # largest sqrt(w * h), as a share of the image's side
    #: Largest ratio of the longer to the shorter side.
    max_aspect: Annotated[float, Range(1, 8)] = 3.0
    max_overlap: Share = 0.5  # share of an object that later objects may hide
    clutter: Whole = 6  # strokes and blobs of the background that are no objects
    noise: NotNegative = 10.0  # standard deviation of the pixel noise, in gray levels of 255
    #: Share of objects whose class shows only in fine detail (half) or coarse shape (half).
    detail: Share = 0.0
    seed: Whole = 0  # seed of the random generator

    def __post_init__(self) -> None:
        super().__post_init__()
        largest = self.max_size * self.image_size
        if self.min_size > largest:
            raise FSAFError(
                f"min_size is {self.min_size:g}: give at most {largest:g} pixels "
                "(max_size x image_size)."
            )
        if self.min_objects > self.max_objects:
            raise FSAFError(
                f"min_objects is {self.min_objects}: give at most max_objects, {self.max_objects}."
            )


PATHS = ("train_json", "train_images", "val_json", "val_images")  # of the source "files"


@dataclass(frozen=True)
class DataConfig(Checked):
    """Where images and boxes come from."""

    source: Literal["scenes", "coco", "files"] = "coco"  # files: the two jsons and image folders
    root: str = "data"  # folder of the scenes and of COCO
    train_json: str = ""  # training set: a COCO-format json
    train_images: str = ""  # training set: the folder of its images
    val_json: str = ""  # validation set: a COCO-format json
    val_images: str = ""  # validation set: the folder of its images
    workers: Annotated[int, Range(0, 1024)] = 4  # loading processes
    scenes: SceneConfig = field(default_factory=SceneConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = next((name for name in PATHS if getattr(self, name)), None)
        if given and self.source != "files":
            raise FSAFError(
                f"The data source is {self.source!r}, but {given} is given "
                f"({getattr(self, given)!r}): set the source to 'files', or leave the path out."
            )


Amp = Literal["none", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainConfig(Checked):
    """The training recipe."""

    epochs: Count | None = None  # length of the training; None: 12, unless steps are given
    steps: Count | None = None  # length of the training in steps, instead of epochs
    batch_size: Count = 16  # images of a step, over all processes and accumulated micro-batches
    accumulate: Count = 1  # micro-batches of a step
    optimizer: Literal["sgd", "adamw"] = "sgd"  # SGD with momentum, or AdamW
    #: Learning rate at batch 16; it is scaled by batch_size / 16.
    lr: Annotated[float, Range(0, 1000, low_is_allowed=False)] = 0.01
    momentum: Share = 0.9  # momentum of SGD
    weight_decay: NotNegative = 1e-4  # weight decay of the optimizer
    warmup_steps: Whole = 500  # steps over which the learning rate rises to lr
    warmup_factor: Share = 0.001  # the learning rate starts at this share of lr
    schedule: Literal["step", "cosine"] = "step"  # how the learning rate falls
    #: Shares of the training after which the learning rate falls to a tenth.
    milestones: tuple[Share, ...] = (8 / 12, 11 / 12)
    clip_norm: Positive | None = None  # largest norm of the gradient; None: no clipping
    #: Decay of a moving average of the weights, which then is evaluated and saved; 0: none.
    ema: Annotated[float, Range(0, 0.99999)] = 0.0
    flip: Share = 0.5  # probability of a horizontal flip
    #: Multi-scale: the short side is drawn from 0.8..1 of short_side; 1.5 x as many epochs.
    ms: bool = False
    crop: Share = 0.0  # probability of a random zoom and crop, for sets of few images
    amp: Amp = "none"  # number format of mixed precision
    channels_last: bool = False  # memory layout that is faster on many machines
    compile: bool = False  # run the network through torch.compile
    #: Divide the losses by the positives' mean over all processes, not by each process's own.
    sync_normalizer: bool = False
    #: Copies of the weights at log-spaced steps, for the explorer's time slider.
    snapshots: Whole = 0
    log_every: Count = 20  # steps between two lines of the log
    validate_every: Count | None = None  # steps between two validations; None: an epoch
    checkpoint_every: Count = 500  # steps between two checkpoints; each validation writes one too
    keep: Count = 2  # checkpoints that are kept, the latest; the best weights are kept beside them
    #: Start from torchvision's IMAGENET1K_V1, where they exist and --from is not given.
    pretrained_backbone: bool = True
    #: Seed of the images' order, the augmentation and the initial weights.
    seed: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is not None and self.steps is not None:
            raise FSAFError(
                f"The training is to last {self.epochs} epochs and {self.steps} steps: "
                "set epochs or steps, and the other to None."
            )
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", 12)


@dataclass(frozen=True)
class EvaluateConfig(Checked):
    """How a detector is evaluated."""

    batch_size: Count = 2  # images of a batch
    tta: bool = False  # test-time augmentation: several scales, with and without a flip


@dataclass(frozen=True)
class Config(Checked):
    """One training: a detector, its data, its recipe and its evaluation."""

    name: str = "custom"  # name of the preset
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
