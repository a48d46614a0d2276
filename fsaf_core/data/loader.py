"""Batches in an order that is a pure function of (seed, epoch, rank): resuming in the middle of an epoch needs no replay."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ..config import Config, DataConfig, FSAFError
from .coco import CocoDataset, Sample
from .synthetic.dataset import make_scenes
from .transforms import eval_transform, train_transform

MAX_FAULTY = 0.01  # share of a set's images that may be unreadable
TRIES = 10  # images in a row, in place of one that cannot be read


class Batch(NamedTuple):
    """Images as uint8 (3, H, W), each of its own size; for each its targets; and the json's image ids.

    Targets are dicts of `boxes`, `labels`, `ignored` (pixels of that image) and `size`, (height, width) of the file's image.
    """

    images: list[Tensor]
    targets: list[dict]
    ids: list[int]


def open_dataset(data: DataConfig, split: Literal["train", "val"]) -> CocoDataset:
    """The set that the configuration names; scenes are made if they are not there.

    Args:
        data: where images and boxes come from.
        split: "train", without what training cannot use, or "val".

    Raises:
        FSAFError: "data/coco/annotations/instances_train2017.json: not there: get COCO with `fsaf data coco`, ...";
            "x.json: no box to measure with (...): give a json with annotations."
    """
    if data.source == "scenes":
        folder = make_scenes(data.scenes, data.root)
        json_path, images = folder / f"annotations_{split}.json", folder / split
    elif data.source == "coco":
        folder = Path(data.root) / "coco"
        json_path, images = (
            folder / "annotations" / f"instances_{split}2017.json",
            folder / f"{split}2017",
        )
        if not json_path.exists():
            raise FSAFError(
                f"{json_path}: not there: get COCO with `fsaf data coco`, or set --data.source files."
            )
    else:
        json_path, images = (getattr(data, f"{split}_{what}") for what in ("json", "images"))
        if not json_path or not images:
            raise FSAFError(
                f"--data.source files: give --data.{split}_json and --data.{split}_images too."
            )
    dataset = CocoDataset(json_path, images, train=split == "train")
    if not len(dataset.index.boxes):
        raise FSAFError(
            f"{json_path}: no box to measure with ({dataset.index.summary()}): give a json with annotations."
        )
    return dataset


def train_order(
    wide: np.ndarray, batch_size: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[list[int]]:
    """One rank's batches of an epoch: images shuffled, wide and high ones apart, and as many batches for every rank.

    What does not fill a batch of its group goes into mixed batches at the end; what does not fill one of these is left out.

    Args:
        wide: (I,) bool, whether an image is at least as wide as high.
        batch_size: images a batch of this rank.
        seed, epoch: name the order.
        rank, world: batches are dealt in turn, so that one process with `world` times the batch sees the same images in a step.
    """
    shuffled = np.random.default_rng([seed, epoch]).permutation(len(wide))
    waiting: dict[bool, list[int]] = {True: [], False: []}
    batches = []
    for i in shuffled.tolist():
        group = waiting[bool(wide[i])]
        group.append(i)
        if len(group) == batch_size:
            batches.append(group.copy())
            group.clear()
    rest = waiting[True] + waiting[False]
    batches += [
        rest[at : at + batch_size] for at in range(0, len(rest) - batch_size + 1, batch_size)
    ]
    return batches[: len(batches) // world * world][rank::world]


def eval_order(wide: np.ndarray, batch_size: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """One rank's batches of an evaluation: every image once over all ranks, wide ones first."""
    order = np.argsort(~wide, kind="stable").tolist()
    return [order[at : at + batch_size] for at in range(0, len(order), batch_size)][rank::world]


class _Prepared(Dataset):
    """The dataset with its transform, asked for (epoch, i); a faulty image says so instead of raising."""

    def __init__(self, dataset: CocoDataset, config: Config, training: bool) -> None:
        self.dataset, self.config, self.training = dataset, config, training

    def __getitem__(self, key: tuple[int, int]) -> tuple[Sample | None, dict[int, str]]:
        epoch, first = key
        faults: dict[int, str] = {}
        for step in range(TRIES if self.training else 1):
            i = (first + step) % len(self.dataset)
            try:
                sample = self.dataset[i]
            except FSAFError as fault:
                faults[i] = str(fault)
                continue
            if not self.training:
                return eval_transform(sample, self.config.model), faults
            rng = np.random.default_rng([self.config.train.seed, epoch, first])
            return train_transform(sample, self.config.model, self.config.train, rng), faults
        return None, faults


class _Packed(NamedTuple):
    """A batch on its way from the process that loaded it. One tensor: to receive one takes longer than all the rest."""

    pixels: Tensor  # uint8, image after image
    shapes: list[tuple[int, int]]
    targets: list[dict[str, Any]]  # of `Batch`, arrays for tensors
    ids: list[int]
    faults: dict[int, str]


