"""`make site`: the pages open without the internet, with every figure alive, their mathematics, pictures and working links.

With FSAF_SITE, the tests look at the site in that folder and make none.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from make_notebooks import NOTEBOOKS, all_notebooks
from make_site import GROUPS, names, needed, same_drawing, statements

ROOT = NOTEBOOKS.parent
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|object)\b[^>]*?\b(?:src|href|data)=[\"']((?:https?:)?//[^\"']+)",
    re.IGNORECASE,
)
LARGEST = 15_000_000  # bytes, of the whole site
WITHOUT_FIGURES = {"11_capstone"}  # its figures are the reader's own
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
]


@pytest.fixture(scope="module")
def site() -> Path:
    if os.environ.get("FSAF_SITE"):
        return Path(os.environ["FSAF_SITE"])
    done = subprocess.run(["make", "site"], cwd=ROOT, capture_output=True, text=True)
    if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
        pytest.skip("Sphinx cannot be installed here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (
        ROOT / "jupyter_execute"
    ).exists()  # MyST-NB leaves one beside the pages: ruff would read it
    return ROOT / "site"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield opened
        opened.close()


class Elements(HTMLParser):
    """What of a page the tests look at."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.images: list[dict] = []
        self.frames: list[dict] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, given: list) -> None:
        attributes = dict(given)
        self.names |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        if tag in ("img", "iframe"):
            (self.images if tag == "img" else self.frames).append(attributes)


@cache
def pages(site: Path) -> dict[Path, Elements]:
    return {page: Elements(page) for page in site.rglob("*.html") if "_static" not in page.parts}


def shown_figures(path: Path) -> list[str]:
    """The cells of a notebook whose stored text says that they show an explorer."""
    return [
        cell.id
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.get("data", {}).get("text/plain", "").startswith("Explorer: ")
    ]


# What make_site.py takes out of a notebook


def test_only_what_a_figure_needs_is_run() -> None:
    cell = nbformat.v4.new_code_cell
    notebook = nbformat.v4.new_notebook(
        cells=[
            cell("import a\nb = a.b()\nslow = a.train(b)"),
            cell("def make(x):\n    slow = x\n    return b + slow"),
            cell("print(slow)\na.quiet(1)\nf = make(1)\nf.state = {}\nf.observe(print)\nf"),
        ]
    )
    every = statements(notebook)
    run = [one.node.lineno for one in needed(every[:-1], every[-1].reads) if one.cell == 2]
    assert run == [3, 4, 5]
    chosen = needed(every[:-1], every[-1].reads)
    assert not any("slow" in one.writes for one in chosen)
    reads, writes = names(every[3].node)
    assert "b" in reads and writes == {"make"}


def test_a_drawing_may_differ_by_a_rounding_only() -> None:
    told = '<svg aria-label="P3 0.254"><rect x="3.1" fill="#0065a8"/></svg>'
    for text, same in (("0.254", "0.255"), ("3.1", "3.2")):
        assert same_drawing(told, told.replace(text, same))
    for text, other in (
        ("0.254", "0.554"),
        ("P3", "P4"),
        ('"3.1"', '"4.1"'),
        ("0065", "0066"),
        ("rect", "path"),
    ):
        assert not same_drawing(told, told.replace(text, other)), other


# The files


