"""The repository's address is one everywhere, and on Colab a notebook's set-up cell fetches the course from there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import set_address
from make_notebooks import all_notebooks
from make_site import address as site_address

START = set_address.set_up(set_address.address()) + set_address.CHECK


def test_every_file_has_the_address_of_the_project() -> None:
    wrong = []
    for path, content in set_address.written(set_address.address()).items():
        if isinstance(content, str):
            assert path.read_text(encoding="utf-8") == content, path.name
        elif nbformat.read(path, as_version=4) != content:
            wrong.append(path.name)
    # Not one has it: nobody has run set_address.py on these notebooks yet.
    assert wrong == [] or len(wrong) == len(all_notebooks()), (
        f"{wrong}: run `python tests/notebooks/set_address.py`"
    )


def test_an_address_gives_the_links_of_every_notebook() -> None:
    told = set_address.online("https://github.com/somebody/course")
    for path in all_notebooks():
        assert f"/github/somebody/course/blob/main/notebooks/{path.name})" in told
    assert "https://somebody.github.io/course/" in told
    assert "mybinder.org/v2/gh/somebody/course/main" in told
    assert site_address() == "" or set_address.address().endswith(site_address())


def checkout(folder: Path) -> Path:
    """A git repository with what the set-up cell needs of the project."""
    shutil.copytree(
        set_address.ROOT / "notebooks" / "course",
        folder / "notebooks" / "course",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for command in (("init", "-q"), ("add", "-A"), (*author, "commit", "-qm", "course")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.mark.skipif(not shutil.which("git"), reason="without git, nothing can be fetched")
def test_on_colab_the_set_up_cell_fetches_and_installs_the_course(tmp_path: Path) -> None:
    """In an empty folder, with the address led to a local repository, and with a pip that writes down what it was asked."""
    source, place = checkout(tmp_path / "source"), tmp_path / "content"
    place.mkdir()
    pip = tmp_path / "bin" / "pip"
    pip.parent.mkdir()
    pip.write_text('#!/bin/sh\necho "$@" >> "$ASKED"\n')
    pip.chmod(0o755)
    asked = tmp_path / "asked.txt"
    environment = os.environ | {
        "PATH": f"{pip.parent}{os.pathsep}{os.environ['PATH']}",
        "ASKED": str(asked),
        "COLAB_RELEASE_TAG": "release",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{source.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": set_address.address(),
    }
    program = "import sys\nsys.path.insert(0, '')\n"  # as an IPython kernel has it
    program += f"{START}\n{START}\nimport course\nprint(course.FOLDER)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(place / "fsaf" / "notebooks" / "course")
    assert asked.read_text().splitlines() == [
        "install -q ./fsaf"
    ]  # once, though the cell ran twice


def test_elsewhere_the_set_up_cell_fetches_nothing(tmp_path: Path) -> None:
    environment = {name: v for name, v in os.environ.items() if name != "COLAB_RELEASE_TAG"}
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "Start this notebook in its own folder" in done.stderr
    assert list(tmp_path.iterdir()) == []
