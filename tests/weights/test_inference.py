"""The copy for inference finds what the detector finds; `tests/parity` compares it with MMDetection."""

import torch
from torch import nn

import fsaf_core as fsaf
from fsaf_core.config import ModelConfig
from fsaf_core.model.network import Network
from fsaf_core.weights.inference import fold_norms, for_inference


def test_the_copy_is_in_channels_last_and_leaves_the_detector_alone():
    detector = fsaf.build_detector(fsaf.presets.get("tiny").model).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    fast = for_inference(detector)
    assert detector.training and not any(module.training for module in fast.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert fast.network.head.af_cls.weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        fast.network.head.af_cls.weight.zero_()
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())


class NormFirst(nn.Module):
    """A backbone whose norm comes before the convolution of its name."""

    out_channels = (4, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, 8, 1), nn.BatchNorm2d(3)
        nn.init.constant_(self.bn1.running_mean, 0.5)

    def forward(self, images):
        first = self.conv1(self.bn1(images))
        return [first, *(nn.functional.max_pool2d(first, factor) for factor in (2, 4))]


def test_a_users_backbone_is_not_folded():
    model = fsaf.presets.get("tiny").model
    detector = fsaf.build_detector(model, parts=fsaf.Parts(backbone=NormFirst)).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        pairs = zip(
            detector.network.features(images), for_inference(detector).network.features(images)
        )
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_folded_norms_give_equal_outputs():
    torch.manual_seed(1)
    config = ModelConfig(backbone="resnet18", channels=16, tower_depth=1)
    network = Network(config).eval()
    for module in network.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.2, 0.6)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        folded = fold_norms(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        for ours, theirs in zip(
            network.neck(network.features(images)), folded.neck(folded.features(images))
        ):
            assert ours.std() > 0.01
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
