"""The cases that MMDetection recorded, computed here: what `test_reference.py` and `tests/gpu.py` compare.

It needs no pytest.
"""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import recipe
import torch

import fsaf_core as fsaf
from fsaf_core.weights.mmdet import reference_name

HERE = Path(__file__).parent
U = 2.0**-24  # unit roundoff of float32
NETWORK = 128 * U
FLIPS = 20**0.5 * 8e-6
CASES = sorted(path.stem for path in HERE.glob("*_ring*.json"))
MAPS = json.loads((HERE / "maps.json").read_text())
SHAPES = json.loads((HERE / "checkpoint_shapes.json").read_text())


def figures(name):
    return json.loads((HERE / f"{name}.json").read_text())


def make_detector(figures):
    """The case's detector, its weights through `load_mmdet`."""
    return fsaf.load_mmdet(recipe.checkpoint(SHAPES[figures["model"]], **figures["recipe"]))


def as_targets(listed):
    return [
        {
            "boxes": torch.tensor(one["boxes"]).reshape(-1, 4),
            "labels": torch.tensor(one["labels"], dtype=torch.long),
            "ignored": torch.tensor(one.get("ignored", [])).reshape(-1, 4),
        }
        for one in listed
    ]


@cache
def forward(model, inputs, sizes, dtype, device, **made):
    """Return detector, input and outputs; cases that differ only in the ignoring scale share them."""
    detector = make_detector({"model": model, "recipe": made}).train().to(device)
    if inputs.startswith("normal_images"):
        tensor = recipe.normal_images(*map(int, re.findall(r"\d+", inputs)))
    else:  # pictures of different sizes, through the preprocessing
        batch = detector.preprocess(recipe.noise_pictures(sizes))
        assert batch.sizes == list(sizes)
        tensor = batch.tensor
    tensor = tensor.to(device, dtype)
    return detector.to(dtype), tensor, detector.to(dtype).head_outputs(tensor)


@cache
def run(name, dtype=torch.float32, device="cpu"):
    """Compute once what a case asks for."""
    want = figures(name)
    targets, sizes = (
        as_targets(want["targets"]),
        tuple(tuple(one["img_shape"]) for one in want["targets"]),
    )
    detector, tensor, outputs = forward(
        want["model"], want["inputs"], sizes, dtype, device, **want["recipe"]
    )
    detector.config = replace(detector.config, ignoring_scale=want["neg_scale"])
    assignment = detector.assign(outputs, targets, list(sizes))
    losses = detector.losses(outputs, assignment, targets)
    detector.zero_grad()
    sum(losses.values()).backward(retain_graph=True)
    squares = {
        key: (value.grad.double() ** 2).sum()
        for key, value in detector.named_parameters()
        if value.grad is not None
    }
    with torch.no_grad():
        found = detector.postprocess(outputs, list(sizes))
        levels = detector.network.neck(detector.network.features(tensor)) if name in MAPS else []
    return SimpleNamespace(
        want=want, assignment=assignment, outputs=outputs, levels=levels, found=found, tensor=tensor,
        locations=detector.locations(outputs), predictions=detector.predictions(outputs), targets=targets,
        losses={key: value.item() for key, value in losses.items()},
        norms={reference_name(key): value.sqrt().item() for key, value in squares.items()},
        total=sum(squares.values()).sqrt().item(),
    )  # fmt: skip


def by_level(mask, locations):
    """Sum over images (and classes) of a (B, [K,] R) mask, level by level."""
    return [int(part.sum()) for part in mask.split(locations.sizes, -1)]


def recorded_levels(want):
    """Return the recorded (N, L) losses of each instance at each level, inf where it has no positive location."""
    rows = [
        [torch.inf if value is None else value for value in row] for row in want["level_losses"]
    ]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 5)
