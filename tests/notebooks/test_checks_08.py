"""Notebook 08's exercises: other right ways pass, wrong answers put otherwise get the hint."""

import pytest
import torch
from checks.ch08 import FAULT_NAMES, LOOKS, check_diagnosis, check_train_step
from course.faults import fault_runs
from make_faults import RUNS
from solutions.ch08 import DIAGNOSIS
from torch.nn.utils import clip_grad_norm_


def step(detector, optimizer, images, targets, rate):
    """A training step in another order that gives the same."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=False)
    batch = detector.preprocess(images)
    outputs = detector.head_outputs(batch.tensor)
    assignment = detector.assign(outputs, targets, batch.sizes)
    loss = sum(detector.losses(outputs, assignment, targets).values())
    loss.backward()
    clip_grad_norm_(detector.parameters(), max_norm=10)
    optimizer.step()
    return loss.item(), assignment


def each_parameter_clipped(detector, optimizer, images, targets, rate):
    outputs = detector.head_outputs(detector.preprocess(images).tensor)
    assignment = detector.assign(outputs, targets, [0] * len(images))
    loss = sum(detector.losses(outputs, assignment, targets).values())
    optimizer.zero_grad()
    loss.backward()
    for parameter in detector.parameters():
        parameter.grad.clamp_(-10, 10)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return loss.item(), assignment


def in_a_row(detector, optimizer, images, targets, rate):
    """Gradients are zeroed after the backward pass."""
    outputs = detector.head_outputs(detector.preprocess(images).tensor)
    assignment = detector.assign(outputs, targets, [0] * len(images))
    loss = sum(detector.losses(outputs, assignment, targets).values())
    loss.backward()
    optimizer.zero_grad()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return loss.item(), assignment


def without_a_tuple(detector, optimizer, images, targets, rate):
    return step(detector, optimizer, images, targets, rate)[0]


def test_another_order_passes(verdict) -> None:
    assert verdict(check_train_step, step).startswith("done")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (each_parameter_clipped, "the clipping"),
        (in_a_row, "backward is never called"),
        (without_a_tuple, "two things"),
    ],
)
def test_wrong_steps_are_named(refused, wrong, hint) -> None:
    refused(check_train_step, wrong, hint)


def test_the_stored_runs_have_the_faults_of_the_solution() -> None:
    faults = {run: int(RUNS[run]["fault"].split()[0]) for run in DIAGNOSIS}
    assert faults == DIAGNOSIS
    assert {run for run in fault_runs() if len(run) == 1} == set(DIAGNOSIS) == set(LOOKS)
    for arguments in RUNS.values():
        number, _, name = arguments["fault"].partition(" ")
        assert number == "sound" or FAULT_NAMES[int(number)] == name


def test_the_right_names_and_numbers_pass(verdict) -> None:
    assert verdict(check_diagnosis, DIAGNOSIS).startswith("done")
    names = {run: FAULT_NAMES[number].upper() for run, number in DIAGNOSIS.items()}
    assert verdict(check_diagnosis, names).startswith("done")


@pytest.mark.parametrize("stub", [None, {}, dict.fromkeys("ABCDE"), lambda: None])
def test_no_names_are_to_do(verdict, stub) -> None:
    assert verdict(check_diagnosis, stub).startswith("to do")


@pytest.mark.parametrize("run", DIAGNOSIS)
@pytest.mark.parametrize("number", FAULT_NAMES)
def test_each_wrong_name_gets_its_hint(verdict, run: str, number: int) -> None:
    line = verdict(check_diagnosis, DIAGNOSIS | {run: number})
    assert line.startswith("done" if number == DIAGNOSIS[run] else "case")
    if number != DIAGNOSIS[run]:
        assert f"(run {run})" in line and FAULT_NAMES[number] in line and LOOKS[run] in line


@pytest.mark.parametrize(
    ("given", "hint"),
    [({"A": 2}, "run B): you gave no name"), ({"A": "bad luck"}, "not in the table")],
)
def test_missing_and_unknown_names_are_said(refused, given, hint) -> None:
    refused(check_diagnosis, given, hint)


def test_each_stored_run_shows_its_symptom() -> None:
    """A reader can tell the five runs from the sound one by the column that the hint names."""
    runs = fault_runs()
    sound, end = runs["sound"], {name: run["log"][-1] for name, run in runs.items()}
    coarse = {name: line["levels"]["P5"] + line["levels"]["P6"] for name, line in end.items()}
    assert coarse["A"] >= 4 and all(coarse[name] <= 3 for name in ("sound", *"BCD"))
    assert len(runs["B"]["detections"]) > 50
    assert min(row[4] for row in runs["B"]["detections"]) >= 0.5
    assert all(len(runs[name]["detections"]) < 50 for name in ("sound", *"ACDE"))
    first = {name: run["log"][0]["loss"] for name, run in runs.items()}
    assert first["C"] > 10 * first["sound"]
    assert runs["D"]["AP75"] < 0.5 * runs["D"]["AP50"] and sound["AP75"] > 0.8 * sound["AP50"]
    assert end["E"]["positives"] > 1.4 * end["sound"]["positives"]
    torch.testing.assert_close(end["B"]["positives"], end["sound"]["positives"], atol=3, rtol=0)
