
// Chapter 02: point at a location of C2, ..., C5 and walk back to the pixels that can change it.
function makeReceptiveField(setup) {
  const [height, width] = setup.size;
  function explore({ stamp, level, row, column, back }) {
    const walk = [], layers = [...setup.layers.slice(0, setup.ends[level]).reverse(), ["pixels", 1, 1, 0]];
    let rows = [row, row], columns = [column, column], stride = 2 ** level;
    for (const [, kernel, step, padding] of layers) {
      const box = [columns[0], rows[0], columns[1] + 1, rows[1] + 1].map((edge) => edge * stride);
      walk.push({ count: rows[1] - rows[0] + 1, stride, side: box[3] - box[1], box });
      const grow = ([a, b]) => [a * step - padding, b * step + kernel - 1 - padding];
      [rows, columns, stride] = [grow(rows), grow(columns), stride / step];
    }
    const [x1, y1, x2, y2] = walk[back].box;
    const inside = (Math.min(x2, width) - Math.max(x1, 0)) * (Math.min(y2, height) - Math.max(y1, 0));
    return { stamp, walk, inside: inside / ((x2 - x1) * (y2 - y1)) };
  }
  return { answers: true, explore };
}

function buildReceptiveField({ setup, theme, store }) {
  const [height, width] = setup.size, { margin } = setup, state = () => store.state;
  const counts = () => [height, width].map((side) => side / 2 ** state().level);
  const last = () => setup.ends[state().level];
  function point(event) {
    const [x, y] = placeIn(shown.stage, event), [rows, columns] = counts(), stride = 2 ** state().level;
    store.change({ row: limit(Math.floor(y / stride), 0, rows - 1),
      column: limit(Math.floor(x / stride), 0, columns - 1) }, "point");
  }
  function move(dx, dy) {
    const { row, column } = state(), [rows, columns] = counts();
    store.change({ row: limit(row + dy, 0, rows - 1), column: limit(column + dx, 0, columns - 1) }, "keys");
  }
  function choose(level) { // the location of the other map that holds the same pixel
    const half = 2 ** (state().level - 1), at = (index) => Math.floor((index * 2 * half + half) / 2 ** level);
    const all = state().back === last(), back = all ? setup.ends[level] : Math.min(state().back, setup.ends[level]);
    store.change({ level, row: at(state().row), column: at(state().column), back });
  }
  const names = (level) => [...setup.layers.slice(0, setup.ends[level]).reverse().map(([name]) => name)];
  const levels = Object.keys(setup.ends).map((level) => button(`C${level}`, () => choose(Number(level))));
  const film = player(() => {
    const { back } = state();
    store.change({ back: back < last() ? back + 1 : 0 }, "play");
    return back + 1 < last();
  }, { next: "one layer back", all: "walk back, layer by layer" });
  const input = slider(() => { film.stop(); store.change({ back: Number(input.value) }, "back"); },
    { min: 0, "aria-label": "layers walked back" }), value = html("output");
  const shown = board({ setup, theme, store, move, controls: [...levels, film.play,
    html("label", {}, "layers back", input, value)],
  view: [-margin, -margin, width + 2 * margin, height + 2 * margin],
  label: "the scene; point at a location, or move with the arrow keys" });
  dragging(shown.stage, { start: (event) => { shown.stage.focus({ preventScroll: true }); point(event); return true; },
    move: (_, event) => point(event), end: () => store.forget() });

  function paint() {
    const { level, row, column, back } = state(), { walk, inside } = store.answer, stride = 2 ** level;
    const [x1, y1, x2, y2] = walk[back].box, steps = names(level);
    const lines = [...Array(width / stride - 1)].map((_, i) => `M${(i + 1) * stride} 0v${height}M0 ${(i + 1) * stride}h${width}`);
    fill(shown.marks, tag("path", { d: lines.join(""), stroke: "#ffffff", "stroke-width": 0.3, opacity: 0.6 })
      + walk.slice(0, back + 1).map(({ box }, i) => frame(box, { stroke: "#ffffff", "stroke-width": 1.6 })
        + frame(box, { stroke: i === back ? theme.classes[1] : theme.classes[0], "stroke-width": i === back ? 1.2 : 0.7 })).join("")
      + frame(walk[0].box, { fill: theme.classes[1], "fill-opacity": 0.5 }));
    levels.forEach((one) => set(one, { "aria-pressed": `${one.textContent === `C${level}`}` }));
    set(input, { max: last() });
    input.value = back;
    value.textContent = `${back} of ${last()}`;
    shown.fillTable([["map", "window", "stride", "side"], ...walk.map(({ count, stride: apart, side }, i) => [
      i === walk.length - 1 ? "pixels" : i ? steps[i] : `C${level}`, `${count} × ${count}`, `${apart} px`, `${side} px`])], back);
    const covers = `x ${x1} to ${x2}, y ${y1} to ${y2}`, padding = Math.round(100 * (1 - inside));
    shown.tell(back === last()
      ? `Row ${row}, column ${column} of C${level} has a receptive field of ${y2 - y1} × ${x2 - x1} pixels (${covers}); ${padding} % of it is padding.`
      : `${back} layers back, row ${row}, column ${column} of C${level} reads ${walk[back].count} × ${walk[back].count} locations (${covers}).`);
    shown.sign();
  }
  return { ...shown, paint };
}

const receptiveField = figure({ twin: makeReceptiveField, build: buildReceptiveField });
export default receptiveField;
