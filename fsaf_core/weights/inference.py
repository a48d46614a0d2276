"""A detector made faster for inference alone."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..model.backbone import FrozenStatsBatchNorm
from ..model.detector import Detector
from ..model.network import Network


def for_inference(detector: Detector) -> Detector:
    """Return a copy that detects faster: batch norms folded, memory in channels-last order.

    Detections differ by rounding alone. The copy has weights of its own, which a training of
    `detector` does not change. It cannot be saved or trained.
    """
    fast = copy.deepcopy(detector)
    if fast.parts.backbone is None:  # another forward pass may have another order
        fast.network = fold_norms(fast.network)
    return fast.eval().to(memory_format=torch.channels_last)


def fold_norms(network: Network) -> Network:
    """Return a copy for inference, each batch norm folded into the convolution before it.

    The backbone must be one of `build_backbone`, whose norms follow their convolutions. The outputs
    of the copy differ by about 1e-5.
    """
    network = copy.deepcopy(network).eval()
    # "0" and "1" are the convolution and the norm of a skip connection.
    pairs = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
    for module in network.backbone.modules():
        for conv, norm in pairs:
            kinds = type(getattr(module, conv, None)), type(getattr(module, norm, None))
            if kinds in ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv2d, FrozenStatsBatchNorm)):
                folded = fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm))
                setattr(module, conv, folded)
                setattr(module, norm, nn.Identity())
    return network
