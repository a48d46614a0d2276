"""`make test-gpu`: what can only be checked or measured on a GPU, in less than five minutes, as one table.

It needs what fsaf_core imports, no pytest, no network and no data set. `python tests/gpu.py --device cpu`
runs the same checks small. Names of checks run these alone. On a GPU the whole table goes to
tests/records/gpu.md, from where `python tests/results.py` copies it into the README.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "parity")]

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from cases import CASES, NETWORK, by_level, run  # noqa: E402
from helpers import SMALL, random_target  # noqa: E402
from tiny_config import tiny_config  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

import fsaf_core as fsaf  # noqa: E402
from fsaf_core import presets  # noqa: E402
from fsaf_core.config import TrainConfig  # noqa: E402
from fsaf_core.engine.training_step import TrainingStep  # noqa: E402
from fsaf_core.tools.memory_plan import bucket_memory, step_memory  # noqa: E402
from fsaf_core.tools.op_counter import OpCounter  # noqa: E402
from fsaf_core.tools.reproduce import device_name, inference_speed, training_speed  # noqa: E402

RECORD = ROOT / "tests" / "records" / "gpu.md"
# cuDNN may compute a 3 x 3 convolution as Winograd's F(4 x 4, 3 x 3), whose error is 7 times that of
# the sum itself. Source: Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, table of
# maximum element errors.
BOUND = {"cpu": NETWORK, "cuda": 8 * NETWORK}
LR = 0.01  # of the trainings here


def parity(device: torch.device) -> str:
    """Compare assignment, losses, gradients and detections with MMDetection's recorded numbers."""
    names = (
        CASES if device.type == "cuda" else [name for name in CASES if name.startswith("tiny")][:3]
    )
    bound, largest = BOUND[device.type], 0.0
    for name in names:
        case = run(name, torch.float32, device)
        want = case.want
        levels = [-1 if level is None else level for level in want["selected_level"]]
        assert case.assignment.selected_level.tolist() == levels, f"{name}: selected levels"
        positives = by_level(case.assignment.positive, case.locations)
        assert positives == want["positives_by_level_after"], f"{name}: positive locations"
        for ours, theirs in (
            (case.losses["af_cls"], want["loss_cls"]),
            (case.losses["af_box"], want["loss_box"]),
            (case.total, want["grad_norm_total"]),
        ):
            assert abs(ours - theirs) <= bound * theirs, f"{name}: {ours} instead of {theirs}"
            largest = max(largest, abs(ours - theirs) / (abs(theirs) or 1))
        for ours, theirs in zip(case.found, want["detections"], strict=True):
            assert len(ours["boxes"]) == theirs["count"], f"{name}: number of detections"
            labels = ours["labels"][: len(theirs["labels"])].tolist()
            assert labels == theirs["labels"], f"{name}: labels of detections"
    return f"{len(names)} cases; losses and gradient norms off by at most {largest:.0e}"


def syncs(device: torch.device) -> str:
    """Require that assignment and losses never wait for the device."""
    targets = [random_target(count, 64, 96, seed=count) for count in (8, 50)]
    targets = [{key: value.to(device) for key, value in one.items()} for one in targets]
    for convention in ("paper", "reference"):
        detector = fsaf.build_detector(replace(SMALL, convention=convention)).to(device).train()
        outputs = detector.head_outputs(torch.rand(2, 3, 64, 96, device=device))
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            with OpCounter() as counter:
                assignment = detector.assign(outputs, targets, [(64, 96), (50, 61)])
                losses = detector.losses(outputs, assignment, targets)
            torch.stack([*losses.values()]).sum().backward()
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        assert counter.syncs == 0, f"{convention}: {counter.operations}"
    return "no wait in assignment, losses and backward, both conventions"


