"""A figure on the kit, in a few lines: what a chapter's figure needs, and no more.

It stands for all figures where a test is about the kit, and for none of them where
notebooks/course/figures/ is empty.
"""

from math import log
from random import Random

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
      const { loss } = store.answer, bar = { width: 20 * loss, height: 16, fill: theme.levels[0] };
      fill(picture, tag("rect", bar) + words(0, 34, `focal loss ${short(loss)}`, { fill: theme.ink }));
      set(picture, { "aria-label": `focal loss ${short(loss)}` });
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
    _css = ".focal { max-width: 600px; padding: 8px; } .focal svg { display: block; }"
    name, twin, title = "focal", "makeFocal", "The focal loss of one entry"

    def respond(self, state):
        return {
            "stamp": state["stamp"],
            "loss": -((1 - state["p"]) ** state["gamma"]) * log(state["p"]),
        }

    def picture(self) -> Svg:
        svg = Svg(300, 40, f"focal loss {self.answer['loss']:.3f}")
        svg.rect(0, 0, 20 * self.answer["loss"], 16, fill=svg.theme.level(3))
        return svg


def example() -> Focal:
    return Focal(setup={"themes": THEMES}, state={"stamp": "start", "p": 0.5, "gamma": 2.0})


def random_state(generator: Random) -> dict:
    return {"p": generator.uniform(0.01, 0.99), "gamma": generator.uniform(0, 5)}
