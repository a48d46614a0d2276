"""The network: body (C3..C5), feature pyramid (P3..P7), two towers shared by the levels, and the outputs."""

import copy
import math
from typing import Any

import torchvision
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .config import ModelConfig

PRIOR = 0.01  # the paper's pi: the score of every class at the start


class FrozenStatsBatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics never change, while weight and bias are trained. Same names as `BatchNorm2d`.

    Source: reference, rule 15 (`norm_eval`). torchvision's `FrozenBatchNorm2d` freezes the affine part too.
    """

    def train(self, mode: bool = True) -> "FrozenStatsBatchNorm":
        """Stays in evaluation mode."""
        return super().train(False)


class TinyBody(nn.Module):
    """Four stages of one residual block each for training from scratch on a CPU, with the names of a torchvision ResNet."""

    def __init__(self, widths: tuple[int, int, int, int] = (24, 48, 96, 160), norm: type[nn.Module] = nn.BatchNorm2d) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.bn1 = norm(widths[0])
        block = torchvision.models.resnet.BasicBlock
        before = (widths[0], *widths)
        for index, (cin, cout) in enumerate(zip(before, widths)):
            skip = nn.Sequential(nn.Conv2d(cin, cout, 1, 2, bias=False), norm(cout))
            self.add_module(f"layer{index + 1}", nn.Sequential(block(cin, cout, 2, skip, norm_layer=norm)))
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def make_body(config: ModelConfig, pretrained: bool) -> tuple[nn.Module, tuple[int, int, int]]:
    """A torchvision ResNet without its classifier (or the tiny body) and the channels of C3, C4, C5.

    Args:
        config: its `body` and `body_norm` count here.
        pretrained: torchvision's IMAGENET1K_V1 weights, downloaded when not there yet; the tiny body has none.
    """
    norm = FrozenStatsBatchNorm if config.body_norm == "frozen" else nn.BatchNorm2d
    if config.body == "tiny":
        return TinyBody(norm=norm), (48, 96, 160)
    weights = torchvision.models.get_model_weights(config.body).IMAGENET1K_V1 if pretrained else None
    body = torchvision.models.get_model(config.body, weights=weights, norm_layer=norm)
    del body.fc, body.avgpool
    return body, (128, 256, 512) if config.body == "resnet18" else (512, 1024, 2048)


def body_features(body: Any, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
    """C3, C4, C5 of a body with a ResNet's layers: strides 8, 16, 32."""
    c2 = body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(images)))))
    c3 = body.layer2(c2)
    c4 = body.layer3(c3)
    return [c3, c4, body.layer4(c4)]


class FeaturePyramid(nn.Module):
    """Levels P3..P7 of C3..C5.

    Lateral 1x1 convolutions, top-down nearest upsampling to the lateral's exact size, 3x3 output convolutions; P6 from C5 and
    P7 from P6 by 3x3 convolutions of stride 2, without a ReLU between. No norm, no activation.

    Source: paper, section 3.1; reference, rule 15. torchvision's `LastLevelP6P7` applies a ReLU before P7.
    """

    def __init__(self, in_channels: tuple[int, int, int], channels: int, first_level: int, last_level: int) -> None:
        super().__init__()
        used = in_channels[max(first_level - 3, 0) :]
        self.skip = len(in_channels) - len(used)
        self.lateral = nn.ModuleList(nn.Conv2d(cin, channels, 1) for cin in used)
        extra = [nn.Conv2d(in_channels[-1] if level == 6 else channels, channels, 3, 2, 1) for level in range(6, last_level + 1)]
        self.output = nn.ModuleList([nn.Conv2d(channels, channels, 3, 1, 1) for _ in used] + extra)
        for parameter in self.parameters():
            nn.init.xavier_uniform_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B C _ _"]]:
        """C3..C5 to the pyramid's levels, finest first, all of C = `channels`."""
        merged = [lateral(c) for lateral, c in zip(self.lateral, features[self.skip :])]
        for index in range(len(merged) - 1, 0, -1):
            merged[index - 1] = merged[index - 1] + F.interpolate(
                merged[index], size=merged[index - 1].shape[-2:], mode="nearest"
            )
        levels = [output(m) for output, m in zip(self.output, merged)]
        below = features[-1]
        for output in list(self.output)[len(merged) :]:
            below = output(below)
            levels.append(below)
        return levels


