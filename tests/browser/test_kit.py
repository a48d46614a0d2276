"""A second figure on the kit, in a few lines: what a chapter's figure needs, and no more."""

from math import log
from pathlib import Path

from lab_driver import until

from fsaf_core.viz.svg import Svg
from fsaf_core.viz.widgets.kit import THEMES, Figure, source

SCRIPT = """
const makeFocal = () => ({
  answers: true,
  explore: ({ stamp, p, gamma }) => ({ stamp, loss: -((1 - p) ** gamma) * Math.log(p) }),
});
const focal = figure({
  twin: makeFocal,
  build({ store, theme }) {
    const sliders = { p: [0.01, 0.99], gamma: [0, 5] }, picture = draw("svg", { viewBox: "0 0 300 40", role: "img" });
    const inputs = Object.entries(sliders).map(([name, [min, max]]) => {
      const input = slider(() => store.change({ [name]: Number(input.value) }, name), { min, max, step: 0.01, "aria-label": name });
      return input;
    });
    const root = html("div", { class: "focal" }, ...inputs, button("undo", store.undo), picture);
    const paint = () => {
      Object.keys(sliders).forEach((name, i) => { inputs[i].value = store.state[name]; });
      const { loss } = store.answer, bar = { width: 100 * loss, height: 16, fill: theme.levels[0] };
      fill(picture, tag("rect", bar) + words(0, 34, `focal loss ${short(loss)}`, { fill: theme.ink }));
      set(root, { "data-python": store.python });
    };
    return { root, paint, sign: paint, resize() {} };
  },
});
export default focal;
"""


class Focal(Figure):
    """The focal loss of one entry with target 1."""

    _esm = source("kit.js") + SCRIPT
    _css = ""
    name, twin, title = "focal", "makeFocal", "The focal loss of one entry"

    def respond(self, state):
        return {
            "stamp": state["stamp"],
            "loss": -((1 - state["p"]) ** state["gamma"]) * log(state["p"]),
        }

    def picture(self) -> Svg:
        svg = Svg(300, 40, f"focal loss {self.answer['loss']:.3f}")
        svg.rect(0, 0, 100 * self.answer["loss"], 16, fill=svg.theme.level(3))
        return svg


def test_a_small_figure_works_on_its_page(browser, tmp_path: Path) -> None:
    figure = Focal(setup={"themes": THEMES}, state={"stamp": "start", "p": 0.5, "gamma": 2.0})
    assert "focal loss 0.173" in str(figure.picture())
    figure.save_html(tmp_path / "focal.html")
    page, complaints = browser.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "focal.html").as_uri())
    says = page.locator(".focal text")
    until(lambda: says.text_content() == "focal loss 0.173", 5, "no loss")
    page.get_by_label("gamma").fill("0")
    until(lambda: says.text_content() == "focal loss 0.693", 5, "the slider does nothing")
    page.get_by_role("button", name="undo").click()
    until(lambda: says.text_content() == "focal loss 0.173", 5, "undo does nothing")
    page.emulate_media(color_scheme="dark")
    dark = THEMES["dark"]["levels"][0]
    until(lambda: page.locator(".focal rect").get_attribute("fill") == dark, 5, "not dark")
    assert not complaints
    page.close()


def test_a_figure_is_found_again_by_its_number() -> None:
    figure = Focal(setup={"themes": THEMES}, state={"stamp": "start", "p": 0.5, "gamma": 2.0})
    assert Figure.numbered(figure.number) is figure
