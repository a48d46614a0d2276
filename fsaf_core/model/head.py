"""The head: two towers shared by all levels, with anchor-free and anchor-based outputs."""

import math

from torch import Tensor, nn

from ..config import GROUPS, ModelConfig

# For each level; see `Head.forward`.
Outputs = tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
PRIOR = 0.01  # the paper's pi: the score of every class before training


def tower(channels: int, depth: int, norm: str) -> nn.Sequential:
    """Return `depth` 3x3 convolutions, each followed by a ReLU.

    Args:
        channels: of input and output.
        depth: number of convolutions.
        norm: "group" puts a group norm after each convolution, for training from scratch; "none".
    """
    layers: list[nn.Module] = []
    for _ in range(depth):
        if norm == "none":
            layers.append(output_conv(channels, channels, 0.0))
        else:
            conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.GroupNorm(GROUPS, channels)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def output_conv(channels: int, filters: int, bias: float) -> nn.Conv2d:
    """Return a 3x3 convolution with normal weights of sigma 0.01 and a constant bias."""
    conv = nn.Conv2d(channels, filters, 3, 1, 1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(conv.get_parameter("bias"), bias)
    return conv


class Head(nn.Module):
    """Towers shared by all levels, with anchor-free outputs, anchor-based outputs or both.

    FSAF adds two convolutions to RetinaNet's head: `af_cls` and `af_box` have 184,400 and 9,220
    parameters at K = 80.

    Source: paper, section 3.1; initialization: MMDetection 3.3.0,
        mmdet/models/dense_heads/fsaf_head.py, FSAFHead.__init__.
    """

    def __init__(self, config: ModelConfig, anchors_per_cell: int) -> None:
        super().__init__()
        channels, classes = config.channels, config.num_classes
        self.cls_tower = tower(channels, config.tower_depth, config.tower_norm)
        self.box_tower = tower(channels, config.tower_depth, config.tower_norm)
        prior_bias = -math.log((1 - PRIOR) / PRIOR)
        self.anchor_free = config.branches != "anchor_based"
        self.anchor_based = config.branches != "anchor_free"
        if self.anchor_free:
            self.af_cls = output_conv(channels, classes, prior_bias)
            self.af_box = output_conv(channels, 4, config.rules.box_bias)
        if self.anchor_based:
            self.ab_cls = output_conv(channels, anchors_per_cell * classes, prior_bias)
            self.ab_box = output_conv(channels, anchors_per_cell * 4, 0.0)

    def forward(self, levels: list[Tensor]) -> Outputs:
        """Return four lists over the levels; the lists of a missing branch are empty.

        Args:
            levels: (B, C, H, W) each, of the pyramid.

        Returns:
            The anchor-free branch's class logits (B, K, H, W) and box offsets l t r b >= 0
            (B, 4, H, W), in units of S * stride. The anchor-based branch's class logits
            (B, A * K, H, W) and deltas (B, A * 4, H, W) of A anchors at each location.
        """
        towers = [(self.cls_tower(level), self.box_tower(level)) for level in levels]
        free, based = (towers if used else [] for used in (self.anchor_free, self.anchor_based))
        af_cls, af_box = [self.af_cls(c) for c, _ in free], [self.af_box(b).relu() for _, b in free]
        ab_cls, ab_box = [self.ab_cls(c) for c, _ in based], [self.ab_box(b) for _, b in based]
        return af_cls, af_box, ab_cls, ab_box
