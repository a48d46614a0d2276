"""The network: backbone, feature pyramid and head."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..config import ModelConfig
from .backbone import backbone_features, build_backbone
from .fpn import FeaturePyramid
from .head import Head


class Network(nn.Module):
    """Backbone, feature pyramid and head: from normalized images to the head's outputs."""

    backbone: Any  # a torchvision ResNet or TinyBackbone, which has the same names

    def __init__(
        self, config: ModelConfig, anchors_per_cell: int = 9, pretrained_backbone: bool = False
    ) -> None:
        super().__init__()
        self.backbone, channels = build_backbone(config, pretrained_backbone)
        self.neck = FeaturePyramid(channels, config.channels, config.first_level, config.last_level)
        self.head = Head(config, anchors_per_cell)
        self.frozen_stages = config.frozen_stages
        for module in self._frozen():
            module.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        """Return the modules of the first `frozen_stages` stages.

        Source: MMDetection 3.3.0, mmdet/models/backbones/resnet.py, ResNet._freeze_stages.
        """
        stages = [[self.backbone.conv1, self.backbone.bn1, self.backbone.layer1]]
        stages += [[getattr(self.backbone, f"layer{index}")] for index in (2, 3, 4)]
        return [module for stage in stages[: self.frozen_stages] for module in stage]

    def train(self, mode: bool = True) -> "Network":
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen():
            module.train(False)
        return self

    def features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return C3, C4 and C5, at strides 8, 16 and 32."""
        return backbone_features(self.backbone, images)

    def forward(
        self, images: Float[Tensor, "B 3 H W"]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Return the outputs of `Head.forward`."""
        return self.head(self.neck(self.features(images)))
