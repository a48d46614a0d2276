"""Print how long a drag takes to the picture: on the page alone, and in JupyterLab.

python tests/browser/measure_drag.py

The time runs from the pointer's event to the end of the drawing that shows it. A browser draws at
most 60 times a second, so up to 17 ms of it may be the wait for the next frame; the second line
of the page says how much is work.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.append(str(Path(__file__).parents[2] / "notebooks"))
import course
from lab_driver import FLAGS, PREPARE, Notebook, running_lab

from fsaf_core.viz.widgets.explorer import Explorer

MOVES = 300
WORK = """
    const { twin, model } = fsafFigure, times = [];
    for (let i = 0; i < 300; i++) {
        const state = model.get("state"), boxes = state.boxes.map((box) => box.map((side) => side + i / 10));
        const start = performance.now();
        twin.explore({ ...state, boxes });
        times.push(performance.now() - start);
    }
    return times;
"""


def report(what: str, times: list[float]) -> None:
    """Print the median and the 95th percentile of times in milliseconds."""
    high = statistics.quantiles(times, n=20)[-1]
    print(f"{what}: median {statistics.median(times):.1f} ms, 95 % {high:.1f} ms, n {len(times)}")


def drag(page) -> list[float]:
    """Drag a box around and return the time of each picture."""
    at = page.locator(".fx-box").nth(4).bounding_box()
    x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for move in range(MOVES):
        page.mouse.move(x + move % 40 - 20, y + move % 30 - 15)
        page.wait_for_timeout(20)
    page.mouse.up()
    return page.evaluate("performance.getEntriesByName('fsaf-drag').map((one) => one.duration)")


def main() -> None:
    """Measure and print."""
    folder = Path(tempfile.mkdtemp())
    scene = course.scene()
    explorer = Explorer(
        scene.image, scene.boxes, scene.labels, course.snapshots(), selected=scene.star
    )
    explorer.save_html(folder / "page.html")
    with sync_playwright() as playwright:
        path = sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium"
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.goto((folder / "page.html").as_uri())
        page.locator(".fx-card").first.wait_for()
        report("page, pointer to picture", drag(page))
        report("page, the answer alone", page.evaluate(f"() => {{ {WORK} }}"))
        page.close()
        home = folder / "home"
        home.mkdir()
        (folder / "notebooks").mkdir()
        with running_lab(home, folder / "notebooks") as address:
            lab = address, folder / "notebooks"
            notebook = Notebook(lab, browser, "drag.ipynb", PREPARE, "explorer")
            notebook.run(0)
            notebook.run(1)
            notebook.page.locator(".fx-card").first.wait_for()
            notebook.page.wait_for_timeout(1000)
            report("JupyterLab, pointer to picture", drag(notebook.page))
            asked = "performance.getEntriesByName('fsaf-python').map((one) => one.duration)"
            report("JupyterLab, Python's check", notebook.page.evaluate(asked))
        browser.close()


if __name__ == "__main__":
    main()
