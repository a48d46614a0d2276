"""The tables of ratios: what they count, and that each comes out whole."""

import re

import torch

from fsaf_core import presets
from fsaf_core.tools import bench
from fsaf_core.tools.op_counter import OpCounter


def test_operations_are_counted_without_views():
    a = torch.rand(4, 4)
    with OpCounter() as tally:
        (a.view(16)[:4] + 1).sum()
    assert +tally.operations == {"add": 1, "sum": 1} and tally.syncs == 0


def test_a_value_that_is_read_and_a_shape_that_depends_on_values_make_the_host_wait():
    a = torch.rand(4)
    with OpCounter() as tally:
        a.sum().item()
        torch.nonzero(a)
    assert tally.syncs == 2


def test_the_peak_is_that_of_new_tensors_alive_at_one_time():
    given = torch.zeros(1000)  # 4,000 bytes that were there before
    with OpCounter() as tally:
        given.view(10, 100)
        kept = given + 1
        for _ in range(3):
            last = kept + 1  # the next is made before this one is gone
        del last
    assert tally.peak == 3 * 4000


def test_a_comparison_is_of_interleaved_pairs_and_their_median(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(bench.time, "process_time", lambda: clock[0])

    def taking(name, seconds):
        def run():
            order.append(name)
            clock[0] += seconds.pop(0)

        return run

    # The first pair warms up; one pair of five is disturbed.
    line = bench.compare(
        "ours", taking("a", [9, 2, 2, 20, 2, 2]), "theirs", taking("b", [1, 4, 4, 4, 4, 4]), 5
    )
    assert line.ratio == 0.5 and (line.seconds, line.peer_seconds) == (2, 4)
    assert line.low == 0.5 <= line.high and order == list("ab" + "baab" * 2 + "ba")
    assert "0.50" in str(line) and "2000.0 ms" in str(line)


def test_the_table_of_the_losses_has_a_ratio_for_each_number_of_boxes_and_counts():
    lines = bench.losses_table(1)
    for convention in ("reference", "paper"):
        assert sum(f"{convention}, " in line and " boxes an image" in line for line in lines) == 3
        counts = [
            re.findall(r"\d+", line)
            for line in lines
            if f"{convention}, " in line and "syncs" in line
        ]
        assert len(counts) == 3 and all(
            int(forward) <= 150 and waits == "0" for _, forward, waits, *_ in counts
        )
    (start,) = [index for index, line in enumerate(lines) if line.startswith("(e)")]
    peaks = lines[start + 1 :]
    assert len(peaks) == 6 and all(
        float(number) <= 1.5 for line in peaks for number in re.findall(r"\d\.\d\d", line)
    )


def test_a_step_is_compared_with_the_same_network_under_a_trivial_loss():
    line = bench.step_line(presets.get("tiny_joint").model, 64, 2, 3, 2, "small")
    assert line.what == "small" and 0 < line.low <= line.ratio <= line.high


def test_loading_is_compared_with_torchvisions_own_reader():
    lines = bench.loading_table(8)
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2"] and all(
        line.endswith(" x") for line in lines[1:]
    )
