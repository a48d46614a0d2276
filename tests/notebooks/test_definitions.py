"""The notebooks' own definitions, taken out of the cells and run against the core on random input.

To add one: below the last, above the test, a function that gets the notebook's definitions (`own.iou_loop` is the function of
that name) and asserts, under `@of("01_data_and_boxes")`; a second argument `tmp_path: Path` is an empty folder. Of a name that a
notebook defines twice, the first definition counts.
"""

import ast
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
from checks.ch08 import check_train_step
from examples.atss import atss
from examples.fcos import fcos
from examples.iou import iou
from PIL import Image
from solutions import ch02 as backbone
from solutions import ch11 as capstone
from solutions import ch12 as assignment
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou, nms

import fsaf_core as fsaf
from fsaf_core.config import SceneConfig, TrainConfig
from fsaf_core.data.coco import CocoDataset
from fsaf_core.data.loader import train_order
from fsaf_core.data.synthetic.dataset import make_scenes
from fsaf_core.data.transforms import resized_size
from fsaf_core.engine.optim import learning_rate
from fsaf_core.evaluation.coco_metrics import coco_metrics
from fsaf_core.method.assignment import Assignment
from fsaf_core.method.locations import box_area, box_iou_aligned, encode, pyramid_locations
from fsaf_core.model.anchor_branch import AnchorBased
from fsaf_core.model.fpn import FeaturePyramid
from fsaf_core.model.network import Network
from fsaf_core.model.structures import HeadOutputs, pack_ground_truth

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
COMPARISONS: list[tuple[str, Callable[..., None]]] = []


def of(notebook: str) -> Callable:
    """Puts a comparison into the table."""

    def add(comparison: Callable[[SimpleNamespace], None]) -> Callable[[SimpleNamespace], None]:
        COMPARISONS.append((notebook, comparison))
        return comparison

    return add


def definitions(notebook: str) -> SimpleNamespace:
    """A notebook's imports, functions, classes and literal constants, without running anything else of it."""
    space: dict = {"__name__": notebook}
    for cell in nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.parse(cell.source).body:
            if wanted(node) and not (
                isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in space
            ):
                exec(compile(ast.Module([node], []), f"{notebook}.ipynb", "exec"), space)
    return SimpleNamespace(**space)


def wanted(node: ast.stmt) -> bool:
    """Whether a statement is a definition; a constant is one if it is written out."""
    if isinstance(node, ast.Assign):
        if not all(
            isinstance(part, ast.Name)
            for target in node.targets
            for part in getattr(target, "elts", [target])
        ):
            return False
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def random_boxes(count: int, side: float = 128.0) -> Tensor:
    """(count, 4) boxes within a square image."""
    corners = side * torch.rand(count, 2, 2)
    return torch.cat([corners.min(1).values, corners.max(1).values], 1)


@of("01_data_and_boxes")
def areas_and_ious(own: SimpleNamespace) -> None:
    one, other = random_boxes(30), random_boxes(20)
    assert torch.allclose(torch.tensor([own.area(box) for box in one.tolist()]), box_area(one))
    expected = box_iou(one, other)
    assert torch.allclose(own.iou_matrix(one, other), expected)
    assert torch.allclose(own.iou_loop(one, other), expected)
    assert own.iou_matrix(one[:0], other).shape == own.iou_loop(one[:0], other).shape == (0, 20)
    assert torch.allclose(
        own.iou_matrix(one[:20], other).diagonal(), box_iou_aligned(one[:20], other), atol=1e-5
    )
    apart = expected == 0
    assert any(
        own.iou_without_clamp(one[i], other[j]) != 0 for i, j in apart.nonzero().tolist()
    )  # the fault shows


