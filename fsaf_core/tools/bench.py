"""`fsaf bench`: each measurement beside its peer, in interleaved runs, as ratios of CPU time."""

import copy
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from io import StringIO
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torchvision
from torch._inductor import config as inductor
from torch.utils.data import DataLoader
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.transforms import v2

from .. import presets
from ..config import (
    COCO_CLASSES,
    Config,
    DataConfig,
    FSAFError,
    ModelConfig,
    SceneConfig,
    TrainConfig,
)
from ..data.coco import CocoDataset
from ..data.loader import Loader, open_dataset
from ..engine.optim import build_optimizer, take_step
from ..model.detector import build_detector
from ..model.structures import HeadOutputs
from ..utils.distributed import autocast, computes_in
from ..weights.inference import fold_norms, for_inference
from ..weights.onnx import OnnxDetector, export
from .bench_losses import SHAPES, losses_table, random_target
from .timing import Line, compare


def bench(parts: Sequence[str], pairs: int) -> Iterator[str]:
    """Yield the lines of the tables as they are measured. PyTorch uses one thread from here on.

    Args:
        parts: the tables: losses, steps, inference, loading.
        pairs: runs of each measurement, and of its peer.

    Raises:
        FSAFError: "The part inference needs three more packages: pip install onnx ..."
    """
    torch.set_num_threads(1)
    tables: dict[str, Callable[[], Iterable[str]]] = {
        "losses": lambda: losses_table(pairs),
        "steps": lambda: steps_table(pairs),
        "inference": lambda: inference_table(max(pairs // 3, 3)),
        "loading": lambda: loading_table(448),  # more than the cache of decoded images holds
    }
    yield f"torch {torch.__version__}, one thread, {pairs} pairs"
    for part in parts:
        yield from tables[part]()
    yield f"peak memory of this run: {peak_memory()}"


def peak_memory() -> str:
    """Return the peak memory of this process as text."""
    try:
        import resource
    except ImportError:  # Windows
        return "not known on this system"
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30:.1f} GiB"


def step_line(
    config: ModelConfig, size: int, batch: int, boxes: int, pairs: int, name: str
) -> Line:
    """Compare a training step with one of the same network whose loss is the mean of its outputs.

    Args:
        config: the detector.
        size: side of the square images, in pixels.
        batch: images of a step.
        boxes: boxes of each image.
        pairs: as in `compare`.
        name: of the line.
    """
    torch.manual_seed(0)
    detector = build_detector(config).train()
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, size, size, generator=generator) for _ in range(batch)]
    targets = [
        random_target(boxes, (size, size), size / 16, 2.3, config.num_classes, generator)
        for _ in range(batch)
    ]
    optimizer = build_optimizer(TrainConfig(lr=1e-6, weight_decay=0.0), detector)

    def trivial() -> None:
        outputs = detector.head_outputs(detector.preprocess(images).tensor)
        maps = (*outputs.cls_logits, *outputs.box_offsets, *outputs.ab_cls, *outputs.ab_box)
        take_step(optimizer, [level.mean() for level in maps])

    def step() -> None:
        take_step(optimizer, detector(images, targets).values())

    return compare(name, step, "the same, loss = mean of outputs", trivial, pairs)


