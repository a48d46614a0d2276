"""Cures for nbval, and a kernel that is like everybody's; nothing here is part of the course."""

import os
import tempfile
from pathlib import Path

from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

OFFLINE = (
    Path(__file__).parents[1] / "tests" / "offline"
)  # kernels stay on this machine, as all tests do

for name, value in {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}.items():
    os.environ.setdefault(name, value)  # `make test-all` sets every value
os.environ |= {
    "IPYTHONDIR": tempfile.mkdtemp(
        prefix="ipython-"
    ),  # nobody's own start-up files, nobody's own history
    "PYTHONPATH": os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])),
}


def _execute(self: RunningKernel, cell_input: str, allow_stdin: bool | None = None) -> str:
    # nbval runs cells without history, where a trailing `;` does not silence a value as it does in Jupyter (its issue 194).
    return self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


def _patient(self: IPyNbCell, *args: object, **kwargs: object) -> None:
    _init(self, *args, **kwargs)
    self.output_timeout = 60  # seconds for a finished cell's last output; nbval's 5 are too few on a busy machine (its issue 231)


_init = IPyNbCell.__init__
IPyNbCell.__init__ = _patient
RunningKernel.execute_cell_input = _execute
