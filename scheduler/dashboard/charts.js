// Bars over time, drawn by calls; the same numbers as a table for those who cannot, or would rather not, see bars.

import { el, fill, setText, svg } from "./dom.js";
import { clockTime, number } from "./words.js";

const WIDTH = 360;
const HEIGHT = 120;
const FLOOR = 102;
const TOP = 14;

/** A chart of one series; `show(buckets)` draws `[{at, value}]`. `noun` is what is counted. */
export function barChart({ id, title, noun, kind }) {
  const name = svg("title", { id: `${id}-title` }, title);
  const description = svg("desc", { id: `${id}-desc` });
  const bars = svg("g", { class: `bars ${kind}` });
  const frame = svg("g", { class: "frame", "aria-hidden": "true" });
  const drawing = svg(
    "svg",
    { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": `${id}-title ${id}-desc` },
    name,
    description,
    frame,
    bars,
  );
  const reading = el("p", { class: "reading", "aria-hidden": "true" });
  const rows = el("tbody");
  const head = el("tr", {}, el("th", { scope: "col" }, "From"), el("th", { scope: "col", class: "right" }, noun));
  const caption = el("caption", { class: "unseen" }, title);
  const asTable = el(
    "details",
    { class: "as-table" },
    el("summary", {}, "As a table"),
    el("table", {}, caption, el("thead", {}, head), rows),
  );
  let shown = [];

  const summary = () => `${number(shown.reduce((sum, one) => sum + one.value, 0))} ${noun}, shown per ${stepOf(shown)}`;
  const tabulate = () =>
    asTable.open &&
    fill(
      rows,
      shown.map((one) => el("tr", {}, el("th", { scope: "row" }, clockTime(one.at)), el("td", { class: "right" }, number(one.value)))),
    );
  asTable.addEventListener("toggle", tabulate);
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const one = shown[Math.floor(((event.clientX - box.left) / box.width) * shown.length)];
    if (one) setText(reading, `${clockTime(one.at)}: ${number(one.value)} ${noun}`);
  });
  drawing.addEventListener("pointerleave", () => setText(reading, summary()));

  function show(buckets) {
    shown = buckets;
    const most = niceMost(Math.max(0, ...buckets.map((one) => one.value)));
    const width = WIDTH / Math.max(1, buckets.length);
    fill(
      bars,
      buckets.map((one, index) => bar(one.value / most, index * width, width)),
    );
    fill(frame, grid(most), hours(buckets, width));
    setText(reading, summary());
    description.textContent = `${summary()}; at most ${number(Math.max(0, ...buckets.map((one) => one.value)))} at a time.`;
    tabulate();
  }

  return { node: el("figure", { class: "chart-box" }, reading, drawing, asTable), show };
}

function bar(share, x, width) {
  const height = share > 0 ? Math.max(2, share * (FLOOR - TOP)) : 0;
  const gap = Math.min(2, width / 4);
  return svg("rect", { x: x + gap / 2, y: FLOOR - height, width: Math.max(0.5, width - gap), height, rx: Math.min(1.5, width / 4) });
}

function grid(most) {
  return [0, 0.5, 1].map((share) => {
    const y = FLOOR - share * (FLOOR - TOP);
    const label = share === 0 ? null : svg("text", { x: 0, y: y - 3 }, number(most * share));
    return [svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y }), label];
  });
}

/** A few clock times below: at most six, at even places. */
function hours(buckets, width) {
  const every = Math.max(1, Math.ceil(buckets.length / 6));
  return buckets.map((one, index) => (index % every === 0 ? svg("text", { x: index * width, y: HEIGHT - 5 }, clockTime(one.at)) : null));
}

/** 1, 2, 4, 10, 20 …: what halves well. */
function niceMost(most) {
  const size = 10 ** Math.floor(Math.log10(Math.max(2, most)));
  return [1, 2, 4, 6, 10].map((step) => step * size).find((nice) => nice >= Math.max(2, most));
}

function stepOf(buckets) {
  const step_s = buckets.length > 1 ? (Date.parse(buckets[1].at) - Date.parse(buckets[0].at)) / 1000 : 0;
  return step_s >= 3600 ? `${step_s / 3600} h` : `${Math.round(step_s / 60)} min`;
}
