"""GIoU as the box loss.

`Parts(box_loss=giou)` trains the boxes with it, and the online selection keeps -ln IoU. With
`Parts(assigner=GIoUSelection(config), box_loss=giou)` the levels are compared by GIoU too.
"""

from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from fsaf_core import ModelConfig
from fsaf_core.method.assignment import Assignment, GroundTruth, Predictions, assign
from fsaf_core.method.locations import Locations


def giou(predicted: Tensor, target: Tensor) -> Tensor:
    """Return 1 - GIoU, 0..2, of each predicted box (..., 4) with its target (..., 4)."""
    return generalized_box_iou_loss(predicted, target)


@dataclass(frozen=True)
class GIoUSelection:
    """FSAF's own assigner, whose level losses are the focal loss plus 1 - GIoU."""

    config: ModelConfig  # of the detector

    def __call__(
        self, locations: Locations, predictions: Predictions, ground_truth: GroundTruth
    ) -> Assignment:
        return assign(locations, predictions, ground_truth, self.config, giou)
