"""What is compared besides a function's result: its kind and its gradient; and a step of the capstone, which needs a tensor."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import Checker, nothing

LIST = "what you return: a tensor, so that the next steps can work with it"
DETACHED = "the gradient: this function is part of the loss that trains; no torch.no_grad(), detach, item, tolist or numpy in it"


class Step(Checker):
    """One function of the capstone; a result that is not a tensor gets a hint of its own."""

    def verdict(self, answer: Callable | None) -> str:
        line = super().verdict(answer)
        said, at, _ = line.rpartition("look at ")
        return (
            f"{said}{at}{LIST}"
            if "instead of a tensor" in said and "float instead of a tensor\n" not in said
            else line
        )


def numbers(seed: int) -> torch.Generator:
    """Return a source of random numbers."""
    return torch.Generator().manual_seed(seed)


def kind(value: Any) -> str:
    """Return in words what sort of tensor a value is."""
    if not isinstance(value, Tensor):
        return f"{type(value).__name__} instead of a tensor"
    return "tensor of " + (
        "bools"
        if value.dtype == torch.bool
        else "floats"
        if value.is_floating_point()
        else "whole numbers"
    )


def result(function: Callable, *args: Any) -> Any:
    """Return a function's result and its kind, which must be the tensor that the next steps need."""
    value = function(*args)
    return value if nothing(value) else {"result": value, "kind": kind(value)}


def with_slopes(*places: int) -> Callable[..., Any]:
    """Return a variant of `result` that adds the gradient of a weighted sum of the result with respect to some arguments."""

    def run(function: Callable, *args: Any) -> Any:
        leaves = {place: args[place].clone().requires_grad_() for place in places}
        copies = {
            place: leaf.clone() for place, leaf in leaves.items()
        }  # so that writing in place is noticed
        value = function(*(copies.get(place, arg) for place, arg in enumerate(args)))
        if nothing(value):
            return value
        flows = isinstance(value, Tensor) and value.requires_grad
        slopes: Sequence[Tensor | None] = [None] * len(leaves)
        if flows:
            weights = torch.linspace(1, 2, value.numel()).view_as(value)
            slopes = torch.autograd.grad(
                (value * weights).sum(), [*leaves.values()], allow_unused=True
            )
        return {
            "result": value.detach() if flows else value,
            "kind": kind(value),
            "gradient flows": flows
            or (
                isinstance(value, Tensor) and value.numel() == 0
            ),  # an empty result needs no gradient
            "gradient": [
                torch.zeros_like(leaf) if slope is None else slope
                for slope, leaf in zip(slopes, leaves.values())
            ],
            "arguments unchanged": all(
                torch.equal(copies[place], leaves[place]) for place in places
            ),
        }

    return run


def without_slopes(*places: int) -> Callable[..., Any]:
    """Return a variant of `result` that adds whether a gradient could flow from some arguments."""

    def run(function: Callable, *args: Any) -> Any:
        passed = [
            arg.clone().requires_grad_() if place in places else arg
            for place, arg in enumerate(args)
        ]
        value = function(*passed)
        if nothing(value):
            return value
        flows = isinstance(value, Tensor) and value.requires_grad
        return {
            "result": value.detach() if flows else value,
            "kind": kind(value),
            "gradient flows": flows,
            "arguments unchanged": all(
                passed[place].requires_grad and torch.equal(passed[place], args[place])
                for place in places
            ),
        }

    return run
