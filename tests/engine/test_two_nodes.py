"""Two nodes: two agents of torchrun on this machine, which meet over c10d and train over gloo."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_resume import assert_same

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds an agent's processes in /proc"),
]
STEPS = 24
# Frozen norms and one normalizer make the mean of two losses that of one process with the whole
# batch. SGD, because AdamW divides a gradient by itself, however small and inexact it is.
OPTIONS = f"""
    --data.scenes.num-train 96 --data.scenes.num-val 4 --data.scenes.image-size 64 --data.workers 0
    --model.channels 16 --model.tower-depth 1 --model.short-side 64 --model.long-side 128
    --model.backbone-norm frozen --train.optimizer sgd --train.lr 0.01 --train.weight-decay 0
    --train.steps {STEPS} --train.batch-size 8 --train.warmup-steps 3 --train.snapshots 0
    --train.sync-normalizer --train.checkpoint-every 2 --train.validate-every {STEPS}
    --train.log-every 2 --train.keep 20 --device cpu
"""
TRAIN = ["-m", "fsaf_core", "train", "tiny", *OPTIONS.split()]


def address() -> str:
    """Return an address at which two agents can meet."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


class Node:
    """One agent with its process, as on a machine of its own."""

    def __init__(self, root: Path, out: Path, meet: str, hosts: bool, log: Path) -> None:
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"]
        command += ["--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "fsaf"]
        command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", meet]
        command += ["--rdzv-conf", f"is_host={hosts}", *TRAIN, "--data.root", root, "--out", out]
        self.log = log
        with open(log, "w") as file:
            environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
            self.agent = subprocess.Popen(
                [*map(str, command)], stdout=file, stderr=subprocess.STDOUT, env=environment
            )

    def kill(self) -> None:
        """End the agent and its process at once, as a power failure would."""
        tasks = Path(f"/proc/{self.agent.pid}/task").glob("*/children")
        workers = [int(number) for task in tasks for number in task.read_text().split()]
        assert workers
        for number in (self.agent.pid, *workers):
            os.kill(number, signal.SIGKILL)
        self.agent.wait()

    def end(self) -> None:
        """Require that it ends well."""
        assert self.agent.wait(timeout=1200) == 0, self.log.read_text()[-3000:]


def weights(run_dir: Path, step: int) -> torch.Tensor:
    """Return all weights of a checkpoint, side by side."""
    path = run_dir / "checkpoints" / f"step_{step:09d}.pt"
    model = torch.load(path, weights_only=True)["model"]
    return torch.cat([value.flatten() for value in model.values() if value.is_floating_point()])


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory) -> Path:
    """The run of two undisturbed nodes."""
    folder, meet = tmp_path_factory.mktemp("nodes"), address()
    nodes = [
        Node(root, folder / "run", meet, number == 0, folder / f"{number}.log") for number in (0, 1)
    ]
    for node in nodes:
        node.end()
    return folder / "run"


def test_two_nodes_have_the_weights_of_one_process_with_the_whole_batch(whole, root, tmp_path):
    """Two float32 results are within 128 U at first, and three times further apart each step.

    `tests/parity/test_reference.py` derives the one and measured the other. The distance is
    relative to that by which two steps move the weights.
    """
    out = tmp_path / "alone"
    command = [sys.executable, *TRAIN, "--data.root", root, "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    moved = (weights(out, 4) - weights(out, 2)).norm()
    assert moved > 0
    distance = (weights(whole, 4) - weights(out, 4)).norm() / moved
    print(f"after 4 steps: {distance:.1e} of what the last two steps moved")
    assert distance <= 3**4 * 128 * 2.0**-24


def test_a_node_that_is_killed_and_started_again_joins_and_the_run_ends_as_undisturbed(
    whole, root, tmp_path
):
    run_dir, meet, end = tmp_path / "run", address(), time.monotonic() + 600
    first = Node(root, run_dir, meet, True, tmp_path / "first.log")
    second = Node(root, run_dir, meet, False, tmp_path / "second.log")
    while not [*(run_dir / "checkpoints").glob("step_*.pt")]:
        assert time.monotonic() < end and first.agent.poll() is None, first.log.read_text()[-3000:]
        time.sleep(0.01)
    second.kill()
    assert not (run_dir / "model.safetensors").exists()
    again = Node(root, run_dir, meet, False, tmp_path / "again.log")
    first.end()
    again.end()
    said = first.log.read_text() + again.log.read_text()
    print(*[line for line in said.splitlines() if "step" in line], sep="\n")
    assert "resuming from step" in said
    assert_same(whole, run_dir)
