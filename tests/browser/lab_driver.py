"""Start a JupyterLab in a folder of its own, and drive its notebooks by mouse and keyboard."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --disable-dev-shm-usage"
).split()
SETTINGS = {  # turn off what asks other hosts, or changes files during a test
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
    "extensionmanager-extension/plugin": {"enabled": False},
}
PREPARE = """
import json, sys, time
import fsaf_core as fsaf
from fsaf_core.config import SceneConfig
from fsaf_core.data.synthetic.renderer import render_scene
from fsaf_core.viz.widgets import explorer as module
from fsaf_core.viz.widgets.explorer import Explorer, PopulationItem
from fsaf_core.viz.widgets.assignment_view import explore as quick

sys.path.insert(0, {folder!r})
import course

def item(index):
    picture, objects = render_scene(SceneConfig(), index, "val")
    return PopulationItem(picture, [one.box for one in objects], [one.label for one in objects])

module.explore = quick
scene, snapshots = course.scene(), course.snapshots()
explorer = Explorer(scene.image, scene.boxes, scene.labels, snapshots, selected=scene.star,
                    detectors={{snapshots.steps[-1]: course.model()}}, population=[item(index) for index in range(20)])
""".format(folder=str(Path(__file__).parents[2] / "notebooks"))
TELL = """
from dataclasses import replace
asked = explorer.state
config = replace(snapshots.config, **asked["switches"])
outputs = explorer.snapshots.outputs[asked["snapshot"]]
size, whole = explorer.image.shape[:2], asked["mode"] == "image"
pure = quick(size, asked["boxes"], asked["labels"], outputs, config, asked["selected"], whole)
print(json.dumps({"state": asked, "answer": explorer.answer, "pure": {"stamp": asked["stamp"], **pure}}))
"""
SLOW = """
def slow(*arguments, **options):
    time.sleep(1.5)
    return quick(*arguments, **options)
module.explore = slow
"""


@contextmanager
def running_lab(home: Path, folder: Path) -> Iterator[str]:
    """Address of a running JupyterLab; it listens on the loopback only, so it needs no token."""
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
    }
    places |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    (home / "app").mkdir()  # the settings that `make lab` gives its JupyterLab
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    settings = re.search(r"^define LAB_SETTINGS\n(.*?)^endef", makefile, re.MULTILINE | re.DOTALL)[
        1
    ]
    (home / "app" / "overrides.json").write_text(settings)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = (
        f"--no-browser --allow-root --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --IdentityProvider.token= "
        f"--ServerApp.root_dir={folder} --LabApp.app_settings_dir={home / 'app'} --LabApp.extension_manager=readonly --LabApp.news_url=None "
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LanguageServerManager.autodetect=False"
    )
    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options.split()], cwd=folder, stdout=log, stderr=log,
            env=os.environ | {name: str(home / place) for name, place in places.items()},
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            until(
                lambda: answers(f"{address}/api/status"),
                120,
                f"JupyterLab does not answer, see {home}/lab.log",
            )
            yield address
        finally:
            server.terminate()
            server.wait(30)


def answers(address: str) -> object:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return json.load(reply)
    except OSError:
        return None


def until(test, seconds: float, complaint: str):
    """Wait until `test` returns something true, and return that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = test()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(complaint)


class Notebook:
    """An open notebook in JupyterLab, driven by mouse and keyboard."""

    def __init__(self, lab: tuple[str, Path], browser, name: str, *cells: str) -> None:
        self.address, folder = lab
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        nbformat.write(
            new_notebook(cells=[*map(new_code_cell, cells)], metadata=kernel), folder / name
        )
        self.name, self.complaints = name, []
        self.browser = browser
        self.open()

    def open(self, width: int = 1280, height: int = 1300) -> None:
        """Open the notebook as it is on the disk, in a new page."""
        self.page = self.browser.new_page(viewport={"width": width, "height": height})
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console", lambda said: said.type == "error" and self.complaints.append(said.text)
        )
        self.page.on("request", lambda request: self._local(request.url))
        self.page.goto(f"{self.address}/lab/tree/{self.name}?reset", wait_until="domcontentloaded")
        self.page.locator(".jp-NotebookPanel .jp-Notebook").wait_for(timeout=120_000)
        self.wait_for_kernel()

    def _local(self, url: str) -> None:
        if url.startswith(("http", "ws")) and "//127.0.0.1:" not in url:
            self.complaints.append(f"a request to another host: {url}")

    def save_and_end_kernel(self) -> None:
        """Save, close the page and end the kernel, as at the end of a day."""
        self.page.keyboard.press("Control+s")
        self.page.wait_for_timeout(2000)
        self.page.get_by_role("menuitem", name="Kernel", exact=True).click()
        self.page.get_by_role("menuitem", name="Shut Down Kernel").first.click()

        def ended() -> bool:
            return not any(
                one["path"] == self.name and one["kernel"]
                for one in answers(f"{self.address}/api/sessions") or []
            )

        until(ended, 20, "the kernel goes on")
        self.page.close()

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is idle and connected; before that, running a cell opens a dialog."""

        def ready():
            kernels = [
                one["kernel"]
                for one in answers(f"{self.address}/api/sessions") or []
                if one["path"] == self.name
            ]
            return kernels and kernels[0]["execution_state"] == "idle" and kernels[0]["connections"]

        until(ready, 120, "the notebook has no kernel")
        self.page.wait_for_timeout(300)

    def run(self, index: int, seconds: float = 120) -> str:
        """Run a cell and return the text of its output."""
        cell = self.page.locator(".jp-CodeCell").nth(index)
        prompt = cell.locator(".jp-InputPrompt")
        cell.locator(".jp-InputArea-editor").click()
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_timeout(100)
        until(
            lambda: "[*]" not in (said := prompt.inner_text()) and said.strip() != "[ ]:",
            seconds,
            f"cell {index} runs on",
        )
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())
