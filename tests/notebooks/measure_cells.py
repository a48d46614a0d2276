"""Run notebooks and print their slowest cells: no reader waits long without a sign.

python tests/notebooks/measure_cells.py                           # all of the course
python tests/notebooks/measure_cells.py notebooks/08_training.ipynb --cells 10

Seconds are of CPU time, of the kernel and its children, so that another program on the machine does not count. A cell may be silent
for 20 s, and one of more than 5 s shows a bar; the course takes at most 12 minutes. Otherwise the exit status is 1. Nothing is stored.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from make_notebooks import CELL_TIMEOUT, all_notebooks
from nbclient import NotebookClient

SILENT, WITHOUT_BAR, COURSE = 20, 5, 720  # seconds, at most
BAR = re.compile(r"\d+%\||\d+/\d+ \[|█")  # as tqdm draws it
SIGNS = ("stream", "display_data", "update_display_data", "execute_result", "comm_open", "comm_msg")


@dataclass
class Cell:
    """What running one cell took."""

    notebook: str
    name: str
    first_line: str
    times: list[float] = field(default_factory=list)  # its start, each sign of life, its end
    has_bar: bool = False

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[0]

    @property
    def silence(self) -> float:
        """The longest time between two signs."""
        return max(later - earlier for earlier, later in zip(self.times, self.times[1:]))

    @property
    def faults(self) -> list[str]:
        found = []
        if self.silence > SILENT:
            found.append(f"silent for {self.silence:.0f} s")
        if self.seconds > WITHOUT_BAR and not self.has_bar:
            found.append("no bar")
        return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all its children, ended or not."""
    ticks, waiting = 0, [pid]
    while waiting:
        one = Path("/proc", str(waiting.pop()))
        try:
            fields = (one / "stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, and those of ended children
            for task in (one / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


class Watch(NotebookClient):
    """A client that writes down when a cell gives a sign."""

    def __init__(self, path: Path) -> None:
        self.path, self.watched = path, []
        super().__init__(
            nbformat.read(path, as_version=4),
            timeout=CELL_TIMEOUT,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            record_timing=False,
            resources={"metadata": {"path": str(path.parent)}},
        )
        self.on_cell_execute, self.on_cell_executed = self.begin, self.end

    def clock(self) -> float:
        return cpu_seconds(self.km.provisioner.pid)

    def begin(self, cell: nbformat.NotebookNode, cell_index: int) -> None:
        if cell.cell_type == "code":
            line = next((line for line in cell.source.splitlines() if line.strip()), "")
            self.watched.append(Cell(self.path.stem, cell.id, line[:60], [self.clock()]))

    def end(self, cell: nbformat.NotebookNode, cell_index: int, execute_reply: dict) -> None:
        self.watched[-1].times.append(self.clock())

    def process_message(self, msg: dict, cell: nbformat.NotebookNode, cell_index: int) -> object:
        if msg["header"]["msg_type"] in SIGNS and self.watched:
            self.watched[-1].times.append(self.clock())
            content = msg["content"]
            shown = content.get("text", "") + str(content.get("data", ""))
            self.watched[-1].has_bar |= bool(BAR.search(shown))
        return super().process_message(msg, cell, cell_index)


def report(cells: list[Cell], most: int, say: Callable[[str], None] = print) -> int:
    """Print the slowest cells, those with a fault, and the sum; return 1 if a reader would wait too long."""
    for cell in sorted(cells, key=lambda one: -one.seconds)[:most]:
        bar = "bar" if cell.has_bar else "   "
        say(
            f"{cell.seconds:6.1f} s, {cell.silence:5.1f} s silent, {bar}  "
            f"{cell.notebook} {cell.name}: {cell.first_line}"
        )
    faulty = [cell for cell in cells if cell.faults]
    for cell in faulty:
        say(f"TOO LONG: {cell.notebook} {cell.name}: {', '.join(cell.faults)}")
    total = sum(cell.seconds for cell in cells)
    say(f"{len(cells)} cells, {total / 60:.1f} minutes of CPU time in all")
    if total > COURSE:
        say(f"TOO LONG: the course takes more than {COURSE // 60} minutes")
    return int(bool(faulty) or total > COURSE)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of the course")
    parser.add_argument("--cells", type=int, default=20, help="how many to print")
    given = parser.parse_args()
    if not Path("/proc/self/task").exists():
        parser.exit(2, "This reads CPU times in /proc, which only Linux has.\n")
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    cells: list[Cell] = []
    for path in given.notebooks or all_notebooks():
        client = Watch(path.resolve())
        client.execute()
        cells += client.watched
        print(f"{path.name}: {sum(cell.seconds for cell in client.watched):.0f} s", flush=True)
    return report(cells, given.cells)


if __name__ == "__main__":
    sys.exit(main())
