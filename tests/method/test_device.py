"""Assignment and losses on a device: the operations do not grow with the boxes, and none makes the host wait."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

conventions = pytest.mark.parametrize("convention", ["paper", "reference"])


@pytest.fixture(scope="module")
def measured():
    """Return what device_child.py prints; it runs in a process in which no function is wrapped to check shapes."""
    child = Path(__file__).with_name("device_child.py")
    done = subprocess.run(
        [sys.executable, child],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@conventions
def test_8_and_300_boxes_an_image_take_equally_many_operations(measured, convention):
    for key in ("operations", "operations_mixed"):  # mixed: images of two sizes, and a crowd
        counts = measured[convention][key]
        assert counts["8"] == counts["300"], key


@conventions
def test_no_operation_makes_the_host_wait_for_the_device(measured, convention):
    assert measured[convention]["syncs"] == []


@conventions
def test_assignment_and_losses_trace_whole_and_compile_at_most_three_times(measured, convention):
    """Images with 0, 1, 8, 50 and 3 boxes: 0 and 1 are special to the compiler, all larger numbers share one trace."""
    compiled = measured[convention]["compiled"]
    counts = compiled["compilations"]
    assert counts[2] <= 3 and counts[2:] == counts[2:3] * 3
    assert compiled["difference"] < 1e-5


@conventions
def test_forward_assignment_and_losses_stay_on_their_device(measured, convention):
    """On fake CUDA tensors, reading a value or leaving a tensor on the CPU raises."""
    if measured[convention]["cuda"] is None:
        pytest.skip("this PyTorch makes fake CUDA tensors only where a driver is installed")
    assert measured[convention]["cuda"]["losses"] == {"af_cls": "cuda:0", "af_box": "cuda:0"}


@conventions
def test_backward_needs_no_value_either_and_reaches_every_trained_parameter(measured, convention):
    assert measured[convention]["cpu"]["gradients"]
