"""The anchor-based branch against torchvision's RetinaNet: anchors, losses, outputs from its weights."""

import re

import pytest
import torch
from helpers import random_target, shapes_of, target
from torchvision.models.detection import retinanet_resnet50_fpn
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetClassificationHead
from torchvision.ops import box_iou

import fsaf_core as fsaf
from fsaf_core.config import ModelConfig
from fsaf_core.model.anchor_branch import AnchorBased
from fsaf_core.model.structures import pack_ground_truth

HEIGHT, WIDTH, STRIDES = 96, 128, (8, 16, 32, 64, 128)
SHAPES = shapes_of(HEIGHT, WIDTH)


def maps(channels, seed, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, channels, *shape, generator=generator, requires_grad=True)
        for shape in SHAPES
    ]


def losses(cls, box, targets):
    return AnchorBased(STRIDES).losses(
        cls, box, pack_ground_truth(targets, torch.device("cpu"), 80)
    )


def test_nine_anchors_a_cell_of_three_sizes_and_ratios_centred_on_the_cells_corner():
    p3, *_ = AnchorBased(STRIDES).anchors(maps(1, 0))
    assert len(p3) == 9 * 12 * 16
    first, right, below = p3[:9], p3[9:18], p3[9 * 16 :][:9]
    torch.testing.assert_close(right - first, torch.tensor([8.0, 0, 8, 0]).expand(9, 4))
    torch.testing.assert_close(below - first, torch.tensor([0.0, 8, 0, 8]).expand(9, 4))
    side = first[:, 2:] - first[:, :2]
    assert (side[:, 1] / side[:, 0]).tolist() == pytest.approx(
        [0.5] * 3 + [1.0] * 3 + [2.0] * 3, rel=0.07
    )  # whole pixels
    assert side.prod(1).sqrt().tolist() == pytest.approx([32, 40, 50] * 3, rel=0.03)


def test_anchors_are_torchvisions_where_each_stride_divides_the_image():
    levels = [torch.zeros(1, 1, *shape) for shape in shapes_of(256, 384)]
    generator = retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=2
    ).anchor_generator
    want = generator(ImageList(torch.zeros(1, 3, 256, 384), [(256, 384)]), levels)[0]
    torch.testing.assert_close(torch.cat(AnchorBased(STRIDES).anchors(levels)), want)


def test_anchors_are_a_stride_apart_whatever_the_padding():
    """800 px hold 13 locations of P6 and 7 of P7; torchvision's would be 61 and 114 px apart."""
    shapes = shapes_of(800, 1344)
    levels = AnchorBased(STRIDES).anchors([torch.zeros(1, 1, *shape) for shape in shapes])
    for (rows, columns), stride, level in zip(shapes, STRIDES, levels):
        centers = level.view(rows, columns, 9, 2, 2).mean(3)
        assert torch.equal(centers[:, 0, 0, 1], stride * torch.arange(rows).float())
        assert torch.equal(centers[0, :, 0, 0], stride * torch.arange(columns).float())


