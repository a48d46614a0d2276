// The assignment explorer's screen. It draws what `explore` (assignment_view.py) answers and reports the boxes. It computes no
// region, no loss and no level. One question is in flight at a time and the newest wins: an answer has the stamp of its question.

const NONE = -1, CROWD = -1, ERASED = -1, MOST_BOXES = 100, WIDE = 184; // WIDE: of a level's picture, in units of its card
const KINDS = ["negative", "ignoring", "effective", "lost"]; // a cell's code
const AFTER = ["negative", "ignored for at least one class", "positive"]; // ... in the mode of all boxes
const HANDLES = { // which of x1 y1 x2 y2 each moves
  nw: [1, 1, 0, 0], n: [0, 1, 0, 0], ne: [0, 1, 1, 0], e: [0, 0, 1, 0],
  se: [0, 0, 1, 1], s: [0, 0, 0, 1], sw: [1, 0, 0, 1], w: [1, 0, 0, 0],
};
const MODES = { instance: "one box", image: "all boxes", population: "population" };

const maker = (space) => (tag, attributes = {}, ...children) => {
  const made = set(document.createElementNS(space, tag), attributes);
  made.append(...children);
  return made;
};
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }
  return element;
}
const draw = maker("http://www.w3.org/2000/svg"), html = maker("http://www.w3.org/1999/xhtml");
const short = (value) => value.toFixed(3);
const round = (value) => Math.round(100 * value) / 100; // no box needs to be known better than to a hundredth of a pixel
const nameOf = (level) => (level === NONE ? "no level" : `P${level}`);
const python = (value) => (value === null ? "None" : JSON.stringify(value));