def first_losses(device: torch.device, **recipe: object) -> dict[str, float]:
    """Return the losses of a training step of the same weights and images.

    Levels are those of the heuristic: rounding cannot select another one.
    """
    torch.manual_seed(0)
    model = replace(presets.get("tiny").model, selection="heuristic")
    detector = fsaf.build_detector(model).to(device)
    if recipe.get("channels_last"):
        detector.to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(3, 128, 128, generator=generator).to(device) for _ in range(4)]
    targets = [random_target(5, 128, 128, seed, 6) for seed in range(4)]
    losses, _ = TrainingStep(detector.train(), TrainConfig(**recipe))(images, targets)
    torch.stack([*losses.values()]).sum().backward()
    gradients = [p.grad for p in detector.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    return {name: loss.item() for name, loss in losses.items()}


def trained(device: torch.device, **recipe: object) -> tuple[float, float]:
    """Train for 40 steps; return the first and the last loss of the log."""
    with tempfile.TemporaryDirectory() as folder:
        regular = {"log_every": 10, "checkpoint_every": 40, "validate_every": 40}
        config = tiny_config(Path(folder), steps=40, **regular, **recipe)
        with redirect_stdout(StringIO()):
            fsaf.train(config, Path(folder) / "run", device.type)
        lines = (Path(folder) / "run" / "log.jsonl").read_text().splitlines()
    losses = [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]
    assert None not in losses and losses[-1] < losses[0], losses
    return losses[0], losses[-1]


def variant(device: torch.device, bound: float, **recipe: object) -> str:
    """Compare a step with that of float32, then train."""
    plain, other = first_losses(device), first_losses(device, **recipe)
    for name, loss in plain.items():
        assert abs(other[name] - loss) <= bound * max(loss, 1), f"{name}: {other[name]}, not {loss}"
    far = max(abs(other[name] - loss) / loss for name, loss in plain.items())
    first, last = trained(device, **recipe)
    return f"first losses off by {far:.0e}; 40 steps: loss {first:.2f} -> {last:.2f}"


# In half precision each of the 30 convolutions and norms of tiny rounds input, weight and output with
# a random sign: outputs are off by sqrt(3 * 30) < 10 roundings. -ln IoU, the most sensitive loss, is
# the logarithm of a product of two sides, so it changes by twice as much.
def bf16(device: torch.device) -> str:
    """Train in bf16."""
    return variant(device, 20 * 2.0**-8, amp="bf16")


def fp16(device: torch.device) -> str:
    """Train in fp16, with a scaled loss."""
    return variant(device, 20 * 2.0**-11, amp="fp16")


def channels_last(device: torch.device) -> str:
    """Train in channels-last order: the same sums in another order."""
    return variant(device, BOUND[device.type], channels_last=True)


def compiled(device: torch.device) -> str:
    """Train with torch.compile: the same sums in another order."""
    return variant(device, BOUND[device.type], compile=True)


def one_process(device: torch.device) -> str:
    """Run a step under DistributedDataParallel in a group of one process."""
    backend = "nccl" if device.type == "cuda" else "gloo"
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    dist.init_process_group(backend, init_method=f"tcp://localhost:{port}", rank=0, world_size=1)
    images = [torch.rand(3, 64, 96, device=device) for _ in range(2)]
    targets = [random_target(5, 64, 96, seed) for seed in range(2)]
    gradients = []
    try:
        for wrapped in (False, True):
            torch.manual_seed(0)
            detector = fsaf.build_detector(SMALL).to(device).train()
            detector.sync_normalizer = wrapped
            network: torch.nn.Module = TrainingStep(detector, TrainConfig())
            network = DistributedDataParallel(network) if wrapped else network
            losses, _ = network(images, targets)
            torch.stack([*losses.values()]).sum().backward()
            parameters = [p for p in detector.parameters() if p.grad is not None]
            gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
            del network  # before its process group
    finally:
        dist.destroy_process_group()
    distance = ((gradients[1] - gradients[0]).norm() / gradients[0].norm()).item()
    assert distance <= BOUND[device.type], distance
    return f"{backend}: gradients off by {distance:.0e}"


def kill(device: torch.device) -> str:
    """Kill a training after its first checkpoint, and resume it.

    On the CPU its weights end equal. On a GPU sums that threads add in any order are off by
    rounding, which grows threefold a step (tests/parity/test_reference.py).
    """
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        script = f"""
import sys
sys.path[:0] = {sys.path[:3]!r}
from pathlib import Path
from tiny_config import tiny_config
import fsaf_core as fsaf
recipe = dict(steps=8, checkpoint_every=2, optimizer="sgd", lr={LR}, weight_decay=0.0)
config = tiny_config(Path({folder!r}), **recipe)
fsaf.train(config, sys.argv[1], {device.type!r})
"""
        command = [sys.executable, "-c", script]
        subprocess.run([*command, whole], check=True, stdout=subprocess.DEVNULL)
        child = subprocess.Popen([*command, killed], stdout=subprocess.DEVNULL)
        while not [*killed.glob("checkpoints/step_*.pt")]:
            assert child.poll() is None, "the training ended before it was killed"
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        said = subprocess.run([*command, killed], check=True, stdout=subprocess.PIPE, text=True)
        (resumed,) = [line for line in said.stdout.splitlines() if line.startswith("resuming")]
        ends = [fsaf.load(run_dir / "model.safetensors") for run_dir in (whole, killed)]
    one, other = (
        torch.cat([value.flatten().float() for value in end.state_dict().values()]) for end in ends
    )
    distance = ((one - other).norm() / one.norm()).item()
    assert distance <= (0 if device.type == "cpu" else 3**8 * BOUND["cuda"]), distance
    return f"{resumed.split(',')[0]}; weights off by {distance:.0e}"


def memory(device: torch.device) -> str:
    """Compare the planned memory of a training step of r50 with the published one."""
    config = presets.get("r50")
    planned, published = step_memory(config, 2) + bucket_memory(config), presets.PUBLISHED["r50"][0]
    assert abs(planned / 1e9 / published - 1) <= 0.08, planned
    return f"fsaf plan r50 {planned / 1e9:.2f} GB with DDP's buckets, published {published:.2f} GB"


def speed(device: torch.device) -> str:
    """Check that a step and an inference of tiny can be timed; `rows` has those of the presets."""
    images = [torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8) for _ in range(4)]
    config = presets.get("tiny")
    detector = fsaf.build_detector(config.model).to(device)
    fps = inference_speed(detector, images)
    targets = [random_target(5, 128, 128, seed, 6) for seed in range(4)]
    _, seconds = training_speed(detector, config.train, images, targets)
    return f"tiny, 4 x 128 x 128: {seconds:.3f} s a step, {fps:.1f} images/s"


