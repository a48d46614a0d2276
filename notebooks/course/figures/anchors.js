
// Chapter 04: drag the box or a corner; change the thresholds and the anchors' scale.
function makeAnchors(setup) {
  const [height, width] = setup.size, made = {};
  const even = (x) => { // as torch rounds: halves to the even number
    const low = Math.floor(x);
    return x - low === 0.5 ? low + (low % 2) : Math.round(x);
  };
  function anchors(scale) {
    return (made[scale] ??= setup.strides.map((stride) => {
      const shapes = [0.5, 1, 2].flatMap((ratio) => [0, 1, 2].map((octave) => {
        const side = Math.floor(scale * stride * 2 ** (octave / 3));
        return [even(side / Math.sqrt(ratio) / 2), even((side * Math.sqrt(ratio)) / 2)];
      })), all = [];
      for (let y = 0; y + stride <= height; y += stride) {
        for (let x = 0; x + stride <= width; x += stride) {
          for (const [w, h] of shapes) all.push([x - w, y - h, x + w, y + h]);
        }
      }
      return all;
    }));
  }
  function explore({ stamp, box: [x1, y1, x2, y2], scale, positive, negative }) {
    const levels = anchors(scale).map((all) => {
      const one = { positive: [], between: 0, best: -1, anchor: null };
      all.forEach((anchor, i) => {
        const [a, b, c, d] = anchor, w = Math.max(0, Math.min(c, x2) - Math.max(a, x1)),
          h = Math.max(0, Math.min(d, y2) - Math.max(b, y1));
        const iou = (w * h) / ((c - a) * (d - b) + (x2 - x1) * (y2 - y1) - w * h);
        if (iou >= positive) one.positive.push(i);
        else if (iou >= negative) one.between += 1;
        if (iou > one.best) Object.assign(one, { best: iou, anchor });
      });
      return one;
    });
    const [level, size] = setup.heuristic, exact = level + Math.log2(Math.sqrt((x2 - x1) * (y2 - y1)) / size);
    return { stamp, levels, by_size: limit(Math.floor(exact), 3, 2 + setup.strides.length) };
  }
  return { answers: true, explore, anchors };
}

function buildAnchors({ setup, theme, store, twin }) {
  const [height, width] = setup.size, { margin } = setup, state = () => store.state, least = 4;
  let drags = 0;
  function moved([x1, y1, x2, y2], dx, dy, corner) { // the lower right corner, or the whole box
    if (corner) return [x1, y1, limit(x2 + dx, x1 + least, width + margin), limit(y2 + dy, y1 + least, height + margin)];
    const [x, y] = [limit(dx, -x1 - margin, width + margin - x2), limit(dy, -y1 - margin, height + margin - y2)];
    return [x1 + x, y1 + y, x2 + x, y2 + y];
  }
  const put = (box, by) => store.change({ box: box.map(round) }, by);
  function threshold(name, value) { // the negative threshold stays below the positive one
    const both = { positive: state().positive, negative: state().negative, [name]: value };
    if (name === "positive") both.negative = Math.min(both.negative, value);
    else both.positive = Math.max(both.positive, value);
    store.change(both, name);
  }
  const inputs = Object.entries({ positive: "positive from IoU", negative: "negative below" }).map(([name, label]) => {
    const input = slider(() => threshold(name, Number(input.value)), { min: 0.05, max: 0.95, step: 0.05, "aria-label": label });
    const value = html("output");
    return { name, input, value, row: html("label", {}, label, input, value) };
  });
  const scales = [1, 2, 4].map((scale) => button(`a = ${scale}`, () => store.change({ scale }),
    { title: "size of the smallest anchor, in strides" }));
  const shown = board({ setup, theme, store, controls: [...inputs.map(({ row }) => row), ...scales],
    move: (dx, dy, event) => put(moved(state().box, dx, dy, event.altKey || event.ctrlKey), "keys"),
    view: [-margin, -margin, width + 2 * margin, height + 2 * margin],
    label: "the scene and a box; arrow keys move it, with Alt they resize it" });
  dragging(shown.stage, {
    start(event) {
      shown.stage.focus({ preventScroll: true });
      const at = placeIn(shown.stage, event), { box } = state();
      const corner = Math.hypot(at[0] - box[2], at[1] - box[3]) < 8;
      return { at, box, corner, by: `drag ${++drags}` };
    },
    move({ at, box, corner, by }, event) {
      const [dx, dy] = placeIn(shown.stage, event).map((value, axis) => Math.round(4 * (value - at[axis])) / 4);
      put(moved(box, dx, dy, corner), by);
    },
    end: () => store.forget(),
  });

  function paint() {
    const { box, scale } = state(), { levels, by_size } = store.answer, all = twin.anchors(scale);
    const [x1, y1, x2, y2] = box, total = levels.reduce((sum, { positive }) => sum + positive.length, 0);
    const best = levels.reduce((most, one, i) => (one.best > levels[most].best ? i : most), 0);
    fill(shown.marks, levels.map(({ positive }, i) => positive.map((nth) => frame(all[i][nth],
      { stroke: theme.levels[i], "stroke-width": 0.9 })).join("")).join("")
      + frame(levels[best].anchor, { stroke: theme.levels[best], "stroke-width": 1, "stroke-dasharray": "3 2" })
      + frame(box, { stroke: "#000000", "stroke-width": 2.2 }) + frame(box, { stroke: "#ffffff", "stroke-width": 1.3 })
      + tag("rect", { x: x2 - 2.5, y: y2 - 2.5, width: 5, height: 5, fill: "#ffffff", stroke: "#000000", "stroke-width": 0.6 }));
    for (const { name, input, value } of inputs) {
      input.value = state()[name];
      value.textContent = state()[name].toFixed(2);
    }
    scales.forEach((one, i) => set(one, { "aria-pressed": `${2 ** i === scale}` }));
    const sides = ({ anchor: [a, b, c, d] }) => `${c - a} × ${d - b}`;
    shown.fillTable([["level", "positive", "left out", "best IoU", "its anchor"], ...levels.map((one, i) => [
      `P${3 + i}`, `${one.positive.length}`, `${one.between}`, one.best.toFixed(2), sides(one)])], by_size - 3);
    shown.tell(`${round(x2 - x1)} × ${round(y2 - y1)} px, sqrt(wh) = ${Math.sqrt((x2 - x1) * (y2 - y1)).toFixed(1)} px: ${total
      ? `${total} positive anchors` : "no positive anchor"}; the size heuristic names P${by_size} (framed row).`);
    shown.sign();
  }
  return { ...shown, paint };
}

const anchorFigure = figure({ twin: makeAnchors, build: buildAnchors });
export default anchorFigure;