@of("01_data_and_boxes")
def coco_files(own: SimpleNamespace, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.permutation([3, 7, 20, 90]).tolist()
    images = [{"id": i, "file_name": f"{i}.png", "width": 60, "height": 40} for i in (5, 2, 9, 4)]
    annotations = []
    for number in range(40):
        x, y, w, h = (rng.uniform(-10, [60, 40, 50, 50])).tolist()
        one = {
            "bbox": [x, y, max(w, 0.5), max(h, 0.5)],
            "area": 1.0,
            "iscrowd": int(rng.random() < 0.2),
        }
        if (
            x < 59 and y < 39 and x + w > 1 and y + h > 1
        ):  # what lies outside the image is the core's matter alone
            annotations.append(
                {
                    "id": number,
                    "image_id": int(rng.choice([5, 2, 4])),
                    "category_id": int(rng.choice(ids)),
                    **one,
                }
            )
    coco = {
        "images": images,
        "categories": [{"id": i, "name": str(i)} for i in ids],
        "annotations": annotations,
    }
    (tmp_path / "x.json").write_text(json.dumps(coco))
    for image in images:
        Image.new("RGB", (60, 40)).save(tmp_path / image["file_name"])
    found = own.read_coco(coco)
    for sample in CocoDataset(tmp_path / "x.json", tmp_path, train=False):
        for name in ("boxes", "labels", "ignored"):
            mine = torch.tensor(found[sample["image_id"]][name]).reshape(sample[name].shape)
            assert torch.allclose(mine.float(), sample[name].float(), atol=1e-4)


@of("01_data_and_boxes")
def batches(own: SimpleNamespace) -> None:
    detector = fsaf.build_detector(fsaf.presets.get("tiny").model)
    for sizes in ([(40, 70)], [(33, 64), (64, 33), (1, 1)], [(96, 96), (96, 97)]):
        images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
        mine = own.pad_batch([own.normalize(image) for image in images])
        assert torch.allclose(mine, detector.preprocess(images).tensor, atol=1e-5)
    for height, width in torch.randint(1, 3000, (200, 2)).tolist():
        assert own.fit(height, width) == resized_size(height, width, 800, 1333)


@of("04_anchors")
def anchors_and_matching(own: SimpleNamespace) -> None:
    strides = (8, 16, 32)
    for height, width, scale in ((64, 96, 2.0), (32, 32, 4.0), (128, 64, 1.0)):
        maps = [torch.zeros(1, 1, height // s, width // s) for s in strides]
        core = AnchorBased(strides, scale).anchors(maps)
        for stride, level in zip(strides, core):
            rows, columns = height // stride, width // stride
            assert torch.equal(own.level_anchors(stride, rows, columns, scale), level)
            assert torch.equal(own.level_anchors_loop(stride, rows, columns, scale), level)
    for _ in range(20):
        iou = torch.rand(4, 60).mul(20).round() / 20  # thresholds are met exactly
        assert torch.equal(own.match(iou), Matcher(0.5, 0.4)(iou))
        assert own.match_loop(iou.tolist()) == own.match(iou).tolist()


@of("09_inference_and_evaluation")
def four_steps(own: SimpleNamespace) -> None:
    detector = fsaf.build_detector(fsaf.presets.get("tiny").model)
    for bias, k in ((-3.0, 1000), (-1.0, 7), (-30.0, 10)):
        shapes = [(1, 6, 12, 8), (1, 6, 6, 4), (1, 6, 3, 2), (1, 6, 2, 1)]
        logits = [torch.randn(shape) + bias for shape in shapes]
        offsets = [torch.rand(1, 4, *shape[2:]) for shape in shapes]
        detector.config = replace(detector.config, topk_candidates=k)
        expected = detector.postprocess(HeadOutputs(logits, offsets), [(90, 60)])[0]
        found = own.image_candidates(
            [one[0] for one in logits], [one[0] for one in offsets], (8, 16, 32, 64), (90, 60), k
        )
        for mine, theirs in zip(
            own.detections(*found[:3]), (expected[name] for name in ("boxes", "scores", "labels"))
        ):
            assert torch.allclose(mine.float(), theirs.float(), atol=1e-4)


@of("09_inference_and_evaluation")
def suppression(own: SimpleNamespace) -> None:
    for threshold in (0.1, 0.5, 0.9):
        boxes, scores = random_boxes(60), torch.rand(60)
        assert (
            own.nms_loop(boxes.tolist(), scores.tolist(), threshold)
            == nms(boxes, scores, threshold).tolist()
        )


@of("09_inference_and_evaluation")
def average_precisions(own: SimpleNamespace, tmp_path: Path) -> None:
    truth, results = [], []
    for number, (x1, y1, x2, y2) in enumerate(random_boxes(60).tolist()):
        row = {
            "image_id": number % 9,
            "category_id": 1 + number % 3,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
        }
        truth.append(row | {"id": number + 1, "area": (x2 - x1) * (y2 - y1), "iscrowd": 0})
        for noise in (0.02, 0.1, 0.3)[: 1 + number % 3]:
            box = [
                side * (1 + noise * shift)
                for side, shift in zip(row["bbox"], torch.randn(4).tolist())
            ]
            results.append(row | {"bbox": box, "score": torch.rand(()).item()})
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 3)]
    images = [{"id": number} for number in range(9)]
    (tmp_path / "x.json").write_text(
        json.dumps({"images": images, "annotations": truth, "categories": categories})
    )
    expected = coco_metrics(tmp_path / "x.json", results, library="pycocotools")
    assert abs(own.coco_ap(results, truth, [0.5]) - expected["AP50"]) < 1e-9
    assert abs(own.coco_ap(results, truth, np.linspace(0.5, 0.95, 10)) - expected["AP"]) < 1e-9
    assert own.coco_ap(results * 2, truth, [0.5], own.match_without_memory) > own.coco_ap(
        results * 2, truth, [0.5]
    )


@of("03_feature_pyramid")
def pyramid_and_its_parts(own: SimpleNamespace) -> None:
    with torch.no_grad():
        for channels, sizes in (
            ((6, 7, 8), ((9, 14), (5, 7), (3, 4))),
            ((4, 4, 4), ((1, 8), (1, 4), (1, 2))),
        ):
            features = [torch.randn(2, c, *size) for c, size in zip(channels, sizes)]
            neck = FeaturePyramid(channels, 5, 3, 7)
            for mine, core in zip(own.pyramid(*features, neck), neck(features), strict=True):
                assert torch.allclose(mine, core, atol=1e-5)
            lateral = neck.lateral[2]
            assert torch.allclose(
                own.lateral_loop(features[2][0], lateral.weight, lateral.bias),
                lateral(features[2])[0],
                atol=1e-5,
            )
    for small, large in torch.randint(1, 12, (20, 2, 2)).tolist():
        coarse = torch.randn(2, *small)
        expected = interpolate(coarse[None], size=large, mode="nearest")[0]
        assert torch.equal(own.enlarge_loop(coarse, *large), expected)
        assert torch.equal(own.enlarge(coarse, *large), expected)


@of("03_feature_pyramid")
def cells_of_the_levels(own: SimpleNamespace) -> None:
    shapes, strides = ((5, 7), (3, 4), (1, 2)), (8, 16, 32)
    locations = pyramid_locations(shapes, strides, 0.5)
    for build in (own.centers, own.centers_loop):
        assert torch.equal(
            torch.cat([build(*shape, stride) for shape, stride in zip(shapes, strides)]),
            locations.centers,
        )
    ones = torch.ones_like(locations.stride)
    for box in random_boxes(20, 60):
        inside = encode(box.expand(len(ones), 4), locations.centers, ones).amin(1) > 0
        assert torch.equal(own.center_inside(locations.centers, box), inside)


def assigned(
    count: int, **switches: object
) -> tuple[fsaf.Detector, HeadOutputs, list[dict[str, Tensor]], Assignment]:
    """What `tiny` makes of boxes of all sizes, some over the border, with random outputs on 128 x 128 pixels."""
    config = replace(fsaf.presets.get("tiny").model, **switches)
    middle, half = torch.rand(count, 2) * 128, 2 * 20 ** torch.rand(count, 2)
    target = {
        "boxes": torch.cat([middle - half, middle + half], 1),
        "labels": torch.randint(0, config.num_classes, (count,)),
    }
    shapes = [(128 // stride, 128 // stride) for stride in config.strides]
    logits = [
        torch.randn(1, config.num_classes, *shape).sub(2).requires_grad_() for shape in shapes
    ]
    outputs = HeadOutputs(logits, [torch.rand(1, 4, *shape).requires_grad_() for shape in shapes])
    detector = fsaf.build_detector(config)
    return detector, outputs, [target], detector.assign(outputs, [target])


@of("06_regions")
def regions_and_overlaps(own: SimpleNamespace) -> None:
    _, _, (target,), found = assigned(40)
    boxes, effective, ignoring = target["boxes"], found.effective, found.ignoring
    levels = list(zip(own.strides, own.shapes))
    for epsilon, core in ((0.2, effective), (0.5, ignoring)):
        assert torch.equal(
            torch.cat(
                [own.touched(boxes, epsilon, at, *shape).flatten(1) for at, shape in levels], 1
            ),
            core,
        )
    slow = [
        torch.cat([own.region(box, at, *shape).flatten() for at, shape in levels])
        for box in boxes.tolist()
    ]
    assert torch.equal(torch.stack(slow), effective.long() + ignoring.long())
    core = found.before_selection[0]
    assert torch.equal(own.assigned_fast(boxes, effective), core)
    assert torch.equal(own.assigned_slow(boxes, effective), core)
    assert torch.equal(own.all_codes(boxes), torch.stack(slow))
    assert not torch.equal(own.assigned_larger(boxes, effective), core)  # the fault shows
    assert (own.assigned_fast(boxes[:0], effective[:0]) == -1).all()


@of("06_regions")
def class_maps_of_one_box(own: SimpleNamespace) -> None:
    for level in (3, 4, 5, 6) * 3:
        _, _, (target,), found = assigned(1, selection="heuristic", heuristic_level=level)
        ignore = found.ignore[0, target["labels"][0]]
        mine = own.class_map_levels(target["boxes"][0].tolist(), int(found.selected_level))
        assert torch.equal(
            torch.cat([part.flatten() for part in mine]),
            torch.where(found.positive[0], 2, ignore.long()),
        )


@of("07_losses_and_selection")
def losses_selection_and_gradient(own: SimpleNamespace) -> None:
    detector, outputs, targets, found = assigned(12)
    boxes, labels = targets[0]["boxes"], targets[0]["labels"]
    locations, instance = detector.locations(outputs), found.before_selection[0]
    logits, offsets = (
        torch.cat([m.flatten(2) for m in maps], 2)[0].T
        for maps in (outputs.cls_logits, outputs.box_offsets)
    )
    true = encode(boxes[instance], locations.centers, 4 * locations.stride)
    owned = instance >= 0
    answers = torch.zeros_like(logits)
    answers[owned, labels[instance[owned]]] = 1
    slow = [
        [own.focal_slow(*pair) for pair in zip(*row)]
        for row in zip(logits.tolist(), answers.tolist())
    ]
    assert torch.allclose(own.focal(logits, answers), torch.tensor(slow), atol=1e-5)
    iou = own.iou_loss(offsets, true)
    slow = [own.iou_loss_slow(*pair) for pair in zip(offsets[owned].tolist(), true[owned].tolist())]
    assert true[owned].min() < 0  # a cell outside its box is among them
    assert torch.allclose(iou[owned], torch.tensor(slow), atol=1e-4)
    cell_loss = own.focal(logits, answers).sum(1) + torch.where(owned, iou, 0.0)
    for table in (own.level_table_slow, own.level_table):
        assert torch.allclose(
            table(cell_loss, instance, locations.level, len(boxes), 4),
            found.level_losses,
            atol=1e-4,
        )
    positive, ignored = found.positive[0], found.ignore[0].T
    mine = own.training_loss(logits, offsets, true, labels[instance], positive, ignored)
    core = detector.losses(outputs, found, targets)
    assert torch.allclose(
        torch.stack(mine), torch.stack([core["af_cls"], core["af_box"]]), atol=1e-4
    )


@of("07_losses_and_selection")
def slopes_by_hand(own: SimpleNamespace) -> None:
    logits = torch.linspace(-6, 6, 31, requires_grad=True)
    for answer in (0, 1):
        (slope,) = torch.autograd.grad(own.focal(logits, torch.full((31,), answer)).sum(), logits)
        assert torch.allclose(
            slope, torch.tensor([own.focal_slope(x, answer) for x in logits.tolist()]), atol=1e-5
        )
    one, other = torch.rand(40, 4).add(0.05).requires_grad_(), torch.rand(40, 4).add(0.05)
    (slope,) = torch.autograd.grad(own.iou_loss(one, other).sum(), one)
    assert torch.allclose(
        slope,
        torch.tensor([own.iou_slopes(*pair) for pair in zip(one.tolist(), other.tolist())]),
        atol=1e-3,
    )


@of("07_losses_and_selection")
def levels_by_size(own: SimpleNamespace) -> None:
    _, _, (target,), found = assigned(30, selection="heuristic")
    mine = torch.tensor(
        [own.heuristic_level(box, 32.0, 4, 3, 6) - 3 for box in target["boxes"].tolist()]
    )
    learned = found.selected_level >= 0
    assert torch.equal(found.selected_level[learned], mine[learned])


@of("05_anchor_free_branch")
def offsets_of_cells(own: SimpleNamespace) -> None:
    for center, box in ((0.0, random_boxes(1)[0]), (0.5, random_boxes(1)[0])):
        locations = pyramid_locations(((5, 3),), (16,), center)
        core = encode(box.expand(15, 4), locations.centers, 4 * locations.stride)
        assert torch.allclose(own.encode_table(box, 5, 3, 16, 4.0, center), core, atol=1e-5)
        assert torch.allclose(
            torch.tensor(own.encode_loop(box.tolist(), 5, 3, 16, 4.0, center)), core, atol=1e-5
        )
        assert torch.allclose(
            own.decode_table(core, 5, 3, 16, 4.0, center), box.expand(15, 4), atol=1e-3
        )


@of("13_full_coco_training")
def rates_and_shares(own: SimpleNamespace) -> None:
    rng = np.random.default_rng(0)
    for warmup, batch, total in ((500, 16, 5000), (0, 2, 90), (1, 8, 90), (80, 32, 90)):
        recipe = TrainConfig(warmup_steps=warmup, batch_size=batch)
        drops = [round(share * total) for share in recipe.milestones]
        given = (recipe.lr, batch, warmup, recipe.warmup_factor, drops)
        assert np.allclose(
            [own.plain_rate(*given, step) for step in range(total)],
            [learning_rate(recipe, step, total) for step in range(total)],
        )
    for images, share, world in rng.integers(1, 60, (50, 3)).tolist():
        pile = np.random.default_rng([3, 7]).permutation(images).tolist()
        for rank in range(world % 5 + 1):
            deal = own.deal(pile, share, rank, world % 5 + 1)
            assert deal == train_order(np.ones(images, bool), share, 3, 7, rank, world % 5 + 1)


@of("13_full_coco_training")
def a_carved_set_is_read_as_the_whole_one(own: SimpleNamespace, tmp_path: Path) -> None:
    folder = make_scenes(SceneConfig(num_train=12, num_val=2), tmp_path)
    whole = json.loads((folder / "annotations_train.json").read_text())
    (tmp_path / "part.json").write_text(json.dumps(own.carve(whole, whole["images"][3:9])))
    part = CocoDataset(tmp_path / "part.json", folder / "train", train=False)
    everything = {
        sample["image_id"]: sample
        for sample in CocoDataset(folder / "annotations_train.json", folder / "train", False)
    }
    assert len(part) == 6 and part.class_names == tuple(one["name"] for one in whole["categories"])
    for sample in part:
        full = everything[sample["image_id"]]
        assert all(
            torch.equal(sample[name], full[name])
            for name in ("image", "boxes", "labels", "ignored")
        )


@of("08_training")
def learning_rates(own: SimpleNamespace) -> None:
    recipe = replace(fsaf.presets.get("tiny").train, batch_size=16)
    for total, warmup in ((2400, 50), (60, 10), (7, 1)):
        recipe = replace(recipe, warmup_steps=warmup)
        for step in range(total):
            assert (
                abs(
                    own.rate_at(step, total, recipe.lr, warmup) - learning_rate(recipe, step, total)
                )
                < 1e-12
            )


@of("08_training")
def training_steps(own: SimpleNamespace) -> None:
    assert check_train_step.verdict(own.train_step).startswith("done")
    assert check_train_step.verdict(own.my_train_step).startswith("to do")


@of("12_after_fsaf")
def four_assigners(own: SimpleNamespace) -> None:
    detector, outputs, _, _ = assigned(1)
    locations, predictions = detector.locations(outputs), detector.predictions(outputs)
    own.assign_by_loss.__globals__.update(detector=detector, predictions=predictions)
    for count in (1, 2, 6, 12):
        boxes = random_boxes(count)
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).amin(1) > 2]
        target = {"boxes": boxes, "labels": torch.randint(0, 6, (len(boxes),))}
        truth = pack_ground_truth([target], torch.device("cpu"), 6)
        for mine, theirs, options in (
            (own.assign_by_iou, iou, {"side": own.SIDE}),
            (own.assign_by_center, fcos, {"size_range": own.SIZE_RANGE}),
            (own.assign_by_statistics, atss, {"side": own.SIDE}),
        ):
            if len(boxes):
                core = theirs(locations, predictions, truth, **options).assigned[0]
                assert torch.equal(mine(boxes, locations), core), mine.__name__
        found = own.assign_by_loss(boxes, target["labels"], locations)
        assert torch.equal(found, detector.assign(outputs, [target]).assigned[0])


@of("12_after_fsaf")
def chosen_by_cost(own: SimpleNamespace) -> None:
    for count in (1, 3, 12):
        cost, overlap = torch.rand(2, count, 60)
        chosen = own.simota(cost, overlap)
        assigned = chosen.int().argmax(0).where(chosen.any(0), -1)
        assert torch.equal(assigned, assignment.simota(cost, overlap))
        assert (chosen.sum(0) <= 1).all()


@of("02_backbone")
def sizes_of_convolutions(own: SimpleNamespace) -> None:
    for kernel, stride, padding in ((1, 1, 0), (3, 2, 0), (5, 3, 2), (7, 2, 3)):
        for n in range(7, 30):
            made = torch.nn.Conv1d(1, 1, kernel, stride, padding)(torch.zeros(1, 1, n))
            assert own.conv_size(n, kernel, stride, padding) == made.shape[2]


@of("02_backbone")
@torch.no_grad()
def backbones(own: SimpleNamespace) -> None:
    own.Bottleneck.forward = backbone.bottleneck_forward  # in the notebook it is an exercise
    image = torch.randn(1, 3, 45, 70)
    for name, block, depths in (
        ("resnet18", own.Basic, (2, 2, 2, 2)),
        ("resnet50", own.Bottleneck, (3, 4, 6, 3)),
    ):
        network = Network(replace(fsaf.presets.get("r50").model, backbone=name)).eval()
        mine = own.ResNet(block, depths).eval()
        mine.load_state_dict(network.backbone.state_dict())
        for one, core in zip(mine(image), network.features(image), strict=True):
            assert torch.allclose(one, core, rtol=1e-3, atol=1e-4)
    network = Network(fsaf.presets.get("tiny").model).eval()
    core = network.backbone
    widths = [core[f"layer{stage}"][0].conv1.out_channels for stage in (1, 2, 3, 4)]
    tiny = own.Tiny(core.conv1.out_channels, widths).eval()
    tiny.load_state_dict(core.state_dict())
    for one, other in zip(tiny(image), network.features(image), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@of("02_backbone")
def receptive_fields(own: SimpleNamespace) -> None:
    with torch.enable_grad():
        for level, end in ((3, 4), (4, 6), (5, 8)):
            column, first, last = own.pixels_with_gradient(own.Tiny(2, (2, 2, 2, 2)), level, 256)
            expected = own.receptive_fields([(3, 2)] + 4 * [(3, 2), (3, 1)])
            assert (last - first, 2**level) == expected[end]
            assert (first + last) / 2 == column * 2**level + 0.5


@of("11_capstone")
@torch.no_grad()
def the_assembled_network(own: SimpleNamespace) -> None:
    own.flat.__globals__["merge"] = (
        capstone.merge
    )  # in the notebook a stub, which its checker replaces
    core, mine = Network(fsaf.presets.get("tiny").model).eval(), own.FSAF().eval()
    mine.load_state_dict(core.state_dict())
    for size in ((128, 128), (64, 160)):
        images = torch.randn(2, 3, *size)
        for one, maps in zip(mine(images), core(images)):
            expected = torch.cat([level.flatten(2) for level in maps], 2).mT
            assert torch.allclose(one, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("notebook", "comparison"),
    COMPARISONS,
    ids=[f"{one}-{what.__name__}" for one, what in COMPARISONS],
)
def test_own_version_equals_the_core(
    notebook: str, comparison: Callable[..., None], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    wants_folder = "tmp_path" in comparison.__annotations__
    comparison(definitions(notebook), *([tmp_path] if wants_folder else []))
