
// Shared by the figures of chapters 02 to 05: the scene on the left, controls, a table and a sentence on the right.
// `move(dx, dy, event)` gets the arrow keys; `view` is x y width height in pixels of the scene.
function board({ setup, theme, store, view, label, move, controls, most = 460 }) {
  const [height, width] = setup.size, marks = draw("g"), top = draw("g"), table = html("div");
  const note = html("p", { class: "fx-verdict", role: "status" }), sign = html("span", { class: "fx-sign" });
  const onkeydown = (event) => {
    const far = event.shiftKey ? 5 : 1, dx = { ArrowLeft: -far, ArrowRight: far }[event.key] ?? 0,
      dy = { ArrowUp: -far, ArrowDown: far }[event.key] ?? 0;
    if (!dx && !dy) return;
    move(dx, dy, event);
    event.preventDefault();
    event.stopPropagation();
  };
  const photo = draw("image", { href: setup.image, width, height, preserveAspectRatio: "none",
    style: "image-rendering:pixelated" });
  const stage = draw("svg", { class: "st-stage", viewBox: view.join(" "), role: "application", tabindex: 0,
    "aria-label": label, onkeydown }, photo, marks, top);
  const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true",
    style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
  html("div", { class: "st-controls" }, ...controls, button("↶", store.undo, { "aria-label": "undo" }),
    button("reset", () => store.change(setup.start)), sign),
  html("div", { class: "st-main" }, stage, html("div", { class: "st-side" }, note, table)));
  return {
    root, stage, marks, top,
    tell(sentence) { if (note.textContent !== sentence) note.textContent = sentence; },
    // rows of cells, the first one is the head; `on` is the number of the row to be marked
    fillTable(rows, on = -1) {
      const row = (cells, name, more = {}) => tag("tr", more, ...cells.map((cell) => tag(name, {}, escapeText(cell))));
      fill(table, tag("table", {}, tag("thead", {}, row(rows[0], "th")), tag("tbody", {},
        ...rows.slice(1).map((cells, i) => row(cells, "td", { "data-on": i === on ? "true" : null })))));
    },
    sign() {
      sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python says otherwise" }[store.python] ?? "";
      set(root, { "data-python": store.python });
    },
    resize(given) {
      const side = Math.min(most, Math.min(given, 1120) - 16);
      set(stage, { width: side, height: (side * view[3]) / view[2] });
      store.later();
    },
  };
}
const frame = ([x1, y1, x2, y2], attributes) => tag("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1,
  fill: "none", ...attributes });
const limit = (value, low, high) => Math.min(high, Math.max(low, value));
