"""A ConvNeXt of timm as the backbone. Most of timm's networks fit in its place."""

import timm
from torch import nn


def convnext(name: str = "convnext_atto", pretrained: bool = False) -> nn.Module:
    """Return the backbone.

    Args:
        name: of a network of timm with stages at strides 4, 8, 16 and 32.
        pretrained: whether to download timm's weights, once.
    """
    backbone = timm.create_model(name, pretrained, features_only=True, out_indices=(-3, -2, -1))
    backbone.out_channels = tuple(backbone.feature_info.channels())
    return backbone
