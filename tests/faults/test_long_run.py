"""An hour of `fsaf train tiny`, stopped and resumed again and again: memory stays flat, handles are closed, the log is complete."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

MINUTES = float(os.environ.get("FSAF_LONG_MINUTES", "60"))  # a slow machine needs 20 or more
LIFE = (8, 12)  # validations from one stop to the next, 200 steps each
SETTLED = 3  # validations of a life after which its memory has its final size


def watch(process: subprocess.Popen, output: Path, end: float, validations: int) -> np.ndarray:
    """Watch a process once a second, until `end` or until it has printed so many validations.

    Returns:
        (T, 4): minute, resident MB, open handles, validations so far.
    """
    samples, start = [], time.monotonic()
    while process.poll() is None and time.monotonic() < end:
        done = output.read_text().count(": AP ")  # "step 400: AP 0.312, AP50 0.587"
        if done == validations:
            break
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
        handles = len(os.listdir(f"/proc/{process.pid}/fd"))
        samples.append(((time.monotonic() - start) / 60, resident, handles, done))
        time.sleep(1)
    return np.array(samples)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="memory and handles are read from /proc"
)
def test_an_hour_of_stops_and_resumes_leaks_nothing(tmp_path, capsys):
    run, chance, lives = tmp_path / "run", random.Random(0), []
    command = [
        sys.executable,
        "-m",
        "fsaf_core",
        "train",
        "tiny",
        "--out",
        str(run),
        "--data.root",
        str(tmp_path / "data"),
    ]
    command += [
        "--train.steps",
        "1000000",
        "--train.validate-every",
        "200",
        "--train.checkpoint-every",
        "100",
    ]
    command += ["--data.scenes.num-train", "400", "--data.scenes.num-val", "50"]
    end = time.monotonic() + 60 * MINUTES
    while time.monotonic() < end:
        output = tmp_path / "output.txt"
        with output.open("w") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file)
            lives.append(watch(process, output, end, validations=chance.randint(*LIFE)))
            assert process.poll() is None, output.read_text()[-2000:]
            process.send_signal(signal.SIGKILL if len(lives) % 2 else signal.SIGINT)
            assert process.wait(120) == (-signal.SIGKILL if len(lives) % 2 else 130)

    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    windows = [line["step"] for line in log if "loss" in line]
    assert (
        windows == sorted(set(windows)) and windows[-1] > 500
    )  # no window twice, none out of order
    assert all(np.isfinite(line["loss"]) for line in log if "loss" in line)

    slopes, handles = [], []
    for life in lives:
        settled = life[life[:, 3] >= SETTLED]
        if life[-1, 3] >= LIFE[0] - 1:
            slopes.append(60 * np.polyfit(settled[:, 0], settled[:, 1], 1)[0])
            half = len(settled) // 2
            handles.append(np.median(settled[half:, 2]) - np.median(settled[:half, 2]))
    assert slopes, "no life was long enough: set FSAF_LONG_MINUTES higher"
    slope, resident = float(np.median(slopes)), float(np.median([life[-1, 1] for life in lives]))
    with capsys.disabled():
        summary = f"{len(lives)} lives, {windows[-1]:,} steps: {resident:.0f} MB resident, {slope:+.1f} MB an hour within a life"
        print(
            f"\n{summary} ({np.round(slopes, 1).tolist()}), handles {np.round(handles, 1).tolist()}"
        )
    assert abs(slope) < 0.05 * resident  # an hour adds less than a twentieth
    assert max(handles) <= 0
    assert lives[-1][-1, 1] < 1.1 * lives[0][-1, 1]
