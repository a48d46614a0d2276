"""What is compared besides a function's result: its kind, its gradient. And a step of the capstone, which asks for a tensor."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import Checker, nothing

LIST = "what you return: a tensor, so that the next steps can work with it"
DETACHED = "the gradient: this function is part of the loss that trains; no torch.no_grad(), detach, item, tolist or numpy in it"


class Step(Checker):
    """One function of the capstone; a result of another type than a tensor gets a hint of its own."""

    def verdict(self, answer: Callable | None) -> str:
        line = super().verdict(answer)
        said, at, _ = line.rpartition("look at ")
        return (
            f"{said}{at}{LIST}"
            if "no tensor but" in said and "no tensor but float\n" not in said
            else line
        )


def numbers(seed: int) -> torch.Generator:
    """A source of random numbers."""
    return torch.Generator().manual_seed(seed)


def kind(value: Any) -> str:
    """What sort of tensor it is, in words."""
    if not isinstance(value, Tensor):
        return f"no tensor but {type(value).__name__}"
    return "tensor of " + (
        "bools"
        if value.dtype == torch.bool
        else "floats"
        if value.is_floating_point()
        else "whole numbers"
    )


def result(function: Callable, *args: Any) -> Any:
    """The result, and that it is a tensor as the next steps want it."""
    value = function(*args)
    return value if nothing(value) else {"result": value, "kind": kind(value)}


def with_slopes(*places: int) -> Callable[..., Any]:
    """As `result`, with the gradient of a weighted sum of the result by the arguments in these places."""

    def run(function: Callable, *args: Any) -> Any:
        leaves = {place: args[place].clone().requires_grad_() for place in places}
        copies = {
            place: leaf.clone() for place, leaf in leaves.items()
        }  # on which one may write in place, and be found out
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
            or (isinstance(value, Tensor) and value.numel() == 0),  # of nothing there is none
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
    """As `result`, with whether a gradient could flow from the arguments in these places."""

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
