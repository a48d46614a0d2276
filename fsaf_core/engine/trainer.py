"""The training loop: read `Trainer.fit` first. The rest of `Trainer` saves what the loop has done.

Every number of a run follows from its configuration: the order of the images and their
augmentation from (seed, epoch, rank), the learning rate from the step. So a run that was stopped at
any moment and resumed ends, on the CPU, with exactly the weights of one that was not.
"""

import copy
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from ..config import Config, FSAFError
from ..data.loader import Batch, Loader
from ..evaluation.coco_metrics import COCO_METRICS
from ..evaluation.evaluator import EvaluationResult, evaluate
from ..model.detector import Detector
from ..utils.distributed import DistributedContext
from ..weights.checkpoint import save, versions
from . import optim
from .callbacks import Callback
from .guards import Interrupt, NonFiniteGuard
from .meters import Meters
from .run_dir import Log, run_record
from .training_state import random_states, save_training, set_random_states
from .training_step import TrainingStep

# Attributes of a Trainer that its checkpoint holds as they are.
COUNTERS = ("step", "total_steps", "steps_per_epoch", "seconds", "validated", "best")
LOSSES = ("loss", "af_cls", "af_box", "ab_cls", "ab_box")


class Trainer:
    """A training in progress: the loop, and everything that a checkpoint holds.

    Args:
        config: the whole configuration.
        run_dir: the run directory.
        detector: on the context's device.
        data: of the training set.
        val_data: of the validation set.
        context: this process among those that train together.
        callbacks: called by the first process.

    Raises:
        FSAFError: "3 micro-batches are less than one step of 4: set --train.accumulate lower.";
            "Batch normalization has no statistics in one image of 32 pixels: set a larger ..."
    """

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        detector: Detector,
        data: Loader,
        val_data: Loader,
        context: DistributedContext,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        recipe, model = config.train, config.model
        self.config, self.recipe, self.run_dir, self.context = config, recipe, run_dir, context
        self.detector, self.data, self.val_data = detector, data, val_data
        self.record = run_record(config, data.dataset, val_data.dataset, detector.parts)
        self.callbacks = callbacks if context.is_main else ()
        self.steps_per_epoch = len(data) // recipe.accumulate
        if not self.steps_per_epoch:
            raise FSAFError(
                f"{len(data)} micro-batches are less than one step of {recipe.accumulate}: "
                "set --train.accumulate lower."
            )
        smallest = min(model.short_side, model.long_side)
        # The last stage of the backbone has stride 32, so its output would be a single value.
        if model.backbone_norm == "batch" and data.batch_size == 1 and smallest <= 32:
            raise FSAFError(
                f"Batch normalization has no statistics in one image of {smallest} pixels: "
                "set a larger --train.batch_size or --model.short_side."
            )
        epochs = round((1.5 if recipe.ms else 1) * (recipe.epochs or 0))
        self.total_steps = recipe.steps or epochs * self.steps_per_epoch
        interval = recipe.validate_every or self.steps_per_epoch
        self.validation_steps = {*range(0, self.total_steps, interval), self.total_steps}
        self.snapshots = optim.snapshot_steps(recipe.snapshots, self.total_steps)
        self.optimizer = optim.build_optimizer(recipe, detector)
        # What is evaluated and saved: the detector, or with `ema` the average of its weights.
        self.evaluated = copy.deepcopy(detector).eval() if recipe.ema else detector
        self.scaler = torch.amp.GradScaler(context.device.type, enabled=recipe.amp == "fp16")
        self.meters, self.guard = Meters(), NonFiniteGuard(self.scaler)
        self.interrupt = Interrupt(single_process=context.size == 1)
        self.step, self.seconds = 0, 0.0
        self.validated, self.best = 0, -1.0  # step of the last validation; the best AP
        self.result: EvaluationResult | None = None  # of the last validation
        self.entry: dict[str, Any] | None = None  # the log line of the last step, if it wrote one

    def run(self) -> None:
        """Train from the current step to the last one, with a progress bar and a log.

        Raises:
            FSAFError: the loss or its gradient is not finite; as `evaluate` and `Loader.epoch`.
            KeyboardInterrupt: after Ctrl-C or SIGTERM. The state is saved, and the message says how
                to resume.
        """
        is_main = self.context.is_main
        log_path = self.run_dir / "log.jsonl" if is_main else Path(os.devnull)
        self.log = Log(log_path, self.step, self.validated)
        self.bar = tqdm(
            total=self.total_steps,
            initial=self.step,
            desc=self.config.name,
            unit="step",
            disable=not (is_main and sys.stderr.isatty()),
        )
        try:
            with self.interrupt, self.bar:
                self.fit()
        except KeyboardInterrupt:
            where = " at its last checkpoint"
            if self.interrupt.immediate:  # not in the middle of a step
                self.checkpoint()
                where = ""
            raise KeyboardInterrupt(
                f"Stopped at step {self.step} of {self.total_steps}; {self.run_dir} is safe: "
                f"the same command resumes the run{where}."
            ) from None

    def fit(self) -> None:
        """Run the loop: update the weights, log, validate and write checkpoints."""
        recipe = self.recipe
        network: nn.Module = TrainingStep(self.detector.train(), recipe)
        if self.context.size > 1:
            network = DistributedDataParallel(network)
        batches = self.batches()
        self.snapshot()

        while True:
            if self.step in self.validation_steps and self.step > self.validated:
                self.validate()
            if self.step == self.total_steps:
                return

            start = time.perf_counter()
            rate = optim.learning_rate(recipe, self.step, self.total_steps)
            optim.set_rate(self.optimizer, rate)
            self.update(network, batches)
            self.step, self.entry = self.step + 1, None
            if recipe.ema:
                optim.update_average(self.evaluated, self.detector, recipe.ema, self.step)
            self.meters.steps += 1
            self.meters.seconds += time.perf_counter() - start
            self.bar.update()
            self.snapshot()

            stop = self.context.size == 1 and self.interrupt.requested
            checkpoint = self.step % recipe.checkpoint_every == 0
            # Before each checkpoint too: then it holds half a window only after Ctrl-C.
            at_log = self.step % recipe.log_every == 0
            if at_log or checkpoint or self.step in self.validation_steps:
                stop = self.write_log(rate) or stop
            for callback in self.callbacks:
                callback.on_step(self, self.entry)
            if stop:
                self.interrupt.immediate = True
                raise KeyboardInterrupt
            if checkpoint:
                self.checkpoint()

    def update(self, network: nn.Module, batches: Iterator[Batch]) -> None:
        """Accumulate the gradients of one step's micro-batches, and update the weights once."""
        several, last = self.context.size > 1, self.recipe.accumulate - 1
        ids, finite = [], torch.ones((), dtype=torch.bool, device=self.context.device)
        for micro in range(self.recipe.accumulate):
            start = time.perf_counter()
            batch = next(batches)
            self.meters.waited += time.perf_counter() - start
            ids += batch.ids
            # The processes exchange gradients once a step, in the last backward pass.
            with network.no_sync() if several and micro < last else nullcontext():  # type: ignore[operator]  # of DDP
                losses, counts = network(batch.images, batch.targets)
                total = torch.stack([*losses.values()]).sum()
                self.scaler.scale(total / self.recipe.accumulate).backward()
            finite = finite & total.isfinite()
            self.meters.add({"loss": total, **losses, **counts})
        self.scaler.unscale_(self.optimizer)
        norm = optim.clip_gradients(self.optimizer, self.recipe.clip_norm)
        self.guard.check(finite & norm.isfinite(), self.step, ids)
        self.scaler.step(self.optimizer)  # fp16: skips the step if a gradient is not finite
        self.scaler.update()
        self.optimizer.zero_grad()
        self.meters.add({"grad_norm": norm})

    def batches(self) -> Iterator[Batch]:
        """Yield micro-batches on the device from the current step on, epoch after epoch."""
        epoch, step = divmod(self.step, self.steps_per_epoch)
        end = self.steps_per_epoch * self.recipe.accumulate
        while True:
            first = step * self.recipe.accumulate
            for _, (images, targets, ids) in zip(range(first, end), self.data.epoch(epoch, first)):
                images = [image.to(self.context.device, non_blocking=True) for image in images]
                yield Batch(images, targets, ids)
            epoch, step = epoch + 1, 0

    def write_log(self, rate: float) -> bool:
        """Write one line about the steps since the last line.

        Returns:
            Whether any process was asked to stop. All processes get the same answer, so all stop
            together.
        """
        steps, seconds, waited = self.meters.steps, self.meters.seconds, self.meters.waited
        sums = self.meters.read(self.context.sum, stop=float(self.interrupt.requested))
        images = steps * self.recipe.batch_size
        micro_batches = steps * self.recipe.accumulate * self.context.size
        self.seconds += seconds
        losses = {name: sums[name] / micro_batches for name in LOSSES if name in sums}
        epoch = self.step / self.steps_per_epoch
        entry: dict[str, Any] = {"step": self.step, "epoch": epoch, **losses}
        if "no_cell" in sums:
            levels = {name: round(count) for name, count in sums.items() if name.startswith("P")}
            no_cell = round(sums["no_cell"])
            instances = no_cell + sum(levels.values())
            entry |= {"levels": levels, "no_cell": no_cell, "instances": instances}
        if "positives" in sums:
            positives = sums["positives"]
            entry |= {"positives": positives / images, "dead": sums["dead"] / max(positives, 1)}
        entry |= {
            "lr": rate,
            "grad_norm": sums["grad_norm"] / (steps * self.context.size),
            "seconds": self.seconds,
            "images_per_s": images / seconds,
            "waiting": waited / seconds,
        }
        self.entry = {name: _rounded(value) for name, value in entry.items()}
        self.log.write(**self.entry)
        shown = {name: f"{value:.3f}" for name, value in losses.items()}
        self.bar.set_postfix(shown | {"images/s": f"{images / seconds:.1f}"})
        return sums["stop"] > 0

    def snapshot(self) -> None:
        """Save the weights in half precision, if this step is one of `snapshots`."""
        if self.step not in self.snapshots:
            return
        self.guard.wait()
        if self.context.is_main:
            path = self.run_dir / "snapshots" / f"step_{self.step:09d}.safetensors"
            save(self.evaluated, path, half=True)

    def validate(self) -> None:
        """Evaluate the weights and save them if they are the best; checkpoint before and after."""
        self.checkpoint()  # an evaluation may fail, for example on a damaged image
        for buffer in self.evaluated.buffers():  # each process has its own batch statistics
            self.context.share(buffer)
        self.interrupt.immediate = True
        last = self.step == self.total_steps
        self.result = evaluate(self.evaluated, self.val_data, thorough=last)
        self.interrupt.immediate = False
        self.validated, metrics = self.step, self.result.metrics
        if self.context.is_main:
            epoch = round(self.step / self.steps_per_epoch, 4)
            rounded = {name: round(metrics[name], 5) for name in COCO_METRICS}
            self.log.write(step=self.step, epoch=epoch, validation=rounded)
            line = f"step {self.step}: AP {metrics['AP']:.3f}, AP50 {metrics['AP50']:.3f}"
            self.bar.write(line, file=sys.stdout)
            sys.stdout.flush()
        if metrics["AP"] > self.best:
            self.best = metrics["AP"]
            if self.context.is_main:
                save(self.evaluated, self.run_dir / "best.safetensors")
        self.checkpoint()
        for callback in self.callbacks:
            callback.on_validation(self, metrics)

    def checkpoint(self) -> None:
        """Save the state, so that the run can be resumed from this step."""
        self.guard.wait()
        if self.context.is_main:
            save_training(self.run_dir / "checkpoints", self.state(), self.recipe.keep)

    def state(self) -> dict[str, Any]:
        """Return all that is needed to resume, as tensors and plain containers.

        The learning rate and the position in the data follow from the step.
        """
        return {
            "model": self.detector.state_dict(),
            "average": self.evaluated.state_dict() if self.recipe.ema else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_states(),
            "config": self.record,
            "category_ids": self.detector.category_ids,
            "versions": versions(),
            **{name: getattr(self, name) for name in COUNTERS},
            "meters": vars(self.meters),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to where `state` was taken.

        Raises:
            FSAFError: "runs/x was started on a training set of 7 steps an epoch, this one has 6:
                put its images back, or take another --out."
            Exception: of any kind if the state is damaged; `train` makes a sentence of it.
        """
        if state["steps_per_epoch"] != self.steps_per_epoch:
            raise FSAFError(
                f"{self.run_dir} was started on a training set of {state['steps_per_epoch']} steps "
                f"an epoch, this one has {self.steps_per_epoch}: "
                "put its images back, or take another --out."
            )
        are_numbers = all(type(state[name]) in (int, float) for name in COUNTERS)
        if not are_numbers or not 0 <= state["step"] <= self.total_steps:
            raise ValueError("its counters are impossible")
        self.detector.load_state_dict(state["model"])
        if self.recipe.ema:
            self.evaluated.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        set_random_states(state["random"])
        vars(self).update({name: state[name] for name in COUNTERS})
        vars(self.meters).update(state["meters"])
        self.meters.sums = {
            name: value.to(self.context.device) for name, value in self.meters.sums.items()
        }


def _rounded(value: Any) -> Any:
    """Return a number for the log; None for one that is not finite, which json cannot hold."""
    if not isinstance(value, float):
        return value
    return round(value, 7) if math.isfinite(value) else None
