// The jobs that a filter matches, fifty at a time, newest first. Rows follow what happens to their jobs; which jobs they are stays until
// somebody asks anew, so that nothing moves away under a finger.

import { bulkButtons } from "./bulk.js";
import { el, fill, keyed, part, said, setAttribute, setSaid, setText, visible } from "./dom.js";
import { filterForm, filterOf, inWords } from "./filters.js";
import { listen } from "./live.js";
import { badge, cell, card, jobName, nothing, row, setBadge, table, time } from "./pieces.js";
import { refresher } from "./refresh.js";
import { goTo, jobsHref } from "./route.js";
import { get } from "./session.js";
import { between, figure, plural, span } from "./words.js";

const PAGE = 50;
//: So many changes elsewhere are counted; more are "many".
const MANY = 1000;

export function jobsPage(signal, query) {
  const filter = filterOf(query);
  const cursor = query.get("cursor");
  const columns = [["Status"], ["Job"], ["What went wrong"], ["Attempts", "right"], ["When", "right"]];
  const { node, body } = table("Jobs, newest first", columns);
  const empty = nothing("No job matches.");
  const pages = el("nav", { class: "pages", "aria-label": "Pages" });
  const news = el("button", { type: "button", class: "news", hidden: true });
  const form = el("div");
  const asked = Object.keys(filter).length ? inWords(filter) : "all jobs";
  let jobs = [];
  let changes = 0;

  async function load() {
    const answer = await get("api/jobs", { ...filter, cursor, limit: PAGE }, signal);
    jobs = answer.jobs;
    changes = 0;
    show();
    fill(pages, pagesOf(filter, cursor, answer.next_cursor));
  }

  function show() {
    keyed(body, jobs, (job) => job.job_id, make, update);
    setAttribute(empty, "hidden", jobs.length > 0);
    setAttribute(node, "hidden", jobs.length === 0);
    setAttribute(news, "hidden", changes === 0);
    setText(news, changes >= MANY ? "Much has changed: show" : `${plural(changes, "change")} elsewhere: show`);
  }

  const refresh = refresher(load, { least: 2000, idle: 60_000, signal, region: node });
  news.addEventListener("click", () => refresh.now());
  listen(({ anew, entries }) => {
    if (anew) return refresh.soon();
    const known = new Map(jobs.map((job) => [job.job_id, job]));
    for (const entry of entries) {
      const job = known.get(entry.job_id);
      if (job) follow(job, entry);
      else if (entry.name !== "job.progress" && mayMatch(entry, filter)) changes = Math.min(MANY, changes + 1);
    }
    return show();
  }, signal);

  get("api/stats", {}, signal).then(
    (stats) =>
      fill(
        form,
        filterForm(filter, stats, (next) => goTo("jobs", next)),
      ),
    (error) => error.name === "AbortError" || fill(form, nothing(error.message)),
  );
  const buttons = [
    news,
    el("button", { type: "button", on: { click: () => refresh.now() } }, "Refresh"),
    bulkButtons(filter, () => refresh.now()),
  ];
  return {
    title: "Jobs",
    nodes: [form, card(visible(asked[0].toUpperCase() + asked.slice(1)), { id: "list", actions: buttons }, node, empty, pages)],
  };
}

/** What an entry says of a job that is shown. */
function follow(job, entry) {
  if (entry.name === "job.progress") job.progress = { ...job.progress, ...entry.detail };
  else if (entry.name === "job.paused" || entry.name === "job.resumed") job.held = entry.name === "job.paused";
  if (entry.status) Object.assign(job, { status: entry.status, reason: entry.reason, error: entry.error });
  if (entry.attempt !== null && entry.attempt !== undefined) job.attempts = entry.attempt;
  if (entry.name === "job.started") job.started_at = entry.at;
  if (["job.completed", "job.failed", "job.cancelled"].includes(entry.name)) job.finished_at = entry.at;
  if (entry.name === "job.requeued") job.finished_at = null;
  if (entry.detail?.run_after) job.run_after = entry.detail.run_after;
}

/** Whether a change elsewhere may concern the list; what an entry does not say is not held against it. */
function mayMatch(entry, filter) {
  if (!entry.job_id) return false;
  const says = (name, value) => !filter[name] || [filter[name]].flat().includes(value);
  return ["status", "reason", "task_type", "target_type", "target_id", "owner", "batch"].every((name) => says(name, entry[name]));
}

function pagesOf(filter, cursor, next) {
  return [
    cursor ? el("a", { href: jobsHref(filter), rel: "first" }, "Newest") : null,
    next ? el("a", { href: jobsHref({ ...filter, cursor: next }), rel: "next" }, "Older") : null,
  ];
}

function make(job) {
  return row(
    cell(null, "status", badge(job.status)),
    cell("lead", null, jobName(job), job.owner ? el("small", {}, "owner ", said(job.owner)) : null),
    cell("wrong", "wrong"),
    cell("right", null, el("span", { class: "label" }, "attempts "), el("span", { "data-part": "count" })),
    cell("right", "when"),
  );
}

function update(node, job) {
  setBadge(node.querySelector(".badge"), job.status, { held: job.held });
  setText(part(node, "count"), job.max_attempts ? `${job.attempts} of ${job.max_attempts}` : String(job.attempts));
  const wrong = part(node, "wrong");
  const text = [job.reason, job.error].filter(Boolean).join(": ");
  if (wrong.dataset.text !== text) {
    wrong.dataset.text = text;
    fill(
      wrong,
      job.reason ? el("span", { class: "reason" }, said(job.reason)) : null,
      job.error ? said(job.error, { class: "clamped" }) : null,
    );
  }
  const shown = whenOf(job);
  const when = part(node, "when");
  if (when.dataset.text !== shown.key) {
    when.dataset.text = shown.key;
    fill(when, shown.nodes());
  }
  if (job.status === "processing") setSaid(wrong, job.progress ? `${figure(job.progress.percent)} % ${job.progress.message ?? ""}` : "");
}

/** The time that matters: of its end, its start, or when it is due. */
function whenOf(job) {
  if (job.finished_at) {
    const took = job.started_at ? `, took ${span(between(job.started_at, job.finished_at))}` : "";
    return { key: `f${job.finished_at}`, nodes: () => [time(job.finished_at), el("small", {}, `ended${took}`)] };
  }
  if (job.status === "processing" && job.started_at)
    return { key: `s${job.started_at}`, nodes: () => [time(job.started_at), el("small", {}, "started")] };
  const isLater = job.run_after && Date.parse(job.run_after) > Date.now();
  if (isLater) return { key: `d${job.run_after}`, nodes: () => [time(job.run_after), el("small", {}, "due")] };
  return { key: `c${job.created_at}`, nodes: () => [time(job.created_at), el("small", {}, "created")] };
}
