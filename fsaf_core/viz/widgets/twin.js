// The twin of assignment_view.py: state → answer, without Python. A test compares the two on random
// states. The locations of all levels are numbered in one row, level by level. Numbers that decide
// about a location are rounded to single precision in the order of method/regions.py.
const NONE = -1, CROWD = -1, ERASED = -1, UNDER_CROWD = -2, MOST_BOXES = 100;
const f = Math.fround;
const nameOf = (level) => (level === NONE ? "no level" : `P${level}`);

function halves(text) { // base64 of half-precision numbers
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer), numbers = new Float32Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    const bits = view.getUint16(2 * i, true), exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    numbers[i] = bits >> 15 ? -size : size;
  }
  return numbers;
}

function makeTwin(setup) {
  const { config } = setup, classes = setup.classes.length, [height, width] = setup.size;
  const levels = setup.levels.map((level) => {
    const stride = 2 ** level, [rows, columns] = setup.padded.map((side) => Math.ceil(side / stride));
    return { level, stride, rows, columns };
  });
  let R = 0;
  for (const level of levels) {
    level.start = R;
    R += level.rows * level.columns;
    level.end = R;
  }
  const levelOf = new Uint8Array(R), column = new Int16Array(R), row = new Int16Array(R);
  levels.forEach(({ start, end, columns }, nth) => {
    for (let cell = start; cell < end; cell++) {
      levelOf[cell] = nth;
      [row[cell], column[cell]] = [Math.floor((cell - start) / columns), (cell - start) % columns];
    }
  });
  const outputs = setup.numbers ? halves(setup.numbers) : null;
  const center = (index, cell, rules) => (index[cell] + rules.cell_center) * levels[levelOf[cell]].stride;

  // The locations of a box's region at all levels: `region` of method/regions.py.
  function region(box, scale, rules, inside) {
    const found = [], overlap = rules.region_rounding === "overlap";
    const scaled = [0, 1].map((axis) => {
      const low = box[axis], high = box[axis + 2];
      const middle = f(f(high + low) * 0.5), half = f(f(f(high - low) * 0.5) * f(scale));
      return [f(middle - half), f(middle + half)];
    });
    for (const { stride, rows, columns, start } of levels) {
      const [across, down] = [columns, rows].map((count, axis) => { // share of each column and row
        const low = f(scaled[axis][0] / stride), high = f(scaled[axis][1] / stride), shares = [];
        const first = Math.min(Math.max(0, Math.floor(low)), count - 1);
        if (!overlap) {
          const end = Math.max(Math.min(count, Math.ceil(high)), first + 1);
          for (let i = first; i < end; i++) shares.push([i, 1]);
          return shares;
        }
        const near = f(box[axis] / stride), far = f(box[axis + 2] / stride), c = rules.cell_center;
        for (let i = first; i < Math.min(count, Math.ceil(high) + 1); i++) {
          if (inside && !(i + c > near && i + c < far)) continue;
          const share = f(Math.min(high, i + c + 0.5) - Math.max(low, i + c - 0.5));
          if (share > 0) shares.push([i, share]);
        }
        return shares;
      });
      for (const [y, rowShare] of down) {
        for (const [x, share] of across) if (f(rowShare * share) > f(0.01)) found.push(start + y * columns + x);
      }
    }
    return found;
  }

  // Losses. Those of the classes are tabled for each snapshot: of target 1, and of target 0.
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const { focal_alpha: alpha, focal_gamma: gamma } = config, tables = [];
  function focalTable(snapshot) {
    if (tables[snapshot]) return tables[snapshot];
    const base = snapshot * (classes + 4) * R, one = new Float64Array(classes * R),
      zero = new Float64Array(classes * R);
    for (let i = 0; i < classes * R; i++) {
      const x = outputs[base + i];
      one[i] = alpha * (1 / (1 + Math.exp(x))) ** gamma * softplus(-x);
      zero[i] = (1 - alpha) * (1 / (1 + Math.exp(-x))) ** gamma * softplus(x);
    }
    return (tables[snapshot] = { one, zero });
  }
  function decoded(cell, snapshot, rules) { // the box that a location predicts
    const base = (snapshot * (classes + 4) + classes) * R + cell;
    const scale = config.offset_normalizer * levels[levelOf[cell]].stride;
    const x = center(column, cell, rules), y = center(row, cell, rules);
    const [l, t, r, b] = [0, 1, 2, 3].map((i) => f(scale * f(Math.max(outputs[base + i * R], f(rules.min_offset)))));
    return [f(x - l), f(y - t), f(x + r), f(y + b)];
  }
  const boxArea = ([x1, y1, x2, y2]) => f(f(x2 - x1) * f(y2 - y1));
  function iouOf(own, box) {
    const w = f(Math.min(own[2], box[2]) - Math.max(own[0], box[0]));
    const h = f(Math.min(own[3], box[3]) - Math.max(own[1], box[1]));
    const shared = f(Math.max(w, 0) * Math.max(h, 0));
    return f(shared / Math.max(f(f(boxArea(own) + boxArea(box)) - shared), 1e-6));
  }
  // The two losses of a location. `ignored(label)`: whether its entry of another class counts nothing.
  function losses(cell, box, label, { snapshot, switches }, rules, ignored) {
    const { one, zero } = focalTable(snapshot);
    let focal = one[label * R + cell];
    for (let other = 0; other < classes && switches.selection_focal === "all"; other++) {
      if (other !== label && !ignored(other)) focal += zero[other * R + cell];
    }
    return [focal, -Math.log(Math.max(iouOf(decoded(cell, snapshot, rules), box), 1e-6))];
  }
  // Mean losses at each level over `cells`; `loss` is null where there is no location.
  function means(cells, lossesAt) {
    const sums = levels.map(() => ({ count: 0, focal: 0, iou: 0, loss: 0 }));
    for (const cell of cells) {
      const sum = sums[levelOf[cell]], [focal, iou] = lossesAt(cell);
      sum.count += 1;
      sum.focal += focal;
      sum.iou += iou;
      sum.loss += f(f(focal) + f(iou));
    }
    return sums.map(({ count, focal, iou, loss }) => (
      count ? { focal: focal / count, iou: iou / count, loss: f(loss / count) }
        : { focal: null, iou: null, loss: null }
    ));
  }
  const least = (list) => list.reduce((best, { loss },
    i) => (loss !== null && (best < 0 || loss < list[best].loss) ? i : best), NONE);
  function bySize(area) {
    const exact = f(config.heuristic_level + f(Math.log2(f(f(Math.sqrt(Math.max(area,
      f(1e-6)))) / config.heuristic_size))));
    return Math.min(levels.at(-1).level, Math.max(levels[0].level, Math.floor(exact)));
  }

  const rulesOf = ({ switches }) => {
    const rules = { ...setup.conventions[switches.convention] };
    for (const name of Object.keys(rules)) rules[name] = switches[name] ?? rules[name];
    return rules;
  };
  function usable(boxes) { // indices of the boxes that can be assigned, and a sentence for each other
    const notes = [], good = [];
    boxes.slice(0, MOST_BOXES).forEach(([x1, y1, x2, y2], index) => {
      const outside = x2 <= 0 || y2 <= 0 || x1 >= width || y1 >= height;
      if (x2 <= x1 || y2 <= y1) notes.push(`Box ${index} has no area (drag a corner): it is left out.`);
      else if (outside) notes.push(`Box ${index} lies outside the image (move it with the arrow keys): it is left out.`);
      else good.push(index);
    });
    const [less, more] = [height, width].sort((a, b) => a - b);
    if (boxes.length > MOST_BOXES) notes.push(`${boxes.length} boxes are more than the explorer takes: the first ${MOST_BOXES} take part.`);
    if (more > 20 * less) notes.push(`The image is ${width} × ${height} px, long and narrow: scroll along it, and trust the numbers.`);
    return [good, notes];
  }

  // Regions and overlaps, before any loss. `without`: a box that takes no part.
  function regions(state, without = null) {
    const rules = rulesOf(state), boxes = state.boxes.map((box) => box.map(f)), { labels, switches } = state;
    const [good, notes] = usable(boxes), instances = good.filter((index) => labels[index] !== CROWD
      && index !== without);
    const areas = boxes.map(boxArea), effective = [], ignoring = [], owner = new Int16Array(R).fill(NONE);
    for (const index of instances) {
      effective[index] = region(boxes[index], switches.effective_scale, rules, true);
      ignoring[index] = region(boxes[index], rules.ignoring_scale, rules, false);
    }
    const downwards = [...instances].sort((a, b) => areas[b] - areas[a] || a - b); // the smallest stays
    for (const index of downwards) for (const cell of effective[index]) owner[cell] = index;
    // how many ignoring regions of a class hold a location
    const smallest = owner.slice(), count = new Uint8Array(classes * R);
    for (const index of instances) for (const cell of ignoring[index]) count[labels[index] * R + cell] += 1;
    if (rules.same_class_overlap === "erase") {
      for (let cell = 0; cell < R; cell++) if (owner[cell] >= 0
        && count[labels[owner[cell]] * R + cell] > 1) owner[cell] = NONE;
    }
    const crowded = new Uint8Array(R);
    for (const [x1, y1, x2, y2] of good.filter((index) => labels[index] === CROWD).map((index) => boxes[index])) {
      for (let cell = 0; cell < R; cell++) {
        const x = Math.abs(center(column, cell, rules) - (x1 + x2) / 2),
          y = Math.abs(center(row, cell, rules) - (y1 + y2) / 2);
        if (x < (x2 - x1) / 4 && y < (y2 - y1) / 4) [crowded[cell], owner[cell]] = [1, NONE];
      }
    }
    const all = rules.ignore_levels === "all";
    const ignored = (cell) => (label) => all && count[label * R + cell] > 0;
    return { rules, boxes, notes, good, instances, areas, effective, ignoring, owner, smallest, count, crowded,
      ignored };
  }

  function explore(state) {
    const { labels, selected, mode, switches, snapshot } = state, r = regions(state);
    const { rules, boxes, notes, instances, effective, ignoring, owner, crowded } = r, known = outputs !== null;
    const lossesAt = (index) => (cell) => losses(cell, boxes[index], labels[index], state, rules, r.ignored(cell));
    const own = (index) => effective[index].filter((cell) => owner[cell] === index);
    const choices = Object.fromEntries(["online", "heuristic",
      "selected"].map((name) => [name, boxes.map(() => NONE)]));
    for (const index of instances) {
      if (!own(index).length) continue;
      choices.heuristic[index] = bySize(r.areas[index]);
      if (known) choices.online[index] = levels[least(means(own(index), lossesAt(index)))].level;
      choices.selected[index] = choices[switches.selection][index];
    }
    const ignored = new Uint8Array(classes * R); // after the selection
    for (const index of instances) {
      for (const cell of ignoring[index]) {
        const near = choices.selected[index] !== NONE
          && Math.abs(levels[levelOf[cell]].level - choices.selected[index]) <= 1;
        if (rules.ignore_levels === "all" || near) ignored[labels[index] * R + cell] = 1;
      }
    }

    // What is shown: the regions of the selected box, or of all boxes what is left
    const whole = mode === "image" && known, row = instances.includes(selected) ? selected : null;
    const codes = Array.from(crowded);
    if (whole) {
      for (let cell = 0; cell < R; cell++) {
        for (let label = 0; label < classes; label++) codes[cell] |= ignored[label * R + cell];
        if (owner[cell] >= 0 && levels[levelOf[cell]].level === choices.selected[owner[cell]]) codes[cell] = 2;
      }
    } else if (row !== null) {
      codes.fill(0);
      for (const cell of ignoring[row]) codes[cell] = 1;
      for (const cell of effective[row]) codes[cell] = owner[cell] === row ? 2 : 3;
    }
    if (row !== null && choices.heuristic[row] === NONE) notes.push(`Box ${row} has no location at any level: nothing learns it.`);
    if (!known) notes.push("No snapshots: here are the regions, but losses need a network.");
    const mean = row === null || !known ? null : means(own(row), lossesAt(row));
    const shown = levels.map(({ start, end, ...level }, nth) => {
      const cells = {}, here = row === null ? [] : ignoring[row].filter((cell) => levelOf[cell] === nth);
      for (let cell = start; cell < end && known; cell++) {
        const index = owner[cell];
        if (codes[cell] === 2) cells[cell - start] = [index, ...lossesAt(index)(cell),
          decoded(cell, snapshot, rules)];
        if (codes[cell] === 3) cells[cell - start] = [index >= 0 ? index : crowded[cell] ? UNDER_CROWD : ERASED];
      }
      const left = here.length && here.every((cell) => ignored[labels[row] * R + cell]) ? "ignored" : "negative";
      const taught = row === null || !known ? null : choices.selected[row] === level.level ? "positive" : left;
      const entry = { ...level, codes: codes.slice(start, end).join(""), cells, taught,
        ...(mean ? mean[nth] : { focal: null, iou: null, loss: null }) };
      return { ...entry, ...levelWords(entry, state, choices) };
    });
    return { stamp: state.stamp, notes, levels: shown, cell_center: rules.cell_center,
      verdict: verdict(setup, state, choices, shown), ...choices };
  }

  // The losses of the selected box at each level after every snapshot.
  function curves(state) {
    const { labels, selected } = state, r = regions(state), box = r.boxes[selected];
    if (!outputs || !r.instances.includes(selected)) return [];
    const own = r.effective[selected].filter((cell) => r.owner[cell] === selected);
    return setup.steps.map((_, snapshot) => means(own,
      (cell) => losses(cell, box, labels[selected], { ...state, snapshot }, r.rules, r.ignored(cell))));
  }

  // A function box → [level, loss]: where the selected box would be learned if it were this box.
  function contest(state) {
    const { labels, selected, switches } = state, label = labels[selected], r = regions(state, selected);
    const erase = r.rules.same_class_overlap === "erase";
    return (given) => {
      const box = given.map(f), area = boxArea(box), beaten = (other) => other >= 0
        && (r.areas[other] < area || (r.areas[other] === area && other > selected));
      if (!usable([box])[0].length) return [NONE, null];
      const own = region(box, switches.effective_scale, r.rules, true).filter((cell) => (
        !r.crowded[cell] && !beaten(r.smallest[cell]) && !(erase && r.count[label * R + cell] > 0)));
      const mean = means(own, (cell) => losses(cell, box, label, state, r.rules, r.ignored(cell))),
        best = least(mean);
      if (best === NONE) return [NONE, null];
      const level = switches.selection === "online" ? levels[best].level : bySize(area);
      return [level, mean[level - levels[0].level].loss];
    };
  }
  return { explore, curves, contest, iouOf, knows: outputs !== null,
    answers: outputs !== null || !setup.steps.length };
}

