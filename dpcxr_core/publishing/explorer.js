// The explorer: AUROC against epsilon, groups and gaps, looked up in a payload and drawn.
//
// Two lives, one module. In JupyterLab anywidget calls `render` and ipywidgets controls move the
// model's indices. In a rendered page `mountAll` adds native controls to every explorer it finds.
// Every number is computed in Python (explorer.py); nothing is estimated here.

const SVG = "http://www.w3.org/2000/svg";
const INDICES = ["evaluation_index", "init_index", "gap_index", "epsilon_index"];

const STYLE = `
.dpcxr-explorer { max-width: 46rem; font-size: 0.95rem; line-height: 1.45; color: inherit; }
.jp-OutputArea .dpcxr-explorer { color: var(--jp-ui-font-color1); padding: 0.25rem 0.5rem; }
.dpcxr-explorer .dx-controls { display: grid; gap: 0.5rem 1rem;
  grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); margin-bottom: 0.75rem; }
.dpcxr-explorer label { display: flex; flex-direction: column; font-size: 0.85rem; margin: 0; }
.dpcxr-explorer select, .dpcxr-explorer input { font: inherit; width: 100%; margin: 0.15rem 0 0;
  min-height: 2rem; box-sizing: border-box; }
.dpcxr-explorer .dx-slider { grid-column: 1 / -1; }
.dpcxr-explorer select { background: Canvas; color: CanvasText; border: 1px solid GrayText;
  border-radius: 0.25rem; padding: 0 0.35rem; }
.dpcxr-explorer input { accent-color: #0072b2; }
.dpcxr-explorer :focus-visible { outline: 3px solid #56b4e9; outline-offset: 2px; }
.dpcxr-explorer svg { display: block; width: 100%; overflow: visible; }
.dpcxr-explorer svg text { fill: currentColor; font: 12px system-ui, sans-serif; }
.dpcxr-explorer .dx-title { font-weight: 600; margin: 0.75rem 0 0.25rem; font-size: 0.9rem; }
.dpcxr-explorer .dx-legend { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; list-style: none; padding: 0;
  margin: 0.25rem 0 0; font-size: 0.82rem; }
.dpcxr-explorer .dx-legend li { margin: 0; }
.dpcxr-explorer .dx-legend .dx-chosen { font-weight: 700; }
.dpcxr-explorer .dx-legend svg { display: inline-block; width: 24px; height: 10px; margin-right: 0.35rem; }
.dpcxr-explorer .dx-words { margin: 0.75rem 0 0.25rem; padding: 0.5rem 0.75rem;
  border-left: 4px solid #0072b2; background: rgb(128 128 128 / 12%); }
.dpcxr-explorer .dx-words p { margin: 0 0 0.3rem; }
.dpcxr-explorer .dx-words p:last-child { margin: 0; }
.dpcxr-explorer .dx-scroll { overflow-x: auto; }
.dpcxr-explorer table { border-collapse: collapse; font-size: 0.82rem; margin: 0.5rem 0; color: inherit; }
.dpcxr-explorer caption { caption-side: top; text-align: left; color: inherit; padding: 0.2rem 0; }
.dpcxr-explorer th, .dpcxr-explorer td { border-bottom: 1px solid rgb(128 128 128 / 40%);
  padding: 0.15rem 0.75rem 0.15rem 0; text-align: left; font-variant-numeric: tabular-nums; }
.dpcxr-explorer summary { cursor: pointer; font-size: 0.9rem; margin-top: 0.5rem; }
html[data-theme="dark"] .dpcxr-explorer { color-scheme: dark; }
html[data-theme="light"] .dpcxr-explorer { color-scheme: light; }
html[data-theme="dark"] .bd-content div.cell_output .text_html:has(div.dpcxr-explorer) {
  background: transparent; color: inherit; padding: 0; }
body[data-jp-theme-light="false"] .dpcxr-explorer { color-scheme: dark; }
body[data-jp-theme-light="true"] .dpcxr-explorer { color-scheme: light; }
`;

// ---- what is chosen, in words and numbers (pure: tested in node) ----

const fixed = (value) => value.toFixed(3).replace("-", "\u2212");

