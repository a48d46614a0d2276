"""Parts of the user's own in place of FSAF's: a backbone, a way to assign labels, a box loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import nn

from ..config import FSAFError


@dataclass(frozen=True)
class Parts:
    """Parts of your own; None keeps FSAF's.

    Weights files and runs hold the import paths of these parts as text. Loading imports nothing
    by such a path, so hand the parts in again to `load` and to `train`.

    Raises:
        FSAFError: "Parts.backbone is a ResNet: give a function ..."
    """

    #: Makes a fresh backbone: a module that turns images (B, 3, H, W) into C3, C4 and C5, at
    #: strides 8, 16 and 32, as a sequence or a dict, and has their channels as `out_channels`.
    backbone: Callable[[], Any] | None = None
    #: From `Locations`, `Predictions` and `GroundTruth` to an `Assignment`; without gradient.
    assigner: Callable[[Any, Any, Any], Any] | None = None
    #: The loss (...) of predicted boxes (..., 4) with targets (..., 4), x1 y1 x2 y2 pixels, in
    #: training. A predicted box may have no width or no height. The online selection keeps -ln IoU.
    box_loss: Callable[[Any, Any], Any] | None = None

    def __post_init__(self) -> None:
        for name, part in vars(self).items():
            is_module = name == "backbone" and isinstance(part, nn.Module)
            if part is not None and (is_module or not callable(part)):
                raise FSAFError(
                    f"Parts.{name} is a {type(part).__name__}: give a function"
                    f"{' that makes the backbone' if name == 'backbone' else ''}."
                )

    @property
    def import_paths(self) -> dict[str, str]:
        """Return where each given part comes from, such as {"assigner": "mine.fcos"}."""
        return {name: import_path(part) for name, part in vars(self).items() if part is not None}

    def assign(self, locations: Any, predictions: Any, ground_truth: Any) -> Any:
        """Return what the assigner returns, and check its shapes, types and, on the CPU, indices.

        On another device, a check of the indices would wait for the device in every step.

        Raises:
            FSAFError: "The assigner mine.fcos returns assigned of (2728, torch.int64): give an
                Assignment ..."; "... returns valid of (2728, torch.bool): give (1, 2728) ..."; "...
                returns the index 6, but the batch has 6 instances: ..."; "... gives a location of
                image 1 the instance 0, which is in image 0: ..."
        """
        assert self.assigner is not None
        assignment = self.assigner(locations, predictions, ground_truth)
        batch, classes, count = predictions.logits.shape
        assigned: Any = getattr(assignment, "assigned", None)
        found = (*assigned.shape, assigned.dtype) if isinstance(assigned, torch.Tensor) else ()
        if found != (batch, count, torch.int64):
            what = f"assigned of {found}" if found else f"a {type(assignment).__name__}"
            raise FSAFError(
                f"The assigner {import_path(self.assigner)} returns {what}: give an Assignment "
                f"whose assigned is ({batch}, {count}) of torch.int64, for each location the index "
                "of an instance of the batch, or -1."
            )
        for name, shape in (("valid", (batch, count)), ("ignore", (batch, classes, count))):
            mask = getattr(assignment, name)
            if mask is not None and (*mask.shape, mask.dtype) != (*shape, torch.bool):
                raise FSAFError(
                    f"The assigner {import_path(self.assigner)} returns {name} of "
                    f"{(*mask.shape, mask.dtype)}: give {shape} of torch.bool, or None."
                )
        if assigned.device.type == "cpu":
            self._check_indices(assigned, ground_truth)
        return assignment

    def _check_indices(self, assigned: torch.Tensor, ground_truth: Any) -> None:
        """Raise unless every location has an instance of its own image, or -1."""
        count, image = len(ground_truth.boxes), ground_truth.image
        outside = assigned[(assigned < -1) | (assigned >= count)].tolist()
        if outside:
            raise FSAFError(
                f"The assigner {import_path(self.assigner)} returns the index {outside[0]}, but "
                f"the batch has {count} instances: count them from 0 over all images of the batch; "
                "-1 is background."
            )
        row, place = (assigned >= 0).nonzero(as_tuple=True)
        index = assigned[row, place]
        foreign = (image[index] != row).nonzero().flatten().tolist()
        if foreign:
            of, at = int(index[foreign[0]]), int(row[foreign[0]])
            raise FSAFError(
                f"The assigner {import_path(self.assigner)} gives a location of image {at} the "
                f"instance {of}, which is in image {int(image[of])}: count the instances over all "
                "images of the batch, as ground_truth.image does."
            )

    def loss_of_boxes(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return what the box loss returns, and check its shape.

        Raises:
            FSAFError: "The box loss torch.nn.modules.loss.L1Loss turns boxes (2, 85, 4) into ():
                give ..."
        """
        assert self.box_loss is not None
        loss = self.box_loss(predicted, target)
        shape = tuple(loss.shape) if isinstance(loss, torch.Tensor) else f"a {type(loss).__name__}"
        if shape != predicted.shape[:-1]:
            raise FSAFError(
                f"The box loss {import_path(self.box_loss)} turns boxes {tuple(predicted.shape)} "
                f"into {shape}: give one loss for each box, not their mean or sum."
            )
        return loss

    def complete(self, import_paths: Mapping[str, str], file: str) -> "Parts":
        """Return parts with a `MissingPart` for each one that a file names and is not given here.

        Args:
            import_paths: of the parts of the detector in the file.
            file: for messages.

        Raises:
            FSAFError: "x.safetensors was trained with its own backbone, mine.backbone: import it
                and give it ..."; assigner and box loss raise only when they are called.
        """
        missing = {
            name: MissingPart(name, path, file)
            for name, path in import_paths.items()
            if getattr(self, name) is None
        }
        if "backbone" in missing:
            missing["backbone"]()
        return replace(self, **missing)


