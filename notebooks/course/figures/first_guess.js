// First guess: choose the level that learns the box, see the answer, play the training.

// The twin: the explorer's, and the sentence about the guess.
function makeGuess(setup) {
  const twin = makeTwin(setup), { steps } = setup, last = steps.length - 1;
  function winners(state) { // the level of least loss after each snapshot
    return twin.curves(state).map((at) => setup.levels[at.reduce((best, { loss },
      i) => (loss !== null && (best < 0 || loss < at[best].loss) ? i : best), NONE)]);
  }
  function explore(state) {
    const { guess, snapshot, selected: index, labels } = state, answer = twin.explore(state);
    const level = answer.selected[index], levels = winners(state).slice(0, snapshot + 1);
    const changes = levels.filter((one, i) => i && one !== levels[i - 1]).length;
    let says = `Which level will learn the ${setup.classes[labels[index]]}? Choose one of the pictures.`;
    if (guess && snapshot === last) {
      says = `${guess === level ? "Right" : `You chose P${guess}`}: after step ${steps[last]} the network selects P${level}. `
        + `The size heuristic names P${answer.heuristic[index]}. Press ▶ to see the training.`;
    } else if (guess) {
      says = `After step ${steps[snapshot]} the network selects P${level}; `
        + `it has changed its level ${changes === 1 ? "once" : `${changes} times`} so far.`;
    }
    return { ...answer, says };
  }
  return { ...twin, explore };
}

const firstGuess = figure({
  twin: makeGuess,
  build({ setup, theme, store, twin }) {
    const { steps, levels, padded: [rows, columns], size: [height, width] } = setup, last = steps.length - 1;
    const ui = { hover: null };
    let wide = 180, across = 600;
    const choose = (guess) => store.state.guess || store.change({ guess, snapshot: last });
    const cards = levels.map((level) => {
      const panel = draw("svg", { x: 7, y: 23, viewBox: `0 0 ${columns} ${rows}` }), around = draw("g"),
        marks = draw("g"), faded = draw("g", { opacity: 0.3 }), svg = draw("svg", { "aria-hidden": "true" });
      faded.append(draw("image", { href: setup.image, width, height, preserveAspectRatio: "none",
        style: "image-rendering:pixelated" }));
      panel.append(faded, marks);
      svg.append(around, panel);
      const card = button("", () => choose(level), { class: "fg-card", "data-level": level });
      card.append(svg);
      return { card, svg, panel, around, marks };
    });

    const time = slider(() => store.change({ snapshot: Number(time.value) }, "time"),
      { min: 0, max: last, "aria-label": "training snapshot" });
    const film = player(() => {
      const { snapshot } = store.state, next = Math.min(last, snapshot + 1);
      if (next !== snapshot) store.change({ snapshot: next }, "play");
      return next < last;
    });
    film.play.addEventListener("click", () => { // from the end, play begins at the first snapshot
      if (!film.playing() && store.state.snapshot === last) store.change({ snapshot: 0 }, "play");
    }, { capture: true });
    const again = button("guess again", () => {
      film.stop();
      store.change({ guess: 0, snapshot: last });
    });
    const says = html("p", { class: "fx-verdict", role: "status" }), sign = html("span", { class: "fx-sign" }),
      step = html("output"), curves = draw("svg", { role: "img" });
    const later = html("div", {}, html("div", { class: "fx-training" }, film.play, time, step, again), curves);
    const root = html("div", { class: "fx", "data-theme": theme.name, "data-lm-suppress-shortcuts": "true",
      onkeydown: (event) => event.stopPropagation(), // JupyterLab would keep a slider's arrows for itself
      style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") + ";max-width:836px" },
      html("div", { class: "fx-top" }, says, sign), html("div", { class: "fg-cards" },
        ...cards.map(({ card }) => card)));
    const tall = () => Math.min(1.3, rows / columns) * (wide - 14);
    function resize(given) {
      across = Math.min(given, 820) - 16;
      const count = across < 520 ? 2 : levels.length;
      wide = Math.floor((across - 6 * (count - 1)) / count);
      for (const { svg, panel } of cards) {
        set(svg, { width: wide, height: tall() + 74 });
        set(panel, { width: wide - 14, height: tall() });
      }
      set(curves, { width: across, height: 150, viewBox: `0 0 ${across} 150` });
      store.later();
    }
    function paint() {
      const { state, answer } = store, hidden = !state.guess;
      const v = { setup, theme, state, answer, ui, reveal: LAST_STEP, hidden, curves: twin.curves(state) };
      const worst = Math.max(...answer.levels.map(({ loss }) => loss ?? 0), 1e-9);
      answer.levels.forEach((level, nth) => {
        const { card, around, marks } = cards[nth];
        fill(marks, levelView(v, answer, nth, columns / (wide - 14)));
        fill(around, cardView(v, answer, nth, wide, tall(), worst));
        const told = hidden ? "choose this level" : `loss ${level.says}; ${level.mark}`;
        set(card, { "aria-label": `P${level.level}, stride ${level.stride}: ${told}`, "aria-disabled": !hidden || null,
          "aria-pressed": `${state.guess === level.level}` });
      });
      says.textContent = answer.says;
      time.value = state.snapshot;
      step.textContent = `step ${steps[state.snapshot]}`;
      fill(curves, curvesView(v, across, 150));
      set(curves, { "aria-label": `loss at each level after ${steps.length} snapshots` });
      if (hidden) later.remove();
      else if (!later.isConnected) root.append(later);
      paintSign();
    }
    function paintSign() {
      sign.textContent = { checked: "checked by Python ✓", other: "Python says otherwise" }[store.python] ?? "";
      set(root, { "data-python": store.python, "data-stamp": store.answer.stamp });
    }
    return { root, paint, resize, sign: paintSign };
  },
});
export default firstGuess;
