// What every live page is made with: elements, scales, controls with names. It knows nothing of what is shown.
//
// Parts of one module: live_html.py joins this file and those of an explorer, in which all that follows is in reach.

const SVG = "http://www.w3.org/2000/svg";

function make(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const svg = (name, attributes = {}, ...children) => make(document.createElementNS(SVG, name), attributes, children);
const html = (name, attributes = {}, ...children) => make(document.createElement(name), attributes, children);

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

/** Let keys move the slider `input` by `steps`: JupyterLab takes the default action of arrow keys away from it. */
function moveByKeys(input, steps) {
  input.addEventListener("keydown", (event) => {
    if (!(event.key in steps) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    input.value = Number(input.value) + steps[event.key];
    input.dispatchEvent(new Event("input"));
  });
}

/** Redraw when the width of `el` changes; returns what stops it. */
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

/** Call `mount` with every element of class `name` and its payload, each once, however often the module is included. */
function mountEach(name, mount) {
  for (const root of document.querySelectorAll(`.${name}:not([data-mounted])`)) {
    root.dataset.mounted = "true";
    mount(root, JSON.parse(root.querySelector('script[type="application/json"]').textContent));
  }
}
