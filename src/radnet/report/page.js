"use strict";

// Figures: a report may hold a hundred panels; each is drawn when it comes near, or when there is nothing else to do, and
// what draws them is read at the first.
const settings = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
function readPlotly() {
  const script = document.createElement("script");
  script.textContent = document.getElementById("plotly").textContent;
  document.head.append(script);
}
const waiting = new Set(document.querySelectorAll(".plot"));
function draw(plot) {
  if (!waiting.delete(plot)) { return; }
  if (!window.Plotly) { readPlotly(); }
  const spec = JSON.parse(plot.nextElementSibling.textContent);
  Plotly.newPlot(plot, spec.data, spec.layout, settings);
}
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
  }
}, { rootMargin: "600px" });
waiting.forEach((plot) => near.observe(plot));
const whenIdle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
function drawNext() {
  const [plot] = waiting;
  if (plot) { draw(plot); whenIdle(drawNext); }
}
addEventListener("load", () => whenIdle(drawNext));
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));

// Downloads: some browsers refuse to save a data URI of more than 2 MB, but never a blob.
function asBlob(bytes) { return URL.createObjectURL(new Blob([bytes], { type: "text/csv" })); }
document.querySelectorAll("a[download]").forEach((link) => link.addEventListener("click", () => {
  if (!link.href.startsWith("data:")) { return; }
  link.href = asBlob(Uint8Array.from(atob(link.href.split(",")[1]), (letter) => letter.charCodeAt(0)));
}));
function tableAsCsv(table) {
  const quoted = (cell) => `"${cell.textContent.replace(/\s+/g, " ").trim().replaceAll('"', '""')}"`;
  return [...table.rows].map((row) => [...row.cells].map(quoted).join(",")).join("\n") + "\n";
}
document.querySelectorAll(".scroll > table").forEach((table) => {
  const link = document.createElement("a");
  const title = table.caption.firstChild.textContent.trim();
  link.className = "save";
  link.textContent = "CSV";
  link.setAttribute("aria-label", `Download the table ${title} as CSV`);
  link.download = `${title.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_|_$/g, "")}.csv`;
  link.href = "#";
  link.addEventListener("click", () => { link.href = asBlob(tableAsCsv(table)); });
  table.caption.firstChild.after(link);
});

