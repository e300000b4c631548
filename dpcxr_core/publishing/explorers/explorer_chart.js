// How the explorer draws: a metric over epsilon, bars of groups and test sets, gaps with their noise floor.
//
// Every picture says in words what it shows; its colours are those of the page's text and of the palette in the payload.

const faint = { stroke: "currentColor", "stroke-opacity": 0.22 };
const dashed = { stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": "6 4" };
const dotted = { ...dashed, "stroke-dasharray": "1.5 3" };

const picture = (width, height, label) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });

/** Width of the charts in the element `box`. */
const chartWidth = (box) => Math.max(250, Math.min(box.clientWidth || 640, 640));

const heading = (text) => html("p", { class: "dx-title" }, text);

/** A number without a trailing zero too many, as an axis shows it. */
const tickText = (value) => fixed(value).replace(Math.abs(value) < 10 ? /0$/ : /00?$/, "");

/** Ends of an axis on which every estimate, seed and `extra` value can be seen. */
export function domainOf(estimates, extra = []) {
  const values = [...extra, ...estimates.flatMap((e) => [e.value, e.low, e.high, e.floor ?? null])].filter((v) => v !== null);
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = Math.max(0.02 * (high - low), 0.004);
  return [low - pad, high + pad];
}

// ---- over epsilon ----

/** Runs of neighbouring levels that have a value: a missing one breaks the line. */
function stretches(points) {
  const found = [[]];
  for (const point of points) {
    if (point.estimate.value !== null) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((stretch) => stretch.length);
}

function drawAxes(root, { levels, domain, name, width, height, x, y }) {
  for (const tick of ticks(domain)) {
    root.append(svg("line", { x1: 48, x2: width - 12, y1: y(tick), y2: y(tick), ...faint }),
      svg("text", { x: 42, y: y(tick) + 4, "text-anchor": "end" }, tickText(tick)));
  }
  for (const level of levels) {
    root.append(svg("text", { x: x(level.key), y: height - 26, "text-anchor": "middle" }, level.label));
  }
  root.append(
    svg("text", { x: (60 + width - 44) / 2, y: height - 6, "text-anchor": "middle" }, "epsilon of at most"),
    svg("text", { x: 9, y: height / 2, transform: `rotate(-90 9 ${height / 2})`, "text-anchor": "middle" }, name));
}

function drawBand(root, colour, points, x, y) {
  for (const stretch of stretches(points.filter((point) => point.estimate.low !== null))) {
    const edge = (end) => stretch.map(({ level, estimate }) => `${x(level)},${y(estimate[end])}`);
    root.append(svg("polygon", { points: [...edge("high"), ...edge("low").reverse()].join(" "), fill: colour,
      "fill-opacity": 0.2 }));
    for (const { level, estimate } of stretch) {
      root.append(svg("line", { x1: x(level), x2: x(level), y1: y(estimate.low), y2: y(estimate.high), stroke: colour,
        "stroke-width": 1.5 }));
    }
  }
}

function drawLine(root, colour, points, x, y, chosen) {
  for (const stretch of stretches(points)) {
    root.append(svg("polyline", { points: stretch.map((p) => `${x(p.level)},${y(p.estimate.value)}`).join(" "),
      fill: "none", stroke: colour, "stroke-width": chosen ? 3 : 1.25, "stroke-opacity": chosen ? 1 : 0.75 }));
    for (const { level, estimate, seeds } of stretch) {
      root.append(svg("circle", { cx: x(level), cy: y(estimate.value), r: chosen ? 4 : 2.2, fill: colour }));
      for (const seed of chosen && seeds.length > 1 ? seeds : []) {
        root.append(svg("circle", { cx: x(level), cy: y(seed), r: 2.6, fill: "none", stroke: "currentColor" }));
      }
    }
  }
}

/**
 * A metric over epsilon: the chosen model with its band and seeds, others thin, public data only dashed, and
 * `ideal` dotted unless that is null.
 */
export function drawCurves(shown, { levels, domain, ideal, name, words, width }) {
  const height = 280;
  const place = scale([0, Math.max(levels.length - 1, 1)], [66, width - 44]);
  const x = (key) => place(levels.findIndex((level) => level.key === key));
  const y = scale(domain, [height - 46, 12]);
  const now = shown.chosen.level;
  const root = picture(width, height, `${name} against epsilon. ${words}`);
  drawAxes(root, { levels, domain, name, width, height, x, y });
  root.append(svg("line", { x1: x(now), x2: x(now), y1: 8, y2: height - 42, stroke: "currentColor", "stroke-opacity": 0.5,
    "stroke-width": 1.5 }));
  const across = (value, style) => root.append(svg("line", { x1: 48, x2: width - 12, y1: y(value), y2: y(value), ...style }));
  if (ideal !== null) across(ideal, dotted);
  for (const { estimate } of shown.references.filter((one) => one.estimate.value !== null)) across(estimate.value, dashed);
  for (const other of shown.others) drawLine(root, other.colour, other.points, x, y, false);
  drawBand(root, shown.colour, shown.points, x, y);
  drawLine(root, shown.colour, shown.points, x, y, true);
  if (shown.estimate.value !== null) {
    root.append(svg("circle", { cx: x(now), cy: y(shown.estimate.value), r: 7, fill: shown.colour,
      stroke: "currentColor", "stroke-width": 2 }));
  }
  return root;
}

/** What the lines of `drawCurves` are. */
export function legend(shown, ideal) {
  const swatch = (attributes) => svg("svg", { viewBox: "0 0 24 10", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 24, y1: 5, y2: 5, ...attributes }));
  const item = (text, attributes, more = {}) => html("li", more, swatch(attributes), text);
  return html("ul", { class: "dx-legend" },
    item(shown.chosen.init, { stroke: shown.colour, "stroke-width": 4 }, { class: "dx-chosen" }),
    ...shown.others.map((one) => item(one.label, { stroke: one.colour, "stroke-width": 2 })),
    ...(shown.references.length ? [item("public data only", { ...dashed, "stroke-width": 2 })] : []),
    ...(ideal === null ? [] : [item("ideal", { ...dotted, "stroke-width": 2 })]));
}