def steps_table(pairs: int) -> list[str]:
    """Return table (b): training steps of tiny and of R-50."""
    lines = ["(b) training step against bare convolutions"]
    for name in ("tiny", "tiny_joint", "tiny_retinanet"):
        model = presets.get(name).model
        lines.append(str(step_line(model, 128, 16, 5, pairs, f"{name}, 16 x 128 x 128")))
    r50 = presets.get("r50").model
    return [*lines, str(step_line(r50, 512, 2, 8, max(pairs // 3, 3), "r50, 2 x 512 x 512"))]


def inference_table(pairs: int) -> Iterator[str]:
    """Yield the lines of table (c): inference of R-50 at 800 x 1344.

    The detector, made faster step by step, is compared with bare ONNX Runtime on the exported
    network, and so is the exported file as `fsaf predict` uses it. Further peers are torchvision's
    FCOS and RetinaNet with the same backbone and input. The last line compares post-processing with
    the network.

    Raises:
        FSAFError: "The part inference needs three more packages: pip install onnx ..."
    """
    if not find_spec("onnxruntime"):
        raise FSAFError(
            "The part inference needs three more packages: pip install onnx onnxscript onnxruntime."
        )
    torch.manual_seed(0)
    image = torch.rand(3, 800, 1344)
    eager = build_detector(presets.get("r50").model).eval()
    with TemporaryDirectory() as folder:
        from_file = OnnxDetector(export(eager, f"{folder}/detector.onnx"))
    bare = partial(from_file.session.run, None, {"images": image[None].numpy()})
    fast, compiled = for_inference(eager), for_inference(eager)
    folded, channels_last = copy.deepcopy(eager), copy.deepcopy(eager)
    folded.network = fold_norms(eager.network)
    channels_last.to(memory_format=torch.channels_last)
    compiled.network = torch.compile(compiled.network)  # type: ignore[assignment]

    def bf16() -> Any:
        with autocast(image.device, "bf16"):
            return fast.detect([image])

    runs: dict[str, Callable[[], Any]] = {
        "eager": partial(eager.detect, [image]),
        "batch norms folded": partial(folded.detect, [image]),
        "channels-last": partial(channels_last.detect, [image]),
        "folded, channels-last: the default of fsaf predict": partial(fast.detect, [image]),
        "the same, compiled with freezing": partial(compiled.detect, [image]),
        "exported file in fsaf predict": partial(from_file.detect, [image]),
    }
    if computes_in(image.device, "bf16"):  # elsewhere it takes minutes
        runs["folded, channels-last, bf16"] = bf16
    generator = torch.Generator().manual_seed(0)
    # About 35,000 of the 1.8 million logits are above the score threshold.
    logits = [torch.randn(1, 80, *shape, generator=generator) - 5 for shape in SHAPES]
    offsets = [torch.rand(1, 4, *shape, generator=generator) for shape in SHAPES]
    outputs = HeadOutputs(logits, offsets)
    above = sum(int((level.sigmoid() > eager.config.score_thresh).sum()) for level in logits)
    options: dict[str, Any] = {"num_classes": len(COCO_CLASSES) + 1, "min_size": 800}
    options |= {"max_size": 1344, "weights": None, "weights_backbone": None}
    yield (
        "(c) inference, R-50, 800 x 1344, random weights "
        "(hardly any candidates: the network's time)"
    )
    with torch.no_grad(), inductor.patch(freezing=True):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            first = time.perf_counter() - start
            line = compare(name, run, "onnxruntime, exported, to candidates", bare, pairs)
            yield f"{line}  first call {first:.0f} s"
        for name in ("fcos_resnet50_fpn", "retinanet_resnet50_fpn"):
            peer = torchvision.models.get_model(name, **options).eval()
            run, run_peer = partial(fast.detect, [image]), partial(peer, [image])
            yield str(compare("the default", run, f"torchvision {name}", run_peer, pairs))
        run = partial(eager.postprocess, outputs, [(800, 1344)])
        run_peer = partial(eager.head_outputs, eager.preprocess([image]).tensor)
        name = f"post-processing, {above} candidates"
        yield str(compare(name, run, "eager, network", run_peer, pairs))


def loading_table(images: int) -> list[str]:
    """Return table (f): loaded images a second, beside torchvision's reader and transforms.

    Args:
        images: number of generated images to load.
    """
    lines = ["(f) loading, files of 512 x 512 to 800 x 800, images/s"]
    with TemporaryDirectory() as root:
        scenes = SceneConfig(num_train=images, num_val=1, image_size=512, empty_share=0.0)
        dataset = open_dataset(DataConfig("scenes", root, scenes=scenes), "train")
        for workers in (0, 1, 2):
            data, recipe = DataConfig("scenes", root, workers=workers), TrainConfig(batch_size=4)
            loader = Loader(dataset, Config(data=data, train=recipe), training=True)
            peer = torchvision_loader(dataset, workers)
            for epoch in (0, 1):  # the first starts the processes and fills the file cache
                speed = images_a_second(loader.epoch(epoch))
                peer_speed = images_a_second(peer)
            lines.append(
                f"    {workers} workers: {speed:6.1f}  torchvision {peer_speed:6.1f}  "
                f"{speed / peer_speed:5.2f} x"
            )
    return lines


def torchvision_loader(dataset: CocoDataset, workers: int) -> DataLoader:
    """Return a loader of the same files with torchvision's COCO reader and its v2 transforms."""
    resize = v2.Resize(800, max_size=1333)
    to_float = v2.ToDtype(torch.float32, scale=True)
    transforms = v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(), resize, to_float])
    with redirect_stdout(StringIO()):  # pycocotools prints
        plain = CocoDetection(dataset.root, dataset.json_path, transforms=transforms)
    wrapped = wrap_dataset_for_transforms_v2(plain, target_keys=["boxes", "labels", "image_id"])
    options: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    return DataLoader(wrapped, 4, shuffle=True, collate_fn=list, **options)


def images_a_second(batches: Iterable[Any]) -> float:
    """Return the speed of loading batches of 4 images, in elapsed time."""
    start = time.perf_counter()
    count = sum(4 for _ in batches)
    return count / (time.perf_counter() - start)
