// The explorer's pictures: pure functions of a view, which return SVG text. A view `v` holds setup,
// state, answer, theme, ui (what the front end alone knows) and what the twin adds to the answer.

const KINDS = ["negative", "ignoring", "effective", "lost"]; // a location's code
const AFTER = ["negative", "ignored for at least one class", "positive"]; // ... in the mode of all boxes
const DASHES = { 3: null, 4: "7 3", 5: "2 3", 6: "9 3 2 3", 7: "4 4" }; // a level's line, told without color
const HANDLES = { // which of x1 y1 x2 y2 each moves
  nw: [1, 1, 0, 0], n: [0, 1, 0, 0], ne: [0, 1, 1, 0], e: [0, 0, 1, 0],
  se: [0, 0, 1, 1], s: [0, 0, 0, 1], sw: [1, 0, 0, 1], w: [1, 0, 0, 0],
};
const LAST_STEP = 7; // of the decision; before it, later steps are hidden

const levelColor = (v, level) => (level === NONE ? v.theme.muted : v.theme.levels[level - 3]);
const className = (v, label) => (label === CROWD ? "crowd" : (v.setup.classes[label] ?? `class ${label}`));
const ruleOf = (v, name) => v.state.switches[name] ?? v.setup.conventions[v.state.switches.convention][name];
const boxColor = (v, index) => {
  if (v.state.labels[index] === CROWD) return v.theme.muted;
  if (v.state.mode === "image" || v.state.mode === "population") return levelColor(v,
    v.answer.selected[index] ?? NONE);
  return v.theme.classes[v.state.labels[index] % v.theme.classes.length];
};
const frame = ([x1, y1, x2, y2], more) => tag("rect",
  { x: x1, y: y1, width: x2 - x1, height: y2 - y1, fill: "none", ...more });
