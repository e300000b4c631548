// The noise explorer: target, data and length of a run in; noise, its weight against the signal and cost out.
//
// Two lives, one module. In JupyterLab anywidget calls `render`, and the kernel answers each choice by composing
// privacy losses. In a rendered page `mountAll` brings the fragments to life, which look the answer up in a table that
// Python made (accounting/noise_table.py). Neither is a certificate; that comes from the kernel, on demand.

const BLUE = "#0072b2";

// ---- looking up (pure: tested in node) ----

/** The axes and values of the packed table, ready to be looked up. */
export function unpack(packed) {
  const values = ({ low, high, levels }) => {
    const bytes = Uint8Array.from(atob(levels), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const step = (high - low) / 65535;
    return Float64Array.from({ length: bytes.length / 2 }, (_, i) => low + view.getUint16(2 * i, true) * step);
  };
  return { axes: packed.axes, pld: values(packed.log_noise), rdp: values(packed.log_noise_rdp),
    error: packed.largest_error, errorRdp: packed.largest_error_rdp, nErrors: packed.n_errors };
}

/** First of four nodes around `value`, and the weights of cubic interpolation in the logarithm. */
function cubic(nodes, value) {
  const position = Math.log(value / nodes[0]) / Math.log(nodes[1] / nodes[0]);
  const first = Math.min(Math.max(Math.floor(position) - 1, 0), nodes.length - 4);
  const t = position - first;
  return { first, weights: [-(t - 1) * (t - 2) * (t - 3) / 6, t * (t - 2) * (t - 3) / 2,
    -t * (t - 1) * (t - 3) / 2, t * (t - 1) * (t - 2) / 6] };
}

/** The noise multiplier at `where`, which names a value for every axis; null outside the table. */
export function noiseAt(table, which, where) {
  const places = [];
  for (const { name, nodes } of table.axes) {
    const [low, high] = range(table, name);
    if (!(where[name] >= low * (1 - 1e-9) && where[name] <= high * (1 + 1e-9))) return null;
    places.push(cubic(nodes, where[name]));
  }
  const sum = (axis, offset) => {
    if (axis === places.length) return table[which][offset];
    const { first, weights } = places[axis];
    const n = table.axes[axis].nodes.length;
    return weights.reduce((total, weight, i) => total + weight * sum(axis + 1, offset * n + first + i), 0);
  };
  return Math.exp(sum(0, 0));
}

export function range(table, name) {
  const { nodes } = table.axes.find((axis) => axis.name === name);
  return [Math.min(...nodes), Math.max(...nodes)];
}

/** What the choices come to before any noise: units, steps, rate, images. */
export function plan(choices) {
  const patient = choices.privacy_unit === "patient";
  const nUnits = Math.max(1, Math.floor(choices.n_images / (patient ? choices.images_per_patient : 1) + 0.5));
  const batch = choices.expected_batch_size;
  const nSteps = Math.max(1, Math.floor(choices.passes * nUnits / batch + 0.5));
  const imagesPerUnit = patient ? Math.min(choices.max_images_per_patient, choices.images_per_patient) : 1;
  const images = nSteps * batch * imagesPerUnit;
  return { unit: choices.privacy_unit, nUnits, nSteps, rate: batch / nUnits, images,
    hours: images / choices.images_per_second / 3600 };
}

/** Why the choices have no answer, or "". */
export function refusal(table, choices) {
  const positive = { n_images: "The number of images", images_per_patient: "Images per patient",
    max_images_per_patient: "The most images of one patient", images_per_second: "Images per second" };
  for (const [name, words] of Object.entries(positive)) {
    if (!(choices[name] > 0)) return `${words} must be above zero.`;
  }
  if (choices.images_per_patient < 1) return "Images per patient must be at least 1.";
  const { unit, nUnits, rate } = plan(choices);
  const [least] = range(table, "sample_rate");
  if (rate > 1) return `The expected batch must be at most the number of ${unit}s, ${number(nUnits)}.`;
  if (rate < least) return `The expected batch must be at least ${number(Math.ceil(nUnits * least))} of ${number(nUnits)} ` +
    `${unit}s: the table ends at a sample rate of 1 in ${number(1 / least)}.`;
  return "";
}

/** Everything shown: `null` noise multipliers where there is no answer. `exact` is the kernel's, if it has one. */
export function outcome(payload, table, choices, exact) {
  const reason = refusal(table, choices);
  const planned = plan(choices);
  const [fewest, most] = range(table, "passes");
  // Steps are whole, so that the passes that will happen differ a little from those chosen.
  const passes = Math.min(most, Math.max(fewest, planned.nSteps * planned.rate));
  const where = { sample_rate: planned.rate, passes, delta: choices.delta,
    target_epsilon: choices.target_epsilon };
  const better = exact && exact.noise_multiplier !== null && !reason;
  const looked = (which) => (reason ? null : noiseAt(table, which, where));
  const noise = better ? exact.noise_multiplier : looked("pld");
  const rdp = better ? exact.rdp : looked("rdp");
  const std = noise / choices.expected_batch_size;
  const { n_parameters: d, label } = payload.networks[choices.network];
  return { reason, ...planned, passes, noise, rdp, std, weight: std * Math.sqrt(d), d, network: label };
}

// ---- words (pure: tested in node) ----

const RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";

/** A number with about three significant digits and separated thousands. */
export function number(value, digits = 3) {
  if (value >= 1000) return Math.round(value).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  if (value !== 0 && value < 1e-3) {
    const [factor, power] = value.toExponential(digits - 1).split("e-");
    return `${Number(factor)} \u00d7 10\u207b${[...power].map((digit) => RAISED[digit]).join("")}`;
  }
  return Number(value.toPrecision(digits)).toString();
}

export function duration(hours) {
  if (hours < 1 / 60) return `${number(hours * 3600, 2)} seconds`;
  if (hours < 1) return `${number(hours * 60, 2)} minutes`;
  return hours < 48 ? `${number(hours)} hours` : `${number(hours / 24)} days`;
}

export function sentences(choices, out) {
  if (out.reason) return [out.reason];
  const ratio = out.rdp / out.noise;
  const more = ratio > 2 ? `${number(ratio)} times as much` : `${(100 * Math.max(0, ratio - 1)).toFixed(1)} % more`;
  return [
    `Epsilon of at most ${number(choices.target_epsilon)} at a delta of ${number(choices.delta, 2)} for each ` +
      `${out.unit}: noise multiplier ${number(out.noise)}.`,
    `Summed over the ${number(out.d)} weights of ${out.network}, the noise on the mean gradient is at least ` +
      `${number(out.weight)} times as long as the signal in one step. R\u00e9nyi accounting would ask for ` +
      `a noise multiplier of ${number(out.rdp)}, ${more}, for the same promise.`,
  ];
}

/** Rows of the table: what, value. */
export function tableRows(choices, out) {
  const known = (value, text) => (out.reason ? "\u2013" : text ?? number(value));
  return [
    [`Privacy units (${out.unit}s)`, number(out.nUnits)],
    ["Sample rate", known(out.rate)],
    ["Steps", number(out.nSteps)],
    ["Noise multiplier (estimate)", known(out.noise)],
    ["Noise multiplier by R\u00e9nyi accounting", known(out.rdp)],
    ["Noise standard deviation on each weight of the mean gradient, in clip norms", known(out.std)],
    ["Length of noise over length of signal, at least", known(out.weight)],
    [out.unit === "patient" ? "Images processed, at most" : "Images processed, expected", number(out.images)],
    [`Time at ${number(choices.images_per_second)} images a second`, duration(out.hours)],
  ];
}

// ---- drawing ----

const logScale = ([low, high], [from, to]) =>
  (value) => from + (Math.log(value / low) / Math.log(high / low)) * (to - from);

/** Round values 1, 2, 5 times powers of ten inside an interval; only powers where there would be many. */
export function logTicks([low, high]) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high) + 1e-9; power += 1) {
    for (const digit of high / low > 300 ? [1] : [1, 2, 5]) found.push(Number(`${digit}e${power}`));
  }
  return found.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
}

