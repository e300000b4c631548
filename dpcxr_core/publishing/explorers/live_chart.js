// The answer of a kernel, drawn as the explorer draws: one bar a group, and the gaps between them.

/** ipywidgets draws its sliders without a name for screen readers: copy the visible label. */
function nameSliders(el) {
  const box = el.closest(".widget-vbox");
  for (const handle of box ? box.querySelectorAll(".noUi-handle") : []) {
    const label = handle.closest(".widget-inline-hbox").querySelector("label");
    if (label) handle.setAttribute("aria-label", label.textContent);
  }
}

function render({ model, el }) {
  const words = html("div", { class: "dx-words", "aria-live": "polite" });
  const charts = html("div");
  const root = html("div", { class: "dpcxr-explorer" }, words, charts);
  el.append(root);
  const draw = () => {
    nameSliders(el);
    const { refusal, words: told, title, base, reading, groups, gaps } = model.get("answer");
    words.replaceChildren(html("p", {}, refusal || `${title}, all patients ${inWords(groups[0].estimate)}. ${told}`));
    charts.replaceChildren();
    if (refusal) return;
    const width = chartWidth(root);
    const domain = (rows, from) => domainOf(rows.map(({ estimate }) => estimate), [from]);
    charts.append(heading(title), html("p", { class: "dx-note" }, reading),
      drawBars(groups, { domain: domain(groups, base), base, colour: "#0072b2", words: title, width }));
    if (gaps.length) charts.append(heading("Gaps"), drawGaps(gaps, { domain: domain(gaps, 0), words: "Gaps", width }));
  };
  model.on("change:answer", draw);
  draw();
  const stop = onResize(root, draw);
  return () => {
    model.off("change:answer", draw);
    stop();
  };
}

export default { render };
