// What every figure needs: elements, one state with undo, Python's check, themes, drags, play, links.
// A figure is a pure function state → answer, views that turn an answer into SVG text, and a front
// end that puts them on the page. Without a kernel the function answers; with one, Python checks it.

const short = (value) => value.toFixed(3);
// no box needs to be known better than to a hundredth of a pixel
const round = (value) => Math.round(100 * value) / 100;
const escapeText = (text) => `${text}`.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

// One SVG element as text. Attributes that are null, undefined or false are left out.
function tag(name, attributes = {}, ...inside) {
  const given = Object.entries(attributes).filter(([, value]) => value !== null && value !== undefined
    && value !== false);
  const head = given.map(([key,
    value]) => ` ${key}="${escapeText(typeof value === "number" ? Math.round(value * 100) / 100 : value)}"`);
  return `<${name}${head.join("")}>${inside.flat().filter(Boolean).join("")}</${name}>`;
}
const words = (x, y, text, attributes = {}) => tag("text", { x, y, "font-size": 12, ...attributes },
  escapeText(text));

const maker = (space) => (name, attributes = {}, ...children) => {
  const element = set(document.createElementNS(space, name), attributes);
  element.append(...children);
  return element;
};
const html = maker("http://www.w3.org/1999/xhtml"), draw = maker("http://www.w3.org/2000/svg");
function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== `${value}`) element.setAttribute(name, value);
  }
  return element;
}
// Replace what an element holds, if that has changed. `text` is made by `tag`.
function fill(element, text) {
  if (element.filled !== text) element.innerHTML = element.filled = text;
}

const button = (name, onclick, more = {}) => html("button", { type: "button", onclick, ...more }, name);
const choice = (options, onchange, more = {}) => (
  html("select", { onchange, ...more }, ...options.map(([value, name]) => html("option", { value }, name))));
const slider = (oninput, more) => html("input", { type: "range", oninput, ...more });

function isDark() {
  const light = document.body.dataset.jpThemeLight; // JupyterLab and Notebook 7 say it here
  return light ? light === "false" : matchMedia("(prefers-color-scheme: dark)").matches;
}
const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// A pointer's place in the units of an <svg> with a viewBox, also under CSS zoom.
function placeIn(svg, { clientX, clientY }) {
  const { left, top, width, height } = svg.getBoundingClientRect(),
    { x, y, width: w, height: h } = svg.viewBox.baseVal;
  return [x + ((clientX - left) / width) * w, y + ((clientY - top) / height) * h];
}

// Drag on `surface`. `start(event)` returns what is dragged, or null; `move(what, event)`; Escape or
// a lost pointer calls `cancel(what)`.
function dragging(surface, { start, move, end = () => {}, cancel = () => {} }) {
  let what = null;
  const stop = (how) => (event) => {
    if (what === null) return;
    const given = what;
    what = null;
    how(given, event);
  };
  set(surface, {
    onpointerdown: (event) => {
      if (event.button || (what = start(event)) === null) return;
      surface.setPointerCapture(event.pointerId);
      event.preventDefault();
      event.stopPropagation();
    },
    onpointermove: (event) => what !== null && move(what, event),
    onpointerup: stop(end),
    onpointercancel: stop(cancel),
  });
  return { escape: stop(cancel), active: () => what !== null };
}

// ▶ calls `advance` until it returns false. Where motion is unwelcome, each click is one step.
function player(advance, { next = "next snapshot", all = "play the training" } = {}) {
  const play = button("▶", () => (isStill() ? advance() : timer ? stop() : start()), { class: "fx-play" });
  let timer = 0;
  const label = () => {
    play.textContent = timer ? "❚❚" : "▶";
    set(play, { "aria-label": timer ? "stop" : isStill() ? next : all,
      "aria-pressed": `${timer !== 0}` });
  };
  const stop = () => { clearInterval(timer); timer = 0; label(); };
  const start = () => { timer = setInterval(() => advance() || stop(), 600); advance(); label(); };
  label();
  return { play, stop, playing: () => timer !== 0 };
}

