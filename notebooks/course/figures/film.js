// The film of a training: detections and losses at a dozen steps.

function makeFilm(setup) {
  const FOUND = 0.5;
  function iou(one, other) {
    const side = (low, high) => Math.max(Math.min(one[high], other[high]) - Math.max(one[low], other[low]), 0);
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]), shared = side(0, 2) * side(1, 3);
    return shared / (area(one) + area(other) - shared);
  }
  function explore({ snapshot, lowest, stamp }) {
    const shown = setup.frames[snapshot].filter((row) => row[4] >= lowest), finder = setup.boxes.map(() => -1);
    shown.forEach((row, index) => { // best score first
      let best = -1, most = FOUND;
      setup.boxes.forEach((box, instance) => {
        const isFree = finder[instance] < 0 && setup.labels[instance] === row[5];
        if (isFree && iou(box, row) >= most) [best, most] = [instance, iou(box, row)];
      });
      if (best >= 0) finder[best] = index;
    });
    const found = finder.filter((index) => index >= 0).length, step = setup.steps[snapshot],
      loss = setup.losses[snapshot];
    const text = `Step ${step}: loss ${short(loss)} on this scene, ${found} of ${finder.length} objects found, `
      + `${shown.length - found} false positives. The star selects P${setup.levels[snapshot]}.`;
    return { stamp, step, shown: shown.length, finder, loss, text };
  }
  return { answers: true, explore };
}

