"""The training loop, to be read: `Trainer.fit`. The rest of a `Trainer` keeps safe what the loop has done.

Every number of a run follows from its configuration: the order of the images and their augmentation from (seed, epoch, rank), the
learning rate from the step. So a run that was stopped, at any moment, ends on the CPU with the very weights of one that was not.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from ..config import Config, FSAFError, TrainConfig
from ..data.loader import Batch, Loader
from ..evaluation.coco_metrics import COCO_METRICS
from ..evaluation.evaluator import EvaluationResult, evaluate
from ..model.detector import Detector
from ..utils.distributed import DistributedContext
from ..weights.checkpoint import save, versions
from .callbacks import Interrupt, Meters, NonFiniteGuard
from .optim import build_optimizer, clip_gradients, learning_rate, set_rate, snapshot_steps
from .run_dir import Log
from .training_state import random_states, save_training, set_random_states

PLAIN = (
    "step",
    "total_steps",
    "steps_per_epoch",
    "seconds",
    "validated",
    "best",
)  # of a run, as they are
AMP = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TrainingStep(nn.Module):
    """Images and targets to losses, and to what the log says of them: one module with one forward, for DDP to stand around."""

    def __init__(self, detector: Detector, recipe: TrainConfig) -> None:
        super().__init__()
        self.detector, self.dtype = detector, AMP[recipe.amp]
        self.format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.network = (
            torch.compile(detector.head_outputs) if recipe.compile else detector.head_outputs
        )

    def forward(
        self, images: list[Tensor], targets: list[dict]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses by name, their sum is the total; counts by name. All scalars, none read."""
        batch = self.detector.preprocess(images)
        tensor = batch.tensor.contiguous(memory_format=self.format)
        with torch.autocast(tensor.device.type, self.dtype, enabled=self.dtype != torch.float32):
            outputs = self.network(tensor)
        assignment = self.detector.assign(outputs, targets, batch.sizes)
        losses = self.detector.losses(outputs, assignment, targets)
        if assignment is None:
            return losses, {}
        with torch.no_grad():
            first, levels = self.detector.config.first_level, len(outputs.box_offsets)
            chosen = (
                assignment.selected_level[:, None] == torch.arange(-1, levels, device=tensor.device)
            ).sum(0)
            counts = dict(
                zip(["no_cell", *(f"P{first + index}" for index in range(levels))], chosen)
            )
            offsets = torch.cat([level.flatten(2) for level in outputs.box_offsets], 2)
            # A ReLU output at 0 has no gradient: with most of them there, boxes no longer learn, and the class loss still falls.
            dead = ((offsets <= 0) & assignment.positive[:, None]).sum() / 4
        return losses, counts | {"positives": assignment.num_positive, "dead": dead}


