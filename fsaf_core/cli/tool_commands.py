"""The commands that measure: memory, time, an ablation, the published table.

Each is a dataclass whose fields are its options. A call runs it.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

from .. import presets
from ..config import (
    Checked,
    Config,
    Count,
    DataConfig,
    EvaluateConfig,
    FSAFError,
    Positive,
    TrainConfig,
)
from ..utils.distributed import device_of
from .commands import Device, Flat

Part = Literal["losses", "steps", "inference", "loading"]  # tables of `fsaf bench`


@dataclass(frozen=True)
class Plan(Checked):
    """Compute the GPU memory of a training step and the largest batch that fits, without a GPU.

    Examples:
        fsaf plan r50 --memory 16
        fsaf plan x101 --memory 24 --model.short-side 640
    """

    config: Annotated[Config, Flat]
    memory: Positive = 16.0  # memory of the GPU, in GiB

    def __call__(self) -> None:
        """Compute and print."""
        from ..tools.memory_plan import plan

        print(plan(self.config, self.memory))


@dataclass(frozen=True)
class Bench(Checked):
    """Time the head losses, training step, inference and loading, each beside its peer. One thread.

    Examples:
        fsaf bench
        fsaf bench --parts losses --pairs 9
    """

    parts: tuple[Part, ...] = get_args(Part)
    pairs: Count = 15  # runs of each measurement, and of its peer

    def __call__(self) -> None:
        """Measure and print."""
        from ..tools.bench import bench

        for line in bench(self.parts, self.pairs):
            print(line, flush=True)


@dataclass(frozen=True)
class Ablation(Checked):
    """Compare the paper's five combinations of branch and selection on the scenes, seed by seed.

    Examples:
        fsaf ablation
        fsaf ablation --rows tiny_paper tiny_joint --seeds 3 --steps 2400 --out runs/longer
    """

    rows: tuple[str, ...] = presets.ABLATION_PRESETS
    seeds: Count = 5  # trainings of each row
    steps: Count | None = None  # steps of each training; if not given, half of tiny's
    out: Path = Path("runs/ablation")
    data: DataConfig = presets.get("tiny").data
    train: TrainConfig = presets.get("tiny").train
    evaluate: EvaluateConfig = presets.get("tiny").evaluate

    def __post_init__(self) -> None:
        super().__post_init__()
        tiny = presets.get("tiny").train
        for name, option in (("seed", "seeds"), ("steps", "steps"), ("epochs", "steps")):
            if getattr(self.train, name) != getattr(tiny, name):
                raise FSAFError(f"--train.{name} does not count here: give --{option}.")

    def __call__(self) -> None:
        """Train all rows and print the table."""
        from ..tools.ablation import ablation

        parts = {"data": self.data, "train": self.train, "evaluate": self.evaluate}
        base = replace(presets.get("tiny"), **parts)
        print(ablation(self.out, self.rows, self.seeds, self.steps, base))


@dataclass(frozen=True)
class Reproduce:
    """Print MMDetection's published table, with this machine's results below each row.

    The same command again measures the rows that are missing.

    Examples:
        fsaf reproduce --checkpoints folder/with/the/published/files
    """

    checkpoints: Path = Path("data/checkpoints")  # missing files are downloaded
    rows: tuple[str, ...] = tuple(presets.PUBLISHED)
    data: DataConfig = field(default_factory=DataConfig)
    out: Path = Path("runs/reproduce")
    device: Device = "auto"  # auto: the GPU if there is one

    def __call__(self) -> None:
        """Measure and print the table."""
        from ..tools.reproduce import reproduce

        print(reproduce(self.out, self.checkpoints, self.data, self.rows, device_of(self.device)))
