"""Prediction of lists, of a video's frames, in threads and in half precision."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, islice

import numpy as np
import pytest
import torch
from helpers import SMALL

import fsaf_core as fsaf
from fsaf_core.model.detector import Detector

# Two float32 results of a logit below 10 differ by at most 10 * 128 U, as `tests/parity` derives, and
# a sigmoid's slope is at most 1 / 4.
ROUNDING = 2.5 * 128 * 2**-24
TINY = replace(
    SMALL, backbone_norm="batch", frozen_stages=0, short_side=64, long_side=128, score_thresh=0.001
)


@pytest.fixture(params=["anchor_free", "joint"])
def detector(request) -> Detector:
    torch.manual_seed(0)
    made = fsaf.build_detector(replace(TINY, branches=request.param)).eval()
    torch.nn.init.normal_(made.network.head.af_cls.weight, std=0.4)
    return made


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


MIXED = pictures((60, 96), (64, 64), (30, 48), (96, 60), (60, 90), (200, 100), (64, 64))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_at_least_an_image(batch_size, detector):
    with pytest.raises(fsaf.FSAFError, match=f"batch_size is {batch_size}: give at least 1"):
        detector.predict(MIXED, batch_size=batch_size)


def test_outputs_of_more_images_than_sizes_are_refused(detector):
    outputs = detector.head_outputs(torch.zeros(2, 3, 64, 64))
    with pytest.raises(ValueError, match="zip"):
        detector.postprocess(outputs, [(64, 64)])


def assert_same(found: list[dict], want: list[dict]) -> None:
    for ours, theirs in zip(found, want, strict=True):
        assert len(ours["scores"]) == len(theirs["scores"]) > 0
        torch.testing.assert_close(ours["scores"], theirs["scores"], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_list_gives_what_its_images_give_alone(batch_size, detector, monkeypatch):
    want = [detector.predict(picture) for picture in MIXED]
    head_outputs, batches = detector.head_outputs, []

    def counted(tensor):
        batches.append(len(tensor))
        return head_outputs(tensor)

    monkeypatch.setattr(detector, "head_outputs", counted)
    assert_same(detector.predict(MIXED, batch_size), want)
    # Padded to 64 x 128 (twice), 64 x 64, 64 x 128, 128 x 64, 64 x 96, 128 x 64, 64 x 64.
    assert sum(batches) == len(MIXED) and max(batches) <= batch_size
    assert len(batches) < len(MIXED) or batch_size == 1
    assert detector.predict([]) == []


def test_frames_of_a_video_come_one_by_one_in_order(detector):
    taken = []

    def camera():
        for number, frame in enumerate(cycle(MIXED[:3])):
            taken.append(number)
            yield frame

    found = detector.stream(camera())
    for number, one in enumerate(islice(found, 5)):
        assert taken[-1] == number
        assert torch.equal(one["boxes"], detector.predict(MIXED[number % 3])["boxes"])


def test_a_consumer_of_frames_keeps_its_own_gradients_and_number_format(detector):
    for _ in detector.stream(MIXED[:2], amp="bf16"):
        assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def test_threads_find_the_same_beside_a_training_that_changes_the_mode(detector):
    want = detector.predict(MIXED)
    statistics = detector.network.backbone.bn1.running_mean.clone()
    detector.train()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(detector.predict, MIXED) for _ in range(8)]
        modes = [detector.training and detector.network.backbone.bn1.training for _ in range(500)]
    assert all(modes)
    for job in jobs:
        for ours, theirs in zip(job.result(), want, strict=True):
            assert torch.equal(ours["boxes"], theirs["boxes"]) and len(ours["boxes"])
    assert torch.equal(detector.network.backbone.bn1.running_mean, statistics)


@pytest.mark.parametrize("amp", ["none", "bf16", "fp16"])
def test_half_precision_is_used_where_it_was_asked_for_and_nowhere_else(amp, detector, monkeypatch):
    head_outputs, kinds = detector.head_outputs, []

    def recorded(tensor):
        outputs = head_outputs(tensor)
        kinds.append(outputs.cls_logits[0].dtype)
        return outputs

    monkeypatch.setattr(detector, "head_outputs", recorded)
    found = detector.predict(MIXED, amp=amp)
    detector.predict(MIXED[0])
    dtype = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    assert {*kinds[:-1]} == {dtype} and kinds[-1] == torch.float32
    assert all(one["scores"].dtype == one["boxes"].dtype == torch.float32 for one in found)