def test_the_focal_loss_over_anchors_is_torchvisions():
    cls, box, one = maps(27, 1), maps(36, 2), random_target(6, HEIGHT, WIDTH, seed=4)
    branch = AnchorBased(STRIDES)
    anchors = torch.cat(branch.anchors(cls))
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    found = matcher(box_iou(one["boxes"], anchors))
    assert (found >= 0).any() and (found == -2).any(), (
        "the case must hold positive anchors and ones left out"
    )
    logits = torch.cat(
        [level.unflatten(1, (9, 3)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in cls], 1
    )
    head = RetinaNetClassificationHead(8, 9, 3)
    want = head.compute_loss([one], {"cls_logits": logits}, [found])
    torch.testing.assert_close(losses(cls, box, [one])["ab_cls"], want, rtol=1e-5, atol=1e-6)


def test_the_box_loss_is_smooth_l1_of_the_positive_anchors_deltas():
    cls, box, one = maps(27, 1), maps(36, 2), random_target(6, HEIGHT, WIDTH, seed=4)
    branch = AnchorBased(STRIDES)
    anchors = torch.cat(branch.anchors(cls))
    found = branch.matcher(box_iou(one["boxes"], anchors))
    deltas = torch.cat(
        [level.unflatten(1, (9, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in box], 1
    )[0]
    keep = found >= 0
    goal = branch.coder.encode_single(one["boxes"][found[keep]], anchors[keep])
    off = (deltas[keep] - goal).abs()
    want = torch.where(off < 1 / 9, off**2 * 4.5, off - 1 / 18).sum() / keep.sum()
    torch.testing.assert_close(losses(cls, box, [one])["ab_box"], want)


def test_the_best_anchor_of_a_box_is_positive_however_little_they_overlap():
    tiny = target([[50, 40, 54, 44]], [1])
    found = losses(maps(27, 1), maps(36, 2), [tiny])
    assert found["ab_box"] > 0


def test_an_anchor_mostly_inside_a_crowd_is_no_background():
    cls, box = maps(27, 1), maps(36, 2)
    crowd = target([], [], ignored=[[0, 0, WIDTH, HEIGHT]])
    inside = losses(cls, box, [crowd])["ab_cls"]
    assert 0 < inside < losses(cls, box, [target([], [])])["ab_cls"]


def test_a_crowd_counts_in_its_own_image_alone():
    cls, box = maps(27, 1, batch=2), maps(36, 2, batch=2)
    some = target([[3, 3, 60, 60]], [2])
    crowd = target([[3, 3, 60, 60]], [2], ignored=[[0, 0, WIDTH, HEIGHT]])
    pairs = ([crowd, crowd], [crowd, some], [some, crowd], [some, some])
    both, first, second, none = (losses(cls, box, pair)["ab_cls"] for pair in pairs)
    torch.testing.assert_close(first + second, both + none)
    assert both < min(first, second) < none


@pytest.mark.parametrize(
    "targets",
    [
        [target([], []), target([], [])],
        [target([], []), target([[3, 3, 60, 60]], [2])],
        [
            target([[0, 0, 1, 1], [5, 5, 5.001, 5.001]], [0, 1]),
            target([[0, 0, WIDTH, HEIGHT]], [2]),
        ],
        [random_target(300, HEIGHT, WIDTH, 1), random_target(300, HEIGHT, WIDTH, 2)],
    ],
    ids=["no_box", "one_image_without", "tiny_and_large", "many"],
)
def test_nothing_becomes_nan(targets):
    cls, box = maps(27, 3, batch=2), maps(36, 4, batch=2)
    found = losses(cls, box, targets)
    sum(found.values()).backward()
    assert all(loss.isfinite() for loss in found.values())
    assert all(level.grad.isfinite().all() for level in (*cls, *box))


# ---------------------------------------------------------------------------------------------------- torchvision's weights


# Regular expressions of our names, each with what torchvision's RetinaNet has in its place.
NAMES = {
    r"^network\.": "",
    r"^backbone\.": "backbone.body.",
    r"^neck\.lateral\.(\d)": r"backbone.fpn.inner_blocks.\1.0",
    r"^neck\.output\.([012])": r"backbone.fpn.layer_blocks.\1.0",
    r"^neck\.output\.4": "backbone.fpn.extra_blocks.p7",
    r"^head\.cls_tower\.(\d+)": r"head.classification_head.conv.\1.0",
    r"^head\.box_tower\.(\d+)": r"head.regression_head.conv.\1.0",
    r"^head\.ab_cls": "head.classification_head.cls_logits",
    r"^head\.ab_box": "head.regression_head.bbox_reg",
}


def load_torchvision_retinanet(detector, weights):
    """Load backbone, pyramid (all but P6) and anchor-based branch of torchvision's RetinaNet."""
    state = detector.state_dict()
    for name in state:
        if re.search(r"af_|neck\.output\.3|num_batches_tracked", name):  # only ours has these
            continue
        # In our towers a ReLU follows each convolution and has a number too.
        other = re.sub(r"(?<=_tower\.)\d+", lambda number: str(int(number[0]) // 2), name)
        for pattern, replacement in NAMES.items():
            other = re.sub(pattern, replacement, other)
        state[name] = weights[other]
    detector.load_state_dict(state)


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(3)
    model = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=5).eval()
    for name, buffer in model.named_buffers():  # an untrained body's statistics say nothing
        if name.endswith("running_mean"):
            torch.nn.init.normal_(buffer, std=0.1)
    return model


@pytest.fixture(scope="module")
def ours(theirs):
    detector = fsaf.build_detector(ModelConfig(class_names=tuple("abcde"), branches="joint")).eval()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    # Its published weights are those of frozen norms, which count no batches.
    weights = {
        name: value
        for name, value in theirs.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    load_torchvision_retinanet(detector, weights)
    stay = [
        name for name in before if "af_" in name or "neck.output.3" in name
    ]  # P6 is made from P5 there
    assert len(stay) == 6 and all(
        torch.equal(detector.state_dict()[name], before[name]) for name in stay
    )
    return detector


@torch.no_grad()
def test_torchvisions_weights_give_equal_outputs_on_equal_features(ours, theirs):
    torch.manual_seed(4)
    levels = [torch.randn(2, 256, *shape) for shape in SHAPES]
    want = theirs.head(levels)
    _, _, cls, box = ours.network.head(levels)
    for maps, key, width in ((cls, "cls_logits", 5), (box, "bbox_regression", 4)):
        flat = torch.cat(
            [level.unflatten(1, (9, width)).permute(0, 3, 4, 1, 2).flatten(1, 3) for level in maps],
            1,
        )
        torch.testing.assert_close(flat, want[key], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_torchvisions_body_and_levels_p3_to_p5_come_along(ours, theirs):
    """P6 is made from P5 there and from C5 here, and a ReLU stands before P7 there."""
    torch.manual_seed(5)
    images = torch.randn(1, 3, 64, 96)
    want = list(theirs.backbone(images).values())
    levels = ours.network.neck(ours.network.features(images))
    for mine, other in zip(levels[:3], want[:3]):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4 * other.abs().max().item())
    torch.testing.assert_close(ours.network.neck.output[4](want[3].relu()), want[4])


@torch.no_grad()
def test_torchvisions_scores_and_boxes_of_anchors_are_ours(ours, theirs):
    torch.manual_seed(6)
    levels = [torch.randn(1, 256, *shape) for shape in SHAPES]
    _, _, cls, box = ours.network.head(levels)
    anchors = ours.anchor_based.anchors(cls)
    mine = [
        ours.anchor_based.candidates(*(maps[0] for maps in pair), own)
        for *pair, own in zip(cls, box, anchors)
    ]
    head = theirs.head(levels)
    torch.testing.assert_close(
        torch.cat([logits for logits, _ in mine]), head["cls_logits"][0], rtol=1e-5, atol=1e-6
    )
    want = theirs.box_coder.decode_single(head["bbox_regression"][0], torch.cat(anchors))
    torch.testing.assert_close(torch.cat([boxes for _, boxes in mine]), want, rtol=1e-4, atol=1e-3)
