"""The tables of `fsaf bench`: what they count, and that each has all its lines."""

import re

import torch

from fsaf_core import presets
from fsaf_core.tools import bench, bench_losses, timing
from fsaf_core.tools.op_counter import OpCounter


def test_operations_are_counted_without_views():
    a = torch.rand(4, 4)
    with OpCounter() as counter:
        (a.view(16)[:4] + 1).sum()
    assert +counter.operations == {"add": 1, "sum": 1} and counter.syncs == 0


def test_reading_a_value_and_a_shape_that_depends_on_values_are_syncs():
    a = torch.rand(4)
    with OpCounter() as counter:
        a.sum().item()
        torch.nonzero(a)
    assert counter.syncs == 2


def test_the_peak_counts_new_tensors_alive_at_one_time():
    given = torch.zeros(1000)  # 4,000 bytes that existed before
    with OpCounter() as counter:
        given.view(10, 100)
        kept = given + 1
        for _ in range(3):
            last = kept + 1  # the next one is made before this one is freed
        del last
    assert counter.peak == 3 * 4000


def test_a_comparison_is_of_interleaved_pairs_and_their_median(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])

    def taking(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds.pop(0)

        return run

    # The first pair warms up; one pair of five is disturbed.
    line = timing.compare(
        "ours", taking("a", [9, 2, 2, 20, 2, 2]), "theirs", taking("b", [1, 4, 4, 4, 4, 4]), 5
    )
    assert line.ratio == 0.5 and (line.seconds, line.peer_seconds) == (2, 4)
    assert line.low == 0.5 <= line.high and order == list("ab" + "baab" * 2 + "ba")
    assert "0.50" in str(line) and "2000.0 ms" in str(line)


def test_the_table_of_the_losses_has_time_operations_and_memory_for_each_number_of_boxes():
    lines = bench_losses.losses_table(1)
    for convention in ("reference", "paper"):
        rows = [line for line in lines if f"{convention}, " in line]
        assert sum(" boxes an image" in row for row in rows) == 3
        counts = [re.findall(r"\d+", row)[1:] for row in rows if "syncs" in row]
        assert len(counts) == 3
        # As many operations for 300 boxes as for 8, and no sync.
        assert counts[0] == counts[1] == counts[2]
        assert counts[0][1::2] == ["0", "0"]
    peaks = lines[lines.index(next(line for line in lines if line.startswith("(e)"))) + 1 :]
    numbers = [[float(number) for number in re.findall(r"\d+\.\d\d", line)] for line in peaks]
    assert [len(row) for row in numbers] == [2] * 6
    few_boxes = [row for line, row in zip(peaks, numbers) if " 300 boxes" not in line]
    assert max(max(row) for row in few_boxes) <= 4.5


def test_a_step_is_compared_with_the_same_network_under_a_trivial_loss():
    line = bench.step_line(presets.get("tiny_joint").model, 64, 2, 3, 2, "small")
    assert line.name == "small" and 0 < line.low <= line.ratio <= line.high


def test_loading_is_compared_with_torchvisions_own_reader():
    lines = bench.loading_table(8)
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2"] and all(
        line.endswith(" x") for line in lines[1:]
    )
