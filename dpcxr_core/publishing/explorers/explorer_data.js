// What the explorer knows: the payload unpacked, a choice made possible, and both in words, rows and links.
//
// Nothing is estimated here, and nothing is drawn: every function is pure and is tested in node.

/** Choices of one model in the order in which they are made: each offers what the ones before it leave. */
const CHAIN = ["train", "architecture", "init", "unit", "level"];
const NONE = -32768;
const PLANES = 5;

/** The payload with its packed numbers (explorer_payload.py) as arrays. */
export async function unpack(payload) {
  return { ...payload, estimates: await integers(payload.estimates), seeds: await integers(payload.seeds) };
}

/** 16-bit integers that were packed as all low bytes, all high bytes, deflated, in base64. */
async function integers(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const n = bytes.length / 2;
  return Int16Array.from({ length: n }, (_, i) => bytes[i] | (bytes[n + i] << 8));
}

const distinct = (values) => [...new Set(values)];

/** Place of the entry with that key; -1 where there is none. */
const placeOf = (list, key) => list.findIndex((one) => one.key === key);

/** One number: value, low, high and noise floor (null where there is none), and the reason. */
export function estimateAt(data, test, finding, slot, condition) {
  const [nTests, nFindings] = [data.tests.length, data.findings.length];
  const [nSlots, nConditions] = [data.slots.length, data.conditions.length];
  const at = ((placeOf(data.tests, test) * nFindings + placeOf(data.findings, finding)) * nSlots + slot) * nConditions +
    condition;
  const size = nTests * nFindings * nSlots * nConditions;
  const [value, below, above, floor, reason] = Array.from({ length: PLANES }, (_, p) => data.estimates[p * size + at]);
  const end = (distance, sign) => (value === NONE || distance === NONE ? null : (value + sign * distance) / 1000);
  return { value: value === NONE ? null : value / 1000, low: end(below, -1), high: end(above, 1),
    floor: floor === NONE ? null : floor / 1000, reason: data.reasons[reason] };
}

/** The values of a condition's seeds, of all patients of a test set. */
export function seedsAt(data, test, finding, metric, condition) {
  const n = data.n_seeds;
  const rows = ((placeOf(data.tests, test) * data.findings.length + placeOf(data.findings, finding)) *
    data.metrics.length + placeOf(data.metrics, metric)) * data.conditions.length + condition;
  return Array.from(data.seeds.subarray(rows * n, rows * n + n)).filter((v) => v !== NONE).map((v) => v / 1000);
}

// ---- choices ----

/** `wanted`, or the first of `keys` where that is not among them. */
const known = (keys, wanted) => (keys.includes(wanted) ? wanted : keys[0] ?? null);

/** A model that there is, nearest to `wanted`, and for each choice what is on offer after the ones before it. */
export function settleModel(data, wanted) {
  const places = data.conditions.map((_, c) => c).filter((c) => data.conditions[c].kind !== "public_only");
  const tests = data.tests.map((one) => one.key);
  const offers = { test: tests };
  const chosen = { test: known(tests, wanted.test) };
  let left = places;
  for (const name of CHAIN) {
    // without privacy there is no unit: such a run stands beside those of every unit
    offers[name] = distinct(left.map((c) => data.conditions[c][name])).filter((value) => value !== null);
    chosen[name] = known(offers[name], wanted[name]);
    if (name === "level") break;
    left = left.filter((c) => [chosen[name], null].includes(data.conditions[c][name]));
  }
  return { chosen, offers, curve: left, condition: left.find((c) => data.conditions[c].level === chosen.level) };
}

/** A state in which everything exists; `b` stays null where only one model is shown. */
export function settle(data, wanted) {
  const first = (list, key) => known(list.map((one) => one.key), key);
  return { metric: first(data.metrics, wanted.metric), finding: first(data.findings, wanted.finding),
    column: first(data.columns, wanted.column), a: settleModel(data, wanted.a ?? {}).chosen,
    b: wanted.b ? settleModel(data, wanted.b).chosen : null };
}

