"""Notebook 08's exercises: other right ways pass, wrong answers put otherwise are told the fault."""

import pytest
import torch
from checks.ch08 import check_batch_loss, check_clip
from torch import nn


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda s, n: float(torch.tensor(s).sum()), "plain sum"),
        (lambda s, n: float(torch.tensor(s).mean()), "not images"),
        (
            lambda s, n: float((torch.tensor(s) / torch.tensor(n).clamp(min=1)).mean()),
            "mean of each image's own ratio",
        ),
        (
            lambda s, n: float((torch.tensor(s) / torch.tensor(n).clamp(min=1)).sum()),
            "add each image's own ratio",
        ),
        (lambda s, n: sum(s) / int(torch.tensor(n).clamp(min=1).sum()), "it adds 0 to the count"),
        (lambda s, n: sum(s) / sum(n), "the normaliser is 1"),
        (lambda s, n: sum(s) / sum(n) if any(n) else 0.0, "the loss is not 0"),
        (lambda s, n: sum(s) / (1 + sum(n)), "do not add 1"),
    ],
)
def test_wrong_losses_are_named(refused, wrong, hint) -> None:
    refused(check_batch_loss, wrong, hint)


def by_torch(grads, most, each=False):
    parameters = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for parameter, grad in zip(parameters, grads):
        parameter.grad = grad.clone()
    for group in [[one] for one in parameters] if each else [parameters]:
        nn.utils.clip_grad_norm_(group, most)
    return [parameter.grad for parameter in parameters]


def in_place(grads, most):
    norm = torch.cat([grad.flatten() for grad in grads]).norm()
    for grad in grads:
        if norm > most:
            grad *= most / norm
    return grads


def test_torch_passes(verdict) -> None:
    assert verdict(check_clip, by_torch).startswith("done")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda g, m: by_torch(g, m, each=True), "each tensor by itself"),
        (lambda g, m: [one.clip(-m, m) for one in g], "each entry"),
        (
            lambda g, m: [one * m / max(sum(x.norm() ** 2 for x in g) ** 0.5, 1e-9) for one in g],
            "short gradients",
        ),
        (
            lambda g, m: [one * min(1, m / max(sum((x**2).sum() for x in g), 1e-9)) for one in g],
            "the root",
        ),
        (
            lambda g, m: [one * min(1, m / max(sum(x.norm() for x in g), 1e-9)) for one in g],
            "do not add up",
        ),
        (in_place, "changes its arguments"),
    ],
)
def test_wrong_clips_are_named(refused, wrong, hint) -> None:
    refused(check_clip, wrong, hint)


def test_a_new_reader_s_wrong_answers_are_named(refused) -> None:
    refused(
        check_batch_loss,
        lambda sums, n: torch.tensor([sum(sums) / max(1, sum(n))]),
        "one number, without an axis",
    )
    refused(
        check_clip,
        lambda g, m: [x * min(1, m / max(1e-9, max(y.abs().max() for y in g))) for x in g],
        "largest entry",
    )
    refused(
        check_clip,
        lambda g, m: torch.cat([x.flatten() for x in by_torch(g, m)]),
        "not one long vector",
    )
