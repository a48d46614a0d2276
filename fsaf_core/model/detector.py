"""The detector: from images to losses in training, to detections in inference.

Each stage can be called alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..config import COCO_CATEGORY_IDS, COCO_CLASSES, FSAFError, ModelConfig
from ..data.sources import check_images
from ..data.transforms import padded_size
from ..method.assignment import Assignment, GroundTruth, Predictions, anchor_free_losses, assign
from ..method.locations import Locations, decode, pyramid_locations
from ..method.losses import iou_loss, precise
from ..utils.distributed import all_reduce_mean
from ..utils.parts import Parts, check_backbone
from .anchor_branch import AnchorBased
from .backbone import build_backbone
from .network import Network
from .postprocess import Levels, detect
from .predictor import Predictor
from .structures import HeadOutputs, ImageBatch, Sizes, Targets, pack_ground_truth


class Detector(Predictor):
    """FSAF on RetinaNet; made by `build_detector`.

    `config` is the model's configuration, and `parts` are the user's own parts. `category_ids` are
    the K ids of its classes in the training set's json, which COCO results carry.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: ModelConfig, pretrained_backbone: bool = False, parts: Parts = Parts()
    ) -> None:
        super().__init__()
        self.config, self.parts = config, parts
        is_coco = config.class_names == COCO_CLASSES
        by_count = tuple(range(1, config.num_classes + 1))
        self.category_ids = COCO_CATEGORY_IDS if is_coco else by_count
        backbone = (parts.backbone or partial(build_backbone, config, pretrained_backbone))()
        if parts.backbone is not None:
            check_backbone(backbone, config.frozen_stages)
        self.network = Network(config, AnchorBased.per_cell, backbone)
        self.anchor_based = None
        if config.branches != "anchor_free":
            focal = config.focal_alpha, config.focal_gamma
            self.anchor_based = AnchorBased(config.strides, config.anchor_scale, *focal)
        self.sync_normalizer = False  # divide by the mean number of positives of all processes
        for name, value in (("mean", config.image_mean), ("std", config.image_std)):
            scaled = 255 * torch.tensor(value)
            if config.convention == "reference":  # rounded once, to MMDetection's very bits
                scaled = torch.tensor([255 * part for part in value])
            self.register_buffer(name, scaled[:, None, None], persistent=False)

    def forward(
        self, images: list[Tensor], targets: Targets | None = None
    ) -> dict[str, Tensor] | Targets:
        """Return named losses in training mode, and detections in evaluation mode.

        The sum of the losses is the total.

        Args:
            images: (3, H, W) each, RGB, uint8 or float in 0..1, not normalized. Sizes may differ;
                none is resized.
            targets: for training, a dict for each image: `boxes` (N, 4) x1 y1 x2 y2 pixels,
                `labels` (N,) 0..K-1, and `ignored` (M, 4) if it has crowds. N = 0 is normal.

        Returns:
            Training: a dict of the scalars "af_cls", "af_box", "ab_cls", "ab_box" that the branches
                give, lambda applied.
            Evaluation: for each image `boxes` (D, 4) in its pixels, `scores` (D,), `labels` (D,),
                best first.

        Raises:
            FSAFError: "the detector is in training mode and got no targets: ..."; as
                `training_losses`.

        Source: paper, section 3.4 (joint training and inference).
        """
        if not self.training:
            return self.detect(images)
        if targets is None:
            raise FSAFError(
                "the detector is in training mode and got no targets: pass them, or call .eval()."
            )
        return self.training_losses(images, targets)[0]

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.mean.device

    def training_losses(
        self,
        images: list[Tensor],
        targets: Targets,
        network: Callable[[Tensor], HeadOutputs] | None = None,
    ) -> tuple[dict[str, Float[Tensor, ""]], HeadOutputs, Assignment | None]:
        """Return the losses of a training step, with the outputs and the assignment behind them.

        Args:
            images, targets: as in `forward`.
            network: stands for `head_outputs`, for example compiled or under autocast.

        Raises:
            FSAFError: "2 images came with 1 targets: ..."; as `check_images` and
                `pack_ground_truth`.
        """
        batch = self.preprocess(images)
        if len(targets) != len(images):
            raise FSAFError(
                f"{len(images)} images came with {len(targets)} targets: give a dict for each "
                "image, empty ones too."
            )
        ground_truth = self._pack(targets, batch.tensor, batch.sizes)
        outputs = (network or self.head_outputs)(batch.tensor)
        assignment = self.assign(outputs, ground_truth, batch.sizes)
        return self.losses(outputs, assignment, ground_truth), outputs, assignment

    def preprocess(self, images: Sequence[Tensor]) -> ImageBatch:
        """Normalize the images and pad them with zeros to one size, a multiple of `size_divisor`.

        Args:
            images: (3, h, w) each, RGB, uint8 or float in 0..1; brought to the detector's device.

        Raises:
            FSAFError: as `check_images`.

        Source: MMDetection, data_preprocessor.py, `DetDataPreprocessor.forward`.
        """
        check_images(images)
        sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
        step = self.config.size_divisor
        height, width = padded_size(max(h for h, _ in sizes), max(w for _, w in sizes), step)
        padded = []
        for image, (h, w) in zip(images, sizes):
            whole, image = image.dtype == torch.uint8, image.to(self.mean.device).float()
            image = image if whole else image * 255
            padded.append(F.pad((image - self.mean) / self.std, (0, width - w, 0, height - h)))
        return ImageBatch(torch.stack(padded).to(self.mean.dtype), sizes)

    def head_outputs(self, tensor: Float[Tensor, "B 3 H W"]) -> HeadOutputs:
        """Run the network.

        Args:
            tensor: normalized, H and W multiples of `size_divisor`.

        Returns:
            `cls_logits` (B, K, h, w) and `box_offsets` (B, 4, h, w), l t r b >= 0, of each level;
            `ab_cls` and `ab_box` of the anchors.
        """
        return HeadOutputs(*self.network(tensor))

    def locations(self, outputs: HeadOutputs, sizes: Sizes | None = None) -> Locations:
        """Return the locations of the levels that `outputs` have.

        Args:
            outputs: of `head_outputs`.
            sizes: height, width of each image before padding; None: every image fills the tensor.
        """
        maps, config = outputs.cls_logits or outputs.ab_cls, self.config
        shapes = tuple((int(level.shape[-2]), int(level.shape[-1])) for level in maps)
        device = maps[0].device
        locations = pyramid_locations(shapes, config.strides, config.rules.cell_center, device)
        if sizes is None:
            return locations
        step, strides = config.size_divisor, np.array(config.strides)[:, None]
        padded = -(-np.array(sizes) // step) * step  # B 2: height, width
        extent = np.minimum(-(-padded[:, None] // strides), shapes)  # B L 2: rows, columns
        if (extent == shapes).all():
            return locations
        columns_rows = torch.from_numpy(extent[..., ::-1].copy()).to(device)
        return replace(locations, extent=columns_rows)

    def predictions(self, outputs: HeadOutputs, training: bool = True) -> Predictions:
        """Return the anchor-free outputs of all levels side by side, with decoded boxes.

        Args:
            outputs: of `head_outputs`.
            training: whether box outputs are at least the convention's `min_offset`.
        """
        logits = torch.cat([level.flatten(2) for level in outputs.cls_logits], 2)
        offsets = torch.cat([level.flatten(2) for level in outputs.box_offsets], 2).mT
        locations = self.locations(outputs)
        offsets = precise(offsets).clamp(min=self.config.rules.min_offset if training else 0)
        scale = self.config.offset_normalizer * locations.stride
        return Predictions(precise(logits), decode(offsets, locations.centers, scale))

    @torch.no_grad()
    def assign(
        self, outputs: HeadOutputs, targets: Targets | GroundTruth, sizes: Sizes | None = None
    ) -> Assignment | None:
        """Return which locations learn which instance; None without an anchor-free branch.

        Args:
            outputs: of `head_outputs`; used without gradient.
            targets: as in `forward`, in pixels of the input tensor; or packed.
            sizes: height, width of each image before padding; None: every image fills the tensor.

        Raises:
            FSAFError: as `pack_ground_truth`.
        """
        if not outputs.cls_logits:
            return None
        ground_truth = self._pack(targets, outputs.cls_logits[0])
        locations = self.locations(outputs, sizes)
        assigner = self.parts.assign if self.parts.assigner else partial(assign, config=self.config)
        assignment = assigner(locations, self.predictions(outputs), ground_truth)
        if locations.extent is None:
            return assignment
        # Only locations in an image's own padded extent are valid. x: column, y: row.
        xy = locations.centers / locations.stride[:, None] - self.config.rules.cell_center
        xy = xy.round()  # whole numbers but for rounding: 0.1 has no exact float
        inside = (xy < locations.extent[:, locations.level]).all(2)
        valid = inside if assignment.valid is None else assignment.valid & inside
        assigned = assignment.assigned.masked_fill(~inside, -1)
        return replace(assignment, assigned=assigned, valid=valid)

    def losses(
        self, outputs: HeadOutputs, assignment: Assignment | None, targets: Targets | GroundTruth
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the named losses of an assignment, as `forward` does, differentiable in `outputs`.

        Args:
            outputs: those that were assigned.
            assignment: of `assign`.
            targets: the same as there; anchors are matched with them.
        """
        ground_truth = self._pack(targets, (outputs.cls_logits or outputs.ab_cls)[0])
        losses: dict[str, Tensor] = {}
        if assignment is not None:
            normalizer, config = self.normalizer(assignment), self.config
            inputs = self.predictions(outputs), ground_truth, assignment, normalizer, config
            box_loss = iou_loss if self.parts.box_loss is None else self.parts.loss_of_boxes
            losses |= anchor_free_losses(*inputs, box_loss)
        if self.anchor_based is not None:
            losses |= self.anchor_based.losses(
                outputs.ab_cls, outputs.ab_box, ground_truth, self.sync_normalizer
            )
        return losses

    def normalizer(self, assignment: Assignment) -> Float[Tensor, ""]:
        """Return the number of positive locations, the divisor of the anchor-free losses.

        Without any positive location it is 1 (paper), or the number of valid locations, at least 1
        an image (MMDetection). With `sync_normalizer` it is the mean over all processes, so that
        the mean of their losses is that of one process with all their images.

        Source: paper, section 3.2; MMDetection, fsaf_head.py, `FSAFHead.loss_by_feat`.
        """
        positives, valid = assignment.positive.sum(dtype=torch.float32), assignment.valid
        total = assignment.assigned.numel() if valid is None else valid.sum(1).clamp(min=1).sum()
        positives, total, one = all_reduce_mean(self.sync_normalizer, positives, total)
        by_total = self.config.rules.no_positive_normalizer == "locations"
        return positives.masked_fill(positives == 0, total if by_total else one)

    def _pack(
        self, targets: Targets | GroundTruth, like: Tensor, sizes: Sizes | None = None
    ) -> GroundTruth:
        if isinstance(targets, GroundTruth):
            return targets
        return pack_ground_truth(targets, like.device, self.config.num_classes, sizes)

    def detect(
        self, images: Sequence[Tensor], scales: Sequence[tuple[float, float]] | None = None
    ) -> list[dict[str, Tensor]]:
        """Return the detections of each image, as `Predictor.detect` describes."""
        batch = self.preprocess(images)
        return self.postprocess(self.head_outputs(batch.tensor), batch.sizes, scales)

    @torch.no_grad()
    def postprocess(
        self,
        outputs: HeadOutputs,
        sizes: Sizes,
        scales: Sequence[tuple[float, float]] | None = None,
    ) -> list[dict[str, Tensor]]:
        """Return the detections of each image; the steps are in `model/postprocess.py`.

        Args:
            outputs: of `head_outputs`.
            sizes: height, width of each image in the input tensor, without padding.
            scales: factors (x, y) by which each image was resized. Boxes come back in the pixels
                before the resize; None: in pixels of the input tensor.

        Returns:
            For each image `boxes` (D, 4) x1 y1 x2 y2 pixels, `scores` (D,) 0..1 and `labels` (D,)
            0..K-1, best first.

        Source: paper, section 3.4 (inference).
        """
        scales = scales or (None,) * len(sizes)
        images = zip(self.candidates(outputs), sizes, scales, strict=True)
        return [detect(levels, size, scale, self.config) for levels, size, scale in images]

    def candidates(self, outputs: HeadOutputs) -> Iterator[Levels]:
        """Yield the class logits and decoded boxes of each image, level by level.

        The locations of all levels come first, then the anchors of all levels. Boxes are
        x1 y1 x2 y2 in pixels of the input tensor. They are not clipped, and no score threshold is
        applied.
        """
        free: list = []
        if outputs.cls_logits:
            predictions, sizes = self.predictions(outputs, False), self.locations(outputs).sizes
            free = [*zip(predictions.logits.mT.split(sizes, 1), predictions.boxes.split(sizes, 1))]
        branch = self.anchor_based
        anchors = [] if branch is None else branch.anchors(outputs.ab_cls)
        for index in range(len((outputs.cls_logits or outputs.ab_cls)[0])):
            levels = [(logits[index], boxes[index]) for logits, boxes in free]
            if branch is not None:
                for cls, box, of_level in zip(outputs.ab_cls, outputs.ab_box, anchors):
                    levels.append(branch.candidates(cls[index], box[index], of_level))
            yield levels


def build_detector(
    config: ModelConfig, pretrained_backbone: bool = False, parts: Parts = Parts()
) -> Detector:
    """Return a detector with fresh weights.

    Args:
        config: such as `presets.get("tiny").model`.
        pretrained_backbone: whether the backbone gets torchvision's IMAGENET1K_V1 weights, which
            are downloaded once.
        parts: of your own: a backbone, an assigner, a box loss.

    Raises:
        FSAFError: "give a ModelConfig, such as presets.get('tiny').model, not a Config."; as
            `check_backbone`.
    """
    if not isinstance(config, ModelConfig):
        raise FSAFError(
            f"give a ModelConfig, such as presets.get('tiny').model, not a {type(config).__name__}."
        )
    return Detector(config, pretrained_backbone, parts)