function scaled([x1, y1, x2, y2], share) {
  const [w, h] = [(share * (x2 - x1)) / 2, (share * (y2 - y1)) / 2], [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
  return [x - w, y - h, x + w, y + h];
}
// A line that is seen on any ground: a wide one in the paper's color under a thin one.
const haloed = (v, box, color, width, px, more = {}) => [
  frame(box, { stroke: v.theme.paper, "stroke-width": (width + 2) * px, "stroke-opacity": 0.75 }),
  frame(box, { stroke: color, "stroke-width": width * px, ...more }),
];

// A location's square, box and losses; null where the pointer is at none.
function locationAt(v, { level: nth, cell }) {
  const level = v.answer.levels[nth], code = level?.codes[cell];
  if (code === undefined) return null;
  const [row, column] = [Math.floor(cell / level.columns), cell % level.columns], s = level.stride,
    c = v.answer.cell_center;
  const [box, focal, iou, predicted] = level.cells[cell] ?? [];
  const x = (column + c) * s, y = (row + c) * s;
  return { level, code: Number(code), row, column, x, y, square: [x - s / 2, y - s / 2, x + s / 2, y + s / 2], box,
    focal, iou, predicted };
}

// A box's name: text, place and color.
function nameTag(v, index, px, margin) {
  const { labels, selected, boxes, mode } = v.state, [x1, y1] = boxes[index],
    level = v.answer.selected[index] ?? NONE;
  const told = (mode === "image" || mode === "population") && labels[index] !== CROWD;
  const text = `${index} ${className(v, labels[index])}${told ? ` ${nameOf(level)}` : ""}`;
  const above = y1 - (index === selected ? 20 : 15) * px, top = above < -margin ? y1 : above,
    left = Math.max(x1 - px, -margin);
  return { text, box: [left, top, left + (text.length * 6.4 + 8) * px, top + 15 * px], color: boxColor(v, index) };
}

// The image's marks, over the image itself. `px` is a pixel of the screen in pixels of the image.
function stageView(v, px, margin) {
  const { boxes, labels, selected, mode } = v.state, parts = [], few = boxes.length <= 12;
  const single = mode !== "image" && mode !== "population", at = v.ui.hover && locationAt(v, v.ui.hover);
  if (single && v.ui.predictions && v.reveal >= 5 && !v.hidden) {
    for (const level of v.answer.levels) {
      const wins = v.answer.selected[selected] === level.level, color = levelColor(v, level.level);
      const dash = DASHES[level.level]?.split(" ").map((part) => part * px).join(" ");
      for (const [owner, , , predicted] of Object.values(level.cells)) {
        if (owner !== selected || !predicted) continue;
        parts.push(frame(predicted, { class: "fx-predicted", stroke: color, "stroke-width": (wins ? 2.2 : 1) * px,
          "stroke-opacity": wins ? 0.95 : 0.75, "stroke-dasharray": dash }));
      }
    }
  }
  boxes.forEach((box, index) => {
    const own = index === selected, dash = labels[index] === CROWD && `${6 * px} ${4 * px}`;
    parts.push(haloed(v, box, boxColor(v, index), own ? 3 : 1.5, px,
      { class: "fx-frame", "stroke-dasharray": dash }));
  });
  boxes.forEach((_, index) => {
    if (!few && index !== selected) return;
    const { text, box, color } = nameTag(v, index, px, margin);
    parts.push(frame(box, { fill: color }), words(box[0] + 4 * px, box[1] + 11.5 * px, text,
      { "font-size": 11 * px, fill: v.theme.on[color] }));
  });
  if (at) { // the location under the pointer, and what it predicts
    const color = levelColor(v, at.level.level), target = boxes[at.box];
    parts.push(frame(at.square, { fill: color, "fill-opacity": 0.35, stroke: v.theme.ink,
      "stroke-width": 1.5 * px }));
    parts.push(tag("circle", { cx: at.x, cy: at.y, r: 3 * px, fill: v.theme.ink, stroke: v.theme.paper,
      "stroke-width": px }));
    if (at.predicted && target && !v.hidden) {
      const [a, b] = [at.predicted, target];
      const shared = [Math.max(a[0], b[0]), Math.max(a[1], b[1]), Math.min(a[2], b[2]), Math.min(a[3], b[3])];
      if (shared[2] > shared[0] && shared[3] > shared[1]) parts.push(frame(shared,
        { class: "fx-shared", fill: color, "fill-opacity": 0.3 }));
      parts.push(haloed(v, a, color, 3, px, { class: "fx-hovered" }));
    }
  }
  return parts.flat().join("");
}

// All locations of one kind as one path, and their hatch as another. `shift`: of a location's square
// against its index, in cells.
function cellPaths({ codes, columns, stride: s }, code, shift) {
  const squares = [], hatch = [];
  for (let i = codes.indexOf(code); i >= 0; i = codes.indexOf(code, i + 1)) {
    const x = ((i % columns) + shift) * s, y = (Math.floor(i / columns) + shift) * s;
    squares.push(`M${x} ${y}h${s}v${s}h${-s}z`);
    const half = s / 2, near = s / 5, far = s - near;
    if (code === "1") hatch.push(`M${x} ${y + half}l${half} ${-half}M${x} ${y + s}l${s} ${-s}M${x + half} ${y + s}l${half} ${-half}`);
    if (code === "3") hatch.push(`M${x + near} ${y + near}L${x + far} ${y + far}M${x + near} ${y + far}L${x + far} ${y + near}`);
  }
  return [squares.join(""), hatch.join("")];
}
function gridPath({ rows, columns, stride: s }, shift) {
  const lines = [];
  for (let i = 0; i <= columns; i++) lines.push(`M${(i + shift) * s} ${shift * s}v${rows * s}`);
  for (let i = 0; i <= rows; i++) lines.push(`M${shift * s} ${(i + shift) * s}h${columns * s}`);
  return lines.join("");
}
function kindMarks(v, level, code, shift, px, color) {
  const style = v.theme.regions[KINDS[code]], [squares, hatch] = cellPaths(level, `${code}`, shift);
  if (!squares || (code === 0)) return "";
  // a level's color stands out on paper
  const own = code === 2 ? { fill: color, "fill-opacity": 0.95 } : { fill: v.theme.paper, "fill-opacity": 0.85 };
  const lines = { d: hatch, fill: "none", stroke: style.ink, "stroke-width": Math.min(level.stride / 8, 1.5 * px) };
  return tag("path", { class: KINDS[code], d: squares, ...own }) + (hatch && tag("path", lines));
}

// The locations of a level over the faded image. `other`: the same level of the other convention.
function levelView(v, answer, nth, px, other = null) {
  const level = answer.levels[nth], { boxes, selected, mode } = v.state, whole = mode === "image";
  const shift = answer.cell_center - 0.5, color = levelColor(v, level.level), parts = [];
  const seen = v.reveal < 3 ? { ...level, codes: "" } : v.reveal < 4
    ? { ...level, codes: level.codes.replaceAll("3", "2") } : level;
  for (const code of [1, 2, 3]) parts.push(kindMarks(v, seen, code, shift, px, color));
  if (level.stride > 3 * px) parts.push(tag("path", { d: gridPath(level, shift), stroke: v.theme.muted,
    "stroke-opacity": 0.55, fill: "none", "stroke-width": px / 2 }));
  boxes.forEach((box, index) => {
    if (whole ? answer.selected[index] !== level.level : index !== selected) return;
    parts.push(haloed(v, box, v.theme.ink, 1.5, px));
    const shares = whole || v.reveal < 2 ? [] : [ruleOf(v, "ignoring_scale"), v.state.switches.effective_scale];
    for (const share of shares) parts.push(frame(scaled(box, share),
      { stroke: v.theme.ink, "stroke-width": px, "stroke-dasharray": `${2 * px} ${1.5 * px}` }));
  });
  if (other) { // outline what differs
    const codes = [...level.codes].map((code, i) => (code === other.levels[nth].codes[i] ? "-" : "d")).join("");
    parts.push(tag("path", { class: "fx-differs", d: cellPaths({ ...level, codes }, "d", shift)[0], fill: "none",
      stroke: v.theme.ink, "stroke-width": 1.5 * px }));
  }
  const at = v.ui.hover?.level === nth && answer === v.answer && locationAt(v, v.ui.hover);
  if (at) parts.push(haloed(v, at.square, v.theme.ink, 2, px, { class: "fx-here" }));
  return parts.flat().join("");
}

// What stands around a level's picture: frame, name, loss as a bar, loss in words.
function cardView(v, answer, nth, wide, tall, worst) {
  const level = answer.levels[nth], { theme } = v, whole = v.state.mode === "image",
    color = levelColor(v, level.level);
  const wins = !whole && !v.hidden && v.reveal >= LAST_STEP && answer.selected[v.state.selected] === level.level;
  const text = (y, what, more) => words(7, y, what, { fill: theme.ink,
    "font-size": Math.min(11.5, (wide - 14) / 9.9), ...more }), base = tall + 24;
  const parts = [
    tag("rect", { x: 1.5, y: 1.5, width: wide - 3, height: base + 47, rx: 5, fill: "none",
      stroke: wins ? color : theme.grid, "stroke-width": wins ? 3 : 1 }),
    tag("rect", { x: 7, y: 7, width: 11, height: 11, fill: color }),
    words(22, 17, `P${level.level}`, { "font-weight": "bold", "font-size": 13, fill: theme.ink }),
    words(wide - 7, 16.5, `${level.columns} × ${level.rows}, stride ${level.stride}`,
      { "font-size": 10.5, "text-anchor": "end", fill: theme.muted }),
  ];
  if (v.hidden) return [...parts, text(base + 26, "loss hidden", { fill: theme.muted, "font-size": 10.5 })].join("");
  const length = (value) => ((wide - 14) * value) / worst, known = !whole && level.loss !== null && v.reveal >= 6;
  if (known) {
    parts.push(tag("rect", { class: "fx-focal", x: 7, y: base + 5, width: length(level.focal), height: 9,
      fill: color, stroke: color }));
    parts.push(tag("rect", { class: "fx-iou", x: 7 + length(level.focal), y: base + 5, width: length(level.iou),
      height: 9, fill: theme.paper, stroke: color }));
    const at = v.ui.hover?.level === nth && answer === v.answer && locationAt(v, v.ui.hover);
    if (at && at.box === v.state.selected) { // the location's part of the mean
      const own = Object.entries(level.cells).filter(([, cell]) => cell[0] === at.box),
        before = own.filter(([cell]) => Number(cell) < v.ui.hover.cell);
      const share = (list) => list.reduce((sum, [, [, focal, iou]]) => sum + focal + iou, 0) / own.length;
      parts.push(tag("rect", { class: "fx-share", x: 7 + length(share(before)), y: base + 3,
        width: length((at.focal + at.iou) / own.length), height: 13, fill: "none", stroke: theme.ink,
        "stroke-width": 2 }));
    }
  }
  if (v.reveal >= 6 || whole) parts.push(text(base + 28, level.says));
  if (v.reveal >= LAST_STEP) parts.push(text(base + 42, level.mark, { "font-weight": wins ? "bold" : "normal" }));
  return parts.join("");
}

// A plot's ground: x from left to right, y upwards.
function plot(width, height, [left, top, right, bottom]) {
  const across = width - left - right, down = height - top - bottom;
  return { left, top, across, down, x: (share) => left + share * across, y: (share) => top + (1 - share) * down };
}

// The loss at each level after every snapshot: a cursor, and ★ where the winner changes.
function curvesView(v, width, height) {
  const { theme, curves, setup } = v, area = plot(width, height, [30, 14, 26, 20]), last = setup.steps.length - 1;
  if (!curves.length || !last) return words(8, 30, last ? "" : "one snapshot only: no curves", { fill: theme.muted });
  const known = curves.flat().map(({ loss }) => loss).filter((loss) => loss !== null), most = Math.max(...known, 0.1);
  // a root: small losses matter
  const x = (i) => area.x(i / last), y = (loss) => area.y(Math.sqrt(loss / most)), parts = [];
  for (const tick of [0, 0.25, 1].map((share) => share * most)) {
    parts.push(tag("path", { d: `M${area.left} ${y(tick).toFixed(1)}h${area.across}`, stroke: theme.grid }));
    parts.push(words(area.left - 4, y(tick) + 4, tick.toFixed(1),
      { "font-size": 10, "text-anchor": "end", fill: theme.muted }));
  }
  for (const i of [0, Math.floor(last / 2), last]) parts.push(words(x(i), height - 6, `${setup.steps[i]}`,
    { "font-size": 10, "text-anchor": "middle", fill: theme.muted }));
  const ends = [];
  setup.levels.forEach((level, nth) => {
    const color = levelColor(v, level), points = curves.map((at, i) => [x(i),
      at[nth].loss]).filter(([, loss]) => loss !== null);
    if (!points.length) return;
    parts.push(tag("polyline", { class: "fx-curve", points: points.map(([at,
      loss]) => `${at.toFixed(1)},${y(loss).toFixed(1)}`).join(" "), fill: "none", stroke: color, "stroke-width": 2,
      "stroke-dasharray": DASHES[level] }));
    ends.push([y(points.at(-1)[1]), level, color]);
  });
  let free = Infinity; // labels keep 11 px apart, from the bottom upwards
  for (const [end, level, color] of ends.sort((a, b) => b[0] - a[0])) {
    free = Math.min(end, free - 11);
    parts.push(tag("rect", { x: width - 24, y: free - 4, width: 7, height: 7, fill: color }),
      words(width - 15, free + 4, `P${level}`, { "font-size": 10.5, fill: theme.ink }));
  }
  const winners = curves.map((at) => at.reduce((best, { loss },
    i) => (loss !== null && (best < 0 || loss < at[best].loss) ? i : best), NONE));
  winners.forEach((winner, i) => {
    if (i && winner !== winners[i - 1] && winner !== NONE) parts.push(words(x(i), 11, "★",
      { class: "fx-turn", "font-size": 12, "text-anchor": "middle", fill: theme.ink }));
  });
  const now = x(v.state.snapshot);
  parts.push(tag("path", { class: "fx-cursor", d: `M${now} ${area.top}v${area.down}`, stroke: theme.ink,
    "stroke-width": 1.5, "stroke-dasharray": "2 2" }));
  return parts.join("");
}

// "Which level would win?" Over width and height, or over the place of the selected box.
const FIELD = 20; // points a side
const LEAST_SIDE = 4; // pixels
function fieldAxes(v) {
  const [height, width] = v.setup.size, most = Math.log2(Math.max(width, height)), least = Math.log2(LEAST_SIDE);
  const [x1, y1, x2, y2] = v.state.boxes[v.state.selected], [w, h] = [x2 - x1, y2 - y1],
    [cx, cy] = [(x1 + x2) / 2, (y1 + y2) / 2];
  const around = (x, y, a, b) => [x - a / 2, y - b / 2, x + a / 2, y + b / 2],
    side = (share) => 2 ** (least + share * (most - least));
  const clamp = (share) => Math.min(1, Math.max(0, share)),
    share = (value) => clamp((Math.log2(value) - least) / (most - least));
  if (v.ui.field === "place") return { at: (a, b) => around(a * width, (1 - b) * height, w, h),
    of: () => [clamp(cx / width), clamp(1 - cy / height)], most, least };
  return { at: (a, b) => around(cx, cy, side(a), side(b)), of: () => [share(w), share(h)], most, least };
}
function sampleField(v, contest) {
  const axes = fieldAxes(v), values = [];
  for (let j = 0; j < FIELD; j++) for (let i = 0; i < FIELD; i++) values.push(contest(axes.at((i + 0.5) / FIELD,
    (j + 0.5) / FIELD)));
  return values;
}
const fieldPlot = (width, height) => plot(width, height, [30, 6, 8, 20]);
function landscapeView(v, width, height) {
  const { theme, field, setup } = v, area = fieldPlot(width, height), parts = [];
  if (!field) return "";
  const w = area.across / FIELD, h = area.down / FIELD, groups = new Map(), means = new Map();
  field.forEach(([level, loss], n) => {
    if (level === NONE) return;
    const [i, j] = [n % FIELD, Math.floor(n / FIELD)],
      strength = loss === null ? 0 : Math.round(3 * Math.exp(-loss / 2));
    const key = `${level} ${strength}`, x = area.left + i * w, y = area.top + (FIELD - 1 - j) * h;
    groups.set(key, `${groups.get(key) ?? ""}M${x.toFixed(1)} ${y.toFixed(1)}h${(w + 0.3).toFixed(1)}v${(h + 0.3).toFixed(1)}h${(-w - 0.3).toFixed(1)}z`);
    means.set(level, [...(means.get(level) ?? []), [x + w / 2, y + h / 2]]);
  });
  for (const [key, d] of groups) {
    const [level, strength] = key.split(" ").map(Number);
    parts.push(tag("path", { class: `fx-land fx-p${level}`, d, fill: levelColor(v, level),
      "fill-opacity": 0.3 + 0.23 * strength }));
  }
  const text = (x, y, what, more) => words(x, y, what,
    { "font-size": 10, "text-anchor": "middle", fill: theme.muted, ...more });
  if (v.ui.field === "size") {
    const { most, least } = fieldAxes(v), span = most - least;
    for (let k = Math.ceil(least); k <= most; k++) {
      const share = (k - least) / span;
      parts.push(text(area.x(share), height - 7, `${2 ** k}`),
        text(area.left - 4, area.y(share) + 4, `${2 ** k}`, { "text-anchor": "end" }));
    }
    for (const level of setup.levels.slice(1)) { // above this size the heuristic names `level`
      const sum = 2 * (Math.log2(setup.config.heuristic_size) + level - setup.config.heuristic_level - least) / span;
      const from = Math.max(0, sum - 1), to = Math.min(1, sum);
      if (from >= to) continue;
      for (const [stroke, wide] of [[theme.paper, 3.5], [theme.ink, 1.5]]) {
        parts.push(tag("path",
          { class: "fx-stairs", d: `M${area.x(from)} ${area.y(sum - from)}L${area.x(to)} ${area.y(sum - to)}`,
          stroke, "stroke-width": wide, "stroke-dasharray": wide < 2 ? "5 3" : null }));
      }
    }
  } else parts.push(text(area.x(0), height - 7, "left"), text(area.x(1) - 8, height - 7, "right"),
    text(area.left - 14, area.y(1) + 8, "top"), text(area.left - 16, area.y(0), "bottom"));
  for (const [level, points] of means) { // a level's name stands at the middle of its part
    if (points.length < 12) continue;
    const middle = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    const far = ([x, y]) => (x - middle[0]) ** 2 + (y - middle[1]) ** 2,
      [x, y] = points.reduce((best, point) => (far(point) < far(best) ? point : best));
    parts.push(tag("rect", { x: x - 10, y: y - 8, width: 20, height: 14, rx: 3, fill: theme.paper,
      "fill-opacity": 0.85 }), text(x, y + 3, `P${level}`,
      { "font-size": 11, fill: theme.ink, "font-weight": "bold" }));
  }
  const [a, b] = fieldAxes(v).of();
  parts.push(tag("circle", { class: "fx-dot", cx: area.x(a), cy: area.y(b), r: 5, fill: theme.paper,
    stroke: theme.ink, "stroke-width": 2.5 }));
  return parts.join("");
}

// The level that learns each box after every snapshot: a row for each box.
function historyView(v, width, height) {
  const { theme, setup, chosen, state } = v, rows = Math.min(state.boxes.length, 12), parts = [];
  const high = Math.min(22, (height - 22) / Math.max(rows, 1)), wide = (width - 104) / setup.steps.length;
  for (let index = 0; index < rows; index++) {
    parts.push(words(96, 8 + high * (index + 0.5), `${index} ${className(v, state.labels[index])}`,
      { "font-size": 11, "text-anchor": "end", fill: theme.ink }));
    chosen.forEach((levels, i) => {
      const level = levels[index], color = levelColor(v, level), x = 100 + i * wide, y = 2 + high * index;
      parts.push(tag("rect", { class: "fx-chosen", x, y, width: wide - 2, height: high - 2, fill: color,
        stroke: i === state.snapshot ? theme.ink : "none", "stroke-width": 2 }));
      parts.push(words(x + wide / 2 - 1, y + high / 2 + 3, level === NONE ? "–" : `P${level}`,
        { "font-size": 10.5, "text-anchor": "middle", fill: theme.on[color] }));
    });
  }
  setup.steps.forEach((step, i) => parts.push(words(100 + (i + 0.5) * wide, 14 + high * rows, `${step}`,
    { "font-size": 10, "text-anchor": "middle", fill: theme.muted })));
  return parts.join("");
}

// The size of many boxes against their level, and the heuristic's stairs. Returns text and dots.
function populationView(v, width, height, points) {
  const { theme, setup } = v, lanes = setup.levels, area = plot(width, height, [40, 10, 12, 40]),
    lane = area.down / lanes.length;
  const exponents = points.map(([size]) => Math.log2(size)), low = Math.floor(Math.min(3, ...exponents)),
    high = Math.ceil(Math.max(low + 1, ...exponents));
  const x = (exponent) => area.x((Math.min(high, Math.max(low, exponent)) - low) / (high - low)),
    y = (level) => area.top + area.down - lane * (level - lanes[0] + 0.5);
  const parts = [];
  for (let tick = low; tick <= high; tick++) {
    parts.push(tag("path", { d: `M${x(tick)} ${area.top}v${area.down}`, stroke: theme.grid }),
      words(x(tick), height - 24, `${2 ** tick}`, { "font-size": 11, "text-anchor": "middle", fill: theme.muted }));
  }
  for (const level of lanes) parts.push(words(34, y(level) + 4, `P${level}`,
    { "text-anchor": "end", fill: theme.ink }));
  const right = (level) => x(level === lanes.at(-1) ? high
    : Math.log2(setup.config.heuristic_size) + level + 1 - setup.config.heuristic_level);
  const stairs = lanes.map((level, i) => `${i ? "V" : `M${x(low)} `}${y(level)}H${right(level)}`).join("");
  parts.push(tag("path", { d: stairs, fill: "none", stroke: theme.ink, "stroke-width": 2,
    "stroke-dasharray": "6 3" }));
  parts.push(words(area.x(0.5), height - 6, "√(w·h) of each box, px; dashed: the size heuristic",
    { "text-anchor": "middle", "font-size": 11, fill: theme.ink }));
  const dots = points.map(([size, level, image, box],
    i) => ({ size, level, image, box, cx: x(Math.log2(size)),
    cy: y(level) + (((0.618 * i) % 1) - 0.5) * 0.7 * lane }));
  return [parts.join(""), dots.filter(({ level }) => level !== NONE)];
}

// The key of the marks, for a level's picture and for the bar under it.
function legendView(v) {
  const { theme } = v, whole = v.state.mode === "image", level = { columns: 1, stride: 12 };
  const square = (code, color) => tag("svg", { width: 14, height: 14, viewBox: "-1 -1 14 14" },
    frame([0, 0, 12, 12], { stroke: theme.muted }), kindMarks(v, { ...level, codes: `${code}` }, code, 0, 1, color));
  const stripes = tag("svg", { width: 20, height: 14, viewBox: "0 0 20 14" },
    v.setup.levels.map((one, i, all) => tag("rect", { x: (20 * i) / all.length, width: 20 / all.length, height: 14,
    fill: levelColor(v, one) })));
  const bar = tag("svg", { width: 30, height: 14, viewBox: "0 0 30 14" },
    frame([1, 3, 15, 12], { fill: theme.muted, stroke: theme.muted }),
    frame([15, 3, 29, 12], { fill: theme.paper, stroke: theme.muted }));
  const dashed = tag("svg", { width: 14, height: 14, viewBox: "0 0 14 14" },
    frame([1, 1, 13, 13], { stroke: theme.ink, "stroke-dasharray": "3 2" }));
  const items = whole ? [[stripes, "positive, in its level's color"], [square(1), "ignored for a class"],
    [square(0), "negative"]]
    : [[stripes, "effective"], [square(1), "ignoring"], [square(3), "lost"], [square(0), "negative"],
      [bar, "focal + IoU loss"], [dashed, "box × ε_e, ε_i"]];
  return items.map(([mark, name]) => `<span>${mark} ${escapeText(name)}</span>`).join("");
}
