// One score threshold moves the picture, the list of detections and the point on the curve.

function makeThreshold(setup) {
  function iou(one, other) {
    const side = (low, high) => Math.max(Math.min(one[high], other[high]) - Math.max(one[low], other[low]), 0);
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]), shared = side(0, 2) * side(1, 3);
    const all = area(one) + area(other);
    return all > shared ? shared / (all - shared) : 0;
  }
  function average(precision, recall) {
    let sum = 0;
    for (let i = 0; i <= 100; i += 1) {
      sum += Math.max(0, ...precision.filter((_, entry) => 100 * recall[entry] >= i - 1e-9));
    }
    return sum / 101;
  }
  function explore(state) {
    const { found } = setup, taken = new Set(), precision = [], recall = [];
    const objects = setup.objects.filter(([, label]) => label === state.label).length;
    const rows = found.map((_, index) => index).filter((index) => found[index][1] === state.label)
      .sort((a, b) => found[b][2] - found[a][2]);
    let hits = 0;
    const entries = rows.map((index, entry) => {
      const [image, label, , box] = found[index];
      const overlap = setup.objects.map(([at, kind, truth]) => (at === image && kind === label ? iou(box, truth) : 0));
      const free = overlap.map((_, one) => one).filter((one) => !taken.has(one));
      let best = free.reduce((a, b) => (a < 0 || overlap[b] > overlap[a] ? b : a), -1);
      if (best < 0 || overlap[best] < state.iou) best = -1;
      taken.add(best);
      hits += best >= 0;
      precision.push(hits / (entry + 1));
      recall.push(hits / Math.max(objects, 1));
      return [index, best, Math.max(0, ...overlap)];
    });
    const above = rows.filter((index) => found[index][2] >= state.threshold).length;
    const [ap, cut] = [rows.length, above].map((n) => average(precision.slice(0, n), recall.slice(0, n)));
    const tp = entries.slice(0, above).filter(([, object]) => object >= 0).length;
    const text = `${tp} true positives, ${above - tp} false positives, ${objects - tp} missed`;
    return { stamp: state.stamp, entries, above, objects, precision, recall, ap, cut, text };
  }
  return { answers: true, explore };
}