@dataclass(frozen=True)
class MissingPart:
    """Stands for a part that a file names; detection needs neither assigner nor box loss."""

    name: str  # of a field of `Parts`
    import_path: str
    file: str

    def __call__(self, *args: Any) -> NoReturn:
        """Raise, since the part itself is needed."""
        raise FSAFError(
            f"{self.file} was trained with its own {self.name}, {self.import_path}: import it "
            f"and give it to load as parts=Parts({self.name}=...)."
        )


def import_path(part: Any) -> str:
    """Return module and name of a function or class, or of the one that an object is made of."""
    if isinstance(part, MissingPart):
        return part.import_path
    part = getattr(part, "func", part)  # of a functools.partial
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"


def check_backbone(backbone: Any, frozen_stages: int) -> None:
    """Raise unless a backbone of the user's own gives what the feature pyramid takes.

    Args:
        backbone: as in `Parts`; left in training mode.
        frozen_stages: of the configuration.

    Raises:
        FSAFError: "Parts.backbone returns a function: ..."; "frozen_stages is 1, ...: ..."; "The
            backbone has out_channels (16, 24, 40) and gives [(1, 16, 16, 16), ...] for an image of
            64 x 64 pixels: give C3, C4 and C5, ..."
    """
    if not isinstance(backbone, nn.Module):
        raise FSAFError(
            f"Parts.backbone returns a {type(backbone).__name__}: give a function without "
            "arguments that returns a module."
        )
    if frozen_stages:
        raise FSAFError(
            f"frozen_stages is {frozen_stages}, which counts the stages of a ResNet: set it to 0, "
            "and freeze the stages of your own backbone where you make it."
        )
    given = getattr(backbone, "out_channels", None)
    channels = tuple(given) if isinstance(given, (list, tuple)) else ()
    with torch.no_grad():
        image = next(backbone.parameters()).new_zeros(1, 3, 64, 64)
        shapes = [tuple(stage.shape) for stage in stages(backbone.eval(), image)]
    backbone.train()
    if len(channels) != 3 or shapes != [(1, c, n, n) for c, n in zip(channels, (8, 4, 2))]:
        raise FSAFError(
            f"The backbone has out_channels {given} and gives {shapes} for an image of 64 x 64 "
            "pixels: give C3, C4 and C5, at strides 8, 16 and 32, and their channels."
        )


def stages(backbone: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    """Return what a backbone gives for images, as a list: C3, C4 and C5."""
    features = backbone(images)
    return list(features.values() if isinstance(features, dict) else features)