// The threshold slider: whom a threshold calls positive is counted anew, patient by patient, at every move.
function thresholdPanel(data) {
  const part = (name) => document.getElementById(`threshold-${name}`);
  const state = { selection: null, basis: "score", place: 0, value: 0, weight: 0.5, grid: [], start: null };

  const distinct = (values) => [...new Set(values)];
  function fill(select, names) {
    const before = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) { select.value = before; }
  }
  function choose() {
    fill(part("endpoint"), distinct(data.selections.map((one) => one.endpoint)));
    const ofEndpoint = data.selections.filter((one) => one.endpoint === part("endpoint").value);
    fill(part("model"), distinct(ofEndpoint.map((one) => one.model)));
    const ofModel = ofEndpoint.filter((one) => one.model === part("model").value);
    fill(part("partition"), ofModel.map((one) => one.partition));
    state.selection = ofModel.find((one) => one.partition === part("partition").value);
    const { probability, same } = state.selection;
    const bases = [["score", same ? "the probability" : "the score"]];
    if (probability && !same) { bases.push(["probability", "the probability"]); }
    const before = part("basis").value;
    part("basis").replaceChildren(...bases.map(([value, words]) => new Option(words, value)));
    part("basis").value = bases.some(([value]) => value === before) ? before : "score";
    part("basis").disabled = bases.length === 1;
    const events = state.selection.event;
    const share = events.reduce((sum, event) => sum + event, 0) / events.length;
    state.weight = Math.min(99, Math.max(1, Math.round(100 * share))) / 100;
    begin();
  }

  // The places a slider can stand at: an even grid, and the very cut-off of the evaluation.
  function gridOver(lowest, highest, exact) {
    const rough = (highest - lowest) / 200 || 0.01;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const values = [];
    for (let k = Math.floor(lowest / step); k <= Math.ceil(highest / step) + 1; k += 1) {
      values.push(Number((k * step).toPrecision(12)));
    }
    if (Number.isFinite(exact)) { values.push(exact); }
    return distinct(values).sort((one, other) => one - other);
  }
  function begin() {
    const { score, cutoff, same } = state.selection;
    state.basis = part("basis").value;
    const finite = score.map(Number).filter(Number.isFinite);
    const [lowest, highest] = [Math.min(...finite), Math.max(...finite)];
    if (state.basis === "probability") {
      state.grid = Array.from({ length: 99 }, (_, place) => (place + 1) / 100);
      state.start = null;
      state.value = state.weight;
    } else if (Array.isArray(cutoff)) {
      state.grid = gridOver(lowest - highest, highest - lowest, 0);
      state.value = state.start = 0;
    } else {
      state.start = cutoff === null ? null : Number(cutoff);
      const reach = Number.isFinite(state.start) ? [state.start] : [];
      state.grid = gridOver(Math.min(lowest, ...reach), Math.max(highest, ...reach), state.start);
      if (state.start !== null && !Number.isFinite(state.start)) {
        state.grid = state.start > 0 ? [...state.grid, state.start] : [state.start, ...state.grid];
      }
      state.value = state.start ?? state.grid[Math.floor(state.grid.length / 2)];
    }
    part("range").max = state.grid.length - 1;
    const shared = Array.isArray(cutoff) && state.basis === "score";
    part("label").textContent = shared ? "Shift of every patient's own cut-off"
      : state.basis === "probability" || same ? "Threshold on the probability" : "Cut-off on the score";
    part("weight-control").hidden = weightIsThreshold();
    part("weight").value = Math.round(100 * state.weight);
    part("reset").hidden = state.start === null;
    show();
  }
  const weightIsThreshold = () => state.basis === "probability" || state.selection.same;

  function count() {
    const { score, event, cutoff, rows, probability } = state.selection;
    const onProbability = state.basis === "probability";
    const values = onProbability ? probability.value : score;
    const events = onProbability ? probability.event : event;
    const found = { tp: 0, fp: 0, fn: 0, tn: 0 };
    values.forEach((value, place) => {
      let threshold = state.value;
      if (!onProbability && Array.isArray(cutoff)) {
        threshold = state.value === 0 ? Number(cutoff[place]) : Number(cutoff[place]) + state.value;
      }
      const positive = data.rule === "gt" ? Number(value) > threshold : Number(value) >= threshold;
      const name = positive ? (events[place] ? "tp" : "fp") : (events[place] ? "fn" : "tn");
      found[name] += onProbability || rows === null ? 1 : 1 / rows[place];
    });
    return found;
  }
  // Round half to even, as the tables of this page do: 6.25 is written 6.2.
  function fixed(number, decimals) {
    const exact = Math.abs(number).toFixed(60);
    const [whole, rest] = [exact.slice(0, exact.indexOf(".") + 1 + decimals), exact.slice(exact.indexOf(".") + 1 + decimals)];
    const tie = /^50*$/.test(rest) && "02468".includes(whole.replace(".", "").at(-1));
    const text = tie ? whole.replace(/\.$/, "") : Math.abs(number).toFixed(decimals);
    return number < 0 && Number(text) !== 0 ? `−${text}` : text;
  }
  const tidy = (number) => (Number.isFinite(number) ? String(Number(number.toPrecision(4))).replace("-", "−") : number > 0 ? "∞" : "−∞");
  const patients = (number) => (Math.abs(number - Math.round(number)) < 1e-6 ? String(Math.round(number)) : fixed(number, 1));

  function show() {
    const { tp, fp, fn, tn } = count();
    const total = tp + fp + fn + tn;
    const shares = {
      sensitivity: [tp, tp + fn], specificity: [tn, tn + fp], ppv: [tp, tp + fp], npv: [tn, tn + fn], accuracy: [tp + tn, total],
    };
    for (const [name, [of, all]] of Object.entries(shares)) {
      const value = of / all;
      part(name).textContent = all > 0 ? `${fixed(100 * value, 1)}%` : "–";
      part(name).dataset.value = value;
      part(`${name}-of`).textContent = `${patients(of)} of ${patients(all)}`;
      part(`${name}-bar`).style.width = all > 0 ? `${100 * value}%` : "0";
    }
    const weight = weightIsThreshold() ? state.value : state.weight;
    const odds = weight / (1 - weight);
    const known = weight >= 0 && weight < 1;
    const benefit = known ? tp / total - (fp / total) * odds : NaN;
    const share = (tp + fn) / total;
    part("net_benefit").textContent = known ? fixed(benefit, 3) : "–";
    part("net_benefit").dataset.value = benefit;
    part("net_benefit-of").textContent = known
      ? `treat all ${fixed(share - (1 - share) * odds, 3)}, nobody 0; at ${tidy(100 * weight)}%` : "needs a threshold within 0 and 1";
    for (const [name, number] of Object.entries({ tp, fp, fn, tn })) {
      part(name).textContent = patients(number);
      part(name).dataset.value = number;
      part(name).parentElement.style.setProperty("--share", `${total > 0 ? Math.round(80 * number / total) : 0}%`);
    }
    state.place = nearest(state.value);
    part("range").value = state.place;
    const words = `${state.value > 0 && part("label").textContent.startsWith("Shift") ? "+" : ""}${tidy(state.value)}`;
    part("range").setAttribute("aria-valuetext", words);
    if (document.activeElement !== part("value")) {
      part("value").value = Number.isFinite(state.value) ? Number(state.value.toPrecision(4)) : "";
    }
    part("at").textContent = words;
    part("weight").setAttribute("aria-valuetext", `${Math.round(100 * state.weight)}%`);
    part("weight-at").textContent = `${Math.round(100 * state.weight)}%`;
    part("frozen").hidden = state.value !== state.start;
    part("moved").hidden = state.value === state.start;
    part("size").textContent = `${patients(total)} patients, ${patients(tp + fn)} with the event`;
    tell(words);
  }
  function nearest(value) {
    let best = 0;
    state.grid.forEach((one, place) => {
      if (one === value || Math.abs(one - value) < Math.abs(state.grid[best] - value)) { best = place; }
    });
    return best;
  }
  // Said to a screen reader when the slider rests, not at each step.
  let waiting = 0;
  function tell(words) {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const [sensitivity, specificity] = ["sensitivity", "specificity"].map((name) => part(name).textContent);
      part("told").textContent = `At ${words}: sensitivity ${sensitivity}, specificity ${specificity}, net benefit ${part("net_benefit").textContent}`;
    }, 600);
  }

  ["endpoint", "model", "partition"].forEach((name) => part(name).addEventListener("change", choose));
  part("basis").addEventListener("change", begin);
  part("range").addEventListener("input", () => { state.value = state.grid[part("range").valueAsNumber]; show(); });
  part("value").addEventListener("input", () => {
    if (Number.isFinite(part("value").valueAsNumber)) { state.value = part("value").valueAsNumber; show(); }
  });
  part("weight").addEventListener("input", () => { state.weight = part("weight").valueAsNumber / 100; show(); });
  part("reset").addEventListener("click", () => { state.value = state.start; show(); });
  choose();
  part("panel").hidden = false;
}
const embedded = document.getElementById("threshold-data");
if (embedded) { thresholdPanel(JSON.parse(embedded.textContent)); }
