// Non-maximum suppression, one kept box at a time.

function makeNms(setup) {
  const SIGMA = 0.5, LOWEST = 0.05, count = setup.boxes.length;
  function iou(one, other) {
    const side = (low, high) => Math.max(Math.min(one[high], other[high]) - Math.max(one[low], other[low]), 0);
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]), shared = side(0, 2) * side(1, 3);
    const all = area(one) + area(other);
    return all > shared ? shared / (all - shared) : 0;
  }
  function explore({ step, threshold, method, stamp }) {
    const scores = [...setup.scores], by = Array(count).fill(-1), kept = [];
    let waiting = scores.map((_, index) => index), overlaps = Array(count).fill(0), lost = [];
    for (let i = 0; i < step && waiting.length; i += 1) {
      const best = waiting.reduce((a, b) => (scores[b] > scores[a] ? b : a));
      kept.push(best);
      waiting = waiting.filter((index) => index !== best);
      overlaps = setup.boxes.map((box) => iou(setup.boxes[best], box));
      lost = [];
      for (const index of waiting) {
        if (method === "soft") scores[index] *= Math.exp(-(overlaps[index] ** 2) / SIGMA);
        if (scores[index] <= LOWEST || (method === "hard" && overlaps[index] > threshold)) {
          by[index] = best;
          lost.push(index);
        }
      }
      waiting = waiting.filter((index) => by[index] < 0);
    }
    const end = waiting.length ? `${waiting.length} remain.` : `Done: ${kept.length} of ${count} are kept.`;
    const text = kept.length ? `Step ${kept.length}: keep candidate ${kept.at(-1) + 1}, remove ${lost.length}. ${end}`
      : `Step 0: ${count} candidates of one class, best score first.`;
    return { stamp, kept, by, lost, scores, overlaps, waiting, text };
  }
  return { answers: true, explore };
}

