"""Generated scenes as files: a COCO-format set, generated once."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from ...config import SCENE_CLASSES, FSAFError, SceneConfig
from .renderer import VERSION, SceneObject, Split, render_scene


def config_hash(config: SceneConfig) -> str:
    """Return twelve hex digits that identify the settings and the renderer's version."""
    text = json.dumps({"world": VERSION, **dataclasses.asdict(config)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make_scenes(config: SceneConfig, root: Path | str = "data") -> Path:
    """Return the folder of these scenes, `root/scenes/<config_hash>`; generate it if necessary.

    It holds the images in `train/` and `val/`, `annotations_train.json` and `annotations_val.json`
    in COCO's format (category ids 1..6), and `config.json`. The files are written elsewhere and
    the folder is renamed at the end. A folder that lacks images is made again.

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
            _fill(part, config, f"making scenes in {folder}")
            if not _is_complete(folder, config):  # otherwise another process was faster
                shutil.rmtree(folder, ignore_errors=True)
                part.rename(folder)
    except OSError as error:
        raise FSAFError(
            f"{folder.parent} cannot be written ({error.strerror}): "
            "free some space or choose another --data.root."
        ) from None
    return folder


def _is_complete(folder: Path, config: SceneConfig) -> bool:
    """Return whether the folder has all images of these settings."""
    try:
        counts = [len(os.listdir(folder / split)) for split in ("train", "val")]
    except OSError:
        return False
    return counts == [config.num_train, config.num_val]


def _fill(part: Path, config: SceneConfig, title: str) -> None:
    """Render all scenes into `part` in several processes, and write the jsons."""
    total = config.num_train + config.num_val
    # Processes pay off only where they fork: elsewhere each one imports everything again.
    workers = min(os.cpu_count() or 1, 8) if sys.platform == "linux" and total > 200 else 1
    pool = None
    if workers > 1:
        # The processes ignore Ctrl-C; the parent handles it and ends them.
        fork = multiprocessing.get_context("fork")
        pool = fork.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    silent = not sys.stderr.isatty()
    bar = tqdm(total=total, desc=title, unit=" scenes", mininterval=1, disable=silent)
    splits: tuple[tuple[Split, int], ...] = (("train", config.num_train), ("val", config.num_val))
    with pool or nullcontext(), bar:
        for split, count in splits:
            (part / split).mkdir(parents=True)
            write = partial(_write_scene, config, part, split)
            scenes = pool.imap(write, range(count), 20) if pool else map(write, range(count))
            entries = []
            for entry in scenes:
                entries.append(entry)
                bar.update()
            content = _coco_json(config, entries)
            (part / f"annotations_{split}.json").write_text(json.dumps(content))
    (part / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=1))


def _write_scene(
    config: SceneConfig, folder: Path, split: Split, index: int
) -> tuple[str, list[SceneObject]]:
    """Render one scene into its file; return the file's name and the objects.

    Every tenth file is a PNG, the others are JPEGs.
    """
    picture, objects = render_scene(config, index, split)
    name = f"{index + 1:06d}.{'png' if index % 10 == 9 else 'jpg'}"
    # The usual JPEG halves the color resolution, which leaves 4 pixels of a shape of 8 pixels.
    picture.save(folder / split / name, quality=90, subsampling=0)
    return name, objects


def _coco_json(config: SceneConfig, entries: list[tuple[str, list[SceneObject]]]) -> dict:
    """Return the json of one split: boxes x y w h, ids from 1."""
    images: list[dict] = []
    annotations: list[dict] = []
    size = config.image_size
    for image_id, (name, objects) in enumerate(entries, start=1):
        images.append({"id": image_id, "file_name": name, "width": size, "height": size})
        for label, (x1, y1, x2, y2), _, _ in objects:
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
