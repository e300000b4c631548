// What a reader moves: the explorer's controls, and the charts, words, table and link that follow them.
//
// Two lives, one module. In JupyterLab anywidget calls `render`, and the kernel sees the state; in a rendered page
// `mountAll` brings the fragments to life.

const NAMES = { train: "Trained on", test: "Tested on", architecture: "Architecture", init: "Initialisation",
  unit: "Unit of privacy" };

// ---- controls that are updated in place, so that the focus stays where it is ----

/** A choice of one from a list; where there is only one, its text. */
function choice(text, onChange) {
  const select = html("select");
  const label = html("label", {}, text, select);
  const only = html("p", { class: "dx-only", hidden: "" });
  let keys = [];
  select.addEventListener("change", () => onChange(keys[select.selectedIndex]));
  const update = (options, chosen) => {
    if (options.map(({ label: words }) => words).join("\n") !== [...select.options].map((one) => one.text).join("\n")) {
      select.replaceChildren(...options.map((option) => html("option", {}, option.label)));
    }
    keys = options.map(({ key }) => key);
    select.selectedIndex = keys.indexOf(chosen);
    label.hidden = options.length < 2;
    only.hidden = options.length !== 1;
    only.replaceChildren(html("span", {}, text), options.length ? options[0].label : "");
  };
  return { nodes: [label, only], update };
}

/** The slider over the levels of privacy that there are. */
function levelSlider(onChange) {
  const words = html("span");
  const input = html("input", { type: "range", min: 0, step: 1, "aria-label": "Privacy" });
  const label = html("label", { class: "dx-slider" }, words, input);
  let offered = [];
  input.addEventListener("input", () => onChange(offered[input.value].key));
  moveByKeys(input, { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 1, PageDown: -1, Home: -999, End: 999 });
  const update = (options, chosen) => {
    offered = options;
    const at = options.findIndex(({ key }) => key === chosen);
    input.max = options.length - 1;
    input.value = at;
    input.hidden = options.length < 2;
    words.textContent = `Privacy: ${options[at].words}`;
    input.setAttribute("aria-valuetext", options[at].words);
  };
  return { nodes: [label], update };
}

/** The controls of one model; `change` hears what of it is wanted. */
function modelControls(change) {
  const choices = Object.entries(NAMES).map(([name, text]) => [name, choice(text, (key) => change({ [name]: key }))]);
  const slider = levelSlider((key) => change({ level: key }));
  const legend = html("legend");
  const field = html("fieldset", {}, legend, html("div", { class: "dx-controls" },
    ...choices.flatMap(([, control]) => control.nodes), ...slider.nodes));
  const update = (data, chosen, title) => {
    legend.textContent = title;
    field.hidden = chosen === null;
    if (chosen === null) return;
    const { offers } = settleModel(data, chosen);
    for (const [name, control] of choices) control.update(offers[name].map((key) => ({ key, label: key })), chosen[name]);
    slider.update(data.levels.filter(({ key }) => offers.level.includes(key)), chosen.level);
  };
  return { field, update };
}

// ---- charts of one model ----

/** Axes that hold all models of the payload, so that they do not jump when a choice changes. */
function domains(data, state) {
  const seen = ["a", "b"].filter((letter) => state[letter]).map((letter) => lookUp(data, state, letter));
  const { test } = state.a;
  const slots = (wanted) => data.slots.flatMap((slot, s) => (wanted(slot) ? [s] : []));
  const everywhere = (tests, found) => tests.flatMap((where) => found.flatMap((s) =>
    data.conditions.map((_, c) => estimateAt(data, where, state.finding, s, c))));
  const metric = data.metrics.find(({ key }) => key === state.metric);
  const tests = distinct([test, state.b ? state.b.test : test]);
  const bars = everywhere(data.tests.map(({ key }) => key), slots((slot) => slot.metric === metric.key && slot.column === "all"))
    .concat(everywhere(tests, slots((slot) => slot.metric === metric.key && slot.column === state.column)));
  const curves = everywhere(tests, slots((slot) => slot.metric === metric.key && slot.column === "all"));
  const seeds = seen.flatMap(({ points }) => points.flatMap((point) => point.seeds));
  const gaps = everywhere(tests, slots((slot) => metric.gaps.includes(slot.metric) && slot.column === state.column));
  const ideal = metric.two_sided ? [metric.base] : [];
  return { curves: domainOf(curves, [...seeds, ...ideal]), bars: domainOf(bars, [metric.base]), gaps: domainOf(gaps, [0]) };
}

function drawModel(box, data, state, letter, axes) {
  const shown = lookUp(data, state, letter);
  const width = chartWidth(box);
  const name = measured(data, state);
  const at = `${shown.chosen.init}, ${levelInWords(data, shown.chosen.level)}`;
  const by = data.columns.find(({ key }) => key === state.column);
  const { base, reading, two_sided } = data.metrics.find(({ key }) => key === state.metric);
  const ideal = two_sided ? base : null;
  const draw = (how, rows, domain, words) =>
    how(rows, { domain, words: `${words}, ${at}`, width, base, colour: shown.colour });
  box.replaceChildren(
    heading(`${state.b ? `${letter.toUpperCase()}: ` : ""}${name} against epsilon`),
    drawCurves(shown, { levels: data.levels, domain: axes.curves, ideal, name, width,
      words: `${reading} Highlighted: ${shown.chosen.init}. At ${levelInWords(data, shown.chosen.level)}: ${inWords(shown.estimate)}.` }),
    legend(shown, ideal), html("p", { class: "dx-note" }, reading));
  if (shown.groups.length) {
    box.append(heading(`By ${by.label}`), draw(drawBars, shown.groups, axes.bars, `${name} by ${by.label}`));
  }
  if (shown.gaps.length) {
    box.append(heading("Gaps"), draw(drawGaps, shown.gaps, axes.gaps, `Gaps by ${by.label}`));
    if (shown.gaps.some(({ estimate }) => estimate.floor !== null)) {
      box.append(html("p", { class: "dx-note" }, "Grey box: the gap to be expected with no true difference."));
    }
  }
  if (shown.transfer.length > 1) {
    box.append(heading("The same model on every test set"), draw(drawBars, shown.transfer, axes.bars, `${name} by test set`));
  }
  box.append(...notes(data, state, letter).map((line) => html("p", { class: "dx-note" }, line)));
}

