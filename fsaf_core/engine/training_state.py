"""The state of a training as a file. A run resumed from it continues as if it had never stopped."""

import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..utils.files import write_atomically


def random_states() -> dict[str, Any]:
    """Return the states of all random generators, as tensors and plain containers."""
    numpy_state: Any = np.random.get_state()
    name, keys, *rest = numpy_state
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Set all random generators to what `random_states` returned."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def save_training(folder: Path, state: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint, and then remove all but the last `keep`.

    Args:
        folder: of the checkpoints.
        state: tensors and plain containers; `state["step"]` names the file.
        keep: number of checkpoints to keep, at least 1.

    Returns:
        The new file, `step_<step>.pt`.

    Raises:
        FSAFError: as `write_atomically`; the older checkpoints survive.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = folder / f"step_{state['step']:09d}.pt"
    write_atomically(path, buffer.getbuffer())
    for old in training_files(folder)[: -max(1, keep)]:
        old.unlink()
    return path


def training_files(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the oldest first."""
    return sorted(folder.glob("step_*.pt"))