function isDark() {
  const lab = document.body.dataset.jpThemeLight; // JupyterLab and Notebook 7 say it here
  return lab ? lab === "false" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// All cells of one kind as one path, and their hatch as another. `shift`: of a cell's square against its index, in cells.
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

function render({ model, el }) {
  const me = Math.random().toString(36).slice(2, 8);
  let setup, theme, scale, margin, parts, groups, cards, drag = null, zoom = false, step = NONE, lesson = "";
  let count = 0, waiting = null, sentAt = 0, late = 0;
  let asked = model.get("state"); // the newest; the model's own may be an echo of an older one
  const state = () => asked, answer = () => model.get("answer");
  const offset = () => answer().cell_center; // where a cell stands, in cells
  const rule = (name) => state().switches[name] ?? setup.conventions[state().switches.convention][name];
  const className = (label) => (label === CROWD ? "crowd" : (setup.classes[label] ?? `class ${label}`));
  const levelColor = (level) => (level === NONE ? theme.muted : theme.levels[level - 3]);
  const say = (words) => { parts.hover.textContent = words; };

  // Questions and answers
  function change(patch) {
    asked = { ...asked, ...patch, stamp: `${me} ${++count}` };
    paintBoxes();
    paintControls();
    send();
  }

  function send() {
    if (waiting || answer().stamp === asked.stamp) return;
    waiting = asked.stamp;
    sentAt = performance.now();
    model.set("state", asked);
    model.save_changes();
    late = setTimeout(() => {
      waiting = null; // the next change asks again
      say("Python has not answered for 5 s: it is busy, or its kernel was restarted. In that case run this cell again.");
    }, 5000);
  }

  // A state of Python's, or of another view. One message brings it, its answer and its setup in any order: each asks for it first.
  const adopt = () => !model.get("state").stamp.startsWith(me) && (asked = model.get("state"));
  function onAnswer() {
    clearTimeout(late);
    adopt();
    paint();
    if (waiting) performance.measure("fsaf-explorer", { start: sentAt });
    waiting = null;
    send(); // what has changed meanwhile
  }

  // The boxes on the image
  function setBox(index, [a, b, c, d]) {
    const box = [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)].map(round);
    change({ boxes: state().boxes.map((old, i) => (i === index ? box : old)) });
  }

  function add() {
    const { boxes, labels, selected } = state(), [height, width] = setup.size, at = 0.3 + (boxes.length % 6) * 0.05;
    if (boxes.length >= MOST_BOXES) return say(`${MOST_BOXES} boxes are the most.`);
    const box = [at * width, at * height, (at + 0.25) * width, (at + 0.25) * height].map(Math.round);
    change({ boxes: [...boxes, box], labels: [...labels, Math.max(labels[selected] ?? 0, 0)], selected: boxes.length });
    groups[boxes.length].focus();
  }

  function remove() {
    const { boxes, labels, selected } = state(), rest = (list) => list.filter((_, i) => i !== selected);
    if (!boxes.length) return;
    change({ boxes: rest(boxes), labels: rest(labels), selected: Math.max(0, Math.min(selected, boxes.length - 2)) });
    groups[state().selected]?.focus();
  }

  function onKey(event) {
    const index = groups.indexOf(event.target), far = event.shiftKey ? 10 : 1;
    const dx = { ArrowLeft: -far, ArrowRight: far }[event.key] ?? 0, dy = { ArrowUp: -far, ArrowDown: far }[event.key] ?? 0;
    if (event.key === "+") add();
    else if (index >= 0 && (event.key === "Delete" || event.key === "Backspace")) remove();
    else if (index >= 0 && (dx || dy)) {
      const [x1, y1, x2, y2] = state().boxes[index], corner = event.altKey || event.ctrlKey;
      setBox(index, corner ? [x1, y1, Math.max(x1, x2 + dx), Math.max(y1, y2 + dy)] : [x1 + dx, y1 + dy, x2 + dx, y2 + dy]);
    } else return event.stopPropagation(); // JupyterLab would keep a slider's arrows for itself
    event.preventDefault();
    event.stopPropagation();
  }

  function onDown(event) {
    const handle = event.target.dataset.handle, index = handle ? state().selected : pick(event);
    if (index < 0 || event.button) return;
    groups[index].focus({ preventScroll: true });
    drag = { index, x: event.clientX, y: event.clientY, box: state().boxes[index], moves: HANDLES[handle] ?? [1, 1, 1, 1] };
    parts.stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    event.stopPropagation();
  }

  function pick(event) { // the box whose name is under the pointer, or else the smallest box there
    if (event.target.closest(".fx-name")) return groups.indexOf(event.target.closest(".fx-box"));
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(parts.stage.getScreenCTM().inverse()), near = 4 / scale;
    const inside = ([x1, y1, x2, y2]) => x > x1 - near && x < x2 + near && y > y1 - near && y < y2 + near;
    const areas = state().boxes.map((box) => (inside(box) ? (box[2] - box[0]) * (box[3] - box[1]) : Infinity));
    return areas.indexOf(Math.min(...areas.filter(Number.isFinite)));
  }

  function onMove(event) {
    if (!drag) return;
    const by = [event.clientX - drag.x, event.clientY - drag.y].map((pixels) => Math.round((4 * pixels) / scale) / 4);
    setBox(drag.index, drag.box.map((value, i) => value + drag.moves[i] * by[i % 2]));
  }

  function makeBox(index) {
    const select = () => index !== state().selected && change({ selected: index });
    const group = draw("g", { class: "fx-box", tabindex: 0, role: "button", onfocus: select });
    group.append(draw("rect", { fill: "transparent" }), draw("rect", { class: "fx-name" }), draw("text", { class: "fx-name" }));
    return group;
  }

  function paintBoxes() {
    const { boxes, labels, selected, mode } = state(), px = 1 / scale; // px: a pixel of the screen, in pixels of the image
    while (groups.length > boxes.length) groups.pop().remove();
    while (groups.length < boxes.length) parts.handles[0].before(groups[groups.push(makeBox(groups.length)) - 1]);
    boxes.forEach(([x1, y1, x2, y2], index) => {
      const [body, tab, name] = groups[index].children, own = index === selected, level = answer().selected[index] ?? NONE;
      const color = mode === "instance" ? theme.classes[Math.max(labels[index], 0) % theme.classes.length] : levelColor(level);
      const [growX, growY] = [x2 - x1, y2 - y1].map((side) => (own ? Math.max(0, 14 * px - side / 2) : 0)); // handles keep apart
      name.textContent = `${index + 1} ${className(labels[index])}`;
      if (mode !== "instance" && labels[index] !== CROWD) name.textContent += `, ${nameOf(level)}`;
      const above = y1 - growY - (own ? 20 : 15) * px, top = above < -margin ? y1 : above, left = Math.max(x1 - px, -margin);
      const label = `box ${name.textContent}: ${[x1, y1, x2, y2].join(" ")} px, ${nameOf(level)}`;
      set(groups[index], { "aria-label": label, "aria-pressed": `${own}`, opacity: own || mode === "image" ? 1 : 0.8 });
      set(body, { x: x1, y: y1, width: x2 - x1, height: y2 - y1, stroke: color, "stroke-width": (own ? 3 : 1.5) * px });
      set(body, { "stroke-dasharray": labels[index] === CROWD && `${6 * px} ${4 * px}` });
      set(tab, { x: left, y: top, width: (name.textContent.length * 6.4 + 8) * px, height: 15 * px, fill: color });
      set(name, { x: left + 4 * px, y: top + 11 * px, "font-size": 11 * px, fill: theme.on[color] });
      for (const handle of own ? parts.handles : []) {
        const [l, t, r, b] = HANDLES[handle.dataset.handle], side = 9 * px;
        const x = (x1 + x2) / 2 + (r - l) * ((x2 - x1) / 2 + growX), y = (y1 + y2) / 2 + (b - t) * ((y2 - y1) / 2 + growY);
        set(handle, { x: x - side / 2, y: y - side / 2, width: side, height: side });
        set(handle, { fill: theme.paper, stroke: color, "stroke-width": 1.5 * px });
      }
    });
    for (const handle of parts.handles) set(handle, { visibility: boxes[selected] ? "visible" : "hidden" });
  }

  // The levels: a card each, which is one drawing
  function makeCard(index) {
    const tall = Math.max(30, Math.min(266, (WIDE * setup.padded[0]) / setup.padded[1])), base = tall + 30;
    const text = (x, y, more) => draw("text", { x, y, "font-size": 12, fill: theme.ink, ...more });
    const card = {
      svg: draw("svg", { viewBox: `0 0 200 ${base + 52}`, class: "fx-card", role: "img", "font-family": "sans-serif" }),
      ring: draw("rect", { x: 2, y: 2, width: 196, height: base + 48, rx: 6, fill: theme.paper }),
      name: text(8, 19, { "font-weight": "bold", "font-size": 14 }),
      cells: text(34, 19, { fill: theme.muted }),
      panel: draw("svg", { x: 8, y: 26, width: WIDE, height: tall }),
      focal: draw("rect", { x: 8, y: base + 4, height: 10 }),
      iou: draw("rect", { y: base + 4, height: 10 }),
      sum: text(8, base + 28),
      verdict: text(8, base + 43, { "font-weight": "bold" }),
    };
    card.svg.append(...Object.values(card).slice(1));
    card.panel.append(picture(), (card.shades = draw("g")));
    set(card.panel, { onpointermove: (event) => hover(event, index), onpointerleave: () => say(lesson) });
    return card;
  }

  function picture() {
    const [height, width] = setup.size;
    return draw("image", { href: setup.image, width, height, preserveAspectRatio: "none", style: "image-rendering:pixelated" });
  }

  function view() { // the part of the image that a card shows: x y width height
    const [x1, y1, x2, y2] = state().boxes[state().selected] ?? [], [height, width] = setup.padded;
    const side = 1.3 * Math.max(x2 - x1, y2 - y1, 48);
    return zoom && state().mode === "instance" && side ? [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2, side, side] : [0, 0, width, height];
  }

  function paintCard(card, level, worst) {
    const { mode, selected, boxes, switches } = state(), a = answer(), whole = mode === "image", color = levelColor(level.level);
    const shift = offset() - 0.5, [left, top, width, height] = view(), px = width / WIDE, s = level.stride;
    const shades = KINDS.flatMap((kind, code) => {
      const style = theme.regions[kind], [squares, hatch] = cellPaths(level, `${code}`, shift);
      const fill = whole && kind === "effective" ? color : style.fill;
      const lines = { d: hatch, fill: "none", stroke: style.ink, "stroke-width": Math.min(s / 8, 1.5 * px) };
      return squares && [draw("path", { class: kind, d: squares, fill, "fill-opacity": style.opacity }), hatch && draw("path", lines)];
    });
    const grid = s > 3 * px && draw("path", { d: gridPath(level, shift), stroke: theme.grid, fill: "none", "stroke-width": px / 2 });
    const shown = boxes.flatMap((_, i) => ((whole ? a.selected[i] === level.level : i === selected) ? [i] : []));
    const outlines = shown.flatMap((i) => (whole ? [1] : [1, rule("ignoring_scale"), switches.effective_scale]).map((share, nth) => {
      const [x1, y1, x2, y2] = boxes[i], [w, h] = [share * (x2 - x1), share * (y2 - y1)];
      const line = (more) => draw("rect", { x: (x1 + x2 - w) / 2, y: (y1 + y2 - h) / 2, width: w, height: h, fill: "none", ...more });
      if (!nth) return line({ stroke: color, "stroke-width": 2 * px });
      const dashed = line({ stroke: theme.ink, "stroke-width": px, "stroke-dasharray": `${3 * px} ${2 * px}` });
      return [line({ stroke: theme.paper, "stroke-width": px }), dashed]; // to be seen on any cell
    }).flat());
    card.shades.replaceChildren(...[...shades, grid, ...outlines].filter(Boolean));
    set(card.panel, { viewBox: [left, top, width, height].join(" ") });

    const wins = !whole && a.selected[selected] === level.level, known = level.loss !== null;
    const length = (value) => (whole || !known ? 0 : (WIDE * value) / worst);
    set(card.ring, { stroke: wins ? color : theme.grid, "stroke-width": wins ? 4 : 1 });
    set(card.focal, { width: length(level.focal), fill: color, stroke: color });
    set(card.iou, { x: 8 + length(level.focal), width: length(level.iou), fill: theme.paper, stroke: color });
    card.name.textContent = `P${level.level}`;
    card.cells.textContent = `stride ${s}, ${level.columns} × ${level.rows} cells`;
    const lost = level.codes.includes("3") ? "all its cells are lost" : "no cell of the box";
    const without = level.codes.includes("2") ? "loss not known" : lost;
    const sum = known ? `${short(level.loss)} = focal ${short(level.focal)} + IoU ${short(level.iou)}` : without;
    card.sum.textContent = whole ? `learns ${shown.length} of ${boxes.length}` : sum;
    const marks = [wins && "★ learns it", a.heuristic[selected] === level.level && "▲ by size"];
    if (!wins) marks.push(a.online[selected] === level.level && "least loss", level.taught && `${level.taught} here`);
    card.verdict.textContent = whole ? "" : marks.filter(Boolean).join(" · ");
    const words = [card.name, card.cells, card.sum, card.verdict].map((part) => part.textContent).join("; ");
    set(card.svg, { "data-level": level.level, "data-winner": `${wins}`, "aria-label": words });
  }

  function hover(event, index) {
    const level = answer().levels[index], c = offset();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(cards[index].shades.getScreenCTM().inverse());
    const [column, row] = [at.x, at.y].map((value) => Math.floor(value / level.stride - c + 0.5)), cell = row * level.columns + column;
    if (!level.codes[cell] || column < 0 || column >= level.columns) return;
    const [who, focal, iou] = level.cells[cell] ?? [], kind = level.codes[cell];
    const nobody = who === ERASED ? "another region of its class lies over it" : "a crowd box lies over it";
    const taken = who >= 0 ? `box ${who + 1} took it` : nobody;
    const sum = () => `, box ${who + 1}: focal ${short(focal)} + −ln IoU ${short(iou)} = ${short(focal + iou)}`;
    const where = `P${level.level}, row ${row}, column ${column}, at (${(column + c) * level.stride}, ${(row + c) * level.stride}) px`;
    say(`${where}: ${(state().mode === "image" ? AFTER : KINDS)[kind]}${kind === "3" ? `, ${taken}` : focal === undefined ? "" : sum()}`);
  }

  // The population: size of many boxes against their level
  function paintPopulation() {
    const points = [...answer().points].sort((one, other) => one[0] - other[0]), exponents = points.map(([size]) => Math.log2(size));
    const lanes = setup.levels, lane = 320 / lanes.length;
    const low = Math.floor(Math.min(3, ...exponents)), high = Math.ceil(Math.max(low + 1, ...exponents));
    const x = (exponent) => 40 + (440 * (Math.min(high, Math.max(low, exponent)) - low)) / (high - low);
    const y = (level) => 330 - lane * (level - lanes[0] + 0.5), style = { "font-size": 12, fill: theme.ink };
    const text = (x, y, words, anchor = "middle") => draw("text", { x, y, "text-anchor": anchor, ...style }, words);
    const ticks = Array.from({ length: high - low + 1 }, (_, i) => low + i);
    const edge = (level) => Math.log2(setup.heuristic_size) + level - setup.heuristic_level; // above it the rule of size names `level`
    const right = (level) => x(level === lanes.at(-1) ? high : edge(level + 1));
    const stairs = lanes.map((level, i) => `${i ? "V" : `M${x(low)} `}${y(level)}H${right(level)}`).join("");
    const onDot = (event, i) => { // Tab reaches the smallest box; from there the arrows go up and down in size, Enter opens
      const next = dots[i + ({ ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? NaN)];
      if (event.key === "Enter" || event.key === " ") event.target.dispatchEvent(new MouseEvent("click"));
      else if (next) next.focus();
      else return;
      event.preventDefault();
    };
    const dots = points.filter(([, level]) => level !== NONE).map(([size, level, image, box], i) => draw("circle", {
      cx: x(Math.log2(size)), cy: y(level) + (((0.618 * i) % 1) - 0.5) * 0.7 * lane, r: 3.5,
      fill: levelColor(level), stroke: theme.ink, "stroke-width": 0.4, onclick: () => change({ open: [image, box] }),
      tabindex: i ? -1 : 0, role: "button", onkeydown: (event) => onDot(event, i),
    }, draw("title", {}, `${size.toFixed(1)} px, P${level}: image ${image + 1}, box ${box + 1}. Click or Enter opens it.`)));
    const nowhere = points.length - dots.length;
    parts.chart.replaceChildren(
      ...ticks.flatMap((tick) => [draw("path", { d: `M${x(tick)} 10V330`, stroke: theme.grid }), text(x(tick), 346, `${2 ** tick}`)]),
      ...lanes.map((level) => text(34, y(level) + 4, `P${level}`, "end")), ...dots,
      draw("path", { d: stairs, fill: "none", stroke: theme.ink, "stroke-width": 2, "stroke-dasharray": "6 3" }),
      text(260, 366, `√(w·h) of each box, px; dashed: the rule of size${nowhere ? `; ${nowhere} boxes at no level` : ""}`),
    );
    set(parts.chart, { "aria-label": `${points.length} boxes: size against the selected level` });
  }

  // The frame
  function build() {
    setup = model.get("setup");
    theme = setup.themes[isDark() ? "dark" : "light"];
    const [height, width] = setup.size, button = (words, onclick, more) => html("button", { type: "button", onclick, ...more }, words);
    margin = 0.07 * Math.max(Math.min(width, height), 0.1 * Math.max(width, height));
    scale = Math.max(Math.min(380 / (width + 2 * margin), 460 / (height + 2 * margin)), 60 / (Math.min(width, height) + 2 * margin));
    [zoom, step, groups, cards, drag] = [Math.max(width, height) > 256, NONE, [], [], null];
    const across = width + 2 * margin, down = height + 2 * margin, ink = { "font-family": "sans-serif", role: "img" };
    const group = (name, label, ...inside) => html("div", { class: `fx-${name} fx-part`, role: "group", "aria-label": label }, ...inside);
    const choice = (options, onchange) => html("select", { onchange }, ...options.map(([value, name]) => html("option", { value }, name)));
    const relabel = () => change({ labels: state().labels.map((old, i) => (i === state().selected ? Number(parts.label.value) : old)) });
    const drop = () => { drag = null; }, modes = Object.keys(MODES).filter((mode) => mode !== "population" || setup.population);
    parts = {
      modes: modes.map((mode) => button(MODES[mode], () => change({ mode }), { "data-mode": mode })),
      stage: draw("svg", { width: across * scale, height: down * scale, viewBox: [-margin, -margin, across, down].join(" "), ...ink }),
      label: choice([...setup.classes.map((name, i) => [i, name]), [CROWD, "crowd (left out)"]], relabel),
      handles: Object.keys(HANDLES).map((name) => draw("rect", { "data-handle": name, style: `cursor:${name}-resize` })),
      summary: html("p", { class: "fx-summary", "aria-live": "polite" }), notes: html("div", { class: "fx-notes", role: "status" }),
      hover: html("p", { class: "fx-hover" }), tour: html("div", { class: "fx-tour", role: "status", hidden: true }),
      code: html("pre", { class: "fx-code", hidden: true }),
      legend: draw("svg", { class: "fx-legend", viewBox: "0 0 380 40", "aria-label": "key of the cells and bars", ...ink }),
      cards: html("div", { class: `fx-cards${setup.levels.length > 4 ? " fx-many" : ""}` }),
      chart: draw("svg", { class: "fx-chart", viewBox: "0 0 500 376", ...ink, role: "group" }),
      time: html("input", { type: "range", min: 0, max: Math.max(setup.steps.length - 1, 0), "aria-label": "training snapshot" }),
      step: html("output"), zoom: html("input", { type: "checkbox", onchange: () => { zoom = parts.zoom.checked; paint(); } }),
    };
    set(parts.stage, { role: "group", "aria-label": `image of ${width} by ${height} pixels with its boxes` });
    set(parts.stage, { onpointerdown: onDown, onpointermove: onMove, onpointerup: drop, onpointercancel: drop });
    set(parts.time, { disabled: setup.steps.length < 2, oninput: () => change({ snapshot: Number(parts.time.value) }) });
    const setSwitch = (name, value) => {
      const switches = { ...state().switches, [name]: value }, { effective_scale, ignoring_scale } = switches;
      if (name === "effective_scale" && value > rule("ignoring_scale")) switches.ignoring_scale = value; // the ring is the outer one
      else if (ignoring_scale !== null && ignoring_scale < effective_scale) switches.effective_scale = ignoring_scale;
      change({ switches });
    };
    const label = (name, title, words, ...more) => html("label", { title }, words, set(parts[name], { name }), ...more);
    const scales = Object.entries(setup.scales).map(([name, [symbol, title]]) => {
      const slide = () => setSwitch(name, Number(parts[name].value));
      parts[name] = html("input", { type: "range", min: 0.05, max: 1, step: 0.05, oninput: slide });
      return label(name, title, symbol, (parts[`${name} said`] = html("output")));
    });
    const switches = Object.entries(setup.switches).map(([name, [options, title]]) => {
      parts[name] = choice(options.map((value, i) => [i, `${value}`]), () => setSwitch(name, options[parts[name].value]));
      return label(name, title, name.replaceAll("_", " "));
    });
    const situations = setup.situations.map(({ name, says, ...patch }) => button(name, () => {
      const mode = state().mode === "population" ? "instance" : state().mode;
      change({ ...patch, mode, selected: 0, switches: { ...setup.start.switches, ...patch.switches } });
      say((lesson = says));
    }, { title: says }));
    const tools = [button("tour", () => tour(0)), button("reset", reset), button("copy as Python", copy), button("save SVG", save)];
    const zoomed = html("label", {}, parts.zoom, "zoom on the box");
    parts.tools = html("div", {}, parts.label, button("+ add", add), button("delete", remove), zoomed);
    parts.stage.append(picture(), ...parts.handles);
    const style = ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";");
    const root = html("div", { class: "fx", "data-theme": theme.name, "data-lm-suppress-shortcuts": "true", onkeydown: onKey, style },
      group("top", "views, situations, tools", ...[parts.modes, situations, tools].map((row) => html("span", {}, ...row))),
      parts.tour, parts.summary, parts.notes,
      html("div", { class: "fx-main" },
        html("div", { class: "fx-side" },
          group("left", "image", html("div", { class: "fx-scroll" }, parts.stage), parts.tools, parts.legend),
          group("time", "training", html("label", {}, "snapshot", parts.time), parts.step), parts.hover),
        group("levels", "levels", parts.cards, parts.chart)),
      group("switches", "rules", ...scales, ...switches), parts.code);
    el.replaceChildren((parts.root = root));
    say(lesson);
    paint();
  }

  function paintLegend(mode) {
    const { ink, muted, paper, regions } = theme, box = { height: 14, stroke: muted }, wide = 14 / setup.levels.length;
    const cell = (kind, code = `${KINDS.indexOf(kind)}`) => [
      draw("rect", { width: 14, ...box, fill: regions[kind].fill, "fill-opacity": regions[kind].opacity }),
      draw("path", { d: cellPaths({ codes: code, columns: 1, stride: 14 }, code, 0)[1], stroke: regions[kind].ink }),
    ];
    const stripe = (level, i) => draw("rect", { x: wide * i, width: wide, height: 14, fill: levelColor(level) });
    const bar = [draw("rect", { width: 20, ...box, fill: muted }), draw("rect", { x: 20, width: 20, ...box, fill: paper })];
    const dashed = draw("rect", { width: 14, height: 14, fill: "none", stroke: ink, "stroke-dasharray": "3 2" });
    const after = [[0, 0, cell("negative"), "negative"], [95, 0, cell("ignoring"), "ignored"]];
    after.push([190, 0, setup.levels.map(stripe), "positive, in its level's colour"]);
    const before = KINDS.map((kind, i) => [95 * i, 0, cell(kind), kind]);
    before.push([0, 1, bar, "focal + IoU loss"], [160, 1, [dashed], "box × ε_e, box × ε_i"]);
    parts.legend.replaceChildren(...(mode === "image" ? after : before).map(([x, row, marks, words]) => (
      draw("g", { transform: `translate(${x + 2} ${3 + 20 * row})` }, ...marks,
        draw("text", { x: marks === bar ? 45 : 19, y: 11, "font-size": 12, fill: ink }, words)))));
    set(parts.legend, { "data-mode": mode, visibility: mode === "population" ? "hidden" : "visible" });
  }

  function paintControls() {
    const { mode, labels, selected, snapshot, switches } = state(), own = setup.conventions[switches.convention];
    for (const button of parts.modes) set(button, { "aria-pressed": `${button.dataset.mode === mode}` });
    set(parts.label, { disabled: !labels.length, "aria-label": `class of box ${selected + 1}` }).value = labels[selected] ?? 0;
    if (parts.legend.dataset.mode !== mode) paintLegend(mode);
    parts.zoom.checked = zoom;
    parts.time.value = snapshot;
    const { length } = setup.steps;
    parts.step.textContent = length ? `after step ${setup.steps[snapshot]} (${snapshot + 1} of ${length})` : "no snapshots yet";
    parts.code.textContent = parts.code.hidden ? "" : code();
    for (const name of Object.keys(setup.scales)) {
      parts[name].value = rule(name);
      parts[`${name} said`].textContent = rule(name).toFixed(2) + (switches[name] === null ? ` (${switches.convention})` : "");
    }
    for (const [name, [options]] of Object.entries(setup.switches)) {
      parts[name].selectedIndex = options.indexOf(switches[name]);
      if (options[0] === null) parts[name].options[0].textContent = `as ${switches.convention}: ${own[name]}`;
    }
  }

  function summary() {
    const { boxes, labels, selected, mode } = state(), { points, levels, ...chosen } = answer(), box = boxes[selected];
    const learned = setup.levels.map((level) => `P${level} learns ${chosen.selected.filter((own) => own === level).length}`);
    if (mode === "population" && points) return `${points.length} boxes of ${setup.population} images: size and level. Click one to open it; by keyboard Tab, arrows, Enter.`;
    if (mode === "image") return `What is left after the selection: ${learned.join(", ")}.`;
    if (!box) return "There is no box: add one.";
    const what = `Box ${selected + 1} (${className(labels[selected])}, ${round(box[2] - box[0])} × ${round(box[3] - box[1])} px)`;
    if (labels[selected] === CROWD) return `${what}: cells inside its inner half teach nothing.`;
    const level = levels.find((one) => one.level === chosen.selected[selected]), loss = level?.loss ?? null;
    const learns = level ? `P${level.level} learns it${loss === null ? "" : `, at loss ${short(loss)}`}` : "no level learns it";
    return `${what}: ${learns}; by its size: ${nameOf(chosen.heuristic[selected] ?? NONE)}.`;
  }

  function paint() {
    const { mode } = state(), { levels, notes, points } = answer(), population = mode === "population" && points !== undefined;
    paintBoxes();
    paintControls();
    parts.summary.textContent = summary();
    parts.notes.replaceChildren(...notes.map((note) => html("p", {}, note)));
    set(parts.root, { "data-stamp": answer().stamp, "data-mode": mode });
    set(parts.cards, { hidden: population });
    parts.chart.style.display = population ? "" : "none";
    if (population) return paintPopulation();
    const fresh = cards.length !== levels.length && levels.map((_, index) => makeCard(index));
    if (fresh) parts.cards.replaceChildren(...(cards = fresh).map((card) => card.svg));
    const worst = Math.max(...levels.map((level) => level.loss ?? 0), 1e-9);
    levels.forEach((level, index) => paintCard(cards[index], level, worst));
  }

  // Teaching aids
  function tour(to) {
    const button = (name, by) => html("button", { type: "button", onclick: () => tour(by) }, name), last = setup.tour.length - 1;
    step = to in setup.tour ? to : NONE;
    const [lit, words] = setup.tour[step] ?? [], back = step > 0 ? [button("back", step - 1)] : [];
    parts.root.classList.toggle("fx-touring", step !== NONE);
    for (const part of parts.root.querySelectorAll(".fx-part")) part.classList.toggle("fx-lit", part.classList.contains(`fx-${lit}`));
    const buttons = [...back, button(step < last ? "next" : "done", step + 1), button("end the tour", NONE)];
    set(parts.tour, { hidden: step === NONE }).replaceChildren(`${step + 1} of ${last + 1}. ${words} `, ...buttons);
    parts.tour.querySelector("button:nth-last-of-type(2)").focus();
  }

  function reset() { // also after a point of the population has opened another image
    say((lesson = ""));
    parts.code.hidden = true;
    change(setup.home ? setup.start : { open: [NONE, NONE] });
  }

  function code() {
    const { boxes, labels, snapshot, switches } = state(), given = setup.start.switches;
    const pick = (list, crowd) => list.filter((_, i) => (labels[i] === CROWD) === crowd);
    const changed = Object.entries(switches).flatMap(([name, value]) => (value === given[name] ? [] : [`, ${name}=${python(value)}`]));
    return `import dataclasses
import torch
import fsaf_core as fsaf

# snapshots: those of your Explorer, explorer.snapshots
config = dataclasses.replace(snapshots.config${changed.join("")})
target = {
    "boxes": torch.tensor(${python(pick(boxes, false))}).view(-1, 4).float(),
    "labels": torch.tensor(${python(pick(labels, false))}).long(),
    "ignored": torch.tensor(${python(pick(boxes, true))}).view(-1, 4).float(),
}
assignment = fsaf.build_detector(config).assign(snapshots.outputs[${snapshot}], [target], [(${setup.size.join(", ")})])
print(assignment.level_losses, assignment.selected_level)  # 0 is P${setup.levels[0]}, -1 is no level`;
  }

  function copy() {
    parts.code.hidden = false;
    paintControls();
    say("It stands below: copy it from there.");
    navigator.clipboard?.writeText(code()).then(() => say("Copied; it also stands below, and follows what you do."), () => {});
  }

  function save() {
    const many = setup.levels.length > 4, wide = many ? 150 : 228, across = many ? 3 : 2;
    const place = (part, x, y, width, height) => set(part.cloneNode(true), { x, y, width, height });
    const tall = cards.length ? (wide * Number(cards[0].svg.getAttribute("viewBox").split(" ")[3])) / 200 : 0;
    const card = ({ svg }, i) => place(svg, 420 + (i % across) * (wide + 8), 30 + Math.floor(i / across) * (tall + 8), wide, tall);
    const right = parts.cards.hidden ? [place(parts.chart, 420, 30, 460, 346)] : cards.map(card);
    const bottom = Math.max(540, 40 + Math.ceil(cards.length / across) * (tall + 8)), title = summary();
    const frame = { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 900 ${bottom}`, role: "img", "font-family": "sans-serif" };
    const picture = draw("svg", frame, draw("title", {}, title), draw("rect", { width: 900, height: bottom, fill: theme.paper }),
      draw("text", { x: 10, y: 20, "font-size": 14, fill: theme.ink }, title), place(parts.stage, 10, 30, 400, 440),
      place(parts.legend, 10, 480, 400, 42), ...right);
    const file = new Blob([picture.outerHTML], { type: "image/svg+xml" });
    const link = html("a", { download: "fsaf-explorer.svg", href: URL.createObjectURL(file) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const onSetup = () => { adopt(); build(); }; // another image
  const onState = () => { if (adopt()) paint(); };
  const onTheme = () => theme.name !== (isDark() ? "dark" : "light") && build();
  const watcher = new MutationObserver(onTheme), dark = matchMedia("(prefers-color-scheme: dark)");
  watcher.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
  dark.addEventListener("change", onTheme);
  const heard = Object.entries({ "change:setup": onSetup, "change:state": onState, "change:answer": onAnswer });
  for (const [event, handler] of heard) model.on(event, handler);
  build();
  return () => {
    watcher.disconnect();
    dark.removeEventListener("change", onTheme);
    for (const [event, handler] of heard) model.off(event, handler);
  };
}

export default { render };