// ---- bars and gaps: one row each, its name and number above it ----

const ROW = 38;

function drawInterval(root, x, middle, { low, high }) {
  if (low === null) return;
  const line = (x1, x2, y1, y2) => svg("line", { x1, x2, y1, y2, stroke: "currentColor", "stroke-width": 2 });
  root.append(line(x(low), x(high), middle, middle));
  for (const end of [low, high]) root.append(line(x(end), x(end), middle - 5, middle + 5));
}

/** An empty picture of rows, with ticks below and the name and number of each row above its place. */
function rowsOf(rows, { domain, words, width }) {
  const height = rows.length * ROW + 24;
  const x = scale(domain, [10, width - 14]);
  const told = rows.map(({ label, estimate }) => `${label} ${inWords(estimate)}`).join("; ");
  const root = picture(width, height, `${words}: ${told || "nothing to show"}.`);
  // a line stands beside every bar and never behind the words above it
  const upright = (value, style) => root.append(...rows.map((_, i) =>
    svg("line", { x1: x(value), x2: x(value), y1: i * ROW + 17, y2: (i + 1) * ROW - 2, ...style })));
  for (const tick of ticks(domain)) {
    upright(tick, faint);
    root.append(svg("text", { x: x(tick), y: height - 6, "text-anchor": "middle" }, tickText(tick)));
  }
  rows.forEach(({ label, estimate }, i) => {
    const number = estimate.value === null ? "not shown" : fixed(estimate.value);
    const room = width - 64;
    const narrow = 6 * label.length > room ? { textLength: room, lengthAdjust: "spacingAndGlyphs" } : {};
    root.append(svg("text", { x: 2, y: i * ROW + 14, ...narrow }, label),
      svg("text", { x: width - 2, y: i * ROW + 14, "text-anchor": "end" }, number));
  });
  return { root, x, upright, middle: (i) => i * ROW + 26 };
}

/** Bars from `base`, each with its interval. */
export function drawBars(rows, { domain, base, colour, words, width }) {
  const { root, x, upright, middle } = rowsOf(rows, { domain, words, width });
  rows.forEach(({ estimate }, i) => {
    if (estimate.value === null) return;
    const [from, to] = [x(base), x(estimate.value)].sort((a, b) => a - b);
    root.append(svg("rect", { x: from, width: to - from, y: middle(i) - 7, height: 14, fill: colour, "fill-opacity": 0.75 }));
    drawInterval(root, x, middle(i), estimate);
  });
  upright(base, { stroke: "currentColor" });
  return root;
}

/** Gaps with their intervals; in grey, the gap to be expected with no true difference. */
export function drawGaps(rows, { domain, words, width }) {
  const { root, x, upright, middle } = rowsOf(rows, { domain, words, width });
  upright(0, { stroke: "currentColor" });
  rows.forEach(({ estimate }, i) => {
    if (estimate.value === null) return;
    if (estimate.floor !== null) {
      root.append(svg("rect", { x: x(0), width: Math.max(0, x(estimate.floor) - x(0)), y: middle(i) - 7, height: 14,
        fill: "currentColor", "fill-opacity": 0.18, stroke: "currentColor", "stroke-dasharray": "2 2" }));
    }
    drawInterval(root, x, middle(i), estimate);
    root.append(svg("circle", { cx: x(estimate.value), cy: middle(i), r: 6, fill: "currentColor" }));
  });
  return root;
}
