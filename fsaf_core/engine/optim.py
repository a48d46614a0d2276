"""Learning rate, optimizer, gradient norm and moving average of the weights."""

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..config import TrainConfig


def learning_rate(config: TrainConfig, step: int, total_steps: int) -> float:
    """Return the learning rate of a step.

    It is `lr * batch_size / 16` (linear scaling) times two factors: the linear warm-up
    `f + (1 - f) * step / (warmup_steps - 1)`, and the schedule, which is a tenth after each
    milestone or a half cosine from 1 to 0.

    Args:
        config: the recipe.
        step: 0..total_steps - 1.
        total_steps: length of the training.

    Source: MMDetection 3.3.0, configs/fsaf/fsaf_r50_fpn_1x_coco.py and
        configs/_base_/schedules/schedule_1x.py (500 steps of warm-up from 0.001; a tenth after 8
        and after 11 of 12 epochs).
    """
    rate = config.lr * config.batch_size / 16
    if step < config.warmup_steps - 1:
        rate *= config.warmup_factor + (1 - config.warmup_factor) * step / (config.warmup_steps - 1)
    if config.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / total_steps))
    return rate * 0.1 ** sum(step >= round(share * total_steps) for share in config.milestones)


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Return SGD with momentum or AdamW, over all parameters that require a gradient.

    Weight decay applies to all of them.

    Source: MMDetection 3.3.0, configs/_base_/schedules/schedule_1x.py.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    options: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **options, fused=True)
    return torch.optim.SGD(parameters, **options, momentum=config.momentum)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradients(optimizer: torch.optim.Optimizer, max_norm: float | None) -> Tensor:
    """Scale the gradients so that their norm over all parameters is at most `max_norm`.

    Args:
        optimizer: has the parameters.
        max_norm: the limit; None leaves the gradients as they are.

    Returns:
        () The norm before, on the device, so that no step waits for it.
    """
    of_groups = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    parameters = [parameter for parameter in of_groups if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def take_step(
    optimizer: torch.optim.Optimizer, losses: Iterable[Tensor], clip_norm: float | None = None
) -> None:
    """Update the weights once by the gradient of the sum of the losses.

    `Trainer` does the same with micro-batches, mixed precision and a guard.
    """
    torch.stack([*losses]).sum().backward()
    clip_gradients(optimizer, clip_norm)
    optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights and statistics a little towards those of the trained model.

    average = d * average + (1 - d) * model, with d = min(decay, (1 + step) / (10 + step)): early
    steps have a smaller d, so that the average soon forgets the initial weights.

    Args:
        average: a copy of `model`, changed in place.
        model: after the step.
        decay: 0..1; the average reaches back about 1 / (1 - decay) steps.
        step: steps taken so far.
    """
    old, new = (
        [value for value in module.state_dict().values() if value.is_floating_point()]
        for module in (average, model)
    )
    get_ema_multi_avg_fn(min(decay, (1 + step) / (10 + step)))(old, new, step)


def snapshot_steps(count: int, total_steps: int) -> set[int]:
    """Return `count` steps from 0 to the last one, log-spaced.

    A detector learns most of what it learns early, so most snapshots are early.
    """
    if not count:
        return set()
    return {0, *np.geomspace(1, total_steps, count - 1).round().astype(int).tolist()}
