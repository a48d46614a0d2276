"""Training into a folder: prepares a run or finds where it stopped, goes through the loop, writes what came of it."""

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
    """What a finished run leaves: its folder, its steps, and its metrics, as in metrics.json."""

    run_dir: Path
    steps: int
    metrics: dict[str, Any]


def train(
    config: Config,
    run_dir: str | Path,
    device: str = "auto",
    resume: bool = False,
    weights: str | Path | None = None,
) -> TrainResult:
    """Trains a detector into a folder, or goes on with what stands there unfinished.

    The folder gets config.json, log.jsonl, checkpoints/, best.safetensors, snapshots/, and at the end metrics.json, levels.json,
    detections.json, pictures.json and, last of all, model.safetensors: where that is, the run is finished.

    Args:
        config: the row; class names are taken from the training set.
        run_dir: a new folder, or that of an unfinished run of the same configuration, which then goes on.
        device: auto, cuda, mps or cpu. Under torchrun each process takes its share; only the first writes.
        resume: insist that there is a run to go on with.
        weights: a file of `save` to start from, of another number of classes too; without it the body gets torchvision's
            IMAGENET1K_V1 weights, if `config.train.pretrained_backbone` and there are any.

    Raises:
        FSAFError: one sentence for a folder that holds something else, a faulty set, a loss that is no number, a full disk or
            GPU.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; all is saved, the message says how to go on.
    """
    if not isinstance(config, Config):
        raise FSAFError(
            f"give a Config, such as presets.get('tiny'), not a {type(config).__name__}."
        )
    context, run_dir = init(device), Path(run_dir)
    try:
        return _train(config, run_dir, context, resume, weights)
    except torch.OutOfMemoryError as error:
        raise FSAFError(
            f"The memory of {context.device} is full ({str(error).split('. ')[0]}): take --train.accumulate 2 (or 4, ..) for "
            "smaller micro-batches of the same step, --train.amp bf16, or a smaller --model.short_side."
        ) from error
    except RuntimeError as error:
        if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
            raise
        raise FSAFError(
            "Another process of this training has ended, see its own message; the same command goes on from the last checkpoint."
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
            f"The classes of validation {val_set.class_names} are not training's {train_set.class_names}: take jsons of one set."
        )
    config = replace(config, model=replace(config.model, class_names=train_set.class_names))
    if context.is_main:
        validate_run_dir(run_dir, config, resume)
    data = Loader(train_set, config, True, context.rank, context.size)
    val_data = Loader(val_set, config, False, context.rank, context.size)
    with (
        lock_run_dir(run_dir) if context.is_main else nullcontext(),
        closing(data),
        closing(val_data),
    ):
        context.barrier()
        last = next(reversed(training_files(run_dir / "checkpoints")), None)
        torch.manual_seed(config.train.seed)
        detector = _detector(config, context, None if last else weights, fresh=last is None)
        run = Trainer(config, run_dir, detector, data, val_data, context)
        if last is not None:
            try:
                run.restore(read_training(last))
            except torch.OutOfMemoryError:
                raise
            except (
                KeyError,
                TypeError,
                ValueError,
                AttributeError,
                IndexError,
                RuntimeError,
            ) as error:
                raise FSAFError(
                    f"{last} does not fit this run ({excerpt(error)}): delete it; the one before is used."
                ) from error
        if (
            context.is_main
        ):  # from here on it is a run, which another configuration cannot go on with
            write_atomically(run_dir / "config.json", json.dumps(asdict(config), indent=1))
            print(*_summary(run), sep="\n", flush=True)
        _go(run)
        record = run.record or evaluate(detector, run.val_data)
        if context.is_main:
            record.write(run_dir)
            save(detector, run_dir / "model.safetensors")
        return TrainResult(run_dir, run.step, record.metrics)


def _go(run: Trainer) -> None:
    """The loop with what stands around it: bar, log, Ctrl-C."""
    first = run.context.is_main
    log = Log(run.run_dir / "log.jsonl", run.step) if first else None
    bar = tqdm(
        total=run.total_steps,
        initial=run.step,
        desc=run.config.name,
        unit="step",
        disable=not (first and sys.stderr.isatty()),
    )
    try:
        with run.interrupt, bar:
            run.fit(log, bar)
    except KeyboardInterrupt:
        if run.interrupt.at_once:  # not in the middle of a step
            run.checkpoint()
        raise KeyboardInterrupt(
            f"Stopped at step {run.step} of {run.total_steps}; {run.run_dir} is safe: the same command goes on."
        ) from None


def _detector(
    config: Config, context: DistributedContext, weights: str | Path | None, fresh: bool
) -> Detector:
    pretrained = (
        fresh
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
            f"The pretrained weights of {config.model.backbone} cannot be downloaded ({error}): connect to the internet once, start "
            "--from WEIGHTS, or from scratch: --train.no-pretrained-backbone --model.backbone_norm batch --model.frozen_stages 0."
        ) from error
    if pretrained and context.is_main:
        context.barrier()
    if weights is not None:
        left = load_weights(detector, weights)
        if left and context.is_main:
            print(
                f"{weights} has other classes: all of it is taken but the class layer ({', '.join(left)}), which starts anew."
            )
    detector.sync_normalizer = config.train.sync_normalizer
    detector.to(context.device)
    return (
        detector.to(memory_format=torch.channels_last) if config.train.channels_last else detector
    )


def _summary(run: Trainer) -> list[str]:
    """What a run says of itself at its start."""
    config, context = run.config, run.context
    sizes = [
        (parameter.numel(), parameter.requires_grad) for parameter in run.detector.parameters()
    ]
    all_of_it, trained = sum(size for size, _ in sizes), sum(size for size, moves in sizes if moves)
    known = config.name in presets.names()
    changed = (
        differences(asdict(presets.get(config.name)), asdict(config))
        if known
        else ["all: it is no preset"]
    )
    return [
        f"{config.name}: {'as the preset says' if not changed else 'differs from the preset in ' + '; '.join(changed)}",
        f"training:   {run.data.dataset.summary()}",
        f"validation: {run.val_data.dataset.summary()}",
        f"data in {run.data.dataset.root.resolve()}, run in {run.run_dir.resolve()}",
        f"{all_of_it / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them trained, on {context.device} x {context.size}",
        f"{'going on from' if run.step else 'from'} step {run.step} to {run.total_steps}, {run.steps_per_epoch} steps an epoch",
    ]
