"""The command line: parses, calls one function, prints. The only place that trains and then draws."""

import inspect
import io
import json
import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from . import presets
from .config import Config, DataConfig, EvaluateConfig, FSAFError, SceneConfig
from .files import excerpt

Device = Literal["auto", "cuda", "mps", "cpu"]
Flat = tyro.conf.arg(name="")  # `--train.lr`, not `--config.train.lr`


def load_any(weights: Path, device: str = "cpu"):
    """A detector from a file of ours (.safetensors) or a published one (.pth), on `device`."""
    from .checkpoint import load
    from .distributed import device_of
    from .mmdet import load_mmdet

    detector = load(weights) if weights.suffix == ".safetensors" else load_mmdet(weights)
    return detector.to(device_of(device)).eval()


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
        from .train import train

        out = self.out or Path("runs") / self.config.name
        done = train(self.config, out, self.device, self.resume, self.from_)
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
    out: Path | None = None  # folder for metrics.json, detections.json, levels.json and the pictures
    device: Device = "auto"

    def __call__(self) -> None:
        """Evaluates and prints."""
        from .data.loading import Loader, open_dataset
        from .evaluate import evaluate

        detector = load_any(self.weights, self.device)
        dataset = open_dataset(self.data, "val", training=False)
        if len(dataset.class_names) != detector.config.num_classes:
            raise FSAFError(
                f"{self.weights} knows {detector.config.num_classes} classes, the validation set has {len(dataset.class_names)}: "
                "take its own set (--data.source, --data.val-json)."
            )
        print(f"evaluating {self.weights} on {dataset.summary()}", flush=True)
        config = Config(name=self.weights.stem, model=detector.config, data=self.data, evaluate=self.evaluate)
        record = evaluate(detector, Loader(dataset, config, training=False), progress=sys.stderr.isatty())
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
        from .data.coco import load_image
        from .draw.figures import draw_boxes

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
            drawn = draw_boxes(
                picture, found["boxes"][shown].tolist(), found["labels"][shown].tolist(), found["scores"][shown].tolist(), names
            )
            target = self.out / f"{number:06d}_{file.stem[:60]}.png"
            self.out.mkdir(parents=True, exist_ok=True)
            drawn.save(target)
            for (x1, y1, x2, y2), score, label in zip(*(found[key].tolist() for key in ("boxes", "scores", "labels"))):
                box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
                results.append(
                    {
                        "image_id": number,
                        "file_name": str(file),
                        "category_id": label + 1,
                        "category": names[label],
                        "bbox": box,
                        "score": round(score, 6),
                    }
                )
            print(f"{file}: {int(shown.sum())} objects of score {self.score:g} and more -> {target}", flush=True)
        if failed < len(files):
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / "detections.json").write_text(json.dumps(results))
            print(f"{len(results)} detections of {len(files) - failed} images in {self.out / 'detections.json'}")
        if failed:
            raise FSAFError(f"{failed} of {len(files)} images could not be read, as said above: mend or leave them out.")


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
        from .data.scenes import make_scenes

        print(f"{self.scenes.num_train} + {self.scenes.num_val} scenes in {make_scenes(self.scenes, self.root)}")


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
        from .data.download import download_coco

        folder = download_coco(self.root, subset=self.subset)
        print(f"COCO is in {folder}; to train on it:")
        if self.subset is None:
            return print(shlex.join(["fsaf", "train", "r50", "--data.root", str(self.root)]))
        files = ["--data.source", "files"]
        for split in ("train", "val"):
            json_path = folder / "annotations" / f"subset{self.subset}_{split}.json"
            files += [f"--data.{split}-json", str(json_path), f"--data.{split}-images", str(folder / "val2017")]
        print(shlex.join(["fsaf", "train", "r50", *files, "--out", f"runs/subset{self.subset}"]))


@dataclass(frozen=True)
class Ablation:
    """The paper's five rows in the tiny world with paired seeds: which branch, which selection, by how much.

    Examples:
        fsaf ablation
        fsaf ablation --rows tiny_paper torchvision_retinanet --seeds 3 --steps 1800 --out runs/peer
    """

    rows: tuple[str, ...] = ("tiny_retinanet", "tiny_af_heuristic", "tiny_paper", "tiny_joint_heuristic", "tiny_joint")
    seeds: int = 5
    steps: int | None = None  # of each run; half of tiny's if not given
    out: Path = Path("runs/ablation")
    base: Annotated[Config, Flat] = field(default_factory=lambda: presets.get("tiny"))  # data and recipe of all rows

    def __call__(self) -> None:
        """Trains all rows and prints the table."""
        from .ablation import ablation

        print(ablation(self.out, self.rows, self.seeds, self.steps, self.base))


