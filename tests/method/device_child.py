"""Measure what assignment and losses ask of a device, and print one JSON object.

test_device.py runs this file in a process of its own, in which no function is wrapped to check shapes.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers import SMALL, random_outputs, random_target
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode

import fsaf_core as fsaf
from fsaf_core.model.structures import HeadOutputs
from fsaf_core.tools.op_counter import SYNCS, OpCounter

CONVENTIONS = ("paper", "reference")


def batch(count, crowds):
    """Return the targets of two images with `count` boxes each; with `crowds`, the second has one."""
    targets = [random_target(count, 64, 96, seed) for seed in (1, 2)]
    if crowds:
        targets[1]["ignored"] = torch.tensor([[0.0, 0, 40, 40]])
    return targets


def losses_of(detector, outputs, targets, sizes=None):
    return detector.losses(outputs, detector.assign(outputs, targets, sizes), targets)


def operations(detector, count, crowds=False, sizes=None):
    """Return how often assignment and losses call each operation in a forward pass."""
    targets, outputs = batch(count, crowds), random_outputs(0)
    with OpCounter() as counter:
        losses_of(detector, outputs, targets, sizes)
    return counter.operations


def compiled(detector):
    """Compile assignment and losses whole, and call them with five numbers of boxes an image.

    Returns the compilations after each call, and the largest difference of a loss from that of the plain code.
    """

    def whole(cls, box, boxes, labels):
        targets = [{"boxes": some, "labels": label} for some, label in zip(boxes, labels)]
        return losses_of(detector, HeadOutputs(list(cls), list(box)), targets)

    counter, compilations, difference = CompileCounter(), [], 0.0
    traced = torch.compile(whole, fullgraph=True, dynamic=True, backend=counter)
    for count in (0, 1, 8, 50, 3):
        outputs, targets = random_outputs(0), batch(count, False)
        boxes, labels = ([one[key] for one in targets] for key in ("boxes", "labels"))
        found = traced(outputs.cls_logits, outputs.box_offsets, boxes, labels)
        plain = losses_of(detector, outputs, targets)
        difference = max(difference, *(abs(found[name] - plain[name]).item() for name in plain))
        compilations.append(counter.frame_count)
    torch._dynamo.reset()
    return {"compilations": compilations, "difference": difference}


def fake(device, config, backward):
    """Run network, assignment and losses on fake tensors of a device.

    A fake tensor has no values and stays on its device: reading a value, or mixing devices, raises.
    """
    sizes = [(64, 96), (50, 61)]
    with FakeTensorMode():
        with torch.device(device):
            detector = fsaf.build_detector(config).train()
            images = torch.rand(2, 3, 64, 96)
            targets = [
                {
                    "boxes": torch.rand(count, 4),
                    "labels": torch.zeros(count, dtype=torch.long),
                    "ignored": torch.rand(1, 4),
                }
                for count in (5, 0)
            ]
        losses = losses_of(detector, detector.head_outputs(images), targets, sizes)
        if backward:
            sum(losses.values()).backward()
    gradients = [
        parameter.grad is not None for parameter in detector.parameters() if parameter.requires_grad
    ]
    return {
        "losses": {name: str(loss.device) for name, loss in losses.items()},
        "gradients": all(gradients),
    }


def has_fakes_of(device):
    """Return whether this PyTorch makes fake tensors of an absent device; before 2.9 it needs a driver."""
    try:
        with FakeTensorMode(), torch.device(device):
            torch.nn.Conv2d(1, 1, 1)
    except RuntimeError:
        return False
    return True


def main():
    torch.set_num_threads(1)
    out = {}
    for convention in CONVENTIONS:
        config = replace(SMALL, convention=convention)
        detector = fsaf.build_detector(config)
        named = {count: operations(detector, count) for count in (8, 300)}
        mixed = {
            count: operations(detector, count, True, [(64, 96), (50, 61)]) for count in (8, 300)
        }
        out[convention] = {
            "operations": {count: sum(names.values()) for count, names in named.items()},
            "operations_mixed": {count: sum(names.values()) for count, names in mixed.items()},
            "syncs": [
                name
                for names in (*named.values(), *mixed.values())
                for name in names
                if name in SYNCS
            ],
            "compiled": compiled(detector),
            "cuda": fake("cuda", config, backward=False) if has_fakes_of("cuda") else None,
            "cpu": fake("cpu", config, backward=True),
        }
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
