// A job's life: what happened, when, and how long it took in between; above it the same as a ribbon.

import { el, said, svg, visible } from "./dom.js";
import { icon } from "./icons.js";
import { time } from "./pieces.js";
import { between, HAPPENED, kindOf, plural, roughly, span, when } from "./words.js";

const SIGNS = {
  "job.enqueued": "waiting",
  "job.started": "running",
  "job.completed": "completed",
  "job.failed": "failed",
  "job.cancelled": "cancelled",
  "job.retrying": "failed",
  "job.rate_limited": "paused",
  "job.paused": "paused",
  "job.lost": "failed",
};
//: So many entries are shown; of a longer life the first few and the latest.
const MOST = 120;
const FIRST = 10;
const WIDTH = 1000;

/** The timeline of `entries`, oldest first. */
export function timeline(entries, job) {
  const shown = entries.filter((entry) => entry.name !== "job.progress");
  const skipped = Math.max(0, shown.length - MOST);
  const items = [];
  shown.forEach((entry, index) => {
    if (skipped && index === FIRST)
      items.push(el("li", { class: "skipped" }, `${plural(skipped, "entry").replace("entrys", "entries")} left out`));
    if (skipped && index >= FIRST && index < FIRST + skipped) return;
    items.push(item(entry, index > 0 ? shown[index - 1] : null));
  });
  return [ribbon(shown, job), el("ol", { class: "timeline" }, items)];
}

function item(entry, before) {
  const kind = SIGNS[entry.name] ?? "waiting";
  const passed = before ? between(before.at, entry.at) : 0;
  const gap = before && passed >= 0.0005 ? el("span", { class: "gap" }, gapOf(before, passed)) : null;
  const facts = [
    entry.attempt && entry.name === "job.started" ? `attempt ${entry.attempt}` : null,
    entry.worker && entry.name === "job.started" ? ["on ", said(entry.worker)] : null,
    entry.detail?.run_after > entry.at ? `due ${when(entry.detail.run_after)}` : null,
  ].filter(Boolean);
  return el(
    "li",
    { class: kind },
    gap,
    el("span", { class: "sign" }, icon(kind)),
    el(
      "div",
      {},
      el("strong", {}, HAPPENED[entry.name] ?? visible(entry.name)),
      " ",
      time(entry.at),
      facts.map((fact) => el("span", { class: "muted" }, " · ", fact)),
    ),
    entry.reason ? el("div", { class: "reason" }, said(entry.reason)) : null,
    entry.error ? el("div", { class: "error" }, said(entry.error)) : null,
  );
}

function gapOf(before, passed) {
  if (stretchAfter(before) === null) return `${span(passed)} later`;
  return `${before.name === "job.started" ? "ran" : "waited"} ${span(passed)}`;
}

/** Waiting, running and put off, to scale. Of a life that is not over the last stretch reaches until now. */
function ribbon(entries, job) {
  const stretches = stretchesOf(entries, job);
  const whole = stretches.reduce((sum, one) => sum + one.seconds, 0);
  if (whole <= 0) return null;
  let x = 0;
  const bars = stretches.map(({ kind, seconds }) => {
    const width = (seconds / whole) * WIDTH;
    const bar = svg(
      "rect",
      { class: kind, x, y: 0, width: Math.max(1, width), height: 12 },
      svg("title", {}, `${kind} ${roughly(seconds)}`),
    );
    x += width;
    return bar;
  });
  const sum = (kind) => stretches.filter((one) => one.kind === kind).reduce((total, one) => total + one.seconds, 0);
  const sums = ["running", "waiting", "paused"].map((kind) => [kind, sum(kind)]).filter(([, seconds]) => seconds > 0);
  const words = sums.map(([kind, seconds]) => `${kind === "paused" ? "put off" : kind} ${span(seconds)}`).join(", ");
  const drawing = svg(
    "svg",
    { class: "ribbon", viewBox: `0 0 ${WIDTH} 12`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    bars,
  );
  const key = sums.map(([kind, seconds]) =>
    el("span", { class: `key ${kind}` }, `${kind === "paused" ? "put off" : kind} ${span(seconds)}`),
  );
  return el("div", { class: "ribbon-box" }, drawing, el("p", { class: "keys", "aria-hidden": "true" }, key));
}

function stretchesOf(entries, job) {
  const ends = entries.map((entry) => Date.parse(entry.at));
  const isOver = ["completed", "failed", "cancelled"].includes(kindOf(job.status));
  return entries
    .map((entry, index) => {
      const until = ends[index + 1] ?? (isOver ? ends[index] : Math.max(Date.now(), ends[index]));
      return { kind: stretchAfter(entry), seconds: (until - ends[index]) / 1000 };
    })
    .filter((one) => one.kind !== null && one.seconds > 0);
}

/** What a job does after an entry; null after its end. */
function stretchAfter(entry) {
  if (["job.completed", "job.failed", "job.cancelled"].includes(entry.name)) return null;
  if (entry.name === "job.started") return "running";
  return ["job.rate_limited", "job.paused"].includes(entry.name) ? "paused" : "waiting";
}
