"""The feature pyramid, which makes levels P3..P7 out of C3..C5."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class FeaturePyramid(nn.Module):
    """Make the levels P3..P7 of the stages C3..C5, without norms or activations.

    Each stage passes a lateral 1x1 convolution. From the coarsest stage down, the sum of the
    coarser stages is upsampled (nearest) to the lateral's exact size and added to it. A 3x3
    convolution makes the level. P6 comes from C5 and P7 from P6 by 3x3 convolutions of stride 2.

    Source: paper, section 3.1; MMDetection 3.3.0, mmdet/models/necks/fpn.py, FPN.
    Differs: RetinaNet (Lin et al., section 4) and torchvision's `LastLevelP6P7` apply a ReLU
        before P7. MMDetection's rows have none, and the paper says nothing about it.
    """

    def __init__(
        self, in_channels: tuple[int, int, int], channels: int, first_level: int, last_level: int
    ) -> None:
        super().__init__()
        used = in_channels[max(first_level - 3, 0) :]
        self.skip = len(in_channels) - len(used)
        self.lateral = nn.ModuleList(nn.Conv2d(cin, channels, 1) for cin in used)
        extra = [
            nn.Conv2d(in_channels[-1] if level == 6 else channels, channels, 3, 2, 1)
            for level in range(6, last_level + 1)
        ]
        self.output = nn.ModuleList([nn.Conv2d(channels, channels, 3, 1, 1) for _ in used] + extra)
        for parameter in self.parameters():
            nn.init.xavier_uniform_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)

    def forward(self, features: list[Float[Tensor, "B _ _ _"]]) -> list[Float[Tensor, "B C _ _"]]:
        """Return the pyramid's levels, finest first, all of C = `channels`.

        Args:
            features: C3, C4 and C5.
        """
        merged = [lateral(c) for lateral, c in zip(self.lateral, features[self.skip :])]
        for index in range(len(merged) - 2, -1, -1):
            size = merged[index].shape[-2:]
            merged[index] = merged[index] + F.interpolate(merged[index + 1], size, mode="nearest")
        levels = [output(level) for output, level in zip(self.output, merged)]
        coarser = features[-1]
        for output in list(self.output)[len(merged) :]:
            coarser = output(coarser)
            levels.append(coarser)
        return levels
