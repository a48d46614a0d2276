"""A training in TensorBoard: `tensorboard --logdir runs/tiny/tensorboard` shows it."""

from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from fsaf_core import Callback


class TensorBoard(Callback):
    """Write the log's losses, learning rate and levels, and the metrics of each validation.

    Args:
        folder: of TensorBoard's files; a resumed run writes into the same one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def write(self, step: int, group: str, values: dict[str, Any]) -> None:
        """Write those of the values that are numbers, at a step."""
        if self.writer is None:  # a resumed run takes the place of what came after its checkpoint
            self.writer = SummaryWriter(str(self.folder), purge_step=step)
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self.writer.add_scalar(f"{group}/{name}", value, step)

    def on_step(self, trainer: Any, entry: dict[str, Any] | None) -> None:
        if entry is not None:
            self.write(trainer.step, "train", entry)
            self.write(trainer.step, "levels", entry.get("levels", {}))

    def on_validation(self, trainer: Any, metrics: dict[str, Any]) -> None:
        self.write(trainer.step, "validation", metrics)

    def on_end(self, trainer: Any, metrics: dict[str, Any]) -> None:
        if self.writer is not None:
            self.writer.close()
