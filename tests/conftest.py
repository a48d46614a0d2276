"""What every test stands on: shapes in signatures are enforced, one thread, no internet, a browser where there is one."""

import os
import runpy
import shutil
import signal
from pathlib import Path

import jaxtyping
import pytest
from jaxtyping import install_import_hook

OFFLINE = Path(__file__).parent / "offline"

# Before torch is imported, here or in a child: one thread, and none that spins. Wider instructions add up in another order; the
# default keeps runs on different machines comparable. `tests/instruction_sets.py` (make test-all) sets these to every value.
for name, value in {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
}.items():
    os.environ.setdefault(name, value)

# A shell's background jobs ignore Ctrl-C, and so would their children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# For this process, and for its children by the environment.
runpy.run_path(str(OFFLINE / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")])
)

# Must come before anything imports fsaf_core: from here on a wrong shape or type in a call is an error. An int is a fine float.
install_import_hook(
    "fsaf_core", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)


@pytest.fixture
def unchecked(monkeypatch):
    """As users run it: types are not looked at."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A folder of data, empty at first, that all trainings of the session share."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium or Chrome. Without one the test is skipped; where FSAF_REQUIRE_BROWSER is 1, it fails."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found:
        return found
    missing = (
        "no Chromium or Chrome found: install one, or name it in the environment variable CHROMIUM"
    )
    if os.environ.get("FSAF_REQUIRE_BROWSER") == "1":
        pytest.fail(missing)
    pytest.skip(missing)
