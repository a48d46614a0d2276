"""Train the small runs of notebook 08 and store them in notebooks/course/faults.json.

`make course-model` runs this. With names of runs as arguments, it trains only those.
"""

import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))

from course.faults import FILE, train_with

# Arguments of `train_with`. Runs A to E are the exercise; its solution is in solutions/ch08.py.
RUNS: dict[str, dict] = {
    "sound": {"fault": "sound", "seed": 0},
    "no warm-up": {"fault": "sound", "seed": 0, "warmup": 0},
    "3 no normalizer": {"fault": "3 no normalizer", "seed": 0},
    "4 no prior bias": {"fault": "4 no prior bias", "seed": 0},
    "7 half a cell": {"fault": "7 half a cell", "seed": 0},
    "A": {"fault": "2 sum for mean", "seed": 1},
    "B": {"fault": "8 double sigmoid", "seed": 1},
    "C": {"fault": "3 no normalizer", "seed": 1},
    "D": {"fault": "7 half a cell", "seed": 1, "cell_center": 0.0},
    "E": {"fault": "1 every level learns", "seed": 1},
}


def main() -> None:
    """Train the runs that the command line names, or all, and write each when it is done."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or RUNS:
        run = train_with(**RUNS[name])
        runs = json.loads(FILE.read_text()) if FILE.exists() else {}
        runs[name] = run
        lines = [f"{json.dumps(name)}:{json.dumps(runs[name])}" for name in RUNS if name in runs]
        FILE.write_text("{" + ",\n".join(lines) + "}\n")
        print(name, runs[name]["log"][-1], runs[name]["AP50"], runs[name]["AP75"], flush=True)


if __name__ == "__main__":
    main()
