"""`fsaf plan`: the GPU memory of a training step, measured by running the step on fake tensors."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from .. import presets
from ..config import Config
from ..data.transforms import padded_size
from ..engine.optim import build_optimizer, take_step
from ..model.detector import build_detector
from .op_counter import OpCounter

GIB = 2**30
PUBLISHED_MEMORY = {row: memory for row, (memory, *_) in presets.PUBLISHED.items()}  # GB, 2 images
BOXES = 8  # boxes of each image in the step that is run


def step_memory(config: Config, batch: int) -> int:
    """Return the largest number of bytes alive at one time in the second training step.

    The second step is the first one in which the optimizer's state exists. The bytes include
    weights, gradients, optimizer state, activations and temporary tensors. They do not include the
    driver's own memory, the allocator's rounding and gaps, and the workspaces of convolutions.

    Args:
        config: the configuration.
        batch: images of one micro-batch, each of the largest size that the configuration allows.
    """
    model = config.model
    height, width = padded_size(model.short_side, model.long_side, model.size_divisor)
    with FakeTensorMode(allow_non_fake_inputs=True), OpCounter() as counter:
        detector = build_detector(model).train()
        optimizer = build_optimizer(config.train, detector)
        for _ in range(2):
            images = [torch.zeros(3, height, width, dtype=torch.uint8) for _ in range(batch)]
            boxes = torch.tensor([[10.0, 10.0, 200.0, 200.0]]).repeat(BOXES, 1)
            labels = torch.zeros(BOXES, dtype=torch.int64)
            targets = [{"boxes": boxes, "labels": labels} for _ in range(batch)]
            losses = detector(images, targets)
            take_step(optimizer, losses.values(), config.train.clip_norm)
            del images, targets, losses
    return counter.peak


def bucket_memory(config: Config) -> int:
    """Return the bytes that a training on several GPUs needs in addition.

    DistributedDataParallel holds a second copy of the gradients, in buckets.
    """
    with torch.device("meta"):
        parameters = build_detector(config.model).parameters()
    return sum(4 * parameter.numel() for parameter in parameters if parameter.requires_grad)


def plan(config: Config, memory: float) -> str:
    """Return a text about a GPU: the memory of a step, the largest micro-batch, the accumulation.

    Args:
        config: the configuration.
        memory: of the GPU, in GiB.
    """
    name, size, model = config.name, config.train.batch_size, config.model
    needed = {batch: step_memory(config, batch) for batch in (1, 2)}
    buckets = bucket_memory(config)
    lines = [
        f"{name}: a step of 2 images of {model.short_side} x {model.long_side} needs "
        f"{needed[2] / GIB:.2f} GiB, on several GPUs {buckets / GIB:.2f} GiB more for the buckets "
        "of the gradients"
    ]
    if config.train.amp != "none" or config.train.ema:
        lines.append("half precision (--train.amp) and the average (--train.ema) are not counted")
    if name in PUBLISHED_MEMORY:
        published, together = PUBLISHED_MEMORY[name], (needed[2] + buckets) / 1e9
        lines.append(
            f"MMDetection published {published:.2f} GB for several GPUs, this is {together:.2f} GB "
            f"({together / published - 1:+.1%}): workspaces of convolutions are not included"
        )
    while needed[max(needed)] <= memory * GIB and max(needed) < size:
        batch = min(2 * max(needed), size)
        needed[batch] = step_memory(config, batch)
    fitting = [batch for batch in needed if needed[batch] <= memory * GIB]
    if not fitting:
        lines.append(
            f"a GPU of {memory:g} GiB is too small for a step of one image: take a smaller "
            "--model.short_side or --model.backbone"
        )
        return "\n".join(lines)
    lines += [f"  {batch:3} images: {needed[batch] / GIB:6.2f} GiB" for batch in needed]
    # The micro-batches of a step have equal sizes.
    best = max(batch for batch in range(1, size + 1) if size % batch == 0 and batch <= max(fitting))
    advice = f"--train.accumulate {size // best}" if best < size else "no accumulation"
    lines += [
        f"on a GPU of {memory:g} GiB: {best} images at once, {advice} for the recipe's batch of "
        f"{size}",
        "for the hours: time 100 steps on the card (`--train.steps 100`); an epoch of COCO has "
        "7,330 steps of 16 images",
    ]
    return "\n".join(lines)
