"""GIoU as the box loss.

`Parts(box_loss=giou)` trains the boxes with it, and the online selection keeps -ln IoU. With
`Parts(assigner=giou_selection(config), box_loss=giou)` the selection compares levels by GIoU too.
"""

from functools import partial

from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from fsaf_core import ModelConfig
from fsaf_core.method.assignment import Assigner, assign


def giou(predicted: Tensor, target: Tensor) -> Tensor:
    """Return 1 - GIoU, 0..2, of each predicted box (..., 4) with its target (..., 4)."""
    return generalized_box_iou_loss(predicted, target)


def giou_selection(config: ModelConfig) -> Assigner:
    """Return FSAF's own assigner, whose level losses are focal loss plus 1 - GIoU."""
    return partial(assign, config=config, box_loss=giou)
