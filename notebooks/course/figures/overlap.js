
// Chapter 07: the IoU of a location's predicted box with its target, and the gradient of -ln IoU.
const SIDES = ["l", "t", "r", "b"], OUTWARD = [[-1, 0], [0, -1], [1, 0], [0, 1]], LEAST_IOU = 1e-6;
function makeOverlap() {
  function explore({ offsets, targets, stamp }) {
    const shared = offsets.map((side, i) => Math.min(side, targets[i]));
    const across = [offsets, targets, shared].map(([l, t, r, b]) => [t + b, l + r]);
    across[2] = across[2].map((side) => Math.max(side, 0));
    const [area, true_area, overlap] = across.map(([high, wide]) => high * wide), union = area + true_area - overlap,
      iou = overlap / union;
    const slopes = offsets.map((side, i) => {
      if (iou <= LEAST_IOU) return 0;
      const grows = side < targets[i] ? across[2][i % 2] : 0;
      return -grows / overlap + (across[0][i % 2] - grows) / union;
    });
    return { stamp, shared, overlap, area, true_area, union, iou, loss: -Math.log(Math.max(iou, LEAST_IOU)), slopes };
  }
  return { explore, answers: true };
}

function buildOverlap({ setup, theme, store }) {
  const { most } = setup, edge = most + 0.1, color = theme.levels[0];
  const presets = { "worked example": setup.start, "twice as long": { offsets: [1, 1, 1, 1], targets: [0.5, 0.5, 0.5, 0.5] },
    "no overlap": { offsets: [0.3, 0.4, 0.3, 0.4], targets: [1.2, 0.5, -0.6, 0.5] } };
  let px = 0.01, drags = 0;
  const pull = (i, value, by) => {
    const next = Math.min(most, Math.max(0, Math.round(100 * value) / 100));
    store.change({ offsets: store.state.offsets.map((old, nth) => (nth === i ? next : old)) }, by);
  };
  function onKey(event, i) {
    const [dx, dy] = OUTWARD[i], far = event.shiftKey ? 0.1 : 0.01;
    const x = { ArrowLeft: -far, ArrowRight: far }[event.key] ?? 0, y = { ArrowUp: -far, ArrowDown: far }[event.key] ?? 0;
    if (!x && !y) return;
    // along the side's own axis an arrow moves the side; across it, up and right lengthen it
    pull(i, store.state.offsets[i] + (x * dx + y * dy || x * Math.abs(dy) - y * Math.abs(dx)), `key ${i}`);
    event.preventDefault();
    event.stopPropagation();
  }
  const back = setup.image ? [draw("image", { href: setup.image, ...setup.place, opacity: 0.4, preserveAspectRatio: "none",
    style: "image-rendering:pixelated" })] : [], marks = draw("g");
  const handles = SIDES.map((side, i) => draw("circle", { role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": most,
    "aria-label": `predicted distance ${side}`, onkeydown: (event) => onKey(event, i), style: "cursor:move;touch-action:none" }));
  const stage = draw("svg", { viewBox: `${-edge} ${-edge} ${2 * edge} ${2 * edge}`, role: "group",
    "aria-label": "predicted box and target box of one location" }, ...back, marks, ...handles);
  dragging(stage, {
    start(event) {
      const i = handles.indexOf(event.target);
      handles[i]?.focus({ preventScroll: true });
      return i < 0 ? null : { i, by: `drag ${++drags}` };
    },
    move({ i, by }, event) {
      const [x, y] = placeIn(stage, event);
      pull(i, x * OUTWARD[i][0] + y * OUTWARD[i][1], by);
    },
    end: () => store.forget(),
  });
  const sign = html("span", { class: "fx-sign" }), table = html("table"), told = html("p", { role: "status", style: "max-width: 420px" }),
    sums = html("div", { style: "font-size: 14px; margin-bottom: 8px" });
  const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true",
    style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
  html("div", { class: "fx-row" }, ...Object.entries(presets).map(([name, { offsets, targets }]) => button(name,
    () => store.change({ offsets, targets }))), button("↶", store.undo, { "aria-label": "undo" }), sign),
  html("div", { class: "ov-main" }, stage, html("div", {}, sums, table, told)));

  const rect = ([l, t, r, b], more) => tag("rect", { fill: "none", ...more, x: `${-l}`, y: `${-t}`,
    width: `${Math.max(l + r, 0)}`, height: `${Math.max(t + b, 0)}` });
  const line = (x1, y1, x2, y2, more) => tag("path", { d: `M${x1} ${y1}L${x2} ${y2}`, fill: "none", ...more });
  function paint() {
    const { state: { offsets, targets }, answer } = store, parts = [], wide = `${px}`;
    if (answer.overlap > 0) parts.push(rect(answer.shared, { fill: color, "fill-opacity": "0.35" }));
    parts.push(rect(targets, { stroke: theme.paper, "stroke-width": `${4 * px}` }), rect(targets, { stroke: theme.ink,
      "stroke-width": `${2 * px}`, "stroke-dasharray": `${7 * px} ${4 * px}` }));
    parts.push(rect(offsets, { stroke: theme.paper, "stroke-width": `${5 * px}` }), rect(offsets, { stroke: color, "stroke-width": `${3 * px}` }));
    OUTWARD.forEach(([dx, dy], i) => { // the distance, and the way that gradient descent moves the side
      const [x, y] = [dx * offsets[i], dy * offsets[i]];
      parts.push(line(0, 0, x, y, { stroke: theme.ink, "stroke-width": wide, "stroke-dasharray": `${2 * px} ${2 * px}` }));
      const step = -answer.slopes[i] * 0.15, shift = 16 * px, [ax, ay] = [x + Math.abs(dy) * shift, y + Math.abs(dx) * shift];
      const [ex, ey] = [ax + dx * step, ay + dy * step], head = 5 * px * Math.sign(step);
      if (Math.abs(step) > 2 * px) parts.push(line(ax, ay, ex, ey, { stroke: theme.levels[2], "stroke-width": `${3 * px}` }),
        tag("path", { fill: theme.levels[2], d: `M${ex + dx * 1.6 * head} ${ey + dy * 1.6 * head}L${ex + dy * head} ${ey + dx * head}L${ex - dy * head} ${ey - dx * head}z` }));
      parts.push(tag("text", { x: `${x / 2 + 4 * px}`, y: `${y / 2 - 4 * px}`, "font-size": `${13 * px}`, fill: theme.ink }, SIDES[i]));
      set(handles[i], { cx: x, cy: y, r: 7 * px, fill: theme.paper, stroke: color, "stroke-width": 2 * px,
        "aria-valuenow": offsets[i], "aria-valuetext": offsets[i].toFixed(2) });
    });
    parts.push(tag("circle", { cx: 0, cy: 0, r: `${4 * px}`, fill: theme.ink }));
    fill(marks, parts.join(""));
    fill(sums, `I ${short(answer.overlap)} &nbsp; A ${short(answer.area)} &nbsp; A<sub>g</sub> ${short(answer.true_area)} &nbsp; union ${short(answer.union)}<br><b>IoU ${short(answer.iou)} &nbsp; −ln IoU ${short(answer.loss)}</b>`);
    const cell = (values, kind = "td") => `<tr>${values.map((value) => `<${kind}>${value}</${kind}>`).join("")}</tr>`;
    fill(table, cell(["side", "predicted", "target", "shared", "slope", "descent"], "th") + SIDES.map((side, i) => cell([side,
      ...[offsets, targets, answer.shared, answer.slopes].map((list) => short(list[i])),
      answer.slopes[i] > 0 ? "shrinks" : answer.slopes[i] < 0 ? "grows" : "stays"])).join(""));
    told.textContent = answer.iou > LEAST_IOU ? "Red arrows show where gradient descent moves each side."
      : "The boxes do not overlap: the loss has reached its greatest value, 13.816, and its gradient is zero.";
    paintSign();
  }
  function paintSign() {
    sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python says otherwise" }[store.python] ?? "";
    set(root, { "data-python": store.python });
  }
  function resize(given) {
    const side = Math.min(given - 16, 420);
    px = (2 * edge) / side;
    set(stage, { width: side, height: side });
    store.later();
  }
  return { root, paint, resize, sign: paintSign };
}

const overlapFigure = figure({ twin: makeOverlap, build: buildOverlap });
export default overlapFigure;
