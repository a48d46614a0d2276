"""Checkers of notebook 08: a training step, and the names of five faults."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import torch
from solutions.ch08 import DIAGNOSIS, train_step
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from . import Case, Checker, Slip


class Toy(nn.Module):
    """A detector of two weights that notes the order of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([0.5]))
        self.second = nn.Parameter(torch.tensor([-1.0]))
        self.calls: list[str] = []

    def preprocess(self, images: list[Tensor]) -> SimpleNamespace:
        """Return the images as one tensor, and their sizes."""
        self.calls.append("preprocess")
        return SimpleNamespace(tensor=torch.stack(images), sizes=[len(one) for one in images])

    def head_outputs(self, tensor: Tensor) -> Tensor:
        """Return the outputs (B, 2)."""
        self.calls.append("head_outputs")
        return tensor * torch.cat([self.first, self.second])

    def assign(self, outputs: Tensor, targets: list[float], sizes: list[int]) -> str:
        """Return an assignment, here a sentence."""
        self.calls.append("assign")
        assert outputs.shape == (len(sizes), 2)
        return f"{len(targets)} targets"

    def losses(self, outputs: Tensor, assignment: str, targets: list[float]) -> dict[str, Tensor]:
        """Return two losses that depend on the two weights."""
        self.calls.append("losses")
        assert assignment == f"{len(targets)} targets"
        apart = (outputs - torch.tensor(targets)[:, None]).square().mean(0)
        return {"af_cls": apart[0], "af_box": apart[1]}


def _two_steps(function: Callable, images: list[Tensor], targets: list[float], rates: list) -> Any:
    """Return what two steps give and change; None where the function returns nothing."""
    toy = Toy()
    groups = [{"params": [toy.first]}, {"params": [toy.second]}]
    optimizer = torch.optim.SGD(groups, lr=1000.0)
    for parameter in toy.parameters():  # a gradient that an earlier backward pass has left
        parameter.grad = torch.full_like(parameter, 0.25)
    losses = []
    for rate in rates:
        given = function(toy, optimizer, images, targets, rate)
        if given is None or given is ... or given is NotImplemented:
            return None
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            return {
                "what it returns": type(given).__name__,
                "calls": [],
                "losses": given,
                "learning rate": None,
                "weights": None,
            }
        loss, assignment = given
        losses.append(loss)
    return {
        "calls": toy.calls,
        "what it returns": [type(loss).__name__ for loss in losses] + [assignment],
        "losses": losses,
        "learning rate": [group["lr"] for group in optimizer.param_groups],
        "weights": torch.cat([toy.first, toy.second]).detach(),
    }


_SMALL = [torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 1.0])]
_LARGE = [torch.tensor([10.0, 2.0]), torch.tensor([-8.0, 30.0])]
STEP_CASES = (
    Case("one step, small gradient", (_SMALL, [1.0, 0.0], [0.1]), "the order of the seven lines"),
    Case("two steps", (_SMALL, [1.0, 0.0], [0.1, 0.05]), "what the second step does again"),
    Case("a gradient longer than 10", (_LARGE, [1.0, 0.0], [0.1]), "the clipping"),
    Case("two steps, both clipped", (_LARGE, [1.0, 0.0], [0.1, 0.01]), "the clipping"),
)


def _step(
    zero: bool = True,
    clip: str = "before",
    rate: str = "before",
    parts: tuple[str, ...] = ("af_cls", "af_box"),
    backward: bool = True,
    step: bool = True,
    as_float: bool = True,
    clip_at: float = 10.0,
    scale: float = 1.0,
    returns: str = "both",
    zero_last: bool = False,
) -> Callable:
    """Return a training step with some lines changed."""

    def changed(detector, optimizer, images, targets, given_rate):
        batch = detector.preprocess(images)
        outputs = detector.head_outputs(batch.tensor)
        assignment = detector.assign(outputs, targets, batch.sizes)
        losses = detector.losses(outputs, assignment, targets)
        total = scale * sum(losses[part] for part in parts)
        if zero:
            optimizer.zero_grad()
        if backward:
            total.backward()
        for moment in ("before", "after"):
            if clip == moment:
                clip_grad_norm_(detector.parameters(), clip_at)
            if clip == "each" and moment == "before":
                for parameter in detector.parameters():
                    clip_grad_norm_([parameter], clip_at)
            if clip == "always" and moment == "before":
                grads = [one.grad for one in detector.parameters() if one.grad is not None]
                norm = torch.cat([grad.flatten() for grad in grads]).norm()
                for grad in grads:
                    grad.mul_(clip_at / norm)
            for place, group in enumerate(optimizer.param_groups):
                if rate == moment or (rate == "first" and place == 0 and moment == "before"):
                    group["lr"] = given_rate
                if rate == "times" and moment == "before":
                    group["lr"] *= given_rate
            if step and moment == "before":
                optimizer.step()
        if zero_last:
            optimizer.zero_grad()
        if returns == "loss":
            return total.item()
        return (total.item() if as_float else total), assignment

    return changed


