"""The command line: finds the command, parses its options, and makes of what goes wrong one sentence and an exit code."""

import inspect
import io
import os
import sys
from typing import Any

import tyro

from .. import presets
from ..config import FSAFError
from ..engine.run_dir import validation_of
from .commands import (
    Ablation,
    Bench,
    Coco,
    Evaluate,
    Export,
    Plan,
    Predict,
    Reproduce,
    Scenes,
    Train,
)


def examples(command: type) -> str:
    """The examples of a command, out of its docstring, to be pasted."""
    return (inspect.getdoc(command) or "").partition("Examples:\n")[2]


COMMANDS: dict[str, type] = {
    "train": Train, "evaluate": Evaluate, "predict": Predict, "plan": Plan, "reproduce": Reproduce, "export": Export,
    "ablation": Ablation, "bench": Bench, "data scenes": Scenes, "data coco": Coco,
}  # fmt: skip


def _parse(command: type, args: list[str], what: str, **default: Any) -> Any:
    """The command that the arguments describe; its help ends with its examples."""
    try:
        return tyro.cli(command, args=args, prog=f"fsaf {what}", **default)
    except SystemExit as stop:
        if not stop.code:
            print(f"\nexamples:\n{examples(command)}")
        raise


def _with_preset(command: type, args: list[str], what: str) -> Any:
    """`fsaf train PRESET ...`: the preset's values become the defaults of all options."""
    if args[:1] in (["-h"], ["--help"]):
        args = ["tiny", *args]
    if not args or args[0].startswith("-"):
        raise FSAFError(
            f"no preset given: `fsaf {what} PRESET`, one of {', '.join(presets.names())}."
        )
    return _parse(
        command, args[1:], f"{what} {args[0]}", default=command(config=presets.get(args[0]))
    )


def _evaluate(args: list[str]) -> Evaluate:
    """Its data is that of the run that the weights lie in, if they lie in one: then no more needs to be said."""
    weights = _parse(Evaluate, args, "evaluate").weights
    return _parse(
        Evaluate,
        args,
        "evaluate",
        default=Evaluate(weights, *(validation_of(weights.parent) or ())),
    )


def main(argv: list[str] | None = None) -> int:
    """Runs a command; its exit code: 0, 2 for a fault of the input (one sentence on stderr), 130 after Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [arg for arg in args if arg != "--debug"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a file's name may hold what this terminal cannot show
    try:
        _run(args)
        return 0
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
        print(
            f"fsaf: {where}{error.strerror}: check the path, its rights and the disk.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as error:
        print(f"\n{error or 'Stopped.'}", file=sys.stderr)
        return 130


def _run(args: list[str]) -> None:
    try:
        if not args or args[0] in ("-h", "--help"):
            return print(_help())
        what = " ".join(args[:2]) if args[0] == "data" else args[0]
        if what not in COMMANDS:
            raise FSAFError(f"no command {what!r}: there are {', '.join(COMMANDS)}.")
        command, args = COMMANDS[what], args[len(what.split()) :]
        if command in (Train, Plan):
            _with_preset(command, args, what)()
        elif command is Evaluate:
            _evaluate(args)()
        else:
            _parse(command, args, what)()
    finally:
        sys.stdout.flush()  # here, where a reader that has gone is no surprise


def _help() -> str:
    lines = [
        "usage: fsaf COMMAND ...  (fsaf COMMAND --help tells more; --debug shows where an error comes from)",
        "",
    ]
    lines += [
        f"  {name:12} {(command.__doc__ or '').splitlines()[0]}"
        for name, command in COMMANDS.items()
    ]
    return "\n".join([*lines, "", f"presets: {', '.join(presets.names())}"])
