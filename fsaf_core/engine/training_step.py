"""The forward pass of a training step, as one module."""

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..model.detector import Detector
from ..model.structures import HeadOutputs
from ..utils.distributed import autocast


class TrainingStep(nn.Module):
    """Forward pass of a step: from images and targets to losses and the counts of the log.

    It is one module with one forward, because that is what DistributedDataParallel wraps.
    """

    def __init__(self, detector: Detector, recipe: TrainConfig) -> None:
        super().__init__()
        self.detector, self.amp = detector, recipe.amp
        self.format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.network = (
            torch.compile(detector.head_outputs) if recipe.compile else detector.head_outputs
        )

    def forward(
        self, images: list[Tensor], targets: list[dict]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses by name, whose sum is the total, and the counts by name.

        All are scalars on the device; no value is read.
        """
        losses, outputs, assignment = self.detector.training_losses(images, targets, self._outputs)
        if assignment is None:  # no anchor-free branch
            return losses, {}
        with torch.no_grad():
            # An output at 0 is a dead ReLU, without gradient. If most are, the boxes stop learning
            # while the class loss still falls.
            offsets = torch.cat([level.flatten(2) for level in outputs.box_offsets], 2)
            dead = ((offsets <= 0) & assignment.positive[:, None]).sum() / 4
            counts = {"positives": assignment.num_positive, "dead": dead}
            if assignment.selected_level is not None:
                # The heuristic may select a level at which an instance has no location.
                learned = torch.zeros(len(assignment.selected_level) + 1, device=offsets.device)
                learned = learned.index_fill(0, assignment.assigned.flatten() + 1, 1)[1:] > 0
                level = assignment.selected_level.where(learned, -1)
                levels = range(len(outputs.box_offsets))
                first = self.detector.config.first_level
                names = ["no_cell", *(f"P{first + level}" for level in levels)]
                numbers = torch.arange(-1, len(levels), device=offsets.device)  # -1: no location
                instances = (level[:, None] == numbers).sum(0)
                counts |= dict(zip(names, instances))
        return losses, counts

    def _outputs(self, tensor: Tensor) -> HeadOutputs:
        """Run the network in the recipe's number format and memory layout."""
        with autocast(tensor.device, self.amp):
            return self.network(tensor.contiguous(memory_format=self.format))
