"""MobileNetV3 as the backbone, cut by torchvision's feature extraction."""

from torch import nn
from torchvision.models import mobilenet_v3_large
from torchvision.models.feature_extraction import create_feature_extractor

STAGES = {"features.6": "C3", "features.12": "C4", "features.16": "C5"}  # the last of each stride


def mobilenet(weights: str | None = None) -> nn.Module:
    """Return the backbone.

    Args:
        weights: "IMAGENET1K_V2" is downloaded once; None: random.
    """
    backbone = create_feature_extractor(mobilenet_v3_large(weights=weights), STAGES)
    backbone.out_channels = (40, 112, 960)
    return backbone