class Trainer:
    """A training under way: everything that a checkpoint holds, and the loop that moves it.

    Raises:
        FSAFError: "3 micro-batches make no step of 4: set --train.accumulate lower."
    """

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        detector: Detector,
        data: Loader,
        val_data: Loader,
        context: DistributedContext,
    ) -> None:
        self.config, self.recipe, self.run_dir, self.context = (
            config,
            config.train,
            run_dir,
            context,
        )
        self.detector, self.data, self.val_data = detector, data, val_data
        self.steps_per_epoch = len(data) // self.recipe.accumulate
        if not self.steps_per_epoch:
            raise FSAFError(
                f"{len(data)} micro-batches make no step of {self.recipe.accumulate}: set --train.accumulate lower."
            )
        epochs = round(1.5 * self.recipe.epochs) if self.recipe.ms else self.recipe.epochs
        self.total_steps = self.recipe.steps or epochs * self.steps_per_epoch
        self.snapshots = snapshot_steps(self.recipe.snapshots, self.total_steps)
        self.optimizer = build_optimizer(self.recipe, detector)
        self.scaler = torch.amp.GradScaler(context.device.type, enabled=self.recipe.amp == "fp16")
        self.meters, self.watch, self.interrupt = (
            Meters(),
            NonFiniteGuard(),
            Interrupt(alone=context.size == 1),
        )
        self.step, self.seconds, self.validated, self.best = 0, 0.0, 0, -1.0
        self.record: EvaluationResult | None = None  # of the last validation

    def state(self) -> dict[str, Any]:
        """Tensors and plain containers, all that is needed to go on; learning rate and place in the order follow from step."""
        return {
            "model": self.detector.state_dict(), "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "random": random_states(), "config": asdict(self.config), "versions": versions(),
            **{name: getattr(self, name) for name in PLAIN}, "meters": vars(self.meters),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Goes to where `state` was taken.

        Raises:
            FSAFError: "runs/x was started on a training set of 7 steps an epoch, this one has 6: ..."
            ValueError, KeyError, TypeError, RuntimeError: the state is of another run or damaged; `train` makes a sentence of it.
        """
        if state["steps_per_epoch"] != self.steps_per_epoch:
            raise FSAFError(
                f"{self.run_dir} was started on a training set of {state['steps_per_epoch']} steps an epoch, this one has "
                f"{self.steps_per_epoch}: put its images back, or take another --out."
            )
        if (
            any(type(state[name]) not in (int, float) for name in PLAIN)
            or not 0 <= state["step"] <= self.total_steps
        ):
            raise ValueError("its counts cannot be")
        self.detector.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        set_random_states(state["random"])
        vars(self).update({name: state[name] for name in PLAIN})
        vars(self.meters).update(state["meters"])
        self.meters.sums = {
            name: value.to(self.context.device) for name, value in self.meters.sums.items()
        }

    def batches(self) -> Iterator[Batch]:
        """Micro-batches on the device from the run's position on, epoch after epoch."""
        epoch, step = divmod(self.step, self.steps_per_epoch)
        while True:
            first, end = (
                step * self.recipe.accumulate,
                self.steps_per_epoch * self.recipe.accumulate,
            )
            for _, (images, targets, ids) in zip(range(first, end), self.data.epoch(epoch, first)):
                yield Batch(
                    [image.to(self.context.device, non_blocking=True) for image in images],
                    targets,
                    ids,
                )
            epoch, step = epoch + 1, 0

    def fit(self, log: Log | None, bar: tqdm) -> None:
        """The loop: from the run's position to its last step."""
        recipe, context, optimizer = self.recipe, self.context, self.optimizer
        network: Any = TrainingStep(self.detector.train(), recipe)
        if context.size > 1:
            network = DistributedDataParallel(
                network, device_ids=[context.device] if context.device.type == "cuda" else None
            )
        batches = self.batches()
        validations = {
            *range(0, self.total_steps, recipe.validate_every or self.steps_per_epoch),
            self.total_steps,
        }
        self.snapshot()

        while True:
            if self.step in validations and self.step > self.validated:
                self.validate(log, bar)
            if self.step == self.total_steps:
                return

            began = time.perf_counter()
            rate = learning_rate(recipe, self.step, self.total_steps)
            set_rate(optimizer, rate)
            ids, finite = [], torch.ones((), dtype=torch.bool, device=context.device)
            for micro in range(recipe.accumulate):
                asked = time.perf_counter()
                batch = next(batches)
                self.meters.waited += time.perf_counter() - asked
                ids += batch.ids
                # Only the last micro-batch's backward passes the sums of gradients around.
                apart = context.size > 1 and micro < recipe.accumulate - 1
                with network.no_sync() if apart else nullcontext():
                    losses, counts = network(batch.images, batch.targets)
                    total = torch.stack([*losses.values()]).sum()
                    self.scaler.scale(total / recipe.accumulate).backward()
                finite = finite & total.isfinite()
                self.meters.add({"loss": total, **losses, **counts})
            self.scaler.unscale_(optimizer)
            norm = clip_gradients(optimizer, recipe.clip_norm)
            # With a scaler an infinite gradient is its business: it leaves the step out and scales less.
            self.watch.look(
                finite if self.scaler.is_enabled() else finite & norm.isfinite(), self.step, ids
            )
            self.scaler.step(optimizer)
            self.scaler.update()
            optimizer.zero_grad()
            self.meters.add({"grad_norm": norm})

            self.step += 1
            self.meters.steps += 1
            self.meters.seconds += time.perf_counter() - began
            bar.update()
            self.snapshot()
            stop, safe = (
                context.size == 1 and self.interrupt.asked,
                self.step % recipe.checkpoint_every == 0,
            )
            # Before each checkpoint too, so that it holds no half window but after Ctrl-C.
            if self.step % recipe.log_every == 0 or safe or self.step in validations:
                stop = self.write_log(log, bar, rate) or stop
            if stop:
                self.interrupt.at_once = True
                raise KeyboardInterrupt
            if safe:
                self.checkpoint()

    def write_log(self, log: Log | None, bar: tqdm, rate: float) -> bool:
        """One line on the steps since the last one; returns whether any process was asked to stop, so that all stop together."""
        steps, seconds, waited = self.meters.steps, self.meters.seconds, self.meters.waited
        sums = self.meters.read(self.context.sum, stop=float(self.interrupt.asked))
        stop, norm = sums.pop("stop"), sums.pop("grad_norm")
        self.seconds += seconds
        micros = steps * self.recipe.accumulate * self.context.size
        losses: list[str] = [
            name for name in ("loss", "af_cls", "af_box", "ab_cls", "ab_box") if name in sums
        ]
        parts = {name: sums.pop(name) / micros for name in losses}
        entry: dict[str, Any] = {"step": self.step, "epoch": self.step / self.steps_per_epoch}
        entry |= parts
        if "positives" in sums:
            levels = {name: round(count) for name, count in sums.items() if name.startswith("P")}
            no_cell, positives = round(sums["no_cell"]), sums["positives"]
            entry |= {
                "levels": levels,
                "no_cell": no_cell,
                "instances": no_cell + sum(levels.values()),
            }
            entry |= {
                "positives": positives / (steps * self.recipe.batch_size),
                "dead": sums["dead"] / max(positives, 1),
            }
        speed = steps * self.recipe.batch_size / seconds
        entry |= {"lr": rate, "grad_norm": norm / (steps * self.context.size)}
        entry |= {"seconds": self.seconds, "images_per_s": speed, "waiting": waited / seconds}
        if log is not None:
            log.write(
                **{
                    name: round(value, 7) if isinstance(value, float) else value
                    for name, value in entry.items()
                }
            )
        bar.set_postfix(
            {name: f"{value:.3f}" for name, value in parts.items()} | {"images/s": f"{speed:.1f}"}
        )
        return stop > 0

    def snapshot(self) -> None:
        """Weights in half precision, if this step is one of those to keep."""
        if self.context.is_main and self.step in self.snapshots:
            save(
                self.detector,
                self.run_dir / "snapshots" / f"step_{self.step:09d}.safetensors",
                half=True,
            )

    def validate(self, log: Log | None, bar: tqdm) -> None:
        """Judges the weights, keeps the best, and writes a checkpoint that knows it."""
        self.watch.settle()
        self.interrupt.at_once = True
        self.record = evaluate(self.detector, self.val_data, thorough=self.step == self.total_steps)
        self.interrupt.at_once = False
        self.validated, metrics = self.step, self.record.metrics
        if log is not None:
            figures = {name: round(metrics[name], 5) for name in COCO_METRICS}
            log.write(
                step=self.step, epoch=round(self.step / self.steps_per_epoch, 4), validation=figures
            )
            bar.write(
                f"step {self.step}: AP {metrics['AP']:.3f}, AP50 {metrics['AP50']:.3f}",
                file=sys.stdout,
            )
            sys.stdout.flush()
        if metrics["AP"] > self.best:
            self.best = metrics["AP"]
            if self.context.is_main:
                save(self.detector, self.run_dir / "best.safetensors")
        self.checkpoint()

    def checkpoint(self) -> None:
        """Makes the run safe up to here."""
        self.watch.settle()
        if self.context.is_main:
            save_training(self.run_dir / "checkpoints", self.state(), self.recipe.keep)
