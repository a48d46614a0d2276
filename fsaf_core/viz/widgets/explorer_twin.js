// The twin of assignment_view.py, for the page of `Explorer.save_html` alone: regions, losses and selection without Python. A test
// compares the two on 1,000 random states. The locations (cells) of all levels are numbered in one row, level by level. Numbers that
// decide about a cell are rounded to single precision in the order of method/regions.py.
const f = Math.fround;
function halves(text) { // base64 of half-precision numbers
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true), exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
  });
}

function makeTwin({ setup, config, numbers }) {
  const [padHeight, padWidth] = setup.padded, classes = config.class_names.length;
  const levels = setup.levels.map((level) => {
    const stride = 2 ** level;
    return { level, stride, rows: Math.ceil(padHeight / stride), columns: Math.ceil(padWidth / stride) };
  });
  let R = 0;
  const cells = levels.flatMap((level, index) => {
    level.start = R;
    R += level.rows * level.columns;
    return Array.from({ length: level.rows * level.columns }, (_, i) => [index, Math.floor(i / level.columns), i % level.columns]);
  });
  const outputs = numbers ? halves(numbers) : null;
  // The cells of a box's region at all levels, as `region` of method/regions.py.
  function region(box, scale, rules, inside) {
    const found = [], overlap = rules.region_rounding === "overlap";
    const scaled = [0, 1].map((axis) => {
      const low = box[axis], high = box[axis + 2], center = f(f(high + low) * 0.5), half = f(f(f(high - low) * 0.5) * f(scale));
      return [f(center - half), f(center + half)];
    });
    for (const { stride, rows, columns, start } of levels) {
      const [columnShares, rowShares] = [columns, rows].map((count, axis) => { // how much of each column and row the box covers
        const [low, high] = scaled[axis].map((edge) => f(edge / stride));
        const first = Math.min(Math.max(0, Math.floor(low)), count - 1), end = Math.max(Math.min(count, Math.ceil(high)), first + 1);
        return Array.from({ length: count }, (_, i) => {
          if (!overlap) return Number(i >= first && i < end);
          const center = i + rules.cell_center, [near, far] = [box[axis], box[axis + 2]].map((edge) => f(edge / stride));
          if (inside && !(center > near && center < far)) return 0;
          return Math.max(0, f(Math.min(high, center + 0.5) - Math.max(low, center - 0.5)));
        });
      });
      rowShares.forEach((rowShare, row) => columnShares.forEach((columnShare, column) => {
        if (f(rowShare * columnShare) > f(0.01)) found.push(start + row * columns + column);
      }));
    }
    return found;
  }

  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const { focal_alpha: alpha, focal_gamma: gamma } = config;
  const focalOne = (x) => alpha * (1 / (1 + Math.exp(x))) ** gamma * softplus(-x); // target 1
  const focalZero = (x) => (1 - alpha) * (1 / (1 + Math.exp(-x))) ** gamma * softplus(x); // target 0
  function iouLoss(cell, box, base, rules) {
    const [index, row, column] = cells[cell], { stride } = levels[index], scale = config.offset_normalizer * stride;
    const x = (column + rules.cell_center) * stride, y = (row + rules.cell_center) * stride;
    const [l, t, r, b] = [0, 1, 2, 3].map((i) => f(scale * f(Math.max(outputs[base + (classes + i) * R + cell], rules.min_offset))));
    const own = [f(x - l), f(y - t), f(x + r), f(y + b)], inner = own.map((side, i) => (i < 2 ? Math.max : Math.min)(side, box[i]));
    const area = ([x1, y1, x2, y2]) => f(f(Math.max(x2 - x1, 0)) * f(Math.max(y2 - y1, 0))), shared = area(inner);
    return -Math.log(Math.max(f(shared / Math.max(f(f(area(own) + area(box)) - shared), 1e-6)), 1e-6));
  }

  function judge(boxes) {
    const [height, width] = setup.size, notes = [], good = [];
    boxes.slice(0, MOST_BOXES).forEach(([x1, y1, x2, y2], index) => {
      const outside = x2 <= 0 || y2 <= 0 || x1 >= width || y1 >= height;
      const lies = outside ? "lies outside the image (bring it back with Tab and the arrows)" : "";
      const wrong = x2 <= x1 || y2 <= y1 ? "has no area (drag a corner)" : lies;
      if (wrong) notes.push(`Box ${index + 1} ${wrong}: it is left out.`);
      else good.push(index);
    });
    const [short, long] = [height, width].sort((a, b) => a - b), many = `${boxes.length} boxes are more than the explorer takes`;
    if (boxes.length > MOST_BOXES) notes.push(`${many}: the first ${MOST_BOXES} take part.`);
    if (long > 20 * short) notes.push(`The image is ${width} × ${height} px, long and narrow: scroll along it, and trust the numbers.`);
    return [good, notes];
  }
  return function explore({ stamp, boxes: given, labels, selected, mode, snapshot, switches }) {
    const rules = { ...setup.conventions[switches.convention] }, boxes = given.map((box) => box.map(f));
    for (const name of Object.keys(rules)) rules[name] = switches[name] ?? rules[name];
    const [good, notes] = judge(boxes), instances = good.filter((index) => labels[index] !== CROWD), base = snapshot * (classes + 4) * R;
    const area = (index) => f(f(boxes[index][2] - boxes[index][0]) * f(boxes[index][3] - boxes[index][1]));
    const effective = new Map(instances.map((index) => [index, region(boxes[index], switches.effective_scale, rules, true)]));
    const ignoring = new Map(instances.map((index) => [index, region(boxes[index], rules.ignoring_scale, rules, false)]));

    // Owners: the smallest box; of equal ones the last
    const owner = new Int16Array(R).fill(NONE);
    const downwards = [...instances].sort((a, b) => area(b) - area(a) || a - b); // the smallest comes last and stays
    for (const index of downwards) for (const cell of effective.get(index)) owner[cell] = index;
    const count = (near) => { // how many regions of each class lie over each cell
      const counts = Array.from({ length: classes }, () => new Uint8Array(R));
      for (const index of instances) {
        for (const cell of ignoring.get(index)) if (near(index, cells[cell][0])) counts[labels[index]][cell] += 1;
      }
      return counts;
    };
    let ignored = count(() => true);
    const erased = (index, cell) => rules.same_class_overlap === "erase" && index >= 0 && ignored[labels[index]][cell] > 1;
    owner.forEach((index, cell) => { if (erased(index, cell)) owner[cell] = NONE; });
    const crowds = good.filter((index) => labels[index] === CROWD).map((index) => boxes[index]);
    const crowded = cells.map(([index, row, column]) => crowds.some(([x1, y1, x2, y2]) => {
      const x = (column + rules.cell_center) * levels[index].stride, y = (row + rules.cell_center) * levels[index].stride;
      return Math.abs(x - (x1 + x2) / 2) < (x2 - x1) / 4 && Math.abs(y - (y1 + y2) / 2) < (y2 - y1) / 4;
    }));
    crowded.forEach((under, cell) => { if (under) owner[cell] = NONE; });

    // Losses of each owned cell, their means, the choices
    const focal = new Float64Array(R), iou = new Float64Array(R);
    owner.forEach((index, cell) => {
      if (index < 0 || !outputs) return;
      const logit = (label) => outputs[base + label * R + cell], own = focalOne(logit(labels[index]));
      const left = (label) => label === labels[index] || (rules.ignore_levels === "all" && ignored[label][cell]);
      focal[cell] = own;
      const others = switches.selection_focal === "all" ? classes : 0;
      for (let label = 0; label < others; label++) if (!left(label)) focal[cell] += focalZero(logit(label));
      iou[cell] = iouLoss(cell, boxes[index], base, rules);
    });
    const means = (index, values) => levels.map((level, nth) => {
      const own = effective.get(index).filter((cell) => cells[cell][0] === nth && owner[cell] === index);
      return own.length ? own.reduce((sum, cell) => sum + values[cell], 0) / own.length : Infinity;
    });
    const choices = { online: given.map(() => NONE), heuristic: given.map(() => NONE), selected: given.map(() => NONE) };
    for (const index of instances) {
      const losses = means(index, focal.map((value, cell) => f(f(value) + f(iou[cell])))).map(f), best = Math.min(...losses);
      if (best === Infinity) continue;
      const size = Math.floor(config.heuristic_level + Math.log2(Math.sqrt(area(index)) / config.heuristic_size));
      choices.heuristic[index] = Math.min(levels.at(-1).level, Math.max(levels[0].level, size));
      if (outputs) choices.online[index] = levels[losses.indexOf(best)].level;
      choices.selected[index] = choices[switches.selection][index];
    }
    const beside = (index, level) => choices.selected[index] !== NONE && Math.abs(levels[level].level - choices.selected[index]) <= 1;
    if (rules.ignore_levels === "adjacent") ignored = count(beside);

    // What the screen shows
    const whole = mode === "image" && outputs, row = instances.includes(selected) ? selected : null, codes = crowded.map(Number);
    const positive = (cell) => owner[cell] >= 0 && levels[cells[cell][0]].level === choices.selected[owner[cell]];
    const left = (cell) => crowded[cell] || ignored.some((part) => part[cell]);
    if (whole) codes.forEach((_, cell) => { codes[cell] = positive(cell) ? 2 : left(cell) ? 1 : 0; });
    else if (row !== null) {
      codes.fill(0);
      for (const cell of ignoring.get(row)) codes[cell] = 1;
      for (const cell of effective.get(row)) codes[cell] = owner[cell] === row ? 2 : 3;
    }
    if (row !== null && choices.heuristic[row] === NONE) notes.push(`Box ${row + 1} has no cell at any level: nothing learns it.`);
    if (!outputs) notes.push("No snapshots: here are the regions, but losses need a network.");
    const means_ = row === null || !outputs ? null : [focal, iou].map((values) => means(row, values));
    const shown = levels.map(({ start, ...level }, nth) => {
      const end = start + level.rows * level.columns, told = {}, finite = means_ && means_[0][nth] !== Infinity;
      for (let cell = start; cell < end; cell++) {
        const lost = owner[cell] >= 0 ? owner[cell] : crowded[cell] ? -2 : ERASED;
        if (codes[cell] >= 2 && outputs) told[cell - start] = codes[cell] === 2 ? [owner[cell], focal[cell], iou[cell]] : [lost];
      }
      const here = row === null ? [] : ignoring.get(row).filter((cell) => cells[cell][0] === nth);
      const left = here.length && here.every((cell) => ignored[labels[row]][cell]) ? "ignored" : "negative";
      const taught = row === null || !outputs ? null : choices.selected[row] === level.level ? "positive" : left;
      const [focal_, iou_] = finite ? means_.map((mean) => mean[nth]) : [null, null], loss = finite ? focal_ + iou_ : null;
      return { ...level, codes: codes.slice(start, end).join(""), cells: told, taught, focal: focal_, iou: iou_, loss };
    });
    return { stamp, notes, levels: shown, cell_center: rules.cell_center, ...choices };
  };
}

// The page: a model that answers for itself, in place of Jupyter's
const page = JSON.parse(document.getElementById("page").textContent), explore = makeTwin(page);
const values = { setup: page.setup, state: page.state, answer: explore(page.state) }, listeners = {};
const model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; (listeners[name] ?? []).forEach((listener) => listener()); },
  save_changes: () => requestAnimationFrame(() => model.set("answer", explore(values.state))),
  on: (event, listener) => (listeners[event.replace("change:", "")] ??= []).push(listener),
  off: () => {},
};
globalThis.fsafExplorer = { model, explore };
render({ model, el: document.getElementById("explorer") });
