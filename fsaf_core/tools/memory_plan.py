"""`fsaf plan ROW`: what a training step needs of a GPU's memory, by running the step on fake tensors. No fitted constants."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from .. import presets
from ..config import Config
from ..engine.optim import build_optimizer, clip_gradients
from ..model.detector import build_detector
from .op_counter import OpCounter

GIB = 2**30
PUBLISHED_MEMORY = {row: memory for row, (memory, *_) in presets.PUBLISHED.items()}  # GB at batch 2
BOXES = 8  # an image, in the step that is run


def step_memory(config: Config, batch: int) -> int:
    """The bytes alive at the worst moment of the second training step (the optimiser's state is there then).

    Weights, gradients, momentum, activations, and all temporaries as the operations ask for them. Not in it: the driver's own
    memory, the allocator's rounding and gaps, and the workspaces that a convolution's algorithm may take.

    Args:
        batch: images of one micro-batch, padded to the recipe's largest size.
    """
    model = config.model
    height, width = (
        -(-side // model.size_divisor) * model.size_divisor
        for side in (model.short_side, model.long_side)
    )
    with FakeTensorMode(allow_non_fake_inputs=True), OpCounter() as tally:
        detector = build_detector(model).train()
        optimizer = build_optimizer(config.train, detector)
        for _ in range(2):
            images = [torch.zeros(3, height, width, dtype=torch.uint8) for _ in range(batch)]
            boxes = torch.tensor([[10.0, 10.0, 200.0, 200.0]]).repeat(BOXES, 1)
            targets = [
                {"boxes": boxes, "labels": torch.zeros(BOXES, dtype=torch.int64)}
                for _ in range(batch)
            ]
            losses = detector(images, targets)
            torch.stack([*losses.values()]).sum().backward()
            clip_gradients(optimizer, config.train.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            del images, targets, losses
    return tally.peak


def plan(config: Config, memory: float) -> str:
    """A text: memory of a step at batch 2, the largest micro-batch that fits `memory` GiB, and the accumulation that makes the
    recipe's batch."""
    name, size = config.name, config.train.batch_size
    needed = {batch: step_memory(config, batch) for batch in (1, 2)}
    lines = [
        f"{name}: a step of 2 images of {config.model.short_side} x {config.model.long_side} needs {needed[2] / GIB:.2f} GiB"
    ]
    if name in PUBLISHED_MEMORY:
        lines[0] += (
            f" ({needed[2] / 1e9:.2f} GB; the reference published {PUBLISHED_MEMORY[name]:.2f} GB)"
        )
        lines.append(
            "what the published figure has beyond: the allocator's rounding, and workspaces of the convolutions"
        )
    while needed[max(needed)] <= memory * GIB and max(needed) < size:
        batch = 2 * max(needed)
        needed[batch] = step_memory(config, batch)
    fits = [batch for batch in needed if needed[batch] <= memory * GIB]
    if not fits:
        lines.append(
            f"a GPU of {memory:g} GiB holds no step, not even of one image: take a smaller --model.short_side or body"
        )
        return "\n".join(lines)
    lines += [f"  {batch:3} images: {needed[batch] / GIB:6.2f} GiB" for batch in needed]
    best = max(fits)
    advice = f"--train.accumulate {size // best}" if best < size else "no accumulation"
    lines.append(
        f"on a GPU of {memory:g} GiB: {best} images at once, {advice} for the recipe's batch of {size}"
    )
    lines.append(
        "epochs and hours: time 100 steps on the card (`--train.steps 100`); an epoch of COCO is 7,330 steps of 16"
    )
    return "\n".join(lines)
