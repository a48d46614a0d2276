"""Train into a run directory: start or resume the run, train, write the results."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from .. import presets
from ..config import PATHS, Config, FSAFError
from ..data.loader import Loader, open_dataset
from ..evaluation.evaluator import evaluate
from ..model.detector import Detector, build_detector
from ..utils.classes import are_unnamed, list_names, match_classes
from ..utils.distributed import DistributedContext, destroy, init
from ..utils.files import excerpt, write_atomically
from ..utils.parts import Parts
from ..weights.checkpoint import read_training, save
from ..weights.formats import load_weights
from .callbacks import Callback
from .run_dir import differences, lock_run_dir, run_record, validate_run_dir
from .trainer import Trainer
from .training_state import training_files

# Options of a backbone without any frozen part.
ALL_TRAINED = "--model.backbone_norm batch --model.frozen_stages 0"


@dataclass(frozen=True)
class TrainResult:
    """What a finished run returns."""

    run_dir: Path
    steps: int
    metrics: dict[str, Any]  # as in metrics.json


def train(
    config: Config | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    weights: str | Path | None = None,
    *,
    preset: str = "tiny",
    train_json: str | Path = "",
    train_images: str | Path = "",
    val_json: str | Path = "",
    val_images: str | Path = "",
    parts: Parts = Parts(),
    callbacks: Sequence[Callback] = (),
) -> TrainResult:
    """Train a detector into a folder, or resume the unfinished run in that folder.

    >>> fsaf.train(train_json="a.json", train_images="a", val_json="b.json", val_images="b")

    The folder gets config.json, log.jsonl, checkpoints/, best.safetensors and snapshots/; at the
    end metrics.json, levels.json, detections.json, pictures.json and, last, model.safetensors. A
    run is finished if model.safetensors exists.

    Args:
        config: the configuration; its class names are replaced by those of the training set. None:
            that of `preset`.
        out: a new folder, or that of an unfinished run of the same configuration. None: runs/ and
            the configuration's name.
        device: auto, cuda, mps or cpu. Under torchrun each process trains on its share of the
            images, and only the first process writes.
        resume: require that there is a run to resume.
        weights: a file to start from, as in `load_any`; classes of the same name keep their rows
            of the class layer. Without it the backbone starts from torchvision's IMAGENET1K_V1
            weights, if they exist and `config.train.pretrained_backbone` is set. A run is resumed
            with the same file.
        preset: name of the configuration, where `config` is None.
        train_json, train_images, val_json, val_images: your own sets, COCO-format jsons and the
            folders of their images, in place of the configuration's.
        parts: a backbone, an assigner, a box loss of your own. A run is resumed with parts of the
            same import paths.
        callbacks: called after steps, after validations and at the end.

    Raises:
        FSAFError: one sentence about what is wrong: the folder holds something else, the data set
            is damaged, the loss is not finite, the disk or the GPU is full.
        KeyboardInterrupt: after Ctrl-C or SIGTERM; the run is saved, and the message says how to
            resume it.
    """
    config = presets.get(preset) if config is None else config
    if not isinstance(config, Config):
        raise FSAFError(
            f"config is a {type(config).__name__}: give a Config, such as presets.get('tiny')."
        )
    is_list = isinstance(callbacks, (list, tuple))
    if not is_list or not all(isinstance(one, Callback) for one in callbacks):
        raise FSAFError(
            f"callbacks is {callbacks!r:.100}: give a list of objects of classes that derive from "
            "fsaf_core.Callback, such as [Print()]."
        )
    paths: dict[str, Any] = dict(zip(PATHS, (train_json, train_images, val_json, val_images)))
    if any(paths.values()):
        config = replace(config, data=replace(config.data, source="files", **paths))
    run_dir = Path(out or Path("runs") / config.name)
    context = init(device)
    with _explained(context):
        if context.is_main:
            open_dataset(config.data, "train")  # the first process alone makes scenes and indices
        context.barrier()
        train_set, val_set = open_dataset(config.data, "train"), open_dataset(config.data, "val")
        # The order of the classes may differ: `evaluate` matches them by name.
        match_classes(
            train_set.class_names, val_set.class_names, train_set.json_path, val_set.json_path
        )
        config = replace(config, model=replace(config.model, class_names=train_set.class_names))
        if context.is_main:
            record = run_record(config, train_set, val_set, parts, weights)
            for line in validate_run_dir(run_dir, record, resume):
                print(line)
        data = Loader(train_set, config, True, context.rank, context.size)
        val_data = Loader(val_set, config, False, context.rank, context.size)
        lock = lock_run_dir(run_dir) if context.is_main else nullcontext()
        with lock, closing(data), closing(val_data):
            if context.is_main:  # again: another process may have finished the run until now
                validate_run_dir(run_dir, record, resume)
            # The first process decides for all: the others may have no access to its folder.
            last = context.broadcast(_last_checkpoint(run_dir) if context.is_main else None)
            torch.manual_seed(config.train.seed)
            detector = build(config, context, weights, is_new=last is None, parts=parts)
            detector.category_ids = train_set.index.category_ids
            trainer = Trainer(config, run_dir, detector, data, val_data, context, callbacks)
            if last is not None:
                _restore(trainer, *last)
                del last  # as large as the detector and its optimizer
            if context.is_main:
                # From here on the folder holds a run, which another configuration cannot resume.
                write_atomically(run_dir / "config.json", json.dumps(record, indent=1))
                print(*_summary(trainer), sep="\n", flush=True)
            trainer.run()
            result = trainer.result or evaluate(trainer.evaluated, val_data)
            if context.is_main:
                result.write(run_dir)
                save(trainer.evaluated, run_dir / "model.safetensors")
            for callback in trainer.callbacks:
                callback.on_end(trainer, result.metrics)
            return TrainResult(run_dir, trainer.step, result.metrics)


@contextmanager
def _explained(context: DistributedContext) -> Iterator[None]:
    """Turn errors of the device and of other processes into sentences, and disconnect at the end.

    Raises:
        FSAFError: "The memory of cuda:0 is full (CUDA out of memory): ..."; "Process 1 of 2 has
            stopped (...), most likely because another one has: ..."
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).split(". ")[0]
        raise FSAFError(
            f"The memory of {context.device} is full ({reason}): take --train.accumulate 2 (or 4, "
            "..) for smaller micro-batches of the same step, --train.amp bf16, or a smaller "
            "--model.short_side."
        ) from error
    except RuntimeError as error:
        if context.size == 1:
            raise
        raise FSAFError(
            f"Process {context.rank} of {context.size} has stopped ({excerpt(error)}), most likely "
            "because another one has: see the other messages; the same command resumes at the last "
            "checkpoint."
        ) from error
    finally:
        destroy()