STEP_SLIPS = (
    Slip(
        _step(zero=False, zero_last=True),
        "the gradients: zero_grad before backward; at the end it is too late for gradients from before the call",
    ),
    Slip(
        _step(rate="first"),
        "the learning rate: set it in every group of param_groups, not only in the first",
    ),
    Slip(
        _step(rate="times"), "the learning rate: set lr to the rate; you multiply the old one by it"
    ),
    Slip(
        _step(clip="each"),
        "the clipping: one norm over all parameters; you clip each one by itself",
    ),
    Slip(
        _step(clip="always"),
        "the clipping: a gradient shorter than the limit stays as it is; you scale every one",
    ),
    Slip(_step(scale=0.5), "the total: the sum of the two losses, not half of it (their mean)"),
    Slip(
        _step(returns="loss"),
        "what you return: two things, the loss and the assignment; yours is the loss alone (return total.item(), assignment)",
    ),
    Slip(_step(zero=False), "the gradients: PyTorch adds to the old ones, so set them to zero"),
    Slip(
        _step(clip="never"),
        "the clipping: a long gradient reaches the optimizer; clip between backward and the step",
    ),
    Slip(_step(clip_at=1.0), "the clipping: the limit is 10, not 1"),
    Slip(_step(rate="never"), "the learning rate: the optimizer still has its own"),
    Slip(_step(rate="after"), "the learning rate: it is set after the step, which is too late"),
    Slip(_step(parts=("af_cls",)), "the total: the box loss is missing"),
    Slip(_step(parts=("af_box",)), "the total: the focal loss is missing"),
    Slip(
        _step(backward=False),
        "the weights: they do not move; backward is never called, or the optimizer never steps",
    ),
    Slip(_step(as_float=False), "what you return: a float (.item()), or the graph stays in memory"),
)
check_train_step = Checker(train_step, STEP_CASES, STEP_SLIPS, run=_two_steps)


FAULT_NAMES = {
    1: "every level learns",
    2: "sum for mean",
    3: "no normalizer",
    4: "no prior bias",
    5: "no ignored region",
    6: "larger wins",
    7: "half a cell",
    8: "double sigmoid",
    9: "ignored entries counted",
    10: "no P6 and P7",
}
SHOWS = {  # what a run with the fault would show
    1: "more positive locations per image, and several boxes around an object",
    2: "objects on coarse levels",
    3: "losses and gradient norms many times too large, at all steps",
    4: "a focal loss that is huge at the first step, and too high until the end",
    5: "slightly lower scores, and no other sign in a log",
    6: "small objects that are missed inside large ones",
    7: "boxes that are all shifted in the same direction, and an AP75 far below the AP50",
    8: "about a hundred boxes per image, all with scores of at least 0.5",
    9: "slightly lower scores, and no other sign in a log",
    10: "three levels instead of four",
}
LOOKS = {  # where each run shows its fault
    "A": "the middle column, and compare the levels with those of the sound run",
    "B": "the scores: count the boxes, and read the lowest score",
    "C": "the scale of the losses, at the first step and at the last",
    "D": "the boxes against the dotted ground truth, and AP75 against AP50",
    "E": "the positive locations per image, and compare them with the sound run",
}


def check_diagnosis(diagnosis: Mapping[str, object] | None) -> None:
    """Print one line about the reader's names of the faults of runs A to E.

    Args:
        diagnosis: for each run a name or a number of `FAULT_NAMES`, or None.
    """
    print(_verdict(diagnosis))


def _verdict(diagnosis: Mapping[str, object] | None) -> str:
    if not isinstance(diagnosis, Mapping) or not any(diagnosis.values()):
        return "to do: give each of the runs A to E the name of a fault"
    for nth, (run, right) in enumerate(DIAGNOSIS.items(), 1):
        where, given = f"case {nth} of {len(DIAGNOSIS)} (run {run})", diagnosis.get(run)
        if given is None:
            return f"{where}: you gave no name; look at {LOOKS[run]}"
        number = _number(given)
        if number is None:
            return f"{where}: {given!r} is not in the table of faults; take one of its names"
        if number != right:
            return (
                f"{where}: you gave {FAULT_NAMES[number]!r}; that fault shows {SHOWS[number]}. "
                f"Look at {LOOKS[run]}"
            )
    return f"done: all {len(DIAGNOSIS)} faults have their names"


def _number(given: object) -> int | None:
    """Return the number of a fault, given by number or name."""
    text = " ".join(str(given).lower().split())
    for number, name in FAULT_NAMES.items():
        if text in (str(number), name.lower(), f"{number} {name}".lower()):
            return number
    return None
