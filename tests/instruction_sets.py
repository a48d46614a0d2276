"""Run the tests whose numbers depend on the CPU under every instruction set that this CPU has: `make test-all`.

`ATEN_CPU_CAPABILITY` chooses PyTorch's own code, `ONEDNN_MAX_CPU_ISA` that of its convolutions. Neither governs numpy, MKL or
onnxruntime, which choose by themselves. With `--lowest PATHS` those paths alone run, under the lowest setting; without paths the
whole suite does.
"""

import argparse
import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
NUMERIC = (
    "tests/parity",
    "tests/method/test_device.py",
    "tests/method/test_losses.py",
    "tests/method/test_regions.py",
    "tests/method/test_assignment.py",
    "tests/data/test_transforms.py",
    "notebooks/05_anchor_free_branch.ipynb",
    "notebooks/07_losses_and_selection.ipynb",
)
LOWEST = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "1"}


def settings() -> list[dict[str, str]]:
    """Return the environment variables of each setting, from the lowest to what the CPU has."""
    capabilities = ("default", "avx2", "avx512")
    best = torch.backends.cpu.get_cpu_capability().lower()
    known = capabilities[: capabilities.index(best) + 1] if best in capabilities else ("default",)
    grid = itertools.product(known, ("SSE41", "AVX2", "DEFAULT"), ("1", "2"))
    return [dict(zip(LOWEST, values)) for values in grid]


def run(paths: list[str], setting: dict[str, str]) -> tuple[int, str]:
    """Run pytest on the paths under a setting. Return its exit code and its closing line; print its output if it fails."""
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", *paths]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | setting, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(done.stdout[-8000:], done.stderr[-2000:], sep="\n")
    closing = re.findall(r"^.*\b(?:passed|failed|error)\b.* in .*$", done.stdout, re.MULTILINE)
    return done.returncode, closing[-1].strip("= ") if closing else "pytest printed no closing line"


def main() -> int:
    """Run the settings one after the other and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--lowest",
        nargs="*",
        metavar="PATH",
        help="only the lowest setting, on these paths (none: everything)",
    )
    options = parser.parse_args()
    jobs = (
        [(list(NUMERIC), setting) for setting in settings()]
        if options.lowest is None
        else [(options.lowest, LOWEST)]
    )
    failed = 0
    for paths, setting in jobs:
        start = time.monotonic()
        code, closing = run(paths, setting)
        failed += bool(code)
        told = " ".join(f"{name}={value}" for name, value in setting.items())
        print(
            f"{'FAILED' if code else 'ok':6} {time.monotonic() - start:5.0f} s  {told}\n       {closing}",
            flush=True,
        )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
