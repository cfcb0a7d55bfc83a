// The queue: task types down, statuses across, each number a link to the jobs it counts.

import { el, fill, said, setText } from "./dom.js";
import { listen } from "./live.js";
import { badge, card, nothing } from "./pieces.js";
import { refresher } from "./refresh.js";
import { jobsHref } from "./route.js";
import { get } from "./session.js";
import { number, plural, STATUSES } from "./words.js";

//: So many task types are shown at once; there is a filter above them.
const MOST_TYPES = 100;

export function queuePage(signal) {
  const matrix = el("div", { class: "table scrolls", tabindex: 0, role: "region", "aria-label": "Jobs by task type and status" });
  const reasons = el("div");
  const total = el("p", { class: "muted" });
  const filter = el("input", { type: "search", "aria-label": "Filter task types", placeholder: "Filter task types" });
  let stats = null;

  const show = () => stats && fill(matrix, matrixOf(stats, filter.value.trim().toLowerCase()));
  filter.addEventListener("input", show);

  async function load() {
    stats = await get("api/stats", {}, signal);
    if (!matrix.contains(document.activeElement) || document.activeElement === matrix) show();
    else keepFocus(matrix, show);
    fill(reasons, reasonsOf(stats.reasons));
    setText(total, `${plural(stats.total, "job")}, ${number(stats.unfinished)} unfinished`);
  }

  const refresh = refresher(load, { least: 3000, idle: 15_000, signal, region: matrix });
  listen(({ anew, entries }) => (anew || entries.some((entry) => entry.name !== "job.progress")) && refresh.soon(), signal);
  return {
    title: "Queue",
    nodes: [
      card("By type and status", { id: "matrix", actions: [filter] }, total, matrix),
      card("By reason", { id: "by-reason" }, reasons),
    ],
  };
}

/** Numbers are replaced under the keyboard's feet; the link that had the focus has it again. */
function keepFocus(node, change) {
  const href = document.activeElement.getAttribute("href");
  change();
  [...node.querySelectorAll("a")].find((link) => link.getAttribute("href") === href)?.focus({ preventScroll: true });
}

function matrixOf(stats, wanted) {
  const types = Object.keys(stats.by_task_type).filter((name) => name.toLowerCase().includes(wanted));
  if (types.length === 0) return nothing(stats.total ? "No task type has this in its name." : "No jobs yet.");
  const statuses = Object.keys(STATUSES).filter((status) => stats.by_status[status]);
  const head = el(
    "tr",
    {},
    el("th", { scope: "col" }, "Task type"),
    statuses.map((status) => el("th", { scope: "col", class: "right" }, badge(status))),
    el("th", { scope: "col", class: "right" }, "All"),
  );
  const rows = types.slice(0, MOST_TYPES).map((name) => {
    const counts = stats.by_task_type[name];
    const cells = statuses.map((status) =>
      el("td", { class: "right" }, linked(counts[status], { task_type: name, status }, `${name}, ${status}`)),
    );
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, said(name)),
      cells,
      el("td", { class: "right" }, linked(all, { task_type: name }, name)),
    );
  });
  const sums = statuses.map((status) => el("td", { class: "right" }, linked(stats.by_status[status], { status }, status)));
  const foot = el("tr", {}, el("th", { scope: "row" }, "All"), sums, el("td", { class: "right" }, linked(stats.total, {}, "all jobs")));
  const caption = el("caption", { class: "unseen" }, "Jobs by task type and status");
  const more =
    types.length > MOST_TYPES
      ? el("p", { class: "more" }, `The first ${MOST_TYPES} of ${number(types.length)} types: filter for the others.`)
      : null;
  return [el("table", { class: "matrix" }, caption, el("thead", {}, head), el("tbody", {}, rows), el("tfoot", {}, foot)), more];
}

function linked(count, parameters, about) {
  if (!count) return el("span", { class: "muted", "aria-label": "none" }, "·");
  return el("a", { href: jobsHref(parameters), "aria-label": `${number(count)}: ${about}` }, number(count));
}

function reasonsOf(reasons) {
  const all = Object.entries(reasons);
  if (all.length === 0) return nothing("Nothing failed, and nothing waits for a provider.");
  const rows = all
    .slice(0, MOST_TYPES)
    .map(([reason, count]) =>
      el("tr", {}, el("th", { scope: "row" }, said(reason)), el("td", { class: "right" }, linked(count, { reason }, reason))),
    );
  const caption = el("caption", { class: "unseen" }, "Jobs by reason");
  const head = el("tr", {}, el("th", { scope: "col" }, "Reason"), el("th", { scope: "col", class: "right" }, "Jobs"));
  return el("div", { class: "table" }, el("table", { class: "narrow" }, caption, el("thead", {}, head), el("tbody", {}, rows)));
}
