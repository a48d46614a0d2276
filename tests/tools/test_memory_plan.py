"""The planned memory grows with the batch and is close to the published one."""

import dataclasses

import pytest

import fsaf_core as fsaf
from fsaf_core.tools.memory_plan import GIB, PUBLISHED_MEMORY, bucket_memory, plan, step_memory

TINY = fsaf.presets.get("tiny")


def test_memory_grows_with_the_batch_and_counts_the_weights():
    one, four = step_memory(TINY, 1), step_memory(TINY, 4)
    weights = 4 * sum(p.numel() for p in fsaf.build_detector(TINY.model).parameters())
    assert 4 * weights < one < four < 4 * one  # weights, gradients, two moments of AdamW
    assert one < 0.5 * GIB


@pytest.mark.parametrize("row", ["r50", "r101", pytest.param("x101", marks=pytest.mark.slow)])
def test_2_images_with_the_buckets_of_several_gpus_are_within_8_percent_of_the_published_memory(
    row,
):
    """The published value has workspaces of convolutions in addition, so it is above ours."""
    config = fsaf.presets.get(row)
    planned = (step_memory(config, 2) + bucket_memory(config)) / 1e9
    assert 0.92 < planned / PUBLISHED_MEMORY[row] < 1.0


def test_the_buckets_are_the_gradients_of_the_trained_weights():
    trained = sum(p.numel() for p in fsaf.build_detector(TINY.model).parameters())
    assert bucket_memory(TINY) == 4 * trained
    frozen = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, frozen_stages=4))
    assert bucket_memory(frozen) < 4 * trained


def test_a_gpu_that_is_too_small_is_named():
    wide = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, channels=64))
    assert "is too small for a step of one image" in plan(wide, 0.001)


@pytest.mark.parametrize(
    ("memory", "size", "advice"),
    [
        (1, 16, "1 images at once, --train.accumulate 16"),
        (7.9, 16, "4 images at once, --train.accumulate 4"),
        (16, 16, "16 images at once, no accumulation"),
        (99, 16, "16 images at once, no accumulation"),
        (8, 12, "6 images at once, --train.accumulate 2"),
        (12, 12, "12 images at once, no accumulation"),
        (9, 1, "1 images at once, no accumulation"),
    ],
)
def test_the_largest_micro_batch_that_fits_is_named_with_its_accumulation(
    memory, size, advice, monkeypatch
):
    monkeypatch.setattr(
        "fsaf_core.tools.memory_plan.step_memory", lambda config, batch: batch * GIB
    )
    config = dataclasses.replace(TINY, train=dataclasses.replace(TINY.train, batch_size=size))
    said = plan(config, memory)
    assert f"on a GPU of {memory:g} GiB: {advice} for the recipe's batch of {size}" in said
    half = dataclasses.replace(config, train=dataclasses.replace(config.train, amp="bf16"))
    assert "not counted" not in said and "(--train.amp)" in plan(half, memory)
