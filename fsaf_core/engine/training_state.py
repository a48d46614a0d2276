"""The state of a training in a file: with it a run goes on as if it had never been stopped."""

import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.files import write_atomically


def random_states() -> dict[str, Any]:
    """The state of every random generator, as tensors and plain containers."""
    of_numpy: Any = np.random.get_state()
    name, keys, *rest = of_numpy
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Puts the random generators where `random_states` saw them."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def save_training(folder: Path, state: dict[str, Any], keep: int) -> Path:
    """Writes `step_<state["step"]>.pt` and removes all but the last `keep`; the new one is safe before an old one goes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"step_{state['step']:09d}.pt"
    write_atomically(path, buffer.getbuffer())
    for old in training_files(folder)[: -max(1, keep)]:
        old.unlink()
    return path


def training_files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the oldest first."""
    return sorted(folder.glob("step_*.pt"))
