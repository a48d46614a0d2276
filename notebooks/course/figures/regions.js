
// Chapter 06: the regions of two boxes. Drag the boxes; change both scales and the convention.
function makeRegions(setup) {
  const twin = makeTwin(setup), count = (codes, kind) => codes.split(kind).length - 1;
  function explore(state) {
    const { levels, cell_center, stamp } = twin.explore(state), [x1, y1, x2, y2] = state.boxes[state.selected];
    return { stamp, cell_center, levels: levels.map(({ level, stride, rows, columns, codes }) => ({
      level, stride, rows, columns, codes,
      effective: count(codes, "2"), ignored: count(codes, "1"), lost: count(codes, "3"),
      covered: (100 * count(codes, "2") * stride ** 2) / ((x2 - x1) * (y2 - y1)),
    })) };
  }
  return { explore, answers: true };
}

function buildRegions({ setup, theme, store }) {
  const [height, width] = setup.size, margin = 8, least = 4, far = 60; // pixels of the image
  const ui = { hover: null, predictions: false }, state = () => store.state, whole = [1, 1, 1, 1];
  const limit = (value, low, high) => Math.min(high, Math.max(low, value));
  let px = 0.5, drags = 0, focused = false;

  // Boxes. `moves` tells which of x1 y1 x2 y2 follow; a whole box keeps its center on the image.
  function pulled([x1, y1, x2, y2], moves, dx, dy) {
    const [l, t, r, b] = moves, [cx, cy] = [(x1 + x2) / 2, (y1 + y2) / 2];
    if (moves === whole) {
      const [x, y] = [limit(dx, -cx, width - cx), limit(dy, -cy, height - cy)];
      return [x1 + x, y1 + y, x2 + x, y2 + y];
    }
    return [l ? limit(x1 + dx, -far, Math.min(x2, width) - least) : x1,
      t ? limit(y1 + dy, -far, Math.min(y2, height) - least) : y1,
      r ? limit(x2 + dx, Math.max(x1, 0) + least, width + far) : x2,
      b ? limit(y2 + dy, Math.max(y1, 0) + least, height + far) : y2];
  }
  const setBox = (index, box, by) => store.change({ selected: index,
    boxes: state().boxes.map((old, i) => (i === index ? box.map(round) : old)) }, by);
  function onKey(event, index) {
    const far = event.shiftKey ? 10 : 1, dx = { ArrowLeft: -far, ArrowRight: far }[event.key] ?? 0,
      dy = { ArrowUp: -far, ArrowDown: far }[event.key] ?? 0;
    if (!dx && !dy) return;
    const moves = event.altKey || event.ctrlKey ? HANDLES.se : whole;
    setBox(index, pulled(state().boxes[index], moves, dx, dy), `keys ${index}`);
    event.preventDefault();
    event.stopPropagation();
  }
  function setScale(name, value) { // the ignoring box is the outer one
    const switches = { ...state().switches, [name]: value };
    if (name === "effective_scale") switches.ignoring_scale = Math.max(switches.ignoring_scale, value);
    else switches.effective_scale = Math.min(switches.effective_scale, value);
    store.change({ switches }, name);
  }

  // Elements
  const photo = () => draw("image", { href: setup.image, width, height, preserveAspectRatio: "none",
    style: "image-rendering:pixelated" });
  const marks = draw("g"), groups = setup.start.boxes.map((_, index) => {
    const group = draw("g", { class: "fx-box", role: "button", tabindex: 0, onkeydown: (event) => onKey(event, index),
      onfocus: () => state().selected !== index && store.change({ selected: index }, "select") });
    group.append(draw("rect", { fill: "transparent" }));
    return group;
  });
  const handles = Object.keys(HANDLES).map((name) => draw("rect", { "data-handle": name, "aria-hidden": "true", tabindex: -1,
    style: `cursor:${name}-resize` }));
  const stage = draw("svg", { class: "fx-stage", viewBox: [-margin, -margin, width + 2 * margin, height + 2 * margin]
    .join(" "), role: "group", "aria-label": "the image with its boxes" }, photo(), marks, ...groups, ...handles);
  dragging(stage, {
    start(event) {
      const moves = HANDLES[event.target.dataset.handle] ?? whole,
        index = moves === whole ? groups.indexOf(event.target.parentNode) : state().selected;
      if (index < 0) return null;
      groups[index].focus({ preventScroll: true });
      return { index, moves, box: state().boxes[index], at: placeIn(stage, event), by: `drag ${++drags}` };
    },
    move({ index, moves, box, at, by }, event) {
      const [dx, dy] = placeIn(stage, event).map((value, axis) => Math.round(4 * (value - at[axis])) / 4);
      setBox(index, pulled(box, moves, dx, dy), by);
    },
    end: () => store.forget(),
  });
  const cards = setup.levels.map((level) => {
    const inside = draw("g"), faded = draw("g", { opacity: 0.35 }, photo()), text = html("div"),
      svg = draw("svg", { viewBox: `-8 -8 ${width + 16} ${height + 16}`, role: "img" }, faded, inside);
    const name = html("b", { style: `border-left: 11px solid ${theme.levels[level - 3]}; padding-left: 5px` }, `P${level}`);
    return { inside, text, svg, card: html("div", { class: "rg-card" }, name, svg, text) };
  });
  const inputs = Object.entries({ effective_scale: "effective scale ε_e", ignoring_scale: "ignoring scale ε_i" })
    .map(([name, label]) => {
      const input = slider(() => setScale(name, Number(input.value)), { min: 0.05, max: 1, step: 0.05,
        "aria-label": label }), value = html("output");
      return { name, input, value, row: html("label", {}, label, input, value) };
    });
  const rule = choice([["paper", "paper"], ["reference", "MMDetection"]], () => store.change({ switches: {
    ...state().switches, convention: rule.value, ignoring_scale: setup.conventions[rule.value].ignoring_scale } }),
  { "aria-label": "convention" });
  const verdict = html("p", { class: "fx-verdict", role: "status" }), sign = html("span", { class: "fx-sign" });
  const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true",
    style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
  html("div", { class: "rg-rules" }, ...inputs.map(({ row }) => row), html("label", {}, "convention", rule),
    button("↶", store.undo, { "aria-label": "undo" }), button("reset", () => store.change(setup.start)), sign),
  html("div", { class: "rg-main" }, stage, html("div", { class: "rg-cards" }, ...cards.map(({ card }) => card))),
  verdict);

  function paint() {
    const { boxes, selected, labels, switches } = state(), { answer } = store;
    const v = { setup, theme, ui, state: state(), answer: { ...answer, selected: [] }, reveal: LAST_STEP };
    fill(marks, stageView(v, px, margin));
    boxes.forEach(([x1, y1, x2, y2], index) => {
      set(groups[index], { "aria-label": `box ${index}, ${setup.classes[labels[index]]}: arrow keys move it, with Alt they resize it`,
        "aria-pressed": `${index === selected}` });
      set(groups[index].firstChild, { x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
    });
    const [x1, y1, x2, y2] = boxes[selected];
    for (const handle of handles) {
      const [l, t, r, b] = HANDLES[handle.dataset.handle], side = 9 * px;
      set(handle, { x: (x1 + x2 + (r - l) * (x2 - x1) - side) / 2, y: (y1 + y2 + (b - t) * (y2 - y1) - side) / 2,
        width: side, height: side, fill: theme.paper, stroke: theme.ink, "stroke-width": px });
    }
    answer.levels.forEach(({ level, effective, ignored, lost, covered }, nth) => {
      const { inside, text, svg } = cards[nth], counts = `${effective} effective, ${ignored} ignored, ${lost} lost`;
      fill(inside, levelView(v, v.answer, nth, (width + 16) / svg.width.baseVal.value));
      fill(text, `${counts}<br>${covered.toFixed(0)} % of the box's area`);
      set(svg, { "aria-label": `P${level}: ${counts}` });
    });
    for (const { name, input, value } of inputs) {
      input.value = switches[name];
      value.textContent = switches[name].toFixed(2);
    }
    rule.value = switches.convention;
    const places = answer.levels.filter(({ effective }) => effective).map(({ level }) => `P${level}`);
    const told = `Box ${selected} (${setup.classes[labels[selected]]}, ${round(x2 - x1)} × ${round(y2 - y1)} px) has effective locations at ${places.join(", ") || "no level: nothing can learn it"}.`;
    if (verdict.textContent !== told) verdict.textContent = told;
    paintSign();
  }
  function paintSign() {
    sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python says otherwise" }[store.python] ?? "";
    set(root, { "data-python": store.python });
  }
  function resize(given) {
    const full = Math.min(given, 1120) - 16, count = full >= 1000 ? 4 : 2, side = Math.min(300, full),
      rest = full < 620 ? full : full - side - 12, card = Math.min(190, Math.floor(rest / count) - 16);
    px = (width + 2 * margin) / side;
    set(stage, { width: side, height: (side * (height + 2 * margin)) / (width + 2 * margin) });
    for (const { svg, card: frame } of cards) {
      set(svg, { width: card, height: card });
      frame.style.width = `${card}px`;
    }
    store.later();
  }
  return { root, paint, resize, sign: paintSign };
}

const regionFigure = figure({ twin: makeRegions, build: buildRegions });
export default regionFigure;
