
// Chapter 07: the focal loss against p, for any gamma and alpha.
function makeFocal(setup) {
  const positive = (p, { gamma, alpha }) => -alpha * (1 - p) ** gamma * Math.log(p);
  const negative = (p, { gamma, alpha }) => -(1 - alpha) * p ** gamma * Math.log(1 - p);
  const explore = (state) => ({
    stamp: state.stamp,
    positive: setup.points.map((p) => positive(p, state)), negative: setup.points.map((p) => negative(p, state)),
    at: [positive(state.p, state), negative(state.p, state)], entropy: [-Math.log(state.p), -Math.log(1 - state.p)],
    sums: [setup.rare[0] * positive(setup.rare[1], state), setup.easy[0] * negative(setup.easy[1], state)],
  });
  return { explore, answers: true };
}

function buildFocal({ setup, theme, store }) {
  const left = 40, top = 12, high = 260, { points, most, easy, rare } = setup;
  let across = 400, drags = 0;
  const x = (p) => left + p * across, y = (loss) => top + high - (Math.min(loss, most) / most) * high;
  const sliders = { gamma: ["γ", 0, 5, 0.1], alpha: ["α", 0.05, 0.95, 0.05], p: ["p", 0.02, 0.98, 0.01] };
  const inputs = Object.entries(sliders).map(([name, [label, min, max, step]]) => {
    const input = slider(() => store.change({ [name]: Number(input.value) }, name), { min, max, step, "aria-label": label }),
      value = html("output");
    return { name, input, value, row: html("label", {}, label, input, value) };
  });
  const chart = draw("svg", { role: "img", style: "cursor:pointer;touch-action:pan-y" });
  const put = (what, event) => {
    const p = Math.round(100 * ((placeIn(chart, event)[0] - left) / across)) / 100;
    store.change({ p: Math.min(0.98, Math.max(0.02, p)) }, what);
    return what;
  };
  dragging(chart, { start: (event) => put(`drag ${++drags}`, event), move: put, end: () => store.forget() });
  const sign = html("span", { class: "fx-sign" }), sums = html("p", { style: "max-width: 340px" }),
    bars = draw("svg", { role: "img", width: 330, height: 74, viewBox: "0 0 330 74" }), told = html("p", { role: "status", style: "max-width: 340px; min-height: 5.6em" });
  const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true",
    style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
  html("div", { class: "fx-row" }, ...inputs.map(({ row }) => row), button("↶", store.undo, { "aria-label": "undo" }),
    button("cross entropy", () => store.change({ gamma: 0, alpha: 0.5 })),
    button("paper", () => store.change({ gamma: 2, alpha: 0.25 })), sign),
  html("div", { class: "fo-main" }, chart, html("div", {}, told, sums, bars)));

  const path = (values) => points.map((p, i) => [p, values[i]]).filter(([, loss]) => loss <= most)
    .map(([p, loss]) => `${x(p).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  function paint() {
    const { state, answer } = store, [one, zero] = theme.classes, small = { "font-size": 11, fill: theme.muted };
    for (const { name, input, value } of inputs) {
      input.value = state[name];
      value.textContent = state[name].toFixed(name === "gamma" ? 1 : 2);
    }
    const parts = [0, 1, 2, 3].map((loss) => tag("path", { d: `M${left} ${y(loss)}h${across}`, stroke: theme.grid })
      + words(left - 8, y(loss) + 4, loss, { ...small, "text-anchor": "end" }));
    for (const p of [0, 0.2, 0.4, 0.6, 0.8, 1]) parts.push(words(x(p), top + high + 16, p, { ...small, "text-anchor": "middle" }));
    parts.push(words(x(0.5), top + high + 32, "probability p", { ...small, "text-anchor": "middle" }));
    const lines = [["cross entropy, target 1", points.map((p) => -Math.log(p)), theme.muted, "4 3"],
      ["focal loss, target 1", answer.positive, one, null], ["focal loss, target 0", answer.negative, zero, "8 2"]];
    lines.forEach(([name, values, color, dash], i) => {
      const look = { stroke: color, fill: "none", "stroke-width": 2.5, "stroke-dasharray": dash };
      parts.push(tag("polyline", { ...look, points: path(values) }),
        tag("path", { ...look, d: `M${x(0.3)} ${top + 10 + 17 * i}h24` }),
        words(x(0.3) + 30, top + 14 + 17 * i, name, { fill: theme.ink }));
    });
    parts.push(tag("path", { d: `M${x(state.p)} ${top}v${high}`, stroke: theme.ink, "stroke-dasharray": "2 2" }));
    [[answer.at[0], one], [answer.at[1], zero]].forEach(([loss, fill]) => parts.push(tag("circle",
      { cx: x(state.p), cy: y(loss), r: 5, fill, stroke: theme.paper, "stroke-width": 1.5 })));
    fill(chart, parts.join(""));
    const [pos, neg] = answer.at, ratio = ([a, b]) => (a > 0 ? (b / a).toFixed(1) : "∞");
    told.textContent = `At p = ${state.p.toFixed(2)}: target 1 has the loss ${pos.toFixed(4)}, cross entropy `
      + `${answer.entropy[0].toFixed(3)} is ${ratio([pos, answer.entropy[0]])} times as large. Target 0 has ${neg.toFixed(4)}, `
      + `cross entropy ${answer.entropy[1].toFixed(3)} is ${ratio([neg, answer.entropy[1]])} times as large.`;
    set(chart, { "aria-label": told.textContent });
    const whole = answer.sums[0] + answer.sums[1], share = answer.sums.map((sum) => sum / whole);
    sums.textContent = "Share of the total loss of a typical image:";
    fill(bars, [[`${rare[0]} positive entries, p = ${rare[1]}`, one], [`${easy[0]} background entries, p = ${easy[1]}`, zero]]
      .map(([name, color], i) => words(0, 14 + 36 * i, `${name}: ${(100 * share[i]).toFixed(0)} % (${answer.sums[i].toFixed(2)})`, { fill: theme.ink })
        + tag("rect", { x: 0, y: 19 + 36 * i, width: 328 * share[i], height: 13, fill: color })).join(""));
    set(bars, { "aria-label": `positive entries ${(100 * share[0]).toFixed(0)} %, background ${(100 * share[1]).toFixed(0)} %` });
    paintSign();
  }
  function paintSign() {
    sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python says otherwise" }[store.python] ?? "";
    set(root, { "data-python": store.python });
  }
  function resize(given) {
    const width = Math.min(given - 16, 560);
    across = width - left - 14;
    set(chart, { width, height: top + high + 40, viewBox: `0 0 ${width} ${top + high + 40}` });
    store.later();
  }
  return { root, paint, resize, sign: paintSign };
}

const focalFigure = figure({ twin: makeFocal, build: buildFocal });
export default focalFigure;
