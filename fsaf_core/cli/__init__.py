"""The command line: find the command, parse its options, and report a mistake in one sentence."""

import inspect
import io
import os
import sys
from typing import Any

import tyro

from .. import presets
from ..config import FSAFError
from ..engine.run_dir import validation_config
from .commands import Coco, Evaluate, Export, Predict, Scenes, Train
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
}


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
        where = f"{error.filename}: " if error.filename is not None else ""
        advice = "check the path, its rights and the disk."
        print(f"fsaf: {where}{error.strerror}: {advice}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"\n{error or 'Stopped.'}", file=sys.stderr)
        return 130


def _run(args: list[str]) -> None:
    """Find the command, parse its options, and run it."""
    try:
        if not args or args[0] in ("-h", "--help"):
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
    default = command(config=presets.get(preset))
    return _parse(command, options, f"{name} {preset}", default=default)


def _parse_evaluate(args: list[str]) -> Evaluate:
    """Parse `fsaf evaluate`: weights in a run directory are evaluated on that run's data."""
    weights = _parse(Evaluate, args, "evaluate").weights
    default = Evaluate(weights, *(validation_config(weights.parent) or ()))
    return _parse(Evaluate, args, "evaluate", default=default)


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
