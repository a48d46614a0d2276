"""Generated scenes as files: made on the spot, once, and written as any COCO-format set is."""

import contextlib
import dataclasses
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tqdm.auto import tqdm

from ...config import SCENE_CLASSES, FSAFError, SceneConfig
from .renderer import WORLD, Split, render_scene


def _write_scene(job: tuple[SceneConfig, Path, Split, int]) -> dict:
    """Draw one scene into its file (each tenth a PNG, else JPEG); returns its entry for the json."""
    config, folder, split, index = job
    picture, objects = render_scene(config, index, split)
    name = f"{index + 1:06d}.{'png' if index % 10 == 9 else 'jpg'}"
    # Full colour resolution: a shape of 8 px has a hue of only 4 px in the usual JPEG.
    picture.save(folder / split / name, quality=90, subsampling=0)
    return {"file_name": name, "objects": objects}


def _coco_json(config: SceneConfig, entries: list[dict]) -> dict:
    """The scenes of one split as COCO writes them: boxes x y w h, ids from 1."""
    images: list[dict] = []
    annotations: list[dict] = []
    for image_id, entry in enumerate(entries, start=1):
        images.append(
            {
                "id": image_id,
                "file_name": entry["file_name"],
                "width": config.image_size,
                "height": config.image_size,
            }
        )
        for label, (x1, y1, x2, y2), _, _ in entry["objects"]:
            w, h = round(x2 - x1, 2), round(y2 - y1, 2)
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": label + 1,
                "bbox": [x1, y1, w, h],
            }
            annotations.append({**annotation, "area": round(w * h, 2), "iscrowd": 0})
    return {
        "info": {"description": "generated scenes", "world": WORLD},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(SCENE_CLASSES, start=1)],
    }


def config_hash(config: SceneConfig) -> str:
    """Twelve hex digits that name these dials in this version of the world."""
    text = json.dumps({"world": WORLD, **dataclasses.asdict(config)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check(config: SceneConfig) -> None:
    """Refuse dials of which no scene can be made."""
    largest = config.max_size * config.image_size
    limits: dict[str, tuple[float, float]] = {
        "image_size": (32, 4096),
        "min_size": (3, largest),
        "max_aspect": (1, 8),
    }
    limits |= dict.fromkeys(
        ("empty_share", "crowd_share", "max_overlap", "detail", "max_size"), (0, 1)
    )
    limits |= dict.fromkeys(
        ("num_train", "num_val", "max_objects", "clutter", "noise", "seed"), (0, math.inf)
    )
    limits["min_objects"] = (0, config.max_objects)
    for name, (low, high) in limits.items():
        if not low <= getattr(config, name) <= high:
            raise FSAFError(
                f"scenes: {name} is {getattr(config, name)}: it must lie in {low:g}..{high:g}."
            )


def _is_complete(folder: Path, config: SceneConfig) -> bool:
    """Whether the folder holds all that these dials ask for: something may have been deleted since."""
    try:
        told = json.loads((folder / "config.json").read_text())
        counts = [len(os.listdir(folder / split)) for split in ("train", "val")]
    except (OSError, ValueError):
        return False
    jsons = all((folder / f"annotations_{split}.json").exists() for split in ("train", "val"))
    return (
        jsons
        and told == dataclasses.asdict(config)
        and counts == [config.num_train, config.num_val]
    )


def make_scenes(config: SceneConfig, root: Path | str = "data") -> Path:
    """The folder of these scenes, made if it is not there: `root/scenes/<config_hash>`.

    It holds `train/` and `val/` with the images, `annotations_train.json` and `annotations_val.json` in COCO's format (category
    ids 1..6), and `config.json`. Made beside its place and renamed when done: what lies under the name is complete.

    Raises:
        FSAFError: "scenes: min_size is 200: it must lie in 3..102.4."; "scenes: cannot write into ...".
    """
    _check(config)
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
            if not folder.exists():  # else another process was quicker
                part.rename(folder)
    except OSError as error:
        why = f"cannot write into {folder.parent} ({error.strerror})"
        raise FSAFError(f"scenes: {why}: free some space or choose another --data.root.") from None
    return folder


def _fill(part: Path, config: SceneConfig, folder: Path) -> None:
    """Draw all scenes into `part`, several at a time, and write the jsons."""
    jobs: list[tuple[SceneConfig, Path, Split, int]] = []
    counts: dict[Split, int] = {"train": config.num_train, "val": config.num_val}
    for split, count in counts.items():
        (part / split).mkdir(parents=True)
        jobs += [(config, part, split, index) for index in range(count)]
    # Only by fork do processes start without importing everything anew, which costs as much as they would save.
    workers = min(os.cpu_count() or 1, 8) if sys.platform == "linux" and len(jobs) > 200 else 1
    pool = None
    if workers > 1:  # Ctrl-C is for the parent, which ends them
        pool = multiprocessing.get_context("fork").Pool(
            workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)
        )
    with pool or contextlib.nullcontext():
        done = pool.imap(_write_scene, jobs, chunksize=20) if pool else map(_write_scene, jobs)
        silent = len(jobs) < 50 or not sys.stderr.isatty()
        bar = tqdm(
            done,
            f"making scenes in {folder}",
            len(jobs),
            unit=" scenes",
            mininterval=1,
            disable=silent,
        )
        entries = list(bar)
    for split, found in (
        ("train", entries[: config.num_train]),
        ("val", entries[config.num_train :]),
    ):
        (part / f"annotations_{split}.json").write_text(json.dumps(_coco_json(config, found)))
    (part / "config.json").write_text(json.dumps(dataclasses.asdict(config), indent=1))
