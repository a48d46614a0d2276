"""Post-processing: both ways to count the best candidates against plain loops, and what is dropped."""

from dataclasses import replace

import pytest
import torch
from helpers import SMALL
from torchvision.ops import nms

from fsaf_core.model.postprocess import detect, merge_candidates, top_candidates

K = len(SMALL.class_names)
CONVENTIONS = ("paper", "reference")


def random_level(seed, locations=40):
    """Logits around the threshold, many of them equal, and boxes of some size."""
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(locations, K, generator=generator) * 4).round() / 2 - 2
    corner = torch.rand(locations, 2, generator=generator) * 80
    sides = 5 + torch.rand(locations, 2, generator=generator) * 40
    return logits, torch.cat([corner, corner + sides], 1)


def loop_candidates(logits, boxes, config):
    """The scores that `top_candidates` keeps, location by location, class by class."""
    scores = logits.sigmoid()
    if config.rules.topk == "locations":
        best = sorted(range(len(scores)), key=lambda index: -scores[index].max())
        pairs = [(a, k) for a in best[: config.topk_candidates] for k in range(K)]
        pairs = [(a, k) for a, k in pairs if scores[a, k] > config.score_thresh]
    else:
        pairs = [(a, k) for a in range(len(scores)) for k in range(K)]
        pairs = [(a, k) for a, k in pairs if scores[a, k] > config.score_thresh]
        pairs = sorted(pairs, key=lambda pair: -scores[pair])[: config.topk_candidates]
    return sorted(scores[pair].item() for pair in pairs)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("most", [1, 7, 1000])
def test_the_candidates_of_a_level_are_those_of_a_loop(convention, most):
    config = replace(SMALL, convention=convention, topk_candidates=most)
    for seed in range(5):
        logits, boxes = random_level(seed)
        if convention == "paper":  # which of two equal locations goes first is not said
            logits = logits + 0.01 * torch.arange(len(logits)).flip(0)[:, None]
        kept, scores, labels = top_candidates(logits, boxes, config)
        assert sorted(scores.tolist()) == loop_candidates(logits, boxes, config)
        location = (kept[:, None] == boxes).all(2).int().argmax(1)
        assert torch.equal(logits.sigmoid()[location, labels], scores)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_level_without_a_score_above_the_threshold_has_no_candidate(convention):
    config = replace(SMALL, convention=convention)
    boxes, scores, labels = top_candidates(torch.full((6, K), -9.0), torch.zeros(6, 4), config)
    assert boxes.shape == (0, 4) and scores.shape == labels.shape == (0,)


def test_merging_keeps_the_better_of_two_of_a_class_and_both_of_two_classes():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 9.5], [5, 5, 5, 9]])
    scores, labels = torch.tensor([0.5, 0.9, 0.4, 0.99]), torch.tensor([0, 0, 1, 0])
    merged = merge_candidates(boxes, scores, labels, SMALL)
    # The first box falls to the second, the third is of another class, the last has no area.
    assert torch.equal(merged["boxes"], boxes[1:3])
    assert torch.equal(merged["scores"], scores[1:3]) and merged["labels"].tolist() == [0, 1]


def test_merging_drops_scores_up_to_the_threshold_and_all_beyond_the_limit():
    boxes = torch.arange(4.0)[:, None] * 20 + torch.tensor([0.0, 0, 10, 10])
    scores, labels = torch.tensor([0.5, 0.6, 0.8, 0.7]), torch.zeros(4, dtype=torch.int64)
    for limit, kept in ((100, [2, 3, 1]), (2, [2, 3])):
        config = replace(SMALL, score_thresh=0.5, detections_per_img=limit)
        merged = merge_candidates(boxes, scores, labels, config)
        assert torch.equal(merged["scores"], scores[kept])


def test_boxes_are_clipped_and_brought_to_the_pixels_before_the_resize():
    logits = torch.full((2, K), -9.0)
    logits[1, 1] = 3.0
    level = logits, torch.tensor([[0.0, 0, 9, 9], [4, -20, 28, 300]])
    assert detect([level], (16, 24), None, SMALL)["boxes"].tolist() == [[4, 0, 24, 16]]
    assert detect([level], (16, 24), (2.0, 0.5), SMALL)["boxes"].tolist() == [[2, 0, 12, 32]]


def test_boxes_are_multiplied_by_the_inverse_of_the_factor_as_in_mmdetection():
    """In float32 a division would give another last bit for some of these sides."""
    logits, boxes = torch.full((2, K), 3.0), torch.tensor([[1.0, 2, 33, 47], [3, 5, 71, 90]])
    factors = (0.6003752, 0.5996998)
    found = detect([(logits, boxes)], (100, 100), factors, SMALL)["boxes"]
    want = boxes * torch.tensor([1 / factor for factor in factors * 2])
    assert not torch.equal(want, boxes / torch.tensor(factors * 2))
    assert all((row == want).all(1).any() for row in found) and len(found) == 2 * K


@pytest.mark.parametrize("count", [0, 50, 1500])
def test_mmdetection_moves_classes_apart_for_any_number_of_boxes(count):
    """torchvision suppresses class by class above 1,000 boxes, where nothing is rounded."""
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=generator) * 900
    boxes = torch.cat([corner, corner + 5 + 60 * torch.rand(count, 2, generator=generator)], 1)
    scores = torch.rand(count, generator=generator) * 0.9 + 0.1
    labels = torch.randint(0, 80, (count,), generator=generator)
    config = replace(SMALL, convention="reference", detections_per_img=2000)
    found = merge_candidates(boxes, scores, labels, config)
    apart = boxes + labels[:, None] * (boxes.max() + 1) if count else boxes
    assert torch.equal(found["boxes"], boxes[nms(apart, scores, config.nms_thresh)])
