"""The planned memory grows with the batch and is close to the published one."""

import dataclasses

import pytest

import fsaf_core as fsaf
from fsaf_core.tools.memory_plan import GIB, plan, step_memory

TINY = fsaf.presets.get("tiny")


def test_memory_grows_with_the_batch_and_counts_the_weights():
    one, four = step_memory(TINY, 1), step_memory(TINY, 4)
    weights = 4 * sum(p.numel() for p in fsaf.build_detector(TINY.model).parameters())
    assert 4 * weights < one < four < 4 * one  # weights, gradients, two moments of AdamW
    assert one < 0.5 * GIB


def test_r50_at_batch_2_is_within_a_fifth_of_the_published_3_15_gb():
    assert 0.8 < step_memory(fsaf.presets.get("r50"), 2) / 1e9 / 3.15 < 1.0


def test_a_gpu_that_is_too_small_is_named():
    wide = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, channels=64))
    assert "is too small for a step of one image" in plan(wide, 0.001)


@pytest.mark.parametrize(
    ("memory", "advice"),
    [
        (1, "1 images at once, --train.accumulate 16"),
        (7.9, "4 images at once, --train.accumulate 4"),
        (16, "16 images at once, no accumulation"),
        (99, "16 images at once, no accumulation"),
    ],
)
def test_the_largest_micro_batch_that_fits_is_named_with_its_accumulation(
    memory, advice, monkeypatch
):
    monkeypatch.setattr(
        "fsaf_core.tools.memory_plan.step_memory", lambda config, batch: batch * GIB
    )
    assert TINY.train.batch_size == 16
    assert f"on a GPU of {memory:g} GiB: {advice} for the recipe's batch of 16" in plan(
        TINY, memory
    )
