"""The weights and images behind the recorded numbers, remade from names and seeds on any CPU.

Each tensor has its own generator, seeded with the CRC-32 of its name in MMDetection's state_dict. The records were made with
`torch.randn` on a CPU with AVX2. On other CPUs `torch.randn` takes other code for logarithm, sine and cosine, and about 4 in 10
values differ in the last bit: enough to move a gradient norm by 1e-5. `normal` repeats the AVX2 code in numpy instead.
"""

import math
import re
import zlib

import numpy as np
import torch
from torch import Tensor

SEED_LIMIT = 2**31 - 1
SALT_STEP = 1000003
CHUNK = 2**15  # values at a time, so that temporaries stay in the cache


def fused(a: np.ndarray, b: np.ndarray | np.float32, c: np.ndarray | np.float32) -> np.ndarray:
    """Return a * b + c of float32 values, rounded once, as a fused multiply-add does."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def polynomial(x: np.ndarray, *coefficients: float) -> np.ndarray:
    """Evaluate a polynomial by Horner's rule, highest power first."""
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = fused(value, x, np.float32(coefficient))
    return value


def logarithm(x: np.ndarray) -> np.ndarray:
    """Return ln x in float32 by the polynomial of the Cephes library, as PyTorch's AVX2 code does."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < np.float32(0.70710678)
    exponent = (exponent - low).astype(np.float32)
    x = np.where(low, mantissa + mantissa, mantissa) - np.float32(1)
    z = x * x
    y = x * polynomial(
        x, 7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )  # fmt: skip
    y = fused(z, np.float32(-0.5), fused(y, z, exponent * np.float32(-2.12194440e-4)))
    return fused(exponent, np.float32(0.693359375), x + y)


def cosine_sine(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return cos x and sin x in float32 for x >= 0 by the polynomials of the Cephes library."""
    octant = ((x * np.float32(4 / math.pi)).astype(np.int32) + 1) & ~1
    for part in (
        -0.78515625,
        -2.4187564849853515625e-4,
        -3.77489497744594108e-8,
    ):  # -pi / 4 in three parts
        x = fused(octant.astype(np.float32), np.float32(part), x)
    z = x * x
    cosine = z * polynomial(z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
    cosine = fused(cosine, z, z * np.float32(-0.5)) + np.float32(1)
    sine = fused(z * polynomial(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1), x, x)
    swap = octant & 2 != 0
    cosine, sine = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    return np.where((octant - 2) & 4 == 0, -cosine, cosine), np.where(octant & 4 != 0, -sine, sine)


def box_muller(uniform: np.ndarray) -> np.ndarray:
    """Turn uniform values into normal ones, 8 and 8 at a time, as `torch.randn` does with 16 values or more."""
    first, second = uniform.reshape(-1, 2, 8).swapaxes(0, 1)
    radius = np.sqrt(np.float32(-2) * logarithm(1 - first))
    cosine, sine = cosine_sine(np.float32(2 * math.pi) * second)
    return np.stack([radius * cosine, radius * sine], axis=1).reshape(-1)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    """Return what `torch.randn(shape)` gives on a CPU with AVX2, seeded with `seed`."""
    generator, count = torch.Generator().manual_seed(seed), math.prod(shape)
    if count < 16:  # a plain loop in double precision, equal everywhere
        return torch.randn(shape, generator=generator)
    values = torch.rand(count, generator=generator).numpy()
    whole = count - count % 16
    for start in range(0, whole, CHUNK):
        part = slice(start, min(start + CHUNK, whole))
        values[part] = box_muller(values[part])
    if whole < count:  # the last 16 are drawn again
        values[-16:] = box_muller(torch.rand(16, generator=generator).numpy())
    return torch.from_numpy(values).view(shape)


def checkpoint(
    shapes: dict[str, list[int]],
    *,
    cls_gain: float,
    cls_bias: float,
    reg_gain: float,
    salt: int,
    reg_bias: float = 0.6,
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
        x = normal(shape, (zlib.crc32(name.encode()) + SALT_STEP * salt) % SEED_LIMIT)
        if len(shape) == 4:
            root = math.sqrt(math.prod(shape[1:]))
            for part, gain in (("retina_cls", cls_gain), ("retina_reg", reg_gain), ("neck.", 0.4)):
                if part in name:
                    return x * (gain / root)
            return x * math.sqrt(2 / root**2)
        if name.endswith("running_mean"):
            return 0.1 * x
        if name.endswith("running_var"):
            return torch.exp(
                0.2 * x
            )  # here the last bit of 1 value in 100 still depends on the CPU
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
    return normal((batch, 3, height, width), seed)


def noise_pictures(sizes: list[tuple[int, int]], seed: int = 11) -> list[Tensor]:
    """uint8 RGB pictures (3, h, w) of noise. They were drawn as blue, green, red, one after the other out of one generator."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 256, (3, *size), generator=generator).to(torch.uint8).flip(0)
        for size in sizes
    ]
