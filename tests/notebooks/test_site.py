"""`make site`: the pages open without the internet, with their mathematics, their pictures and working links to cells."""

import re
import subprocess
from pathlib import Path

import pytest
from make_notebooks import NOTEBOOKS, all_notebooks

ROOT = NOTEBOOKS.parent
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|object)\b[^>]*?\b(?:src|href|data)=[\"']((?:https?:)?//[^\"']+)",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def site() -> Path:
    done = subprocess.run(["make", "site"], cwd=ROOT, capture_output=True, text=True)
    if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
        pytest.skip("Sphinx cannot be installed here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (
        ROOT / "jupyter_execute"
    ).exists()  # MyST-NB leaves one beside the pages: ruff would read it
    return ROOT / "site"


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not LOADED.findall(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", style.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"@import[^;]*//|url\([\"']?(https?:)?//", text), style


@pytest.mark.slow
def test_every_notebook_is_a_page_and_every_link_to_a_cell_arrives(site: Path) -> None:
    for path in all_notebooks():
        page = site / "notebooks" / f"{path.stem}.html"
        for target, fragment in re.findall(
            r"href=\"([^\"#:]*)#(cell-id=[^\"]+)\"", page.read_text(encoding="utf-8")
        ):
            goal = page.parent / target if target else page
            assert f'id="{fragment}"' in goal.read_text(encoding="utf-8"), (
                page.name,
                target,
                fragment,
            )
    assert (site / "notebooks" / "GLOSSARY.html").exists()


@pytest.mark.slow
def test_the_explorer_is_alive_on_the_site(site: Path) -> None:
    for name in ("index.html", "notebooks/explorer.html", "notebooks/06_regions.html"):
        page = site / name
        (frame,) = re.findall(r'<iframe[^>]* src="([^"]+)"', page.read_text(encoding="utf-8"))
        assert "makeTwin" in (page.parent / frame).read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_browser_shows_each_page_whole_and_asks_nobody(site: Path, chromium: str) -> None:
    """Every picture has its size, formulas are there, nothing but files is asked for, and no script fails."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        asked, faults = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        for path in all_notebooks():
            page.goto((site / "notebooks" / f"{path.stem}.html").as_uri())
            page.wait_for_load_state("load")
            assert page.evaluate(
                "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
            ), path.stem
            assert (
                page.evaluate("document.querySelectorAll('article img, article svg').length") > 0
            ), path.stem
            if "$" in path.read_text(encoding="utf-8"):
                assert page.evaluate("document.querySelectorAll('math').length") > 0, path.stem
        browser.close()
    assert [
        url for url in asked if not url.startswith(("file:", "data:", "blob:"))
    ] == [] and faults == []
