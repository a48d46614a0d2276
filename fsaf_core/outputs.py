"""The network's outputs, and what is made of them for selection and losses both: made once, and kept with them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .boxes import Grid
from .config import ModelConfig
from .losses import background_focal, iou_loss, precise


@dataclass(frozen=True)
class HeadOutputs:
    """The network's outputs, a list over the levels each; lists of a missing branch are empty."""

    cls_logits: list[Float[Tensor, "B K _ _"]]
    box_offsets: list[Float[Tensor, "B 4 _ _"]]  # l t r b >= 0, in units of S * stride
    ab_cls: list[Float[Tensor, "B _ _ _"]] = field(default_factory=list)  # 9 anchors x K
    ab_box: list[Float[Tensor, "B _ _ _"]] = field(default_factory=list)  # 9 anchors x 4
    made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # of these outputs, so far

    @property
    def blocks(self) -> list[Float[Tensor, "B K _"]]:
        """`cls_logits` as two blocks: the first level, most of all cells, not copied, and all others side by side."""
        return self._kept("blocks", None, lambda: two_blocks([precise(level.flatten(2)) for level in self.cls_logits]))

    @property
    def offsets(self) -> Float[Tensor, "B R 4"]:
        """`box_offsets` of all levels side by side."""
        return self._kept("offsets", None, lambda: torch.cat([precise(level.flatten(2)) for level in self.box_offsets], 2).mT)

    def background(self, ignored: tuple[Bool[Tensor, "B K _"], ...] | None) -> Float[Tensor, "B R"]:
        """Focal loss of each cell, without weight, were all its classes background that are not ignored."""
        return self._kept("background", ignored, lambda: background_focal(self.blocks, ignored))

    def box_loss(self, target_edges: Float[Tensor, "B R 4"], grid: Grid, config: ModelConfig) -> Float[Tensor, "B R"]:
        """-ln IoU of each cell's decoded box with its target. Made for the selection, it is handed on once, to the losses: a
        second backward pass would find its graph gone."""
        loss = self._kept("box_loss", target_edges, lambda: box_loss(self.offsets, target_edges, grid, config))
        if torch.is_grad_enabled():
            del self.made["box_loss"]
        return loss

    def _kept(self, name: str, of: object, make: Callable[[], Any]) -> Any:
        """What the selection has made serves the losses: kept with gradient, though the selection needs none, and for the same
        targets `of`. (`cached_property` may take a lock, which `torch.compile` cannot trace.)"""
        kept = self.made.get(name)
        if kept is None or kept[0] is not of:
            with torch.enable_grad():
                kept = self.made[name] = (of, make())
        return kept[1]


def two_blocks(flat: list[Float[Tensor, "B K _"]]) -> list[Float[Tensor, "B K _"]]:
    """The first level as it is, and all others side by side."""
    return [flat[0], torch.cat(flat[1:], 2)] if len(flat) > 1 else flat


def box_loss(
    offsets: Float[Tensor, "B R 4"], target_edges: Float[Tensor, "B R 4"], grid: Grid, config: ModelConfig
) -> Float[Tensor, "B R"]:
    """-ln IoU of each cell's decoded box with its target, in pixels."""
    if config.rules.min_offset:
        offsets = offsets.clamp(min=config.rules.min_offset)
    scale = config.offset_normalizer * grid.stride.unsqueeze(1)
    return iou_loss(grid.edges + offsets * scale, target_edges)  # as `decode`, in edges
