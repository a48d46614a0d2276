"""Focal loss and -ln IoU: values against torchvision's, closed-form gradients against finite differences."""

import math

import pytest
import torch
from torchvision.ops import box_iou, sigmoid_focal_loss

from fsaf_core.method.losses import focal_loss, focal_loss_positive, gather_class, iou_loss

BATCH, CLASSES, LOCATIONS = 2, 5, 33


def case(dtype=torch.float32, seed=0, spread=3.0):
    """Logits, labels (-1: background), ignored entries with the own class of every positive location, and the targets."""
    generator = torch.Generator().manual_seed(seed)
    shape = (BATCH, CLASSES, LOCATIONS)
    logits = (torch.randn(shape, generator=generator, dtype=torch.float64) * spread).to(dtype)
    label = torch.randint(0, CLASSES, (BATCH, LOCATIONS), generator=generator)
    label[torch.rand(label.shape, generator=generator) < 0.7] = -1
    goal = torch.arange(CLASSES)[:, None] == label[:, None]
    ignore = (torch.rand(shape, generator=generator) < 0.2) | goal
    return logits.requires_grad_(), label, ignore, goal


@pytest.mark.parametrize("parameters", [(0.25, 2.0), (0.5, 1.5), (0.1, 3.0), (0.75, 0.0)])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_focal_loss_and_its_gradient_are_torchvisions(with_ignored, parameters):
    logits, label, ignore, goal = case()
    alpha, gamma = parameters
    weight = torch.rand(BATCH, LOCATIONS, generator=torch.Generator().manual_seed(1))
    ours = focal_loss(logits, label, ignore if with_ignored else None, alpha, gamma)
    (gradient,) = torch.autograd.grad((ours * weight).sum(), logits)
    entry = sigmoid_focal_loss(logits, goal.float(), alpha=alpha, gamma=gamma)
    if with_ignored:
        entry = entry * ~(ignore & ~goal)
    torch.testing.assert_close(ours, entry.sum(1), rtol=1e-5, atol=1e-6)
    (want,) = torch.autograd.grad((entry.sum(1) * weight).sum(), logits)
    torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [2.0, 1.0, 2.5])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_gradcheck_of_the_focal_loss(with_ignored, gamma):
    logits, label, ignore, _ = case(torch.float64, seed=2)
    masked = ignore if with_ignored else None
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, label, masked, 0.25, gamma), logits)


def test_ignored_entries_have_no_loss_and_exactly_no_gradient():
    logits, label, ignore, goal = case(seed=3)
    loss = focal_loss(logits, label, ignore)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    masked = ignore & ~goal
    assert masked.any() and (gradient[masked] == 0).all() and (gradient[~masked] != 0).all()
    with torch.no_grad():
        logits[masked] = 40.0
    torch.testing.assert_close(focal_loss(logits, label, ignore), loss)


def test_ignored_entries_change_nothing_elsewhere():
    logits, label, ignore, goal = case(seed=5)
    untouched = ~(ignore & ~goal).any(1)
    assert untouched.any()
    full, part = focal_loss(logits, label), focal_loss(logits, label, ignore)
    torch.testing.assert_close(full[untouched], part[untouched])


@pytest.mark.parametrize("logit", [-1e4, -200.0, -50.0, -20.5, 0.0, 20.5, 50.0, 200.0, 1e4])
def test_extreme_logits_have_the_exact_loss_and_a_finite_gradient(logit):
    """-0.75 p^2 ln(1 - p) and -0.25 (1 - p)^2 ln p, where p or 1 - p rounds to 0 in float32."""
    x = torch.full((1, 1, 2), logit, requires_grad=True)
    loss = focal_loss(x, torch.tensor([[0, -1]]))
    p = 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
    log_p, log_q = (min(sign * logit, 0) - math.log1p(math.exp(-abs(logit))) for sign in (1, -1))
    q = 1 / (1 + math.exp(logit)) if logit < 700 else 0.0
    want = [-0.25 * q**2 * log_p, -0.75 * p**2 * log_q]
    assert loss.tolist()[0] == pytest.approx(want, rel=1e-5, abs=1e-30)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    assert gradient.isfinite().all() and gradient[0, 0, 0] <= 0 <= gradient[0, 0, 1]


