"""The examples of label assignment beside torchvision's and MMDetection's own."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from examples.atss import atss, square_anchors
from examples.fcos import fcos
from examples.iou import iou
from examples.simota import Q, cost_table, simota
from helpers import random_outputs, shapes_of, target
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOS
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

import fsaf_core as fsaf
from fsaf_core.method.assignment import Predictions
from fsaf_core.method.locations import pyramid_locations
from fsaf_core.model.structures import pack_ground_truth

STRIDES = (8, 16, 32, 64, 128)
RECORDS = json.loads((Path(__file__).parent / "atss.json").read_text())


def assigned_by(assigner, shapes, targets, classes=5):
    """Return an assignment and the locations, with centers at i * stride."""
    locations = pyramid_locations(shapes, STRIDES, 0.0)
    count = len(locations.centers)
    predictions = Predictions(
        torch.zeros(len(targets), classes, count), torch.zeros(len(targets), count, 4)
    )
    truth = pack_ground_truth(targets, torch.device("cpu"), classes)
    return assigner(locations, predictions, truth), locations


def layout(seed, batch=2):
    """Return the size of an input and random targets: nested, equal and nearly equal boxes, boxes across the border, none."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator)

    # Multiples of 128: torchvision divides the sizes of input and level for the strides.
    height, width = (128 * (1 + int(4 * draw(1))) for _ in range(2))
    targets = []
    for _ in range(batch):
        count = int(12 * draw(1))
        center, half = draw(count, 2) * torch.tensor([width, height]), 2 * 150 ** draw(count, 2)
        boxes = torch.cat([center - half, center + half], 1)
        if seed % 2:  # many centers lie on a border of a region or a range
            boxes = boxes.round()
        if count > 2 and seed % 3 == 0:
            middle, shrunk = (boxes[0, 2:] + boxes[0, :2]) / 2, (boxes[0, 2:] - boxes[0, :2]) / 3
            boxes[1] = torch.cat([middle - shrunk, middle + shrunk])
            boxes[2] = boxes[1] + torch.tensor([0, 0, 0, 1e-3])
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
        targets.append(target(boxes.tolist(), [0] * len(boxes)))
    return (height, width), targets


def from_start(assigned, targets):
    """Return, for each image, the assigned instances as numbers of its own list."""
    starts = [sum(len(one["boxes"]) for one in targets[:index]) for index in range(len(targets))]
    return [torch.where(row < 0, row, row - start).tolist() for row, start in zip(assigned, starts)]


def of_torchvision(size, targets):
    """Return the matches that torchvision's FCOS trains with."""
    maps = [torch.zeros(1, 1, *shape) for shape in shapes_of(*size)]
    generator = AnchorGenerator(tuple((stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES))
    (anchors,) = generator(ImageList(torch.zeros(1, 3, *size), [size]), maps)
    trainer = SimpleNamespace(
        center_sampling_radius=1.5,
        head=SimpleNamespace(compute_loss=lambda targets, outputs, anchors, matches: matches),
    )
    sizes = [level[0, 0].numel() for level in maps]
    return FCOS.compute_loss(trainer, targets, {}, [anchors] * len(targets), sizes)


def test_fcos_is_torchvisions_on_200_layouts():
    positives = contested = 0
    for seed in range(200):
        size, targets = layout(seed)
        assignment, _ = assigned_by(fcos, shapes_of(*size), targets)
        theirs = of_torchvision(size, targets)
        assert from_start(assignment.assigned, targets) == [row.tolist() for row in theirs], seed
        positives += int(assignment.num_positive)
        contested += len(assignment.assigned.unique()) - 1 < sum(len(t["boxes"]) for t in targets)
    assert positives > 5000 and contested > 50  # the layouts are not all easy


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"layout {record['seed']}")
def test_atss_is_mmdetections(record):
    assert (record["topk"], tuple(record["strides"])) == (9, STRIDES)
    shapes = tuple(map(tuple, record["shapes"]))
    targets = [target(record["boxes"], record["labels"])]
    assignment, locations = assigned_by(atss, shapes, targets)
    assert len(locations.centers) == record["locations"]
    (row,) = assignment.assigned.tolist()
    theirs = {int(location): index for location, index in record["assigned"].items()}
    assert {location: index for location, index in enumerate(row) if index >= 0} == theirs
    assert int(assignment.num_positive) == record["positives"]