@pytest.mark.slow
def test_the_site_is_small(site: Path) -> None:
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < LARGEST


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not LOADED.findall(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        text = re.sub(r"/\*.*?\*/", "", style.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.search(r"@import[^;]*//|url\([\"']?(https?:)?//", text), style


@pytest.mark.slow
def test_every_link_and_anchor_on_every_page_arrives(site: Path) -> None:
    read = pages(site)
    assert {path.stem for path in all_notebooks()} | {"GLOSSARY"} <= {page.stem for page in read}
    count, wrong = 0, []
    for page, elements in read.items():
        for link in elements.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//"):
                continue
            goal = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            goal = goal / "index.html" if goal.is_dir() else goal
            fragment = unquote(parts.fragment)
            known = read[goal].names if goal in read and fragment else {fragment}
            count += 1
            if not goal.exists() or fragment not in known:
                wrong.append((page.relative_to(site).as_posix(), link))
    assert wrong == [] and count > 1000


@pytest.mark.slow
def test_links_to_cells_are_kept(site: Path) -> None:
    """The names of cells, which JupyterLab's links use, are those of the notebooks."""
    for path in all_notebooks():
        found = pages(site)[site / "notebooks" / f"{path.stem}.html"].names
        code = [c.id for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        assert {f"cell-id={name}" for name in code} <= found, path.stem


@pytest.mark.slow
def test_alt_texts_reach_the_reader(site: Path) -> None:
    for page, elements in pages(site).items():
        for image in elements.images:
            says = image.get("alt", "")
            assert len(says.split()) > 2 and "_images" not in says, (page.name, image["src"], says)
        for frame in elements.frames:
            assert frame.get("title"), page.name


@pytest.mark.slow
def test_every_figure_is_alive(site: Path) -> None:
    """Each explorer of each notebook, and each figure of course.figures, is a page in a frame."""
    alive = ""
    for path in all_notebooks():
        elements = pages(site)[site / "notebooks" / f"{path.stem}.html"]
        folder = site / "notebooks"
        frames = [folder / frame["src"] for frame in elements.frames]
        for frame in frames:
            text = frame.read_text(encoding="utf-8")
            assert "showPage(" in text, frame
            alive += "showPage(" + text.rpartition("showPage(")[2][:80] + "\n"
        if path.stem not in WITHOUT_FIGURES:
            shown = [f"{path.stem}-{cell}.html" for cell in shown_figures(path)]
            assert {*shown} <= {frame.name for frame in frames}, path.stem
        stills = [image for image in elements.images if "still" in image.get("class", "")]
        assert len(stills) == len(frames), path.stem
    for module in (NOTEBOOKS / "course" / "figures").glob("*.py"):
        text = module.read_text(encoding="utf-8")
        if "def example(" in text:
            (name,) = re.findall(r"^    name, twin = \"(\w+)\"", text, re.MULTILINE)
            assert f"showPage({name}," in alive, f"no page shows the figure of {module.name}"


@pytest.mark.slow
def test_the_front_page_has_a_sentence_a_moving_figure_and_the_map(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    elements = pages(site)[site / "index.html"]
    assert "<strong>Which level of a feature pyramid should learn an object?" in text
    assert [frame["src"] for frame in elements.frames] == ["_static/figures/hero.html"]
    article = text.partition("class='map'")[2]
    for path in all_notebooks():
        assert f"notebooks/{path.stem}.html" in article, path.stem
    for group in GROUPS:
        assert f">{group}<" in article or f">{group}<" in text


# In a browser


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [*all_notebooks(), NOTEBOOKS / "GLOSSARY.md", ROOT / "index.md"],
    ids=lambda path: path.stem,
)
def test_a_browser_shows_each_page_whole_and_asks_nobody(site: Path, browser, path: Path) -> None:
    """On a screen and on a phone: nothing too wide, pictures and formulas there, figures drawn, no script fails."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(120_000)
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: said.type == "error" and faults.append(said.text))
    file = site / "index.html" if path.stem == "index" else site / "notebooks" / f"{path.stem}.html"
    page.goto(file.as_uri())
    shown = "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    page.evaluate(
        "document.querySelectorAll('[loading]').forEach((one) => { one.loading = 'eager'; })"
    )
    page.wait_for_function(shown)
    if path.suffix == ".ipynb" and "$" in path.read_text(encoding="utf-8"):
        assert page.evaluate("document.querySelectorAll('math').length") > 0
    for index in range(page.locator("iframe.live").count()):
        frame = page.locator("iframe.live").nth(index)
        frame.scroll_into_view_if_needed()  # out of sight, a frame is not drawn
        inside = page.frame_locator("iframe.live").nth(index).locator("main")
        inside.locator("#fsaf-figure > *").first.wait_for()
        for _ in range(50):
            page.wait_for_timeout(200)
            needed_height = inside.evaluate("one => one.scrollHeight")
            if needed_height <= frame.bounding_box()["height"] <= needed_height + 10:
                break
        else:
            raise AssertionError(f"frame {index} is not as high as its figure")
    for width, height in ((1280, 720), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide - width} px too wide at {width}"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert faults == []
    page.close()


@pytest.mark.slow
def test_paper_and_readers_without_scripts_get_the_still(site: Path, browser) -> None:
    address = (site / "notebooks" / "06_regions.html").as_uri()
    printed = browser.new_page()
    printed.goto(address)
    assert printed.locator("iframe.live").first.is_visible()
    assert not printed.locator("img.still").first.is_visible()
    printed.emulate_media(media="print")
    assert not printed.locator("iframe.live").first.is_visible()
    assert printed.locator("img.still").first.is_visible()
    printed.close()
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(address)
    assert not plain.locator("iframe.live").first.is_visible()
    assert plain.locator("img.still").first.is_visible()
    plain.close()


@pytest.mark.slow
@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_the_front_page_s_figure_plays_where_motion_is_welcome(site: Path, browser, motion) -> None:
    page = browser.new_page(reduced_motion=motion)
    page.goto((site / "_static" / "figures" / "hero.html").as_uri())
    page.locator("#fsaf-figure > *").first.wait_for()
    state = "JSON.stringify({ ...fsafFigure.model.get('state'), stamp: '' })"
    seen = set()
    for _ in range(12):
        seen.add(page.evaluate(state))
        page.wait_for_timeout(400)
    assert (len(seen) > 2) == (motion == "no-preference"), json.dumps([*seen])[:400]
    page.close()


@pytest.mark.slow
def test_a_figure_takes_the_theme_of_the_site(site: Path, browser) -> None:
    page = browser.new_page(color_scheme="light")
    page.goto((site / "notebooks" / "06_regions.html").as_uri())
    page.locator("iframe.live").first.scroll_into_view_if_needed()
    body = page.frame_locator("iframe.live").first.locator("body")
    body.locator("#fsaf-figure > *").first.wait_for()
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_timeout(500)
    assert body.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(22, 24, 29)"
    page.close()