// The words of assignment_view.py
function levelWords(entry, { mode, selected }, choices) {
  const { level, loss, focal, iou, codes, taught } = entry;
  if (mode === "image") return { says: `learns ${choices.selected.filter((own) => own === level).length} of ${choices.selected.length}`, mark: "" };
  const lost = codes.includes("3") ? "all its locations are lost" : "no location of the box";
  const without = codes.includes("2") ? "loss not known" : lost;
  const marks = choices.selected[selected] === level ? ["★ learns it"] : [];
  if (!marks.length && choices.online[selected] === level) marks.push("least loss");
  if (taught && taught !== "positive") marks.push(`${taught} here`);
  if (choices.heuristic[selected] === level) marks.push("▲ size");
  const says = loss === null ? without : `${short(focal)} + ${short(iou)} = ${short(loss)}`;
  return { says, mark: marks.join(" · ") };
}

function verdict(setup, { boxes, labels, selected, mode }, choices, levels) {
  const learned = setup.levels.map((level) => `P${level} learns ${choices.selected.filter((own) => own === level).length}`);
  if (mode === "image") return `After the selection: ${learned.join(", ")}.`;
  const box = boxes[selected], label = labels[selected];
  if (!box) return "There is no box: draw one on the image.";
  const what = `Box ${selected} (${label === CROWD ? "crowd" : (setup.classes[label] ?? `class ${label}`)}, ${round(box[2] - box[0])} × ${round(box[3] - box[1])} px)`;
  if (label === CROWD) return `${what}: locations inside its inner half have no loss.`;
  const level = levels.find((one) => one.level === choices.selected[selected]);
  const loss = level && level.loss !== null ? `, loss ${short(level.loss)}` : "";
  return `${what}: ${level ? `P${level.level} learns it${loss}` : "no level learns it"}; by size: ${nameOf(choices.heuristic[selected])}.`;
}
