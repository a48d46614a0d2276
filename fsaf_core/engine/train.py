"""Train into a run directory: start or resume the run, train, write the results."""

import json
import sys
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from .. import presets
from ..config import Config, FSAFError
from ..data.loader import Loader, open_dataset
from ..evaluation.evaluator import evaluate
from ..model.detector import Detector, build_detector
from ..utils.distributed import DistributedContext, destroy, init
from ..utils.files import excerpt, write_atomically
from ..weights.checkpoint import load_weights, read_training, save
from .run_dir import Log, differences, lock_run_dir, validate_run_dir
from .trainer import Trainer
from .training_state import training_files


@dataclass(frozen=True)
class TrainResult:
    """What a finished run returns."""

    run_dir: Path
    steps: int
    metrics: dict[str, Any]  # as in metrics.json


def train(
    config: Config,
    run_dir: str | Path,
    device: str = "auto",
    resume: bool = False,
    weights: str | Path | None = None,
) -> TrainResult:
    """Train a detector into a folder, or resume the unfinished run in that folder.

    The folder gets config.json, log.jsonl, checkpoints/, best.safetensors and snapshots/; at the
    end metrics.json, levels.json, detections.json, pictures.json and, last, model.safetensors. A
    run is finished if model.safetensors exists.

    Args:
        config: the configuration; its class names are replaced by those of the training set.
        run_dir: a new folder, or that of an unfinished run of the same configuration.
        device: auto, cuda, mps or cpu. Under torchrun each process trains on its share of the
            images, and only the first process writes.
        resume: require that there is a run to resume.
        weights: a file of `save` to start from; its number of classes may differ. Without it the
            backbone starts from torchvision's IMAGENET1K_V1 weights, if they exist and
            `config.train.pretrained_backbone` is set.

    Raises:
        FSAFError: one sentence about what is wrong: the folder holds something else, the data set
            is damaged, the loss is not finite, the disk or the GPU is full.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; the run is saved, and the message says how to
            resume it.
    """
    if not isinstance(config, Config):
        raise FSAFError(
            f"config is a {type(config).__name__}: give a Config, such as presets.get('tiny')."
        )
    context, run_dir = init(device), Path(run_dir)
    try:
        return _train(config, run_dir, context, resume, weights)
    except torch.OutOfMemoryError as error:
        reason = str(error).split(". ")[0]
        raise FSAFError(
            f"The memory of {context.device} is full ({reason}): take --train.accumulate 2 (or 4, "
            "..) for smaller micro-batches of the same step, --train.amp bf16, or a smaller "
            "--model.short_side."
        ) from error
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise FSAFError(
            "Another process of this training has ended: see its own message; "
            "the same command resumes at the last checkpoint."
        ) from error
    finally:
        destroy()


def _train(
    config: Config,
    run_dir: Path,
    context: DistributedContext,
    resume: bool,
    weights: str | Path | None,
) -> TrainResult:
    if context.is_main:
        open_dataset(config.data, "train")  # the first process alone makes scenes and indices
    context.barrier()
    train_set, val_set = open_dataset(config.data, "train"), open_dataset(config.data, "val")
    if val_set.class_names != train_set.class_names:
        raise FSAFError(
            f"The classes of validation {val_set.class_names} are not those of training "
            f"{train_set.class_names}: take jsons of one data set."
        )
    config = replace(config, model=replace(config.model, class_names=train_set.class_names))
    if context.is_main:
        validate_run_dir(run_dir, config, resume)
    data = Loader(train_set, config, True, context.rank, context.size)
    val_data = Loader(val_set, config, False, context.rank, context.size)
    lock = lock_run_dir(run_dir) if context.is_main else nullcontext()
    with lock, closing(data), closing(val_data):
        context.barrier()
        last = next(reversed(training_files(run_dir / "checkpoints")), None)
        torch.manual_seed(config.train.seed)
        detector = _build(config, context, weights, is_new=last is None)
        trainer = Trainer(config, run_dir, detector, data, val_data, context)
        if last is not None:
            _restore(trainer, last)
        if context.is_main:
            # From here on the folder holds a run, which another configuration cannot resume.
            write_atomically(run_dir / "config.json", json.dumps(asdict(config), indent=1))
            print(*_summary(trainer), sep="\n", flush=True)
        _fit(trainer)
        result = trainer.result or evaluate(detector, val_data)
        if context.is_main:
            result.write(run_dir)
            save(detector, run_dir / "model.safetensors")
        return TrainResult(run_dir, trainer.step, result.metrics)


