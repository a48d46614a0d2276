"""Backbones, a torchvision ResNet or a tiny one, and their stages C3, C4 and C5."""

from typing import Any

import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from ..config import ModelConfig


class FrozenStatsBatchNorm(nn.BatchNorm2d):
    """Batch norm with fixed statistics and a trained weight and bias.

    Source: MMDetection 3.3.0, mmdet/models/backbones/resnet.py, ResNet (`norm_eval`).
    Differs: torchvision's `FrozenBatchNorm2d` freezes weight and bias too.
    """

    def train(self, mode: bool = True) -> "FrozenStatsBatchNorm":
        """Keep the module in evaluation mode, whatever `mode` is."""
        return super().train(False)


class TinyBackbone(nn.Module):
    """A residual network of four blocks, for training from scratch on a CPU.

    Its parameters have the names of a torchvision ResNet.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (24, 48, 96, 160),
        norm: type[nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.bn1 = norm(widths[0])
        block = torchvision.models.resnet.BasicBlock
        for index, (cin, cout) in enumerate(zip((widths[0], *widths), widths), 1):
            # Each block halves the resolution, so its skip connection needs a convolution too.
            skip = nn.Sequential(nn.Conv2d(cin, cout, 1, 2, bias=False), norm(cout))
            stage = nn.Sequential(block(cin, cout, 2, skip, norm_layer=norm))
            self.add_module(f"layer{index}", stage)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build_backbone(config: ModelConfig, pretrained: bool) -> tuple[nn.Module, tuple[int, int, int]]:
    """Return a backbone without its classifier, and the channels of C3, C4 and C5.

    Args:
        config: its `backbone` and `backbone_norm` count here.
        pretrained: whether to load torchvision's IMAGENET1K_V1 weights, which are downloaded once.
            The tiny backbone has none.
    """
    norm = FrozenStatsBatchNorm if config.backbone_norm == "frozen" else nn.BatchNorm2d
    if config.backbone == "tiny":
        return TinyBackbone(norm=norm), (48, 96, 160)
    weights = "IMAGENET1K_V1" if pretrained else None
    backbone = torchvision.models.get_model(config.backbone, weights=weights, norm_layer=norm)
    del backbone.fc, backbone.avgpool
    return backbone, (128, 256, 512) if config.backbone == "resnet18" else (512, 1024, 2048)


def backbone_features(
    backbone: Any, images: Float[Tensor, "B 3 H W"]
) -> list[Float[Tensor, "B _ _ _"]]:
    """Return C3, C4 and C5, at strides 8, 16 and 32, of a backbone with a ResNet's layers."""
    stem = backbone.maxpool(backbone.relu(backbone.bn1(backbone.conv1(images))))
    c3 = backbone.layer2(backbone.layer1(stem))
    c4 = backbone.layer3(c3)
    return [c3, c4, backbone.layer4(c4)]