const thresholdFigure = figure({
  twin: makeThreshold,
  build({ setup, theme, store }) {
    const TILE = 170, TALL = 344, LIST = 232, PLOT = 300, row = TALL / (setup.rows + 1), scale = TILE / setup.size;
    const [good, bad] = theme.classes, corner = (i) => [(i % 2) * (TILE + 4), Math.floor(i / 2) * (TILE + 4)];
    const x = (recall) => 44 + recall * (PLOT - 60), y = (precision) => 24 + (1 - precision) * (TALL - 72);
    const svg = (width, label, more = {}) => draw("svg", { viewBox: `0 0 ${width} ${TALL}`, "aria-label": label, ...more });
    const image = svg(TALL, "four images", { role: "img" }), keys = { role: "slider", tabindex: 0, "aria-valuemin": 0 };
    const curve = svg(PLOT, "entries above the threshold, on precision against recall", keys);
    const list = svg(LIST, "last entry above the threshold", { ...keys, "aria-orientation": "vertical" });
    list.style.cursor = curve.style.cursor = "ns-resize";
    const threshold = slider(() => store.change({ threshold: Number(threshold.value) }, "threshold"),
      { min: 0.05, max: 1, step: 0.01, "aria-label": "score threshold" }), shown = html("output");
    const label = choice([...setup.classes.entries()], () => store.change({ label: Number(label.value), selected: -1 }),
      { "aria-label": "class" });
    const least = choice(setup.ious.map((one) => [one, `IoU ≥ ${one}`]), () => store.change({ iou: Number(least.value) }),
      { "aria-label": "least IoU of a match" });
    const title = html("span", { class: "fx-verdict", role: "status" }), sign = html("span", { class: "fx-sign" });
    const note = html("p", { class: "fx-note" });
    const scoreOf = (entry) => setup.found[store.answer.entries[entry][0]][2];
    function toEntry(count) { // the threshold that leaves `count` entries, and the last of them selected
      const last = Math.max(0, Math.min(store.answer.entries.length, count)) - 1;
      store.change({ threshold: last < 0 ? 1 : scoreOf(last), selected: last }, "threshold");
    }
    const onList = (event) => { toEntry(Math.floor(placeIn(list, event)[1] / row)); list.focus({ preventScroll: true }); };
    const onCurve = (event) => {
      const [px, py] = placeIn(curve, event), { recall, precision } = store.answer;
      const far = recall.map((r, i) => Math.hypot(x(r) - px, y(precision[i]) - py));
      toEntry(far.indexOf(Math.min(...far)) + 1);
      curve.focus({ preventScroll: true });
    };
    for (const [surface, move] of [[list, onList], [curve, onCurve]]) {
      dragging(surface, { start: (event) => { move(event); return true; }, move: (_, event) => move(event) });
    }
    function onKey(event) {
      const by = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by && (event.target === list || event.target === curve)) toEntry(store.answer.above + by);
      else if ((event.ctrlKey || event.metaKey) && event.key === "z") store.undo();
      else return event.stopPropagation();
      event.preventDefault();
      event.stopPropagation();
    }
    const main = html("div", { class: "fx-main" }, image, list, curve);
    const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true", onkeydown: onKey,
      style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
    html("div", { class: "fx-bar" }, label, least, html("label", {}, "score threshold ", threshold, shown),
      button("↶", store.undo, { "aria-label": "undo" })), html("div", { class: "fx-top" }, title, sign), main, note);

    const entryName = (entry) => {
      const [index, object, best] = store.answer.entries[entry], [at, , score] = setup.found[index];
      const why = object >= 0 ? `true positive, IoU ${short(best)}` : best >= store.state.iou
        ? `false positive: a better score has taken its object (IoU ${short(best)})`
        : `false positive: no object of its class reaches IoU ${store.state.iou} (best ${short(best)})`;
      return `Entry ${entry + 1}, image ${"ABCD"[at]}, score ${short(score)}: ${why}.`;
    };
    function outline(at, box, attributes) {
      const [left, top] = corner(at), [x1, y1, x2, y2] = box.map((side) => side * scale);
      return tag("rect", { x: left + x1, y: top + y1, width: x2 - x1, height: y2 - y1, fill: "none", ...attributes });
    }
    function paint() {
      const { answer, state } = store, { entries, above, recall, precision } = answer;
      const parts = setup.images.map((href, i) => {
        const [left, top] = corner(i);
        return tag("image", { href, x: left, y: top, width: TILE, height: TILE })
          + tag("rect", { x: left, y: top, width: 16, height: 16, fill: theme.paper })
          + words(left + 4, top + 12, "ABCD"[i], { fill: theme.ink });
      });
      for (const [at, kind, box] of setup.objects) {
        if (kind === state.label) parts.push(outline(at, box, { stroke: theme.paper, "stroke-width": 3 }),
          outline(at, box, { stroke: theme.ink, "stroke-width": 1, "stroke-dasharray": "2 2" }));
      }
      const rows = [];
      entries.forEach(([index, object, best], entry) => {
        const [at, , score, box] = setup.found[index], color = object >= 0 ? good : bad, top = entry * row;
        if (entry < above) parts.push(outline(at, box, { stroke: color, "stroke-width": entry === state.selected ? 4 : 2,
          "stroke-dasharray": object >= 0 ? null : "5 3" }));
        if (entry >= setup.rows) return;
        if (entry === state.selected) rows.push(tag("rect", { x: 0, y: top, width: LIST, height: row, fill: theme.grid }));
        rows.push(tag("rect", { x: 2, y: top + 1.5, width: 26, height: row - 3, rx: 3, fill: color, "fill-opacity": entry < above ? 1 : 0.25 }),
          words(15, top + row - 3.5, object >= 0 ? "TP" : "FP", { "font-size": 10, "text-anchor": "middle", fill: entry < above ? theme.on[color] : theme.ink }),
          words(36, top + row - 3.5, `${score.toFixed(2)} · ${"ABCD"[at]} · IoU ${best.toFixed(2)}${object < 0 && best >= state.iou ? " taken" : ""}`,
            { "font-size": 11, fill: entry < above ? theme.ink : theme.muted }),
          tag("rect", { x: 174, y: top + 4, width: 54 * score, height: row - 8, fill: entry < above ? color : theme.grid }));
      });
      if (entries.length > setup.rows) rows.push(words(36, TALL - 3, `and ${entries.length - setup.rows} more`, { "font-size": 11, fill: theme.muted }));
      const cut = Math.min(above, setup.rows) * row;
      rows.push(tag("line", { x1: 0, y1: cut, x2: LIST, y2: cut, stroke: theme.ink, "stroke-width": 2 }));
      const ticks = [0, 0.5, 1].map((value) => words(x(value), TALL - 30, value, { "text-anchor": "middle", fill: theme.muted })
        + words(38, y(value) + 4, value, { "text-anchor": "end", fill: theme.muted })
        + tag("path", { d: `M${x(0)} ${y(value)}H${x(1)}M${x(value)} ${y(0)}V${y(1)}`, stroke: theme.grid }));
      const steps = recall.map((r, i) => `L${x(r)} ${y(Math.max(...precision.slice(i)))}`), dots = recall.map((r, i) => (
        tag("circle", { cx: x(r), cy: y(precision[i]), r: 2.5, fill: i < above ? good : theme.muted })));
      const at = above ? [x(recall[above - 1]), y(precision[above - 1])] : [x(0), y(1)];
      fill(image, parts.join(""));
      fill(list, rows.join(""));
      fill(curve, [...ticks, words(x(0.5), TALL - 12, "recall", { "text-anchor": "middle", fill: theme.ink }),
        words(4, 10, "precision", { fill: theme.ink }), steps.length && tag("path", { d: `M${x(0)} ${y(Math.max(...precision))}${steps.join("")}`,
          fill: "none", stroke: theme.muted, "stroke-dasharray": "3 3" }), ...dots,
        tag("circle", { cx: at[0], cy: at[1], r: 7, fill: good, stroke: theme.paper, "stroke-width": 2 })].join(""));
      for (const part of [list, curve]) set(part, { "aria-valuenow": above, "aria-valuemax": entries.length });
      const share = above ? `precision ${short(precision[above - 1])}` : "no precision";
      const reached = above ? recall[above - 1] : 0;
      title.textContent = `${answer.text}: ${share}, recall ${short(reached)}. AP of these entries ${short(answer.cut)}, of all ${short(answer.ap)}.`;
      note.textContent = state.selected >= 0 && state.selected < entries.length ? entryName(state.selected)
        : "Drag the line in the list, the point on the curve, or the slider. Dotted boxes are the objects of the class.";
      [label.value, least.value, threshold.value, shown.textContent] = [state.label, state.iou, state.threshold, ` ${state.threshold.toFixed(2)}`];
      paintSign();
    }
    function paintSign() {
      sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python says otherwise" }[store.python] ?? "";
      set(root, { "data-python": store.python });
    }
    function resize(width) {
      main.style.flexWrap = width < 920 ? "wrap" : "nowrap";
      for (const [part, wide] of [[image, TALL], [list, LIST], [curve, PLOT]]) {
        const fit = Math.min(wide, width - 18);
        set(part, { width: fit, height: (fit * TALL) / wide });
      }
    }
    return { root, paint, sign: paintSign, resize };
  },
});
export default thresholdFigure;
