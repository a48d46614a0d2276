"""The feature pyramid: levels P3..P7 of C3..C5."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class FeaturePyramid(nn.Module):
    """Levels P3..P7 of C3..C5.

    Lateral 1x1 convolutions, top-down nearest upsampling to the lateral's exact size, 3x3 output convolutions; P6 from C5 and
    P7 from P6 by 3x3 convolutions of stride 2, without a ReLU between. No norm, no activation.

    Source: paper, section 3.1; reference, rule 15. torchvision's `LastLevelP6P7` applies a ReLU before P7.
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
