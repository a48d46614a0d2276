"""Batches in an order that is a pure function of (seed, epoch, rank).

Resuming in the middle of an epoch therefore needs no replay.
"""

import math
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from ..config import Config, DataConfig, FSAFError
from ..utils.files import excerpt
from .coco import MAX_FAULTY, CocoDataset, Sample
from .synthetic.dataset import make_scenes
from .transforms import eval_transform, padded_size, resized_size, train_transform

PREFETCH = 4  # batches that each loading process prepares ahead
SHARED = "/dev/shm"  # holds them until they are received
PATIENCE = 60  # seconds without a batch after which a warning is printed, each time
END_AFTER = 600  # seconds without a batch after which the run ends
TRIES = 10  # images tried in a row to replace one that cannot be read
TARGETS = ("boxes", "labels", "ignored")  # of a sample: tensors, which are sent as arrays


class Batch(NamedTuple):
    """A batch of images, their targets, and their ids in the json.

    The images are uint8 (3, H, W), each of its own size. The targets are dicts of `boxes`,
    `labels`, `ignored` (all in pixels of that image) and `size`, the (height, width) of the image
    in the file.
    """

    images: list[Tensor]
    targets: list[dict]
    ids: list[int]


def open_dataset(data: DataConfig, split: Literal["train", "val"]) -> CocoDataset:
    """Return the dataset that the configuration names; generate scenes that are not there yet.

    Args:
        data: where images and boxes come from.
        split: "train", without the images that training cannot use, or "val".

    Raises:
        FSAFError: as `CocoDataset`; "data/coco/annotations/instances_train2017.json does not exist:
            get COCO with `fsaf data coco`, ..."; "x.json has no usable box (...): give ...";
            "--data.source files needs both paths: give --data.val_json and --data.val_images."
    """
    if data.source == "scenes":
        folder = make_scenes(data.scenes, data.root)
        json_path, images = folder / f"annotations_{split}.json", folder / split
    elif data.source == "coco":
        folder = Path(data.root) / "coco"
        json_path = folder / "annotations" / f"instances_{split}2017.json"
        images = folder / f"{split}2017"
        if not json_path.exists():
            raise FSAFError(
                f"{json_path} does not exist: get COCO with `fsaf data coco`, "
                "or set --data.source files."
            )
    else:
        json_path, images = (getattr(data, f"{split}_{what}") for what in ("json", "images"))
        if not json_path or not images:
            raise FSAFError(
                "--data.source files needs both paths: "
                f"give --data.{split}_json and --data.{split}_images."
            )
    dataset = CocoDataset(json_path, images, train=split == "train")
    if not dataset.instances:
        raise FSAFError(
            f"{json_path} has no usable box ({dataset.index.summary()}): "
            "give a json whose images have boxes other than crowds."
        )
    return dataset


