"""The command line: find the command, parse its options, and report a mistake in one sentence."""

import inspect
import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro

from .. import presets
from ..config import PATHS, Checked, DataConfig, FSAFError, ranges
from ..utils.files import excerpt
from .commands import Evaluate, Export, Predict, Train
from .data_commands import Check, Coco, Convert, Scenes
from .tool_commands import Ablation, Bench, Plan, Reproduce

COMMANDS: dict[str, type] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "plan": Plan,
    "reproduce": Reproduce,
    "export": Export,
    "ablation": Ablation,
    "bench": Bench,
    "data scenes": Scenes,
    "data coco": Coco,
    "data check": Check,
    "data convert": Convert,
}


# Help shows the range of a number in place of its type.
for _config in Checked.__subclasses__():
    _hints = get_type_hints(_config, include_extras=True)
    for _name, (_kind, _limits) in ranges(_config).items():
        _shown = tyro.conf.arg(metavar=f"{{{_kind.__name__} {_limits}}}")
        _config.__annotations__[_name] = Annotated[_hints[_name], _shown]


def examples(command: type) -> str:
    """Return the examples in a command's docstring."""
    return (inspect.getdoc(command) or "").partition("Examples:\n")[2]


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        argv: the arguments; None: those of this process.

    Returns:
        0; 2 after a mistake in the input, with one sentence on stderr; 130 after Ctrl-C; 141 if the
        reader of a pipe has closed it.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name may hold characters that this terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _run(args)
        return 0
    except FSAFError as error:
        if debug:
            raise
        print(f"fsaf: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `fsaf ... | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if debug or error.strerror is None:  # an error of our own, not of the system
            raise
        where = f"{error.filename!s:.200}: " if error.filename is not None else ""
        advice = "check the path, its rights and the disk."
        print(f"fsaf: {where}{error.strerror}: {advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"\nfsaf: {str(error) or 'stopped by Ctrl-C.'}", file=sys.stderr)
        return 130


def _run(args: list[str]) -> None:
    """Find the command, parse its options, and run it."""
    try:
        first = args[1:2] if args[:1] == ["data"] else args[:1]
        if not args or first in (["-h"], ["--help"]):
            return print(_help())
        name = " ".join(args[:2]) if args[0] == "data" else args[0]
        if name not in COMMANDS:
            raise FSAFError(f"There is no command {name!r}: take one of {', '.join(COMMANDS)}.")
        command, args = COMMANDS[name], args[len(name.split()) :]
        if command in (Train, Plan):
            _parse_with_preset(command, args, name)()
        elif command is Evaluate:
            _parse_evaluate(args)()
        else:
            _parse(command, args, name)()
    finally:
        if sys.stdout is not None:  # as in a service without output
            sys.stdout.flush()  # here, where `main` handles a closed pipe


def _parse(command: type, args: list[str], name: str, **default: Any) -> Any:
    """Return the command with its options. Its help ends with its examples."""
    try:
        return tyro.cli(command, args=args, prog=f"fsaf {name}", **default)
    except SystemExit as stop:
        if not stop.code:
            print(f"\nexamples:\n{examples(command)}")
        raise


def _parse_with_preset(command: type, args: list[str], name: str) -> Any:
    """Parse `fsaf train PRESET ...`: the preset's values become the defaults of all options."""
    if args[:1] in (["-h"], ["--help"]):
        args = ["tiny", *args]
    if not args or args[0].startswith("-"):
        raise FSAFError(
            f"The preset is missing: give `fsaf {name} PRESET` with one of "
            f"{', '.join(presets.names())}."
        )
    preset, *options = args
    config = presets.get(preset)
    given = _given(options)
    if command is Train and "--model.class-names" in given:
        raise FSAFError(
            "--model.class_names is given, but the classes are those of the training json: leave "
            "it out."
        )
    # One length takes the place of the other; its value here is replaced by the given one.
    length, steps = given & {"--train.epochs", "--train.steps"}, config.train.steps
    if length == {"--train.epochs"}:
        if steps:
            print(f"{preset} counts steps ({steps}): --train.epochs takes their place")
        config = replace(config, train=replace(config.train, steps=None, epochs=12))
    elif length == {"--train.steps"}:
        config = replace(config, train=replace(config.train, epochs=None, steps=1))
    config = replace(config, data=_with_source(config.data, given))
    return _parse(command, options, f"{name} {preset}", default=command(config=config))


def _parse_evaluate(args: list[str]) -> Evaluate:
    """Parse `fsaf evaluate WEIGHTS ...`: what holds for the weights' run becomes the default."""
    # Any source that is compatible with paths: only the weights are read in this pass.
    weights = _parse(Evaluate, ["--data.source", "files", *args], "evaluate").weights
    default = _as_in_its_run(weights)
    default = replace(default, data=_with_source(default.data, _given(args)))
    if weights.suffix.lower() == ".onnx":  # it computes in float32, whatever the run did
        default = replace(default, amp="none")
    return _parse(Evaluate, args, "evaluate", default=default)


def _as_in_its_run(weights: Path) -> Evaluate:
    """Return the evaluation of a weights file with its run's data, metrics and number format.

    Raises:
        FSAFError: "runs/x/config.json is damaged (...): repair it, or copy the weights to another
            folder."
    """
    folder = weights.absolute().parent
    run_dir = folder.parent if folder.name in ("checkpoints", "snapshots") else folder
    path, default = run_dir / "config.json", Evaluate(weights)
    if not path.exists():
        return default
    try:
        values = json.loads(path.read_text())
        scenes = replace(default.data.scenes, **values["data"]["scenes"])
        data = replace(default.data, **values["data"] | {"scenes": scenes})
        data = _where_it_lies(data, values.get("sets", {}).get("val", {}))
        evaluate = replace(default.evaluate, **values["evaluate"])
        return replace(default, data=data, evaluate=evaluate, amp=values["train"]["amp"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, FSAFError) as error:
        raise FSAFError(
            f"{path} is damaged ({excerpt(error)}): "
            "repair it, or copy the weights to another folder."
        ) from None


def _where_it_lies(data: DataConfig, val_set: dict[str, str]) -> DataConfig:
    """Return a run's data with absolute paths: those in it are relative to where the run began.

    Args:
        data: as in the run's config.json.
        val_set: `json` and `images` of its validation set, absolute; if they are not there any
            more, `data` is returned.
    """
    paths = [Path(val_set.get(name, "")).absolute() for name in ("json", "images")]
    if not (paths[0].is_file() and paths[1].is_dir()):
        return data
    if data.source == "files":
        return replace(data, val_json=str(paths[0]), val_images=str(paths[1]))
    # root/scenes/*/a.json or root/coco/annotations/a.json
    return replace(data, root=str(paths[0].parents[2]))


def _given(args: list[str]) -> set[str]:
    """Return the options that are given, as `--data.train-json`."""
    return {arg.split("=")[0].replace("_", "-") for arg in args if arg.startswith("--")}


def _with_source(data: DataConfig, given: set[str]) -> DataConfig:
    """Return defaults that fit the options: a path means files, another source means no paths.

    Raises:
        FSAFError: "--data.root is given, but the data source is 'files', which does not have it:
            give --data.source too, or leave it out."
    """
    paths = {f"--data.{name}".replace("_", "-") for name in PATHS}
    if "--data.source" in given:
        own = {} if paths & given else dict.fromkeys(PATHS, "")
        return replace(data, **own)
    data = replace(data, source="files") if paths & given else data
    unread = {"--data.root"} if data.source == "files" else set()
    if data.source != "scenes":
        unread |= {name for name in given if name.startswith("--data.scenes.")}
    if ignored := unread & given:
        raise FSAFError(
            f"{min(ignored)} is given, but the data source is {data.source!r}, which does not "
            "have it: give --data.source too, or leave it out."
        )
    return data


def _help() -> str:
    """Return the help of all commands."""
    lines = [
        "usage: fsaf COMMAND ...  (fsaf COMMAND --help explains its options; --debug shows where "
        "an error comes from)",
        "",
    ]
    for name, command in COMMANDS.items():
        lines.append(f"  {name:12} {(command.__doc__ or '').splitlines()[0]}")
    return "\n".join([*lines, "", f"presets: {', '.join(presets.names())}"])