/** Everything that one panel shows. */
export function lookUp(data, state, letter) {
  const { metric, finding, column } = state;
  const { chosen, curve, condition } = settleModel(data, state[letter]);
  const { train, architecture, init, unit, test } = chosen;
  const at = (slot, c, where = test) => estimateAt(data, where, finding, slot, c);
  const slots = (wanted) => data.slots.map((slot, s) => ({ ...slot, s })).filter(wanted);
  const [overall] = slots((slot) => slot.metric === metric && slot.column === "all");
  const points = (list) => list.map((c) => ({ level: data.conditions[c].level, estimate: at(overall.s, c),
    seeds: seedsAt(data, test, finding, metric, c) }));
  const others = data.initialisations.filter((one) => one.key !== init)
    .map((one) => ({ ...one, ...settleModel(data, { ...chosen, init: one.key }) }))
    .filter(({ key, chosen: c }) => c.train === train && c.architecture === architecture && c.init === key &&
      (c.unit === unit || c.unit === null))
    .map((one) => ({ label: one.label, colour: one.colour, points: points(one.curve) }));
  const references = data.conditions.flatMap((one, c) => (one.kind === "public_only" && one.architecture === architecture
    ? [{ label: one.init, estimate: at(overall.s, c) }] : []));
  const { gaps } = data.metrics[placeOf(data.metrics, metric)];
  return {
    chosen, others, references, points: points(curve), condition: data.conditions[condition],
    colour: data.initialisations[placeOf(data.initialisations, init)].colour,
    estimate: at(overall.s, condition), seeds: seedsAt(data, test, finding, metric, condition),
    groups: slots((slot) => slot.metric === metric && slot.column === column).map(({ s, value, label }) => ({ label,
      estimate: at(s, condition), ...countsAt(data, test, finding, column, value) })),
    gaps: slots((slot) => gaps.includes(slot.metric) && slot.column === column).map(({ s, label }) => ({ label,
      estimate: at(s, condition) })),
    transfer: data.tests.map(({ key, label }) => ({ label: key === train ? `${label} (trained on)` : label,
      estimate: at(overall.s, condition, key), ...countsAt(data, key, finding, "all", "all") })),
  };
}

/** Images and positives behind a group; null where a count is not shown. */
function countsAt(data, test, finding, column, value) {
  const [n, positives] = data.counts[`${test}|${finding}|${column}|${value}`] ?? [null, null];
  return { n, positives };
}

// ---- words ----

const fixed = (value) => value.toFixed(3).replace("-", "\u2212");

/** An estimate in words: value and interval, or why there is none. */
export function inWords(estimate) {
  const { value, low, high, reason } = estimate;
  if (value === null) return `not shown (${reason})`;
  return low === null ? fixed(value) : `${fixed(value)} (95% interval ${fixed(low)} to ${fixed(high)})`;
}

export function levelInWords(data, key) {
  return data.levels[placeOf(data.levels, key)].words;
}

/** What is measured, as "macro AUROC" or "AUROC of pneumonia". */
export function measured(data, state) {
  const metric = data.metrics[placeOf(data.metrics, state.metric)].label;
  return state.finding === "macro" ? `macro ${metric}` : `${metric} of ${data.findings[placeOf(data.findings, state.finding)].label}`;
}

function inFull(data, { train, test, architecture, init, unit, level }) {
  const where = train === test ? `trained and tested on ${train}` : `trained on ${train}, tested on ${test}`;
  const network = offersOne(data, "architecture") ? "" : `, ${architecture}`;
  const whose = level === "none" ? "" : ` for each ${unit}`;
  return `${init}${network}, ${where}, ${levelInWords(data, level)}${whose}`;
}

const offersOne = (data, name) => distinct(data.conditions.map((one) => one[name])).length < 2;

/** The sentence that is read aloud when a choice changes: one for each model and one for their difference. */
export function sentences(data, state) {
  const letters = state.b ? ["a", "b"] : ["a"];
  const shown = Object.fromEntries(letters.map((letter) => [letter, lookUp(data, state, letter)]));
  const lines = letters.map((letter) => {
    const { chosen, estimate, seeds } = shown[letter];
    const spread = seeds.length > 1 && estimate.value !== null ? `, mean of ${seeds.length} seeds between ` +
      `${fixed(Math.min(...seeds))} and ${fixed(Math.max(...seeds))}` : "";
    const name = state.b ? `${letter.toUpperCase()}: ` : "";
    return `${name}${inFull(data, chosen)}: ${measured(data, state)} ${inWords(estimate)}${spread}.`;
  });
  if (!state.b) return lines;
  const [a, b] = letters.map((letter) => shown[letter].estimate.value);
  if (a === null || b === null) return [...lines, "A minus B: not shown, as one of them is not."];
  const difference = Math.round(1000 * (a - b)) / 1000;
  return [...lines, `A minus B: ${difference > 0 ? "+" : ""}${fixed(difference)} (${differing(state)}).`];
}