/** An estimate in words: value and interval, or why there is none. */
export function inWords(estimate) {
  if (!estimate || estimate.value === null) {
    return `not shown (${(estimate && estimate.reason) || "not measured"})`;
  }
  const { value, low, high } = estimate;
  return low === null ? fixed(value) : `${fixed(value)} (95% interval ${fixed(low)} to ${fixed(high)})`;
}

/** Everything that the indices choose. */
export function lookUp(payload, state) {
  const byInit = payload.cells[state.evaluation_index];
  return {
    evaluation: payload.evaluations[state.evaluation_index],
    init: payload.initialisations[state.init_index],
    gap: payload.gaps[state.gap_index],
    level: payload.levels[state.epsilon_index],
    curves: byInit,
    curve: byInit[state.init_index],
    cell: byInit[state.init_index][state.epsilon_index],
    publicOnly: payload.public_only[state.evaluation_index],
  };
}

/** The sentences under the chart. */
export function sentences(payload, state) {
  const { evaluation, init, gap, level, cell, publicOnly } = lookUp(payload, state);
  const start = `${evaluation.label}, initialisation ${init.label}, ${level.words}: `;
  const lines = [];
  if (!cell) {
    lines.push(`${start}no run.`);
  } else {
    const seeds = cell.seeds.length > 1
      ? ` Mean of ${cell.seeds.length} seeds, which lie between ${fixed(Math.min(...cell.seeds))}` +
        ` and ${fixed(Math.max(...cell.seeds))}; the interval spans those of all seeds.`
      : "";
    lines.push(`${start}macro AUROC ${inWords(cell.auroc)}.${seeds}`);
    if (cell.spent !== null) lines.push(`Epsilon spent: ${cell.spent.toFixed(2)}.`);
    if (gap) lines.push(`${gap.label}: ${inWords(cell.gaps[gap.key])}. ${noteOf(cell.gaps[gap.key])}`.trim());
  }
  for (const reference of publicOnly) {
    lines.push(`Public data only (${reference.label}): macro AUROC ${inWords(reference.auroc)}.`);
  }
  return lines;
}

const noteOf = (estimate) => (estimate && estimate.value !== null && estimate.reason ? `Note: ${estimate.reason}.` : "");

/** Header and rows of the table under the chart. */
export function tableRows(payload, state) {
  const { curve, cell, gap, level } = lookUp(payload, state);
  const line = (what, at, estimate, n) => [what, at, inWords(estimate), n ?? ""];
  const rows = payload.levels.map((other, i) =>
    line("macro AUROC", other.words, curve[i] && curve[i].auroc, curve[i] && curve[i].n));
  if (cell) {
    rows.push(...cell.groups.map((g) => line(`macro AUROC, ${g.label}`, level.words, g.auroc, g.n)));
    if (gap) rows.push(line(gap.label, level.words, cell.gaps[gap.key]));
  }
  return { head: ["what", "privacy", "value", "images"], rows };
}

/** Positions of an axis: maps a value of `domain` to `range`. */
export function scale([low, high], [from, to]) {
  return (value) => from + ((value - low) / (high - low)) * (to - from);
}

/** Round numbers inside `domain`, about `count` of them. */
export function ticks([low, high], count = 5) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// ---- drawing ----

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function html(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const picture = (width, height, label) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });

const faint = { stroke: "currentColor", "stroke-opacity": 0.22 };

const hasValue = (cell) => cell && cell.auroc.value !== null;

