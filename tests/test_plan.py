"""The planned memory grows as it must and comes near the published column."""

import dataclasses

import fsaf_core as fsaf
from fsaf_core.plan import GIB, plan, step_memory


def test_memory_grows_with_the_batch_and_counts_the_weights():
    config = fsaf.presets.get("tiny")
    one, four = step_memory(config, 1), step_memory(config, 4)
    weights = 4 * sum(p.numel() for p in fsaf.build_detector(config.model).parameters())
    assert 4 * weights < one < four  # weights, gradients, two moments of AdamW
    assert four < 4 * one


def test_r50_at_batch_2_is_within_a_fifth_of_the_published_3_15_gb():
    assert 0.8 < step_memory(fsaf.presets.get("r50"), 2) / 1e9 / 3.15 < 1.0


def test_a_card_too_small_is_said_in_a_sentence():
    config = fsaf.presets.get("tiny")
    wide = dataclasses.replace(config, model=dataclasses.replace(config.model, channels=64))
    assert "holds no step, not even of one image" in plan(wide, 0.001)
    assert "no accumulation" in plan(config, 16.0)
    assert step_memory(config, 1) < 0.5 * GIB