def _build(
    config: Config, context: DistributedContext, weights: str | Path | None, is_new: bool
) -> Detector:
    """Build the detector; a new run starts from `weights` or from a pretrained backbone."""
    pretrained = (
        is_new
        and weights is None
        and config.train.pretrained_backbone
        and config.model.backbone != "tiny"
    )
    if pretrained and not context.is_main:
        context.barrier()  # the first process downloads, the others read its file
    try:
        detector = build_detector(config.model, pretrained_backbone=pretrained)
    except OSError as error:
        raise FSAFError(
            f"The pretrained weights of {config.model.backbone} cannot be downloaded ({error}): "
            "connect to the internet once, start --from WEIGHTS, or from scratch with "
            "--train.no-pretrained-backbone --model.backbone_norm batch --model.frozen_stages 0."
        ) from error
    if pretrained and context.is_main:
        context.barrier()
    if is_new and weights is not None:
        skipped = load_weights(detector, weights)
        if skipped and context.is_main:
            print(
                f"{weights} has other classes: everything is loaded except the class layer "
                f"({', '.join(skipped)}), which starts from scratch."
            )
    detector.sync_normalizer = config.train.sync_normalizer
    detector.to(context.device)
    if config.train.channels_last:
        detector.to(memory_format=torch.channels_last)
    return detector


def _restore(trainer: Trainer, checkpoint: Path) -> None:
    """Load a checkpoint into the trainer. A damaged file may raise almost anything."""
    faults = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)
    try:
        trainer.restore(read_training(checkpoint))
    except torch.OutOfMemoryError:
        raise
    except faults as error:
        raise FSAFError(
            f"{checkpoint} does not fit this run ({excerpt(error)}): "
            "delete it, and the one before it is used."
        ) from error


def _fit(trainer: Trainer) -> None:
    """Run the loop with its progress bar and its log, and save the state after Ctrl-C."""
    is_main = trainer.context.is_main
    log = Log(trainer.run_dir / "log.jsonl", trainer.step) if is_main else None
    bar = tqdm(
        total=trainer.total_steps,
        initial=trainer.step,
        desc=trainer.config.name,
        unit="step",
        disable=not (is_main and sys.stderr.isatty()),
    )
    try:
        with trainer.interrupt, bar:
            trainer.fit(log, bar)
    except KeyboardInterrupt:
        if trainer.interrupt.immediate:  # not in the middle of a step
            trainer.checkpoint()
        raise KeyboardInterrupt(
            f"Stopped at step {trainer.step} of {trainer.total_steps}; {trainer.run_dir} is safe: "
            "the same command resumes the run."
        ) from None


def _summary(trainer: Trainer) -> list[str]:
    """Return what a run prints at its start."""
    config, context = trainer.config, trainer.context
    parameters = [*trainer.detector.parameters()]
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    if config.name in presets.names():
        changed = differences(asdict(presets.get(config.name)), asdict(config))
        origin = f"differs from the preset in {'; '.join(changed)}" if changed else "as the preset"
    else:
        origin = "not a preset"
    return [
        f"{config.name}: {origin}",
        f"training:   {trainer.data.dataset.summary()}",
        f"validation: {trainer.val_data.dataset.summary()}",
        f"data in {trainer.data.dataset.root.resolve()}, run in {trainer.run_dir.resolve()}",
        f"{total / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them trained, "
        f"on {context.device} x {context.size}",
        f"{'resuming ' if trainer.step else ''}from step {trainer.step} to {trainer.total_steps}, "
        f"{trainer.steps_per_epoch} steps an epoch",
    ]
