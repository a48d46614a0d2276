"""`fsaf reproduce`: the reference's published table, with a second line under each row for this machine."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from .. import presets
from ..config import DataConfig
from ..data.download import fetch
from ..data.loader import Loader, open_dataset
from ..engine.optim import build_optimizer, clip_gradients
from ..evaluation.evaluator import evaluate
from ..model.detector import Detector
from ..presets import PUBLISHED
from ..utils.files import write_atomically
from ..weights.mmdet import load_mmdet

HOST = "https://download.openmmlab.com/mmdetection/v2.0/fsaf"
STEPS = 10  # of training, timed after as many to warm up
TIMED = 50  # images of which the network's and the post-processing's time is taken


def checkpoint(row: str, folder: Path, host: str) -> Path:
    """The published file of a row: the one in `folder`, else downloaded there.

    Raises:
        FSAFError: "cannot reach HOST ...".
    """
    place = presets.PRESETS[row].checkpoint
    path = folder / Path(place).name
    return (
        path
        if path.exists()
        else fetch(f"{host}/{place}", path, sha256=path.stem.rsplit("-", 1)[1])
    )


def measure(
    detector: Detector, row: str, data: DataConfig, device: torch.device
) -> dict[str, float | None]:
    """AP on the validation set; images a second; on CUDA memory and seconds of a training step of 2 images.

    Args:
        detector: of the published file, on `device`; on CUDA some steps of training change it.
        row: a preset: its recipe is trained with.
        data: has the validation set.

    Returns:
        `AP` in percent, `fps` images a second; `memory` GB and `seconds` a step, None where there is no CUDA.

    Raises:
        FSAFError: as `open_dataset` and `evaluate`: no such set, one of other classes.
    """
    config = replace(presets.get(row), model=detector.config, data=data)
    dataset = open_dataset(data, "val")
    loader = Loader(dataset, config, training=False)
    record = evaluate(detector, loader, thorough=False)
    result: dict[str, float | None] = {
        "AP": 100 * record.metrics["AP"],
        "fps": _speed(detector, loader),
    }
    result["memory"], result["seconds"] = (
        _training(detector, loader) if device.type == "cuda" else (None, None)
    )
    return result


def _speed(detector: Detector, loader: Loader) -> float:
    """Images a second, one at a time, network and post-processing."""
    first = islice((image for batch in loader.epoch() for image in batch.images), TIMED)
    single = [image.to(detector.mean.device) for image in first]
    detector.eval()
    for image in single[:3]:
        detector([image])
    began = time.perf_counter()
    for image in single:
        found = detector([image])
    float(found[0]["scores"].sum())  # waits for the device
    return len(single) / (time.perf_counter() - began)


def _training(detector: Detector, loader: Loader) -> tuple[float, float]:
    """Peak memory (GB) and seconds of a step of 2 images."""
    optimizer = build_optimizer(loader.config.train, detector.train())
    batch = next(iter(loader.epoch()))
    torch.cuda.reset_peak_memory_stats()
    for step in range(2 * STEPS):
        if step == STEPS:
            torch.cuda.synchronize()
            began = time.perf_counter()
        losses = detector(
            [image.to(detector.mean.device) for image in batch.images[:2]], batch.targets[:2]
        )
        torch.stack([*losses.values()]).sum().backward()
        clip_gradients(optimizer, loader.config.train.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 1e9, (time.perf_counter() - began) / STEPS


def reproduce(
    out: Path,
    checkpoints: Path,
    data: DataConfig,
    rows: Sequence[str],
    device: torch.device,
    host: str = HOST,
) -> str:
    """Measures each row that has not been yet, and writes and returns the table.

    Args:
        out: folder of the results, a json for each row; the same command again goes on with the rows that are missing.
        checkpoints: folder with the published files; what is missing there is downloaded.
        host: where from.

    Raises:
        FSAFError: as `checkpoint`, `load_mmdet` and `measure`; what was measured before is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    for row in rows:
        if not (out / f"{row}.json").exists():
            detector = load_mmdet(checkpoint(row, checkpoints, host)).to(device).eval()
            write_atomically(out / f"{row}.json", json.dumps(measure(detector, row, data, device)))
            print(f"{row}: measured", flush=True)
    text = table(out, device)
    write_atomically(out / "table.md", text + "\n")
    return text


def table(out: Path, device: torch.device) -> str:
    """Markdown: each published row, and under it what this machine measured."""
    lines = ["| row | box AP | train mem GB | s/iter | images/s |", "|---|---|---|---|---|"]
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    for row, (memory, seconds, fps) in PUBLISHED.items():
        lines.append(
            f"| {row}, published | {presets.PRESETS[row].ap:.1f} | {memory:.2f} | {seconds:.2f} | {fps:.1f} |"
        )
        path = out / f"{row}.json"
        mine = json.loads(path.read_text()) if path.exists() else {}
        figures = [
            (mine.get("AP"), 1),
            (mine.get("memory"), 2),
            (mine.get("seconds"), 2),
            (mine.get("fps"), 1),
        ]
        shown = [
            "not measured" if value is None else f"{value:.{digits}f}" for value, digits in figures
        ]
        lines.append(f"| {row}, here ({name}) | {' | '.join(shown)} |")
    return "\n".join(lines)
