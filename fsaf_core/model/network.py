"""The network: backbone, feature pyramid and head."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..config import ModelConfig
from ..utils.parts import stages
from .backbone import build_backbone
from .fpn import FeaturePyramid
from .head import Head, Outputs


class Network(nn.Module):
    """Backbone, feature pyramid and head: from normalized images to the head's outputs."""

    def __init__(
        self, config: ModelConfig, anchors_per_cell: int = 9, backbone: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone or build_backbone(config, pretrained=False)
        channels: Any = self.backbone.out_channels
        self.neck = FeaturePyramid(channels, config.channels, config.first_level, config.last_level)
        self.head = Head(config, anchors_per_cell)
        self.frozen_stages = config.frozen_stages
        for module in self._frozen():
            module.requires_grad_(False)

    def _frozen(self) -> list[nn.Module]:
        """Return the modules of the first `frozen_stages` stages.

        Source: MMDetection 3.3.0, mmdet/models/backbones/resnet.py, ResNet._freeze_stages.
        """
        names = ["conv1 bn1 layer1", "layer2", "layer3", "layer4"][: self.frozen_stages]
        return [getattr(self.backbone, name) for stage in names for name in stage.split()]

    def train(self, mode: bool = True) -> "Network":
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen():
            module.train(False)
        return self

    def features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """Return C3, C4 and C5, at strides 8, 16 and 32."""
        return stages(self.backbone, images)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Outputs:
        """Return the outputs of `Head.forward`."""
        return self.head(self.neck(self.features(images)))
