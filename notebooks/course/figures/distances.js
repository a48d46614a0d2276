
// Chapter 05: pull the four sides of a location's box; choose another location or level.
function makeDistances(setup) {
  const [a, b, c, d] = setup.star;
  function explore({ stamp, level, row, column, offsets: [l, t, r, bottom] }) {
    const unit = setup.unit * 2 ** level, x = (column + 0.5) * 2 ** level, y = (row + 0.5) * 2 ** level;
    const box = [x - unit * l, y - unit * t, x + unit * r, y + unit * bottom], [x1, y1, x2, y2] = box;
    const w = Math.max(0, Math.min(x2, c) - Math.max(x1, a)), h = Math.max(0, Math.min(y2, d) - Math.max(y1, b));
    const iou = (w * h) / ((x2 - x1) * (y2 - y1) + (c - a) * (d - b) - w * h);
    return { stamp, center: [x, y], box, target: [(x - a) / unit, (y - b) / unit, (c - x) / unit, (d - y) / unit],
      iou, loss: -Math.log(Math.max(iou, 1e-6)) };
  }
  return { answers: true, explore };
}

function buildDistances({ setup, theme, store }) {
  const [height, width] = setup.size, { margin, most } = setup, state = () => store.state, sides = ["l", "t", "r", "b"];
  let drags = 0;
  const counts = () => [height, width].map((side) => side / 2 ** state().level);
  const clean = (value) => Math.round(1000 * limit(value, 0, most)) / 1000; // the ReLU: no distance is negative
  const pull = (nth, value, by) => store.change({ offsets: state().offsets.map((old, i) => (i === nth ? clean(value) : old)) }, by);
  function place(x, y, by) {
    const [rows, columns] = counts(), stride = 2 ** state().level;
    store.change({ row: limit(Math.floor(y / stride), 0, rows - 1), column: limit(Math.floor(x / stride), 0, columns - 1) }, by);
  }
  function choose(level) { // the location of the other level at the same place
    const [x, y] = store.answer.center, stride = 2 ** level;
    store.change({ level, row: Math.floor(y / stride), column: Math.floor(x / stride) });
  }
  function move(dx, dy) {
    const stride = 2 ** state().level;
    place((state().column + dx) * stride, (state().row + dy) * stride, "keys");
  }
  const inputs = sides.map((name, nth) => {
    const input = slider(() => pull(nth, Number(input.value), name), { min: 0, max: most, step: 0.005, "aria-label": name });
    return { input, row: html("label", {}, name, input) };
  });
  const levels = setup.levels.map((level) => button(`P${level}`, () => choose(level)));
  const copy = button("set the targets", () => store.change({ offsets: store.answer.target.map(clean) }),
    { title: "the targets, with 0 in place of negative numbers" });
  const shown = board({ setup, theme, store, move, most: 430, controls: [...levels, ...inputs.map(({ row }) => row), copy],
    view: [-margin, -margin, width + 2 * margin, height + 2 * margin],
    label: "the scene; drag a side of the colored box or the dot; arrow keys move to another location" });
  dragging(shown.stage, {
    start(event) { // the nearest side within 6 pixels, or else the location
      shown.stage.focus({ preventScroll: true });
      const [x, y] = placeIn(shown.stage, event), { box: [x1, y1, x2, y2] } = store.answer;
      const inX = x > x1 - 6 && x < x2 + 6, inY = y > y1 - 6 && y < y2 + 6;
      const far = [inY ? Math.abs(x - x1) : 99, inX ? Math.abs(y - y1) : 99, inY ? Math.abs(x - x2) : 99, inX ? Math.abs(y - y2) : 99];
      const nearest = far.indexOf(Math.min(...far)), what = { nth: far[nearest] < 6 ? nearest : -1, by: `drag ${++drags}` };
      if (what.nth < 0) place(x, y, what.by);
      return what;
    },
    move({ nth, by }, event) {
      const at = placeIn(shown.stage, event), unit = setup.unit * 2 ** state().level, { center } = store.answer;
      if (nth < 0) place(...at, by);
      else pull(nth, ((nth < 2 ? -1 : 1) * (at[nth % 2] - center[nth % 2])) / unit, by);
    },
    end: () => store.forget(),
  });

  function paint() {
    const { level, row, column, offsets } = state(), { center: [x, y], box, target, iou, loss } = store.answer;
    const [x1, y1, x2, y2] = box, unit = setup.unit * 2 ** level, color = theme.levels[level - setup.levels[0]];
    const rays = [[x1, y], [x, y1], [x2, y], [x, y2]].map(([ex, ey]) => `M${x} ${y}L${ex} ${ey}`).join("");
    fill(shown.marks, frame(setup.star, { stroke: "#000000", "stroke-width": 2 }) + frame(setup.star, { stroke: "#ffffff", "stroke-width": 1.2 })
      + tag("path", { d: rays, stroke: "#ffffff", "stroke-width": 0.9 }) + frame(box, { stroke: "#ffffff", "stroke-width": 2 })
      + frame(box, { stroke: color, "stroke-width": 1.4 }) + tag("circle", { cx: x, cy: y, r: 2.4, fill: color, stroke: "#ffffff", "stroke-width": 0.8 }));
    levels.forEach((one) => set(one, { "aria-pressed": `${one.textContent === `P${level}`}` }));
    inputs.forEach(({ input }, i) => { input.value = offsets[i]; });
    shown.fillTable([["side", "output", `× ${unit} px`, "target", "too long by"], ...sides.map((name, i) => [name, short(offsets[i]),
      `${(offsets[i] * unit).toFixed(1)} px`, short(target[i]), `${((offsets[i] - target[i]) * unit).toFixed(1)} px`])]);
    const outside = target.some((one) => one < 0) ? " The location lies outside the star: a negative target cannot be reached." : "";
    shown.tell(`P${level}, row ${row}, column ${column}, center (${x}, ${y}): IoU ${short(iou)}, loss −ln IoU = ${short(loss)}.${outside}`);
    shown.sign();
  }
  return { ...shown, paint };
}

const distanceFigure = figure({ twin: makeDistances, build: buildDistances });
export default distanceFigure;
