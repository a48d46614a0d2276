"""The numbers of the README: `python tests/results.py` writes them from the files that commands have left in notebooks/course."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
COURSE = ROOT / "notebooks" / "course"


def tiny() -> str:
    """The course's own training."""
    metrics = json.loads((COURSE / "metrics.json").read_text())
    log = [json.loads(line) for line in (COURSE / "log.jsonl").read_text().splitlines()]
    last = [line for line in log if "seconds" in line][-1]
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    head = "| command | steps | minutes | " + " | ".join(names) + " |"
    row = (
        f"| `fsaf train tiny` | {last['step']:,} | {last['seconds'] / 60:.1f} | "
        + " | ".join(f"{100 * metrics[name]:.1f}" for name in names)
        + " |"
    )
    classes = ", ".join(f"{name} {100 * value['AP']:.1f}" for name, value in metrics["by_class"].items())
    sizes = ", ".join(f"{name} px {100 * value['AP']:.1f}" for name, value in metrics["by_size"].items() if value["AP"] >= 0)
    missed = f"AP by class: {classes}. AP by sqrt(area): {sizes}."
    return "\n".join([head, "|---" * (len(names) + 3) + "|", row, "", missed])


BLOCKS = {"tiny": tiny}


def filled(readme: str) -> str:
    """The README with all blocks made anew."""
    for name, make in BLOCKS.items():
        before, rest = readme.split(f"<!-- {name} -->\n", 1)
        after = rest.split(f"<!-- /{name} -->", 1)[1]
        readme = f"{before}<!-- {name} -->\n{make()}\n<!-- /{name} -->{after}"
    return readme


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text()))