function drawCurves(payload, state, width) {
  const { evaluation, init, level, curves, curve, cell, publicOnly } = lookUp(payload, state);
  const height = 290;
  const x = scale([0, Math.max(payload.levels.length - 1, 1)], [64, width - 44]);
  const y = scale(evaluation.domain, [height - 46, 12]);
  const label = `Macro AUROC against epsilon on ${evaluation.label}. Highlighted: ${init.label}. ` +
    `At ${level.words}: ${inWords(cell && cell.auroc)}.`;
  const root = picture(width, height, label);
  for (const tick of ticks(evaluation.domain)) {
    root.append(
      svg("line", { x1: 48, x2: width - 24, y1: y(tick), y2: y(tick), ...faint }),
      svg("text", { x: 42, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(2)));
  }
  payload.levels.forEach((one, i) => {
    root.append(svg("text", { x: x(i), y: height - 26, "text-anchor": "middle" }, one.label));
  });
  root.append(
    svg("text", { x: (64 + width - 44) / 2, y: height - 6, "text-anchor": "middle" }, "epsilon of at most"),
    svg("text", { x: 12, y: height / 2, transform: `rotate(-90 12 ${height / 2})`, "text-anchor": "middle" },
      "macro AUROC"),
    svg("line", { x1: x(state.epsilon_index), x2: x(state.epsilon_index), y1: 8, y2: height - 42,
      stroke: "currentColor", "stroke-opacity": 0.5, "stroke-width": 1.5 }));
  for (const reference of publicOnly) {
    if (reference.auroc.value !== null) {
      const at = y(reference.auroc.value);
      root.append(svg("line", { x1: 48, x2: width - 24, y1: at, y2: at, stroke: "currentColor",
        "stroke-width": 1.5, "stroke-dasharray": "6 4" }));
    }
  }
  const order = curves.map((_, i) => i).filter((i) => i !== state.init_index);
  for (const i of order) drawLine(root, payload.initialisations[i].colour, curves[i], x, y, false);
  drawBand(root, init.colour, curve, x, y);
  drawLine(root, init.colour, curve, x, y, true);
  if (hasValue(cell)) {
    root.append(svg("circle", { cx: x(state.epsilon_index), cy: y(cell.auroc.value), r: 7, fill: init.colour,
      stroke: "currentColor", "stroke-width": 2 }));
  }
  return root;
}

/** Runs of neighbouring levels that have a value: a missing level breaks the line. */
function stretches(curve) {
  const found = [[]];
  curve.forEach((cell, i) => {
    if (hasValue(cell)) found.at(-1).push(i);
    else if (found.at(-1).length) found.push([]);
  });
  return found.filter((stretch) => stretch.length);
}

function drawBand(root, colour, curve, x, y) {
  for (const stretch of stretches(curve)) {
    const known = stretch.filter((i) => curve[i].auroc.low !== null);
    const upper = known.map((i) => `${x(i)},${y(curve[i].auroc.high)}`);
    const lower = known.map((i) => `${x(i)},${y(curve[i].auroc.low)}`).reverse();
    root.append(svg("polygon", { points: [...upper, ...lower].join(" "), fill: colour, "fill-opacity": 0.2 }));
    for (const i of known) {
      root.append(svg("line", { x1: x(i), x2: x(i), y1: y(curve[i].auroc.low), y2: y(curve[i].auroc.high),
        stroke: colour, "stroke-width": 1.5 }));
    }
  }
}

function drawLine(root, colour, curve, x, y, chosen) {
  for (const stretch of stretches(curve)) {
    root.append(svg("polyline", { points: stretch.map((i) => `${x(i)},${y(curve[i].auroc.value)}`).join(" "),
      fill: "none", stroke: colour, "stroke-width": chosen ? 3 : 1.25, "stroke-opacity": chosen ? 1 : 0.75 }));
    for (const i of stretch) {
      root.append(svg("circle", { cx: x(i), cy: y(curve[i].auroc.value), r: chosen ? 4 : 2.2, fill: colour }));
      if (chosen && curve[i].seeds.length > 1) {
        for (const seed of curve[i].seeds) {
          root.append(svg("circle", { cx: x(i), cy: y(seed), r: 2.6, fill: "none", stroke: "currentColor" }));
        }
      }
    }
  }
}

function drawGroups(payload, state, width) {
  const { init, cell, level } = lookUp(payload, state);
  const groups = cell ? cell.groups : [];
  const row = 27;
  const height = groups.length * row + 40;
  const x = scale(payload.group_domain, [112, width - 66]);
  const told = groups.map((g) => `${g.label} ${inWords(g.auroc)}`).join("; ");
  const root = picture(width, height, `Macro AUROC by group at ${level.words}: ${told || "no run"}.`);
  for (const tick of ticks(payload.group_domain)) {
    root.append(
      svg("line", { x1: x(tick), x2: x(tick), y1: 4, y2: height - 34, ...faint }),
      svg("text", { x: x(tick), y: height - 20, "text-anchor": "middle" }, tick.toFixed(1)));
  }
  const chance = x(0.5);
  root.append(svg("text", { x: width / 2, y: height - 3, "text-anchor": "middle" },
    "macro AUROC, bars start at chance (0.5)"));
  groups.forEach((g, i) => {
    const middle = 4 + row * (i + 0.5);
    root.append(svg("text", { x: 104, y: middle + 4, "text-anchor": "end" }, g.label));
    if (g.auroc.value === null) {
      root.append(svg("text", { x: chance + 6, y: middle + 4 }, "not shown"));
      return;
    }
    const at = x(g.auroc.value);
    root.append(svg("rect", { x: Math.min(at, chance), width: Math.abs(at - chance), y: middle - 8, height: 16,
      fill: init.colour, "fill-opacity": 0.75 }));
    drawInterval(root, x, middle, g.auroc);
    root.append(svg("text", { x: width - 4, y: middle + 4, "text-anchor": "end" }, fixed(g.auroc.value)));
  });
  root.append(svg("line", { x1: chance, x2: chance, y1: 4, y2: height - 34, stroke: "currentColor" }));
  return root;
}

function drawInterval(root, x, middle, { low, high }) {
  if (low === null) return;
  const line = (x1, x2, y1, y2) => svg("line", { x1, x2, y1, y2, stroke: "currentColor", "stroke-width": 2 });
  root.append(line(x(low), x(high), middle, middle));
  for (const end of [low, high]) root.append(line(x(end), x(end), middle - 5, middle + 5));
}

function drawGap(payload, state, width) {
  const { gap, cell, level } = lookUp(payload, state);
  const estimate = cell && cell.gaps[gap.key];
  const root = picture(width, 62, `${gap.label} at ${level.words}: ${inWords(estimate)}.`);
  const x = scale(gap.domain, [112, width - 66]);
  for (const tick of ticks(gap.domain)) {
    root.append(
      svg("line", { x1: x(tick), x2: x(tick), y1: 4, y2: 38, ...faint }),
      svg("text", { x: x(tick), y: 54, "text-anchor": "middle" }, fixed(tick).replace(/0$/, "")));
  }
  root.append(svg("line", { x1: x(0), x2: x(0), y1: 4, y2: 38, stroke: "currentColor" }));
  if (estimate && estimate.value !== null) {
    drawInterval(root, x, 21, estimate);
    root.append(
      svg("circle", { cx: x(estimate.value), cy: 21, r: 6, fill: "currentColor" }),
      svg("text", { x: width - 4, y: 25, "text-anchor": "end" }, fixed(estimate.value)));
  } else {
    root.append(svg("text", { x: x(0) + 6, y: 25 }, "not shown"));
  }
  return root;
}

function legend(payload, state) {
  const swatch = (attributes) => svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 24, y1: 5, y2: 5, ...attributes }));
  const list = html("ul", { class: "dx-legend" });
  payload.initialisations.forEach((init, i) => {
    const chosen = i === state.init_index;
    const item = html("li", chosen ? { class: "dx-chosen" } : {},
      swatch({ stroke: init.colour, "stroke-width": chosen ? 4 : 2 }), init.label);
    list.append(item);
  });
  if (payload.public_only[state.evaluation_index].length) {
    list.append(html("li", {}, swatch({ stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "6 4" }),
      "public data only"));
  }
  return list;
}

