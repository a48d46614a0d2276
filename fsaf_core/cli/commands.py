"""What `fsaf` can be asked to do: a dataclass for each command, whose fields are its options. Called, it does it and prints.

What one command alone needs it imports itself: help comes without waiting for matplotlib.
"""

import json
import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .. import presets
from ..config import Config, DataConfig, EvaluateConfig, FSAFError, SceneConfig
from ..data.images import image_files, load_image
from ..data.loader import Loader, open_dataset
from ..evaluation.coco_metrics import table, to_coco_results
from ..model.detector import Detector
from ..utils.distributed import device_of
from ..utils.files import write_atomically
from ..weights.checkpoint import load
from ..weights.mmdet import load_mmdet

Device = Literal["auto", "cuda", "mps", "cpu"]
Flat = tyro.conf.arg(name="")  # `--train.lr`, not `--config.train.lr`


def load_any(weights: Path, device: str = "cpu") -> Detector:
    """A detector from a file of ours (.safetensors, a training's .pt) or a published one (.pth), on `device`."""
    detector = load(weights) if weights.suffix in (".safetensors", ".pt") else load_mmdet(weights)
    return detector.to(device_of(device)).eval()


def _draw(folder: Path) -> None:
    from ..viz.plots import write_run_figures

    write_run_figures(folder)
    print(f"numbers in {folder}, pictures in {folder / 'pictures'}")


@dataclass(frozen=True)
class Train:
    """Train a preset, evaluate it, draw it. The same command goes on with a run that was stopped.

    Examples:
        fsaf train tiny
        fsaf train tiny --train.steps 200 --out runs/short --data.scenes.num-train 400
        fsaf train r50 --train.accumulate 4 --train.amp bf16
        fsaf train r50 --data.source files --data.train-json a.json --data.train-images a \\
            --data.val-json b.json --data.val-images b
    """

    config: Annotated[Config, Flat]
    out: Path | None = None  # folder of the run; runs/PRESET if not given
    device: Device = "auto"
    resume: bool = False  # insist that there is a run to go on with
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None  # weights to start from

    def __call__(self) -> None:
        """Trains and draws."""
        from ..engine.train import train

        out = self.out or Path("runs") / self.config.name
        done = train(self.config, out, self.device, self.resume, self.from_)
        if os.environ.get("RANK", "0") == "0":  # torchrun's name for the process that writes
            print(table(done.metrics))
            _draw(out)


