// Lanes and pools: what may start, at what pace, who works, and the hands that close and open.

import { closedList, pauseLeft, paused, resumed } from "./closed.js";
import { el, fill, keyed, part, said, setAttribute, setText, visible } from "./dom.js";
import { listen } from "./live.js";
import { action, card, cell, mark, nothing, row, table } from "./pieces.js";
import { poolCard } from "./pools.js";
import { refresher } from "./refresh.js";
import { jobsHref } from "./route.js";
import { get, seesAll, whyNot } from "./session.js";
import { countOf, number, plural, roughly, statusesOf } from "./words.js";
import { workersTable } from "./workers.js";

const MOST_LANES = 150;

export function lanesPage(signal) {
  const changed = () => refresh.now();
  const columns = [
    ["Lane"],
    ["State"],
    ["Waiting", "right"],
    ["Running", "right"],
    ["Failed", "right"],
    ["Pool"],
    ["Limits"],
    ["", "right"],
  ];
  const { node: lanes, body } = table("Lanes", columns);
  const noLanes = nothing("No lane: no handler is registered, and no job is stored.");
  const closed = closedList({ changed, withButtons: true });
  const pools = el("ul", { class: "pools" });
  const noPools = nothing("No pool. A pool is one provider quota that task types share: name it at the handler, or in config.toml.");
  const workers = el("div");
  const more = el("p", { class: "more" });

  async function load() {
    const ours = ["api/handlers", "api/pools", "api/workers"].map((path) => (seesAll() ? get(path, {}, signal) : {}));
    const [stats, { pauses }, { handlers = [] }, { pools: seen = [] }, { workers: listed }] = await Promise.all([
      get("api/stats", {}, signal),
      get("api/pauses", {}, signal),
      ...ours,
    ]);
    const rows = lanesOf(stats, pauses, handlers);
    keyed(
      body,
      rows.slice(0, MOST_LANES),
      (lane) => lane.name,
      (lane) => makeLane(lane, changed),
      updateLane,
    );
    setText(more, rows.length > MOST_LANES ? `The first ${MOST_LANES} of ${number(rows.length)} lanes.` : "");
    setAttribute(noLanes, "hidden", rows.length > 0);
    setAttribute(lanes, "hidden", rows.length === 0);
    closed.show(pauses);
    keyed(
      pools,
      seen,
      (pool) => pool.name,
      (pool) => poolCard.make(pool, changed),
      poolCard.update,
    );
    setAttribute(noPools, "hidden", seen.length > 0);
    fill(workers, listed ? workersTable(listed) : nothing("Workers are shown to tokens without an owner."));
  }

  const refresh = refresher(load, { least: 3000, idle: 10_000, signal, region: body });
  listen(({ anew, entries }) => (anew || entries.some((entry) => entry.name !== "job.progress")) && refresh.soon(), signal);
  return {
    title: "Lanes & pools",
    nodes: [
      card("Lanes", { id: "lanes" }, lanes, noLanes, more),
      el(
        "div",
        { class: "columns even" },
        el("div", { class: "stack" }, card("Pools", { id: "pools" }, pools, noPools)),
        el(
          "div",
          { class: "stack" },
          card("Paused", { id: "closed", actions: [pauseOther(changed)] }, closed.nodes),
          card("Workers", { id: "workers" }, workers),
        ),
      ),
    ],
  };
}

/** A lane for each task type that has a handler, jobs, or a pause. */
function lanesOf(stats, pauses, handlers) {
  const byScope = new Map(pauses.filter((pause) => pause.gate !== "open").map((pause) => [pause.scope, pause]));
  const lanes = [...byScope.keys()].filter((scope) => !/^(pool|owner|job):/.test(scope));
  const names = new Set([...Object.keys(stats.by_task_type), ...handlers.map((one) => one.task_type), ...lanes]);
  return [...names].sort().map((name) => {
    const routes = handlers.filter((one) => one.task_type === name);
    const pool = routes.find((one) => one.pool)?.pool ?? null;
    return { name, routes, pool, counts: stats.by_task_type[name] ?? {}, pause: byScope.get(name) ?? byScope.get(`pool:${pool}`) ?? null };
  });
}

function makeLane(lane, changed) {
  const button = el("span", { "data-part": "button" });
  const node = row(
    cell("lead", null, said(lane.name, { class: "name" }), el("small", { "data-part": "handler" })),
    cell(null, "state"),
    cell("right", "waiting"),
    cell("right", "running"),
    cell("right", "failed"),
    cell(null, "pool"),
    cell(null, "limits"),
    cell("right", null, button),
  );
  node.changed = changed;
  return node;
}

function updateLane(node, lane) {
  for (const kind of ["waiting", "running", "failed"]) showCount(part(node, kind), lane, kind);
  const shown = JSON.stringify([lane.pause, lane.pool, lane.routes]);
  if (node.dataset.shown === shown) return;
  node.dataset.shown = shown;
  const { pause, routes, pool, name } = lane;
  const own = pause?.scope === name;
  fill(
    part(node, "state"),
    pause ? [mark("paused", own ? "Paused" : "Pool paused"), el("small", {}, pauseLeft(pause))] : mark("open", "Open"),
  );
  fill(part(node, "pool"), pool ? [el("span", { class: "label" }, "pool "), said(pool)] : null);
  setText(
    part(node, "handler"),
    visible(routes.map((one) => (one.target_type ? `${one.handler} for ${one.target_type}` : one.handler)).join(", ") || "no handler here"),
  );
  setText(part(node, "limits"), routes.length ? limitsOf(routes[0]) : "");
  const why = whyNot("operate", { forAll: true });
  const act = own ? resumed : paused;
  const click = () => act(name).then((answer) => answer && node.changed());
  fill(part(node, "button"), action(own ? "Resume…" : "Pause…", why, click, { name: own ? "resume" : "pause" }));
}

function showCount(node, lane, kind) {
  const count = countOf(lane.counts, kind);
  if (node.dataset.count === String(count)) return;
  node.dataset.count = count;
  const href = jobsHref({ task_type: lane.name, status: statusesOf(kind) });
  fill(node, el("span", { class: "label" }, `${kind} `), count ? el("a", { href }, number(count)) : el("span", { class: "muted" }, "0"));
}

function limitsOf(route) {
  const limit = route.timeout_s === null ? "no time limit" : `${roughly(route.timeout_s)} each`;
  return `${number(route.concurrency)} at once, ${plural(route.max_attempts, "attempt")}, ${limit}`;
}

/** For what has no row of its own: an owner, or a lane that is still to come. */
function pauseOther(changed) {
  const input = el("input", {
    id: "scope",
    type: "text",
    placeholder: "owner:NAME or pool:NAME",
    "aria-label": "Scope to pause",
    required: true,
  });
  const why = whyNot("operate", { forAll: true });
  const button = el("button", { type: "submit", disabled: why !== null, title: why }, "Pause…");
  async function submit(event) {
    event.preventDefault();
    if ((await paused(input.value.trim())) !== null) {
      input.value = "";
      changed();
    }
  }
  return el("form", { class: "inline", on: { submit } }, input, button);
}
