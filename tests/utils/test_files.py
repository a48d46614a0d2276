"""Files are written whole or not at all, whatever stops the writing."""

import errno
import os
import random
import resource
import signal
import time

import pytest

from fsaf_core.config import FSAFError
from fsaf_core.utils.files import excerpt, write_atomically


def test_a_write_that_fails_keeps_the_old_file_and_reports_what_it_needs(tmp_path, monkeypatch):
    path = tmp_path / "x.bin"
    write_atomically(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FSAFError, match=r"x\.bin needs 3\.0 MB and .*; the disk has .* MB left"):
        write_atomically(path, bytes(3_000_000))
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.bin"]


def test_a_name_that_is_too_long_is_reported_too(tmp_path):
    with pytest.raises(FSAFError, match=r"n\.bin needs .* cannot be written .File name too long"):
        write_atomically(tmp_path / f"{'n' * 300}.bin", b"new")


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path, monkeypatch):
    path, fsync, inside = tmp_path / "x.bin", os.fsync, []

    def interleaved(number):
        if not inside:  # another process writes the same file while this one is not done
            inside.append(1)
            write_atomically(path, b"second")
        fsync(number)

    monkeypatch.setattr(os, "fsync", interleaved)
    write_atomically(path, b"first")
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["x.bin"]


def test_what_a_killed_process_left_behind_is_removed_after_an_hour(tmp_path):
    old, new, other = (
        tmp_path / name for name in (".x.bin.0a.tmp", ".x.bin.0b.tmp", ".y.bin.0a.tmp")
    )
    for left in (old, new, other):
        left.write_bytes(b"half")
    for left in (old, other):
        os.utime(left, (time.time() - 7200,) * 2)
    write_atomically(tmp_path / "x.bin", b"whole")
    assert not old.exists() and new.exists() and other.exists()


def in_a_child(work) -> int:
    """Run `work` in a forked process, which need not import torch again, and return its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def test_a_disk_that_takes_only_part_of_a_file_keeps_the_one_before(tmp_path):
    """The kernel stops the write half-way: a limit on the size of files simulates the full disk."""
    path = tmp_path / "x.bin"
    write_atomically(path, b"old")

    def overwrite():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_atomically(path, bytes(200_000))
        except FSAFError as fault:
            (tmp_path / "message").write_text(str(fault))

    os.waitpid(in_a_child(overwrite), 0)
    message = (tmp_path / "message").read_text()
    assert "needs" in message and "untouched" in message
    assert path.read_bytes() == b"old"


def test_a_process_killed_while_writing_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x.bin"

    def write():
        for number in range(10**6):
            write_atomically(path, bytes([number % 256]) * 300_000)

    chance = random.Random(0)
    for _ in range(20):
        child = in_a_child(write)
        while not path.exists():  # a busy machine may need longer than any fixed time
            time.sleep(0.001)
        time.sleep(chance.uniform(0.001, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        content = path.read_bytes()
        assert len(content) == 300_000 and len(set(content)) == 1


def test_an_excerpt_is_one_short_line():
    assert excerpt("a\n b\tc") == "a b c"
    assert excerpt("x" * 1000) == "x" * 80 + " ..."