def test_atss_assigns_each_image_of_a_batch_by_itself():
    one, other = (target(record["boxes"], record["labels"]) for record in RECORDS[6:8])
    shapes, batch = tuple(map(tuple, RECORDS[6]["shapes"])), [one, target([], []), other]
    together, _ = assigned_by(atss, shapes, batch)
    for row, image in zip(from_start(together.assigned, batch), batch):
        assert row == assigned_by(atss, shapes, [image])[0].assigned[0].tolist()


def test_iou_has_positive_and_background_anchors_and_some_without_loss():
    found = set()
    for seed in range(20):
        size, targets = layout(seed)
        assignment, locations = assigned_by(iou, shapes_of(*size), targets)
        anchors, matcher = square_anchors(locations), Matcher(0.5, 0.4, True)
        rows = from_start(assignment.assigned, targets)
        for row, valid, one in zip(rows, assignment.valid.tolist(), targets):
            kinds = [index if has_loss else -2 for index, has_loss in zip(row, valid)]
            if len(one["boxes"]):
                assert kinds == matcher(box_iou(one["boxes"], anchors)).tolist()
            else:
                assert {*kinds} == {-1}
            found |= {min(kind, 0) for kind in kinds}
    assert found == {-2, -1, 0}


def test_simota_equals_plain_loops():
    config = fsaf.ModelConfig(class_names=("a", "b", "c"), backbone="tiny", channels=8)
    detector = fsaf.build_detector(config)
    contested = several = 0
    for seed in range(12):
        _, targets = layout(seed)
        targets = [{**one, "labels": one["boxes"][:, 0].long().abs() % 3} for one in targets]
        outputs = random_outputs(seed)
        truth = pack_ground_truth(targets, torch.device("cpu"), 3)
        given = detector.locations(outputs), detector.predictions(outputs), truth
        cost, overlap = (table.tolist() for table in cost_table(*given))
        found = simota(*given).assigned
        chosen = []
        for costs, overlaps in zip(cost, overlap):
            k = max(1, int(sum(sorted(overlaps, reverse=True)[:Q])))
            cheapest = sorted(range(len(costs)), key=costs.__getitem__)[:k]
            chosen.append({place for place in cheapest if costs[place] < torch.inf})
            several += k > 1
        for image, row in enumerate(found.tolist()):
            own = [index for index in range(len(cost)) if truth.image[index] == image]
            for place, index in enumerate(row):
                wanted = [one for one in own if place in chosen[one]]
                best = min(wanted, key=lambda one: cost[one][place], default=-1)
                contested += len(wanted) > 1
                assert index == best or cost[index][place] == cost[best][place]
    assert contested > 10 and several > 10


@pytest.mark.parametrize("assigner", [fcos, atss, iou, simota])
def test_a_detector_learns_what_another_assigner_assigns(assigner):
    """Box outputs of positives get a gradient, and locations in the padding no loss."""
    config = fsaf.ModelConfig(class_names=("a", "b", "c"), backbone="tiny", channels=8)
    detector = fsaf.build_detector(config, parts=fsaf.Parts(assigner=assigner))
    targets = [
        target([[8, 8, 60, 60], [20, 4, 90, 50]], [0, 2]),
        target([[4.0, 6, 40, 44]], [1]),
    ]
    sizes, outputs = [(64, 96), (50, 61)], random_outputs(3)
    assignment = detector.assign(outputs, targets, sizes)
    assert {*assignment.assigned.flatten().tolist()} <= {-1, 0, 1, 2} and assignment.num_positive
    assert not any(value.requires_grad for value in (assignment.assigned, assignment.valid))
    last_column = torch.arange(96).view(8, 12)[:, -1]
    assert assignment.valid[0, last_column].any() and not assignment.valid[1, last_column].any()
    losses = detector.losses(outputs, assignment, targets)
    sum(losses.values()).backward()
    learned = torch.cat([level.grad.flatten(2) for level in outputs.box_offsets], 2).any(1)
    assert torch.equal(learned & assignment.positive, learned) and learned.any()
    no_box = detector.assign(outputs, [target([], [])] * 2, sizes)
    assert no_box.num_positive == 0 and not no_box.positive.any()
