// Now: what runs, what is closed, how the last hours went, who works.

import { barChart } from "./charts.js";
import { closedList } from "./closed.js";
import { el, fill, said, setAttribute, setText } from "./dom.js";
import { icon } from "./icons.js";
import { listen } from "./live.js";
import { card, mark, nothing } from "./pieces.js";
import { refresher } from "./refresh.js";
import { runningCard } from "./running.js";
import { hrefOf, jobsHref } from "./route.js";
import { get, seesAll } from "./session.js";
import { countOf, KINDS, number, span, statusesOf } from "./words.js";

//: Hours to look back, and the width of a bar that goes with them, in seconds.
const RANGES = { 1: 60, 6: 300, 24: 1200 };
const MOST_REASONS = 6;

export function nowPage(signal) {
  const tiles = tilesOf();
  const closed = closedList({ changed: () => {} });
  const reasons = el("ul", { class: "bars-list" });
  const noReasons = nothing("Nothing failed, and nothing waits for a provider.");
  const workers = el("div");
  const hours = hoursCards(signal);

  async function load() {
    const stats = await get("api/stats", {}, signal);
    tiles.show(stats);
    closed.show(stats.pauses);
    showReasons(reasons, noReasons, stats.reasons);
    fill(workers, await workersOf(stats, signal));
  }

  const side = el(
    "div",
    { class: "stack" },
    card("Paused", { id: "paused", actions: [el("a", { href: hrefOf("lanes") }, "Lanes & pools")] }, closed.nodes),
    card("Why jobs fail or wait", { id: "reasons" }, reasons, noReasons),
    card("Workers", { id: "workers" }, workers),
  );
  const refresh = refresher(load, { least: 3000, idle: 15_000, signal, region: tiles.node });
  listen(({ anew, entries }) => (anew || entries.some((entry) => entry.name !== "job.progress")) && refresh.soon(), signal);
  return {
    title: "Now",
    nodes: [tiles.node, el("div", { class: "columns" }, el("div", { class: "stack" }, runningCard(signal), hours), side)],
  };
}

function tilesOf() {
  const numbers = {};
  const tiles = Object.entries(KINDS).map(([kind, word]) => {
    numbers[kind] = el("strong", {}, "–");
    const label = el("span", { class: `badge ${kind}` }, icon(kind), word);
    return el("li", {}, el("a", { class: "tile", href: jobsHref({ status: statusesOf(kind) }) }, label, numbers[kind]));
  });
  const node = el("ul", { class: "tiles", "aria-label": "Jobs by status" }, tiles);
  return {
    node,
    show: (stats) => Object.entries(numbers).forEach(([kind, shown]) => setText(shown, number(countOf(stats.by_status, kind)))),
  };
}

function showReasons(list, empty, reasons) {
  const top = Object.entries(reasons).slice(0, MOST_REASONS);
  const most = Math.max(1, ...top.map(([, count]) => count));
  fill(
    list,
    top.map(([reason, count]) =>
      el(
        "li",
        {},
        el("a", { href: jobsHref({ reason }) }, said(reason)),
        el("span", { class: "count" }, number(count)),
        el("meter", { min: 0, max: most, value: count, "aria-hidden": "true" }),
      ),
    ),
  );
  setAttribute(empty, "hidden", top.length > 0);
}

/** A line for each worker; those with an owner's token see only that there are some. */
async function workersOf(stats, signal) {
  if (!seesAll()) return nothing("Workers are shown to tokens without an owner.");
  const { workers } = await get("api/workers", {}, signal);
  if (workers.length === 0) return nothing("No worker: jobs wait. ", el("code", {}, "scheduler serve"), " starts one.");
  const lines = workers.slice(0, 12).map((one) => {
    const state = one.state === "living" ? mark("completed", "Living") : mark("failed", "Lost");
    const told = one.state === "living" ? `runs ${number(one.running)}` : `silent for ${span(one.silent_s)}`;
    return el("li", {}, said(one.worker, { class: "ellipsis" }), state, el("span", { class: "muted" }, told));
  });
  return [
    el("ul", { class: "workers" }, lines),
    workers.length > 12 ? el("p", { class: "more" }, `and ${workers.length - 12} more`) : null,
  ];
}

/** Throughput and failures over the last hours, each on a scale of its own: a few failures among thousands must show. */
function hoursCards(signal) {
  const done = barChart({ id: "done", title: "Completed jobs over the last hours", noun: "completed", kind: "completed" });
  const bad = barChart({ id: "bad", title: "Failed jobs over the last hours", noun: "failed", kind: "failed" });
  let range = 6;

  const options = Object.keys(RANGES).map((one) =>
    el("option", { value: one, selected: Number(one) === range }, one === "1" ? "1 hour" : `${one} hours`),
  );
  const select = el(
    "select",
    { "aria-label": "How far back", on: { change: () => ((range = Number(select.value)), refresh.now()) } },
    options,
  );

  async function load() {
    const { buckets } = await get("api/stats/throughput", { hours: range, bucket_s: RANGES[range] }, signal);
    done.show(buckets.map(({ at, completed: value }) => ({ at, value })));
    bad.show(buckets.map(({ at, failed: value }) => ({ at, value })));
  }

  const refresh = refresher(load, { least: 10_000, idle: 30_000, signal });
  listen(({ anew, entries }) => (anew || entries.some((entry) => entry.name !== "job.progress")) && refresh.soon(), signal);
  return card("The last hours", { id: "hours", actions: [select] }, el("div", { class: "charts" }, done.node, bad.node));
}
