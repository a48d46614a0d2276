"""Open a page that `Figure.save_html` wrote: any error, and any request to a host, is a complaint."""

from pathlib import Path

SHOWN = "#fsaf-figure > *"  # a figure's root


class FigurePage:
    """A figure's page in the browser."""

    def __init__(self, browser, path: Path, link: str = "", ready: str = SHOWN, **options) -> None:
        self.complaints: list[str] = []
        self.page = browser.new_page(**{"viewport": {"width": 1280, "height": 720}} | options)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console", lambda said: said.type == "error" and self.complaints.append(said.text)
        )
        self.page.on(
            "request",
            lambda request: (
                request.url.startswith(("http", "ws")) and self.complaints.append(request.url)
            ),
        )
        self.page.goto(path.as_uri() + link)
        try:
            self.page.locator(ready).first.wait_for(state="attached", timeout=20_000)
        except Exception as error:
            raise AssertionError(f"nothing is drawn on the page: {self.complaints}") from error
        self.settle()

    def settle(self) -> None:
        """Wait until the screen shows the newest state."""
        self.page.evaluate(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def state(self) -> dict:
        self.settle()
        return self.page.evaluate("fsafFigure.model.get('state')")

    def answer(self) -> dict:
        return self.page.evaluate("fsafFigure.twin.explore(fsafFigure.model.get('state'))")

    def drag(self, x: float, y: float, to: tuple[float, float], drop: bool = True) -> None:
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(*to, steps=6)
        if drop:
            self.page.mouse.up()
        self.settle()

    def button(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def close(self) -> None:
        """Close the page. Whoever is done with it asserts that nothing was complained about."""
        self.page.close()
        assert not self.complaints, self.complaints[:5]
