"""The whole detector: images to losses in training, to detections in inference. Each stage can be called alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms

from ..config import FSAFError, ModelConfig
from ..data.images import as_rgb, load_image
from ..data.transforms import resize
from ..method import assignment as af
from ..method.locations import Locations, decode, pyramid_locations
from ..method.regions import make_slots
from .anchor_branch import AnchorBased
from .network import Network
from .structures import GroundTruth, HeadOutputs, ImageBatch, check_images, pack_ground_truth


class Detector(nn.Module):
    """FSAF on RetinaNet; made by `build_detector`. `config` is the model's configuration."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, pretrained_backbone: bool = False) -> None:
        super().__init__()
        self.config = config
        self.network = Network(config, AnchorBased.per_cell, pretrained_backbone)
        self.anchor_based = (
            AnchorBased(config.strides, config.anchor_scale)
            if config.branches != "anchor_free"
            else None
        )
        self.sync_normalizer = False  # divide by the mean of all processes' positives
        self.register_buffer(
            "mean", 255 * torch.tensor(config.image_mean)[:, None, None], persistent=False
        )
        self.register_buffer(
            "std", 255 * torch.tensor(config.image_std)[:, None, None], persistent=False
        )

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Training: named losses, their sum is the total. Inference: detections.

        Args:
            images: (3, H, W) each, RGB, uint8 or float in 0..1, not normalised; each of its own size, none is resized.
            targets: training only; for each image `boxes` (N, 4) x1 y1 x2 y2 pixels, `labels` (N,) 0..K-1, and if it has crowds
                `ignored` (M, 4). N = 0 is normal.

        Returns:
            Training: {"af_cls", "af_box", "ab_cls", "ab_box"} as the branches say, scalars, lambda applied.
            Inference: for each image `boxes` (D, 4) in the image's pixels, `scores` (D,), `labels` (D,), best first.

        Raises:
            FSAFError: "the detector is in training mode and got no targets: ..."; "2 images came with 1 targets: ..."; as
                `inputs.check_images` and `inputs.pack_ground_truth`.

        Source: paper, section 3.4 (joint training and inference).
        """
        batch = self.preprocess(images)
        outputs = self.head_outputs(batch.tensor)
        if not self.training:
            return self.postprocess(outputs, batch.sizes)
        if targets is None:
            raise FSAFError(
                "the detector is in training mode and got no targets: pass them, or call .eval() first."
            )
        if len(targets) != len(images):
            raise FSAFError(
                f"{len(images)} images came with {len(targets)} targets: give a dict for each image, empty ones too."
            )
        instances = pack_ground_truth(
            targets, batch.tensor.device, self.config.num_classes, batch.sizes
        )
        return self.losses(outputs, self.assign(outputs, instances, batch.sizes), instances)

    def preprocess(self, images: Sequence[Tensor]) -> ImageBatch:
        """Normalises, then pads with zeros to a common size, a multiple of `size_divisor`.

        Args:
            images: (3, h, w) each, RGB, uint8 or float in 0..1; brought to the detector's device.

        Raises:
            FSAFError: as `inputs.check_images`.

        Source: reference, rule 16.
        """
        check_images(images)
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        step = self.config.size_divisor
        height, width = (-(-max(size[axis] for size in sizes) // step) * step for axis in (0, 1))
        padded = []
        for image, (h, w) in zip(images, sizes):
            whole, image = image.dtype == torch.uint8, image.to(self.mean.device).float()
            image = image if whole else image * 255
            padded.append(F.pad((image - self.mean) / self.std, (0, width - w, 0, height - h)))
        return ImageBatch(torch.stack(padded).to(self.mean.dtype), sizes)

    def head_outputs(self, tensor: Float[Tensor, "B 3 H W"]) -> HeadOutputs:
        """Body, pyramid, towers, outputs.

        Args:
            tensor: normalised, H and W multiples of `size_divisor`.

        Returns:
            `cls_logits` (B, K, h, w) and `box_offsets` (B, 4, h, w), l t r b >= 0, of each level; `ab_cls`, `ab_box` of anchors.
        """
        return HeadOutputs(*self.network(tensor))

    def assign(
        self,
        outputs: HeadOutputs,
        targets: list[dict[str, Tensor]] | GroundTruth,
        sizes: list[tuple[int, int]] | None = None,
    ) -> af.Assignment | None:
        """Which level and which cells learn each instance; None without an anchor-free branch.

        Args:
            outputs: of `head_outputs`; used without gradient.
            targets: as in `forward`, in pixels of the input tensor; or packed.
            sizes: height, width of each image before padding; None: every image fills the tensor.

        Raises:
            FSAFError: as `inputs.pack_ground_truth`.
        """
        if not outputs.cls_logits:
            return None
        instances, grid = (
            self._packed(targets, outputs.cls_logits[0]),
            self._grid(outputs.cls_logits),
        )
        slots = make_slots(
            grid, self.config.effective_scale, self.config.rules, outputs.cls_logits[0]
        )
        extent, valid = self._extent(grid, sizes, outputs.cls_logits[0])
        return af.assign(outputs, instances, extent, valid, grid, slots, self.config)

    def losses(
        self,
        outputs: HeadOutputs,
        assignment: af.Assignment | None,
        targets: list[dict[str, Tensor]] | GroundTruth,
    ) -> dict[str, Float[Tensor, ""]]:
        """The named losses of an assignment, scalars as `forward` gives them; differentiable in `outputs`.

        Args:
            outputs: those that were assigned.
            assignment: of `assign`.
            targets: the same as there; anchors are matched with them.
        """
        losses: dict[str, Tensor] = {}
        if assignment is not None:
            normalizer = af.loss_normalizer(assignment, self.config, self.sync_normalizer)
            losses.update(af.anchor_free_losses(outputs, assignment, normalizer, self.config))
        if self.anchor_based is not None:
            instances, size = (
                self._packed(targets, outputs.ab_cls[0]),
                self._input_size(outputs.ab_cls),
            )
            losses.update(
                self.anchor_based.losses(
                    outputs.ab_cls, outputs.ab_box, instances, *size, self.sync_normalizer
                )
            )
        return losses

    def _packed(self, targets: list[dict[str, Tensor]] | GroundTruth, like: Tensor) -> GroundTruth:
        if isinstance(targets, GroundTruth):
            return targets
        return pack_ground_truth(targets, like.device, self.config.num_classes)

    def _grid(self, maps: list[Tensor]) -> Locations:
        shapes = tuple((int(m.shape[-2]), int(m.shape[-1])) for m in maps)
        return pyramid_locations(
            shapes, self.config.strides, self.config.rules.cell_center, maps[0]
        )

    def _input_size(self, maps: list[Tensor]) -> tuple[int, int]:
        height, width = (side * self.config.strides[0] for side in maps[0].shape[-2:])
        return height, width

    def _extent(
        self, grid: Locations, sizes: list[tuple[int, int]] | None, like: Tensor
    ) -> tuple[Int64[Tensor, "B L 2"] | None, Tensor | None]:
        """Columns and rows of each image, padded by itself to `size_divisor`, at each level; cells inside it. None: all."""
        if sizes is None:
            return None, None
        own = [
            [-(-side // self.config.size_divisor) * self.config.size_divisor for side in size]
            for size in sizes
        ]
        extent = [
            [
                [min(-(-w // s), columns), min(-(-h // s), rows)]
                for s, (rows, columns) in zip(grid.strides, grid.shapes)
            ]
            for h, w in own
        ]
        if extent == [[[w, h] for h, w in grid.shapes]] * len(like):
            return None, None
        tensor = torch.tensor(extent, device=like.device)
        return tensor, (grid.row_column < tensor.flip(2)[:, grid.level]).all(2)

    @torch.no_grad()
    def postprocess(
        self,
        outputs: HeadOutputs,
        sizes: list[tuple[int, int]],
        scales: list[tuple[float, float]] | None = None,
    ) -> list[dict[str, Tensor]]:
        """Detections of each image: threshold, best candidates of each level, decode, clip, class-wise NMS, the best 100.

        Args:
            outputs: of `head_outputs`.
            sizes: height, width of each image in the input tensor, padding aside.
            scales: factors (x, y) by which each image had been resized: boxes come back in the pixels before that.

        Returns:
            For each image `boxes` (D, 4) x1 y1 x2 y2 pixels, `scores` (D,) 0..1, `labels` (D,) 0..K-1, best first.

        Source: paper, section 3.4 (inference); reference, rule 17.
        """
        found = []
        for index, ((height, width), candidates) in enumerate(zip(sizes, self.candidates(outputs))):
            parts = []
            for logits, boxes in candidates:
                best, *kept = self._best(logits)
                parts.append((boxes[best], *kept))
            boxes, scores, labels = (torch.cat(part) for part in zip(*parts))
            limit = boxes.new_tensor([width, height, width, height])
            boxes = torch.minimum(boxes.clamp(min=0), limit)
            if scales is not None:
                boxes = boxes / boxes.new_tensor(scales[index] * 2)
            solid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
            boxes, scores, labels = boxes[solid], scores[solid], labels[solid]
            keep = batched_nms(boxes, scores, labels, self.config.nms_thresh)[
                : self.config.detections_per_img
            ]
            found.append({"boxes": boxes[keep], "scores": scores[keep], "labels": labels[keep]})
        return found

    def candidates(
        self, outputs: HeadOutputs
    ) -> Iterator[list[tuple[Float[Tensor, "A K"], Float[Tensor, "A 4"]]]]:
        """For each image, level by level, the class logits and decoded boxes of its cells, then of its anchors.

        Boxes are x1 y1 x2 y2 in pixels of the input tensor, not clipped; no score is too low.
        """
        config, grid, anchors = self.config, self._grid(outputs.cls_logits or outputs.ab_cls), []
        if self.anchor_based is not None:
            anchors = self.anchor_based.anchors(outputs.ab_cls, *self._input_size(outputs.ab_cls))
        for index in range(len((outputs.cls_logits or outputs.ab_cls)[0])):
            parts = []
            for start, size, logits, offsets in zip(
                grid.starts, grid.sizes, outputs.cls_logits, outputs.box_offsets
            ):
                distance = offsets[index].flatten(1).mT.float()
                cells = slice(start, start + size)
                boxes = decode(
                    distance, grid.centers[cells], config.offset_normalizer * grid.stride[cells]
                )
                parts.append((logits[index].permute(1, 2, 0).flatten(0, 1).float(), boxes))
            if self.anchor_based is not None:
                for cls, box, own in zip(outputs.ab_cls, outputs.ab_box, anchors):
                    parts.append(
                        self.anchor_based.candidates(cls[index].float(), box[index].float(), own)
                    )
            yield parts

    def _best(self, logits: Float[Tensor, "A K"]) -> tuple[Tensor, Tensor, Tensor]:
        """Cell, score and label of the candidates of one level: above the threshold and among the best `topk_candidates`."""
        scores = logits.sigmoid()
        if (
            self.config.rules.topk == "cells"
        ):  # paper: the best cells by their best class, with all their classes
            best = scores.amax(1)
            cells = best.topk(min(self.config.topk_candidates, len(best))).indices
            cell, label = torch.nonzero(scores[cells] > self.config.score_thresh, as_tuple=True)
            return cells[cell], scores[cells[cell], label], label
        above = torch.nonzero(scores > self.config.score_thresh)
        value = scores[above[:, 0], above[:, 1]]
        value, order = value.sort(descending=True)
        cell, label = above[order[: self.config.topk_candidates]].unbind(1)
        return cell, value[: self.config.topk_candidates], label

    @torch.inference_mode()
    def predict(self, source: "str | Path | Image.Image | np.ndarray | list | tuple") -> Any:
        """Detections of an image file, PIL image or uint8 (H, W, 3) array, or of a list of them, one at a time.

        An array is RGB; that of OpenCV is BGR: give `array[..., ::-1]`.

        Returns:
            `boxes` (D, 4) in the image's own pixels (EXIF orientation applied), `scores`, `labels` and class `names`, best first:
            a dict, or a list of them.

        Raises:
            FSAFError: "no picture was given (...): give a path, a PIL image or an array, ..."; as `data.coco.load_image`.
        """
        if isinstance(source, (list, tuple)):
            return [self.predict(one) for one in source]
        try:
            source = Image.fromarray(source) if isinstance(source, np.ndarray) else source
            picture = as_rgb(source) if isinstance(source, Image.Image) else load_image(source)
        except (TypeError, ValueError) as error:
            raise FSAFError(
                f"no picture was given ({error}): give a path, a PIL image or an array, uint8 (H, W, 3)."
            ) from None
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        small = resize(image, self.config.short_side, self.config.long_side)
        was_training = self.training
        self.eval()
        try:
            batch = self.preprocess([small])
            scale = (small.shape[2] / image.shape[2], small.shape[1] / image.shape[1])
            found = self.postprocess(self.head_outputs(batch.tensor), batch.sizes, [scale])[0]
        finally:
            self.train(was_training)
        return {
            **found,
            "names": [self.config.class_names[label] for label in found["labels"].tolist()],
        }


def build_detector(config: ModelConfig, pretrained_backbone: bool = False) -> Detector:
    """A detector with fresh weights.

    Args:
        config: such as `presets.get("tiny").model`.
        pretrained_backbone: the body from torchvision's IMAGENET1K_V1 weights (downloaded when not there yet).

    Raises:
        FSAFError: "give a ModelConfig, such as presets.get('tiny').model, not a Config."
    """
    if not isinstance(config, ModelConfig):
        raise FSAFError(
            f"give a ModelConfig, such as presets.get('tiny').model, not a {type(config).__name__}."
        )
    return Detector(config, pretrained_backbone)
