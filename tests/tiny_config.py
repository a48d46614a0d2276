"""A training of seconds: a detector of a few thousand weights, scenes of 64 px, six steps an epoch."""

from dataclasses import replace
from pathlib import Path

import fsaf_core as fsaf

TINY = fsaf.presets.get("tiny")


def tiny_config(root: Path, **recipe) -> fsaf.Config:
    """Its configuration; `recipe` are fields of the training."""
    return replace(
        TINY,
        model=replace(TINY.model, channels=16, tower_depth=1, short_side=64, long_side=128),
        data=replace(
            TINY.data,
            root=str(root),
            workers=0,
            scenes=replace(TINY.data.scenes, num_train=24, num_val=4, image_size=64),
        ),
        train=replace(
            TINY.train,
            **{
                "steps": None,
                "epochs": None if "steps" in recipe else 2,
                "batch_size": 4,
                "log_every": 2,
                "warmup_steps": 3,
                "snapshots": 0,
            }
            | {"checkpoint_every": 4, "validate_every": None}
            | recipe,
        ),
    )