@dataclass(frozen=True)
class Evaluate:
    """COCO's figures of a weights file on a validation set.

    Examples:
        fsaf evaluate runs/tiny/model.safetensors
        fsaf evaluate fsaf_r50_fpn_1x_coco-94ccc51f.pth --data.root data
    """

    weights: tyro.conf.Positional[Path]  # .safetensors of ours or a published .pth
    data: DataConfig = field(default_factory=DataConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    out: Path | None = (
        None  # folder for metrics.json, detections.json, levels.json and the pictures
    )
    device: Device = "auto"

    def __call__(self) -> None:
        """Evaluates and prints."""
        from ..evaluation.evaluator import evaluate

        detector = load_any(self.weights, self.device)
        dataset = open_dataset(self.data, "val")
        print(f"evaluating {self.weights} on {dataset.summary()}", flush=True)
        config = Config(
            name=self.weights.stem, model=detector.config, data=self.data, evaluate=self.evaluate
        )
        record = evaluate(detector, Loader(dataset, config, training=False))
        print(table(record.metrics))
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            record.write(self.out)
            _draw(self.out)


@dataclass(frozen=True)
class Predict:
    """Detections of image files, drawn, and as COCO results.

    Examples:
        fsaf predict --weights runs/tiny/model.safetensors data/scenes --out found
        fsaf predict --weights fsaf_r50_fpn_1x_coco-94ccc51f.pth photo.jpg --score 0.4
    """

    images: tyro.conf.Positional[tuple[Path, ...]]  # image files, and folders of them
    weights: Path
    out: Path = Path("predictions")
    score: float = 0.3  # detections below it are written, not drawn
    device: Device = "auto"

    def __call__(self) -> None:
        """Detects, draws and writes."""
        from ..viz.plots import draw_boxes

        files = image_files(self.images)
        detector = load_any(self.weights, self.device)
        names, results, failed = detector.config.class_names, [], 0
        for number, file in enumerate(files, start=1):
            try:
                picture = load_image(file)
                found = detector.predict(picture)
            except FSAFError as error:  # one bad file must not lose the others' results
                failed += 1
                print(f"fsaf: {error}", file=sys.stderr, flush=True)
                continue
            shown = found["scores"] >= self.score
            boxes, labels, scores = (
                found[name][shown].tolist() for name in ("boxes", "labels", "scores")
            )
            target = self.out / f"{number:06d}_{file.stem[:60]}.png"
            self.out.mkdir(parents=True, exist_ok=True)
            draw_boxes(picture, boxes, labels, scores, names).save(target)
            for row in to_coco_results([number], [found], range(1, len(names) + 1)):
                results.append(
                    {**row, "file_name": str(file), "category": names[row["category_id"] - 1]}
                )
            print(
                f"{file}: {len(boxes)} objects of score {self.score:g} and more -> {target}",
                flush=True,
            )
        if failed < len(files):
            write_atomically(self.out / "detections.json", json.dumps(results))
            print(
                f"{len(results)} detections of {len(files) - failed} images in {self.out / 'detections.json'}"
            )
        if failed:
            raise FSAFError(
                f"{failed} of {len(files)} images could not be read, as said above: mend or leave them out."
            )


@dataclass(frozen=True)
class Scenes:
    """Make the generated scenes.

    Examples:
        fsaf data scenes
        fsaf data scenes --scenes.max-aspect 8 --scenes.seed 1
    """

    scenes: SceneConfig = field(default_factory=SceneConfig)
    root: Path = Path("data")

    def __call__(self) -> None:
        """Makes the scenes."""
        from ..data.synthetic.dataset import make_scenes

        print(
            f"{self.scenes.num_train} + {self.scenes.num_val} scenes in {make_scenes(self.scenes, self.root)}"
        )


@dataclass(frozen=True)
class Coco:
    """Download COCO 2017 (20 GB, or a small part), check it, unpack it.

    Examples:
        fsaf data coco
        fsaf data coco --subset 500
    """

    root: Path = Path("data")
    subset: int | None = None  # a small real training set of this many images, out of val2017 alone

    def __call__(self) -> None:
        """Downloads."""
        from ..data.download import download_coco

        folder = download_coco(self.root, subset=self.subset)
        print(f"COCO is in {folder}; to train on it:")
        if self.subset is None:
            return print(shlex.join(["fsaf", "train", "r50", "--data.root", str(self.root)]))
        files = ["--data.source", "files"]
        for split in ("train", "val"):
            json_path = folder / "annotations" / f"subset{self.subset}_{split}.json"
            files += [
                f"--data.{split}-json",
                str(json_path),
                f"--data.{split}-images",
                str(folder / "val2017"),
            ]
        print(shlex.join(["fsaf", "train", "r50", *files, "--out", f"runs/subset{self.subset}"]))


@dataclass(frozen=True)
class Ablation:
    """The paper's five rows in the tiny world with paired seeds: which branch, which selection, by how much.

    Examples:
        fsaf ablation
        fsaf ablation --rows tiny_paper tiny_joint --seeds 3 --steps 2400 --out runs/longer
    """

    rows: tuple[str, ...] = presets.ABLATION_PRESETS
    seeds: int = 5
    steps: int | None = None  # of each run; half of tiny's if not given
    out: Path = Path("runs/ablation")
    base: Annotated[Config, Flat] = field(
        default_factory=lambda: presets.get("tiny")
    )  # data and recipe of all rows

    def __call__(self) -> None:
        """Trains all rows and prints the table."""
        from ..tools.ablation import ablation

        print(ablation(self.out, self.rows, self.seeds, self.steps, self.base))


@dataclass(frozen=True)
class Bench:
    """Tables of ratios: head losses, training step, inference, loading; each with its peer in the same run. One thread.

    Examples:
        fsaf bench
        fsaf bench --parts losses --pairs 9
    """

    parts: tuple[Literal["losses", "steps", "inference", "loading"], ...] = (
        "losses",
        "steps",
        "inference",
        "loading",
    )
    pairs: int = 15

    def __call__(self) -> None:
        """Measures and prints."""
        from ..tools.bench import bench

        print(bench(self.parts, self.pairs))


@dataclass(frozen=True)
class Export:
    """Write a detector as ONNX: images to candidates; NMS is `fsaf_core.weights.onnx.suppress`, ten lines of numpy.

    Examples:
        fsaf export runs/tiny/model.safetensors tiny.onnx
    """

    weights: tyro.conf.Positional[Path]
    out: tyro.conf.Positional[Path]

    def __call__(self) -> None:
        """Exports."""
        from ..weights.onnx import export

        print("exporting (a minute or two) ...", flush=True)
        print(
            f"{export(load_any(self.weights, 'cpu'), self.out)}: {self.out.stat().st_size / 1e6:.1f} MB"
        )


@dataclass(frozen=True)
class Plan:
    """Before renting a card: memory of a training step and the largest batch, by running the step on fake tensors.

    Examples:
        fsaf plan r50 --memory 16
        fsaf plan x101 --memory 24 --model.short-side 640
    """

    config: Annotated[Config, Flat]
    memory: float = 16.0  # of the GPU, GiB

    def __call__(self) -> None:
        """Plans."""
        from ..tools.memory_plan import plan

        print(plan(self.config, self.memory))


@dataclass(frozen=True)
class Reproduce:
    """The reference's published table, with this machine's figures under each row. Goes on row by row.

    Examples:
        fsaf reproduce --checkpoints folder/with/the/published/files
    """

    checkpoints: Path = Path("data/checkpoints")  # what is not there is downloaded
    rows: tuple[str, ...] = tuple(presets.PUBLISHED)
    data: DataConfig = field(default_factory=DataConfig)
    out: Path = Path("runs/reproduce")
    device: Device = "auto"

    def __call__(self) -> None:
        """Measures and prints the table."""
        from ..tools.reproduce import reproduce

        print(reproduce(self.out, self.checkpoints, self.data, self.rows, device_of(self.device)))
