"""`fsaf bench`: tables of ratios, each figure with its peer in the same run, interleaved; CPU time of one thread."""

import resource
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
import torchvision
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from .. import presets
from ..config import COCO_CLASSES, DataConfig, FSAFError, ModelConfig, SceneConfig
from ..data.coco import CocoDataset
from ..data.loader import Loader, open_dataset
from ..model.detector import Detector, build_detector
from ..model.network import fold_norms
from ..model.structures import HeadOutputs
from ..weights.onnx import export
from .op_counter import OpCounter

SHAPES = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))  # P3..P7 of 800 x 1344


@dataclass(frozen=True)
class Line:
    """One figure: what was measured, against what, and the ratio with its 95 % interval (bootstrap over pairs)."""

    what: str
    peer: str
    seconds: float
    peer_seconds: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return (
            f"{self.what:52} {1e3 * self.seconds:9.1f} ms  {self.peer:34} {1e3 * self.peer_seconds:9.1f} ms  "
            f"{self.ratio:5.2f} [{self.low:.2f}, {self.high:.2f}]"
        )


def compare(
    what: str, run: Callable[[], Any], peer: str, other: Callable[[], Any], pairs: int
) -> Line:
    """Interleaved pairs of runs in CPU time of this process."""
    times = np.zeros((pairs, 2))
    for row in range(-1, pairs):  # the first pair warms up
        for column, function in enumerate((run, other) if row % 2 else (other, run)):
            start = time.process_time()
            function()
            if row >= 0:
                times[row, column if row % 2 else 1 - column] = time.process_time() - start
    ratios = times[:, 0] / times[:, 1]
    draws = np.random.default_rng(0).integers(0, pairs, (2000, pairs))
    low, high = np.quantile(np.median(ratios[draws], axis=1), (0.025, 0.975))
    mine, theirs = np.median(times, axis=0)
    return Line(
        what, peer, float(mine), float(theirs), float(np.median(ratios)), float(low), float(high)
    )