const nmsFigure = figure({
  twin: makeNms,
  build({ setup, theme, store }) {
    const SIDE = 360, count = setup.boxes.length, row = SIDE / count, scale = SIDE / setup.size;
    const color = (index) => theme.levels[setup.levels[index] - 3];
    const go = (by) => {
      const { kept, waiting } = store.answer, step = Math.min(store.state.step, kept.length) + by;
      if (step < 0 || (by > 0 && !waiting.length)) return false;
      store.change({ step }, "step");
      return true;
    };
    const select = (selected) => store.change({ selected: Math.max(-1, Math.min(count - 1, selected)) }, "select");
    const movie = player(() => go(1));
    const back = button("◀", () => go(-1), { "aria-label": "one step back" });
    const forth = button("next step", () => go(1)), first = button("restart", () => store.change({ step: 0 }));
    const method = choice(Object.entries(setup.methods), () => store.change({ method: method.value }),
      { "aria-label": "method" });
    const threshold = slider(() => store.change({ threshold: Number(threshold.value) }, "threshold"),
      { min: 0.1, max: 0.9, step: 0.05, "aria-label": "IoU threshold of NMS" }), shown = html("output");
    const image = draw("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img" });
    const bars = draw("svg", { viewBox: `0 0 330 ${SIDE}`, role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": count,
      "aria-orientation": "vertical", "aria-label": "selected candidate, best score first" });
    const title = html("span", { class: "fx-verdict", role: "status" }), note = html("p", { class: "fx-note" });
    const sign = html("span", { class: "fx-sign" });
    dragging(bars, { start: (event) => point(event), move: (_, event) => point(event) });
    function point(event) {
      select(Math.floor(placeIn(bars, event)[1] / row));
      bars.focus({ preventScroll: true });
      return true;
    }
    function onKey(event) {
      const { key } = event, isBars = event.target === bars, isInput = event.target.matches("select, input");
      if (isBars && (key === "ArrowDown" || key === "ArrowUp")) {
        select(store.state.selected + (key === "ArrowDown" ? 1 : -1));
      } else if (!isInput && (key === "ArrowRight" || key === "ArrowLeft")) go(key === "ArrowRight" ? 1 : -1);
      else if (key === "Escape") select(-1);
      else if ((event.ctrlKey || event.metaKey) && key === "z") store.undo();
      else return event.stopPropagation();
      event.preventDefault();
      event.stopPropagation();
    }
    const main = html("div", { class: "fx-main" }, image, bars);
    const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true", onkeydown: onKey,
      style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
    html("div", { class: "fx-bar" }, back, movie.play, forth, first, method,
      html("label", {}, "remove above IoU ", threshold, shown)),
    html("div", { class: "fx-top" }, title, sign), main, note);

    function status(index) {
      const { kept, by, scores, overlaps } = store.answer, place = kept.indexOf(index), last = kept.at(-1);
      const head = `Candidate ${index + 1}, from P${setup.levels[index]}, score ${short(setup.scores[index])}`;
      const now = short(scores[index]) === short(setup.scores[index]) ? "" : `, now ${short(scores[index])}`;
      const fate = place >= 0 ? `kept in step ${place + 1}` : by[index] >= 0
        ? `removed by candidate ${by[index] + 1}` : "waiting";
      const near = last === undefined || last === index ? ""
        : ` IoU with candidate ${last + 1}, the last kept: ${short(overlaps[index])}.`;
      return `${head}${now}: ${fate}.${near}`;
    }
    function paint() {
      const { answer, state } = store, { kept, by, scores } = answer, last = kept.at(-1);
      const pictures = [tag("image", { href: setup.image, width: SIDE, height: SIDE,
        style: "image-rendering:pixelated" })], lines = [];
      const order = setup.boxes.map((_, index) => index).reverse();
      for (const index of [...order.filter((one) => one !== state.selected), state.selected]) {
        if (index < 0 || index >= count) continue;
        const [x1, y1, x2, y2] = setup.boxes[index].map((side) => side * scale), place = kept.indexOf(index) + 1;
        const gone = by[index] >= 0, isNew = answer.lost.includes(index), chosen = index === state.selected;
        const width = chosen ? 4 : place ? 3 : 1, at = { x: x1, y: y1, width: x2 - x1, height: y2 - y1, fill: "none" };
        if (place || chosen) pictures.push(tag("rect", { ...at, stroke: theme.paper, "stroke-width": width + 2 }));
        pictures.push(tag("rect", { ...at, stroke: color(index), "stroke-width": width,
          "stroke-dasharray": gone ? "2 3" : null, "stroke-opacity": gone && !isNew && !chosen ? 0.35 : 1 }));
        if (place) {
          pictures.push(tag("rect", { x: x1, y: y1, width: place > 9 ? 20 : 14, height: 14, fill: color(index) }),
            words(x1 + 3, y1 + 11, place, { "font-size": 11, fill: theme.on[color(index)] }));
        }
        const y = index * row, name = place ? `kept ${place}` : isNew ? `by ${last + 1}` : "";
        if (chosen) lines.push(tag("rect", { x: 0, y, width: 330, height: row, fill: theme.grid }));
        lines.push(tag("rect", { x: 62, y: y + 0.5, width: 220 * setup.scores[index], height: row - 1.5, fill: "none",
          stroke: color(index), "stroke-width": 0.7 }), tag("rect", { x: 62, y: y + 0.5,
          width: 220 * scores[index], height: row - 1.5, fill: color(index), "fill-opacity": gone ? 0.2 : 1 }),
        words(56, y + row - 1, name, { "font-size": Math.min(11, row + 1), "text-anchor": "end", fill: theme.ink }),
        words(66 + 220 * setup.scores[index], y + row - 1, short(scores[index]),
          { "font-size": Math.min(10, row), fill: theme.muted }));
      }
      fill(image, pictures.join(""));
      fill(bars, lines.join(""));
      set(image, { "aria-label": answer.text });
      set(bars, { "aria-valuenow": state.selected + 1 });
      title.textContent = answer.text;
      note.textContent = state.selected >= 0 && state.selected < count ? status(state.selected)
        : "Boxes have the color of their level. Point at a bar, or reach the bars with Tab and use the arrow keys.";
      [method.value, threshold.value, shown.textContent] = [state.method, state.threshold, ` ${state.threshold.toFixed(2)}`];
      set(threshold, { disabled: state.method === "soft" });
      set(forth, { disabled: !answer.waiting.length });
      if (!movie.playing()) set(movie.play, { "aria-label": isStill() ? "next step" : "play all steps" });
      else if (!answer.waiting.length) movie.stop();
      paintSign();
    }
    function paintSign() {
      sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python says otherwise" }[store.python] ?? "";
      set(root, { "data-python": store.python });
    }
    function resize(width) {
      const narrow = width < 700;
      main.style.flexDirection = narrow ? "column" : "row";
      for (const [svg, wide] of [[image, SIDE], [bars, 330]]) {
        set(svg, { width: Math.min(wide, width - 18), height: (Math.min(wide, width - 18) * SIDE) / wide });
      }
    }
    return { root, paint, sign: paintSign, resize };
  },
});
export default nmsFigure;