/** Noise against epsilon by both accountants, with the chosen point. */
function picture(payload, table, choices, out, width) {
  const height = 270;
  const ends = range(table, "target_epsilon");
  const epsilons = Array.from({ length: 49 }, (_, i) => ends[0] * (ends[1] / ends[0]) ** (i / 48));
  const curve = (which) => epsilons.map((target_epsilon) => noiseAt(table, which,
    { sample_rate: out.rate, passes: out.passes, delta: choices.delta, target_epsilon }));
  const curves = { pld: curve("pld"), rdp: curve("rdp") };
  const domain = [Math.min(...curves.pld) * 0.9, Math.max(...curves.rdp) * 1.1];
  const x = logScale(ends, [56, width - 20]);
  const y = logScale(domain, [height - 44, 12]);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Noise multiplier against target epsilon: it falls from ${number(curves.pld[0])} at ` +
      `${number(ends[0])} to ${number(curves.pld.at(-1))} at ${number(ends[1])}; R\u00e9nyi accounting lies above. ` +
      `Chosen: ${number(out.noise)} at ${number(choices.target_epsilon)}.` });
  const faint = { stroke: "currentColor", "stroke-opacity": 0.22 };
  for (const tick of logTicks(domain)) {
    root.append(svg("line", { x1: 56, x2: width - 20, y1: y(tick), y2: y(tick), ...faint }),
      svg("text", { x: 50, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
  }
  for (const tick of logTicks(ends)) {
    root.append(svg("line", { x1: x(tick), x2: x(tick), y1: 12, y2: height - 44, ...faint }),
      svg("text", { x: x(tick), y: height - 27, "text-anchor": "middle" }, number(tick)));
  }
  const line = (values, style) => svg("polyline", { fill: "none", ...style,
    points: values.map((value, i) => `${x(epsilons[i]).toFixed(1)},${y(value).toFixed(1)}`).join(" ") });
  root.append(
    svg("text", { x: (36 + width) / 2, y: height - 6, "text-anchor": "middle" }, "target epsilon"),
    svg("text", { x: 12, y: height / 2, transform: `rotate(-90 12 ${height / 2})`, "text-anchor": "middle" },
      "noise multiplier"),
    line(curves.rdp, { stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": "6 4" }),
    line(curves.pld, { stroke: BLUE, "stroke-width": 3 }),
    svg("text", { x: width - 24, y: 28, "text-anchor": "end" }, "dashed: R\u00e9nyi accounting"),
    svg("circle", { cx: x(choices.target_epsilon), cy: y(out.noise), r: 7, fill: BLUE, stroke: "currentColor",
      "stroke-width": 2 }));
  return root;
}

function numbers(choices, out) {
  return html("table", {}, html("caption", {}, "What the choices come to"), html("tbody", {},
    ...tableRows(choices, out).map(([what, value]) =>
      html("tr", {}, html("th", { scope: "row" }, what), html("td", {}, value)))));
}

// ---- controls, alike on a page and in a notebook ----

const POSITIONS = 400;
const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 40, PageDown: -40, Home: -POSITIONS,
  End: POSITIONS };

/** A slider over the logarithm of a value; `words` says the value. */
function slider(text, [low, high], value, words, rounded, onChange) {
  const name = html("span");
  const input = html("input", { type: "range", min: 0, max: POSITIONS, step: 1,
    value: Math.round(POSITIONS * Math.log(value / low) / Math.log(high / low)) });
  const say = (now) => {
    name.textContent = `${text}: ${words(now)}`;
    input.setAttribute("aria-label", text);
    input.setAttribute("aria-valuetext", words(now));
  };
  input.addEventListener("input", () => {
    const now = Math.min(high, Math.max(low, rounded(low * (high / low) ** (input.value / POSITIONS))));
    say(now);
    onChange(now);
  });
  moveByKeys(input, STEPS);
  say(value);
  return html("label", {}, name, input);
}

function field(text, value, least, onChange) {
  const input = html("input", { type: "number", min: least, step: "any", value });
  input.addEventListener("input", () => onChange(Number(input.value)));
  return html("label", {}, text, input);
}

function chooser(text, options, chosen, onChange) {
  const select = html("select", {}, ...options.map((option) => html("option", {}, option)));
  select.selectedIndex = chosen;
  select.addEventListener("change", () => onChange(select.selectedIndex));
  return html("label", {}, text, select);
}

/** All controls; `set` hears a name and its new value. */
function controls(payload, table, choices, set) {
  const rounded = (digits) => (value) => Number(value.toPrecision(digits));
  const units = ["image", "patient"];
  const perPatient = field("Images per patient, mean", choices.images_per_patient, 1,
    (value) => set("images_per_patient", value));
  const most = field("Most images of one patient in a step", choices.max_images_per_patient, 1,
    (value) => set("max_images_per_patient", Math.round(value)));
  const speed = field("Images per second", choices.images_per_second, 0, (value) => set("images_per_second", value));
  const show = (unit) => {
    perPatient.hidden = unit !== "patient";
    most.hidden = unit !== "patient";
  };
  show(choices.privacy_unit);
  return html("div", { class: "dn-controls" },
    slider("Target epsilon", range(table, "target_epsilon"), choices.target_epsilon, number, rounded(2),
      (value) => set("target_epsilon", value)),
    slider("Delta", range(table, "delta"), choices.delta, (value) => number(value, 2), rounded(2),
      (value) => set("delta", value)),
    slider("Expected batch size", payload.batch_range, choices.expected_batch_size, number,
      (value) => Math.round(Number(value.toPrecision(2))), (value) => set("expected_batch_size", value)),
    slider("Expected passes", range(table, "passes"), choices.passes, number, rounded(2),
      (value) => set("passes", value)),
    field("Images in the training set", choices.n_images, 1, (value) => set("n_images", Math.round(value))),
    chooser("Privacy unit", ["one image", "one patient"], units.indexOf(choices.privacy_unit), (index) => {
      show(units[index]);
      set("privacy_unit", units[index]);
    }),
    perPatient, most,
    chooser("Network", payload.networks.map((one) => one.label), choices.network, (index) => {
      speed.querySelector("input").value = payload.networks[index].images_per_second;
      set("network", index, { images_per_second: payload.networks[index].images_per_second });
    }),
    speed);
}

/** Controls, words, picture and numbers inside `el`; returns what is needed to redraw and to answer. */
function stage(el, payload, start, onChoice) {
  const table = unpack(payload.table);
  const state = { choices: { ...start }, exact: null };
  const words = html("div", { class: "dn-words", "aria-live": "polite" });
  const chart = html("div");
  const cells = html("div");
  const redraw = () => {
    const { choices, exact } = state;
    const out = outcome(payload, table, choices, exact);
    const width = Math.max(300, Math.min(el.clientWidth || 640, 736));
    words.replaceChildren(...sentences(choices, out).map((line) => html("p", {}, line)));
    chart.replaceChildren();
    if (!out.reason) chart.append(html("div", { class: "dn-title" }, "Noise against epsilon"),
      picture(payload, table, choices, out, width));
    cells.replaceChildren(numbers(choices, out));
  };
  const set = (name, value, further = {}) => {
    state.choices = { ...state.choices, [name]: value, ...further };
    state.exact = null;
    redraw();
    if (!refusal(table, state.choices)) onChoice(state.choices);
  };
  const note = html("p", { class: "dn-note" },
    `Estimates, not a certificate. Looked up in a table: at ${table.nErrors} random places between its entries the ` +
    `largest error was ${(100 * table.error).toFixed(1)} %, and ${(100 * table.errorRdp).toFixed(0)} % for R\u00e9nyi ` +
    `accounting. Speeds: ${payload.speed_source}; type your own.`);
  el.append(controls(payload, table, state.choices, set), words, chart, cells, note);
  redraw();
  return { state, redraw, note, stop: onResize(el, redraw) };
}

// ---- JupyterLab ----

const same = (one, other) => Object.keys(one).every((key) => one[key] === other[key]);

function render({ model, el }) {
  const root = html("div", { class: "dpcxr-noise" });
  el.append(root);
  const shown = stage(root, model.get("payload"), model.get("choices"), (choices) => {
    model.set("choices", choices);
    model.save_changes();
  });
  shown.note.textContent = `Answers of the kernel, where one runs, replace those of the table; both are estimates. ` +
    `${shown.note.textContent} The button calibrates exactly.`;
  const button = html("button", { type: "button" }, "Certify these choices");
  const certificate = html("div", { class: "dn-words", "aria-live": "polite", hidden: "" });
  const tell = (text) => {
    certificate.hidden = false;
    certificate.replaceChildren(html("p", {}, text));
  };
  button.addEventListener("click", () => {
    tell("Calibrating; this takes seconds \u2026");
    model.set("certify_requests", model.get("certify_requests") + 1);
    model.save_changes();
  });
  root.append(button, certificate);
  const onAnswer = () => {
    const answer = model.get("answer");
    if (!answer.choices || !same(shown.state.choices, answer.choices)) return;
    shown.state.exact = answer;
    shown.redraw();
  };
  const onCertificate = () => {
    const { choices, words } = model.get("certificate");
    if (words) tell(same(shown.state.choices, choices) ? words : `For the choices made earlier: ${words}`);
  };
  model.on("change:answer", onAnswer);
  model.on("change:certificate", onCertificate);
  onAnswer();
  return () => {
    model.off("change:answer", onAnswer);
    model.off("change:certificate", onCertificate);
    shown.stop();
  };
}

// ---- rendered page ----

/** Bring every noise explorer of the page to life. */
export function mountAll() {
  mountEach("dpcxr-noise", (root, payload) => {
    root.replaceChildren();
    stage(root, payload, payload.start, () => {});
  });
}

export default { render };