def build(
    config: Config,
    context: DistributedContext,
    weights: str | Path | None,
    is_new: bool,
    parts: Parts = Parts(),
) -> Detector:
    """Return the detector of a training, on the context's device.

    Args:
        config: the configuration, with the class names of the training set.
        context: this process.
        weights: to start from, as in `train`.
        is_new: False leaves fresh weights, because a checkpoint replaces them.
        parts: as in `train`.

    Raises:
        FSAFError: "The backbone tiny starts from random weights, and a part of it is frozen: start
            ..."; "The pretrained weights of resnet50 cannot be downloaded (...): connect ..."; as
            `load_weights`.
    """
    model = config.model
    pretrained = is_new and weights is None and config.train.pretrained_backbone
    from_scratch = is_new and weights is None and (not pretrained or model.backbone == "tiny")
    is_frozen = model.frozen_stages > 0 or model.backbone_norm == "frozen"
    if from_scratch and is_frozen and parts.backbone is None:
        raise FSAFError(
            f"The backbone {model.backbone} starts from random weights, and a part of it is "
            f"frozen: start --from WEIGHTS, or give {ALL_TRAINED}."
        )
    if pretrained and not context.is_main:
        context.barrier()  # the first process downloads, the others read its file
    try:
        detector = build_detector(model, pretrained, parts)
    except OSError as error:
        raise FSAFError(
            f"The pretrained weights of {model.backbone} cannot be downloaded ({error}): "
            "connect to the internet once, start --from WEIGHTS, or from scratch with "
            f"--train.no-pretrained-backbone {ALL_TRAINED}."
        ) from error
    if pretrained and context.is_main:
        context.barrier()
    if is_new and weights is not None:
        source, labels = load_weights(detector, weights)
        own, theirs = model.class_names, source.config.class_names
        if context.is_main and own != theirs:
            print(_class_rows(own, theirs, labels, weights))
    detector.sync_normalizer = config.train.sync_normalizer
    detector.to(context.device)
    if config.train.channels_last:
        detector.to(memory_format=torch.channels_last)
    return detector


