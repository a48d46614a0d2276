// One box and four assigners: which locations of each level are positive.

function makeAssigners(setup) {
  const SIDE = 2, RANGE = [1, 2], RADIUS = 1.5, TOPK = 9, MARGIN = 0.01, [height, width] = setup.size;
  const fsaf = makeTwin(setup), sum = (list) => list.reduce((a, b) => a + b, 0);
  const cells = setup.levels.map((level) => {
    const stride = 2 ** level, columns = Math.floor(width / stride), count = columns * Math.floor(height / stride);
    return Array.from({ length: count }, (_, index) => {
      const x = ((index % columns) + 0.5) * stride, y = (Math.floor(index / columns) + 0.5) * stride;
      const half = (SIDE / 2) * stride;
      return { stride, x, y, anchor: [x - half, y - half, x + half, y + half] };
    });
  });
  function iou(one, other) {
    const side = (low, high) => Math.max(Math.min(one[high], other[high]) - Math.max(one[low], other[low]), 0);
    const area = (box) => (box[2] - box[0]) * (box[3] - box[1]), shared = side(0, 2) * side(1, 3);
    return shared / (area(one) + area(other) - shared);
  }
  const where = (list, test) => list.map((_, index) => index).filter((index) => test(list[index], index));
  function explore({ box, label, stamp }) {
    const middle = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], last = cells.length - 1;
    const sides = ({ x, y }) => [x - box[0], y - box[1], box[2] - x, box[3] - y];
    const overlaps = cells.map((level) => level.map(({ anchor }) => iou(box, anchor)));
    const top = Math.max(...overlaps.flat());
    const byIou = overlaps.map((level) => where(level, (value) => value >= 0.5 || value === top));
    const byFcos = cells.map((level, nth) => where(level, (cell) => {
      const most = Math.max(...sides(cell)), { stride } = cell;
      return Math.max(Math.abs(cell.x - middle[0]), Math.abs(cell.y - middle[1])) < RADIUS * stride
        && Math.min(...sides(cell)) > 0 && (nth === 0 || most > RANGE[0] * stride)
        && (nth === last || most < RANGE[1] * stride);
    }));
    const nearest = cells.map((level) => {
      const away = level.map(({ x, y }) => (x - middle[0]) ** 2 + (y - middle[1]) ** 2);
      return where(level, () => true).sort((a, b) => away[a] - away[b] || a - b).slice(0, TOPK);
    });
    const values = nearest.flatMap((some, nth) => some.map((index) => overlaps[nth][index]));
    const mean = sum(values) / values.length;
    const threshold = mean + Math.sqrt(sum(values.map((v) => (v - mean) ** 2)) / (values.length - 1));
    const byAtss = nearest.map((some, nth) => [...some].sort((a, b) => a - b).filter((index) => (
      Math.min(...sides(cells[nth][index])) > MARGIN && overlaps[nth][index] >= threshold)));
    const { levels, selected: [selected] } = fsaf.explore({ boxes: [box], labels: [label], selected: 0, snapshot: 0,
      mode: "instance", switches: setup.switches, stamp });
    const byLoss = levels.map(({ level, codes }) => where([...codes], (code) => code === "2" && level === selected));
    const all = [byIou, byFcos, byAtss, byLoss], counts = all.map((one) => sum(one.map((level) => level.length)));
    const text = `Positive locations: ${setup.names.map((name, i) => `${name} ${counts[i]}`).join(", ")}.`;
    return { stamp, cells: all, threshold, losses: levels.map(({ loss }) => loss), selected, text };
  }
  return { answers: true, explore };
}