function table(payload, state) {
  const { head, rows } = tableRows(payload, state);
  const { evaluation, init } = lookUp(payload, state);
  const cells = (kind, texts, scope) => html("tr", {}, ...texts.map((t) => html(kind, scope, String(t))));
  return html("table", {},
    html("caption", {}, `${evaluation.label}, initialisation ${init.label}`),
    html("thead", {}, cells("th", head, { scope: "col" })),
    html("tbody", {}, ...rows.map((row) => cells("td", row, {}))));
}

/** Places for the charts inside `el`, and a function that fills them from a state. */
function stage(el, payload) {
  const curves = html("div");
  const groups = html("div");
  const words = html("div", { class: "dx-words", "aria-live": "polite" });
  const numbers = html("div", { class: "dx-scroll", tabindex: "0", role: "region", "aria-label": "Numbers" });
  el.append(
    curves, words, groups,
    html("details", {}, html("summary", {}, "Numbers in the charts"), numbers));
  const draw = (state) => {
    const width = Math.max(300, Math.min(el.clientWidth || 640, 736));
    const { gap, init } = lookUp(payload, state);
    const title = (text) => html("div", { class: "dx-title" }, text);
    curves.replaceChildren(title("Macro AUROC against epsilon"), drawCurves(payload, state, width),
      legend(payload, state));
    groups.replaceChildren(title(`Groups, ${init.label}`), drawGroups(payload, state, width));
    if (gap) groups.append(title(gap.label), drawGap(payload, state, width));
    words.replaceChildren(...sentences(payload, state).map((line) => html("p", {}, line)));
    numbers.replaceChildren(table(payload, state));
  };
  return draw;
}