def tower(channels: int, depth: int, norm: str) -> nn.Sequential:
    """`depth` 3x3 convolutions with ReLU; group norm between where the network learns from scratch."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=norm == "none")
        nn.init.normal_(conv.weight, std=0.01) if norm == "none" else nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        layers += [conv] if norm == "none" else [conv, nn.GroupNorm(8, channels)]
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def output_conv(channels: int, filters: int, bias: float) -> nn.Conv2d:
    """A 3x3 convolution with normal weights of sigma 0.01 and a constant bias."""
    conv = nn.Conv2d(channels, filters, 3, 1, 1)
    weight, constant = conv.parameters()
    nn.init.normal_(weight, std=0.01)
    nn.init.constant_(constant, bias)
    return conv


class Head(nn.Module):
    """Towers shared by all levels; anchor-free outputs (`af_*`), anchor-based outputs (`ab_*`), or both in parallel.

    Source: paper, section 3.1: two convolutions more than RetinaNet, 184,400 + 9,220 parameters at K = 80.
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

    def forward(self, levels: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """The outputs of each level; empty lists without the branch.

        Returns:
            Class logits (B, K, H, W); box outputs l t r b >= 0 (B, 4, H, W), in units of S * stride; for A anchors a cell their
            class logits (B, A * K, H, W) and deltas (B, A * 4, H, W).
        """
        af_cls, af_box, ab_cls, ab_box = [], [], [], []
        for level in levels:
            cls, box = self.cls_tower(level), self.box_tower(level)
            if self.anchor_free:
                af_cls.append(self.af_cls(cls))
                af_box.append(self.af_box(box).relu())
            if self.anchor_based:
                ab_cls.append(self.ab_cls(cls))
                ab_box.append(self.ab_box(box))
        return af_cls, af_box, ab_cls, ab_box


class Network(nn.Module):
    """Normalised images to the heads' outputs."""

    backbone: Any  # a torchvision ResNet, or TinyBody, which has the names of one

    def __init__(self, config: ModelConfig, anchors_per_cell: int = 9, pretrained_backbone: bool = False) -> None:
        super().__init__()
        self.backbone, channels = make_body(config, pretrained_backbone)
        self.neck = FeaturePyramid(channels, config.channels, config.first_level, config.last_level)
        self.head = Head(config, anchors_per_cell)
        self.frozen_stages = config.frozen_stages
        self.freeze()

    def _frozen(self) -> list[nn.Module]:
        stages = [[self.backbone.conv1, self.backbone.bn1, self.backbone.layer1]]
        stages += [[getattr(self.backbone, f"layer{index}")] for index in (2, 3, 4)]
        return [module for stage in stages[: self.frozen_stages] for module in stage]

    def freeze(self) -> None:
        """The first `frozen_stages` stages get no gradient, and their norms stay in evaluation mode."""
        for module in self._frozen():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> "Network":
        """Training mode, frozen parts excepted."""
        super().train(mode)
        for module in self._frozen():
            module.train(False)
        return self

    def features(self, images: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        """C3, C4, C5: strides 8, 16, 32."""
        return body_features(self.backbone, images)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """See `Head.forward`."""
        return self.head(self.neck(self.features(images)))


def fold_norms(network: Network) -> Network:
    """A copy for inference: each batch norm of the body folded into the convolution before it. Equal outputs to about 1e-5."""
    network = copy.deepcopy(network).eval()
    for module in network.backbone.modules():
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")):  # the last: of a downsampling
            if isinstance(getattr(module, norm, None), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
    return network