/** In what A and B differ. */
function differing({ a, b }) {
  const names = { train: "set trained on", test: "set tested on", architecture: "architecture", init: "initialisation",
    unit: "unit of privacy", level: "epsilon" };
  const found = Object.keys(names).filter((name) => a[name] !== b[name]).map((name) => names[name]);
  return found.length ? `they differ in ${found.join(", ")}` : "they are the same model and test set";
}

/** What stands below the charts of one model. */
export function notes(data, state, letter) {
  const { condition, references, gaps } = lookUp(data, state, letter);
  const lines = condition.spent === null ? [] : [`Epsilon spent: ${condition.spent.toFixed(2)}.`];
  lines.push(...references.map(({ label, estimate }) =>
    `Public data only (${label}): ${measured(data, state)} ${inWords(estimate)}.`));
  lines.push(...gaps.map(({ label, estimate }) => `${label}: ${inWords(estimate)}${floorInWords(estimate)}.`));
  return lines;
}

function floorInWords({ value, floor }) {
  return value === null || floor === null ? "" : `; ${fixed(floor)} is to be expected with no true difference`;
}

// ---- table, file, link ----

const HEAD = ["setting", "what", "initialisation", "trained on", "tested on", "privacy", "value", "low", "high",
  "noise floor", "seeds", "images", "positives", "reason"];

/** Header and rows of everything that is drawn; numbers as they are, "" where there is none. */
export function tableOf(data, state) {
  const rows = ["a", "b"].filter((letter) => state[letter]).flatMap((letter) => {
    const shown = lookUp(data, state, letter);
    const { init, train, test, level } = shown.chosen;
    const what = measured(data, state);
    const row = (name, estimate, { where = test, at = level, seeds = [], n = null, positives = null } = {}) =>
      [letter.toUpperCase(), name, init, train, where, levelInWords(data, at), estimate.value, estimate.low, estimate.high,
        estimate.floor, seeds.map((seed) => seed.toFixed(3)).join(" "), n, positives, estimate.reason].map((cell) => cell ?? "");
    return [
      ...shown.points.map((point) => row(what, point.estimate, { at: point.level, seeds: point.seeds })),
      ...shown.groups.map((one) => row(`${what}, ${one.label}`, one.estimate, one)),
      ...shown.gaps.map((one) => row(one.label, one.estimate)),
      ...shown.transfer.map((one, i) => row(`${what}, transfer`, one.estimate, { ...one, where: data.tests[i].key })),
    ];
  });
  return { head: HEAD, rows };
}

/** A table as a file that spreadsheets read. */
export function csvOf({ head, rows }) {
  const quoted = (cell) => (typeof cell === "number" ? String(cell) : `"${String(cell).replaceAll('"', '""')}"`);
  return `${[head, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n")}\r\n`;
}

const FRAGMENT = "#explore?";

/** The end of a link that brings `state` back. */
export function fragmentOf({ a, b, ...shared }) {
  const named = (letter, model) => Object.entries(model ?? {}).filter(([, value]) => value !== null)
    .map(([name, value]) => [`${letter}.${name}`, value]);
  return FRAGMENT + new URLSearchParams([...Object.entries(shared), ...named("a", a), ...named("b", b)]);
}

/** The state that a link's end asks for; null where it is none of ours. What does not exist is for `settle`. */
export function stateOf(fragment) {
  if (!fragment.startsWith(FRAGMENT)) return null;
  const state = { a: {} };
  for (const [name, value] of new URLSearchParams(fragment.slice(FRAGMENT.length))) {
    const [, letter, choice] = name.match(/^([ab])\.(\w+)$/) ?? [];
    if (letter) state[letter] = { ...state[letter], [choice]: value };
    else state[name] = value;
  }
  return state;
}
