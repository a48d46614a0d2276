"""What the tests of the method share: a small detector, outputs of chance, targets, and the masks that a batch ends in."""

import torch

from fsaf_core.config import ModelConfig
from fsaf_core.method.assignment import look_up
from fsaf_core.model.structures import HeadOutputs

CLASSES = 3
SHAPES = ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))  # of the levels of a 64 x 96 input
SMALL = ModelConfig(class_names=("a", "b", "c"), backbone="tiny", channels=8, tower_depth=1)


def shapes_of(height, width, levels=5):
    """(rows, columns) of P3.. of an input."""
    return tuple(
        (-(-height // stride), -(-width // stride)) for stride in (8, 16, 32, 64, 128)[:levels]
    )


def random_outputs(seed, batch=2, classes=CLASSES, shapes=SHAPES, dtype=torch.float32):
    """Logits around -1, box outputs in 0..2; leaves that collect gradients."""
    generator = torch.Generator().manual_seed(seed)
    cls = [
        torch.randn(batch, classes, *shape, generator=generator).sub(1).to(dtype).requires_grad_()
        for shape in shapes
    ]
    box = [
        torch.rand(batch, 4, *shape, generator=generator).mul(2).to(dtype).requires_grad_()
        for shape in shapes
    ]
    return HeadOutputs(cls, box)


def random_target(count, height, width, seed=0, classes=CLASSES):
    """`count` boxes of all sizes."""
    generator = torch.Generator().manual_seed(seed)
    center = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    half = torch.exp(torch.rand(count, 2, generator=generator) * 4)  # 1..55 px
    labels = torch.randint(0, classes, (count,), generator=generator)
    return {"boxes": torch.cat([center - half, center + half], 1), "labels": labels}


def target(boxes, labels, ignored=()):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.long),
        "ignored": torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4),
    }


def labels_of(targets):
    """Return the labels of a batch's instances, (N,)."""
    return torch.cat([target["labels"] for target in targets])


def left_out(assignment, targets, every_level=False):
    """Return (B, K, R): the entries of the class maps that carry no loss.

    A positive location's own class always carries one. `every_level` counts the locations assigned at any level as positive,
    as MMDetection's records do.
    """
    assigned = assignment.before_selection if every_level else assignment.assigned
    label = look_up(labels_of(targets), assigned, -1)
    own = torch.arange(assignment.ignore.shape[1])[:, None] == label[:, None]
    masked = assignment.ignore & ~own
    return masked if assignment.valid is None else masked | ~assignment.valid[:, None]