function tableNode(data, state) {
  const { head, rows } = tableOf(data, state);
  const text = (cell) => (typeof cell === "number" && !Number.isInteger(cell) ? fixed(cell) : String(cell));
  const cells = (kind, list, more = {}) => html("tr", {}, ...list.map((cell) => html(kind, more, text(cell))));
  return html("table", {}, html("caption", {}, "The numbers of the charts"),
    html("thead", {}, cells("th", head, { scope: "col" })), html("tbody", {}, ...rows.map((row) => cells("td", row))));
}

// ---- everything together ----

function button(text, onClick) {
  const node = html("button", { type: "button" }, text);
  node.addEventListener("click", onClick);
  return node;
}

function save(text, name) {
  const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  html("a", { href: address, download: name }).click();
  URL.revokeObjectURL(address);
}

/** The explorer inside `root`. `onState` hears every new state; `link` says whether the page's address can hold it. */
function stage(root, data, start, { onState, link }) {
  let state = settle(data, start);
  const set = (change) => show(settle(data, { ...state, ...change }));
  const shared = { finding: choice("Finding", (finding) => set({ finding })), metric: choice("Metric", (metric) => set({ metric })),
    column: choice("Groups by", (column) => set({ column })) };
  const models = { a: modelControls((wanted) => set({ a: { ...state.a, ...wanted } })),
    b: modelControls((wanted) => set({ b: { ...state.b, ...wanted } })) };
  const boxes = { a: html("div"), b: html("div") };
  const words = html("div", { class: "dx-words", "aria-live": "polite" });
  const numbers = html("div", { class: "dx-scroll", tabindex: "0", role: "region", "aria-label": "Numbers of the charts" });
  const status = html("span", { role: "status" });
  const compare = button("", () => set({ b: state.b ? null : { ...state.a } }));
  const tools = html("div", { class: "dx-tools" }, compare,
    button("Download CSV", () => save(csvOf(tableOf(data, state)), "explorer.csv")));
  if (link) tools.append(button("Copy link", () => copyLink(fragmentOf(state), status)));
  tools.append(status);
  const leftOut = data.left_out ? [html("p", { class: "dx-note" }, `Left out, to keep the page small: ${data.left_out}.`)] : [];
  root.append(
    html("fieldset", {}, html("legend", {}, "What is measured"),
      html("div", { class: "dx-controls" }, ...Object.values(shared).flatMap(({ nodes }) => nodes))),
    html("div", { class: "dx-two" }, models.a.field, models.b.field), words, tools,
    html("div", { class: "dx-two" }, boxes.a, boxes.b),
    html("details", {}, html("summary", {}, "Numbers of the charts as a table"), numbers), ...leftOut);

  const draw = () => {
    const axes = domains(data, state);
    for (const letter of ["a", "b"]) boxes[letter].hidden = !state[letter];  // first: a chart is as wide as its box
    for (const letter of ["a", "b"]) if (state[letter]) drawModel(boxes[letter], data, state, letter, axes);
  };
  const show = (next) => {
    state = next;
    for (const [name, list] of Object.entries({ finding: data.findings, metric: data.metrics, column: data.columns })) {
      shared[name].update(list, state[name]);
    }
    models.a.update(data, state.a, state.b ? "Model A" : "Model");
    models.b.update(data, state.b, "Model B");
    compare.textContent = state.b ? "Show one model" : "Compare with a second model";
    status.textContent = "";
    words.replaceChildren(...sentences(data, state).map((line) => html("p", {}, line)));
    numbers.replaceChildren(tableNode(data, state));
    draw();
    onState(state);
  };
  show(state);
  const stop = onResize(root, draw);
  return { restore: (wanted) => show(settle(data, wanted)), stop };
}

// ---- JupyterLab ----

async function render({ model, el }) {
  const root = html("div", { class: "dpcxr-explorer" });
  el.append(root);
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const shown = stage(root, await unpack(model.get("payload")), model.get("state"), { link: false, onState: (state) => {
    if (same(state, model.get("state"))) return;
    model.set("state", state);
    model.save_changes();
  } });
  const onKernel = () => shown.restore(model.get("state"));
  model.on("change:state", onKernel);
  return () => {
    model.off("change:state", onKernel);
    shown.stop();
  };
}

// ---- rendered page ----

async function copyLink(fragment, status) {
  history.replaceState(null, "", fragment);
  try {
    await navigator.clipboard.writeText(location.href);
    status.textContent = "Link copied.";
  } catch {
    status.textContent = "The link is in the address bar.";
  }
}

/** Bring every explorer of the page to life, in the state that the address asks for. */
export function mountAll() {
  mountEach("dpcxr-explorer", async (root, payload) => {
    const data = await unpack(payload);
    root.replaceChildren();
    const asked = () => stateOf(location.hash);
    const shown = stage(root, data, asked() ?? {}, { link: true, onState: () => {} });
    const follow = () => {
      if (!asked()) return;
      shown.restore(asked());
      root.scrollIntoView();
    };
    if (asked()) root.scrollIntoView();
    addEventListener("hashchange", follow);
  });
}

export default { render };