CHECKS: dict[str, Callable[[torch.device], str]] = {
    check.__name__: check
    for check in (
        *(parity, syncs, bf16, fp16, channels_last, compiled),
        *(one_process, kill, memory, speed),
    )
}


def rows(device: torch.device) -> list[str]:
    """Return the four published rows beside this GPU's: random weights, images of 800 x 1333."""
    lines = [
        "| row | train mem GB | `fsaf plan` | s/iter | images/s |",
        "|---|---|---|---|---|",
    ]
    images = [torch.randint(0, 256, (3, 800, 1333), dtype=torch.uint8) for _ in range(20)]
    targets = [random_target(8, 800, 1333, seed, 80) for seed in range(2)]
    for name, (published, seconds, fps) in presets.PUBLISHED.items():
        config = presets.get(name)
        planned = step_memory(config, 2) / 1e9
        detector = fsaf.build_detector(config.model).to(device)
        ours = inference_speed(detector, images)
        peak, step = training_speed(detector, config.train, images[:2], targets)
        del detector
        torch.cuda.empty_cache()
        together = planned + bucket_memory(config) / 1e9
        several = f"{together:.2f} with DDP's buckets"
        lines.append(
            f"| {name}, published | {published:.2f} | {several} | {seconds:.2f} | {fps:.1f} |"
        )
        lines.append(f"| {name}, here | {peak:.2f} | {planned:.2f} | {step:.2f} | {ours:.1f} |")
    return lines


def main() -> int:
    """Run the checks, print the table, and on a GPU record it; return 1 if a check failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", choices=[[], *CHECKS], help="all if none is named")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("There is no CUDA device here: give --device cpu for a small run.", file=sys.stderr)
        return 2
    device, begin, failed = torch.device(options.device), time.monotonic(), 0
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    lines = [
        f"{device_name(device)}, torch {torch.__version__}",
        "",
        "| check | result | seconds |",
        "|---|---|---|",
    ]
    for name in options.checks or CHECKS:
        start = time.monotonic()
        try:
            result = CHECKS[name](device)
        except Exception as error:
            traceback.print_exc()
            failed += 1
            result = f"FAILED: {type(error).__name__}: {str(error)[:200]}"
        lines.append(f"| {name} | {result} | {time.monotonic() - start:.0f} |")
        print(lines[-1], flush=True)
    if device.type == "cuda" and not options.checks:
        lines += ["", *rows(device)]
        lines += ["", f"{time.monotonic() - begin:.0f} seconds in all; {failed} checks failed."]
        RECORD.write_text("\n".join(lines) + "\n")
        print(*lines, sep="\n")
    return int(failed > 0)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
