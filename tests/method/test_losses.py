"""Focal loss and -ln IoU: their values against torchvision's, their closed-form gradients against finite differences."""

import math

import pytest
import torch
from torchvision.ops import box_iou, sigmoid_focal_loss

from fsaf_core.method.losses import focal_loss, focal_positive, gather_class, iou_loss, softplus

BATCH, CLASSES, SIZES = 2, 5, (24, 9)


def case(dtype=torch.float32, seed=0, spread=3.0):
    """Logits in two blocks, positive cells, labels, and ignored entries that hold the own class of every positive cell."""
    generator = torch.Generator().manual_seed(seed)
    blocks = [
        (torch.randn(BATCH, CLASSES, n, generator=generator, dtype=torch.float64) * spread).to(
            dtype
        )
        for n in SIZES
    ]
    cells = sum(SIZES)
    positive = torch.rand(BATCH, cells, generator=generator) < 0.3
    label = torch.randint(0, CLASSES, (BATCH, cells), generator=generator)
    own = torch.arange(CLASSES)[:, None] == label[:, None]
    ignored = (torch.rand(BATCH, CLASSES, cells, generator=generator) < 0.2) | (
        own & positive[:, None]
    )
    return (
        [block.requires_grad_() for block in blocks],
        positive,
        label,
        list(ignored.split(SIZES, 2)),
        own & positive[:, None],
    )


