"""Train the tiny network with four assigners, and store each seed's AP for notebook 12.

    python tests/notebooks/make_assigners.py [--steps 800] [--seeds 5] [--out runs/assigners]

Row by row, a seed gives the same first weights, data order and augmentation. The same command
again skips the finished runs and resumes the one that was stopped. About 40 minutes on two cores.
"""

import argparse
import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import fsaf_core as fsaf
from fsaf_core.utils.files import write_atomically

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))

from course.ch12 import FILE, claim_table
from examples.atss import atss
from examples.fcos import fcos
from examples.iou import iou

SIDE, RANGE = 2, (1, 2)  # strides: a quarter of COCO's, for objects of 8 to 100 px
PARTS = {
    "anchors and IoU": fsaf.Parts(assigner=partial(iou, side=SIDE)),
    "FCOS": fsaf.Parts(assigner=partial(fcos, size_range=RANGE)),
    "ATSS": fsaf.Parts(assigner=partial(atss, side=SIDE)),
    "FSAF": fsaf.Parts(),
}


def run(name: str, seed: int, steps: int, out: Path) -> float:
    """Train, or finish, or find one run, and return its AP in percent."""
    tiny = fsaf.presets.get("tiny")
    recipe = replace(tiny.train, steps=steps, seed=seed, snapshots=0, validate_every=steps)
    folder = out / f"{name.replace(' ', '_')}_seed{seed}_steps{steps}"
    if not (folder / "model.safetensors").exists():
        fsaf.train(replace(tiny, train=recipe), folder, parts=PARTS[name])
    return 100 * json.loads((folder / "metrics.json").read_text())["AP"]


def main(arguments: list[str] | None = None) -> dict:
    """Train all rows with all seeds, write the file after each seed, and return what it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/assigners"))
    parser.add_argument("--file", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    stored: dict = {"steps": options.steps, "rows": {name: [] for name in PARTS}}
    for seed in range(options.seeds):
        for name, values in stored["rows"].items():
            values.append(round(run(name, seed, options.steps, options.out), 2))
            print(f"{name}, seed {seed}: AP {values[-1]:.1f}", flush=True)
        write_atomically(options.file, json.dumps(stored, indent=1) + "\n")
    print("\n".join(claim_table(stored)))
    return stored


if __name__ == "__main__":
    main()
