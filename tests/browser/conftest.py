"""A JupyterLab for the tests, in a folder of its own, and a Chromium that opens it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_driver import FLAGS, PREPARE, SLOW, TELL, Notebook, running_lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[tuple[str, Path]]:
    home, folder = tmp_path_factory.mktemp("jupyter"), tmp_path_factory.mktemp("notebooks")
    with running_lab(home, folder) as address:
        yield address, folder


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, headless=True, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def notebook(lab, browser) -> Iterator[Notebook]:
    """One notebook for all tests of a file; any error on its console fails them."""
    opened = Notebook(lab, browser, "explorer.ipynb", PREPARE, "explorer", TELL, SLOW, "")
    yield opened
    opened.page.close()
    assert not opened.complaints