/** Redraw when the width changes; returns what stops it. */
function onResize(el, redraw) {
  let width = el.clientWidth;
  const watcher = new ResizeObserver(() => {
    if (el.clientWidth !== width) {
      width = el.clientWidth;
      redraw();
    }
  });
  watcher.observe(el);
  return () => watcher.disconnect();
}

// ---- JupyterLab ----

/** ipywidgets draws its slider without a name for screen readers: copy the visible label. */
function nameSliders(el) {
  const box = el.closest(".widget-box, .jupyter-widgets.widget-vbox, .jp-OutputArea-output");
  for (const handle of box ? box.querySelectorAll(".noUi-handle") : []) {
    const label = handle.closest(".widget-inline-hbox");
    const text = label && label.querySelector("label");
    if (text) handle.setAttribute("aria-label", text.textContent);
  }
}

function render({ model, el }) {
  const root = html("div", { class: "dpcxr-explorer" }, html("style", {}, STYLE));
  el.append(root);
  const draw = stage(root, model.get("payload"));
  const redraw = () => {
    draw(Object.fromEntries(INDICES.map((name) => [name, model.get(name)])));
    nameSliders(el);
  };
  for (const name of INDICES) model.on(`change:${name}`, redraw);
  redraw();
  const stop = onResize(root, redraw);
  return () => {
    for (const name of INDICES) model.off(`change:${name}`, redraw);
    stop();
  };
}

// ---- rendered page ----

function chooser(text, options, chosen, onChange) {
  const select = html("select", {}, ...options.map((option) => html("option", {}, option)));
  select.selectedIndex = chosen;
  select.addEventListener("change", () => onChange(select.selectedIndex));
  return html("label", {}, text, select);
}

function slider(levels, chosen, onChange) {
  const words = document.createTextNode("");
  const input = html("input", { type: "range", min: 0, max: levels.length - 1, step: 1, value: chosen });
  const say = () => {
    words.textContent = `Privacy: ${levels[input.value].words}`;
    input.setAttribute("aria-valuetext", levels[input.value].words);
  };
  input.addEventListener("input", () => {
    say();
    onChange(Number(input.value));
  });
  say();
  return html("label", { class: "dx-slider" }, words, input);
}

function mount(root) {
  const payload = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  const state = { ...payload.start };
  let draw = () => {};
  const set = (name) => (value) => {
    state[name] = value;
    draw(state);
  };
  const labels = (list) => list.map((one) => one.label);
  const controls = html("div", { class: "dx-controls" },
    chooser("Tested on", labels(payload.evaluations), state.evaluation_index, set("evaluation_index")),
    chooser("Initialisation", labels(payload.initialisations), state.init_index, set("init_index")));
  if (payload.gaps.length) {
    controls.append(chooser("Fairness metric", labels(payload.gaps), state.gap_index, set("gap_index")));
  }
  controls.append(slider(payload.levels, state.epsilon_index, set("epsilon_index")));
  root.replaceChildren(html("style", {}, STYLE), controls);
  draw = stage(root, payload);
  draw(state);
  onResize(root, () => draw(state));
}

/** Bring every explorer of the page to life, each once, however often the module is included. */
export function mountAll() {
  for (const root of document.querySelectorAll(".dpcxr-explorer:not([data-mounted])")) {
    root.dataset.mounted = "true";
    mount(root);
  }
}

export default { render };