def train_order(
    wide: np.ndarray, batch_size: int, seed: int, epoch: int, rank: int = 0, world_size: int = 1
) -> list[list[int]]:
    """Return one rank's batches of an epoch, as lists of image numbers.

    Images are shuffled, and wide and tall ones are batched separately. Images that do not fill a
    batch of their group form mixed batches at the end. Every rank gets the same number of batches;
    images that do not fill one are left out.

    Args:
        wide: (I,) bool, whether an image is at least as wide as high.
        batch_size: images in a batch of this rank.
        seed: of the training.
        epoch: number of the epoch.
        rank: number of this process.
        world_size: number of processes. Batches are dealt in turn, so one process with
            `world_size` times the batch size sees the same images in a step.
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
    ends = range(batch_size, len(rest) + 1, batch_size)
    batches += [rest[end - batch_size : end] for end in ends]
    return batches[: len(batches) // world_size * world_size][rank::world_size]


def eval_order(
    sizes: list[tuple[int, int]], batch_size: int, rank: int = 0, world_size: int = 1
) -> list[list[int]]:
    """Return one rank's batches of an evaluation, as lists of image numbers.

    Over all ranks every image comes once. The images of a batch have one size, so none gets more
    padding than alone, which would change the statistics of group normalization.

    Args:
        sizes: height and width of each image as the network gets it alone.
        batch_size: images in a batch of this rank.
        rank: number of this process.
        world_size: number of processes.
    """
    order = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)
    batches = []
    for _, group in groupby(order, key=sizes.__getitem__):
        alike = list(group)
        batches += [alike[at : at + batch_size] for at in range(0, len(alike), batch_size)]
    return batches[rank::world_size]


def _network_sizes(dataset: CocoDataset, config: Config) -> list[tuple[int, int]]:
    """Return height and width of each image after resize and padding."""
    index, model = dataset.index, config.model
    sizes = zip(index.heights[dataset.kept].tolist(), index.widths[dataset.kept].tolist())
    limits, step = (model.short_side, model.long_side), model.size_divisor
    resized = [resized_size(*size, *limits) for size in sizes]
    return [padded_size(*size, step) for size in resized]


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _check_shared_memory(need: int) -> None:
    """Raise if so many bytes do not fit into shared memory: PyTorch would wait forever."""
    with suppress(OSError):  # only Linux has the folder
        free = shutil.disk_usage(SHARED).free
        if need > free:
            raise FSAFError(
                f"The loading processes need {need / 1e6:,.0f} MB of shared memory, and {SHARED} "
                f"has {free / 1e6:,.0f} MB free: set --data.workers 0 (or docker's --shm-size)."
            )


class _Prepared(Dataset):
    """The dataset with its transform, indexed by (epoch, i).

    It returns the sample and {image number: message} of the images that could not be read.
    """

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
    """A batch as a worker process sends it.

    All images share one tensor, and the rest are arrays, because receiving a tensor takes longer
    than the rest of the work.
    """

    pixels: UInt8[Tensor, " N"]  # image after image
    samples: list[dict[str, Any]]  # as `Sample`, with arrays, and with the image's shape
    faults: dict[int, str]


def _pack(loaded: list[tuple[Sample | None, dict[int, str]]]) -> _Packed:
    samples: list[dict[str, Any]] = []
    pixels = [torch.zeros(0, dtype=torch.uint8)]
    faults: dict[int, str] = {}
    for sample, faults_of_sample in loaded:
        faults |= faults_of_sample
        if sample is not None:
            fields: dict[str, Any] = {**sample, "image": sample["image"].shape}
            pixels.append(sample["image"].flatten())
            samples.append(fields | {name: fields[name].numpy() for name in TARGETS})
    return _Packed(torch.cat(pixels), samples, faults)


def _use_one_thread(_worker: int) -> None:
    """Keep OpenCV of a worker process to one thread, as torch is.

    OpenCV's threads do not survive a fork, and several workers would compete for the cores.
    """
    cv2.setNumThreads(0)


class Loader:
    """Batches of a dataset, loaded ahead by processes, at most one a core, that live until `close`.

    An image that cannot be read is reported and counted. In training the next image of the set
    takes its place; in an evaluation it is left out.

    Args:
        dataset: images and boxes.
        config: `model` for the size, `train` or `evaluate` for the batch, `data.workers`.
        training: shuffle and augment; otherwise give every image once, only resized.
        rank: number of this process among those that share the work.
        world_size: number of these processes.

    Raises:
        FSAFError: "A batch of 16 cannot be divided among 3 processes x 1 micro-batches: ..."; "12
            images are less than a batch of 16 ...: ..."; "The loading processes need 820 MB of
            shared memory, and /dev/shm has 64 MB free: ..."; while iterating, as `epoch`.
    """

    def __init__(
        self,
        dataset: CocoDataset,
        config: Config,
        training: bool,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset, self.config, self.training = dataset, config, training
        self.rank, self.world_size = rank, world_size
        self._sizes = _network_sizes(dataset, config)
        self.batch_size = config.evaluate.batch_size
        if training:
            parts = world_size * config.train.accumulate
            self.batch_size = config.train.batch_size // parts
            if self.batch_size * parts != config.train.batch_size:
                raise FSAFError(
                    f"A batch of {config.train.batch_size} cannot be divided among {world_size} "
                    f"processes x {config.train.accumulate} micro-batches: "
                    "change --train.batch_size."
                )
            if not len(self):
                raise FSAFError(
                    f"{len(dataset)} images are less than a batch of {self.batch_size} for each "
                    f"of {world_size} processes: set a smaller --train.batch_size."
                )
        self.faulty: dict[int, str] = {}  # image number: what is wrong with it
        # Batches of (epoch, image). The DataLoader reads the list at the start of each pass.
        self._batches: list[list[tuple[int, int]]] = []
        workers = min(config.data.workers, _cores())
        if workers:
            batch = 3 * sum(h * w for h, w in self._sizes) / len(self._sizes) * self.batch_size
            _check_shared_memory(int(batch * workers * PREFETCH))
        self._loader = DataLoader(
            _Prepared(dataset, config, training),
            batch_sampler=self._batches,
            num_workers=workers,
            collate_fn=_pack,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH if workers else None,
            timeout=PATIENCE if workers else 0,
            worker_init_fn=_use_one_thread,
            # A generator of its own, because every pass would advance the global one.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        """Return the number of this rank's batches in an epoch."""
        return len(self._order(0))

    def close(self) -> None:
        """End the loading processes now.

        Otherwise they live as long as any traceback refers to this loader.
        """
        if self._loader._iterator is not None:  # PyTorch has no public way
            self._loader._iterator._shutdown_workers()  # type: ignore[attr-defined]
            self._loader._iterator = None

    def _order(self, epoch: int) -> list[list[int]]:
        share = self.rank, self.world_size
        if not self.training:
            return eval_order(self._sizes, self.batch_size, *share)
        wide, seed = self.dataset.wide, self.config.train.seed
        return train_order(wide, self.batch_size, seed, epoch, *share)

    def epoch(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on.

        Raises:
            FSAFError: "A loading process died (...): ..."; "No batch was loaded for 600 seconds;
                ..."; "3 of 200 images cannot be read, more than 1 %: ..."
        """
        self._batches[:] = [[(epoch, i) for i in batch] for batch in self._order(epoch)[start:]]
        iterator = iter(self._loader)
        while (loaded := self._next(iterator)) is not None:
            batch = self._batch(loaded)
            if batch.images:
                yield batch

    def _next(self, iterator: Iterator[_Packed]) -> _Packed | None:
        """Return what the loading processes send next, or None at the end."""
        waited = 0
        while True:
            try:
                return next(iterator, None)
            except RuntimeError as error:
                if "DataLoader" not in str(error):
                    raise
                if "timed out" not in str(error):
                    raise FSAFError(
                        f"A loading process died ({excerpt(error)}): try fewer --data.workers, as "
                        "the memory may be full; where processes are spawned, a script must call "
                        'below `if __name__ == "__main__":`.'
                    ) from error
            waited += PATIENCE
            fault = FSAFError(
                f"No batch was loaded for {waited} seconds; {SHARED} may be full, or a disk does "
                "not answer: try --data.workers 0."
            )
            if waited >= END_AFTER:
                raise fault
            tqdm.write(str(fault), file=sys.stderr)

    def _batch(self, packed: _Packed) -> Batch:
        for i in packed.faults.keys() - self.faulty.keys():
            self.faulty[i] = packed.faults[i]
            tqdm.write(f"skipped: {packed.faults[i]}", file=sys.stderr)
        if len(self.faulty) > MAX_FAULTY * len(self.dataset):
            raise FSAFError(
                f"{len(self.faulty)} of {len(self.dataset)} images cannot be read, more than 1 %: "
                f"repair or remove them. The last: {list(self.faulty.values())[-1]}"
            )
        shapes = [sample["image"] for sample in packed.samples]
        parts = packed.pixels.split([math.prod(shape) for shape in shapes])
        targets = [
            {name: torch.from_numpy(sample[name]) for name in TARGETS} | {"size": sample["size"]}
            for sample in packed.samples
        ]
        return Batch(
            images=[part.view(shape) for part, shape in zip(parts, shapes)],
            targets=targets,
            ids=[sample["image_id"] for sample in packed.samples],
        )