@dataclass(frozen=True)
class Bench:
    """Tables of ratios: head losses, training step, inference, loading; each with its peer in the same run. One thread.

    Examples:
        fsaf bench
        fsaf bench --parts losses --pairs 9
    """

    parts: tuple[Literal["losses", "steps", "inference", "loading"], ...] = ("losses", "steps", "inference", "loading")
    pairs: int = 15

    def __call__(self) -> None:
        """Measures and prints."""
        from .bench import bench

        print(bench(self.parts, self.pairs))


@dataclass(frozen=True)
class Export:
    """Write a detector as ONNX: images to candidates; NMS is `fsaf_core.export.suppress`, ten lines of numpy.

    Examples:
        fsaf export runs/tiny/model.safetensors tiny.onnx
    """

    weights: tyro.conf.Positional[Path]
    out: tyro.conf.Positional[Path]

    def __call__(self) -> None:
        """Exports."""
        from .export import export

        print("exporting (a minute or two) ...", flush=True)
        print(f"{export(load_any(self.weights, 'cpu'), self.out)}: {self.out.stat().st_size / 1e6:.1f} MB")


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
        from .plan import plan

        print(plan(self.config.name, self.memory, self.config))


@dataclass(frozen=True)
class Reproduce:
    """The reference's published table, with this machine's figures under each row. Goes on row by row.

    Examples:
        fsaf reproduce --checkpoints folder/with/the/published/files
    """

    checkpoints: Path = Path("data/checkpoints")  # what is not there is downloaded
    rows: tuple[str, ...] = ("r50_ring", "r50", "r101", "x101")
    data: DataConfig = field(default_factory=DataConfig)
    out: Path = Path("runs/reproduce")
    device: Device = "auto"

    def __call__(self) -> None:
        """Measures and prints the table."""
        from .distributed import device_of
        from .reproduce import reproduce

        print(reproduce(self.out, self.checkpoints, self.data, self.rows, device_of(self.device)))


def image_files(sources: tuple[Path, ...]) -> list[Path]:
    """The image files among `sources` and, sorted, those in its folders.

    Raises:
        FSAFError: "photo.jpg: no such file or folder."; "pictures: no image file in this folder ..."
    """
    from PIL import Image

    from .data.coco import NO_PIXELS

    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in NO_PIXELS}
    files: list[Path] = []
    if not sources:
        raise FSAFError("no image given: name files or folders, for example `fsaf predict --weights WEIGHTS photo.jpg`.")
    for source in sources:
        if source.is_dir():
            inside = sorted(path for path in source.rglob("*") if path.suffix.lower() in known)
            if not inside:
                raise FSAFError(f"{source}: no image file in this folder or below it.")
            files += inside
        elif source.exists():
            files.append(source)
        else:
            raise FSAFError(f"{source}: no such file or folder.")
    return files


def table(metrics: dict) -> str:
    """The figures of an evaluation as text: COCO's twelve in percent, AP by class and by size."""
    figures = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
    lines = ["  ".join(f"{name:>5}" for name in figures), "  ".join(_percent(metrics[name]) for name in figures)]
    for title, key in (("AP by class", "by_class"), ("AP by sqrt(area)", "by_size")):
        if metrics.get(key):
            lines.append(f"{title}: " + ", ".join(f"{name} {_percent(value).strip()}" for name, value in metrics[key].items()))
    return "\n".join(lines)


def _percent(value: float | dict | None) -> str:
    value = value.get("AP") if isinstance(value, dict) else value
    return f"{100 * value:5.1f}" if value is not None and value >= 0 else "    -"


def _draw(folder: Path) -> None:
    from .draw.figures import write_run_figures

    write_run_figures(folder)
    print(f"numbers in {folder}, pictures in {folder / 'pictures'}")


def examples(command: type) -> str:
    """The examples of a command, out of its docstring, to be pasted."""
    return inspect.getdoc(command).partition("Examples:\n")[2]  # type: ignore[union-attr]