const filmFigure = figure({
  twin: makeFilm,
  build({ setup, theme, store }) {
    const SIDE = 330, WIDE = 380, LEFT = 44, TOP = 10, ACROSS = WIDE - 60, DOWN = SIDE - 50,
      last = setup.steps.length - 1, scale = SIDE / setup.size, [low, high] = setup.decades;
    const go = (to, by = "film") => {
      if (to < 0 || to > last) return false;
      store.change({ snapshot: to }, by);
      return to < last;
    };
    const movie = player(() => go(store.state.snapshot < last ? store.state.snapshot + 1 : 0));
    const time = slider(() => go(Number(time.value)), { min: 0, max: last, step: 1, "aria-label": "snapshot" });
    const lowest = slider(() => store.change({ lowest: Number(lowest.value) }, "lowest"),
      { min: 0.05, max: 0.95, step: 0.05, "aria-label": "lowest score shown" }), least = html("output");
    const fault = choice([["none", "no fault"], ...Object.keys(setup.runs).slice(1).map((name) => [name, name])],
      () => store.change({ fault: fault.value }), { "aria-label": "overlay the losses of a small run with a fault", style: "max-width:12em" });
    const image = draw("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, role: "img" });
    const chart = draw("svg", { viewBox: `0 0 ${WIDE} ${SIDE}`, role: "slider", tabindex: 0, "aria-valuemin": 0,
      "aria-valuemax": last, style: "touch-action:pan-y;cursor:ew-resize" });
    const title = html("p", { class: "fx-verdict", role: "status" }), sign = html("span", { class: "fx-sign" });
    const xAt = (step) => LEFT + (Math.log10(Math.max(step, 1)) / Math.log10(setup.steps[last])) * ACROSS;
    const yAt = (loss) => TOP + ((high - Math.log10(loss)) / (high - low)) * DOWN;
    function scrub(event) {
      const x = placeIn(chart, event)[0], gaps = setup.steps.map((step) => Math.abs(xAt(step) - x));
      go(gaps.indexOf(Math.min(...gaps)), "scrub");
      return true;
    }
    dragging(chart, { start: scrub, move: (_, event) => scrub(event) });
    function onKey(event) {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by && !event.target.matches("select, input")) go(store.state.snapshot + by);
      else if ((event.ctrlKey || event.metaKey) && event.key === "z") store.undo();
      else return event.stopPropagation(); // JupyterLab would keep a slider's arrows for itself
      event.preventDefault();
      event.stopPropagation();
    }
    const main = html("div", { class: "fx-main" }, image, chart);
    const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true", onkeydown: onKey,
      style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
    html("div", { class: "fx-bar" }, movie.play, html("label", {}, "step ", time),
      html("label", {}, "score at least ", lowest, least), html("label", {}, "overlay ", fault), sign), title, main);

    function frame() {
      const { shown, finder } = store.answer, parts = [tag("image", { href: setup.image, width: SIDE, height: SIDE,
        style: "image-rendering:pixelated" })];
      for (let index = shown - 1; index >= 0; index -= 1) {
        const [x1, y1, x2, y2, score, label] = setup.frames[store.state.snapshot][index];
        const color = theme.classes[label], isFound = finder.includes(index);
        parts.push(tag("rect", { x: x1 * scale, y: y1 * scale, width: (x2 - x1) * scale, height: (y2 - y1) * scale,
          fill: "none", stroke: color, "stroke-width": 2.5, "stroke-dasharray": isFound ? null : "3 3" }));
        if (isFound) {
          parts.push(tag("rect", { x: x1 * scale, y: y1 * scale, width: 26, height: 13, fill: color }),
            words(x1 * scale + 2, y1 * scale + 10, score.toFixed(2), { "font-size": 11, fill: theme.on[color] }));
        }
      }
      return parts.join("");
    }
    function curves() {
      const parts = [], small = { "font-size": 11, fill: theme.muted }, { answer, state } = store;
      for (let decade = low; decade <= high; decade += 1) {
        const y = yAt(10 ** decade);
        parts.push(tag("line", { x1: LEFT, x2: LEFT + ACROSS, y1: y, y2: y, stroke: theme.grid }),
          words(LEFT - 5, y + 4, 10 ** decade, { ...small, "text-anchor": "end" }));
      }
      for (const step of [1, 10, 100, 1000]) parts.push(words(xAt(step), TOP + DOWN + 15, step, { ...small, "text-anchor": "middle" }));
      parts.push(words(LEFT + ACROSS / 2, TOP + DOWN + 32, "step", { "text-anchor": "middle", fill: theme.ink }));
      const lines = [["training log", setup.log, theme.muted, 1.5, null],
        ["this scene", setup.steps.map((step, nth) => [step, setup.losses[nth]]), theme.ink, 2, null]];
      if (state.fault in setup.runs) {
        lines.push(["small run, sound", setup.runs.sound, theme.classes[0], 2, "5 3"],
          [state.fault, setup.runs[state.fault], theme.classes[1], 2, null]);
      }
      lines.forEach(([name, points, stroke, width, dash], row) => {
        const style = { fill: "none", stroke, "stroke-width": width, "stroke-dasharray": dash }, x = LEFT + ACROSS - 125;
        parts.push(tag("polyline", { points: points.map(([step, loss]) => `${round(xAt(step))},${round(yAt(loss))}`).join(" "), ...style }),
          tag("line", { x1: x, x2: x + 20, y1: 20 + 15 * row, y2: 20 + 15 * row, ...style }),
          words(x + 25, 24 + 15 * row, name, { "font-size": 11, fill: theme.ink }));
      });
      const x = xAt(answer.step);
      parts.push(tag("line", { x1: x, x2: x, y1: TOP, y2: TOP + DOWN, stroke: theme.ink }),
        tag("circle", { cx: x, cy: yAt(answer.loss), r: 5, fill: theme.ink }));
      return parts.join("");
    }
    function paint() {
      const { answer, state } = store;
      fill(image, frame());
      fill(chart, curves());
      set(image, { "aria-label": answer.text });
      set(chart, { "aria-label": "snapshot, as a cursor over the losses", "aria-valuenow": state.snapshot,
        "aria-valuetext": `step ${answer.step}, loss ${short(answer.loss)}` });
      title.textContent = answer.text;
      [time.value, lowest.value, fault.value] = [state.snapshot, state.lowest, state.fault];
      least.textContent = ` ${state.lowest.toFixed(2)}`;
      set(time, { "aria-valuetext": `step ${answer.step}` });
      paintSign();
    }
    function paintSign() {
      sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python differs" }[store.python] ?? "";
      set(root, { "data-python": store.python });
    }
    function resize(width) {
      main.style.flexDirection = width < 740 ? "column" : "row";
      for (const [svg, wide] of [[image, SIDE], [chart, WIDE]]) {
        const size = Math.min(wide, width - 18);
        set(svg, { width: size, height: (size * SIDE) / wide });
      }
    }
    return { root, paint, sign: paintSign, resize };
  },
});
export default filmFigure;