def test_focal_loss_of_one_positive_entry():
    """p = 0.5: -0.25 * 0.25 * ln 0.5."""
    loss = focal_loss_positive(torch.zeros(1), 0.25, 2.0)
    assert loss.item() == pytest.approx(0.0625 * math.log(2))


def test_each_location_looks_at_the_entry_of_its_own_class():
    values = torch.arange(12.0).view(1, 4, 3)
    assert gather_class(values, torch.tensor([[3, 0, -1]])).tolist() == [[9, 1, 2]]


def test_background_counts_three_times_as_much_as_an_object_of_equal_doubt():
    """alpha 0.25, and 0.75 for background."""
    background, positive = focal_loss(torch.zeros(1, 1, 2), torch.tensor([[-1, 0]]))[0]
    assert (background / positive).item() == pytest.approx(3)


def test_focal_loss_of_a_confident_object_is_small_and_of_a_missed_one_large():
    missed, confident = focal_loss_positive(torch.tensor([-6.0, 6.0]), 0.25, 2.0).tolist()
    assert missed > 1 and confident < 1e-6


def test_a_larger_gamma_lowers_the_loss_of_what_is_nearly_right_most():
    values = torch.tensor([-2.0, 0.0, 2.0])
    ratio = focal_loss_positive(values, 0.25, 3.0) / focal_loss_positive(values, 0.25, 2.0)
    assert ratio.tolist() == pytest.approx((1 - values.sigmoid()).tolist(), rel=1e-5)


def test_a_positive_locations_own_class_counts_though_it_is_among_the_ignored():
    """All entries are ignored; the positive one is left, at p = 0.5."""
    everything = torch.ones(1, 3, 2, dtype=torch.bool)
    loss = focal_loss(torch.zeros(1, 3, 2), torch.tensor([[1, -1]]), everything)
    assert loss.tolist() == [[pytest.approx(0.0625 * math.log(2)), 0]]


# ----------------------------------------------------------------------------------------------------------------------- IoU


def random_boxes(count, seed, dtype=torch.float32):
    """Boxes that all hold the point (1, 1)."""
    generator = torch.Generator().manual_seed(seed)
    low, size = (torch.rand(count, 2, generator=generator, dtype=dtype) for _ in range(2))
    return torch.cat([low, 1 + size], 1)


def test_iou_loss_is_minus_the_logarithm_of_torchvisions_iou():
    one, other = random_boxes(100, 6), random_boxes(100, 7)
    iou = box_iou(one, other).diagonal()
    assert (iou > 0).all() and iou.min() < 0.3
    torch.testing.assert_close(iou_loss(one, other), -iou.log(), rtol=1e-5, atol=1e-5)


def test_iou_loss_is_0_for_equal_boxes_and_ends_at_13_8():
    box, far = torch.tensor([[10.0, 20, 30, 40]]), torch.tensor([[50.0, 20, 90, 40]])
    point = torch.tensor([[15.0, 25, 15, 25]])
    assert iou_loss(box, box).item() == pytest.approx(0, abs=1e-6)
    assert iou_loss(box, far).item() == pytest.approx(-math.log(1e-6))
    assert iou_loss(point, box).item() == pytest.approx(-math.log(1e-6))


def test_gradcheck_of_the_iou_loss():
    one, other = random_boxes(30, 8, torch.float64), random_boxes(30, 9, torch.float64)
    other[:3] += 9.0  # apart: no gradient
    assert torch.autograd.gradcheck(lambda x: iou_loss(x, other), one.requires_grad_())
    assert (torch.autograd.grad(iou_loss(one, other)[:3].sum(), one)[0] == 0).all()
