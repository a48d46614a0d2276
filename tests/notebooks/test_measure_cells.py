"""measure_cells.py notices a cell without a sign, and counts CPU time only."""

from pathlib import Path

import nbformat
import pytest
from measure_cells import SILENT, WITHOUT_BAR, Cell, Watch, report

CELLS = (
    "import time\ntime.sleep(2)",
    "end = time.process_time() + 1\nwhile time.process_time() < end:\n    pass",
    "for part in range(4):\n    end = time.process_time() + 0.3\n    while time.process_time() < end:\n        pass\n"
    "    print(f'{25 * part + 25}%|##   |', flush=True)",
)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="CPU times are in /proc, on Linux")
def test_seconds_silence_and_bars_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "some.ipynb"
    cells = [nbformat.v4.new_code_cell(source, id=f"c{i}") for i, source in enumerate(CELLS)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    client = Watch(path)
    client.execute()
    asleep, busy, told = client.watched
    assert asleep.seconds < 1 and asleep.first_line == "import time"
    assert 0.9 < busy.seconds < 2 and busy.silence == pytest.approx(busy.seconds, abs=0.3)
    assert 1.1 < told.seconds < 2.5 and told.silence < 0.8
    assert (told.has_bar, busy.has_bar) == (True, False)


def test_a_long_wait_is_reported() -> None:
    lines: list[str] = []
    quick = Cell("a", "quick", "", [0, WITHOUT_BAR - 1])
    dull = Cell("a", "dull", "", [0, WITHOUT_BAR + 1])
    barred = Cell("a", "barred", "", [0, 10, 20, 30], has_bar=True)
    silent = Cell("a", "silent", "", [0, 10, 11 + SILENT], has_bar=True)
    assert report([quick, barred], 5, lines.append) == 0
    assert report([dull], 5, lines.append) == 1 and lines[-2] == "TOO LONG: a dull: no bar"
    assert report([silent], 5, lines.append) == 1 and "silent for 21 s" in lines[-2]
    assert report([barred] * 25, 1, lines.append) == 1 and "12 minutes" in lines[-1]