@pytest.mark.parametrize("with_ignored", [False, True])
def test_focal_loss_and_its_gradient_are_torchvisions(with_ignored):
    blocks, positive, label, ignored, goal = case()
    weight = torch.rand(BATCH, sum(SIZES), generator=torch.Generator().manual_seed(1))
    ours = focal_loss(blocks, positive, label, ignored if with_ignored else None)
    gradient = torch.autograd.grad((ours * weight).sum(), blocks)
    entry = sigmoid_focal_loss(torch.cat(blocks, 2), goal.float(), alpha=0.25, gamma=2)
    if with_ignored:
        entry = entry * ~(torch.cat(ignored, 2) & ~goal)
    torch.testing.assert_close(ours, entry.sum(1), rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(gradient, torch.autograd.grad((entry.sum(1) * weight).sum(), blocks)):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("with_ignored", [False, True])
def test_gradcheck_of_the_focal_loss(with_ignored):
    blocks, positive, label, ignored, _ = case(torch.float64, seed=2)
    assert torch.autograd.gradcheck(
        lambda *x: focal_loss(list(x), positive, label, ignored if with_ignored else None), blocks
    )


def test_a_single_block_is_enough():
    blocks, positive, label, _, _ = case()
    whole = focal_loss(blocks, positive, label, None)
    first = focal_loss(blocks[:1], positive[:, : SIZES[0]], label[:, : SIZES[0]], None)
    torch.testing.assert_close(first, whole[:, : SIZES[0]])


def test_ignored_entries_have_no_loss_and_exactly_no_gradient():
    blocks, positive, label, ignored, goal = case(seed=3)
    loss = focal_loss(blocks, positive, label, ignored)
    gradient = torch.cat(torch.autograd.grad(loss.sum(), blocks), 2)
    masked = torch.cat(ignored, 2) & ~goal
    assert masked.any() and (gradient[masked] == 0).all() and (gradient[~masked] != 0).all()
    with torch.no_grad():
        for block, mask in zip(blocks, masked.split(SIZES, 2)):
            block[mask] = 40.0
    torch.testing.assert_close(focal_loss(blocks, positive, label, ignored), loss)


@pytest.mark.parametrize("with_ignored", [False, True])
def test_a_cell_that_is_not_positive_may_name_any_class(with_ignored):
    blocks, positive, label, ignored, _ = case(seed=4)
    other = torch.where(positive, label, (label + 1) % CLASSES)
    one, two = (
        focal_loss(blocks, positive, named, ignored if with_ignored else None)
        for named in (label, other)
    )
    torch.testing.assert_close(one, two)
    for mine, theirs in zip(
        torch.autograd.grad(one.sum(), blocks), torch.autograd.grad(two.sum(), blocks)
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("logit", [-1e4, -200.0, -50.0, -20.5, 0.0, 20.5, 50.0, 200.0, 1e4])
def test_extreme_logits_have_the_exact_loss_and_a_finite_gradient(logit):
    """-0.75 p^2 ln(1 - p) and -0.25 (1 - p)^2 ln p, where p or 1 - p rounds to 0 in float32."""
    x = torch.full((1, 1, 2), logit, requires_grad=True)
    loss = focal_loss([x], torch.tensor([[True, False]]), torch.zeros(1, 2, dtype=torch.long), None)
    p = 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
    log_p, log_q = (min(sign * logit, 0) - math.log1p(math.exp(-abs(logit))) for sign in (1, -1))
    q = 1 / (1 + math.exp(logit)) if logit < 700 else 0.0
    assert loss.tolist()[0] == pytest.approx(
        [-0.25 * q**2 * log_p, -0.75 * p**2 * log_q], rel=1e-5, abs=1e-30
    )
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert gradient.isfinite().all() and gradient[0, 0, 0] <= 0 <= gradient[0, 0, 1]


def test_focal_loss_of_one_positive_entry():
    """p = 0.5: -0.25 * 0.25 * ln 0.5."""
    assert focal_positive(torch.zeros(1)).item() == pytest.approx(0.0625 * math.log(2))


def test_each_cell_looks_at_the_entry_of_its_own_class():
    blocks = [torch.arange(8.0).view(1, 4, 2), torch.arange(8.0, 12).view(1, 4, 1)]
    assert gather_class(blocks, torch.tensor([[3, 0, 2]])).tolist() == [[6, 1, 10]]


def test_background_counts_three_times_as_much_as_an_object_of_equal_doubt():
    """alpha 0.25, and 0.75 for background."""
    background, positive = focal_loss(
        [torch.zeros(1, 1, 2)], torch.tensor([[False, True]]), torch.zeros(1, 2).long(), None
    )[0]
    assert (background / positive).item() == pytest.approx(3)


def test_focal_loss_of_a_sure_object_is_small_and_of_a_missed_one_large():
    missed, sure = focal_positive(torch.tensor([-6.0, 6.0])).tolist()
    assert missed > 1 and sure < 1e-6


def test_a_positive_cells_own_class_counts_though_it_is_among_the_ignored():
    """All entries ignored: what is left is the positive one, at p = 0.5."""
    everything = [torch.ones(1, 3, 2, dtype=torch.bool)]
    loss = focal_loss(
        [torch.zeros(1, 3, 2)], torch.tensor([[True, False]]), torch.ones(1, 2).long(), everything
    )
    assert loss.tolist() == [[pytest.approx(0.0625 * math.log(2)), 0]]


def test_softplus_is_exact_far_out():
    x = torch.tensor([-80.0, 0.0, 21.0, 80.0], dtype=torch.float64)
    assert softplus(x).tolist() == pytest.approx(
        [math.log1p(math.exp(value)) for value in x.tolist()], rel=1e-12, abs=0
    )


def test_ignored_entries_of_a_run_change_nothing_elsewhere():
    blocks, positive, label, ignored, goal = case(seed=5)
    full = focal_loss(blocks, positive, label, None)
    part = focal_loss(blocks, positive, label, ignored)
    untouched = ~(torch.cat(ignored, 2) & ~goal).any(1)
    assert untouched.any()
    torch.testing.assert_close(full[untouched], part[untouched])


# ----------------------------------------------------------------------------------------------------------------------- IoU


def random_edges(count, seed, dtype=torch.float32):
    """Boxes that all hold the point (1, 1), as edges: -x1 -y1 x2 y2."""
    generator = torch.Generator().manual_seed(seed)
    low, size = (torch.rand(count, 2, generator=generator, dtype=dtype) for _ in range(2))
    return torch.cat([-low, 1 + size], 1)


def test_iou_loss_is_minus_the_logarithm_of_torchvisions_iou():
    one, other = random_edges(100, 6), random_edges(100, 7)
    signs = torch.tensor([-1.0, -1, 1, 1])
    iou = box_iou(one * signs, other * signs).diagonal()
    assert (iou > 0).all() and iou.min() < 0.3
    torch.testing.assert_close(iou_loss(one, other), -iou.log(), rtol=1e-5, atol=1e-5)


def test_iou_loss_is_0_for_equal_boxes_and_ends_at_13_8():
    box, far = torch.tensor([[-10.0, -20, 30, 40]]), torch.tensor([[-50.0, -20, 90, 40]])
    point = torch.tensor([[-15.0, -25, 15, 25]])
    assert iou_loss(box, box).item() == pytest.approx(0, abs=1e-6)
    assert iou_loss(box, far).item() == pytest.approx(-math.log(1e-6))
    assert iou_loss(point, box).item() == pytest.approx(-math.log(1e-6))


def test_gradcheck_of_the_iou_loss():
    one, other = random_edges(30, 8, torch.float64), random_edges(30, 9, torch.float64)
    other[:3] += torch.tensor([-9.0, 0, 9, 0], dtype=torch.float64)  # apart: no gradient
    assert torch.autograd.gradcheck(lambda x: iou_loss(x, other), one.requires_grad_())
    assert (torch.autograd.grad(iou_loss(one, other)[:3].sum(), one)[0] == 0).all()