const assignersFigure = figure({
  twin: makeAssigners,
  build({ setup, theme, store }) {
    const IMAGE = 300, CELL = 96, GAP = 10, LEFT = 34, [height, width] = setup.size, scale = IMAGE / width;
    const WIDE = LEFT + setup.names.length * (CELL + GAP), TALL = 20 + setup.levels.length * (CELL + GAP);
    const stage = draw("svg", { viewBox: `0 0 ${IMAGE} ${IMAGE}`, role: "group", "aria-label": "the image with the box",
      style: "touch-action:none;flex:none" });
    const back = draw("g"), box = draw("rect", { fill: "transparent", "stroke-width": 2.5, role: "button", tabindex: 0,
      "aria-label": "the box: arrow keys move it", style: "cursor:move" });
    const corner = draw("rect", { width: 12, height: 12, role: "button", tabindex: 0, style: "cursor:nwse-resize",
      "aria-label": "the corner: arrow keys change the size of the box" });
    stage.append(back, box, corner);
    const table = draw("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, role: "img" });
    const title = html("p", { class: "fx-verdict", role: "status" }), note = html("p", { class: "fx-note" });
    const sign = html("span", { class: "fx-sign" });
    const objects = setup.objects.map(({ name, box: own, label }) => button(name, () => store.change({ box: own, label })));
    function put([x1, y1, x2, y2], by) { // at least 4 px wide and high, and its center stays on the image
      const [w, h] = [Math.max(4, x2 - x1), Math.max(4, y2 - y1)], keep = (at, side, end) => Math.min(end - side / 2 - 1, Math.max(1 - side / 2, at));
      const [x, y] = [keep(x1, w, width), keep(y1, h, height)];
      store.change({ box: [x, y, x + w, y + h].map(round) }, by);
    }
    let drags = 0;
    const drag = (sizes) => ({
      start: (event) => {
        drags += 1;
        (sizes ? corner : box).focus({ preventScroll: true });
        return { at: placeIn(stage, event), from: store.state.box };
      },
      move: ({ at, from }, event) => {
        const [dx, dy] = placeIn(stage, event).map((place, i) => (place - at[i]) / scale);
        put([from[0] + (sizes ? 0 : dx), from[1] + (sizes ? 0 : dy), from[2] + dx, from[3] + dy], `drag ${drags}`);
      },
      cancel: ({ from }) => store.change({ box: from }, `drag ${drags}`),
    });
    const drop = [dragging(box, drag(false)), dragging(corner, drag(true))];
    function onKey(event) {
      const far = event.shiftKey ? 10 : 1, by = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
      const [x1, y1, x2, y2] = store.state.box, sizes = event.target === corner;
      if ((event.target === box || sizes) && by) put([x1 + (sizes ? 0 : by[0]), y1 + (sizes ? 0 : by[1]), x2 + by[0], y2 + by[1]], "keys");
      else if (event.key === "Escape") drop.forEach(({ escape }) => escape(event));
      else if ((event.ctrlKey || event.metaKey) && event.key === "z") store.undo();
      else return event.stopPropagation();
      event.preventDefault();
      event.stopPropagation();
    }
    const main = html("div", { class: "fx-main" }, stage, table);
    const root = html("div", { class: "fx", "data-lm-suppress-shortcuts": "true", onkeydown: onKey,
      style: ["paper", "ink", "muted", "grid"].map((name) => `--${name}:${theme[name]}`).join(";") },
    html("div", { class: "fx-bar" }, ...objects, sign), title, main, note);
    const frame = ([x1, y1, x2, y2], by) => ({ x: x1 * by, y: y1 * by, width: (x2 - x1) * by, height: (y2 - y1) * by });

    function grids() {
      const small = CELL / width, parts = setup.names.map((name, i) => words(LEFT + i * (CELL + GAP), 13, name, { fill: theme.ink }));
      setup.levels.forEach((level, row) => {
        const y = 20 + row * (CELL + GAP), columns = Math.floor(width / 2 ** level), side = CELL / columns;
        parts.push(words(LEFT - 8, y + 14, `P${level}`, { "text-anchor": "end", fill: theme.ink }));
        setup.names.forEach((_, column) => {
          const x = LEFT + column * (CELL + GAP), lines = Array.from({ length: columns + 1 },
            (_, i) => `M${round(x + i * side)} ${y}v${CELL}M${x} ${round(y + i * side)}h${CELL}`);
          parts.push(tag("path", { d: lines.join(""), fill: "none", stroke: theme.grid, "stroke-width": 0.6 }));
          for (const index of store.answer.cells[column][row]) {
            parts.push(tag("rect", { x: x + (index % columns) * side, y: y + Math.floor(index / columns) * side, width: side,
              height: side, fill: theme.levels[level - 3] }));
          }
          const own = frame(store.state.box, small);
          parts.push(tag("rect", { ...own, x: own.x + x, y: own.y + y, fill: "none", stroke: theme.ink, "stroke-width": 1.2 }));
        });
      });
      return parts.join("");
    }
    function paint() {
      const { answer, state } = store, at = frame(state.box, scale);
      fill(back, tag("image", { href: setup.picture, width: IMAGE, height: IMAGE, style: "image-rendering:pixelated" }));
      set(box, { ...at, stroke: theme.ink });
      set(corner, { x: at.x + at.width - 6, y: at.y + at.height - 6, fill: theme.ink, stroke: theme.paper });
      fill(table, grids());
      set(table, { "aria-label": answer.text });
      title.textContent = answer.text;
      const losses = answer.losses.map((loss, i) => `P${setup.levels[i]} ${loss === null ? "none" : short(loss)}`);
      note.textContent = `ATSS threshold ${short(answer.threshold)}. FSAF's losses: ${losses.join(", ")}; it selects ${nameOf(answer.selected)}.`;
      paintSign();
    }
    function paintSign() {
      sign.textContent = setup.page ? "" : { checked: "checked by Python ✓", other: "Python differs" }[store.python] ?? "";
      set(root, { "data-python": store.python });
    }
    function resize(given) {
      main.style.flexDirection = given < 780 ? "column" : "row";
      for (const [svg, wide, tall] of [[stage, IMAGE, IMAGE], [table, WIDE, TALL]]) {
        const size = Math.min(wide, given - 18);
        set(svg, { width: size, height: (size * tall) / wide });
      }
    }
    return { root, paint, sign: paintSign, resize };
  },
});
export default assignersFigure;
