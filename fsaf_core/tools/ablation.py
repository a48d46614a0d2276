"""`fsaf ablation`: the paper's five combinations of branch and selection, trained on the scenes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .. import presets
from ..config import Config, FSAFError
from ..data.loader import open_dataset
from ..engine.run_dir import differences, relevant, run_record
from ..engine.train import train
from ..utils.classes import list_some
from ..utils.files import write_atomically

MIN_SEEDS = 5  # that a difference between two rows needs
# Row: metric: a value in percent for each seed.
Results = dict[str, dict[str, list[float]]]


def ablation(out: Path, rows: Sequence[str], seeds: int, steps: int | None, base: Config) -> str:
    """Train each row with each seed, and write and return the table of the results.

    The same command again skips the finished runs and resumes the one that was stopped. Of a
    finished run, config.json and metrics.json are enough. A finished run of another configuration
    or set is refused.

    Args:
        out: folder of the runs, of ablation.json and of ablation.md.
        rows: presets of the scenes; the others are compared with the first.
        seeds: number of seeds. Row by row, a seed gives the same data order and augmentation.
        steps: steps of each run; None: half of those of `base`.
        base: its data and its recipe are used for all rows.

    Raises:
        FSAFError: "There is no preset 'foo': ..."; "The ablation counts steps, ...: give
            --steps."; "runs/ablation/tiny_joint_seed0 holds a finished run of another
            configuration (train.steps: 8 -> 4): give its fields, or take another --out."; as
            `train`.
    """
    steps = steps or (base.train.steps or 0) // 2
    if not steps:
        raise FSAFError(f"The ablation counts steps, and {base.name} has none: give --steps.")
    train_set, val_set = open_dataset(base.data, "train"), open_dataset(base.data, "val")
    results: Results = {row: {"AP": [], "AP50": []} for row in rows}
    for seed in range(seeds):
        recipe = replace(
            base.train, epochs=None, steps=steps, seed=seed, snapshots=0, validate_every=steps
        )
        for row in rows:
            preset = presets.get(row)
            model = replace(preset.model, class_names=train_set.class_names)
            config = Config(row, model, base.data, recipe, base.evaluate)
            run_dir = out / f"{row}_seed{seed}"
            if (run_dir / "metrics.json").exists():
                _check_same(run_dir, run_record(config, train_set, val_set))
                metrics = json.loads((run_dir / "metrics.json").read_text())
            else:
                metrics = train(config, run_dir).metrics
            for name, values in results[row].items():
                values.append(100 * metrics[name])
            print(f"{row}, seed {seed}: AP {100 * metrics['AP']:.1f}", flush=True)
    record = {"steps": steps, "seeds": seeds, "rows": results}
    write_atomically(out / "ablation.json", json.dumps(record, indent=1))
    table = ablation_table(results, steps)
    write_atomically(out / "ablation.md", table + "\n")
    return table


def _check_same(run_dir: Path, record: dict) -> None:
    """Raise if the finished run in a folder is not the one of `record`, as of `run_record`."""
    old = json.loads((run_dir / "config.json").read_text())
    if changed := relevant(differences(old, record)):
        raise FSAFError(
            f"{run_dir} holds a finished run of another configuration "
            f"({list_some(changed, '; ')}): give its fields, or take another --out."
        )


def ablation_table(results: Results, steps: int) -> str:
    """Return a Markdown table of the rows.

    It has the mean and the standard deviation over seeds. From `MIN_SEEDS` seeds on it has the mean
    difference to the first row, seed by seed, with its 95 % t interval and its 95 % bootstrap
    interval; with fewer seeds a difference means nothing.

    Args:
        results: of each row, in percent, from seed 0 on. A row may have fewer seeds than the first.
        steps: of each run.
    """
    first = next(iter(results))
    lines = [
        f"| row ({steps} steps) | seeds | AP | AP50 | AP minus {first}'s, paired | t | bootstrap |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, values in results.items():
        ap, ap50 = np.array(values["AP"]), np.array(values["AP50"])
        spread = f" ± {ap.std(ddof=1):.1f}" if len(ap) > 1 else ""
        cells = [row, f"{len(ap)}", f"{ap.mean():.1f}{spread}", f"{ap50.mean():.1f}"]
        if row != first and len(ap) >= MIN_SEEDS:
            paired = ap - np.array(results[first]["AP"][: len(ap)])
            intervals = t_interval(paired), bootstrap_interval(paired)
            cells += [f"{paired.mean():+.1f}"]
            cells += [f"[{low:+.1f}, {high:+.1f}]" for low, high in intervals]
        else:
            cells += ["-"] * 3
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` (n,), n > 1, by Student's t distribution."""
    from scipy import stats  # takes a second to import

    error = values.std(ddof=1) / len(values) ** 0.5
    if not error:
        return float(values.mean()), float(values.mean())
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), error)
    return float(low), float(high)


def bootstrap_interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `values` (n,), from resampling with replacement."""
    picks = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    low, high = np.quantile(values[picks].mean(1), (0.025, 0.975))
    return float(low), float(high)