def _class_rows(
    own: Sequence[str], theirs: Sequence[str], labels: list[int | None], weights: str | Path
) -> str:
    """Return where the rows of the class layer come from, as a sentence to print."""
    new = [name for name, label in zip(own, labels) if label is None]
    if not new and (are_unnamed(own) or are_unnamed(theirs)):
        return f"the classes of {weights} are taken by position, as one side has no class names"
    scratch = f", those of {list_names(new)} start from scratch" if new else ""
    taken = len(own) - len(new)
    return f"class layer: the rows of {taken} classes come from {weights} by name{scratch}"


def _last_checkpoint(run_dir: Path) -> tuple[Path, dict[str, Any]] | None:
    """Return the last checkpoint of a run and its state; None if there is none."""
    checkpoint = next(reversed(training_files(run_dir / "checkpoints")), None)
    if checkpoint is None:
        return None
    try:
        return checkpoint, read_training(checkpoint)
    except FSAFError as error:
        raise FSAFError(
            f"{checkpoint} is no readable checkpoint ({excerpt(error.__cause__)}): "
            "delete it, and the one before it is used."
        ) from error


def _restore(trainer: Trainer, checkpoint: Path, state: dict[str, Any]) -> None:
    """Load a checkpoint's state into the trainer."""
    try:
        trainer.restore(state)
    except (FSAFError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged file may raise almost anything
        raise FSAFError(
            f"{checkpoint} does not fit this run ({excerpt(error)}): "
            "delete it, and the one before it is used."
        ) from error


def _summary(trainer: Trainer) -> list[str]:
    """Return what a run prints at its start."""
    config, context = trainer.config, trainer.context
    parameters = [*trainer.detector.parameters()]
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    origin = "not a preset"
    if config.name in presets.names():
        changed = differences(asdict(presets.get(config.name)), asdict(config))
        fields = "; ".join(f"{name}: {how}" for name, how in changed.items())
        origin = f"differs from the preset in {fields}" if changed else "as the preset"
    lines = [
        f"{config.name}: {origin}",
        f"training:   {trainer.data.dataset.summary()}",
        f"validation: {trainer.val_data.dataset.summary()}",
        f"data in {trainer.data.dataset.root.resolve()}, run in {trainer.run_dir.resolve()}",
        f"{total / 1e6:.2f} M parameters, {trained / 1e6:.2f} M of them trained, "
        f"on {context.device} x {context.size}",
        f"{'resuming ' if trainer.step else ''}from step {trainer.step} to {trainer.total_steps}, "
        f"{trainer.steps_per_epoch} steps an epoch",
    ]
    warmup = config.train.warmup_steps
    if 2 * warmup > trainer.total_steps:
        lines.append(
            f"the learning rate rises for {warmup} of {trainer.total_steps} steps, more than half "
            "of the training: consider a smaller --train.warmup-steps"
        )
    return lines