def _parse(command: type, args: list[str], what: str, **default: Any) -> Any:
    """The command that the arguments describe; its help ends with its examples."""
    try:
        return tyro.cli(command, args=args, prog=f"fsaf {what}", **default)
    except SystemExit as stop:
        if not stop.code:
            print(f"\nexamples:\n{examples(command)}")
        raise


def _with_preset(command: type, args: list[str], what: str) -> object:
    """`fsaf train PRESET ...`: the preset's values become the defaults of all options."""
    if not args or args[0].startswith("-"):
        if args[:1] not in (["-h"], ["--help"]):
            raise FSAFError(f"no preset given: `fsaf {what} PRESET`, one of {', '.join(presets.names())}.")
        name, rest = "tiny", args
    else:
        name, rest = args[0], args[1:]
    config = presets.get(name)
    return _parse(command, rest, f"{what} {name}", default=command(config=config))


def _evaluate_default(args: list[str]) -> Evaluate:
    """The data of the run that the weights lie in, if they lie in one: then no more needs to be said."""
    weights = next((Path(arg) for arg in args if not arg.startswith("-")), Path("model.safetensors"))
    told = weights.parent / "config.json"
    if not told.exists():
        return Evaluate(weights)
    try:
        values = json.loads(told.read_text())
        data = dict(values["data"]) | {"scenes": SceneConfig(**values["data"]["scenes"])}
        return Evaluate(weights, DataConfig(**data), EvaluateConfig(**values["evaluate"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FSAFError(f"{told} is damaged ({excerpt(error)}): mend it, or copy {weights.name} to another folder.") from None


def _data(args: list[str]) -> object:
    commands = {"scenes": Scenes, "coco": Coco}
    if not args or args[0] not in commands:
        raise FSAFError("`fsaf data scenes` makes the generated scenes, `fsaf data coco` downloads COCO 2017.")
    return _parse(commands[args[0]], args[1:], f"data {args[0]}")


COMMANDS: dict[str, tuple[str, Callable[[list[str]], Any]]] = {
    "train": ("train a preset, evaluate it, draw it", lambda args: _with_preset(Train, args, "train")),
    "evaluate": (
        "COCO's figures of a weights file",
        lambda args: _parse(Evaluate, args, "evaluate", default=_evaluate_default(args)),
    ),
    "predict": ("detections of image files, drawn", lambda args: _parse(Predict, args, "predict")),
    "plan": ("memory of a training step, the largest batch of a GPU", lambda args: _with_preset(Plan, args, "plan")),
    "reproduce": (
        "the reference's published table, measured here",
        lambda args: _parse(Reproduce, args, "reproduce"),
    ),
    "export": ("a detector as ONNX", lambda args: _parse(Export, args, "export")),
    "ablation": ("the paper's five rows in the tiny world", lambda args: _parse(Ablation, args, "ablation")),
    "bench": ("tables of ratios", lambda args: _parse(Bench, args, "bench")),
    "data": ("make scenes, or download COCO", _data),
}


def main(argv: list[str] | None = None) -> int:
    """Runs a command; its exit code: 0, 2 for a fault of the input (one sentence on stderr), 130 after Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what this terminal cannot show
    try:
        return _run(args)
    except FSAFError as error:
        if debug:
            raise
        print(f"fsaf: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `fsaf ... | head`: the reader has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if debug or error.strerror is None:  # not of the system, but a fault of ours
            raise
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"fsaf: {where}{error.strerror}: check the path, its rights and the disk.", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"\n{error or 'Stopped.'}", file=sys.stderr)
        return 130


def _run(args: list[str]) -> int:
    try:
        if not args or args[0] in ("-h", "--help"):
            print(_help())
            return 0
        if args[0] not in COMMANDS:
            raise FSAFError(f"no command {args[0]!r}: there are {', '.join(COMMANDS)}.")
        COMMANDS[args[0]][1](args[1:])()
        return 0
    finally:
        sys.stdout.flush()  # here, where a reader that has gone is no surprise


def _help() -> str:
    lines = ["usage: fsaf COMMAND ...  (fsaf COMMAND --help tells more; --debug shows where an error comes from)", ""]
    lines += [f"  {name:10} {what}" for name, (what, _) in COMMANDS.items()]
    return "\n".join([*lines, "", f"presets: {', '.join(presets.names())}"])