def random_target(
    boxes: int,
    size: tuple[float, float],
    least: float,
    spread: float,
    classes: int,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Boxes in an image of `size` (width, height), their sides log-uniform from `least` pixels to e^spread times that."""
    side, limit = (
        least * torch.exp(torch.rand(boxes, 2, generator=generator) * spread),
        torch.tensor(size),
    )
    low = torch.rand(boxes, 2, generator=generator) * (limit - side).clamp(min=1)
    corners = torch.cat([low, torch.minimum(low + side, limit)], 1)
    return {"boxes": corners, "labels": torch.randint(0, classes, (boxes,), generator=generator)}


def head_case(
    boxes: int, convention: Literal["paper", "reference"]
) -> tuple[Detector, HeadOutputs, list[dict[str, Tensor]]]:
    """A detector's outputs and targets at 800 x 1344, batch 2, 80 classes, without a network."""
    generator = torch.Generator().manual_seed(0)
    logits = [
        (torch.randn(2, 80, *shape, generator=generator) - 4).requires_grad_() for shape in SHAPES
    ]
    offsets = [torch.rand(2, 4, *shape, generator=generator).requires_grad_() for shape in SHAPES]
    targets = [random_target(boxes, (1344.0, 800.0), 12.0, 3.5, 80, generator) for _ in range(2)]
    small = ModelConfig(convention=convention, backbone="tiny", channels=8, tower_depth=1)
    return build_detector(small).train(), HeadOutputs(logits, offsets), targets


def losses_step(detector: Detector, outputs: HeadOutputs, targets: list[dict[str, Tensor]]) -> None:
    """Assignment and losses, forward and backward to the head's outputs."""
    fresh = HeadOutputs(outputs.cls_logits, outputs.box_offsets)
    losses = detector.losses(fresh, detector.assign(fresh, targets), targets)
    torch.stack([*losses.values()]).sum().backward()
    for tensor in (*outputs.cls_logits, *outputs.box_offsets):
        tensor.grad = None


def focal_alone(outputs: HeadOutputs) -> Callable[[], None]:
    """torchvision's focal loss on the same logits, forward and backward: the peer of our whole head loss."""
    logits = torch.cat(
        [level.detach().flatten(2) for level in outputs.cls_logits], 2
    ).requires_grad_()
    target = torch.zeros_like(logits)

    def run() -> None:
        torchvision.ops.sigmoid_focal_loss(logits, target, reduction="sum").backward()
        logits.grad = None

    return run


def losses_table(pairs: int) -> list[str]:
    """(a) time, (d) operations and (e) memory of assignment and losses at 800 x 1344."""
    lines = ["(a) head losses, forward + backward, 2 x 800 x 1344, 80 classes"]
    counts = ["(d) operations of assignment and losses, views aside, and host syncs"]
    peaks = [
        "(e) peak temporary memory, in sizes of the logits: forward; forward and backward, beyond the gradients"
    ]
    conventions: tuple[Literal["paper", "reference"], ...] = ("reference", "paper")
    for convention in conventions:
        times = {}
        for boxes in (8, 50, 300):
            detector, outputs, targets = head_case(boxes, convention)
            step, focal = partial(losses_step, detector, outputs, targets), focal_alone(outputs)
            line = compare(
                f"{convention}, {boxes} boxes an image",
                step,
                "torchvision focal loss alone",
                focal,
                pairs,
            )
            times[boxes] = line.seconds
            lines.append(str(line))
            fresh = HeadOutputs(outputs.cls_logits, outputs.box_offsets)
            with OpCounter() as forward:
                detector.losses(fresh, detector.assign(fresh, targets), targets)
            with OpCounter() as both:
                step()
            first, all_of_it = forward.operations.total(), both.operations.total()
            done = f"forward {first} ({forward.syncs} syncs), backward {all_of_it - first} ({both.syncs - forward.syncs} syncs)"
            counts.append(f"    {convention}, {boxes:3} boxes: {done}")
            logits, offsets = (
                sum(level.nbytes for level in levels)
                for levels in (outputs.cls_logits, outputs.box_offsets)
            )
            beyond = (both.peak - logits - offsets) / logits
            peaks.append(
                f"    {convention}, {boxes:3} boxes: {forward.peak / logits:.2f}; {beyond:.2f}"
            )
        lines.append(
            f"    {convention}: 300 boxes take {times[300] / times[8]:.2f} x the time of 8"
        )
    return [*lines, *counts, *peaks]


def step_line(
    config: ModelConfig, size: int, batch: int, boxes: int, pairs: int, name: str
) -> Line:
    """(b) a training step against forward and backward of the same network with a trivial loss, optimiser in both."""
    torch.manual_seed(0)
    detector = build_detector(config).train()
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, size, size, generator=generator) for _ in range(batch)]
    targets = [
        random_target(boxes, (size, size), size / 16, 2.3, config.num_classes, generator)
        for _ in range(batch)
    ]
    optimizer = torch.optim.SGD(
        [p for p in detector.parameters() if p.requires_grad], lr=1e-6, momentum=0.9
    )

    def finish(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def bare() -> None:
        outputs = detector.head_outputs(detector.preprocess(images).tensor)
        maps = (*outputs.cls_logits, *outputs.box_offsets, *outputs.ab_cls, *outputs.ab_box)
        finish(torch.stack([level.mean() for level in maps]).sum())

    return compare(
        name,
        lambda: finish(torch.stack([*detector(images, targets).values()]).sum()),
        "the same, loss = mean of outputs",
        bare,
        pairs,
    )


def steps_table(pairs: int) -> list[str]:
    """(b) for tiny, its joint and its anchor-based form, and R-50 at 512 x 512."""
    lines = ["(b) training step against bare convolutions"]
    for name in ("tiny", "tiny_joint", "tiny_retinanet"):
        lines.append(
            str(step_line(presets.get(name).model, 128, 16, 5, pairs, f"{name}, 16 x 128 x 128"))
        )
    r50 = presets.get("r50").model
    return [*lines, str(step_line(r50, 512, 2, 8, max(pairs // 3, 3), "r50, 2 x 512 x 512"))]


def inference_table(pairs: int) -> list[str]:
    """(c) R-50 at 800 x 1344 beside torchvision's FCOS and RetinaNet with the same body and input, and beside onnxruntime on the
    exported network; post-processing apart."""
    torch.manual_seed(0)
    image = torch.rand(3, 800, 1344)
    detector = build_detector(presets.get("r50").model).eval()
    peers = {"onnxruntime, exported, to candidates": onnx_session(detector, image)}
    detector.network = fold_norms(detector.network)
    for name in ("fcos_resnet50_fpn", "retinanet_resnet50_fpn"):
        options = {"num_classes": len(COCO_CLASSES) + 1, "min_size": 800, "max_size": 1344}
        peer = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, **options
        ).eval()
        peers[f"torchvision {name}"] = partial(peer, [image])
    generator = torch.Generator().manual_seed(0)
    logits = [
        torch.randn(1, 80, *shape, generator=generator) - 5 for shape in SHAPES
    ]  # 35,000 of 1.8 million count
    outputs = HeadOutputs(
        logits, [torch.rand(1, 4, *shape, generator=generator) for shape in SHAPES]
    )
    above = sum(int((level.sigmoid() > detector.config.score_thresh).sum()) for level in logits)
    lines = [
        "(c) inference, R-50, 800 x 1344, random weights (hardly any candidates: the network's time)"
    ]
    with torch.inference_mode():
        lines += [
            str(compare("FSAF, whole", lambda: detector([image]), name, peer, pairs))
            for name, peer in peers.items()
        ]
        tensor = detector.preprocess([image]).tensor
        line = compare(
            f"post-processing, {above} candidates",
            lambda: detector.postprocess(outputs, [(800, 1344)]),
            "FSAF, network",
            lambda: detector.head_outputs(tensor),
            pairs,
        )
    return [*lines, str(line)]


def onnx_session(detector: Detector, image: Float[Tensor, "3 H W"]) -> Callable[[], Any]:
    """What runs the exported network on `image` in onnxruntime, one thread.

    Raises:
        FSAFError: "this part needs three packages more: pip install onnx ..."
    """
    try:
        import onnxruntime
    except ImportError:
        raise FSAFError(
            "this part needs three packages more: pip install onnx onnxscript onnxruntime."
        ) from None
    with TemporaryDirectory() as folder:
        path = export(detector, f"{folder}/detector.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {"images": image[None].numpy()})


def loading_table(images: int) -> list[str]:
    """(f) images a second, on the clock, against workers, beside torchvision's own reader and transforms."""
    lines = ["(f) loading, files of 512 x 512 to 800 x 800, images/s"]
    with TemporaryDirectory() as root:
        base = presets.get("r50")
        data = DataConfig(
            "scenes",
            root,
            scenes=SceneConfig(num_train=images, num_val=1, image_size=512, empty_share=0.0),
        )
        dataset = open_dataset(data, "train")
        for workers in (0, 1, 2):
            config = replace(
                base, data=replace(data, workers=workers), train=replace(base.train, batch_size=4)
            )
            ours, theirs = (
                Loader(dataset, config, training=True),
                torchvision_loader(dataset, workers),
            )
            for epoch in (0, 1):  # the first starts the processes and fills the file cache
                mine, other = images_a_second(ours.epoch(epoch)), images_a_second(theirs)
            lines.append(
                f"    {workers} workers: {mine:6.1f}  torchvision {other:6.1f}  {mine / other:5.2f} x"
            )
    return lines


def torchvision_loader(dataset: CocoDataset, workers: int) -> DataLoader:
    """The same files through torchvision's detection reference: its COCO reader and its v2 transforms."""
    steps = [
        v2.ToImage(),
        v2.RandomHorizontalFlip(),
        v2.Resize(800, max_size=1333),
        v2.ToDtype(torch.float32, scale=True),
    ]
    with redirect_stdout(StringIO()):  # pycocotools tells what it does
        plain = torchvision.datasets.CocoDetection(
            dataset.root, dataset.json_path, transforms=v2.Compose(steps)
        )
    wrapped = torchvision.datasets.wrap_dataset_for_transforms_v2(
        plain, target_keys=["boxes", "labels", "image_id"]
    )
    return DataLoader(
        wrapped,
        4,
        shuffle=True,
        num_workers=workers,
        collate_fn=list,
        persistent_workers=workers > 0,
    )


def images_a_second(batches: Iterable[Any]) -> float:
    """On the clock, over all batches (of 4)."""
    start = time.perf_counter()
    count = sum(4 for _ in batches)
    return count / (time.perf_counter() - start)


def bench(parts: Sequence[str], pairs: int) -> str:
    """Tables as text; from here on PyTorch takes one thread.

    Args:
        parts: which tables, in this order: losses, steps, inference, loading.
        pairs: runs of each figure and of its peer, taken in turn.

    Raises:
        FSAFError: "this part needs three packages more: pip install onnx ..."
    """
    torch.set_num_threads(1)
    tables = {
        "losses": lambda: losses_table(pairs),
        "steps": lambda: steps_table(pairs),
        "inference": lambda: inference_table(max(pairs // 3, 3)),
        "loading": lambda: loading_table(352),
    }
    lines = [f"torch {torch.__version__}, one thread, {pairs} pairs"]
    lines += [line for part in parts for line in tables[part]()]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return "\n".join([*lines, f"peak memory of this run: {memory:.1f} GiB"])
