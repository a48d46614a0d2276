"""`fsaf ablation`: the paper's five rows in the tiny world, with paired seeds."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import presets
from ..config import Config
from ..engine.train import train
from ..utils.files import write_atomically


def ablation(out: Path, rows: Sequence[str], seeds: int, steps: int | None, base: Config) -> str:
    """Trains each row with each seed, and writes and returns the table with paired differences to the first row.

    Runs that are finished are kept, one that was stopped goes on: the same command again.

    Args:
        rows: presets of the tiny world.
        seeds: 0..seeds-1; the same for every row (weights, order, augmentation).
        steps: of each run; None: half of those of `base`.
        base: whose data and recipe all rows take.

    Raises:
        FSAFError: "no preset 'foo': there are ..."; as `train`.
    """
    steps = steps or (base.train.steps or 0) // 2
    figures: dict[str, dict[str, list[float]]] = {row: {"AP": [], "AP50": []} for row in rows}
    for seed in range(seeds):
        for row in rows:
            recipe = replace(base.train, steps=steps, seed=seed, snapshots=0, validate_every=steps)
            config = replace(presets.get(row), train=recipe, data=base.data, evaluate=base.evaluate)
            run_dir = out / f"{row}_seed{seed}"
            if (run_dir / "model.safetensors").exists():
                metrics = json.loads((run_dir / "metrics.json").read_text())
            else:
                metrics = train(config, run_dir).metrics
            for name, values in figures[row].items():
                values.append(100 * metrics[name])
            print(f"{row}, seed {seed}: AP {100 * metrics['AP']:.1f}", flush=True)
    write_atomically(
        out / "ablation.json",
        json.dumps({"steps": steps, "seeds": seeds, "rows": figures}, indent=1),
    )
    text = ablation_table(figures, steps)
    write_atomically(out / "ablation.md", text + "\n")
    return text


def ablation_table(figures: dict[str, dict[str, list[float]]], steps: int) -> str:
    """Markdown: mean and standard deviation over seeds; mean paired difference to the first row, 95 % bootstrap interval."""
    first = next(iter(figures))
    lines = [
        f"| row ({steps} steps) | seeds | AP | AP50 | AP minus {first}'s, paired |",
        "|---|---|---|---|---|",
    ]
    reference = np.array(figures[first]["AP"])
    for row, values in figures.items():
        ap, ap50 = np.array(values["AP"]), np.array(values["AP50"])
        spread = f" ± {ap.std(ddof=1):.1f}" if len(ap) > 1 else ""
        difference = "-"
        if row != first:
            low, high = bootstrap_interval(ap - reference)
            difference = f"{(ap - reference).mean():+.1f} [{low:+.1f}, {high:+.1f}]"
        lines.append(
            f"| {row} | {len(ap)} | {ap.mean():.1f}{spread} | {ap50.mean():.1f} | {difference} |"
        )
    return "\n".join(lines)


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean of `values` (n,) by resampling them with replacement."""
    picks = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    low, high = np.quantile(values[picks].mean(1), (0.025, 0.975))
    return float(low), float(high)
