"""Backbones: a torchvision ResNet or the tiny one, and their stages C3, C4, C5."""

from typing import Any

import torchvision
from jaxtyping import Float
from torch import Tensor, nn

from ..config import ModelConfig


class FrozenStatsBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics never change, while weight and bias are trained. Same names as `BatchNorm2d`.

    Source: reference, rule 15 (`norm_eval`). torchvision's `FrozenBatchNorm2d` freezes the affine part too.
    """

    def train(self, mode: bool = True) -> "FrozenStatsBatchNorm":
        """Stays in evaluation mode."""
        return super().train(False)


class TinyBackbone(nn.Module):
    """Four stages of one residual block each for training from scratch on a CPU, with the names of a torchvision ResNet."""

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (24, 48, 96, 160),
        norm: type[nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.bn1 = norm(widths[0])
        block = torchvision.models.resnet.BasicBlock
        before = (widths[0], *widths)
        for index, (cin, cout) in enumerate(zip(before, widths)):
            skip = nn.Sequential(nn.Conv2d(cin, cout, 1, 2, bias=False), norm(cout))
            self.add_module(
                f"layer{index + 1}", nn.Sequential(block(cin, cout, 2, skip, norm_layer=norm))
            )
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def build_backbone(config: ModelConfig, pretrained: bool) -> tuple[nn.Module, tuple[int, int, int]]:
    """A torchvision ResNet without its classifier (or the tiny body) and the channels of C3, C4, C5.

    Args:
        config: its `body` and `backbone_norm` count here.
        pretrained: torchvision's IMAGENET1K_V1 weights, downloaded when not there yet; the tiny body has none.
    """
    norm = FrozenStatsBatchNorm if config.backbone_norm == "frozen" else nn.BatchNorm2d
    if config.backbone == "tiny":
        return TinyBackbone(norm=norm), (48, 96, 160)
    weights = (
        torchvision.models.get_model_weights(config.backbone).IMAGENET1K_V1 if pretrained else None
    )
    body = torchvision.models.get_model(config.backbone, weights=weights, norm_layer=norm)
    del body.fc, body.avgpool
    return body, (128, 256, 512) if config.backbone == "resnet18" else (512, 1024, 2048)


def backbone_features(
    body: Any, images: Float[Tensor, "B 3 H W"]
) -> list[Float[Tensor, "B _ _ _"]]:
    """C3, C4, C5 of a body with a ResNet's layers: strides 8, 16, 32."""
    c2 = body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(images)))))
    c3 = body.layer2(c2)
    c4 = body.layer3(c3)
    return [c3, c4, body.layer4(c4)]
