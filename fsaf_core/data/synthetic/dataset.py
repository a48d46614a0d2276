"""Generated scenes as files: a COCO-format set, generated once."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tqdm.auto import tqdm

from ...config import SCENE_CLASSES, FSAFError, SceneConfig
from .renderer import VERSION, Split, render_scene


def _write_scene(job: tuple[SceneConfig, Path, Split, int]) -> dict:
    """Render one scene into its file and return its entry for the json.

    Every tenth file is a PNG, the others are JPEGs.
    """
    config, folder, split, index = job
    picture, objects = render_scene(config, index, split)
    name = f"{index + 1:06d}.{'png' if index % 10 == 9 else 'jpg'}"
    # The usual JPEG halves the color resolution, which leaves 4 pixels of a shape of 8 pixels.
    picture.save(folder / split / name, quality=90, subsampling=0)
    return {"file_name": name, "objects": objects}


def _coco_json(config: SceneConfig, entries: list[dict]) -> dict:
    """Return the json of one split: boxes x y w h, ids from 1."""
    images: list[dict] = []
    annotations: list[dict] = []
    size = config.image_size
    for image_id, entry in enumerate(entries, start=1):
        name = entry["file_name"]
        images.append({"id": image_id, "file_name": name, "width": size, "height": size})
        for label, (x1, y1, x2, y2), _, _ in entry["objects"]:
            w, h = round(x2 - x1, 2), round(y2 - y1, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [x1, y1, w, h],
                    "area": round(w * h, 2),
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": "generated scenes", "world": VERSION},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(SCENE_CLASSES, start=1)],
    }


def config_hash(config: SceneConfig) -> str:
    """Return twelve hex digits that identify the settings and the renderer's version."""
    text = json.dumps({"world": VERSION, **dataclasses.asdict(config)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_complete(folder: Path, config: SceneConfig) -> bool:
    """Return whether the folder still holds all files of these settings."""
    try:
        stored = json.loads((folder / "config.json").read_text())
        counts = [len(os.listdir(folder / split)) for split in ("train", "val")]
    except (OSError, ValueError):
        return False
    jsons = all((folder / f"annotations_{split}.json").exists() for split in ("train", "val"))
    same = stored == dataclasses.asdict(config) and counts == [config.num_train, config.num_val]
    return jsons and same


def make_scenes(config: SceneConfig, root: Path | str = "data") -> Path:
    """Return the folder of these scenes, `root/scenes/<config_hash>`; generate it if necessary.

    It holds the images in `train/` and `val/`, `annotations_train.json` and `annotations_val.json`
    in COCO's format (category ids 1..6), and `config.json`. The files are written elsewhere and
    the folder is renamed at the end, so a folder with this name is complete.

    Raises:
        FSAFError: "data/scenes cannot be written (...): free some space or choose another
            --data.root."
    """
    folder = Path(root) / "scenes" / config_hash(config)
    if _is_complete(folder, config):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            part = Path(temporary) / "whole"
            _fill(part, config, folder)
            if folder.exists() and not _is_complete(folder, config):
                shutil.rmtree(folder)
            if not folder.exists():  # otherwise another process was faster
                part.rename(folder)
    except OSError as error:
        raise FSAFError(
            f"{folder.parent} cannot be written ({error.strerror}): "
            "free some space or choose another --data.root."
        ) from None
    return folder


def _fill(part: Path, config: SceneConfig, folder: Path) -> None:
    """Render all scenes into `part` in several processes, and write the jsons."""
    jobs: list[tuple[SceneConfig, Path, Split, int]] = []
    counts: dict[Split, int] = {"train": config.num_train, "val": config.num_val}
    for split, count in counts.items():
        (part / split).mkdir(parents=True)
        jobs += [(config, part, split, index) for index in range(count)]
    # Processes pay off only where they fork: elsewhere each one imports everything again.
    workers = min(os.cpu_count() or 1, 8) if sys.platform == "linux" and len(jobs) > 200 else 1
    pool = None
    if workers > 1:
        # The processes ignore Ctrl-C; the parent handles it and ends them.
        fork = multiprocessing.get_context("fork")
        pool = fork.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with pool or contextlib.nullcontext():
        done = pool.imap(_write_scene, jobs, chunksize=20) if pool else map(_write_scene, jobs)
        silent = len(jobs) < 50 or not sys.stderr.isatty()
        what, unit = f"making scenes in {folder}", " scenes"
        entries = iter(tqdm(done, what, len(jobs), unit=unit, mininterval=1, disable=silent))
        for split, count in counts.items():
            content = _coco_json(config, list(itertools.islice(entries, count)))
            (part / f"annotations_{split}.json").write_text(json.dumps(content))
    (part / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=1))