def _pack(loaded: list[tuple[Sample | None, dict[int, str]]]) -> _Packed:
    samples = [sample for sample, _ in loaded if sample is not None]
    arrays = [
        {name: sample[name].numpy() for name in ("boxes", "labels", "ignored")}
        for sample in samples
    ]
    return _Packed(
        torch.cat(
            [torch.zeros(0, dtype=torch.uint8), *(sample["image"].flatten() for sample in samples)]
        ),
        [(sample["image"].shape[1], sample["image"].shape[2]) for sample in samples],
        [target | {"size": sample["size"]} for target, sample in zip(arrays, samples)],
        [sample["image_id"] for sample in samples],
        {i: fault for _, faults in loaded for i, fault in faults.items()},
    )


class Loader:
    """Batches of a dataset as the configuration says, loaded ahead by `data.workers` processes that live until `close`.

    An image that cannot be read is named and counted; in training the next of the set takes its place.

    Args:
        dataset: images and boxes.
        config: `model` for the size, `train` or `evaluate` for the batch, `data.workers`.
        training: shuffle and augment; else every image once, as it is.
        rank, world: this process among those that share the work.

    Raises:
        FSAFError: "a batch of 16 cannot be shared by ..."; "12 images are less than one batch of 16: ..."; while iterating,
            "3 of 200 images cannot be read, more than 1 %: ...", "a loading process died ...".
    """

    def __init__(
        self, dataset: CocoDataset, config: Config, training: bool, rank: int = 0, world: int = 1
    ) -> None:
        self.dataset, self.config, self.training, self.rank, self.world = (
            dataset,
            config,
            training,
            rank,
            world,
        )
        self.batch_size = config.evaluate.batch_size
        if training:
            parts = world * config.train.accumulate
            self.batch_size = config.train.batch_size // parts
            if self.batch_size * parts != config.train.batch_size:
                shared = f"{world} processes x {config.train.accumulate} micro-batches"
                raise FSAFError(
                    f"a batch of {config.train.batch_size} cannot be shared by {shared}: change --train.batch_size."
                )
            if not len(self):
                short = f"{len(dataset)} images are less than a batch of {self.batch_size} for each of {world} processes"
                raise FSAFError(f"{short}: set a smaller --train.batch_size.")
        self.faulty: dict[int, str] = {}  # image index: what is wrong with it
        self._todo: list[
            list[tuple[int, int]]
        ] = []  # batches of (epoch, image); what the DataLoader asks at the start of a pass
        workers = config.data.workers
        self._loader = DataLoader(
            _Prepared(dataset, config, training),
            batch_sampler=self._todo,
            num_workers=workers,
            collate_fn=_pack,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            prefetch_factor=4 if workers else None,
            generator=torch.Generator(),  # its own: the global one would move on with every epoch begun
        )

    def __len__(self) -> int:
        """Batches an epoch of this rank."""
        return len(self._order(0))

    def close(self) -> None:
        """Ends the loading processes now: left to itself, one lives as long as somebody keeps a traceback that leads here."""
        if self._loader._iterator is not None:
            self._loader._iterator._shutdown_workers()  # type: ignore[attr-defined]  # PyTorch has no public way
            self._loader._iterator = None

    def _order(self, epoch: int) -> list[list[int]]:
        if self.training:
            return train_order(
                self.dataset.wide,
                self.batch_size,
                self.config.train.seed,
                epoch,
                self.rank,
                self.world,
            )
        return eval_order(self.dataset.wide, self.batch_size, self.rank, self.world)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from number `start` on.

        Raises:
            FSAFError: "a loading process died ..."
        """
        self._todo[:] = [[(epoch, i) for i in batch] for batch in self._order(epoch)[start:]]
        try:
            for loaded in self._loader:
                batch = self._batch(loaded)
                if batch.images:
                    yield batch
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            died = f"a loading process died ({str(error)[:80]})"
            raise FSAFError(
                f"{died}: it may have run out of memory; try fewer --data.workers."
            ) from error

    def _batch(self, packed: _Packed) -> Batch:
        for i in packed.faults.keys() - self.faulty.keys():
            self.faulty[i] = packed.faults[i]
            tqdm.write(f"skipped: {packed.faults[i]}", file=sys.stderr)
        if len(self.faulty) > MAX_FAULTY * len(self.dataset):
            share = (
                f"{len(self.faulty)} of {len(self.dataset)} images cannot be read, more than 1 %"
            )
            raise FSAFError(
                f"{share}: mend or remove them. The last: {list(self.faulty.values())[-1]}"
            )
        parts = packed.pixels.split([3 * height * width for height, width in packed.shapes])
        images = [
            part.view(3, height, width) for part, (height, width) in zip(parts, packed.shapes)
        ]
        targets = [
            {
                name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
                for name, value in target.items()
            }
            for target in packed.targets
        ]
        return Batch(images, targets, packed.ids)
