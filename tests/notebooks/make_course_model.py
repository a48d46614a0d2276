"""Train `tiny` and store in notebooks/course what the notebooks need of it (under 4 MB).

`make course-model` runs this. With the folder of a finished run as argument, it stores that run
instead of training.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

import fsaf_core as fsaf
from fsaf_core.config import SceneConfig
from fsaf_core.data.synthetic.renderer import render_scene
from fsaf_core.viz.widgets.assignment_view import Snapshots
from fsaf_core.viz.widgets.explorer import population_points
from fsaf_core.weights.checkpoint import save

COURSE = Path(__file__).parents[2] / "notebooks" / "course"
SCENE = 238  # of the validation scenes
SEED = 1  # with which the star's level differs from the one by size


def write_scene() -> None:
    """Write the running example: the image as PNG, and its boxes and labels."""
    config = SceneConfig()
    picture, objects = render_scene(config, SCENE, "val")
    picture.save(COURSE / "scene.png", optimize=True)
    star = [fsaf.config.SCENE_CLASSES[one.label] for one in objects].index("star")
    entry = {
        "class_names": fsaf.config.SCENE_CLASSES,
        "boxes": [[round(side, 2) for side in one.box] for one in objects],
        "labels": [one.label for one in objects],
        "star": star,
    }
    (COURSE / "scene.json").write_text(json.dumps(entry, indent=1) + "\n")


def write_model(run: Path) -> None:
    """Write weights (half precision), log, metrics, levels, and what the explorer shows."""
    sys.path.insert(0, str(COURSE.parent))
    import make_choice_picture
    import make_explorer_picture
    from course import population, scene

    save(fsaf.load(run / "model.safetensors"), COURSE / "model.safetensors", half=True)
    steps = {
        int(path.stem.split("_")[1]): fsaf.load(path)
        for path in sorted((run / "snapshots").glob("*.safetensors"))
    }
    Snapshots.of(steps, scene().image).save(COURSE / "snapshots.npz")
    points = json.dumps(population_points(steps, population()), separators=(",", ":"))
    (COURSE / "population.json").write_text(points + "\n")
    make_explorer_picture.write()
    make_choice_picture.write()
    for name in ("log.jsonl", "metrics.json", "levels.json"):
        shutil.copy(run / name, COURSE / name)
    picture = Image.open(run / "pictures" / "detections.png").convert("RGB")
    picture.thumbnail((1000, 1000))
    picture.save(COURSE / "detections.jpg", quality=88)


def main() -> None:
    """Train unless a finished run is given, then write the files."""
    run = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("runs/course")
    if not (run / "model.safetensors").exists():
        command = [sys.executable, "-m", "fsaf_core", "train", "tiny", "--train.seed", str(SEED)]
        subprocess.run([*command, "--out", str(run)], check=True)
    COURSE.mkdir(exist_ok=True)
    write_scene()
    write_model(run)
    total = sum(path.stat().st_size for path in COURSE.iterdir() if path.is_file())
    print(f"{COURSE}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
