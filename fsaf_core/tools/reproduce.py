"""`fsaf reproduce`: MMDetection's published table, with this machine's results below each row."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from .. import presets
from ..config import DataConfig, FSAFError, TrainConfig
from ..data.download import fetch
from ..data.loader import Loader, open_dataset
from ..engine.optim import build_optimizer, take_step
from ..evaluation.evaluator import evaluate
from ..model.detector import Detector
from ..presets import PUBLISHED
from ..utils.files import write_atomically
from ..weights.mmdet import load_mmdet

HOST = "https://download.openmmlab.com/mmdetection/v2.0/fsaf"
STEPS = 10  # training steps that are timed, after as many to warm up
TIMED = 50  # images whose inference is timed


def reproduce(
    out: Path,
    checkpoints: Path,
    data: DataConfig,
    rows: Sequence[str],
    device: torch.device,
    host: str = HOST,
) -> str:
    """Measure each row that has not been measured yet, and write and return the table.

    Args:
        out: folder of the results, one json for each row, and of table.md.
        checkpoints: folder of the published files; missing files are downloaded into it.
        data: the validation set.
        rows: presets with a published file.
        device: where to measure.
        host: address of the published files.

    Raises:
        FSAFError: "There is no published file of 'r50_joint': ..."; "runs/reproduce/r50.json was
            measured on another device or validation set: take another --out, or remove the file.";
            as `checkpoint`, `load_mmdet` and `measure`; the rows measured before are kept.
    """
    for row in rows:
        if row not in PUBLISHED:
            raise FSAFError(
                f"There is no published file of {row!r}: take rows of {', '.join(PUBLISHED)}."
            )
    out.mkdir(parents=True, exist_ok=True)
    where = {"device": device_name(device), "set": open_dataset(data, "val").index.sha256}
    files = {row: out / f"{row}.json" for row in PUBLISHED}
    measured = {row: json.loads(path.read_text()) for row, path in files.items() if path.exists()}
    for row, results in measured.items():
        if not where.items() <= results.items():
            raise FSAFError(
                f"{files[row]} was measured on another device or validation set: "
                "take another --out, or remove the file."
            )
    for row in rows:
        if row not in measured:
            detector = load_mmdet(checkpoint(row, checkpoints, host)).to(device).eval()
            measured[row] = where | measure(detector, row, data, device)
            write_atomically(files[row], json.dumps(measured[row]))
            print(f"{row}: measured", flush=True)
    text = table(measured, where["device"])
    write_atomically(out / "table.md", text + "\n")
    return text


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def checkpoint(row: str, folder: Path, host: str) -> Path:
    """Return the published file of a row, from `folder` or downloaded into it.

    Raises:
        FSAFError: as `fetch`: the host cannot be reached, the file is damaged.
    """
    name = presets.PRESETS[row].checkpoint
    path = folder / Path(name).name
    if path.exists():
        return path
    return fetch(f"{host}/{name}", path, sha256=path.stem.rsplit("-", 1)[1])


def measure(
    detector: Detector, row: str, data: DataConfig, device: torch.device
) -> dict[str, float | None]:
    """Evaluate a detector and time its inference; on CUDA, measure its training as well.

    Args:
        detector: of the published file, on `device`. Measuring its training changes its weights.
        row: the preset whose recipe it is trained with.
        data: the validation set.
        device: of the detector.

    Returns:
        `AP` in percent and `fps` in images a second; `memory` in GB and `seconds` of a training
        step of 2 images, which are None without CUDA.

    Raises:
        FSAFError: as `open_dataset` and `evaluate`.
    """
    config = replace(presets.get(row), model=detector.config, data=data)
    loader = Loader(open_dataset(data, "val"), config, training=False)
    ap = 100 * evaluate(detector, loader, thorough=False).metrics["AP"]
    samples = [*islice(_samples(loader), TIMED)]
    fps = inference_speed(detector, [image for image, _ in samples])
    memory, seconds = None, None
    if device.type == "cuda":
        images, targets = zip(*samples[:2])
        memory, seconds = training_speed(detector, config.train, images, targets)
    return {"AP": ap, "fps": fps, "memory": memory, "seconds": seconds}


def inference_speed(detector: Detector, images: Sequence[Tensor]) -> float:
    """Return images a second of inference, one image at a time, with post-processing.

    Args:
        detector: is set to evaluation mode.
        images: as the detector takes them; the first three are also run to warm up.
    """
    inputs = [image.to(detector.device) for image in images]
    detector.eval()
    with torch.no_grad():
        for image in inputs[:3]:
            detector([image])
        start = time.perf_counter()
        for image in inputs:
            detector([image])
        _wait(detector.device)
    return len(inputs) / (time.perf_counter() - start)


def _samples(loader: Loader) -> Iterator[tuple[Tensor, dict]]:
    """Yield the images of a set with their targets, however they are batched."""
    for batch in loader.epoch():
        yield from zip(batch.images, batch.targets)


def training_speed(
    detector: Detector, recipe: TrainConfig, images: Sequence[Tensor], targets: Sequence[dict]
) -> tuple[float, float]:
    """Return the peak memory in GB (0 on the CPU) and the seconds of a training step.

    Args:
        detector: its weights change.
        recipe: gives the optimizer.
        images, targets: of the step, as the detector takes them.
    """
    optimizer, on_cuda = build_optimizer(recipe, detector.train()), detector.device.type == "cuda"
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    for step in range(2 * STEPS):
        if step == STEPS:
            _wait(detector.device)
            start = time.perf_counter()
        inputs = [image.to(detector.device) for image in images]
        take_step(optimizer, detector(inputs, [*targets]).values(), recipe.clip_norm)
    _wait(detector.device)
    memory = torch.cuda.max_memory_allocated() / 1e9 if on_cuda else 0.0
    return memory, (time.perf_counter() - start) / STEPS


def _wait(device: torch.device) -> None:
    """Wait until the device has done all that it was asked for."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def table(measured: dict[str, dict], device: str) -> str:
    """Return a Markdown table: each published row, and below it what this machine measured.

    Args:
        measured: the results of `measure` by row; a row may be missing.
        device: name of this machine's device.
    """
    lines = ["| row | box AP | train mem GB | s/iter | images/s |", "|---|---|---|---|---|"]
    digits = {"AP": 1, "memory": 2, "seconds": 2, "fps": 1}
    for row, (memory, seconds, fps) in PUBLISHED.items():
        ap = presets.PRESETS[row].ap
        published = {"AP": ap, "memory": memory, "seconds": seconds, "fps": fps}
        tables = {"published": published, f"here ({device})": measured.get(row, {})}
        for label, values in tables.items():
            shown = [
                "not measured" if values.get(key) is None else f"{values[key]:.{places}f}"
                for key, places in digits.items()
            ]
            lines.append(f"| {row}, {label} | {' | '.join(shown)} |")
    return "\n".join(lines)
