// A pool: one provider quota. What it does now in the service's sentence, its pace, its calls, the limits that are known and who told them.

import { paused, resumed } from "./closed.js";
import { el, fill, part, said } from "./dom.js";
import { action, facts, mark, sentence, time } from "./pieces.js";
import { whyNot } from "./session.js";
import { figure, number, span } from "./words.js";

const STATES = { open: ["open", "Open"], trying: ["running", "Trying"], held: ["paused", "Held"], paused: ["paused", "Paused"] };
const PERIODS = { 1: "second", 60: "minute", 3600: "hour", 86400: "day" };

export const poolCard = {
  make(pool, changed) {
    const node = el(
      "li",
      { class: "pool" },
      el(
        "div",
        { class: "line" },
        said(pool.name, { class: "name" }),
        el("span", { "data-part": "state" }),
        el("span", { "data-part": "button" }),
      ),
      el("p", { class: "sentence", "data-part": "summary" }),
      el("div", { "data-part": "figures" }),
      el("details", {}, el("summary", {}, "Limits"), el("div", { "data-part": "limits" })),
    );
    node.changed = changed;
    return node;
  },
  update(node, pool) {
    fill(part(node, "summary"), sentence(pool.summary));
    const shown = JSON.stringify([pool.state, pool.pause?.scope]);
    if (node.dataset.shown !== shown) {
      node.dataset.shown = shown;
      fill(part(node, "state"), mark(...(STATES[pool.state] ?? ["waiting", pool.state])));
      fill(part(node, "button"), button(pool, node.changed));
    }
    const types = pool.task_types?.length ? el("p", { class: "types" }, "for ", said(pool.task_types.join(", "))) : null;
    fill(part(node, "figures"), figures(pool), types);
    fill(part(node, "limits"), limits(pool));
  },
};

function button(pool, changed) {
  const closed = pool.state !== "open";
  const why = whyNot("operate", { forAll: true });
  const scope = pool.scope ?? `pool:${pool.name}`;
  const click = () => (closed ? resumed : paused)(scope).then((answer) => answer && changed());
  return action(closed ? "Resume…" : "Pause…", why, click, { name: closed ? "resume" : "pause" });
}

function figures(pool) {
  const most = pool.max_in_flight === null ? "" : ` of ${number(pool.max_in_flight)}`;
  const rejected = pool.last_rejection ? [`${number(pool.rejections)}, last `, time(pool.last_rejection.at)] : null;
  return facts([
    ["Pace", pool.calls_per_minute === null ? "not known yet" : `${figure(pool.calls_per_minute)} calls/min`],
    ["Last minute", `${figure(pool.calls_last_minute)} calls`],
    ["In flight", `${number(pool.in_flight)}${most}`],
    ["In line", number(pool.waiting)],
    ["Rejected", rejected],
  ]);
}

function limits(pool) {
  if (pool.limits.length === 0) return el("p", { class: "muted" }, "None is known yet.");
  return el(
    "ul",
    {},
    pool.limits.map((one) => {
      const period = one.period_s === null ? "" : ` a ${PERIODS[one.period_s] ?? span(one.period_s)}`;
      const limit = one.limit === null ? "unknown" : `${figure(one.limit)}${period}`;
      const left = one.remaining === null ? "" : `, ${figure(one.remaining)} left`;
      return el(
        "li",
        {},
        said(String(one.dimension).replaceAll("_", " ")),
        `: ${limit}${left} `,
        el("span", { class: "muted" }, "by ", said(one.signal), one.binds ? ", sets the pace" : ""),
      );
    }),
  );
}
