"""Settings of the kernels in which nbval runs the notebooks, and corrections of nbval."""

import os
import tempfile
from pathlib import Path

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

# A kernel imports tests/offline/sitecustomize.py first, so it has no network, as all tests.
OFFLINE = Path(__file__).parents[1] / "tests" / "offline"

# Each value holds unless the caller has set one; `make test-all` sets them all.
SETTINGS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "ONEDNN_MAX_CPU_ISA": "AVX2"}
for name, value in SETTINGS.items():
    os.environ.setdefault(name, value)
os.environ |= {
    "IPYTHONDIR": tempfile.mkdtemp(prefix="ipython-"),  # without the user's start-up files
    "PYTHONPATH": os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])),
}


def _execute(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    # nbval runs cells without history. Then a trailing `;` does not hide a value as it does in
    # Jupyter (nbval's issue 194).
    return self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


def _init_with_long_timeout(self: IPyNbCell, *args: object, **kwargs: object) -> None:
    # nbval waits 5 seconds for a finished cell's last output, which is too short on a busy
    # machine (nbval's issue 231).
    _init(self, *args, **kwargs)
    self.output_timeout = 60


_init = IPyNbCell.__init__
IPyNbCell.__init__ = _init_with_long_timeout
RunningKernel.execute_cell_input = _execute
