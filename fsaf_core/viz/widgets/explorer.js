// The explorer's front end: it puts the views on the page and turns mouse and keys into states.

const MODES = { instance: "one box", image: "all boxes", split: "paper | MMDetection", predict: "predict first",
  population: "population" };
const HINT = "Drag a box or its corners, or draw a new one. Point at a location of a level, or reach it with Tab and the arrow keys, to read its losses.";
const PHONE = 520, STRIP = 760; // widths below which the parts stand otherwise
const WIDEST = 1120;

function build({ model, setup, theme, store, twin }) {
  const [height, width] = setup.size, isLong = Math.max(width, height) > 256;
  const margin = 0.07 * Math.max(Math.min(width, height), 0.1 * Math.max(width, height));
  const across = width + 2 * margin, down = height + 2 * margin;
  const ui = { hover: null, predictions: true, zoom: isLong, field: "size", step: NONE, guess: null, score: [0, 0] };
  let scale = 1, cardWidth = 150, paneWidth = 270, paneHeight = 150, lesson = "", dragged = 0, drags = 0,
    points = [], focus = 0;
  const state = () => store.state;
  const isSingle = () => ["instance", "split", "predict"].includes(state().mode);
  const say = (text) => { lesson = text; store.later(); };

  function view() {
    const { mode, boxes, selected, labels } = state(), { answer } = store;
    const known = twin.knows && answer.levels.length > 0, usable = boxes[selected] && labels[selected] !== CROWD;
    const step = setup.walk[ui.step], v = { setup, state: state(), answer, theme, ui,
      reveal: step?.reveal ?? LAST_STEP };
    v.hidden = mode === "predict" && ui.guess === null;
    v.curves = known && usable && mode === "instance" ? twin.curves(state()) : [];
    v.field = known && usable && mode === "instance" ? sampleField(v, twin.contest(state())) : null;
    v.chosen = known && mode === "image" ? setup.steps.map((_,
      snapshot) => twin.explore({ ...state(), snapshot }).selected) : [];
    if (mode === "split") {
      const { switches } = state(), convention = switches.convention === "paper" ? "reference" : "paper";
      v.other = twin.explore({ ...state(), switches: { ...setup.start.switches, selection: switches.selection,
        convention } });
    }
    return v;
  }

  // Boxes
  const rounded = (box) => box.map(round);
  function setBox(index, [a, b, c, d], by) {
    const box = rounded([Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)]);
    store.change({ boxes: state().boxes.map((old, i) => (i === index ? box : old)) }, by);
  }
  function moved([x1, y1, x2, y2], dx, dy) { // at least 2 pixels stay on the image
    const keep = (by, low, high, side) => Math.min(side - 2 - low, Math.max(2 - high, by));
    const [x, y] = [keep(dx, x1, x2, width), keep(dy, y1, y2, height)];
    return [x1 + x, y1 + y, x2 + x, y2 + y];
  }
  function addBox(box, by = null) {
    const { boxes, labels, selected } = state();
    if (boxes.length >= MOST_BOXES) return say(`${MOST_BOXES} boxes are the most.`);
    store.change({ boxes: [...boxes, rounded(box)], labels: [...labels, Math.max(labels[selected] ?? 0, 0)],
      selected: boxes.length }, by);
  }
  function addInMiddle() {
    const at = 0.3 + (state().boxes.length % 6) * 0.05;
    addBox([at * width, at * height, (at + 0.25) * width, (at + 0.25) * height].map(Math.round));
    focusBox();
  }
  function remove() {
    const { boxes, labels, selected } = state(), rest = (list) => list.filter((_, i) => i !== selected);
    if (!boxes.length) return;
    store.change({ boxes: rest(boxes), labels: rest(labels),
      selected: Math.max(0, Math.min(selected, boxes.length - 2)) });
    focusBox();
  }
  const select = (index) => {
    ui.hover = null;
    if (index !== state().selected) store.change({ selected: index }, `select`);
  };
  const focusBox = () => { focus = 2; store.later(); }; // after the next picture; 2: by key

  // Keys
  function onKey(event) {
    const { key } = event, { boxes, selected } = state(), index = groups.indexOf(event.target),
      far = event.shiftKey ? 10 : 1;
    const isText = event.target.matches("select, input"), dx = { ArrowLeft: -far, ArrowRight: far }[key] ?? 0,
      dy = { ArrowUp: -far, ArrowDown: far }[key] ?? 0;
    const nth = cards.findIndex(({ svg }) => svg === event.target), command = event.ctrlKey || event.metaKey;
    root.classList.add("fx-keys");
    // Ctrl+S saves the notebook
    if (key === "Control" || key === "Meta") return set(root, { "data-lm-suppress-shortcuts": null });
    if (command && !"zy".includes(key.toLowerCase()) && !key.startsWith("Arrow")) return;
    if (command && key.toLowerCase() === "z") event.shiftKey ? store.redo() : store.undo();
    else if (command && key.toLowerCase() === "y") store.redo();
    else if (key === "Escape") escape(event);
    else if (!isText && (key === "+" || key === "Insert")) addInMiddle();
    else if (index >= 0 && (key === "Delete" || key === "Backspace")) remove();
    else if (index >= 0 && "np".includes(key) && boxes.length) {
      select((selected + (key === "n" ? 1 : boxes.length - 1)) % boxes.length);
      focusBox();
    } else if (index >= 0 && (dx || dy)) {
      const [x1, y1, x2, y2] = boxes[index], corner = event.altKey || event.ctrlKey;
      setBox(index, corner ? [x1, y1, Math.max(x1, x2 + dx), Math.max(y1, y2 + dy)] : moved(boxes[index], dx, dy),
        `keys ${index}`);
    } else if (event.target === dot && (dx || dy)) {
      const [a, b] = dotShares();
      moveDot([a + dx / 100, b - dy / 100], "dot keys");
    } else if (nth >= 0 && state().mode === "predict" && ui.guess === null
      && (key === "Enter" || key === " ")) guess(setup.levels[nth]);
    else if (nth >= 0 && (dx || dy)) walkLocations(nth, Math.sign(dx), Math.sign(dy));
    else if (!isText && state().mode === "predict" && ui.guess === null
      && setup.levels.includes(Number(key))) guess(Number(key));
    else return event.stopPropagation(); // JupyterLab would keep a slider's arrows for itself
    event.preventDefault();
    event.stopPropagation();
  }
  function escape(event) {
    if (onStage.active()) onStage.escape(event);
    else if (onField.active()) onField.escape(event);
    else if (ui.step !== NONE) walk(NONE);
    else [ui.hover, lesson] = [null, ""];
    store.later();
  }
  function walkLocations(nth, dx, dy) {
    const level = store.answer.levels[nth], { columns, rows } = level,
      first = Math.max(0, level.codes.search(/[23]/));
    const cell = ui.hover?.level === nth ? ui.hover.cell : null,
      [x, y] = [cell % columns, Math.floor(cell / columns)];
    const to = (at, by, count) => Math.min(count - 1, Math.max(0, at + by));
    ui.hover = { level: nth, cell: cell === null ? first : to(y, dy, rows) * columns + to(x, dx, columns) };
    store.later();
  }

  // The image
  function pick(event) { // the box whose name is under the pointer, or else the smallest box there
    const [x, y] = placeIn(stage, event), px = 1 / scale, near = 4 * px,
      v = { setup, theme, state: state(), answer: store.answer };
    const inside = ([x1, y1, x2, y2], by) => x > x1 - by && x < x2 + by && y > y1 - by && y < y2 + by;
    const tab = v.state.boxes.findIndex((_, i) => inside(nameTag(v, i, px, margin).box, 0));
    if (tab >= 0) return tab;
    const areas = v.state.boxes.map((box) => (inside(box, near) ? (box[2] - box[0]) * (box[3] - box[1]) : Infinity));
    const least = Math.min(...areas);
    return least < Infinity ? areas.indexOf(least) : NONE;
  }
  const startDrag = (index, event, moves) => {
    select(index);
    focus = 1;
    return { index, at: placeIn(stage, event), box: state().boxes[index], moves, by: `drag ${++drags}`,
      changed: false };
  };
  const onStage = {};
  function listen() {
    Object.assign(onStage, dragging(stage, {
      start(event) {
        root.classList.remove("fx-keys");
        const handle = event.target.dataset?.handle;
        if (handle) return startDrag(state().selected, event, HANDLES[handle]);
        const index = pick(event);
        if (index >= 0) return startDrag(index, event, null);
        return event.pointerType === "touch" ? null : { index: NONE, at: placeIn(stage, event),
          by: `drag ${++drags}`, changed: false };
      },
      move(what, event) {
        const here = placeIn(stage, event), by = here.map((value,
          axis) => Math.round(4 * (value - what.at[axis])) / 4);
        dragged = event.timeStamp;
        if (what.index === NONE) { // a new box, once the pointer has moved
          if (Math.max(...by.map(Math.abs)) * scale < 4 || state().boxes.length >= MOST_BOXES) return;
          addBox([...what.at, ...here], what.by);
          Object.assign(what, { index: state().boxes.length - 1, box: [...what.at, ...what.at], moves: HANDLES.se });
          focus = 1;
        }
        if (!by[0] && !by[1] && !what.changed) return;
        what.changed = true;
        setBox(what.index, what.moves ? what.box.map((value, i) => value + what.moves[i] * by[i % 2])
          : moved(what.box, ...by), what.by);
      },
      end: () => store.forget(),
      cancel: (what) => what.changed && store.undo(),
    }));
    Object.assign(onField, dragging(field, {
      start: () => ({ by: `dot ${++drags}`, changed: false }),
      move: (what, event) => dropDot(what, event),
      end: (what, event) => dropDot(what, event),
      cancel: (what) => what.changed && store.undo(),
    }));
    dragging(curves, { start: scrub, move: (_, event) => scrub(event) });
  }
  function scrub(event) {
    const [x] = placeIn(curves, event), last = setup.steps.length - 1;
    if (state().mode !== "instance" || !last) return null;
    const snapshot = Math.min(last, Math.max(0, Math.round(((x - 30) / (paneWidth - 56)) * last)));
    if (snapshot !== state().snapshot) store.change({ snapshot }, "time");
    return true;
  }
  const onField = {};
  const dotShares = () => fieldAxes({ setup, state: state(), ui }).of();
  function dropDot(what, event) {
    const [x, y] = placeIn(field, event), area = fieldPlot(paneWidth, paneHeight);
    [what.changed, dragged] = [true, event.timeStamp];
    moveDot([(x - area.left) / area.across, 1 - (y - area.top) / area.down], what.by);
  }
  function moveDot(shares, by) {
    const [a, b] = shares.map((share) => Math.min(1, Math.max(0, share)));
    setBox(state().selected, fieldAxes({ setup, state: state(), ui }).at(a, b), by);
  }

  // Predict first
  function question() {
    const { boxes, labels } = state(), own = boxes.flatMap((_, i) => (labels[i] === CROWD ? [] : [i])),
      any = (count) => Math.floor(Math.random() * count);
    [ui.guess, ui.hover] = [null, null];
    store.change({ selected: own[any(own.length)] ?? 0, snapshot: any(Math.max(setup.steps.length, 1)) });
  }
  function guess(level) {
    const right = level === store.answer.selected[state().selected];
    [ui.guess, ui.score] = [level, [ui.score[0] + Number(right), ui.score[1] + 1]];
    store.later();
  }

  // Step through one decision
  function walk(to) {
    ui.step = to in setup.walk ? to : NONE;
    if (ui.step !== NONE && state().mode !== "instance") store.change({ mode: "instance" });
    store.later();
    if (ui.step === NONE) return;
    const lit = root.querySelector(`.fx-${setup.walk[ui.step].part}`), folded = lit.closest("details");
    if (folded) folded.open = true;
    lit.scrollIntoView({ block: "nearest" });
  }
  function facts() { // the numbers that the texts of the walk name
    const { boxes, selected, switches } = state(), { answer } = store,
      [x1, y1, x2, y2] = boxes[selected] ?? [0, 0, 0, 0];
    const level = answer.levels.find((one) => one.level === answer.selected[selected]) ?? answer.levels[0],
      count = (code) => level.codes.split(code).length - 1;
    const own = Object.values(level.cells).filter((cell) => cell[0] === selected
      && cell.length > 1).map(([, focal, iou]) => short(focal + iou));
    const v = { setup, state: state() }, lost = answer.levels.reduce((sum,
      one) => sum + one.codes.split("3").length - 1, 0);
    return {
      name: `P${level.level}`, stride: level.stride, size: `${round(x2 - x1)} × ${round(y2 - y1)}`,
      projected: `${round((x2 - x1) / level.stride)} × ${round((y2 - y1) / level.stride)}`,
        effective: switches.effective_scale, ignoring: ruleOf(v, "ignoring_scale"),
      kept: count("2"), ring: count("1"), lost, sum: own.length > 6 ? `${own.slice(0, 5).join(" + ")} + …`
        : own.join(" + ") || "none", count: own.length || 1,
      loss: level.loss === null ? "none" : short(level.loss),
        all: answer.levels.map((one) => `P${one.level} ${one.loss === null ? "none" : short(one.loss)}`).join(", "),
      heuristic: nameOf(answer.heuristic[selected] ?? NONE),
    };
  }

  // Export
  const python = (value) => (value === null ? "None" : JSON.stringify(value));
  function code() {
    const { boxes, labels, snapshot, switches } = state(), given = setup.start.switches;
    const taken = (crowd) => boxes.filter((_, i) => (labels[i] === CROWD) === crowd);
    const changed = Object.entries(switches).flatMap(([name, value]) => (value === given[name] ? []
      : [`, ${name}=${python(value)}`]));
    return `import dataclasses
import torch
import fsaf_core as fsaf
from fsaf_core.viz.widgets.explorer import Explorer

explorer = Explorer.numbered(${setup.number})  # the figure that this was copied from
config = dataclasses.replace(explorer.config${changed.join("")})
target = {
    "boxes": torch.tensor(${python(taken(false))}).view(-1, 4).float(),
    "labels": torch.tensor(${python(labels.filter((label) => label !== CROWD))}).long(),
    "ignored": torch.tensor(${python(taken(true))}).view(-1, 4).float(),
}
outputs = explorer.snapshots.outputs[${snapshot}]
assignment = fsaf.build_detector(config).assign(outputs, [target], [(${setup.size.join(", ")})])
print(assignment.level_losses, assignment.selected_level)  # 0 is P${setup.levels[0]}, -1 is no level`;
  }
  function copy(text, where) {
    codeBox.hidden = false;
    codeBox.textContent = text;
    say(`${where} It also stands below.`);
    navigator.clipboard?.writeText(text).catch(() => {});
  }
  function share() {
    location.hash = linkTo(state());
    copy(location.href, "The link is copied, with the state in it.");
  }
  function save() {
    const v = view(), sizes = cardSizes(), title = store.answer.verdict,
      tall = Math.max(down * scale + 40, 40 + sizes.height + 10 + paneHeight);
    const wide = across * scale + 20 + cards.length * (cardWidth + 6) + 10, left = across * scale + 20;
    const inner = (x, y, w, h, viewBox, ...parts) => tag("svg", { x, y, width: w, height: h, viewBox }, ...parts);
    const image = tag("image", { href: setup.image, width, height, preserveAspectRatio: "none",
      style: "image-rendering:pixelated" });
    const parts = [inner(10, 30, across * scale, down * scale, stage.getAttribute("viewBox"), image,
      stageView(v, 1 / scale, margin))];
    store.answer.levels.forEach((_, nth) => {
      const x = left + nth * (cardWidth + 6), box = panelBox();
      parts.push(tag("g", { transform: `translate(${x} 30)` },
        cardView(v, store.answer, nth, cardWidth, sizes.tall, worst()),
        inner(7, 23, cardWidth - 14, sizes.tall, box.join(" "), tag("g", { opacity: 0.3 }, image),
          levelView(v, store.answer, nth, box[2] / (cardWidth - 14)))));
    });
    parts.push(inner(left, 40 + sizes.height, paneWidth, paneHeight, `0 0 ${paneWidth} ${paneHeight}`,
      curvesView(v, paneWidth, paneHeight)));
    parts.push(inner(left + paneWidth, 40 + sizes.height, paneWidth, paneHeight, `0 0 ${paneWidth} ${paneHeight}`,
      landscapeView(v, paneWidth, paneHeight)));
    const head = { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${wide} ${tall}`, role: "img",
      "font-family": "sans-serif" };
    const picture = tag("svg", head, tag("title", {}, escapeText(title)),
      tag("rect", { width: wide, height: tall, fill: theme.paper }),
      words(10, 20, title, { "font-size": 14, fill: theme.ink }), ...parts);
    const link = html("a", { download: "fsaf-explorer.svg",
      href: URL.createObjectURL(new Blob([picture], { type: "image/svg+xml" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // Elements
  const picture = () => draw("image", { href: setup.image, width, height, preserveAspectRatio: "none",
    style: "image-rendering:pixelated" });
  const part = (name, label, ...inside) => html("div",
    { class: `fx-${name} fx-part`, role: "group", "aria-label": label }, ...inside);
  const stageMarks = draw("g"), stageBoxes = draw("g"),
    handles = Object.keys(HANDLES).map((name) => draw("rect",
    { "data-handle": name, style: `cursor:${name}-resize`, "aria-hidden": "true" }));
  const stage = draw("svg", { class: "fx-stage", viewBox: [-margin, -margin, across, down].join(" "), role: "group",
    "aria-label": `image of ${width} by ${height} pixels with its boxes` });
  const groups = [];
  stage.append(picture(), stageMarks, stageBoxes, ...handles);
  function makeCard(nth) {
    const svg = draw("svg", { class: "fx-card", tabindex: 0 }), panel = draw("svg", { x: 7, y: 23 }),
      marks = draw("g"), around = draw("g"), faded = draw("g", { opacity: 0.3 });
    const cellAt = (event) => {
      const level = store.answer.levels[nth], [x, y] = placeIn(svg, event), box = panelBox(), { tall } = cardSizes(),
        shift = store.answer.cell_center - 0.5;
      const place = [box[0] + ((x - 7) / (cardWidth - 14)) * box[2], box[1] + ((y - 23) / tall) * box[3]];
      const [column, row] = place.map((value) => Math.floor(value / level.stride - shift));
      return column >= 0 && row >= 0 && column < level.columns && row < level.rows
        ? { level: nth, cell: row * level.columns + column } : null;
    };
    const hover = (to) => {
      if (to?.cell === ui.hover?.cell && to?.level === ui.hover?.level) return;
      ui.hover = to;
      store.later();
    };
    faded.append(picture());
    panel.append(faded, marks);
    svg.append(around, panel);
    set(svg, { onpointermove: (event) => hover(cellAt(event)), onpointerleave: () => hover(null),
      onblur: () => hover(null) });
    svg.addEventListener("click", () => state().mode === "predict" && ui.guess === null && guess(setup.levels[nth]));
    return { svg, panel, marks, around };
  }
  const cards = setup.levels.map((_, nth) => makeCard(nth)), others = setup.levels.map((_, nth) => makeCard(nth));
  for (const { svg } of others) set(svg, { tabindex: null, style: "pointer-events:none" });
  const curves = draw("svg", { class: "fx-curves", role: "img" }), field = draw("svg", { class: "fx-field" }),
    fieldMarks = draw("g");
  const dot = draw("circle", { class: "fx-dot-handle", r: 9, fill: "transparent", tabindex: 0, role: "slider" });
  field.append(fieldMarks, dot);
  const history = draw("svg", { class: "fx-history", role: "img" }),
    chart = draw("svg", { class: "fx-chart", role: "group" }), chartMarks = draw("g"), chartDots = draw("g");
  chart.append(chartMarks, chartDots);

  const modes = Object.keys(MODES).filter((mode) => mode !== "population" || setup.population || setup.points)
    .filter((mode) => !["split", "predict"].includes(mode) || twin.knows)
    .map((mode) => button(MODES[mode], () => { ui.guess = null; ui.step = NONE; store.change({ mode }); },
      { "data-mode": mode }));
  const situation = choice([["", "situations …"], ...setup.situations.map(({ name }) => [name, name])], () => {
    const { name, says, ...patch } = setup.situations.find((one) => one.name === situation.value) ?? setup.start;
    ui.hover = null;
    store.change({ ...patch, mode: isSingle() ? state().mode : "instance", selected: name ? 0 : setup.start.selected,
      switches: { ...setup.start.switches, ...patch.switches } });
    say(says ?? "");
  }, { "aria-label": "situations" });
  const reset = () => {
    [lesson, codeBox.hidden, situation.value, ui.step, ui.hover] = ["", true, "", NONE, null];
    store.change(setup.home ? setup.start : { open: [NONE, NONE] });
  };
  const label = choice([...setup.classes.map((name, i) => [i, name]), [CROWD, "crowd (left out)"]], () => (
    store.change({ labels: state().labels.map((old, i) => (i === state().selected ? Number(label.value) : old)) })));
  const check = (name, text) => {
    const box = html("input", { type: "checkbox", onchange: () => { ui[name] = box.checked; store.later(); } });
    box.checked = ui[name];
    return html("label", {}, box, text);
  };
  const time = slider(() => store.change({ snapshot: Number(time.value) }, "time"),
    { min: 0, max: Math.max(setup.steps.length - 1, 0), "aria-label": "training snapshot" });
  time.disabled = setup.steps.length < 2;
  const step = html("output"), film = player(() => {
    const last = setup.steps.length - 1, { snapshot } = state(),
      next = snapshot < last ? snapshot + 1 : film.playing() ? last : 0;
    if (next !== snapshot) store.change({ snapshot: next }, "play");
    return next < last;
  });
  film.play.disabled = time.disabled;
  const play = () => { if (!film.playing() && !isStill()
    && state().snapshot === setup.steps.length - 1) store.change({ snapshot: 0 }, "play"); };
  film.play.addEventListener("click", play, { capture: true });

  const setSwitch = (name, value) => {
    const switches = { ...state().switches, [name]: value }, { effective_scale, ignoring_scale } = switches,
      v = { setup, state: { ...state(), switches } };
    // the ignoring box is the outer one
    if (name === "effective_scale" && value > ruleOf(v, "ignoring_scale")) switches.ignoring_scale = value;
    else if (ignoring_scale !== null && ignoring_scale < effective_scale) switches.effective_scale = ignoring_scale;
    store.change({ switches }, name);
  };
  const rules = {}, ruleRow = [];
  for (const [name, [symbol, title]] of Object.entries(setup.scales)) {
    const input = slider(() => setSwitch(name, Number(input.value)), { min: 0.05, max: 1, step: 0.05, name }),
      value = html("output");
    rules[name] = { input, value };
    ruleRow.push(html("label", { title }, symbol, input, value));
  }
  for (const [name, [options, title]] of Object.entries(setup.switches)) {
    const input = choice(options.map((value, i) => [i, `${value ?? ""}`]),
      () => setSwitch(name, options[input.value]), { name });
    rules[name] = { input, options };
    ruleRow.push(html("label", { title }, name.replaceAll("_", " "), input));
  }
  const verdictLine = html("p", { class: "fx-verdict", role: "status" }), sign = html("span", { class: "fx-sign" }),
    next = button("next question", question, { class: "fx-next" });
  const note = html("div", { class: "fx-note", role: "status", tabindex: 0, "aria-label": "notes" }),
    noteText = html("span"), walkRow = html("span", { class: "fx-walkrow" });
  note.append(noteText, walkRow);
  const legend = html("p", { class: "fx-legend", "aria-hidden": "true" }),
    codeBox = html("pre", { class: "fx-code", hidden: true, tabindex: 0 });
  const cardRow = html("div", { class: "fx-cards" }, ...cards.map(({ svg }) => svg)),
    otherRow = html("div", { class: "fx-cards fx-others" }, ...others.map(({ svg }) => svg));
  const fieldTabs = ["size", "place"].map((name) => button(name, () => { ui.field = name; store.later(); },
    { "data-field": name }));
  const curvesPane = html("div", { class: "fx-pane" },
    html("div", { class: "fx-title" }, "loss after each snapshot"), curves);
  const fieldPane = html("div", { class: "fx-pane" },
    html("div", { class: "fx-title" }, "which level would win? by ", ...fieldTabs), field);
  const panes = html("div", { class: "fx-panes" }, curvesPane, fieldPane);
  const historyPane = html("div", { class: "fx-pane fx-whole" },
    html("div", { class: "fx-title" }, "the level that learns each box, snapshot by snapshot"), history);
  const root = html("div", { class: "fx", "data-theme": theme.name, "data-lm-suppress-shortcuts": "true",
    onkeydown: onKey, onkeyup: () => set(root, { "data-lm-suppress-shortcuts": "true" }),
    onpointerdown: () => root.classList.remove("fx-keys"),
    style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
    part("bar", "views, situations, tools", ...modes, situation, button("step through", () => walk(0)),
      button("↶", () => store.undo(), { "aria-label": "undo", title: "Ctrl+Z" }),
        button("↷", () => store.redo(), { "aria-label": "redo", title: "Ctrl+Shift+Z" }), button("reset", reset)),
    html("div", { class: "fx-top" }, verdictLine, next, sign),
    html("div", { class: "fx-main" },
      html("div", { class: "fx-side" }, part("image", "image", html("div", { class: "fx-scroll" }, stage)),
        html("div", { class: "fx-controls" },
          html("div", { class: "fx-row" }, label, button("+", addInMiddle, { "aria-label": "add a box" }),
            button("−", remove, { "aria-label": "delete the box" }), check("predictions", "predictions"),
            check("zoom", "zoom")),
          part("training", "training", film.play, time, step))),
      part("levels", "levels", cardRow, otherRow, legend, panes, historyPane, chart)),
    note, html("details", { class: "fx-more" }, html("summary", {}, "rules and export"),
      part("rules", "rules", ...ruleRow, html("span", { class: "fx-row" },
        button("copy as Python", () => copy(code(), "Copied.")), button("save SVG", save),
        ...(setup.page ? [button("link", share)] : [])))), codeBox);
  listen();

  // Sizes
  const cardSizes = () => {
    const tall = Math.max(30, Math.min(1.3 * (cardWidth - 14),
      ((cardWidth - 14) * setup.padded[0]) / setup.padded[1]));
    return { tall, height: tall + 74 };
  };
  function panelBox() { // the part of the image that a card shows: x y width height
    const [x1, y1, x2, y2] = state().boxes[state().selected] ?? [], { tall } = cardSizes(),
      side = 1.3 * Math.max(x2 - x1, y2 - y1, 48), shape = tall / (cardWidth - 14);
    if (!ui.zoom || !isSingle() || !side) return [0, 0, setup.padded[1], setup.padded[0]];
    return [(x1 + x2 - side) / 2, (y1 + y2 - side * shape) / 2, side, side * shape];
  }
  const worst = () => Math.max(...[...store.answer.levels].map(({ loss }) => loss ?? 0), 1e-9);
  function resize(given) {
    const full = Math.min(given, WIDEST) - 16, layout = given < PHONE ? "phone" : given < STRIP ? "strip" : "wide",
      many = setup.levels.length;
    const side = layout === "wide" ? (full < 900 ? 300 : 340) : layout === "strip" ? Math.min(250, full - 250)
      : Math.min(230, full);
    const right = layout === "wide" ? full - side - 12 : full,
      count = layout === "phone" ? 2 : many > 4 && layout === "wide" ? 3 : many;
    scale = Math.max(Math.min(side / across, (1.05 * side) / down), 60 / (Math.min(width, height) + 2 * margin));
    cardWidth = Math.floor(Math.min(190, (right - 6 * (count - 1)) / count));
    paneWidth = Math.floor(layout === "phone" ? right : (Math.min(right, count * 196) - 8) / 2);
    paneHeight = Math.max(128, Math.min(200, layout === "wide" ? down * scale + 56 - cardSizes().height - 44 : 160));
    set(root, { "data-layout": layout });
    root.style.setProperty("--side", `${side}px`);
    set(stage, { width: across * scale, height: down * scale });
    for (const { svg, panel } of [...cards, ...others]) {
      const { tall, height: h } = cardSizes();
      set(svg, { viewBox: `0 0 ${cardWidth} ${h}`, width: cardWidth, height: h });
      set(panel, { width: cardWidth - 14, height: tall });
    }
    for (const pane of [curves, field]) set(pane, { viewBox: `0 0 ${paneWidth} ${paneHeight}`, width: paneWidth,
      height: paneHeight });
    const whole = layout === "phone" ? paneWidth : 2 * paneWidth + 8;
    set(history, { viewBox: `0 0 ${whole} ${paneHeight}`, width: whole, height: paneHeight });
    set(chart, { viewBox: `0 0 ${whole} 340`, width: whole, height: 340 });
    store.later();
  }

  // Painting
  function paintBoxes(v) {
    const { boxes, labels, selected } = v.state, px = 1 / scale;
    if (groups.indexOf(document.activeElement) >= boxes.length) focus ||= 1; // the box in focus is gone
    while (groups.length > boxes.length) groups.pop().remove();
    while (groups.length < boxes.length) {
      const index = groups.length, group = draw("g", { class: "fx-box", role: "button",
        onfocus: () => select(index) });
      group.append(draw("rect", { fill: "transparent" }));
      stageBoxes.append(groups[groups.push(group) - 1]);
    }
    boxes.forEach(([x1, y1, x2, y2], index) => {
      // handles keep apart
      const own = index === selected, grow = [x2 - x1,
        y2 - y1].map((side) => (own ? Math.max(0, 14 * px - side / 2) : 0));
      const text = `box ${index} ${className(v, labels[index])}: ${[x1, y1, x2, y2].join(" ")} px${v.hidden ? "" : `, ${nameOf(v.answer.selected[index] ?? NONE)}`}`;
      set(groups[index], { tabindex: own ? 0 : -1, "aria-label": text, "aria-pressed": `${own}` });
      set(groups[index].firstChild, { x: x1, y: y1, width: x2 - x1, height: y2 - y1 });
      for (const handle of own ? handles : []) {
        const [l, t, r, b] = HANDLES[handle.dataset.handle], side = 9 * px,
          x = (x1 + x2) / 2 + (r - l) * ((x2 - x1) / 2 + grow[0]),
          y = (y1 + y2) / 2 + (b - t) * ((y2 - y1) / 2 + grow[1]);
        set(handle, { x: x - side / 2, y: y - side / 2, width: side, height: side, fill: theme.paper,
          stroke: boxColor(v, index), "stroke-width": 1.5 * px });
      }
    });
    for (const handle of handles) set(handle, { visibility: boxes[selected] ? "visible" : "hidden" });
    if (focus) groups[selected]?.focus({ preventScroll: focus === 1 });
    focus = 0;
  }
  function paintCards(v, list, answer, other) {
    const box = panelBox(), { tall } = cardSizes(), px = box[2] / (cardWidth - 14), asks = v.hidden;
    answer.levels.forEach((level, nth) => {
      const { svg, panel, marks, around } = list[nth],
        wins = !asks && v.state.mode !== "image" && answer.selected[v.state.selected] === level.level;
      set(panel, { viewBox: box.join(" ") });
      fill(marks, levelView(v, answer, nth, px, other));
      fill(around, cardView(v, answer, nth, cardWidth, tall,
        Math.max(...[answer, other ?? answer].flatMap((one) => one.levels).map(({ loss }) => loss ?? 0), 1e-9)));
      const [focal, iou] = [level.focal, level.iou].map((loss) => (loss === null ? "" : short(loss)));
      const says = level.loss === null ? level.says : `loss ${short(level.loss)} = focal ${focal} + IoU ${iou}`,
        arrows = asks ? "Enter chooses it" : "arrow keys read its locations";
      const text = [`P${level.level}`, `stride ${level.stride}, ${level.columns} × ${level.rows} locations`,
        ...(asks ? [] : [says, level.mark]), arrows].filter(Boolean).join("; ");
      set(svg, { "data-level": level.level, "data-winner": `${wins}`, role: asks ? "button" : "application",
        "aria-label": text });
    });
  }
  function paintPopulation(v) {
    const theirs = model.get("answer"), { snapshot } = v.state;
    if (theirs.stamp === v.state.stamp && theirs.points) ({ points } = theirs);
    const shown = (points.length ? points : (setup.points ?? [])).map(([size, image, box, levels]) => [size,
      levels[snapshot] ?? NONE, image, box]).sort((a, b) => a[0] - b[0]);
    const [marks, dots] = populationView(v, Number(chart.getAttribute("width")), 340, shown),
      here = chartDots.contains(document.activeElement) ? Number(document.activeElement.dataset.nth) : 0;
    fill(chartMarks, marks);
    while (chartDots.children.length > dots.length) chartDots.lastChild.remove();
    while (chartDots.children.length < dots.length) {
      const circle = draw("circle", { r: 4, stroke: theme.ink, "stroke-width": 0.5, role: "button",
        "data-nth": chartDots.children.length });
      set(circle, { onclick: () => open(circle), onkeydown: (event) => onDot(event, circle) });
      chartDots.append(circle);
    }
    dots.forEach(({ size, level, image, box, cx, cy }, i) => set(chartDots.children[i], {
      cx, cy, fill: levelColor(v, level), tabindex: i === here ? 0 : -1, "data-image": image, "data-box": box,
      "aria-label": `${size.toFixed(1)} px, P${level}: image ${image}, box ${box}`,
    }));
    set(chart, { "aria-label": `${dots.length} boxes: size against the selected level` });
    return `${dots.length} boxes of ${new Set(shown.map(([, , image]) => image)).size} images: size and level. ${setup.population ? "Click one to open it; by keyboard: Tab, arrows, Enter." : ""}`;
  }
  const open = ({ dataset }) => (setup.population ? store.change({ open: [Number(dataset.image),
    Number(dataset.box)] }) : say("To open a box, run the notebook: this page holds one image."));
  function onDot(event, circle) { // Tab reaches one dot; from there the arrows go up and down in size
    const to = { ArrowLeft: circle.previousSibling, ArrowRight: circle.nextSibling }[event.key];
    if (event.key === "Enter" || event.key === " ") open(circle);
    else if (to) to.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function formula(v, at) { // a location's losses, and its level's mean
    const where = `P${at.level.level}, row ${at.row}, column ${at.column}, center (${round(at.x)}, ${round(at.y)}) px`, kind = (v.state.mode === "image" ? AFTER : KINDS)[at.code];
    if (at.code === 3) return `${where}: lost, ${at.box >= 0 ? `box ${at.box} is smaller and takes it` : at.box === ERASED ? "another region of its class lies over it" : "a crowd box lies over it"}.`;
    if (at.focal === undefined || v.hidden) return `${where}: ${kind}.`;
    const iou = twin.iouOf(at.predicted, v.state.boxes[at.box]),
      own = Object.values(at.level.cells).filter((cell) => cell[0] === at.box
      && cell.length > 1).map((cell) => short(cell[1] + cell[2]));
    const mean = at.level.loss === null || at.box !== v.state.selected ? ""
      : ` Mean of P${at.level.level}: (${own.length > 5 ? `${own.slice(0, 4).join(" + ")} + …` : own.join(" + ")}) / ${own.length} = ${short(at.level.loss)}.`;
    return `${where}: ${kind}, box ${at.box}. Focal ${short(at.focal)} + (−ln IoU ${short(at.iou)}) = ${short(at.focal + at.iou)}, with IoU ${short(iou)}.${mean}`;
  }
  function paintNote(v) {
    const at = v.ui.hover && locationAt(v, v.ui.hover), step = setup.walk[ui.step], known = step && facts();
    const told = step ? step.says.replace(/\{(\w+)\}/g, (_, name) => known[name]) : at ? formula(v, at)
      : [...v.answer.notes, lesson].filter(Boolean).join(" ") || (isSingle() ? HINT : "");
    const right = v.answer.selected[v.state.selected],
      guessed = `${ui.guess === right ? "Right" : "No"}: ${nameOf(right)}. Score ${ui.score.join(" of ")}.`;
    noteText.textContent = state().mode === "predict" && ui.guess !== null ? `${guessed} ${at ? told : ""}` : told;
    walkRow.hidden = !step;
    if (!step || walkRow.dataset.step === `${ui.step}`) return;
    const last = setup.walk.length - 1, links = step.link && !setup.page
      ? [" ", html("a", { href: step.link, target: "_blank" }, "in the course")] : [];
    const back = ui.step ? [button("back", () => walk(ui.step - 1))] : [],
      forth = button(ui.step < last ? "next" : "done", () => walk(ui.step + 1));
    const had = walkRow.contains(document.activeElement) || document.activeElement === document.body
      || !walkRow.dataset.step;
    walkRow.replaceChildren(...links, ...back, forth, button("end", () => walk(NONE)));
    walkRow.dataset.step = ui.step;
    if (had) forth.focus({ preventScroll: true });
  }
  function paintControls(v) {
    const { mode, labels, selected, snapshot, switches } = v.state, own = setup.conventions[switches.convention];
    for (const one of modes) set(one, { "aria-pressed": `${one.dataset.mode === mode}` });
    for (const one of fieldTabs) set(one, { "aria-pressed": `${one.dataset.field === ui.field}` });
    set(label, { disabled: !labels.length, "aria-label": `class of box ${selected}` });
    label.value = labels[selected] ?? 0;
    time.value = snapshot;
    step.textContent = setup.steps.length ? `step ${setup.steps[snapshot]}` : "no snapshots";
    for (const [name, { input, value, options }] of Object.entries(rules)) {
      if (value) {
        input.value = ruleOf(v, name);
        value.textContent = ruleOf(v, name).toFixed(2) + (switches[name] === null ? ` (${switches.convention})` : "");
      } else {
        input.selectedIndex = options.indexOf(switches[name]);
        if (options[0] === null) input.options[0].textContent = `as ${switches.convention}: ${own[name]}`;
      }
    }
  }
  function paintSign() {
    const signs = { none: "", waiting: "", late: twin.knows ? "computed here; Python is busy or not running"
      : "waiting for Python: these numbers are of an earlier state", checked: "checked by Python ✓",
      other: "Python says otherwise" };
    sign.textContent = setup.page ? "" : signs[store.python];
    set(root, { "data-python": store.python, "data-stale": !store.isCurrent && store.python === "late" ? "true"
      : null });
  }
  function paint() {
    const v = view(), { mode } = v.state, shown = (element,
      visible) => { element.style.display = visible ? "" : "none"; }, population = mode === "population";
    if (mode !== "predict") ui.guess = null;
    if (ui.step === NONE) delete walkRow.dataset.step;
    fill(stageMarks, stageView(v, 1 / scale, margin));
    paintBoxes(v);
    paintControls(v);
    paintSign();
    shown(cardRow, !population && v.answer.levels.length);
    shown(otherRow, mode === "split");
    shown(legend, !population);
    shown(panes, mode === "instance" && twin.knows && v.reveal >= LAST_STEP && v.field);
    shown(historyPane, mode === "image" && v.chosen.length > 1);
    shown(chart, population);
    shown(next, mode === "predict");
    if (!population) paintCards(v, cards, v.answer, v.other);
    if (mode === "split") paintCards({ ...v, state: { ...v.state,
      switches: { ...setup.start.switches, convention: v.state.switches.convention === "paper" ? "reference"
      : "paper" } } }, others, v.other, v.answer);
    fill(legend, legendView(v));
    if (mode === "instance" && v.field) {
      fill(curves, curvesView(v, paneWidth, paneHeight));
      set(curves, { "aria-label": `loss at each level after ${setup.steps.length} snapshots` });
      fill(fieldMarks, landscapeView(v, paneWidth, paneHeight));
      const [a, b] = dotShares(), area = fieldPlot(paneWidth, paneHeight),
        [x1, y1, x2, y2] = v.state.boxes[v.state.selected];
      const text = ui.field === "size" ? `${round(x2 - x1)} by ${round(y2 - y1)} px`
        : `center at ${round((x1 + x2) / 2)}, ${round((y1 + y2) / 2)} px`;
      set(dot, { cx: area.x(a), cy: area.y(b),
        "aria-label": `${ui.field} of the box in the landscape; arrow keys move it`,
        "aria-valuenow": Math.round(100 * a), "aria-valuetext": text });
    }
    if (mode === "image") {
      fill(history, historyView(v, Number(history.getAttribute("width")), paneHeight));
      set(history, { "aria-label": "the level that learns each box after each snapshot" });
    }
    const asked = `Box ${v.state.selected} (${className(v, v.state.labels[v.state.selected])}) at step ${setup.steps[v.state.snapshot]}: which level has the least loss? Click it, or press its number.`;
    const title = population ? paintPopulation(v) : v.hidden ? asked : mode === "split"
      ? `Above ${v.state.switches.convention === "paper" ? "the paper, below MMDetection" : "MMDetection, below the paper"}; locations that differ are outlined.` : v.answer.verdict;
    if (verdictLine.textContent !== title) verdictLine.textContent = title;
    paintNote(v);
    root.classList.toggle("fx-walking", ui.step !== NONE);
    for (const one of root.querySelectorAll(".fx-part")) one.classList.toggle("fx-lit",
      one.classList.contains(`fx-${setup.walk[ui.step]?.part}`));
    set(root, { "data-stamp": v.answer.stamp, "data-mode": mode });
    if (dragged) performance.measure("fsaf-drag", { start: dragged });
    dragged = 0;
  }
  return { root, paint, resize, sign: () => (state().mode === "population" ? store.later() : paintSign()) };
}

const explorer = figure({ twin: makeTwin, build });
export default explorer;
