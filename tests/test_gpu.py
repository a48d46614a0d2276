"""`make test-gpu` runs small on the CPU, and fails where a check fails."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("gpu.py")


def run(*args: str) -> tuple[int, str]:
    command = [sys.executable, SCRIPT, "--device", "cpu", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    return done.returncode, done.stdout + done.stderr


def test_a_part_of_it_passes_on_the_cpu():
    code, said = run("syncs", "one_process")
    assert code == 0, said
    assert (
        "| syncs | no wait in assignment" in said and "| one_process | gloo: gradients off" in said
    )


def test_a_check_that_fails_is_named_and_makes_the_exit_code():
    """The planned memory is moved by importing the script with another published value."""
    code = f"""
import runpy, sys
sys.path.insert(0, {str(SCRIPT.parents[1])!r})
from fsaf_core import presets
presets.PUBLISHED["r50"] = (1.0, 0.43, 13.0)
sys.argv = ["gpu.py", "--device", "cpu", "memory"]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and "| memory | FAILED: AssertionError" in done.stdout


@pytest.mark.slow
def test_all_of_it_passes_on_the_cpu():
    code, said = run()
    assert code == 0, said
    assert said.count(" |\n| ") >= 9 and "FAILED" not in said
