"""How the weights move: learning rate, optimiser, gradient norm. All of it a function of the configuration and the step."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..config import TrainConfig


def learning_rate(config: TrainConfig, step: int, total_steps: int) -> float:
    """The rate of step `step` (0-based) of `total_steps`.

    `lr * batch_size / 16` (linear scaling), times a linear warm-up `f + (1 - f) * step / (warmup_steps - 1)`, times the schedule:
    a tenth after each milestone, or a half cosine from 1 to 0.

    Source: the reference's recipe (warm-up of 500 steps from 0.001, drops after 8 and 11 of 12 epochs).
    """
    rate = config.lr * config.batch_size / 16
    if step < config.warmup_steps - 1:
        rate *= config.warmup_factor + (1 - config.warmup_factor) * step / (config.warmup_steps - 1)
    if config.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / total_steps))
    return rate * 0.1 ** sum(step >= round(share * total_steps) for share in config.milestones)


def build_optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over all parameters that are trained; weight decay on all of them, as in the reference."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        parameters, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradients(optimizer: torch.optim.Optimizer, most: float | None) -> Tensor:
    """Scales the gradients so that their norm over all parameters is at most `most` (None: as they are).

    Returns:
        The norm before (), on the device, so that no step waits for it.
    """
    parameters = [
        parameter
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.grad is not None
    ]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters])
    if most is not None:
        nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return norm


def snapshot_steps(count: int, total_steps: int) -> set[int]:
    """`count` steps from 0 to the last, log-spaced: most of what a detector learns, it learns early."""
    return (
        {0, *np.geomspace(1, total_steps, count - 1).round().astype(int).tolist()}
        if count
        else set()
    )
