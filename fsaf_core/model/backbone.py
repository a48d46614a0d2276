"""Backbones: a torchvision ResNet or a tiny one, cut after its last stage."""

from collections import OrderedDict

import torchvision
from torch import nn
from torchvision.models._utils import IntermediateLayerGetter

from ..config import ModelConfig

STAGES = {"layer2": "C3", "layer3": "C4", "layer4": "C5"}  # at strides 8, 16 and 32


class FrozenStatsBatchNorm(nn.BatchNorm2d):
    """Batch norm with fixed statistics and a trained weight and bias.

    Source: MMDetection 3.3.0, mmdet/models/backbones/resnet.py, ResNet (`norm_eval`).
    Differs: torchvision's `FrozenBatchNorm2d` freezes weight and bias too.
    """

    def train(self, mode: bool = True) -> "FrozenStatsBatchNorm":
        """Keep the module in evaluation mode, whatever `mode` is."""
        return super().train(False)


class TinyBackbone(IntermediateLayerGetter):
    """A residual network of four blocks, for training from scratch on a CPU.

    Its parameters have the names of a torchvision ResNet.
    """

    def __init__(self, norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        stem, *widths = (16, 24, 64, 96, 128)  # few channels where the maps are large
        conv: nn.Module = nn.Conv2d(3, stem, 3, 2, 1, bias=False)
        layers = OrderedDict(conv1=conv)
        layers |= {"bn1": norm(stem), "relu": nn.ReLU(inplace=True), "maxpool": nn.Identity()}
        block = torchvision.models.resnet.BasicBlock
        for index, (cin, cout) in enumerate(zip((stem, *widths), widths), 1):
            # Each block halves the resolution, so its skip connection needs a convolution too.
            skip = nn.Sequential(nn.Conv2d(cin, cout, 1, 2, bias=False), norm(cout))
            layers[f"layer{index}"] = nn.Sequential(block(cin, cout, 2, skip, norm_layer=norm))
        super().__init__(nn.Sequential(layers), STAGES)
        self.out_channels = tuple(widths[1:])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build_backbone(config: ModelConfig, pretrained: bool) -> IntermediateLayerGetter:
    """Return a module from images to C3, C4 and C5; `out_channels` are their channels.

    Args:
        config: its `backbone` and `backbone_norm` count here.
        pretrained: whether to load torchvision's IMAGENET1K_V1 weights, which are downloaded once.
            The tiny backbone has none.
    """
    norm = FrozenStatsBatchNorm if config.backbone_norm == "frozen" else nn.BatchNorm2d
    if config.backbone == "tiny":
        return TinyBackbone(norm)
    weights = "IMAGENET1K_V1" if pretrained else None
    resnet = torchvision.models.get_model(config.backbone, weights=weights, norm_layer=norm)
    backbone = IntermediateLayerGetter(resnet, STAGES)
    is_small = config.backbone == "resnet18"
    backbone.out_channels = (128, 256, 512) if is_small else (512, 1024, 2048)
    return backbone
