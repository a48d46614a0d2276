"""The commands on detectors and data: a dataclass each, whose fields are its options.

A call runs the command. What it alone needs it imports then, so that help does not wait for it.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from PIL import Image
from tqdm.auto import tqdm

from ..config import (
    Amp,
    Checked,
    Config,
    Count,
    DataConfig,
    EvaluateConfig,
    FSAFError,
    Share,
    TrainConfig,
)
from ..data.images import image_files, load_image
from ..data.loader import Loader, open_dataset
from ..engine.run_dir import refuse_run_dir
from ..engine.train import train
from ..evaluation.coco_metrics import table, to_coco_results
from ..evaluation.evaluator import EvaluationStopped, evaluate
from ..model.detector import Detector
from ..model.predictor import Predictor
from ..utils.classes import are_unnamed
from ..utils.distributed import computes_in, device_of
from ..utils.files import write_atomically
from ..weights.formats import load_any
from ..weights.inference import for_inference

Device = Literal["auto", "cuda", "mps", "cpu"]
Flat = tyro.conf.arg(name="")  # `--train.lr`, not `--config.train.lr`


def open_detector(weights: Path, device: str, amp: Amp) -> Predictor:
    """Return the detector of a weights file or of an exported file, in evaluation mode.

    Raises:
        FSAFError: as `load_any`, `device_of` and `OnnxDetector`; "x.onnx runs on the CPU in
            float32: leave out --device and --amp."
    """
    if weights.suffix.lower() != ".onnx":
        chosen = device_of(device)
        if not computes_in(chosen, amp):
            print(f"{chosen} has no instructions for {amp}: float32 is faster here", flush=True)
        return load_any(weights).to(chosen)
    if device not in ("auto", "cpu") or amp != "none":
        raise FSAFError(f"{weights} runs on the CPU in float32: leave out --device and --amp.")
    from ..weights.onnx import OnnxDetector

    return OnnxDetector(weights)


def _draw(folder: Path) -> None:
    """Draw the pictures of a run or an evaluation."""
    from ..viz.plots import write_run_figures

    write_run_figures(folder)
    print(f"numbers in {folder}, pictures in {folder / 'pictures'}")


@dataclass(frozen=True)
class Train:
    """Train a preset, evaluate it and draw it. The same command resumes a run that was stopped.

    Examples:
        fsaf train tiny
        fsaf train tiny --train.steps 200 --out runs/short --data.scenes.num-train 400
        fsaf train r50 --train.accumulate 4 --train.amp bf16
        fsaf train tiny --data.train-json a.json --data.train-images a \\
            --data.val-json b.json --data.val-images b --check
    """

    config: Annotated[Config, Flat]
    out: Path | None = None  # run directory; if not given, runs/PRESET
    device: Device = "auto"  # auto: the GPU if there is one
    resume: bool = False  # require that there is a run to resume
    from_: Annotated[Path | None, tyro.conf.arg(name="from")] = None  # weights to start from
    #: Only train for two minutes on ten images, without augmentation: they must be learned.
    check: bool = False

    def __call__(self) -> None:
        """Train and draw."""
        out = self.out or Path("runs") / self.config.name
        if self.check:
            from ..tools.overfit import overfit

            folder = out.resolve() if out.name in ("", "..") else out
            folder = folder.with_name(f"{folder.name}_check")
            return print(overfit(self.config, folder, self.device, self.from_))
        result = train(self.config, out, self.device, self.resume, self.from_)
        if os.environ.get("RANK", "0") == "0":  # under torchrun only the first process prints
            print(table(result.metrics))
            _draw(out)


@dataclass(frozen=True)
class Evaluate(Checked):
    """Print COCO's metrics of a weights file on a validation set.

    Examples:
        fsaf evaluate runs/tiny/model.safetensors
        fsaf evaluate tiny.onnx
        fsaf evaluate fsaf_r50_fpn_1x_coco-94ccc51f.pth --data.root data
    """

    #: A .safetensors file, an exported .onnx file, or a .pth file of MMDetection.
    weights: tyro.conf.Positional[Path]
    data: DataConfig = field(default_factory=DataConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    amp: Amp = "none"  # number format; weights of a run: that run's
    #: Folder for metrics.json, detections.json, levels.json and the pictures; not that of a run.
    out: Path | None = None
    device: Device = "auto"  # auto: the GPU if there is one

    def __call__(self) -> None:
        """Evaluate and print."""
        if self.out is not None:
            refuse_run_dir(self.out)
        detector = open_detector(self.weights, self.device, self.amp)
        dataset = open_dataset(self.data, "val")
        print(f"evaluating {self.weights} on {dataset.json_path}: {dataset.summary()}", flush=True)
        if are_unnamed(detector.config.class_names):
            print(f"{self.weights} has no class names: its classes are matched by position")
        config = Config(
            self.weights.stem, detector.config, self.data, TrainConfig(amp=self.amp), self.evaluate
        )
        try:
            result = evaluate(detector, Loader(dataset, config, training=False))
        except EvaluationStopped as stop:
            done = f"stopped after {stop.images} of {len(dataset)} images"
            if self.out is not None:
                write_atomically(self.out / "detections.json", json.dumps(stop.results))
                done += f": their detections are in {self.out / 'detections.json'}"
            raise KeyboardInterrupt(f"{done}.") from None
        print(table(result.metrics))
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            result.write(self.out)
            _draw(self.out)


@dataclass(frozen=True)
class Predict(Checked):
    """Detect objects in image files, draw them, and write them as COCO results.

    Examples:
        fsaf predict --weights runs/tiny/model.safetensors data/scenes --out found
        fsaf predict --weights fsaf_r50_fpn_1x_coco-94ccc51f.pth photo.jpg --score 0.4
        fsaf predict --weights tiny.onnx photo.jpg
    """

    images: tyro.conf.Positional[tuple[Path, ...]]  # image files, or folders of image files
    #: A .safetensors file, an exported .onnx file, or a .pth file of MMDetection.
    weights: Path
    out: Path = Path("predictions")
    score: Share = 0.3  # lowest score of a detection that is drawn; the others are only written
    batch_size: Count = 4  # images that are read at a time
    #: Number format of the network. Half precision moves scores by about 0.01.
    amp: Amp = "none"
    device: Device = "auto"  # auto: the GPU if there is one

    def __call__(self) -> None:
        """Detect, draw and write."""
        files = image_files(self.images, exclude=self.out)
        detector = open_detector(self.weights, self.device, self.amp)
        if isinstance(detector, Detector) and detector.device.type == "cpu":
            detector = for_inference(detector)  # measured on CPUs only: `fsaf bench`
        results: list[dict] = []
        done = failed = 0

        def readable() -> Iterator[tuple[int, Path, Image.Image]]:
            nonlocal failed
            for number, file in enumerate(files, start=1):
                try:
                    yield number, file, load_image(file)
                except FSAFError as error:  # one bad file must not lose the results of the others
                    failed += 1
                    bar.update()
                    with tqdm.external_write_mode():
                        print(f"fsaf: {error}", file=sys.stderr, flush=True)

        bar = tqdm(total=len(files), unit="image", leave=False, disable=not sys.stderr.isatty())
        images, again = tee(readable())
        frames = (picture for _, _, picture in again)
        try:
            with bar:
                found = detector.stream(frames, self.batch_size, self.amp)
                for image, detections in zip(images, found):
                    results += self._draw(detector, *image, detections)
                    done += 1
                    bar.update()
        except KeyboardInterrupt:
            stopped = f"stopped after {done + failed} of {len(files)} images."
            raise KeyboardInterrupt(stopped) from None
        finally:
            if done:
                path = self.out / "detections.json"
                write_atomically(path, json.dumps(results))
                print(f"{len(results)} detections of {done} images in {path}")
        if failed:
            raise FSAFError(
                f"{failed} of {len(files)} images could not be read, as said above: "
                "repair or leave them out."
            )

    def _draw(
        self,
        detector: Predictor,
        number: int,
        file: Path,
        picture: Image.Image,
        detections: dict[str, Any],
    ) -> list[dict]:
        """Draw the detections of one file, and return them as COCO results."""
        from ..viz.plots import draw_boxes

        shown = detections["scores"] >= self.score
        boxes, labels, scores = (
            detections[name][shown].tolist() for name in ("boxes", "labels", "scores")
        )
        target = self.out / f"{number:06d}_{file.stem[:60]}.png"
        self.out.mkdir(parents=True, exist_ok=True)
        draw_boxes(picture, boxes, labels, scores, detector.config.class_names).save(target)
        with tqdm.external_write_mode():
            print(
                f"{file}: {len(boxes)} objects of score >= {self.score:g} -> {target}", flush=True
            )
        rows = to_coco_results([number], [detections], detector.category_ids)
        return [
            {**row, "file_name": str(file), "category": name}
            for row, name in zip(rows, detections["names"])
        ]


@dataclass(frozen=True)
class Export:
    """Write a detector as ONNX, which returns candidates without NMS.

    `fsaf predict` and `fsaf evaluate` take the file. Elsewhere,
    `fsaf_core.model.postprocess.merge_candidates` turns the candidates into detections.

    Examples:
        fsaf export runs/tiny/model.safetensors tiny.onnx
    """

    weights: tyro.conf.Positional[Path]
    out: tyro.conf.Positional[Path]

    def __call__(self) -> None:
        """Export."""
        from ..weights.onnx import export

        print("exporting (a minute or two) ...", flush=True)
        path = export(load_any(self.weights), self.out)
        print(f"{path}: {self.out.stat().st_size / 1e6:.1f} MB")
