"""The examples in the help of the commands and in the README can be pasted."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fsaf_core import cli
from fsaf_core.cli import commands
from fsaf_core.data import download

COMMANDS = tuple(cli.COMMANDS.values())
EXAMPLES = [
    (command, line.strip())
    for command in COMMANDS
    for line in cli.examples(command).replace("\\\n", " ").splitlines()
    if line
]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
README_COMMANDS = [
    line.split("#")[0].strip()
    for line in README.replace("\\\n", " ").splitlines()
    if line.startswith("fsaf ")
]
README_COMMANDS += [
    " ".join(command.split()) for command in re.findall(r"`(fsaf [^`]+ --[^`]+)`", README)
]  # in a sentence, with its options


@pytest.fixture
def parsed(monkeypatch):
    """Collect the commands that arguments are parsed into, and run none."""
    instances = []
    for command in COMMANDS:
        monkeypatch.setattr(command, "__call__", lambda self: instances.append(self))
    return instances


def arguments(line: str) -> list[str]:
    first, *rest = shlex.split(line)
    assert first == "fsaf"
    return rest


def test_every_command_has_examples():
    assert (
        {command for command, _ in EXAMPLES} == set(COMMANDS)
        and len(EXAMPLES) >= 18
        and len(README_COMMANDS) >= 16
    )


@pytest.mark.parametrize(("command", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_parsed(command, line, parsed, capsys):
    assert cli.main(arguments(line)) == 0, capsys.readouterr().err
    assert [type(instance) for instance in parsed] == [command]


@pytest.mark.parametrize("line", README_COMMANDS)
def test_a_command_in_the_readme_is_parsed(line, parsed, capsys):
    assert cli.main(arguments(line)) == 0, capsys.readouterr().err
    assert len(parsed) == 1


@pytest.mark.parametrize("what", [*cli.COMMANDS, "train tiny"])
def test_help_ends_with_the_examples_as_they_stand_in_the_docstring(what, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*what.split(), "--help"])
    assert stop.value.code == 0
    tail = capsys.readouterr().out.partition("\nexamples:\n")[2]
    command = cli.COMMANDS[what.removesuffix(" tiny")]
    assert tail.strip() == cli.examples(command).strip() != ""


def test_the_quick_examples_run_one_after_another_on_little_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    little = "--scenes.num-train 16 --scenes.num-val 4 --scenes.image-size 64"
    of_training = (
        little.replace("--", "--data.")
        + " --train.steps 1 --model.short-side 64 --model.long-side 128"
    )
    for line, more in (
        ("fsaf data scenes", little),
        ("fsaf train tiny", of_training),
        ("fsaf evaluate runs/tiny/model.safetensors", ""),
        ("fsaf predict --weights runs/tiny/model.safetensors data/scenes --out found", ""),
    ):
        assert line in [example for _, example in EXAMPLES]
        code = cli.main(arguments(f"{line} {more}"))
        printed = capsys.readouterr()
        assert code == 0, printed.err
    assert "20 images" in printed.out and len(list(Path("found").glob("*.png"))) == 20


@pytest.mark.parametrize("subset", [None, 25])
def test_data_coco_prints_the_command_that_trains_on_its_images(
    subset, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(download, "download_coco", lambda root, subset: Path(root) / "coco")
    root = tmp_path / "with a space"
    assert (
        cli.main(
            ["data", "coco", "--root", str(root), *(["--subset", str(subset)] if subset else [])]
        )
        == 0
    )
    line = capsys.readouterr().out.strip().splitlines()[-1]
    parsed = []
    monkeypatch.setattr(commands.Train, "__call__", lambda self: parsed.append(self))
    assert cli.main(arguments(line)) == 0
    data = parsed[0].config.data
    if subset:
        folder = root / "coco"
        assert (data.source, data.train_images, data.val_images) == (
            "files",
            str(folder / "val2017"),
            str(folder / "val2017"),
        )
        assert data.train_json == str(folder / "annotations" / "subset25_train.json")
        assert data.val_json == str(folder / "annotations" / "subset25_val.json")
        assert parsed[0].config.train.warmup_steps == 2
    else:
        assert (data.source, data.root) == ("coco", str(root))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a POSIX shell")
def test_a_reader_that_closes_the_pipe_early_causes_no_traceback():
    shell = f"{shlex.quote(sys.executable)} -m fsaf_core train tiny --help | head -c 1"
    ended = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert len(ended.stdout) == 1 and ended.stderr == ""
    code = "import os, sys; read, write = os.pipe(); os.dup2(write, 1); os.close(write); os.close(read); "
    code += "from fsaf_core.cli import main; sys.exit(main(['--help']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 141 and ended.stderr == ""