// The state, its history, and Python beside the twin. `answerOf(state)` is null without a twin.
function makeStore(model, answerOf, paint, sign) {
  const me = Math.random().toString(36).slice(2, 8), past = [], future = [];
  let state = model.get("state"), answer = model.get("answer"), gesture = null, count = 0, frame = 0;
  let waiting = null, sent = 0, timer = 0, python = "none"; // none, waiting, late, checked, other
  const own = () => answerOf(state) ?? (model.get("answer").stamp ? model.get("answer") : answer);

  function later() { // at most one answer and one picture a frame
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      answer = own();
      paint();
    });
  }
  function put(next) {
    state = { ...next, stamp: `${me} ${++count}` };
    later();
    send();
  }
  // `by` names a gesture: changes of one gesture are undone together.
  function change(patch, by = null) {
    if (by === null || by !== gesture) {
      past.push(state);
      future.length = 0;
    }
    gesture = by;
    put({ ...state, ...patch });
  }
  function travel(from, to) {
    gesture = null;
    if (!from.length) return;
    to.push(state);
    put(from.pop());
  }

  function send() { // one question is in flight at a time, and the newest follows it
    if (waiting || (model.get("answer").stamp === state.stamp)) return;
    waiting = state.stamp;
    sent = performance.now();
    python = "waiting";
    model.set("state", state);
    model.save_changes();
    clearTimeout(timer);
    timer = setTimeout(() => {
      python = "late";
      sign();
      timer = setTimeout(() => { waiting = null; }, 4000); // the next change asks again
    }, 1000);
  }
  function onAnswer() {
    clearTimeout(timer);
    onState();
    if (waiting) performance.measure("fsaf-python", { start: sent });
    waiting = null;
    const theirs = model.get("answer");
    if (theirs.stamp === state.stamp) python = agree(answerOf(state) ?? theirs, theirs) ? "checked" : "other";
    if (answerOf(state)) sign(); // the answer is on the screen, or will be in this frame
    else later();
    send(); // what has changed meanwhile
  }
  function onState() { // a state of Python's, or of another view; the model may echo an older one of ours
    if (model.get("state").stamp.startsWith(me)) return;
    state = model.get("state");
    later();
  }
  const heard = { "change:state": onState, "change:answer": onAnswer };
  for (const [event, handler] of Object.entries(heard)) model.on(event, handler);
  answer = own();
  if (model.get("answer").stamp === state.stamp) python = agree(answer, model.get("answer")) ? "checked" : "other";
  return {
    change, later,
    get state() { return state; },
    get answer() { return answer; },
    get python() { return python; },
    get isCurrent() { return answer.stamp === state.stamp; },
    undo: () => travel(past, future),
    redo: () => travel(future, past),
    forget: () => { gesture = null; },
    close: () => { for (const [event, handler] of Object.entries(heard)) model.off(event, handler); },
  };
}

// Whether all that the twin answers is in Python's answer: words without their numbers are equal, numbers nearly so.
function agree(one, other) {
  const kind = Array.isArray(one) ? "list" : one === null ? "null" : typeof one;
  if (kind === "number") return typeof other === "number" && Math.abs(one - other) <= 2e-4 + 1e-5 * Math.abs(one);
  if (kind === "string") {
    const [a, b] = [one, other].map((text) => `${text}`.split(/(-?\d+\.\d+)/));
    return a.length === b.length && a.every((part, i) => part === b[i] || (i % 2 && Math.abs(part - b[i]) < 0.0021));
  }
  if (kind === "list" || kind === "object") {
    return typeof other === "object" && other !== null
      && Object.keys(one).every((key) => key in other && agree(one[key], other[key]));
  }
  return one === other;
}

// A figure for anywidget. `build({ model, el, setup, theme, store })` makes the elements and returns
// `root`, `paint()`, `sign()` (what Python says to the answer) and `resize(width)`.
function figure({ twin, build }) {
  function render({ model, el }) {
    let setup, made, parts, store, theme;
    const width = () => Math.floor(el.getBoundingClientRect().width || 900);
    function open() { // at first, for another image, and for another theme
      const same = setup === model.get("setup");
      setup = model.get("setup");
      theme = setup.themes[isDark() ? "dark" : "light"];
      if (!same) {
        made = twin(setup);
        store?.close();
        store = makeStore(model, (state) => (made.answers ? made.explore(state) : null), () => parts.paint(),
          () => parts.sign());
      }
      parts = build({ model, setup, theme, store, twin: made });
      el.replaceChildren(parts.root);
      parts.resize(width());
      parts.paint();
    }
    const onTheme = () => theme.name !== (isDark() ? "dark" : "light") && open();
    const themes = new MutationObserver(onTheme), dark = matchMedia("(prefers-color-scheme: dark)");
    themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light"] });
    dark.addEventListener("change", onTheme);
    let last = 0;
    const sizes = new ResizeObserver(() => {
      if (width() !== last) parts.resize((last = width()));
    });
    model.on("change:setup", open);
    open();
    sizes.observe(el);
    return () => {
      themes.disconnect();
      sizes.disconnect();
      dark.removeEventListener("change", onTheme);
      model.off("change:setup", open);
      store.close();
    };
  }
  return { render };
}

// A page without Python: the twin answers in its place, and a link holds the state.
function showPage(shown, makeTwin) {
  const { setup, state } = JSON.parse(document.getElementById("fsaf-page").textContent), twin = makeTwin(setup),
    heard = {};
  const values = { setup, state: { ...state, ...readLink() }, answer: {} };
  const model = {
    get: (name) => values[name],
    set: (name, value) => { values[name] = value; },
    save_changes: () => setTimeout(() => {
      values.answer = twin.explore(values.state);
      heard["change:answer"]?.();
    }),
    on: (event, listener) => { heard[event] = listener; },
    off() {},
  };
  globalThis.fsafFigure = { model, twin, agree }; // for tests
  shown.render({ model, el: document.getElementById("fsaf-figure") });
}
const linkTo = (state) => `#${encodeURIComponent(JSON.stringify(state))}`;
function readLink() {
  try {
    return JSON.parse(decodeURIComponent(location.hash.slice(1)));
  } catch {
    return {}; // no state in the link, or none that can be read
  }
}
