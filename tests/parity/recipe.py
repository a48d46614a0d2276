"""Weights and images behind the stored figures, made anew from names and seeds: no weight file has to be kept.

Every tensor has its own generator, seeded with the CRC-32 of its name in the reference's state_dict, so that any
implementation that knows the names can remake it. The constants are what they were when the figures were made.
"""

import math
import re
import zlib

import torch
from torch import Tensor

BIG = 2**31 - 1  # seeds lie below this
SALT_STEP = 1000003


def noise(name: str, shape: tuple[int, ...], salt: int) -> Tensor:
    """Standard normal noise that depends on nothing but name, shape and salt."""
    seed = (zlib.crc32(name.encode()) + SALT_STEP * salt) % BIG
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def checkpoint(
    shapes: dict[str, list[int]], *, cls_gain: float, cls_bias: float, reg_gain: float, salt: int, reg_bias: float = 0.6
) -> dict[str, Tensor]:
    """A state_dict as the reference would publish it.

    Convolutions keep the variance of what goes in (He), the pyramid's a little less; the last norm of each residual block is
    small, so that depth does not blow the features up; gains and biases of the two outputs are each case's own.
    """
    norms_per_block = 3 if any(".bn3." in name for name in shapes) else 2
    last_norm = re.compile(rf"layer\d\.\d+\.bn{norms_per_block}\.weight$")

    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("num_batches_tracked"):
            return torch.zeros((), dtype=torch.long)
        x = noise(name, shape, salt)
        if len(shape) == 4:
            root = math.sqrt(math.prod(shape[1:]))
            for part, gain in (("retina_cls", cls_gain), ("retina_reg", reg_gain), ("neck.", 0.4)):
                if part in name:
                    return x * (gain / root)
            return x * math.sqrt(2 / root**2)
        if name.endswith("running_mean"):
            return 0.1 * x
        if name.endswith("running_var"):
            return torch.exp(0.2 * x)
        if name.endswith("weight"):
            x = 1 + 0.1 * x
            return 0.3 * x if last_norm.search(name) else x
        if "retina_cls" in name:
            return cls_bias + 0.3 * x
        if "retina_reg" in name:
            return reg_bias + 0.1 * x
        return (0.1 if re.search(r"\.bn\d\.bias$|\.downsample\.", name) else 0.05) * x

    return {name: tensor(name, tuple(shape)) for name, shape in shapes.items()}


def normal_images(batch: int, height: int, width: int, seed: int) -> Tensor:
    """(batch, 3, height, width) of noise, as if normalised: what the network sees."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def noise_pictures(sizes: list[tuple[int, int]], seed: int = 11) -> list[Tensor]:
    """uint8 RGB pictures (3, h, w) of noise. They were drawn as blue, green, red, one after the other out of one generator."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8).flip(0) for size in sizes]
