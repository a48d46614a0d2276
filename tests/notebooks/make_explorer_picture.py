"""Draw notebooks/course/explorer.svg, the README's picture of the explorer.

It shows the running example after the course's training. `make course-model` writes it too; alone:
python tests/notebooks/make_explorer_picture.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "notebooks"))
import course

from fsaf_core.viz.widgets.explorer import Explorer

FILE = course.FOLDER / "explorer.svg"


def explorer() -> Explorer:
    """Return the explorer of the running example."""
    scene, points = course.scene(), course.population_points()
    shown = scene.image, scene.boxes, scene.labels, course.snapshots()
    return Explorer(*shown, selected=scene.star, points=points)


def picture() -> str:
    """Return the text of the SVG, which is the same on every machine."""
    return str(explorer().picture())


def write() -> None:
    """Write the file."""
    FILE.write_text(picture(), encoding="utf-8")
    print(f"{FILE.name}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    if len(sys.argv) > 1:  # a page for `make site`
        explorer().save_html(sys.argv[1])
    else:
        write()
