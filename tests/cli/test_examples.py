"""Examples of the command line's help work when they are pasted."""

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
SHOWN = [line.split("#")[0].strip() for line in README.splitlines() if line.startswith("fsaf ")]
SHOWN += [
    " ".join(told.split()) for told in re.findall(r"`(fsaf [^`]+ --[^`]+)`", README)
]  # in a sentence, with its options


@pytest.fixture
def parsed(monkeypatch):
    """What commands were made of the arguments; none is run."""
    made = []
    for command in COMMANDS:
        monkeypatch.setattr(command, "__call__", lambda self: made.append(self))
    return made


def arguments(line: str) -> list[str]:
    first, *rest = shlex.split(line)
    assert first == "fsaf"
    return rest


def test_every_command_has_examples():
    assert (
        {command for command, _ in EXAMPLES} == set(COMMANDS)
        and len(EXAMPLES) >= 18
        and len(SHOWN) >= 16
    )


@pytest.mark.parametrize(("command", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_understood_whole(command, line, parsed, capsys):
    assert cli.main(arguments(line)) == 0, capsys.readouterr().err
    assert [type(made) for made in parsed] == [command]


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_in_the_readme_is_understood_whole(line, parsed, capsys):
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


def test_the_quick_ones_run_one_after_the_other_on_little_data(tmp_path, monkeypatch, capsys):
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
        said = capsys.readouterr()
        assert code == 0, said.err
    assert "20 images" in said.out and len(list(Path("found").glob("*.png"))) == 20


@pytest.mark.parametrize("subset", [None, 25])
def test_data_coco_ends_with_the_command_that_trains_on_what_it_brought(
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
    made = []
    monkeypatch.setattr(commands.Train, "__call__", lambda self: made.append(self))
    assert cli.main(arguments(line)) == 0
    data = made[0].config.data
    if subset:
        where = root / "coco"
        assert (data.source, data.train_images, data.val_images) == (
            "files",
            str(where / "val2017"),
            str(where / "val2017"),
        )
        assert data.train_json == str(where / "annotations" / "subset25_train.json")
        assert data.val_json == str(where / "annotations" / "subset25_val.json")
    else:
        assert (data.source, data.root) == ("coco", str(root))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of a POSIX shell")
def test_a_reader_that_goes_early_is_no_traceback():
    shell = f"{shlex.quote(sys.executable)} -m fsaf_core train tiny --help | head -c 1"
    ended = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert len(ended.stdout) == 1 and ended.stderr == ""
    code = "import os, sys; read, write = os.pipe(); os.dup2(write, 1); os.close(write); os.close(read); "
    code += "from fsaf_core.cli import main; sys.exit(main(['--help']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 141 and ended.stderr == ""
