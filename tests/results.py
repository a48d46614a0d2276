"""Write the results in the README from the files that commands left: `python tests/results.py`.

The results of the course are in notebooks/course, those of single measurements in tests/records.
`python tests/results.py own_data RUN` first copies a finished run's results to
tests/records/own_data.json.
"""

import json
import sys
from pathlib import Path

import torch

import fsaf_core as fsaf
from fsaf_core.presets import PRESETS
from fsaf_core.tools.ablation import ablation_table

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "notebooks" / "course"
RECORDS = ROOT / "tests" / "records"


def tiny() -> str:
    """Return the table of the course's own training."""
    metrics = json.loads((COURSE / "metrics.json").read_text())
    log = [json.loads(line) for line in (COURSE / "log.jsonl").read_text().splitlines()]
    last = [line for line in log if "seconds" in line][-1]
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    head = "| command | steps | minutes | " + " | ".join(names) + " |"
    row = (
        f"| `fsaf train tiny --train.seed 1` | {last['step']:,} | {last['seconds'] / 60:.1f} | "
        + " | ".join(f"{100 * metrics[name]:.1f}" for name in names)
        + " |"
    )
    classes = ", ".join(
        f"{name} {100 * value['AP']:.1f}" for name, value in metrics["by_class"].items()
    )
    sizes = ", ".join(
        f"{name} px {100 * value['AP']:.1f}"
        for name, value in metrics["by_size"].items()
        if value["AP"] >= 0
    )
    details = f"AP by class: {classes}. AP by sqrt(area): {sizes}."
    return "\n".join([head, "|---" * (len(names) + 3) + "|", row, "", details])


def compared(name: str) -> str:
    """Return the table of an ablation: means over seeds, and paired differences."""
    ablation = json.loads((COURSE / f"{name}.json").read_text())
    return ablation_table(ablation["rows"], ablation["steps"])


def run_record(name: str) -> str:
    """Return a sentence on a recorded training: steps, minutes, AP."""
    run = json.loads((RECORDS / f"{name}.json").read_text())
    classes = ", ".join(
        f"{name} {100 * value['AP50']:.1f}" for name, value in run["by_class"].items()
    )
    metrics = f"AP {100 * run['AP']:.1f}, AP50 {100 * run['AP50']:.1f} ({classes})"
    return f"{run['steps']:,} steps, {run['minutes']} minutes on a busy machine: {metrics}."


def keep_run(name: str, folder: Path) -> None:
    """Record what `run_record` needs of a finished run."""
    metrics = json.loads((folder / "metrics.json").read_text())
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    last = [line for line in log if "seconds" in line][-1]
    record = {"steps": last["step"], "minutes": round(last["seconds"] / 60, 1)}
    record |= {key: metrics[key] for key in ("AP", "AP50", "by_class")}
    (RECORDS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def rows() -> str:
    """Return the table of the published rows, with the size of each network."""
    lines = [
        "| row | what | million parameters | published AP | measured here |",
        "|---|---|---|---|---|",
    ]
    for name, row in PRESETS.items():
        if row.ap is None:
            continue
        model = fsaf.presets.get(name).model
        with torch.device("meta"):
            size = sum(value.numel() for value in fsaf.build_detector(model).parameters()) / 1e6
        parts = [model.branches.replace("_", "-"), f"{model.convention} convention"]
        parts[1:1] = [model.selection] if model.branches != "anchor_based" else []
        parts += [f"ignoring scale {model.ignoring_scale}"] if model.ignoring_scale else []
        status = "" if row.status == "published" else " (unverified)"
        lines.append(
            f"| `{name}` | {', '.join(parts)} | {size:.2f} | {row.ap:.1f}{status} | not measured: no GPU, no COCO |"
        )
    return "\n".join(lines)


def record(name: str, fence: str = "") -> str:
    """Return a recorded output as it was printed."""
    text = (RECORDS / name).read_text().rstrip()
    return f"{fence}text\n{text}\n{fence}" if fence else text


BLOCKS = {
    "tiny": tiny,
    "ablation": lambda: compared("ablation"),
    "detail": lambda: compared("detail"),
    "own data": lambda: run_record("own_data"),
    "rows": rows,
    "parity": lambda: record("parity.md"),
    "bench": lambda: record("bench.txt", "```"),
    "gpu": lambda: record("gpu.md"),
}


def filled(readme: str) -> str:
    """Return the README with all blocks written again."""
    for name, make in BLOCKS.items():
        before, rest = readme.split(f"<!-- {name} -->\n", 1)
        after = rest.split(f"<!-- /{name} -->", 1)[1]
        readme = f"{before}<!-- {name} -->\n{make()}\n<!-- /{name} -->{after}"
    return readme


if __name__ == "__main__":
    if len(sys.argv) > 1:
        keep_run(sys.argv[1], Path(sys.argv[2]))
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text()))
